//! A task's tests, in the forms they come in.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::CodeConfig;
use crate::{Failed, Task};

pub(super) enum Cases {
    Functions { entry_point: String, cases: Vec<FunctionCase> },
    Pairs(Vec<PairCase>),
    Asserts(Asserts),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FunctionCase {
    #[serde(default)]
    pub args: Vec<Value>,
    #[serde(default)]
    pub kwargs: Map<String, Value>,
    pub expected: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PairCase {
    pub input: String,
    pub output: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PairColumns {
    inputs: Vec<String>,
    outputs: Vec<String>,
}

pub(super) struct Asserts {
    pub tests: Vec<String>,
    pub setup: String,
    pub entry_point: Option<String>,
}

/// Reads them.
pub(super) fn of(task: &Task, config: &CodeConfig) -> Result<Cases, Failed> {
    let tests = column(task, config)?;
    let entry_point = match task.columns.get("entry_point") {
        Some(Value::String(name)) => Some(name.clone()),
        _ => config.entry_point.clone(),
    };
    match decoded(tests) {
        Value::String(text) => asserts(task, vec![text], entry_point),
        Value::Array(list) if list.is_empty() => Err(Failed("the list of tests is empty".into())),
        Value::Array(list) if list.iter().all(Value::is_string) => {
            asserts(task, texts(&Value::Array(list)), entry_point)
        }
        list @ Value::Array(_) if list[0].get("expected").is_some() => {
            let entry_point = entry_point.ok_or_else(|| {
                Failed("tests of functions need a column `entry_point`".to_owned())
            })?;
            Ok(Cases::Functions { entry_point, cases: read(list)? })
        }
        list @ Value::Array(_) => Ok(Cases::Pairs(read(list)?)),
        columns => pairs(read(columns)?),
    }
}

/// The inputs and outputs of a command's task.
pub(super) fn pairs_of(task: &Task, config: &CodeConfig) -> Result<Vec<PairCase>, Failed> {
    match of(task, config)? {
        Cases::Pairs(pairs) => Ok(pairs),
        _ => Err(Failed("tests of a command must be a list of {input, output}".to_owned())),
    }
}

fn column<'a>(task: &'a Task, config: &CodeConfig) -> Result<&'a Value, Failed> {
    let named = config.tests_column.as_deref();
    let names = named.map_or(vec!["tests", "test_list", "test"], |name| vec![name]);
    let found = names.iter().find_map(|name| task.columns.get(*name));
    found.ok_or_else(|| Failed(format!("the task has no column {}", names.join(" or "))))
}

/// Some data sets hold JSON in a text.
fn decoded(tests: &Value) -> Value {
    let Value::String(text) = tests else { return tests.clone() };
    match serde_json::from_str(text) {
        Ok(value @ (Value::Array(_) | Value::Object(_))) => value,
        _ => tests.clone(),
    }
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Failed> {
    serde_json::from_value(value).map_err(|error| {
        Failed(format!("tests must be a list of {{args, kwargs, expected}}, of {{input, output}} or of asserts: {error}"))
    })
}

fn pairs(columns: PairColumns) -> Result<Cases, Failed> {
    let (inputs, outputs) = (columns.inputs.len(), columns.outputs.len());
    if inputs != outputs || inputs == 0 {
        return Err(Failed(format!("tests have {inputs} inputs and {outputs} outputs")));
    }
    let both = columns.inputs.into_iter().zip(columns.outputs);
    Ok(Cases::Pairs(both.map(|(input, output)| PairCase { input, output }).collect()))
}

fn asserts(task: &Task, tests: Vec<String>, entry_point: Option<String>) -> Result<Cases, Failed> {
    let names = ["setup", "test_setup_code", "test_imports"];
    let setup = names.iter().find_map(|name| task.columns.get(*name));
    let setup = setup.map(texts).unwrap_or_default().join("\n");
    if tests.iter().all(|test| test.trim().is_empty()) {
        return Err(Failed("the tests are empty".to_owned()));
    }
    Ok(Cases::Asserts(Asserts { tests, setup, entry_point }))
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) => list.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}
