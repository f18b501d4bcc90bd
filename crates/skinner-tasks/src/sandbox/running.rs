//! A program that runs: what goes in, what comes out, and its end. One thread serves all of its pipes.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::directory::PrivateDirectory;
use super::protocol::Report;
use super::{Ended, Outcome, SandboxError};

/// The caller's ends of a program's descriptors.
pub(super) struct Pipes {
    pub stdin: PipeWriter,
    pub stdout: PipeReader,
    pub stderr: PipeReader,
    pub channel: Option<UnixStream>,
}

/// A program in its sandbox. Dropping it kills all of it.
pub struct Running {
    helper: Child,
    command: PathBuf,
    control: Option<UnixStream>,
    reports: Vec<u8>,
    stdin: Outgoing<PipeWriter>,
    stdout: Incoming<PipeReader>,
    stderr: Incoming<PipeReader>,
    said: Outgoing<UnixStream>,
    heard: Incoming<UnixStream>,
    started: Instant,
    deadline: Instant,
    killed: Option<Ended>,
    /// Held until the program has ended.
    _directory: Option<PrivateDirectory>,
}

/// What the program still has to take.
struct Outgoing<T> {
    to: Option<T>,
    bytes: Vec<u8>,
    taken: usize,
}

/// What the program has given.
struct Incoming<T> {
    from: Option<T>,
    bytes: Vec<u8>,
    cap: usize,
}

/// How long the sandbox may take to end when it is told to, before its helper is killed too.
const GRACE: Duration = Duration::from_secs(10);

/// How long a program that has closed its channel may take to end by itself.
const ENDING: Duration = Duration::from_millis(200);

impl Running {
    pub(super) fn new(
        helper: Child,
        command: PathBuf,
        control: UnixStream,
        pipes: Pipes,
        stdin: Vec<u8>,
        (output_bytes, line_bytes): (usize, usize),
        directory: Option<PrivateDirectory>,
    ) -> io::Result<Self> {
        let to = [pipes.stdin.as_fd(), pipes.stdout.as_fd(), pipes.stderr.as_fd()];
        let channel = pipes.channel.as_ref().map(AsFd::as_fd);
        for descriptor in to.into_iter().chain(channel).chain([control.as_fd()]) {
            fcntl(descriptor, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        let heard = pipes.channel.as_ref().map(UnixStream::try_clone).transpose()?;
        let now = Instant::now();
        Ok(Self {
            helper,
            command,
            control: Some(control),
            reports: Vec::new(),
            stdin: Outgoing::new(Some(pipes.stdin).filter(|_| !stdin.is_empty()), stdin),
            stdout: Incoming::new(Some(pipes.stdout), output_bytes),
            stderr: Incoming::new(Some(pipes.stderr), output_bytes),
            said: Outgoing::new(pipes.channel, Vec::new()),
            heard: Incoming::new(heard, line_bytes),
            started: now,
            deadline: now,
            killed: None,
            _directory: directory,
        })
    }

    /// Gives the program a time from now on, after which it is killed.
    pub fn within(mut self, time: Duration) -> Self {
        self.allow(time);
        self
    }

    /// Gives the program a new time from now on.
    pub fn allow(&mut self, time: Duration) {
        if self.killed.is_none() {
            self.deadline = Instant::now() + time;
        }
    }

    /// Sends a line over the channel; it leaves while [`hear`](Self::hear) waits.
    pub fn say(&mut self, line: &str) {
        self.said.bytes.extend_from_slice(line.as_bytes());
        self.said.bytes.push(b'\n');
    }

    /// Waits for the next line of the channel. `None`: there is none, because the program has closed the channel, has
    /// ended or was killed; [`finish`](Self::finish) says which.
    ///
    /// # Errors
    /// If the system does not let the program be heard.
    pub fn hear(&mut self) -> Result<Option<String>, SandboxError> {
        loop {
            if let Some(line) = self.heard.line() {
                return Ok(Some(line));
            }
            if self.heard.from.is_none() {
                return Ok(None);
            }
            if self.control.is_none() {
                self.heard.take_in(&mut [0; 16 << 10]);
                return Ok(self.heard.line());
            }
            self.step(true)?;
        }
    }

    /// Closes the channel and waits for the program's end.
    ///
    /// # Errors
    /// If the sandbox could not be set up.
    pub fn finish(mut self) -> Result<Outcome, SandboxError> {
        (self.said.to, self.heard.from) = (None, None);
        while self.control.is_some() {
            self.step(false)?;
        }
        self.drain();
        let status = self.helper.wait().map_err(SandboxError::io("wait for the helper"))?;
        let (ended, peak_memory_bytes) = match (self.killed, self.report()) {
            (Some(why), _) => (why, None),
            (None, Some(Report::Ended { code: Some(code), peak_memory_bytes, .. })) => {
                (Ended::Exited(code), Some(peak_memory_bytes))
            }
            (None, Some(Report::Ended { signal: Some(signal), peak_memory_bytes, .. })) => {
                (Ended::Signalled(signal), Some(peak_memory_bytes))
            }
            (None, Some(Report::Failed(problem))) => return Err(SandboxError::Setup(problem)),
            _ => {
                let (program, status) = (self.command.clone(), status.to_string());
                return Err(SandboxError::HelperEnded { program, status });
            }
        };
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        Ok(Outcome { ended, stdout, stderr, wall: self.started.elapsed(), peak_memory_bytes })
    }

    /// Kills the program and everything that it started.
    ///
    /// # Errors
    /// If the sandbox could not be set up.
    pub fn stop(mut self) -> Result<Outcome, SandboxError> {
        self.kill(Ended::Stopped);
        self.finish()
    }

    /// Kills a program that is of no more use. One that is just ending by itself may do so first, so that it can be
    /// said how.
    ///
    /// # Errors
    /// If the sandbox could not be set up.
    pub fn stop_unless_ended(mut self) -> Result<Outcome, SandboxError> {
        (self.said.to, self.heard.from) = (None, None);
        let last = Instant::now() + ENDING;
        self.deadline = self.deadline.min(last);
        while self.control.is_some() && self.killed.is_none() {
            if Instant::now() >= last {
                self.kill(Ended::Stopped);
            } else {
                self.step(false)?;
            }
        }
        self.finish()
    }

    fn kill(&mut self, why: Ended) {
        if self.killed.is_some() {
            // The helper was told and is late: its end is the sandbox's as well.
            let _ = self.helper.kill();
        }
        self.killed.get_or_insert(why);
        self.deadline = Instant::now() + GRACE;
        if let Some(control) = &self.control {
            let _ = control.shutdown(Shutdown::Write);
        }
    }

    /// The first report counts: a failure to set up comes before what it leads to.
    fn report(&self) -> Option<Report> {
        let line = self.reports.split(|&byte| byte == b'\n').next()?;
        serde_json::from_slice(line).ok()
    }

    /// Waits until something can be read or written, or the time is over, and does it.
    fn step(&mut self, listens: bool) -> Result<(), SandboxError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            self.kill(Ended::TimedOut);
            return Ok(());
        }
        self.wait(left, listens).map_err(SandboxError::io("wait for the program"))?;
        self.stdin.give();
        self.said.give_and_keep();
        self.drain();
        if listens {
            self.heard.take_in(&mut [0; 16 << 10]);
        }
        let full = [self.stdout.full(), self.stderr.full(), listens && self.heard.full_line()];
        if full.contains(&true) && self.killed.is_none() {
            self.kill(Ended::OutputCapped);
        }
        self.listen_to_helper();
        Ok(())
    }

    fn wait(&self, left: Duration, listens: bool) -> io::Result<()> {
        let (read, write) = (PollFlags::POLLIN, PollFlags::POLLOUT);
        let waited: [(Option<BorrowedFd<'_>>, PollFlags); 6] = [
            (self.control.as_ref().map(AsFd::as_fd), read),
            (self.stdout.from.as_ref().map(AsFd::as_fd), read),
            (self.stderr.from.as_ref().map(AsFd::as_fd), read),
            (self.heard.from.as_ref().map(AsFd::as_fd).filter(|_| listens), read),
            (self.stdin.to.as_ref().map(AsFd::as_fd), write),
            (self.said.to.as_ref().map(AsFd::as_fd).filter(|_| self.said.waits()), write),
        ];
        let mut list: Vec<_> = waited
            .into_iter()
            .filter_map(|(descriptor, flags)| Some(PollFd::new(descriptor?, flags)))
            .collect();
        let millis = left.as_millis().clamp(1, 60_000) as u16;
        match poll(&mut list, PollTimeout::from(millis)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn drain(&mut self) {
        let mut buffer = [0; 16 << 10];
        self.stdout.take_in(&mut buffer);
        self.stderr.take_in(&mut buffer);
    }

    fn listen_to_helper(&mut self) {
        let Some(control) = &mut self.control else { return };
        let mut buffer = [0; 4096];
        match control.read(&mut buffer) {
            Ok(count) if count > 0 => self.reports.extend_from_slice(&buffer[..count]),
            Err(error) if is_later(&error) => {}
            Ok(_) | Err(_) => self.control = None,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.helper.try_wait(), Ok(Some(_))) {
            return;
        }
        self.kill(Ended::Stopped);
        (self.stdout.from, self.stderr.from, self.stdin.to) = (None, None, None);
        while self.control.is_some() && self.step(false).is_ok() {}
        let _ = self.helper.wait();
    }
}

impl<T: Write> Outgoing<T> {
    fn new(to: Option<T>, bytes: Vec<u8>) -> Self {
        Self { to, bytes, taken: 0 }
    }

    fn waits(&self) -> bool {
        self.taken < self.bytes.len()
    }

    /// Writes what fits and closes when all is written.
    fn give(&mut self) {
        self.give_and_keep();
        if !self.waits() {
            self.to = None;
        }
    }

    fn give_and_keep(&mut self) {
        while self.waits() {
            let Some(to) = &mut self.to else { return };
            match to.write(&self.bytes[self.taken..]) {
                Ok(count) => self.taken += count,
                Err(error) if is_later(&error) => return,
                Err(_) => self.to = None,
            }
        }
        (self.bytes, self.taken) = (Vec::new(), 0);
    }
}

impl<T: Read> Incoming<T> {
    fn new(from: Option<T>, cap: usize) -> Self {
        Self { from, bytes: Vec::new(), cap }
    }

    /// Reads what is there, at most what may be kept and a little more.
    fn take_in(&mut self, buffer: &mut [u8]) {
        while self.bytes.len() <= self.cap {
            let Some(from) = &mut self.from else { return };
            match from.read(buffer) {
                Ok(count) if count > 0 => self.bytes.extend_from_slice(&buffer[..count]),
                Err(error) if is_later(&error) => return,
                Ok(_) | Err(_) => self.from = None,
            }
        }
    }

    /// Takes the first whole line.
    fn line(&mut self) -> Option<String> {
        let end = self.bytes.iter().position(|&byte| byte == b'\n')?;
        let rest = self.bytes.split_off(end + 1);
        let line = std::mem::replace(&mut self.bytes, rest);
        Some(String::from_utf8_lossy(&line[..end]).into_owned())
    }

    fn full(&self) -> bool {
        self.bytes.len() > self.cap
    }

    fn full_line(&self) -> bool {
        self.full() && !self.bytes.contains(&b'\n')
    }

    fn take(&mut self) -> Vec<u8> {
        self.bytes.truncate(self.cap);
        std::mem::take(&mut self.bytes)
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
