//! Advantage actor-critic (Mnih et al. 2016, *Asynchronous Methods for Deep Reinforcement Learning*), in its
//! synchronous form: one gradient step on each short rollout.

use serde::{Deserialize, Serialize};
use skinner_core::objective::{
    entropy_bonus, explained_variance, normalize_advantage, policy_gradient, value_loss,
};
use skinner_core::{Metrics, Schedule, SeedSequence, VecEnv, returns};
use skinner_nn::{Network as _, OptimizerKind, VALUE};

use crate::error::{AlgoError, MOST_ENVS, MOST_STEPS, not_negative, positive, require, size};
use crate::on_policy::{OnPolicy, unweighted};
use crate::policy::PolicyConfig;

/// Hyper-parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Environment steps to train for, over all environments; never exceeded.
    pub total_steps: u64,
    /// Environments stepped together.
    pub num_envs: usize,
    /// Steps of each environment in one rollout.
    pub num_steps: usize,
    /// `rms_prop` (the paper's) or `adam`.
    pub optimizer: OptimizerKind,
    /// The optimizer's step size.
    pub learning_rate: f64,
    /// How the step size falls.
    pub learning_rate_schedule: Schedule,
    /// The optimizer's epsilon.
    pub optimizer_epsilon: f64,
    /// Discount.
    pub gamma: f64,
    /// Trace decay of generalised advantage estimation; 1 gives the paper's n-step advantage.
    pub gae_lambda: f64,
    /// Whether advantages are normalised within a rollout.
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
            num_envs: 8,
            num_steps: 5,
            optimizer: OptimizerKind::RmsProp,
            learning_rate: 7e-4,
            learning_rate_schedule: Schedule::Constant,
            optimizer_epsilon: 1e-5,
            gamma: 0.99,
            gae_lambda: 1.0,
            norm_adv: false,
            ent_coef: 0.0,
            vf_coef: 0.5,
            max_grad_norm: 0.5,
            policy: PolicyConfig::default(),
        }
    }
}

impl Config {
    /// Rows of one rollout.
    pub fn batch_size(&self) -> usize {
        self.num_envs * self.num_steps
    }

    /// Checks every hyper-parameter.
    ///
    /// # Errors
    /// The first that makes no sense, with what would.
    pub fn validate(&self) -> Result<(), AlgoError> {
        self.policy.validate()?;
        size("num_envs", self.num_envs, MOST_ENVS)?;
        size("num_steps", self.num_steps, MOST_STEPS)?;
        positive("learning_rate", self.learning_rate)?;
        let epsilon = self.optimizer_epsilon;
        positive("optimizer_epsilon", epsilon)?;
        let unit = "must be between 0 and 1";
        require((0.0..=1.0).contains(&self.gamma), "gamma", self.gamma, unit)?;
        require((0.0..=1.0).contains(&self.gae_lambda), "gae_lambda", self.gae_lambda, unit)?;
        not_negative("ent_coef", self.ent_coef)?;
        not_negative("vf_coef", self.vf_coef)?;
        not_negative("max_grad_norm", self.max_grad_norm)?;
        require(
            self.total_steps >= self.batch_size() as u64,
            "total_steps",
            self.total_steps,
            "must be at least one rollout, num_envs × num_steps",
        )
    }
}

/// A2C at some point of its training.
pub struct A2c {
    config: Config,
    /// The policy and its experience.
    pub learner: OnPolicy,
}

impl A2c {
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
        let optimizer = (config.optimizer, config.optimizer_epsilon);
        let learner = OnPolicy::new(&config.policy, true, optimizer, config.num_envs, envs, seed)?;
        Ok(Self { config, learner })
    }

    /// Whether another iteration would exceed `total_steps`.
    pub fn finished(&self) -> bool {
        self.learner.env_steps() + self.config.batch_size() as u64 > self.config.total_steps
    }

    /// Collects one rollout and takes one gradient step on it.
    ///
    /// # Errors
    /// If the environments fail or training diverges.
    pub fn iteration(&mut self, envs: &mut dyn VecEnv) -> Result<Metrics, AlgoError> {
        let config = &self.config;
        let progress = self.learner.env_steps() as f64 / config.total_steps as f64;
        let learning_rate = config.learning_rate * config.learning_rate_schedule.factor(progress);

        self.learner.collect(envs, config.num_steps)?;
        let OnPolicy { policy, tape, buffer, actions, grad, .. } = &mut self.learner;
        let steps = buffer.steps();
        let mut advantage = returns::gae(&steps, config.gamma as f32, config.gae_lambda as f32);
        let target: Vec<f32> = advantage.iter().zip(steps.value).map(|(a, v)| a + v).collect();
        if config.norm_adv {
            normalize_advantage(&mut advantage);
        }

        let n = buffer.len();
        let scale = 1.0 / n as f32;
        policy.network().forward(&policy.params, &buffer.obs, tape);
        let dist = policy.distribution(tape);
        let log_prob = dist.log_prob(actions);
        let entropy = dist.entropy();
        let value = policy.network().output(tape, VALUE);

        let (mut d_log_prob, mut d_entropy, mut d_value) =
            (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        let policy_loss = policy_gradient(&log_prob, &advantage, scale, &mut d_log_prob);
        entropy_bonus(&entropy, config.ent_coef as f32, scale, &mut d_entropy);
        let value_loss = value_loss(value, &target, config.vf_coef as f32, scale, &mut d_value);

        let d_head = dist.backward(actions, &d_log_prob, &d_entropy);
        let mut metrics = Metrics::new();
        metrics.set("policy_loss", policy_loss);
        metrics.set("value_loss", unweighted(value_loss, config.vf_coef));
        metrics.set("entropy", entropy.iter().sum::<f32>() * scale);
        metrics.set("explained_variance", explained_variance(steps.value, &target));
        policy.backward(&buffer.obs, tape, &d_head, &d_value, grad);
        let grad_norm = self.learner.step_optimizer(learning_rate, self.config.max_grad_norm)?;

        self.learner.state.iterations += 1;
        metrics.set("grad_norm", grad_norm);
        metrics.set("learning_rate", learning_rate);
        self.learner.episode_metrics(&mut metrics);
        Ok(metrics)
    }
}
