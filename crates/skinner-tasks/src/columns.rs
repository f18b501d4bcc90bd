//! Columns of a task, by the kind of their values.

use serde_json::Value;

use crate::{Failed, Task};

pub(crate) fn column<'a>(task: &'a Task, name: &str) -> Result<&'a Value, Failed> {
    task.columns.get(name).ok_or_else(|| {
        // Other parts of a build decide whether the map keeps the order of the data set.
        let mut there: Vec<&str> = task.columns.keys().map(String::as_str).collect();
        there.sort_unstable();
        Failed(format!("the task has no column `{name}`; it has [{}]", there.join(", ")))
    })
}

pub(crate) fn text<'a>(task: &'a Task, name: &str) -> Result<&'a str, Failed> {
    column(task, name)?.as_str().ok_or_else(|| wrong(name, "a text"))
}

pub(crate) fn count(task: &Task, name: &str) -> Result<usize, Failed> {
    let value = column(task, name)?.as_u64().and_then(|count| usize::try_from(count).ok());
    value.ok_or_else(|| wrong(name, "a whole number that is not negative"))
}

/// A list of texts, or one text.
pub(crate) fn texts(task: &Task, name: &str) -> Result<Vec<String>, Failed> {
    let texts = match column(task, name)? {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<_>>()
        }
        _ => None,
    };
    texts.ok_or_else(|| wrong(name, "a list of texts"))
}

pub(crate) fn wrong(name: &str, must: &str) -> Failed {
    Failed(format!("column `{name}` must hold {must}"))
}

/// The prompt as one text: that of its messages, one after the other.
pub(crate) fn prompt_text(task: &Task) -> String {
    match &task.prompt {
        Value::String(text) => text.clone(),
        Value::Array(messages) => {
            let contents = messages.iter().filter_map(|message| message.get("content")?.as_str());
            contents.collect::<Vec<_>>().join("\n")
        }
        other => other.to_string(),
    }
}
