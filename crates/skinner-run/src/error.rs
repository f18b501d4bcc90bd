//! What can go wrong with a run's files.

use std::io;
use std::path::{Path, PathBuf};

use crate::recipe::RecipeError;

/// What went wrong with a run's files: what, where, and what would be right, in one line.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The operating system refused something.
    #[error("cannot {action} {}: {}", path.display(), explain(source))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// A run directory was asked for where there is a file.
    #[error("{} is not a directory: choose another --run-dir", path.display())]
    NotADirectory {
        /// The path that was given.
        path: PathBuf,
    },
    /// The directory already holds a run.
    #[error("{} already holds a run: continue it with --resume or choose another --run-dir", path.display())]
    HoldsARun {
        /// The run directory.
        path: PathBuf,
    },
    /// The directory holds something that is no run.
    #[error("{} is not empty (it holds `{entry}`) and is no run: choose another --run-dir", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// One of its entries.
        entry: String,
    },
    /// Another process holds the lock.
    #[error("{} is in use by another process: wait for it to end or choose another --run-dir", path.display())]
    InUse {
        /// The run directory.
        path: PathBuf,
    },
    /// There is no run to read.
    #[error("{} is no run directory: it has no recipe.toml", path.display())]
    NoRun {
        /// The path that was given.
        path: PathBuf,
    },
    /// A run directory that was opened for reading was to be written.
    #[error("{} was opened for reading only: create or resume the run to write to it", path.display())]
    ReadOnly {
        /// The run directory.
        path: PathBuf,
    },
    /// The run was made with another recipe.
    #[error(
        "{} was started with another recipe: {}; resume with the same values or choose another --run-dir",
        path.display(),
        differences.join("; ")
    )]
    RecipeDiffers {
        /// The run directory.
        path: PathBuf,
        /// One entry per key, with both values.
        differences: Vec<String>,
    },
    /// A recipe cannot be read.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A JSON file of the run cannot be read.
    #[error("{} cannot be read: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A file of a checkpoint is not what was written.
    #[error("checkpoint {} is damaged: {what}", path.display())]
    Damaged {
        /// The checkpoint's directory.
        path: PathBuf,
        /// The file and what is wrong with it.
        what: String,
    },
    /// A checkpoint was written in a format that this version does not know.
    #[error("checkpoint {} has format {found}, this version reads format {known}", path.display())]
    Format {
        /// The checkpoint's directory.
        path: PathBuf,
        /// The format it says it has.
        found: u64,
        /// The format that this version reads and writes.
        known: u64,
    },
    /// There are checkpoints, and none can be read.
    #[error(
        "none of the {} checkpoints in {} is valid ({first}): restore one or start again in another --run-dir",
        count,
        path.display()
    )]
    NoValidCheckpoint {
        /// The directory of checkpoints.
        path: PathBuf,
        /// How many there are.
        count: usize,
        /// What is wrong with the newest.
        first: Box<RunError>,
    },
    /// A checkpoint could not be written.
    #[error("cannot save the checkpoint of step {step}: {source}; {last}")]
    Save {
        /// The step of the checkpoint.
        step: u64,
        /// What went wrong.
        source: Box<RunError>,
        /// Which checkpoint is the last complete one.
        last: String,
    },
    /// A tensor's numbers do not fill its shape, or its name is taken.
    #[error("tensor `{name}` of shape {shape:?} with {len} numbers: {what}")]
    Tensor {
        /// Its name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// How many numbers it has.
        len: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A checkpoint lacks a tensor that its reader needs.
    #[error("the checkpoint of step {step} has no tensor `{name}`; it has {}", known.join(", "))]
    NoTensor {
        /// The checkpoint's step.
        step: u64,
        /// The tensor that was asked for.
        name: String,
        /// The tensors that are there.
        known: Vec<String>,
    },
    /// A log is shorter than it was when the checkpoint was written.
    #[error(
        "{} holds {found} {unit} and held {expected} when the checkpoint was written: restore the file or \
         start again in another --run-dir",
        path.display()
    )]
    LogCut {
        /// The log.
        path: PathBuf,
        /// What is counted: bytes or lines.
        unit: &'static str,
        /// What the checkpoint says.
        expected: u64,
        /// What the file holds.
        found: u64,
    },
    /// A report of nothing was asked for.
    #[error("no run directories to report on: name at least one")]
    NothingToReport,
}

impl RunError {
    pub(crate) fn io<'a>(
        action: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }

    pub(crate) fn malformed(path: &Path, what: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), what: what.into() }
    }
}

fn explain(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::StorageFull => "the disk is full".to_owned(),
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".to_owned(),
        io::ErrorKind::FileTooLarge => "the file would be larger than is allowed".to_owned(),
        io::ErrorKind::QuotaExceeded => "the disk quota is used up".to_owned(),
        _ => source.to_string(),
    }
}
