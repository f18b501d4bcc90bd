//! `Pendulum-v1`: swing a rod up and hold it there with as little torque as possible.
//!
//! A rod of 1 m and 1 kg hangs from a fixed pivot; the motor's torque is too weak to lift it at once.
//! An angle of 0 is upright, angles grow counter-clockwise.
//!
//! # Actions: `Box(1)`
//!
//! | index | quantity | unit | min | max |
//! |---|---|---|---|---|
//! | 0 | torque on the pivot, clipped to the bounds | N m | -2 | 2 |
//!
//! # Observations: `Box(3)`
//!
//! | index | quantity | unit | min | max |
//! |---|---|---|---|---|
//! | 0 | cos(angle): height of the free end | 1 | -1 | 1 |
//! | 1 | sin(angle) | 1 | -1 | 1 |
//! | 2 | angular velocity | rad/s | -8 | 8 |
//!
//! # Rewards
//!
//! `-(angle² + 0.1 velocity² + 0.001 torque²)` with the state before the step and the angle taken
//! from [-π, π]: between -16.27 and 0.
//!
//! # Start
//!
//! Angle uniform on ±π, angular velocity uniform on ±1.
//!
//! # Episode End
//!
//! - **Termination**: never.
//! - **Truncation**: none here; registered with a limit of 200 steps.
//!
//! No reward threshold. Semi-implicit Euler integration with a step of 0.05 s; gravity `g` is 10 m/s²
//! unless given.
//!
//! # Source
//!
//! The inverted-pendulum swing-up of control theory; behaviour and numbers of Gymnasium 1.4.

use std::f32::consts::FRAC_PI_2;
use std::f64::consts::{PI, TAU};

use serde::{Deserialize, Serialize};
use skinner_core::{Env, Rng, Space, Step, scene::Scene};

use crate::draw::{BLACK, Draw, WHITE, placed, polar, scene};
use crate::error::{ParameterError, check_finite};
use crate::math::sin_cos;

const MAX_SPEED: f64 = 8.0;
const MAX_TORQUE: f32 = 2.0;
const TIME_STEP: f64 = 0.05;

/// The pendulum swing-up; see the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pendulum {
    angle: f64,
    velocity: f64,
    gravity: f64,
    last_torque: f32,
}

impl Pendulum {
    /// A pendulum under `gravity` in m/s² (Gymnasium: 10).
    ///
    /// # Errors
    /// If `gravity` is not finite.
    pub fn new(gravity: f64) -> Result<Self, ParameterError> {
        check_finite("g", gravity)?;
        Ok(Self { angle: 0.0, velocity: 0.0, gravity, last_torque: 0.0 })
    }

    /// Angle (not wrapped) and angular velocity.
    pub fn state(&self) -> [f64; 2] {
        [self.angle, self.velocity]
    }

    #[inline]
    fn observation(&self) -> [f32; 3] {
        let (sin, cos) = sin_cos(self.angle);
        [cos as f32, sin as f32, self.velocity as f32]
    }
}

impl Default for Pendulum {
    fn default() -> Self {
        Self { angle: 0.0, velocity: 0.0, gravity: 10.0, last_torque: 0.0 }
    }
}

/// The same angle in [-π, π).
#[inline]
fn wrapped(angle: f64) -> f64 {
    (angle + PI).rem_euclid(TAU) - PI
}

impl Env for Pendulum {
    type Obs = [f32; 3];
    type Action = [f32; 1];

    fn observation_space(&self) -> Space {
        let high = vec![1.0, 1.0, MAX_SPEED as f32];
        Space::Box { low: high.iter().map(|bound| -bound).collect(), high }
    }

    fn action_space(&self) -> Space {
        Space::uniform_box(-MAX_TORQUE, MAX_TORQUE, 1)
    }

    #[inline]
    fn reset(&mut self, rng: &mut Rng) -> [f32; 3] {
        self.angle = rng.uniform(-PI, PI);
        self.velocity = rng.uniform(-1.0, 1.0);
        self.last_torque = 0.0;
        self.observation()
    }

    #[inline]
    fn step(&mut self, action: &[f32; 1], _rng: &mut Rng) -> Step<[f32; 3]> {
        // As in Gymnasium, what depends on the torque alone is computed in single precision.
        let torque = action[0].clamp(-MAX_TORQUE, MAX_TORQUE);
        let angle = wrapped(self.angle);
        let cost = angle * angle
            + 0.1 * (self.velocity * self.velocity)
            + f64::from(0.001 * (torque * torque));

        let acceleration = 1.5 * self.gravity * sin_cos(self.angle).0 + f64::from(3.0 * torque);
        self.velocity = (self.velocity + acceleration * TIME_STEP).clamp(-MAX_SPEED, MAX_SPEED);
        self.angle += self.velocity * TIME_STEP;
        self.last_torque = torque;
        let obs = self.observation();
        Step { obs, reward: -cost as f32, terminated: false, truncated: false }
    }

    fn render(&self) -> Option<Scene> {
        let mut picture = scene(500.0, 500.0, WHITE);
        let (center, scale) = ([250.0, 250.0], 500.0 / 4.4);
        let direction = -self.angle as f32 - FRAC_PI_2;
        let end = polar(center, scale, direction);
        picture.line(&[center, end], 0.2 * scale, [204, 77, 77]);
        picture.circle(center[0], center[1], 0.05 * scale, BLACK);

        let effort = self.last_torque / MAX_TORQUE;
        if effort.abs() > 0.02 {
            let (radius, color) = (0.45 * scale, [52, 86, 139]);
            let sweep = -effort * 0.75 * std::f32::consts::PI;
            picture.arc(center, radius, [direction, direction + sweep], 5.0, color);
            let tip = polar(center, radius, direction + sweep);
            let heading = direction + sweep + FRAC_PI_2 * sweep.signum();
            let arrow = [[14.0, 0.0], [-3.0, -9.0], [-3.0, 9.0]];
            picture.polygon(&placed(arrow, tip, heading), color);
        }
        Some(picture)
    }
}
