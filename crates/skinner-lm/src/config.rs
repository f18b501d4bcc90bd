//! The shape of a decoder: everything that a checkpoint's `config.json` (or GGUF metadata) says.

use serde::{Deserialize, Serialize};

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
