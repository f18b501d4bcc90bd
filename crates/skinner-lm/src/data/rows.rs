//! The rows of a data set as they are, for those who make something else of them than samples.

use super::error::DataError;
use super::{DataConfig, Row, Sources, eval_sources, file_rows};
use crate::source::SourceOptions;

/// All rows of the split to train on, and of those to evaluate on where the data set has such or `eval_path` names
/// them.
///
/// # Errors
/// If a file cannot be found or read, or has no row.
pub(crate) fn rows_of_splits(
    path: &str,
    split: &str,
    eval_path: Option<&str>,
) -> Result<(Vec<Row>, Option<Vec<Row>>), DataError> {
    let config = DataConfig {
        path: path.to_owned(),
        split: split.to_owned(),
        eval_path: eval_path.map(str::to_owned),
        ..DataConfig::default()
    };
    config.validate()?;
    let train = rows(&Sources::of(path, Some(split), &SourceOptions::from_env)?)?;
    let eval = eval_sources(&config, &SourceOptions::from_env)?;
    Ok((train, eval.map(|sources| rows(&sources)).transpose()?))
}

fn rows(sources: &Sources) -> Result<Vec<Row>, DataError> {
    let Some(files) = &sources.files else {
        let what = "must be a file, a folder or hf:owner/name: it is read more than once";
        return Err(DataError::file(sources.name.clone(), what));
    };
    let mut all = Vec::new();
    for file in files {
        for row in file_rows(file)? {
            all.push(row.map_err(without_advice)?);
        }
    }
    if all.is_empty() {
        return Err(DataError::file(sources.name.clone(), "has no row"));
    }
    Ok(all)
}

/// Tasks have no key that leaves broken lines out.
fn without_advice(error: DataError) -> DataError {
    match error {
        DataError::Broken { place, what } => DataError::file(place.to_string(), what),
        other => other,
    }
}
