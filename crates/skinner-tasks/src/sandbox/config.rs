use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Mechanism, SandboxError};

/// Whether namespaces are made by Bubblewrap, `bwrap`, instead of by the sandbox itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BubblewrapUse {
    /// Where the kernel does not let the sandbox make them itself, and it is installed.
    #[default]
    Auto,
    /// Always; it is an error if it does not work.
    Always,
    /// Never.
    Never,
}

/// What a sandboxed program may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxConfig {
    /// Wall-clock time until the program is killed, in seconds. Each of its processes may compute for as long.
    pub wall_seconds: f64,
    /// Address space of each process, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads at one time. Together they may use `processes` times `memory_bytes`.
    pub processes: u64,
    /// The largest file that may be written, in bytes.
    pub file_bytes: u64,
    /// Size of the private directory with all of its files, in bytes. It lies in memory.
    pub disk_bytes: u64,
    /// Open files of each process.
    pub open_files: u64,
    /// What is kept of each of standard output and error, in bytes. A program that writes more is killed.
    pub output_bytes: usize,
    /// The longest line that a program may send over its channel, in bytes.
    pub line_bytes: usize,
    /// Files and directories that may be read and executed, besides those of the system's programs and libraries.
    pub readable: Vec<PathBuf>,
    /// The environment variables that are set, besides `PATH`, `HOME`, `TMPDIR` and `LANG`.
    pub environment: BTreeMap<String, String>,
    /// Mechanisms that this machine may lack. Each is used where it is there.
    pub accept_without: Vec<Mechanism>,
    /// Whether Bubblewrap makes the namespaces.
    pub bubblewrap: BubblewrapUse,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            wall_seconds: 10.0,
            memory_bytes: 512 << 20,
            processes: 16,
            file_bytes: 16 << 20,
            disk_bytes: 64 << 20,
            open_files: 64,
            output_bytes: 1 << 20,
            line_bytes: 4 << 20,
            readable: Vec::new(),
            environment: BTreeMap::new(),
            accept_without: Vec::new(),
            bubblewrap: BubblewrapUse::Auto,
        }
    }
}

/// The longest time that may be asked for, in seconds: a day.
const WALL_SECONDS_MAX: f64 = 86_400.0;
/// The smallest address space that a program starts in, in bytes.
const MEMORY_BYTES_MIN: u64 = 4 << 20;

impl SandboxConfig {
    /// Says what is wrong with the values.
    ///
    /// # Errors
    /// Names the field, its value and what would be right.
    pub fn validate(&self) -> Result<(), SandboxError> {
        let wrong = |field: &'static str, value: String, right: &'static str| {
            Err(SandboxError::Config { field, value, right })
        };
        if !(self.wall_seconds > 0.0 && self.wall_seconds <= WALL_SECONDS_MAX) {
            return wrong("wall_seconds", self.wall_seconds.to_string(), "above 0, at most 86400");
        }
        if self.memory_bytes < MEMORY_BYTES_MIN {
            return wrong("memory_bytes", self.memory_bytes.to_string(), "at least 4194304");
        }
        if self.disk_bytes < 4096 {
            return wrong("disk_bytes", self.disk_bytes.to_string(), "at least 4096");
        }
        if self.open_files < 8 {
            return wrong("open_files", self.open_files.to_string(), "at least 8");
        }
        let counts = [
            ("processes", self.processes),
            ("output_bytes", self.output_bytes as u64),
            ("line_bytes", self.line_bytes as u64),
        ];
        if let Some(&(field, value)) = counts.iter().find(|(_, value)| *value == 0) {
            return wrong(field, value.to_string(), "at least 1");
        }
        match self.readable.iter().find(|path| !path.is_absolute()) {
            Some(path) => wrong("readable", path.display().to_string(), "an absolute path"),
            None => Ok(()),
        }
    }

    #[cfg(target_os = "linux")]
    pub(super) fn wall(&self) -> std::time::Duration {
        std::time::Duration::from_secs_f64(self.wall_seconds)
    }
}
