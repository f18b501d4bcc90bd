//! Folders as Hugging Face's tools write and read them.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::config::{HEAD, ModelConfig};
use crate::error::LmError;
use crate::template::ChatTemplate;
use crate::tensor_file::{Dtype, write_atomic, write_safetensors};
use crate::tokenizer::Tokenizer;
use crate::weights::transpose;

/// Reads `config.json`, and from `generation_config.json` further tokens that end a generation.
///
/// # Errors
/// When a file cannot be read or used.
pub fn read_config(folder: &Path) -> Result<ModelConfig, LmError> {
    let path = folder.join("config.json");
    let text = fs::read_to_string(&path).map_err(LmError::io("read", &path))?;
    let at = |error| match error {
        LmError::Config(what) => LmError::file(&path, what),
        other => other,
    };
    let mut config = ModelConfig::from_config_json(&text).map_err(at)?;
    if let Some(generation) = read_json(&folder.join("generation_config.json"))? {
        let ids = match generation.get("eos_token_id") {
            Some(Value::Array(ids)) => ids.clone(),
            Some(id) => vec![id.clone()],
            None => Vec::new(),
        };
        for id in ids.iter().filter_map(Value::as_u64).filter_map(|id| u32::try_from(id).ok()) {
            if !config.eos_token_ids.contains(&id) {
                config.eos_token_ids.push(id);
            }
        }
        config.validate()?;
    }
    Ok(config)
}

/// Reads `tokenizer.json` and, for the names of the special tokens, `tokenizer_config.json` or
/// `special_tokens_map.json`.
///
/// # Errors
/// When a file cannot be read or used.
pub fn read_tokenizer(folder: &Path) -> Result<Tokenizer, LmError> {
    read_tokenizer_file(&folder.join("tokenizer.json"))
}

/// As [`read_tokenizer`], of a file by another name.
pub(crate) fn read_tokenizer_file(path: &Path) -> Result<Tokenizer, LmError> {
    let tokenizer = Tokenizer::from_file(path)?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    for name in ["tokenizer_config.json", "special_tokens_map.json"] {
        let path = folder.join(name);
        if let Some(config) = read_json(&path)?
            && ["bos_token", "eos_token", "pad_token"].iter().any(|key| config.get(key).is_some())
        {
            return tokenizer
                .with_config(&config)
                .map_err(|error| LmError::file(&path, error.to_string()));
        }
    }
    Ok(tokenizer)
}

/// Reads `chat_template.jinja`, or the template in `tokenizer_config.json`; of named ones, `default`.
///
/// # Errors
/// When a file cannot be read, or the template cannot be used.
pub fn read_template(
    folder: &Path,
    tokenizer: &Tokenizer,
) -> Result<Option<ChatTemplate>, LmError> {
    let path = folder.join("chat_template.jinja");
    let source = if path.is_file() {
        Some(fs::read_to_string(&path).map_err(LmError::io("read", &path))?)
    } else {
        let path = folder.join("tokenizer_config.json");
        match read_json(&path)? {
            Some(config) => configured_template(&config, &path)?,
            None => None,
        }
    };
    let (bos, eos) = (tokenizer.bos_token(), tokenizer.eos_token());
    source.map(|source| ChatTemplate::new(source, bos.as_deref(), eos.as_deref())).transpose()
}

fn configured_template(config: &Value, path: &Path) -> Result<Option<String>, LmError> {
    match config.get("chat_template") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(source)) => Ok(Some(source.clone())),
        Some(Value::Array(named)) => {
            let default = named.iter().find(|entry| entry["name"] == "default");
            if let Some(source) = default.and_then(|entry| entry["template"].as_str()) {
                return Ok(Some(source.to_owned()));
            }
            let names: Vec<_> = named.iter().filter_map(|entry| entry["name"].as_str()).collect();
            let what = format!("has the templates {}, and none is `default`", names.join(", "));
            Err(LmError::file(path, what))
        }
        Some(_) => {
            Err(LmError::file(path, "`chat_template` must be a text or a list of named ones"))
        }
    }
}

/// None when there is no such file.
pub(crate) fn read_json(path: &Path) -> Result<Option<Value>, LmError> {
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).map_err(LmError::io("read", path))?;
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| LmError::file(path, format!("is no JSON: {error}")))
}

/// Writes a model as a folder that `transformers` reads.
///
/// `tensors` are those of [`ModelConfig::tensors`], in any order; each is written as it comes. Every file is written
/// to a temporary name and renamed, `config.json` last.
///
/// # Errors
/// When a file cannot be written, or the tensors are not the configuration's.
pub fn save_pretrained<'a>(
    folder: &Path,
    config: &ModelConfig,
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
    tensors: impl Iterator<Item = (String, Vec<usize>, Cow<'a, [f32]>)>,
    dtype: Dtype,
) -> Result<(), LmError> {
    config.validate()?;
    fs::create_dir_all(folder).map_err(LmError::io("create directory", folder))?;
    save_weights(&folder.join("model.safetensors"), config, tensors, dtype)?;
    tokenizer.save(folder.join("tokenizer.json"))?;
    let write = |name: &str, value: &Value| {
        write_atomic(&folder.join(name), format!("{value:#}\n").as_bytes())
    };
    write("tokenizer_config.json", &tokenizer_config(config, tokenizer, template))?;
    write("generation_config.json", &generation_config(config))?;
    let config = config.to_config_json(dtype.as_str());
    write_atomic(&folder.join("config.json"), config.as_bytes())
}

fn save_weights<'a>(
    path: &Path,
    config: &ModelConfig,
    tensors: impl Iterator<Item = (String, Vec<usize>, Cow<'a, [f32]>)>,
    dtype: Dtype,
) -> Result<(), LmError> {
    let mut shapes = config.tensors();
    for (name, shape) in &mut shapes {
        if config.is_transposed_in_files(name) {
            shape.reverse();
        }
    }
    let stored = tensors.map(|(name, mut shape, numbers)| {
        let fits = shape.len() == 2 && shape.iter().product::<usize>() == numbers.len();
        if fits && config.is_transposed_in_files(&name) {
            let mut stored = vec![0.0; numbers.len()];
            transpose(&numbers, shape[0], shape[1], &mut stored);
            shape.reverse();
            return (name, shape, Cow::Owned(stored));
        }
        (name, shape, numbers)
    });
    debug_assert!(config.tie_word_embeddings || shapes.iter().any(|(name, _)| name == HEAD));
    write_safetensors(path, &shapes, dtype, stored)
}

fn tokenizer_config(
    config: &ModelConfig,
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
) -> Value {
    let mut value = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.max_position_embeddings,
        "clean_up_tokenization_spaces": false,
    });
    for (key, token) in [
        ("bos_token", tokenizer.bos_token()),
        ("eos_token", tokenizer.eos_token()),
        ("pad_token", tokenizer.pad_token()),
    ] {
        if let Some(token) = token {
            value[key] = json!(token);
        }
    }
    if let Some(template) = template {
        value["chat_template"] = json!(template.source());
    }
    value
}

fn generation_config(config: &ModelConfig) -> Value {
    let mut value = json!({ "_from_model_config": true });
    if let Some(id) = config.bos_token_id {
        value["bos_token_id"] = json!(id);
    }
    match config.eos_token_ids[..] {
        [] => {}
        [id] => value["eos_token_id"] = json!(id),
        ref ids => value["eos_token_id"] = json!(ids),
    }
    if let Some(id) = config.pad_token_id {
        value["pad_token_id"] = json!(id);
    }
    value
}
