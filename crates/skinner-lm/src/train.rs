//! Training language models: next tokens, preferences, judged completions.
//!
//! [`Trainer`] is the loop: take a batch, compute the loss and its gradient, step. What the loss is stands in
//! one file each: [`likelihood`] (pretraining and supervised fine-tuning), [`preference`] (DPO and its
//! family), [`unpaired`] (KTO), [`grpo`] (verifiable rewards). [`Learner`] holds the weights and knows no loss.

pub mod grpo;
mod learner;
pub mod likelihood;
pub mod preference;
mod start;
pub mod unpaired;

use std::time::Instant;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use skinner_core::schedule::LearningRate;
use skinner_core::{Metrics, SeedSequence};
use skinner_nn::AdamWConfig;
use skinner_nn::matrix::Precision;
use skinner_tasks::curriculum::Curriculum;

use learner::Seconds;
pub use learner::{Learner, Sequence};
pub use start::{ModelShape, ModelSource, Start, StartTerms, TokenizerChoice};

use crate::data::{DataOrder, Dataset, Truncation};
use crate::error::LmError;
use crate::source::hexadecimal;
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

/// See [`STREAM_WEIGHTS`]: completions that are learned from; then the step, the round, the prompt, the completion.
pub const STREAM_ROLLOUTS: u32 = 6;
/// See [`STREAM_WEIGHTS`]: tasks that a generator makes.
pub const STREAM_TASKS: u32 = 7;

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
    /// Tokens that are in memory at once; sequences of one prompt stay together up to 2,048. In f32 it changes no bit
    /// of the result.
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
            if ok { Ok(()) } else { Err(LmError::Recipe(what)) }
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
    /// What a program rewards.
    Grpo(Box<grpo::GrpoTask>),
}

enum Data {
    Likelihood(likelihood::Data),
    Preference(preference::Data),
    Unpaired(unpaired::Data),
    Grpo(Box<grpo::Data>),
}

/// Imitation before reinforcement.
struct Imitation {
    config: TrainConfig,
    data: likelihood::Data,
    order: DataOrder,
    steps: u64,
}

/// Where training stands, beside the weights and moments.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    step: u64,
    tokens: u64,
    adam_steps: u32,
    order: DataOrder,
    /// Of what is trained on, see [`fingerprint`].
    #[serde(default)]
    data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grpo: Option<GrpoState>,
}

/// Of a run with verifiable rewards.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct GrpoState {
    imitation: Option<DataOrder>,
    /// What the evaluation before reinforcement said.
    before: Option<Vec<(String, f64)>>,
    own: (f64, f64),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    curriculum: Option<Curriculum>,
    monitor: grpo::Monitor,
}

/// The loop around a task.
pub struct Trainer {
    config: TrainConfig,
    /// The weights and what moves them.
    pub learner: Learner,
    data: Data,
    order: DataOrder,
    imitation: Option<Imitation>,
    /// What the evaluation before reinforcement said, once it is known.
    before: Option<Vec<(String, f64)>>,
    /// Whether divergences are measured from the weights after imitation, which are kept apart.
    keeps_reference: bool,
    dropout: SeedSequence,
    step: u64,
    tokens: u64,
    /// What the last step took, by a clock.
    step_seconds: f64,
    total_steps: u64,
    /// What became of the data, in words.
    pub notes: Vec<String>,
    checksum: u64,
    /// Of what is trained on.
    fingerprint: String,
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
        config.schedule().validate().map_err(|error| LmError::Recipe(error.to_string()))?;
        let context = start.decoder.config().max_position_embeddings;
        if config.max_length > context {
            return Err(LmError::Recipe(format!(
                "max_length = {} is more than the model's context of {context}",
                config.max_length
            )));
        }
        let left_out = [("", dataset.train_counts), ("to evaluate on: ", dataset.eval_counts)];
        let mut notes: Vec<String> = left_out
            .iter()
            .filter_map(|(of, counts)| Some(format!("data: {of}{}", counts.left_out()?)))
            .collect();
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
            Task::Grpo(grpo) => {
                Data::Grpo(Box::new(grpo::Data::new(grpo, &start, root, &mut notes)?))
            }
        };
        let imitation = match task {
            Task::Grpo(grpo) => {
                Imitation::new(grpo.sft.as_ref(), &start, dataset, root, &mut notes)?
            }
            _ => None,
        };
        let len = match &data {
            Data::Likelihood(data) => data.len(),
            Data::Preference(data) => data.len(),
            Data::Unpaired(data) => data.len(),
            Data::Grpo(data) => data.len(),
        };
        let order = DataOrder::new(&root.child(STREAM_ORDER), len, true);
        let needed = (config.num_epochs * len as f64 / config.batch_size as f64).ceil();
        let total_steps = if config.max_steps > 0 { config.max_steps } else { needed as u64 };
        let own_steps = match task {
            Task::Grpo(grpo) if grpo.config.imitate_only => 0,
            _ => total_steps.max(1),
        };
        let mut learner = Learner::new(config, start, machine)?;
        let mut keeps_reference = false;
        if let Task::Grpo(grpo) = task {
            learner.set_temperature(grpo.config.temperature as f32)?;
            if grpo.config.beta > 0.0 {
                learner.keep_reference()?;
                keeps_reference = grpo.sft.is_some();
            }
            if keeps_reference && learner.adapter().is_some() {
                let beta = grpo.config.beta;
                return Err(LmError::Recipe(format!(
                    "beta = {beta}: with an adapter the divergence is measured from the model below it, which is not \
                     the model after [sft]: leave out [lora], [sft] or beta"
                )));
            }
        }
        let checksum = learner.checksum();
        let tasks = match &data {
            Data::Grpo(data) => data.read_tasks(),
            _ => vec![],
        };
        let fingerprint = fingerprint(&(&dataset.train, tasks))?;
        Ok(Self {
            config: config.clone(),
            learner,
            data,
            order,
            before: None,
            keeps_reference,
            dropout: root.child(STREAM_DROPOUT),
            step: 0,
            tokens: 0,
            step_seconds: 0.0,
            total_steps: own_steps + imitation.as_ref().map_or(0, |i| i.steps),
            imitation,
            notes,
            checksum,
            fingerprint,
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

    /// Keeps what is graded in a file, where the same might be graded otherwise another time, as by a program that
    /// runs out of time. What the file holds from before is used again, so that a run which continues from a checkpoint
    /// repeats its steps.
    ///
    /// # Errors
    /// If the file cannot be read or opened.
    pub fn keep_grades(&mut self, path: &std::path::Path) -> Result<(), LmError> {
        match &mut self.data {
            Data::Grpo(data) => data.keep_grades(path),
            _ => Ok(()),
        }
    }

    /// Asks the model that training starts from what it will be compared with, before the first step (and
    /// before a checkpoint is loaded). `progress` sees how much is done, and of how much, and returns whether
    /// to go on; if not, this returns false.
    pub fn prepare(&mut self, progress: &mut dyn FnMut(usize, usize) -> bool) -> bool {
        let mut order = self.order.clone();
        match &mut self.data {
            Data::Likelihood(_) | Data::Grpo(_) => true,
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

    /// One optimizer step; of a run with verifiable rewards, one batch of completions and the steps on it.
    ///
    /// # Errors
    /// A loss or gradient that is not finite; that optimizer step has changed nothing then. Completions that cannot
    /// be drawn or graded.
    pub fn iteration(&mut self) -> Result<Metrics, LmError> {
        let mut metrics = self.evaluate_first(&|| false)?.unwrap_or_default();
        metrics.extend(&self.one_step()?);
        Ok(metrics)
    }

    fn one_step(&mut self) -> Result<Metrics, LmError> {
        let began = Instant::now();
        self.learner.seconds = Seconds::default();
        let metrics = self.step_of_phase();
        self.step_seconds = began.elapsed().as_secs_f64();
        metrics
    }

    /// Where the time of the last step went, by a clock: `seconds/step` and, of it, `seconds/generation`,
    /// `seconds/grading`, `seconds/gradients` and `seconds/optimizer`, as far as there was such.
    pub fn seconds(&self) -> Metrics {
        let Seconds { generation, gradients, optimizer } = self.learner.seconds;
        let grading = match &self.data {
            Data::Grpo(data) => data.grading_seconds,
            _ => 0.0,
        };
        let mut metrics = Metrics::new();
        for (name, seconds) in [
            ("seconds/step", self.step_seconds),
            ("seconds/generation", generation),
            ("seconds/grading", grading),
            ("seconds/gradients", gradients),
            ("seconds/optimizer", optimizer),
        ] {
            if seconds > 0.0 {
                metrics.set(name, seconds);
            }
        }
        metrics
    }

    fn step_of_phase(&mut self) -> Result<Metrics, LmError> {
        if let Some(imitation) = &mut self.imitation
            && self.step < imitation.steps
        {
            let indices = imitation.order.batch(imitation.config.batch_size);
            let dropout = self.dropout.child(self.step as u32);
            let update = imitation.data.update(&mut self.learner, &indices, &dropout);
            let (config, total) = (imitation.config.clone(), imitation.steps);
            return self.step_along(update, &config, self.step, total);
        }
        if matches!(self.data, Data::Grpo(_)) {
            return self.reinforce();
        }
        let indices = self.order.batch(self.config.batch_size);
        let dropout = self.dropout.child(self.step as u32);
        let update = match &self.data {
            Data::Likelihood(data) => data.update(&mut self.learner, &indices, &dropout),
            Data::Preference(data) => data.update(&mut self.learner, &indices, &dropout),
            Data::Unpaired(data) => data.update(&mut self.learner, (self.step, &indices), &dropout),
            Data::Grpo(_) => unreachable!("it was reinforced above"),
        };
        let (config, total) = (self.config.clone(), self.total_steps);
        self.step_along(update, &config, self.step, total)
    }

    /// Steps along the gradient of a batch whose metrics these are.
    fn step_along(
        &mut self,
        (mut metrics, tokens): (Metrics, usize),
        config: &TrainConfig,
        step: u64,
        total: u64,
    ) -> Result<Metrics, LmError> {
        let loss = metrics.get("loss").unwrap_or(f64::NAN);
        let learning_rate = config.learning_rate * config.schedule().factor(step, total);
        let norm = self.learner.update(learning_rate as f32, config.max_grad_norm as f32);
        if !loss.is_finite() || !norm.is_finite() {
            return Err(LmError::Diverged { step: self.step, loss, grad_norm: norm });
        }
        metrics.set("grad_norm", norm);
        self.stepped(&mut metrics, tokens, learning_rate);
        Ok(metrics)
    }

    fn stepped(&mut self, metrics: &mut Metrics, tokens: usize, learning_rate: f64) {
        let loss = metrics.get("loss").unwrap_or(f64::NAN);
        self.constant &= self.unchanged_loss.is_none_or(|before| before == loss);
        self.unchanged_loss = Some(loss);
        self.step += 1;
        if let Data::Grpo(data) = &mut self.data {
            data.at_step(self.step);
        }
        self.tokens += tokens as u64;
        metrics.set("learning_rate", learning_rate);
        metrics.set("epoch", self.order.epochs());
        metrics.set("num_tokens", self.tokens as f64);
    }

    /// One batch of completions and the steps on it.
    fn reinforce(&mut self) -> Result<Metrics, LmError> {
        let first = self.imitation.as_ref().map_or(0, |imitation| imitation.steps);
        if self.step == first {
            self.learner.reset_optimizer();
            if self.keeps_reference {
                self.learner.keep_reference()?;
            }
        }
        let (step, total) = (self.step - first, self.total_steps - first);
        let factor = self.config.schedule().factor(step, total);
        let learning_rate = self.config.learning_rate * factor;
        let dropout = self.dropout.child(self.step as u32);
        let Data::Grpo(data) = &mut self.data else { unreachable!("only such runs reinforce") };
        let checksum = (!data.monitor.moved).then(|| self.learner.checksum());
        let (mut metrics, tokens) = data.iteration(
            &mut self.learner,
            &mut self.order,
            &self.config,
            (step, learning_rate as f32),
            &dropout,
        )?;
        if let Some(before) = checksum.filter(|_| data.has_advantage && learning_rate > 0.0) {
            data.monitor.stepped(self.step + 1, self.learner.checksum() != before);
        }
        data.monitor.observe(self.step + 1, &metrics);
        self.stepped(&mut metrics, tokens, learning_rate);
        Ok(metrics)
    }

    /// What the end of a run with rewards is compared with: an evaluation where reinforcement begins, or where the run
    /// does if there is none. Nothing at other steps; `None` if `stop` asked. [`Trainer::iteration`] does it unless it
    /// is done.
    ///
    /// # Errors
    /// Completions that cannot be drawn.
    pub fn evaluate_first(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<Metrics>, LmError> {
        let imitated = self.imitation.as_ref().map_or(0, |imitation| imitation.steps);
        let first = if imitated < self.total_steps { imitated } else { 0 };
        let due = matches!(self.data, Data::Grpo(_)) && self.step == first;
        if !due || self.before.is_some() {
            return Ok(Some(Metrics::new()));
        }
        let Some(found) = self.evaluate_whole(stop, true)? else { return Ok(None) };
        let known = found.iter().filter(|(_, value)| value.is_finite());
        self.before = Some(known.map(|(name, value)| (name.to_owned(), value)).collect());
        Ok(Some(found))
    }

    /// How well the model does on the data kept for evaluation, or on a part of it where that takes long; `None`
    /// where there is none, or `stop` asked.
    ///
    /// # Errors
    /// Completions that cannot be drawn.
    pub fn evaluate(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<Metrics>, LmError> {
        match &mut self.data {
            Data::Likelihood(data) => Ok(data.evaluate(&mut self.learner, stop)),
            Data::Preference(data) => Ok(data.evaluate(&mut self.learner, stop)),
            Data::Unpaired(data) => Ok(data.evaluate(&mut self.learner, stop)),
            Data::Grpo(data) => {
                let items = data.items_on_the_way();
                data.evaluate(&mut self.learner, (items, false), stop)
            }
        }
    }

    /// As [`Trainer::evaluate`], on all of it; with `draws`, also of completions drawn several to a task.
    ///
    /// # Errors
    /// Completions that cannot be drawn.
    pub fn evaluate_whole(
        &mut self,
        stop: &dyn Fn() -> bool,
        draws: bool,
    ) -> Result<Option<Metrics>, LmError> {
        let Data::Grpo(data) = &mut self.data else { return self.evaluate(stop) };
        data.evaluate_whole(&mut self.learner, draws, stop)
    }

    /// Numbers of the whole run, beside the last evaluation's.
    pub fn summary(&self, metrics: &mut Metrics) {
        let Data::Grpo(data) = &self.data else { return };
        for (name, value) in self.before.iter().flatten() {
            if !name.starts_with("eval_items") {
                metrics.set(before_name(name), *value);
            }
        }
        if let Some(after) = metrics.get("eval_accuracy") {
            metrics.set("eval_accuracy_after", after);
        }
        metrics.set("mismatch_kl_max", data.state().0);
    }

    /// The weights after imitation that divergences are measured from, once there are such. They are no part of
    /// [`Trainer::save`] nor of what is trained: whoever saves a trainer saves them too, once, and puts them back.
    pub fn reference_mut(&mut self) -> Option<&mut [f32]> {
        let imitated = self.imitation.as_ref().is_some_and(|imitation| self.step > imitation.steps);
        if imitated && self.keeps_reference { self.learner.reference_mut() } else { None }
    }

    /// The part of the run that its step number `step` belongs to, imitation or what comes after: how many steps are
    /// before it, and how many it has.
    pub fn phase(&self, step: u64) -> (u64, u64) {
        let first = self.imitation.as_ref().map_or(0, |imitation| imitation.steps);
        if step <= first && first > 0 { (0, first) } else { (first, self.total_steps - first) }
    }

    /// Graded samples of the last step as JSON lines, where there are such.
    pub fn traces(&self) -> Option<&str> {
        match &self.data {
            Data::Grpo(data) => Some(&data.traces),
            _ => None,
        }
    }

    /// Whether there is data to evaluate on.
    pub fn can_evaluate(&self) -> bool {
        match &self.data {
            Data::Likelihood(data) => data.can_evaluate(),
            Data::Preference(data) => data.can_evaluate(),
            Data::Unpaired(data) => data.can_evaluate(),
            Data::Grpo(_) => true,
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
        if let Data::Grpo(data) = &self.data {
            warnings.extend_from_slice(data.monitor.warnings());
        }
        warnings
    }

    /// Warnings of the monitor, in order; there may be more after each step.
    pub fn alarms(&self) -> &[String] {
        match &self.data {
            Data::Grpo(data) => data.monitor.warnings(),
            _ => &[],
        }
    }

    /// Why the run should end now, where its monitor says so.
    pub fn stops(&self) -> Option<&str> {
        match &self.data {
            Data::Grpo(data) => data.monitor.stops(),
            _ => None,
        }
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
            data: Some(self.fingerprint.clone()),
            grpo: match &self.data {
                Data::Grpo(data) => Some(GrpoState {
                    imitation: self.imitation.as_ref().map(|imitation| imitation.order.clone()),
                    before: self.before.clone(),
                    own: data.state(),
                    curriculum: data.curriculum().cloned(),
                    monitor: data.monitor.clone(),
                }),
                _ => None,
            },
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
        let len = self.order.epoch_len();
        let same = state.data.is_none_or(|before| before == self.fingerprint);
        if !same || !state.order.fits(len) {
            return Err(LmError::State(format!(
                "it belongs to other data than these {len} examples: put back what the run began with, or begin another"
            )));
        }
        (self.step, self.tokens, self.order) = (state.step, state.tokens, state.order);
        if let (Data::Grpo(data), Some(grpo)) = (&mut self.data, state.grpo) {
            data.set_state(grpo.own);
            data.set_curriculum(grpo.curriculum)?;
            data.at_step(state.step);
            data.monitor.restore(grpo.monitor);
            self.before = grpo.before;
            if let (Some(imitation), Some(order)) = (&mut self.imitation, grpo.imitation) {
                imitation.order = order;
            }
        }
        self.learner.set_adam_steps(state.adam_steps);
        self.constant = false;
        Ok(())
    }
}

/// The SHA-256 of what is trained on, so that a run does not go on with something else.
fn fingerprint(data: &impl Serialize) -> Result<String, LmError> {
    struct Hashed(Sha256);
    impl std::io::Write for Hashed {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut hashed = Hashed(Sha256::new());
    serde_json::to_writer(&mut hashed, data)
        .map_err(|error| LmError::State(format!("the data cannot be encoded: {error}")))?;
    Ok(hexadecimal(&hashed.0.finalize()))
}

/// What a metric is called that was measured before reinforcement: `eval_accuracy_before`,
/// `eval_pass_at_k_before/4`.
fn before_name(name: &str) -> String {
    let (stem, rest) = name.split_at(name.find('/').unwrap_or(name.len()));
    format!("{stem}_before{rest}")
}

impl Imitation {
    fn new(
        config: Option<&TrainConfig>,
        start: &Start,
        dataset: &Dataset,
        root: &SeedSequence,
        notes: &mut Vec<String>,
    ) -> Result<Option<Self>, LmError> {
        let Some(config) = config else { return Ok(None) };
        let sft = likelihood::SftConfig::default();
        let data = likelihood::Data::sft(config, &sft, start, dataset, notes)?;
        let order = DataOrder::new(&root.child(STREAM_ORDER).child(0), data.len(), true);
        let needed = (config.num_epochs * data.len() as f64 / config.batch_size as f64).ceil();
        let steps = if config.max_steps > 0 { config.max_steps } else { needed as u64 };
        Ok(Some(Self { config: config.clone(), data, order, steps }))
    }
}
