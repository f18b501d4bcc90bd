//! `BernoulliBandit-v0` and `GaussianBandit-v0`: k arms, one pull, nothing to remember.
//!
//! # Actions: `Discrete(k)`
//!
//! | action | meaning |
//! |---|---|
//! | i | pull arm i |
//!
//! # Observations: `Discrete(1)`
//!
//! Always 0.
//!
//! # Rewards
//!
//! Arm i pays 1 with probability `means[i]` and else 0 (Bernoulli), or a normal number with mean
//! `means[i]` and standard deviation `std` (Gaussian). The best policy's value is the largest mean;
//! the uniform policy's is the mean of the means.
//!
//! # Start
//!
//! There is one state.
//!
//! # Episode End
//!
//! - **Termination**: after each pull.
//! - **Truncation**: never.
//!
//! # Source
//!
//! Sutton and Barto, *Reinforcement Learning*, 2nd edition, chapter 2.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skinner_core::mdp::{Tabular, Transition};
use skinner_core::{Env, Rng, Space, Step, scene::Scene};

use crate::draw::{BLACK, Draw, GREY, WHITE, scene};
use crate::error::{ParameterError, check, check_finite, check_probability};

/// A k-armed bandit; see the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bandit {
    means: Arc<[f64]>,
    /// Standard deviation of Gaussian arms; `None` for Bernoulli arms.
    std: Option<f64>,
    last_pull: Option<(usize, f32)>,
}

impl Bandit {
    /// Arms which pay 1 with the given probabilities.
    ///
    /// # Errors
    /// If there is no arm, or a mean is no probability.
    pub fn bernoulli(means: &[f64]) -> Result<Self, ParameterError> {
        for &mean in means {
            check_probability("means", mean)?;
        }
        Self::with_arms(means, None)
    }

    /// Arms which pay normal numbers with the given means and one standard deviation.
    ///
    /// # Errors
    /// If there is no arm, a mean is not finite, or the standard deviation is negative or not finite.
    pub fn gaussian(means: &[f64], std: f64) -> Result<Self, ParameterError> {
        for &mean in means {
            check_finite("means", mean)?;
        }
        check("std", std, "finite and not negative", std.is_finite() && std >= 0.0)?;
        Self::with_arms(means, Some(std))
    }

    fn with_arms(means: &[f64], std: Option<f64>) -> Result<Self, ParameterError> {
        if means.is_empty() {
            return Err(ParameterError::Empty { name: "means" });
        }
        Ok(Self { means: means.into(), std, last_pull: None })
    }
}

impl Env for Bandit {
    type Obs = usize;
    type Action = usize;

    fn observation_space(&self) -> Space {
        Space::Discrete(1)
    }

    fn action_space(&self) -> Space {
        Space::Discrete(self.means.len())
    }

    #[inline]
    fn reset(&mut self, _rng: &mut Rng) -> usize {
        self.last_pull = None;
        0
    }

    #[inline]
    fn step(&mut self, action: &usize, rng: &mut Rng) -> Step<usize> {
        let mean = self.means[*action];
        let reward = match self.std {
            None => f32::from(u8::from(rng.random() < mean)),
            Some(std) => (mean + std * rng.normal()) as f32,
        };
        self.last_pull = Some((*action, reward));
        Step { obs: 0, reward, terminated: true, truncated: false }
    }

    fn render(&self) -> Option<Scene> {
        let largest = self.means.iter().fold(0.0, |largest: f64, mean| largest.max(mean.abs()));
        let unit = if largest > 0.0 { 70.0 / largest as f32 } else { 0.0 };
        let pitch = (520.0 / self.means.len() as f32).min(80.0);
        let left = 300.0 - pitch * self.means.len() as f32 / 2.0;
        let mut picture = scene(600.0, 220.0, WHITE);
        for (arm, &mean) in self.means.iter().enumerate() {
            let x = left + pitch * arm as f32;
            let pulled = self.last_pull.is_some_and(|(last, _)| last == arm);
            let color = if pulled { [226, 182, 40] } else { [52, 86, 139] };
            let height = mean as f32 * unit;
            let top = 110.0 - height.max(0.0);
            picture.rect(x + 0.15 * pitch, top, 0.7 * pitch, height.abs().max(1.0), color);
        }
        picture.line(&[[30.0, 110.0], [570.0, 110.0]], 1.5, BLACK);
        if let Some((arm, reward)) = self.last_pull {
            picture.text(300.0, 203.0, 16.0, &format!("ARM {arm} PAID {reward:.2}"), GREY);
        }
        Some(picture)
    }

    fn tabular(&self) -> Option<&dyn Tabular> {
        Some(self)
    }
}

impl Tabular for Bandit {
    fn num_states(&self) -> usize {
        1
    }

    fn num_actions(&self) -> usize {
        self.means.len()
    }

    /// With the mean of the reward.
    fn transitions(&self, _state: usize, action: usize) -> Vec<Transition> {
        vec![Transition::certain(0, self.means[action], true)]
    }

    fn initial_distribution(&self) -> Vec<f64> {
        vec![1.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_reward(bandit: &mut Bandit, arm: usize) -> f64 {
        let mut rng = Rng::new(3);
        let pulls = 20_000;
        (0..pulls).map(|_| f64::from(bandit.step(&arm, &mut rng).reward)).sum::<f64>()
            / pulls as f64
    }

    #[test]
    fn arms_pay_their_means() {
        let mut coins = Bandit::bernoulli(&[0.2, 0.7]).unwrap();
        assert!((mean_reward(&mut coins, 1) - 0.7).abs() < 0.01);
        let mut normal = Bandit::gaussian(&[-1.0, 2.0], 0.5).unwrap();
        assert!((mean_reward(&mut normal, 0) + 1.0).abs() < 0.015);
    }

    #[test]
    fn invalid_arms_are_refused() {
        assert_eq!(Bandit::bernoulli(&[]), Err(ParameterError::Empty { name: "means" }));
        let error = Bandit::bernoulli(&[0.5, 1.5]).unwrap_err().to_string();
        assert_eq!(error, "`means` must be a probability from 0 to 1, not 1.5");
        assert!(Bandit::gaussian(&[0.0], -1.0).is_err());
    }
}
