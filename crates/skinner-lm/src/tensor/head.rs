//! The head on a device: log-probabilities of given tokens and their gradient, in chunks of rows, so that the
//! logits of a whole batch are never held.

use burn_tensor::activation::log_softmax;
use burn_tensor::{DType, IndexingUpdateOp, Tensor};

use super::arrays::{Arrays, numbers, places, vector};
use super::net::Net;
use crate::decoder::{Target, TokenScores};

/// Logits held at once.
const CHUNK: usize = 1 << 24;

/// A chunk's log-probabilities and, where they are asked for, entropies.
struct Said {
    log_prob: Tensor<1>,
    entropy: Option<Tensor<1>>,
}

/// The output head of a decoder at a temperature.
#[derive(Clone, Copy, Debug)]
pub(super) struct TensorHead<'a> {
    pub net: Net<'a>,
    pub inverse_temperature: f32,
    pub entropy: bool,
}

impl<'a> TensorHead<'a> {
    /// The head at temperature 1, without entropies.
    pub fn new(net: Net<'a>) -> Self {
        Self { net, inverse_temperature: 1.0, entropy: false }
    }

    fn chunk_rows(&self) -> usize {
        (CHUNK / self.net.decoder.config().vocab_size).max(16)
    }

    fn say(&self, rows: Tensor<2>, weight: Tensor<2>, targets: &[Target]) -> Said {
        let device = rows.device().without_autodiff();
        let ids = places(targets.iter().map(|target| target.id as usize), &device);
        let logits = self.net.product(rows, weight) * self.inverse_temperature;
        let all = log_softmax(logits, 1);
        let log_prob = all.clone().gather(1, ids.unsqueeze_dim(1)).squeeze_dim(1);
        let entropy = self.entropy.then(|| {
            let sum: Tensor<1> = (all.clone().exp() * all).sum_dim(1).squeeze_dim(1);
            -sum
        });
        Said { log_prob, entropy }
    }

    /// Log-probabilities (and entropies) of the targets, `hidden` being `tokens × hidden_size`.
    pub fn scores(&self, hidden: &Tensor<2>, targets: &[Target]) -> TokenScores {
        let weight = self.net.weights.get(self.net.decoder.layout().head);
        let mut scores = TokenScores::default();
        for targets in targets.chunks(self.chunk_rows()) {
            let rows = places(targets.iter().map(|target| target.row), &hidden.device());
            let said = self.say(hidden.clone().select(0, rows), weight.clone(), targets);
            scores.log_prob.extend(numbers(said.log_prob));
            scores.entropy.extend(said.entropy.into_iter().flat_map(numbers));
        }
        scores
    }

    /// Scores and the gradient in the hidden states, which it returns; that in the head's weight is added to
    /// `gradient` unless adapters are trained. `d` is given a chunk's first target and its log-probabilities and
    /// returns the gradients in these and (may be empty) in the entropies.
    pub fn backward(
        &self,
        hidden: &Tensor<2>,
        targets: &[Target],
        gradient: &mut Arrays,
        mut d: impl FnMut(usize, &[f32]) -> (Vec<f32>, Vec<f32>),
    ) -> (Vec<f32>, Tensor<2>) {
        let at = self.net.decoder.layout().head;
        let device = hidden.device();
        let mut d_hidden = Tensor::<2>::zeros(hidden.dims(), (&device, DType::F32));
        let mut scores = Vec::with_capacity(targets.len());
        for targets in targets.chunks(self.chunk_rows()) {
            let places = places(targets.iter().map(|target| target.row), &device);
            let rows = hidden.clone().select(0, places.clone()).autodiff().require_grad();
            // What is not trained is a constant.
            let trained: &[usize] = if self.net.adapter.is_none() { &[at] } else { &[] };
            let leaves = self.net.weights.leaves(trained);
            let weight = if trained.is_empty() { self.net.weights.get(at) } else { leaves.get(at) };
            let said = self.say(rows.clone(), weight, targets);
            let first = scores.len();
            scores.extend(numbers(said.log_prob.clone().without_autodiff()));
            let (d_log_prob, d_entropy) = d(first, &scores[first..]);
            let mut loss = (said.log_prob * vector(d_log_prob, &device)).sum();
            if let Some(entropy) = said.entropy.filter(|_| !d_entropy.is_empty()) {
                loss = loss + (entropy * vector(d_entropy, &device)).sum();
            }
            let mut found = loss.backward();
            gradient.add_gradients(&leaves, &mut found);
            let d_rows = rows.grad_remove(&mut found);
            let d_rows = d_rows.unwrap_or_else(|| panic!("the head has no gradient in its input"));
            d_hidden = d_hidden.select_assign(0, places, d_rows, IndexingUpdateOp::Add);
        }
        (scores, d_hidden)
    }
}
