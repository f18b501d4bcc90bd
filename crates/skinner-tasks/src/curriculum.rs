//! Which difficulty is next: mostly the one at which a policy succeeds about half of the time.
//!
//! A group of completions of which all are right, or all are wrong, has nothing to learn from. The variance `p (1 − p)`
//! of a success says how much it has (Florensa et al. 2018 call such goals "of intermediate difficulty"). Here each
//! level's `p` has a Beta distribution whose counts fade, and a level is drawn with a probability in proportion to the
//! mean of `p (1 − p)` under it. With a uniform prior a level never tried has a mean of 1/6, so it is seldom below the others.

use serde::{Deserialize, Serialize};
use skinner_core::{Rng, SeedSequence};

use crate::Task;
use crate::generate::Generator;

/// How a curriculum follows a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What an old result counts after each new one of its level, from 0 to 1. About `1 / (1 − memory)` results count.
    pub memory: f64,
    /// The probability with which a level is drawn uniformly, so that levels that are too easy or too hard are seen at
    /// times.
    pub uniform: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { memory: 0.99, uniform: 0.1 }
    }
}

/// A curriculum that cannot be made or continued.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CurriculumError {
    /// A value out of range.
    #[error("{name} = {value} is out of range: must be {must}")]
    Value {
        /// The field.
        name: &'static str,
        /// What it holds.
        value: f64,
        /// What would be right.
        must: &'static str,
    },
    /// No level.
    #[error("a curriculum needs at least one level")]
    NoLevel,
    /// A state of another number of levels.
    #[error("the curriculum has {found} levels, the tasks have {wanted}")]
    Levels {
        /// Of the curriculum.
        found: usize,
        /// Of the tasks.
        wanted: usize,
    },
    /// A level that it does not have.
    #[error("level {level} was recorded, there are {levels}, counted from 0")]
    NoSuchLevel {
        /// Which.
        level: usize,
        /// How many.
        levels: usize,
    },
}

/// What is known of a level: sums of results that fade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Level {
    passed: f64,
    failed: f64,
}

impl Level {
    /// The parameters of the Beta distribution with a uniform prior.
    fn beta(self) -> (f64, f64) {
        (self.passed + 1.0, self.failed + 1.0)
    }

    fn pass_rate(self) -> f64 {
        let (a, b) = self.beta();
        a / (a + b)
    }

    /// The mean of `p (1 − p)`.
    fn variance(self) -> f64 {
        let (a, b) = self.beta();
        a * b / ((a + b) * (a + b + 1.0))
    }
}

/// A running pass rate of each level. It can be saved and continues as if it had not been.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curriculum {
    config: Config,
    levels: Vec<Level>,
}

impl Curriculum {
    /// A curriculum of so many levels, of which nothing is known.
    ///
    /// # Errors
    /// If a value is out of range, or there is no level.
    pub fn new(config: Config, levels: usize) -> Result<Self, CurriculumError> {
        let check = |ok: bool, name, value, must| {
            if ok { Ok(()) } else { Err(CurriculumError::Value { name, value, must }) }
        };
        let (memory, uniform) = (config.memory, config.uniform);
        check((0.0..=1.0).contains(&memory), "memory", memory, "0 to 1")?;
        check((0.0..=1.0).contains(&uniform), "uniform", uniform, "0 to 1")?;
        if levels == 0 {
            return Err(CurriculumError::NoLevel);
        }
        Ok(Self { config, levels: vec![Level::default(); levels] })
    }

    /// The probability of each level to be drawn next.
    pub fn probabilities(&self) -> Vec<f64> {
        let variances: Vec<f64> = self.levels.iter().map(|level| level.variance()).collect();
        let (sum, count) = (variances.iter().sum::<f64>(), self.levels.len() as f64);
        let uniform = self.config.uniform;
        variances.iter().map(|v| (1.0 - uniform) * v / sum + uniform / count).collect()
    }

    /// The pass rate of each level as it is believed to be; 0.5 of one never tried.
    pub fn pass_rates(&self) -> Vec<f64> {
        self.levels.iter().map(|level| level.pass_rate()).collect()
    }

    /// The level of the next task.
    pub fn draw(&self, rng: &mut Rng) -> usize {
        rng.categorical(&self.probabilities())
    }

    /// Task number `index` to train on and its level; `levels` are those of [`Generator::levels`]. `None` if the level
    /// has no task to train on.
    ///
    /// # Errors
    /// If there is another number of levels.
    pub fn train_task(
        &self,
        levels: &[Generator],
        root: &SeedSequence,
        index: u32,
    ) -> Result<Option<(usize, Task)>, CurriculumError> {
        let (found, wanted) = (self.levels.len(), levels.len());
        if found != wanted {
            return Err(CurriculumError::Levels { found, wanted });
        }
        let stream = root.child(index);
        let level = self.draw(&mut stream.child(0).rng());
        Ok(levels[level].train_task(&stream.child(1), 0).map(|task| (level, task)))
    }

    /// Takes note of a result: 1 if the task was solved, 0 if not, and what is between for partial credit or the mean
    /// of a group. What is beyond is cut off; what is no number is left out.
    ///
    /// # Errors
    /// If there is no such level.
    pub fn record(&mut self, level: usize, passed: f64) -> Result<(), CurriculumError> {
        let levels = self.levels.len();
        let found = self.levels.get_mut(level);
        let found = found.ok_or(CurriculumError::NoSuchLevel { level, levels })?;
        if passed.is_nan() {
            return Ok(());
        }
        let passed = passed.clamp(0.0, 1.0);
        found.passed = self.config.memory * found.passed + passed;
        found.failed = self.config.memory * found.failed + (1.0 - passed);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
