//! `MountainCarContinuous-v0`: the [mountain car](crate::mountain_car) with a throttle, where fuel
//! costs.
//!
//! # Actions: `Box(1)`
//!
//! | index | quantity | unit | min | max |
//! |---|---|---|---|---|
//! | 0 | throttle; clipped to the bounds, then multiplied by 0.0015 | 1 | -1 | 1 |
//!
//! # Observations: `Box(2)`
//!
//! | index | quantity | unit | min | max |
//! |---|---|---|---|---|
//! | 0 | position along x | m | -1.2 | 0.6 |
//! | 1 | velocity | m/step | -0.07 | 0.07 |
//!
//! # Rewards
//!
//! `-0.1 action²` for each step (the action as given, before it is clipped), and 100 more for the
//! terminating one.
//!
//! # Start
//!
//! Position uniform on [-0.6, -0.4], velocity 0.
//!
//! # Episode End
//!
//! - **Termination**: position at least 0.45 with a velocity of at least `goal_velocity` (0).
//! - **Truncation**: none here; registered with a limit of 999 steps.
//!
//! Reward threshold 90. The state is kept in double precision; Gymnasium rounds it to single
//! precision after each step, which moves a trajectory by about 1e-6.
//!
//! # Source
//!
//! A. Moore, "Efficient Memory-Based Learning for Robot Control", doctoral thesis, Cambridge (1990);
//! behaviour and numbers of Gymnasium 1.4.

use serde::{Deserialize, Serialize};
use skinner_core::{Env, Rng, Space, Step, scene::Scene};

use crate::error::{ParameterError, check_finite};
use crate::math::sin_cos;
use crate::mountain_car::{GRAVITY, roll, valley, valley_space};

const POWER: f64 = 0.0015;
const GOAL_POSITION: f64 = 0.45;

/// The mountain-car problem with a throttle; see the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MountainCarContinuous {
    position: f64,
    velocity: f64,
    goal_velocity: f64,
}

impl MountainCarContinuous {
    /// A car that must pass the flag with at least `goal_velocity` (Gymnasium: 0).
    ///
    /// # Errors
    /// If `goal_velocity` is not finite.
    pub fn new(goal_velocity: f64) -> Result<Self, ParameterError> {
        check_finite("goal_velocity", goal_velocity)?;
        Ok(Self { goal_velocity, ..Self::default() })
    }

    /// Position and velocity.
    pub fn state(&self) -> [f64; 2] {
        [self.position, self.velocity]
    }

    #[inline]
    fn observation(&self) -> [f32; 2] {
        [self.position as f32, self.velocity as f32]
    }
}

impl Env for MountainCarContinuous {
    type Obs = [f32; 2];
    type Action = [f32; 1];

    fn observation_space(&self) -> Space {
        valley_space()
    }

    fn action_space(&self) -> Space {
        Space::uniform_box(-1.0, 1.0, 1)
    }

    #[inline]
    fn reset(&mut self, rng: &mut Rng) -> [f32; 2] {
        self.position = rng.uniform(-0.6, -0.4);
        self.velocity = 0.0;
        self.observation()
    }

    #[inline]
    fn step(&mut self, action: &[f32; 1], _rng: &mut Rng) -> Step<[f32; 2]> {
        let throttle = f64::from(action[0]);
        let acceleration =
            throttle.clamp(-1.0, 1.0) * POWER - GRAVITY * sin_cos(3.0 * self.position).1;
        (self.position, self.velocity) = roll(self.position, self.velocity, acceleration);
        let terminated = self.position >= GOAL_POSITION && self.velocity >= self.goal_velocity;
        let prize = if terminated { 100.0 } else { 0.0 };
        let reward = (prize - 0.1 * throttle * throttle) as f32;
        Step { obs: self.observation(), reward, terminated, truncated: false }
    }

    fn render(&self) -> Option<Scene> {
        Some(valley(self.position as f32, GOAL_POSITION as f32))
    }
}
