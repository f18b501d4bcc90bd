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
        "{what} became {value} at step {env_steps}: training has diverged; a smaller learning_rate or max_grad_norm usually helps"
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

/// `Ok` if the size is at least one and no larger than any machine could use.
pub(crate) fn size(key: &'static str, value: usize, most: usize) -> Result<(), AlgoError> {
    require(value > 0, key, value, "must be at least 1")?;
    require(value <= most, key, value, "is more than any machine could use")
}

/// Bound on environments.
pub(crate) const MOST_ENVS: usize = 1 << 20;
/// Bound on the steps or episodes of a rollout.
pub(crate) const MOST_STEPS: usize = 1 << 24;
/// Bound on the width of a layer.
pub(crate) const MOST_WIDTH: usize = 1 << 14;

pub(crate) fn positive(key: &'static str, value: f64) -> Result<(), AlgoError> {
    require(value > 0.0 && value.is_finite(), key, value, "must be above 0 and finite")
}

pub(crate) fn not_negative(key: &'static str, value: f64) -> Result<(), AlgoError> {
    require(value >= 0.0 && value.is_finite(), key, value, "must be at least 0 and finite")
}
