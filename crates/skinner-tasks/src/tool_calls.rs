//! Calls of tools: read from a completion, compared with the calls that a column expects.
//!
//! # Forms of a completion
//!
//! | form | example |
//! |---|---|
//! | tagged (Hermes, Qwen) | `<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>`, any number of them |
//! | bare JSON | one object, an array of objects, or objects one after another; a fence of Markdown may be around |
//!
//! What stands before `</think>` is left out. The name may also be under `function`, arguments may be called
//! `parameters`, and may be a text that holds JSON.
//!
//! # Forms of the column
//!
//! A list of calls, one call, or a text that holds either as JSON. A call is
//! `{"name": …, "arguments": {…}}`, whose arguments must be equal; or `{"name": …, "acceptable": {"x": [1, 2]}}`,
//! where any value of a list will do; or as in the Berkeley Function-Calling Leaderboard, `{"f": {"x": [1, 2]}}`.
//! Among acceptable values, `""` means that the argument may be left out. An empty list of calls means that the
//! completion must hold none.
//!
//! Calls are compared without order, each with at most one other. Numbers are equal by value: `5` is `5.0`.

mod expected;
mod given;

use serde::{Deserialize, Serialize};

use crate::{Graded, Reward, Task, Trace, columns};

use expected::Expected;

/// The forms that a completion may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Tags where there are any, else bare JSON.
    #[default]
    Any,
    /// Tags alone.
    Tagged,
    /// Bare JSON alone.
    Json,
}

/// How completions are graded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The column with the expected calls.
    pub column: String,
    /// The forms that a completion may have.
    pub form: Form,
    /// The reward of calls that can be read but are wrong, from 0 to 1. Right ones get 1.
    pub well_formed: f64,
    /// Whether some right calls of several get a part of what is above `well_formed`.
    pub partial: bool,
    /// Texts are compared without case, spaces and `, . / - _ * ^ '`, as the leaderboard does it.
    pub loose_texts: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            column: "ground_truth".to_owned(),
            form: Form::default(),
            well_formed: 0.0,
            partial: false,
            loose_texts: false,
        }
    }
}

/// A verifier that cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ToolCallsError {
    /// A reward out of range.
    #[error("well_formed is {0}, must be from 0 to 1")]
    WellFormed(f64),
}

/// A verifier of calls of tools.
#[derive(Clone, Debug)]
pub struct ToolCalls {
    config: Config,
}

impl ToolCalls {
    /// A verifier.
    ///
    /// # Errors
    /// If a value is out of range.
    pub fn new(config: Config) -> Result<Self, ToolCallsError> {
        if !(0.0..=1.0).contains(&config.well_formed) {
            return Err(ToolCallsError::WellFormed(config.well_formed));
        }
        Ok(Self { config })
    }

    /// Grades the calls of a completion.
    ///
    /// # Errors
    /// If the task's column is missing or holds no calls.
    pub fn grade(&self, task: &Task, trace: &Trace) -> Graded {
        let column = &self.config.column;
        let expected = expected::calls(columns::column(task, column)?)
            .map_err(|must| columns::wrong(column, &must))?;
        if trace.completion.trim_start().is_empty() {
            return Ok(Reward::new(0.0, "the completion is empty"));
        }
        let given = match given::calls(&trace.completion, self.config.form) {
            Ok(calls) => calls,
            Err(given::Unread::None) if expected.is_empty() => {
                return Ok(Reward::new(1.0, "no call, as is wanted"));
            }
            Err(error) => return Ok(Reward::new(0.0, error.to_string())),
        };
        Ok(self.compared(&expected, &given))
    }

    fn compared(&self, expected: &[Expected], given: &[given::Call]) -> Reward {
        let fits = |expected: &Expected, call: &given::Call| {
            expected.mistake(call, self.config.loose_texts).is_none()
        };
        let pairs = matching(expected, given, fits);
        let right = pairs.iter().flatten().count();
        let wanted = expected.len().max(given.len());
        if right == wanted {
            return Reward::new(1.0, format!("{right} of {wanted} calls right"));
        }
        let mut reward = self.config.well_formed;
        if self.config.partial {
            reward += (1.0 - reward) * right as f64 / wanted as f64;
        }
        let why = self.first_mistake(expected, given, &pairs);
        Reward::new(reward, format!("{right} of {wanted} calls right; {why}"))
    }

    /// About the first expected call that none of the given fits, or the first that is too many.
    fn first_mistake(
        &self,
        expected: &[Expected],
        given: &[given::Call],
        pairs: &[Option<usize>],
    ) -> String {
        let free = |at: &usize| !pairs.contains(&Some(*at));
        let missing = pairs.iter().position(Option::is_none).map(|at| &expected[at]);
        let Some(missing) = missing else {
            let extra = (0..given.len()).find(free).map_or("", |at| &given[at].name);
            return format!("a call of `{extra}` is not wanted");
        };
        let mut others = (0..given.len()).filter(free);
        let nearest = others.clone().find(|at| given[*at].name == missing.name);
        match nearest.or_else(|| others.next()) {
            Some(at) => {
                let mistake = missing.mistake(&given[at], self.config.loose_texts);
                mistake.unwrap_or_else(|| "calls too many".to_owned())
            }
            None => format!("a call of `{}` is missing", missing.name),
        }
    }
}

/// For each expected call the given one that is paired with it: as many pairs as can be (Kuhn's algorithm).
fn matching<E, G>(
    expected: &[E],
    given: &[G],
    fits: impl Fn(&E, &G) -> bool,
) -> Vec<Option<usize>> {
    let edges: Vec<Vec<usize>> = expected
        .iter()
        .map(|e| (0..given.len()).filter(|at| fits(e, &given[*at])).collect())
        .collect();
    let mut owner: Vec<Option<usize>> = vec![None; given.len()];
    for start in 0..expected.len() {
        let mut seen = vec![false; given.len()];
        augment(start, &edges, &mut owner, &mut seen);
    }
    let mut pairs = vec![None; expected.len()];
    for (at, owner) in owner.into_iter().enumerate() {
        if let Some(owner) = owner {
            pairs[owner] = Some(at);
        }
    }
    pairs
}

fn augment(
    start: usize,
    edges: &[Vec<usize>],
    owner: &mut [Option<usize>],
    seen: &mut [bool],
) -> bool {
    for &at in &edges[start] {
        if std::mem::replace(&mut seen[at], true) {
            continue;
        }
        let free = match owner[at] {
            None => true,
            Some(other) => augment(other, edges, owner, seen),
        };
        if free {
            owner[at] = Some(start);
            return true;
        }
    }
    false
}
