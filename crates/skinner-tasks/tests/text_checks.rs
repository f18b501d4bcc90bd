//! Each check of texts, by its configuration as a recipe has it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skinner_tasks::text::{Config, Text};
use skinner_tasks::{Failed, Task, Trace};

fn verifier(config: Value) -> Text {
    let shown = config.to_string();
    let config: Config = serde_json::from_value(config).unwrap_or_else(|e| panic!("{shown}: {e}"));
    Text::new(config).unwrap_or_else(|error| panic!("{shown}: {error}"))
}

fn task() -> Task {
    serde_json::from_value(json!({
        "prompt": "", "answer": "Paris",
        "pattern": "^a+$", "bad_pattern": "(", "words": ["cat", "dog"], "min": 3, "max": 4,
        "language": "deu", "names": ["Paris", "Lutetia"], "tokens": 50,
        "schema": {"type": "integer"}, "schema_text": "{\"type\": \"integer\"}",
    }))
    .expect("a task")
}

/// One configuration, completions and what they get.
fn check(config: &Value, rows: &[(&str, f64, &str)]) {
    let text = verifier(config.clone());
    for (completion, reward, reason) in rows {
        let trace = Trace { completion: (*completion).to_owned(), tokens: 40, truncated: false };
        let graded =
            text.grade(&task(), &trace).unwrap_or_else(|error| panic!("{config}: {error}"));
        let shown = format!("{config}, {completion:?}: {graded:?}");
        assert!((graded.reward - reward).abs() < 1e-9, "{shown}");
        assert!(graded.reason.contains(reason), "{shown}");
    }
}

#[test]
fn exact() {
    check(
        &json!({"check": {"kind": "exact"}}),
        &[
            ("Paris", 1.0, "exact match"),
            ("paris", 0.0, "\"paris\" is not \"Paris\""),
            ("", 0.0, "the completion is empty"),
        ],
    );
    check(
        &json!({"check": {"kind": "exact", "expected": "Is it so?", "ignore_case": true,
            "ignore_whitespace": true, "ignore_punctuation": true}}),
        &[(" is  it\nso ", 1.0, ""), ("is it not so", 0.0, "")],
    );
    check(
        &json!({"check": {"kind": "exact", "column": "names"}, "tag": "answer"}),
        &[
            ("<answer>Lutetia</answer>", 1.0, ""),
            ("Lutetia", 0.0, "no <answer>…</answer>"),
            ("<answer>London</answer>", 0.0, "is not"),
        ],
    );
}

#[test]
fn regex() {
    check(
        &json!({"check": {"kind": "regex", "pattern": "\\d{3}"}}),
        &[("call 911 now", 1.0, "matches"), ("call me", 0.0, "does not match")],
    );
    check(
        &json!({"check": {"kind": "regex", "pattern": "\\d|x", "full": true}}),
        &[("1", 1.0, ""), ("11", 0.0, ""), ("x", 1.0, ""), ("1x", 0.0, "")],
    );
    check(
        &json!({"check": {"kind": "regex", "pattern": "sorry", "forbidden": true}}),
        &[("fine", 1.0, ""), ("sorry, no", 0.0, ""), ("", 0.0, "empty")],
    );
    check(
        &json!({"check": {"kind": "regex", "column": "pattern"}}),
        &[("aaa", 1.0, ""), ("aab", 0.0, "")],
    );
}

#[cfg(feature = "json-schema")]
#[test]
fn json_schema() {
    let schema = json!({"type": "object", "required": ["age"],
        "properties": {"age": {"type": "integer", "minimum": 0}}});
    check(
        &json!({"check": {"kind": "json_schema", "schema": schema}, "partial": true}),
        &[
            (r#"{"age": 5}"#, 1.0, "fits"),
            ("```json\n{\"age\": 5}\n```", 1.0, "fits"),
            (r#"{"age": -5}"#, 0.5, "/age"),
            (r#"{"age""#, 0.0, "no JSON"),
            ("", 0.0, "empty"),
        ],
    );
    for column in ["schema", "schema_text"] {
        check(
            &json!({"check": {"kind": "json_schema", "column": column}}),
            &[("5", 1.0, ""), ("\"5\"", 0.0, "")],
        );
    }
    let deep = "[".repeat(1_000_000);
    check(&json!({"check": {"kind": "json_schema", "schema": true}}), &[(&deep, 0.0, "no JSON")]);
}

#[test]
fn counts() {
    check(
        &json!({"check": {"kind": "counts", "of": "words", "min": 3, "max": 4}, "partial": true}),
        &[
            ("one two three", 1.0, "3 words"),
            ("one - two", 2.0 / 3.0, "2 words, at least 3"),
            ("a b c d e", 0.8, "at most 4"),
            ("", 0.0, "empty"),
        ],
    );
    check(
        &json!({"check": {"kind": "counts", "min_column": "min", "max_column": "max"}}),
        &[("a b c", 1.0, ""), ("a b", 0.0, "")],
    );
    check(
        &json!({"check": {"kind": "counts", "of": "letters", "letter": "r", "min": 3, "max": 3}}),
        &[("strawbeRry", 1.0, "3 letters"), ("berry", 0.0, "")],
    );
    check(
        &json!({"check": {"kind": "counts", "of": "sentences", "min": 3, "max": 3}}),
        &[("It is 3.5 m. Really?! Yes", 1.0, "3 sentences"), ("One. Two.", 0.0, "")],
    );
    check(
        &json!({"check": {"kind": "counts", "of": "paragraphs", "min": 2, "max": 2}}),
        &[("a\nb\n\n\nc", 1.0, ""), ("a\nb", 0.0, "")],
    );
    check(
        &json!({"check": {"kind": "counts", "of": "lines", "max": 2}}),
        &[("a\n\nb\n", 1.0, "2 lines"), ("a\nb\nc", 0.0, "")],
    );
}

#[test]
fn words() {
    check(
        &json!({"check": {"kind": "words", "contains": ["Sun"], "contains_column": "words",
            "lacks": ["rain"]}, "partial": true}),
        &[
            ("the sun, a cat, a dog", 1.0, ""),
            ("the sun and rain", 0.25, "lacks [\"cat\", \"dog\"], has [\"rain\"]"),
            ("the sun, a cat, a dog on trains", 1.0, ""),
        ],
    );
    check(
        &json!({"check": {"kind": "words", "lacks": ["rain"], "within_words": true}}),
        &[("on trains", 0.0, "has"), ("on buses", 1.0, "")],
    );
}

#[test]
fn language() {
    const GERMAN: &str = "Der Zug fährt heute nicht, weil es in der Nacht sehr viel geschneit hat.";
    const ENGLISH: &str =
        "The train does not leave today because it snowed a lot during the night.";
    check(
        &json!({"check": {"kind": "language", "language": "eng"}}),
        &[(ENGLISH, 1.0, "eng"), (GERMAN, 0.0, "deu"), ("123", 0.0, "no language")],
    );
    check(
        &json!({"check": {"kind": "language", "column": "language"}}),
        &[(GERMAN, 1.0, ""), (ENGLISH, 0.0, "")],
    );
}

#[test]
fn format() {
    check(
        &json!({"check": {"kind": "format"}, "partial": true}),
        &[
            ("<think>a</think>\n<answer>b</answer>\n", 1.0, "right"),
            ("<think>a</think>b", 0.5, "no <answer>"),
            ("<think>a</think> so <answer>b</answer>", 0.5, "text before <answer>"),
            ("<answer>b</answer><think>a</think>", 0.0, "text before <think>"),
            ("<think>a</think><answer>b</answer> and", 0.5, "text after"),
            ("<think>a</think><answer>b</answer><answer>c</answer>", 0.5, "occurs again"),
            ("<think>a <answer>x</answer></think><answer>b</answer>", 0.0, "stands within"),
            ("<think>a</think><answer></answer>", 0.5, "<answer> is empty"),
            ("<think>a", 0.0, "not closed"),
            ("", 0.0, "empty"),
        ],
    );
    check(
        &json!({"check": {"kind": "format", "opened": true, "allow_outside": true}}),
        &[("a</think> so <answer>b</answer>.", 1.0, ""), ("a <answer>b</answer>", 0.0, "")],
    );
}

#[test]
fn length() {
    check(
        &json!({"check": {"kind": "length", "target": 60, "width": 40.0}}),
        &[("x", 0.5, "40 tokens, 60 are wanted")],
    );
    check(
        &json!({"check": {"kind": "length", "column": "tokens", "width": 5, "shorter_is_fine": true}}),
        &[("x", 1.0, ""), ("", 0.0, "empty")],
    );
}

#[test]
fn what_is_missing_fails() {
    let trace = Trace { completion: "x".to_owned(), ..Trace::default() };
    for (config, message) in [
        (
            json!({"kind": "exact", "column": "no"}),
            "the task has no column `no`; it has [bad_pattern",
        ),
        (json!({"kind": "exact", "column": "max"}), "column `max` must hold a list of texts"),
        (json!({"kind": "regex", "column": "bad_pattern"}), "column `bad_pattern`: pattern \"(\""),
        (json!({"kind": "counts", "min_column": "words"}), "must hold a whole number"),
        (json!({"kind": "language", "column": "pattern"}), "ISO 639-3"),
        (json!({"kind": "length", "column": "no"}), "no column `no`"),
    ] {
        let error = verifier(json!({"check": config})).grade(&task(), &trace).expect_err(message);
        assert!(error.0.contains(message), "{config}: {error}");
    }
    let exact = verifier(json!({"check": {"kind": "exact"}}));
    let error = exact.grade(&Task::default(), &trace);
    assert_eq!(error, Err(Failed("the task has no `answer`".to_owned())));
}

#[test]
fn wrong_configurations() {
    for (check, message) in [
        (json!({"kind": "regex", "pattern": "("}), "unclosed group"),
        (json!({"kind": "regex", "pattern": "(\\w{1000}){1000}"}), "size limit"),
        (json!({"kind": "regex"}), "give either pattern or column"),
        (json!({"kind": "regex", "pattern": "a", "column": "b"}), "give either pattern or column"),
        (json!({"kind": "counts", "of": "words"}), "give either min or min_column"),
        (json!({"kind": "counts", "min": 3, "max": 2}), "max is 2, must be at least min"),
        (json!({"kind": "counts", "letter": "r", "min": 2}), "letter is r"),
        (json!({"kind": "words"}), "give either contains"),
        (json!({"kind": "language", "language": "xx"}), "language is xx"),
        (json!({"kind": "format", "tags": ["a", "a"]}), "tags is a"),
        (json!({"kind": "length", "target": 5, "width": 0.0}), "width is 0"),
    ] {
        let config: Config = serde_json::from_value(json!({"check": check})).expect("a shape");
        let error = Text::new(config).expect_err(message).to_string();
        assert!(error.contains(message), "{check}: {error}");
    }
    for config in [
        json!({"check": {"kind": "regex", "patern": "a"}}),
        json!({"check": {"kind": "exact"}, "partly": true}),
        json!({"check": {"kind": "magic"}}),
    ] {
        assert!(serde_json::from_value::<Config>(config.clone()).is_err(), "{config}");
    }
}

#[cfg(feature = "json-schema")]
#[test]
fn a_schema_elsewhere_is_not_fetched() {
    let schema = json!({"$ref": "https://example.com/schema.json"});
    let check = json!({"check": {"kind": "json_schema", "schema": schema}});
    let config: Config = serde_json::from_value(check).expect("a shape");
    assert!(Text::new(config).is_err());
}

/// Time is linear in the text, for any pattern.
#[test]
fn long_texts_are_quick() {
    let long = "a".repeat(10_000_000);
    let start = Instant::now();
    check(
        &json!({"check": {"kind": "regex", "pattern": "(a*)*b"}}),
        &[(&long, 0.0, "does not match")],
    );
    check(&json!({"check": {"kind": "counts", "of": "sentences", "max": 1}}), &[(&long, 1.0, "")]);
    check(&json!({"check": {"kind": "format"}}), &[(&"<think>".repeat(1_000_000), 0.0, "")]);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}
