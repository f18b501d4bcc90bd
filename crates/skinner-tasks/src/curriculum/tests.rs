use super::*;

fn curriculum(levels: usize) -> Curriculum {
    Curriculum::new(Config::default(), levels).unwrap()
}

/// The policy passes level `i` with probability `rates[i]`.
fn follow(curriculum: &mut Curriculum, rates: &[f64], steps: usize, rng: &mut Rng) -> Vec<usize> {
    let mut drawn = vec![0; rates.len()];
    for _ in 0..steps {
        let level = curriculum.draw(rng);
        drawn[level] += 1;
        let passed = f64::from(u8::from(rng.random() < rates[level]));
        curriculum.record(level, passed).unwrap();
    }
    drawn
}

/// Six of ten passed: a Beta distribution of 7 and 5, whose mean of p (1 − p) is 35 / 156.
#[test]
fn worked_numbers() {
    let config = Config { memory: 1.0, uniform: 0.0 };
    let mut curriculum = Curriculum::new(config, 2).unwrap();
    for i in 0..10 {
        curriculum.record(0, f64::from(u8::from(i < 6))).unwrap();
    }
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
    let (known, unknown) = (35.0 / 156.0, 1.0 / 6.0);
    close(curriculum.probabilities()[0], known / (known + unknown));
    close(curriculum.pass_rates()[0], 7.0 / 12.0);
    close(curriculum.pass_rates()[1], 0.5);
}

#[test]
fn the_middle_is_drawn_most_and_no_level_never() {
    let mut curriculum = curriculum(5);
    let rates = [1.0, 0.9, 0.5, 0.1, 0.0];
    let mut rng = Rng::new(3);
    follow(&mut curriculum, &rates, 2000, &mut rng);
    let drawn = follow(&mut curriculum, &rates, 2000, &mut rng);
    assert!(drawn[2] > drawn[1] && drawn[1] > drawn[0], "{drawn:?}");
    assert!(drawn[2] > drawn[3] && drawn[3] > drawn[4], "{drawn:?}");
    assert!(drawn.iter().all(|count| *count > 20), "{drawn:?}");
    let found = curriculum.pass_rates();
    for (found, rate) in found.iter().zip(rates) {
        assert!((found - rate).abs() < 0.15, "{found} {rate}");
    }
}

#[test]
fn unknown_levels_are_drawn() {
    let config = Config { uniform: 0.0, ..Config::default() };
    let mut curriculum = Curriculum::new(config, 3).unwrap();
    for i in 0..1000 {
        curriculum.record(0, f64::from(i % 2)).unwrap();
        curriculum.record(1, 1.0).unwrap();
    }
    let probabilities = curriculum.probabilities();
    assert!(probabilities[2] > 0.3 && probabilities[1] < 0.05, "{probabilities:?}");
}

/// A level that was too hard comes into its own when the policy has learned what is before it.
#[test]
fn it_follows_a_policy_that_learns() {
    let mut curriculum = curriculum(2);
    let mut rng = Rng::new(0);
    follow(&mut curriculum, &[0.5, 0.0], 1000, &mut rng);
    assert!(curriculum.probabilities()[0] > 0.8);
    follow(&mut curriculum, &[1.0, 0.5], 2000, &mut rng);
    assert!(curriculum.probabilities()[1] > 0.8, "{:?}", curriculum.probabilities());
}

#[test]
fn a_saved_one_continues() {
    let mut curriculum = curriculum(4);
    let rates = [0.9, 0.6, 0.3, 0.0];
    let mut rng = Rng::new(1);
    follow(&mut curriculum, &rates, 100, &mut rng);
    let saved = serde_json::to_string(&curriculum).unwrap();
    let mut back: Curriculum = serde_json::from_str(&saved).unwrap();
    let mut other = rng.clone();
    let one = follow(&mut curriculum, &rates, 500, &mut rng);
    assert_eq!(one, follow(&mut back, &rates, 500, &mut other));
    assert_eq!(curriculum, back);
}

#[test]
fn it_draws_tasks_of_its_levels() {
    let json = r#"{"name": "multiplication", "digits": [1, 3]}"#;
    let generator: Generator = serde_json::from_str(json).unwrap();
    let levels = generator.levels();
    let mut curriculum = curriculum(levels.len());
    let root = SeedSequence::new(5);
    for index in 0..50 {
        let (level, task) = curriculum.train_task(&levels, &root, index).unwrap().unwrap();
        assert_eq!(task.prompt.as_str().unwrap().len(), 2 * (level + 1) + 2);
        let again = curriculum.train_task(&levels, &root, index).unwrap();
        assert_eq!(again, Some((level, task)));
        curriculum.record(level, 0.5).unwrap();
    }
    let error = curriculum.train_task(&levels[1..], &root, 0).unwrap_err();
    assert_eq!(error, CurriculumError::Levels { found: 3, wanted: 2 });
}

#[test]
fn wrong_values_are_errors() {
    let memory = Config { memory: 1.5, ..Config::default() };
    assert!(Curriculum::new(memory, 2).unwrap_err().to_string().contains("memory = 1.5"));
    assert_eq!(Curriculum::new(Config::default(), 0), Err(CurriculumError::NoLevel));
    let mut curriculum = curriculum(2);
    let error = curriculum.record(2, 1.0).unwrap_err();
    assert_eq!(error, CurriculumError::NoSuchLevel { level: 2, levels: 2 });
    let before = curriculum.clone();
    curriculum.record(0, f64::NAN).unwrap();
    assert_eq!(curriculum, before);
    curriculum.record(0, 7.0).unwrap();
    assert!(curriculum.pass_rates()[0] < 1.0);
}
