//! Tasks that a program can check, and the programs that check them.
//!
//! A [`Task`] is a prompt with what its verifier needs; a [`Trace`] is what a policy did about it; a verifier looks
//! at both and returns a [`Reward`]: a number and a reason. Nothing here knows a model, a tokenizer or a trainer.

pub mod audit;
pub mod code;
mod columns;
pub mod curriculum;
pub mod data_set;
pub mod external;
pub mod generate;
pub mod math;
pub mod puzzle;
mod reward;
pub mod sandbox;
mod task;
pub mod text;
pub mod tool_calls;

pub use reward::{GradedSample, HELPER, RewardConfig, RewardError, Rewards, VerifierConfig};
pub use task::{Failed, Graded, Reward, Task, Trace};
