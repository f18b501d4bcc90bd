//! Distributions over actions: from what a network says (the *head*) to samples, log-probabilities and
//! entropies, and from their gradients back into the head.

mod categorical;
mod gaussian;
mod squashed;
mod state_dependent;

pub use categorical::{Categorical, log_softmax, log_softmax_backward};
pub use gaussian::{Gaussian, GaussianGradient};
pub use squashed::{SquashedGaussian, mean_and_log_std, mean_and_log_std_backward};
pub use state_dependent::{StateDependentNoise, state_dependent_std, state_dependent_std_backward};

/// `½ ln 2π`
pub(crate) const HALF_LN_TWO_PI: f64 = 0.918_938_533_204_672_7;
