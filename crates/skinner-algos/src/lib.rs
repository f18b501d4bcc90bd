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
pub mod dqn;
mod episodes;
mod error;
mod evaluate;
pub mod exploration;
mod off_policy;
mod on_policy;
pub mod policy;
pub mod ppo;
pub mod reinforce;
pub mod sac;
pub mod tabular;
pub mod td3;
mod trained;

pub use error::AlgoError;
pub use evaluate::{evaluate, evaluate_until};
pub use off_policy::NetworkConfig;
pub use on_policy::{OnPolicy, STREAM_ENVS, STREAM_EVAL};
pub use policy::{ActionBatch, Exploration, Greedy, Policy, PolicyConfig};
pub use tabular::{GreedyTable, TableLearner};

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use skinner_core::{Metrics, SeedSequence, VecEnv};
use tabular::Method;

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
    /// [`dqn`]
    Dqn,
    /// [`sac`]
    Sac,
    /// [`td3`]
    Td3,
    /// [`td3`], with one critic and without delay and smoothing
    Ddpg,
    /// [`tabular`], towards the best next action
    QLearning,
    /// [`tabular`], with two tables
    DoubleQLearning,
    /// [`tabular`], towards the next action
    Sarsa,
    /// [`tabular`], towards the mean next action
    ExpectedSarsa,
    /// [`tabular`], towards the return of the episode
    MonteCarlo,
}

impl AlgorithmName {
    /// All algorithms.
    pub const ALL: [Self; 12] = [
        Self::Reinforce,
        Self::A2c,
        Self::Ppo,
        Self::Dqn,
        Self::Sac,
        Self::Td3,
        Self::Ddpg,
        Self::QLearning,
        Self::DoubleQLearning,
        Self::Sarsa,
        Self::ExpectedSarsa,
        Self::MonteCarlo,
    ];

    /// As recipes write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reinforce => "reinforce",
            Self::A2c => "a2c",
            Self::Ppo => "ppo",
            Self::Dqn => "dqn",
            Self::Sac => "sac",
            Self::Td3 => "td3",
            Self::Ddpg => "ddpg",
            Self::QLearning => "q_learning",
            Self::DoubleQLearning => "double_q_learning",
            Self::Sarsa => "sarsa",
            Self::ExpectedSarsa => "expected_sarsa",
            Self::MonteCarlo => "monte_carlo",
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
            Self::Dqn => {
                "deep Q-learning; double, dueling, prioritised, C51, QR-DQN, Rainbow (Mnih et al. 2015)"
            }
            Self::Sac => {
                "soft actor-critic, for continuous and discrete actions (Haarnoja et al. 2018)"
            }
            Self::Td3 => {
                "deterministic actor, twin critics, delay, smoothing (Fujimoto et al. 2018)"
            }
            Self::Ddpg => "deterministic actor and one critic (Lillicrap et al. 2016)",
            Self::QLearning => "a table of the best action's value; n steps, traces (Watkins 1989)",
            Self::DoubleQLearning => "Q-learning without its optimism (van Hasselt 2010)",
            Self::Sarsa => {
                "a table of the own policy's value; n steps, traces (Rummery & Niranjan 1994)"
            }
            Self::ExpectedSarsa => "SARSA with less noise; n steps (van Seijen et al. 2009)",
            Self::MonteCarlo => {
                "a table of the returns of whole episodes (Sutton & Barto 2018, section 5.4)"
            }
        }
    }

    /// What a table is learned towards, of the algorithms that have one.
    pub fn tabular_method(self) -> Option<Method> {
        match self {
            Self::Reinforce
            | Self::A2c
            | Self::Ppo
            | Self::Dqn
            | Self::Sac
            | Self::Td3
            | Self::Ddpg => None,
            Self::QLearning => Some(Method::QLearning),
            Self::DoubleQLearning => Some(Method::DoubleQLearning),
            Self::Sarsa => Some(Method::Sarsa),
            Self::ExpectedSarsa => Some(Method::ExpectedSarsa),
            Self::MonteCarlo => Some(Method::MonteCarlo),
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
    /// [`dqn::Config`]
    Dqn(dqn::Config),
    /// [`sac::Config`]
    Sac(sac::Config),
    /// [`td3::Config`]
    Td3(td3::Config),
    /// [`tabular::Config`]
    Tabular(tabular::Config),
}

impl AlgorithmConfig {
    /// Which algorithm these are for.
    pub fn name(&self) -> AlgorithmName {
        match self {
            Self::Reinforce(_) => AlgorithmName::Reinforce,
            Self::A2c(_) => AlgorithmName::A2c,
            Self::Ppo(_) => AlgorithmName::Ppo,
            Self::Dqn(_) => AlgorithmName::Dqn,
            Self::Sac(_) => AlgorithmName::Sac,
            Self::Td3(config) => match config.method {
                td3::Method::Td3 => AlgorithmName::Td3,
                td3::Method::Ddpg => AlgorithmName::Ddpg,
            },
            Self::Tabular(config) => match config.method {
                Method::QLearning => AlgorithmName::QLearning,
                Method::DoubleQLearning => AlgorithmName::DoubleQLearning,
                Method::Sarsa => AlgorithmName::Sarsa,
                Method::ExpectedSarsa => AlgorithmName::ExpectedSarsa,
                Method::MonteCarlo => AlgorithmName::MonteCarlo,
            },
        }
    }

    /// Environments stepped together.
    pub fn num_envs(&self) -> usize {
        match self {
            Self::Reinforce(config) => config.num_envs,
            Self::A2c(config) => config.num_envs,
            Self::Ppo(config) => config.num_envs,
            Self::Dqn(config) => config.num_envs,
            Self::Sac(config) => config.num_envs,
            Self::Td3(config) => config.num_envs,
            Self::Tabular(_) => 1,
        }
    }

    /// Environment steps to train for.
    pub fn total_steps(&self) -> u64 {
        match self {
            Self::Reinforce(config) => config.total_steps,
            Self::A2c(config) => config.total_steps,
            Self::Ppo(config) => config.total_steps,
            Self::Dqn(config) => config.total_steps,
            Self::Sac(config) => config.total_steps,
            Self::Td3(config) => config.total_steps,
            Self::Tabular(config) => config.total_steps,
        }
    }

    /// Discount.
    pub fn gamma(&self) -> f64 {
        match self {
            Self::Reinforce(config) => config.gamma,
            Self::A2c(config) => config.gamma,
            Self::Ppo(config) => config.gamma,
            Self::Dqn(config) => config.gamma,
            Self::Sac(config) => config.gamma,
            Self::Td3(config) => config.gamma,
            Self::Tabular(config) => config.gamma,
        }
    }

    /// The configuration of the policy, of the algorithms that learn one from rollouts.
    pub fn policy(&self) -> Option<&PolicyConfig> {
        match self {
            Self::Reinforce(config) => Some(&config.policy),
            Self::A2c(config) => Some(&config.policy),
            Self::Ppo(config) => Some(&config.policy),
            Self::Dqn(_) | Self::Sac(_) | Self::Td3(_) | Self::Tabular(_) => None,
        }
    }

    /// Whether actions are always in [-1, 1], to be rescaled to the bounds of the environment.
    pub fn acts_in_unit_box(&self) -> bool {
        let squashed = |policy: &PolicyConfig| policy.exploration == Exploration::SquashedGaussian;
        matches!(self, Self::Sac(_) | Self::Td3(_)) || self.policy().is_some_and(squashed)
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
            Self::Dqn(config) => config.validate(),
            Self::Sac(config) => config.validate(),
            Self::Td3(config) => config.validate(),
            Self::Tabular(config) => config.validate(),
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
    /// [`dqn::Dqn`]
    Dqn(Box<dqn::Dqn>),
    /// [`sac::Sac`]
    Sac(Box<sac::Sac>),
    /// [`td3::Td3`]
    Td3(Box<td3::Td3>),
    /// [`tabular::TableLearner`]
    Tabular(Box<TableLearner>),
}

/// A named array of numbers in row-major order, with its shape.
pub type NamedArray<'a> = (String, Vec<usize>, Cow<'a, [f32]>);

impl Algorithm {
    /// A fresh agent on environments, which are reset.
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
            AlgorithmConfig::Dqn(config) => Self::Dqn(Box::new(dqn::Dqn::new(config, envs, seed)?)),
            AlgorithmConfig::Sac(config) => Self::Sac(Box::new(sac::Sac::new(config, envs, seed)?)),
            AlgorithmConfig::Td3(config) => Self::Td3(Box::new(td3::Td3::new(config, envs, seed)?)),
            AlgorithmConfig::Tabular(config) => {
                Self::Tabular(Box::new(TableLearner::new(config, envs, seed)?))
            }
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
            Self::Dqn(algorithm) => algorithm.iteration(envs),
            Self::Sac(algorithm) => algorithm.iteration(envs),
            Self::Td3(algorithm) => algorithm.iteration(envs),
            Self::Tabular(algorithm) => algorithm.iteration(envs),
        }
    }

    /// Whether training is over.
    pub fn finished(&self) -> bool {
        match self {
            Self::Reinforce(algorithm) => algorithm.finished(),
            Self::A2c(algorithm) => algorithm.finished(),
            Self::Ppo(algorithm) => algorithm.finished(),
            Self::Dqn(algorithm) => algorithm.finished(),
            Self::Sac(algorithm) => algorithm.finished(),
            Self::Td3(algorithm) => algorithm.finished(),
            Self::Tabular(algorithm) => algorithm.finished(),
        }
    }

    /// The policy and its experience, of the algorithms that learn from rollouts.
    pub fn learner(&self) -> Option<&OnPolicy> {
        match self {
            Self::Reinforce(algorithm) => Some(&algorithm.learner),
            Self::A2c(algorithm) => Some(&algorithm.learner),
            Self::Ppo(algorithm) => Some(&algorithm.learner),
            Self::Dqn(_) | Self::Sac(_) | Self::Td3(_) | Self::Tabular(_) => None,
        }
    }

    /// The agent with a table, of the algorithms that have one.
    pub fn table(&self) -> Option<&TableLearner> {
        match self {
            Self::Tabular(algorithm) => Some(algorithm),
            Self::Reinforce(_)
            | Self::A2c(_)
            | Self::Ppo(_)
            | Self::Dqn(_)
            | Self::Sac(_)
            | Self::Td3(_) => None,
        }
    }

    fn agent(&self) -> &dyn Agent {
        match self {
            Self::Reinforce(algorithm) => &algorithm.learner,
            Self::A2c(algorithm) => &algorithm.learner,
            Self::Ppo(algorithm) => &algorithm.learner,
            Self::Dqn(algorithm) => &**algorithm,
            Self::Sac(algorithm) => &**algorithm,
            Self::Td3(algorithm) => &**algorithm,
            Self::Tabular(algorithm) => &**algorithm,
        }
    }

    fn agent_mut(&mut self) -> &mut dyn Agent {
        match self {
            Self::Reinforce(algorithm) => &mut algorithm.learner,
            Self::A2c(algorithm) => &mut algorithm.learner,
            Self::Ppo(algorithm) => &mut algorithm.learner,
            Self::Dqn(algorithm) => &mut **algorithm,
            Self::Sac(algorithm) => &mut **algorithm,
            Self::Td3(algorithm) => &mut **algorithm,
            Self::Tabular(algorithm) => &mut **algorithm,
        }
    }

    /// The policy without its exploration, as it is at present.
    pub fn greedy(&self) -> Box<dyn Greedy + '_> {
        self.agent().greedy()
    }

    /// Environment steps so far, over all environments.
    pub fn env_steps(&self) -> u64 {
        self.agent().env_steps()
    }

    /// What looks like a mistake rather than a hard task: one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        self.agent().warnings()
    }

    /// What was learned: a network's parameters, or a table (rounded; [`save`](Self::save) has all its bits).
    pub fn arrays(&self) -> Vec<NamedArray<'_>> {
        self.agent().arrays()
    }

    /// Everything beside [`arrays`](Self::arrays) and environments that continues the run exactly.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn save(&self) -> Result<Vec<u8>, AlgoError> {
        self.agent().save()
    }

    /// Continues from the arrays, one after the other, and what [`save`](Self::save) gave.
    ///
    /// # Errors
    /// If they do not fit the configuration.
    pub fn load(&mut self, params: Vec<f32>, state: &[u8]) -> Result<(), AlgoError> {
        self.agent_mut().load(params, state)
    }
}

/// What every kind of agent can do beside learning; [`Algorithm`] documents it.
pub(crate) trait Agent {
    fn greedy(&self) -> Box<dyn Greedy + '_>;
    fn env_steps(&self) -> u64;
    fn warnings(&self) -> Vec<String>;
    fn arrays(&self) -> Vec<NamedArray<'_>>;
    fn save(&self) -> Result<Vec<u8>, AlgoError>;
    fn load(&mut self, params: Vec<f32>, state: &[u8]) -> Result<(), AlgoError>;
}

impl Agent for OnPolicy {
    fn greedy(&self) -> Box<dyn Greedy + '_> {
        Box::new(&self.policy)
    }

    fn env_steps(&self) -> u64 {
        self.env_steps()
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings()
    }

    fn arrays(&self) -> Vec<NamedArray<'_>> {
        let arrays = self.policy.network().arrays().into_iter();
        let params = &self.policy.params;
        arrays.map(|(name, shape, place)| (name, shape, params[place].into())).collect()
    }

    fn save(&self) -> Result<Vec<u8>, AlgoError> {
        self.save()
    }

    fn load(&mut self, params: Vec<f32>, state: &[u8]) -> Result<(), AlgoError> {
        self.load(params, state)
    }
}

impl Agent for TableLearner {
    fn greedy(&self) -> Box<dyn Greedy + '_> {
        Box::new(self.greedy())
    }

    fn env_steps(&self) -> u64 {
        self.env_steps()
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings()
    }

    fn arrays(&self) -> Vec<NamedArray<'_>> {
        let values: Vec<f32> = self.q_values().iter().map(|&value| value as f32).collect();
        let shape = vec![values.len() / self.num_actions(), self.num_actions()];
        vec![("q_table".to_owned(), shape, values.into())]
    }

    fn save(&self) -> Result<Vec<u8>, AlgoError> {
        self.save()
    }

    fn load(&mut self, _params: Vec<f32>, state: &[u8]) -> Result<(), AlgoError> {
        self.load(state)
    }
}
