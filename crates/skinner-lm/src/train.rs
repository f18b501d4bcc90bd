//! Training language models: next tokens, preferences, judged completions.
//!
//! [`Trainer`] is the loop: take a batch, compute the loss and its gradient, step. What the loss is stands in
//! one file each: [`likelihood`] (pretraining and supervised fine-tuning), [`preference`] (DPO and its
//! family), [`unpaired`] (KTO). [`Learner`] holds the weights and knows no loss.

mod learner;
pub mod likelihood;
pub mod preference;
mod start;
pub mod unpaired;

use serde::{Deserialize, Serialize};
use skinner_core::schedule::LearningRate;
use skinner_core::{Metrics, SeedSequence};
use skinner_nn::AdamWConfig;
use skinner_nn::matrix::Precision;

pub use learner::{Learner, Sequence};
pub use start::{ModelShape, ModelSource, Start, TokenizerChoice};

use crate::data::{DataOrder, Dataset, Truncation};
use crate::error::LmError;
use crate::tensor::Machine;

/// Spawn keys below a run's seed: initial weights, adapters, the data's parts, its order, dropout, and the
/// completions shown.
pub const STREAM_WEIGHTS: u32 = 0;
/// See [`STREAM_WEIGHTS`].
pub const STREAM_ADAPTER: u32 = 1;
/// See [`STREAM_WEIGHTS`].
pub const STREAM_DATA: u32 = 2;
/// See [`STREAM_WEIGHTS`].
pub const STREAM_ORDER: u32 = 3;
/// See [`STREAM_WEIGHTS`].
pub const STREAM_DROPOUT: u32 = 4;
/// See [`STREAM_WEIGHTS`].
pub const STREAM_SAMPLES: u32 = 5;

/// What every trainer has: the batch, the optimizer, the length of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Sequences (pairs, in preference learning) of one optimizer step.
    pub batch_size: usize,
    /// Passes over the data.
    pub num_epochs: f64,
    /// Optimizer steps; 0 for as many as `num_epochs` takes.
    pub max_steps: u64,
    /// Longest sequence, in tokens.
    pub max_length: usize,
    /// What becomes of longer ones.
    pub truncation: Truncation,
    /// At its highest.
    pub learning_rate: f64,
    /// How it falls.
    pub lr_schedule: skinner_core::schedule::Schedule,
    /// Steps in which it rises from 0 first.
    pub warmup_steps: u64,
    /// The same as a share of all steps, where `warmup_steps` is 0.
    pub warmup_ratio: f64,
    /// What it falls to, as a share of the highest.
    pub min_lr_ratio: f64,
    /// Decoupled weight decay, on matrices.
    pub weight_decay: f64,
    /// Adam's decay of the mean of gradients.
    pub adam_beta1: f64,
    /// Adam's decay of the mean of squared gradients.
    pub adam_beta2: f64,
    /// Adam's epsilon.
    pub adam_epsilon: f64,
    /// Gradients are scaled down to this norm; 0 for never.
    pub max_grad_norm: f64,
    /// What numbers are rounded to before they are multiplied; weights stay f32.
    pub precision: Precision,
    /// Keep each block's input alone and compute the rest again in the backward pass: less memory, a third
    /// more work.
    pub activation_checkpointing: bool,
    /// Tokens that are in memory at once. In f32 it changes no bit of the result.
    pub micro_batch_tokens: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            batch_size: 8,
            num_epochs: 1.0,
            max_steps: 0,
            max_length: 512,
            truncation: Truncation::default(),
            learning_rate: 2e-5,
            lr_schedule: skinner_core::schedule::Schedule::Linear,
            warmup_steps: 0,
            warmup_ratio: 0.0,
            min_lr_ratio: 0.0,
            weight_decay: 0.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            max_grad_norm: 1.0,
            precision: Precision::F32,
            activation_checkpointing: false,
            micro_batch_tokens: 512,
        }
    }
}

impl TrainConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first key that is out of range, and the range.
    pub fn validate(&self) -> Result<(), LmError> {
        let check = |ok: bool, key: &str, value: &dyn std::fmt::Display, range: &str| {
            let what = format!("{key} = {value} is out of range: must be {range}");
            if ok { Ok(()) } else { Err(LmError::Config(what)) }
        };
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let share = |x: f64| (0.0..=1.0).contains(&x);
        check(
            (1..=1 << 20).contains(&self.batch_size),
            "batch_size",
            &self.batch_size,
            "1 to 2^20",
        )?;
        check(positive(self.num_epochs), "num_epochs", &self.num_epochs, "above 0")?;
        check(
            (2..=1 << 24).contains(&self.max_length),
            "max_length",
            &self.max_length,
            "2 to 2^24",
        )?;
        check(positive(self.learning_rate), "learning_rate", &self.learning_rate, "above 0")?;
        check(share(self.warmup_ratio), "warmup_ratio", &self.warmup_ratio, "0 to 1")?;
        check(share(self.min_lr_ratio), "min_lr_ratio", &self.min_lr_ratio, "0 to 1")?;
        let decay = self.weight_decay;
        check((0.0..1e3).contains(&decay), "weight_decay", &decay, "0 to 1000")?;
        let beta = |x: f64| (0.0..1.0).contains(&x);
        check(beta(self.adam_beta1), "adam_beta1", &self.adam_beta1, "at least 0 and below 1")?;
        check(beta(self.adam_beta2), "adam_beta2", &self.adam_beta2, "at least 0 and below 1")?;
        check(positive(self.adam_epsilon), "adam_epsilon", &self.adam_epsilon, "above 0")?;
        let norm = self.max_grad_norm;
        check(norm >= 0.0 && norm.is_finite(), "max_grad_norm", &norm, "at least 0")?;
        let tokens = self.micro_batch_tokens;
        check((1..=1 << 24).contains(&tokens), "micro_batch_tokens", &tokens, "1 to 2^24")
    }

    pub(crate) fn schedule(&self) -> LearningRate {
        LearningRate {
            schedule: self.lr_schedule,
            warmup_steps: self.warmup_steps,
            warmup_ratio: self.warmup_ratio,
            min_ratio: self.min_lr_ratio,
        }
    }

    pub(crate) fn adamw(&self) -> AdamWConfig {
        AdamWConfig {
            beta1: self.adam_beta1 as f32,
            beta2: self.adam_beta2 as f32,
            epsilon: self.adam_epsilon as f32,
            weight_decay: self.weight_decay as f32,
        }
    }
}

/// What is learned, and how it is made of the data.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Next tokens of text.
    Pretrain,
    /// Completions.
    Sft(likelihood::SftConfig),
    /// Which of two completions is preferred.
    Dpo(skinner_core::objective::preference::PreferenceConfig),
    /// Which completions are good.
    Kto(skinner_core::objective::unpaired::KtoConfig),
}

enum Data {
    Likelihood(likelihood::Data),
    Preference(preference::Data),
    Unpaired(unpaired::Data),
}

/// Where training stands, beside the weights and moments.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    step: u64,
    tokens: u64,
    adam_steps: u32,
    order: DataOrder,
}

/// The loop around a task.
pub struct Trainer {
    config: TrainConfig,
    /// The weights and what moves them.
    pub learner: Learner,
    data: Data,
    order: DataOrder,
    dropout: SeedSequence,
    step: u64,
    tokens: u64,
    total_steps: u64,
    /// What became of the data, in words.
    pub notes: Vec<String>,
    checksum: u64,
    unchanged_loss: Option<f64>,
    constant: bool,
}

impl std::fmt::Debug for Trainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer").field("step", &self.step).finish_non_exhaustive()
    }
}

impl Trainer {
    /// Tokenizes the data and stands before the first step. A number stands for that many threads of our own
    /// kernels.
    ///
    /// # Errors
    /// A value out of range, data that the task cannot use, a length beyond the model's context, a precision that
    /// the device does not have.
    pub fn new(
        config: &TrainConfig,
        task: &Task,
        start: Start,
        dataset: &Dataset,
        root: &SeedSequence,
        machine: impl Into<Machine>,
    ) -> Result<Self, LmError> {
        config.validate()?;
        config.schedule().validate().map_err(|error| LmError::Config(error.to_string()))?;
        let context = start.decoder.config().max_position_embeddings;
        if config.max_length > context {
            return Err(LmError::Config(format!(
                "max_length = {} is more than the model's context of {context}",
                config.max_length
            )));
        }
        let mut notes = Vec::new();
        let data = match task {
            Task::Pretrain => Data::Likelihood(likelihood::Data::pretraining(
                config, &start, dataset, &mut notes,
            )?),
            Task::Sft(sft) => {
                Data::Likelihood(likelihood::Data::sft(config, sft, &start, dataset, &mut notes)?)
            }
            Task::Dpo(dpo) => {
                Data::Preference(preference::Data::new(config, dpo, &start, dataset, &mut notes)?)
            }
            Task::Kto(kto) => {
                Data::Unpaired(unpaired::Data::new(config, kto, &start, dataset, &mut notes)?)
            }
        };
        let len = match &data {
            Data::Likelihood(data) => data.len(),
            Data::Preference(data) => data.len(),
            Data::Unpaired(data) => data.len(),
        };
        let order = DataOrder::new(&root.child(STREAM_ORDER), len, true);
        let needed = (config.num_epochs * len as f64 / config.batch_size as f64).ceil();
        let total_steps = if config.max_steps > 0 { config.max_steps } else { needed as u64 };
        let learner = Learner::new(config, start, machine)?;
        let checksum = learner.checksum();
        Ok(Self {
            config: config.clone(),
            learner,
            data,
            order,
            dropout: root.child(STREAM_DROPOUT),
            step: 0,
            tokens: 0,
            total_steps: total_steps.max(1),
            notes,
            checksum,
            unchanged_loss: None,
            constant: true,
        })
    }

    /// Optimizer steps taken.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Optimizer steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.total_steps
    }

    /// Tokens that were run forward and backward.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Asks the model that training starts from what it will be compared with, before the first step (and
    /// before a checkpoint is loaded). `progress` sees how much is done, and of how much, and returns whether
    /// to go on; if not, this returns false.
    pub fn prepare(&mut self, progress: &mut dyn FnMut(usize, usize) -> bool) -> bool {
        let mut order = self.order.clone();
        match &mut self.data {
            Data::Likelihood(_) => true,
            Data::Preference(data) => {
                let drawn = (self.total_steps as usize).saturating_mul(self.config.batch_size);
                let mut needed = order.batch(drawn.min(data.len() * 2));
                needed.sort_unstable();
                needed.dedup();
                data.prepare(&mut self.learner, &needed, progress)
            }
            Data::Unpaired(data) => {
                let batches: Vec<Vec<usize>> =
                    (0..self.total_steps).map(|_| order.batch(self.config.batch_size)).collect();
                data.prepare(&mut self.learner, &batches, progress)
            }
        }
    }

    /// One optimizer step.
    ///
    /// # Errors
    /// A loss or gradient that is not finite; nothing has changed then.
    pub fn iteration(&mut self) -> Result<Metrics, LmError> {
        let indices = self.order.batch(self.config.batch_size);
        let dropout = self.dropout.child(self.step as u32);
        let (mut metrics, tokens) = match &self.data {
            Data::Likelihood(data) => data.update(&mut self.learner, &indices, &dropout),
            Data::Preference(data) => data.update(&mut self.learner, &indices, &dropout),
            Data::Unpaired(data) => data.update(&mut self.learner, (self.step, &indices), &dropout),
        };
        let loss = metrics.get("loss").unwrap_or(f64::NAN);
        let factor = self.config.schedule().factor(self.step, self.total_steps);
        let learning_rate = self.config.learning_rate * factor;
        let norm = self.learner.update(learning_rate as f32, self.config.max_grad_norm as f32);
        if !loss.is_finite() || !norm.is_finite() {
            return Err(LmError::Diverged { step: self.step, loss, grad_norm: norm });
        }
        self.constant &= self.unchanged_loss.is_none_or(|before| before == loss);
        self.unchanged_loss = Some(loss);
        self.step += 1;
        self.tokens += tokens as u64;
        metrics.set("grad_norm", norm);
        metrics.set("learning_rate", learning_rate);
        metrics.set("epoch", self.order.epochs());
        metrics.set("num_tokens", self.tokens as f64);
        Ok(metrics)
    }

    /// How well the model does on the data kept for evaluation; `None` where there is none, or `stop` asked.
    pub fn evaluate(&mut self, stop: &dyn Fn() -> bool) -> Option<Metrics> {
        match &mut self.data {
            Data::Likelihood(data) => data.evaluate(&mut self.learner, stop),
            Data::Preference(data) => data.evaluate(&mut self.learner, stop),
            Data::Unpaired(data) => data.evaluate(&mut self.learner, stop),
        }
    }

    /// Whether there is data to evaluate on.
    pub fn can_evaluate(&self) -> bool {
        match &self.data {
            Data::Likelihood(data) => data.can_evaluate(),
            Data::Preference(data) => data.can_evaluate(),
            Data::Unpaired(data) => data.can_evaluate(),
        }
    }

    /// What looks like a mistake: a run that learned nothing says so.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.step > 0 && self.learner.checksum() == self.checksum {
            warnings.push("the weights have not changed: nothing was learned".to_owned());
        }
        if self.step > 2 && self.constant {
            warnings.push("the loss was the same at every step".to_owned());
        }
        warnings
    }

    /// Where training stands, to continue from beside the tensors.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn save(&self) -> Result<Vec<u8>, LmError> {
        let state = State {
            step: self.step,
            tokens: self.tokens,
            adam_steps: self.learner.adam_steps(),
            order: self.order.clone(),
        };
        serde_json::to_vec(&state).map_err(|error| LmError::State(error.to_string()))
    }

    /// Continues from what [`Trainer::save`] gave; the learner's tensors are set apart from this.
    ///
    /// # Errors
    /// If it cannot be decoded or belongs to other data.
    pub fn load(&mut self, state: &[u8]) -> Result<(), LmError> {
        let state: State =
            serde_json::from_slice(state).map_err(|error| LmError::State(error.to_string()))?;
        if !state.order.fits(self.order.epoch_len()) {
            let len = self.order.epoch_len();
            return Err(LmError::State(format!(
                "it belongs to other data than these {len} examples"
            )));
        }
        (self.step, self.tokens, self.order) = (state.step, state.tokens, state.order);
        self.learner.set_adam_steps(state.adam_steps);
        self.constant = false;
        Ok(())
    }
}
