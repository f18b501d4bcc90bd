//! Forward and backward, a segment at a time: each block is one, the last norm is another.
//!
//! Forward keeps each segment's input, or its graph. Backward takes the input as a leaf, runs the segment if
//! its graph is not there, and asks Burn for the gradient of `Σ out · d_out`.

use burn_tensor::Tensor;

use super::arrays::{Arrays, places};
use super::batch::Placed;
use super::net::{KeysValues, Net};
use crate::decoder::{Adapter, BlockAt, Keep, Linear, LoraLayout};

/// A segment that ran with what gradients are asked for.
#[derive(Debug)]
struct Graph {
    x: Tensor<2>,
    leaves: Arrays,
    out: Tensor<2>,
}

#[derive(Debug)]
enum Kept {
    Input(Box<Tensor<2>>),
    Graph(Box<Graph>),
}

/// What a forward pass left.
#[derive(Debug)]
pub(super) struct TensorTape {
    kept: Vec<Kept>,
    /// The hidden states after the final norm (`tokens × hidden_size`).
    pub hidden: Tensor<2>,
}

/// The parts of a block's linear modules that have adapters.
fn adapters_of(layout: &LoraLayout, at: &BlockAt) -> Vec<usize> {
    let adapter = Adapter { layout, params: &[] };
    let of = |linear: &Linear| {
        let places = linear.parts.iter().filter_map(|part| adapter.places(part.id));
        places.flat_map(|(a, b)| [a, b]).collect::<Vec<_>>()
    };
    [&at.qkv, &at.o, &at.up, &at.down].into_iter().flat_map(of).collect()
}

/// Where a block's weights are.
fn weights_of(at: &BlockAt) -> Vec<usize> {
    let mut all = vec![at.norm1.weight, at.norm2.weight];
    all.extend(at.norm1.bias.into_iter().chain(at.norm2.bias));
    if let Some((q, k)) = at.head_norms {
        all.extend([q, k]);
    }
    for linear in [&at.qkv, &at.o, &at.up, &at.down] {
        all.push(linear.weight);
        all.extend(linear.bias);
    }
    all
}

impl Net<'_> {
    fn num_segments(&self) -> usize {
        self.decoder.layout().blocks.len() + 1
    }

    fn segment(
        &self,
        i: usize,
        x: Tensor<2>,
        placed: &Placed<'_>,
        each: &mut dyn FnMut(KeysValues<'_>),
    ) -> Tensor<2> {
        let layout = self.decoder.layout();
        match layout.blocks.get(i) {
            Some(at) => self.block(at, x, placed, each),
            None => self.norm(layout.norm, x),
        }
    }

    /// Where what is trained of a segment lies: its adapters, or its weights.
    fn trained(&self, i: usize) -> Vec<usize> {
        let layout = self.decoder.layout();
        match (layout.blocks.get(i), self.adapter) {
            (Some(at), Some((adapters, _))) => adapters_of(adapters, at),
            (Some(at), None) => weights_of(at),
            (None, Some(_)) => Vec::new(),
            (None, None) => std::iter::once(layout.norm.weight).chain(layout.norm.bias).collect(),
        }
    }

    fn graph(&self, i: usize, x: Tensor<2>, placed: &Placed<'_>) -> Graph {
        let x = x.autodiff().require_grad();
        let trained = self.trained(i);
        let mut none = |_: KeysValues<'_>| {};
        let (leaves, out);
        if let Some((layout, values)) = self.adapter {
            leaves = values.leaves(&trained);
            let net = Net { adapter: Some((layout, &leaves)), ..*self };
            out = net.segment(i, x.clone(), placed, &mut none);
        } else {
            leaves = self.weights.leaves(&trained);
            let net = Net { weights: &leaves, ..*self };
            out = net.segment(i, x.clone(), placed, &mut none);
        }
        Graph { x, leaves, out }
    }

    /// Runs a batch without a backward pass to come; `each` sees every block's keys and values.
    pub fn hidden(&self, placed: &Placed<'_>, each: &mut dyn FnMut(KeysValues<'_>)) -> Tensor<2> {
        let mut x = self.embed(placed.ids.clone(), placed.positions.clone());
        for i in 0..self.num_segments() {
            x = self.segment(i, x, placed, each);
        }
        x
    }

    /// Runs a batch and keeps what [`Net::backward`] needs.
    ///
    /// # Panics
    /// If nothing is to be kept.
    pub fn forward(&self, placed: &Placed<'_>, keep: Keep) -> TensorTape {
        assert_ne!(keep, Keep::Nothing, "a backward pass needs what the forward pass kept");
        let mut x = self.embed(placed.ids.clone(), placed.positions.clone());
        let mut kept = Vec::with_capacity(self.num_segments());
        for i in 0..self.num_segments() {
            if keep == Keep::Inputs {
                kept.push(Kept::Input(Box::new(x.clone())));
                x = self.segment(i, x, placed, &mut |_| {});
            } else {
                let graph = self.graph(i, x, placed);
                x = graph.out.clone().without_autodiff();
                kept.push(Kept::Graph(Box::new(graph)));
            }
        }
        TensorTape { kept, hidden: x }
    }

    /// From the gradient in the hidden states: adds those in what is trained, the embedding's too.
    pub fn backward(
        &self,
        tape: TensorTape,
        placed: &Placed<'_>,
        d_hidden: Tensor<2>,
        gradient: &mut Arrays,
    ) {
        let mut d = d_hidden;
        for (i, kept) in tape.kept.into_iter().enumerate().rev() {
            let graph = match kept {
                Kept::Graph(graph) => *graph,
                Kept::Input(x) => self.graph(i, *x, placed),
            };
            let mut found = (graph.out * d).sum().backward();
            gradient.add_gradients(&graph.leaves, &mut found);
            let input = graph.x.grad_remove(&mut found);
            d = input.unwrap_or_else(|| panic!("segment {i} has no gradient in its input"));
        }
        if self.adapter.is_none() {
            self.embed_backward(placed, d, gradient);
        }
    }

    /// The pad token gets no gradient here, as in `transformers` (`padding_idx`), even where it also ends a
    /// text.
    fn embed_backward(&self, placed: &Placed<'_>, d: Tensor<2>, gradient: &mut Arrays) {
        let (config, layout) = (self.decoder.config(), self.decoder.layout());
        if let Some(at) = layout.positions {
            let part = [at, config.max_position_embeddings, config.hidden_size];
            gradient.add_rows(part, placed.positions.clone(), d.clone());
        }
        let part = [layout.embedding, config.vocab_size, config.hidden_size];
        let ids = placed.batch.ids;
        let Some(pad) = config.pad_token_id.filter(|pad| ids.contains(pad)) else {
            gradient.add_rows(part, placed.ids.clone(), d);
            return;
        };
        let kept: Vec<usize> = (0..ids.len()).filter(|&t| ids[t] != pad).collect();
        if !kept.is_empty() {
            let rows = places(kept.iter().map(|&t| ids[t] as usize), placed.device);
            let d = d.select(0, places(kept.iter().copied(), placed.device));
            gradient.add_rows(part, rows, d);
        }
    }
}
