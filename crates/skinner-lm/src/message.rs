//! A message of a conversation.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A message of a conversation, as chat templates and data sets have it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// What is said; read from a text or from a list of parts that are texts. Only a call of tools may be without.
    pub content: String,
    /// Whatever else a template may read, such as `tool_calls` or `name`.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Message {
    /// A message of text alone.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into(), extra: Map::new() }
    }
}

impl TryFrom<Value> for Message {
    type Error = String;

    /// A message out of JSON. Its content may be a list of parts that are texts; only a call of tools may be without.
    fn try_from(value: Value) -> Result<Self, String> {
        let Value::Object(mut extra) = value else {
            return Err(format!("{value} must be an object with `role` and `content`"));
        };
        let role = match extra.remove("role") {
            Some(Value::String(role)) if !role.is_empty() => role,
            Some(other) => {
                return Err(format!("`role` is {other}, must be a name such as \"user\""));
            }
            None => return Err(format!("has no `role`{}", beside(&extra))),
        };
        let content = match extra.remove("content") {
            Some(Value::String(text)) => text,
            None | Some(Value::Null) if extra.contains_key("tool_calls") => String::new(),
            Some(Value::Array(parts)) => {
                parts.iter().map(text).collect::<Result<String, String>>()?
            }
            None => return Err(format!("has no `content`{}", beside(&extra))),
            Some(other) => {
                return Err(format!("`content` is {other}, must be a text or a list of parts"));
            }
        };
        // Columnar files fill absent fields with null.
        extra.retain(|_, value| !value.is_null());
        Ok(Self { role, content, extra })
    }
}

/// What a message has instead of what it lacks.
fn beside(keys: &Map<String, Value>) -> String {
    let names: Vec<String> = keys.keys().take(10).map(|key| format!("`{key}`")).collect();
    if names.is_empty() { String::new() } else { format!(" (it has {})", names.join(", ")) }
}

fn text(part: &Value) -> Result<String, String> {
    match part.get("text") {
        Some(Value::String(text)) if part.get("type").is_none_or(|kind| kind == "text") => {
            Ok(text.clone())
        }
        _ => Err(format!("part {part} of a message's `content` is not text")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn content_is_a_text_or_parts() {
        let read = |content: Value| {
            serde_json::from_value::<Message>(
                json!({"role": "user", "content": content, "name": "x"}),
            )
        };
        assert_eq!(read(json!("a")).unwrap().extra["name"], "x");
        let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
        assert_eq!(read(parts).unwrap().content, "ab");
        assert!(read(json!(null)).is_err());
        assert!(read(json!([{"type": "image"}])).unwrap_err().to_string().contains("not text"));
        assert!(read(json!(3)).unwrap_err().to_string().contains("`content` is 3"));
        assert!(serde_json::from_value::<Message>(json!({"content": "a"})).is_err());
        let wrong = json!({"role": "user", "contents": "a"});
        let error = serde_json::from_value::<Message>(wrong).unwrap_err().to_string();
        assert!(error.contains("no `content`") && error.contains("contents"), "{error}");
        let call = json!({"role": "assistant", "tool_calls": []});
        assert_eq!(serde_json::from_value::<Message>(call).unwrap().content, "");
    }
}
