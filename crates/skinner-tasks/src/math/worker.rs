//! A second opinion on answers: Python's math-verify in a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

const SCRIPT: &str = include_str!("worker.py");
/// Importing math-verify takes seconds on a slow disk.
const START: Duration = Duration::from_secs(60);
/// Longer lines are no answer.
const MAX_LINE: usize = 1 << 20;

/// What goes wrong with the process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// Python is not there.
    #[error(
        "cannot start `{python}`: {source}; fallback = \"math-verify\" needs Python 3.10 or newer"
    )]
    Start {
        /// What was started.
        python: String,
        /// The refusal.
        source: std::io::Error,
    },
    /// The package is not there.
    #[error(
        "`{python}` cannot use math-verify ({what}); install it: \
         {python} -m pip install 'math-verify[antlr4_13_2]'"
    )]
    Package {
        /// What was started.
        python: String,
        /// What it said.
        what: String,
    },
    /// It took too long, and was ended.
    #[error("no answer within {0:?}; it was started anew")]
    Timeout(Duration),
    /// It ended.
    #[error("the process ended; it was started anew")]
    Ended,
    /// It said something that is no answer.
    #[error("it answered {0:?}; it was started anew")]
    Rubbish(String),
    /// It could not decide.
    #[error("{0}")]
    Undecided(String),
}

/// A warm process that compares answers, one line of JSON at a time.
#[derive(Debug)]
pub struct Worker {
    python: String,
    script: String,
    limit: Duration,
    process: Option<Process>,
    /// Of the next question.
    id: u64,
}

#[derive(Debug)]
struct Process {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

/// A line from the process.
#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    ready: bool,
    id: Option<u64>,
    equal: Option<bool>,
    error: Option<String>,
}

impl Worker {
    /// Starts Python with math-verify and waits until it is imported.
    ///
    /// # Errors
    /// If Python or the package is not there.
    pub fn math_verify(python: &str, limit: Duration) -> Result<Self, WorkerError> {
        Self::with_script(python, SCRIPT, limit)
    }

    /// As [`Worker::math_verify`], with another script of the same protocol: `{"ready": true}` at the
    /// start; then for each line `{"id", "expected", "given"}` a line `{"id", "equal"}` or
    /// `{"id", "error"}`.
    ///
    /// # Errors
    /// If the process does not start or does not get ready.
    pub fn with_script(python: &str, script: &str, limit: Duration) -> Result<Self, WorkerError> {
        let [python, script] = [python, script].map(str::to_owned);
        let mut worker = Self { python, script, limit, process: None, id: 0 };
        worker.start()?;
        Ok(worker)
    }

    /// Whether two answers are equal. Whatever goes wrong, the next question gets a fresh process.
    ///
    /// # Errors
    /// If there is no verdict within the limit.
    pub fn equal(&mut self, expected: &str, given: &str) -> Result<bool, WorkerError> {
        if self.process.is_none() {
            self.start()?;
        }
        self.id += 1;
        let verdict = self.ask(expected, given);
        if !matches!(verdict, Ok(_) | Err(WorkerError::Undecided(_))) {
            self.stop();
        }
        verdict
    }

    fn ask(&mut self, expected: &str, given: &str) -> Result<bool, WorkerError> {
        let Some(process) = &mut self.process else { return Err(WorkerError::Ended) };
        let mut line = json!({ "id": self.id, "expected": expected, "given": given }).to_string();
        line.push('\n');
        // A process that hangs does not read: more than a pipe holds would block this one too.
        if line.len() > 32 << 10 {
            return Err(WorkerError::Undecided(format!("{} bytes are too many", line.len())));
        }
        process.stdin.write_all(line.as_bytes()).map_err(|_| WorkerError::Ended)?;
        let reply = process.line(self.limit)?;
        match parse(&reply)? {
            Reply { id, equal: Some(equal), .. } if id == Some(self.id) => Ok(equal),
            Reply { error: Some(error), .. } => Err(WorkerError::Undecided(error)),
            _ => Err(WorkerError::Rubbish(short(&reply))),
        }
    }

    fn start(&mut self) -> Result<(), WorkerError> {
        let start = |source| WorkerError::Start { python: self.python.clone(), source };
        let mut child = Command::new(&self.python)
            .args(["-c", &self.script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(start)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(WorkerError::Ended);
        };
        let (sender, lines) = sync_channel(16);
        std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            while let Some(line) = read_line(&mut stdout) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let process = self.process.insert(Process { child, stdin, lines });
        let ready = process.line(START).and_then(|line| parse(&line));
        let what = match ready {
            Ok(Reply { ready: true, .. }) => return Ok(()),
            Ok(Reply { error: Some(error), .. }) => error,
            Ok(_) => "it is not ready".to_owned(),
            Err(error) => error.to_string(),
        };
        self.stop();
        Err(WorkerError::Package { python: self.python.clone(), what })
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Process {
    fn line(&mut self, limit: Duration) -> Result<String, WorkerError> {
        let start = Instant::now();
        self.lines.recv_timeout(limit.saturating_sub(start.elapsed())).map_err(
            |error| match error {
                RecvTimeoutError::Timeout => WorkerError::Timeout(limit),
                RecvTimeoutError::Disconnected => WorkerError::Ended,
            },
        )
    }
}

/// A line of at most [`MAX_LINE`] bytes, without its end; nothing at the end of the stream.
fn read_line(stream: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    let count = std::io::Read::take(&mut *stream, MAX_LINE as u64).read_until(b'\n', &mut line);
    let count = count.ok()?;
    (count > 0).then(|| String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn parse(line: &str) -> Result<Reply, WorkerError> {
    serde_json::from_str(line).map_err(|_| WorkerError::Rubbish(short(line)))
}

fn short(line: &str) -> String {
    line.chars().take(80).collect()
}
