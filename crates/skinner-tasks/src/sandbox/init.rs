//! The sandbox's first process. It prepares the place, starts the program, reports how it ended, and takes every
//! process of the sandbox with it when it ends itself.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Component, Path};
use std::process::{self, Command};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl;
use nix::sys::resource::{Resource, UsageWho, getrusage, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, sethostname, setsid};

use super::helper::said;
use super::protocol::{Limits, Report, Spec, send_report};
use super::{CHANNEL, Mechanism, filter, identity, paths, root, system};

/// Does all of it, and returns when the program has ended.
pub(super) fn run(
    socket: &UnixStream,
    spec: &Spec,
    descriptors: &[OwnedFd],
    was_root: bool,
) -> Result<(), String> {
    prepare(spec, was_root)?;
    let Some(program) = system::fork().map_err(said("fork"))? else {
        if let Err(problem) = become_program(spec, descriptors, was_root) {
            send_report(socket, &Report::Failed(problem));
        }
        process::exit(127);
    };
    let status = wait_for(program)?;
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| usage.max_rss());
    let (code, signal) = match status {
        WaitStatus::Signaled(_, signal, _) => (None, Some(signal as i32)),
        WaitStatus::Exited(_, code) => (Some(code), None),
        other => return Err(format!("the program's state is {other:?}")),
    };
    let peak_memory_bytes = u64::try_from(peak).unwrap_or(0) * 1024;
    send_report(socket, &Report::Ended { code, signal, peak_memory_bytes });
    Ok(())
}

fn prepare(spec: &Spec, was_root: bool) -> Result<(), String> {
    let dies_with_helper =
        || prctl::set_pdeathsig(Signal::SIGKILL).map_err(said("die with the helper"));
    dies_with_helper()?;
    let proc_self = identity::open_proc_self()?;
    if spec.uses(Mechanism::IpcNamespace) && !spec.wrapped {
        sethostname("sandbox").map_err(said("name the host"))?;
    }
    let drops = was_root && spec.uses(Mechanism::UnprivilegedUser);
    if spec.uses(Mechanism::MountNamespace) && !spec.wrapped {
        let owner = if was_root && !drops { 0 } else { identity::NOBODY };
        root::build(spec, owner)?;
    }
    if drops {
        become_nobody(spec)?;
    }
    if was_root && spec.uses(Mechanism::UserNamespace) {
        identity::enter_user_namespace(&proc_self)?;
    }
    prctl::set_dumpable(false).map_err(said("hide from debuggers"))?;
    // Another user's process does not die with its parent; it has to ask again.
    dies_with_helper()?;
    chdir(&spec.directory).map_err(said("enter the private directory"))?;
    place_files(&spec.files)
}

/// Gives up root, and with it a private directory on the disk.
pub(super) fn become_nobody(spec: &Spec) -> Result<(), String> {
    if !spec.uses(Mechanism::MountNamespace) {
        let nobody = Some(identity::NOBODY);
        std::os::unix::fs::chown(&spec.directory, nobody, nobody)
            .map_err(said("give the private directory away"))?;
    }
    identity::become_nobody()
}

fn place_files(files: &BTreeMap<String, String>) -> Result<(), String> {
    for (name, text) in files {
        let path = Path::new(name);
        let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !inside || name.is_empty() {
            return Err(format!("a file to place is {name:?}, must be a path below the directory"));
        }
        let problem = |error| format!("cannot place the file {name:?}: {error}");
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(problem)?;
        }
        fs::write(path, text).map_err(problem)?;
    }
    Ok(())
}

/// Waits for the program, and on the way for the orphans that the first process is given.
fn wait_for(program: Pid) -> Result<WaitStatus, String> {
    loop {
        match waitpid(None, None) {
            Ok(status) if status.pid() == Some(program) => return Ok(status),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(said("wait for the program")(error)),
        }
    }
}

/// Turns this process into the program. It returns only if that fails.
fn become_program(spec: &Spec, descriptors: &[OwnedFd], was_root: bool) -> Result<(), String> {
    let _ = setsid();
    let mut command = Command::new(&spec.program);
    command.args(&spec.arguments).env_clear().envs(&spec.environment);
    let [stdin, stdout, stderr, channel @ ..] = descriptors else {
        return Err(format!("{} descriptors came, must be 3 or 4", descriptors.len()));
    };
    if let Some(channel) = channel.first() {
        fcntl(channel, FcntlArg::F_SETFD(FdFlag::empty())).map_err(said("keep the channel"))?;
        command.env(CHANNEL, channel.as_raw_fd().to_string());
    }
    dup2_stdin(stdin).map_err(said("set standard input"))?;
    dup2_stdout(stdout).map_err(said("set standard output"))?;
    dup2_stderr(stderr).map_err(said("set standard error"))?;
    // In the caller's mount namespace it would be the caller's; Bubblewrap's shows more of the machine than processes.
    let own_namespaces = spec.uses(Mechanism::MountNamespace) && spec.uses(Mechanism::PidNamespace);
    let own_proc = own_namespaces && !spec.wrapped;
    if spec.uses(Mechanism::Landlock) {
        paths::restrict(&spec.binds, &spec.directory, own_proc)?;
    }
    // The first process is in the program's user namespace; the helper is too, if it needed one, and Bubblewrap's own.
    let own_processes = if was_root { 1 } else { 2 + u64::from(spec.wrapped) };
    limit(&spec.limits, own_processes).map_err(said("set limits"))?;
    if spec.uses(Mechanism::Seccomp) {
        filter::install(spec.uses(Mechanism::PidNamespace))?;
    } else {
        prctl::set_no_new_privs().map_err(said("renounce new privileges"))?;
    }
    Err(format!("cannot run {}: {}", spec.program.display(), command.exec()))
}

fn limit(limits: &Limits, own_processes: u64) -> nix::Result<()> {
    let values = [
        (Resource::RLIMIT_AS, limits.memory_bytes),
        (Resource::RLIMIT_FSIZE, limits.file_bytes),
        (Resource::RLIMIT_NOFILE, limits.open_files),
        (Resource::RLIMIT_NPROC, limits.processes.saturating_add(own_processes)),
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_MEMLOCK, 0),
        (Resource::RLIMIT_MSGQUEUE, 0),
    ];
    for (resource, value) in values {
        setrlimit(resource, value, value)?;
    }
    // First a signal that says why, then the one that nobody can ignore.
    setrlimit(Resource::RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds.saturating_add(1))
}
