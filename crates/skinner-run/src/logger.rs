//! The logs of a run: `metrics.jsonl`, `timing.jsonl` and the `TensorBoard` events.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use skinner_core::Metrics;

use crate::error::RunError;
use crate::run_dir::RunDir;
use crate::{files, recipe, tensorboard};

/// Where the logs stood when a checkpoint was written; all of it a function of recipe and seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogOffsets {
    /// Bytes of `metrics.jsonl`.
    pub metrics_bytes: u64,
    /// Lines of `timing.jsonl`, whose bytes depend on the clock.
    pub timing_lines: u64,
    /// Bytes of the event file.
    pub events_bytes: u64,
}

/// Appends what happened to all logs of a run.
#[derive(Debug)]
pub struct Logger {
    metrics: LogFile,
    timing: LogFile,
    timing_lines: u64,
    events: LogFile,
}

impl Logger {
    /// Cuts the logs back to `offsets`, or starts them when there are none.
    ///
    /// # Errors
    /// When a log cannot be written, or is shorter than its offset.
    pub fn open(run_dir: &RunDir, offsets: Option<LogOffsets>) -> Result<Self, RunError> {
        run_dir.writable()?;
        let events = run_dir.events_path();
        let dir = files::parent(&events);
        fs::create_dir_all(dir).map_err(RunError::io("create directory", dir))?;
        match offsets {
            None => Self::start(run_dir),
            Some(offsets) => Self::cut(run_dir, offsets),
        }
    }

    fn start(run_dir: &RunDir) -> Result<Self, RunError> {
        let mut logger = Self {
            metrics: LogFile::start(run_dir.metrics_path())?,
            timing: LogFile::start(run_dir.timing_path())?,
            timing_lines: 0,
            events: LogFile::start(run_dir.events_path())?,
        };
        let table = hyperparameters(&run_dir.recipe()?);
        let now = wall_time();
        let mut bytes = tensorboard::file_version(now);
        bytes.extend(tensorboard::text(now, 0, "hyperparameters", &table));
        logger.events.append(&bytes)?;
        Ok(logger)
    }

    fn cut(run_dir: &RunDir, offsets: LogOffsets) -> Result<Self, RunError> {
        let timing = run_dir.timing_path();
        let timing_bytes = bytes_of_lines(&timing, offsets.timing_lines)?;
        Ok(Self {
            metrics: LogFile::cut(run_dir.metrics_path(), offsets.metrics_bytes)?,
            timing: LogFile::cut(timing, timing_bytes)?,
            timing_lines: offsets.timing_lines,
            events: LogFile::cut(run_dir.events_path(), offsets.events_bytes)?,
        })
    }

    /// Appends one line of `metrics`, what training computed, and one of `timing`, what a clock measured.
    /// Either may be empty, and then has no line. Neither should hold a number called `step`.
    ///
    /// # Errors
    /// When a log cannot be written.
    pub fn log(&mut self, step: u64, metrics: &Metrics, timing: &Metrics) -> Result<(), RunError> {
        if !is_empty(metrics) {
            self.metrics.append(&line(step, metrics))?;
        }
        if !is_empty(timing) {
            self.timing.append(&line(step, timing))?;
            self.timing_lines += 1;
        }
        if is_empty(metrics) && is_empty(timing) {
            return Ok(());
        }
        let values = metrics.iter().chain(timing.iter());
        self.events.append(&tensorboard::scalars(wall_time(), step, values))
    }

    /// Waits until all lines are on the disk and says where the logs stand, for a checkpoint.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn offsets(&mut self) -> Result<LogOffsets, RunError> {
        for log in [&self.metrics, &self.timing, &self.events] {
            log.file.sync_data().map_err(RunError::io("write", &log.path))?;
        }
        Ok(LogOffsets {
            metrics_bytes: self.metrics.len,
            timing_lines: self.timing_lines,
            events_bytes: self.events.len,
        })
    }
}

fn is_empty(metrics: &Metrics) -> bool {
    metrics.iter().next().is_none()
}

struct Line<'a> {
    step: u64,
    metrics: &'a Metrics,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("step", &self.step)?;
        for (name, value) in self.metrics.iter() {
            map.serialize_entry(name, &value)?;
        }
        map.end()
    }
}

fn line(step: u64, metrics: &Metrics) -> Vec<u8> {
    let mut bytes =
        serde_json::to_vec(&Line { step, metrics }).expect("names and numbers are JSON");
    bytes.push(b'\n');
    bytes
}

fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The recipe as a table in Markdown.
fn hyperparameters(table: &toml::Table) -> String {
    let mut text = String::from("| key | value |\n|---|---|\n");
    for (key, value) in recipe::flatten(table) {
        let value = value.to_string().replace('|', "\\|").replace('\n', " ");
        text.extend(["| ", &key, " | ", &value, " |\n"]);
    }
    text
}

/// How many bytes the first `lines` lines of a log have.
fn bytes_of_lines(path: &Path, lines: u64) -> Result<u64, RunError> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        bytes => bytes.map_err(RunError::io("read", path))?,
    };
    if lines == 0 {
        return Ok(0);
    }
    let mut ends = bytes.iter().enumerate().filter(|&(_, &byte)| byte == b'\n').map(|(i, _)| i + 1);
    ends.clone().nth(lines as usize - 1).map(|end| end as u64).ok_or_else(|| RunError::LogCut {
        path: path.to_owned(),
        unit: "lines",
        expected: lines,
        found: ends.by_ref().count() as u64,
    })
}

/// A file that grows at its end.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    len: u64,
}

impl LogFile {
    fn start(path: PathBuf) -> Result<Self, RunError> {
        let file = File::create(&path).map_err(RunError::io("create", &path))?;
        Ok(Self { path, file, len: 0 })
    }

    fn cut(path: PathBuf, len: u64) -> Result<Self, RunError> {
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(RunError::io("open", &path))?;
        let found = file.metadata().map_err(RunError::io("read", &path))?.len();
        if found < len {
            return Err(RunError::LogCut { path, unit: "bytes", expected: len, found });
        }
        file.set_len(len)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(RunError::io("cut", &path))?;
        Ok(Self { path, file, len })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), RunError> {
        self.file.write_all(bytes).map_err(RunError::io("write", &self.path))?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}
