//! Where each weight lies in one flat array of parameters.
//!
//! The rows of q, k and v lie one after the other, and so do those of gate and up: each group is one matrix
//! to multiply with.

use crate::config::{Family, ModelConfig};

/// A named tensor of the flat array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorAt {
    /// Hugging Face's name.
    pub name: String,
    /// `[out, in]` of a matrix, `[size]` of a vector.
    pub shape: Vec<usize>,
    /// Where it starts.
    pub offset: usize,
}

impl TensorAt {
    /// Its numbers' places.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.shape.iter().product::<usize>()
    }

    /// Whether weight decay applies: to matrices, not to norms and biases.
    pub fn decays(&self) -> bool {
        self.shape.len() > 1
    }
}

/// A norm's weight and, of layer norms, bias.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormAt {
    pub weight: usize,
    pub bias: Option<usize>,
}

/// Rows of a matrix that are one module of Hugging Face's model: what an adapter is attached to.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The module, for example `model.layers.0.self_attn.q_proj`.
    pub module: String,
    /// Number of the part in the whole model.
    pub id: usize,
    /// First row.
    pub from: usize,
    /// Rows.
    pub len: usize,
}

/// A matrix, its bias, and the modules it holds.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    pub weight: usize,
    pub bias: Option<usize>,
    pub inputs: usize,
    pub outputs: usize,
    pub parts: Vec<Part>,
}

/// One block.
#[derive(Clone, Debug)]
pub(crate) struct BlockAt {
    pub norm1: NormAt,
    pub qkv: Linear,
    /// Norms of each head's q and k (`Qwen3`).
    pub head_norms: Option<(usize, usize)>,
    pub o: Linear,
    pub norm2: NormAt,
    /// Gate and up, or `GPT-2`'s only inner matrix.
    pub up: Linear,
    pub down: Linear,
}

/// The places of all weights.
#[derive(Clone, Debug)]
pub struct Layout {
    tensors: Vec<TensorAt>,
    len: usize,
    pub(crate) embedding: usize,
    pub(crate) positions: Option<usize>,
    pub(crate) blocks: Vec<BlockAt>,
    pub(crate) norm: NormAt,
    pub(crate) head: usize,
}

/// The tensors in the order of the array.
fn ordered(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let mut placed = Vec::new();
    // Biases of q and k wait until v's matrix is placed.
    let mut waiting = Vec::new();
    for (name, shape) in config.tensors() {
        let is_bias = |part: &str| name.ends_with(&format!("self_attn.{part}_proj.bias"));
        if is_bias("q") || is_bias("k") {
            waiting.push((name, shape));
        } else {
            let last = name.ends_with("v_proj.weight");
            placed.push((name, shape));
            if last {
                placed.append(&mut waiting);
            }
        }
    }
    placed
}

impl Layout {
    /// The layout of a (validated) config.
    ///
    /// # Panics
    /// If the config's list of tensors lacks one that its family needs, which is a bug.
    pub fn new(config: &ModelConfig) -> Self {
        let mut len = 0;
        let tensors: Vec<TensorAt> = ordered(config)
            .into_iter()
            .map(|(name, shape)| {
                let offset = len;
                len += shape.iter().product::<usize>();
                TensorAt { name, shape, offset }
            })
            .collect();
        let find = |name: &str| tensors.iter().find(|t| t.name == name).map(|t| t.offset);
        let at = |name: &str| find(name).unwrap_or_else(|| panic!("no tensor {name}"));
        let gpt2 = config.family == Family::Gpt2;
        let mut parts = 0;
        let mut linear = |prefix: &str, modules: &[(&str, usize)], inputs: usize| {
            let mut from = 0;
            let first = format!("{prefix}.{}", modules[0].0);
            let parts = modules
                .iter()
                .map(|&(name, len)| {
                    let part = Part { module: format!("{prefix}.{name}"), id: parts, from, len };
                    (from, parts) = (from + len, parts + 1);
                    part
                })
                .collect();
            Linear {
                weight: at(&format!("{first}.weight")),
                bias: find(&format!("{first}.bias")),
                inputs,
                outputs: from,
                parts,
            }
        };
        let norm = |name: String| NormAt {
            weight: at(&format!("{name}.weight")),
            bias: find(&format!("{name}.bias")),
        };
        let (d, inner) = (config.hidden_size, config.intermediate_size);
        let (q, kv) = (config.query_size(), config.key_value_size());
        let mut blocks = Vec::with_capacity(config.num_hidden_layers);
        for layer in 0..config.num_hidden_layers {
            blocks.push(if gpt2 {
                let p = format!("transformer.h.{layer}");
                BlockAt {
                    norm1: norm(format!("{p}.ln_1")),
                    qkv: linear(&format!("{p}.attn"), &[("c_attn", 3 * d)], d),
                    head_norms: None,
                    o: linear(&format!("{p}.attn"), &[("c_proj", d)], d),
                    norm2: norm(format!("{p}.ln_2")),
                    up: linear(&format!("{p}.mlp"), &[("c_fc", inner)], d),
                    down: linear(&format!("{p}.mlp"), &[("c_proj", d)], inner),
                }
            } else {
                let p = format!("model.layers.{layer}");
                let head_norms = (config.family == Family::Qwen3).then(|| {
                    let name = |part| at(&format!("{p}.self_attn.{part}_norm.weight"));
                    (name("q"), name("k"))
                });
                let (attention, mlp) = (format!("{p}.self_attn"), format!("{p}.mlp"));
                BlockAt {
                    norm1: norm(format!("{p}.input_layernorm")),
                    qkv: linear(&attention, &[("q_proj", q), ("k_proj", kv), ("v_proj", kv)], d),
                    head_norms,
                    o: linear(&attention, &[("o_proj", d)], q),
                    norm2: norm(format!("{p}.post_attention_layernorm")),
                    up: linear(&mlp, &[("gate_proj", inner), ("up_proj", inner)], d),
                    down: linear(&mlp, &[("down_proj", d)], inner),
                }
            });
        }
        let name = if gpt2 { "transformer.wte.weight" } else { "model.embed_tokens.weight" };
        let embedding = at(name);
        let head = if config.tie_word_embeddings { embedding } else { at("lm_head.weight") };
        let last = if gpt2 { "transformer.ln_f" } else { "model.norm" };
        let (norm, positions) = (norm(last.to_owned()), find("transformer.wpe.weight"));
        Self { tensors, len, embedding, positions, blocks, norm, head }
    }

    /// How many numbers.
    pub fn num_params(&self) -> usize {
        self.len
    }

    /// All tensors, in the order of the array.
    pub fn tensors(&self) -> &[TensorAt] {
        &self.tensors
    }

    /// The linear modules that adapters can be attached to: name, outputs, inputs; in the order of ids.
    pub fn modules(&self) -> Vec<(String, usize, usize)> {
        let linears = self.blocks.iter().flat_map(|b| [&b.qkv, &b.o, &b.up, &b.down]);
        linears.flat_map(|l| l.parts.iter().map(|p| (p.module.clone(), p.len, l.inputs))).collect()
    }
}
