//! What training starts from: a model that is there, or one made of random numbers.

use serde::{Deserialize, Serialize};
use skinner_core::SeedSequence;

use super::{STREAM_ADAPTER, STREAM_WEIGHTS};
use crate::config::{Family, ModelConfig, RopeScaling};
use crate::data::{Content, Dataset, Sample};
use crate::decoder::{Decoder, LoraConfig, LoraLayout};
use crate::error::LmError;
use crate::pretrained::Pretrained;
use crate::source::{SourceOptions, resolve};
use crate::template::ChatTemplate;
use crate::tokenizer::Tokenizer;

/// Which model.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelSource {
    /// One that [`resolve`] finds.
    Named(String),
    /// A new one.
    New(ModelShape),
}

/// The tokenizer of a new model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenizerChoice {
    /// Each character of the data is a token.
    #[default]
    Characters,
    /// Byte-level BPE with this many tokens, trained on the data.
    Bpe(usize),
    /// A `tokenizer.json`.
    File(String),
}

/// The shape of a new model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelShape {
    /// Architecture.
    pub family: Family,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP; 0 for 8/3 of the stream (4 times it in `gpt2`), rounded up to a multiple of 16.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Heads.
    pub num_attention_heads: usize,
    /// Heads of keys and values; 0 for as many as heads.
    pub num_key_value_heads: usize,
    /// Longest context.
    pub max_position_embeddings: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Whether the output head is the embedding.
    pub tie_word_embeddings: bool,
    /// How text becomes tokens.
    pub tokenizer: TokenizerChoice,
    /// A Jinja template that writes conversations out; needed for `messages`.
    pub chat_template: Option<String>,
}

impl Default for ModelShape {
    fn default() -> Self {
        Self {
            family: Family::Llama,
            hidden_size: 256,
            intermediate_size: 0,
            num_hidden_layers: 6,
            num_attention_heads: 8,
            num_key_value_heads: 0,
            max_position_embeddings: 256,
            rope_theta: 10_000.0,
            tie_word_embeddings: true,
            tokenizer: TokenizerChoice::Characters,
            chat_template: None,
        }
    }
}

impl ModelShape {
    fn config(&self, vocab_size: usize, tokenizer: &Tokenizer) -> Result<ModelConfig, LmError> {
        let heads = self.num_attention_heads;
        if heads == 0 || !self.hidden_size.is_multiple_of(heads) {
            return Err(LmError::Config(format!(
                "model.num_attention_heads = {heads} must divide model.hidden_size ({})",
                self.hidden_size
            )));
        }
        let usual = if self.family == Family::Gpt2 {
            4 * self.hidden_size
        } else {
            (self.hidden_size * 8 / 3).next_multiple_of(16)
        };
        let or = |value: usize, usual: usize| if value == 0 { usual } else { value };
        let config = ModelConfig {
            family: self.family,
            vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: or(self.intermediate_size, usual),
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: heads,
            num_key_value_heads: or(self.num_key_value_heads, heads),
            head_dim: self.hidden_size / heads,
            max_position_embeddings: self.max_position_embeddings,
            norm_eps: 1e-5,
            rope_theta: self.rope_theta,
            rope_scaling: None,
            tie_word_embeddings: self.tie_word_embeddings,
            bos_token_id: tokenizer.bos(),
            eos_token_ids: tokenizer.eos().into_iter().collect(),
            pad_token_id: None,
        };
        config.validate()?;
        Ok(config)
    }
}

/// A model to train, with all that turns text into tokens.
#[derive(Debug)]
pub struct Start {
    /// Its shape.
    pub decoder: Decoder,
    /// Its weights.
    pub params: Vec<f32>,
    /// The adapters to train instead of the weights, if any.
    pub lora: Option<(LoraConfig, LoraLayout, Vec<f32>)>,
    /// Text to tokens.
    pub tokenizer: Tokenizer,
    /// Conversations to text, where the model has a template.
    pub template: Option<ChatTemplate>,
    /// Where the model came from.
    pub provenance: String,
}

impl Start {
    /// Loads or makes the model.
    ///
    /// # Errors
    /// A model that cannot be found or read, a shape that is not possible, adapters that do not fit.
    pub fn new(
        source: &ModelSource,
        rope_scaling: Option<RopeScaling>,
        lora: Option<&LoraConfig>,
        dataset: &Dataset,
        root: &SeedSequence,
    ) -> Result<Self, LmError> {
        let mut start = match source {
            ModelSource::Named(spec) => Self::named(spec, rope_scaling)?,
            ModelSource::New(shape) => Self::random(shape, rope_scaling, dataset, root)?,
        };
        if let Some(config) = lora {
            let layout = LoraLayout::new(config, start.decoder.layout())?;
            let params = layout.init(&mut root.child(STREAM_ADAPTER).rng());
            start.lora = Some((config.clone(), layout, params));
        }
        Ok(start)
    }

    fn named(spec: &str, rope_scaling: Option<RopeScaling>) -> Result<Self, LmError> {
        let resolved = resolve(spec, &SourceOptions::from_env()?)?;
        let Pretrained { mut config, tokenizer, template, weights, provenance } =
            Pretrained::load(&resolved)?;
        extend_context(&mut config, rope_scaling);
        let decoder = Decoder::new(config)?;
        let mut params = vec![0.0; decoder.layout().num_params()];
        for tensor in decoder.layout().tensors() {
            weights.read(&tensor.name, &mut params[tensor.range()])?;
        }
        Ok(Self { decoder, params, lora: None, tokenizer, template, provenance })
    }

    fn random(
        shape: &ModelShape,
        rope_scaling: Option<RopeScaling>,
        dataset: &Dataset,
        root: &SeedSequence,
    ) -> Result<Self, LmError> {
        let texts = || dataset.train.iter().chain(&dataset.eval).flat_map(texts);
        let tokenizer = match &shape.tokenizer {
            TokenizerChoice::Characters => {
                // What is completed must come to an end; a text need not.
                let completed = dataset.train.iter().any(|s| !matches!(s, Sample::Text(_)));
                let end = completed.then_some("<|endoftext|>");
                Tokenizer::train_characters(&texts().collect::<String>(), None, end)?
            }
            TokenizerChoice::Bpe(size) => {
                let texts: Vec<&str> = dataset.train.iter().flat_map(self::texts).collect();
                Tokenizer::train_bpe(texts.into_iter(), *size)?
            }
            TokenizerChoice::File(path) => Tokenizer::from_file(path)?,
        };
        let template = match &shape.chat_template {
            Some(source) => {
                let (bos, eos) = (tokenizer.bos_token(), tokenizer.eos_token());
                Some(ChatTemplate::new(source, bos.as_deref(), eos.as_deref())?)
            }
            None => None,
        };
        let mut config = shape.config(tokenizer.vocab_size(), &tokenizer)?;
        extend_context(&mut config, rope_scaling);
        let decoder = Decoder::new(config)?;
        let params = decoder.init(&mut root.child(STREAM_WEIGHTS).rng());
        let provenance = "new".to_owned();
        Ok(Self { decoder, params, lora: None, tokenizer, template, provenance })
    }
}

/// Stretches the rotary embedding, and the context with it.
fn extend_context(config: &mut ModelConfig, rope_scaling: Option<RopeScaling>) {
    let Some(scaling) = rope_scaling else { return };
    let (RopeScaling::Linear { factor } | RopeScaling::Llama3 { factor, .. }) = scaling;
    config.rope_scaling = rope_scaling;
    let longer = config.max_position_embeddings as f64 * factor.max(1.0);
    config.max_position_embeddings = longer.min(1e9) as usize;
}

/// All texts of a sample.
fn texts(sample: &Sample) -> Vec<&str> {
    fn of(content: &Content) -> Vec<&str> {
        match content {
            Content::Text(text) => vec![text],
            Content::Messages(messages) => messages.iter().map(|m| m.content.as_str()).collect(),
        }
    }
    match sample {
        Sample::Text(text) => vec![text],
        Sample::Messages { messages, .. } => messages.iter().map(|m| m.content.as_str()).collect(),
        Sample::PromptCompletion { prompt, completion }
        | Sample::Unpaired { prompt, completion, .. } => [of(prompt), of(completion)].concat(),
        Sample::Preference { prompt, chosen, rejected } => {
            [of(prompt), of(chosen), of(rejected)].concat()
        }
    }
}
