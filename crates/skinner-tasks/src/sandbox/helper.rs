//! The helper: a process of one thread that stays outside of the sandbox, starts the sandbox's first process and ends
//! it when the caller is gone or wants it.

use std::fs;
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{self, ExitCode};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid, getpid, setsid};

use super::Mechanism;
use super::protocol::{Report, Request, Spec, receive_request, send_report};
use super::{identity, init, probe, system};

/// What the helper's process does: it takes one request from the socket that is its standard input, and carries it
/// out. It must be called before the process starts any thread.
///
/// It is the body of a hidden subcommand of the program that uses [`Sandbox`](super::Sandbox); the code is not 0
/// where the process was not started by one.
pub fn helper_main() -> ExitCode {
    let Ok(socket) = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from) else {
        return ExitCode::from(2);
    };
    let Ok((request, descriptors)) = receive_request(&socket) else {
        return ExitCode::from(2);
    };
    match request {
        Request::Probe => send_report(&socket, &Report::Probed(probe::all())),
        Request::Run(spec) => {
            if let Err(problem) = supervise(&socket, &spec, descriptors) {
                send_report(&socket, &Report::Failed(problem));
            }
        }
    }
    ExitCode::SUCCESS
}

fn supervise(socket: &UnixStream, spec: &Spec, descriptors: Vec<OwnedFd>) -> Result<(), String> {
    system::seal_descriptors().map_err(said("seal descriptors"))?;
    // It only fails for a process that leads its group, which is then alone in it.
    let _ = setsid();
    prctl::set_child_subreaper(true).map_err(said("adopt orphans"))?;
    let root = identity::is_mighty_root();
    if !spec.wrapped {
        if geteuid().is_root() && !root && spec.uses(Mechanism::UnprivilegedUser) {
            // Namespaces are then open to it as to every user, if at all.
            init::become_nobody(spec)?;
        }
        enter_namespaces(spec, root)?;
    }
    let (alive, dies_with_init) = io::pipe().map_err(said("make a pipe"))?;
    let Some(first) = system::fork().map_err(said("fork"))? else {
        drop(alive);
        if let Err(problem) = init::run(socket, spec, &descriptors, root) {
            send_report(socket, &Report::Failed(problem));
        }
        drop(dies_with_init);
        process::exit(0);
    };
    drop((dies_with_init, descriptors));
    let killed = wait_or_kill(socket, &alive, first)?;
    let status = waitpid(first, None).map_err(said("wait for the sandbox"))?;
    if let (WaitStatus::Signaled(_, signal, _), false) = (status, killed) {
        let problem = format!("the sandbox's first process was killed by {signal}");
        send_report(socket, &Report::Failed(problem));
    }
    // Bubblewrap may end a moment before its PID namespace does.
    if spec.wrapped || !spec.uses(Mechanism::PidNamespace) {
        kill_adopted();
    }
    Ok(())
}

/// A user without root's rights needs a user namespace for all others; root gets one later, when it has no further use for
/// its rights.
fn enter_namespaces(spec: &Spec, root: bool) -> Result<(), String> {
    if !root && spec.uses(Mechanism::UserNamespace) {
        identity::enter_user_namespace(&identity::open_proc_self()?)?;
    }
    let flags = [
        (Mechanism::PidNamespace, CloneFlags::CLONE_NEWPID),
        (Mechanism::MountNamespace, CloneFlags::CLONE_NEWNS),
        (Mechanism::NetworkNamespace, CloneFlags::CLONE_NEWNET),
        (Mechanism::IpcNamespace, CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS),
    ];
    let used = flags.iter().filter(|(mechanism, _)| spec.uses(*mechanism));
    let all = used.fold(CloneFlags::empty(), |all, (_, flag)| all | *flag);
    unshare(all).map_err(said("enter new namespaces"))
}

/// Waits until the sandbox's first process ends, or kills it as soon as the caller has nothing more to hear.
fn wait_or_kill(socket: &UnixStream, alive: &PipeReader, first: Pid) -> Result<bool, String> {
    let ends = PollFlags::POLLIN;
    let mut waited = [PollFd::new(socket.as_fd(), ends), PollFd::new(alive.as_fd(), ends)];
    while let Err(error) = poll(&mut waited, PollTimeout::NONE) {
        if error != nix::errno::Errno::EINTR {
            return Err(said("wait for the sandbox")(error));
        }
    }
    let ended = waited[1].any().unwrap_or(true);
    if !ended {
        kill(first, Signal::SIGKILL).map_err(said("kill the sandbox"))?;
    }
    Ok(!ended)
}

/// How often the orphans are looked for: each time those are killed whose parents were killed before.
const SWEEPS: usize = 10_000;

/// Kills what the program left behind, where no PID namespace does.
fn kill_adopted() {
    for _ in 0..SWEEPS {
        for child in children() {
            let _ = kill(child, Signal::SIGKILL);
        }
        if waitpid(None, Some(WaitPidFlag::__WALL)).is_err() {
            return;
        }
    }
}

fn children() -> Vec<Pid> {
    let list = format!("/proc/self/task/{}/children", getpid());
    let text = fs::read_to_string(list).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

/// Says what could not be done.
pub(super) fn said<E: std::fmt::Display>(action: &'static str) -> impl FnOnce(E) -> String {
    move |error| format!("cannot {action}: {error}")
}
