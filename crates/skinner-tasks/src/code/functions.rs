//! The program's sandbox as something that answers, and tests that call one function.

use serde_json::{Value, json};

use super::cases::FunctionCase;
use super::{CodeVerifier, Score, values};
use crate::Failed;
use crate::sandbox::{Ended, Outcome, Running};

const DRIVER: &str = include_str!("driver.py");

/// A program that was loaded, or why it was not.
pub(super) enum Loaded {
    Ready(Box<Running>),
    Refused(String),
}

/// What a request came to.
pub(super) enum Answer {
    Value(Value),
    /// The program raised an error, or answered something that cannot be read.
    Wrong(String),
    /// The program answers no more.
    Gone,
}

impl CodeVerifier {
    /// Starts a driver and has it run the program's text.
    pub(super) fn load(&self, program: &str) -> Result<Loaded, Failed> {
        let python = self.python.as_ref().ok_or_else(no_python)?;
        let mut running = self.sandbox.start(&python.run_source(DRIVER))?;
        Ok(match ask(&mut running, &json!({ "kind": "run", "source": program }))? {
            Answer::Value(_) => Loaded::Ready(Box::new(running)),
            Answer::Wrong(problem) => {
                Loaded::Refused(format!("the program does not run: {problem}"))
            }
            Answer::Gone => Loaded::Refused(last_words(running)?),
        })
    }

    /// Asks for each result in turn.
    pub(super) fn functions(
        &self,
        program: &str,
        entry_point: &str,
        cases: &[FunctionCase],
    ) -> Result<Score, Failed> {
        let mut score = Score { passed: 0, total: cases.len(), first: None };
        let mut running = match self.load(program)? {
            Loaded::Ready(running) => running,
            Loaded::Refused(problem) => return Ok(Score::none(cases.len(), problem)),
        };
        for (index, case) in cases.iter().enumerate() {
            let problem = match ask(&mut running, &call(entry_point, case))? {
                Answer::Value(value) => self.wrong(case, &value),
                Answer::Wrong(problem) => Some(problem),
                Answer::Gone => {
                    let words = last_words(*running)?;
                    score.first.get_or_insert(format!("test {}: {words}", index + 1));
                    return Ok(score);
                }
            };
            match problem {
                None => score.passed += 1,
                Some(problem) => {
                    score.first.get_or_insert(format!("test {}: {problem}", index + 1));
                    if !self.config.partial_credit {
                        return Ok(score);
                    }
                }
            }
        }
        Ok(score)
    }

    fn wrong(&self, case: &FunctionCase, value: &Value) -> Option<String> {
        if values::same(&case.expected, value, self.config.float_tolerance) {
            return None;
        }
        Some(match values::strange(value) {
            Some(strange) => format!("the result holds {strange}, which is no value of JSON"),
            None => format!("the result is {}", short(&value.to_string())),
        })
    }
}

/// Says how a program ended that answers no more.
pub(super) fn last_words(running: Running) -> Result<String, Failed> {
    Ok(ending(&running.stop_unless_ended()?))
}

fn call(entry_point: &str, case: &FunctionCase) -> Value {
    json!({
        "kind": "call",
        "function": { "name": entry_point },
        "arguments": case.args.iter().map(values::encode).collect::<Vec<_>>(),
        "keywords": values::encode_pairs(&case.kwargs),
    })
}

/// Sends one request and waits for its answer.
pub(super) fn ask(running: &mut Running, request: &Value) -> Result<Answer, Failed> {
    running.say(&request.to_string());
    let Some(line) = running.hear()? else { return Ok(Answer::Gone) };
    Ok(read(&line).unwrap_or_else(|| Answer::Wrong("an answer that cannot be read".to_owned())))
}

fn read(line: &str) -> Option<Answer> {
    let mut answer: Value = serde_json::from_str(line).ok()?;
    if let Some(value) = answer.get_mut("value") {
        return Some(Answer::Value(value.take()));
    }
    let error = answer.get("error")?;
    let (kind, text) = (error.get(0)?.as_str()?, error.get(1)?.as_str()?);
    Some(Answer::Wrong(short(format!("{kind}: {text}").trim_end_matches(": "))))
}

/// How a program ended, with its last words.
pub(super) fn ending(outcome: &Outcome) -> String {
    let mut text = match outcome.ended {
        Ended::Exited(0) | Ended::Stopped => "the program ended before its answer".to_owned(),
        ended => format!("the program {ended}"),
    };
    if outcome.memory_limited() {
        text.push_str(", out of memory");
    }
    let words = String::from_utf8_lossy(&outcome.stderr);
    if let Some(last) = words.trim_end().lines().next_back() {
        text = format!("{text}: {}", short(last));
    }
    text
}

const SHORT: usize = 200;

pub(super) fn short(text: &str) -> String {
    match text.char_indices().nth(SHORT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

pub(super) fn no_python() -> Failed {
    Failed("there is no interpreter: a command was configured".to_owned())
}
