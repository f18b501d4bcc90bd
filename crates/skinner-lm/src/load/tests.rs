use std::borrow::Cow;

use skinner_core::Rng;

use super::*;
use crate::adapter::LoraMatrices;
use crate::config::{Family, ModelConfig};
use crate::hf_folder::save_pretrained;
use crate::tensor_file::Dtype;

fn config() -> ModelConfig {
    ModelConfig {
        family: Family::Llama,
        vocab_size: 5,
        hidden_size: 8,
        intermediate_size: 12,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        head_dim: 4,
        max_position_embeddings: 16,
        norm_eps: 1e-5,
        rope_theta: 100.0,
        rope_scaling: None,
        tie_word_embeddings: true,
        bos_token_id: None,
        eos_token_ids: vec![4],
        pad_token_id: None,
    }
}

fn save(folder: &Path) -> Vec<f32> {
    let decoder = Decoder::new(config()).unwrap();
    let params = decoder.init(&mut Rng::new(1));
    let tokenizer = Tokenizer::train_characters("abcd", Some("<unk>"), None).unwrap();
    let tokenizer = tokenizer.with_special_tokens(None, Some("a"), None).unwrap();
    let tensors = decoder.layout().tensors().iter();
    let tensors =
        tensors.map(|t| (t.name.clone(), t.shape.clone(), Cow::Borrowed(&params[t.range()])));
    save_pretrained(folder, &config(), &tokenizer, None, tensors, Dtype::F32).unwrap();
    params
}

fn options(folder: &Path) -> SourceOptions {
    SourceOptions {
        cache: folder.join("cache"),
        hub_endpoint: "http://127.0.0.1:9".to_owned(),
        hub_token: None,
        hub_offline: true,
        pip: vec![],
    }
}

#[test]
fn a_folder_or_the_run_that_trained_it() {
    let run = tempfile::tempdir().unwrap();
    let folder = run.path().join(RUN_MODEL);
    let params = save(&folder);
    for spec in [run.path(), &folder] {
        let model = LoadedModel::load(spec.to_str().unwrap(), &options(run.path()), None).unwrap();
        assert_eq!(model.params, params);
        assert_eq!(model.stop_ids(), [0, 4]);
        let message = Message::new("user", "a");
        let error = model.conversation(&[message], None, true).unwrap_err().to_string();
        assert!(error.contains("plain text"), "{error}");
    }
}

/// `W + alpha / rank · B A`, in the rows that the module has in the flat array; other modules unchanged.
#[test]
fn an_adapter_is_merged() {
    let run = tempfile::tempdir().unwrap();
    let base = run.path().join("base");
    let params = save(&base);
    let module = "model.layers.1.self_attn.k_proj".to_owned();
    let a: Vec<f32> = (0..16).map(|i| i as f32 / 8.0).collect();
    let b: Vec<f32> = (0..8).map(|i| 1.0 - i as f32 / 4.0).collect();
    let matrices = LoraMatrices { inputs: 8, outputs: 4, a: a.clone(), b: b.clone() };
    let file = LoraFile {
        rank: 2,
        alpha: 3.0,
        dropout: 0.1,
        target_modules: vec!["k_proj".to_owned()],
        base_model: base.to_str().unwrap().to_owned(),
        modules: [(module.clone(), matrices)].into(),
    };
    let adapter = run.path().join(RUN_ADAPTER);
    file.save(&adapter, Family::Llama).unwrap();
    let options = options(run.path());
    let by_run = LoadedModel::load(base.to_str().unwrap(), &options, Some(run.path())).unwrap();
    let given = LoadedModel::load(base.to_str().unwrap(), &options, Some(&adapter)).unwrap();
    let tensors = given.decoder.layout().tensors();
    let place = tensors.iter().find(|t| t.name == format!("{module}.weight")).unwrap().range();
    for (i, (found, before)) in given.params.iter().zip(&params).enumerate() {
        let change = if place.contains(&i) {
            let (row, column) = ((i - place.start) / 8, (i - place.start) % 8);
            1.5 * (b[row * 2] * a[column] + b[row * 2 + 1] * a[8 + column])
        } else {
            0.0
        };
        assert!((found - before - change).abs() < 1e-5, "{i}: {found} {before} {change}");
    }
    assert!(given.provenance.contains("adapter"));
    assert_eq!(by_run.params, given.params);
    // The adapter names its base: alone, or in its run's directory, it is a model.
    for spec in [&adapter, run.path()] {
        let alone = LoadedModel::load(spec.to_str().unwrap(), &options, None).unwrap();
        assert_eq!(alone.params, given.params);
    }
    let twice = LoadedModel::load(adapter.to_str().unwrap(), &options, Some(&adapter));
    assert!(twice.unwrap_err().to_string().contains("adapter itself"));
}
