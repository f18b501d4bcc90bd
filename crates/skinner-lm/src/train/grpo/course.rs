//! Which difficulty is next, as the last results say.

use std::fmt::Display;

use skinner_core::{Metrics, SeedSequence};
use skinner_tasks::Task as Exercise;
use skinner_tasks::curriculum::{Config, Curriculum};

use super::source::Tasks;
use super::{GrpoConfig, GrpoTask};
use crate::error::LmError;

/// A curriculum over the levels of some tasks.
#[derive(Debug)]
pub(super) struct Course {
    pub curriculum: Curriculum,
    /// A generator's sizes; none of a data set, of which each row is a level.
    sizes: Option<Vec<usize>>,
}

fn invalid(error: &dyn Display) -> LmError {
    LmError::Recipe(format!("curriculum: {error}"))
}

impl Course {
    /// The recipe's, if it has one.
    pub fn new(grpo: &GrpoTask, tasks: &Tasks) -> Result<Option<Self>, LmError> {
        let Some(config) = &grpo.curriculum else { return Ok(None) };
        let levels = tasks.levels(&grpo.config);
        if levels < 2 {
            let what = "all tasks are of one size; give a range, such as [1, 4]";
            return Err(invalid(&what));
        }
        let curriculum =
            Curriculum::new(Config::clone(config), levels).map_err(|error| invalid(&error))?;
        Ok(Some(Self { curriculum, sizes: tasks.sizes() }))
    }

    /// A level, and a task of it.
    pub fn draw(&self, tasks: &Tasks, stream: &SeedSequence) -> Option<(usize, Exercise)> {
        let level = self.curriculum.draw(&mut stream.child(0).rng());
        Some((level, tasks.of_level(level, &stream.child(1))?))
    }

    /// Takes note of the mean reward of a task's completions.
    pub fn record(&mut self, level: usize, mean_reward: f64) -> Result<(), LmError> {
        self.curriculum.record(level, mean_reward).map_err(|error| invalid(&error))
    }

    /// Continues from a state that was saved.
    pub fn restore(&mut self, saved: Curriculum, config: &GrpoConfig) -> Result<(), LmError> {
        let (found, wanted) = (saved.pass_rates().len(), self.curriculum.pass_rates().len());
        if found != wanted {
            let items = config.train_items;
            let what =
                format!("it has {found} levels, these tasks have {wanted} (train_items = {items})");
            return Err(LmError::State(format!("curriculum: {what}")));
        }
        self.curriculum = saved;
        Ok(())
    }

    /// What is believed of the levels: one by one of sizes, together of rows.
    pub fn describe(&self, metrics: &mut Metrics) {
        let rates = self.curriculum.pass_rates();
        if let Some(sizes) = &self.sizes {
            let probabilities = self.curriculum.probabilities();
            for ((size, rate), probability) in sizes.iter().zip(&rates).zip(probabilities) {
                metrics.set(format!("curriculum/pass_rate/{size}"), *rate);
                metrics.set(format!("curriculum/probability/{size}"), probability);
            }
            return;
        }
        let share = |is: &dyn Fn(f64) -> bool| {
            rates.iter().filter(|rate| is(**rate)).count() as f64 / rates.len() as f64
        };
        metrics.set("curriculum/pass_rate", rates.iter().sum::<f64>() / rates.len() as f64);
        metrics.set("curriculum/share_below_quarter", share(&|rate| rate < 0.25));
        metrics.set("curriculum/share_above_three_quarters", share(&|rate| rate > 0.75));
    }
}
