//! A program that is kept between batches.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A command, and its program while it runs.
pub(super) struct Process {
    command: Vec<String>,
    running: Option<Running>,
}

/// The program. A thread for each of its pipes, so that none can hold up the caller.
struct Running {
    child: Child,
    requests: Sender<String>,
    answers: Receiver<String>,
    last_words: Arc<Mutex<VecDeque<String>>>,
}

/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// What is kept of standard error: lines, and bytes of each.
const WORDS_LINES: usize = 5;
const WORDS_BYTES: u64 = 500;
/// How long a program that has closed its output may take to say why.
const DYING: Duration = Duration::from_millis(500);

impl Process {
    pub(super) fn new(command: Vec<String>) -> Self {
        Self { command, running: None }
    }

    /// Sends a request and reads the answer. After a failure the program is killed, so the next batch gets a new one.
    pub(super) fn exchange<T>(
        &mut self,
        request: &str,
        time: Duration,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, String> {
        let deadline = Instant::now() + time;
        let mut running = match self.running.take().filter(Running::is_in_step) {
            Some(running) => running,
            None => Running::start(&self.command)?,
        };
        let answer = running.ask(request, deadline).and_then(|line| read(&line));
        match answer {
            Ok(answer) => {
                self.running = Some(running);
                Ok(answer)
            }
            Err(problem) => Err(running.end(problem)),
        }
    }
}

impl Running {
    fn start(command: &[String]) -> Result<Self, String> {
        let (program, arguments) = command.split_first().ok_or("there is no command")?;
        let mut command = Command::new(program);
        command.args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let problem = |error| format!("cannot start the reward program {program}: {error}");
        let mut child = command.spawn().map_err(problem)?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(format!("cannot reach the reward program {program}"));
        };
        let (requests, to_write) = channel();
        let (to_read, answers) = channel();
        let last_words = Arc::new(Mutex::new(VecDeque::new()));
        let words = Arc::clone(&last_words);
        thread::spawn(move || write(&to_write, stdin));
        thread::spawn(move || read(BufReader::new(stdout), &to_read));
        thread::spawn(move || listen(BufReader::new(stderr), &words));
        Ok(Self { child, requests, answers, last_words })
    }

    /// Whether it runs, and has said nothing that it was not asked for: that would be taken for the next answer.
    fn is_in_step(&self) -> bool {
        matches!(self.answers.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty))
    }

    fn ask(&mut self, request: &str, deadline: Instant) -> Result<String, String> {
        // Where the writer has ended the reader says why.
        let _ = self.requests.send(request.to_owned());
        let left = deadline.saturating_duration_since(Instant::now());
        self.answers.recv_timeout(left).map_err(|error| match error {
            RecvTimeoutError::Timeout => "the reward program did not answer in time".to_owned(),
            RecvTimeoutError::Disconnected => self.how_it_ended(),
        })
    }

    fn how_it_ended(&mut self) -> String {
        let until = Instant::now() + DYING;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return format!("the reward program ended ({status})"),
                Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
                _ => return "the reward program closed its output".to_owned(),
            }
        }
    }

    /// Kills it and adds its last words to the reason.
    fn end(self, problem: String) -> String {
        let words = Arc::clone(&self.last_words);
        drop(self);
        // Its other thread may still be reading them.
        let until = Instant::now() + DYING;
        while Arc::strong_count(&words) > 1 && Instant::now() < until {
            thread::sleep(Duration::from_millis(2));
        }
        let words = words.lock().unwrap_or_else(PoisonError::into_inner);
        let last: Vec<_> = words.iter().map(String::as_str).collect();
        if last.is_empty() { problem } else { format!("{problem}: {}", last.join(" | ")) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        {
            use nix::sys::signal::{Signal, killpg};
            let _ = killpg(nix::unistd::Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(requests: &Receiver<String>, mut stdin: ChildStdin) {
    for mut request in requests {
        request.push('\n');
        if stdin.write_all(request.as_bytes()).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

fn read(mut stdout: impl BufRead, answers: &Sender<String>) {
    loop {
        let mut line = Vec::new();
        let count = stdout.by_ref().take(ANSWER_BYTES_MAX).read_until(b'\n', &mut line);
        let whole = matches!(count, Ok(1..)) && line.ends_with(b"\n");
        if !whole || answers.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
            return;
        }
    }
}

fn listen(mut stderr: impl BufRead, words: &Mutex<VecDeque<String>>) {
    loop {
        let mut line = Vec::new();
        match stderr.by_ref().take(WORDS_BYTES).read_until(b'\n', &mut line) {
            Ok(count) if count > 0 => {}
            _ => return,
        }
        let line = String::from_utf8_lossy(&line).trim().to_owned();
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        if !line.is_empty() {
            words.push_back(line);
        }
        if words.len() > WORDS_LINES {
            words.pop_front();
        }
    }
}
