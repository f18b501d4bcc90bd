//! The sandbox's file system: what may be read, a few devices, and the private directory. All of it is mounted in
//! memory in a mount namespace, so it is gone when the last process is.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{chdir, pivot_root};

use super::Mechanism;
use super::helper::said;
use super::protocol::{Bind, Spec};

/// The devices of `/dev`.
pub(super) const DEVICES: [&str; 4] = ["null", "zero", "random", "urandom"];

/// Where the sandbox's own processes are.
pub(super) const PROC: &str = "/proc";

/// Where the old file system is while the new one is built.
const OLD: &str = "/.old";
/// Directories that may be covered for a moment.
const COVERED: [&str; 4] = ["/tmp", "/run", "/mnt", "/var"];
/// Files that the private directory may have.
const FILES_MAX: u32 = 8192;

/// Builds it and makes it the root.
pub(super) fn build(spec: &Spec, owner: u32) -> Result<(), String> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(said("keep mounts to the sandbox"))?;
    enter_memory()?;
    let (directory, size) = (&spec.directory, spec.limits.disk_bytes);
    let options = format!("size={size},nr_inodes={FILES_MAX},mode=0700,uid={owner},gid={owner}");
    make_directory(directory)?;
    memory(directory, &options).map_err(said("mount the private directory"))?;
    for bind in &spec.binds {
        place(bind)?;
    }
    make_directory(Path::new("/dev"))?;
    for name in DEVICES {
        let at = Path::new("/dev").join(name);
        bind_file(&at, &old(&at), MsFlags::empty())?;
    }
    if spec.uses(Mechanism::PidNamespace) {
        mount_proc()?;
    }
    umount2(OLD, MntFlags::MNT_DETACH).map_err(said("leave the old root"))?;
    fs::remove_dir(OLD).map_err(said("remove the old root"))?;
    remount_read_only(Path::new("/"), own_flags()).map_err(said("close the root"))
}

fn own_flags() -> MsFlags {
    MsFlags::MS_NOSUID | MsFlags::MS_NODEV
}

fn memory(at: &Path, options: &str) -> nix::Result<()> {
    mount(Some("tmpfs"), at, Some("tmpfs"), own_flags(), Some(options))
}

/// Mounts a `/proc` with the sandbox's own processes and nothing else. Loaders look there for a program's own libraries.
/// Some containers do not let it be mounted; few programs miss it.
fn mount_proc() -> Result<(), String> {
    make_directory(Path::new(PROC))?;
    let flags = own_flags() | MsFlags::MS_NOEXEC;
    let _ = mount(Some("proc"), PROC, Some("proc"), flags, Some("subset=pid"));
    Ok(())
}

/// Makes an empty file system in memory the root, with the old one below it.
fn enter_memory() -> Result<(), String> {
    let covered = COVERED.iter().find(|path| Path::new(path).is_dir());
    let base = Path::new(covered.ok_or("there is no /tmp to mount a root on")?);
    memory(base, "size=1m,mode=0755").map_err(said("mount a root"))?;
    let old = base.join(&OLD[1..]);
    fs::create_dir(&old).map_err(said("make a place for the old root"))?;
    pivot_root(base, &old).map_err(said("change the root"))?;
    chdir("/").map_err(said("enter the new root"))
}

fn old(path: &Path) -> PathBuf {
    Path::new(OLD).join(path.strip_prefix("/").unwrap_or(path))
}

fn make_directory(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| format!("cannot make {}: {error}", path.display()))
}

fn place(bind: &Bind) -> Result<(), String> {
    let at = match bind {
        Bind::Same { at, .. } | Bind::Link { at, .. } => at,
    };
    make_directory(at.parent().unwrap_or(Path::new("/")))?;
    match bind {
        Bind::Link { at, to } => {
            symlink(to, at).map_err(|error| format!("cannot link {}: {error}", at.display()))
        }
        Bind::Same { at, from, directory: true } => {
            make_directory(at)?;
            bind_path(at, &old(from), own_flags())
        }
        Bind::Same { at, from, directory: false } => bind_file(at, &old(from), own_flags()),
    }
}

fn bind_file(at: &Path, from: &Path, flags: MsFlags) -> Result<(), String> {
    File::create(at).map_err(|error| format!("cannot make {}: {error}", at.display()))?;
    bind_path(at, from, flags)
}

/// Binds a path; with flags, read-only too.
fn bind_path(at: &Path, from: &Path, flags: MsFlags) -> Result<(), String> {
    let none = None::<&str>;
    mount(Some(from), at, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
        .and_then(|()| if flags.is_empty() { Ok(()) } else { remount_read_only(at, flags) })
        .map_err(|error| format!("cannot bind {}: {error}", at.display()))
}

/// Flags that a mount has already must be repeated: a user namespace may not take them off.
fn remount_read_only(at: &Path, flags: MsFlags) -> nix::Result<()> {
    let present = statvfs(at)?.flags();
    let kept = [
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    let mut all = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    for (has, keep) in kept {
        if present.contains(has) {
            all |= keep;
        }
    }
    mount(None::<&str>, at, None::<&str>, all, None::<&str>)
}
