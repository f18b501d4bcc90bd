//! What can go wrong in training.

use skinner_core::EnvError;

/// Errors of algorithms and their configurations.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AlgoError {
    /// A hyper-parameter with a value that makes no sense.
    #[error("{key} = {value} is out of range: {requirement}")]
    OutOfRange {
        /// The key as the recipe has it.
        key: &'static str,
        /// The value given.
        value: String,
        /// What would be right.
        requirement: &'static str,
    },
    /// Two hyper-parameters that do not go together.
    #[error("{0}")]
    Conflict(String),
    /// A loss or gradient stopped being a number.
    #[error(
        "{what} became {value} at step {env_steps}: training has diverged; a smaller learning_rate or max_grad_norm usually helps. The last checkpoint is from before"
    )]
    Diverged {
        /// Which number.
        what: &'static str,
        /// NaN or an infinity.
        value: f32,
        /// Environment steps so far.
        env_steps: u64,
    },
    /// Saved state that does not fit.
    #[error("the saved training state cannot be read: {0}")]
    State(String),
    /// The environments failed.
    #[error(transparent)]
    Env(#[from] EnvError),
}

/// `Ok` if `ok`, else the error that names the key.
pub(crate) fn require(
    ok: bool,
    key: &'static str,
    value: impl std::fmt::Display,
    requirement: &'static str,
) -> Result<(), AlgoError> {
    if ok {
        Ok(())
    } else {
        Err(AlgoError::OutOfRange { key, value: value.to_string(), requirement })
    }
}

pub(crate) fn positive(key: &'static str, value: f64) -> Result<(), AlgoError> {
    require(value > 0.0 && value.is_finite(), key, value, "must be above 0 and finite")
}

pub(crate) fn not_negative(key: &'static str, value: f64) -> Result<(), AlgoError> {
    require(value >= 0.0 && value.is_finite(), key, value, "must be at least 0 and finite")
}
