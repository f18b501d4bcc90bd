//! The real tokenizer against the Python library's, and what must hold for every text.

mod common;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use skinner_lm::Tokenizer;

fn check_streams(tokenizer: &Tokenizer, ids: &[u32]) {
    let mut stream = tokenizer.stream(false);
    let mut text = String::new();
    for id in ids {
        text += &stream.push(*id).unwrap();
    }
    text += &stream.finish().unwrap();
    assert_eq!(text, tokenizer.decode(ids, false).unwrap());
}

#[test]
fn ids_equal_those_of_the_python_library() {
    let Some(model) = common::smollm2() else { return };
    let golden: Value = serde_json::from_str(include_str!("data/smollm2_tokens.json")).unwrap();
    let cases: Vec<(String, Vec<u32>)> = serde_json::from_value(golden["cases"].clone()).unwrap();
    assert_eq!(cases.len(), 240);
    let again = Tokenizer::from_json(&model.tokenizer.to_json().unwrap()).unwrap();
    for (text, ids) in cases {
        assert_eq!(model.tokenizer.encode(&text, false).unwrap(), ids, "{text:?}");
        assert_eq!(again.encode(&text, false).unwrap(), ids, "{text:?}");
        assert_eq!(model.tokenizer.decode(&ids, false).unwrap(), text);
        check_streams(&model.tokenizer, &ids);
    }
}

#[test]
fn any_text_comes_back() {
    let Some(model) = common::smollm2() else { return };
    let tokenizer = &model.tokenizer;
    let mut runner =
        TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(300) });
    // This vocabulary has no tokens for the bytes f1 to f3, which begin U+40000 to U+FFFFF.
    let texts = "(\\PC|[ \t\r\n0-9]|<\\|im_end\\|>|[\u{0}-\u{10ffff}]){0,60}"
        .prop_map(|text: String| text.replace(|c| ('\u{40000}'..='\u{fffff}').contains(&c), "x"));
    runner
        .run(&texts, |text| {
            let (ids, offsets) = tokenizer.encode_with_offsets(&text, true).unwrap();
            prop_assert_eq!(&tokenizer.encode(&text, true).unwrap(), &ids);
            prop_assert_eq!(&tokenizer.decode(&ids, false).unwrap(), &text);
            let mut end = 0;
            for range in &offsets {
                prop_assert!(range.start <= end && text.get(range.clone()).is_some());
                end = range.end;
            }
            prop_assert_eq!(end, text.len());
            check_streams(tokenizer, &ids);
            Ok(())
        })
        .unwrap();
}

#[test]
fn any_ids_stream_as_they_decode() {
    let Some(model) = common::smollm2() else { return };
    let mut runner =
        TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(200) });
    // Ids 17 to 272 are single bytes, so that characters are broken.
    let ids = proptest::collection::vec(prop_oneof![17u32..273, 0u32..49_152], 0..40);
    runner
        .run(&ids, |ids| {
            check_streams(&model.tokenizer, &ids);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_stream_holds_back_half_a_character() {
    let Some(model) = common::smollm2() else { return };
    let ids = model.tokenizer.encode("a🤖", false).unwrap();
    assert!(ids.len() > 2);
    let mut stream = model.tokenizer.stream(true);
    let parts: Vec<String> = ids.iter().map(|id| stream.push(*id).unwrap()).collect();
    assert_eq!(parts.first().unwrap(), "a");
    assert_eq!(parts.last().unwrap(), "🤖");
    assert!(parts[1..parts.len() - 1].iter().all(String::is_empty));
}

#[test]
fn special_tokens_are_known() {
    let Some(model) = common::smollm2() else { return };
    let tokenizer = &model.tokenizer;
    assert_eq!(tokenizer.vocab_size(), 49_152);
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.pad()), (Some(1), Some(2), Some(2)));
    assert_eq!(tokenizer.token_to_id("<|im_start|>"), Some(1));
    assert_eq!(tokenizer.id_to_token(2).unwrap(), "<|im_end|>");
    assert!(tokenizer.is_special(2) && !tokenizer.is_special(100));
    assert_eq!(tokenizer.decode(&[1, 9690, 2], true).unwrap(), "system");
    let error = tokenizer.decode(&[1, 49_152], false).unwrap_err().to_string();
    assert!(error.contains("49152") && error.contains("out of range"), "{error}");
}

#[test]
fn characters_are_tokens() {
    let tokenizer = Tokenizer::train_characters("hello wörld\n", None, None).unwrap();
    assert_eq!(tokenizer.vocab_size(), 10);
    let error = tokenizer.encode("hällo", false).unwrap_err().to_string();
    assert!(error.contains("'ä' at byte 1") && error.contains("10 characters"), "{error}");
    let ids = tokenizer.encode("hell öl\n", false).unwrap();
    assert_eq!(ids.len(), 8);
    assert_eq!(tokenizer.decode(&ids, false).unwrap(), "hell öl\n");
    check_streams(&tokenizer, &ids);
    let again = Tokenizer::from_json(&tokenizer.to_json().unwrap()).unwrap();
    assert_eq!(again.encode("hell öl\n", false).unwrap(), ids);
    assert!(again.encode("z", false).unwrap_err().to_string().contains("'z' at byte 0"));
    assert!(Tokenizer::train_characters("", None, None).unwrap_err().to_string().contains("empty"));
}

#[test]
fn an_unknown_character_may_have_a_token() {
    let tokenizer = Tokenizer::train_characters("abc", Some("<unk>"), None).unwrap();
    assert_eq!(tokenizer.encode("azcé", false).unwrap(), [0, 3, 2, 3]);
    assert!(tokenizer.is_special(3));
    let error = Tokenizer::train_characters("abc", Some("a"), None).unwrap_err().to_string();
    assert!(error.contains("\"a\""), "{error}");
}

#[test]
fn bpe_is_trained_here() {
    let texts = ["the cat sat on the mat, the cat sat; 2024 \u{1f916}", "the hat of the cat"];
    let train = || Tokenizer::train_bpe(texts.iter(), 300).unwrap();
    let tokenizer = train();
    assert!((258..=300).contains(&tokenizer.vocab_size()), "{}", tokenizer.vocab_size());
    assert_eq!(tokenizer.to_json().unwrap(), train().to_json().unwrap());
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.pad()), (Some(0), Some(0), Some(0)));
    for text in ["the cat", "völlig neu \u{1f600}\n", ""] {
        let ids = tokenizer.encode(text, true).unwrap();
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
    }
    assert!(tokenizer.encode(" the cat", false).unwrap().len() <= 2);
    let error = Tokenizer::train_bpe(texts.iter(), 256).unwrap_err().to_string();
    assert!(error.contains("257"), "{error}");
}
