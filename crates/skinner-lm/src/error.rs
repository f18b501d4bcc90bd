//! What can go wrong with a language model.

use std::io;
use std::path::{Path, PathBuf};

/// An error that says what, where and what would be right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LmError {
    /// A model's description cannot be used.
    #[error("model config: {0}")]
    Config(String),
    /// A key of a recipe has a value that cannot be used.
    #[error("{0}")]
    Recipe(String),
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {what}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it, and what would be right.
        what: String,
    },
    /// A model's files lack a weight.
    #[error("{} has no tensor `{name}`; nearest are {}", path.display(), nearest.join(", "))]
    MissingTensor {
        /// The file or directory.
        path: PathBuf,
        /// The weight that was asked for.
        name: String,
        /// The names that are there and look most like it.
        nearest: Vec<String>,
    },
    /// A weight has another shape than the model's description says.
    #[error("tensor `{name}` has shape {found:?}, must be {expected:?}")]
    TensorShape {
        /// The weight.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// Its shape by the description.
        expected: Vec<usize>,
    },
    /// A model cannot be found or fetched.
    #[error("{0}")]
    Source(String),
    /// A tokenizer cannot be used, or a text cannot be encoded.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// An id is no token.
    #[error("token id {id} is out of range: the tokenizer has {vocab_size} tokens")]
    TokenId {
        /// The id.
        id: u32,
        /// How many tokens there are.
        vocab_size: usize,
    },
    /// A sequence is longer than the model's context.
    #[error("{tokens} tokens are more than the model's context of {context}")]
    TooLong {
        /// Its tokens.
        tokens: usize,
        /// The longest possible.
        context: usize,
    },
    /// Something cannot be generated as asked.
    #[error("{0}")]
    Sampling(String),
    /// A model says nothing that a token can be drawn from.
    #[error(
        "request {request}, completion {completion}, token {token}: the model's logits are not numbers to draw from \
         (NaN, +inf, or none above -inf): its weights are broken, or overflow in its precision"
    )]
    Logits {
        /// Which request, from 0.
        request: usize,
        /// Which of its completions, from 0.
        completion: usize,
        /// How many tokens the completion has before, from 0.
        token: usize,
    },
    /// Training went astray.
    #[error(
        "step {step}: loss {loss} and gradient norm {grad_norm} are not both finite; a lower learning_rate or \
         a longer warm-up may help"
    )]
    Diverged {
        /// The optimizer step.
        step: u64,
        /// Its loss.
        loss: f64,
        /// Its gradient's norm.
        grad_norm: f64,
    },
    /// A saved state of training cannot be used.
    #[error("the state of training: {0}")]
    State(String),
    /// A chat template cannot be used.
    #[error("chat template{}: {what}", at_line(*line))]
    Template {
        /// The line of the template, from 1; 0 when it is none of them.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// A device to compute on is not there, or cannot do what is asked of it.
    #[error("{0}")]
    Device(String),
    /// A sample of the data cannot be used.
    #[error("sample {number} of the data: {error}")]
    Sample {
        /// Which, from 1; what was left out on reading is not counted.
        number: usize,
        /// What is wrong with it.
        error: Box<LmError>,
    },
    /// Something is wrong with data to train on.
    #[error(transparent)]
    Data(#[from] crate::data::DataError),
}

impl LmError {
    pub(crate) fn io<'a>(
        action: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// Says of an error which sample it is about, counted from 0 here.
    pub(crate) fn of_sample(index: usize) -> impl FnOnce(Self) -> Self {
        move |error| Self::Sample { number: index + 1, error: Box::new(error) }
    }

    pub(crate) fn file(path: &Path, what: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), what: what.into() }
    }
}

fn at_line(line: usize) -> String {
    if line == 0 { String::new() } else { format!(", line {line}") }
}
