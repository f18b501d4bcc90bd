//! Low-rank adapters: `W x + (alpha / rank) B A x`, only A and B trained (Hu et al. 2022).

use serde::{Deserialize, Serialize};
use skinner_core::{Rng, SeedSequence};

use super::Segment;
use super::layout::{Layout, TensorAt};
use crate::error::LmError;

/// What is adapted, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank of the update.
    pub rank: usize,
    /// The update is scaled by `alpha / rank`.
    pub alpha: f64,
    /// Share of the adapter's inputs that is dropped in training.
    #[serde(default)]
    pub dropout: f64,
    /// Last parts of the modules' names, for example `q_proj`; or `all-linear`.
    #[serde(default = "all_linear")]
    pub target_modules: Vec<String>,
    /// Whether the model with the adapter added is written too, beside the adapter.
    #[serde(default)]
    pub merge: bool,
}

fn all_linear() -> Vec<String> {
    vec!["all-linear".to_owned()]
}

/// Where each adapter lies in a flat array of its own.
#[derive(Clone, Debug)]
pub struct LoraLayout {
    tensors: Vec<TensorAt>,
    /// Of each part of the model: where A (`rank × in`) and B (`out × rank`) start.
    at: Vec<Option<(usize, usize)>>,
    len: usize,
    rank: usize,
    scale: f32,
    dropout: f32,
}

impl LoraLayout {
    /// The adapters of a model.
    ///
    /// # Errors
    /// A rank of 0, a dropout outside [0, 1), or a target that names no module.
    pub fn new(config: &LoraConfig, layout: &Layout) -> Result<Self, LmError> {
        let rank = config.rank;
        if !(1..=65536).contains(&rank) {
            return Err(LmError::Recipe(format!("lora.rank is {rank}, must be 1 to 65536")));
        }
        if !(0.0..1.0).contains(&config.dropout) {
            let dropout = config.dropout;
            let what = format!("lora.dropout is {dropout}, must be at least 0 and below 1");
            return Err(LmError::Recipe(what));
        }
        if !(config.alpha.is_finite() && config.alpha > 0.0) {
            let what = format!("lora.alpha is {}, must be above 0", config.alpha);
            return Err(LmError::Recipe(what));
        }
        let modules = layout.modules();
        let last = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
        for target in &config.target_modules {
            if target != "all-linear" && !modules.iter().any(|(name, ..)| last(name) == *target) {
                let mut known: Vec<String> = modules.iter().map(|(name, ..)| last(name)).collect();
                known.sort();
                known.dedup();
                return Err(LmError::Recipe(format!(
                    "lora.target_modules names `{target}`; this model has {} (or `all-linear`)",
                    known.join(", ")
                )));
            }
        }
        let wanted = |name: &str| {
            config.target_modules.iter().any(|t| t == "all-linear" || *t == last(name))
        };
        let (mut tensors, mut at, mut len) = (Vec::new(), Vec::new(), 0);
        for (name, outputs, inputs) in &modules {
            at.push(wanted(name).then(|| {
                let mut add = |part: &str, shape: [usize; 2]| {
                    let offset = len;
                    len += shape[0] * shape[1];
                    let name = format!("{name}.{part}.weight");
                    tensors.push(TensorAt { name, shape: shape.to_vec(), offset });
                    offset
                };
                (add("lora_A", [rank, *inputs]), add("lora_B", [*outputs, rank]))
            }));
        }
        if tensors.is_empty() {
            let what = "lora.target_modules is empty: nothing would be trained".to_owned();
            return Err(LmError::Recipe(what));
        }
        let scale = (config.alpha / rank as f64) as f32;
        Ok(Self { tensors, at, len, rank, scale, dropout: config.dropout as f32 })
    }

    /// How many numbers.
    pub fn num_params(&self) -> usize {
        self.len
    }

    /// All tensors, in the order of the array, named as PEFT names them below `base_model.model`.
    pub fn tensors(&self) -> &[TensorAt] {
        &self.tensors
    }

    /// The rank of every adapter.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// What an adapter's output is multiplied by.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// PEFT's initial values: A uniform in ±1/√in (Kaiming with slope √5), B zero.
    pub fn init(&self, rng: &mut Rng) -> Vec<f32> {
        let mut params = vec![0.0; self.len];
        for tensor in &self.tensors {
            if tensor.name.ends_with("lora_A.weight") {
                let bound = 1.0 / (tensor.shape[1] as f64).sqrt();
                for x in &mut params[tensor.range()] {
                    *x = rng.uniform(-bound, bound) as f32;
                }
            }
        }
        params
    }

    /// Adds the adapters to the weights: `W += scale B A`.
    pub fn merge(&self, adapter: &[f32], layout: &Layout, params: &mut [f32]) {
        let linears = layout.blocks.iter().flat_map(|b| [&b.qkv, &b.o, &b.up, &b.down]);
        for linear in linears {
            for part in &linear.parts {
                let Some((a, b)) = self.at[part.id] else { continue };
                for row in 0..part.len {
                    let start = linear.weight + (part.from + row) * linear.inputs;
                    let w = &mut params[start..start + linear.inputs];
                    for r in 0..self.rank {
                        let factor = self.scale * adapter[b + row * self.rank + r];
                        let from = a + r * linear.inputs;
                        skinner_nn::matrix::add_scaled(
                            w,
                            factor,
                            &adapter[from..from + linear.inputs],
                        );
                    }
                }
            }
        }
    }
}

/// An adapter in use.
#[derive(Clone, Copy, Debug)]
pub struct Adapter<'a> {
    /// Where its numbers are.
    pub layout: &'a LoraLayout,
    /// Its numbers.
    pub params: &'a [f32],
}

impl<'a> Adapter<'a> {
    /// A and B of a part.
    pub(crate) fn of(&self, part: usize, inputs: usize, outputs: usize) -> Option<[&'a [f32]; 2]> {
        let (a, b) = self.layout.at[part]?;
        let rank = self.layout.rank;
        Some([&self.params[a..a + rank * inputs], &self.params[b..b + outputs * rank]])
    }

    /// Where the gradients of A and B of a part go.
    pub(crate) fn places(&self, part: usize) -> Option<(usize, usize)> {
        self.layout.at[part]
    }

    pub(crate) fn dropout(&self) -> f32 {
        self.layout.dropout
    }
}

/// Multiplies `x` (`tokens × inputs`) by dropout's mask: the same for the same example, position and part,
/// whatever the batch.
pub(crate) fn drop_inputs(
    x: &mut [f32],
    inputs: usize,
    segments: &[Segment],
    seeds: &[SeedSequence],
    part: usize,
    dropout: f32,
) {
    let kept = 1.0 / (1.0 - dropout);
    for (segment, seed) in segments.iter().zip(seeds) {
        let mut rng = seed.child(part as u32).rng();
        for x in &mut x[segment.start * inputs..segment.end * inputs] {
            *x = if rng.random() < f64::from(dropout) { 0.0 } else { *x * kept };
        }
    }
}
