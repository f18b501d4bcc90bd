use std::io;
use std::path::PathBuf;

use super::Availability;
use crate::Failed;

/// Why no program could be run. What a program does wrong is an [`Outcome`](super::Outcome).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// A value of the configuration cannot be used.
    #[error("sandbox: {field} = {value} must be {right}")]
    Config {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        right: &'static str,
    },
    /// This machine lacks a mechanism, and the configuration does not accept that.
    #[error(
        "this machine lacks what a sandbox is made of: {}. accept_without = [{}] accepts the weaker sandbox",
        problems(.0), names(.0)
    )]
    Missing(Vec<Availability>),
    /// Bubblewrap was asked for, and it is not installed or does not start the helper.
    #[error("sandbox: bubblewrap = always cannot be done here: {0}. `auto` and `never` go without")]
    Bubblewrap(String),
    /// Sandboxes are made of what Linux has.
    #[error("programs can be sandboxed on Linux only, this is {}", std::env::consts::OS)]
    NotLinux,
    /// The helper cannot be started.
    #[error("cannot start the sandbox's helper {}: {source}", program.display())]
    Helper {
        /// Its program.
        program: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// Nothing is heard from the helper any more.
    #[error("the sandbox's helper {} ended without a word ({status})", program.display())]
    HelperEnded {
        /// Its program.
        program: PathBuf,
        /// How it ended.
        status: String,
    },
    /// The helper could not set up the sandbox.
    #[error("sandbox: {0}")]
    Setup(String),
    /// The operating system refused something.
    #[error("sandbox: cannot {action}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The refusal.
        source: io::Error,
    },
}

impl SandboxError {
    #[cfg(target_os = "linux")]
    pub(super) fn io<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { action, source: source.into() }
    }
}

impl From<SandboxError> for Failed {
    /// A sample whose program could not be run.
    fn from(error: SandboxError) -> Self {
        Self(error.to_string())
    }
}

fn problems(missing: &[Availability]) -> String {
    let one = |lack: &Availability| {
        let problem = lack.problem.as_deref().unwrap_or("not there");
        format!("{} ({problem}; without it {})", lack.mechanism, lack.mechanism.without())
    };
    missing.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn names(missing: &[Availability]) -> String {
    let quoted = missing.iter().map(|lack| format!("\"{}\"", lack.mechanism));
    quoted.collect::<Vec<_>>().join(", ")
}
