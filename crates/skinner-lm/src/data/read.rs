//! Rows out of files: JSON Lines, JSON, Parquet, plain text, each also gzipped but Parquet.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::{DataError, Place};

/// A row: its columns by name, and where it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Values by column.
    pub columns: Map<String, Value>,
    /// Where it was found.
    pub place: Place,
}

/// Rows as they are read. A row that is [`DataError::Broken`] does not end the stream; any other
/// error does.
pub type Rows = Box<dyn Iterator<Item = Result<Row, DataError>>>;

/// How the extensions are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Parquet,
    /// JSON Lines or one JSON array, by the first character.
    Json,
    Text,
}

const KINDS: [(&str, Kind); 6] = [
    ("jsonl", Kind::Json),
    ("ndjson", Kind::Json),
    ("json", Kind::Json),
    ("parquet", Kind::Parquet),
    ("txt", Kind::Text),
    ("md", Kind::Text),
];

/// The kind of a file by its name, and whether it is gzipped.
pub(super) fn kind(path: &Path) -> Option<(Kind, bool)> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let (name, gzipped) = match name.strip_suffix(".gz") {
        Some(inner) => (inner, true),
        None => (name.as_str(), false),
    };
    let (_, extension) = name.rsplit_once('.')?;
    KINDS.iter().find(|(known, _)| *known == extension).map(|(_, kind)| (*kind, gzipped))
}

/// The files of `split` in `folder` or in its folder `data`: `train.jsonl`, or shards such as
/// `train-00000-of-00002.parquet` in the order of their names. Empty if there are none.
///
/// # Errors
/// If the folder cannot be read.
pub fn split_files(folder: &Path, split: &str) -> Result<Vec<PathBuf>, DataError> {
    for folder in [folder.to_path_buf(), folder.join("data")] {
        let mut files: Vec<PathBuf> =
            list(&folder)?.into_iter().filter(|file| is_of_split(file, split)).collect();
        if !files.is_empty() {
            files.sort();
            return Ok(files);
        }
    }
    Ok(Vec::new())
}

pub(super) fn is_of_split(file: &Path, split: &str) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let rest = name.strip_prefix(split).unwrap_or_default();
    rest.starts_with(['.', '-']) && kind(file).is_some()
}

/// The entries of a folder; none where it does not exist.
fn list(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = || DataError::io(folder.display().to_string());
    match folder.read_dir() {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()
            .map_err(failed()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed()(error)),
    }
}

/// The names of a folder's data files, for messages.
pub(super) fn names_in(folder: &Path) -> String {
    let mut names: Vec<String> = list(folder)
        .unwrap_or_default()
        .iter()
        .filter(|file| kind(file).is_some())
        .filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    if names.is_empty() { "no data file".to_owned() } else { names.join(", ") }
}

/// The rows of a file.
///
/// # Errors
/// If it cannot be opened, or its extension is unknown.
pub fn file_rows(path: &Path) -> Result<Rows, DataError> {
    let name = path.display().to_string();
    let Some((kind, gzipped)) = kind(path) else {
        let known: Vec<&str> = KINDS.iter().map(|(extension, _)| *extension).collect();
        let known = known.join(", ");
        let what = format!("cannot tell its format; its name should end in one of {known}");
        return Err(DataError::file(name, what));
    };
    let file = File::open(path).map_err(DataError::io(name.clone()))?;
    match (kind, gzipped) {
        (Kind::Parquet, false) => parquet_rows(file, &name),
        (Kind::Parquet, true) => Err(DataError::file(name, "unpack it first (gunzip)")),
        (_, true) => reader_rows(
            BufReader::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(file))),
            &name,
            Some(kind),
        ),
        (_, false) => reader_rows(BufReader::new(file), &name, Some(kind)),
    }
}

/// The rows of standard input: JSON Lines if it begins with `{`, JSON if with `[`, else text.
///
/// # Errors
/// If it cannot be read.
pub fn stdin_rows() -> Result<Rows, DataError> {
    reader_rows(BufReader::new(io::stdin()), "standard input", None)
}

/// The rows of a reader. Of `kind` if that is known, else by the first character.
fn reader_rows(
    mut reader: impl BufRead + 'static,
    name: &str,
    kind: Option<Kind>,
) -> Result<Rows, DataError> {
    let failed = || DataError::io(name);
    skip_byte_order_mark(&mut reader).map_err(failed())?;
    if kind == Some(Kind::Text) {
        return text_row(reader, name);
    }
    let mut lines = JsonLines::new(reader, name);
    match lines.first_character().map_err(failed())? {
        Some(b'[') => array_rows(lines.reader, name),
        Some(b'{') | None => Ok(Box::new(lines)),
        Some(_) if kind.is_some() => Ok(Box::new(lines)),
        Some(_) => text_row(lines.reader, name),
    }
}

fn skip_byte_order_mark(reader: &mut impl BufRead) -> io::Result<()> {
    if reader.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    Ok(())
}

/// One row with the column `text`.
fn text_row(mut reader: impl Read, name: &str) -> Result<Rows, DataError> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(DataError::io(name))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        DataError::file(name, format!("is not UTF-8 text at byte {at}"))
    })?;
    let columns = Map::from_iter([("text".to_owned(), Value::String(text))]);
    let row = Row { columns, place: Place { file: name.into(), unit: "", number: 1 } };
    Ok(Box::new(std::iter::once(Ok(row))))
}

fn array_rows(reader: impl Read, name: &str) -> Result<Rows, DataError> {
    let values: Vec<Value> = serde_json::from_reader(reader)
        .map_err(|error| DataError::file(name, format!("is not valid JSON: {error}")))?;
    let file: Arc<str> = name.into();
    let row = move |(i, value)| {
        let place = Place { file: file.clone(), unit: "row", number: i + 1 };
        object(value, place)
    };
    Ok(Box::new(values.into_iter().enumerate().map(row)))
}

fn object(value: Value, place: Place) -> Result<Row, DataError> {
    let found = match value {
        Value::Object(columns) => return Ok(Row { columns, place }),
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
    };
    Err(DataError::broken(&place, format!("is {found}, must be an object of columns")))
}

/// Rows of JSON Lines, one line read at a time. Blank lines are passed over.
struct JsonLines<R> {
    reader: R,
    line: Vec<u8>,
    place: Place,
    ended: bool,
}

impl<R: BufRead> JsonLines<R> {
    fn new(reader: R, name: &str) -> Self {
        let place = Place { file: name.into(), unit: "line", number: 0 };
        Self { reader, line: Vec::new(), place, ended: false }
    }

    /// Passes over white space, counting its lines, up to the first other character.
    fn first_character(&mut self) -> io::Result<Option<u8>> {
        loop {
            let Some(&byte) = self.reader.fill_buf()?.first() else { return Ok(None) };
            if !byte.is_ascii_whitespace() {
                return Ok(Some(byte));
            }
            self.place.number += usize::from(byte == b'\n');
            self.reader.consume(1);
        }
    }
}

impl<R: BufRead> Iterator for JsonLines<R> {
    type Item = Result<Row, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            self.line.clear();
            match self.reader.read_until(b'\n', &mut self.line) {
                Ok(0) => self.ended = true,
                Ok(_) => {
                    self.place.number += 1;
                    let line = self.line.trim_ascii();
                    if !line.is_empty() {
                        return Some(parse_line(line, &self.place));
                    }
                }
                Err(source) => {
                    self.ended = true;
                    let file = self.place.file.to_string();
                    return Some(Err(DataError::Io { file, source }));
                }
            }
        }
        None
    }
}

fn parse_line(line: &[u8], place: &Place) -> Result<Row, DataError> {
    match serde_json::from_slice(line) {
        Ok(value) => object(value, place.clone()),
        Err(error) => {
            // Of "… at line 1 column 17" only the column says something here.
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or(&message);
            let what = format!("is not valid JSON: {message} (column {})", error.column());
            Err(DataError::broken(place, what))
        }
    }
}

#[cfg(feature = "parquet")]
fn parquet_rows(file: File, name: &str) -> Result<Rows, DataError> {
    super::parquet::rows(file, name)
}

#[cfg(not(feature = "parquet"))]
fn parquet_rows(_file: File, name: &str) -> Result<Rows, DataError> {
    let what = "this build cannot read Parquet (cargo feature `parquet`); convert it to JSON Lines";
    Err(DataError::file(name, what))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows_of(bytes: &[u8], kind: Option<Kind>) -> Result<Vec<Result<Row, DataError>>, DataError> {
        reader_rows(io::Cursor::new(bytes.to_vec()), "x", kind).map(Iterator::collect)
    }

    fn check(text: &str, kind: Option<Kind>, expect: &[&str]) {
        let rows = rows_of(text.as_bytes(), kind).unwrap();
        let shown: Vec<String> = rows
            .into_iter()
            .map(|row| match row {
                Ok(row) => format!("{}: {}", row.place, Value::Object(row.columns)),
                Err(error) => error.to_string(),
            })
            .collect();
        let skip = "; skip_broken_lines = true leaves such lines out";
        let shown: Vec<&str> = shown.iter().map(|s| s.trim_end_matches(skip)).collect();
        assert_eq!(shown, expect);
    }

    #[test]
    fn json_lines_with_blank_and_broken_ones() {
        let text = "\u{feff}\n{\"a\": 1}\r\n\n[3]\n{\"a\": \n7\n{\"b\": \"é\"}";
        check(
            text,
            Some(Kind::Json),
            &[
                r#"x, line 2: {"a":1}"#,
                "x, line 4: is an array, must be an object of columns",
                "x, line 5: is not valid JSON: EOF while parsing a value (column 5)",
                "x, line 6: is a number, must be an object of columns",
                r#"x, line 7: {"b":"é"}"#,
            ],
        );
        check(
            "{}\n{\"a\" 1}",
            None,
            &["x, line 1: {}", "x, line 2: is not valid JSON: expected `:` (column 6)"],
        );
        let rows = rows_of(b"{\"a\": \"\xff\"}\n{}", None).unwrap();
        assert!(rows[0].is_err() && rows[1].is_ok());
        check("", Some(Kind::Json), &[]);
    }

    #[test]
    fn json_arrays_and_text() {
        check(
            " [{\"a\": 1}, 2]",
            None,
            &[r#"x, row 1: {"a":1}"#, "x, row 2: is a number, must be an object of columns"],
        );
        check("To be\n", None, &[r#"x: {"text":"To be\n"}"#]);
        check("{To be", Some(Kind::Text), &[r#"x: {"text":"{To be"}"#]);
        let error = rows_of(b"[{]", None).err().unwrap().to_string();
        assert!(error.starts_with("x: is not valid JSON"), "{error}");
        let error = rows_of(b"ab\xff", Some(Kind::Text)).err().unwrap().to_string();
        assert_eq!(error, "x: is not UTF-8 text at byte 2");
    }

    #[test]
    fn kinds_by_name() {
        let of = |name: &str| kind(Path::new(name));
        assert_eq!(of("a/Train.JSONL.gz"), Some((Kind::Json, true)));
        assert_eq!(of("train-00000-of-00001.parquet"), Some((Kind::Parquet, false)));
        assert_eq!(of("README"), None);
        assert!(is_of_split(Path::new("d/train-0.jsonl"), "train"));
        assert!(!is_of_split(Path::new("d/training.jsonl"), "train"));
        assert!(!is_of_split(Path::new("d/train.sha256"), "train"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, brace: bool) {
            let bytes = [if brace { &b"{"[..] } else { b"[" }, &bytes].concat();
            for kind in [None, Some(Kind::Json), Some(Kind::Text)] {
                if let Ok(rows) = rows_of(&bytes, kind) {
                    prop_assert!(rows.len() <= bytes.len());
                }
            }
        }
    }
}
