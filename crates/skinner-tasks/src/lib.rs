//! Tasks that a program can check, and the programs that check them.
//!
//! A [`Task`] is a prompt with what its verifier needs; a [`Trace`] is what a policy did about it; a verifier looks
//! at both and returns a [`Reward`]: a number and a reason. Nothing here knows a model, a tokenizer or a trainer.

pub mod code;
pub mod external;
pub mod sandbox;
mod task;

pub use task::{Failed, Graded, Reward, Task, Trace};
