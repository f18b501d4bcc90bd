//! Chat templates against Jinja as `transformers` configures it, and the places of answers.

use serde_json::Value;
use skinner_lm::template::Date;
use skinner_lm::{ChatTemplate, Message};

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new(source, Some("<s>"), Some("</s>")).unwrap()
}

fn chat(turns: &[(&str, &str)]) -> Vec<Message> {
    turns.iter().map(|(role, content)| Message::new(*role, *content)).collect()
}

#[test]
fn texts_equal_those_of_transformers() {
    let golden: Value = serde_json::from_str(include_str!("data/templates.json")).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 14);
    for case in cases {
        let source = case["template"].as_str().unwrap();
        let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
        let tools = case["tools"].as_array();
        let expected = case["text"].as_str().unwrap();
        let prompt = case["add_generation_prompt"].as_bool().unwrap();
        let template = template(source);
        let text = template.render(&messages, tools.map(Vec::as_slice), prompt).unwrap();
        assert_eq!(text, expected, "{source}");
        let Some(spans) = case.get("spans") else { continue };
        let spans: Vec<(usize, usize)> = serde_json::from_value(spans.clone()).unwrap();
        let (text, found) = template.render_with_spans(&messages, None).unwrap();
        assert_eq!(text, expected);
        let found: Vec<_> = found
            .iter()
            .map(|span| (text[..span.start].chars().count(), text[..span.end].chars().count()))
            .collect();
        assert_eq!(found, spans, "{source}");
    }
}

const CHATML: &str = "{% for m in messages %}{{ '<' + m.role + '>' + m.content + '</s>' + '\n' }}\
    {% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}";

#[test]
fn answers_are_found_without_marks() {
    let messages = chat(&[("user", "a"), ("assistant", "bé"), ("user", "c"), ("assistant", "")]);
    let (text, spans) = template(CHATML).render_with_spans(&messages, None).unwrap();
    let answers: Vec<&str> = spans.into_iter().map(|span| &text[span]).collect();
    assert_eq!(answers, ["bé</s>", "</s>"]);
    let (_, spans) = template(CHATML).render_with_spans(&messages[..1], None).unwrap();
    assert!(spans.is_empty());
}

#[test]
fn answers_that_are_rewritten_later_are_an_error() {
    let source = "{% for m in messages %}{{ loop.revindex }}{{ m.content }}{% endfor %}";
    let messages = chat(&[("user", "a"), ("assistant", "b"), ("user", "c")]);
    let error = template(source).render_with_spans(&messages, None).unwrap_err().to_string();
    assert!(error.contains("message 2") && error.contains("{% generation %}"), "{error}");
}

#[test]
fn errors_name_the_line() {
    let error = ChatTemplate::new("a\n{% if %}", None, None).unwrap_err().to_string();
    assert!(error.starts_with("chat template, line 2: syntax error"), "{error}");
    let source = "{% if messages[0].role != 'user' %}\n{{ raise_exception('begin with a user') }}{% endif %}";
    let error =
        template(source).render(&chat(&[("system", "")]), None, false).unwrap_err().to_string();
    assert!(error.contains("line 2") && error.contains("begin with a user"), "{error}");
    let error = template("{{ x.y.z }}").render(&[], None, false).unwrap_err().to_string();
    assert!(error.contains("line 1") && error.contains("undefined"), "{error}");
}

#[test]
fn the_date_is_the_callers() {
    let source = "{{ strftime_now('%d %b %Y') }}";
    let error = template(source).render(&[], None, false).unwrap_err().to_string();
    assert!(error.contains("none is given"), "{error}");
    let asks = "{{ strftime_now('%Y') if strftime_now is defined else 'of its own' }}";
    assert_eq!(template(asks).render(&[], None, false).unwrap(), "of its own");
    let date = Date { year: 2024, month: 7, day: 26 };
    assert_eq!(template(source).with_date(date).render(&[], None, false).unwrap(), "26 Jul 2024");
}

#[test]
fn odd_tags_are_no_panic() {
    for source in [
        "{%}",
        "{%",
        "{%%}",
        "{% generation",
        "{%-generation-%}",
        "{%+ endgeneration +%}",
        "é{%é%}",
    ] {
        let _ =
            ChatTemplate::new(source, None, None).map(|template| template.render(&[], None, true));
    }
}
