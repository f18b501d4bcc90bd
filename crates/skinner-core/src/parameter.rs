//! The error of a parameter that the mathematics has no use for.

use std::fmt;

/// A parameter with a value that makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{key} = {value}: {requirement}")]
pub struct ParameterError {
    /// The key as a recipe has it.
    pub key: &'static str,
    /// The value given.
    pub value: String,
    /// What would be right.
    pub requirement: String,
}

/// `Ok` if `ok`, else the error that names the key.
pub(crate) fn require(
    ok: bool,
    key: &'static str,
    value: impl fmt::Display,
    requirement: impl Into<String>,
) -> Result<(), ParameterError> {
    if ok {
        Ok(())
    } else {
        Err(ParameterError { key, value: value.to_string(), requirement: requirement.into() })
    }
}
