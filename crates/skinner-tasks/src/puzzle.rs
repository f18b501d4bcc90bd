//! Puzzles with many right answers, or with one that can be written in many ways: checked by their rules.
//!
//! | puzzle | the task's columns | a right answer |
//! |---|---|---|
//! | countdown | `numbers`, a list of integers; `target`, an integer | an expression with the value of the target that uses each number at most once |
//! | sudoku | `clues`, rows such as `1__4/__2_/_3__/4__1` | four rows of four digits that agree with the clues |
//! | maze | `maze`, rows such as `S.#/..#/#.G` | a shortest path, as `DRDR` or `down right down right` |
//!
//! The verifiers need no answer of the task. [`solution`] finds one.

pub mod countdown;
pub mod maze;
pub mod sudoku;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::math::Extractor;
use crate::{Failed, Graded, Reward, Task, Trace};

/// How answers are found and rewarded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the answer is found: the first that finds one counts. Empty: what suits the puzzle. Of countdown and maze
    /// these are boxes, tags, `####`, "answer is" and the last line; of a sudoku boxes, tags and the last four rows.
    pub extractors: Vec<Extractor>,
    /// The name of the tags that [`Extractor::Tags`] looks for.
    pub tag: String,
    /// The reward of a right answer.
    pub correct: f64,
    /// The reward of any other, and of none.
    pub wrong: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { extractors: Vec::new(), tag: "answer".to_owned(), correct: 1.0, wrong: 0.0 }
    }
}

/// A verifier that cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PuzzleError {
    /// A reward that is no number.
    #[error("{name} is {value}, must be finite")]
    Value {
        /// The field.
        name: &'static str,
        /// What it holds.
        value: f64,
    },
    /// A tag that can stand in no text.
    #[error("tag is {0:?}, must be letters, digits, `_` or `-`")]
    Tag(String),
}

/// Which puzzle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An expression of given numbers.
    Countdown,
    /// A grid of four rows.
    Sudoku,
    /// A path through a maze.
    Maze,
}

/// A verifier of puzzles.
#[derive(Clone, Debug)]
pub struct Puzzle {
    kind: Kind,
    config: Config,
}

impl Puzzle {
    /// A verifier.
    ///
    /// # Errors
    /// If a value is out of range.
    pub fn new(kind: Kind, mut config: Config) -> Result<Self, PuzzleError> {
        for (name, value) in [("correct", config.correct), ("wrong", config.wrong)] {
            if !value.is_finite() {
                return Err(PuzzleError::Value { name, value });
            }
        }
        let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if config.tag.is_empty() || !config.tag.chars().all(in_name) {
            return Err(PuzzleError::Tag(config.tag));
        }
        if config.extractors.is_empty() {
            config.extractors = kind.extractors();
        }
        Ok(Self { kind, config })
    }

    fn given<'a>(&self, completion: &'a str) -> Option<Cow<'a, str>> {
        let mut extractors = self.config.extractors.iter();
        extractors.find_map(|extractor| extractor.extract(completion, &self.config.tag))
    }

    /// The answer of a completion without spaces, where there is one.
    pub fn answer(&self, completion: &str) -> Option<String> {
        let given = self.given(completion)?;
        let answer = match self.kind {
            Kind::Countdown => {
                let last = last_part(&given);
                last.split_once('=').map_or(last, |(made, _)| made)
            }
            Kind::Maze => last_part(&given),
            Kind::Sudoku => &given,
        };
        Some(answer.split_whitespace().collect())
    }

    /// Grades a completion by the columns of its task.
    ///
    /// # Errors
    /// If the task lacks a column, or the column holds no puzzle.
    pub fn grade(&self, task: &Task, trace: &Trace) -> Graded {
        let found = self.given(&trace.completion);
        let given = found.as_deref().unwrap_or_default();
        let verdict = match self.kind {
            Kind::Countdown => countdown::verdict(task, last_part(given))?,
            Kind::Sudoku => sudoku::verdict(task, given)?,
            Kind::Maze => maze::verdict(task, last_part(given))?,
        };
        Ok(match verdict {
            Ok(reason) => Reward::new(self.config.correct, reason),
            Err(_) if found.is_none() => {
                Reward::new(self.config.wrong, "the completion holds no answer")
            }
            Err(reason) => Reward::new(self.config.wrong, reason),
        })
    }
}

impl Kind {
    fn extractors(self) -> Vec<Extractor> {
        use Extractor::{AnswerIs, Boxed, Hashes, Tags, Whole};
        match self {
            Self::Countdown | Self::Maze => vec![Boxed, Tags, Hashes, AnswerIs, Whole],
            // The others end with a line.
            Self::Sudoku => vec![Boxed, Tags, Whole],
        }
    }
}

/// An answer to a puzzle, whichever the task's columns hold; `None` where they hold none or it has no answer.
pub fn solution(task: &Task) -> Option<String> {
    let text = |name: &str| task.columns.get(name)?.as_str();
    if let Ok((numbers, target)) = countdown::question(task) {
        return countdown::solve(&numbers, target);
    }
    if let Some(clues) = text("clues").and_then(sudoku::Grid::parse) {
        return sudoku::solutions(&clues, 1, [1, 2, 3, 4]).first().map(|grid| grid.rows("/"));
    }
    maze::shortest_path(&maze::Grid::parse(text("maze")?)?)
}

/// Why an answer is right, or why it is not.
type Verdict = Result<String, String>;

/// What comes after the last line break or semicolon: before it is work.
fn last_part(text: &str) -> &str {
    text.trim_end_matches([';', '\n', ' ']).rsplit(['\n', ';']).next().unwrap_or_default().trim()
}

fn broken(column: &str, must: &str) -> Failed {
    crate::columns::wrong(column, must)
}

#[cfg(test)]
mod tests;
