//! `Identity-v0` and `IdentityBox-v0`: say what you see; the smallest tests of learning.
//!
//! # Actions
//!
//! `Discrete(n)` for [`Identity`], `Box(1)` on ±1 for [`IdentityBox`]: the answer.
//!
//! # Observations
//!
//! `Discrete(n)` for [`Identity`], `Box(1)` on ±1 for [`IdentityBox`]: the question, drawn anew and
//! uniformly for each step.
//!
//! # Rewards
//!
//! [`Identity`]: 1 where the action equals the observation, else 0. [`IdentityBox`]:
//! `-(action - obs)²`. The best return is `episode_length` and 0; a uniform policy's is
//! `episode_length / n` and `-2/3 episode_length`.
//!
//! # Start
//!
//! A uniform observation.
//!
//! # Episode End
//!
//! - **Termination**: after `episode_length` steps.
//! - **Truncation**: never.
//!
//! # Source
//!
//! The identity environments of Stable-Baselines3's tests.

use serde::{Deserialize, Serialize};
use skinner_core::{Env, Rng, Space, Step, scene::Scene};

use crate::draw::{BLACK, Draw, GREY, WHITE, scene};
use crate::error::{ParameterError, check_positive};

/// Name the observed number; see the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    size: usize,
    episode_length: usize,
    steps: usize,
    obs: usize,
}

impl Identity {
    /// Questions from `0..size`, `episode_length` of them an episode.
    ///
    /// # Errors
    /// If either is zero.
    pub fn new(size: usize, episode_length: usize) -> Result<Self, ParameterError> {
        check_positive("size", size)?;
        check_positive("episode_length", episode_length)?;
        Ok(Self { size, episode_length, steps: 0, obs: 0 })
    }
}

impl Env for Identity {
    type Obs = usize;
    type Action = usize;

    fn observation_space(&self) -> Space {
        Space::Discrete(self.size)
    }

    fn action_space(&self) -> Space {
        Space::Discrete(self.size)
    }

    #[inline]
    fn reset(&mut self, rng: &mut Rng) -> usize {
        self.steps = 0;
        self.obs = rng.below(self.size);
        self.obs
    }

    #[inline]
    fn step(&mut self, action: &usize, rng: &mut Rng) -> Step<usize> {
        let reward = f32::from(u8::from(*action == self.obs));
        self.obs = rng.below(self.size);
        self.steps += 1;
        let terminated = self.steps >= self.episode_length;
        Step { obs: self.obs, reward, terminated, truncated: false }
    }

    fn render(&self) -> Option<Scene> {
        let mut picture = scene(400.0, 200.0, WHITE);
        picture.text(200.0, 90.0, 80.0, &self.obs.to_string(), BLACK);
        picture.text(200.0, 170.0, 16.0, &progress(self.steps, self.episode_length), GREY);
        Some(picture)
    }
}

/// Give back the observed number in ±1; see the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IdentityBox {
    episode_length: usize,
    steps: usize,
    obs: f64,
}

impl IdentityBox {
    /// `episode_length` questions an episode.
    ///
    /// # Errors
    /// If `episode_length` is zero.
    pub fn new(episode_length: usize) -> Result<Self, ParameterError> {
        check_positive("episode_length", episode_length)?;
        Ok(Self { episode_length, steps: 0, obs: 0.0 })
    }
}

impl Env for IdentityBox {
    type Obs = [f32; 1];
    type Action = [f32; 1];

    fn observation_space(&self) -> Space {
        Space::uniform_box(-1.0, 1.0, 1)
    }

    fn action_space(&self) -> Space {
        Space::uniform_box(-1.0, 1.0, 1)
    }

    #[inline]
    fn reset(&mut self, rng: &mut Rng) -> [f32; 1] {
        self.steps = 0;
        self.obs = rng.uniform(-1.0, 1.0);
        [self.obs as f32]
    }

    #[inline]
    fn step(&mut self, action: &[f32; 1], rng: &mut Rng) -> Step<[f32; 1]> {
        let error = action[0] - self.obs as f32;
        self.obs = rng.uniform(-1.0, 1.0);
        self.steps += 1;
        let terminated = self.steps >= self.episode_length;
        Step { obs: [self.obs as f32], reward: -error * error, terminated, truncated: false }
    }

    fn render(&self) -> Option<Scene> {
        let mut picture = scene(400.0, 200.0, WHITE);
        picture.line(&[[40.0, 90.0], [360.0, 90.0]], 2.0, BLACK);
        for x in [40.0, 200.0, 360.0] {
            picture.line(&[[x, 82.0], [x, 98.0]], 2.0, BLACK);
        }
        picture.circle(200.0 + 160.0 * self.obs as f32, 90.0, 10.0, [52, 86, 139]);
        picture.text(200.0, 170.0, 16.0, &progress(self.steps, self.episode_length), GREY);
        Some(picture)
    }
}

fn progress(steps: usize, episode_length: usize) -> String {
    format!("STEP {steps} OF {episode_length}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_answer_is_rewarded() {
        let mut rng = Rng::new(1);
        let mut env = Identity::new(5, 20).unwrap();
        let mut obs = env.reset(&mut rng);
        for t in 1..=20 {
            let wrong = env.clone().step(&((obs + 1) % 5), &mut rng.clone());
            assert_eq!(wrong.reward, 0.0);
            let step = env.step(&obs, &mut rng);
            assert_eq!((step.reward, step.terminated), (1.0, t == 20));
            obs = step.obs;
        }
        let mut env = IdentityBox::new(2).unwrap();
        let [obs] = env.reset(&mut rng);
        assert_eq!(env.step(&[obs], &mut rng).reward, 0.0);
    }

    #[test]
    fn sizes_must_be_positive() {
        let error = Identity::new(0, 1).unwrap_err().to_string();
        assert_eq!(error, "`size` must be at least 1, not 0");
        assert!(Identity::new(2, 0).is_err());
        assert!(IdentityBox::new(0).is_err());
    }
}
