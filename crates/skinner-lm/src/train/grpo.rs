//! Reinforcement learning with verifiable rewards: several completions of a prompt, a program that grades them, a
//! step towards the better ones (Shao et al. 2024, algorithm 1, and its family).

mod config;
mod evaluate;
mod monitor;
mod rollout;

use skinner_core::objective::grpo::{
    Completions, PolicyStats, Totals, importance_weights, policy_loss,
};
use skinner_core::{Metrics, SeedSequence};
use skinner_tasks::{Rewards, Task as Exercise};

pub use config::{Convention, GrpoConfig, GrpoTask};
pub(super) use monitor::Monitor;
pub use monitor::MonitorConfig;
use rollout::Sample;

use super::{Learner, STREAM_ROLLOUTS, STREAM_TASKS, Sequence, TrainConfig};
use crate::data::{Content, DataOrder, Dataset, LoadCounts, Sample as Example};
use crate::error::LmError;
use crate::message::Message;

/// Spawn keys below [`STREAM_TASKS`].
const TRAIN: u32 = 0;
const EVAL: u32 = 1;
const TEACHER: u32 = 2;
const SHUFFLE: u32 = 3;

/// Tasks, who grades them, and what became of the last ones.
#[derive(Debug)]
pub struct Data {
    task: GrpoTask,
    rewards: Rewards,
    /// Verifiers that are not trained on.
    held_out: Option<Rewards>,
    /// Looks for what is wrong.
    pub(super) monitor: Monitor,
    /// Whether any completion of the last step has an advantage.
    pub(super) has_advantage: bool,
    tasks: SeedSequence,
    rollouts: SeedSequence,
    eval: Vec<Exercise>,
    /// The largest divergence of trainer and sampler so far, nats a token.
    mismatch_kl_max: f64,
    /// The coefficient of the divergence from the reference, where it adapts.
    beta: f64,
    /// Samples of the last step: prompt, completion, reward and reasons, as JSON lines.
    pub traces: String,
}

/// Worked examples by the tasks' teacher: what a model imitates before it is rewarded.
///
/// # Errors
/// If the tasks have no teacher, or a value is out of range.
pub fn worked_examples(grpo: &GrpoTask, root: &SeedSequence) -> Result<Dataset, LmError> {
    let tasks = root.child(STREAM_TASKS);
    let generator = &grpo.task;
    let invalid =
        |error: skinner_tasks::generate::GenerateError| LmError::Config(format!("task: {error}"));
    generator.validate().map_err(invalid)?;
    let mut train = Vec::with_capacity(grpo.config.sft_examples);
    // A model from random weights takes its tokens from here, so there is at least one.
    for i in 0..grpo.config.sft_examples.max(1) as u32 {
        let Some(task) = generator.train_task(&tasks.child(TRAIN), u32::MAX - i) else {
            return Err(LmError::Config("task: it has no tasks to train on".into()));
        };
        let mut rng = tasks.child(TEACHER).child(i).rng();
        let worked = match generator.teach(&task, &mut rng) {
            Some(worked) => worked,
            None if grpo.sft.is_none() => task.answer.clone().unwrap_or_default(),
            None => {
                let what = "sft: these tasks have no teacher whose examples could be imitated";
                return Err(LmError::Config(what.into()));
            }
        };
        train.push(Example::PromptCompletion {
            prompt: prompt(&task)?,
            completion: Content::Text(worked),
        });
    }
    Ok(Dataset {
        train,
        eval: vec![],
        train_counts: LoadCounts::default(),
        eval_counts: LoadCounts::default(),
    })
}

/// A task's prompt, as the tokenizer takes it.
fn prompt(task: &Exercise) -> Result<Content, LmError> {
    if let Some(text) = task.prompt.as_str() {
        return Ok(Content::Text(text.to_owned()));
    }
    let messages: Vec<Message> = serde_json::from_value(task.prompt.clone()).map_err(|error| {
        LmError::Config(format!("task: a prompt is neither text nor messages: {error}"))
    })?;
    Ok(Content::Messages(messages))
}

impl Data {
    pub(super) fn new(grpo: &GrpoTask, root: &SeedSequence) -> Result<Self, LmError> {
        grpo.validate()?;
        let tasks = root.child(STREAM_TASKS);
        let rewards =
            Rewards::new(&grpo.reward).map_err(|error| LmError::Config(error.to_string()))?;
        let held_out = (!grpo.monitor.reward.is_empty())
            .then(|| Rewards::new(&grpo.monitor.reward))
            .transpose()
            .map_err(|error| LmError::Config(format!("monitor: {error}")))?;
        let eval = grpo
            .task
            .held_out(&tasks.child(EVAL), grpo.config.eval_items)
            .map_err(|error| LmError::Config(format!("eval_items: {error}")))?;
        Ok(Self {
            task: grpo.clone(),
            rewards,
            held_out,
            monitor: Monitor::new(&grpo.monitor),
            has_advantage: false,
            tasks,
            rollouts: root.child(STREAM_ROLLOUTS),
            eval,
            mismatch_kl_max: 0.0,
            beta: grpo.config.beta,
            traces: String::new(),
        })
    }

    /// Tasks of an epoch; a generator makes as many as are asked for.
    pub(super) fn len(&self) -> usize {
        self.task.config.train_items
    }

    pub(super) fn items_on_the_way(&self) -> usize {
        self.task.config.eval_items_on_the_way
    }

    pub(super) fn state(&self) -> (f64, f64) {
        (self.mismatch_kl_max, self.beta)
    }

    pub(super) fn set_state(&mut self, (mismatch_kl_max, beta): (f64, f64)) {
        (self.mismatch_kl_max, self.beta) = (mismatch_kl_max, beta);
    }

    /// Collects completions of a batch of prompts and steps `num_iterations × num_minibatches` times on them.
    /// Returns metrics and the number of tokens run.
    pub(super) fn iteration(
        &mut self,
        learner: &mut Learner,
        order: &mut DataOrder,
        train: &TrainConfig,
        (step, learning_rate): (u64, f32),
        dropout: &SeedSequence,
    ) -> Result<(Metrics, usize), LmError> {
        let config = self.task.config.clone();
        let mut metrics = Metrics::new();
        let mut samples = self.collect(learner, order, train, step, &mut metrics)?;
        let steps = config.num_iterations * config.num_minibatches;
        if config.needs_weights() {
            for (sample, scores) in scores(learner, &samples, false).into_iter().enumerate() {
                samples[sample].old_log_prob = scores;
            }
        } else if steps > 1 {
            // The sampler is the trainer, up to rounding: `mismatch_kl` says how far.
            for sample in &mut samples {
                sample.old_log_prob.clone_from(&sample.sampler_log_prob);
            }
        }
        if self.beta > 0.0 {
            for (sample, scores) in scores(learner, &samples, true).into_iter().enumerate() {
                samples[sample].ref_log_prob = scores;
            }
        }
        self.weigh(&mut samples, &mut metrics);
        let (mut total, mut norms, mut tokens, mut mismatch) = (Totalled::default(), 0.0, 0, 0.0);
        let minibatch = samples.len().div_ceil(config.num_minibatches).max(1);
        let mut steps_taken = 0;
        for iteration in 0..config.num_iterations {
            for (i, batch) in samples.chunks(minibatch).enumerate() {
                let dropout = dropout.child((iteration * config.num_minibatches + i) as u32);
                let (found, run, differs) = self.accumulate(learner, batch, &dropout);
                if steps_taken == 0 {
                    // Before the first step the trainer is the sampler.
                    mismatch = differs;
                }
                steps_taken += 1;
                tokens += run;
                total.add(&found, 1.0 / steps as f64);
                let norm = learner.update(learning_rate, train.max_grad_norm as f32);
                if !found.loss.is_finite() || !norm.is_finite() {
                    let loss = f64::from(found.loss);
                    return Err(LmError::Diverged { step, loss, grad_norm: norm });
                }
                norms += norm / steps as f64;
            }
        }
        self.mismatch_kl_max = self.mismatch_kl_max.max(mismatch);
        metrics.set("loss", total.loss);
        metrics.set("approx_kl", total.approx_kl);
        metrics.set("clip_ratio/low_mean", total.clipped_low);
        metrics.set("clip_ratio/high_mean", total.clipped_high);
        if self.beta > 0.0 {
            metrics.set("beta", self.beta);
        }
        metrics.set("mismatch_kl", mismatch);
        metrics.set("grad_norm", norms);
        Ok((metrics, tokens))
    }

    /// Adds the gradient of the loss of some samples. Returns what the loss says, tokens run, and the mean of the
    /// divergence of trainer and sampler over drawn ones.
    fn accumulate(
        &self,
        learner: &mut Learner,
        batch: &[Sample],
        dropout: &SeedSequence,
    ) -> (PolicyStats<f32>, usize, f64) {
        let config = &self.task.config;
        let kernel = config.kernel(self.beta as f32);
        let counted: Vec<&Sample> = batch.iter().filter(|sample| sample.counts).collect();
        let totals = Totals {
            sequences: counted.len(),
            tokens: counted.iter().map(|sample| sample.len()).sum(),
            max_completion_length: config.max_completion_length,
        };
        // Without a divergence in the loss, what has no advantage has no gradient.
        let silent = |sample: &Sample| kernel.kl.is_none() && !sample.has_advantage();
        let run: Vec<&Sample> = counted.into_iter().filter(|sample| !silent(sample)).collect();
        let sequences: Vec<Sequence<'_>> = run.iter().map(|sample| sample.sequence()).collect();
        let (mut stats, mut mismatch) = (PolicyStats::<f32>::default(), 0.0);
        learner.accumulate(&sequences, 1, dropout, |range, scores, d| {
            let mut from = 0;
            for sample in &run[range] {
                let own = from..from + sample.len();
                from = own.end;
                let log_prob = &scores[own.clone()];
                let fresh = sample.old_log_prob.is_empty();
                let old = if fresh { log_prob } else { &sample.old_log_prob[..] };
                mismatch += log_prob
                    .iter()
                    .zip(&sample.sampler_log_prob)
                    .map(|(&t, &s)| f64::from(t - s))
                    .map(|x| x.exp() - 1.0 - x)
                    .sum::<f64>();
                let correction = importance_weights(
                    config.correction,
                    config.correction_cap as f32,
                    old,
                    &sample.sampler_log_prob,
                );
                let completion = Completions {
                    log_prob,
                    old_log_prob: old,
                    ref_log_prob: &sample.ref_log_prob,
                    correction: &correction,
                    advantage: &sample.advantages,
                    mask: &vec![true; sample.len()],
                    starts: &[0],
                };
                let found = policy_loss(&kernel, &completion, totals, &mut d[own]);
                stats = sum(&stats, &found);
            }
        });
        let tokens = sequences.iter().map(|sequence| sequence.ids.len()).sum();
        let drawn: usize = run.iter().map(|sample| sample.len()).sum();
        (stats, tokens, mismatch / drawn.max(1) as f64)
    }
}

/// The log-probabilities of all completions' tokens, under the policy or the reference.
fn scores(learner: &mut Learner, samples: &[Sample], reference: bool) -> Vec<Vec<f32>> {
    let sequences: Vec<Sequence<'_>> = samples.iter().map(Sample::sequence).collect();
    learner.scores(&sequences, reference)
}

fn sum(a: &PolicyStats<f32>, b: &PolicyStats<f32>) -> PolicyStats<f32> {
    PolicyStats {
        loss: a.loss + b.loss,
        kl: a.kl + b.kl,
        clipped_low: a.clipped_low + b.clipped_low,
        clipped_high: a.clipped_high + b.clipped_high,
        approx_kl: a.approx_kl + b.approx_kl,
    }
}

/// Means over the steps of an iteration.
#[derive(Default)]
struct Totalled {
    loss: f64,
    clipped_low: f64,
    clipped_high: f64,
    approx_kl: f64,
}

impl Totalled {
    fn add(&mut self, stats: &PolicyStats<f32>, weight: f64) {
        self.loss += weight * f64::from(stats.loss);
        self.clipped_low += weight * f64::from(stats.clipped_low);
        self.clipped_high += weight * f64::from(stats.clipped_high);
        self.approx_kl += weight * f64::from(stats.approx_kl);
    }
}
