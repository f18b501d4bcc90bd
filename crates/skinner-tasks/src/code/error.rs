use crate::sandbox::SandboxError;

/// Why programs cannot be graded at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// A value of the configuration cannot be used.
    #[error("code: {field} = {value} must be {right}")]
    Config {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        right: &'static str,
    },
    /// There is no such interpreter.
    #[error("the interpreter {python:?} cannot be used: {problem}")]
    Python {
        /// What was to be run.
        python: String,
        /// What happened.
        problem: String,
    },
    /// There is no sandbox to run programs in.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

impl CodeError {
    pub(super) fn config(field: &'static str, value: String, right: &'static str) -> Self {
        Self::Config { field, value, right }
    }
}
