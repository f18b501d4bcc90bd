//! Who the sandboxed program is: nobody, in a user namespace of its own.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;

use nix::fcntl::{OFlag, open, openat};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, getegid, geteuid, setgroups, setresgid, setresuid};

use super::helper::said;

/// The user and group of sandboxed programs, by the kernel's convention one that owns nothing.
pub(super) const NOBODY: u32 = 65_534;

/// A handle on `/proc/self` that stays when `/proc` is out of sight.
pub(super) fn open_proc_self() -> Result<OwnedFd, String> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open("/proc/self", flags, Mode::empty()).map_err(said("open /proc/self"))
}

/// The capability to administer a system, as a bit of `/proc/self/status`.
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Whether this is root with root's rights: in many containers it is root without them.
pub(super) fn is_mighty_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    geteuid().is_root() && bits.is_some_and(|bits| bits & CAP_SYS_ADMIN != 0)
}

/// Gives up root for nobody.
pub(super) fn become_nobody() -> Result<(), String> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setgroups(&[]).map_err(said("leave root's groups"))?;
    setresgid(group, group, group).map_err(said("become group nobody"))?;
    setresuid(user, user, user).map_err(said("become user nobody"))?;
    // Else the files of /proc/self belong to root still.
    prctl::set_dumpable(true).map_err(said("own /proc/self"))
}

/// Enters a user namespace where the present user is nobody and there is no other.
pub(super) fn enter_user_namespace(proc_self: &OwnedFd) -> Result<(), String> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(said("enter a user namespace"))?;
    write(proc_self, "setgroups", "deny")?;
    write(proc_self, "gid_map", &format!("{NOBODY} {group} 1"))?;
    write(proc_self, "uid_map", &format!("{NOBODY} {user} 1"))
}

fn write(proc_self: &OwnedFd, name: &'static str, text: &str) -> Result<(), String> {
    let problem = |error: std::io::Error| format!("cannot write /proc/self/{name}: {error}");
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let file =
        openat(proc_self, name, flags, Mode::empty()).map_err(|error| problem(error.into()))?;
    File::from(file).write_all(text.as_bytes()).map_err(problem)
}
