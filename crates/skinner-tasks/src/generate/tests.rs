use super::*;

fn all() -> Vec<Generator> {
    vec![
        Generator::Addition(Addition::default()),
        Generator::Arithmetic(Arithmetic { digits: 2, ..Arithmetic::default() }),
    ]
}

#[test]
fn training_and_evaluation_share_no_key() {
    let root = SeedSequence::new(3);
    for generator in all() {
        generator.validate().unwrap();
        let held_out = generator.held_out(&root.child(1), 200).unwrap();
        assert_eq!(held_out.len(), 200);
        for i in 0..300 {
            let task = generator.train_task(&root.child(0), i).unwrap();
            assert!(!held_out.contains(&task), "{:?}", task.prompt);
            assert_eq!(generator.train_task(&root.child(0), i), Some(task));
        }
    }
}

#[test]
fn the_order_of_summands_does_not_matter_to_the_key() {
    let mut rng = SeedSequence::new(0).rng();
    let generator = Addition::default();
    for _ in 0..100 {
        let made = generator.draw(&mut rng);
        let (a, b) = made.key.split_once('+').unwrap();
        assert!(a <= b);
    }
}

#[test]
fn a_teacher_who_forgets_nothing_is_right() {
    let mut rng = SeedSequence::new(1).rng();
    let generator = Addition { forgets: 0.0, ..Addition::default() };
    for _ in 0..1000 {
        let task = generator.draw(&mut rng).task;
        let worked = generator.teach(&task, &mut rng).unwrap();
        assert_eq!(worked.rsplit(';').next(), task.answer.as_deref(), "{worked}");
    }
    let task = Task { prompt: "347+589=".into(), ..Task::default() };
    let worked = generator.teach(&task, &mut rng).unwrap();
    assert_eq!(worked, "7+9=16;4+8+1=13;3+5+1=9;936");
    let forgetful = Addition { forgets: 1.0, ..Addition::default() };
    assert_eq!(forgetful.teach(&task, &mut rng).unwrap(), "7+9=16;4+8=12;3+5=8;826");
}

/// A teacher who forgets every carry with probability 0.6 is right about half of the time.
#[test]
fn a_forgetful_teacher_is_often_wrong() {
    let mut rng = SeedSequence::new(2).rng();
    let generator = Addition::default();
    let right = (0..2000)
        .filter(|_| {
            let task = generator.draw(&mut rng).task;
            let worked = generator.teach(&task, &mut rng).unwrap();
            worked.rsplit(';').next() == task.answer.as_deref()
        })
        .count();
    assert!((900..1200).contains(&right), "{right}");
}

#[test]
fn a_generator_with_few_tasks_says_so() {
    let generator =
        Generator::Arithmetic(Arithmetic { digits: 1, operations: vec![Operation::Add] });
    let error = generator.held_out(&SeedSequence::new(0), 500).unwrap_err();
    assert!(error.to_string().contains("500 were asked for"), "{error}");
    let bad = Generator::Addition(Addition { digits: 0, ..Addition::default() });
    assert!(bad.validate().unwrap_err().to_string().contains("digits = 0"));
}
