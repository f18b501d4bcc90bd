//! Requests and answers as JSON.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::{Failed, Graded, Reward, Task, Trace};

/// The request for a batch, in one line.
pub(super) fn request(samples: &[(&Task, &Trace)]) -> String {
    let column =
        |name: &str| -> Value { samples.iter().map(|(task, _)| value(task, name)).collect() };
    let mut fields = Map::new();
    for name in names(samples) {
        fields.insert(name.to_owned(), column(name));
    }
    // These two are not columns, also where a column has such a name.
    fields.insert("prompts".into(), samples.iter().map(|(task, _)| task.prompt.clone()).collect());
    let completions = samples.iter().map(|(task, trace)| completion(task, trace)).collect();
    fields.insert("completions".into(), completions);
    Value::Object(fields).to_string()
}

fn names<'a>(samples: &[(&'a Task, &Trace)]) -> BTreeSet<&'a str> {
    let columns = samples.iter().flat_map(|(task, _)| task.columns.keys().map(String::as_str));
    let answer = samples.iter().any(|(task, _)| task.answer.is_some()).then_some("answer");
    columns.chain(answer).collect()
}

fn value(task: &Task, name: &str) -> Value {
    match (&task.answer, name) {
        (Some(answer), "answer") => json!(answer),
        _ => task.columns.get(name).cloned().unwrap_or(Value::Null),
    }
}

fn completion(task: &Task, trace: &Trace) -> Value {
    match task.prompt {
        Value::Array(_) => json!([{ "role": "assistant", "content": trace.completion }]),
        _ => json!(trace.completion),
    }
}

/// Reads an answer to a batch of so many samples.
pub(super) fn rewards(text: &str, samples: usize) -> Result<Vec<Graded>, String> {
    let rubbish = || format!("the answer cannot be read: {:?}", beginning(text));
    let answer: Value = serde_json::from_str(&with_quoted_numbers(text)).map_err(|_| rubbish())?;
    let list = answer.as_array().or_else(|| answer.get("rewards")?.as_array());
    let list = list.ok_or_else(rubbish)?;
    if list.len() != samples {
        return Err(format!("the answer has {} rewards for {samples} samples", list.len()));
    }
    let reasons = answer.get("reasons").and_then(Value::as_array);
    let reason = |index| reasons.and_then(|reasons: &Vec<Value>| reasons.get(index));
    Ok(list.iter().enumerate().map(|(index, reward)| one(reward, reason(index))).collect())
}

fn one(reward: &Value, reason: Option<&Value>) -> Graded {
    let reason = reason.and_then(Value::as_str);
    match reward {
        Value::Number(number) => match number.as_f64().filter(|number| number.is_finite()) {
            Some(number) => Ok(Reward::new(number, reason.unwrap_or("external reward"))),
            None => Err(Failed(format!("the reward is {number}, must be finite"))),
        },
        Value::String(text) if NOT_FINITE.contains(&text.as_str()) => {
            Err(Failed(format!("the reward is {text}, must be finite")))
        }
        Value::Null => Err(Failed(format!("no reward: {}", reason.unwrap_or("null")))),
        other => Err(Failed(format!(
            "the reward is {}, must be a number",
            beginning(&other.to_string())
        ))),
    }
}

/// What Python's `json` writes for numbers that JSON has not, the longest first.
const NOT_FINITE: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// Puts them in quotes, so that they spoil their sample alone.
fn with_quoted_numbers(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    let (mut inside, mut escaped) = (false, false);
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let number = NOT_FINITE.iter().find(|number| !inside && rest.starts_with(**number));
        let mut taken = next.len_utf8();
        if let Some(number) = number {
            quoted.extend(["\"", number, "\""]);
            taken = number.len();
        } else {
            quoted.push(next);
        }
        inside ^= next == '"' && !escaped;
        escaped = inside && next == '\\' && !escaped;
        rest = &rest[taken..];
    }
    quoted
}

/// How much of an answer a reason shows, in characters.
const SHOWN: usize = 200;

fn beginning(text: &str) -> &str {
    text.char_indices().nth(SHOWN).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_with_care() {
        let check = |text: &str, expect: &[Result<f64, &str>]| {
            let found = rewards(text, expect.len()).unwrap();
            for (found, expect) in found.iter().zip(expect) {
                match (found, expect) {
                    (Ok(reward), Ok(number)) => assert_eq!(reward.reward, *number, "{text}"),
                    (Err(failed), Err(words)) => assert!(failed.0.contains(words), "{failed}"),
                    _ => panic!("{text}: {found:?}, must be {expect:?}"),
                }
            }
        };
        check("[1, 0.5]", &[Ok(1.0), Ok(0.5)]);
        check(r#"{"rewards": [1, null], "reasons": ["ok", "\"NaN"]}"#, &[Ok(1.0), Err("\"NaN")]);
        check("[NaN, -Infinity, 2]", &[Err("NaN"), Err("-Infinity"), Ok(2.0)]);
        check(r#"["\"NaN", true, [1]]"#, &[Err("must be a number"), Err("true"), Err("[1]")]);
        check("[1e999]".replace("e999", "e9").as_str(), &[Ok(1e9)]);
        for text in ["", "rubbish", "{}", "1", "[1", "[1e999]", r#"{"rewards": 1}"#] {
            assert!(rewards(text, 1).unwrap_err().contains("cannot be read"), "{text}");
        }
        assert!(rewards("[1, 2]", 3).unwrap_err().contains("2 rewards for 3 samples"));
    }

    #[test]
    fn requests_hold_columns_as_lists() {
        let first = json!({"prompt": "a", "answer": "1", "level": 3, "prompts": "no"});
        let second = json!({"prompt": [{"role": "user", "content": "b"}], "extra": [1]});
        let tasks: Vec<Task> =
            [first, second].map(|task| serde_json::from_value(task).unwrap()).into();
        let trace = Trace { completion: "c".into(), ..Trace::default() };
        let text = request(&[(&tasks[0], &trace), (&tasks[1], &trace)]);
        let expect = json!({
            "prompts": ["a", [{"role": "user", "content": "b"}]],
            "completions": ["c", [{"role": "assistant", "content": "c"}]],
            "answer": ["1", null],
            "level": [3, null],
            "extra": [null, [1]],
        });
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expect);
        assert!(!text.contains('\n'));
    }
}
