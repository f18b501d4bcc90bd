//! Agreement with the cases that math-verify tests itself with.

mod verifiers_common;

use std::borrow::Cow;

use serde::Deserialize;
use skinner_tasks::math::{Config, Extractor, Math, Rules, equal};
use skinner_tasks::{Task, Trace};

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    test: String,
    expected: String,
    given: String,
    equal: bool,
}

/// Its cases are texts on both sides: a bare answer, or prose with one.
fn extracted(text: &str) -> Cow<'_, str> {
    use Extractor::{AnswerIs, Boxed, Formula, LastNumber, Whole};
    let words = text.split_whitespace().count();
    let begins_with_word = text.trim_start().chars().take(2).all(char::is_alphabetic);
    let ways: &[Extractor] = if words > 12 || begins_with_word && words > 1 {
        &[Boxed, AnswerIs, Formula, LastNumber]
    } else {
        &[Boxed, Whole]
    };
    let found = ways.iter().find_map(|way| way.extract(text, "answer"));
    found.unwrap_or(Cow::Borrowed(text))
}

#[test]
fn agrees_with_math_verify() {
    const AGREE: usize = 253;
    let data: Cases =
        serde_json::from_str(include_str!("data/math_verify.json")).expect("the data file");
    let mut agree = 0;
    let mut disagree = Vec::new();
    for case in &data.cases {
        let (expected, given) = (extracted(&case.expected), extracted(&case.given));
        let found = equal(&expected, &given, Rules::default());
        if found.same == case.equal {
            agree += 1;
        } else {
            let case = format!(
                "{}: {expected:?}, {given:?}: {} there, here {found:?}",
                case.test, case.equal
            );
            disagree.push(case);
        }
    }
    assert_eq!(agree, AGREE, "of {}; disagreements:\n{}", data.cases.len(), disagree.join("\n"));
}

/// Each reference solution of GSM8K, graded against itself.
#[test]
fn gsm8k_equals_itself() {
    let Some(lines) = verifiers_common::data_file("gsm8k/test.jsonl") else { return };
    let math = Math::new(Config::default()).expect("the default");
    let mut count = 0;
    for line in lines.lines() {
        let task: Task = serde_json::from_str(&line.replacen("\"question\"", "\"prompt\"", 1))
            .expect("a row of GSM8K");
        let completion = task.answer.clone().expect("an answer");
        let trace = Trace { completion, ..Trace::default() };
        let graded = math.grade(&task, &trace).expect("graded");
        assert_eq!(graded.reward, 1.0, "{}", graded.reason);
        count += 1;
    }
    assert_eq!(count, 1319);
}
