//! Folders as Hugging Face's tools write them, and adapters.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use skinner_lm::adapter::LoraMatrices;
use skinner_lm::hf_folder::save_pretrained;
use skinner_lm::{
    ChatTemplate, Dtype, Family, LmError, LoraFile, ModelConfig, Pretrained, Tokenizer,
};

fn config(family: Family) -> ModelConfig {
    let gpt2 = family == Family::Gpt2;
    ModelConfig {
        family,
        vocab_size: 40,
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: if gpt2 { 4 } else { 2 },
        head_dim: if family == Family::Qwen3 { 8 } else { 4 },
        max_position_embeddings: 64,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: None,
        tie_word_embeddings: family != Family::Llama,
        bos_token_id: None,
        eos_token_ids: vec![3, 5],
        pad_token_id: None,
    }
}

fn value(tensor: usize, at: usize) -> f32 {
    (tensor * 1000 + at) as f32 / 64.0
}

type Named<'a> = (String, Vec<usize>, Cow<'a, [f32]>);

fn tensors(config: &ModelConfig) -> Vec<Named<'static>> {
    let shapes = config.tensors().into_iter().enumerate();
    shapes
        .map(|(tensor, (name, shape))| {
            let numbers = (0..shape.iter().product()).map(|at| value(tensor, at)).collect();
            (name, shape, numbers)
        })
        .collect()
}

fn save(folder: &Path, config: &ModelConfig, dtype: Dtype) {
    let tokenizer = Tokenizer::train_characters("abcdefgh", Some("<unk>"), None).unwrap();
    let tokenizer = tokenizer.with_special_tokens(None, Some("a"), None).unwrap();
    let template =
        ChatTemplate::new("{{ messages[0]['content'] }}{{ eos_token }}", None, Some("a"));
    let all = tensors(config).into_iter().rev();
    save_pretrained(folder, config, &tokenizer, template.as_ref().ok(), all, dtype).unwrap();
}

#[test]
fn what_is_saved_is_loaded() {
    for family in Family::ALL {
        let folder = tempfile::tempdir().unwrap();
        let config = config(family);
        save(folder.path(), &config, Dtype::F32);
        let model = Pretrained::open(folder.path()).unwrap();
        assert_eq!(model.config, config);
        assert_eq!(model.tokenizer.eos_token().unwrap(), "a");
        assert!(model.template.unwrap().source().contains("eos_token"));
        for (name, shape, numbers) in tensors(&config) {
            assert_eq!(model.weights.shape(&name).unwrap(), shape);
            assert_eq!(model.weights.read_vec(&name).unwrap(), *numbers, "{name}");
        }
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let expected = [
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        ];
        assert_eq!(names, expected);
    }
}

#[test]
fn gpt2s_matrices_lie_transposed_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &config(Family::Gpt2), Dtype::F32);
    let bytes = fs::read(folder.path().join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("transformer.h.0.attn.c_attn.weight").unwrap().shape(), [16, 48]);
    assert_eq!(file.tensor("transformer.wte.weight").unwrap().shape(), [40, 16]);
}

#[test]
fn half_precision_is_rounded_to_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(Family::Qwen2);
    save(folder.path(), &config, Dtype::Bf16);
    let model = Pretrained::open(folder.path()).unwrap();
    for (name, _, numbers) in tensors(&config) {
        for (found, exact) in model.weights.read_vec(&name).unwrap().iter().zip(&*numbers) {
            assert!((found - exact).abs() <= exact.abs() / 256.0, "{name}: {found}, {exact}");
        }
    }
}

/// Splits `model.safetensors` into two shards, with names as they are without a head.
fn shard(folder: &Path, prefix: &str) {
    let bytes = fs::read(folder.join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let all: Vec<_> = file.tensors();
    let mut map = json!({});
    for (part, tensors) in all.chunks(all.len() / 2 + 1).enumerate() {
        let name = format!("model-0000{part}.safetensors");
        let short = |name: &str| name.strip_prefix(prefix).unwrap_or(name).to_owned();
        tensors.iter().for_each(|(tensor, _)| map[short(tensor)] = json!(name));
        let tensors = tensors.iter().map(|(tensor, view)| (short(tensor), view));
        safetensors::serialize_to_file(tensors, None, &folder.join(name)).unwrap();
    }
    let index = json!({"metadata": {}, "weight_map": map}).to_string();
    fs::write(folder.join("model.safetensors.index.json"), index).unwrap();
    fs::remove_file(folder.join("model.safetensors")).unwrap();
}

#[test]
fn shards_and_names_without_a_head_are_found() {
    for (family, prefix) in [(Family::Gpt2, "transformer."), (Family::Qwen3, "model.")] {
        let folder = tempfile::tempdir().unwrap();
        let config = config(family);
        save(folder.path(), &config, Dtype::F32);
        shard(folder.path(), prefix);
        let model = Pretrained::open(folder.path()).unwrap();
        for (name, _, numbers) in tensors(&config) {
            assert_eq!(model.weights.read_vec(&name).unwrap(), *numbers, "{name}");
        }
        let index = r#"{"weight_map": {"a": "../model.safetensors"}}"#;
        fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
        let error = Pretrained::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("../model.safetensors"), "{error}");
    }
}

#[test]
fn saving_needs_each_tensor_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(Family::Llama);
    let tokenizer = Tokenizer::train_characters("ab", None, None).unwrap();
    let save = |tensors: Vec<Named>| {
        let all = tensors.into_iter();
        let saved = save_pretrained(folder.path(), &config, &tokenizer, None, all, Dtype::F32);
        saved.unwrap_err().to_string()
    };
    let mut all = tensors(&config);
    let last = all.pop().unwrap();
    assert!(save(all.clone()).contains("`lm_head.weight` was not given"));
    all.push(last.clone());
    all.push(last);
    assert!(save(all.clone()).contains("comes twice"));
    all.truncate(1);
    all[0].1 = vec![16, 40];
    let error = save(all);
    assert!(error.contains("[16, 40]") && error.contains("[40, 16]"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a temporary file is left");
}

#[test]
fn a_vocabulary_larger_than_the_embedding_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &config(Family::Llama), Dtype::F32);
    let text: String = ('a'..='z').chain('A'..='Z').collect();
    Tokenizer::train_characters(&text, None, None)
        .unwrap()
        .save(folder.path().join("tokenizer.json"))
        .unwrap();
    let error = Pretrained::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("52 tokens") && error.contains("40 rows"), "{error}");
}

#[test]
fn templates_are_found_where_they_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &config(Family::Llama), Dtype::F32);
    let path = folder.path().join("tokenizer_config.json");
    let source =
        || Pretrained::open(folder.path()).map(|m| m.template.map(|t| t.source().to_owned()));
    let named =
        |name: &str| json!({"chat_template": [{"name": name, "template": "T"}]}).to_string();
    fs::write(&path, named("default")).unwrap();
    assert_eq!(source().unwrap().unwrap(), "T");
    fs::write(&path, named("rag")).unwrap();
    assert!(source().unwrap_err().to_string().contains("rag"));
    fs::write(folder.path().join("chat_template.jinja"), "J").unwrap();
    assert_eq!(source().unwrap().unwrap(), "J");
}

#[test]
fn no_damage_to_a_header_leads_to_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &config(Family::Llama), Dtype::F32);
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let value = prop_oneof![Just(0u8), Just(b'9'), Just(b'-'), Just(b'}'), any::<u8>()];
    let place = prop_oneof![0..8usize, 0..header];
    let damage =
        (proptest::collection::vec((place, value, 1usize..6), 1..4), 0..bytes.len(), any::<bool>());
    let mut runner =
        TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(1000) });
    runner
        .run(&damage, |(changes, len, cut)| {
            let mut bytes = bytes.clone();
            for (at, value, count) in changes {
                bytes[at..at + count].fill(value);
            }
            if cut {
                bytes.truncate(len);
            }
            fs::write(&path, &bytes).unwrap();
            if let Ok(model) = Pretrained::open(folder.path()) {
                for name in model.weights.names() {
                    let _ = model.weights.read_vec(name);
                }
            }
            Ok(())
        })
        .unwrap();
}

fn lora(config: &ModelConfig) -> LoraFile {
    let rank = 2;
    let module = |name: &str| {
        let (inputs, outputs) = (config.hidden_size, config.num_key_value_heads * config.head_dim);
        let numbers = |len: usize| (0..len).map(|at| at as f32 / 8.0 - 1.0).collect();
        let (a, b) = (numbers(rank * inputs), numbers(outputs * rank));
        (format!("model.layers.1.self_attn.{name}"), LoraMatrices { inputs, outputs, a, b })
    };
    LoraFile {
        rank,
        alpha: 4.0,
        dropout: 0.05,
        target_modules: vec!["k_proj".to_owned(), "v_proj".to_owned()],
        base_model: "smollm2-135m-instruct".to_owned(),
        modules: [module("k_proj"), module("v_proj")].into(),
    }
}

#[test]
fn an_adapter_that_is_saved_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(Family::Llama);
    let adapter = lora(&config);
    adapter.save(folder.path(), config.family).unwrap();
    assert_eq!(LoraFile::load(folder.path(), &config).unwrap(), adapter);
}

fn load_changed(change: impl Fn(&mut LoraFile, &mut Value)) -> Result<LoraFile, LmError> {
    let folder = tempfile::tempdir().unwrap();
    let config = config(Family::Llama);
    let mut adapter = lora(&config);
    let mut value = json!({});
    change(&mut adapter, &mut value);
    adapter.save(folder.path(), config.family).unwrap();
    let path = folder.path().join("adapter_config.json");
    let mut saved: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    value.as_object().unwrap().iter().for_each(|(key, value)| saved[key] = value.clone());
    fs::write(&path, saved.to_string()).unwrap();
    LoraFile::load(folder.path(), &config)
}

#[test]
fn an_adapter_that_does_not_fit_is_refused() {
    let check = |change: &dyn Fn(&mut LoraFile, &mut Value), what: &[&str]| {
        let error = load_changed(change).unwrap_err().to_string();
        assert!(what.iter().all(|what| error.contains(what)), "{error}");
    };
    check(&|_, config| config["use_dora"] = json!(true), &["`use_dora` is true"]);
    check(&|_, config| config["bias"] = json!("all"), &["`bias` is \"all\""]);
    check(&|_, config| config["r"] = json!(0), &["`r` is 0"]);
    check(&|_, config| config["r"] = json!(3), &["[2, 16]", "[3, 16]"]);
    check(&|_, config| config["peft_type"] = json!("IA3"), &["\"IA3\""]);
    check(
        &|lora, _| {
            let matrices = lora.modules.pop_first().unwrap().1;
            lora.modules.insert("model.layers.9.self_attn.k_proj".to_owned(), matrices);
        },
        &["`model.layers.9.self_attn.k_proj.weight`", "nearest are"],
    );
    check(
        &|lora, _| {
            let matrices =
                LoraMatrices { inputs: 16, outputs: 50, a: vec![0.0; 32], b: vec![0.0; 100] };
            lora.modules.insert("lm_head".to_owned(), matrices);
        },
        &["lora_B", "[50, 2]", "[40, 2]"],
    );
    check(&|lora, _| lora.modules.clear(), &["changes nothing"]);
    assert_eq!(
        load_changed(|_, config| config["target_modules"] = json!("all-linear"))
            .unwrap()
            .target_modules,
        ["k_proj", "v_proj"]
    );
}

#[test]
fn an_adapter_of_another_vocabulary_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(Family::Llama);
    lora(&config).save(folder.path(), config.family).unwrap();
    let shapes = [("base_model.model.model.embed_tokens.weight".to_owned(), vec![48, 16])];
    let tensors = shapes.iter().map(|(n, s)| (n.clone(), s.clone(), Cow::Owned(vec![0.0; 768])));
    let path = folder.path().join("adapter_model.safetensors");
    skinner_lm::tensor_file::write_safetensors(&path, &shapes, Dtype::F32, tensors).unwrap();
    let error = LoraFile::load(folder.path(), &config).unwrap_err().to_string();
    assert!(error.contains("vocabulary of 48") && error.contains("one of 40"), "{error}");
}
