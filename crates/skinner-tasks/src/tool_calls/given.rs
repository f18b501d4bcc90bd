//! The calls that a completion makes.

use serde_json::{Map, Value};

use super::Form;

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";
/// More calls are not read.
const MAX_CALLS: usize = 64;

/// A call that was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) arguments: Map<String, Value>,
}

/// Why there are no calls.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error("no call: neither <tool_call> nor JSON")]
    None,
    #[error("a <tool_call> is not closed")]
    Unclosed,
    #[error("no JSON in the call: {0}")]
    Json(#[from] serde_json::Error),
    #[error("call {number}: {what}")]
    Shape { number: usize, what: &'static str },
    #[error("{0} calls, at most {MAX_CALLS} are read")]
    TooMany(usize),
}

pub(super) fn calls(completion: &str, form: Form) -> Result<Vec<Call>, Unread> {
    let text = completion.rsplit_once("</think>").map_or(completion, |(_, after)| after);
    let mut values = match form {
        Form::Tagged => tagged(text)?,
        Form::Any if text.contains(OPEN) => tagged(text)?,
        Form::Json | Form::Any => bare(text)?,
    };
    if let [Value::Array(items)] = &mut values[..] {
        values = std::mem::take(items);
    }
    if values.is_empty() {
        return Err(Unread::None);
    }
    if values.len() > MAX_CALLS {
        return Err(Unread::TooMany(values.len()));
    }
    let read =
        |(index, value)| call(value).map_err(|what| Unread::Shape { number: index + 1, what });
    values.into_iter().enumerate().map(read).collect()
}

fn tagged(text: &str) -> Result<Vec<Value>, Unread> {
    let mut values = Vec::new();
    let mut rest = text;
    while let Some((_, inner)) = rest.split_once(OPEN) {
        let (inner, after) = inner.split_once(CLOSE).ok_or(Unread::Unclosed)?;
        values.push(serde_json::from_str(inner)?);
        rest = after;
    }
    Ok(values)
}

/// JSON values with nothing but white space, commas and semicolons between them.
fn bare(text: &str) -> Result<Vec<Value>, Unread> {
    let mut rest = without_fence(text);
    if !rest.starts_with(['{', '[']) {
        return Err(Unread::None);
    }
    let mut values = Vec::new();
    while !rest.is_empty() {
        let mut stream = serde_json::Deserializer::from_str(rest).into_iter();
        match stream.next() {
            Some(value) => values.push(value?),
            None => break,
        }
        let between = |c: char| c.is_whitespace() || c == ';' || c == ',';
        rest = rest[stream.byte_offset()..].trim_start_matches(between);
    }
    Ok(values)
}

fn without_fence(text: &str) -> &str {
    let text = text.trim();
    let Some(inner) = text.strip_prefix("```").and_then(|text| text.strip_suffix("```")) else {
        return text;
    };
    inner.split_once('\n').map_or(inner, |(_, inner)| inner).trim()
}

fn call(value: Value) -> Result<Call, &'static str> {
    let Value::Object(mut object) = value else { return Err("it is no object") };
    if let Some(Value::Object(inner)) = object.get_mut("function") {
        object = std::mem::take(inner);
    }
    let Some(Value::String(name)) = object.remove("name") else {
        return Err("it has no `name` that is a text");
    };
    let arguments = match object.remove("arguments").or_else(|| object.remove("parameters")) {
        Some(Value::Object(arguments)) => arguments,
        Some(Value::String(text)) => match serde_json::from_str(&text) {
            Ok(Value::Object(arguments)) => arguments,
            _ => return Err("its `arguments` are a text that holds no object"),
        },
        Some(_) => return Err("its `arguments` are no object"),
        None => return Err("it has no `arguments`"),
    };
    Ok(Call { name, arguments })
}
