//! Calls of tools: every form, every mistake, and the leaderboard's own answers.

mod verifiers_common;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use skinner_tasks::tool_calls::{Config, Form, ToolCalls};
use skinner_tasks::{Graded, Task, Trace};

fn graded(config: &Config, expected: &Value, completion: &str) -> Graded {
    let columns = Map::from_iter([("ground_truth".to_owned(), expected.clone())]);
    let task = Task { columns, ..Task::default() };
    let trace = Trace { completion: completion.to_owned(), ..Trace::default() };
    ToolCalls::new(config.clone()).expect("a configuration").grade(&task, &trace)
}

fn check(config: &Config, expected: &Value, rows: &[(&str, f64, &str)]) {
    for (completion, reward, reason) in rows {
        let graded = graded(config, expected, completion).expect("expected calls");
        assert_eq!(graded.reward, *reward, "{completion}: {}", graded.reason);
        assert!(graded.reason.contains(reason), "{completion}: {}", graded.reason);
    }
}

#[test]
fn forms_of_a_call() {
    let expected = json!([{"name": "area", "arguments": {"r": 5, "unit": "cm"}}]);
    let tagged = r#"Let me see. <tool_call>
{"name": "area", "arguments": {"r": 5.0, "unit": "cm"}}
</tool_call>"#;
    let bare = r#"{"name": "area", "arguments": {"unit": "cm", "r": 5}}"#;
    check(
        &Config::default(),
        &expected,
        &[
            (tagged, 1.0, "1 of 1 calls right"),
            (bare, 1.0, ""),
            (&format!("[{bare}]"), 1.0, ""),
            (&format!("```json\n{bare}\n```"), 1.0, ""),
            (&format!("<think>{{\"x\"</think>\n{bare}"), 1.0, ""),
            (
                r#"{"function": {"name": "area", "arguments": "{\"r\": 5, \"unit\": \"cm\"}"}}"#,
                1.0,
                "",
            ),
            (r#"{"name": "area", "parameters": {"unit": "cm", "r": 5}}"#, 1.0, ""),
            (
                r#"{"name": "area", "arguments": {"r": 6, "unit": "cm"}}"#,
                0.0,
                "`r` of `area` is 6, not 5",
            ),
            (r#"{"name": "area", "arguments": {"r": 5}}"#, 0.0, "lacks the argument `unit`"),
            (
                r#"{"name": "area", "arguments": {"r": 5, "unit": "cm", "x": 1}}"#,
                0.0,
                "no argument `x`",
            ),
            (r#"{"name": "volume", "arguments": {}}"#, 0.0, "`volume` is called, not `area`"),
            (&format!("{bare} {bare}"), 0.0, "a call of `area` is not wanted"),
            ("The area is 78.5.", 0.0, "no call"),
            ("<tool_call>{\"name\"", 0.0, "not closed"),
            ("<tool_call>area(5)</tool_call>", 0.0, "no JSON in the call"),
            (r#"{"arguments": {}}"#, 0.0, "call 1: it has no `name`"),
            (r#"{"name": "area"}"#, 0.0, "it has no `arguments`"),
            ("[]", 0.0, "no call"),
            (" ", 0.0, "the completion is empty"),
        ],
    );
    let json = Config { form: Form::Json, ..Config::default() };
    check(&json, &expected, &[(bare, 1.0, ""), (tagged, 0.0, "no call")]);
    let tags = Config { form: Form::Tagged, ..Config::default() };
    check(&tags, &expected, &[(bare, 0.0, "no call"), (tagged, 1.0, "")]);
}

#[test]
fn parallel_calls_have_no_order() {
    let expected = json!([{"f": {"x": [1, 2]}}, {"f": {"x": [1]}}]);
    let call = |x: i64| {
        format!("<tool_call>{{\"name\": \"f\", \"arguments\": {{\"x\": {x}}}}}</tool_call>")
    };
    let config = Config { well_formed: 0.5, partial: true, ..Config::default() };
    check(
        &config,
        &expected,
        &[
            (&(call(1) + &call(2)), 1.0, ""),
            (&(call(2) + &call(1)), 1.0, ""),
            (&call(1), 0.75, "1 of 2 calls right; a call of `f` is missing"),
            (&(call(3) + &call(4)), 0.5, "0 of 2 calls right; `x` of `f` is 3, not [1,2]"),
            ("f(1)", 0.0, "no call"),
        ],
    );
}

#[test]
fn acceptable_values() {
    let expected = json!([{"name": "f", "acceptable": {
        "city": ["New York", "NYC"], "days": [3, ""], "at": [[1, 2]], "who": [{"name": ["Al"], "age": [5, ""]}],
    }}]);
    let with = |arguments: Value| json!({"name": "f", "arguments": arguments}).to_string();
    let right = with(json!({"city": "NYC", "at": [1.0, 2], "who": {"name": "Al"}}));
    let loose =
        with(json!({"city": "new-york", "days": 3, "at": [1, 2], "who": {"name": "Al", "age": 5}}));
    let wrong = with(json!({"city": "NYC", "at": [2, 1], "who": {"name": "Al"}}));
    check(
        &Config::default(),
        &expected,
        &[(&right, 1.0, ""), (&loose, 0.0, "city"), (&wrong, 0.0, "at")],
    );
    let config = Config { loose_texts: true, ..Config::default() };
    check(&config, &expected, &[(&right, 1.0, ""), (&loose, 1.0, "")]);
}

#[test]
fn no_call_is_wanted() {
    let call = r#"{"name": "f", "arguments": {}}"#;
    check(
        &Config::default(),
        &json!([]),
        &[("I cannot help with that.", 1.0, "no call, as is wanted"), (call, 0.0, "not wanted")],
    );
}

#[test]
fn what_is_wrong_with_a_task_or_configuration() {
    let fails = |expected: Value, message: &str| {
        let error = graded(&Config::default(), &expected, "x").expect_err(message);
        assert!(error.0.contains(message), "{error}");
    };
    fails(json!("no JSON"), "column `ground_truth` must hold calls");
    fails(json!([5]), "must hold calls");
    fails(json!([{"f": {"x": 1}}]), "must hold calls");
    let missing = ToolCalls::new(Config::default()).expect("the default");
    let error = missing.grade(&Task::default(), &Trace::default()).expect_err("no column");
    assert!(error.0.contains("no column `ground_truth`"), "{error}");
    assert!(ToolCalls::new(Config { well_formed: 2.0, ..Config::default() }).is_err());
    assert!(serde_json::from_value::<Config>(json!({"colum": "x"})).is_err());
}

#[test]
fn hostile_completions() {
    let expected = json!([{"name": "f", "arguments": {}}]);
    for completion in [
        "[".repeat(10_000_000),
        "{\"a\":".repeat(1_000_000),
        "<tool_call>".repeat(1_000_000),
        "{}".repeat(1_000_000),
        "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>".repeat(100_000),
    ] {
        check(&Config::default(), &expected, &[(&completion, 0.0, "")]);
    }
}

/// A call with the first value that is acceptable for each argument.
fn first_acceptable(call: &Value) -> Option<Value> {
    let (name, arguments) = call.as_object()?.iter().next()?;
    let mut chosen = Map::new();
    for (argument, values) in arguments.as_object()? {
        let value = values.as_array()?.first()?;
        if value.as_str() != Some("") {
            chosen.insert(argument.clone(), plain(value));
        }
    }
    Some(json!({"name": name, "arguments": chosen}))
}

/// Objects among acceptable values hold lists of values themselves.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let first = |list: &Value| list.as_array().and_then(|list| list.first()).map(plain);
            let chosen = fields.iter().filter_map(|(key, list)| Some((key.clone(), first(list)?)));
            Value::Object(chosen.filter(|(_, value)| value.as_str() != Some("")).collect())
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().map(plain).collect()
        }
        other => other.clone(),
    }
}

#[test]
fn the_leaderboards_answers_are_right() {
    for (kind, count) in [("simple_python", 400), ("multiple", 200), ("parallel", 200)] {
        let Some(lines) = verifiers_common::data_file(&format!("bfcl/answers_{kind}.jsonl")) else {
            return;
        };
        let mut seen = 0;
        for line in lines.lines() {
            let row: Value = serde_json::from_str(line).expect("a row");
            let expected = &row["ground_truth"];
            let calls: Option<Vec<Value>> =
                expected.as_array().expect("calls").iter().rev().map(first_acceptable).collect();
            let mut calls = calls.expect("calls as the leaderboard writes them");
            let right = Value::Array(calls.clone()).to_string();
            check(&Config::default(), expected, &[(&right, 1.0, "calls right")]);
            calls[0]["name"] = json!("another");
            let wrong = Value::Array(calls).to_string();
            check(&Config::default(), expected, &[(&wrong, 0.0, "`another` is called")]);
            seen += 1;
        }
        assert_eq!(seen, count, "{kind}");
    }
}

proptest! {
    #[test]
    fn arbitrary_completions_never_panic(text in "\\PC*") {
        let expected = json!([{"name": "f", "arguments": {}}]);
        let _ = graded(&Config::default(), &expected, &text);
        let _ = graded(&Config::default(), &expected, &format!("<tool_call>{text}</tool_call>"));
        let _ = graded(&Config::default(), &json!(text), "{}");
    }
}
