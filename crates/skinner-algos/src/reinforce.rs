//! REINFORCE (Williams 1992; Sutton & Barto 2018, section 13.3 and, with a baseline, 13.4): play whole
//! episodes, then raise the log-probability of each action by the return that followed it.

use serde::{Deserialize, Serialize};
use skinner_core::objective::{
    entropy_bonus, explained_variance, normalize_advantage, policy_gradient, value_loss,
};
use skinner_core::{Metrics, Schedule, SeedSequence, VecEnv, returns};
use skinner_nn::{Network as _, OptimizerKind, VALUE};

use crate::error::{AlgoError, MOST_ENVS, MOST_STEPS, not_negative, positive, require, size};
use crate::on_policy::{OnPolicy, unweighted};
use crate::policy::{PolicyConfig, gather};

/// What is subtracted from the return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// Nothing.
    None,
    /// A learned value of the observation. It also bootstraps truncated episodes.
    #[default]
    Value,
}

/// Hyper-parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Environment steps to train for, over all environments; exceeded by at most one batch of episodes.
    pub total_steps: u64,
    /// Environments stepped together. Steps taken while others finish their episodes are not learned
    /// from, so one environment wastes nothing.
    pub num_envs: usize,
    /// Whole episodes of each environment in one update.
    pub num_episodes: usize,
    /// `value` or `none`.
    pub baseline: Baseline,
    /// Adam's step size.
    pub learning_rate: f64,
    /// How the step size falls.
    pub learning_rate_schedule: Schedule,
    /// Adam's epsilon.
    pub adam_epsilon: f64,
    /// Discount. The factor γ^t of the exact gradient is left out, as everywhere in practice.
    pub gamma: f64,
    /// Whether returns (minus the baseline) are normalised over the batch.
    pub norm_adv: bool,
    /// Weight of the entropy bonus.
    pub ent_coef: f64,
    /// Weight of the value's squared error (without a factor ½).
    pub vf_coef: f64,
    /// Bound on the global norm of the gradient; 0 for none.
    pub max_grad_norm: f64,
    /// The network and the distribution of actions.
    pub policy: PolicyConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            total_steps: 500_000,
            num_envs: 1,
            num_episodes: 8,
            baseline: Baseline::Value,
            learning_rate: 2e-3,
            learning_rate_schedule: Schedule::Linear,
            adam_epsilon: 1e-8,
            gamma: 0.99,
            norm_adv: true,
            ent_coef: 0.0,
            vf_coef: 0.5,
            max_grad_norm: 0.5,
            policy: PolicyConfig::default(),
        }
    }
}

impl Config {
    /// Checks every hyper-parameter.
    ///
    /// # Errors
    /// The first that makes no sense, with what would.
    pub fn validate(&self) -> Result<(), AlgoError> {
        self.policy.validate()?;
        let at_least_one = "must be at least 1";
        require(self.total_steps > 0, "total_steps", self.total_steps, at_least_one)?;
        size("num_envs", self.num_envs, MOST_ENVS)?;
        size("num_episodes", self.num_episodes, MOST_STEPS)?;
        positive("learning_rate", self.learning_rate)?;
        positive("adam_epsilon", self.adam_epsilon)?;
        let unit = "must be between 0 and 1";
        require((0.0..=1.0).contains(&self.gamma), "gamma", self.gamma, unit)?;
        not_negative("ent_coef", self.ent_coef)?;
        not_negative("vf_coef", self.vf_coef)?;
        not_negative("max_grad_norm", self.max_grad_norm)
    }
}

/// REINFORCE at some point of its training.
pub struct Reinforce {
    config: Config,
    /// The policy and its experience.
    pub learner: OnPolicy,
}

impl Reinforce {
    /// A fresh policy on environments, which are reset.
    ///
    /// # Errors
    /// If the configuration makes no sense or the environments fail.
    pub fn new(
        config: Config,
        envs: &mut dyn VecEnv,
        seed: &SeedSequence,
    ) -> Result<Self, AlgoError> {
        config.validate()?;
        let critic = config.baseline == Baseline::Value;
        let optimizer = (OptimizerKind::Adam, config.adam_epsilon);
        let learner =
            OnPolicy::new(&config.policy, critic, optimizer, config.num_envs, envs, seed)?;
        Ok(Self { config, learner })
    }

    /// Whether `total_steps` have been taken.
    pub fn finished(&self) -> bool {
        self.learner.env_steps() >= self.config.total_steps
    }

    /// Plays whole episodes and takes one policy-gradient step on them.
    ///
    /// # Errors
    /// If the environments fail or training diverges.
    pub fn iteration(&mut self, envs: &mut dyn VecEnv) -> Result<Metrics, AlgoError> {
        let config = &self.config;
        let progress = self.learner.env_steps() as f64 / config.total_steps as f64;
        let learning_rate = config.learning_rate * config.learning_rate_schedule.factor(progress);

        let whole = self.learner.collect_episodes(envs, config.num_episodes)?;
        let rows: Vec<usize> = (0..whole.len()).filter(|&i| whole[i]).collect();
        let buffer = &self.learner.buffer;
        let returns = gather(&returns::discounted(&buffer.steps(), config.gamma as f32), 1, &rows);
        let obs = gather(&buffer.obs, buffer.obs.len() / buffer.len(), &rows);
        let baseline = gather(&buffer.value, 1, &rows);
        let actions = self.learner.actions.gather(&rows);
        let mut advantage: Vec<f32> = returns.iter().zip(&baseline).map(|(g, v)| g - v).collect();
        if config.norm_adv {
            normalize_advantage(&mut advantage);
        }

        let n = rows.len();
        let scale = 1.0 / n as f32;
        let mut metrics = Metrics::new();
        let OnPolicy { policy, tape, grad, .. } = &mut self.learner;
        policy.network().forward(&policy.params, &obs, tape);
        let dist = policy.distribution(tape);
        let log_prob = dist.log_prob(&actions);
        let entropy = dist.entropy();

        let (mut d_log_prob, mut d_entropy, mut d_value) = (vec![0.0; n], vec![0.0; n], Vec::new());
        let policy_loss = policy_gradient(&log_prob, &advantage, scale, &mut d_log_prob);
        entropy_bonus(&entropy, config.ent_coef as f32, scale, &mut d_entropy);
        metrics.set("policy_loss", policy_loss);
        metrics.set("entropy", entropy.iter().sum::<f32>() * scale);
        if config.baseline == Baseline::Value {
            d_value.resize(n, 0.0);
            let value = policy.network().output(tape, VALUE);
            let loss = value_loss(value, &returns, config.vf_coef as f32, scale, &mut d_value);
            metrics.set("value_loss", unweighted(loss, config.vf_coef));
        }

        let d_head = dist.backward(&actions, &d_log_prob, &d_entropy);
        policy.backward(&obs, tape, &d_head, &d_value, grad);
        let grad_norm = self.learner.step_optimizer(learning_rate, self.config.max_grad_norm)?;
        metrics.set("grad_norm", grad_norm);
        if self.config.baseline == Baseline::Value {
            metrics.set("explained_variance", explained_variance(&baseline, &returns));
        }
        self.learner.state.iterations += 1;
        metrics.set("learning_rate", learning_rate);
        self.learner.episode_metrics(&mut metrics);
        Ok(metrics)
    }
}
