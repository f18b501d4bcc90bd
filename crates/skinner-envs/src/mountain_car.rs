//! `MountainCar-v0`: an engine too weak for the hill has to gather momentum first.
//!
//! A car stands in a valley whose height is `0.45 sin(3x) + 0.55`. The flag is on the right hill; the
//! car reaches it only by swinging back and forth.
//!
//! # Actions: `Discrete(3)`
//!
//! | action | meaning |
//! |---|---|
//! | 0 | accelerate to the left |
//! | 1 | do not accelerate |
//! | 2 | accelerate to the right |
//!
//! # Observations: `Box(2)`
//!
//! | index | quantity | unit | min | max |
//! |---|---|---|---|---|
//! | 0 | position along x | m | -1.2 | 0.6 |
//! | 1 | velocity | m/step | -0.07 | 0.07 |
//!
//! Each step adds `0.001 (action - 1) - 0.0025 cos(3x)` to the velocity, then the velocity to the
//! position; both are clipped to their bounds, and the wall on the left stops the car.
//!
//! # Rewards
//!
//! -1 for each step, the terminating one included.
//!
//! # Start
//!
//! Position uniform on [-0.6, -0.4], velocity 0.
//!
//! # Episode End
//!
//! - **Termination**: position at least 0.5 with a velocity of at least `goal_velocity` (0).
//! - **Truncation**: none here; registered with a limit of 200 steps.
//!
//! Reward threshold -110.
//!
//! # Source
//!
//! A. Moore, "Efficient Memory-Based Learning for Robot Control", doctoral thesis, Cambridge (1990);
//! behaviour and numbers of Gymnasium 1.4.

use serde::{Deserialize, Serialize};
use skinner_core::{Env, Rng, Space, Step, scene::Scene};

use crate::draw::{BLACK, Draw, GREY, WHITE, corners, placed, polar, scene};
use crate::error::{ParameterError, check_finite};
use crate::math::sin_cos;

pub(crate) const MIN_POSITION: f64 = -1.2;
pub(crate) const MAX_POSITION: f64 = 0.6;
pub(crate) const MAX_SPEED: f64 = 0.07;
pub(crate) const GRAVITY: f64 = 0.0025;
const FORCE: f64 = 0.001;
const GOAL_POSITION: f64 = 0.5;

/// The mountain-car problem with three actions; see the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MountainCar {
    position: f64,
    velocity: f64,
    goal_velocity: f64,
}

impl MountainCar {
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

/// Velocity and position after `acceleration`, held inside the valley.
#[inline]
pub(crate) fn roll(position: f64, velocity: f64, acceleration: f64) -> (f64, f64) {
    let velocity = (velocity + acceleration).clamp(-MAX_SPEED, MAX_SPEED);
    let position = (position + velocity).clamp(MIN_POSITION, MAX_POSITION);
    (position, if position == MIN_POSITION { velocity.max(0.0) } else { velocity })
}

pub(crate) fn valley_space() -> Space {
    Space::Box {
        low: vec![MIN_POSITION as f32, -MAX_SPEED as f32],
        high: vec![MAX_POSITION as f32, MAX_SPEED as f32],
    }
}

impl Env for MountainCar {
    type Obs = [f32; 2];
    type Action = usize;

    fn observation_space(&self) -> Space {
        valley_space()
    }

    fn action_space(&self) -> Space {
        Space::Discrete(3)
    }

    #[inline]
    fn reset(&mut self, rng: &mut Rng) -> [f32; 2] {
        self.position = rng.uniform(-0.6, -0.4);
        self.velocity = 0.0;
        self.observation()
    }

    #[inline]
    fn step(&mut self, action: &usize, _rng: &mut Rng) -> Step<[f32; 2]> {
        debug_assert!(*action < 3, "action {action} of 3");
        let push = (*action as f64 - 1.0) * FORCE;
        let acceleration = push - sin_cos(3.0 * self.position).1 * GRAVITY;
        (self.position, self.velocity) = roll(self.position, self.velocity, acceleration);
        let terminated = self.position >= GOAL_POSITION && self.velocity >= self.goal_velocity;
        Step { obs: self.observation(), reward: -1.0, terminated, truncated: false }
    }

    fn render(&self) -> Option<Scene> {
        Some(valley(self.position as f32, GOAL_POSITION as f32))
    }
}

/// The hills with a flag at `goal` and the car at `position`.
pub(crate) fn valley(position: f32, goal: f32) -> Scene {
    let scale = 600.0 / (MAX_POSITION - MIN_POSITION) as f32;
    let ground = |x: f32| {
        let height = (3.0 * x).sin() * 0.45 + 0.55;
        [(x - MIN_POSITION as f32) * scale, 400.0 - height * scale]
    };
    let mut picture = scene(600.0, 400.0, WHITE);
    let hills: Vec<_> = (0..=120).map(|i| ground(MIN_POSITION as f32 + 0.015 * i as f32)).collect();
    let mut earth = hills.clone();
    earth.extend([[600.0, 400.0], [0.0, 400.0]]);
    picture.polygon(&earth, [232, 238, 224]);
    picture.line(&hills, 2.0, BLACK);

    let [flag_x, foot] = ground(goal);
    picture.line(&[[flag_x, foot], [flag_x, foot - 50.0]], 2.0, BLACK);
    let cloth = [[flag_x, foot - 50.0], [flag_x + 25.0, foot - 43.0], [flag_x, foot - 36.0]];
    picture.polygon(&cloth, [226, 182, 40]);

    let slope = -(0.45 * 3.0 * (3.0 * position).cos()).atan();
    let [x, y] = ground(position);
    let axle = polar([x, y], 9.0, slope - std::f32::consts::FRAC_PI_2);
    picture.polygon(&placed(corners([-20.0, 20.0], [-12.0, 0.0]), axle, slope), [52, 86, 139]);
    let cabin = [[-14.0, -12.0], [-8.0, -21.0], [8.0, -21.0], [14.0, -12.0]];
    picture.polygon(&placed(cabin, axle, slope), [110, 148, 199]);
    for [wheel_x, wheel_y] in placed([[-11.0, 0.0], [11.0, 0.0]], axle, slope) {
        picture.circle(wheel_x, wheel_y, 8.0, BLACK);
        picture.circle(wheel_x, wheel_y, 4.0, GREY);
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_velocity_must_be_finite() {
        assert!(MountainCar::new(f64::NAN).is_err());
        assert!(MountainCar::new(0.01).is_ok());
    }

    #[test]
    fn the_wall_stops_the_car() {
        assert_eq!(roll(-1.19, -0.05, -0.001), (MIN_POSITION, 0.0));
    }
}
