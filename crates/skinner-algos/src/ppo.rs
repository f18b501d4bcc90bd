//! Proximal policy optimisation (Schulman et al. 2017, *Proximal Policy Optimization Algorithms*), with the
//! implementation details of Huang et al. (2022, *The 37 Implementation Details of PPO*).

use serde::{Deserialize, Serialize};
use skinner_core::objective::{
    clipped_surrogate, clipped_value_loss, entropy_bonus, explained_variance, normalize_advantage,
    value_loss,
};
use skinner_core::{Metrics, Schedule, SeedSequence, VecEnv, returns};
use skinner_nn::{Network as _, OptimizerKind, VALUE};

use crate::error::{AlgoError, MOST_ENVS, MOST_STEPS, not_negative, positive, require, size};
use crate::on_policy::{OnPolicy, unweighted};
use crate::policy::{PolicyConfig, gather};

/// Hyper-parameters, named as in CleanRL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Environment steps to train for, over all environments; never exceeded.
    pub total_steps: u64,
    /// Environments stepped together.
    pub num_envs: usize,
    /// Steps of each environment in one rollout.
    pub num_steps: usize,
    /// Parts that a rollout is shuffled into; one gradient step each.
    pub num_minibatches: usize,
    /// Passes over each rollout.
    pub update_epochs: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// How the step size falls.
    pub learning_rate_schedule: Schedule,
    /// Adam's epsilon: 1e-5, not the usual 1e-8.
    pub adam_epsilon: f64,
    /// Discount.
    pub gamma: f64,
    /// Trace decay of generalised advantage estimation.
    pub gae_lambda: f64,
    /// Whether advantages are normalised within each minibatch.
    pub norm_adv: bool,
    /// ε of the clipped surrogate.
    pub clip_coef: f64,
    /// How ε falls.
    pub clip_coef_schedule: Schedule,
    /// Whether the value's change is clipped by ε too.
    pub clip_vloss: bool,
    /// Weight of the entropy bonus.
    pub ent_coef: f64,
    /// Weight of the value's squared error (without a factor ½).
    pub vf_coef: f64,
    /// Bound on the global norm of the gradient; 0 for none.
    pub max_grad_norm: f64,
    /// Stops the epochs of a rollout once `approx_kl` exceeds 1.5 times this; 0 for never.
    pub target_kl: f64,
    /// The network and the distribution of actions.
    pub policy: PolicyConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            total_steps: 500_000,
            num_envs: 8,
            num_steps: 128,
            num_minibatches: 4,
            update_epochs: 4,
            learning_rate: 2.5e-4,
            learning_rate_schedule: Schedule::Linear,
            adam_epsilon: 1e-5,
            gamma: 0.99,
            gae_lambda: 0.95,
            norm_adv: true,
            clip_coef: 0.2,
            clip_coef_schedule: Schedule::Constant,
            clip_vloss: false,
            ent_coef: 0.01,
            vf_coef: 0.5,
            max_grad_norm: 0.5,
            target_kl: 0.0,
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
        let at_least_one = "must be at least 1";
        size("num_envs", self.num_envs, MOST_ENVS)?;
        size("num_steps", self.num_steps, MOST_STEPS)?;
        require(self.num_minibatches > 0, "num_minibatches", self.num_minibatches, at_least_one)?;
        require(self.update_epochs > 0, "update_epochs", self.update_epochs, at_least_one)?;
        positive("learning_rate", self.learning_rate)?;
        positive("adam_epsilon", self.adam_epsilon)?;
        let unit = "must be between 0 and 1";
        require((0.0..=1.0).contains(&self.gamma), "gamma", self.gamma, unit)?;
        require((0.0..=1.0).contains(&self.gae_lambda), "gae_lambda", self.gae_lambda, unit)?;
        positive("clip_coef", self.clip_coef)?;
        not_negative("ent_coef", self.ent_coef)?;
        not_negative("vf_coef", self.vf_coef)?;
        not_negative("max_grad_norm", self.max_grad_norm)?;
        not_negative("target_kl", self.target_kl)?;
        if !self.batch_size().is_multiple_of(self.num_minibatches) {
            return Err(AlgoError::Conflict(format!(
                "num_minibatches = {} does not divide the rollout of num_envs × num_steps = {} × {} = {} rows",
                self.num_minibatches,
                self.num_envs,
                self.num_steps,
                self.batch_size()
            )));
        }
        require(
            self.total_steps >= self.batch_size() as u64,
            "total_steps",
            self.total_steps,
            "must be at least one rollout, num_envs × num_steps",
        )
    }
}

/// PPO at some point of its training.
pub struct Ppo {
    config: Config,
    /// The policy and its experience.
    pub learner: OnPolicy,
}

impl Ppo {
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
        let optimizer = (OptimizerKind::Adam, config.adam_epsilon);
        let learner = OnPolicy::new(&config.policy, true, optimizer, config.num_envs, envs, seed)?;
        Ok(Self { config, learner })
    }

    /// Environment steps of one iteration.
    pub fn steps_per_iteration(&self) -> u64 {
        self.config.batch_size() as u64
    }

    /// Whether another iteration would exceed `total_steps`.
    pub fn finished(&self) -> bool {
        self.learner.env_steps() + self.steps_per_iteration() > self.config.total_steps
    }

    /// Trains to the end, calling back after every iteration.
    ///
    /// # Errors
    /// If the environments fail or training diverges.
    pub fn train(
        &mut self,
        envs: &mut dyn VecEnv,
        mut on_iteration: impl FnMut(&Self, &Metrics),
    ) -> Result<(), AlgoError> {
        while !self.finished() {
            let metrics = self.iteration(envs)?;
            on_iteration(self, &metrics);
        }
        Ok(())
    }

    /// Collects one rollout and learns from it.
    ///
    /// # Errors
    /// If the environments fail or training diverges.
    pub fn iteration(&mut self, envs: &mut dyn VecEnv) -> Result<Metrics, AlgoError> {
        let config = &self.config;
        let progress = self.learner.env_steps() as f64 / config.total_steps as f64;
        let learning_rate = config.learning_rate * config.learning_rate_schedule.factor(progress);
        let clip_coef = (config.clip_coef * config.clip_coef_schedule.factor(progress)) as f32;

        self.learner.collect(envs, config.num_steps)?;
        let steps = self.learner.buffer.steps();
        let advantage = returns::gae(&steps, config.gamma as f32, config.gae_lambda as f32);
        let target: Vec<f32> = advantage.iter().zip(steps.value).map(|(a, v)| a + v).collect();
        let explained = explained_variance(steps.value, &target);

        let mut rows: Vec<usize> = (0..config.batch_size()).collect();
        let minibatch_size = config.batch_size() / config.num_minibatches;
        let (mut sums, mut minibatches) = (Losses::default(), 0.0);
        let (mut grad_norms, mut updates) = (0.0, 0.0);
        'epochs: for _ in 0..config.update_epochs {
            self.learner.state.rng.shuffle(&mut rows);
            for minibatch in rows.chunks_exact(minibatch_size) {
                let seen = self.minibatch(minibatch, &advantage, &target, clip_coef);
                sums.add(&seen);
                minibatches += 1.0;
                if self.config.target_kl > 0.0 && seen.approx_kl > 1.5 * self.config.target_kl {
                    self.learner.grad.fill(0.0);
                    break 'epochs;
                }
                let max_grad_norm = self.config.max_grad_norm;
                grad_norms += self.learner.step_optimizer(learning_rate, max_grad_norm)?;
                updates += 1.0;
            }
        }
        self.learner.state.iterations += 1;
        let mut metrics = Metrics::new();
        self.learner.episode_metrics(&mut metrics);
        sums.report(minibatches, &mut metrics);
        if updates > 0.0 {
            metrics.set("grad_norm", grad_norms / updates);
        }
        metrics.set("explained_variance", explained);
        metrics.set("learning_rate", learning_rate);
        metrics.set("clip_coef", clip_coef);
        Ok(metrics)
    }

    /// Loss and gradient of one minibatch, taken in parts that stay in cache: once advantages are
    /// normalised, every term is a sum over rows.
    fn minibatch(
        &mut self,
        rows: &[usize],
        advantage: &[f32],
        target: &[f32],
        clip: f32,
    ) -> Losses {
        let mut advantage = gather(advantage, 1, rows);
        if self.config.norm_adv {
            normalize_advantage(&mut advantage);
        }
        let scale = 1.0 / rows.len() as f32;
        let mut losses = Losses::default();
        for (rows, advantage) in rows.chunks(PART).zip(advantage.chunks(PART)) {
            losses.add(&self.part(rows, advantage, target, clip, scale));
        }
        losses
    }

    fn part(
        &mut self,
        rows: &[usize],
        advantage: &[f32],
        target: &[f32],
        clip: f32,
        scale: f32,
    ) -> Losses {
        let config = &self.config;
        let OnPolicy { policy, tape, buffer, actions, grad, .. } = &mut self.learner;
        let n = rows.len();
        let obs = gather(&buffer.obs, buffer.obs.len() / buffer.len(), rows);
        let actions = actions.gather(rows);

        policy.network().forward(&policy.params, &obs, tape);
        let dist = policy.distribution(tape);
        let log_prob = dist.log_prob(&actions);
        let entropy = dist.entropy();
        let value = policy.network().output(tape, VALUE);

        let (mut d_log_prob, mut d_entropy, mut d_value) =
            (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        let old_log_prob = gather(&buffer.log_prob, 1, rows);
        let surrogate =
            clipped_surrogate(&log_prob, &old_log_prob, advantage, clip, scale, &mut d_log_prob);
        entropy_bonus(&entropy, config.ent_coef as f32, scale, &mut d_entropy);
        let (target, coef) = (gather(target, 1, rows), config.vf_coef as f32);
        let value_loss = if config.clip_vloss {
            let old_value = gather(&buffer.value, 1, rows);
            clipped_value_loss(value, &old_value, &target, clip, coef, scale, &mut d_value)
        } else {
            value_loss(value, &target, coef, scale, &mut d_value)
        };

        let d_head = dist.backward(&actions, &d_log_prob, &d_entropy);
        policy.backward(&obs, tape, &d_head, &d_value, grad);
        Losses {
            policy_loss: f64::from(surrogate.loss),
            value_loss: unweighted(value_loss, config.vf_coef),
            entropy: f64::from(entropy.iter().sum::<f32>() * scale),
            approx_kl: f64::from(surrogate.approx_kl),
            clipfrac: f64::from(surrogate.clipfrac),
        }
    }
}

/// Rows whose activations stay in the second-level cache.
const PART: usize = 512;

/// Means over a minibatch, or sums of such means.
#[derive(Clone, Copy, Default)]
struct Losses {
    policy_loss: f64,
    value_loss: f64,
    entropy: f64,
    approx_kl: f64,
    clipfrac: f64,
}

impl Losses {
    fn add(&mut self, other: &Self) {
        self.policy_loss += other.policy_loss;
        self.value_loss += other.value_loss;
        self.entropy += other.entropy;
        self.approx_kl += other.approx_kl;
        self.clipfrac += other.clipfrac;
    }

    fn report(&self, minibatches: f64, metrics: &mut Metrics) {
        metrics.set("policy_loss", self.policy_loss / minibatches);
        metrics.set("value_loss", self.value_loss / minibatches);
        metrics.set("entropy", self.entropy / minibatches);
        metrics.set("approx_kl", self.approx_kl / minibatches);
        metrics.set("clipfrac", self.clipfrac / minibatches);
    }
}
