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
use serde_json::{Map, Value, json};

pub use error::{DataSetError, Place, RowProblem};
pub use format::{Columns, Format};

use crate::Task;

/// Where tasks come from, and how they are asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The file. [`load`] reads no other; who knows of folders and hubs finds the rows, see [`task`] and [`divide`].
    pub path: PathBuf,
    /// What its rows look like.
    pub format: Format,
    /// The split to train on, where `path` holds several.
    #[serde(default = "train")]
    pub split: String,
    /// A file with the rows of evaluation. Rows of `path` with one of its prompts are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_path: Option<PathBuf>,
    /// The share of rows that are kept for evaluation, about, where there is no such file.
    #[serde(default)]
    pub eval_fraction: f64,
    /// Whether the prompt is one message of a user. Else it is a text.
    #[serde(default)]
    pub chat: bool,
    /// A message of the system before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// So many worked examples stand before each prompt. They are the first rows, and nothing is trained on them.
    #[serde(default)]
    pub few_shot: usize,
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

fn train() -> String {
    "train".to_owned()
}

impl Config {
    /// All rows of a file, to train on.
    pub fn new(path: impl Into<PathBuf>, format: Format) -> Self {
        Self {
            path: path.into(),
            format,
            split: train(),
            eval_path: None,
            eval_fraction: 0.0,
            chat: false,
            system: None,
            few_shot: 0,
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
        let system = self.system.as_deref().unwrap_or_default();
        let spoken = self.system.is_none() || self.chat;
        check(spoken, "system", system, "left out where chat is false")?;
        check(self.few_shot <= 100, "few_shot", &self.few_shot, "at most 100")?;
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
#[derive(Clone, Debug, PartialEq)]
pub struct DataSet<T = Task> {
    /// To train on, in the order of the file.
    pub train: Vec<T>,
    /// To evaluate on, in the order of their file.
    pub eval: Vec<T>,
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
    let eval = config.eval_path.as_ref().map(|path| read_tasks(config, path)).transpose()?;
    let mut data = divide(tasks, eval, config.eval_fraction, |task| task);
    show_examples(config.few_shot, &mut data, |task| task)
        .map_err(|worked| DataSetError::FewShot { wanted: config.few_shot, worked })?;
    Ok(data)
}

/// Divides items by their tasks: what is kept for evaluation is there already, or a share of all by a hash of the
/// prompt.
pub fn divide<T>(
    items: Vec<T>,
    eval: Option<Vec<T>>,
    eval_fraction: f64,
    task: impl Fn(&T) -> &Task,
) -> DataSet<T> {
    let Some(eval) = eval else {
        let held_out = |item: &T| below(&key(task(item)), eval_fraction);
        let (eval, train) = items.into_iter().partition(held_out);
        return DataSet { train, eval, left_out: 0 };
    };
    let known: BTreeSet<String> = eval.iter().map(|item| key(task(item))).collect();
    let all = items.len();
    let train: Vec<T> =
        items.into_iter().filter(|item| !known.contains(&key(task(item)))).collect();
    DataSet { left_out: all - train.len(), train, eval }
}

/// Takes the first `count` tasks with a worked solution out of those to train on and puts them before all prompts.
///
/// # Errors
/// How many there are, if fewer.
pub fn show_examples<T>(
    count: usize,
    data: &mut DataSet<T>,
    task: impl Fn(&mut T) -> &mut Task,
) -> Result<(), usize> {
    if count == 0 {
        return Ok(());
    }
    let mut shown: Vec<(Value, String)> = Vec::with_capacity(count);
    data.train.retain_mut(|item| {
        let task = task(item);
        match worked(task) {
            Some(worked) if shown.len() < count => {
                shown.push((task.prompt.clone(), worked));
                false
            }
            _ => true,
        }
    });
    if shown.len() < count {
        return Err(shown.len());
    }
    for item in data.train.iter_mut().chain(&mut data.eval) {
        let task = task(item);
        task.prompt = after_examples(&shown, &task.prompt);
    }
    Ok(())
}

/// A prompt behind worked examples: as messages of a conversation, or as texts with empty lines between.
fn after_examples(examples: &[(Value, String)], prompt: &Value) -> Value {
    if let Value::String(prompt) = prompt {
        let text = |(prompt, worked): &(Value, String)| {
            format!("{}\n{worked}\n\n", prompt.as_str().unwrap_or_default())
        };
        return Value::from(examples.iter().map(text).collect::<String>() + prompt + "\n");
    }
    let messages = |prompt: &Value| prompt.as_array().cloned().unwrap_or_default();
    let is_system = |message: &Value| message["role"] == "system";
    let mut all: Vec<Value> = messages(prompt).into_iter().filter(is_system).collect();
    for (prompt, worked) in examples {
        all.extend(messages(prompt).into_iter().filter(|message| !is_system(message)));
        all.push(json!({ "role": "assistant", "content": worked }));
    }
    all.extend(messages(prompt).into_iter().filter(|message| !is_system(message)));
    Value::Array(all)
}

/// A task's worked solution as it would be imitated, where the data set has one: GSM8K's without the spans of its
/// calculator, or a program, in a block where the prompt is a conversation.
pub fn worked(task: &Task) -> Option<String> {
    if let Some(Value::String(solution)) = task.columns.get("solution") {
        return Some(without_calculator(solution));
    }
    let has = |name: &str| task.columns.contains_key(name);
    let whole = has("tests") || has("test_list");
    let program = task.answer.as_ref()?;
    match task.prompt {
        Value::String(_) if whole || has("test") => Some(program.clone()),
        Value::Array(_) if whole => Some(format!("```python\n{}\n```", program.trim_end())),
        _ => None,
    }
}

/// Without spans such as `<<48/2=24>>`.
fn without_calculator(text: &str) -> String {
    let mut parts = text.split("<<");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(">>").map_or(part, |(_, rest)| rest))
}

fn read_tasks(config: &Config, path: &std::path::Path) -> Result<Vec<Task>, DataSetError> {
    let rows = read::rows(path)?;
    rows.into_iter()
        .map(|(place, row)| task(config, row).map_err(|problem| problem.at(path, place)))
        .collect()
}

/// The task of a row. The values of `config` must be valid.
///
/// # Errors
/// What is wrong with the row.
pub fn task(config: &Config, row: Map<String, Value>) -> Result<Task, RowProblem> {
    let task = format::task(config, row)?;
    Ok(Task { prompt: asked(config, task.prompt), ..task })
}

/// With the instruction, as messages where that is wanted.
fn asked(config: &Config, prompt: Value) -> Value {
    let with = |text: &str| match &config.instruction {
        Some(instruction) => format!("{text}\n\n{instruction}"),
        None => text.to_owned(),
    };
    let mut messages = match prompt {
        Value::String(text) if config.chat => {
            vec![json!({ "role": "user", "content": with(&text) })]
        }
        Value::String(text) => return Value::from(with(&text)),
        Value::Array(mut messages) => {
            let content = messages.last_mut().and_then(|message| message.get_mut("content"));
            if let Some(Value::String(content)) = content {
                *content = with(content);
            }
            messages
        }
        other => return other,
    };
    if let Some(system) = &config.system {
        messages.retain(|message| message["role"] != "system");
        messages.insert(0, json!({ "role": "system", "content": system }));
    }
    Value::Array(messages)
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
