//! Data sets of the Hugging Face hub: which of a repository's files are those of a split.

#[cfg(feature = "hub")]
use std::collections::BTreeSet;
use std::path::PathBuf;

use super::error::DataError;
#[cfg(feature = "hub")]
use super::read::{is_of_split, kind};
use crate::error::LmError;
use crate::source::SourceOptions;

/// Where fetched data is kept and what may be asked; looked up only if it is needed.
pub(super) type Options<'a> = &'a dyn Fn() -> Result<SourceOptions, LmError>;

/// Whether a path is a name of the hub.
pub(super) fn is_remote(path: &str) -> bool {
    path.starts_with("hf:") && !std::path::Path::new(path).exists()
}

/// What `hf:owner/name@revision:part` names of its repository.
#[cfg(feature = "hub")]
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    /// One file.
    File(&'a str),
    /// A split, or one to be chosen, of a configuration, or of the only one.
    Split(Option<&'a str>, Option<&'a str>),
}

#[cfg(feature = "hub")]
fn parse(spec: &str) -> (&str, Part<'_>) {
    let address = spec.strip_prefix("hf:").unwrap_or(spec);
    let Some((repository, part)) = address.split_once(':') else {
        return (address, Part::Split(None, None));
    };
    let part = if kind(part.as_ref()).is_some() {
        Part::File(part)
    } else {
        let (config, split) =
            part.split_once('/').map_or((part, None), |(config, split)| (config, Some(split)));
        let some = |text: &&str| !text.is_empty();
        Part::Split(Some(config).filter(some), split.filter(some))
    };
    (repository, part)
}

/// Fetches the files that `spec` names: its own file or split, or else the first of `splits` that is there.
///
/// # Errors
/// No such repository or file, a split that has none, or no way to ask; names what is there.
#[cfg(feature = "hub")]
pub(super) fn files(
    spec: &str,
    splits: &[&str],
    options: Options<'_>,
) -> Result<Vec<PathBuf>, DataError> {
    let failed = |error: LmError| DataError::file(spec, error.to_string());
    let (address, part) = parse(spec);
    let repository = options()
        .and_then(|options| crate::source::DataRepository::open(address, &options))
        .map_err(failed)?;
    let names = repository.names();
    let nothing = |wanted: String| {
        let is_data = |name: &&str| !name.ends_with("README.md") && kind(name.as_ref()).is_some();
        let mut there: Vec<&str> = names.iter().map(String::as_str).filter(is_data).collect();
        let more = if there.len() > 20 { ", ..." } else { "" };
        there.truncate(20);
        let there = if there.is_empty() { "no data file".to_owned() } else { there.join(", ") };
        DataError::file(spec, format!("has no {wanted} (has {there}{more})"))
    };
    let chosen = match part {
        Part::File(file) if names.iter().any(|name| name == file) => vec![file],
        Part::File(file) => return Err(nothing(format!("file {file}"))),
        Part::Split(config, split) => {
            let splits = split.map_or(splits.to_vec(), |split| vec![split]);
            let mut chosen = Vec::new();
            for split in &splits {
                let folder = folder(names, config, split);
                if let Some(folder) = folder.map_err(|what| DataError::file(spec, what))? {
                    chosen = in_folder(names, &folder, split);
                    break;
                }
            }
            if chosen.is_empty() {
                let of = config.map_or(String::new(), |config| format!(" of `{config}`"));
                return Err(nothing(format!("file of the split {}{of}", splits.join(" or "))));
            }
            chosen
        }
    };
    repository.fetch(&chosen).map_err(failed)
}

/// The files to evaluate on that lie beside those of `split`, if there are any: those of the first of `others`.
///
/// # Errors
/// As [`files`].
#[cfg(feature = "hub")]
pub(super) fn others(
    spec: &str,
    split: &str,
    others: &[&str],
    options: Options<'_>,
) -> Result<Vec<PathBuf>, DataError> {
    let failed = |error: LmError| DataError::file(spec, error.to_string());
    let (address, Part::Split(config, own)) = parse(spec) else { return Ok(Vec::new()) };
    let repository = options()
        .and_then(|options| crate::source::DataRepository::open(address, &options))
        .map_err(failed)?;
    let (names, split) = (repository.names(), own.unwrap_or(split));
    let folder = folder(names, config, split).map_err(|what| DataError::file(spec, what))?;
    let Some(folder) = folder else { return Ok(Vec::new()) };
    let chosen = others
        .iter()
        .filter(|other| **other != split)
        .map(|other| in_folder(names, &folder, other))
        .find(|files| !files.is_empty());
    chosen.map_or(Ok(Vec::new()), |files| repository.fetch(&files).map_err(failed))
}

#[cfg(not(feature = "hub"))]
fn not_built<T>(spec: &str) -> Result<T, DataError> {
    let what = "this program was built without its feature `hub`: download the files and give their folder";
    Err(DataError::file(spec, what))
}

#[cfg(not(feature = "hub"))]
pub(super) fn files(
    spec: &str,
    _splits: &[&str],
    _options: Options<'_>,
) -> Result<Vec<PathBuf>, DataError> {
    not_built(spec)
}

#[cfg(not(feature = "hub"))]
pub(super) fn others(
    spec: &str,
    _split: &str,
    _others: &[&str],
    _options: Options<'_>,
) -> Result<Vec<PathBuf>, DataError> {
    not_built(spec)
}

/// The folder with the files of a split, as the hub's data sets are laid out: that of the configuration, `data` or
/// the whole; without a configuration also the only folder that has such files.
#[cfg(feature = "hub")]
fn folder(names: &[String], config: Option<&str>, split: &str) -> Result<Option<String>, String> {
    let usual = match config {
        Some(config) => [config.to_owned(), format!("data/{config}"), format!("{config}/data")],
        None => ["", "data", "default"].map(str::to_owned),
    };
    let has_files = |folder: &String| !in_folder(names, folder, split).is_empty();
    if let Some(folder) = usual.into_iter().find(has_files) {
        return Ok(Some(folder));
    }
    let folders: BTreeSet<String> = match config {
        Some(_) => BTreeSet::new(),
        None => names.iter().filter_map(|name| Some(name.split_once('/')?.0.to_owned())).collect(),
    };
    let mut configs: Vec<String> = folders.into_iter().filter(has_files).collect();
    if configs.len() > 1 {
        return Err(format!(
            "has several configurations ({}): name one behind a colon, as in `:{}`",
            configs.join(", "),
            configs[0]
        ));
    }
    Ok(configs.pop())
}

/// The files of a split in a folder, in the order of their names: `train.jsonl`, `train-00000-of-00002.parquet`, or
/// all in a folder of the split's name. Where there are several formats, the first of Parquet, JSON and text.
#[cfg(feature = "hub")]
fn in_folder<'a>(names: &'a [String], folder: &str, split: &str) -> Vec<&'a str> {
    let below = |name: &'a String, folder: &str| -> Option<&'a str> {
        let rest = if folder.is_empty() {
            name.as_str()
        } else {
            name.strip_prefix(folder)?.strip_prefix('/')?
        };
        (!rest.contains('/')).then_some(rest)
    };
    let inner = if folder.is_empty() { split.to_owned() } else { format!("{folder}/{split}") };
    let own = |name: &&'a String| {
        below(name, folder).is_some_and(|rest| is_of_split(rest.as_ref(), split))
    };
    let inside =
        |name: &&'a String| below(name, &inner).is_some_and(|rest| kind(rest.as_ref()).is_some());
    let mut found: Vec<&str> = names.iter().filter(own).map(String::as_str).collect();
    if found.is_empty() {
        found = names.iter().filter(inside).map(String::as_str).collect();
    }
    let first = found.iter().filter_map(|name| kind(name.as_ref())).map(|(kind, _)| kind).min();
    found.retain(|name| kind(name.as_ref()).map(|(kind, _)| kind) == first);
    found.sort_unstable();
    found
}

#[cfg(all(test, feature = "hub"))]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_name() {
        assert_eq!(parse("hf:a/b"), ("a/b", Part::Split(None, None)));
        assert_eq!(
            parse("hf:a/b@refs/pr/1:main"),
            ("a/b@refs/pr/1", Part::Split(Some("main"), None))
        );
        assert_eq!(parse("hf:a/b:main/test"), ("a/b", Part::Split(Some("main"), Some("test"))));
        assert_eq!(parse("hf:a/b:/test"), ("a/b", Part::Split(None, Some("test"))));
        assert_eq!(parse("hf:a/b:x/y.jsonl.gz"), ("a/b", Part::File("x/y.jsonl.gz")));
    }

    #[test]
    fn files_of_a_split() {
        let check = |names: &[&str], config: Option<&str>, split: &str, expected: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let folder = folder(&names, config, split).unwrap();
            let found = folder.map_or(Vec::new(), |folder| in_folder(&names, &folder, split));
            assert_eq!(found, expected, "{names:?}");
        };
        let shards = [
            "README.md",
            "data/test-00000-of-00001.parquet",
            "data/train-00001-of-00002.parquet",
            "data/train-00000-of-00002.parquet",
        ];
        check(&shards, None, "train", &[shards[3], shards[2]]);
        check(&shards, None, "test", &[shards[1]]);
        check(&shards, None, "validation", &[]);
        check(&["train.jsonl", "train.csv", "training.jsonl"], None, "train", &["train.jsonl"]);
        check(&["train.jsonl.gz"], None, "train", &["train.jsonl.gz"]);
        check(&["train.txt", "train.jsonl", "train.parquet"], None, "train", &["train.parquet"]);
        let configs =
            ["main/train-00000-of-00001.parquet", "socratic/train-00000-of-00001.parquet"];
        check(&configs, Some("socratic"), "train", &configs[1..]);
        check(&configs[..1], None, "train", &configs[..1]);
        let both: Vec<String> = configs.iter().map(ToString::to_string).collect();
        let error = folder(&both, None, "train").unwrap_err();
        assert!(error.contains("main, socratic"), "{error}");
        // As the hub converts data sets.
        let converted = ["default/train/0001.parquet", "default/train/0000.parquet"];
        check(&converted, None, "train", &[converted[1], converted[0]]);
        check(&converted, Some("default"), "train", &[converted[1], converted[0]]);
    }
}
