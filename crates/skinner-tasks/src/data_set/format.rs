use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{DataSetError, RowProblem};
use super::read::Row;
use super::{Config, check};
use crate::Task;

/// What the rows of a file look like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// GSM8K (Cobbe et al. 2021).
    Gsm8k,
    /// SVAMP (Patel et al. 2021).
    Svamp,
    /// `HumanEval` (Chen et al. 2021).
    Humaneval,
    /// MBPP, all or sanitized (Austin et al. 2021).
    Mbpp,
    /// Any other: the columns are named.
    Columns(Columns),
}

/// Names of columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// The prompt: a text, or a list of messages `{role, content}`.
    pub prompt: String,
    /// The answer: a text, a number, true or false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// A worked solution to imitate: a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solution: Option<String>,
    /// Tests of a program, in any form that the verifier of code knows. Where they are named, no answer is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<String>,
}

impl Format {
    pub(super) fn validate(&self) -> Result<(), DataSetError> {
        let Self::Columns(columns) = self else { return Ok(()) };
        let others = [
            ("format.columns.answer", &columns.answer),
            ("format.columns.solution", &columns.solution),
            ("format.columns.tests", &columns.tests),
        ];
        others.into_iter().try_for_each(|(name, column)| {
            let same = column.as_ref() == Some(&columns.prompt);
            check(!same, name, &columns.prompt, "another column than the prompt")
        })
    }
}

type Made = Result<Task, RowProblem>;

/// The task of a row. Its prompt has no instruction yet.
pub(super) fn task(config: &Config, row: Row) -> Made {
    match &config.format {
        Format::Gsm8k => gsm8k(row, config.needs_answer),
        Format::Svamp => svamp(row, config.needs_answer),
        Format::Humaneval => humaneval(row),
        Format::Mbpp => mbpp(row, config.tests_shown),
        Format::Columns(columns) => named(columns, row, config.needs_answer),
    }
}

fn gsm8k(mut row: Row, needs_answer: bool) -> Made {
    let prompt = take_text(&mut row, "question")?;
    let solution = optional_text(&mut row, "answer");
    let answer = solution.as_deref().and_then(|solution| solution.rsplit_once("####"));
    let answer = answer.map(|(_, answer)| answer.trim().to_owned());
    if let Some(solution) = solution {
        row.insert("solution".to_owned(), Value::from(solution));
    }
    finished(prompt, answer, row, needs_answer.then_some("answer"))
}

fn svamp(mut row: Row, needs_answer: bool) -> Made {
    let (body, question) = (take_text(&mut row, "Body")?, take_text(&mut row, "Question")?);
    let body = body.trim();
    let ends = body.ends_with(['.', '?', '!', ',']);
    let prompt = format!("{body}{} {}", if ends { "" } else { "," }, question.trim());
    let answer = optional_text(&mut row, "Answer");
    finished(prompt, answer, row, needs_answer.then_some("Answer"))
}

fn humaneval(mut row: Row) -> Made {
    let prompt = take_text(&mut row, "prompt")?;
    require_tests(&row, "test")?;
    let solution = optional_text(&mut row, "canonical_solution");
    finished(prompt, solution, row, None)
}

fn mbpp(mut row: Row, tests_shown: Option<usize>) -> Made {
    let column = if row.contains_key("text") { "text" } else { "prompt" };
    let text = take_text(&mut row, column)?;
    let tests = require_tests(&row, "test_list")?;
    let shown: Vec<&str> =
        tests.iter().take(tests_shown.unwrap_or(usize::MAX)).map(String::as_str).collect();
    let prompt = match shown.len() {
        0 => text,
        _ => format!("{text}\nYour code should pass these tests:\n\n{}", shown.join("\n")),
    };
    let solution = optional_text(&mut row, "code");
    finished(prompt, solution, row, None)
}

fn named(columns: &Columns, mut row: Row, needs_answer: bool) -> Made {
    let prompt = match take(&mut row, &columns.prompt)? {
        prompt @ Value::String(_) => prompt,
        prompt if is_messages(&prompt) => prompt,
        _ => return Err(wrong(&columns.prompt, "a text, or a list of messages {role, content}")),
    };
    if let Some(column) = &columns.solution {
        let solution = take_text(&mut row, column)?;
        row.insert("solution".to_owned(), Value::from(solution));
    }
    if let Some(column) = &columns.tests {
        let tests = take(&mut row, column)?;
        row.insert("tests".to_owned(), tests);
    }
    let answer = match &columns.answer {
        Some(column) => optional_text(&mut row, column),
        None if needs_answer && columns.tests.is_none() => return Err(RowProblem::NoAnswerColumn),
        None => None,
    };
    let needed = columns.answer.as_deref().filter(|_| needs_answer);
    finished(prompt, answer, row, needed)
}

/// `needed` is the column in which an answer is missed.
fn finished(
    prompt: impl Into<Value>,
    answer: Option<String>,
    mut columns: Row,
    needed: Option<&str>,
) -> Made {
    let answer = answer.filter(|answer| !answer.trim().is_empty());
    if let (None, Some(column)) = (&answer, needed) {
        return Err(RowProblem::NoAnswer { column: column.to_owned() });
    }
    // A task is written with its columns beside these two.
    columns.retain(|name, _| name != "prompt" && name != "answer");
    Ok(Task { prompt: prompt.into(), answer, columns })
}

fn take(row: &mut Row, column: &str) -> Result<Value, RowProblem> {
    row.remove(column).ok_or_else(|| {
        let there: Vec<&str> = row.keys().map(String::as_str).collect();
        RowProblem::Missing { column: column.to_owned(), there: there.join(", ") }
    })
}

fn take_text(row: &mut Row, column: &str) -> Result<String, RowProblem> {
    match take(row, column)? {
        Value::String(text) => Ok(text),
        _ => Err(wrong(column, "a text")),
    }
}

/// A text, number or truth value as a text; a whole number has no `.0`.
fn optional_text(row: &mut Row, column: &str) -> Option<String> {
    match row.remove(column)? {
        Value::String(text) => Some(text),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => {
            let text = number.to_string();
            Some(text.strip_suffix(".0").map_or(text.clone(), str::to_owned))
        }
        _ => None,
    }
}

fn require_tests(row: &Row, column: &str) -> Result<Vec<String>, RowProblem> {
    let tests: Vec<String> = match row.get(column) {
        None => return take(&mut row.clone(), column).map(|_| Vec::new()),
        Some(Value::String(test)) => vec![test.clone()],
        Some(Value::Array(tests)) => {
            tests.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        Some(_) => Vec::new(),
    };
    let some = tests.iter().any(|test| !test.trim().is_empty());
    if some { Ok(tests) } else { Err(wrong(column, "at least one test")) }
}

fn is_messages(value: &Value) -> bool {
    let text = |message: &Value, name: &str| message.get(name).is_some_and(Value::is_string);
    let message = |message: &Value| text(message, "role") && text(message, "content");
    value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(message))
}

fn wrong(column: &str, must: &'static str) -> RowProblem {
    RowProblem::Wrong { column: column.to_owned(), must }
}
