//! LoRA adapters as PEFT writes and reads them: `adapter_config.json` and `adapter_model.safetensors`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::config::{Family, ModelConfig};
use crate::error::LmError;
use crate::hf_folder::read_json;
use crate::tensor_file::{Dtype, TensorReader, read_header, write_atomic, write_safetensors};
use crate::tokenizer::Tokenizer;
use crate::weights::nearest;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// Who trains an adapter writes the tokenizer beside it.
pub const TOKENIZER: &str = "tokenizer.json";
/// What PEFT puts before the base model's names.
const PREFIX: &str = "base_model.model.";
const MAX_RANK: usize = 1 << 16;

/// The two matrices beside one of the base's: its weight is changed by `alpha / rank` times `b a`.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraMatrices {
    /// Columns of the base's matrix.
    pub inputs: usize,
    /// Rows of the base's matrix.
    pub outputs: usize,
    /// `[rank, inputs]`, row-major.
    pub a: Vec<f32>,
    /// `[outputs, rank]`, row-major.
    pub b: Vec<f32>,
}

/// A LoRA adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraFile {
    /// Rows of each `a`.
    pub rank: usize,
    /// The change is scaled by `alpha / rank`.
    pub alpha: f64,
    /// Probability with which an input is dropped in training.
    pub dropout: f64,
    /// The modules' names or the ends of them, such as `q_proj`.
    pub target_modules: Vec<String>,
    /// What the adapter was trained on.
    pub base_model: String,
    /// By the base's name of the matrix, without `.weight`.
    pub modules: BTreeMap<String, LoraMatrices>,
}

impl LoraFile {
    /// Reads an adapter for a base model.
    ///
    /// # Errors
    /// When a file is missing or damaged, asks for what is not built here, or does not fit the base.
    pub fn load(folder: &Path, base: &ModelConfig) -> Result<Self, LmError> {
        let path = folder.join(CONFIG);
        let config = read_json(&path)?
            .ok_or_else(|| LmError::file(folder, format!("has no {CONFIG}: it is no adapter")))?;
        let mut lora = Self::from_config(&path, &config)?;
        lora.read_modules(&folder.join(WEIGHTS), base)?;
        if lora.target_modules.is_empty() {
            let names = lora.modules.keys().filter_map(|name| name.rsplit('.').next());
            lora.target_modules = names.map(str::to_owned).collect();
            lora.target_modules.sort();
            lora.target_modules.dedup();
        }
        Ok(lora)
    }

    fn from_config(path: &Path, config: &Value) -> Result<Self, LmError> {
        check_supported(path, config)?;
        let bad = |key: &str, right: &str| {
            LmError::file(path, format!("`{key}` is {}, must be {right}", config[key]))
        };
        let rank = config["r"]
            .as_u64()
            .and_then(|rank| usize::try_from(rank).ok())
            .filter(|rank| (1..=MAX_RANK).contains(rank))
            .ok_or_else(|| bad("r", "1 to 65536"))?;
        let alpha = config["lora_alpha"]
            .as_f64()
            .filter(|alpha| alpha.is_finite())
            .ok_or_else(|| bad("lora_alpha", "a number"))?;
        let dropout = match &config["lora_dropout"] {
            Value::Null => 0.0,
            value => value
                .as_f64()
                .filter(|dropout| (0.0..1.0).contains(dropout))
                .ok_or_else(|| bad("lora_dropout", "from 0 to below 1"))?,
        };
        // A pattern, or `all-linear`: the file's tensors say which modules it means.
        let target_modules = match &config["target_modules"] {
            Value::Array(names) => {
                names.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        let base_model = config["base_model_name_or_path"].as_str().unwrap_or_default().to_owned();
        Ok(Self { rank, alpha, dropout, target_modules, base_model, modules: BTreeMap::new() })
    }

    fn read_modules(&mut self, path: &Path, base: &ModelConfig) -> Result<(), LmError> {
        let header = read_header(path)?;
        let reader = TensorReader::open(path)?;
        let shapes: BTreeMap<String, Vec<usize>> = base.tensors().into_iter().collect();
        for stored_name in header.keys() {
            let Some((module, is_a)) = parse_name(stored_name) else {
                return Err(unknown_tensor(path, stored_name, &header[stored_name].shape, base));
            };
            if !is_a {
                let partner = format!("{PREFIX}{module}.lora_A.weight");
                if !header.contains_key(&partner) {
                    return Err(LmError::file(
                        path,
                        format!("has `{stored_name}` without `{partner}`"),
                    ));
                }
                continue;
            }
            let (outputs, inputs) = base_matrix(path, module, &shapes)?;
            let read = |name: &str, expected: [usize; 2]| -> Result<Vec<f32>, LmError> {
                let name = format!("{PREFIX}{module}.{name}.weight");
                let Some(tensor) = header.get(&name) else {
                    return Err(LmError::file(path, format!("has no tensor `{name}`")));
                };
                if tensor.shape != expected {
                    let (found, expected) = (tensor.shape.clone(), expected.to_vec());
                    return Err(LmError::TensorShape { name, found, expected });
                }
                let mut out = vec![0.0; expected[0] * expected[1]];
                reader.read(tensor, &mut out)?;
                if out.iter().any(|x| !x.is_finite()) {
                    return Err(LmError::file(path, format!("tensor `{name}` is not finite")));
                }
                Ok(out)
            };
            let a = read("lora_A", [self.rank, inputs])?;
            let b = read("lora_B", [outputs, self.rank])?;
            self.modules.insert(module.to_owned(), LoraMatrices { inputs, outputs, a, b });
        }
        if self.modules.is_empty() {
            return Err(LmError::file(path, "has no tensors: the adapter changes nothing"));
        }
        Ok(())
    }

    /// Writes the adapter as a folder that PEFT reads.
    ///
    /// # Errors
    /// When a file cannot be written, or a matrix has not the size that it says.
    pub fn save(&self, folder: &Path, family: Family) -> Result<(), LmError> {
        fs::create_dir_all(folder).map_err(LmError::io("create directory", folder))?;
        let mut shapes = Vec::new();
        let mut tensors: Vec<(String, Vec<usize>, Cow<[f32]>)> = Vec::new();
        for (module, matrices) in &self.modules {
            for (name, shape, numbers) in [
                ("lora_A", vec![self.rank, matrices.inputs], &matrices.a),
                ("lora_B", vec![matrices.outputs, self.rank], &matrices.b),
            ] {
                let name = format!("{PREFIX}{module}.{name}.weight");
                shapes.push((name.clone(), shape.clone()));
                tensors.push((name, shape, Cow::Borrowed(numbers)));
            }
        }
        write_safetensors(&folder.join(WEIGHTS), &shapes, Dtype::F32, tensors.into_iter())?;
        let config = json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": self.base_model,
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "target_modules": self.target_modules,
            "bias": "none",
            "fan_in_fan_out": family == Family::Gpt2,
            "inference_mode": true,
            "init_lora_weights": true,
            "modules_to_save": null,
            "use_dora": false,
            "use_rslora": false,
        });
        write_atomic(&folder.join(CONFIG), format!("{config:#}\n").as_bytes())
    }
}

/// Fails where an adapter's folder holds a tokenizer that gives the base's tokens other ids.
///
/// # Errors
/// When it does, or cannot be read.
pub fn check_vocabulary(folder: &Path, base: &Tokenizer) -> Result<(), LmError> {
    let path = folder.join(TOKENIZER);
    if !path.is_file() {
        return Ok(());
    }
    let own = Tokenizer::from_file(&path)?;
    if own.holds(base) {
        return Ok(());
    }
    let (trained, given) = (own.vocab_size(), base.vocab_size());
    let what = format!(
        "the adapter was trained with other tokens ({trained}) than the base has ({given}): put it on the model that \
         it was made for"
    );
    Err(LmError::file(&path, what))
}

/// Fails by name for what changes an adapter's meaning and is not built here.
fn check_supported(path: &Path, config: &Value) -> Result<(), LmError> {
    if config["peft_type"] != "LORA" {
        let what = format!("`peft_type` is {}, must be \"LORA\"", config["peft_type"]);
        return Err(LmError::file(path, what));
    }
    let empty = |value: &Value| {
        value.is_null()
            || value == false
            || value == "none"
            || value.as_object().is_some_and(Map::is_empty)
            || value.as_array().is_some_and(Vec::is_empty)
    };
    let keys = [
        "use_dora",
        "use_rslora",
        "use_qalora",
        "bias",
        "lora_bias",
        "modules_to_save",
        "rank_pattern",
        "alpha_pattern",
        "trainable_token_indices",
        "layer_replication",
        "megatron_config",
    ];
    match keys.into_iter().find(|key| !empty(&config[*key])) {
        Some(key) => Err(LmError::file(
            path,
            format!("`{key}` is {}, must be absent: it is not built here", config[key]),
        )),
        None => Ok(()),
    }
}

/// The base's module, and whether the tensor is its `a`.
fn parse_name(stored: &str) -> Option<(&str, bool)> {
    let name = stored.strip_prefix(PREFIX)?;
    match name.strip_suffix(".lora_A.weight") {
        Some(module) => Some((module, true)),
        None => Some((name.strip_suffix(".lora_B.weight")?, false)),
    }
}

fn base_matrix(
    path: &Path,
    module: &str,
    shapes: &BTreeMap<String, Vec<usize>>,
) -> Result<(usize, usize), LmError> {
    let name = format!("{module}.weight");
    match shapes.get(&name).map(Vec::as_slice) {
        Some([outputs, inputs]) => Ok((*outputs, *inputs)),
        Some(shape) => Err(LmError::file(
            path,
            format!("adapts `{name}` of shape {shape:?}, must be a matrix of the base"),
        )),
        None => {
            let nearest = nearest(&name, shapes.keys()).join(", ");
            Err(LmError::file(
                path,
                format!("adapts `{name}`, and the base has none; nearest are {nearest}"),
            ))
        }
    }
}

/// PEFT saves the whole embedding with an adapter whose training changed the vocabulary.
fn unknown_tensor(path: &Path, name: &str, shape: &[usize], base: &ModelConfig) -> LmError {
    let embedding = ["embed_tokens", "lm_head", "wte"].iter().any(|part| name.contains(part));
    let what = match shape.first() {
        Some(rows) if embedding && *rows != base.vocab_size => format!(
            "was made for a vocabulary of {rows} (`{name}`), and the base has one of {}",
            base.vocab_size
        ),
        _ => format!(
            "has a tensor `{name}`, must have only {PREFIX}MODULE.lora_A.weight and .lora_B.weight"
        ),
    };
    LmError::file(path, what)
}
