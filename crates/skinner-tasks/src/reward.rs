//! The reward of a sample: what several verifiers say, weighed.

use serde::{Deserialize, Serialize};

use crate::code::{CodeConfig, CodeError, CodeVerifier};
use crate::external::{ExternalConfig, ExternalError, ExternalReward};
use crate::math::{self, Math};
use crate::puzzle::{self, Kind, Puzzle};
use crate::sandbox::Helper;
use crate::text::{self, Text};
use crate::tool_calls::{self, ToolCalls};
use crate::{Graded, Task, Trace};

/// Which verifier, and its values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verifier", rename_all = "snake_case")]
pub enum VerifierConfig {
    /// Final answers of mathematics.
    Math(math::Config),
    /// Texts.
    Text(text::Config),
    /// Calls of tools.
    ToolCalls(tool_calls::Config),
    /// Expressions of given numbers with a given value.
    Countdown(puzzle::Config),
    /// Programs against tests, in a sandbox.
    Code(CodeConfig),
    /// A program or a service of the user's.
    External(ExternalConfig),
    /// Completed sudokus.
    Sudoku(puzzle::Config),
    /// Shortest paths through mazes.
    Maze(puzzle::Config),
}

impl VerifierConfig {
    /// Whether the same completion gets the same reward each time. Programs, services and processes may be slow once and
    /// not another time, or remember.
    pub fn repeats(&self) -> bool {
        match self {
            Self::Code(_) | Self::External(_) => false,
            Self::Math(config) => config.fallback == math::Fallback::None,
            Self::Text(_)
            | Self::ToolCalls(_)
            | Self::Countdown(_)
            | Self::Sudoku(_)
            | Self::Maze(_) => true,
        }
    }
}

/// One part of a reward.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RewardConfig {
    /// What it is called in the logs; the verifier's name unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What it is multiplied by; 0 logs it alone.
    #[serde(default = "one")]
    pub weight: f64,
    /// Who grades.
    #[serde(flatten)]
    pub verifier: VerifierConfig,
}

fn one() -> f64 {
    1.0
}

/// A reward that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RewardError {
    /// No part.
    #[error("there is no reward: add a table `[[reward]]`")]
    None,
    /// A weight that is no number.
    #[error("reward `{label}`: weight = {weight} must be finite")]
    Weight {
        /// Which part.
        label: String,
        /// Its weight.
        weight: f64,
    },
    /// Two parts of one name.
    #[error("two rewards are called `{0}`: give one a `label`")]
    Twice(String),
    /// A verifier of mathematics.
    #[error("reward `math`: {0}")]
    Math(#[from] math::MathError),
    /// A verifier of texts.
    #[error("reward `text`: {0}")]
    Text(#[from] text::TextError),
    /// A verifier of calls of tools.
    #[error("reward `tool_calls`: {0}")]
    ToolCalls(#[from] tool_calls::ToolCallsError),
    /// A verifier of programs.
    #[error("reward `code`: {0}")]
    Code(#[from] CodeError),
    /// A program or a service of the user's.
    #[error("reward `external`: {0}")]
    External(#[from] ExternalError),
    /// A verifier of puzzles.
    #[error("reward of a puzzle: {0}")]
    Puzzle(#[from] puzzle::PuzzleError),
}

enum Verifier {
    Math(Math),
    Text(Text),
    ToolCalls(ToolCalls),
    Puzzle(Puzzle),
    Code(Box<CodeVerifier>),
    External(Box<ExternalReward>),
}

/// What the sandbox starts itself by: this very program, whose `main` must answer to it first, see
/// [`helper_main`](crate::sandbox::helper_main).
pub const HELPER: &str = "sandbox-helper";

fn puzzle(kind: Kind, config: &puzzle::Config) -> Result<Verifier, puzzle::PuzzleError> {
    Ok(Verifier::Puzzle(Puzzle::new(kind, config.clone())?))
}

struct Part {
    label: String,
    weight: f64,
    verifier: Verifier,
}

/// What a sample got.
#[derive(Clone, Debug, PartialEq)]
pub struct GradedSample {
    /// The weighed sum; `None` where a verifier failed, which is then among `parts`.
    pub reward: Option<f64>,
    /// What each verifier said.
    pub parts: Vec<Graded>,
}

/// Verifiers and their weights.
pub struct Rewards {
    parts: Vec<Part>,
}

impl std::fmt::Debug for Rewards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rewards").field("labels", &self.labels()).finish()
    }
}

impl Rewards {
    /// Makes the verifiers.
    ///
    /// # Errors
    /// If there is none, two have one name, or one cannot be made.
    pub fn new(configs: &[RewardConfig]) -> Result<Self, RewardError> {
        if configs.is_empty() {
            return Err(RewardError::None);
        }
        let mut parts: Vec<Part> = Vec::with_capacity(configs.len());
        for config in configs {
            let (name, verifier) = match &config.verifier {
                VerifierConfig::Math(config) => {
                    ("math", Verifier::Math(Math::new(config.clone())?))
                }
                VerifierConfig::Text(config) => {
                    ("text", Verifier::Text(Text::new(config.clone())?))
                }
                VerifierConfig::ToolCalls(config) => {
                    ("tool_calls", Verifier::ToolCalls(ToolCalls::new(config.clone())?))
                }
                VerifierConfig::Code(config) => {
                    let verifier = CodeVerifier::new(config.clone(), Helper::own(HELPER))?;
                    ("code", Verifier::Code(Box::new(verifier)))
                }
                VerifierConfig::External(config) => {
                    let reward = ExternalReward::new(config.clone())?;
                    ("external", Verifier::External(Box::new(reward)))
                }
                VerifierConfig::Countdown(config) => {
                    ("countdown", puzzle(Kind::Countdown, config)?)
                }
                VerifierConfig::Sudoku(config) => ("sudoku", puzzle(Kind::Sudoku, config)?),
                VerifierConfig::Maze(config) => ("maze", puzzle(Kind::Maze, config)?),
            };
            let label = config.label.clone().unwrap_or_else(|| name.to_owned());
            if !config.weight.is_finite() {
                return Err(RewardError::Weight { label, weight: config.weight });
            }
            if parts.iter().any(|part| part.label == label) {
                return Err(RewardError::Twice(label));
            }
            parts.push(Part { label, weight: config.weight, verifier });
        }
        Ok(Self { parts })
    }

    /// What the parts are called.
    pub fn labels(&self) -> Vec<&str> {
        self.parts.iter().map(|part| &part.label[..]).collect()
    }

    /// Grades samples; a verifier that fails on one leaves the others alone. Programs run on as many threads as
    /// there are cores.
    pub fn grade(&self, samples: &[(&Task, &Trace)]) -> Vec<GradedSample> {
        let by_part: Vec<Vec<Graded>> =
            self.parts.iter().map(|part| part.verifier.grade(samples)).collect();
        let of_sample = |i: usize| {
            let parts: Vec<Graded> = by_part.iter().map(|graded| graded[i].clone()).collect();
            let weighed = |(part, graded): (&Part, &Graded)| {
                graded.as_ref().ok().map(|reward| part.weight * reward.reward)
            };
            GradedSample { reward: self.parts.iter().zip(&parts).map(weighed).sum(), parts }
        };
        (0..samples.len()).map(of_sample).collect()
    }
}

impl Verifier {
    fn grade(&self, samples: &[(&Task, &Trace)]) -> Vec<Graded> {
        let each = |one: &dyn Fn(&Task, &Trace) -> Graded| {
            samples.iter().map(|(task, trace)| one(task, trace)).collect()
        };
        match self {
            Self::Math(math) => each(&|task, trace| math.grade(task, trace)),
            Self::Text(text) => each(&|task, trace| text.grade(task, trace)),
            Self::ToolCalls(calls) => each(&|task, trace| calls.grade(task, trace)),
            Self::Puzzle(puzzle) => each(&|task, trace| puzzle.grade(task, trace)),
            Self::Code(code) => {
                let threads = std::thread::available_parallelism().map_or(1, usize::from);
                code.grade_all(samples, threads)
            }
            Self::External(external) => external.grade_batch(samples),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs(json: &str) -> Vec<RewardConfig> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn parts_are_weighed_and_a_failed_one_is_no_zero() {
        let configs = configs(
            r#"[{"verifier": "math"},
                {"verifier": "text", "label": "short", "weight": 0.5,
                 "check": {"kind": "counts", "of": "words", "max": 3}}]"#,
        );
        let rewards = Rewards::new(&configs).unwrap();
        assert_eq!(rewards.labels(), ["math", "short"]);
        let trace = |completion: &str| Trace { completion: completion.into(), ..Trace::default() };
        let task = Task { answer: Some("7".into()), ..Task::default() };
        let (good, long) = (trace("it is 7"), trace("I think that it is 8"));
        let graded = rewards.grade(&[(&task, &good), (&task, &long)]);
        assert_eq!(graded[0].reward, Some(1.5), "{graded:?}");
        assert_eq!(graded[1].reward, Some(0.0), "{graded:?}");
        let graded = rewards.grade(&[(&Task::default(), &good)]);
        assert_eq!(graded[0].reward, None);
        assert!(graded[0].parts[0].is_err() && graded[0].parts[1].is_ok());
    }

    #[test]
    fn bad_rewards_are_errors() {
        let error = |json: &str| Rewards::new(&configs(json)).unwrap_err().to_string();
        assert!(error("[]").contains("[[reward]]"));
        assert!(error(r#"[{"verifier": "math"}, {"verifier": "math"}]"#).contains("`label`"));
        assert!(error(r#"[{"verifier": "maze", "tag": ""}]"#).contains("tag is \"\""));
        let unknown = r#"[{"verifier": "sudoku", "weight": 2, "extractor": "boxed"}]"#;
        assert!(serde_json::from_str::<Vec<RewardConfig>>(unknown).is_err());
    }
}
