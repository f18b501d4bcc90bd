//! The words and the mathematics of Skinner: no tensors, no files, no terminal.
//!
//! Start with [`Env`], an environment; [`EnvBatch`] steps many of them; [`returns`] says how good what
//! happened was; [`distribution`] turns a network's outputs into actions; [`objective`] turns all of it
//! into a loss and its gradient.

pub mod check;
pub mod distribution;
pub mod env;
pub mod finite_difference;
pub mod metrics;
pub mod objective;
pub mod real;
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

pub use check::check_env;
pub use env::{Action, Actions, Env, Observation, Step};
pub use metrics::Metrics;
pub use real::Real;
pub use rng::{Rng, SeedSequence};
pub use rollout::RolloutBuffer;
pub use schedule::Schedule;
pub use space::Space;
pub use vec_env::{EnvBatch, EnvError, Episode, StepBatch, VecEnv};
