//! Hyper-parameters of SAC.

use serde::{Deserialize, Serialize};
use skinner_core::Schedule;

use crate::error::{AlgoError, not_negative, require};
use crate::off_policy::{NetworkConfig, Replayed};
use crate::trained::Steps;

/// Hyper-parameters, named as in `CleanRL`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
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
    /// Updates of the critics for one of actor and temperature.
    pub policy_frequency: usize,
    /// Rewards that are added up before bootstrapping.
    pub n_steps: usize,
    /// How far an update moves the target networks.
    pub tau: f64,
    /// Bound on the global norm of each network's gradient; 0 for none.
    pub max_grad_norm: f64,
    /// Critics, of which the least counts.
    pub num_critics: usize,
    /// Temperature α: what a nat of entropy is worth. With `autotune` the initial one.
    pub alpha: f64,
    /// Whether the temperature is learned, so that the entropy keeps to its target.
    pub autotune: bool,
    /// The entropy's target in nats. If left out: minus the number of components of a continuous action, and 0.89 of a
    /// discrete one's greatest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_entropy: Option<f64>,
    /// The networks.
    pub network: NetworkConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            total_steps: 1_000_000,
            num_envs: 1,
            learning_rate: 3e-4,
            critic_learning_rate: 0.0,
            learning_rate_schedule: Schedule::Constant,
            adam_epsilon: 1e-8,
            gamma: 0.99,
            buffer_size: 1_000_000,
            learning_starts: 5_000,
            batch_size: 256,
            train_frequency: 1,
            gradient_steps: 1,
            policy_frequency: 1,
            n_steps: 1,
            tau: 0.005,
            max_grad_norm: 0.0,
            num_critics: 2,
            alpha: 1.0,
            autotune: true,
            target_entropy: None,
            network: NetworkConfig::default(),
        }
    }
}

impl Config {
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
        not_negative("alpha", self.alpha)?;
        let learnable = "must be above 0 to be learned: its logarithm is";
        require(!self.autotune || self.alpha > 0.0, "alpha", self.alpha, learnable)?;
        let target = self.target_entropy.unwrap_or(0.0);
        require(target.is_finite(), "target_entropy", target, "must be finite")
    }

    /// Step sizes of the actor and of the critics after a part `progress` of training.
    pub(super) fn rates(&self, progress: f64) -> (f64, f64) {
        let factor = self.learning_rate_schedule.factor(progress);
        let own = self.critic_learning_rate;
        let critic = if own > 0.0 { own } else { self.learning_rate };
        (factor * self.learning_rate, factor * critic)
    }
}
