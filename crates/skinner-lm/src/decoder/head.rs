//! The head: log-probabilities of given tokens and their gradient, in chunks of rows, so that the logits of a
//! whole batch are never held.

use skinner_nn::matrix::{Cpu, Operand, Source, add_scaled, exp_sum, max};

use super::linear::{Gradient, Model};
use super::{Decoder, Params};

/// Logits held at once.
const CHUNK: usize = 1 << 25;

/// A token that is predicted: where from, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The row of hidden states.
    pub row: usize,
    /// The token.
    pub id: u32,
}

/// What the head says of each target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenScores {
    /// Log-probability of the token.
    pub log_prob: Vec<f32>,
    /// Entropy of the distribution, in nats; empty unless asked for.
    pub entropy: Vec<f32>,
}

/// The output head of a decoder at a temperature.
#[derive(Debug)]
pub struct Head<'a> {
    decoder: &'a Decoder,
    inverse_temperature: f32,
}

/// The rows of hidden states that targets are predicted from.
fn gather(hidden: &[f32], width: usize, targets: &[Target]) -> Vec<f32> {
    targets.iter().flat_map(|t| &hidden[t.row * width..(t.row + 1) * width]).copied().collect()
}

impl<'a> Head<'a> {
    /// The head at temperature 1.
    pub fn new(decoder: &'a Decoder) -> Self {
        Self::at_temperature(decoder, 1.0)
    }

    /// Logits are divided by `temperature` (above 0) before the soft maximum.
    pub fn at_temperature(decoder: &'a Decoder, temperature: f32) -> Self {
        Self { decoder, inverse_temperature: 1.0 / temperature }
    }

    fn weight<'p>(&self, params: &Params<'p>) -> Source<'p> {
        let config = &self.decoder.config;
        let from = self.decoder.layout.head;
        params.matrix(from..from + config.vocab_size * config.hidden_size)
    }

    fn chunk_rows(&self) -> usize {
        (CHUNK / self.decoder.config.vocab_size).max(16)
    }

    /// Whether the logits of so many targets are held at once: one pass then gives scores and gradient.
    pub fn holds(&self, targets: usize) -> bool {
        targets <= self.chunk_rows()
    }

    /// Logits of the first chunk.
    fn chunk_len(&self, targets: usize) -> usize {
        self.chunk_rows().min(targets) * self.decoder.config.vocab_size
    }

    /// Logits of some rows of hidden states (`rows × vocab_size`).
    pub fn logits(&self, cpu: &mut Cpu, params: &Params<'_>, hidden: &[f32]) -> Vec<f32> {
        let mut logits = Vec::new();
        self.logits_into(cpu, params, hidden, &mut logits);
        logits
    }

    fn logits_into(
        &self,
        cpu: &mut Cpu,
        params: &Params<'_>,
        hidden: &[f32],
        logits: &mut Vec<f32>,
    ) {
        let (vocab, width) = (self.decoder.config.vocab_size, self.decoder.config.hidden_size);
        let rows = hidden.len() / width;
        logits.resize(rows * vocab, 0.0);
        let weight = Operand::of(self.weight(params), width).flipped();
        let sizes = [rows, vocab, width];
        cpu.product(sizes, Operand::rows(hidden, width), weight, logits, vocab, false);
    }

    /// Log-probabilities (and entropies) of the targets.
    pub fn scores(
        &self,
        cpu: &mut Cpu,
        params: &Params<'_>,
        hidden: &[f32],
        targets: &[Target],
        entropy: bool,
    ) -> TokenScores {
        let mut scores = TokenScores::default();
        let mut logits = cpu.spare(self.chunk_len(targets.len()));
        for targets in targets.chunks(self.chunk_rows()) {
            let rows = gather(hidden, self.decoder.config.hidden_size, targets);
            self.logits_into(cpu, params, &rows, &mut logits);
            for (log_prob, h) in self.soft_max(cpu, &mut logits, targets, entropy) {
                scores.log_prob.push(log_prob);
                if entropy {
                    scores.entropy.push(h);
                }
            }
        }
        cpu.keep(logits);
        scores
    }

    /// Turns each row of logits into probabilities; returns each target's log-probability and (if asked
    /// for) entropy.
    fn soft_max(
        &self,
        cpu: &mut Cpu,
        logits: &mut [f32],
        targets: &[Target],
        entropy: bool,
    ) -> Vec<(f32, f32)> {
        let vocab = self.decoder.config.vocab_size;
        let scale = self.inverse_temperature;
        let mut found = vec![(0.0, 0.0); targets.len()];
        let mut items: Vec<_> =
            logits.chunks_mut(vocab).zip(targets).zip(found.iter_mut()).collect();
        cpu.team.for_each(&mut items, |((row, target), found)| {
            let logit = row[target.id as usize];
            let largest = max(row) * scale;
            let raw = entropy.then(|| row.to_vec());
            let sum = exp_sum(row, scale, largest);
            let log_sum = largest + sum.ln();
            let inverse = 1.0 / sum;
            row.iter_mut().for_each(|p| *p *= inverse);
            found.0 = logit * scale - log_sum;
            if let Some(raw) = raw {
                // H = log Σ e^z - Σ p z
                found.1 = log_sum - scale * skinner_nn::matrix::dot(row, &raw);
            }
        });
        found
    }

    /// From the gradients in log-probabilities (and entropies; may be empty) of the targets: adds those in
    /// the head's weight to `grad` and those in the hidden states to `d_hidden`.
    pub fn backward(
        &self,
        cpu: &mut Cpu,
        model: &Model<'_>,
        hidden: &[f32],
        targets: &[Target],
        (d_log_prob, d_entropy): (&[f32], &[f32]),
        d_hidden: &mut [f32],
        grad: &mut Gradient<'_>,
    ) {
        let mut done = 0;
        self.chunks(cpu, model, hidden, targets, !d_entropy.is_empty(), d_hidden, grad, |found| {
            let d = (done..done + found.len())
                .map(|i| (d_log_prob[i], d_entropy.get(i).copied().unwrap_or(0.0)))
                .collect();
            done += found.len();
            d
        });
    }

    /// Scores and gradient in one pass, for losses whose gradient in a log-probability depends on that one
    /// alone, or targets that [`Head::holds`]: `d` is given a chunk's log-probabilities and returns the gradients in
    /// them.
    pub fn scores_and_backward(
        &self,
        cpu: &mut Cpu,
        model: &Model<'_>,
        hidden: &[f32],
        targets: &[Target],
        d_hidden: &mut [f32],
        grad: &mut Gradient<'_>,
        mut d: impl FnMut(&[f32]) -> Vec<f32>,
    ) -> Vec<f32> {
        let mut scores = Vec::with_capacity(targets.len());
        self.chunks(cpu, model, hidden, targets, false, d_hidden, grad, |found| {
            let log_probs: Vec<f32> = found.iter().map(|found| found.0).collect();
            let gradient = d(&log_probs);
            scores.extend(log_probs);
            gradient.into_iter().map(|d| (d, 0.0)).collect()
        });
        scores
    }

    fn chunks(
        &self,
        cpu: &mut Cpu,
        model: &Model<'_>,
        hidden: &[f32],
        targets: &[Target],
        entropy: bool,
        d_hidden: &mut [f32],
        grad: &mut Gradient<'_>,
        mut gradients: impl FnMut(&[(f32, f32)]) -> Vec<(f32, f32)>,
    ) {
        let (vocab, width) = (self.decoder.config.vocab_size, self.decoder.config.hidden_size);
        let from = self.decoder.layout.head;
        let scale = self.inverse_temperature;
        let mut logits = cpu.spare(self.chunk_len(targets.len()));
        let mut d_rows = Vec::new();
        for targets in targets.chunks(self.chunk_rows()) {
            let rows = gather(hidden, width, targets);
            self.logits_into(cpu, &model.params, &rows, &mut logits);
            let found = self.soft_max(cpu, &mut logits, targets, entropy);
            let d = gradients(&found);
            let mut items: Vec<_> =
                logits.chunks_mut(vocab).zip(targets).zip(d.iter().zip(&found)).collect();
            cpu.team.for_each(&mut items, |((row, target), ((d, d_h), (_, h)))| {
                if *d_h == 0.0 {
                    let factor = -d * scale;
                    row.iter_mut().for_each(|p| *p *= factor);
                } else {
                    // dH/dz = -p (log p + H), log p = -inf where p is 0 and counts nothing.
                    for p in row.iter_mut() {
                        let log_p = if *p > 0.0 { p.ln() } else { 0.0 };
                        *p = scale * (-d * *p - d_h * *p * (log_p + h));
                    }
                }
                row[target.id as usize] += d * scale;
            });
            drop(items);
            d_rows.resize(rows.len(), 0.0);
            let weight = Operand::of(self.weight(&model.params), width);
            let d_logits = Operand::rows(&logits, vocab);
            let sizes = [targets.len(), width, vocab];
            cpu.product(sizes, d_logits, weight, &mut d_rows, width, false);
            for (target, d) in targets.iter().zip(d_rows.chunks(width)) {
                let at = target.row * width;
                add_scaled(&mut d_hidden[at..at + width], 1.0, d);
            }
            if let Gradient::Full(grad) = grad {
                let d_w = &mut grad[from..from + vocab * width];
                let sizes = [vocab, width, targets.len()];
                let rows = Operand::rows(&rows, width);
                cpu.product(sizes, d_logits.flipped(), rows, d_w, width, true);
            }
        }
        cpu.keep(logits);
    }
}
