//! KTO: learning from completions that were judged alone (Ethayarajh et al. 2024).

use skinner_core::objective::unpaired::{KtoConfig, KtoStats, kto, kto_reference_point};
use skinner_core::{Metrics, SeedSequence};

use super::likelihood::{both, tokenize};
use super::{Learner, Sequence, Start, TrainConfig};
use crate::data::{Dataset, Example, LossOn, UnpairedExample, mismatched};
use crate::error::LmError;

/// Judged completions to learn and to evaluate on.
#[derive(Debug)]
pub struct Data {
    objective: KtoConfig,
    max_length: usize,
    train: Vec<UnpairedExample>,
    eval: Vec<UnpairedExample>,
    /// None where an adapter is trained, which is switched off instead.
    reference: Option<Reference>,
}

/// Batches of the evaluation.
const EVAL_BATCH: usize = 16;

/// Log-probabilities by the model that training starts from: all known before the first step, since it will not be
/// there later.
#[derive(Debug)]
struct Reference {
    /// Of the examples that will be drawn.
    train: Vec<f64>,
    /// Of completions behind other prompts of their batch, step by step.
    others: Vec<Vec<f64>>,
    /// Of each batch of the evaluation: completions, and completions behind other prompts.
    eval: Vec<[Vec<f64>; 2]>,
}

/// The log-probabilities of whole completions.
fn sums(scores: &[Vec<f32>]) -> Vec<f64> {
    scores.iter().map(|s| s.iter().map(|&x| f64::from(x)).sum()).collect()
}

/// The same of examples.
fn scores_of(learner: &mut Learner, examples: &[Example], reference: bool) -> Vec<f64> {
    let sequences: Vec<Sequence<'_>> = examples.iter().map(Into::into).collect();
    sums(&learner.scores(&sequences, reference))
}

impl Data {
    /// Tokenizes the completions.
    ///
    /// # Errors
    /// Samples of another kind, none with a target left, or a parameter out of range.
    pub fn new(
        config: &TrainConfig,
        objective: &KtoConfig,
        start: &Start,
        dataset: &Dataset,
        notes: &mut Vec<String>,
    ) -> Result<Self, LmError> {
        objective.validate().map_err(|error| LmError::Recipe(error.to_string()))?;
        let tokenize = tokenize(config, start, LossOn::Completion);
        let [train, eval] = both(dataset, notes, |samples| tokenize.unpaired(samples))?;
        let (objective, max_length) = (objective.clone(), config.max_length);
        Ok(Self { objective, max_length, train, eval, reference: None })
    }

    pub(super) fn len(&self) -> usize {
        self.train.len()
    }

    pub(super) fn can_evaluate(&self) -> bool {
        !self.eval.is_empty()
    }

    /// Asks the reference model, which is the learner before its first step, about all that will be needed in
    /// these batches. Returns false if `progress` did.
    pub(super) fn prepare(
        &mut self,
        learner: &mut Learner,
        batches: &[Vec<usize>],
        progress: &mut dyn FnMut(usize, usize) -> bool,
    ) -> bool {
        if learner.adapter().is_some() {
            return true;
        }
        let total = batches.len() + self.eval.len().div_ceil(EVAL_BATCH);
        let mut train = vec![f64::NAN; self.train.len()];
        let (mut others, mut eval) = (Vec::with_capacity(batches.len()), Vec::new());
        for (i, indices) in batches.iter().enumerate() {
            if !progress(i, total) {
                return false;
            }
            let mut new = indices.clone();
            new.retain(|&i| train[i].is_nan());
            let sequences: Vec<Sequence<'_>> =
                new.iter().map(|&i| (&self.train[i].example).into()).collect();
            for (&i, sum) in new.iter().zip(sums(&learner.scores(&sequences, true))) {
                train[i] = sum;
            }
            let batch: Vec<_> = indices.iter().map(|&i| self.train[i].clone()).collect();
            others.push(scores_of(learner, &self.others(&batch), true));
        }
        for batch in self.eval.chunks(EVAL_BATCH) {
            if !progress(batches.len() + eval.len(), total) {
                return false;
            }
            let sequences: Vec<Sequence<'_>> = batch.iter().map(|e| (&e.example).into()).collect();
            let own = sums(&learner.scores(&sequences, true));
            eval.push([own, scores_of(learner, &self.others(batch), true)]);
        }
        self.reference = Some(Reference { train, others, eval });
        true
    }

    /// Completions behind other prompts of the batch.
    fn others(&self, batch: &[UnpairedExample]) -> Vec<Example> {
        let mut others = mismatched(batch, self.max_length);
        others.retain(|example| example.num_targets() > 0);
        others
    }

    /// `z0` of a batch: how far the policy has moved on completions of other prompts.
    fn reference_point(
        &self,
        learner: &mut Learner,
        batch: &[UnpairedExample],
        known: Option<&Vec<f64>>,
    ) -> f64 {
        let others = self.others(batch);
        let policy = scores_of(learner, &others, false);
        match known {
            Some(reference) => kto_reference_point(&policy, reference),
            None => kto_reference_point(&policy, &scores_of(learner, &others, true)),
        }
    }

    /// `1/N Σ loss(completion)` of the batch of a step. Returns metrics and the number of tokens run.
    pub(super) fn update(
        &self,
        learner: &mut Learner,
        (step, indices): (u64, &[usize]),
        dropout: &SeedSequence,
    ) -> (Metrics, usize) {
        let batch: Vec<UnpairedExample> = indices.iter().map(|&i| self.train[i].clone()).collect();
        let known = self.reference.as_ref();
        let z0 = self.reference_point(learner, &batch, known.map(|r| &r.others[step as usize]));
        let sequences: Vec<Sequence<'_>> = batch.iter().map(|e| (&e.example).into()).collect();
        let labels: Vec<bool> = batch.iter().map(|e| e.label).collect();
        let reference = match known {
            Some(known) => indices.iter().map(|&i| known.train[i]).collect(),
            None => sums(&learner.scores(&sequences, true)),
        };
        let scale = 1.0 / batch.len() as f64;
        let mut all = KtoStats::default();
        learner.accumulate(&sequences, 1, dropout, |range, scores, d| {
            let (mut at, mut policy) = (0, Vec::new());
            let lengths = sequences[range.clone()].iter().map(Sequence::num_targets);
            for len in lengths.clone() {
                policy.push(scores[at..at + len].iter().map(|&x| f64::from(x)).sum());
                at += len;
            }
            let mut d_policy = vec![0.0; policy.len()];
            let (reference, labels) = (&reference[range.clone()], &labels[range]);
            let config = &self.objective;
            let stats = kto(&policy, reference, labels, z0, config, scale, &mut d_policy);
            let mut at = 0;
            for (len, gradient) in lengths.zip(d_policy) {
                d[at..at + len].fill(gradient as f32);
                at += len;
            }
            add(&mut all, &stats);
        });
        let mut metrics = Metrics::new();
        metrics.set("loss", all.loss);
        metrics.set("kl", z0);
        rewards(&all, "", &mut metrics);
        (metrics, sequences.iter().map(|s| s.ids.len()).sum())
    }

    /// The same on what is kept for evaluation, a batch at a time.
    pub(super) fn evaluate(
        &self,
        learner: &mut Learner,
        stop: &dyn Fn() -> bool,
    ) -> Option<Metrics> {
        let mut all = KtoStats::default();
        for (i, batch) in self.eval.chunks(EVAL_BATCH).enumerate() {
            if stop() {
                return None;
            }
            let known = self.reference.as_ref().map(|reference| &reference.eval[i]);
            let z0 = self.reference_point(learner, batch, known.map(|[_, others]| others));
            let sequences: Vec<Sequence<'_>> = batch.iter().map(|e| (&e.example).into()).collect();
            let labels: Vec<bool> = batch.iter().map(|e| e.label).collect();
            let policy = sums(&learner.scores(&sequences, false));
            let reference = match known {
                Some([own, _]) => own.clone(),
                None => sums(&learner.scores(&sequences, true)),
            };
            let (scale, mut d) = (1.0 / self.eval.len() as f64, vec![0.0; batch.len()]);
            let stats = kto(&policy, &reference, &labels, z0, &self.objective, scale, &mut d);
            add(&mut all, &stats);
        }
        if all.num_chosen + all.num_rejected == 0 {
            return None;
        }
        let mut metrics = Metrics::new();
        metrics.set("eval_loss", all.loss);
        rewards(&all, "eval_", &mut metrics);
        Some(metrics)
    }
}

fn add(all: &mut KtoStats<f64>, more: &KtoStats<f64>) {
    all.loss += more.loss;
    all.reward_chosen += more.reward_chosen;
    all.reward_rejected += more.reward_rejected;
    all.num_chosen += more.num_chosen;
    all.num_rejected += more.num_rejected;
}

/// Mean rewards of each kind, where there are any, and the margin where there are both.
fn rewards(stats: &KtoStats<f64>, prefix: &str, metrics: &mut Metrics) {
    let mean = |sum: f64, count: usize| (count > 0).then(|| sum / count as f64);
    let chosen = mean(stats.reward_chosen, stats.num_chosen);
    let rejected = mean(stats.reward_rejected, stats.num_rejected);
    if let Some(chosen) = chosen {
        metrics.set(format!("{prefix}rewards/chosen"), chosen);
    }
    if let Some(rejected) = rejected {
        metrics.set(format!("{prefix}rewards/rejected"), rejected);
    }
    if let (Some(chosen), Some(rejected)) = (chosen, rejected) {
        metrics.set(format!("{prefix}rewards/margins"), chosen - rejected);
    }
}
