//! A message of a conversation.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// A message of a conversation, as chat templates and data sets have it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// What is said; read from a text or from a list of parts that are texts.
    #[serde(default, deserialize_with = "text")]
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

fn text<'a, D: Deserializer<'a>>(deserializer: D) -> Result<String, D::Error> {
    let part = |part: Value| match part.get("text") {
        Some(Value::String(text)) if part.get("type").is_none_or(|kind| kind == "text") => {
            Ok(text.clone())
        }
        _ => Err(D::Error::custom(format!("part {part} of a message's content is not text"))),
    };
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text),
        Value::Array(parts) => parts.into_iter().map(part).collect(),
        other => {
            Err(D::Error::custom(format!("content is {other}, must be a text or a list of parts")))
        }
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
        assert_eq!(read(json!(null)).unwrap().content, "");
        assert!(read(json!([{"type": "image"}])).unwrap_err().to_string().contains("not text"));
        assert!(read(json!(3)).unwrap_err().to_string().contains("content is 3"));
        assert!(serde_json::from_value::<Message>(json!({"content": "a"})).is_err());
    }
}
