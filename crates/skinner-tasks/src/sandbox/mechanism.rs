use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

/// Something of the kernel that keeps a program in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mechanism {
    /// A user namespace: no capability counts outside of it, and processes are counted for each sandbox alone.
    UserNamespace,
    /// A PID namespace: other processes are not seen, and all of its own die with the first of them.
    PidNamespace,
    /// A mount namespace: of the file system there is only what may be read, and a directory in memory.
    MountNamespace,
    /// A network namespace without any device.
    NetworkNamespace,
    /// IPC and UTS namespaces: no shared memory of others, another host's name.
    IpcNamespace,
    /// A user without rights, where the caller is root.
    UnprivilegedUser,
    /// Landlock: rules on paths, TCP ports, signals and abstract sockets that a process cannot take off.
    Landlock,
    /// Seccomp: a list of the system calls that are allowed.
    Seccomp,
}

impl Mechanism {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::UserNamespace,
        Self::PidNamespace,
        Self::MountNamespace,
        Self::NetworkNamespace,
        Self::IpcNamespace,
        Self::UnprivilegedUser,
        Self::Landlock,
        Self::Seccomp,
    ];

    /// Its name in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserNamespace => "user_namespace",
            Self::PidNamespace => "pid_namespace",
            Self::MountNamespace => "mount_namespace",
            Self::NetworkNamespace => "network_namespace",
            Self::IpcNamespace => "ipc_namespace",
            Self::UnprivilegedUser => "unprivileged_user",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
        }
    }

    /// Whether Bubblewrap brings it.
    #[cfg(target_os = "linux")]
    pub(super) fn is_of_bubblewrap(self) -> bool {
        matches!(self, Self::UserNamespace | Self::UnprivilegedUser) || self.is_other_namespace()
    }

    #[cfg(target_os = "linux")]
    pub(super) fn is_other_namespace(self) -> bool {
        use Mechanism::{IpcNamespace, MountNamespace, NetworkNamespace, PidNamespace};
        matches!(self, PidNamespace | MountNamespace | NetworkNamespace | IpcNamespace)
    }

    /// What is weaker without it, as the rest of "without it …".
    pub fn without(self) -> &'static str {
        match self {
            Self::UserNamespace => "processes are counted for all sandboxes of the user together",
            Self::PidNamespace => "a program that forks fast may leave processes behind",
            Self::MountNamespace => {
                "the private directory lies on a disk, and Landlock alone hides files"
            }
            Self::NetworkNamespace => "seccomp alone keeps programs from the network",
            Self::IpcNamespace => "seccomp alone keeps programs from others' shared memory",
            Self::UnprivilegedUser => "the program runs as root",
            Self::Landlock => "the mount namespace alone hides files",
            Self::Seccomp => "a program may make every system call that its user may",
        }
    }
}

impl Display for Mechanism {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Whether this machine has a mechanism.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Availability {
    /// Which.
    pub mechanism: Mechanism,
    /// Why it cannot be used; `None` where it can.
    pub problem: Option<String>,
}
