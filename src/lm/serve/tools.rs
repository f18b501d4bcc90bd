//! Tools: functions that a model may ask its user to call.

use serde_json::{Map, Value};

const BEGIN: &str = "<tool_call>";
const END: &str = "</tool_call>";

/// A call that a model asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub name: String,
    /// JSON, as a text.
    pub arguments: String,
}

/// What is said beside the calls, and the calls in it; none where there are none, or one cannot be understood.
///
/// A call is a JSON object with `name` and `arguments` (or `parameters`), or a list of such, between `<tool_call>` and
/// `</tool_call>` (Hermes, Qwen, SmolLM2). Or it is the whole text (Llama): then its name must be one of `names`.
pub(super) fn parse(text: &str, names: &[String]) -> Option<(String, Vec<Call>)> {
    if !text.contains(BEGIN) {
        let value: Value = serde_json::from_str(text.trim()).ok()?;
        let calls = calls(value)?;
        let known = calls.iter().all(|call| names.contains(&call.name));
        return known.then_some((String::new(), calls));
    }
    let (mut said, mut found, mut rest) = (String::new(), Vec::new(), text);
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (inside, after) = after.split_once(END)?;
        said.push_str(before);
        found.extend(calls(serde_json::from_str(inside.trim()).ok()?)?);
        rest = after;
    }
    said.push_str(rest);
    Some((said.trim().to_owned(), found))
}

fn calls(value: Value) -> Option<Vec<Call>> {
    match value {
        Value::Array(values) if !values.is_empty() => values.into_iter().map(call).collect(),
        value => Some(vec![call(value)?]),
    }
}

fn call(mut value: Value) -> Option<Call> {
    let fields = value.as_object_mut()?;
    let arguments = fields.remove("arguments").or_else(|| fields.remove("parameters"))?;
    let name = fields.get("name")?.as_str()?.to_owned();
    let arguments = match arguments {
        Value::Object(_) => arguments.to_string(),
        // Some write them as a text already.
        Value::String(text) => {
            serde_json::from_str::<Map<String, Value>>(&text).ok()?;
            text
        }
        _ => return None,
    };
    Some(Call { name, arguments })
}

/// Makes what a client sends of earlier calls what chat templates read: their arguments are objects, not texts.
pub(super) fn for_template(message: &mut Map<String, Value>) {
    let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
    for call in calls.into_iter().flatten() {
        let arguments = call.pointer_mut("/function/arguments");
        if let Some(arguments) = arguments
            && let Some(text) = arguments.as_str()
            && let Ok(object) = serde_json::from_str::<Map<String, Value>>(text)
        {
            *arguments = Value::Object(object);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_are_found() {
        let names = ["add".to_owned()];
        let check = |text: &str, said: &str, expected: &[(&str, &str)]| {
            let calls = expected.iter().map(|(name, arguments)| Call {
                name: (*name).to_owned(),
                arguments: (*arguments).to_owned(),
            });
            assert_eq!(parse(text, &names), Some((said.to_owned(), calls.collect())), "{text}");
        };
        let one = r#"{"name": "add", "arguments": {"a": 1}}"#;
        let add = ("add", r#"{"a":1}"#);
        check(one, "", &[add]);
        check(&format!("\n [{one}, {one}] "), "", &[add, add]);
        check(&one.replace("arguments", "parameters"), "", &[add]);
        check(r#"{"name": "add", "arguments": "{\"a\": 1}"}"#, "", &[("add", r#"{"a": 1}"#)]);
        check(&format!("<tool_call>\n{one}\n</tool_call>"), "", &[add]);
        let two = format!("I add.\n<tool_call>{one}</tool_call>\n<tool_call>[{one}]</tool_call>");
        check(&two, "I add.", &[add, add]);
        check(r#"<tool_call>{"name": "x", "arguments": {}}</tool_call>"#, "", &[("x", "{}")]);
    }

    #[test]
    fn what_is_no_call_stays_text() {
        for text in [
            "",
            "Hello.",
            "{}",
            "[]",
            "7",
            r#"{"name": "add"}"#,
            r#"{"name": "add", "arguments": 3}"#,
            r#"{"name": "add", "arguments": "3"}"#,
            r#"{"name": 3, "arguments": {}}"#,
            r#"{"name": "other", "arguments": {}}"#,
            r#"{"name": "add", "arguments": {}} and more"#,
            r#"<tool_call>{"name": "add", "arguments": {}}"#,
            "<tool_call>add()</tool_call>",
        ] {
            assert_eq!(parse(text, &["add".to_owned()]), None, "{text}");
        }
    }

    #[test]
    fn earlier_calls_become_objects() {
        let message = json!({"role": "assistant", "tool_calls": [
            {"function": {"name": "add", "arguments": "{\"a\": 1}"}},
            {"function": {"name": "add", "arguments": "no JSON"}},
        ]});
        let Value::Object(mut message) = message else { panic!() };
        for_template(&mut message);
        let arguments = |i: usize| message["tool_calls"][i]["function"]["arguments"].clone();
        assert_eq!((arguments(0), arguments(1)), (json!({"a": 1}), json!("no JSON")));
    }
}
