//! Everything of a run that is a file: its recipe, its directory, checkpoints, metric logs, plots and
//! the report.
//!
//! Start with [`RunDir`]: a directory that one process owns and that holds all of a run. [`recipe`]
//! turns TOML into a typed config, [`Logger`] appends what happened, [`Checkpoint`] is what training
//! continues from, and [`report`] draws all of it in one HTML file.
//!
//! This crate knows neither algorithms nor environments: a config is any type that serde reads, a
//! state is bytes, a metric is a name and a number. It prints nothing.

pub mod checkpoint;
pub mod error;
mod files;
pub mod history;
pub mod host;
pub mod logger;
pub mod plot;
pub mod recipe;
pub mod report;
pub mod run_dir;
pub mod tensorboard;

pub use checkpoint::{Checkpoint, Tensor};
pub use error::RunError;
pub use history::History;
pub use logger::{LogOffsets, Logger};
pub use recipe::RecipeError;
pub use run_dir::{Resumed, RunDir, RunInfo, Status};
