//! The words and the mathematics of Skinner: no tensors, no files, no terminal.
//!
//! Start with [`Env`], an environment; [`EnvBatch`] steps many of them; [`returns`] says how good what
//! happened was; [`distribution`] turns a network's outputs into actions; [`objective`] turns all of it
//! into a loss and its gradient.
//!
//! The five arrows of any policy-gradient method, on two steps of one environment:
//!
//! ```
//! use skinner_core::distribution::Categorical;
//! use skinner_core::{objective, returns};
//!
//! // What happened: the second step ended the task.
//! let steps = returns::Steps {
//!     reward: &[1.0, 2.0],
//!     value: &[0.5, 0.5],
//!     next_value: &[0.5, 0.0],
//!     terminated: &[false, true],
//!     truncated: &[false, false],
//!     num_envs: 1,
//! };
//! // How good it was.
//! let advantage = returns::gae(&steps, 0.9, 1.0);
//! assert_eq!(advantage[1], 1.5);
//!
//! // What the policy said, and the loss on it.
//! let policy = Categorical::new(&[0.0, 0.0, 1.0, -1.0], &[2]);
//! let actions = [0, 1];
//! let (mut d_log_prob, d_entropy) = ([0.0; 2], [0.0; 2]);
//! let loss =
//!     objective::policy_gradient(&policy.log_prob(&actions), &advantage, 0.5, &mut d_log_prob);
//! assert!(loss > 0.0);
//!
//! // The gradient in the logits, from which a network takes over.
//! let d_logits = policy.backward(&actions, &d_log_prob, &d_entropy);
//! assert!(d_logits[0] < 0.0); // descending raises the logit of a good action
//! ```

pub mod check;
pub mod distribution;
pub mod env;
pub mod finite_difference;
pub mod mdp;
pub mod metrics;
pub mod objective;
pub mod parameter;
pub mod pool;
pub mod real;
pub mod replay;
pub mod returns;
pub mod rng;
pub mod rollout;
pub mod running;
pub mod scene;
pub mod schedule;
pub mod space;
pub mod statistics;
pub mod vec_env;
pub mod wrappers;
mod ziggurat;

pub use check::check_env;
pub use env::{Action, Actions, Env, Observation, Step};
pub use mdp::{Mdp, MdpError};
pub use metrics::Metrics;
pub use parameter::ParameterError;
pub use real::Real;
pub use replay::ReplayBuffer;
pub use rng::{Rng, SeedSequence};
pub use rollout::RolloutBuffer;
pub use schedule::{LearningRate, Schedule};
pub use space::Space;
pub use vec_env::{EnvBatch, EnvError, Episode, StepBatch, VecEnv};
