//! What is wrong with a set of tasks, before anything is trained on it.
//!
//! | finding | what it means |
//! |---|---|
//! | without answer | a task has no answer, and no puzzle that a solver knows |
//! | unsolvable | its own answer does not get the full reward: even who is right is not rewarded |
//! | not graded | a verifier failed on the answer, for instance for want of a column |
//! | duplicates | an earlier task has the same prompt |
//! | ambiguous | tasks with one prompt whose answers do not count for each other |
//! | trivial policies | how often a policy that does no work gets the full reward |
//! | disagreement | two rewards of which one is full and the other is not, of answers and trivial policies alike |

mod policies;
mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{GradedSample, Rewards, Task, Trace, columns, puzzle, text};

/// What an audit counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The reward that counts as full.
    pub full: f64,
    /// Examples of each finding, at most.
    pub examples: usize,
    /// Numbers of a prompt that are tried as answers, at most.
    pub numbers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { full: 1.0, examples: 3, numbers: 6 }
    }
}

/// A task of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Its number, from 0.
    pub task: usize,
    /// The beginning of its prompt.
    pub prompt: String,
    /// What was found.
    pub detail: String,
}

/// Tasks that have something wrong.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// How many.
    pub count: usize,
    /// Of how many.
    pub of: usize,
    /// The first ones.
    pub examples: Vec<Example>,
}

/// How well a policy does that does no work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trivial {
    /// What it answers.
    pub policy: String,
    /// Tasks whose full reward it gets.
    pub solved: usize,
    /// The mean reward of those that were graded; an answer it does not have counts 0.
    pub mean_reward: f64,
}

/// What was found. It serialises to JSON, and its `Display` is a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// Tasks looked at.
    pub tasks: usize,
    /// No answer and no solver.
    pub without_answer: Finding,
    /// The answer does not get the full reward.
    pub unsolvable: Finding,
    /// The answer could not be graded.
    pub not_graded: Finding,
    /// An earlier task has this prompt.
    pub duplicates: Finding,
    /// One prompt, different answers.
    pub ambiguous: Finding,
    /// Policies that do no work.
    pub trivial: Vec<Trivial>,
    /// Completions on which two rewards differ, where there are two.
    pub disagreement: Option<Finding>,
}

impl Finding {
    /// `count / of`, 0 of none.
    pub fn share(&self) -> f64 {
        self.count as f64 / self.of.max(1) as f64
    }
}

/// What grades a completion of a task.
pub type Grader<'a> = &'a dyn Fn(&Task, &Trace) -> GradedSample;

/// Looks at tasks as `rewards` grades them, and at where `other` differs.
pub fn audit(tasks: &[Task], rewards: &Rewards, other: Option<&Rewards>, config: &Config) -> Audit {
    let grade = |rewards: &Rewards, task: &Task, trace: &Trace| {
        rewards.grade(&[(task, trace)]).swap_remove(0)
    };
    let grader = |task: &Task, trace: &Trace| grade(rewards, task, trace);
    match other {
        None => audit_by(tasks, &grader, None, config),
        Some(other) => {
            let other = |task: &Task, trace: &Trace| grade(other, task, trace);
            audit_by(tasks, &grader, Some(&other), config)
        }
    }
}

/// The same by functions, for verifiers that are not among [`Rewards`], as those of programs.
pub fn audit_by(
    tasks: &[Task],
    grader: Grader<'_>,
    other: Option<Grader<'_>>,
    config: &Config,
) -> Audit {
    let mut auditor =
        Auditor { tasks, grader, other, config, audit: empty(tasks, other.is_some()) };
    let references: Vec<Option<String>> = tasks.iter().map(reference).collect();
    for (task, reference) in references.iter().enumerate() {
        auditor.look_at_answer(task, reference.as_deref());
    }
    auditor.look_at_prompts(&references);
    auditor.try_policies(&references);
    auditor.audit
}

fn empty(tasks: &[Task], compared: bool) -> Audit {
    let none = Finding { of: tasks.len(), ..Finding::default() };
    Audit {
        tasks: tasks.len(),
        without_answer: none.clone(),
        unsolvable: none.clone(),
        not_graded: none.clone(),
        duplicates: none.clone(),
        ambiguous: none,
        trivial: Vec::new(),
        disagreement: compared.then(Finding::default),
    }
}

/// The task's answer; of a puzzle without one, what the solver finds.
fn reference(task: &Task) -> Option<String> {
    let answer = task.answer.as_ref().filter(|answer| !answer.trim().is_empty());
    answer.cloned().or_else(|| puzzle::solution(task))
}

struct Auditor<'a> {
    tasks: &'a [Task],
    grader: Grader<'a>,
    other: Option<Grader<'a>>,
    config: &'a Config,
    audit: Audit,
}

/// The first reason that a verifier gave, or what it failed of.
fn reason(sample: &GradedSample) -> String {
    let said = sample.parts.first().map(|part| match part {
        Ok(reward) => reward.reason.clone(),
        Err(failed) => failed.to_string(),
    });
    said.unwrap_or_default()
}

impl Auditor<'_> {
    fn grade(&self, grader: Grader<'_>, task: usize, completion: &str) -> GradedSample {
        let trace = Trace { completion: completion.to_owned(), ..Trace::default() };
        grader(&self.tasks[task], &trace)
    }

    fn is_full(&self, reward: Option<f64>) -> bool {
        // Sums of weights may be off in the last place.
        reward.is_some_and(|reward| reward >= self.config.full - 1e-9)
    }

    /// Counts a task, and keeps it as an example if there are few.
    fn note(&mut self, of: fn(&mut Audit) -> &mut Finding, task: usize, detail: String) {
        let prompt = text::short(&columns::prompt_text(&self.tasks[task]));
        let finding = of(&mut self.audit);
        finding.count += 1;
        if finding.examples.len() < self.config.examples {
            finding.examples.push(Example { task, prompt, detail });
        }
    }

    fn look_at_answer(&mut self, task: usize, reference: Option<&str>) {
        let Some(answer) = reference else {
            return self.note(|audit| &mut audit.without_answer, task, String::new());
        };
        let sample = self.grade(self.grader, task, answer);
        let detail = || format!("{:?}: {}", text::short(answer), reason(&sample));
        if sample.reward.is_none() {
            self.note(|audit| &mut audit.not_graded, task, detail());
        } else if !self.is_full(sample.reward) {
            self.note(|audit| &mut audit.unsolvable, task, detail());
        }
    }

    /// Tasks that ask the same as an earlier one.
    fn look_at_prompts(&mut self, references: &[Option<String>]) {
        let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (i, task) in self.tasks.iter().enumerate() {
            let prompt = columns::prompt_text(task);
            let normal = prompt.split_whitespace().collect::<Vec<_>>().join(" ");
            groups.entry(normal).or_default().push(i);
        }
        let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
        groups.sort_unstable();
        for group in &groups {
            let first = group[0];
            for task in &group[1..] {
                self.note(|audit| &mut audit.duplicates, *task, format!("as task {first}"));
            }
            let differs = |task: &&usize| self.differ(first, **task, references);
            if let Some(other) = group.iter().find(differs).copied() {
                for task in group {
                    let [one, two] = [first, other].map(|at| references[at].clone());
                    let detail =
                        format!("{:?} or {:?}", one.unwrap_or_default(), two.unwrap_or_default());
                    self.note(|audit| &mut audit.ambiguous, *task, detail);
                }
            }
        }
    }

    /// Whether the answers of two tasks with one prompt do not count for each other.
    fn differ(&self, one: usize, two: usize, references: &[Option<String>]) -> bool {
        let [Some(first), Some(second)] = [&references[one], &references[two]] else {
            return false;
        };
        let accepts =
            |task, answer: &str| self.is_full(self.grade(self.grader, task, answer).reward);
        first != second && !(accepts(one, second) && accepts(two, first))
    }

    fn try_policies(&mut self, references: &[Option<String>]) {
        let mut policies = policies::all(references, self.config.numbers);
        let mut tallies = vec![Tally::default(); policies.len()];
        for task in 0..self.tasks.len() {
            let prompt = columns::prompt_text(&self.tasks[task]);
            let numbers = policies::numbers(&prompt);
            let mut known: BTreeMap<String, Option<f64>> = BTreeMap::new();
            if let Some(answer) = &references[task] {
                self.got(task, answer, &mut known);
            }
            for (policy, tally) in policies.iter().zip(&mut tallies) {
                let completions = policy.completions(&prompt, &numbers);
                let got = completions.iter().map(|text| self.got(task, text, &mut known));
                tally.add(&got.collect::<Vec<_>>(), self.config.full);
            }
        }
        let trivial = policies.drain(..).zip(tallies).map(|(policy, tally)| Trivial {
            policy: policy.to_string(),
            solved: tally.solved,
            mean_reward: tally.sum / tally.graded.max(1) as f64,
        });
        self.audit.trivial = trivial.collect();
    }

    /// What a completion gets; one that is new is graded by the other rewards too.
    fn got(
        &mut self,
        task: usize,
        text: &str,
        known: &mut BTreeMap<String, Option<f64>>,
    ) -> Option<f64> {
        if let Some(got) = known.get(text) {
            return *got;
        }
        let sample = self.grade(self.grader, task, text);
        if let Some(other) = self.other {
            self.compare(task, text, &sample, &self.grade(other, task, text));
        }
        known.insert(text.to_owned(), sample.reward);
        sample.reward
    }

    fn compare(&mut self, task: usize, completion: &str, one: &GradedSample, other: &GradedSample) {
        if let Some(finding) = &mut self.audit.disagreement {
            finding.of += 1;
        }
        if self.is_full(one.reward) != self.is_full(other.reward) {
            let (one, other) = (reason(one), reason(other));
            let detail = format!("{:?}: {one} | {other}", text::short(completion));
            self.note(|audit| audit.disagreement.get_or_insert_default(), task, detail);
        }
    }
}

/// Of one policy.
#[derive(Clone, Copy, Default)]
struct Tally {
    solved: usize,
    graded: usize,
    sum: f64,
}

impl Tally {
    /// The best of what the policy's completions of a task got.
    fn add(&mut self, got: &[Option<f64>], full: f64) {
        let best = got.iter().flatten().copied().reduce(f64::max);
        if got.is_empty() {
            self.graded += 1;
        } else if let Some(best) = best {
            self.graded += 1;
            self.sum += best;
            self.solved += usize::from(best >= full - 1e-9);
        }
    }
}

#[cfg(test)]
mod tests;
