//! Data sets: from files to tokens.
//!
//! [`load`] reads what a [`DataConfig`] names into [`Sample`]s. [`Tokenize`] makes [`Example`]s of
//! them, ids with a mask of the tokens to learn. [`pack`] puts several into one sequence,
//! [`blocks`] cuts a stream of text into equal ones, and [`DataOrder`] says in which order they
//! come.
//!
//! Nothing here draws a random number except by the names of streams that it is given.

mod error;
mod example;
mod format;
mod order;
mod packing;
#[cfg(feature = "parquet")]
mod parquet;
mod read;
mod remote;
mod rows;
mod sample;
mod tokenize;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use skinner_core::SeedSequence;

pub use error::{DataError, Place};
pub use example::{Example, PairExample, TokenizeCounts, Truncation, UnpairedExample, mismatched};
pub use format::{Format, Outcome};
pub use order::DataOrder;
pub use packing::{Packed, Packing, blocks, pack};
pub use read::{Row, Rows, file_rows, split_files, stdin_rows};
pub(crate) use rows::rows_of_splits;
pub use sample::{Content, Sample};
pub use tokenize::{LossOn, Tokenize};

use crate::source::SourceOptions;

/// Where data comes from and how it is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// A file (`.jsonl`, `.ndjson`, `.json`, `.txt`, `.md`, also with `.gz`; `.parquet`), a folder
    /// with files of splits, `hf:owner/name` for a data set of the Hugging Face hub, or `-` for standard input. Of
    /// the hub also `hf:owner/name@revision`, and behind a colon a configuration (`:main`), a split of it
    /// (`:main/test`) or a file (`:data/train.jsonl`).
    pub path: String,
    /// What the columns mean.
    pub format: Format,
    /// In a folder: the split to train on, the files `<split>.*` and `<split>-*`.
    pub split: String,
    /// Data to evaluate on, a file or folder. Without it, and with `eval_fraction` 0, a folder's
    /// split `test`, else `validation`, is taken.
    pub eval_path: Option<String>,
    /// Part of the data that is kept for evaluation, drawn at random; of a single text its end.
    pub eval_fraction: f64,
    /// At most this many samples to train on (and to draw the evaluation's from), the first ones.
    pub max_samples: Option<usize>,
    /// At most this many samples to evaluate on, the first ones.
    pub max_eval_samples: Option<usize>,
    /// A control: a coin for each pair to train on says whether `chosen` and `rejected` are swapped
    /// (of unpaired samples: whether the label is turned), so that there is nothing to learn.
    pub shuffle_labels: bool,
    /// Leaves out lines that cannot be read, and counts them, instead of failing.
    pub skip_broken_lines: bool,
    /// Takes the calculator's spans `<<48/2=24>>` out of GSM8K's answers.
    pub strip_calculator: bool,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            path: String::new(),
            format: Format::Auto,
            split: "train".to_owned(),
            eval_path: None,
            eval_fraction: 0.0,
            max_samples: None,
            max_eval_samples: None,
            shuffle_labels: false,
            skip_broken_lines: false,
            strip_calculator: true,
        }
    }
}

impl DataConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first key that is wrong.
    pub fn validate(&self) -> Result<(), DataError> {
        let check = |ok: bool, key: &'static str, value: &dyn ToString, requirement: &str| {
            let requirement = requirement.to_owned();
            if ok {
                Ok(())
            } else {
                Err(DataError::Config { key, value: value.to_string(), requirement })
            }
        };
        check(
            !self.path.is_empty(),
            "path",
            &"\"\"",
            "must name a file, a folder, hf:owner/name or - (standard input)",
        )?;
        check(!self.split.is_empty(), "split", &"\"\"", "must name a split, such as train")?;
        let fraction = self.eval_fraction;
        check(
            (0.0..1.0).contains(&fraction),
            "eval_fraction",
            &fraction,
            "must be from 0 to less than 1",
        )?;
        let alone = fraction == 0.0 || self.eval_path.is_none();
        check(alone, "eval_fraction", &fraction, "cannot be given beside data.eval_path")?;
        check(self.max_samples != Some(0), "max_samples", &0, "must be at least 1")?;
        check(self.max_eval_samples != Some(0), "max_eval_samples", &0, "must be at least 1")?;
        let twice = self.eval_path.as_deref() == Some("-") && self.path == "-";
        check(!twice, "eval_path", &"-", "standard input can be read only once")
    }
}

/// What became of the rows that were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadCounts {
    /// Rows read, broken ones included.
    pub rows: usize,
    /// Samples made of them.
    pub samples: usize,
    /// Lines or rows left out because they could not be read.
    pub broken_lines: usize,
    /// Pairs left out because both completions are the same.
    pub identical_pairs: usize,
    /// Pairs left out because their transcripts cannot be understood.
    pub malformed_pairs: usize,
}

impl LoadCounts {
    /// What was left out, in words; nothing where nothing was.
    pub fn left_out(&self) -> Option<String> {
        let parts: Vec<String> = [
            (self.broken_lines, "broken"),
            (self.identical_pairs, "with the same completion twice"),
            (self.malformed_pairs, "with transcripts that cannot be understood"),
        ]
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
        let (samples, rows) = (self.samples, self.rows);
        (!parts.is_empty()).then(|| {
            format!("{samples} of {rows} rows are samples; left out: {}", parts.join(", "))
        })
    }
}

/// Samples to train and to evaluate on.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Samples to train on.
    pub train: Vec<Sample>,
    /// Samples to evaluate on; may be empty.
    pub eval: Vec<Sample>,
    /// Of the rows of `path`.
    pub train_counts: LoadCounts,
    /// Of the rows of a file or split of its own to evaluate on; zeros where there is none.
    pub eval_counts: LoadCounts,
}

/// Spawn keys below the seed given to [`load`].
const SPLIT: u32 = 0;
const LABELS: u32 = 1;

/// Reads the data that `config` names. What is drawn at random (the evaluation's part, the
/// control's coins) is drawn from streams below `seed`.
///
/// # Errors
/// If a key is wrong, a file cannot be read, its columns do not fit, or nothing is left.
pub fn load(config: &DataConfig, seed: &SeedSequence) -> Result<Dataset, DataError> {
    load_with(config, seed, &SourceOptions::from_env)
}

pub(crate) fn load_with(
    config: &DataConfig,
    seed: &SeedSequence,
    options: remote::Options<'_>,
) -> Result<Dataset, DataError> {
    config.validate()?;
    let sources = Sources::of(&config.path, Some(&config.split), options)?;
    let (mut train, train_counts) = read_samples(&sources, config, config.max_samples)?;
    let mut eval_counts = LoadCounts::default();
    let eval = if config.eval_fraction > 0.0 {
        let mut eval = hold_out(&mut train, config.eval_fraction, seed);
        eval.truncate(config.max_eval_samples.unwrap_or(usize::MAX));
        eval
    } else if let Some(sources) = eval_sources(config, options)? {
        let (samples, counts) = read_samples(&sources, config, config.max_eval_samples)?;
        eval_counts = counts;
        samples
    } else {
        Vec::new()
    };
    if config.shuffle_labels {
        shuffle_labels(&mut train, seed)?;
    }
    Ok(Dataset { train, eval, train_counts, eval_counts })
}

/// Files to read in turn, or standard input, with the name they go by.
struct Sources {
    name: String,
    files: Option<Vec<PathBuf>>,
}

/// Splits to evaluate on, in order of preference.
const EVAL_SPLITS: [&str; 3] = ["test", "validation", "eval"];

impl Sources {
    /// What `path` names; in a folder the files of `split`, or of the first split to evaluate on.
    fn of(
        path: &str,
        split: Option<&str>,
        options: remote::Options<'_>,
    ) -> Result<Self, DataError> {
        if path == "-" {
            return Ok(Self { name: "standard input".to_owned(), files: None });
        }
        let name = path.to_owned();
        let folder = Path::new(path);
        let splits = split.map_or(EVAL_SPLITS.to_vec(), |split| vec![split]);
        if remote::is_remote(path) {
            return Ok(Self { name, files: Some(remote::files(path, &splits, options)?) });
        }
        if !folder.is_dir() {
            return Ok(Self { name, files: Some(vec![folder.to_path_buf()]) });
        }
        for split in &splits {
            let files = split_files(folder, split)?;
            if !files.is_empty() {
                return Ok(Self { name, files: Some(files) });
            }
        }
        let wanted = splits.join(".*, ");
        let there = read::names_in(folder);
        Err(DataError::file(name, format!("has no file {wanted}.* to read (has {there})")))
    }
}

fn eval_sources(
    config: &DataConfig,
    options: remote::Options<'_>,
) -> Result<Option<Sources>, DataError> {
    if let Some(path) = &config.eval_path {
        return Sources::of(path, None, options).map(Some);
    }
    if remote::is_remote(&config.path) {
        let files = remote::others(&config.path, &config.split, &EVAL_SPLITS, options)?;
        let name = config.path.clone();
        return Ok((!files.is_empty()).then_some(Sources { name, files: Some(files) }));
    }
    let folder = Path::new(&config.path);
    if config.path == "-" || !folder.is_dir() {
        return Ok(None);
    }
    for split in EVAL_SPLITS {
        let files = split_files(folder, split)?;
        if split != config.split && !files.is_empty() {
            return Ok(Some(Sources { name: config.path.clone(), files: Some(files) }));
        }
    }
    Ok(None)
}

/// The samples of all sources, at most `limit`.
fn read_samples(
    sources: &Sources,
    config: &DataConfig,
    limit: Option<usize>,
) -> Result<(Vec<Sample>, LoadCounts), DataError> {
    let limit = limit.unwrap_or(usize::MAX);
    let mut reading = Reading { format: config.format, ..Reading::default() };
    match &sources.files {
        None => reading.read(stdin_rows()?, config, limit)?,
        Some(files) => {
            for file in files {
                reading.read(file_rows(file)?, config, limit)?;
            }
        }
    }
    if reading.samples.is_empty() {
        let counts = reading.counts;
        let mut what = match counts.rows {
            0 => "has no row".to_owned(),
            rows => format!(
                "none of {rows} rows is a sample ({} broken, {} identical pairs, {} malformed)",
                counts.broken_lines, counts.identical_pairs, counts.malformed_pairs
            ),
        };
        if let Some(first) = reading.first_broken {
            what += "; the first: ";
            what += &first;
        }
        return Err(DataError::Empty { file: sources.name.clone(), what });
    }
    reading.counts.samples = reading.samples.len();
    Ok((reading.samples, reading.counts))
}

#[derive(Default)]
struct Reading {
    format: Format,
    samples: Vec<Sample>,
    counts: LoadCounts,
    first_broken: Option<String>,
}

impl Reading {
    fn read(&mut self, rows: Rows, config: &DataConfig, limit: usize) -> Result<(), DataError> {
        for row in rows {
            if self.samples.len() >= limit {
                break;
            }
            self.counts.rows += 1;
            match row.and_then(|row| self.outcome(&row, config)) {
                Ok(Outcome::Sample(sample)) => self.samples.push(sample),
                Ok(Outcome::Identical) => self.counts.identical_pairs += 1,
                Ok(Outcome::Malformed) => self.counts.malformed_pairs += 1,
                Err(error @ DataError::Broken { .. }) if config.skip_broken_lines => {
                    self.counts.broken_lines += 1;
                    if self.first_broken.is_none() {
                        self.first_broken = Some(error.to_string());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The first row decides what an automatic format is.
    fn outcome(&mut self, row: &Row, config: &DataConfig) -> Result<Outcome, DataError> {
        self.format = self.format.of(row)?;
        self.format.sample(row, config.strip_calculator)
    }
}

/// Takes a part of the samples out, at least one, and leaves at least one. Both parts keep their
/// order. Of a single text the end is taken.
fn hold_out(train: &mut Vec<Sample>, fraction: f64, seed: &SeedSequence) -> Vec<Sample> {
    if let [Sample::Text(text)] = train.as_mut_slice() {
        let mut at = ((1.0 - fraction) * text.len() as f64).round() as usize;
        while !text.is_char_boundary(at) {
            at += 1;
        }
        return vec![Sample::Text(text.split_off(at))];
    }
    let count = (fraction * train.len() as f64).round() as usize;
    let count = count.max(1).min(train.len() - 1);
    let mut indices: Vec<usize> = (0..train.len()).collect();
    seed.child(SPLIT).rng().shuffle(&mut indices);
    let mut held = vec![false; train.len()];
    indices[..count].iter().for_each(|&i| held[i] = true);
    let (mut kept, mut eval) = (Vec::with_capacity(train.len() - count), Vec::with_capacity(count));
    for (sample, held) in std::mem::take(train).into_iter().zip(held) {
        if held { eval.push(sample) } else { kept.push(sample) }
    }
    *train = kept;
    eval
}

/// Swaps `chosen` and `rejected`, or turns the label, where a coin says so.
fn shuffle_labels(samples: &mut [Sample], seed: &SeedSequence) -> Result<(), DataError> {
    let mut rng = seed.child(LABELS).rng();
    for sample in samples {
        let swap = rng.random() < 0.5;
        match sample {
            Sample::Preference { chosen, rejected, .. } if swap => std::mem::swap(chosen, rejected),
            Sample::Unpaired { label, .. } if swap => *label = !*label,
            Sample::Preference { .. } | Sample::Unpaired { .. } => {}
            other => {
                return Err(DataError::Config {
                    key: "shuffle_labels",
                    value: "true".to_owned(),
                    requirement: format!("samples of kind {} have no labels", other.kind()),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
