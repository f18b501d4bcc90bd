//! Preference learning without a reward model: DPO (Rafailov et al. 2023) and its family.

use skinner_core::objective::preference::{Pairs, PreferenceConfig, PreferenceStats, preference};
use skinner_core::{Metrics, Rng, SeedSequence, statistics};

use super::likelihood::{both, tokenize};
use super::{Learner, Sequence, Start, TrainConfig};
use crate::data::{Dataset, LossOn, PairExample};
use crate::error::LmError;

/// Pairs to learn and to evaluate on, and what the reference model says of them.
#[derive(Debug)]
pub struct Data {
    objective: PreferenceConfig,
    train: Vec<PairExample>,
    eval: Vec<PairExample>,
    /// Log-probabilities of both completions by the model that training starts from: all known before the
    /// first step, since it will not be there later. Empty where an adapter is trained, which is
    /// switched off instead, and where the loss has no reference.
    train_reference: Vec<[f64; 2]>,
    /// The same of the pairs kept for evaluation, as far as they were asked for.
    eval_reference: Vec<[f64; 2]>,
}

/// Chosen and rejected, one after the other.
fn sequences<'a>(pairs: impl Iterator<Item = &'a PairExample>) -> Vec<Sequence<'a>> {
    pairs.flat_map(|pair| [(&pair.chosen).into(), (&pair.rejected).into()]).collect()
}

/// Sums of the targets' log-probabilities, of chosen and rejected.
fn sums(scores: &[Vec<f32>]) -> Vec<[f64; 2]> {
    let sum = |scores: &[f32]| scores.iter().map(|&x| f64::from(x)).sum::<f64>();
    scores.chunks(2).map(|pair| [sum(&pair[0]), sum(&pair[1])]).collect()
}

/// The objective on some pairs, whose targets' log-probabilities lie one after the other.
fn objective(
    config: &PreferenceConfig,
    sequences: &[Sequence<'_>],
    log_probs: &[f32],
    reference: &[[f64; 2]],
    scale: f64,
    d: &mut [f32],
) -> (PreferenceStats<f64>, Vec<[f64; 2]>) {
    let lengths: Vec<usize> = sequences.iter().map(Sequence::num_targets).collect();
    let mut rest = log_probs;
    let mut policy = Vec::with_capacity(sequences.len() / 2);
    for pair in lengths.chunks(2) {
        let both = [pair[0], pair[1]].map(|len| {
            let (own, later) = rest.split_at(len);
            rest = later;
            own.iter().map(|&x| f64::from(x)).sum::<f64>()
        });
        policy.push(both);
    }
    let side = |pairs: &[[f64; 2]], side: usize| pairs.iter().map(|p| p[side]).collect::<Vec<_>>();
    let length = |side: usize| lengths.iter().skip(side).step_by(2).copied().collect::<Vec<_>>();
    let (mut d_chosen, mut d_rejected) = (vec![0.0; policy.len()], vec![0.0; policy.len()]);
    let stats = preference(
        &Pairs {
            policy_chosen: &side(&policy, 0),
            policy_rejected: &side(&policy, 1),
            ref_chosen: &side(reference, 0),
            ref_rejected: &side(reference, 1),
            len_chosen: &length(0),
            len_rejected: &length(1),
        },
        config,
        scale,
        &mut d_chosen,
        &mut d_rejected,
    );
    if !d.is_empty() {
        let mut at = 0;
        for (i, len) in lengths.iter().enumerate() {
            let gradient = if i % 2 == 0 { d_chosen[i / 2] } else { d_rejected[i / 2] };
            d[at..at + len].fill(gradient as f32);
            at += len;
        }
    }
    (stats, policy)
}

impl Data {
    /// Tokenizes the pairs.
    ///
    /// # Errors
    /// Samples of another kind, none with a target left, or a parameter of the loss out of range.
    pub fn new(
        config: &TrainConfig,
        objective: &PreferenceConfig,
        start: &Start,
        dataset: &Dataset,
        notes: &mut Vec<String>,
    ) -> Result<Self, LmError> {
        objective.validate().map_err(|error| LmError::Recipe(error.to_string()))?;
        let tokenize = tokenize(config, start, LossOn::Completion);
        let [train, eval] = both(dataset, notes, |samples| tokenize.pairs(samples))?;
        Ok(Self {
            objective: objective.clone(),
            train,
            eval,
            train_reference: Vec::new(),
            eval_reference: Vec::new(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.train.len()
    }

    pub(super) fn can_evaluate(&self) -> bool {
        !self.eval.is_empty()
    }

    /// Asks the reference model, which is the learner before its first step, about all pairs that will be
    /// needed. Returns false if `progress` did.
    pub(super) fn prepare(
        &mut self,
        learner: &mut Learner,
        needed: &[usize],
        progress: &mut dyn FnMut(usize, usize) -> bool,
    ) -> bool {
        if learner.adapter().is_some() || !self.objective.loss_type.needs_reference() {
            return true;
        }
        let total = needed.len() + self.eval.len();
        self.train_reference = vec![[f64::NAN; 2]; self.train.len()];
        for (i, some) in needed.chunks(8).enumerate() {
            if !progress(i * 8, total) {
                return false;
            }
            let pairs = sequences(some.iter().map(|&i| &self.train[i]));
            for (&i, both) in some.iter().zip(sums(&learner.scores(&pairs, true))) {
                self.train_reference[i] = both;
            }
        }
        self.eval_reference.clear();
        for some in self.eval.chunks(8) {
            if !progress(needed.len() + self.eval_reference.len(), total) {
                return false;
            }
            self.eval_reference.extend(sums(&learner.scores(&sequences(some.iter()), true)));
        }
        true
    }

    /// What the reference model says of some pairs; nothing where the loss does not ask.
    fn reference(
        &self,
        learner: &mut Learner,
        known: Option<Vec<[f64; 2]>>,
        sequences: &[Sequence<'_>],
    ) -> Vec<[f64; 2]> {
        if !self.objective.loss_type.needs_reference() {
            return vec![[0.0; 2]; sequences.len() / 2];
        }
        known.unwrap_or_else(|| sums(&learner.scores(sequences, true)))
    }

    /// `1/N Σ loss(pair)` over the batch's `N` pairs. Returns metrics and the number of tokens run.
    pub(super) fn update(
        &self,
        learner: &mut Learner,
        indices: &[usize],
        dropout: &SeedSequence,
    ) -> (Metrics, usize) {
        let batch = sequences(indices.iter().map(|&i| &self.train[i]));
        let tokens = batch.iter().map(|sequence| sequence.ids.len()).sum();
        let known = (!self.train_reference.is_empty())
            .then(|| indices.iter().map(|&i| self.train_reference[i]).collect());
        let reference = self.reference(learner, known, &batch);
        let scale = 1.0 / indices.len() as f64;
        let mut all = Vec::new();
        let mut log_probs = [0.0; 2];
        learner.accumulate(&batch, 2, dropout, |range, scores, d| {
            let reference = &reference[range.start / 2..range.end / 2];
            let (stats, policy) =
                objective(&self.objective, &batch[range], scores, reference, scale, d);
            all.push(stats);
            for both in policy {
                log_probs[0] += scale * both[0];
                log_probs[1] += scale * both[1];
            }
        });
        let sum = |f: fn(&PreferenceStats<f64>) -> f64| all.iter().map(f).sum::<f64>();
        let mut metrics = Metrics::new();
        metrics.set("loss", sum(|s| s.loss));
        metrics.set("rewards/chosen", sum(|s| s.reward_chosen));
        metrics.set("rewards/rejected", sum(|s| s.reward_rejected));
        metrics.set("rewards/margins", sum(|s| s.margin));
        metrics.set("rewards/accuracies", sum(|s| s.accuracy));
        metrics.set("logps/chosen", log_probs[0]);
        metrics.set("logps/rejected", log_probs[1]);
        (metrics, tokens)
    }

    /// The same on the pairs kept for evaluation, with a 95 % interval of the accuracy (bootstrap over pairs).
    pub(super) fn evaluate(
        &mut self,
        learner: &mut Learner,
        stop: &dyn Fn() -> bool,
    ) -> Option<Metrics> {
        let mut rows: Vec<PreferenceStats<f64>> = Vec::new();
        for (i, some) in self.eval.chunks(8).enumerate() {
            if stop() {
                return None;
            }
            let sequences = sequences(some.iter());
            let known = self.eval_reference.get(8 * i..8 * i + some.len()).map(<[_]>::to_vec);
            let reference = self.reference(learner, known, &sequences);
            if self.eval_reference.len() == 8 * i {
                self.eval_reference.extend(&reference);
            }
            let scores = learner.scores(&sequences, false);
            for (j, pair) in sequences.chunks(2).enumerate() {
                let both = scores[2 * j..2 * j + 2].concat();
                let reference = &reference[j..=j];
                rows.push(objective(&self.objective, pair, &both, reference, 1.0, &mut []).0);
            }
        }
        if rows.is_empty() {
            return None;
        }
        let mean = |f: fn(&PreferenceStats<f64>) -> f64| {
            rows.iter().map(f).sum::<f64>() / rows.len() as f64
        };
        let accuracies: Vec<f64> = rows.iter().map(|row| row.accuracy).collect();
        let mut rng = Rng::new(0);
        let mean_of = |x: &[f64]| statistics::mean(x);
        let (low, high) =
            statistics::bootstrap_interval(&[&accuracies], mean_of, 0.95, 2000, &mut rng);
        let mut metrics = Metrics::new();
        metrics.set("eval_loss", mean(|s| s.loss));
        metrics.set("eval_accuracy", mean(|s| s.accuracy));
        metrics.set("eval_accuracy_low", low);
        metrics.set("eval_accuracy_high", high);
        metrics.set("eval_rewards/chosen", mean(|s| s.reward_chosen));
        metrics.set("eval_rewards/rejected", mean(|s| s.reward_rejected));
        metrics.set("eval_rewards/margins", mean(|s| s.margin));
        Some(metrics)
    }
}
