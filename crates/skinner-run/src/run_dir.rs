//! The run directory: one directory, owned by one process, that holds all of a run.
//!
//! | path | holds |
//! |---|---|
//! | `recipe.toml` | the resolved recipe |
//! | `run.json` | [`RunInfo`]: version, command, host, status, result |
//! | `metrics.jsonl` | one object per line: `step`, then the metrics; a function of recipe and seed |
//! | `timing.jsonl` | the same for what a clock measured |
//! | `tensorboard/` | all of it as `TensorBoard` events |
//! | `checkpoints/step-000000012800/` | what training continues from |
//! | `checkpoints/reference/` | the weights that a divergence is measured from, where training did not start from them |
//! | `checkpoints/best/` | the best periodic evaluation, never quoted as final |
//! | `report.html` | curves and tables |
//! | `pass-at-k.svg` | tasks solved within k attempts, before and after |
//! | `lock` | locked while a process writes here; the lock dies with the process |

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::checkpoint::{self, Checkpoint};
use crate::error::RunError;
use crate::history::History;
use crate::{files, recipe, report};

const LOCK: &str = "lock";
const RECIPE: &str = "recipe.toml";
const INFO: &str = "run.json";
/// What a start that was killed may have left without a recipe.
const BEGUN: [&str; 2] = [LOCK, INFO];

/// How a run stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Status {
    /// Training; or killed, when no process holds the lock.
    #[default]
    Running,
    /// All of its work is done.
    Finished,
    /// Stopped on request, to be resumed.
    Interrupted,
    /// Ended with this error.
    Failed(String),
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Finished => f.write_str("finished"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

impl From<Status> for String {
    fn from(status: Status) -> Self {
        status.to_string()
    }
}

impl From<String> for Status {
    fn from(text: String) -> Self {
        match text.as_str() {
            "running" => Self::Running,
            "finished" => Self::Finished,
            "interrupted" => Self::Interrupted,
            other => Self::Failed(other.strip_prefix("failed: ").unwrap_or(other).to_owned()),
        }
    }
}

/// The facts of a run that its recipe does not hold: `run.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunInfo {
    /// Version of the program.
    pub version: String,
    /// Commit it was built from, if known.
    pub git_commit: Option<String>,
    /// The command line that repeats this run.
    pub command: String,
    /// Name of the algorithm.
    pub algorithm: String,
    /// Name of the environment, or of the task.
    pub env: String,
    /// The run's seed.
    pub seed: u64,
    /// Threads that it was given.
    pub threads: usize,
    /// Device it ran on.
    pub device: String,
    /// Name of the processor.
    pub cpu: String,
    /// When it was first started: RFC 3339, UTC.
    pub started: String,
    /// When it ended, if it did.
    pub ended: Option<String>,
    /// How it stands.
    pub status: Status,
    /// What came out, such as the final evaluation.
    pub result: Option<Map<String, Value>>,
    /// What looked wrong on the way, a sentence each.
    pub warnings: Vec<String>,
    /// SHA-256 of the contents of the last checkpoint.
    pub checkpoint_sha256: Option<String>,
}

/// A run directory; the one that [`RunDir::create`] and [`RunDir::resume`] return is locked until dropped.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    lock: Option<File>,
}

/// A run to continue.
#[derive(Debug)]
pub struct Resumed {
    /// The locked directory.
    pub run_dir: RunDir,
    /// The newest valid checkpoint; none when the run starts from the beginning.
    pub checkpoint: Option<Checkpoint<'static>>,
    /// Why newer checkpoints were passed over.
    pub warnings: Vec<RunError>,
}

impl RunDir {
    /// Makes the directory and its parents, locks it, and writes `recipe.toml` and `run.json`.
    ///
    /// # Errors
    /// When the directory holds a run or anything else, is in use, or cannot be written.
    pub fn create(
        path: impl AsRef<Path>,
        recipe_toml: &str,
        info: &RunInfo,
    ) -> Result<Self, RunError> {
        let run_dir = Self::lock(path.as_ref())?;
        if run_dir.has_recipe() {
            return Err(RunError::HoldsARun { path: run_dir.path });
        }
        run_dir.begin(recipe_toml, info)?;
        Ok(run_dir)
    }

    /// Locks a run to continue it from its newest valid checkpoint; begins it when there is none yet.
    ///
    /// `run.json` keeps the run's first start and command and takes the rest from `info`.
    ///
    /// # Errors
    /// As [`RunDir::create`], except that the directory may hold this run; also when it was started
    /// with another recipe, or has checkpoints of which none is valid.
    pub fn resume(
        path: impl AsRef<Path>,
        recipe_toml: &str,
        info: &RunInfo,
    ) -> Result<Resumed, RunError> {
        let run_dir = Self::lock(path.as_ref())?;
        if !run_dir.has_recipe() {
            run_dir.begin(recipe_toml, info)?;
            return Ok(Resumed { run_dir, checkpoint: None, warnings: Vec::new() });
        }
        run_dir.check_recipe(recipe_toml)?;
        let (checkpoint, mut warnings) = checkpoint::newest_valid(&run_dir.checkpoints_path())?;
        let first = if run_dir.path.join(INFO).exists() {
            // Damaged facts are said and written anew: training does not depend on them.
            run_dir.info().map_err(|error| warnings.push(error)).ok()
        } else {
            None
        };
        // A finished run keeps its facts: there is nothing left to do.
        let finished = first.as_ref().is_some_and(|first| first.status == Status::Finished);
        if !finished || checkpoint.is_none() {
            let mut continued = info.clone();
            if let Some(first) = first {
                continued.started = first.started;
                continued.command = first.command;
            }
            run_dir.write_info(&continued)?;
        }
        Ok(Resumed { run_dir, checkpoint, warnings })
    }

    /// Opens a run for reading only, without a lock: it may still be training.
    ///
    /// # Errors
    /// When `path` holds no run.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, RunError> {
        let run_dir = Self { path: path.as_ref().to_owned(), lock: None };
        if run_dir.has_recipe() { Ok(run_dir) } else { Err(RunError::NoRun { path: run_dir.path }) }
    }

    /// Whether `path` holds a run.
    pub fn is_run(path: impl AsRef<Path>) -> bool {
        path.as_ref().join(RECIPE).is_file()
    }

    fn lock(path: &Path) -> Result<Self, RunError> {
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_dir() => {
                return Err(RunError::NotADirectory { path: path.to_owned() });
            }
            _ => fs::create_dir_all(path).map_err(RunError::io("create directory", path))?,
        }
        refuse_foreign(path)?;
        let file = open_lock(&path.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(RunError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => {
                return Err(RunError::io("lock", &path.join(LOCK))(source));
            }
        }
        remove_temporaries(path)?;
        checkpoint::recover(&path.join("checkpoints"))?;
        Ok(Self { path: path.to_owned(), lock: Some(file) })
    }

    /// The recipe comes last: a directory with a recipe is a run.
    fn begin(&self, recipe_toml: &str, info: &RunInfo) -> Result<(), RunError> {
        recipe::parse(recipe_toml, "the recipe")?;
        self.write_info(info)?;
        files::write_atomic(&self.path.join(RECIPE), recipe_toml.as_bytes())
    }

    fn check_recipe(&self, recipe_toml: &str) -> Result<(), RunError> {
        let now = recipe::parse(recipe_toml, "the recipe")?;
        let differences = recipe::differences(&self.recipe()?, &now);
        if differences.is_empty() {
            return Ok(());
        }
        Err(RunError::RecipeDiffers { path: self.path.clone(), differences })
    }

    fn has_recipe(&self) -> bool {
        Self::is_run(&self.path)
    }

    pub(crate) fn writable(&self) -> Result<(), RunError> {
        match self.lock {
            Some(_) => Ok(()),
            None => Err(RunError::ReadOnly { path: self.path.clone() }),
        }
    }

    /// Whether some process, this one or another, holds the run's lock.
    pub fn is_in_use(&self) -> bool {
        self.lock.is_some()
            || File::open(self.path.join(LOCK))
                .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The recipe's text.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn recipe_toml(&self) -> Result<String, RunError> {
        let path = self.path.join(RECIPE);
        fs::read_to_string(&path).map_err(RunError::io("read", &path))
    }

    /// The recipe as a table.
    ///
    /// # Errors
    /// When it cannot be read or is no TOML.
    pub fn recipe(&self) -> Result<toml::Table, RunError> {
        Ok(recipe::parse_file(&self.recipe_toml()?, &self.path.join(RECIPE))?)
    }

    /// What `run.json` holds.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn info(&self) -> Result<RunInfo, RunError> {
        files::read_json(&self.path.join(INFO))
    }

    /// Changes `run.json` in place; a reader sees the old facts or the new ones.
    ///
    /// # Errors
    /// When the run was opened for reading, or the file cannot be read or written.
    pub fn update_info(&self, change: impl FnOnce(&mut RunInfo)) -> Result<RunInfo, RunError> {
        self.writable()?;
        let mut info = self.info()?;
        change(&mut info);
        self.write_info(&info)?;
        Ok(info)
    }

    fn write_info(&self, info: &RunInfo) -> Result<(), RunError> {
        let path = self.path.join(INFO);
        let mut bytes = serde_json::to_vec_pretty(info)
            .map_err(|error| RunError::malformed(&path, error.to_string()))?;
        bytes.push(b'\n');
        files::write_atomic(&path, &bytes)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `recipe.toml`.
    pub fn recipe_path(&self) -> PathBuf {
        self.path.join(RECIPE)
    }

    /// `metrics.jsonl`.
    pub fn metrics_path(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// `timing.jsonl`.
    pub fn timing_path(&self) -> PathBuf {
        self.path.join("timing.jsonl")
    }

    /// The one `TensorBoard` event file; its name is fixed so that a resumed run continues it.
    pub fn events_path(&self) -> PathBuf {
        self.path.join("tensorboard").join("events.out.tfevents.0000000000.skinner")
    }

    /// `checkpoints/`.
    pub fn checkpoints_path(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Writes `pictures/TITLE.svg`, with hyphens for spaces; the report shows it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_picture(&self, title: &str, svg: &str) -> Result<(), RunError> {
        let dir = self.path.join("pictures");
        std::fs::create_dir_all(&dir).map_err(RunError::io("create directory", &dir))?;
        files::write_atomic(&dir.join(format!("{}.svg", title.replace(' ', "-"))), svg.as_bytes())
    }

    /// Writes `pass-at-k.svg`, where the run logged pass@k.
    ///
    /// # Errors
    /// When the log cannot be read or the picture not be written.
    pub fn save_pass_at_k(&self) -> Result<(), RunError> {
        let history = History::read(self.metrics_path())?;
        match report::pass_at_k_chart(&history) {
            None => Ok(()),
            Some(svg) => files::write_atomic(&self.path.join("pass-at-k.svg"), svg.as_bytes()),
        }
    }

    /// `report.html`.
    pub fn report_path(&self) -> PathBuf {
        self.path.join("report.html")
    }
}

fn open_lock(path: &Path) -> Result<File, RunError> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(RunError::io("create", path))
}

/// A directory without a recipe may hold what a killed start left behind, and nothing else.
fn refuse_foreign(path: &Path) -> Result<(), RunError> {
    if RunDir::is_run(path) {
        return Ok(());
    }
    let foreign = files::names(path)?
        .into_iter()
        .find(|name| !BEGUN.contains(&name.as_str()) && !is_temporary(name));
    match foreign {
        Some(entry) => Err(RunError::NotEmpty { path: path.to_owned(), entry }),
        None => Ok(()),
    }
}

fn is_temporary(name: &str) -> bool {
    name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp")).is_some()
}

fn remove_temporaries(path: &Path) -> Result<(), RunError> {
    for name in files::names(path)?.iter().filter(|name| is_temporary(name)) {
        let path = path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(RunError::io("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}
