//! Completions, their rewards and what these say of each.

use std::time::Instant;

use serde_json::json;
use skinner_core::Metrics;
use skinner_core::objective::grpo::{LossType, soft_overlong};
use skinner_core::returns::group::{
    ScaleRewards, batch_normalised, deviation, group_relative, has_no_variance, leave_one_out,
    returns_to_go,
};
use skinner_core::statistics;
use skinner_tasks::{GradedSample, Task as Exercise, Trace};

use super::monitor::{self, NGRAM};
use super::source::has_room;
use super::{CURRICULUM, Data, SHUFFLE, TRAIN, prompt};
use crate::data::{DataOrder, LossOn, Tokenize, Truncation};
use crate::error::LmError;
use crate::generate::{Completion, Finish, Request, Sampling, Stop};
use crate::train::{Learner, Sequence, TrainConfig};

/// Samples of a step that are kept to look at.
const SHOWN: usize = 4;

/// A completion to learn from.
#[derive(Debug)]
pub(super) struct Sample {
    ids: Vec<u32>,
    targets: Vec<bool>,
    /// The number of its prompt in the batch.
    group: usize,
    /// At drawing, among the tokens that could be drawn.
    pub sampler_log_prob: Vec<f32>,
    /// Under the policy that the batch began with; empty where that is the one being asked.
    pub old_log_prob: Vec<f32>,
    /// Under the reference; empty without one.
    pub ref_log_prob: Vec<f32>,
    reward: f64,
    /// How much better than the others, token by token.
    pub advantages: Vec<f32>,
    /// Whether it has a say.
    pub counts: bool,
}

impl Sample {
    pub fn sequence(&self) -> Sequence<'_> {
        Sequence { ids: &self.ids, targets: &self.targets, starts: &[0] }
    }

    /// Tokens of the completion.
    pub fn len(&self) -> usize {
        self.sampler_log_prob.len()
    }

    /// Whether anything can be learned from it.
    pub fn has_advantage(&self) -> bool {
        self.advantages.iter().any(|&advantage| advantage != 0.0)
    }
}

/// A prompt's completions with what the verifiers say.
struct Group {
    prompt: Vec<u32>,
    task: Exercise,
    /// The curriculum's, where there is one.
    level: Option<usize>,
    completions: Vec<Completion>,
    texts: Vec<String>,
    graded: Vec<GradedSample>,
}

impl Group {
    fn rewards(&self) -> Vec<f64> {
        self.graded.iter().filter_map(|graded| graded.reward).collect()
    }

    fn traces(&self) -> impl Iterator<Item = Trace> {
        self.completions.iter().zip(&self.texts).map(|(completion, text)| Trace {
            completion: text.clone(),
            tokens: completion.ids.len(),
            truncated: completion.finish == Finish::Length,
        })
    }
}

impl Data {
    /// The tokens of a prompt that leave room for a completion.
    pub(super) fn encode(&self, learner: &Learner, task: &Exercise) -> Result<Vec<u32>, LmError> {
        let tokenize = Tokenize {
            tokenizer: &learner.tokenizer,
            template: learner.template.as_ref(),
            max_length: usize::MAX,
            truncation: Truncation::default(),
            loss_on: LossOn::Auto,
        };
        let ids = tokenize.prompt(&prompt(task)?)?;
        let context = learner.decoder().config().max_position_embeddings;
        has_room(ids.len(), self.task.config.max_completion_length, context)
            .map_err(LmError::Recipe)?;
        Ok(ids)
    }

    /// Completes requests; a completion ends with an end-of-text token.
    pub(super) fn complete(
        &self,
        learner: &mut Learner,
        requests: &[Request],
        sampling: &Sampling,
    ) -> Result<Vec<Vec<(Completion, String)>>, LmError> {
        let mut ids = learner.decoder().config().eos_token_ids.clone();
        ids.extend(learner.tokenizer.eos());
        let max_new_tokens = self.task.config.max_completion_length;
        let stop = Stop { ids, max_new_tokens, ..Stop::default() };
        let all = learner.generate(requests, sampling, &stop)?;
        let text = |completion: Completion| {
            let text = learner.tokenizer.decode_drawn(&completion.ids, true)?;
            Ok((completion, text))
        };
        all.into_iter().map(|group| group.into_iter().map(text).collect()).collect()
    }

    /// Completes the tasks of some numbers and has them graded. `round` tells apart what is drawn in one step.
    fn groups(
        &mut self,
        learner: &mut Learner,
        indices: &[usize],
        step: u64,
        round: usize,
    ) -> Result<Vec<Group>, LmError> {
        let config = &self.task.config;
        let seed = self.rollouts.child(step as u32).child(round as u32);
        let mut asked = Vec::with_capacity(indices.len());
        for (i, &index) in indices.iter().enumerate() {
            let (level, task) = self.draw(index, (step, round, i))?;
            let seeds = (0..config.num_generations as u32).map(|j| seed.child(i as u32).child(j));
            let prompt = self.encode(learner, &task)?;
            asked.push(((level, task), Request { prompt, seeds: seeds.collect() }));
        }
        let (tasks, requests): (Vec<_>, Vec<Request>) = asked.into_iter().unzip();
        let completed = self.complete(learner, &requests, &config.sampling())?;
        let mut groups = Vec::with_capacity(tasks.len());
        for (((level, task), request), completed) in tasks.into_iter().zip(requests).zip(completed)
        {
            let (completions, texts) = completed.into_iter().unzip();
            let prompt = request.prompt;
            groups.push(Group { prompt, task, level, completions, texts, graded: vec![] });
        }
        let began = Instant::now();
        self.grade(&mut groups);
        self.grading_seconds += began.elapsed().as_secs_f64();
        Ok(groups)
    }

    /// A task to train on, by its number or by the curriculum, and its level there.
    fn draw(
        &self,
        index: usize,
        (step, round, place): (u64, usize, usize),
    ) -> Result<(Option<usize>, Exercise), LmError> {
        let drawn = match &self.course {
            None => self.source.train(&self.tasks.child(TRAIN), index).map(|task| (None, task)),
            Some(course) => {
                let keys = [CURRICULUM, step as u32, round as u32, place as u32];
                let stream = keys.iter().fold(self.tasks.clone(), |at, key| at.child(*key));
                course.draw(&self.source, &stream).map(|(level, task)| (Some(level), task))
            }
        };
        drawn.ok_or_else(|| LmError::Recipe("task: it has no tasks to train on".into()))
    }

    /// Tells the curriculum how well its levels were done.
    fn record(&mut self, groups: &[Group]) -> Result<(), LmError> {
        let Some(course) = &mut self.course else { return Ok(()) };
        for group in groups {
            let rewards = group.rewards();
            if let (Some(level), false) = (group.level, rewards.is_empty()) {
                course.record(level, statistics::mean(&rewards))?;
            }
        }
        Ok(())
    }

    /// All at once: programs are run side by side.
    fn grade(&self, groups: &mut [Group]) {
        let config = &self.task.config;
        let traces: Vec<Vec<Trace>> = groups.iter().map(|group| group.traces().collect()).collect();
        let all = groups.iter().zip(&traces);
        let pairs: Vec<_> = all
            .flat_map(|(group, traces)| traces.iter().map(|trace| (&group.task, trace)))
            .collect();
        let mut graded = self.graders.rewards.grade(&pairs, self.journal.as_ref());
        if config.overlong_cache > 0 {
            for (graded, (_, trace)) in graded.iter_mut().zip(&pairs) {
                if let Some(reward) = &mut graded.reward {
                    let most = config.max_completion_length;
                    *reward += soft_overlong(trace.tokens, most, config.overlong_cache);
                }
            }
        }
        let mut graded = graded.into_iter();
        for group in groups {
            group.graded = graded.by_ref().take(group.completions.len()).collect();
        }
    }

    /// A batch of graded completions, groups one after the other.
    pub(super) fn collect(
        &mut self,
        learner: &mut Learner,
        order: &mut DataOrder,
        train: &TrainConfig,
        step: u64,
        metrics: &mut Metrics,
    ) -> Result<Vec<Sample>, LmError> {
        let config = self.task.config.clone();
        let mut groups = self.groups(learner, &order.batch(train.batch_size), step, 0)?;
        self.record(&groups)?;
        let silent = |groups: &[Group]| {
            let same = |group: &&Group| has_no_variance(&group.rewards());
            groups.iter().filter(same).count()
        };
        let first_silent = silent(&groups) as f64 / groups.len() as f64;
        for round in 1..=config.dynamic_sampling {
            let wanted = silent(&groups);
            if wanted == 0 {
                break;
            }
            let more = self.groups(learner, &order.batch(wanted), step, round)?;
            self.record(&more)?;
            groups.retain(|group| !has_no_variance(&group.rewards()));
            groups.extend(more);
        }
        self.check_failures(&groups, metrics)?;
        if config.shuffle_rewards {
            self.shuffle(&mut groups, step);
        }
        metrics.set("frac_reward_zero_std", first_silent);
        let began = Instant::now();
        self.describe(&groups, metrics);
        self.sync_grades()?;
        self.grading_seconds += began.elapsed().as_secs_f64();
        if let Some(course) = &self.course {
            course.describe(metrics);
        }
        self.traces = traces(&groups, &self.graders.rewards.labels(), step);
        Ok(self.samples(groups))
    }

    /// Counts samples that could not be graded; too many end the run.
    fn check_failures(&self, groups: &[Group], metrics: &mut Metrics) -> Result<(), LmError> {
        let graded = || groups.iter().flat_map(|group| &group.graded);
        let failed = graded().filter(|graded| graded.reward.is_none()).count();
        let share = failed as f64 / graded().count().max(1) as f64;
        metrics.set("rewards/failed", failed as f64);
        if share > self.task.config.max_failed {
            let why =
                graded().flat_map(|graded| &graded.parts).find_map(|part| part.as_ref().err());
            return Err(LmError::Sampling(format!(
                "grading failed on {failed} samples of a step, a share of {share:.2}, more than max_failed = {}; \
                 the first: {}",
                self.task.config.max_failed,
                why.map_or_else(String::new, ToString::to_string)
            )));
        }
        Ok(())
    }

    /// The control: rewards go to others' completions.
    fn shuffle(&self, groups: &mut [Group], step: u64) {
        let mut rewards: Vec<Option<f64>> =
            groups.iter().flat_map(|group| &group.graded).map(|graded| graded.reward).collect();
        self.tasks.child(SHUFFLE).child(step as u32).rng().shuffle(&mut rewards);
        let places = groups.iter_mut().flat_map(|group| &mut group.graded);
        places.zip(rewards).for_each(|(graded, reward)| graded.reward = reward);
    }

    fn samples(&self, groups: Vec<Group>) -> Vec<Sample> {
        let masks = self.task.config.mask_truncated_completions;
        let mut samples = Vec::new();
        for (number, group) in groups.into_iter().enumerate() {
            for (completion, graded) in group.completions.into_iter().zip(group.graded) {
                let ids = [&group.prompt[..], &completion.ids].concat();
                let targets = (0..ids.len()).map(|t| t >= group.prompt.len()).collect();
                let truncated = completion.finish == Finish::Length;
                samples.push(Sample {
                    advantages: vec![0.0; completion.ids.len()],
                    ids,
                    targets,
                    group: number,
                    sampler_log_prob: completion
                        .drawn
                        .iter()
                        .map(|drawn| drawn.log_prob - drawn.log_kept)
                        .collect(),
                    old_log_prob: vec![],
                    ref_log_prob: vec![],
                    reward: graded.reward.unwrap_or(f64::NAN),
                    counts: graded.reward.is_some() && !(masks && truncated),
                });
            }
        }
        samples
    }

    /// Advantages of all samples that were graded.
    pub(super) fn weigh(&mut self, samples: &mut [Sample], metrics: &mut Metrics) {
        let config = &self.task.config;
        let kl_of = |sample: &Sample| -> Vec<f64> {
            let pairs = sample.sampler_log_prob.iter().zip(&sample.ref_log_prob);
            let estimate = |(&p, &r)| config.kl_estimator.estimate(f64::from(p), f64::from(r)).0;
            pairs.map(estimate).collect()
        };
        let kls: Vec<Vec<f64>> = samples.iter().map(kl_of).collect();
        let sums: Vec<f64> = kls.iter().map(|kl| kl.iter().sum()).collect();
        if self.beta > 0.0 {
            let tokens: usize = samples.iter().map(Sample::len).sum();
            metrics.set("kl", sums.iter().sum::<f64>() / tokens.max(1) as f64);
        }
        let graded: Vec<usize> =
            (0..samples.len()).filter(|&i| !samples[i].reward.is_nan()).collect();
        if config.loss_type == LossType::ReinforcePp {
            self.weigh_tokens(samples, &graded, &kls);
        } else {
            if self.beta > 0.0 && config.takes_kl_off_reward() {
                for (sample, kl) in samples.iter_mut().zip(&sums) {
                    sample.reward -= self.beta * kl;
                }
            }
            self.weigh_completions(samples, &graded);
        }
        self.has_advantage = samples.iter().any(|sample| sample.counts && sample.has_advantage());
        if let Some(adaptive) = &config.adaptive_kl {
            let kl = statistics::mean(&sums);
            self.beta = adaptive.next(self.beta, kl, samples.len());
        }
    }

    /// One advantage for all tokens of a completion.
    fn weigh_completions(&self, samples: &mut [Sample], graded: &[usize]) {
        let config = &self.task.config;
        let all: Vec<f64> = graded.iter().map(|&i| samples[i].reward).collect();
        let by = config.deviation();
        let batch = deviation(&all, by.sample) + by.epsilon;
        let groups = graded.chunk_by(|&i, &j| samples[i].group == samples[j].group);
        let advantages: Vec<f64> = groups
            .flat_map(|group| {
                let rewards: Vec<f64> = group.iter().map(|&i| samples[i].reward).collect();
                match (config.loss_type, config.scale()) {
                    (LossType::Rloo, _) => leave_one_out(&rewards),
                    (_, ScaleRewards::Group) => group_relative(&rewards, Some(by)),
                    (_, ScaleRewards::None) => group_relative(&rewards, None),
                    (_, ScaleRewards::Batch) => {
                        let relative = group_relative(&rewards, None);
                        relative.into_iter().map(|advantage| advantage / batch).collect()
                    }
                }
            })
            .collect();
        for (&i, advantage) in graded.iter().zip(&advantages) {
            samples[i].advantages.fill(*advantage as f32);
        }
    }

    /// Each token's reward less the divergence from there on, normalised over all tokens of the batch.
    fn weigh_tokens(&self, samples: &mut [Sample], graded: &[usize], kls: &[Vec<f64>]) {
        let mut returns = Vec::new();
        for &i in graded {
            let mut kl = kls[i].clone();
            kl.resize(samples[i].len(), 0.0);
            returns.extend(returns_to_go(samples[i].reward, &kl, self.beta));
        }
        let mut advantages = batch_normalised(&returns, self.task.config.deviation()).into_iter();
        for &i in graded {
            for place in &mut samples[i].advantages {
                *place = advantages.next().map_or(0.0, |advantage| advantage as f32);
            }
        }
    }

    fn describe(&self, groups: &[Group], metrics: &mut Metrics) {
        let rewards: Vec<f64> = groups.iter().flat_map(Group::rewards).collect();
        let spread: Vec<f64> =
            groups.iter().map(|group| deviation(&group.rewards(), true)).collect();
        metrics.set("reward", statistics::mean(&rewards));
        metrics.set("reward_std", statistics::mean(&spread));
        for (i, label) in self.graders.rewards.labels().into_iter().enumerate() {
            let parts = groups.iter().flat_map(|group| &group.graded);
            let values: Vec<f64> = parts
                .filter_map(|graded| graded.parts[i].as_ref().ok())
                .map(|r| r.reward)
                .collect();
            metrics.set(format!("rewards/{label}/mean"), statistics::mean(&values));
        }
        let all = || groups.iter().flat_map(|group| &group.completions);
        let lengths: Vec<f64> = all().map(|completion| completion.ids.len() as f64).collect();
        let cut = all().filter(|completion| completion.finish == Finish::Length).count();
        let most = lengths.iter().copied().fold(0.0, f64::max);
        metrics.set("completions/mean_length", statistics::mean(&lengths));
        metrics.set("completions/max_length", most);
        metrics.set("completions/clipped_ratio", cut as f64 / lengths.len().max(1) as f64);
        let drawn = || all().flat_map(|completion| &completion.drawn);
        let sum: f64 = drawn().map(|drawn| f64::from(drawn.entropy)).sum();
        metrics.set("entropy", sum / drawn().count().max(1) as f64);
        self.watch(groups, metrics);
    }

    /// What the monitor looks at, and what verifiers say that are not trained on.
    fn watch(&self, groups: &[Group], metrics: &mut Metrics) {
        let texts: Vec<&str> =
            groups.iter().flat_map(|group| &group.texts).map(|text| text.trim()).collect();
        let all = groups.iter().flat_map(|group| &group.completions);
        let repeated: Vec<f64> =
            all.map(|completion| statistics::repeated_ngrams(&completion.ids, NGRAM)).collect();
        let of_each = groups.iter().filter_map(|group| group.completions.first());
        let of_each: Vec<&[u32]> = of_each.map(|completion| &completion.ids[..]).collect();
        let empty = texts.iter().filter(|text| text.is_empty()).count();
        metrics.set("monitor/repetition", statistics::mean(&repeated));
        metrics.set("monitor/empty", empty as f64 / texts.len().max(1) as f64);
        if groups.len() > 1 {
            metrics.set("monitor/distinct", statistics::distinct_ngrams(&of_each, NGRAM));
            metrics.set("monitor/most_common", statistics::most_common_share(&texts));
        }
        let Some(held_out) = &self.graders.held_out else { return };
        let traces: Vec<(&Exercise, Trace)> = groups
            .iter()
            .flat_map(|group| group.traces().map(move |trace| (&group.task, trace)))
            .collect();
        let pairs: Vec<(&Exercise, &Trace)> =
            traces.iter().map(|(task, trace)| (*task, trace)).collect();
        let graded = held_out.grade(&pairs, self.journal.as_ref());
        let graded: Vec<Vec<Option<f64>>> =
            graded.iter().map(|graded| monitor::parts(graded).collect()).collect();
        for (i, label) in held_out.labels().into_iter().enumerate() {
            let values: Vec<f64> = graded.iter().filter_map(|parts| parts[i]).collect();
            if !values.is_empty() {
                metrics.set(format!("monitor/rewards/{label}/mean"), statistics::mean(&values));
            }
        }
    }
}

/// Some samples of a step, as JSON lines.
fn traces(groups: &[Group], labels: &[&str], step: u64) -> String {
    let mut lines = String::new();
    for group in groups.iter().take(SHOWN) {
        let both = group.texts.iter().zip(&group.graded);
        for (text, graded) in both.take(SHOWN) {
            let reasons: Vec<String> = labels
                .iter()
                .zip(&graded.parts)
                .map(|(label, part)| match part {
                    Ok(reward) => format!("{label} {}: {}", reward.reward, reward.reason),
                    Err(failed) => format!("{label} failed: {failed}"),
                })
                .collect();
            let line = json!({
                "step": step,
                "prompt": group.task.prompt,
                "completion": text,
                "answer": group.task.answer,
                "reward": graded.reward,
                "reasons": reasons,
            });
            lines += &line.to_string();
            lines.push('\n');
        }
    }
    lines
}
