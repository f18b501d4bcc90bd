//! The steps that Rust's library has no safe call for.
#![expect(unsafe_code, reason = "fork, and file descriptors by their numbers; see each place")]

use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{ForkResult, Pid};

/// Forks this process, which must have one thread. The child has `None`.
pub(super) fn fork() -> io::Result<Option<Pid>> {
    if threads()? != 1 {
        return Err(io::Error::other("the helper has more than one thread"));
    }
    // SAFETY: the process has one thread, as was just checked and as it alone could change. So no lock is held by a
    // thread that the child lacks, and the child may go on as any program.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Some(child)),
        ForkResult::Child => Ok(None),
    }
}

/// How many threads there are; 1 where `/proc` has been left behind, which only happens after a first look.
fn threads() -> io::Result<usize> {
    match fs::read_dir("/proc/self/task") {
        Ok(tasks) => Ok(tasks.count()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(1),
        Err(error) => Err(error),
    }
}

/// Takes over descriptors that a message brought.
pub(super) fn received(descriptors: &[RawFd]) -> Vec<OwnedFd> {
    // SAFETY: `recvmsg` has just made these descriptors for this process, and nobody else knows their numbers.
    descriptors.iter().map(|&number| unsafe { OwnedFd::from_raw_fd(number) }).collect()
}

/// Keeps from the program what the caller's own caller may have left open: all but the three standard descriptors are
/// closed when another program is executed.
pub(super) fn seal_descriptors() -> io::Result<()> {
    let (first, last, flags) = (3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: the call takes three numbers and changes no memory. It closes nothing now, it sets a flag.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}
