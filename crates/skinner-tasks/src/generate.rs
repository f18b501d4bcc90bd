//! Tasks made by a program: as many as are asked for, each from its own random numbers.
//!
//! A task has a *key*. Tasks are kept for evaluation by a hash of it, so that none of them, however often it is
//! drawn, is among those to train on.

mod addition;
mod arithmetic;

use serde::{Deserialize, Serialize};
use skinner_core::{Rng, SeedSequence};

pub use addition::Addition;
pub use arithmetic::{Arithmetic, Operation};

use crate::Task;

/// One of this many keys is kept for evaluation.
const HELD_OUT: u64 = 10;
/// Draws after which a generator is taken to have no further task.
const PATIENCE: usize = 10_000;

/// What makes tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Generator {
    /// Sums of two numbers, worked column by column.
    Addition(Addition),
    /// One operation on small numbers, asked in words.
    Arithmetic(Arithmetic),
}

/// A task, and what makes it different from others.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// The task.
    pub task: Task,
    /// Equal for tasks that are the same in another order or wording.
    pub key: String,
}

/// A value out of range, or a generator that has too few tasks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// A value out of range.
    #[error("{name} = {value} is out of range: must be {must}")]
    Value {
        /// The field.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What would be right.
        must: &'static str,
    },
    /// Fewer different tasks than were asked for.
    #[error("it has only {found} tasks of its kind, {wanted} were asked for; make them harder")]
    TooFew {
        /// How many.
        found: usize,
        /// How many were wanted.
        wanted: usize,
    },
}

fn check(
    ok: bool,
    name: &'static str,
    value: impl ToString,
    must: &'static str,
) -> Result<(), GenerateError> {
    if ok { Ok(()) } else { Err(GenerateError::Value { name, value: value.to_string(), must }) }
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Whether tasks with this key are kept for evaluation.
pub fn is_held_out(key: &str) -> bool {
    // The lowest bits of this hash depend on little of the text.
    (hash(key) >> 32).is_multiple_of(HELD_OUT)
}

impl Generator {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first that is out of range.
    pub fn validate(&self) -> Result<(), GenerateError> {
        match self {
            Self::Addition(addition) => addition.validate(),
            Self::Arithmetic(arithmetic) => arithmetic.validate(),
        }
    }

    /// A task.
    pub fn draw(&self, rng: &mut Rng) -> Made {
        match self {
            Self::Addition(addition) => addition.draw(rng),
            Self::Arithmetic(arithmetic) => arithmetic.draw(rng),
        }
    }

    /// How its teacher would complete a task, right or wrong; `None` if it has no teacher.
    pub fn teach(&self, task: &Task, rng: &mut Rng) -> Option<String> {
        match self {
            Self::Addition(addition) => addition.teach(task, rng),
            Self::Arithmetic(_) => None,
        }
    }

    /// Task number `index` to train on; one may be drawn several times.
    pub fn train_task(&self, root: &SeedSequence, index: u32) -> Option<Task> {
        let mut rng = root.child(index).rng();
        let made = (0..PATIENCE).map(|_| self.draw(&mut rng));
        made.into_iter().find(|made| !is_held_out(&made.key)).map(|made| made.task)
    }

    /// `count` different tasks that are never trained on.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn held_out(&self, root: &SeedSequence, count: usize) -> Result<Vec<Task>, GenerateError> {
        let mut rng = root.rng();
        let mut keys = std::collections::BTreeSet::new();
        let mut tasks = Vec::with_capacity(count);
        let mut since = 0;
        while tasks.len() < count {
            let made = self.draw(&mut rng);
            since += 1;
            if is_held_out(&made.key) && keys.insert(made.key) {
                tasks.push(made.task);
                since = 0;
            } else if since > PATIENCE {
                return Err(GenerateError::TooFew { found: tasks.len(), wanted: count });
            }
        }
        Ok(tasks)
    }
}

#[cfg(test)]
mod tests;
