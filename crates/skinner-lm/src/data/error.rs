//! What can be wrong with data.

use std::fmt;
use std::io;
use std::sync::Arc;

/// Where a row comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, or `standard input`.
    pub file: Arc<str>,
    /// `line` or `row`; empty for a whole file.
    pub unit: &'static str,
    /// Counted from 1.
    pub number: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.unit.is_empty() { Ok(()) } else { write!(f, ", {} {}", self.unit, self.number) }
    }
}

/// Errors of data sets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A key of the configuration with a value that makes no sense.
    #[error("data.{key} = {value}: {requirement}")]
    Config {
        /// The key.
        key: &'static str,
        /// The value given.
        value: String,
        /// What would be right.
        requirement: String,
    },
    /// The operating system refused something.
    #[error("cannot read {file}: {source}")]
    Io {
        /// The file or folder.
        file: String,
        /// The refusal.
        source: io::Error,
    },
    /// A file that is no data set, or of a kind that cannot be read.
    #[error("{file}: {what}")]
    File {
        /// The file or folder.
        file: String,
        /// What is wrong with it, and what would be right.
        what: String,
    },
    /// A line or row that cannot be read.
    #[error("{place}: {what}; skip_broken_lines = true leaves such lines out")]
    Broken {
        /// Where.
        place: Place,
        /// What is wrong with it.
        what: String,
    },
    /// Columns that fit no format, or not the one asked for.
    #[error("{place}: the columns are {}, expected {expected}", list(found))]
    Columns {
        /// Where.
        place: Place,
        /// The columns there are.
        found: Vec<String>,
        /// The columns that would be right.
        expected: String,
    },
    /// Nothing is left to train on.
    #[error("{file}: {what}")]
    Empty {
        /// The file or folder.
        file: String,
        /// How it came to that.
        what: String,
    },
    /// No token of the data is a target.
    #[error("none of {examples} examples has a token to learn: {what}")]
    NoTargets {
        /// How many there were.
        examples: usize,
        /// Why they were dropped.
        what: String,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let quoted: Vec<String> = names.iter().take(20).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > 20 { ", …" } else { "" };
    quoted.join(", ") + more
}

impl DataError {
    pub(crate) fn io(file: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |source| Self::Io { file, source }
    }

    pub(crate) fn file(file: impl Into<String>, what: impl Into<String>) -> Self {
        Self::File { file: file.into(), what: what.into() }
    }

    pub(crate) fn broken(place: &Place, what: impl Into<String>) -> Self {
        Self::Broken { place: place.clone(), what: what.into() }
    }
}
