//! What can go wrong with a language model.

/// An error that says what, where and what would be right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LmError {
    /// A model's description cannot be used.
    #[error("model config: {0}")]
    Config(String),
}
