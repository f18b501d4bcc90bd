//! Hyper-parameters of TD3 and DDPG.

use serde::{Deserialize, Serialize};
use skinner_core::Schedule;

use crate::error::{AlgoError, not_negative};
use crate::off_policy::{NetworkConfig, Replayed};
use crate::trained::Steps;

/// Which of the two is configured; they differ in their defaults alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// Twin critics, a slower actor, smoothed targets (Fujimoto et al. 2018).
    #[default]
    Td3,
    /// One critic, and nothing of that (Lillicrap et al. 2016).
    Ddpg,
}

/// Hyper-parameters, named as in `CleanRL`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Under which name; the recipe's `algorithm` says it.
    #[serde(skip)]
    pub method: Method,
    /// Environment steps to train for, over all environments; never exceeded.
    pub total_steps: u64,
    /// Environments stepped together.
    pub num_envs: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Adam's step size for the critics; 0 for `learning_rate`.
    pub critic_learning_rate: f64,
    /// How step sizes fall.
    pub learning_rate_schedule: Schedule,
    /// Adam's epsilon.
    pub adam_epsilon: f64,
    /// Discount.
    pub gamma: f64,
    /// Transitions kept for replay.
    pub buffer_size: usize,
    /// Environment steps before learning starts; until then actions are uniform.
    pub learning_starts: u64,
    /// Transitions of an update.
    pub batch_size: usize,
    /// Steps of each environment between updates.
    pub train_frequency: usize,
    /// Updates made then.
    pub gradient_steps: usize,
    /// Updates of the critics for one of the actor and the target networks.
    pub policy_frequency: usize,
    /// Rewards that are added up before bootstrapping.
    pub n_steps: usize,
    /// How far an update moves the target networks.
    pub tau: f64,
    /// Bound on the global norm of each network's gradient; 0 for none.
    pub max_grad_norm: f64,
    /// Critics, of which the least counts in targets.
    pub num_critics: usize,
    /// Deviation of the normal noise in actions, which are in [-1, 1].
    pub exploration_noise: f64,
    /// Deviation of the noise in the actions that targets are made of.
    pub policy_noise: f64,
    /// Bound on that noise.
    pub noise_clip: f64,
    /// The networks.
    pub network: NetworkConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            method: Method::Td3,
            total_steps: 1_000_000,
            num_envs: 1,
            learning_rate: 3e-4,
            critic_learning_rate: 0.0,
            learning_rate_schedule: Schedule::Constant,
            adam_epsilon: 1e-8,
            gamma: 0.99,
            buffer_size: 1_000_000,
            learning_starts: 25_000,
            batch_size: 256,
            train_frequency: 1,
            gradient_steps: 1,
            policy_frequency: 2,
            n_steps: 1,
            tau: 0.005,
            max_grad_norm: 0.0,
            num_critics: 2,
            exploration_noise: 0.1,
            policy_noise: 0.2,
            noise_clip: 0.5,
            network: NetworkConfig::default(),
        }
    }
}

impl Config {
    /// The defaults of DDPG.
    pub fn ddpg() -> Self {
        Self {
            method: Method::Ddpg,
            num_critics: 1,
            policy_frequency: 1,
            policy_noise: 0.0,
            ..Self::default()
        }
    }

    /// Checks every hyper-parameter.
    ///
    /// # Errors
    /// The first that makes no sense, with what would.
    pub fn validate(&self) -> Result<(), AlgoError> {
        self.network.validate()?;
        let replayed = Replayed {
            total_steps: self.total_steps,
            num_envs: self.num_envs,
            buffer_size: self.buffer_size,
            learning_starts: self.learning_starts,
            batch_size: self.batch_size,
            train_frequency: self.train_frequency,
            gradient_steps: self.gradient_steps,
            n_steps: self.n_steps,
        };
        replayed.validate()?;
        let steps = Steps {
            learning_rate: self.learning_rate,
            critic_learning_rate: self.critic_learning_rate,
            adam_epsilon: self.adam_epsilon,
            max_grad_norm: self.max_grad_norm,
            gamma: self.gamma,
            tau: self.tau,
            num_critics: self.num_critics,
            policy_frequency: self.policy_frequency,
        };
        steps.validate()?;
        not_negative("exploration_noise", self.exploration_noise)?;
        not_negative("policy_noise", self.policy_noise)?;
        not_negative("noise_clip", self.noise_clip)
    }

    /// Step sizes of the actor and of the critics after a part `progress` of training.
    pub(super) fn rates(&self, progress: f64) -> (f64, f64) {
        let factor = self.learning_rate_schedule.factor(progress);
        let own = self.critic_learning_rate;
        let critic = if own > 0.0 { own } else { self.learning_rate };
        (factor * self.learning_rate, factor * critic)
    }
}
