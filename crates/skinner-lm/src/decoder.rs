//! The decoder on a CPU: forward, backward, and the head that turns hidden states into log-probabilities.
//!
//! A batch is packed: tokens of several sequences one after the other, without padding, and attention stays
//! within its sequence. Every sum runs in an order that does not depend on the batch: adding the gradients
//! of two batches gives the bits of adding those of one batch that holds both.

mod attention;
mod block;
mod head;
mod layout;
mod linear;
mod lora;
mod params;
mod rope;

use skinner_core::{Rng, SeedSequence};
use skinner_nn::matrix::Cpu;

pub use head::{Head, Target, TokenScores};
pub use layout::{Layout, TensorAt};
pub use linear::{Gradient, Model};
pub use lora::{Adapter, LoraConfig, LoraLayout};
pub use params::{HalfParams, Params};

pub(crate) use attention::{Group, Heads};
use block::norm_forward;
#[cfg(feature = "tensor")]
pub(crate) use layout::BlockAt;
pub(crate) use layout::{Linear, NormAt};
#[cfg(feature = "tensor")]
pub(crate) use lora::drop_inputs;
pub(crate) use rope::{Rope, rotate};

use crate::config::{Family, ModelConfig};
use crate::error::LmError;
use block::{BlockTape, Pass, norm_backward};
use linear::Dropout;

/// Tokens that see each other, and maybe those of a segment before them.
///
/// Completions of one prompt are segments with that prompt as their prefix: it is run once for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its first token in the batch.
    pub start: usize,
    /// Behind its last token.
    pub end: usize,
    /// Start and end of a segment before it, without a prefix of its own, whose tokens come first.
    pub prefix: Option<(usize, usize)>,
}

impl Segment {
    /// Tokens of its own.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// Tokens of its prefix: the position of its own first one.
    pub fn before(&self) -> usize {
        self.prefix.map_or(0, |(start, end)| end - start)
    }

    /// Places in the batch of all tokens that its last one sees.
    pub fn seen(&self) -> impl Iterator<Item = usize> + use<> {
        let (start, end) = self.prefix.unwrap_or_default();
        (start..end).chain(self.start..self.end)
    }
}

impl From<(usize, usize)> for Segment {
    fn from((start, end): (usize, usize)) -> Self {
        Self { start, end, prefix: None }
    }
}

/// Sequences one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The tokens of all sequences.
    pub ids: &'a [u32],
    /// Together they cover all tokens, in order.
    pub segments: &'a [Segment],
    /// In training with dropout: a seed for each sequence, which makes its masks whatever the batch.
    pub dropout: Option<&'a [SeedSequence]>,
}

/// What a forward pass keeps for the backward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Nothing: there will be no backward pass.
    Nothing,
    /// Nothing, and hidden states are wanted of every sequence's last token alone.
    LastOnly,
    /// What every block computed.
    #[default]
    Everything,
    /// Each block's input; the rest is computed again (activation checkpointing, Chen et al. 2016).
    Inputs,
}

/// What a forward pass left.
#[derive(Debug, Default)]
pub struct Tape {
    blocks: Vec<BlockTape>,
    /// What blocks compute again, one after the other.
    shared: BlockTape,
    keep: Keep,
    /// The residual stream after the last block.
    last: Vec<f32>,
    moments: Vec<(f32, f32)>,
    /// The hidden states after the final norm (`tokens × hidden_size`; with [`Keep::LastOnly`],
    /// `sequences × hidden_size`).
    pub hidden: Vec<f32>,
}

/// A decoder's shape and the places of its weights. The weights themselves are lent to every call.
#[derive(Clone, Debug)]
pub struct Decoder {
    config: ModelConfig,
    layout: Layout,
    rope: Option<Rope>,
}

impl Decoder {
    /// A decoder of this shape.
    ///
    /// # Errors
    /// A config that is not valid.
    pub fn new(config: ModelConfig) -> Result<Self, LmError> {
        config.validate()?;
        let layout = Layout::new(&config);
        let rope = (config.family != Family::Gpt2).then(|| Rope::new(&config));
        Ok(Self { config, layout, rope })
    }

    /// Its shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Where its weights lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Initial weights: normal with deviation 0.02, divided by `√(2 layers)` where a matrix writes to the
    /// residual stream (Radford et al. 2019); norms 1, biases 0.
    pub fn init(&self, rng: &mut Rng) -> Vec<f32> {
        let mut params = vec![0.0; self.layout.num_params()];
        let residual = 0.02 / (2.0 * self.config.num_hidden_layers as f64).sqrt();
        for tensor in self.layout.tensors() {
            let name = &tensor.name;
            let range = tensor.range();
            if tensor.decays() {
                let writes = ["o_proj.weight", "down_proj.weight", "c_proj.weight"];
                let deviation =
                    if writes.iter().any(|end| name.ends_with(end)) { residual } else { 0.02 };
                params[range].iter_mut().for_each(|x| *x = (rng.normal() * deviation) as f32);
            } else if !name.ends_with("bias") {
                params[range].fill(1.0);
            }
        }
        params
    }

    /// Checks that a sequence can be run: ids that exist, a length within the context.
    ///
    /// # Errors
    /// The id, or the length, and what is possible.
    pub fn check(&self, ids: &[u32]) -> Result<(), LmError> {
        let vocab_size = self.config.vocab_size;
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
            return Err(LmError::TokenId { id, vocab_size });
        }
        let context = self.config.max_position_embeddings;
        if ids.len() > context {
            return Err(LmError::TooLong { tokens: ids.len(), context });
        }
        Ok(())
    }

    /// Runs a batch. `each` sees every block's rotated q, k and v.
    ///
    /// # Panics
    /// If segments do not cover the tokens, or a token or length fails [`Decoder::check`].
    pub fn forward(
        &self,
        cpu: &mut Cpu,
        model: &Model<'_>,
        batch: &Batch<'_>,
        tape: &mut Tape,
        keep: Keep,
        mut each: impl FnMut(usize, &[f32]),
    ) {
        assert_eq!(batch.segments.last().map_or(0, |s| s.end), batch.ids.len(), "segments cover");
        let (width, layers) = (self.config.hidden_size, self.config.num_hidden_layers);
        tape.keep = keep;
        let forgets = matches!(keep, Keep::Nothing | Keep::LastOnly);
        let held = if forgets { 1 } else { layers };
        tape.blocks.resize_with(held, BlockTape::default);
        let angles = self.angles(batch.segments);
        let mut pass = self.pass(model, batch, &angles);
        tape.blocks[0].x = self.embed(model, batch);
        debug_assert_eq!(tape.blocks[0].x.len(), batch.ids.len() * width);
        let shared = &mut tape.shared;
        let mut out = Vec::new();
        for (layer, at) in self.layout.blocks.iter().enumerate() {
            let own = if forgets { 0 } else { layer };
            pass.last_only = keep == Keep::LastOnly && layer + 1 == layers;
            if keep == Keep::Inputs {
                shared.x.clone_from(&tape.blocks[own].x);
                pass.forward(cpu, at, shared, &mut out);
                each(layer, &shared.qkv);
            } else {
                pass.forward(cpu, at, &mut tape.blocks[own], &mut out);
                each(layer, &tape.blocks[own].qkv);
            }
            if layer + 1 < layers {
                let next = if forgets { 0 } else { layer + 1 };
                std::mem::swap(&mut tape.blocks[next].x, &mut out);
            }
        }
        std::mem::swap(&mut tape.last, &mut out);
        let norm = (self.layout.norm, self.config.norm_eps, width);
        let params = &model.params;
        norm_forward(cpu, params, norm, &tape.last, &mut tape.hidden, &mut tape.moments);
    }

    /// From the gradient in the hidden states: adds those in the weights to `grad`, and returns that in the
    /// embedded tokens, for [`Decoder::embed_backward`] when the step's last batch is done. Tied embeddings
    /// have gradients from both ends; in this order their sum does not depend on the batches.
    ///
    /// # Panics
    /// If the tape was not filled by [`Decoder::forward`] on this batch, keeping something.
    pub fn backward(
        &self,
        cpu: &mut Cpu,
        model: &Model<'_>,
        batch: &Batch<'_>,
        tape: &mut Tape,
        d_hidden: &[f32],
        grad: &mut Gradient<'_>,
    ) -> Vec<f32> {
        let forgot = matches!(tape.keep, Keep::Nothing | Keep::LastOnly);
        assert!(!forgot, "a backward pass needs what the forward pass kept");
        let width = self.config.hidden_size;
        let angles = self.angles(batch.segments);
        let pass = self.pass(model, batch, &angles);
        let mut d = vec![0.0; d_hidden.len()];
        let norm = (self.layout.norm, width);
        let params = &model.params;
        norm_backward(cpu, params, norm, &tape.last, &tape.moments, d_hidden, &mut d, grad);
        let shared = &mut tape.shared;
        let mut out = Vec::new();
        for (at, own) in self.layout.blocks.iter().zip(&mut tape.blocks).rev() {
            if tape.keep == Keep::Inputs {
                shared.x.clone_from(&own.x);
                pass.forward(cpu, at, shared, &mut out);
                pass.backward(cpu, at, shared, &mut d, grad);
            } else {
                pass.backward(cpu, at, own, &mut d, grad);
            }
        }
        d
    }

    fn pass<'a>(
        &'a self,
        model: &Model<'a>,
        batch: &Batch<'a>,
        angles: &'a [Vec<f32>],
    ) -> Pass<'a> {
        let dropout = batch.dropout.map(|seeds| Dropout { segments: batch.segments, seeds });
        Pass {
            config: &self.config,
            model: *model,
            segments: batch.segments,
            last_only: false,
            dropout,
            angles,
        }
    }

    /// The rotary angles of every token.
    fn angles(&self, segments: &[Segment]) -> Vec<Vec<f32>> {
        let Some(rope) = &self.rope else { return Vec::new() };
        let longest = segments.iter().map(|s| s.before() + s.len()).max().unwrap_or(0);
        let table: Vec<Vec<f32>> = (0..longest).map(|position| rope.angles(position)).collect();
        let of = |s: &Segment| s.before()..s.before() + s.len();
        segments.iter().flat_map(|segment| table[of(segment)].iter().cloned()).collect()
    }

    pub(crate) fn rope(&self) -> Option<&Rope> {
        self.rope.as_ref()
    }

    fn embed(&self, model: &Model<'_>, batch: &Batch<'_>) -> Vec<f32> {
        let width = self.config.hidden_size;
        let mut x = vec![0.0; batch.ids.len() * width];
        for segment in batch.segments {
            for t in segment.start..segment.end {
                let row = &mut x[t * width..(t + 1) * width];
                let position = segment.before() + t - segment.start;
                self.embed_token(&model.params, batch.ids[t], position, row);
            }
        }
        x
    }

    /// Adds a token's embedding, and its position's where positions are learned.
    pub(crate) fn embed_token(
        &self,
        params: &Params<'_>,
        id: u32,
        position: usize,
        row: &mut [f32],
    ) {
        let width = self.config.hidden_size;
        params.add_row(self.layout.embedding + id as usize * width, row);
        if let Some(positions) = self.layout.positions {
            params.add_row(positions + position * width, row);
        }
    }

    /// Adds the gradients in the embeddings, from what [`Decoder::backward`] returned for the batch. The pad
    /// token gets none here, as in `transformers` (`padding_idx`), even where it also ends a text.
    pub fn embed_backward(&self, batch: &Batch<'_>, d: &[f32], grad: &mut [f32]) {
        let width = self.config.hidden_size;
        let mut add = |at: usize, d: &[f32]| {
            grad[at..at + width].iter_mut().zip(d).for_each(|(g, d)| *g += d);
        };
        for segment in batch.segments {
            for t in segment.start..segment.end {
                let d = &d[t * width..(t + 1) * width];
                if self.config.pad_token_id != Some(batch.ids[t]) {
                    add(self.layout.embedding + batch.ids[t] as usize * width, d);
                }
                if let Some(positions) = self.layout.positions {
                    let position = segment.before() + t - segment.start;
                    add(positions + position * width, d);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
