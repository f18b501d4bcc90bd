//! A model in memory: what scoring, generating and training start from.

use std::path::{Path, PathBuf};

use crate::adapter::{LoraFile, check_vocabulary};
use crate::decoder::{Decoder, LoraConfig, LoraLayout};
use crate::error::LmError;
use crate::hf_folder::read_json;
use crate::message::Message;
use crate::pretrained::Pretrained;
use crate::source::{SourceOptions, resolve};
use crate::template::ChatTemplate;
use crate::tokenizer::Tokenizer;

/// The folder of a run directory that holds the trained model.
pub const RUN_MODEL: &str = "model";
/// The folder of a run directory that holds the trained adapter.
pub const RUN_ADAPTER: &str = "adapter";
/// Adapters on each other at most.
const MAX_ADAPTERS: usize = 8;
/// What every run directory has.
const RUN_INFO: &str = "run.json";
const ADAPTER_CONFIG: &str = "adapter_config.json";

/// A model whose weights are in memory.
#[derive(Debug)]
pub struct LoadedModel {
    /// The shape, and where the weights lie.
    pub decoder: Decoder,
    /// All weights, in the order of the decoder's layout.
    pub params: Vec<f32>,
    /// Text to ids and back.
    pub tokenizer: Tokenizer,
    /// How conversations are written, if the model is made for them.
    pub template: Option<ChatTemplate>,
    /// Where it comes from, for people and for `run.json`.
    pub provenance: String,
    /// SHA-256 of the file, for one that was fetched.
    pub sha256: Option<String>,
    /// The commit, for a model of the hub.
    pub revision: Option<String>,
}

impl LoadedModel {
    /// Finds a model (see [`crate::source`]) and reads its weights; a LoRA adapter is merged into them.
    ///
    /// A run directory stands for the model that it trained. A folder that holds an adapter alone stands for its
    /// base with the adapter merged.
    ///
    /// # Errors
    /// When the model is not found, is damaged, or does not fit the adapter.
    pub fn load(
        spec: &str,
        options: &SourceOptions,
        adapter: Option<&Path>,
    ) -> Result<Self, LmError> {
        Self::load_below(spec, options, adapter, MAX_ADAPTERS)
    }

    /// With at most so many adapters, one on the other.
    fn load_below(
        spec: &str,
        options: &SourceOptions,
        adapter: Option<&Path>,
        adapters: usize,
    ) -> Result<Self, LmError> {
        let folder = model_folder(Path::new(spec));
        if folder.join(RUN_INFO).is_file() && !folder.join("config.json").is_file() {
            let what = "is a run that has no model yet: it has not finished (`skinner train RECIPE --run-dir DIR \
                        --resume` goes on with it), or it trained no language model";
            return Err(LmError::file(&folder, what));
        }
        let is_adapter = folder.join(ADAPTER_CONFIG).is_file();
        if !is_adapter || folder.join("config.json").is_file() {
            let spec = if folder == Path::new(spec) { spec.to_owned() } else { text_of(&folder)? };
            let mut model = Self::load_base(&spec, options)?;
            if let Some(adapter) = adapter {
                model.merge(&adapter_folder(adapter))?;
            }
            return Ok(model);
        }
        if let Some(adapter) = adapter {
            let what =
                format!("is an adapter itself, and {} cannot be put on it", adapter.display());
            return Err(LmError::file(&folder, what));
        }
        let base = base_of(&folder)?;
        let config = folder.join(ADAPTER_CONFIG);
        let of_base = |what: String| {
            LmError::file(&config, format!("`base_model_name_or_path` is {base}: {what}"))
        };
        if adapters == 0 {
            let what = format!("it is on more than {MAX_ADAPTERS} adapters, or on itself");
            return Err(of_base(what));
        }
        let mut model =
            Self::load_below(&base, options, None, adapters - 1).map_err(|error| match error {
                LmError::Source(what) => of_base(what),
                other => other,
            })?;
        model.merge(&folder)?;
        Ok(model)
    }

    fn load_base(spec: &str, options: &SourceOptions) -> Result<Self, LmError> {
        let resolved = resolve(spec, options)?;
        let mut model = Self::from_pretrained(Pretrained::load(&resolved)?)?;
        (model.sha256, model.revision) = (resolved.sha256, resolved.revision);
        Ok(model)
    }

    /// Reads the weights of a model that was opened.
    ///
    /// # Errors
    /// When a weight is missing or damaged.
    pub fn from_pretrained(pretrained: Pretrained) -> Result<Self, LmError> {
        let Pretrained { config, tokenizer, template, weights, provenance } = pretrained;
        let decoder = Decoder::new(config)?;
        let mut params = vec![0.0; decoder.layout().num_params()];
        for tensor in decoder.layout().tensors() {
            weights.read(&tensor.name, &mut params[tensor.range()])?;
        }
        Ok(Self { decoder, params, tokenizer, template, provenance, sha256: None, revision: None })
    }

    /// Merges a LoRA adapter (a folder as PEFT writes it) into the weights.
    ///
    /// # Errors
    /// When it cannot be read or does not fit.
    pub fn merge(&mut self, folder: &Path) -> Result<(), LmError> {
        let file = LoraFile::load(folder, self.decoder.config())?;
        check_vocabulary(folder, &self.tokenizer)?;
        let mut targets: Vec<String> = file
            .modules
            .keys()
            .filter_map(|name| name.rsplit('.').next())
            .map(str::to_owned)
            .collect();
        targets.sort();
        targets.dedup();
        let config = LoraConfig {
            rank: file.rank,
            alpha: file.alpha,
            dropout: 0.0,
            target_modules: targets,
            merge: false,
        };
        let layout = LoraLayout::new(&config, self.decoder.layout())
            .map_err(|error| LmError::file(folder, error.to_string()))?;
        // A module that the file leaves out keeps zeros, which change nothing.
        let mut adapter = vec![0.0; layout.num_params()];
        for tensor in layout.tensors() {
            let Some((module, part)) = tensor.name.rsplit_once(".lora_") else { continue };
            if let Some(matrices) = file.modules.get(module) {
                let numbers = if part.starts_with('A') { &matrices.a } else { &matrices.b };
                adapter[tensor.range()].copy_from_slice(numbers);
            }
        }
        layout.merge(&adapter, self.decoder.layout(), &mut self.params);
        self.provenance = format!("{} with the adapter {}", self.provenance, folder.display());
        Ok(())
    }

    /// The tokens that end a text: the configuration's and the tokenizer's.
    pub fn stop_ids(&self) -> Vec<u32> {
        let mut ids = self.decoder.config().eos_token_ids.clone();
        ids.extend(self.tokenizer.eos());
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The text of a conversation and its tokens; with `add_generation_prompt`, up to where an answer begins.
    ///
    /// # Errors
    /// When the model has no chat template, or it refuses the messages.
    pub fn conversation(
        &self,
        messages: &[Message],
        tools: Option<&[serde_json::Value]>,
        add_generation_prompt: bool,
    ) -> Result<(String, Vec<u32>), LmError> {
        let Some(template) = &self.template else {
            let what = format!(
                "{} has none, so it knows no conversations: give it plain text to go on from",
                self.provenance
            );
            return Err(LmError::Template { line: 0, what });
        };
        let text = template.render(messages, tools, add_generation_prompt)?;
        // The template writes the special tokens itself.
        let ids = self.tokenizer.encode(&text, false)?;
        Ok((text, ids))
    }
}

/// The model or the adapter in a run directory; of anything else, the path itself.
fn model_folder(path: &Path) -> PathBuf {
    let is_model = |folder: &Path| {
        folder.join("config.json").is_file() || folder.join(ADAPTER_CONFIG).is_file()
    };
    let inside = [RUN_MODEL, RUN_ADAPTER].map(|name| path.join(name));
    match inside.into_iter().find(|folder| is_model(folder)) {
        Some(folder) if !is_model(path) => folder,
        _ => path.to_owned(),
    }
}

/// The adapter in a run directory; of anything else, the path itself.
fn adapter_folder(path: &Path) -> PathBuf {
    let inside = path.join(RUN_ADAPTER);
    let is_adapter = |folder: &Path| folder.join(ADAPTER_CONFIG).is_file();
    if !is_adapter(path) && is_adapter(&inside) { inside } else { path.to_owned() }
}

fn text_of(path: &Path) -> Result<String, LmError> {
    match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(LmError::file(path, "its path is no UTF-8 text")),
    }
}

/// The model that an adapter says it was trained on.
fn base_of(folder: &Path) -> Result<String, LmError> {
    let path = folder.join(ADAPTER_CONFIG);
    let config = read_json(&path)?.unwrap_or_default();
    match config["base_model_name_or_path"].as_str() {
        Some(base) if !base.is_empty() => Ok(base.to_owned()),
        _ => Err(LmError::file(
            &path,
            "`base_model_name_or_path` is missing: give the base as the model and this folder as its adapter",
        )),
    }
}

#[cfg(test)]
mod tests;
