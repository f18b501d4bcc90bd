//! Reinforcement-learning algorithms, one file each, read downwards like their papers. They know no
//! environment by name, no file and no terminal.
//!
//! Each module has a `Config`, and a struct with `new` and `iteration` (collect and learn).
//! [`Algorithm`] is the list of them all.
//!
//! ```
//! use skinner_algos::{evaluate, ppo};
//! use skinner_core::SeedSequence;
//! use skinner_envs::catalog::{self, EnvConfig};
//!
//! let seed = SeedSequence::new(1);
//! let cartpole = EnvConfig::from_id("CartPole-v1")?;
//! let mut envs = catalog::make(&cartpole, 8, &seed.child(0), 1)?;
//! let config = ppo::Config { total_steps: 20_480, learning_rate: 1e-3, ..ppo::Config::default() };
//! let mut ppo = ppo::Ppo::new(config, envs.as_mut(), &seed.child(1))?;
//! ppo.train(envs.as_mut(), |_, metrics| assert!(metrics.get("entropy").is_some()))?;
//!
//! let mut envs = catalog::make(&cartpole, 10, &seed.child(2), 1)?;
//! let episodes = evaluate(&ppo.learner.policy, envs.as_mut(), 10)?;
//! assert!(episodes.iter().all(|episode| episode.length > 30));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod a2c;
mod error;
mod evaluate;
mod on_policy;
pub mod policy;
pub mod ppo;
pub mod reinforce;

pub use error::AlgoError;
pub use evaluate::{evaluate, evaluate_until};
pub use on_policy::{OnPolicy, STREAM_ENVS, STREAM_EVAL};
pub use policy::{ActionBatch, Exploration, Policy, PolicyConfig};

use serde::{Deserialize, Serialize};
use skinner_core::{Metrics, SeedSequence, VecEnv};

/// An algorithm's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlgorithmName {
    /// [`reinforce`]
    Reinforce,
    /// [`a2c`]
    A2c,
    /// [`ppo`]
    Ppo,
}

impl AlgorithmName {
    /// All algorithms.
    pub const ALL: [Self; 3] = [Self::Reinforce, Self::A2c, Self::Ppo];

    /// As recipes write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reinforce => "reinforce",
            Self::A2c => "a2c",
            Self::Ppo => "ppo",
        }
    }

    /// One line about it.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Reinforce => {
                "policy gradient on whole episodes, with or without a baseline (Williams 1992)"
            }
            Self::A2c => "synchronous advantage actor-critic (Mnih et al. 2016)",
            Self::Ppo => "proximal policy optimisation (Schulman et al. 2017)",
        }
    }
}

/// An algorithm's hyper-parameters.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum AlgorithmConfig {
    /// [`reinforce::Config`]
    Reinforce(reinforce::Config),
    /// [`a2c::Config`]
    A2c(a2c::Config),
    /// [`ppo::Config`]
    Ppo(ppo::Config),
}

impl AlgorithmConfig {
    /// Which algorithm these are for.
    pub fn name(&self) -> AlgorithmName {
        match self {
            Self::Reinforce(_) => AlgorithmName::Reinforce,
            Self::A2c(_) => AlgorithmName::A2c,
            Self::Ppo(_) => AlgorithmName::Ppo,
        }
    }

    /// Environments stepped together.
    pub fn num_envs(&self) -> usize {
        match self {
            Self::Reinforce(config) => config.num_envs,
            Self::A2c(config) => config.num_envs,
            Self::Ppo(config) => config.num_envs,
        }
    }

    /// Environment steps to train for.
    pub fn total_steps(&self) -> u64 {
        match self {
            Self::Reinforce(config) => config.total_steps,
            Self::A2c(config) => config.total_steps,
            Self::Ppo(config) => config.total_steps,
        }
    }

    /// Discount.
    pub fn gamma(&self) -> f64 {
        match self {
            Self::Reinforce(config) => config.gamma,
            Self::A2c(config) => config.gamma,
            Self::Ppo(config) => config.gamma,
        }
    }

    /// The policy's configuration.
    pub fn policy(&self) -> &PolicyConfig {
        match self {
            Self::Reinforce(config) => &config.policy,
            Self::A2c(config) => &config.policy,
            Self::Ppo(config) => &config.policy,
        }
    }

    /// Checks every hyper-parameter.
    ///
    /// # Errors
    /// The first that makes no sense, with what would.
    pub fn validate(&self) -> Result<(), AlgoError> {
        match self {
            Self::Reinforce(config) => config.validate(),
            Self::A2c(config) => config.validate(),
            Self::Ppo(config) => config.validate(),
        }
    }
}

/// An algorithm in training.
pub enum Algorithm {
    /// [`reinforce::Reinforce`]
    Reinforce(reinforce::Reinforce),
    /// [`a2c::A2c`]
    A2c(a2c::A2c),
    /// [`ppo::Ppo`]
    Ppo(ppo::Ppo),
}

impl Algorithm {
    /// A fresh policy on environments, which are reset.
    ///
    /// # Errors
    /// If the configuration makes no sense or the environments fail.
    pub fn new(
        config: &AlgorithmConfig,
        envs: &mut dyn VecEnv,
        seed: &SeedSequence,
    ) -> Result<Self, AlgoError> {
        Ok(match config.clone() {
            AlgorithmConfig::Reinforce(config) => {
                Self::Reinforce(reinforce::Reinforce::new(config, envs, seed)?)
            }
            AlgorithmConfig::A2c(config) => Self::A2c(a2c::A2c::new(config, envs, seed)?),
            AlgorithmConfig::Ppo(config) => Self::Ppo(ppo::Ppo::new(config, envs, seed)?),
        })
    }

    /// Collects experience and learns from it once.
    ///
    /// # Errors
    /// If the environments fail or training diverges.
    pub fn iteration(&mut self, envs: &mut dyn VecEnv) -> Result<Metrics, AlgoError> {
        match self {
            Self::Reinforce(algorithm) => algorithm.iteration(envs),
            Self::A2c(algorithm) => algorithm.iteration(envs),
            Self::Ppo(algorithm) => algorithm.iteration(envs),
        }
    }

    /// Whether training is over.
    pub fn finished(&self) -> bool {
        match self {
            Self::Reinforce(algorithm) => algorithm.finished(),
            Self::A2c(algorithm) => algorithm.finished(),
            Self::Ppo(algorithm) => algorithm.finished(),
        }
    }

    /// The policy and its experience.
    pub fn learner(&self) -> &OnPolicy {
        match self {
            Self::Reinforce(algorithm) => &algorithm.learner,
            Self::A2c(algorithm) => &algorithm.learner,
            Self::Ppo(algorithm) => &algorithm.learner,
        }
    }

    fn learner_mut(&mut self) -> &mut OnPolicy {
        match self {
            Self::Reinforce(algorithm) => &mut algorithm.learner,
            Self::A2c(algorithm) => &mut algorithm.learner,
            Self::Ppo(algorithm) => &mut algorithm.learner,
        }
    }

    /// Continues from parameters and what [`OnPolicy::save`] gave.
    ///
    /// # Errors
    /// If they do not fit the configuration.
    pub fn load(&mut self, params: Vec<f32>, state: &[u8]) -> Result<(), AlgoError> {
        self.learner_mut().load(params, state)
    }
}
