//! What a decoder computes on a device, from its weights and adapters.

use burn_tensor::activation::{sigmoid, silu, softmax};
use burn_tensor::{DType, Int, Tensor};

use super::arrays::Arrays;
use super::batch::{Angles, Placed};
use crate::config::Family;
use crate::decoder::{Adapter, BlockAt, Decoder, Linear, LoraLayout, NormAt};

/// Keys and values of tokens, `tokens × heads × head_dim` each, as attention sees them.
pub(super) type KeysValues<'a> = (&'a Tensor<3>, &'a Tensor<3>);

/// A decoder with the weights that it computes with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Net<'a> {
    pub decoder: &'a Decoder,
    pub weights: &'a Arrays,
    pub adapter: Option<(&'a LoraLayout, &'a Arrays)>,
    /// Whether what is multiplied by a matrix is rounded to bf16.
    pub half: bool,
}

impl Net<'_> {
    /// `x wᵀ`
    pub fn product(&self, x: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
        if self.half {
            let product = x.cast(DType::BF16).matmul(w.cast(DType::BF16).transpose());
            return product.cast(DType::F32);
        }
        x.matmul(w.transpose())
    }

    /// `y = W x + b` and what adapters add, for all rows of `x`. `dropped` is asked for a part's mask by the
    /// inputs, the part's number and the rate.
    pub fn linear(
        &self,
        at: &Linear,
        x: &Tensor<2>,
        dropped: &dyn Fn(usize, usize, f32) -> Option<Tensor<2>>,
    ) -> Tensor<2> {
        let mut y = self.product(x.clone(), self.weights.get(at.weight));
        if let Some(bias) = at.bias {
            y = y + self.weights.get(bias);
        }
        let Some((layout, values)) = self.adapter else { return y };
        let adapter = Adapter { layout, params: &[] };
        if at.parts.iter().all(|part| adapter.places(part.id).is_none()) {
            return y;
        }
        let rows = x.dims()[0];
        let added = at.parts.iter().map(|part| {
            let Some((a, b)) = adapter.places(part.id) else {
                return Tensor::zeros([rows, part.len], (&x.device(), DType::F32));
            };
            let seen = match dropped(at.inputs, part.id, adapter.dropout()) {
                Some(mask) => x.clone() * mask,
                None => x.clone(),
            };
            let low = self.product(seen, values.get(a)) * layout.scale();
            self.product(low, values.get(b))
        });
        y + Tensor::cat(added.collect(), 1)
    }

    /// The norm of each row.
    pub fn norm(&self, at: NormAt, x: Tensor<2>) -> Tensor<2> {
        let eps = self.decoder.config().norm_eps;
        let weight = self.weights.get(at.weight);
        let Some(bias) = at.bias else { return rms_norm(x, weight, eps) };
        let x = x.clone() - x.mean_dim(1);
        let variance = (x.clone() * x.clone()).mean_dim(1);
        x / (variance + eps).sqrt() * weight + self.weights.get(bias)
    }

    /// q, k and v of each head (`tokens × heads × head_dim`): normed where heads are, and turned.
    pub fn heads(&self, at: &BlockAt, qkv: &Tensor<2>, angles: Option<&Angles>) -> [Tensor<3>; 3] {
        let config = self.decoder.config();
        let (queries, keys, dim) =
            (config.num_attention_heads, config.num_key_value_heads, config.head_dim);
        let tokens = qkv.dims()[0];
        let part = |from: usize, heads: usize| {
            qkv.clone().narrow(1, from * dim, heads * dim).reshape([tokens, heads, dim])
        };
        let (mut q, mut k) = (part(0, queries), part(queries, keys));
        if let Some((q_norm, k_norm)) = at.head_norms {
            q = self.head_norm(q, q_norm);
            k = self.head_norm(k, k_norm);
        }
        if let Some(angles) = angles {
            q = turned(q, angles);
            k = turned(k, angles);
        }
        [q, k, part(queries + keys, keys)]
    }

    fn head_norm(&self, x: Tensor<3>, at: usize) -> Tensor<3> {
        let shape = x.dims();
        let [tokens, heads, dim] = shape;
        let rows = x.reshape([tokens * heads, dim]);
        rms_norm(rows, self.weights.get(at), self.decoder.config().norm_eps).reshape(shape)
    }

    /// From the gate's and the inner matrix' outputs, or the sums before GELU.
    pub fn activate(&self, inner: Tensor<2>) -> Tensor<2> {
        if self.decoder.config().family == Family::Gpt2 {
            return gelu(inner);
        }
        let width = self.decoder.config().intermediate_size;
        let gate = inner.clone().narrow(1, 0, width);
        silu(gate) * inner.narrow(1, width, width)
    }

    /// A block's output. `each` sees the keys and values.
    pub fn block(
        &self,
        at: &BlockAt,
        x: Tensor<2>,
        placed: &Placed<'_>,
        each: &mut dyn FnMut(KeysValues<'_>),
    ) -> Tensor<2> {
        let dropped = |inputs, part, rate| placed.mask(inputs, part, rate);
        let qkv = self.linear(&at.qkv, &self.norm(at.norm1, x.clone()), &dropped);
        let heads = self.heads(at, &qkv, placed.angles.as_ref());
        each((&heads[1], &heads[2]));
        let x = x + self.linear(&at.o, &attend(heads, placed), &dropped);
        let inner = self.linear(&at.up, &self.norm(at.norm2, x.clone()), &dropped);
        x + self.linear(&at.down, &self.activate(inner), &dropped)
    }

    /// The tokens' embeddings, and their positions' where positions are learned.
    pub fn embed(&self, ids: Tensor<1, Int>, positions: Tensor<1, Int>) -> Tensor<2> {
        let layout = self.decoder.layout();
        let x = self.weights.get(layout.embedding).select(0, ids).cast(DType::F32);
        match layout.positions {
            Some(at) => x + self.weights.get(at).select(0, positions).cast(DType::F32),
            None => x,
        }
    }

    /// Logits of some rows of hidden states.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.product(hidden, self.weights.get(self.decoder.layout().head))
    }
}

/// Attention of all tokens to those before them in their segment; `tokens × query heads · head_dim`.
fn attend([q, k, v]: [Tensor<3>; 3], placed: &Placed<'_>) -> Tensor<2> {
    let [tokens, queries, dim] = q.dims();
    let keys = k.dims()[1];
    let (count, longest) = (placed.batch.segments.len(), placed.longest);
    let apart = |x: Tensor<3>| {
        let heads = x.dims()[1];
        let mut rows = x.reshape([tokens, heads * dim]);
        if let Some([padded, _]) = &placed.padding {
            rows = rows.select(0, padded.clone());
        }
        rows.reshape([count, longest, heads, dim]).swap_dims(1, 2)
    };
    let rows = queries / keys * longest;
    let q = apart(q).reshape([count, keys, rows, dim]);
    let scores = q.matmul(apart(k).swap_dims(2, 3)) * scale(dim);
    let seen = scores.reshape([count, queries, longest, longest]) + placed.future.clone();
    let weights = softmax(seen, 3).reshape([count, keys, rows, longest]);
    let mixed = weights.matmul(apart(v)).reshape([count, queries, longest, dim]);
    let mixed = mixed.swap_dims(1, 2).reshape([count * longest, queries * dim]);
    match &placed.padding {
        Some([_, packed]) => mixed.select(0, packed.clone()),
        None => mixed,
    }
}

/// `1 / √dim`
pub(super) fn scale(dim: usize) -> f32 {
    1.0 / (dim as f32).sqrt()
}

fn rms_norm(x: Tensor<2>, weight: Tensor<2>, eps: f32) -> Tensor<2> {
    let square = (x.clone() * x.clone()).mean_dim(1);
    x / (square + eps).sqrt() * weight
}

/// Pairs a head's first half with its second and turns each pair.
fn turned(x: Tensor<3>, [cos, sin]: &Angles) -> Tensor<3> {
    let half = x.dims()[2] / 2;
    let (a, b) = (x.clone().narrow(2, 0, half), x.narrow(2, half, half));
    let first = a.clone() * cos.clone() - b.clone() * sin.clone();
    Tensor::cat(vec![first, b * cos.clone() + a * sin.clone()], 2)
}

/// GELU in its tanh form (Hendrycks & Gimpel 2016), as `x sigmoid(2t)`.
fn gelu(x: Tensor<2>) -> Tensor<2> {
    let cube = x.clone() * x.clone() * x.clone();
    let t = (x.clone() + cube * 0.044_715) * (2.0 * (2.0 / std::f64::consts::PI).sqrt());
    x * sigmoid(t)
}
