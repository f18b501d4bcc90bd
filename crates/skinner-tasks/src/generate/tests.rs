use super::*;

use crate::puzzle::{Config, Kind, Puzzle};
use crate::{RewardConfig, Rewards, Trace};

fn generator(name: &str, options: &str) -> Generator {
    let comma = if options.is_empty() { "" } else { ", " };
    let json = format!("{{\"name\": \"{name}\"{comma}{options}}}");
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

/// Each generator, some with values that make another task of it.
const OPTIONS: [(&str, &str); 22] = [
    ("addition", ""),
    ("arithmetic", r#""digits": 2"#),
    ("multiplication", ""),
    ("multiplication", r#""digits": 9"#),
    ("chain_sum", ""),
    ("chain_sum", r#""terms": [2, 9], "digits": 9"#),
    ("max", ""),
    ("sort", ""),
    ("reverse_text", ""),
    ("count_letters", ""),
    ("countdown", r#""numbers": [3, 6]"#),
    ("gcd", ""),
    ("gcd", r#""digits": [1, 9]"#),
    ("linear_equation", ""),
    ("linear_equation", r#""both_sides": false, "digits": 2"#),
    ("linear_equation", r#""fractions": true"#),
    ("legs", r#""kinds": [2, 4]"#),
    ("legs", r#""question": "animals", "kinds": 2"#),
    ("propositional_logic", r#""connectives": [3, 6]"#),
    ("knights_and_knaves", r#""people": [3, 4]"#),
    ("sudoku", r#""blanks": [4, 12]"#),
    ("maze", ""),
];

const STYLES: [&str; 3] = ["plain", "chat", "reason"];

fn all() -> Vec<Generator> {
    let mut all: Vec<Generator> =
        OPTIONS.iter().map(|(name, options)| generator(name, options)).collect();
    // Its verifier needs a sandbox, which not every machine has: see tests/simple_functions.rs.
    all.push(generator("simple_functions", ""));
    all
}

fn has_styles(name: &str) -> bool {
    name != "addition" && name != "arithmetic"
}

fn styled(name: &str, options: &str, style: &str) -> Generator {
    let separator = if options.is_empty() { "" } else { ", " };
    generator(name, &format!("{options}{separator}\"prompt_style\": \"{style}\""))
}

/// All, in each style that they have.
fn all_styles() -> Vec<Generator> {
    let with = OPTIONS.iter().filter(|(name, _)| has_styles(name));
    let styles = |(name, options): &(&str, &str)| STYLES.map(|style| styled(name, options, style));
    let mut all: Vec<Generator> = with.flat_map(styles).collect();
    all.extend([generator("addition", ""), generator("arithmetic", "")]);
    all
}

fn rewards_of(generator: &Generator) -> Rewards {
    let verifier = generator.verifier();
    Rewards::new(&[RewardConfig { label: None, weight: 1.0, verifier }]).unwrap()
}

fn reward(rewards: &Rewards, task: &Task, completion: &str) -> Option<f64> {
    let trace = Trace { completion: completion.to_owned(), ..Trace::default() };
    rewards.grade(&[(task, &trace)])[0].reward
}

/// As a model would be expected to give it.
fn tagged(generator: &Generator, answer: &str) -> String {
    let reasons = serde_json::to_string(generator).unwrap().contains(r#""reason""#);
    if reasons { format!("So it is so.<answer>{answer}</answer>") } else { answer.to_owned() }
}

#[test]
fn the_answer_gets_the_reward_and_a_changed_one_does_not() {
    let root = SeedSequence::new(11);
    for generator in all_styles() {
        generator.validate().unwrap();
        let rewards = rewards_of(&generator);
        let mut rng = root.rng();
        for _ in 0..60 {
            let task = generator.draw(&mut rng).task;
            let answer = task.answer.as_deref().unwrap();
            let right = tagged(&generator, answer);
            assert_eq!(reward(&rewards, &task, &right), Some(1.0), "{task:?} {right}");
            for wrong in [format!("{answer}1"), String::new()] {
                let wrong = tagged(&generator, &wrong);
                assert_eq!(reward(&rewards, &task, &wrong), Some(0.0), "{task:?} {wrong}");
            }
        }
    }
}

#[test]
fn a_teacher_gets_the_reward() {
    let mut taught = 0;
    for generator in all_styles() {
        let generator = match generator {
            Generator::Addition(addition) => {
                Generator::Addition(Addition { forgets: 0.0, ..addition })
            }
            other => other,
        };
        let rewards = rewards_of(&generator);
        let mut rng = SeedSequence::new(5).rng();
        for _ in 0..40 {
            let task = generator.draw(&mut rng).task;
            if let Some(worked) = generator.teach(&task, &mut rng) {
                taught += 1;
                assert_eq!(reward(&rewards, &task, &worked), Some(1.0), "{task:?} {worked}");
            }
        }
    }
    assert!(taught > 1000, "{taught}");
}

/// What teachers write, to be read.
#[test]
fn worked_examples() {
    let check = |generator: Generator, task: Task, expect: &str| {
        let worked = generator.teach(&task, &mut Rng::new(0));
        assert_eq!(worked.as_deref(), Some(expect));
    };
    let task = |columns: serde_json::Value, answer: &str| Task {
        columns: columns.as_object().unwrap().clone(),
        answer: Some(answer.to_owned()),
        ..Task::default()
    };
    let numbers = |numbers: &[i64]| task(serde_json::json!({ "numbers": numbers }), "");
    check(
        generator("multiplication", ""),
        numbers(&[347, 28]),
        "7*8=56;4*8+7*2+5=51;3*8+4*2+5=37;3*2+3=9;9716",
    );
    check(generator("multiplication", ""), numbers(&[12, 7]), "2*7=14;1*7+1=8;84");
    check(generator("chain_sum", ""), numbers(&[12, 7, -30]), "12+7=19;19-30=-11;-11");
    check(generator("gcd", ""), numbers(&[36, 84]), "84%36=12;36%12=0;12");
    check(generator("linear_equation", ""), numbers(&[3, -4, 1, 8]), "2x=12;x=6");
    check(generator("linear_equation", ""), numbers(&[2, 0, 0, -3]), "2x=-3;x=-3/2");
    check(generator("legs", ""), numbers(&[3, 4, 2, 6]), "3*4=12;2*6=12;12+12=24;24");
    check(
        generator("legs", r#""question": "animals", "kinds": 2"#),
        numbers(&[10, 28, 4, 2]),
        "10*2=20;28-20=8;4-2=2;8/2=4;4",
    );
    check(
        generator("count_letters", ""),
        task(serde_json::json!({ "letter": "a", "text": "banana" }), ""),
        "b0a1n1a2n2a3;3",
    );
    check(
        generator("countdown", ""),
        task(serde_json::json!({}), "(20-5)*3"),
        "20-5=15;15*3=45;(20-5)*3",
    );
}

/// As often as it is told to, the teacher of countdown works out another value with the same numbers, and tries again.
#[test]
fn a_teacher_that_misses_the_target() {
    let right = |misses: f64, retries: f64| {
        let options = format!(r#""numbers": 3, "misses": {misses}, "retries": {retries}"#);
        let generator = generator("countdown", &options);
        let verifier = Puzzle::new(Kind::Countdown, Config::default()).unwrap();
        let mut rng = Rng::new(5);
        let rewards = (0..400).map(|_| {
            let task = generator.draw(&mut rng).task;
            let completion = generator.teach(&task, &mut rng).unwrap();
            let graded = verifier.grade(&task, &Trace { completion, ..Trace::default() }).unwrap();
            assert!(graded.reason.starts_with("the value is "), "{}", graded.reason);
            graded.reward
        });
        rewards.sum::<f64>() / 400.0
    };
    assert_eq!([right(0.0, 0.5), right(1.0, 0.5)], [1.0, 0.0]);
    // 0.3, 0.3 / (1 - 0.7 · 0.5), 1 - 0.7^16.
    for (retries, expected) in [(0.0, 0.3), (0.5, 0.46), (1.0, 0.997)] {
        let found: f64 = right(0.7, retries);
        assert!((found - expected).abs() < 0.07, "{retries}: {found}");
    }
}

#[test]
fn prompts_in_each_style() {
    let prompt = |style: &str| {
        let options = format!(r#""digits": 1, "prompt_style": "{style}""#);
        generator("multiplication", &options).draw(&mut Rng::new(0)).task.prompt
    };
    assert_eq!(prompt("plain"), "8*6=");
    let content = |style: &str| prompt(style)[0]["content"].clone();
    assert_eq!(content("chat"), "What is 8 * 6? Answer with the number only.");
    assert_eq!(
        content("reason"),
        "What is 8 * 6? Think step by step, then give the number within <answer> and </answer>."
    );
}

#[test]
fn tasks_are_the_same_for_the_same_random_numbers() {
    for generator in all() {
        let draw = || {
            let mut rng = SeedSequence::new(7).child(1).rng();
            (0..20).map(|_| generator.draw(&mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
    }
}

/// Prompts that are equal have one key, and so one side of the division.
#[test]
fn a_prompt_has_one_key() {
    for generator in all() {
        let mut rng = SeedSequence::new(13).rng();
        let mut keys = std::collections::BTreeMap::new();
        for _ in 0..1000 {
            let made = generator.draw(&mut rng);
            let prompt = made.task.prompt.to_string();
            let key = keys.entry(prompt.clone()).or_insert_with(|| made.key.clone());
            assert_eq!(*key, made.key, "{prompt}");
        }
    }
}

/// Nor does the wording change the key.
#[test]
fn styles_share_their_keys() {
    for (name, options) in OPTIONS.iter().filter(|(name, _)| has_styles(name)) {
        let keys = |style: &str| {
            let generator = styled(name, options, style);
            let mut rng = SeedSequence::new(2).rng();
            (0..50).map(|_| generator.draw(&mut rng).key).collect::<Vec<_>>()
        };
        assert_eq!(keys("plain"), keys("chat"));
        assert_eq!(keys("plain"), keys("reason"));
    }
}

#[test]
fn levels_go_from_easy_to_hard() {
    for original in all() {
        let levels = original.levels();
        assert!(!levels.is_empty());
        for level in &levels {
            level.validate().unwrap();
            assert_eq!(level.levels(), std::slice::from_ref(level));
        }
    }
    let levels = generator("max", r#""numbers": [2, 4]"#).levels();
    let of_size = |size: usize| generator("max", &format!(r#""numbers": {size}"#));
    assert_eq!(levels, [of_size(2), of_size(3), of_size(4)]);
    let answers = |level: &Generator| {
        let mut rng = Rng::new(1);
        let draws = (0..200).map(|_| level.draw(&mut rng).task.answer.unwrap().len());
        draws.sum::<usize>()
    };
    let levels = generator("multiplication", r#""digits": [1, 4]"#).levels();
    assert!(levels.windows(2).all(|pair| answers(&pair[0]) < answers(&pair[1])));
}

#[test]
fn values_out_of_range_are_named() {
    let check = |name: &str, options: &str, expect: &str| {
        let error = generator(name, options).validate().unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    check("multiplication", r#""digits": [3, 2]"#, "digits = [3, 2]");
    check("multiplication", r#""digits": 10"#, "digits = 10");
    check("chain_sum", r#""terms": 1"#, "terms = 1");
    check("gcd", r#""digits": 0"#, "digits = 0");
    check("legs", r#""question": "animals""#, "kinds = [1, 4]");
    check("sudoku", r#""blanks": [4, 13]"#, "blanks = [4, 13]");
    check("maze", r#""walls": 0.9"#, "walls = 0.9");
    let options = r#""numbers": 2, "largest": 2, "target": 100"#;
    check("countdown", options, "target = 100");
    check("countdown", r#""misses": 1.5"#, "misses = 1.5 is out of range: must be 0 to 1");
    let unread = |json: &str, expect: &str| {
        let error = serde_json::from_str::<Generator>(json).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    unread(r#"{"name": "gcd", "digit": 2}"#, "`digit`");
    unread(r#"{"name": "gcd", "digits": -1}"#, "a size such as 3");
    unread(r#"{"name": "gcd", "digits": [1, 2, 3]}"#, "a size such as 3");
}

/// Whoever always says the same is right about half of the time.
#[test]
fn formulas_are_as_often_true_as_false() {
    let generator = generator("propositional_logic", "");
    let mut rng = Rng::new(0);
    let is_true = |_: &usize| generator.draw(&mut rng).task.answer.as_deref() == Some("true");
    let count = (0..2000).filter(is_true).count();
    assert!((900..1100).contains(&count), "{count}");
}

#[test]
fn training_and_evaluation_share_no_key() {
    let root = SeedSequence::new(3);
    for generator in all() {
        generator.validate().unwrap();
        let held_out = generator.held_out(&root.child(1), 100).unwrap();
        assert_eq!(held_out.len(), 100);
        for i in 0..200 {
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
        Generator::Arithmetic(Arithmetic { digits: 1.into(), operations: vec![Operation::Add] });
    let error = generator.held_out(&SeedSequence::new(0), 500).unwrap_err();
    assert!(error.to_string().contains("500 were asked for"), "{error}");
    let bad = Generator::Addition(Addition { digits: 0.into(), ..Addition::default() });
    assert!(bad.validate().unwrap_err().to_string().contains("digits = 0"));
}
