//! `LunarLanderContinuous-v3`: the [lunar lander](crate::lunar_lander) with throttles.
//!
//! # Actions: `Box(2)`
//!
//! | index | quantity | unit | min | max |
//! |---|---|---|---|---|
//! | 0 | main engine: off up to 0, then a power of 50 % to 100 % at 1 | 1 | -1 | 1 |
//! | 1 | side engines: left below -0.5, right above 0.5, with a power of the value's size; else off | 1 | -1 | 1 |
//!
//! Both are clipped to their bounds.
//!
//! # Observations: `Box(8)`
//!
//! As of the [lunar lander](crate::lunar_lander).
//!
//! # Rewards
//!
//! As of the [lunar lander](crate::lunar_lander); the engines' costs are multiplied by their power.
//!
//! # Start
//!
//! As of the [lunar lander](crate::lunar_lander).
//!
//! # Episode End
//!
//! - **Termination**: as of the [lunar lander](crate::lunar_lander).
//! - **Truncation**: none here; registered with a limit of 1000 steps.
//!
//! Reward threshold 200. Options and physics are those of the [lunar lander](crate::lunar_lander).
//!
//! # Source
//!
//! O. Klimov, in OpenAI Gym (2016); behaviour and numbers of Gymnasium 1.4.

use serde::{Deserialize, Serialize};
use skinner_core::{Env, Rng, Space, Step, scene::Scene};

use crate::error::ParameterError;
use crate::lunar_lander::{Craft, Options, Throttle, observation_space};

/// The lander with throttles; see the [module](self).
#[derive(Clone, Serialize, Deserialize)]
pub struct LunarLanderContinuous {
    craft: Craft,
}

impl LunarLanderContinuous {
    /// A lander in a world with these options.
    ///
    /// # Errors
    /// If `gravity` is not between -12 and 0 or a power is not finite.
    pub fn new(options: Options) -> Result<Self, ParameterError> {
        Craft::new(options).map(|craft| Self { craft })
    }
}

/// What the engines make of an action.
fn throttle([main, side]: [f32; 2]) -> Throttle {
    let (main, side) = (f64::from(main), f64::from(side));
    Throttle {
        main: if main > 0.0 { f64::midpoint(main.min(1.0), 1.0) } else { 0.0 },
        side: if side.abs() > 0.5 { side.clamp(-1.0, 1.0) } else { 0.0 },
    }
}

impl Env for LunarLanderContinuous {
    type Obs = [f32; 8];
    type Action = [f32; 2];

    fn observation_space(&self) -> Space {
        observation_space()
    }

    fn action_space(&self) -> Space {
        Space::uniform_box(-1.0, 1.0, 2)
    }

    fn reset(&mut self, rng: &mut Rng) -> [f32; 8] {
        self.craft.reset(rng)
    }

    fn step(&mut self, action: &[f32; 2], rng: &mut Rng) -> Step<[f32; 8]> {
        self.craft.step(throttle(*action), rng)
    }

    fn render(&self) -> Option<Scene> {
        Some(self.craft.picture())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_have_a_least_power() {
        let check = |action, main, side| {
            assert_eq!(throttle(action), Throttle { main, side }, "{action:?}");
        };
        check([0.0, 0.5], 0.0, 0.0);
        check([-3.0, -0.5], 0.0, 0.0);
        check([0.5, 0.75], 0.75, 0.75);
        check([1.0, -1.0], 1.0, -1.0);
        check([7.0, -7.0], 1.0, -1.0);
    }
}
