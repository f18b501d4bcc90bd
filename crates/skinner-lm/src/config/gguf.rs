//! A decoder's shape out of GGUF metadata.

use super::{Family, ModelConfig, RopeScaling, config_error};
use crate::error::LmError;
use crate::gguf::{Gguf, GgufTensor, GgufValue};

impl ModelConfig {
    /// Reads the metadata of a GGUF file.
    ///
    /// # Errors
    /// When a key that the architecture needs is missing or of another type, the architecture or the rotary
    /// scaling is not known here, or [`ModelConfig::validate`] fails.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, LmError> {
        let name = gguf.required("general.architecture", gguf.text("general.architecture")?)?;
        let family = Family::from_name(name, "`general.architecture`")?;
        let keys = Keys { gguf, name };
        let hidden_size = keys.size("embedding_length")?;
        let heads = keys.size("attention.head_count")?;
        let head_dim = match keys.optional("attention.key_length")? {
            Some(width) => width,
            None => hidden_size.checked_div(heads).unwrap_or(0),
        };
        keys.must_equal("attention.value_length", head_dim)?;
        let norm = if family == Family::Gpt2 { "layer_norm" } else { "layer_norm_rms" };
        let (rope_theta, rope_scaling) = match family {
            Family::Gpt2 => (10_000.0, None),
            _ => rope(&keys, head_dim)?,
        };
        let config = Self {
            family,
            vocab_size: vocab_size(gguf)?,
            hidden_size,
            intermediate_size: keys.size("feed_forward_length")?,
            num_hidden_layers: keys.size("block_count")?,
            num_attention_heads: heads,
            num_key_value_heads: keys.optional("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            max_position_embeddings: keys.size("context_length")?,
            norm_eps: keys.number(&format!("attention.{norm}_epsilon"))? as f32,
            rope_theta,
            rope_scaling,
            // A gpt2 file repeats the embedding as its head; the architecture has one matrix.
            tie_word_embeddings: family == Family::Gpt2 || gguf.tensor("output.weight").is_none(),
            bos_token_id: token(gguf, "bos")?,
            eos_token_ids: eos_tokens(gguf)?,
            pad_token_id: token(gguf, "padding")?,
        };
        config.validate()?;
        Ok(config)
    }
}

/// The keys below the architecture's name.
struct Keys<'a> {
    gguf: &'a Gguf,
    name: &'a str,
}

impl Keys<'_> {
    fn optional(&self, key: &str) -> Result<Option<usize>, LmError> {
        self.gguf.integer(&format!("{}.{key}", self.name))
    }

    fn size(&self, key: &str) -> Result<usize, LmError> {
        self.gguf.required(&format!("{}.{key}", self.name), self.optional(key)?)
    }

    fn number(&self, key: &str) -> Result<f64, LmError> {
        let key = format!("{}.{key}", self.name);
        self.gguf.required(&key, self.gguf.number(&key)?)
    }

    fn must_equal(&self, key: &str, right: usize) -> Result<(), LmError> {
        match self.optional(key)? {
            Some(found) if found != right => Err(config_error(format!(
                "`{}.{key}` is {found}, must be the width of a head ({right})",
                self.name
            ))),
            _ => Ok(()),
        }
    }
}

fn vocab_size(gguf: &Gguf) -> Result<usize, LmError> {
    match gguf.tensor("token_embd.weight").map(|tensor| &tensor.shape[..]) {
        Some([rows, _]) => Ok(*rows),
        Some(shape) => Err(config_error(format!(
            "`token_embd.weight` has shape {shape:?}, must be [vocabulary, width]"
        ))),
        None => Err(config_error("the file has no tensor `token_embd.weight`")),
    }
}

fn token(gguf: &Gguf, name: &str) -> Result<Option<u32>, LmError> {
    let key = format!("tokenizer.ggml.{name}_token_id");
    match gguf.integer(&key)? {
        None => Ok(None),
        Some(id) => u32::try_from(id)
            .map(Some)
            .map_err(|_| config_error(format!("`{key}` is {id}, must be a token id"))),
    }
}

/// The end of a text and, where it is another token, the end of a turn.
fn eos_tokens(gguf: &Gguf) -> Result<Vec<u32>, LmError> {
    let mut ids: Vec<u32> = token(gguf, "eos")?.into_iter().collect();
    ids.extend(token(gguf, "eot")?.filter(|id| !ids.contains(id)));
    Ok(ids)
}

fn rope(keys: &Keys, head_dim: usize) -> Result<(f64, Option<RopeScaling>), LmError> {
    keys.must_equal("rope.dimension_count", head_dim)?;
    let number = |key: &str| keys.gguf.number(&format!("{}.rope.{key}", keys.name));
    let theta = number("freq_base")?.unwrap_or(10_000.0);
    if let Some(tensor) = keys.gguf.tensor(FREQUENCY_DIVISORS) {
        return Ok((theta, Some(llama3_scaling(keys.gguf, tensor, theta, head_dim)?)));
    }
    let factor = match number("scaling.factor")? {
        Some(factor) => Some(factor),
        None => number("scale_linear")?,
    };
    let kind = match keys.gguf.metadata().get(&format!("{}.rope.scaling.type", keys.name)) {
        Some(GgufValue::Text(kind)) => kind.as_str(),
        Some(_) | None if factor.is_some() => "linear",
        Some(_) | None => "none",
    };
    match (kind, factor) {
        ("none", _) | ("linear", None) => Ok((theta, None)),
        ("linear", Some(factor)) => Ok((theta, Some(RopeScaling::Linear { factor }))),
        (other, _) => Err(config_error(format!(
            "`{}.rope.scaling.type` is `{other}`, and known are none and linear",
            keys.name
        ))),
    }
}

/// The tensor in which GGUF keeps Llama 3's scaling: one divisor for each frequency.
const FREQUENCY_DIVISORS: &str = "rope_freqs.weight";

/// GGUF keeps the divisors and not the numbers behind them: they are Llama 3's, or they are not known.
fn llama3_scaling(
    gguf: &Gguf,
    tensor: &GgufTensor,
    theta: f64,
    head_dim: usize,
) -> Result<RopeScaling, LmError> {
    if tensor.shape != [head_dim / 2] {
        return Err(config_error(format!(
            "`{FREQUENCY_DIVISORS}` has shape {:?}, must be [{}]",
            tensor.shape,
            head_dim / 2
        )));
    }
    let found = gguf.read_tensor(tensor)?;
    let factor = f64::from(found.iter().copied().fold(1.0, f32::max));
    let (low_freq_factor, high_freq_factor, context) = (1.0, 4.0, 8192_u32);
    let known = (0..head_dim / 2).map(|i| {
        let frequency = theta.powf(-2.0 * i as f64 / head_dim as f64);
        let turns = f64::from(context) * frequency / std::f64::consts::TAU;
        let kept = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
        let kept = kept.clamp(0.0, 1.0);
        1.0 / ((1.0 - kept) / factor + kept)
    });
    if found.iter().zip(known).any(|(found, known)| (f64::from(*found) / known - 1.0).abs() > 1e-3)
    {
        return Err(config_error(format!(
            "`{FREQUENCY_DIVISORS}` is {found:?}, which is not Llama 3's scaling for any factor"
        )));
    }
    Ok(RopeScaling::Llama3 {
        factor,
        low_freq_factor,
        high_freq_factor,
        original_max_position_embeddings: context as usize,
    })
}
