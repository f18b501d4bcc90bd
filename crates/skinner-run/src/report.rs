//! The report: one HTML file with all that a reader asks of one run or of several.
//!
//! Runs whose recipes differ in nothing but the seed are one *group*: one curve with a band. Groups are
//! curves of the same charts. The file needs no script and no network.

mod curves;
mod elicitation;
mod group;
mod html;
mod pictures;
mod samples;
mod threshold;

use std::fs;
use std::path::{Path, PathBuf};

use toml::Table;

use crate::error::RunError;
use crate::files;
use crate::history::History;
use crate::run_dir::{RunDir, RunInfo, Status};

pub use pictures::Picture;
pub use samples::{Sample, Samples};
pub use threshold::{Reach, Spread};

/// What a run directory holds, as far as it can be read.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// The directory.
    pub path: PathBuf,
    /// The recipe's text.
    pub recipe_toml: String,
    /// The recipe.
    pub recipe: Table,
    /// `run.json`; none when it cannot be read.
    pub info: Option<RunInfo>,
    /// Whether a process is writing to it.
    pub in_use: bool,
    /// `metrics.jsonl`.
    pub metrics: History,
    /// `timing.jsonl`.
    pub timing: History,
    /// What a language model wrote before and after training; empty for other runs.
    pub samples: Samples,
    /// What the run drew; most draw nothing.
    pub pictures: Vec<Picture>,
    /// What is missing or cannot be read, a sentence each.
    pub notes: Vec<String>,
}

impl RunReport {
    /// Reads a run directory. What is missing or damaged in it becomes a note.
    ///
    /// # Errors
    /// When `path` holds no run.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, RunError> {
        let run_dir = RunDir::open(path)?;
        let mut notes = Vec::new();
        let recipe_toml = note(&mut notes, run_dir.recipe_toml()).unwrap_or_default();
        let recipe = note(&mut notes, run_dir.recipe()).unwrap_or_default();
        let info = note(&mut notes, run_dir.info());
        let metrics = note(&mut notes, History::read(run_dir.metrics_path())).unwrap_or_default();
        let timing = note(&mut notes, History::read(run_dir.timing_path())).unwrap_or_default();
        let mut report = Self {
            path: run_dir.path().to_owned(),
            in_use: run_dir.is_in_use(),
            recipe_toml,
            recipe,
            info,
            metrics,
            timing,
            samples: Samples::default(),
            pictures: Vec::new(),
            notes,
        };
        report.note_metrics();
        let warnings = report.info.iter().flat_map(|info| &info.warnings);
        let path = report.path.display();
        let warnings: Vec<String> =
            warnings.map(|warning| format!("{path}: warning: {warning}")).collect();
        report.notes.extend(warnings);
        let finished = report.stands() == "finished";
        report.samples = Samples::read(&report.path, finished, &mut report.notes);
        report.pictures = pictures::read(&report.path, &mut report.notes);
        Ok(report)
    }

    fn note_metrics(&mut self) {
        let path = self.path.join("metrics.jsonl");
        let path = path.display();
        if self.metrics.lines == 0 {
            self.notes.push(format!("{path} holds no metrics: nothing has been logged yet"));
        }
        if let [first, ..] = self.metrics.unreadable[..] {
            let count = self.metrics.unreadable.len();
            let lines = if count == 1 { "line" } else { "lines" };
            self.notes
                .push(format!("{path}: {count} unreadable {lines} left out, first line {first}"));
        }
        if self.stands() != "finished" {
            let (path, stands) = (self.path.display(), self.stands());
            self.notes.push(format!("{path} is not finished: {stands}"));
        }
    }

    /// How the run stands, in words.
    pub fn stands(&self) -> String {
        match self.info.as_ref().map(|info| &info.status) {
            None => "unknown".to_owned(),
            Some(Status::Running) if !self.in_use => {
                "killed (no process holds its lock)".to_owned()
            }
            Some(status) => status.to_string(),
        }
    }
}

fn note<T>(notes: &mut Vec<String>, result: Result<T, RunError>) -> Option<T> {
    result.map_err(|error| notes.push(error.to_string())).ok()
}

/// The run directories that a path names: itself, or the `seed-K` directories in it.
///
/// # Errors
/// When there is no run.
pub fn run_dirs(path: impl AsRef<Path>) -> Result<Vec<PathBuf>, RunError> {
    let path = path.as_ref();
    if RunDir::is_run(path) {
        return Ok(vec![path.to_owned()]);
    }
    let seed = |name: &String| name.strip_prefix("seed-")?.parse::<u64>().ok();
    let names = if path.is_dir() { files::names(path)? } else { Vec::new() };
    let mut seeds: Vec<(u64, PathBuf)> = names
        .iter()
        .filter_map(|name| Some((seed(name)?, path.join(name))))
        .filter(|(_, path)| RunDir::is_run(path))
        .collect();
    seeds.sort();
    if seeds.is_empty() {
        return Err(RunError::NoRun { path: path.to_owned() });
    }
    Ok(seeds.into_iter().map(|(_, path)| path).collect())
}

/// Writes the report of the runs at `paths` (run directories, or directories of `seed-K`) to `out`.
///
/// Returns what was missing or could not be read, a sentence each; the report says the same.
///
/// # Errors
/// When a path holds no run, or `out` cannot be written.
pub fn write_report<P: AsRef<Path>>(out: &Path, paths: &[P]) -> Result<Vec<String>, RunError> {
    let runs = read_all(paths)?;
    write_out(out, render(&runs).as_bytes())?;
    Ok(runs.into_iter().flat_map(|run| run.notes).collect())
}

/// Like [`write_report`], with how long it took until an evaluation reached `threshold`, which is returned.
///
/// # Errors
/// When a path holds no run, or `out` cannot be written.
pub fn write_report_until<P: AsRef<Path>>(
    out: &Path,
    paths: &[P],
    threshold: f64,
) -> Result<Vec<Reach>, RunError> {
    let runs = read_all(paths)?;
    let groups = group::groups(&runs);
    let all = threshold::reach(&groups, threshold);
    write_out(out, html::page(&groups, Some((threshold, &all))).as_bytes())?;
    Ok(all)
}

fn read_all<P: AsRef<Path>>(paths: &[P]) -> Result<Vec<RunReport>, RunError> {
    let mut runs = Vec::new();
    for path in paths {
        for run_dir in run_dirs(path)? {
            runs.push(RunReport::read(run_dir)?);
        }
    }
    if runs.is_empty() { Err(RunError::NothingToReport) } else { Ok(runs) }
}

/// The chart of pass@k before and after, where it was logged at several k.
pub fn pass_at_k_chart(history: &History) -> Option<String> {
    elicitation::svg(history)
}

/// The report as HTML.
pub fn render(runs: &[RunReport]) -> String {
    html::page(&group::groups(runs), None)
}

/// A pipe or a device is written as it is; a file is replaced as a whole.
fn write_out(out: &Path, html: &[u8]) -> Result<(), RunError> {
    match fs::metadata(out) {
        Ok(metadata) if !metadata.is_file() => {
            fs::write(out, html).map_err(RunError::io("write", out))
        }
        _ => {
            let dir = files::parent(out);
            fs::create_dir_all(dir).map_err(RunError::io("create directory", dir))?;
            files::write_atomic(out, html)
        }
    }
}
