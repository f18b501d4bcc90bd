//! One block of a decoder: attention, then the MLP, each behind a norm and beside the residual stream.

use skinner_nn::matrix::{self, Cpu};

use super::Segment;
use super::attention::{self, Heads};
use super::layout::{BlockAt, NormAt};
use super::linear::{Dropout, Gradient, Model, add_rows};
use super::params::Params;
use super::rope::{rotate, rotate_back};
use crate::config::{Family, ModelConfig};

/// Rows of a job of a row-wise function.
const ROWS: usize = 16;

/// What a norm remembers of a row: the mean (of layer norms) and one over the deviation.
type Moments = (f32, f32);

/// What the backward pass of a block needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlockTape {
    /// The residual stream before the block.
    pub x: Vec<f32>,
    norm1: Vec<Moments>,
    /// q and k before their norms, where they have any.
    raw: Vec<f32>,
    /// q, k and v as attention sees them.
    pub qkv: Vec<f32>,
    attended: Vec<f32>,
    log_sums: Vec<f32>,
    /// The residual stream between attention and MLP.
    mid: Vec<f32>,
    norm2: Vec<Moments>,
    /// Gate and up, or the sums before GELU.
    inner: Vec<f32>,
}

/// What all blocks of a pass share.
pub(crate) struct Pass<'a> {
    pub config: &'a ModelConfig,
    pub model: Model<'a>,
    pub segments: &'a [Segment],
    /// Whether the block's output is wanted of every segment's last token alone.
    pub last_only: bool,
    pub dropout: Option<Dropout<'a>>,
    /// Rotary angles of each token; empty where positions are learned.
    pub angles: &'a [Vec<f32>],
}

/// `y = norm(x)`, row by row.
pub(crate) fn norm_forward(
    cpu: &mut Cpu,
    params: &Params<'_>,
    (norm, eps, width): (NormAt, f32, usize),
    x: &[f32],
    y: &mut Vec<f32>,
    moments: &mut Vec<Moments>,
) {
    let weight = params.vector(norm.weight, width);
    let bias = norm.bias.map(|bias| params.vector(bias, width));
    y.resize(x.len(), 0.0);
    moments.resize(x.len() / width, (0.0, 0.0));
    let rows = x.chunks(ROWS * width).zip(y.chunks_mut(ROWS * width));
    let mut items: Vec<_> = rows.zip(moments.chunks_mut(ROWS)).collect();
    cpu.team.for_each(&mut items, |((x, y), moments)| {
        for ((x, y), m) in x.chunks(width).zip(y.chunks_mut(width)).zip(moments.iter_mut()) {
            *m = match bias {
                None => (0.0, matrix::rms_norm(x, weight, eps, y)),
                Some(bias) => matrix::layer_norm(x, weight, bias, eps, y),
            };
        }
    });
}

/// Adds the gradient in `x` to `d_x`, and those in the norm's weight and bias to `grad`.
pub(crate) fn norm_backward(
    cpu: &mut Cpu,
    params: &Params<'_>,
    (norm, width): (NormAt, usize),
    x: &[f32],
    moments: &[Moments],
    d_y: &[f32],
    d_x: &mut [f32],
    grad: &mut Gradient<'_>,
) {
    let weight = params.vector(norm.weight, width);
    let rows = x.chunks(ROWS * width).zip(d_y.chunks(ROWS * width));
    let mut items: Vec<_> =
        rows.zip(moments.chunks(ROWS)).zip(d_x.chunks_mut(ROWS * width)).collect();
    cpu.team.for_each(&mut items, |(((x, d_y), moments), d_x)| {
        let rows = x.chunks(width).zip(d_y.chunks(width)).zip(d_x.chunks_mut(width));
        for (((x, d_y), d_x), &m) in rows.zip(moments.iter()) {
            match norm.bias {
                None => matrix::rms_norm_backward(x, weight, m.1, d_y, d_x),
                Some(_) => matrix::layer_norm_backward(x, weight, m, d_y, d_x),
            }
        }
    });
    let Gradient::Full(grad) = grad else { return };
    // By columns, each one row after the other.
    cpu.team.for_chunks(&mut grad[norm.weight..norm.weight + width], 64, |i, sum| {
        let from = i * 64;
        for ((x, d_y), &(mean, inverse)) in
            x.chunks(width).zip(d_y.chunks(width)).zip(moments.iter())
        {
            let (x, d) = (&x[from..from + sum.len()], &d_y[from..from + sum.len()]);
            matrix::add_scaled_product(sum, inverse, x, d);
            if mean != 0.0 {
                matrix::add_scaled(sum, -mean * inverse, d);
            }
        }
    });
    if let Some(bias) = norm.bias {
        add_rows(cpu, &mut grad[bias..bias + width], d_y);
    }
}

/// `y += x`
fn add(cpu: &mut Cpu, y: &mut [f32], x: &[f32]) {
    const CHUNK: usize = 1 << 14;
    cpu.team.for_chunks(y, CHUNK, |i, y| {
        matrix::add_scaled(y, 1.0, &x[i * CHUNK..i * CHUNK + y.len()]);
    });
}

impl Pass<'_> {
    pub fn heads(&self) -> Heads {
        Heads {
            queries: self.config.num_attention_heads,
            keys: self.config.num_key_value_heads,
            dim: self.config.head_dim,
        }
    }

    fn norm_of(&self, norm: NormAt) -> (NormAt, f32, usize) {
        (norm, self.config.norm_eps, self.config.hidden_size)
    }

    /// From `tape.x` to the block's output. `tape` then holds what [`Pass::backward`] needs.
    pub fn forward(&self, cpu: &mut Cpu, at: &BlockAt, tape: &mut BlockTape, out: &mut Vec<f32>) {
        let (params, model) = (&self.model.params, &self.model);
        let mut normed = cpu.spare(tape.x.len());
        norm_forward(cpu, params, self.norm_of(at.norm1), &tape.x, &mut normed, &mut tape.norm1);
        at.qkv.forward(cpu, model, &normed, &mut tape.qkv, self.dropout);
        self.position_heads(cpu, at, tape);
        let heads = self.heads();
        let (attended, log_sums) = (&mut tape.attended, &mut tape.log_sums);
        let segments = (self.segments, self.last_only);
        attention::forward(cpu, heads, segments, &tape.qkv, attended, log_sums);
        if self.last_only {
            tape.x = self.last_rows(&tape.x);
            normed.resize(tape.x.len(), 0.0);
        }
        at.o.forward(cpu, model, &tape.attended, &mut tape.mid, self.dropout);
        add(cpu, &mut tape.mid, &tape.x);
        norm_forward(cpu, params, self.norm_of(at.norm2), &tape.mid, &mut normed, &mut tape.norm2);
        at.up.forward(cpu, model, &normed, &mut tape.inner, self.dropout);
        let mut active =
            cpu.spare(tape.x.len() / self.config.hidden_size * self.config.intermediate_size);
        self.activate(cpu, &tape.inner, &mut active);
        at.down.forward(cpu, model, &active, out, self.dropout);
        cpu.keep(normed);
        cpu.keep(active);
        add(cpu, out, &tape.mid);
    }

    /// The rows of every segment's last token.
    fn last_rows(&self, x: &[f32]) -> Vec<f32> {
        let width = self.config.hidden_size;
        let ends = self.segments.iter().filter(|segment| !segment.is_empty()).map(|s| s.end);
        ends.flat_map(|end| &x[(end - 1) * width..end * width]).copied().collect()
    }

    /// Norms of heads and the rotary embedding, in place.
    fn position_heads(&self, cpu: &mut Cpu, at: &BlockAt, tape: &mut BlockTape) {
        let heads = self.heads();
        let (row, dim) = (heads.row(), heads.dim);
        let turned = (heads.queries + heads.keys) * dim;
        if at.head_norms.is_some() {
            tape.raw.clone_from(&tape.qkv);
        }
        let norms = at
            .head_norms
            .map(|(q, k)| (self.model.params.vector(q, dim), self.model.params.vector(k, dim)));
        let raw = &tape.raw;
        cpu.team.for_chunks(&mut tape.qkv, ROWS * row, |i, rows| {
            for (j, qkv) in rows.chunks_mut(row).enumerate() {
                let token = i * ROWS + j;
                if let Some((q, k)) = norms {
                    let raw = &raw[token * row..];
                    for head in 0..heads.queries + heads.keys {
                        let weight = if head < heads.queries { q } else { k };
                        let at = head * dim..(head + 1) * dim;
                        let eps = self.config.norm_eps;
                        matrix::rms_norm(&raw[at.clone()], weight, eps, &mut qkv[at]);
                    }
                }
                if let Some(angles) = self.angles.get(token) {
                    rotate(&mut qkv[..turned], dim, angles);
                }
            }
        });
    }

    /// The gradient in q and k before their norms and the rotary embedding, in place.
    fn position_heads_backward(
        &self,
        cpu: &mut Cpu,
        at: &BlockAt,
        tape: &BlockTape,
        d_qkv: &mut [f32],
        grad: &mut Gradient<'_>,
    ) {
        let heads = self.heads();
        let (row, dim) = (heads.row(), heads.dim);
        let turned = (heads.queries + heads.keys) * dim;
        cpu.team.for_chunks(d_qkv, ROWS * row, |i, rows| {
            for (j, d) in rows.chunks_mut(row).enumerate() {
                if let Some(angles) = self.angles.get(i * ROWS + j) {
                    rotate_back(&mut d[..turned], dim, angles);
                }
            }
        });
        let Some((q_norm, k_norm)) = at.head_norms else { return };
        let eps = self.config.norm_eps;
        let mut d_y = vec![0.0; dim];
        for (d, raw) in d_qkv.chunks_mut(row).zip(tape.raw.chunks(row)) {
            for head in 0..heads.queries + heads.keys {
                let norm = if head < heads.queries { q_norm } else { k_norm };
                let weight = self.model.params.vector(norm, dim);
                let d = &mut d[head * dim..(head + 1) * dim];
                let raw = &raw[head * dim..(head + 1) * dim];
                let inverse = 1.0 / (matrix::dot(raw, raw) / dim as f32 + eps).sqrt();
                d_y.copy_from_slice(d);
                d.fill(0.0);
                matrix::rms_norm_backward(raw, weight, inverse, &d_y, d);
                if let Gradient::Full(grad) = grad {
                    matrix::add_scaled_product(&mut grad[norm..norm + dim], inverse, raw, &d_y);
                }
            }
        }
    }

    fn activate(&self, cpu: &mut Cpu, inner: &[f32], active: &mut Vec<f32>) {
        let width = self.config.intermediate_size;
        let gated = self.config.family != Family::Gpt2;
        let row = if gated { 2 * width } else { width };
        active.resize(inner.len() / row * width, 0.0);
        cpu.team.for_chunks(active, ROWS * width, |i, active| {
            for (j, active) in active.chunks_mut(width).enumerate() {
                let inner = &inner[(i * ROWS + j) * row..][..row];
                if gated {
                    matrix::swiglu(&inner[..width], &inner[width..], active);
                } else {
                    matrix::gelu(inner, active);
                }
            }
        });
    }

    fn activate_backward(&self, cpu: &mut Cpu, inner: &mut [f32], d_active: &[f32]) {
        let width = self.config.intermediate_size;
        let gated = self.config.family != Family::Gpt2;
        let row = if gated { 2 * width } else { width };
        cpu.team.for_chunks(inner, ROWS * row, |i, inner| {
            for (j, inner) in inner.chunks_mut(row).enumerate() {
                let d = &d_active[(i * ROWS + j) * width..][..width];
                if gated {
                    let (gate, up) = inner.split_at_mut(width);
                    matrix::swiglu_backward(gate, up, d);
                } else {
                    matrix::gelu_backward(inner, d);
                }
            }
        });
    }

    /// Turns `d`, the gradient in the block's output, into that in its input, and adds the weights'
    /// gradients to `grad`. Uses up the tape.
    pub fn backward(
        &self,
        cpu: &mut Cpu,
        at: &BlockAt,
        tape: &mut BlockTape,
        d: &mut [f32],
        grad: &mut Gradient<'_>,
    ) {
        let (params, model, dropout) = (&self.model.params, &self.model, self.dropout);
        let width = self.config.hidden_size;
        let tokens = d.len() / width;
        let inner = tokens * self.config.intermediate_size;
        let (mut normed, mut d_inner) = (cpu.spare(d.len()), cpu.spare(inner));
        // The MLP.
        let mut active = cpu.spare(inner);
        self.activate(cpu, &tape.inner, &mut active);
        at.down.backward(cpu, model, &active, d, &mut d_inner, grad, dropout);
        cpu.keep(active);
        self.activate_backward(cpu, &mut tape.inner, &d_inner);
        let norm = self.norm_of(at.norm2);
        norm_forward(cpu, params, norm, &tape.mid, &mut normed, &mut tape.norm2);
        at.up.backward(cpu, model, &normed, &tape.inner, &mut d_inner, grad, dropout);
        let norm = (at.norm2, width);
        norm_backward(cpu, params, norm, &tape.mid, &tape.norm2, &d_inner, d, grad);
        // Attention.
        at.o.backward(cpu, model, &tape.attended, d, &mut d_inner, grad, dropout);
        let mut d_qkv = cpu.spare(tape.qkv.len());
        attention::backward(
            cpu,
            self.heads(),
            self.segments,
            &tape.qkv,
            &tape.attended,
            &tape.log_sums,
            &d_inner,
            &mut d_qkv,
        );
        self.position_heads_backward(cpu, at, tape, &mut d_qkv, grad);
        let norm = self.norm_of(at.norm1);
        norm_forward(cpu, params, norm, &tape.x, &mut normed, &mut tape.norm1);
        at.qkv.backward(cpu, model, &normed, &d_qkv, &mut d_inner, grad, dropout);
        let norm = (at.norm1, width);
        norm_backward(cpu, params, norm, &tape.x, &tape.norm1, &d_inner, d, grad);
        for buffer in [normed, d_inner, d_qkv] {
            cpu.keep(buffer);
        }
    }
}
