//! What looks wrong in a run with rewards: signs that the reward is gamed, and that nothing is learned.
//!
//! [`Monitor::observe`] sees each step's metrics and nothing else. It averages them over windows of steps, compares the
//! last window with the first one (or the best one), and warns once of each thing.

use serde::{Deserialize, Serialize};
use skinner_core::{Metrics, statistics};
use skinner_tasks::{GradedSample, RewardConfig};

use crate::error::LmError;

/// Tokens of the n-grams that are counted.
pub(super) const NGRAM: usize = 4;

/// What is watched for: `[monitor]`. A number of 0 switches its watch off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MonitorConfig {
    /// Steps that are averaged before they are compared.
    pub window: usize,
    /// Steps in a row after which what stops all learning is called by its name.
    pub patience: usize,
    /// How far a verifier of `reward` may fall below its best window while the reward that is trained on rises.
    pub divergence: f64,
    /// How many times as long as at first completions may become.
    pub length_factor: f64,
    /// How far the share of repeated n-grams within a completion may rise.
    pub repetition: f64,
    /// The largest share of completions of different prompts that may be the same text.
    pub constant_answers: f64,
    /// The share of different n-grams, over one completion of each prompt, may fall to this part of what it was.
    pub distinct_factor: f64,
    /// Whether the run ends with the first warning.
    pub stop: bool,
    /// Verifiers that are not trained on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reward: Vec<RewardConfig>,
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self {
            window: 10,
            patience: 5,
            divergence: 0.15,
            length_factor: 2.0,
            repetition: 0.3,
            constant_answers: 0.8,
            distinct_factor: 0.5,
            stop: false,
            reward: Vec::new(),
        }
    }
}

impl MonitorConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first key that is out of range, and the range.
    pub fn validate(&self) -> Result<(), LmError> {
        let check = |ok: bool, key: &str, value: &dyn std::fmt::Display, range: &str| {
            let what = format!("monitor.{key} = {value} is out of range: must be {range}");
            if ok { Ok(()) } else { Err(LmError::Recipe(what)) }
        };
        check((1..=1 << 20).contains(&self.window), "window", &self.window, "1 to 2^20")?;
        check(self.patience <= 1 << 20, "patience", &self.patience, "0 to 2^20")?;
        let factor = self.length_factor;
        check(
            factor == 0.0 || factor > 1.0 && factor.is_finite(),
            "length_factor",
            &factor,
            "above 1, or 0 for never",
        )?;
        let divergence = self.divergence;
        check((0.0..=1e6).contains(&divergence), "divergence", &divergence, "0 to 1e6")?;
        for (key, share) in [
            ("repetition", self.repetition),
            ("constant_answers", self.constant_answers),
            ("distinct_factor", self.distinct_factor),
        ] {
            check((0.0..=1.0).contains(&share), key, &share, "0 to 1")?;
        }
        Ok(())
    }
}

/// What each verifier said, as far as it could.
pub(super) fn parts(graded: &GradedSample) -> impl Iterator<Item = Option<f64>> {
    graded.parts.iter().map(|part| part.as_ref().ok().map(|reward| reward.reward))
}

/// What can be warned of, each once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sign {
    Divergence(String),
    Length,
    Repetition,
    ConstantAnswers,
    Distinct,
    ConstantRewards,
    Truncated,
    Empty,
    Unmoved,
}

/// A verifier that is not trained on, at its best.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Best {
    name: String,
    value: f64,
    /// The reward that is trained on, at that time.
    reward: f64,
    steps: String,
}

/// How many of the last steps were of one kind, without a break.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Streaks {
    constant: usize,
    truncated: usize,
    empty: usize,
}

/// Watches a run. It is saved with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Monitor {
    #[serde(skip)]
    config: MonitorConfig,
    /// The metrics of the last steps, the newest last.
    recent: Vec<Seen>,
    first: Option<Seen>,
    best: Vec<Best>,
    /// The largest mean reward of a step.
    highest: Option<f64>,
    /// Whether rewards of a prompt ever differed.
    varied: bool,
    streaks: Streaks,
    /// Whether a step has changed the weights.
    pub moved: bool,
    warned: Vec<Sign>,
    warnings: Vec<String>,
}

/// Of a step, or of the mean of several.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Seen {
    /// The first and the last step.
    steps: (u64, u64),
    /// What is watched, by the names of its metrics.
    values: Vec<(String, f64)>,
}

impl Seen {
    fn new(step: u64, metrics: &Metrics) -> Self {
        let watched = |name: &str| {
            ["reward", "completions/mean_length"].contains(&name) || name.starts_with("monitor/")
        };
        let values = metrics.iter().filter(|(name, value)| watched(name) && value.is_finite());
        Self {
            steps: (step, step),
            values: values.map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }

    /// The mean of several steps; a step without a value does not count for it.
    fn mean(steps: &[Self]) -> Self {
        let mut names: Vec<&String> = Vec::new();
        for (name, _) in steps.iter().flat_map(|seen| &seen.values) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let mean_of = |name: &str| {
            statistics::mean(&steps.iter().filter_map(|seen| seen.get(name)).collect::<Vec<f64>>())
        };
        Self {
            steps: (steps[0].steps.0, steps[steps.len() - 1].steps.1),
            values: names.into_iter().map(|name| (name.clone(), mean_of(name))).collect(),
        }
    }

    fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(known, _)| known == name).map(|&(_, value)| value)
    }

    fn when(&self) -> String {
        match self.steps {
            (one, other) if one == other => format!("step {one}"),
            (from, to) => format!("steps {from} to {to}"),
        }
    }
}

impl Monitor {
    pub fn new(config: &MonitorConfig) -> Self {
        Self {
            config: config.clone(),
            recent: Vec::new(),
            first: None,
            best: Vec::new(),
            highest: None,
            varied: false,
            streaks: Streaks::default(),
            moved: false,
            warned: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Goes on from where a saved one stood.
    pub fn restore(&mut self, saved: Self) {
        let config = std::mem::take(&mut self.config);
        *self = Self { config, ..saved };
    }

    /// What was found, a sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Why the run should end, where it should.
    pub fn stops(&self) -> Option<&str> {
        self.warnings.first().filter(|_| self.config.stop).map(String::as_str)
    }

    /// Looks at the metrics of the step with this number.
    pub fn observe(&mut self, step: u64, metrics: &Metrics) {
        self.canaries(step, metrics);
        self.recent.push(Seen::new(step, metrics));
        if self.recent.len() < self.config.window {
            return;
        }
        let now = Seen::mean(&self.recent);
        self.recent.remove(0);
        let first = self.first.get_or_insert_with(|| now.clone()).clone();
        self.drifts(&first, &now);
        self.divergences(&now);
    }

    /// A step whose advantages are not 0 has left the weights as they were, or has not.
    pub fn stepped(&mut self, step: u64, moved: bool) {
        self.moved |= moved;
        if !moved {
            let what = format!(
                "step {step}: completions differ in reward and the weights have not changed: check learning_rate"
            );
            self.warn(Sign::Unmoved, what);
        }
    }

    fn warn(&mut self, sign: Sign, what: String) {
        if !self.warned.contains(&sign) {
            self.warned.push(sign);
            self.warnings.push(what);
        }
    }

    /// What stops all learning, after `patience` steps in a row.
    fn canaries(&mut self, step: u64, metrics: &Metrics) {
        let value = |name: &str| metrics.get(name).unwrap_or(f64::NAN);
        let (reward, constant) = (value("reward"), value("reward_std") == 0.0);
        self.varied |= !constant;
        // A run that has solved its tasks gets constant rewards too: the highest.
        let solved = self.varied && self.highest.is_some_and(|highest| reward >= highest);
        self.highest = Some(self.highest.unwrap_or(reward).max(reward));
        let next = |streak: usize, goes_on: bool| if goes_on { streak + 1 } else { 0 };
        self.streaks = Streaks {
            constant: next(self.streaks.constant, constant && !solved),
            truncated: next(self.streaks.truncated, value("completions/clipped_ratio") == 1.0),
            empty: next(self.streaks.empty, value("monitor/empty") == 1.0),
        };
        let patience = self.config.patience;
        let since = |streak: usize| {
            let from = (step + 1).saturating_sub(streak as u64);
            (patience > 0 && streak == patience).then_some(from)
        };
        let Streaks { constant, truncated, empty } = self.streaks;
        if let Some(from) = since(constant) {
            let what = format!(
                "since step {from}: all completions of a prompt get the same reward ({reward:.3} on average), so nothing \
                 is learned: the tasks are too hard or too easy, or the reward does not look at the completion"
            );
            self.warn(Sign::ConstantRewards, what);
        }
        if let Some(from) = since(truncated) {
            let what = format!(
                "since step {from}: every completion is cut at max_completion_length before its end: raise it, or teach \
                 the model to end"
            );
            self.warn(Sign::Truncated, what);
        }
        if let Some(from) = since(empty) {
            let what = format!(
                "since step {from}: every completion is empty: the model ends at once, check its prompt or template"
            );
            self.warn(Sign::Empty, what);
        }
    }

    /// The last window beside the first.
    fn drifts(&mut self, first: &Seen, now: &Seen) {
        let config = self.config.clone();
        let since = format!("since step {}", now.steps.0);
        let both = |name: &str| Some((first.get(name)?, now.get(name)?));
        let then = first.when();
        if let Some((was, is)) = both("completions/mean_length")
            && config.length_factor > 0.0
            && is > was * config.length_factor
        {
            let what = format!(
                "{since}: completions are {is:.1} tokens long on average, {:.1} times the {was:.1} of {then} \
                 (monitor.length_factor = {})",
                is / was,
                config.length_factor
            );
            self.warn(Sign::Length, what);
        }
        if let Some((was, is)) = both("monitor/repetition")
            && config.repetition > 0.0
            && is > was + config.repetition
        {
            let what = format!(
                "{since}: a share of {is:.2} of a completion's {NGRAM}-grams repeats earlier ones, {was:.2} in {then} \
                 (monitor.repetition = {})",
                config.repetition
            );
            self.warn(Sign::Repetition, what);
        }
        if let Some(is) = now.get("monitor/most_common")
            && config.constant_answers > 0.0
            && is > config.constant_answers
        {
            let what = format!(
                "{since}: a share of {is:.2} of all completions is the same text, whatever was asked \
                 (monitor.constant_answers = {})",
                config.constant_answers
            );
            self.warn(Sign::ConstantAnswers, what);
        }
        if let Some((was, is)) = both("monitor/distinct")
            && is < was * config.distinct_factor
        {
            let what = format!(
                "{since}: completions of different prompts are alike: a share of {is:.2} of their {NGRAM}-grams is \
                 different, {was:.2} in {then} (monitor.distinct_factor = {})",
                config.distinct_factor
            );
            self.warn(Sign::Distinct, what);
        }
    }

    /// What is trained on rises while a verifier that is not falls below its best.
    fn divergences(&mut self, now: &Seen) {
        let Some(reward) = now.get("reward") else { return };
        let (limit, since) = (self.config.divergence, now.steps.0);
        let mut found = Vec::new();
        for (name, value) in &now.values {
            let Some(label) =
                name.strip_prefix("monitor/rewards/").and_then(|rest| rest.strip_suffix("/mean"))
            else {
                continue;
            };
            let value = *value;
            let here = || Best { name: name.clone(), value, reward, steps: now.when() };
            match self.best.iter_mut().find(|best| best.name == *name) {
                None => self.best.push(here()),
                Some(best) if value >= best.value => *best = here(),
                Some(best) if limit > 0.0 && value < best.value - limit && reward > best.reward => {
                    let what = format!(
                        "since step {since}: the reward has risen from {:.3} to {reward:.3} and the verifier `{label}`, \
                         which is not trained on, has fallen from {:.3} in {} to {value:.3}: the reward may be gamed \
                         (monitor.divergence = {limit})",
                        best.reward, best.value, best.steps
                    );
                    found.push((Sign::Divergence(label.to_owned()), what));
                }
                Some(_) => {}
            }
        }
        found.into_iter().for_each(|(sign, what)| self.warn(sign, what));
    }
}

#[cfg(test)]
mod tests;
