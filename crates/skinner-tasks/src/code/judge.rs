//! Asserts: a judge runs them in one sandbox, the program answers from another, and the caller carries lines between
//! them.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::cases::Asserts;
use super::functions::{Answer, Loaded, ask, last_words, no_python};
use super::{CodeVerifier, Score};
use crate::Failed;
use crate::sandbox::Running;

const JUDGE: &str = include_str!("judge.py");

/// What a judge says.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Words {
    /// It wants something of the program.
    Ask(Box<RawValue>),
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
        let running = match self.load(program)? {
            Loaded::Ready(running) => *running,
            Loaded::Refused(problem) => return Ok(Score::none(asserts.tests.len(), problem)),
        };
        let mut judge = match self.take_judge() {
            Some(judge) => judge,
            None => self.start_judge()?,
        };
        judge.allow(Duration::from_secs_f64(self.config.sandbox.wall_seconds) + JUDGE_EXTRA);
        let request = json!({
            "preamble": prefix,
            "setup": asserts.setup,
            "tests": asserts.tests,
            "entry_point": asserts.entry_point,
        });
        judge.say(&request.to_string());
        match self.carry(judge, running)? {
            Verdict::Score(score) => Ok(score),
            Verdict::Unsupported(_) if self.config.asserts_in_child => {
                self.asserts_in_child(program, asserts)
            }
            Verdict::Unsupported(why) => {
                Err(Failed(format!("the tests cannot be run apart from the program: {why}")))
            }
        }
    }

    fn start_judge(&self) -> Result<Running, Failed> {
        let python = self.python.as_ref().ok_or_else(no_python)?;
        Ok(self.sandbox.start(&python.run_source(JUDGE))?)
    }

    /// Carries lines between the two until the judge is done, and keeps the judge for the next tests.
    fn carry(&self, mut judge: Running, mut program: Running) -> Result<Verdict, Failed> {
        let (mut asked, mut gone) = (false, false);
        let end = loop {
            let Some(line) = judge.hear()? else {
                return broken(asked, &judge.stop()?.ended.to_string());
            };
            match serde_json::from_str(&line) {
                Ok(Words::Ask(request)) => {
                    asked = true;
                    gone |= !relay(&mut judge, &mut program, request.get())?;
                }
                Ok(end) => break end,
                Err(_) => return Err(Failed(format!("the judge said {line:?}"))),
            }
        };
        self.keep_judge(judge);
        match end {
            Words::Done { passed, total, .. } if gone => {
                Ok(Verdict::Score(Score { passed, total, first: Some(last_words(program)?) }))
            }
            Words::Done { total: 0, .. } => {
                Ok(Verdict::Score(Score::none(0, "no assert was reached".to_owned())))
            }
            Words::Done { passed, total, first } => {
                Ok(Verdict::Score(Score { passed, total, first }))
            }
            Words::Unsupported(why) => Ok(Verdict::Unsupported(why)),
            Words::Broken(how) => broken(asked, &how),
            Words::Ask(_) => Err(Failed("the judge asked without end".to_owned())),
        }
    }

    /// Runs tests in the program's own process and believes it.
    fn asserts_in_child(&self, program: &str, asserts: &Asserts) -> Result<Score, Failed> {
        let mut score = Score { passed: 0, total: asserts.tests.len(), first: None };
        let mut running = match self.load(&format!("{program}\n{}", asserts.setup))? {
            Loaded::Ready(running) => running,
            Loaded::Refused(problem) => return Ok(Score::none(score.total, problem)),
        };
        let entry = asserts.entry_point.as_deref().unwrap_or("None");
        for test in &asserts.tests {
            let source = format!("{test}\nif 'check' in globals(): check({entry})\n");
            match ask(&mut running, &json!({ "kind": "run", "source": source }))? {
                Answer::Value(_) => score.passed += 1,
                Answer::Wrong(problem) => {
                    score.first.get_or_insert(problem);
                }
                Answer::Gone => {
                    let words = last_words(*running)?;
                    score.first.get_or_insert(words);
                    break;
                }
            }
        }
        Ok(score)
    }
}

/// Asks the program for the judge. False: the program answers no more, and the judge is told so.
fn relay(judge: &mut Running, program: &mut Running, request: &str) -> Result<bool, Failed> {
    program.say(request);
    let answer = program.hear()?;
    judge.say(answer.as_deref().unwrap_or(r#"{"gone":true}"#));
    Ok(answer.is_some())
}

/// A judge that died over a program's results fails the program; one that died by itself is no verdict.
fn broken(asked: bool, how: &str) -> Result<Verdict, Failed> {
    if !asked {
        return Err(Failed(format!("the judge broke: {how}")));
    }
    let problem = format!("the tests broke over the program's results: {how}");
    Ok(Verdict::Score(Score::none(1, problem)))
}
