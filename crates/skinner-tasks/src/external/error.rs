/// Why rewards cannot be asked for at all. What goes wrong with a batch is a [`Failed`](crate::Failed).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExternalError {
    /// A value of the configuration cannot be used.
    #[error("external reward: {field} = {value} must be {right}")]
    Config {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        right: &'static str,
    },
    /// This build speaks no HTTP.
    #[error("external reward: this build has no HTTP (feature `http`); a `command` works")]
    NoHttp,
}
