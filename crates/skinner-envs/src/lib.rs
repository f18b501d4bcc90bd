//! Environments, one file each, faithful to Gymnasium 1.4: the module of each is its specification.
//!
//! With `Rng::new(seed)` an environment starts where Gymnasium's `reset(seed=seed)` starts, and draws
//! the same numbers in the same order from there on. Time limits are not in the environments:
//! [`catalog::make`] puts a `TimeLimit` around them. Pictures are plain shapes; [`render`] turns them
//! into SVG, GIF and text. Nothing here knows how an agent learns.

pub mod acrobot;
pub mod bandit;
#[cfg(feature = "physics")]
pub mod bipedal_walker;
pub mod blackjack;
pub mod cartpole;
pub mod catalog;
pub mod chain;
pub mod cliff_walking;
pub mod constant;
mod draw;
pub mod error;
pub mod frozen_lake;
pub mod identity;
#[cfg(feature = "physics")]
pub mod lunar_lander;
#[cfg(feature = "physics")]
pub mod lunar_lander_continuous;
mod math;
pub mod mountain_car;
pub mod mountain_car_continuous;
pub mod pendulum;
#[cfg(feature = "physics")]
mod physics;
pub mod policy_map;
pub mod render;
pub mod table;
pub mod taxi;
mod tiles;

pub use acrobot::Acrobot;
pub use bandit::Bandit;
#[cfg(feature = "physics")]
pub use bipedal_walker::BipedalWalker;
pub use blackjack::Blackjack;
pub use cartpole::CartPole;
pub use catalog::{CatalogError, EnvConfig, EnvInfo, make};
pub use chain::Chain;
pub use cliff_walking::CliffWalking;
pub use constant::Constant;
pub use error::ParameterError;
pub use frozen_lake::FrozenLake;
pub use identity::{Identity, IdentityBox};
#[cfg(feature = "physics")]
pub use lunar_lander::LunarLander;
#[cfg(feature = "physics")]
pub use lunar_lander_continuous::LunarLanderContinuous;
pub use mountain_car::MountainCar;
pub use mountain_car_continuous::MountainCarContinuous;
pub use pendulum::Pendulum;
pub use table::Table;
pub use taxi::Taxi;
