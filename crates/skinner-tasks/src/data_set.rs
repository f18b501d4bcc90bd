//! Tasks from files: one row of JSON a line, or one list of rows.
//!
//! | format | the prompt | the answer | needs |
//! |---|---|---|---|
//! | `gsm8k` | `question` | what follows `####` in `answer`; the whole stays as the column `solution` | the answer |
//! | `svamp` | `Body` and `Question` | `Answer` | the answer |
//! | `humaneval` | `prompt`, the beginning of a program | `canonical_solution` | the column `test` |
//! | `mbpp` | `text` (else `prompt`), and asserts | `code` | the column `test_list` |
//! | `columns` | a column | a column, if one is named | the answer, unless `needs_answer = false` |
//!
//! All other columns are kept. The rows of evaluation come from a file of their own, or are chosen by a hash of the
//! prompt, so that rows with one prompt are never on both sides.

mod error;
mod format;
mod read;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use error::{DataSetError, Place, RowProblem};
pub use format::{Columns, Format};

use crate::Task;

/// Where tasks come from, and how they are asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The file.
    pub path: PathBuf,
    /// What its rows look like.
    pub format: Format,
    /// A file with the rows of evaluation. Rows of `path` with one of its prompts are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_path: Option<PathBuf>,
    /// The share of rows that are kept for evaluation, about, where there is no such file.
    #[serde(default)]
    pub eval_fraction: f64,
    /// Whether the prompt is one message of a user. Else it is a text.
    #[serde(default)]
    pub chat: bool,
    /// Added to each prompt after an empty line, such as "Put the final answer in \boxed{}."
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
    /// How many of the tests an MBPP prompt shows; all unless given. A program could answer those from memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests_shown: Option<usize>,
    /// Whether a row without an answer is an error. False where the verifier needs none.
    #[serde(default = "yes")]
    pub needs_answer: bool,
}

fn yes() -> bool {
    true
}

impl Config {
    /// All rows of a file, to train on.
    pub fn new(path: impl Into<PathBuf>, format: Format) -> Self {
        Self {
            path: path.into(),
            format,
            eval_path: None,
            eval_fraction: 0.0,
            chat: false,
            instruction: None,
            tests_shown: None,
            needs_answer: true,
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the first that is out of range.
    pub fn validate(&self) -> Result<(), DataSetError> {
        let fraction = self.eval_fraction;
        check(
            (0.0..1.0).contains(&fraction),
            "eval_fraction",
            &fraction,
            "at least 0 and below 1",
        )?;
        let one = self.eval_path.is_none() || fraction == 0.0;
        check(one, "eval_fraction", &fraction, "0 where there is an eval_path")?;
        let shown = self.tests_shown.unwrap_or_default();
        let mbpp = self.tests_shown.is_none() || self.format == Format::Mbpp;
        check(mbpp, "tests_shown", &shown, "left out where format is not \"mbpp\"")?;
        self.format.validate()
    }
}

fn check(
    ok: bool,
    name: &'static str,
    value: &(impl ToString + ?Sized),
    must: &'static str,
) -> Result<(), DataSetError> {
    if ok { Ok(()) } else { Err(DataSetError::Value { name, value: value.to_string(), must }) }
}

/// Tasks to train on and tasks to evaluate on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataSet {
    /// To train on, in the order of the file.
    pub train: Vec<Task>,
    /// To evaluate on, in the order of their file.
    pub eval: Vec<Task>,
    /// How many rows to train on were left out, as their prompt is in the file of evaluation.
    pub left_out: usize,
}

/// Reads a data set.
///
/// # Errors
/// Names the value, or the file and the line.
pub fn load(config: &Config) -> Result<DataSet, DataSetError> {
    config.validate()?;
    let tasks = read_tasks(config, &config.path)?;
    let Some(eval_path) = &config.eval_path else {
        let held_out = |task: &Task| below(&key(task), config.eval_fraction);
        let (eval, train) = tasks.into_iter().partition(held_out);
        return Ok(DataSet { train, eval, left_out: 0 });
    };
    let eval = read_tasks(config, eval_path)?;
    let known: BTreeSet<String> = eval.iter().map(key).collect();
    let all = tasks.len();
    let train: Vec<Task> = tasks.into_iter().filter(|task| !known.contains(&key(task))).collect();
    Ok(DataSet { left_out: all - train.len(), train, eval })
}

fn read_tasks(config: &Config, path: &std::path::Path) -> Result<Vec<Task>, DataSetError> {
    let rows = read::rows(path)?;
    rows.into_iter()
        .map(|(place, row)| {
            let task = format::task(config, row).map_err(|problem| problem.at(path, place))?;
            Ok(Task { prompt: asked(config, task.prompt), ..task })
        })
        .collect()
}

/// With the instruction, as a message where that is wanted.
fn asked(config: &Config, prompt: Value) -> Value {
    let with = |text: &str| match &config.instruction {
        Some(instruction) => format!("{text}\n\n{instruction}"),
        None => text.to_owned(),
    };
    match prompt {
        Value::String(text) if config.chat => {
            json!([{ "role": "user", "content": with(&text) }])
        }
        Value::String(text) => Value::from(with(&text)),
        Value::Array(mut messages) => {
            let content = messages.last_mut().and_then(|message| message.get_mut("content"));
            if let Some(Value::String(content)) = content {
                *content = with(content);
            }
            Value::Array(messages)
        }
        other => other,
    }
}

/// The prompt without what does not matter: white space and case.
fn key(task: &Task) -> String {
    let text = crate::columns::prompt_text(task);
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Whether a text's hash falls into the given share.
fn below(key: &str, share: f64) -> bool {
    let high = crate::generate::hash(key) >> 32;
    (high as f64) < share * f64::from(u32::MAX)
}

#[cfg(test)]
mod tests;
