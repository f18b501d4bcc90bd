use serde_json::{Value, json};

use super::*;

fn read(value: &Value) -> Result<ModelConfig, LmError> {
    ModelConfig::from_config_json(&value.to_string())
}

fn error(value: &Value) -> String {
    read(value).unwrap_err().to_string()
}

#[test]
fn defaults_are_those_of_transformers() {
    let config = read(&json!({"model_type": "llama"})).unwrap();
    assert_eq!(
        (config.vocab_size, config.hidden_size, config.intermediate_size),
        (32_000, 4096, 11_008)
    );
    assert_eq!((config.num_key_value_heads, config.head_dim), (32, 128));
    assert_eq!((config.bos_token_id, &config.eos_token_ids[..]), (Some(1), &[2][..]));
    let config = read(&json!({"model_type": "qwen3", "num_attention_heads": 64})).unwrap();
    assert_eq!(
        (config.vocab_size, config.head_dim, config.num_key_value_heads),
        (151_936, 128, 32)
    );
    assert_eq!((config.bos_token_id, &config.eos_token_ids[..]), (None, &[][..]));
    let config = read(&json!({"model_type": "gpt2"})).unwrap();
    assert_eq!((config.hidden_size, config.intermediate_size, config.head_dim), (768, 3072, 64));
    assert!(config.tie_word_embeddings);
    assert_eq!(config.eos_token_ids, [50_256]);
    assert_eq!(config.num_parameters(), 124_439_808);
    // A default outside of a small vocabulary is no token.
    let config =
        read(&json!({"model_type": "gpt2", "vocab_size": 100, "eos_token_id": null})).unwrap();
    assert_eq!((config.bos_token_id, config.eos_token_ids.len()), (None, 0));
}

#[test]
fn rotary_scaling_has_an_old_and_a_new_spelling() {
    let llama3 = json!({
        "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192
    });
    let old = json!({"model_type": "llama", "rope_theta": 5e5, "rope_scaling": llama3});
    let mut parameters = llama3.clone();
    parameters["rope_theta"] = json!(5e5);
    let new = json!({"model_type": "llama", "rope_parameters": parameters});
    let config = read(&old).unwrap();
    assert_eq!(config.rope_theta, 5e5);
    let expected = RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192,
    };
    assert_eq!(config.rope_scaling, Some(expected));
    assert_eq!(read(&new).unwrap(), config);
    let linear = json!({"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 2}});
    assert_eq!(read(&linear).unwrap().rope_scaling, Some(RopeScaling::Linear { factor: 2.0 }));
    let default = json!({"model_type": "llama", "rope_parameters": {"rope_type": "default"}});
    assert_eq!(read(&default).unwrap().rope_scaling, None);
}

#[test]
fn what_is_written_is_read_back() {
    for family in Family::ALL {
        let mut config =
            read(&json!({"model_type": family.as_str(), "num_attention_heads": 32})).unwrap();
        config.eos_token_ids = vec![1, 2];
        config.norm_eps = 1e-5;
        if family != Family::Gpt2 {
            config.rope_scaling = Some(RopeScaling::Linear { factor: 4.0 });
        }
        let text = config.to_config_json("float32");
        assert!(text.contains("1e-5") || text.contains("0.00001"), "{text}");
        assert_eq!(ModelConfig::from_config_json(&text).unwrap(), config);
    }
}

#[test]
fn what_is_not_built_is_named() {
    let check = |mut value: Value, model: &str, what: &str| {
        value["model_type"] = json!(model);
        let error = error(&value);
        assert!(error.contains(what), "{error}");
    };
    check(json!({}), "mamba", "`model_type` is `mamba`, and known are llama, qwen2, qwen3, gpt2");
    check(json!({"hidden_act": "gelu"}), "llama", "`hidden_act` is `gelu`, must be silu");
    check(json!({"activation_function": "relu"}), "gpt2", "`relu`, must be gelu_new");
    check(json!({"attention_bias": true}), "llama", "`attention_bias` is true");
    check(json!({"mlp_bias": true}), "llama", "`mlp_bias` is true");
    check(json!({"use_sliding_window": true}), "qwen2", "`use_sliding_window` is true");
    check(json!({"rope_scaling": {"rope_type": "yarn", "factor": 2}}), "qwen2", "`yarn`");
    check(json!({"rope_scaling": {"rope_type": "linear"}}), "llama", "no `factor`");
    check(json!({"partial_rotary_factor": 0.5}), "llama", "`partial_rotary_factor` is 0.5");
    check(json!({"scale_attn_weights": false}), "gpt2", "`scale_attn_weights` is false");
    assert!(error(&json!({})).contains("no `model_type`"));
    assert!(ModelConfig::from_config_json("[]").unwrap_err().to_string().contains("no object"));
    assert!(ModelConfig::from_config_json("{").unwrap_err().to_string().contains("no JSON"));
}

#[test]
fn sizes_that_make_no_sense_are_named() {
    let check = |value: Value, what: &str| {
        let mut all = json!({"model_type": "llama"});
        value.as_object().unwrap().iter().for_each(|(key, value)| all[key] = value.clone());
        let error = error(&all);
        assert!(error.contains(what), "{error}");
    };
    check(json!({"hidden_size": 0}), "`hidden_size` is 0");
    check(json!({"num_attention_heads": 0}), "`num_attention_heads` is 0");
    check(json!({"vocab_size": u64::MAX}), "`vocab_size` is 18446744073709551615");
    check(json!({"vocab_size": -1}), "`vocab_size` is -1");
    check(json!({"hidden_size": "a"}), "`hidden_size` is \"a\", must be a whole number");
    check(json!({"num_key_value_heads": 5}), "`num_key_value_heads` is 5, must divide");
    check(json!({"head_dim": 5}), "`head_dim` is 5, must be even");
    check(json!({"rms_norm_eps": 0}), "`norm_eps` is 0");
    check(json!({"rope_theta": -1}), "`rope_theta` is -1");
    check(json!({"eos_token_id": [1, 40_000]}), "`eos_token_id` is 40000, must be below");
    check(json!({"eos_token_id": "x"}), "`eos_token_id` is \"x\", must be a token id");
    check(json!({"rope_scaling": {"type": "linear", "factor": 0.5}}), "`factor` is 0.5");
}

#[test]
fn tensors_follow_the_family() {
    let names = |family: &str| -> Vec<String> {
        let config = json!({"model_type": family, "num_hidden_layers": 1, "n_layer": 1});
        read(&config).unwrap().tensors().into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names("llama").len(), 1 + 9 + 2);
    assert_eq!(names("llama").last().unwrap(), "lm_head.weight");
    assert_eq!(names("qwen2").len(), 1 + 12 + 2);
    assert_eq!(names("qwen3").len(), 1 + 11 + 2);
    let gpt2 = names("gpt2");
    assert_eq!((gpt2.len(), gpt2.last().unwrap().as_str()), (2 + 12 + 2, "transformer.ln_f.bias"));
}
