//! The policy that a table holds.

use skinner_core::Space;
use skinner_nn::ActorCriticTape;

use crate::policy::{ActionBatch, Greedy};

/// The greedy policy of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct GreedyTable {
    observation_space: Space,
    /// One for each observation.
    actions: Vec<usize>,
}

impl GreedyTable {
    pub(super) fn new(observation_space: Space, actions: Vec<usize>) -> Self {
        Self { observation_space, actions }
    }

    /// The best action for each observation; of equal ones the first.
    pub fn actions(&self) -> &[usize] {
        &self.actions
    }
}

impl Greedy for GreedyTable {
    fn greedy(&self, obs: &[f32], _tape: &mut ActorCriticTape) -> ActionBatch {
        let rows = obs.chunks_exact(self.observation_space.flat_width());
        let action = |row| self.actions[self.observation_space.index_of_row(row)] as u32;
        ActionBatch::Discrete(rows.map(action).collect(), 1)
    }
}

/// The greatest value.
#[inline]
pub(super) fn best(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// Where the greatest value is first.
#[inline]
pub(super) fn first_best(values: &[f64]) -> usize {
    (0..values.len())
        .fold(0, |best, action| if values[action] > values[best] { action } else { best })
}
