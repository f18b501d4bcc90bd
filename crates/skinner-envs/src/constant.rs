//! `Constant-v0`: reward 1 for each step, for ever.
//!
//! Every state and every action is as good as any other, so the value of the only state is
//! `1 / (1 - gamma)` — 50 where gamma is 0.98 — however early a time limit cuts the episodes. An
//! estimator that treats truncation as termination learns less.
//!
//! # Actions: `Discrete(2)`
//!
//! Neither does anything.
//!
//! # Observations: `Discrete(1)`
//!
//! Always 0.
//!
//! # Rewards
//!
//! 1 for each step.
//!
//! # Start
//!
//! There is one state.
//!
//! # Episode End
//!
//! - **Termination**: never.
//! - **Truncation**: none here; registered with a limit of 100 steps.
//!
//! # Source
//!
//! The infinite-horizon test of time limits in Stable-Baselines3.

use serde::{Deserialize, Serialize};
use skinner_core::mdp::{Tabular, Transition};
use skinner_core::{Env, Rng, Space, Step, scene::Scene};

use crate::draw::{BLACK, Draw, GREY, WHITE, scene};

/// Reward without end; see the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Constant {
    steps: u64,
}

impl Constant {
    /// The only one there is.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Env for Constant {
    type Obs = usize;
    type Action = usize;

    fn observation_space(&self) -> Space {
        Space::Discrete(1)
    }

    fn action_space(&self) -> Space {
        Space::Discrete(2)
    }

    #[inline]
    fn reset(&mut self, _rng: &mut Rng) -> usize {
        self.steps = 0;
        0
    }

    #[inline]
    fn step(&mut self, action: &usize, _rng: &mut Rng) -> Step<usize> {
        debug_assert!(*action < 2, "action {action} of 2");
        self.steps += 1;
        Step { obs: 0, reward: 1.0, terminated: false, truncated: false }
    }

    fn render(&self) -> Option<Scene> {
        let mut picture = scene(400.0, 200.0, WHITE);
        picture.text(200.0, 90.0, 64.0, &self.steps.to_string(), BLACK);
        picture.text(200.0, 165.0, 16.0, "REWARDS SO FAR", GREY);
        Some(picture)
    }

    fn tabular(&self) -> Option<&dyn Tabular> {
        Some(self)
    }
}

impl Tabular for Constant {
    fn num_states(&self) -> usize {
        1
    }

    fn num_actions(&self) -> usize {
        2
    }

    fn transitions(&self, _state: usize, _action: usize) -> Vec<Transition> {
        vec![Transition::certain(0, 1.0, false)]
    }

    fn initial_distribution(&self) -> Vec<f64> {
        vec![1.0]
    }
}
