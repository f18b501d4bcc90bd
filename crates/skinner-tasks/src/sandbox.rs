//! A place where a program runs that nobody has read: it computes, and nothing else comes of it.
//!
//! # What a program can do
//!
//! It may compute, fork, and write below its private directory, all within limits. It sees the system's programs and
//! libraries, read-only, four devices, a `/proc` of its own processes, and no other file, process or network. When it ends, or its time does, every process that it
//! started is killed by the kernel, and its files are gone.
//!
//! # How
//!
//! | mechanism | against |
//! |---|---|
//! | PID namespace | processes that outlive the program, signals to others, a look at others |
//! | mount namespace | a look at files, files left behind; the private directory is memory that goes with it |
//! | network namespace | any network, the machine's own included |
//! | IPC namespace | shared memory and queues of others |
//! | user namespace | capabilities, fork bombs (processes are counted in it) |
//! | unprivileged user | what root may do, also where a limit does not hold for root |
//! | Landlock | reading and writing files a second time, TCP, signals and sockets to the outside |
//! | seccomp | calls that no such program needs: `socket`, `ptrace`, `mount`, `unshare`, `bpf`, keys, `io_uring`, … |
//! | limits of resources | memory, files' sizes, open files, processes, computing time, core dumps |
//! | `no_new_privs`, an empty environment, three descriptors | programs with rights, secrets of the caller |
//!
//! Each alone is enough against most of what its row says; an error in one of them is not an escape.
//!
//! # Processes
//!
//! ```text
//! caller ──socket──▶ helper ──fork──▶ first process ──fork──▶ program
//!  any threads        outside          PID 1 of the sandbox    execve
//! ```
//!
//! The caller may have any number of threads, so nothing is done between its `fork` and `exec`: it starts the helper
//! ([`helper_main`]), a process with one thread, and sends it the request and the program's descriptors over a socket.
//! The helper enters the namespaces, and kills the first process when that socket closes: when the caller wants it, and
//! when the caller is killed. The first process dies with the helper, and the kernel kills a PID namespace with its
//! first process.
//!
//! Where the kernel keeps namespaces from ordinary programs but not from `bwrap` (Bubblewrap), the helper is started by
//! that, within its namespaces, and goes on from there: [`BubblewrapUse`]. Programs then do not see `/proc`.
//!
//! # In a program
//!
//! The program that uses sandboxes is its own helper, by a hidden subcommand:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use skinner_tasks::sandbox::{Helper, Program, Sandbox, SandboxConfig, helper_main};
//!
//! fn main() -> ExitCode {
//!     // Before anything else, and before any thread.
//!     if std::env::args().nth(1).as_deref() == Some("sandbox-helper") {
//!         return helper_main();
//!     }
//!     let sandbox = Sandbox::new(SandboxConfig::default(), Helper::own("sandbox-helper"));
//!     let outcome = sandbox.and_then(|sandbox| sandbox.run(&Program::new("id", &[])));
//!     assert_eq!(outcome.unwrap().stdout, b"uid=65534 gid=65534 groups=65534\n");
//!     ExitCode::SUCCESS
//! }
//! ```
//!
//! # What it does not do
//!
//! It does not hide the clock or the processor's kind, and a program may use all of a processor's time until its
//! own is over. A flaw of the kernel itself is not kept in: a virtual machine would do that.

mod config;
mod error;
mod mechanism;

#[cfg(target_os = "linux")]
mod bubblewrap;
#[cfg(target_os = "linux")]
mod directory;
#[cfg(target_os = "linux")]
mod filter;
#[cfg(target_os = "linux")]
mod helper;
#[cfg(target_os = "linux")]
mod identity;
#[cfg(target_os = "linux")]
mod init;
#[cfg(target_os = "linux")]
mod paths;
#[cfg(target_os = "linux")]
mod probe;
#[cfg(target_os = "linux")]
mod protocol;
#[cfg(target_os = "linux")]
mod root;
#[cfg(target_os = "linux")]
mod running;
#[cfg(target_os = "linux")]
mod start;
#[cfg(target_os = "linux")]
mod system;

#[cfg(not(target_os = "linux"))]
mod elsewhere;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use config::{BubblewrapUse, SandboxConfig};
#[cfg(not(target_os = "linux"))]
pub use elsewhere::{Running, Sandbox, helper_main, mechanisms};
pub use error::SandboxError;
#[cfg(target_os = "linux")]
pub use helper::helper_main;
pub use mechanism::{Availability, Mechanism};
#[cfg(target_os = "linux")]
pub use running::Running;
#[cfg(target_os = "linux")]
pub use start::{Sandbox, mechanisms};

/// The environment variable that tells a program the number of its channel's descriptor.
pub const CHANNEL: &str = "SANDBOX_CHANNEL";

/// The command that starts a process which calls [`helper_main`] at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    /// Its program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl Helper {
    /// A program with its arguments.
    pub fn new(program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { program: program.into(), arguments }
    }

    /// The running program itself with one argument, its hidden subcommand. It is found also when its file has been
    /// replaced since.
    pub fn own(subcommand: &str) -> Self {
        Self::new("/proc/self/exe", &[subcommand])
    }
}

/// A program to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Its file: an absolute path, or a name below `/usr/bin`, or a file placed in the private directory (`./name`).
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// What it reads from standard input.
    pub stdin: Vec<u8>,
    /// Texts that are placed in its private directory, where it starts, by their relative paths.
    pub files: BTreeMap<String, String>,
}

impl Program {
    /// A program with its arguments.
    pub fn new(program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { program: program.into(), arguments, ..Self::default() }
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with a code.
    Exited(i32),
    /// By a signal that the caller did not send.
    Signalled(i32),
    /// Killed: its time was over.
    TimedOut,
    /// Killed: it wrote more than may be kept.
    OutputCapped,
    /// Killed: the caller had enough.
    Stopped,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(formatter, "ended with code {code}"),
            Self::Signalled(signal) => write!(formatter, "was ended by signal {signal}"),
            Self::TimedOut => formatter.write_str("ran out of time"),
            Self::OutputCapped => formatter.write_str("wrote too much"),
            Self::Stopped => formatter.write_str("was stopped"),
        }
    }
}

/// What came of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// Its standard output, up to the cap.
    pub stdout: Vec<u8>,
    /// Its standard error, up to the cap.
    pub stderr: Vec<u8>,
    /// From its start to its end.
    pub wall: Duration,
    /// The most memory that one of its processes had at one time, in bytes; `None` for one that was killed.
    pub peak_memory_bytes: Option<u64>,
}

impl Outcome {
    /// Whether it failed and its last words are those of a program that got no more memory. The kernel does not say
    /// so itself; this is for a reason that a person reads, not for grading.
    pub fn memory_limited(&self) -> bool {
        const WORDS: [&str; 5] = [
            "MemoryError",
            "bad_alloc",
            "out of memory",
            "Cannot allocate memory",
            "memory allocation of",
        ];
        let words = String::from_utf8_lossy(&self.stderr);
        self.ended != Ended::Exited(0) && WORDS.iter().any(|word| words.contains(word))
    }
}
