//! `BipedalWalker-v3`: walk to the end of a slightly uneven field on two legs.
//!
//! A hull has two legs of two parts each. Motors at hips and knees move them. Ten rays measure the distance
//! to the ground ahead.
//!
//! # Actions: `Box(4)`
//!
//! | index | quantity | unit | min | max |
//! |---|---|---|---|---|
//! | 0 | motor of the first hip | 80 N m | -1 | 1 |
//! | 1 | motor of the first knee | 80 N m | -1 | 1 |
//! | 2 | motor of the second hip | 80 N m | -1 | 1 |
//! | 3 | motor of the second knee | 80 N m | -1 | 1 |
//!
//! A motor strives for 4 rad/s (hip) or 6 rad/s (knee) in the direction of the sign, with at most the torque
//! of the size, which is clipped to 1.
//!
//! # Observations: `Box(24)`
//!
//! | index | quantity | unit | min | max |
//! |---|---|---|---|---|
//! | 0 | angle of the hull, beyond ±π after a turn | rad | -∞ | ∞ |
//! | 1 | angular velocity of the hull | 25 rad/s | -∞ | ∞ |
//! | 2 | horizontal velocity | 8.33 m/s | -∞ | ∞ |
//! | 3 | vertical velocity | 12.5 m/s | -∞ | ∞ |
//! | 4, 9 | angle of a hip | rad | -π | π |
//! | 5, 10 | angular velocity of a hip | 4 rad/s | -∞ | ∞ |
//! | 6, 11 | angle of a knee, plus 1 | rad | -π - 1 | π + 1 |
//! | 7, 12 | angular velocity of a knee | 6 rad/s | -∞ | ∞ |
//! | 8, 13 | whether the lower leg touches the ground | 0 or 1 | 0 | 5 |
//! | 14 to 23 | where a ray ends, from straight down to 77° ahead | 5.33 m | -1 | 1 |
//!
//! Gymnasium declares ±π for the hull's angle and ±5 for velocities, and may exceed them.
//!
//! # Rewards
//!
//! `130 x / 30 - 5 |angle|` gained in this step, less 0.028 for each motor at full torque. The last step has
//! -100 for a fall instead. The whole field is worth about 300.
//!
//! # Start
//!
//! On level ground 4.67 m from the left end, pushed sideways by a force uniform on ±5 N for one step. A step
//! without motors follows, whose observation is the first.
//!
//! # Episode End
//!
//! - **Termination**: the hull touches the ground or leaves the field to the left (a fall), or it comes
//!   within 4.67 m of the right end.
//! - **Truncation**: none here; registered with a limit of 1600 steps.
//!
//! Reward threshold 300. 50 steps a second.
//!
//! # Physics
//!
//! Hull (5 kg/m²) and legs (1 kg/m²) weigh 5.42, and 0.30 and 0.24 kg for each leg's parts. Hips turn from
//! -0.8 to 1.1 rad, knees from -1.6 to -0.1 rad. Friction is the geometric mean of 2.5 (ground) and 0.2 (legs)
//! or 0.1 (hull).
//!
//! The engine is `rapier2d`, not Gymnasium's Box2D; what follows from that is told for the
//! [lunar lander](crate::lunar_lander). Gymnasium puts the legs half a metre too high, where Box2D's solver
//! takes them apart and bends the knees within the first step; here they begin in the posture that it finds.
//!
//! # Source
//!
//! O. Klimov, in OpenAI Gym (2016); behaviour and numbers of Gymnasium 1.4.

mod walker;

use serde::{Deserialize, Serialize};
use skinner_core::{Env, Rng, Space, Step, scene::Scene};

use walker::Walker;

/// The walker; see the [module](self).
#[derive(Clone, Serialize, Deserialize)]
pub struct BipedalWalker {
    walker: Walker,
}

impl Default for BipedalWalker {
    fn default() -> Self {
        Self { walker: Walker::on_level_ground() }
    }
}

impl Env for BipedalWalker {
    type Obs = [f32; 24];
    type Action = [f32; 4];

    fn observation_space(&self) -> Space {
        // Turns and velocities have no bounds but those of the episode.
        let (turn, free) = (std::f32::consts::PI, f32::INFINITY);
        let leg = [turn, free, turn + 1.0, free, 5.0];
        let high = [&[free; 4][..], &leg, &leg, &[1.0; 10]].concat();
        let mut low: Vec<f32> = high.iter().map(|bound| -bound).collect();
        (low[8], low[13]) = (0.0, 0.0);
        Space::Box { low, high }
    }

    fn action_space(&self) -> Space {
        Space::uniform_box(-1.0, 1.0, 4)
    }

    fn reset(&mut self, rng: &mut Rng) -> [f32; 24] {
        self.walker = Walker::on_random_ground(rng);
        self.walker.step([0.0; 4]).obs
    }

    fn step(&mut self, action: &[f32; 4], _rng: &mut Rng) -> Step<[f32; 24]> {
        self.walker.step(action.map(f64::from))
    }

    fn render(&self) -> Option<Scene> {
        Some(self.walker.picture())
    }
}
