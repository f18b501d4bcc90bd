//! `LunarLander-v3`: land a craft between two flags, gently and with little fuel.
//!
//! A craft on two legs falls towards rough ground. A main engine below and one on each side push it. The
//! landing pad, level ground between two flags, is at the origin of the observed coordinates.
//!
//! # Actions: `Discrete(4)`
//!
//! | action | meaning |
//! |---|---|
//! | 0 | nothing |
//! | 1 | fire the left engine: turns the craft left (counter-clockwise) |
//! | 2 | fire the main engine |
//! | 3 | fire the right engine: turns it right |
//!
//! An engine gives its impulse at the start of the step: about 1.7 N s along the craft's axis from the
//! main one, 0.24 N s from a side one. Direction and point are scattered by two random numbers a step.
//!
//! # Observations: `Box(8)`
//!
//! | index | quantity | unit | min | max |
//! |---|---|---|---|---|
//! | 0 | horizontal distance from the pad | 10 m | -2.5 | 2.5 |
//! | 1 | height above the pad (0 on straight legs) | 6.67 m | -∞ | ∞ |
//! | 2 | horizontal velocity | 5 m/s | -∞ | ∞ |
//! | 3 | vertical velocity | 7.5 m/s | -∞ | ∞ |
//! | 4 | angle, beyond ±π after a turn | rad | -∞ | ∞ |
//! | 5 | angular velocity | 2.5 rad/s | -∞ | ∞ |
//! | 6 | whether the left leg touches the ground | 0 or 1 | 0 | 1 |
//! | 7 | whether the right leg touches the ground | 0 or 1 | 0 | 1 |
//!
//! Gymnasium declares ±2.5 for the height, ±10 for velocities and ±2π for the angle, and may exceed them.
//!
//! # Rewards
//!
//! What the state gained in worth in this step, less 0.3 for the main engine or 0.03 for a side engine. The
//! worth of a state is `-100 √(x² + y²) - 100 √(vx² + vy²) - 100 |angle|`, and 10 more for each leg on the
//! ground, in the units observed. The last step has -100 for a crash and 100 for a landing instead.
//!
//! # Start
//!
//! In the middle of the top edge, 10 m above the pad, upright, pushed by a force with both components
//! uniform on ±1000 N for one step (so by up to 4 m/s each way). The ground's twelve heights are uniform on
//! [0, 6.67] m, the five in the middle set to the pad's, and each corner 0.33 times the sum of three. A
//! step without engines follows, whose observation is the first.
//!
//! # Episode End
//!
//! - **Termination**: the hull touches the ground (a crash), the craft leaves the picture sideways
//!   (`|x| ≥ 1`, a crash), or hull and legs have been slower than 0.01 m/s and 2°/s for half a second (a
//!   landing, wherever it is).
//! - **Truncation**: none here; registered with a limit of 1000 steps.
//!
//! Reward threshold 200. 50 steps a second.
//!
//! # Options
//!
//! | option | meaning | default |
//! |---|---|---|
//! | `gravity` | acceleration upwards, m/s², between -12 and 0 | -10 |
//! | `enable_wind` | wind blows until a leg touches the ground | false |
//! | `wind_power` | the largest force of the wind, N (recommended: 0 to 20) | 15 |
//! | `turbulence_power` | the largest torque of the wind, N m (recommended: 0 to 2) | 1.5 |
//!
//! Wind and turbulence are `tanh(sin(0.02 t) + sin(0.01 π t))` times their power; each `t` starts at a whole
//! number uniform on [-9999, 9999) and grows by one a step.
//!
//! # Physics
//!
//! Hull (5 kg/m²) and legs (1 kg/m²) are rigid bodies of 4.82 and 0.07 kg. A leg hangs on the hull's origin
//! and turns between 0.4 and 0.9 rad; a motor of at most 40 N m closes it with 0.3 rad/s, which is its
//! spring. Coulomb friction is the geometric mean of 0.1 (ground, hull) and 0.2 (legs).
//!
//! The engine is `rapier2d`, not Gymnasium's Box2D. Sizes, masses, forces, the order of random numbers, the
//! rules of rewards and ends are Gymnasium's. So are the semi-implicit step of 0.02 s, the touching of what
//! is nearer than 0.02 m, and the rule of rest. What differs:
//!
//! - Hull and legs are one chain in reduced coordinates, whose hinges cannot come apart. Contacts and motors
//!   are solved for by 30 sweeps; Box2D makes 180.
//! - Without contact a trajectory follows Box2D's to about 0.01 in the units observed. Each touch makes
//!   them part.
//! - Penetration is pushed out over a few steps. Box2D shifts bodies at once, and stops fast ones at the
//!   surface. A leg that strikes the ground hard may get stuck in it for good (3 of 1000 random episodes).
//! - Legs swing into their limits in the first step, which the first observation's velocities show.
//!
//! `docs/environments.md` compares the mean returns of fixed policies.
//!
//! # Source
//!
//! O. Klimov, in OpenAI Gym (2016); behaviour and numbers of Gymnasium 1.4.

mod craft;
mod picture;

pub use craft::Options;
pub(crate) use craft::{Craft, Throttle, observation_space};

use serde::{Deserialize, Serialize};
use skinner_core::{Env, Rng, Space, Step, scene::Scene};

use crate::error::ParameterError;

/// The lander with engines that are on or off; see the [module](self).
#[derive(Clone, Serialize, Deserialize)]
pub struct LunarLander {
    craft: Craft,
}

impl LunarLander {
    /// A lander in a world with these options.
    ///
    /// # Errors
    /// If `gravity` is not between -12 and 0 or a power is not finite.
    pub fn new(options: Options) -> Result<Self, ParameterError> {
        Craft::new(options).map(|craft| Self { craft })
    }
}

impl Env for LunarLander {
    type Obs = [f32; 8];
    type Action = usize;

    fn observation_space(&self) -> Space {
        observation_space()
    }

    fn action_space(&self) -> Space {
        Space::Discrete(4)
    }

    fn reset(&mut self, rng: &mut Rng) -> [f32; 8] {
        self.craft.reset(rng)
    }

    fn step(&mut self, action: &usize, rng: &mut Rng) -> Step<[f32; 8]> {
        debug_assert!(*action < 4, "action {action} of 4");
        let throttle = match action {
            1 => Throttle { main: 0.0, side: -1.0 },
            2 => Throttle { main: 1.0, side: 0.0 },
            3 => Throttle { main: 0.0, side: 1.0 },
            _ => Throttle::default(),
        };
        self.craft.step(throttle, rng)
    }

    fn render(&self) -> Option<Scene> {
        Some(self.craft.picture())
    }
}
