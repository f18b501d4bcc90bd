//! Language models: load, score, generate, pretrain, fine-tune and align them.

pub mod config;
pub mod error;

pub use config::{Family, ModelConfig, RopeScaling};
pub use error::LmError;
