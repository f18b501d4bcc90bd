//! Asserts: a judge runs them in one sandbox, the program answers from another, and the caller carries lines between
//! them.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use serde_json::value::RawValue;

use super::cases::Asserts;
use super::functions::{Answer, Loaded, ask, failed, no_python};
use super::{CodeVerifier, Score};
use crate::Failed;
use crate::sandbox::Running;

const JUDGE: &str = include_str!("judge.py");

/// What a judge says.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Words<'a> {
    /// It wants something of the program.
    #[serde(borrow)]
    Ask(&'a RawValue),
    /// It is done.
    Done { passed: usize, total: usize, first: Option<String> },
    /// It cannot run these tests.
    Unsupported(String),
    /// Its process for these tests died.
    Broken(String),
}

enum Verdict {
    Score(Score),
    Unsupported(String),
}

/// How much longer than the program a judge may take.
const JUDGE_EXTRA: Duration = Duration::from_secs(5);

impl CodeVerifier {
    pub(super) fn asserts(
        &self,
        program: &str,
        prefix: &str,
        asserts: &Asserts,
    ) -> Result<Score, Failed> {
        let refused = |problem| Score { passed: 0, total: asserts.tests.len(), first: Some(problem) };
        let running = match self.load(program)? {
            Loaded::Ready(running) => running,
            Loaded::Refused(problem) => return Ok(refused(problem)),
        };
        let mut judge = match self.take_judge() {
            Some(judge) => judge,
            None => self.start_judge()?,
        };
        judge.allow(self.sandbox_wall() + JUDGE_EXTRA);
        let request = json!({
            "preamble": prefix,
            "setup": asserts.setup,
            "tests": asserts.tests,
            "entry_point": asserts.entry_point,
        });
        judge.say(&request.to_string());
        match self.carry(judge, running)? {
            Verdict::Score(score) => Ok(score),
            Verdict::Unsupported(why) if !self.config.asserts_in_child => {
                Err(Failed(format!("the tests cannot be run apart from the program: {why}")))
            }
            Verdict::Unsupported(_) => self.asserts_in_child(program, asserts),
        }
    }

    fn start_judge(&self) -> Result<Running, Failed> {
        let python = self.python.as_ref().ok_or_else(no_python)?;
        self.sandbox.start(&python.run_source(JUDGE)).map_err(failed)
    }

    fn sandbox_wall(&self) -> Duration {
        Duration::from_secs_f64(self.config.sandbox.wall_seconds)
    }

    /// Carries lines between the two until the judge is done, and keeps the judge for the next.
    fn carry(&self, mut judge: Running, mut program: Running) -> Result<Verdict, Failed> {
        let mut answered = false;
        let mut gone = None;
        loop {
            let Some(line) = judge.hear().map_err(failed)? else {
                let outcome = judge.stop().map_err(failed)?;
                return dead(answered, &format!("{} {}", outcome.ended, String::from_utf8_lossy(&outcome.stderr)));
            };
            match serde_json::from_str(&line) {
                Ok(Words::Ask(request)) => {
                    program.say(request.get());
                    answered = true;
                    match program.hear().map_err(failed)? {
                        Some(answer) => judge.say(&answer),
                        None => {
                            judge.say(r#"{"gone":true}"#);
                            gone = Some(());
                        }
                    }
                }
                Ok(Words::Done { passed, total, mut first }) => {
                    self.keep_judge(judge);
                    if gone.is_some() {
                        first = Some(self.last_words(program)?);
                    } else if total == 0 {
                        first = Some("no assert was reached".to_owned());
                    }
                    return Ok(Verdict::Score(Score { passed, total, first }));
                }
                Ok(Words::Unsupported(why)) => {
                    self.keep_judge(judge);
                    return Ok(Verdict::Unsupported(why));
                }
                Ok(Words::Broken(why)) => {
                    self.keep_judge(judge);
                    return dead(answered, &why);
                }
                Err(_) => return Err(Failed(format!("the judge said {line:?}"))),
            }
        }
    }

    /// Runs tests in the program's own process and believes it.
    fn asserts_in_child(&self, program: &str, asserts: &Asserts) -> Result<Score, Failed> {
        let mut score = Score { passed: 0, total: asserts.tests.len(), first: None };
        let mut running = match self.load(&format!("{program}\n{}", asserts.setup))? {
            Loaded::Ready(running) => running,
            Loaded::Refused(problem) => return Ok(Score { first: Some(problem), ..score }),
        };
        let entry = asserts.entry_point.as_deref().unwrap_or("None");
        for test in &asserts.tests {
            let source = format!("{test}\nif 'check' in globals(): check({entry})\n");
            let request: Value = json!({ "kind": "run", "source": source });
            match ask(&mut running, &request)? {
                Answer::Value(_) => score.passed += 1,
                Answer::Wrong(problem) => {
                    score.first.get_or_insert(problem);
                }
                Answer::Gone => {
                    let words = self.last_words(running)?;
                    score.first.get_or_insert(words);
                    break;
                }
            }
        }
        Ok(score)
    }
}

/// A judge that died over a program's results fails the program; one that died by itself is no verdict.
fn dead(answered: bool, how: &str) -> Result<Verdict, Failed> {
    if !answered {
        return Err(Failed(format!("the judge {how}")));
    }
    let first = Some(format!("the tests broke over the program's results: {}", how.trim()));
    Ok(Verdict::Score(Score { passed: 0, total: 1, first }))
}
