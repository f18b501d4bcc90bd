//! Neural networks and optimizers. It knows nothing of algorithms or environments.
//!
//! [`Network`] is what algorithms see. [`Mlp`] and [`ActorCritic`] implement it with kernels fused for small dense
//! networks on a CPU; parameters are flat arrays, and [`Optimizer`] updates them.

mod actor_critic;
mod kernels;
mod mlp;
mod network;
mod optimizer;
mod simd;

pub use actor_critic::{ActorCritic, ActorCriticShape, ActorCriticTape, FEATURES, HEAD, VALUE};
pub use kernels::{
    Activation, InstructionSet, available_instruction_sets, instruction_set, multiply_add_peak,
};
pub use mlp::{Mlp, MlpTape};
pub use network::Network;
pub use optimizer::{Optimizer, OptimizerKind};
