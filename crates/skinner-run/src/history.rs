//! Reading `metrics.jsonl` and `timing.jsonl` back.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::error::RunError;

/// One metric over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Environment step and value; lines without a finite value are left out.
    pub points: Vec<(f64, f64)>,
}

/// What a log holds, column by column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The metrics in the order in which they first appear.
    pub columns: Vec<Column>,
    /// The step of the last line.
    pub last_step: Option<u64>,
    /// Lines that were read.
    pub lines: usize,
    /// Numbers of the lines, from 1, that are no JSON object with a step.
    pub unreadable: Vec<usize>,
}

impl History {
    /// Reads a log; one that does not exist is empty.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, RunError> {
        let path = path.as_ref();
        match fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            bytes => Ok(Self::parse(&bytes.map_err(RunError::io("read", path))?)),
        }
    }

    /// Reads the bytes of a log; lines that cannot be read are counted and passed over.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut history = Self::default();
        for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            match serde_json::from_slice::<Line>(line).ok().and_then(Line::with_step) {
                Some((step, values)) => history.push(step, values),
                None => history.unreadable.push(number + 1),
            }
        }
        history
    }

    /// The points of the metric called `name`; none when it was never logged.
    pub fn points(&self, name: &str) -> &[(f64, f64)] {
        self.columns.iter().find(|column| column.name == name).map_or(&[], |column| &column.points)
    }

    fn push(&mut self, step: u64, values: Entries) {
        self.lines += 1;
        self.last_step = Some(step);
        for (name, value) in values {
            let index = self.columns.iter().position(|column| column.name == name);
            let index = index.unwrap_or_else(|| {
                self.columns.push(Column { name, points: Vec::new() });
                self.columns.len() - 1
            });
            if let Some(value) = value {
                self.columns[index].points.push((step as f64, value));
            }
        }
    }
}

/// Names and numbers in order; a number that JSON cannot hold is none.
type Entries = Vec<(String, Option<f64>)>;

/// One line.
struct Line(Entries);

impl Line {
    fn with_step(mut self) -> Option<(u64, Entries)> {
        let index = self.0.iter().position(|(name, _)| name == "step")?;
        let step = self.0.remove(index).1.filter(|step| *step >= 0.0)?;
        Some((step as u64, self.0))
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Line;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of numbers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Line(entries))
            }
        }
        deserializer.deserialize_map(Object)
    }
}
