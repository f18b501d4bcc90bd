//! `CartPole-v1`: balance a pole on a cart by pushing the cart left or right.
//!
//! A pole is hinged to a cart that runs on a frictionless track. The pole starts nearly upright and
//! has to be kept so, and the cart kept near the middle.
//!
//! # Actions: `Discrete(2)`
//!
//! | action | meaning |
//! |---|---|
//! | 0 | push the cart left with 10 N |
//! | 1 | push the cart right with 10 N |
//!
//! # Observations: `Box(4)`
//!
//! | index | quantity | unit | min | max |
//! |---|---|---|---|---|
//! | 0 | cart position | m | -4.8 | 4.8 |
//! | 1 | cart velocity | m/s | -∞ | ∞ |
//! | 2 | pole angle from upright | rad | -0.418 (-24°) | 0.418 (24°) |
//! | 3 | pole angular velocity | rad/s | -∞ | ∞ |
//!
//! The bounds are twice the values at which an episode ends, so that the last observation lies in
//! the space too.
//!
//! # Rewards
//!
//! 1 for each step, the terminating one included. With `sutton_barto_reward`: 0 for each step and
//! -1 for the terminating one.
//!
//! # Start
//!
//! Each of the four numbers uniform on ±0.05.
//!
//! # Episode End
//!
//! - **Termination**: the pole leaves ±12° or the cart's centre leaves ±2.4 m.
//! - **Truncation**: none here; registered with a limit of 500 steps.
//!
//! Reward threshold 475. Euler integration with a step of 0.02 s.
//!
//! # Source
//!
//! Barto, Sutton and Anderson, "Neuronlike Adaptive Elements That Can Solve Difficult Learning
//! Control Problems", IEEE SMC 13 (1983); behaviour and numbers of Gymnasium 1.4.

use serde::{Deserialize, Serialize};
use skinner_core::{Env, Rng, Space, Step, scene::Scene};

use crate::draw::{BLACK, Draw, WHITE, corners, placed, scene};
use crate::math::sin_cos_near_zero;

const GRAVITY: f64 = 9.8;
const POLE_MASS: f64 = 0.1;
const TOTAL_MASS: f64 = POLE_MASS + 1.0;
const POLE_HALF_LENGTH: f64 = 0.5;
const POLE_MASS_LENGTH: f64 = POLE_MASS * POLE_HALF_LENGTH;
const FORCE: f64 = 10.0;
const TIME_STEP: f64 = 0.02;
const POSITION_LIMIT: f64 = 2.4;
const ANGLE_LIMIT: f64 = 12.0 * 2.0 * std::f64::consts::PI / 360.0;

/// The cart-pole problem; see the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CartPole {
    state: [f64; 4],
    sutton_barto_reward: bool,
}

impl CartPole {
    /// A cart-pole with either reward; `false` is Gymnasium's default.
    pub fn new(sutton_barto_reward: bool) -> Self {
        Self { state: [0.0; 4], sutton_barto_reward }
    }

    /// Cart position, cart velocity, pole angle, pole angular velocity.
    pub fn state(&self) -> [f64; 4] {
        self.state
    }

    #[inline]
    fn observation(&self) -> [f32; 4] {
        self.state.map(|value| value as f32)
    }
}

impl Env for CartPole {
    type Obs = [f32; 4];
    type Action = usize;

    fn observation_space(&self) -> Space {
        let high = vec![
            2.0 * POSITION_LIMIT as f32,
            f32::INFINITY,
            2.0 * ANGLE_LIMIT as f32,
            f32::INFINITY,
        ];
        Space::Box { low: high.iter().map(|bound| -bound).collect(), high }
    }

    fn action_space(&self) -> Space {
        Space::Discrete(2)
    }

    #[inline]
    fn reset(&mut self, rng: &mut Rng) -> [f32; 4] {
        self.state = std::array::from_fn(|_| rng.uniform(-0.05, 0.05));
        self.observation()
    }

    #[inline]
    fn step(&mut self, action: &usize, _rng: &mut Rng) -> Step<[f32; 4]> {
        debug_assert!(*action < 2, "action {action} of 2");
        let [x, x_dot, theta, theta_dot] = self.state;
        let force = if *action == 1 { FORCE } else { -FORCE };
        let (sin, cos) = sin_cos_near_zero(theta);

        let push = (force + POLE_MASS_LENGTH * (theta_dot * theta_dot) * sin) / TOTAL_MASS;
        let theta_acceleration = (GRAVITY * sin - cos * push)
            / (POLE_HALF_LENGTH * (4.0 / 3.0 - POLE_MASS * (cos * cos) / TOTAL_MASS));
        let x_acceleration = push - POLE_MASS_LENGTH * theta_acceleration * cos / TOTAL_MASS;

        self.state = [
            x + TIME_STEP * x_dot,
            x_dot + TIME_STEP * x_acceleration,
            theta + TIME_STEP * theta_dot,
            theta_dot + TIME_STEP * theta_acceleration,
        ];
        let terminated = self.state[0].abs() > POSITION_LIMIT || self.state[2].abs() > ANGLE_LIMIT;
        let reward = match (self.sutton_barto_reward, terminated) {
            (false, _) => 1.0,
            (true, false) => 0.0,
            (true, true) => -1.0,
        };
        Step { obs: self.observation(), reward, terminated, truncated: false }
    }

    fn render(&self) -> Option<Scene> {
        let mut picture = scene(600.0, 400.0, WHITE);
        let scale = 600.0 / (2.0 * POSITION_LIMIT as f32);
        let (x, track) = (300.0 + self.state[0] as f32 * scale, 300.0);
        picture.line(&[[0.0, track], [600.0, track]], 1.5, BLACK);
        picture.rect(x - 25.0, track - 15.0, 50.0, 30.0, BLACK);
        let pole = corners([-5.0, 5.0], [5.0 - scale, 5.0]);
        picture.polygon(&placed(pole, [x, track - 7.5], self.state[2] as f32), [202, 152, 101]);
        picture.circle(x, track - 7.5, 5.0, [129, 132, 203]);
        Some(picture)
    }
}
