//! `Chain-v0`: two states; the smallest problem in which patience pays.
//!
//! ```text
//!              move, 0
//!   stop, 0.5  ┌──────▶┐  stop, 1
//!  end ◀──── state 0  state 1 ────▶ end
//!              └◀──────┘
//!              move, 0
//! ```
//!
//! # Actions: `Discrete(2)`
//!
//! | action | meaning |
//! |---|---|
//! | 0 | stop: end the episode |
//! | 1 | move to the other state |
//!
//! # Observations: `Discrete(2)`
//!
//! The state.
//!
//! # Rewards
//!
//! 0.5 for stopping in state 0, 1 for stopping in state 1, 0 for moving.
//!
//! # Start
//!
//! State 0.
//!
//! # Episode End
//!
//! - **Termination**: on action 0.
//! - **Truncation**: none here; registered with a limit of 100 steps.
//!
//! # Exact values
//!
//! With a discount γ > 0.5 the best policy moves, then stops:
//!
//! | | state 0 | state 1 |
//! |---|---|---|
//! | V\* | γ | 1 |
//! | Q\*(·, stop) | 0.5 | 1 |
//! | Q\*(·, move) | γ | γ² |
//! | V of the uniform policy | (1 + γ) / (4 - γ²) | (4 + γ) / (2 (4 - γ²)) |

use serde::{Deserialize, Serialize};
use skinner_core::mdp::{Layout, Mark, Tabular, Transition};
use skinner_core::{Env, Rng, Space, Step, scene::Scene};

use crate::draw::{BLACK, Draw, GREY, WHITE, scene};

/// The two-state chain; see the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Chain {
    state: usize,
}

impl Chain {
    /// A chain in state 0.
    pub fn new() -> Self {
        Self::default()
    }
}

const STOP_REWARDS: [f32; 2] = [0.5, 1.0];

impl Env for Chain {
    type Obs = usize;
    type Action = usize;

    fn observation_space(&self) -> Space {
        Space::Discrete(2)
    }

    fn action_space(&self) -> Space {
        Space::Discrete(2)
    }

    #[inline]
    fn reset(&mut self, _rng: &mut Rng) -> usize {
        self.state = 0;
        0
    }

    #[inline]
    fn step(&mut self, action: &usize, _rng: &mut Rng) -> Step<usize> {
        debug_assert!(*action < 2, "action {action} of 2");
        let terminated = *action == 0;
        let reward = if terminated { STOP_REWARDS[self.state] } else { 0.0 };
        if !terminated {
            self.state = 1 - self.state;
        }
        Step { obs: self.state, reward, terminated, truncated: false }
    }

    fn render(&self) -> Option<Scene> {
        let mut picture = scene(400.0, 200.0, WHITE);
        picture.line(&[[120.0, 90.0], [280.0, 90.0]], 3.0, GREY);
        for (state, x) in [120.0, 280.0].into_iter().enumerate() {
            let here = state == self.state;
            picture.circle(x, 90.0, 44.0, if here { [52, 86, 139] } else { GREY });
            picture.circle(x, 90.0, 40.0, if here { [110, 148, 199] } else { WHITE });
            picture.text(x, 90.0, 32.0, &state.to_string(), BLACK);
            picture.text(x, 165.0, 16.0, &format!("STOP: {}", STOP_REWARDS[state]), GREY);
        }
        Some(picture)
    }

    fn tabular(&self) -> Option<&dyn Tabular> {
        Some(self)
    }
}

impl Tabular for Chain {
    fn num_states(&self) -> usize {
        2
    }

    fn num_actions(&self) -> usize {
        2
    }

    fn transitions(&self, state: usize, action: usize) -> Vec<Transition> {
        vec![if action == 0 {
            Transition::certain(state, STOP_REWARDS[state].into(), true)
        } else {
            Transition::certain(1 - state, 0.0, false)
        }]
    }

    fn initial_distribution(&self) -> Vec<f64> {
        vec![1.0, 0.0]
    }

    fn layout(&self) -> Option<Layout> {
        Some(Layout::grid(2, 2, &[Mark::Letter('S'), Mark::Letter('M')], |_| None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup(chain: &Chain, values: [f64; 2], gamma: f64) -> [[f64; 2]; 2] {
        [0, 1].map(|state| {
            [0, 1].map(|action| {
                let t = chain.transitions(state, action)[0];
                t.reward + if t.terminated { 0.0 } else { gamma * values[t.next_state] }
            })
        })
    }

    #[test]
    fn the_documented_values_solve_the_bellman_equations() {
        for gamma in [0.6, 0.9, 0.99] {
            let q = backup(&Chain::new(), [gamma, 1.0], gamma);
            assert_eq!(q, [[0.5, gamma], [1.0, gamma * gamma]]);
            let denominator = 4.0 - gamma * gamma;
            let uniform = [(1.0 + gamma) / denominator, (4.0 + gamma) / (2.0 * denominator)];
            let q = backup(&Chain::new(), uniform, gamma);
            for state in 0..2 {
                let value = f64::midpoint(q[state][0], q[state][1]);
                assert!((value - uniform[state]).abs() < 1e-12);
            }
        }
    }
}
