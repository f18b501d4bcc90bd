//! Hyper-parameters of DQN and its family.

use serde::{Deserialize, Serialize};
use skinner_core::Schedule;

use crate::error::{AlgoError, not_negative, positive, require};
use crate::exploration::{ExplorationConfig, ExplorationKind};
use crate::off_policy::{NetworkConfig, Replayed};

/// What the network says of an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Returns {
    /// The expected return.
    #[default]
    Mean,
    /// Probabilities of evenly spaced returns: C51 (Bellemare et al. 2017).
    Categorical,
    /// Quantiles of the return: QR-DQN (Dabney et al. 2018).
    Quantiles,
}

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
    /// How the step size falls.
    pub learning_rate_schedule: Schedule,
    /// Adam's epsilon.
    pub adam_epsilon: f64,
    /// Discount.
    pub gamma: f64,
    /// Transitions kept for replay. As few as one iteration brings (`train_frequency × num_envs`) is to learn without
    /// replay.
    pub buffer_size: usize,
    /// Environment steps before learning starts; until then actions are random.
    pub learning_starts: u64,
    /// Transitions of an update.
    pub batch_size: usize,
    /// Steps of each environment between updates.
    pub train_frequency: usize,
    /// Updates made then.
    pub gradient_steps: usize,
    /// Whether what follows is valued by a network that lags behind.
    pub target_network: bool,
    /// Environment steps between updates of the target network, which are made at the end of an iteration.
    pub target_network_frequency: u64,
    /// How far an update moves the target network: 1 copies the online one.
    pub tau: f64,
    /// Bound on the global norm of the gradient; 0 for none.
    pub max_grad_norm: f64,
    /// Where the loss of an error turns from squared to linear; with quantiles their κ. `inf` for squared throughout.
    pub huber_delta: f64,
    /// Double Q-learning: the online network chooses the next action, the target network values it.
    pub double: bool,
    /// A value and advantages in two streams.
    pub dueling: bool,
    /// Rewards that are added up before bootstrapping.
    pub n_steps: usize,
    /// Draw transitions in proportion to how surprising they were.
    pub prioritized: bool,
    /// α of the priorities `|error|^α`: 0 is uniform.
    pub priority_alpha: f64,
    /// β of the importance weights at first; it rises to 1.
    pub priority_beta: f64,
    /// Added to every error, so that none is never drawn.
    pub priority_epsilon: f64,
    /// `mean`, `categorical` (C51) or `quantiles` (QR-DQN).
    pub returns: Returns,
    /// Atoms or quantiles of a distribution.
    pub num_atoms: usize,
    /// The lowest return of a categorical distribution.
    pub v_min: f64,
    /// The highest return of a categorical distribution.
    pub v_max: f64,
    /// Noise in the parameters of all layers but the first, to explore by.
    pub noisy: bool,
    /// Its initial size `σ_0`.
    pub noisy_sigma: f64,
    /// The network.
    pub network: NetworkConfig,
    /// How actions are chosen in training.
    pub exploration: ExplorationConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            total_steps: 500_000,
            num_envs: 1,
            learning_rate: 2.5e-4,
            learning_rate_schedule: Schedule::Constant,
            adam_epsilon: 1e-8,
            gamma: 0.99,
            buffer_size: 100_000,
            learning_starts: 1_000,
            batch_size: 64,
            train_frequency: 4,
            gradient_steps: 1,
            target_network: true,
            target_network_frequency: 500,
            tau: 1.0,
            max_grad_norm: 10.0,
            huber_delta: 1.0,
            double: false,
            dueling: false,
            n_steps: 1,
            prioritized: false,
            priority_alpha: 0.5,
            priority_beta: 0.4,
            priority_epsilon: 1e-6,
            returns: Returns::Mean,
            num_atoms: 51,
            v_min: -100.0,
            v_max: 100.0,
            noisy: false,
            noisy_sigma: 0.5,
            network: NetworkConfig::default(),
            exploration: ExplorationConfig::default(),
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
        self.exploration.validate()?;
        Replayed {
            total_steps: self.total_steps,
            num_envs: self.num_envs,
            buffer_size: self.buffer_size,
            learning_starts: self.learning_starts,
            batch_size: self.batch_size,
            train_frequency: self.train_frequency,
            gradient_steps: self.gradient_steps,
            n_steps: self.n_steps,
        }
        .validate()?;
        let at_least_one = "must be at least 1";
        let every = self.target_network_frequency;
        require(every > 0, "target_network_frequency", every, at_least_one)?;
        positive("learning_rate", self.learning_rate)?;
        positive("adam_epsilon", self.adam_epsilon)?;
        not_negative("max_grad_norm", self.max_grad_norm)?;
        let delta = self.huber_delta;
        require(delta > 0.0, "huber_delta", delta, "must be above 0; inf for a squared loss")?;
        self.validate_units()?;
        self.validate_returns()?;
        self.validate_together()
    }

    fn validate_units(&self) -> Result<(), AlgoError> {
        let unit = "must be between 0 and 1";
        let keys = [
            ("gamma", self.gamma),
            ("priority_alpha", self.priority_alpha),
            ("priority_beta", self.priority_beta),
        ];
        for (key, value) in keys {
            require((0.0..=1.0).contains(&value), key, value, unit)?;
        }
        let above = "must be above 0 and at most 1";
        require(self.tau > 0.0 && self.tau <= 1.0, "tau", self.tau, above)?;
        positive("priority_epsilon", self.priority_epsilon)?;
        positive("noisy_sigma", self.noisy_sigma)
    }

    fn validate_returns(&self) -> Result<(), AlgoError> {
        let atoms = self.num_atoms;
        require((2..=1000).contains(&atoms), "num_atoms", atoms, "must be from 2 to 1000")?;
        require(self.v_min.is_finite(), "v_min", self.v_min, "must be finite")?;
        let above = self.v_max > self.v_min && self.v_max.is_finite();
        require(above, "v_max", self.v_max, "must be finite and above v_min")?;
        let finite = self.returns != Returns::Quantiles || self.huber_delta.is_finite();
        let what = "must be finite: quantiles of a squared loss would be no quantiles";
        require(finite, "huber_delta", self.huber_delta, what)
    }

    fn validate_together(&self) -> Result<(), AlgoError> {
        let conflict = |what: String| Err(AlgoError::Conflict(what));
        if matches!(self.exploration.kind, ExplorationKind::Ucb | ExplorationKind::Thompson) {
            return conflict(
                "exploration.kind: dqn explores by epsilon_greedy or boltzmann; ucb and thompson count visits, which only tables can"
                    .into(),
            );
        }
        if !self.target_network && self.tau < 1.0 {
            return conflict(format!(
                "tau = {}: without a target network nothing moves towards the online one; set tau = 1",
                self.tau
            ));
        }
        Ok(())
    }
}
