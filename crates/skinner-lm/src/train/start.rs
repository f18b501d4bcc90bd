//! What training starts from: a model that is there, or one made of random numbers.

use std::path::Path;

use serde::{Deserialize, Serialize};
use skinner_core::SeedSequence;

use super::{STREAM_ADAPTER, STREAM_WEIGHTS};
use crate::config::{Family, ModelConfig, RopeScaling};
use crate::data::{Content, Dataset, Sample};
use crate::decoder::{Decoder, LoraConfig, LoraLayout};
use crate::error::LmError;
use crate::hf_folder;
use crate::load::LoadedModel;
use crate::message::Message;
use crate::source::SourceOptions;
use crate::template::{ChatTemplate, Date};
use crate::tokenizer::Tokenizer;

/// Which model.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelSource {
    /// One that [`LoadedModel::load`] finds.
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
            return Err(LmError::Recipe(format!(
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

/// What is made of a model before it is trained; by default nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct StartTerms<'a> {
    /// Adapters to train instead of the weights.
    pub lora: Option<&'a LoraConfig>,
    /// How the rotary embedding is stretched.
    pub rope_scaling: Option<RopeScaling>,
    /// What the chat template takes for today.
    pub date: Option<Date>,
}

impl StartTerms<'_> {
    fn dated(&self, template: ChatTemplate) -> ChatTemplate {
        match self.date {
            Some(date) => template.with_date(date),
            None => template,
        }
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
        terms: StartTerms<'_>,
        dataset: &Dataset,
        root: &SeedSequence,
    ) -> Result<Self, LmError> {
        let mut start = match source {
            ModelSource::Named(spec) => Self::named(spec, terms)?,
            ModelSource::New(shape) => Self::random(shape, terms, dataset, root)?,
        };
        if let Some(config) = terms.lora {
            let layout = LoraLayout::new(config, start.decoder.layout())?;
            let params = layout.init(&mut root.child(STREAM_ADAPTER).rng());
            start.lora = Some((config.clone(), layout, params));
        }
        Ok(start)
    }

    fn named(spec: &str, terms: StartTerms<'_>) -> Result<Self, LmError> {
        let model = LoadedModel::load(spec, &SourceOptions::from_env()?, None)?;
        let LoadedModel { decoder, params, tokenizer, template, provenance, .. } = model;
        let mut config = decoder.config().clone();
        extend_context(&mut config, terms.rope_scaling)?;
        let decoder = Decoder::new(config)?;
        let template = template.map(|template| terms.dated(template));
        Ok(Self { decoder, params, lora: None, tokenizer, template, provenance })
    }

    fn random(
        shape: &ModelShape,
        terms: StartTerms<'_>,
        dataset: &Dataset,
        root: &SeedSequence,
    ) -> Result<Self, LmError> {
        // What is completed must come to an end; a text need not.
        let completed = dataset.train.iter().any(|s| !matches!(s, Sample::Text(_)));
        let tokenizer = match &shape.tokenizer {
            TokenizerChoice::Characters => {
                let end = completed.then_some("<|endoftext|>");
                Tokenizer::train_characters(&characters(shape, terms, dataset, end)?, None, end)?
            }
            TokenizerChoice::Bpe(size) => {
                let texts: Vec<&str> = dataset.train.iter().flat_map(texts).collect();
                Tokenizer::train_bpe(texts.into_iter(), *size)?
            }
            TokenizerChoice::File(path) => tokenizer_file(Path::new(path), completed)?,
        };
        let template = match &shape.chat_template {
            Some(source) => {
                let (bos, eos) = (tokenizer.bos_token(), tokenizer.eos_token());
                let template = ChatTemplate::new(source, bos.as_deref(), eos.as_deref())?;
                Some(terms.dated(template))
            }
            None => None,
        };
        let mut config = shape.config(tokenizer.vocab_size(), &tokenizer)?;
        extend_context(&mut config, terms.rope_scaling)?;
        let decoder = Decoder::new(config)?;
        check_memory(decoder.layout().num_params())?;
        let params = decoder.init(&mut root.child(STREAM_WEIGHTS).rng());
        let provenance = "new".to_owned();
        Ok(Self { decoder, params, lora: None, tokenizer, template, provenance })
    }
}

/// Stretches the rotary embedding, and the context with it: from the one that the model was pretrained at, in place of
/// how it may be stretched already.
fn extend_context(
    config: &mut ModelConfig,
    rope_scaling: Option<RopeScaling>,
) -> Result<(), LmError> {
    let Some(scaling) = rope_scaling else { return Ok(()) };
    if config.family == Family::Gpt2 {
        let what = "rope_scaling: gpt2 has learned positions and no rotary embedding to stretch";
        return Err(LmError::Recipe(what.into()));
    }
    let given = config.max_position_embeddings as f64;
    let pretrained = match config.rope_scaling {
        None => given,
        Some(RopeScaling::Linear { factor }) => given / factor.max(1.0),
        Some(RopeScaling::Llama3 { original_max_position_embeddings, .. }) => {
            original_max_position_embeddings as f64
        }
    };
    let (RopeScaling::Linear { factor } | RopeScaling::Llama3 { factor, .. }) = scaling;
    config.rope_scaling = rope_scaling;
    config.max_position_embeddings = (pretrained * factor.max(1.0)).min(1e9) as usize;
    Ok(())
}

/// Refuses a model for whose weights, gradients and moments there is no memory.
fn check_memory(num_params: usize) -> Result<(), LmError> {
    let mut all: Vec<f32> = Vec::new();
    let there_is = num_params.checked_mul(4).is_some_and(|len| all.try_reserve_exact(len).is_ok());
    if there_is {
        return Ok(());
    }
    let (millions, gigabytes) = (num_params as f64 / 1e6, num_params as f64 * 16.0 / 1e9);
    Err(LmError::Recipe(format!(
        "model: its {millions:.0} million weights take {gigabytes:.0} GB with gradients and moments, more than there \
         is: make it smaller"
    )))
}

/// A `tokenizer.json`, with the special tokens that the files beside it name.
fn tokenizer_file(path: &Path, completed: bool) -> Result<Tokenizer, LmError> {
    let tokenizer = hf_folder::read_tokenizer_file(path)?;
    if completed && tokenizer.eos().is_none() {
        let what = "nothing says which token ends a text, and completions have to: name it as `eos_token` in a \
                    tokenizer_config.json beside it";
        return Err(LmError::file(path, what));
    }
    Ok(tokenizer)
}

/// Every text of the data; of conversations, what the template makes of them.
fn characters(
    shape: &ModelShape,
    terms: StartTerms<'_>,
    dataset: &Dataset,
    end: Option<&str>,
) -> Result<String, LmError> {
    let samples = || dataset.train.iter().chain(&dataset.eval);
    let mut all: String = samples().flat_map(texts).collect();
    let Some(source) = &shape.chat_template else { return Ok(all) };
    let template = terms.dated(ChatTemplate::new(source, None, end)?);
    for (number, sample) in samples().enumerate() {
        for (messages, tools) in conversations(sample) {
            for prompts in [false, true] {
                let tools = (!tools.is_empty()).then_some(tools);
                let text = template.render(&messages, tools, prompts);
                all += &text.map_err(LmError::of_sample(number))?;
            }
        }
    }
    if let Some(end) = end {
        all = all.replace(end, "");
    }
    Ok(all)
}

/// A sample's conversations, and the tools that they may call.
fn conversations(sample: &Sample) -> Vec<(Vec<Message>, &[serde_json::Value])> {
    let joined = |prompt: &Content, completion: &Content| match (prompt, completion) {
        (Content::Messages(prompt), Content::Messages(completion)) => {
            Some(([&prompt[..], completion].concat(), &[][..]))
        }
        _ => None,
    };
    match sample {
        Sample::Text(_) => vec![],
        Sample::Messages { messages, tools } => vec![(messages.clone(), &tools[..])],
        Sample::PromptCompletion { prompt, completion }
        | Sample::Unpaired { prompt, completion, .. } => {
            joined(prompt, completion).into_iter().collect()
        }
        Sample::Preference { prompt, chosen, rejected } => {
            [chosen, rejected].into_iter().filter_map(|end| joined(prompt, end)).collect()
        }
    }
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
