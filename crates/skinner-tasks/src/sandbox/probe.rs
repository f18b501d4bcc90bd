//! Tries each mechanism in a process of its own.

use std::process;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::geteuid;

use super::{Availability, Mechanism, filter, identity, paths, system};

/// Says of all mechanisms whether they work.
pub(super) fn all() -> Vec<Availability> {
    let one = |mechanism| Availability { mechanism, problem: apart(mechanism).err() };
    Mechanism::ALL.into_iter().map(one).collect()
}

/// Exit codes of the trial besides numbers of the system's errors.
const WORKS: i32 = 0;
const NO_NUMBER: i32 = 255;

fn apart(mechanism: Mechanism) -> Result<(), String> {
    let Some(child) = system::fork().map_err(|error| error.to_string())? else {
        // Its words are lost with its process; the number of the last error says the same.
        process::exit(match attempt(mechanism) {
            Ok(()) => WORKS,
            Err(_) => {
                Some(Errno::last_raw()).filter(|code| (1..255).contains(code)).unwrap_or(NO_NUMBER)
            }
        });
    };
    match waitpid(child, None) {
        Ok(WaitStatus::Exited(_, WORKS)) => Ok(()),
        Ok(WaitStatus::Exited(_, NO_NUMBER)) => Err("it does not work".to_owned()),
        Ok(WaitStatus::Exited(_, code)) => Err(Errno::from_raw(code).desc().to_owned()),
        other => Err(format!("{other:?}")),
    }
}

fn attempt(mechanism: Mechanism) -> Result<(), String> {
    let unshared = |flags| unshare(flags).map_err(|error| error.to_string());
    if !identity::is_mighty_root() && mechanism.is_other_namespace() {
        identity::enter_user_namespace(&identity::open_proc_self()?)?;
    }
    match mechanism {
        Mechanism::UserNamespace => identity::enter_user_namespace(&identity::open_proc_self()?),
        Mechanism::PidNamespace => unshared(CloneFlags::CLONE_NEWPID),
        Mechanism::MountNamespace => unshared(CloneFlags::CLONE_NEWNS).and_then(|()| try_mount()),
        Mechanism::NetworkNamespace => unshared(CloneFlags::CLONE_NEWNET),
        Mechanism::IpcNamespace => unshared(CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS),
        Mechanism::UnprivilegedUser if geteuid().is_root() => identity::become_nobody(),
        Mechanism::UnprivilegedUser => Ok(()),
        Mechanism::Landlock => paths::restrict(&[], "/".as_ref(), false),
        Mechanism::Seccomp => filter::install(true),
    }
}

/// Some systems let everybody enter a namespace but not use it.
fn try_mount() -> Result<(), String> {
    let none = None::<&str>;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none)
        .and_then(|()| mount(Some("tmpfs"), "/tmp", Some("tmpfs"), MsFlags::empty(), none))
        .map_err(|error| error.to_string())
}
