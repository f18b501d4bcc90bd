//! Neural networks and optimizers. It knows nothing of algorithms or environments.
//!
//! [`Network`] is what algorithms see. [`Mlp`] and [`ActorCritic`] implement it with kernels fused for small dense
//! networks on a CPU; parameters are flat arrays, and [`Optimizer`] updates them.
//!
//! ```
//! use skinner_core::Rng;
//! use skinner_nn::{Activation, Mlp, MlpTape, Network, Optimizer, OptimizerKind};
//!
//! // Fit x² at five points.
//! let net = Mlp::new(&[1, 32, 1], Activation::Tanh, Activation::Identity);
//! let mut params = vec![0.0; net.num_params()];
//! net.init_orthogonal(&mut params, 1.4, 1.0, &mut Rng::new(1));
//! let mut adam = Optimizer::new(OptimizerKind::Adam, 1e-8, params.len());
//! let (x, mut tape) = ([-1.0f32, -0.5, 0.0, 0.5, 1.0], MlpTape::default());
//! let mut grad = vec![0.0; params.len()];
//! for _ in 0..2000 {
//!     net.forward(&params, &x, &mut tape);
//!     let d: Vec<f32> = net.output(&tape, 0).iter().zip(&x).map(|(y, x)| y - x * x).collect();
//!     net.backward(&params, &x, &mut tape, &[&d], &mut grad, None);
//!     adam.step(&mut params, &mut grad, 1e-2, None);
//! }
//! net.forward(&params, &x, &mut tape);
//! assert!((net.output(&tape, 0)[0] - 1.0).abs() < 0.02);
//! ```

mod actor_critic;
mod adamw;
mod kernels;
pub mod matrix;
mod mlp;
mod network;
mod noisy;
mod optimizer;
mod q_network;
mod simd;
pub mod team;

pub use actor_critic::{ActorCritic, ActorCriticShape, ActorCriticTape, FEATURES, HEAD, VALUE};
pub use adamw::{AdamW, AdamWConfig, gradient_norm};
pub use kernels::{
    Activation, InstructionSet, available_instruction_sets, instruction_set, multiply_add_peak,
};
pub use mlp::{LayerPlace, Mlp, MlpTape};
pub use network::Network;
pub use noisy::Noisy;
pub use optimizer::{Optimizer, OptimizerKind, polyak};
pub use q_network::{QNetwork, QNetworkShape, QTape};
