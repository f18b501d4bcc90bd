//! Functions as tasks: what is right is rewarded, and what the teacher is mistaken at is not.

mod sandbox_support;

use sandbox_support::python_verifier;
use skinner_core::{Rng, SeedSequence};
use skinner_tasks::code::CodeVerifier;
use skinner_tasks::generate::{Generator, PromptStyle, SimpleFunctions};
use skinner_tasks::{Task, Trace, VerifierConfig};

fn verifier(generator: &Generator) -> Option<CodeVerifier> {
    match generator.verifier() {
        VerifierConfig::Code(config) => python_verifier(config),
        other => panic!("{other:?}"),
    }
}

fn trace(completion: String) -> Trace {
    Trace { completion, ..Trace::default() }
}

fn rewards(verifier: &CodeVerifier, samples: &[(Task, Trace)]) -> Vec<f64> {
    let samples: Vec<(&Task, &Trace)> = samples.iter().map(|(task, trace)| (task, trace)).collect();
    let graded = verifier.grade_all(&samples, 2);
    graded.into_iter().map(|graded| graded.unwrap().reward).collect()
}

#[test]
fn answers_are_right_and_habits_are_wrong() {
    for prompt_style in [PromptStyle::Plain, PromptStyle::Chat, PromptStyle::Reason] {
        let tasks = SimpleFunctions { prompt_style, mistakes: 1.0, ..SimpleFunctions::default() };
        let generator = Generator::SimpleFunctions(tasks);
        let Some(verifier) = verifier(&generator) else { return };
        let mut rng = Rng::new(5);
        let tasks: Vec<Task> = (0..25).map(|_| generator.draw(&mut rng).task).collect();
        let answer = |task: &Task| (task.clone(), trace(task.answer.clone().unwrap()));
        let right: Vec<(Task, Trace)> = tasks.iter().map(answer).collect();
        assert_eq!(rewards(&verifier, &right), vec![1.0; 25]);
        let taught: Vec<(Task, Trace)> = tasks
            .iter()
            .map(|task| (task.clone(), trace(generator.teach(task, &mut rng).unwrap())))
            .collect();
        let habits = ["decrement", "drop", "largest", "smallest"];
        let has_habit = |task: &Task| {
            let words = task.columns["operations"].to_string();
            habits.iter().any(|habit| words.contains(habit))
        };
        for ((task, _), reward) in taught.iter().zip(rewards(&verifier, &taught)) {
            // A habit may happen to do no harm, as the last of a sorted list for its largest.
            assert!(reward == 1.0 || has_habit(task), "{task:?}");
        }
        let wrong = rewards(&verifier, &taught).iter().filter(|reward| **reward == 0.0).count();
        assert!(wrong >= 4, "{wrong}");
    }
}

/// Equal programs for equal tests run once, and all get what that run got.
#[test]
fn equal_programs_run_once() {
    let generator = Generator::SimpleFunctions(SimpleFunctions::default());
    let Some(verifier) = verifier(&generator) else { return };
    let task = generator.train_task(&SeedSequence::new(1), 0).unwrap();
    let right = task.answer.clone().unwrap();
    let samples: Vec<(Task, Trace)> = (0..2000)
        .map(|i| (task.clone(), trace(if i % 2 == 0 { right.clone() } else { "oops".into() })))
        .collect();
    let began = std::time::Instant::now();
    let found = rewards(&verifier, &samples);
    // One after the other they would take most of a minute.
    assert!(began.elapsed().as_secs() < 10);
    assert!(found.iter().enumerate().all(|(i, reward)| *reward == f64::from(i.is_multiple_of(2))));
}
