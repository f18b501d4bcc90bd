//! What the caller and the helper say to each other, over one socket: a [`Request`] with the program's descriptors,
//! then lines of [`Report`].

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Deserialize, Serialize};

use super::{Availability, Mechanism, system};

#[derive(Serialize, Deserialize)]
pub(super) enum Request {
    /// Report what the machine has.
    Probe,
    /// Run a program; its standard input, output, error and perhaps its channel come along.
    Run(Box<Spec>),
}

#[derive(Serialize, Deserialize)]
pub(super) struct Spec {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub files: BTreeMap<String, String>,
    pub using: Vec<Mechanism>,
    /// Whether the helper is within Bubblewrap's namespaces already.
    pub wrapped: bool,
    pub binds: Vec<Bind>,
    /// Where the program starts and may write.
    pub directory: PathBuf,
    pub limits: Limits,
}

impl Spec {
    pub fn uses(&self, mechanism: Mechanism) -> bool {
        self.using.contains(&mechanism)
    }
}

/// A path of the sandbox's file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Bind {
    /// The same as outside.
    Same { at: PathBuf, from: PathBuf, directory: bool },
    /// A symbolic link.
    Link { at: PathBuf, to: PathBuf },
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Limits {
    pub cpu_seconds: u64,
    pub memory_bytes: u64,
    pub processes: u64,
    pub file_bytes: u64,
    pub disk_bytes: u64,
    pub open_files: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    Probed(Vec<Availability>),
    Ended { code: Option<i32>, signal: Option<i32>, peak_memory_bytes: u64 },
    Failed(String),
}

/// The most descriptors that a request brings.
const DESCRIPTORS_MAX: usize = 4;

pub(super) fn send_request(
    mut socket: &UnixStream,
    request: &Request,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let body = serde_json::to_vec(request).map_err(io::Error::other)?;
    let header = (body.len() as u64).to_le_bytes();
    let numbers: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let messages = if numbers.is_empty() { &[][..] } else { &rights[..] };
    let sent = sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(&header)],
        messages,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    if sent != header.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    socket.write_all(&body)
}

pub(super) fn receive_request(mut socket: &UnixStream) -> io::Result<(Request, Vec<OwnedFd>)> {
    let mut header = [0; 8];
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; DESCRIPTORS_MAX]);
    let mut parts = [IoSliceMut::new(&mut header)];
    let message = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_WAITALL,
    )?;
    let mut descriptors = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = part {
            descriptors.extend(system::received(&numbers));
        }
    }
    if message.bytes != 8 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut body = vec![0; u64::from_le_bytes(header) as usize];
    socket.read_exact(&mut body)?;
    let request = serde_json::from_slice(&body).map_err(io::Error::other)?;
    Ok((request, descriptors))
}

/// Sends a report; where nobody listens any more, nobody needs it.
pub(super) fn send_report(mut socket: &UnixStream, report: &Report) {
    if let Ok(mut line) = serde_json::to_vec(report) {
        line.push(b'\n');
        let _ = socket.write_all(&line);
    }
}
