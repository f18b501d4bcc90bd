//! How many tasks that were never trained on a model solves, at one attempt and at several.

use std::collections::BTreeMap;

use skinner_core::{Metrics, Rng, SeedSequence, statistics};
use skinner_tasks::{Task as Exercise, Trace};

use super::Data;
use crate::error::LmError;
use crate::generate::{Completion, Finish, Request, Sampling};
use crate::train::Learner;

/// Completions drawn at once.
const TOGETHER: usize = 128;

/// A completion and what the verifiers say of it.
#[derive(Clone)]
struct Attempt {
    /// What is voted for: the answer that a verifier reads, else the text.
    answer: String,
    reward: Option<f64>,
    tokens: usize,
    /// Of each verifier that is not trained on.
    held_out: Vec<Option<f64>>,
}

impl Attempt {
    fn is_right(&self) -> bool {
        self.reward.is_some_and(|reward| reward >= 1.0)
    }
}

impl Data {
    /// The share of tasks that greedy completions solve (with a reward of at least 1), with a 95 % interval
    /// (bootstrap over tasks). With `draws`, also pass@k and maj@k of completions drawn of some of them. `None` where
    /// `stop` asked.
    pub(crate) fn evaluate(
        &mut self,
        learner: &mut Learner,
        (items, draws): (usize, bool),
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Metrics>, LmError> {
        let items = items.min(self.eval.len());
        let greedy = Sampling::greedy();
        let Some(done) = self.attempt_all(learner, (items, 1), &greedy, stop)? else {
            return Ok(None);
        };
        let mut metrics = Metrics::new();
        let first: Vec<&Attempt> = done.iter().map(|attempts| &attempts[0]).collect();
        accuracy(&first, &mut metrics);
        if let Some(held_out) = &self.graders.held_out {
            held_out_means(&held_out.labels(), &first, &mut metrics);
        }
        let samples = self.task.config.eval_samples;
        if draws && samples > 0 {
            let items = self.task.config.items_sampled().min(self.eval.len());
            let sampling = self.task.config.sampling();
            let drawn = self.attempt_all(learner, (items, samples), &sampling, stop)?;
            let Some(drawn) = drawn else { return Ok(None) };
            pass_and_majority(&drawn, samples, &mut metrics);
        }
        self.sync_grades()?;
        Ok(Some(metrics))
    }

    /// As [`Data::evaluate`], of all tasks, and greedily of those in `[[eval_task]]` too.
    pub(crate) fn evaluate_whole(
        &mut self,
        learner: &mut Learner,
        draws: bool,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Metrics>, LmError> {
        let Some(mut metrics) = self.evaluate(learner, (usize::MAX, draws), stop)? else {
            return Ok(None);
        };
        for (label, data) in &mut self.elsewhere {
            let Some(found) = data.evaluate(learner, (usize::MAX, false), stop)? else {
                return Ok(None);
            };
            for (name, value) in found.iter() {
                metrics.set(format!("{name}/{label}"), value);
            }
        }
        Ok(Some(metrics))
    }

    /// So many graded completions of each of the first tasks.
    fn attempt_all(
        &self,
        learner: &mut Learner,
        (items, samples): (usize, usize),
        sampling: &Sampling,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Vec<Attempt>>>, LmError> {
        let root = self.tasks.child(super::EVAL).child(1);
        let mut done = Vec::with_capacity(items);
        let together = (TOGETHER / samples).max(1);
        for (block, tasks) in self.eval[..items].chunks(together).enumerate() {
            if stop() {
                return Ok(None);
            }
            let request = |(i, task): (usize, &Exercise)| {
                let seed: SeedSequence = root.child((block * together + i) as u32);
                let seeds = (0..samples as u32).map(|j| seed.child(j)).collect();
                Ok(Request { prompt: self.encode(learner, task)?, seeds })
            };
            let requests: Vec<Request> =
                tasks.iter().enumerate().map(request).collect::<Result<_, LmError>>()?;
            let completed = self.complete(learner, &requests, sampling)?;
            let traces: Vec<(&Exercise, Trace)> = tasks
                .iter()
                .zip(completed)
                .flat_map(|(task, group)| group.into_iter().map(move |one| (task, trace(one))))
                .collect();
            let attempts = self.attempts(&traces);
            done.extend(attempts.chunks(samples).map(<[Attempt]>::to_vec));
        }
        Ok(Some(done))
    }

    /// Grades completions, all at once: programs are run side by side.
    fn attempts(&self, traces: &[(&Exercise, Trace)]) -> Vec<Attempt> {
        let pairs: Vec<(&Exercise, &Trace)> =
            traces.iter().map(|(task, trace)| (*task, trace)).collect();
        let journal = self.journal.as_ref();
        let held_out =
            self.graders.held_out.as_ref().map(|held_out| held_out.grade(&pairs, journal));
        let rewards = &self.graders.rewards;
        let graded = rewards.grade(&pairs, journal).into_iter().zip(pairs).enumerate();
        graded
            .map(|(i, (graded, (_, trace)))| Attempt {
                answer: rewards.answer(trace).unwrap_or_else(|| trace.completion.trim().to_owned()),
                reward: graded.reward,
                tokens: trace.tokens,
                held_out: held_out.iter().flat_map(|all| super::monitor::parts(&all[i])).collect(),
            })
            .collect()
    }
}

fn trace((completion, text): (Completion, String)) -> Trace {
    Trace {
        tokens: completion.ids.len(),
        truncated: completion.finish == Finish::Length,
        completion: text,
    }
}

fn share_right<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> Vec<f64> {
    attempts.map(|attempt| f64::from(u8::from(attempt.is_right()))).collect()
}

fn accuracy(attempts: &[&Attempt], metrics: &mut Metrics) {
    let solved = share_right(attempts.iter().copied());
    let mut rng = Rng::new(0);
    let mean_of = |x: &[f64]| statistics::mean(x);
    let (low, high) = statistics::bootstrap_interval(&[&solved], mean_of, 0.95, 2000, &mut rng);
    let lengths: Vec<f64> = attempts.iter().map(|attempt| attempt.tokens as f64).collect();
    metrics.set("eval_accuracy", statistics::mean(&solved));
    metrics.set("eval_accuracy_low", low);
    metrics.set("eval_accuracy_high", high);
    metrics.set("eval_items", attempts.len() as f64);
    metrics.set("eval_completions/mean_length", statistics::mean(&lengths));
}

/// What the verifiers that are not trained on say.
fn held_out_means(labels: &[&str], attempts: &[&Attempt], metrics: &mut Metrics) {
    for (i, label) in labels.iter().enumerate() {
        let graded: Vec<f64> = attempts.iter().filter_map(|attempt| attempt.held_out[i]).collect();
        if !graded.is_empty() {
            metrics.set(format!("eval_monitor/rewards/{label}/mean"), statistics::mean(&graded));
        }
    }
}

/// Unbiased pass@k for k = 1, 2, 4, … (pass@1 is mean@n), and the share of tasks whose most frequent answer is right.
fn pass_and_majority(done: &[Vec<Attempt>], samples: usize, metrics: &mut Metrics) {
    let right = |attempts: &[Attempt]| attempts.iter().filter(|one| one.is_right()).count();
    let powers = std::iter::successors(Some(1), |k| Some(2 * k)).take_while(|&k| k < samples);
    for k in powers.chain([samples]) {
        let each: Vec<f64> = done
            .iter()
            .map(|attempts| statistics::pass_at_k(samples, right(attempts), k))
            .collect();
        metrics.set(format!("eval_pass_at_k/{k}"), statistics::mean(&each));
    }
    let each: Vec<f64> =
        done.iter().map(|attempts| f64::from(u8::from(majority_is_right(attempts)))).collect();
    metrics.set(format!("eval_maj_at_k/{samples}"), statistics::mean(&each));
    let rewards = done.iter().flatten().filter_map(|attempt| attempt.reward);
    metrics.set("eval_reward", statistics::mean(&rewards.collect::<Vec<f64>>()));
    metrics.set("eval_items_sampled", done.len() as f64);
}

/// Whether the answer given most often is right; of equally frequent ones the one first given counts.
fn majority_is_right(attempts: &[Attempt]) -> bool {
    let mut votes: BTreeMap<&str, (usize, usize, bool)> = BTreeMap::new();
    for (i, attempt) in attempts.iter().enumerate() {
        let first = (0, usize::MAX - i, attempt.is_right());
        votes.entry(&attempt.answer).or_insert(first).0 += 1;
    }
    let best = votes.into_values().max_by_key(|&(count, first, _)| (count, first));
    best.is_some_and(|vote| vote.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(answers: &[&str]) -> Vec<Attempt> {
        let one = |answer: &&str| Attempt {
            answer: (*answer).to_owned(),
            reward: Some(f64::from(u8::from(*answer == "7"))),
            tokens: 1,
            held_out: vec![],
        };
        answers.iter().map(one).collect()
    }

    #[test]
    fn pass_and_majority_by_hand() {
        let done = [attempts(&["7", "8", "7", "9"]), attempts(&["8", "7", "8", "9"])];
        let mut metrics = Metrics::new();
        pass_and_majority(&done, 4, &mut metrics);
        // Two of four right: 1 - C(2, 2) / C(4, 2); one of four: 1 - C(3, 2) / C(4, 2).
        let expected = [
            ("eval_pass_at_k/1", 0.375),
            ("eval_pass_at_k/2", f64::midpoint(5.0 / 6.0, 0.5)),
            ("eval_pass_at_k/4", 1.0),
            ("eval_maj_at_k/4", 0.5),
            ("eval_reward", 0.375),
            ("eval_items_sampled", 2.0),
        ];
        for (name, value) in expected {
            assert!((metrics.get(name).unwrap() - value).abs() < 1e-12, "{name}: {metrics:?}");
        }
        assert!(metrics.get("eval_pass_at_k/8").is_none());
    }

    #[test]
    fn the_first_of_equally_frequent_answers_counts() {
        assert!(majority_is_right(&attempts(&["7", "8"])));
        assert!(!majority_is_right(&attempts(&["8", "7"])));
        assert!(!majority_is_right(&[]));
    }

    /// Where the number of completions is no power of two, it is the last k.
    #[test]
    fn the_last_k_is_all() {
        let mut metrics = Metrics::new();
        pass_and_majority(&[attempts(&["7", "8", "8"])], 3, &mut metrics);
        let third: f64 = metrics.get("eval_pass_at_k/1").unwrap();
        assert!((third - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(metrics.get("eval_pass_at_k/3"), Some(1.0));
    }
}
