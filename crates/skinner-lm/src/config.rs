//! The shape of a decoder: everything that a checkpoint's `config.json` (or GGUF metadata) says.

mod gguf;
mod hugging_face;

use serde::{Deserialize, Serialize};

use crate::error::LmError;

/// Which architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Llama, `SmolLM2`: RMS norms, rotary embedding, grouped-query attention, SwiGLU.
    Llama,
    /// Llama with biases on q, k and v.
    Qwen2,
    /// Llama with RMS norms on each head's q and k, before the rotary embedding.
    Qwen3,
    /// Layer norms, learned positions, one matrix for q, k and v, GELU (tanh approximation), biases.
    Gpt2,
}

impl Family {
    /// Every family, in the order in which they are listed to a user.
    pub const ALL: [Self; 4] = [Self::Llama, Self::Qwen2, Self::Qwen3, Self::Gpt2];

    /// Hugging Face's `model_type`, which is also the architecture's name in GGUF.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Gpt2 => "gpt2",
        }
    }

    fn from_name(name: &str, key: &str) -> Result<Self, LmError> {
        Self::ALL.into_iter().find(|family| family.as_str() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            LmError::Config(format!("{key} is `{name}`, and known are {known}"))
        })
    }
}

/// How rotary frequencies are stretched for contexts longer than a model was pretrained on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rope_type", rename_all = "snake_case")]
pub enum RopeScaling {
    /// Positions divided by `factor` (Chen et al. 2023, position interpolation).
    Linear {
        /// At least 1.
        factor: f64,
    },
    /// Llama 3.1: low frequencies divided by `factor`, high ones kept, a ramp between.
    Llama3 {
        /// At least 1.
        factor: f64,
        /// Wavelengths above `original / low_freq_factor` are divided.
        low_freq_factor: f64,
        /// Wavelengths below `original / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// The context of pretraining.
        original_max_position_embeddings: usize,
    },
}

/// A decoder's shape. Weights have Hugging Face's names and layout (`[out, in]`, row-major; `GPT-2`'s
/// `Conv1D` matrices are transposed to that on loading).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// Which architecture.
    pub family: Family,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of a head (not always `hidden_size / num_attention_heads`).
    pub head_dim: usize,
    /// Longest context.
    pub max_position_embeddings: usize,
    /// Inside the square root of every norm.
    pub norm_eps: f32,
    /// Base of the rotary frequencies (unused by `GPT-2`).
    pub rope_theta: f64,
    /// Stretching of the rotary frequencies.
    pub rope_scaling: Option<RopeScaling>,
    /// Whether the output head is the embedding.
    pub tie_word_embeddings: bool,
    /// Begins a text, where the model has such a token.
    pub bos_token_id: Option<u32>,
    /// Each of these ends a generation.
    pub eos_token_ids: Vec<u32>,
    /// Fills batches, where the model has such a token.
    pub pad_token_id: Option<u32>,
}

impl ModelConfig {
    /// Width of all query heads together.
    pub const fn query_size(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Width of all key (or value) heads together.
    pub const fn key_value_size(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

    /// How many numbers all weights have together.
    pub fn num_parameters(&self) -> usize {
        self.tensors().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// Checks that every size is at least 1 and within reason, and that the sizes fit each other.
    ///
    /// # Errors
    /// Names the field, its value and what would be right.
    pub fn validate(&self) -> Result<(), LmError> {
        self.check_sizes()?;
        self.check_heads()?;
        self.check_numbers()?;
        self.check_token_ids()
    }

    fn check_sizes(&self) -> Result<(), LmError> {
        let sizes = [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("hidden_size", self.hidden_size, 1 << 18),
            ("intermediate_size", self.intermediate_size, 1 << 20),
            ("num_hidden_layers", self.num_hidden_layers, 1 << 12),
            ("num_attention_heads", self.num_attention_heads, 1 << 12),
            ("num_key_value_heads", self.num_key_value_heads, 1 << 12),
            ("head_dim", self.head_dim, 1 << 12),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 26),
        ];
        for (name, size, most) in sizes {
            if !(1..=most).contains(&size) {
                return Err(config_error(format!("`{name}` is {size}, must be 1 to {most}")));
            }
        }
        Ok(())
    }

    fn check_heads(&self) -> Result<(), LmError> {
        let (heads, groups) = (self.num_attention_heads, self.num_key_value_heads);
        if !heads.is_multiple_of(groups) {
            return Err(config_error(format!(
                "`num_key_value_heads` is {groups}, must divide `num_attention_heads` ({heads})"
            )));
        }
        if self.family == Family::Gpt2 {
            if groups != heads || self.query_size() != self.hidden_size {
                return Err(config_error(format!(
                    "gpt2 with {heads} heads, {groups} of them for keys, each of width {}, must have as \
                     many for keys as for queries and a `hidden_size` ({}) of their widths' sum",
                    self.head_dim, self.hidden_size
                )));
            }
        } else if !self.head_dim.is_multiple_of(2) {
            return Err(config_error(format!(
                "`head_dim` is {}, must be even for the rotary embedding",
                self.head_dim
            )));
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), LmError> {
        if !(self.norm_eps.is_finite() && self.norm_eps > 0.0) {
            return Err(config_error(format!("`norm_eps` is {}, must be above 0", self.norm_eps)));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 0.0) {
            return Err(config_error(format!(
                "`rope_theta` is {}, must be above 0",
                self.rope_theta
            )));
        }
        let Some(scaling) = self.rope_scaling else { return Ok(()) };
        let (RopeScaling::Linear { factor } | RopeScaling::Llama3 { factor, .. }) = scaling;
        if !(factor.is_finite() && factor >= 1.0) {
            return Err(config_error(format!(
                "rope scaling's `factor` is {factor}, must be at least 1"
            )));
        }
        if let RopeScaling::Llama3 {
            low_freq_factor: low,
            high_freq_factor: high,
            original_max_position_embeddings: original,
            ..
        } = scaling
            && !(low > 0.0 && low < high && high.is_finite() && (1..=1 << 26).contains(&original))
        {
            return Err(config_error(format!(
                "rope scaling has `low_freq_factor` {low}, `high_freq_factor` {high} and \
                 `original_max_position_embeddings` {original}: the factors must rise from above 0, the \
                 context must be at least 1"
            )));
        }
        Ok(())
    }

    fn check_token_ids(&self) -> Result<(), LmError> {
        let ids = self.bos_token_id.iter().map(|id| ("bos_token_id", *id));
        let ids = ids.chain(self.eos_token_ids.iter().map(|id| ("eos_token_id", *id)));
        for (name, id) in ids.chain(self.pad_token_id.iter().map(|id| ("pad_token_id", *id))) {
            if id as usize >= self.vocab_size {
                return Err(config_error(format!(
                    "`{name}` is {id}, must be below `vocab_size` ({})",
                    self.vocab_size
                )));
            }
        }
        Ok(())
    }

    /// Name and shape of every weight, in a fixed order: the embedding, the blocks, the final norm, and the
    /// head unless it is the embedding. Matrices are `[out, in]`, `GPT-2`'s too.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        match self.family {
            Family::Gpt2 => self.gpt2_tensors(),
            Family::Llama | Family::Qwen2 | Family::Qwen3 => self.llama_tensors(),
        }
    }

    fn llama_tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let (query, key_value) = (self.query_size(), self.key_value_size());
        let mut tensors =
            vec![("model.embed_tokens.weight".to_owned(), vec![self.vocab_size, hidden])];
        for layer in 0..self.num_hidden_layers {
            let mut add = |name: &str, shape: &[usize]| {
                tensors.push((format!("model.layers.{layer}.{name}"), shape.to_vec()));
            };
            add("input_layernorm.weight", &[hidden]);
            for (name, size) in [("q", query), ("k", key_value), ("v", key_value)] {
                add(&format!("self_attn.{name}_proj.weight"), &[size, hidden]);
                if self.family == Family::Qwen2 {
                    add(&format!("self_attn.{name}_proj.bias"), &[size]);
                }
            }
            if self.family == Family::Qwen3 {
                add("self_attn.q_norm.weight", &[self.head_dim]);
                add("self_attn.k_norm.weight", &[self.head_dim]);
            }
            add("self_attn.o_proj.weight", &[hidden, query]);
            add("post_attention_layernorm.weight", &[hidden]);
            add("mlp.gate_proj.weight", &[inner, hidden]);
            add("mlp.up_proj.weight", &[inner, hidden]);
            add("mlp.down_proj.weight", &[hidden, inner]);
        }
        tensors.push(("model.norm.weight".to_owned(), vec![hidden]));
        if !self.tie_word_embeddings {
            tensors.push((HEAD.to_owned(), vec![self.vocab_size, hidden]));
        }
        tensors
    }

    fn gpt2_tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let mut tensors = vec![
            ("transformer.wte.weight".to_owned(), vec![self.vocab_size, hidden]),
            ("transformer.wpe.weight".to_owned(), vec![self.max_position_embeddings, hidden]),
        ];
        for layer in 0..self.num_hidden_layers {
            let modules: [(&str, &[usize]); 6] = [
                ("ln_1", &[hidden]),
                ("attn.c_attn", &[3 * hidden, hidden]),
                ("attn.c_proj", &[hidden, hidden]),
                ("ln_2", &[hidden]),
                ("mlp.c_fc", &[inner, hidden]),
                ("mlp.c_proj", &[hidden, inner]),
            ];
            for (name, shape) in modules {
                tensors.push((format!("transformer.h.{layer}.{name}.weight"), shape.to_vec()));
                tensors.push((format!("transformer.h.{layer}.{name}.bias"), vec![shape[0]]));
            }
        }
        for part in ["weight", "bias"] {
            tensors.push((format!("transformer.ln_f.{part}"), vec![hidden]));
        }
        if !self.tie_word_embeddings {
            tensors.push((HEAD.to_owned(), vec![self.vocab_size, hidden]));
        }
        tensors
    }

    /// Whether Hugging Face's files hold this matrix as `[in, out]` (`GPT-2`'s `Conv1D`).
    pub(crate) fn is_transposed_in_files(&self, name: &str) -> bool {
        const CONV1D: [&str; 3] = [".c_attn.weight", ".c_proj.weight", ".c_fc.weight"];
        self.family == Family::Gpt2 && CONV1D.iter().any(|end| name.ends_with(end))
    }
}

pub(crate) const HEAD: &str = "lm_head.weight";

fn config_error(what: impl Into<String>) -> LmError {
    LmError::Config(what.into())
}

#[cfg(test)]
mod tests;
