//! `Acrobot-v1`: a gymnast of two links swings its feet above the bar by bending at the hips.
//!
//! Two links of 1 m and 1 kg hang from a fixed pivot, one below the other. Only the joint between
//! them is driven.
//!
//! # Actions: `Discrete(3)`
//!
//! | action | meaning |
//! |---|---|
//! | 0 | torque of -1 N m on the joint between the links |
//! | 1 | no torque |
//! | 2 | torque of 1 N m |
//!
//! # Observations: `Box(6)`
//!
//! | index | quantity | unit | min | max |
//! |---|---|---|---|---|
//! | 0 | cos(θ₁) | 1 | -1 | 1 |
//! | 1 | sin(θ₁) | 1 | -1 | 1 |
//! | 2 | cos(θ₂) | 1 | -1 | 1 |
//! | 3 | sin(θ₂) | 1 | -1 | 1 |
//! | 4 | angular velocity of θ₁ | rad/s | -4π | 4π |
//! | 5 | angular velocity of θ₂ | rad/s | -9π | 9π |
//!
//! θ₁ is the first link's angle from hanging down, θ₂ the second link's angle relative to the first.
//!
//! # Rewards
//!
//! -1 for each step, 0 for the terminating one.
//!
//! # Start
//!
//! Both angles and both velocities uniform on ±0.1, rounded to single precision.
//!
//! # Episode End
//!
//! - **Termination**: the free end is more than one link above the pivot,
//!   `-cos(θ₁) - cos(θ₁ + θ₂) > 1`.
//! - **Truncation**: none here; registered with a limit of 500 steps.
//!
//! Reward threshold -100. One step is 0.2 s, one step of fourth-order Runge-Kutta; afterwards angles
//! are wrapped to ±π and velocities clipped to their bounds. The equations of motion are those of the
//! book, or with [`Dynamics::Nips`] those printed in the paper of 1995, which lack a term.
//!
//! # Source
//!
//! R. Sutton, "Generalization in Reinforcement Learning: Successful Examples Using Sparse Coarse
//! Coding", NIPS 8 (1995); Sutton and Barto, *Reinforcement Learning*, section 11.3 of the first
//! edition; behaviour and numbers of Gymnasium 1.4.

use std::f64::consts::{PI, TAU};

use serde::{Deserialize, Serialize};
use skinner_core::{Env, Rng, Space, Step, scene::Scene};

use crate::draw::{BLACK, Draw, WHITE, polar, scene};
use crate::math::sin_cos;

const GRAVITY: f64 = 9.8;
/// Distance of a link's centre of mass from its upper end; lengths, masses and inertias are 1.
const CENTER: f64 = 0.5;
const TIME_STEP: f64 = 0.2;
const MAX_VELOCITY: [f64; 2] = [4.0 * PI, 9.0 * PI];

/// Which equations of motion hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dynamics {
    /// Those of Sutton and Barto's book, with which the published results were made.
    #[default]
    Book,
    /// Those printed in the NIPS paper.
    Nips,
}

/// The acrobot problem; see the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Acrobot {
    state: [f64; 4],
    dynamics: Dynamics,
}

impl Acrobot {
    /// An acrobot that moves by the given equations.
    pub fn new(dynamics: Dynamics) -> Self {
        Self { state: [0.0; 4], dynamics }
    }

    /// θ₁, θ₂ and their angular velocities.
    pub fn state(&self) -> [f64; 4] {
        self.state
    }

    #[inline]
    fn observation(&self) -> [f32; 6] {
        let [theta1, theta2, velocity1, velocity2] = self.state;
        let ((sin1, cos1), (sin2, cos2)) = (sin_cos(theta1), sin_cos(theta2));
        [cos1, sin1, cos2, sin2, velocity1, velocity2].map(|value| value as f32)
    }

    /// Time derivative of the state.
    #[inline]
    fn derivative(&self, [theta1, theta2, v1, v2]: [f64; 4], torque: f64) -> [f64; 4] {
        let (sin2, cos2) = sin_cos(theta2);
        let d1 = CENTER * CENTER + (1.0 + CENTER * CENTER + 2.0 * CENTER * cos2) + 2.0;
        let d2 = (CENTER * CENTER + CENTER * cos2) + 1.0;
        let phi2 = CENTER * GRAVITY * sin_cos(theta1 + theta2).0;
        let phi1 = -CENTER * (v2 * v2) * sin2 - 2.0 * CENTER * v2 * v1 * sin2
            + (CENTER + 1.0) * GRAVITY * sin_cos(theta1).0
            + phi2;
        let missing_in_paper = match self.dynamics {
            Dynamics::Book => CENTER * (v1 * v1) * sin2,
            Dynamics::Nips => 0.0,
        };
        let a2 = (torque + d2 / d1 * phi1 - missing_in_paper - phi2)
            / (CENTER * CENTER + 1.0 - d2 * d2 / d1);
        [v1, v2, -(d2 * a2 + phi1) / d1, a2]
    }

    fn runge_kutta(&self, torque: f64) -> [f64; 4] {
        let at = |slope: [f64; 4], time: f64| -> [f64; 4] {
            std::array::from_fn(|i| self.state[i] + time * slope[i])
        };
        let k1 = self.derivative(self.state, torque);
        let k2 = self.derivative(at(k1, TIME_STEP / 2.0), torque);
        let k3 = self.derivative(at(k2, TIME_STEP / 2.0), torque);
        let k4 = self.derivative(at(k3, TIME_STEP), torque);
        at(std::array::from_fn(|i| k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i]), TIME_STEP / 6.0)
    }
}

/// The same angle in ±π.
fn wrapped(mut angle: f64) -> f64 {
    while angle > PI {
        angle -= TAU;
    }
    while angle < -PI {
        angle += TAU;
    }
    angle
}

impl Env for Acrobot {
    type Obs = [f32; 6];
    type Action = usize;

    fn observation_space(&self) -> Space {
        let high = vec![1.0, 1.0, 1.0, 1.0, MAX_VELOCITY[0] as f32, MAX_VELOCITY[1] as f32];
        Space::Box { low: high.iter().map(|bound| -bound).collect(), high }
    }

    fn action_space(&self) -> Space {
        Space::Discrete(3)
    }

    #[inline]
    fn reset(&mut self, rng: &mut Rng) -> [f32; 6] {
        self.state = std::array::from_fn(|_| f64::from(rng.uniform(-0.1, 0.1) as f32));
        self.observation()
    }

    #[inline]
    fn step(&mut self, action: &usize, _rng: &mut Rng) -> Step<[f32; 6]> {
        debug_assert!(*action < 3, "action {action} of 3");
        let [theta1, theta2, v1, v2] = self.runge_kutta(*action as f64 - 1.0);
        self.state = [
            wrapped(theta1),
            wrapped(theta2),
            v1.clamp(-MAX_VELOCITY[0], MAX_VELOCITY[0]),
            v2.clamp(-MAX_VELOCITY[1], MAX_VELOCITY[1]),
        ];
        let [theta1, theta2, ..] = self.state;
        let terminated = -sin_cos(theta1).1 - sin_cos(theta1 + theta2).1 > 1.0;
        let reward = if terminated { 0.0 } else { -1.0 };
        Step { obs: self.observation(), reward, terminated, truncated: false }
    }

    fn render(&self) -> Option<Scene> {
        let mut picture = scene(500.0, 500.0, WHITE);
        let (pivot, scale) = ([250.0, 250.0], 500.0 / 4.4);
        picture.line(&[[0.0, 250.0 - scale], [500.0, 250.0 - scale]], 1.5, BLACK);
        let down = std::f32::consts::FRAC_PI_2;
        let hips = polar(pivot, scale, down - self.state[0] as f32);
        let feet = polar(hips, scale, down - (self.state[0] + self.state[1]) as f32);
        for [from, to] in [[pivot, hips], [hips, feet]] {
            picture.line(&[from, to], 0.2 * scale, [0, 190, 196]);
        }
        for [x, y] in [pivot, hips] {
            picture.circle(x, y, 0.1 * scale, [226, 196, 40]);
        }
        Some(picture)
    }
}
