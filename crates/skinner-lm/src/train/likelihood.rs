//! Maximum likelihood of next tokens: pretraining on text, supervised fine-tuning on completions.

use serde::{Deserialize, Serialize};
use skinner_core::{Metrics, SeedSequence};

use super::{Learner, Sequence, Start, TrainConfig};
use crate::data::{
    Dataset, LossOn, Packed, Packing, Sample, Tokenize, TokenizeCounts, blocks, pack,
};
use crate::error::LmError;

/// Supervised fine-tuning's own values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SftConfig {
    /// Which tokens are learned.
    pub loss_on: LossOn,
    /// How examples share a sequence.
    pub packing: Packing,
}

/// Sequences to learn and to evaluate on.
#[derive(Debug)]
pub struct Data {
    train: Vec<Packed>,
    eval: Vec<Packed>,
}

impl Data {
    /// The texts as one stream, cut into blocks of `max_length`.
    ///
    /// # Errors
    /// Text that cannot be tokenized, or too little of it.
    pub fn pretraining(
        config: &TrainConfig,
        start: &Start,
        dataset: &Dataset,
        notes: &mut Vec<String>,
    ) -> Result<Self, LmError> {
        let tokenize = tokenize(config, start, LossOn::All);
        // A block holds one more token: the first is no target.
        let cut = |stream: &[u32]| blocks(stream, config.max_length - 1);
        let stream = tokenize.stream(&dataset.train)?;
        let train = cut(&stream);
        let eval =
            if dataset.eval.is_empty() { vec![] } else { cut(&tokenize.stream(&dataset.eval)?) };
        notes.push(format!("{} tokens in {} sequences to train on", stream.len(), train.len()));
        Ok(Self { train, eval })
    }

    /// Completions (or whole conversations), packed as the recipe says.
    ///
    /// # Errors
    /// Samples of another kind, or none with a target left.
    pub fn sft(
        config: &TrainConfig,
        sft: &SftConfig,
        start: &Start,
        dataset: &Dataset,
        notes: &mut Vec<String>,
    ) -> Result<Self, LmError> {
        let tokenize = tokenize(config, start, sft.loss_on);
        let [train, eval] = both(dataset, notes, |samples| tokenize.examples(samples))?;
        let train = pack(&train, config.max_length, sft.packing);
        Ok(Self { train, eval: pack(&eval, config.max_length, Packing::None) })
    }

    pub(super) fn len(&self) -> usize {
        self.train.len()
    }

    pub(super) fn can_evaluate(&self) -> bool {
        !self.eval.is_empty()
    }

    /// `-1/N Σ log π(token)` over the batch's `N` targets. Returns metrics and the number of tokens run.
    pub(super) fn update(
        &self,
        learner: &mut Learner,
        indices: &[usize],
        dropout: &SeedSequence,
    ) -> (Metrics, usize) {
        let batch: Vec<Sequence<'_>> = indices.iter().map(|&i| (&self.train[i]).into()).collect();
        let targets: usize = batch.iter().map(Sequence::num_targets).sum();
        let tokens = batch.iter().map(|sequence| sequence.ids.len()).sum();
        let scale = 1.0 / targets.max(1) as f32;
        let log_likelihood = learner.accumulate_likelihood(&batch, scale, dropout);
        let mut metrics = Metrics::new();
        metrics.set("loss", -log_likelihood / targets.max(1) as f64);
        (metrics, tokens)
    }

    /// The mean over all targets kept for evaluation, in nats.
    pub(super) fn evaluate(
        &self,
        learner: &mut Learner,
        stop: &dyn Fn() -> bool,
    ) -> Option<Metrics> {
        let (mut total, mut targets) = (0.0, 0);
        for some in self.eval.chunks(16) {
            if stop() {
                return None;
            }
            let sequences: Vec<Sequence<'_>> = some.iter().map(Into::into).collect();
            for scores in learner.scores(&sequences, false) {
                targets += scores.len();
                total += scores.iter().map(|&x| f64::from(x)).sum::<f64>();
            }
        }
        if targets == 0 {
            return None;
        }
        let loss = -total / targets as f64;
        let mut metrics = Metrics::new();
        metrics.set("eval_loss", loss);
        metrics.set("eval_perplexity", loss.exp());
        Some(metrics)
    }
}

/// What is made of the samples to train on, whose counts go to `notes`, and of those to evaluate on, if any.
pub(super) fn both<T>(
    dataset: &Dataset,
    notes: &mut Vec<String>,
    make: impl Fn(&[Sample]) -> Result<(Vec<T>, TokenizeCounts), LmError>,
) -> Result<[Vec<T>; 2], LmError> {
    let (train, counts) = make(&dataset.train)?;
    notes.push(counts.to_string());
    let eval = if dataset.eval.is_empty() { vec![] } else { make(&dataset.eval)?.0 };
    Ok([train, eval])
}

pub(super) fn tokenize<'a>(
    config: &TrainConfig,
    start: &'a Start,
    loss_on: LossOn,
) -> Tokenize<'a> {
    Tokenize {
        tokenizer: &start.tokenizer,
        template: start.template.as_ref(),
        max_length: config.max_length,
        truncation: config.truncation,
        loss_on,
    }
}
