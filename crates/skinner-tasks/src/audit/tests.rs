use serde_json::json;
use skinner_core::Rng;

use super::*;
use crate::RewardConfig;
use crate::generate::Generator;

fn rewards(json: &str) -> Rewards {
    let configs: Vec<RewardConfig> = serde_json::from_str(json).unwrap();
    Rewards::new(&configs).unwrap()
}

fn task(prompt: &str, answer: &str) -> Task {
    let answer = Some(answer.to_owned()).filter(|answer| !answer.is_empty());
    Task { prompt: prompt.into(), answer, ..Task::default() }
}

const MATH: &str = r#"[{"verifier": "math"}]"#;
const EXACT: &str = r#"[{"verifier": "text", "check": {"kind": "exact"}}]"#;

fn solved(audit: &Audit, policy: &str) -> usize {
    let found = audit.trivial.iter().find(|trivial| trivial.policy == policy);
    found.unwrap_or_else(|| panic!("{policy}: {audit}")).solved
}

fn tasks_of(finding: &Finding) -> Vec<usize> {
    finding.examples.iter().map(|example| example.task).collect()
}

/// What is wrong with these is known.
fn planted() -> Vec<Task> {
    vec![
        task("What is 1,200 + 3?", "1203"),
        task("What is 7 times 1?", "7"),
        task("How many are 7, or 5?", "7"),
        task("Take 2 from 9.", "7"),
        // The same question twice, with equal answers and with others.
        task("What is half of 3?", "1.5"),
        task("What  is half of 3?", "3/2"),
        task("Which number?", "10"),
        task("Which number?", "11"),
        task("Nobody knows.", ""),
        // No number is found in this answer.
        task("Who?", "the king"),
    ]
}

#[test]
fn what_is_planted_is_found() {
    let last_number = r#"[{"verifier": "math", "extractors": ["last_number"]}]"#;
    let audit = audit(&planted(), &rewards(last_number), None, &Config::default());
    assert_eq!(audit.tasks, 10);
    assert_eq!(tasks_of(&audit.without_answer), [8]);
    assert_eq!(tasks_of(&audit.unsolvable), [9]);
    assert_eq!(audit.not_graded.count, 0);
    assert_eq!(tasks_of(&audit.duplicates), [5, 7]);
    assert_eq!(tasks_of(&audit.ambiguous), [6, 7]);
    assert_eq!(audit.disagreement, None);
    assert_eq!(solved(&audit, "empty"), 0);
    assert_eq!(solved(&audit, "always \"7\""), 3);
    assert_eq!(solved(&audit, "first number"), 2);
    assert_eq!(solved(&audit, "number 2"), 0);
    assert_eq!(solved(&audit, "last number"), 0);
    assert_eq!(solved(&audit, "best single number"), 2);
    assert_eq!(solved(&audit, "copy of the prompt"), 0);
}

#[test]
fn two_verifiers_are_compared() {
    // Of the second, a copy of the prompt ends with the answer for one of them alone. Tried are the answers, nothing, the
    // copies, and one number and two.
    let tasks = [task("What is half of 3?", "1.5"), task("Which decimal is 3/2", "1.5")];
    let audit = audit(&tasks, &rewards(MATH), Some(&rewards(EXACT)), &Config::default());
    let found = audit.disagreement.unwrap();
    assert_eq!((found.count, found.of, tasks_of(&found)), (1, 9, vec![1]));
    assert!(found.examples[0].detail.contains(" | "), "{found:?}");
    let same = super::audit(&planted(), &rewards(MATH), Some(&rewards(MATH)), &Config::default());
    assert_eq!(same.disagreement.unwrap().count, 0);
}

#[test]
fn any_function_can_grade() {
    let longer_than = |length: usize| {
        move |_: &Task, trace: &Trace| {
            let reward = f64::from(u8::from(trace.completion.len() > length));
            GradedSample { reward: Some(reward), parts: vec![] }
        }
    };
    let tasks = [task("a", "12"), task("b", "1234")];
    let (two, three) = (longer_than(2), longer_than(3));
    let audit = audit_by(&tasks, &two, Some(&three), &Config::default());
    assert_eq!(tasks_of(&audit.unsolvable), [0]);
    assert_eq!(audit.disagreement.unwrap().count, 0);
    let audit = audit_by(&tasks, &longer_than(0), Some(&three), &Config::default());
    assert_eq!(solved(&audit, "copy of the prompt"), 2);
    assert!(audit.disagreement.unwrap().count > 0);
}

#[test]
fn a_verifier_that_fails_is_no_wrong_answer() {
    let tasks = [task("x", "1"), task("y", "1")];
    let countdown = rewards(r#"[{"verifier": "countdown"}]"#);
    let audit = audit(&tasks, &countdown, None, &Config::default());
    assert_eq!((audit.not_graded.count, audit.unsolvable.count), (2, 0));
    assert!(audit.not_graded.examples[0].detail.contains("numbers"), "{audit}");
}

#[test]
fn puzzles_without_answers_are_solved() {
    let puzzle = |numbers: &[i64], target: i64| {
        let columns = json!({ "numbers": numbers, "target": target });
        Task { columns: columns.as_object().unwrap().clone(), ..task("make it", "") }
    };
    let tasks = [puzzle(&[2, 3, 7], 13), puzzle(&[1, 1], 7)];
    let countdown = rewards(r#"[{"verifier": "countdown"}]"#);
    let audit = audit(&tasks, &countdown, None, &Config::default());
    assert_eq!(tasks_of(&audit.without_answer), [1]);
    assert_eq!(audit.unsolvable.count, 0);
}

#[test]
fn generators_are_sound() {
    for name in ["countdown", "sudoku", "maze", "gcd", "sort", "knights_and_knaves", "legs"] {
        let json = format!("{{\"name\": \"{name}\", \"prompt_style\": \"chat\"}}");
        let generator: Generator = serde_json::from_str(&json).unwrap();
        let mut rng = Rng::new(8);
        let tasks: Vec<Task> = (0..100).map(|_| generator.draw(&mut rng).task).collect();
        let verifier = generator.verifier();
        let rewards = Rewards::new(&[RewardConfig { label: None, weight: 1.0, verifier }]).unwrap();
        let audit = audit(&tasks, &rewards, None, &Config::default());
        let found = [&audit.without_answer, &audit.unsolvable, &audit.not_graded, &audit.ambiguous];
        assert!(found.iter().all(|finding| finding.count == 0), "{name}\n{audit}");
        assert_eq!(solved(&audit, "empty"), 0);
    }
}

/// One operation on small numbers: the largest of three is among them.
#[test]
fn a_task_whose_answer_is_in_the_prompt_is_seen() {
    let json = r#"{"name": "max", "prompt_style": "chat", "numbers": 3}"#;
    let generator: Generator = serde_json::from_str(json).unwrap();
    let mut rng = Rng::new(1);
    let tasks: Vec<Task> = (0..300).map(|_| generator.draw(&mut rng).task).collect();
    let audit = audit(&tasks, &rewards(MATH), None, &Config::default());
    assert_eq!(solved(&audit, "best single number"), 300);
    assert!((70..140).contains(&solved(&audit, "last number")), "{audit}");
}

#[test]
fn it_is_json_and_a_table() {
    let audit = audit(&planted(), &rewards(MATH), Some(&rewards(EXACT)), &Config::default());
    let back: Audit = serde_json::from_str(&serde_json::to_string(&audit).unwrap()).unwrap();
    assert_eq!(back, audit);
    let table = audit.to_string();
    for line in ["ambiguous", "task 6: \"Which number?\" \"10\" or \"11\"", "best single number"] {
        assert!(table.contains(line), "{table}");
    }
    let none = super::audit(&[], &rewards(MATH), None, &Config::default());
    assert!(none.to_string().contains("0 of 0"), "{none}");
}

#[test]
fn numbers_of_a_prompt() {
    let check = |text: &str, expect: &[&str]| assert_eq!(policies::numbers(text), expect);
    check("12*7=", &["12", "7"]);
    check("1,200 and 3, 4,5 or 2.5. End 7.", &["1,200", "3", "4", "5", "2.5", "7"]);
    check("none", &[]);
}
