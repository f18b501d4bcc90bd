use proptest::prelude::*;
use serde_json::json;

use super::*;

fn row(columns: Value) -> Row {
    let Value::Object(columns) = columns else { panic!("an object of columns") };
    Row { columns, place: Place { file: "f.jsonl".into(), unit: "line", number: 7 } }
}

fn sample(columns: Value) -> Sample {
    match Format::Auto.sample(&row(columns), true).unwrap() {
        Outcome::Sample(sample) => sample,
        other => panic!("{other:?}"),
    }
}

fn text(text: &str) -> Content {
    Content::Text(text.to_owned())
}

fn chat(messages: &[(&str, &str)]) -> Content {
    Content::Messages(messages.iter().map(|(role, text)| Message::new(*role, *text)).collect())
}

#[test]
fn every_format_by_its_columns() {
    let (user, assistant) =
        (json!({"role": "user", "content": "Hi"}), json!({"role": "assistant", "content": "Yes"}));
    let no = json!({"role": "assistant", "content": "No"});
    let Content::Messages(messages) = chat(&[("user", "Hi"), ("assistant", "Yes")]) else {
        panic!()
    };
    assert_eq!(
        sample(json!({"messages": [user, assistant], "id": 3})),
        Sample::Messages { messages, tools: vec![] }
    );
    assert_eq!(
        sample(json!({"prompt": "The sky is", "completion": " blue."})),
        Sample::PromptCompletion { prompt: text("The sky is"), completion: text(" blue.") }
    );
    assert_eq!(
        sample(json!({"prompt": [user], "completion": [assistant], "label": false})),
        Sample::Unpaired {
            prompt: chat(&[("user", "Hi")]),
            completion: chat(&[("assistant", "Yes")]),
            label: false
        }
    );
    assert_eq!(sample(json!({"text": "To be"})), Sample::Text("To be".to_owned()));
    let preferred = Sample::Preference {
        prompt: chat(&[("user", "Hi")]),
        chosen: chat(&[("assistant", "Yes")]),
        rejected: chat(&[("assistant", "No")]),
    };
    let explicit = json!({"prompt": [user], "chosen": [assistant], "rejected": [no]});
    let implicit = json!({"chosen": [user, assistant], "rejected": [user, no]});
    let hh = json!({
        "chosen": "\n\nHuman: Hi\n\nAssistant: Yes",
        "rejected": "\n\nHuman: Hi\n\nAssistant: No ",
    });
    for columns in [explicit, implicit, hh] {
        assert_eq!(sample(columns), preferred);
    }
    assert_eq!(
        sample(json!({"chosen": "The sky is blue.", "rejected": "The sky is green."})),
        Sample::Preference {
            prompt: text("The sky is"),
            chosen: text(" blue."),
            rejected: text(" green.")
        }
    );
}

#[test]
fn gsm8k_with_and_without_its_calculator() {
    let row = row(json!({"question": " How many? ", "answer": "48/2 = <<48/2=24>>24 <<\n#### 24"}));
    let completion = |strip| match Format::Auto.sample(&row, strip).unwrap() {
        Outcome::Sample(Sample::PromptCompletion { prompt, completion }) => {
            assert_eq!(prompt, chat(&[("user", "How many?")]));
            completion
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(completion(true), chat(&[("assistant", "48/2 = 24 <<\n#### 24")]));
    assert_eq!(completion(false), chat(&[("assistant", "48/2 = <<48/2=24>>24 <<\n#### 24")]));
}

#[test]
fn transcripts_that_are_dropped() {
    let outcome = |chosen: &str, rejected: &str| {
        let columns = json!({"chosen": chosen, "rejected": rejected});
        Format::Hh.sample(&row(columns), true).unwrap()
    };
    let (yes, no) = ("\n\nHuman: a\n\nAssistant: yes", "\n\nHuman: a\n\nAssistant: no");
    assert!(matches!(outcome(yes, no), Outcome::Sample(_)));
    assert_eq!(outcome(yes, yes), Outcome::Identical);
    assert_eq!(outcome(yes, &format!("{yes} ")), Outcome::Identical);
    for broken in [
        "",
        "Human: a\n\nAssistant: no",
        "\n\nHuman: a",
        "\n\nHuman: a\n\nHuman: b\n\nAssistant: no",
        "\n\nHuman: a\n\nAssistant: no\n\nAssistant: no",
        "\n\nHuman: a\n\nAssistant: b\n\nHuman: c",
        "\n\nHuman: another\n\nAssistant: no",
        "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
    ] {
        assert_eq!(outcome(yes, broken), Outcome::Malformed, "{broken:?}");
        assert_eq!(outcome(broken, yes), Outcome::Malformed, "{broken:?}");
    }
    let same = json!({"prompt": "a", "chosen": "b", "rejected": "b"});
    assert_eq!(Format::Auto.sample(&row(same), true).unwrap(), Outcome::Identical);
}

#[test]
fn errors_name_the_columns() {
    use Format::{Auto, Gsm8k, Hh, Messages, Preference, Text, Unpaired};
    let check = |format: Format, columns: Value, expect: &str| {
        let error = format.sample(&row(columns), true).unwrap_err().to_string();
        assert!(error.starts_with("f.jsonl, line 7: "), "{error}");
        assert!(error.contains(expect), "{error}");
    };
    check(
        Auto,
        json!({"instruction": "a", "output": "b"}),
        "the columns are `instruction`, `output`, expected one of `messages`",
    );
    check(Auto, json!({}), "the columns are none");
    check(Gsm8k, json!({"text": ""}), "expected `question`, `answer` (format = \"gsm8k\")");
    check(Hh, json!({"chosen": ""}), "the columns are `chosen`, expected `chosen`, `rejected`");
    check(Text, json!({"text": null}), "column `text` is null, must be a string");
    check(Messages, json!({"messages": "Hi"}), "is a string, must be a list of messages");
    check(Messages, json!({"messages": []}), "has no message");
    check(Messages, json!({"messages": [{"role": "user"}]}), "message 1: has no `content`");
    check(Messages, json!({"messages": [{"content": "a"}]}), "message 1: has no `role`");
    check(Messages, json!({"messages": [{"role": 3, "content": "a"}]}), "`role` is 3");
    check(Messages, json!({"messages": [3]}), "must be an object with `role`");
    check(
        Messages,
        json!({"messages": [{"role": "user", "content": [{"type": "image"}]}]}),
        "not text",
    );
    check(Auto, json!({"prompt": 1, "completion": ""}), "is a number, must be a string or a list");
    let mixed = json!({"prompt": "a", "completion": [{"role": "assistant", "content": "b"}]});
    check(Auto, mixed, "must be all strings or all lists of messages");
    check(
        Unpaired,
        json!({"prompt": "a", "completion": "b", "label": "good"}),
        "must be true or false",
    );
    check(Preference, json!({"chosen": "a", "rejected": "b"}), "no common prompt");
}

#[test]
fn messages_with_parts_and_calls() {
    let messages = json!([
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": null, "tool_calls": [{"name": "f"}], "name": null},
    ]);
    let Sample::Messages { messages, tools } =
        sample(json!({"messages": messages, "tools": [{"name": "f"}]}))
    else {
        panic!()
    };
    assert_eq!(messages[0], Message::new("user", "ab"));
    assert_eq!(messages[1].content, "");
    assert_eq!(messages[1].extra.keys().collect::<Vec<_>>(), ["tool_calls"]);
    assert_eq!(tools.len(), 1);
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "(\n\nHuman:|\n\nAssistant:| a|<<|>>|####|é){0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let object = prop::collection::btree_map("role|content|text|x", inner.clone(), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            object.prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_row_makes_it_panic(
        columns in prop::collection::btree_map(
            "messages|prompt|completion|chosen|rejected|label|text|question|answer|tools",
            json_value(),
            0..5,
        )
    ) {
        let row = row(Value::Object(columns.into_iter().collect()));
        let formats = [Format::Auto].into_iter().chain(COLUMNS.map(|(format, _)| format));
        for format in formats {
            let _ = format.sample(&row, true);
        }
    }

    /// Prompt and completions put together again are the transcripts.
    #[test]
    fn an_implicit_prompt_loses_nothing(a in "[ aé]{0,6}", b in "[ aé]{0,6}") {
        let (prompt, chosen, rejected) = split_prompt(text(&a), text(&b));
        let (Content::Text(p), Content::Text(c), Content::Text(r)) = (prompt, chosen, rejected) else {
            panic!()
        };
        prop_assert_eq!(p.clone() + &c, a);
        prop_assert_eq!(p + &r, b);
    }
}
