//! Reinforcement learning with verifiable rewards: several completions of a prompt, a program that grades them, a
//! step towards the better ones (Shao et al. 2024, algorithm 1, and its family).

mod config;
mod course;
mod evaluate;
mod grader;
mod monitor;
mod rollout;
mod source;

use std::sync::Arc;

use skinner_core::objective::grpo::{
    Completions, PolicyStats, Totals, importance_weights, policy_loss,
};
use skinner_core::{Metrics, SeedSequence};
use skinner_tasks::curriculum::Curriculum;
use skinner_tasks::{RewardError, Task as Exercise};

pub use config::{Convention, EvalTask, GrpoConfig, GrpoTask};
use course::Course;
use grader::{Grader, SharedJournal};
pub(super) use monitor::Monitor;
pub use monitor::MonitorConfig;
use rollout::Sample;
pub use source::TaskSource;
use source::{Tasks, tasks_root};

use super::{Learner, STREAM_ROLLOUTS, Sequence, Start, TrainConfig};
use crate::data::{Content, DataOrder, Dataset, LoadCounts, Sample as Example};
use crate::error::LmError;
use crate::message::Message;

/// Spawn keys below [`STREAM_TASKS`](super::STREAM_TASKS).
const TRAIN: u32 = 0;
const EVAL: u32 = 1;
const TEACHER: u32 = 2;
const SHUFFLE: u32 = 3;
const CURRICULUM: u32 = 4;

/// Tasks, who grades them, and what became of the last ones.
#[derive(Debug)]
pub struct Data {
    task: GrpoTask,
    source: Tasks,
    course: Option<Course>,
    graders: Graders,
    /// What graders said that may say otherwise another time.
    journal: Option<SharedJournal>,
    /// Looks for what is wrong.
    pub(super) monitor: Monitor,
    /// Whether any completion of the last step has an advantage.
    pub(super) has_advantage: bool,
    tasks: SeedSequence,
    rollouts: SeedSequence,
    eval: Vec<Exercise>,
    /// Tasks of other kinds, to evaluate on.
    elsewhere: Vec<(String, Data)>,
    /// What grading took of the last step.
    pub(super) grading_seconds: f64,
    /// The largest divergence of trainer and sampler so far, nats a token.
    mismatch_kl_max: f64,
    /// The coefficient of the divergence from the reference, where it adapts.
    beta: f64,
    /// Samples of the last step: prompt, completion, reward and reasons, as JSON lines.
    pub traces: String,
}

/// Who grades a task's completions.
#[derive(Clone, Debug)]
struct Graders {
    rewards: Arc<Grader>,
    /// Verifiers that are not trained on.
    held_out: Option<Arc<Grader>>,
}

impl Graders {
    fn each(&self) -> impl Iterator<Item = &Grader> {
        std::iter::once(&*self.rewards).chain(self.held_out.as_deref())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn bad_reward(error: RewardError) -> LmError {
    LmError::Recipe(error.to_string())
}

/// Worked examples, by the tasks' teacher or the data set: what a model imitates before it is rewarded. Where nothing
/// is imitated they only show what texts there are, to a tokenizer that is made of them.
///
/// # Errors
/// If the tasks have no worked examples to imitate, a value is out of range, or data cannot be read.
pub fn worked_examples(grpo: &GrpoTask, root: &SeedSequence) -> Result<Dataset, LmError> {
    let root = tasks_root(root);
    let tasks = grpo.task.load()?;
    // A model from random weights takes its tokens from here, so there is at least one.
    let count = grpo.config.sft_examples.max(1);
    let mut train = Vec::with_capacity(count);
    for i in 0..tasks.len(count) as u32 {
        // Of a generator these are other tasks than those that completions are drawn of.
        let index = if let Tasks::Made { .. } = tasks { u32::MAX - i } else { i };
        let Some(task) = tasks.train(&root.child(TRAIN), index as usize) else {
            return Err(LmError::Recipe("task: it has no tasks to train on".into()));
        };
        let mut rng = root.child(TEACHER).child(i).rng();
        let worked = match tasks.worked(&task, &mut rng) {
            Some(worked) => worked,
            None if grpo.sft.is_none() => task.answer.clone().unwrap_or_default(),
            None => {
                let what =
                    "these tasks have no teacher and no worked solutions that could be imitated";
                return Err(LmError::Recipe(format!("sft: {what}")));
            }
        };
        train.push(example(&task, worked)?);
    }
    let eval = match &tasks {
        Tasks::Made { .. } => vec![],
        Tasks::Read(_) => tasks
            .held_out(&root, grpo.config.eval_items)?
            .iter()
            .map(|task| example(task, task.answer.clone().unwrap_or_default()))
            .collect::<Result<_, _>>()?,
    };
    let counts = LoadCounts::default();
    Ok(Dataset { train, eval, train_counts: counts, eval_counts: counts })
}

fn example(task: &Exercise, completion: String) -> Result<Example, LmError> {
    let prompt = prompt(task)?;
    let completion = match prompt {
        Content::Text(_) => Content::Text(completion),
        Content::Messages(_) => Content::Messages(vec![Message::new("assistant", completion)]),
    };
    Ok(Example::PromptCompletion { prompt, completion })
}

/// A task's prompt, as the tokenizer takes it.
fn prompt(task: &Exercise) -> Result<Content, LmError> {
    if let Some(text) = task.prompt.as_str() {
        return Ok(Content::Text(text.to_owned()));
    }
    let messages: Vec<Message> = serde_json::from_value(task.prompt.clone()).map_err(|error| {
        LmError::Recipe(format!("task: a prompt is neither text nor messages: {error}"))
    })?;
    Ok(Content::Messages(messages))
}

impl Data {
    pub(super) fn new(
        grpo: &GrpoTask,
        start: &Start,
        root: &SeedSequence,
        notes: &mut Vec<String>,
    ) -> Result<Self, LmError> {
        grpo.validate()?;
        let of_monitor = |error| LmError::Recipe(format!("monitor: {error}"));
        let watched = &grpo.monitor.reward;
        let held_out = (!watched.is_empty()).then(|| Grader::new("monitor", watched));
        let graders = Graders {
            rewards: Arc::new(Grader::new("reward", &grpo.reward).map_err(bad_reward)?),
            held_out: held_out.transpose().map_err(of_monitor)?.map(Arc::new),
        };
        Self::graded_by(graders, grpo, start, root, notes)
    }

    fn graded_by(
        graders: Graders,
        grpo: &GrpoTask,
        start: &Start,
        root: &SeedSequence,
        notes: &mut Vec<String>,
    ) -> Result<Self, LmError> {
        let tasks = tasks_root(root);
        let source = grpo.task.load()?;
        source.fit(start, &grpo.config)?;
        notes.extend(source.note());
        let elsewhere = grpo.eval_task.iter().map(|other| {
            let mut data = || {
                let task = other.instead(grpo);
                task.validate()?;
                let mut graders = graders.clone();
                if !other.reward.is_empty() {
                    let name = format!("eval_task/{}", other.label);
                    let grader = Grader::new(&name, &other.reward).map_err(bad_reward)?;
                    graders.rewards = Arc::new(grader);
                }
                Self::graded_by(graders, &task, start, root, notes)
            };
            let named = |error| LmError::Recipe(format!("eval_task {:?}: {error}", other.label));
            Ok((other.label.clone(), data().map_err(named)?))
        });
        let elsewhere = elsewhere.collect::<Result<_, LmError>>()?;
        Ok(Self {
            elsewhere,
            graders,
            journal: None,
            eval: source.held_out(&tasks.child(EVAL), grpo.config.eval_items)?,
            course: Course::new(grpo, &source)?,
            source,
            task: grpo.clone(),
            monitor: Monitor::new(&grpo.monitor),
            has_advantage: false,
            tasks,
            rollouts: root.child(STREAM_ROLLOUTS),
            grading_seconds: 0.0,
            mismatch_kl_max: 0.0,
            beta: grpo.config.beta,
            traces: String::new(),
        })
    }

    /// The tasks of a data set; of a generator, which makes them, none.
    pub(super) fn read_tasks(&self) -> Vec<&Exercise> {
        self.source.read()
    }

    /// Tasks of an epoch; a generator makes as many as are asked for.
    pub(super) fn len(&self) -> usize {
        self.source.len(self.task.config.train_items)
    }

    /// Keeps what is graded in a file where another grading might differ, and grades no more what is there.
    pub(super) fn keep_grades(&mut self, path: &std::path::Path) -> Result<(), LmError> {
        let all = std::iter::once(&self.graders)
            .chain(self.elsewhere.iter().map(|(_, data)| &data.graders));
        if all.flat_map(Graders::each).any(|grader| !grader.repeats()) {
            let journal = SharedJournal::open(path)?;
            for (_, data) in &mut self.elsewhere {
                data.journal = Some(journal.clone());
            }
            self.journal = Some(journal);
        }
        Ok(())
    }

    /// What is graded from now on belongs to this step of the run.
    pub(super) fn at_step(&mut self, step: u64) {
        if let Some(journal) = &self.journal {
            journal.at_step(step);
        }
    }

    /// Waits until what graders said is on the disk, before it is used.
    fn sync_grades(&self) -> Result<(), LmError> {
        self.journal.as_ref().map_or(Ok(()), SharedJournal::sync)
    }

    pub(super) fn curriculum(&self) -> Option<&Curriculum> {
        self.course.as_ref().map(|course| &course.curriculum)
    }

    pub(super) fn set_curriculum(&mut self, saved: Option<Curriculum>) -> Result<(), LmError> {
        match (&mut self.course, saved) {
            (Some(course), Some(saved)) => course.restore(saved, &self.task.config),
            _ => Ok(()),
        }
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
        self.grading_seconds = 0.0;
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
