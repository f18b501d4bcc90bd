use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A prompt, and what is needed to grade what a policy makes of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// A text, or a list of messages `{role, content}`.
    pub prompt: Value,
    /// The reference answer, where the task has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// The data set's other columns. `tests` holds those of a program.
    #[serde(default, flatten)]
    pub columns: Map<String, Value>,
}

/// What a policy did about a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The text after the prompt.
    pub completion: String,
    /// Tokens of the completion.
    #[serde(default)]
    pub tokens: usize,
    /// Whether it was cut at the largest length, before its end.
    #[serde(default)]
    pub truncated: bool,
}

/// What a verifier says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reward {
    /// The number, finite.
    pub reward: f64,
    /// Why, in a few words that a person reads.
    pub reason: String,
}

impl Reward {
    /// A number and why.
    pub fn new(reward: f64, reason: impl Into<String>) -> Self {
        Self { reward, reason: reason.into() }
    }
}

/// A sample that could not be graded: it is left out and counted, the run goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub String);

/// Of each sample.
pub type Graded = Result<Reward, Failed>;
