//! Recipes: TOML text, `--set key=value`, and errors that name the nearest key.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// What is wrong with a recipe or a `--set`, in one line.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RecipeError {
    /// The text is no TOML.
    #[error("{origin}, line {line}, column {column}: {what}")]
    Syntax {
        /// The file, or where else the text came from.
        origin: String,
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// What the parser expected.
        what: String,
    },
    /// A `--set` without `=` or with an empty key.
    #[error("--set {assignment}: {what}; write --set key=value or --set table.key=value")]
    Assignment {
        /// What was given.
        assignment: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A `--set` goes through a key that is no table.
    #[error("--set {assignment}: `{key}` is {value}, not a table")]
    NotATable {
        /// What was given.
        assignment: String,
        /// The key that has a plain value.
        key: String,
        /// That value.
        value: String,
    },
    /// A `--set` would put a plain value in a table's place.
    #[error("--set {assignment}: `{key}` is a table; set one of its keys: {}", known.join(", "))]
    IsATable {
        /// What was given.
        assignment: String,
        /// The key that has a table.
        key: String,
        /// The full keys inside.
        known: Vec<String>,
    },
    /// A key that nothing reads.
    #[error("{origin}: unknown key `{key}`: {}", suggest(nearest.as_deref(), known))]
    UnknownKey {
        /// Where the recipe came from.
        origin: String,
        /// The full key.
        key: String,
        /// The known key that it resembles.
        nearest: Option<String>,
        /// All known keys at its place.
        known: Vec<String>,
    },
    /// A value that its key does not take.
    #[error("{origin}: `{key}` is {value}, expected {expected}")]
    Value {
        /// Where the recipe came from.
        origin: String,
        /// The full key.
        key: String,
        /// The value that was given.
        value: String,
        /// What is right.
        expected: String,
    },
    /// Anything else, such as a missing key.
    #[error("{origin}: {what}")]
    Other {
        /// Where the recipe came from.
        origin: String,
        /// What is wrong.
        what: String,
    },
}

fn suggest(nearest: Option<&str>, known: &[String]) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None if known.is_empty() => "there are no keys here".to_owned(),
        None => format!("known keys are {}", known.join(", ")),
    }
}

/// Parses TOML; `origin` names the text in errors.
///
/// # Errors
/// [`RecipeError::Syntax`] with the line and the column.
pub fn parse(text: &str, origin: &str) -> Result<Table, RecipeError> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        RecipeError::Syntax {
            origin: origin.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            what: one_line(error.message()),
        }
    })
}

/// Sets one value as `--set a.b=value` says; tables that are not there are made.
///
/// The value is TOML (`0.5`, `true`, `[64, 64]`, `"text"`); what is no TOML is taken as plain text. A
/// whole number in exponent form (`1e6`) is an integer.
///
/// # Errors
/// When there is no `=`, when the key goes through a plain value, or when a plain value would replace
/// a table.
pub fn apply_set(table: &mut Table, assignment: &str) -> Result<(), RecipeError> {
    let malformed = |what| RecipeError::Assignment { assignment: assignment.to_owned(), what };
    let (key, value) = assignment.split_once('=').ok_or_else(|| malformed("`=` is missing"))?;
    let mut path: Vec<&str> = key.split('.').map(str::trim).collect();
    let last = path.pop().unwrap_or_default();
    if last.is_empty() || path.iter().any(|segment| segment.is_empty()) {
        return Err(malformed("the key is empty"));
    }
    let table = descend(table, &path, assignment)?;
    let value = parse_value(value.trim());
    let full_key = key.trim();
    match (table.get(last), &value) {
        (Some(Value::Table(inner)), given) if !given.is_table() => Err(RecipeError::IsATable {
            assignment: assignment.to_owned(),
            key: full_key.to_owned(),
            known: inner.keys().map(|inner| format!("{full_key}.{inner}")).collect(),
        }),
        (Some(old), Value::Table(_)) if !old.is_table() => Err(RecipeError::NotATable {
            assignment: assignment.to_owned(),
            key: full_key.to_owned(),
            value: old.to_string(),
        }),
        _ => {
            table.insert(last.to_owned(), value);
            Ok(())
        }
    }
}

fn descend<'a>(
    mut table: &'a mut Table,
    path: &[&str],
    assignment: &str,
) -> Result<&'a mut Table, RecipeError> {
    for (depth, segment) in path.iter().enumerate() {
        let entry =
            table.entry((*segment).to_owned()).or_insert_with(|| Value::Table(Table::new()));
        let value = entry.to_string();
        table = entry.as_table_mut().ok_or_else(|| RecipeError::NotATable {
            assignment: assignment.to_owned(),
            key: path[..=depth].join("."),
            value,
        })?;
    }
    Ok(table)
}

fn parse_value(text: &str) -> Value {
    match text.parse::<Value>() {
        Ok(Value::Float(number)) if whole_exponent(text, number) => Value::Integer(number as i64),
        Ok(value) => value,
        Err(_) => Value::String(text.to_owned()),
    }
}

fn whole_exponent(text: &str, number: f64) -> bool {
    text.contains(['e', 'E']) && number.fract() == 0.0 && number.abs() < 9e15
}

/// Turns a table into a typed config; `origin` names the recipe in errors.
///
/// The type decides which keys exist (`#[serde(deny_unknown_fields)]`); `also_known` are further keys
/// to suggest for a misspelt one.
///
/// # Errors
/// An unknown key with the nearest known one, a value of the wrong type with its key and what is
/// right, or a missing key.
pub fn decode<T: DeserializeOwned>(
    table: Table,
    also_known: &[&str],
    origin: &str,
) -> Result<T, RecipeError> {
    let root = Value::Table(table);
    serde_path_to_error::deserialize(root.clone()).map_err(|error| {
        let path = error.path().to_string();
        let message = one_line(error.inner().message());
        describe(&root, &path, &message, also_known, origin)
    })
}

fn describe(
    root: &Value,
    path: &str,
    message: &str,
    also_known: &[&str],
    origin: &str,
) -> RecipeError {
    let origin = origin.to_owned();
    if let Some((key, known)) = unknown_field(message) {
        let full = join_key(path, &key);
        let mut candidates = known;
        if full == key {
            candidates.extend(also_known.iter().map(|&known| known.to_owned()));
        }
        let nearest = nearest(&key, &candidates);
        return RecipeError::UnknownKey { nearest, key: full, origin, known: candidates };
    }
    // The path of a choice that is no value of its own ends in its name.
    let path = path
        .rmatch_indices('.')
        .map(|(end, _)| &path[..end])
        .fold(path, |path, shorter| if look_up(root, path).is_some() { path } else { shorter });
    let Some(value) = look_up(root, path).filter(|_| path != "." && !path.is_empty()) else {
        return RecipeError::Other { origin, what: message.to_owned() };
    };
    match message.split_once(", expected ") {
        Some((_, expected)) => RecipeError::Value {
            origin,
            key: path.to_owned(),
            value: short(value),
            expected: match expected {
                "newtype variant" => {
                    format!("a value with it, as in {{ {} = … }}", plain_text(value))
                }
                other => expected_words(other),
            },
        },
        None if value.is_table() => {
            RecipeError::Other { origin, what: format!("{message} in `{path}`") }
        }
        None => {
            RecipeError::Other { origin, what: format!("`{path}` is {}: {message}", short(value)) }
        }
    }
}

/// The key and the known keys of serde's "unknown field `x`, expected one of `a`, `b`".
fn unknown_field(message: &str) -> Option<(String, Vec<String>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (key, rest) = rest.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some((key.to_owned(), known))
}

/// `path` of an unknown field: with or without the field itself at its end.
fn join_key(path: &str, key: &str) -> String {
    match path {
        "." | "" => key.to_owned(),
        _ if path == key || path.ends_with(&format!(".{key}")) => path.to_owned(),
        _ => format!("{path}.{key}"),
    }
}

fn look_up<'a>(root: &'a Value, path: &str) -> Option<&'a Value> {
    let mut value = root;
    for segment in path.split(['.', '[']).filter(|segment| !segment.is_empty()) {
        value = match segment.strip_suffix(']') {
            Some(index) => value.get(index.parse::<usize>().ok()?)?,
            None => value.get(segment)?,
        };
    }
    Some(value)
}

/// A text without its quotes.
fn plain_text(value: &Value) -> String {
    value.as_str().map_or_else(|| short(value), str::to_owned)
}

/// Rust's names of types in the words of TOML.
fn expected_words(expected: &str) -> String {
    match expected {
        "f32" | "f64" => "a number".to_owned(),
        "usize" | "u8" | "u16" | "u32" | "u64" => "a whole number, not negative".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "a string" => "a string (in quotes)".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        other => other.to_owned(),
    }
}

fn short(value: &Value) -> String {
    let text = one_line(&value.to_string());
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn one_line(text: &str) -> String {
    text.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ")
}

/// The candidate that `name` resembles most; none when nothing is close.
///
/// Close is at most one edit per three letters, upper and lower case and `-` and `_` being the same, or
/// a candidate that begins with `name`.
pub fn nearest<S: AsRef<str>>(name: &str, candidates: &[S]) -> Option<String> {
    let name = plain(name);
    let limit = name.chars().count().max(3) / 3;
    let close = candidates
        .iter()
        .map(|candidate| {
            (strsim::damerau_levenshtein(&name, &plain(candidate.as_ref())), candidate)
        })
        .filter(|&(distance, _)| distance <= limit)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate);
    let begun =
        || candidates.iter().find(|c| name.len() >= 3 && plain(c.as_ref()).starts_with(&name));
    close.or_else(begun).map(|candidate| candidate.as_ref().to_owned())
}

fn plain(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

/// Every value with its full key, in order of key; lists are values.
pub fn flatten(table: &Table) -> Vec<(String, Value)> {
    let mut flat = Vec::new();
    flatten_into(table, "", &mut flat);
    flat
}

fn flatten_into(table: &Table, prefix: &str, flat: &mut Vec<(String, Value)>) {
    for (key, value) in table {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) if !inner.is_empty() => flatten_into(inner, &key, flat),
            other => flat.push((key, other.clone())),
        }
    }
}

/// The keys whose values differ, each with both: `gamma: 0.98 in the run, 0.99 now`.
pub(crate) fn differences(run: &Table, now: &Table) -> Vec<String> {
    let (run, now) = (flatten(run), flatten(now));
    let find = |flat: &[(String, Value)], key: &str| {
        flat.iter().find(|(known, _)| known == key).map(|(_, value)| short(value))
    };
    let mut keys: Vec<&String> = run.iter().chain(&now).map(|(key, _)| key).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .map(|key| (key, find(&run, key), find(&now, key)))
        .filter(|(_, run, now)| run != now)
        .map(|(key, run, now)| {
            let words = |value: Option<String>| value.unwrap_or_else(|| "not set".to_owned());
            format!("{key}: {} in the run, {} now", words(run), words(now))
        })
        .collect()
}

pub(crate) fn parse_file(text: &str, path: &Path) -> Result<Table, RecipeError> {
    parse(text, &path.display().to_string())
}
