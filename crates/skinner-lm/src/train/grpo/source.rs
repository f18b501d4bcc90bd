//! Where tasks come from: a program that makes them, or a data set.

use std::fmt::Display;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error as _};
use skinner_core::{Rng, SeedSequence};
use skinner_tasks::Task as Exercise;
use skinner_tasks::data_set::{self, DataSet};
use skinner_tasks::generate::Generator;

use super::{GrpoConfig, prompt};
use crate::data::{LossOn, Place, Tokenize, Truncation, rows_of_splits};
use crate::error::LmError;
use crate::train::Start;

/// The share of a data set that is kept for evaluation where nothing else is said and it has no split for that.
const HELD_OUT: f64 = 0.1;

/// Where tasks come from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum TaskSource {
    /// A program.
    Generator(Generator),
    /// Rows of files: `path` may also name a folder with splits, or `hf:owner/name`.
    DataSet(Box<data_set::Config>),
}

impl<'de> Deserialize<'de> for TaskSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = serde_json::Value::deserialize(deserializer)?;
        let source = if table.get("path").is_some() {
            serde_json::from_value(table).map(Self::DataSet)
        } else {
            serde_json::from_value(table).map(Self::Generator)
        };
        source.map_err(D::Error::custom)
    }
}

impl From<Generator> for TaskSource {
    fn from(generator: Generator) -> Self {
        Self::Generator(generator)
    }
}

/// Tasks, and where their rows stand.
type Rows = DataSet<(Place, Exercise)>;

/// Tasks that can be drawn.
#[derive(Debug)]
pub(super) enum Tasks {
    Made { generator: Generator, levels: Vec<Generator> },
    Read(Rows),
}

fn invalid(error: &dyn Display) -> LmError {
    LmError::Recipe(format!("task: {error}"))
}

impl TaskSource {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first that is out of range.
    pub fn validate(&self) -> Result<(), LmError> {
        match self {
            Self::Generator(generator) => generator.validate().map_err(|error| invalid(&error)),
            Self::DataSet(config) => config.validate().map_err(|error| invalid(&error)),
        }
    }

    /// Reads the data set, where it is one.
    pub(super) fn load(&self) -> Result<Tasks, LmError> {
        self.validate()?;
        match self {
            Self::Generator(generator) => {
                Ok(Tasks::Made { generator: generator.clone(), levels: generator.levels() })
            }
            Self::DataSet(config) => read(config).map(Tasks::Read),
        }
    }

    /// Up to `count` tasks to look at, of those that are trained on.
    ///
    /// # Errors
    /// A value out of range, or data that cannot be read.
    pub fn examples(&self, root: &SeedSequence, count: usize) -> Result<Vec<Exercise>, LmError> {
        let tasks = self.load()?;
        let root = tasks_root(root).child(super::TRAIN);
        let count = tasks.len(count);
        Ok((0..count).filter_map(|index| tasks.train(&root, index)).collect())
    }
}

/// The streams of a run's tasks.
pub(super) fn tasks_root(root: &SeedSequence) -> SeedSequence {
    root.child(crate::train::STREAM_TASKS)
}

fn read(config: &data_set::Config) -> Result<Rows, LmError> {
    let name = config.path.display().to_string();
    let eval_path = config.eval_path.as_ref().map(|path| path.display().to_string());
    let (rows, mut eval) = rows_of_splits(&name, &config.split, eval_path.as_deref())?;
    if config.eval_fraction > 0.0 {
        eval = None;
    }
    let items = |rows: Vec<crate::data::Row>| -> Result<Vec<(Place, Exercise)>, LmError> {
        let item = |row: crate::data::Row| {
            let task = data_set::task(config, row.columns);
            let task = task.map_err(|problem| invalid(&format!("{}: {problem}", row.place)))?;
            Ok((row.place, task))
        };
        rows.into_iter().map(item).collect()
    };
    let share = if config.eval_fraction > 0.0 { config.eval_fraction } else { HELD_OUT };
    let mut data =
        data_set::divide(items(rows)?, eval.map(items).transpose()?, share, |item| &item.1);
    data_set::show_examples(config.few_shot, &mut data, |item| &mut item.1).map_err(|worked| {
        invalid(&data_set::DataSetError::FewShot { wanted: config.few_shot, worked })
    })?;
    for (part, len) in [("train on", data.train.len()), ("evaluate on", data.eval.len())] {
        if len == 0 {
            let what = "its rows all lie on the other side; see eval_path and eval_fraction";
            return Err(invalid(&format!("{name} has no row to {part}: {what}")));
        }
    }
    Ok(data)
}

impl Tasks {
    /// Tasks of an epoch: of a data set at most all.
    pub fn len(&self, wanted: usize) -> usize {
        match self {
            Self::Made { .. } => wanted,
            Self::Read(data) => wanted.min(data.train.len()),
        }
    }

    /// Task number `index` to train on.
    pub fn train(&self, root: &SeedSequence, index: usize) -> Option<Exercise> {
        match self {
            Self::Made { generator, .. } => generator.train_task(root, index as u32),
            Self::Read(data) => data.train.get(index).map(|item| item.1.clone()),
        }
    }

    /// The tasks to train on, where they were read.
    pub fn read(&self) -> Vec<&Exercise> {
        match self {
            Self::Made { .. } => vec![],
            Self::Read(data) => data.train.iter().map(|item| &item.1).collect(),
        }
    }

    /// How many levels a curriculum has: the sizes of a generator, or each row.
    pub fn levels(&self, config: &GrpoConfig) -> usize {
        match self {
            Self::Made { levels, .. } => levels.len(),
            Self::Read(_) => self.len(config.train_items),
        }
    }

    /// A task of a level.
    pub fn of_level(&self, level: usize, root: &SeedSequence) -> Option<Exercise> {
        match self {
            Self::Made { levels, .. } => levels.get(level)?.train_task(root, 0),
            Self::Read(data) => data.train.get(level).map(|item| item.1.clone()),
        }
    }

    /// The sizes of a generator's levels.
    pub fn sizes(&self) -> Option<Vec<usize>> {
        match self {
            Self::Made { levels, .. } => {
                Some(levels.iter().map(|level| level.sizes().low).collect())
            }
            Self::Read(_) => None,
        }
    }

    /// Tasks that are never trained on, at most `count` of a data set.
    pub fn held_out(&self, root: &SeedSequence, count: usize) -> Result<Vec<Exercise>, LmError> {
        match self {
            Self::Made { generator, .. } => generator
                .held_out(root, count)
                .map_err(|error| LmError::Recipe(format!("eval_items: {error}"))),
            Self::Read(data) => {
                Ok(data.eval.iter().take(count).map(|item| item.1.clone()).collect())
            }
        }
    }

    /// How a task would be worked, by the teacher or the data set.
    pub fn worked(&self, task: &Exercise, rng: &mut Rng) -> Option<String> {
        match self {
            Self::Made { generator, .. } => generator.teach(task, rng),
            Self::Read(_) => data_set::worked(task),
        }
    }

    /// What became of the rows, in words.
    pub fn note(&self) -> Option<String> {
        let Self::Read(data) = self else { return None };
        let (train, eval) = (data.train.len(), data.eval.len());
        let left_out = match data.left_out {
            0 => String::new(),
            count => format!("; {count} left out, as they are among those as well"),
        };
        Some(format!("{train} tasks to train on, {eval} kept for evaluation{left_out}"))
    }

    /// Checks that each row's prompt leaves room for a completion.
    pub fn fit(&self, start: &Start, config: &GrpoConfig) -> Result<(), LmError> {
        let Self::Read(data) = self else { return Ok(()) };
        let tokenize = Tokenize {
            tokenizer: &start.tokenizer,
            template: start.template.as_ref(),
            max_length: usize::MAX,
            truncation: Truncation::default(),
            loss_on: LossOn::Auto,
        };
        let context = start.decoder.config().max_position_embeddings;
        let train = data.train.iter().take(config.train_items);
        for (place, task) in train.chain(data.eval.iter().take(config.eval_items)) {
            let ids = tokenize.prompt(&prompt(task)?)?;
            has_room(ids.len(), config.max_completion_length, context)
                .map_err(|what| invalid(&format!("{place}: {what}")))?;
        }
        Ok(())
    }
}

/// Whether a prompt and the longest completion are within the context; else what is wrong.
pub(super) fn has_room(prompt: usize, longest: usize, context: usize) -> Result<(), String> {
    if prompt + longest <= context {
        return Ok(());
    }
    Err(format!(
        "a prompt of {prompt} tokens and max_completion_length = {longest} are more than the model's context of \
         {context}"
    ))
}
