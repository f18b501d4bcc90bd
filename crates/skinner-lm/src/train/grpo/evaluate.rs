//! How many tasks that were never trained on a model solves.

use std::collections::BTreeMap;

use skinner_core::{Metrics, Rng, SeedSequence, statistics};
use skinner_tasks::{Task as Exercise, Trace};

use super::Data;
use crate::error::LmError;
use crate::generate::{Finish, Request, Sampling};
use crate::train::Learner;

/// Tasks completed at once.
const TOGETHER: usize = 128;

/// Completions of a task, graded.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// Of each completion: its text, whether its reward is at least 1, and its length.
    pub completions: Vec<(String, bool, usize, bool)>,
}

impl Data {
    /// The share of tasks that greedy completions solve (with a reward of at least 1), with a 95 % interval
    /// (bootstrap over tasks); with `samples`, also pass@k and maj@k of drawn completions. `None` where `stop` asked.
    pub(crate) fn evaluate(
        &mut self,
        learner: &mut Learner,
        (items, samples): (usize, usize),
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Metrics>, LmError> {
        let items = items.min(self.eval.len());
        let greedy = Sampling::greedy();
        let Some(done) = self.complete_all(learner, items, 1, &greedy, stop)? else {
            return Ok(None);
        };
        let solved: Vec<f64> =
            done.iter().map(|e| f64::from(u8::from(e.completions[0].1))).collect();
        let mut rng = Rng::new(0);
        let mean_of = |x: &[f64]| statistics::mean(x);
        let (low, high) = statistics::bootstrap_interval(&[&solved], mean_of, 0.95, 2000, &mut rng);
        let lengths: Vec<f64> = done.iter().map(|e| e.completions[0].2 as f64).collect();
        let mut metrics = Metrics::new();
        metrics.set("eval_accuracy", statistics::mean(&solved));
        metrics.set("eval_accuracy_low", low);
        metrics.set("eval_accuracy_high", high);
        metrics.set("eval_items", items as f64);
        metrics.set("eval_completions/mean_length", statistics::mean(&lengths));
        if samples > 0 {
            let sampling = self.task.config.sampling();
            let Some(done) = self.complete_all(learner, items, samples, &sampling, stop)? else {
                return Ok(None);
            };
            pass_and_majority(&done, samples, &mut metrics);
        }
        Ok(Some(metrics))
    }

    fn complete_all(
        &self,
        learner: &mut Learner,
        items: usize,
        samples: usize,
        sampling: &Sampling,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Evaluated>>, LmError> {
        let root = self.tasks.child(super::EVAL).child(1);
        let mut done = Vec::with_capacity(items);
        for (block, tasks) in self.eval[..items].chunks(TOGETHER).enumerate() {
            if stop() {
                return Ok(None);
            }
            let request = |(i, task): (usize, &Exercise)| {
                let seed: SeedSequence = root.child((block * TOGETHER + i) as u32);
                let seeds = (0..samples as u32).map(|j| seed.child(j)).collect();
                Ok(Request { prompt: self.encode(learner, task)?, seeds })
            };
            let requests: Vec<Request> =
                tasks.iter().enumerate().map(request).collect::<Result<_, LmError>>()?;
            let completed = self.complete(learner, &requests, sampling)?;
            for (task, group) in tasks.iter().zip(completed) {
                let completions = group
                    .into_iter()
                    .map(|(completion, text)| {
                        let truncated = completion.finish == Finish::Length;
                        let tokens = completion.ids.len();
                        let trace = Trace { completion: text, tokens, truncated };
                        let graded = self.rewards.grade(&[(task, &trace)]);
                        let solved = graded[0].reward.is_some_and(|reward| reward >= 1.0);
                        (trace.completion, solved, tokens, truncated)
                    })
                    .collect();
                done.push(Evaluated { completions });
            }
        }
        Ok(Some(done))
    }
}

/// Unbiased pass@k for k = 1, 2, 4, … and the share of tasks whose most frequent completion is right.
fn pass_and_majority(done: &[Evaluated], samples: usize, metrics: &mut Metrics) {
    let solved = |e: &Evaluated| e.completions.iter().filter(|completion| completion.1).count();
    let ks = std::iter::successors(Some(1), |k| Some(2 * k)).take_while(|&k| k <= samples);
    for k in ks {
        let each: Vec<f64> =
            done.iter().map(|e| statistics::pass_at_k(samples, solved(e), k)).collect();
        metrics.set(format!("eval_pass@{k}"), statistics::mean(&each));
    }
    let majority = |e: &Evaluated| {
        // By the last line or word, which is where answers stand; ties go to the one first seen.
        let mut votes: BTreeMap<&str, (usize, usize, bool)> = BTreeMap::new();
        for (i, (text, right, ..)) in e.completions.iter().enumerate() {
            let answer = text.trim().rsplit([' ', '\n', ';', '=']).next().unwrap_or_default();
            let vote = votes.entry(answer).or_insert((0, usize::MAX - i, *right));
            vote.0 += 1;
        }
        let best = votes.into_values().max_by_key(|&(count, first, _)| (count, first));
        f64::from(u8::from(best.is_some_and(|vote| vote.2)))
    };
    let each: Vec<f64> = done.iter().map(majority).collect();
    metrics.set(format!("eval_maj@{samples}"), statistics::mean(&each));
}
