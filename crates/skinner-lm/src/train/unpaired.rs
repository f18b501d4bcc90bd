//! KTO: learning from completions that were judged alone (Ethayarajh et al. 2024).

use skinner_core::objective::unpaired::{KtoConfig, KtoStats, kto, kto_reference_point};
use skinner_core::{Metrics, SeedSequence};

use super::likelihood::tokenize;
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
}

fn sums(scores: &[Vec<f32>]) -> Vec<f64> {
    scores.iter().map(|s| s.iter().map(|&x| f64::from(x)).sum()).collect()
}

impl Data {
    /// Tokenizes the completions.
    ///
    /// # Errors
    /// Samples of another kind, none with a target left, a parameter out of range, or full weights: the
    /// reference is the model with its adapter switched off.
    pub fn new(
        config: &TrainConfig,
        objective: &KtoConfig,
        start: &Start,
        dataset: &Dataset,
        notes: &mut Vec<String>,
    ) -> Result<Self, LmError> {
        objective.validate().map_err(|error| LmError::Config(error.to_string()))?;
        if start.lora.is_none() {
            return Err(LmError::Config(
                "kto compares with the model it starts from, whose completions change with every batch: \
                 train an adapter, by a table [lora] with `rank` and `alpha`"
                    .into(),
            ));
        }
        let tokenize = tokenize(config, start, LossOn::Completion);
        let (train, counts) = tokenize.unpaired(&dataset.train)?;
        notes.push(counts.to_string());
        let eval =
            if dataset.eval.is_empty() { vec![] } else { tokenize.unpaired(&dataset.eval)?.0 };
        Ok(Self { objective: objective.clone(), max_length: config.max_length, train, eval })
    }

    pub(super) fn len(&self) -> usize {
        self.train.len()
    }

    pub(super) fn can_evaluate(&self) -> bool {
        !self.eval.is_empty()
    }

    /// `z0` of a batch: how far the policy has moved on completions of other prompts.
    fn reference_point(&self, learner: &mut Learner, batch: &[UnpairedExample]) -> f64 {
        let others: Vec<Example> = mismatched(batch, self.max_length)
            .into_iter()
            .filter(|e| e.num_targets() > 0)
            .collect();
        let others: Vec<Sequence<'_>> = others.iter().map(Into::into).collect();
        let policy = sums(&learner.scores(&others, false));
        kto_reference_point(&policy, &sums(&learner.scores(&others, true)))
    }

    /// `1/N Σ loss(completion)`. Returns metrics and the number of tokens run.
    pub(super) fn update(
        &self,
        learner: &mut Learner,
        indices: &[usize],
        dropout: &SeedSequence,
    ) -> (Metrics, usize) {
        let batch: Vec<UnpairedExample> = indices.iter().map(|&i| self.train[i].clone()).collect();
        let z0 = self.reference_point(learner, &batch);
        let sequences: Vec<Sequence<'_>> = batch.iter().map(|e| (&e.example).into()).collect();
        let labels: Vec<bool> = batch.iter().map(|e| e.label).collect();
        let reference = sums(&learner.scores(&sequences, true));
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
        for batch in self.eval.chunks(16) {
            if stop() {
                return None;
            }
            let z0 = self.reference_point(learner, batch);
            let sequences: Vec<Sequence<'_>> = batch.iter().map(|e| (&e.example).into()).collect();
            let labels: Vec<bool> = batch.iter().map(|e| e.label).collect();
            let policy = sums(&learner.scores(&sequences, false));
            let reference = sums(&learner.scores(&sequences, true));
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
