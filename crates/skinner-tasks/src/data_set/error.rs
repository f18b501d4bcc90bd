use std::path::{Path, PathBuf};

/// A data set that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataSetError {
    /// A value out of range.
    #[error("{name} = {value} is out of range: must be {must}")]
    Value {
        /// The field.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What would be right.
        must: &'static str,
    },
    /// A file that cannot be read.
    #[error("cannot read {}: {problem}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A file without rows.
    #[error("{} has no row", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Fewer worked examples than are to be shown.
    #[error("few_shot = {wanted} is out of range: only {worked} rows have a worked solution")]
    FewShot {
        /// How many are to be shown.
        wanted: usize,
        /// How many there are.
        worked: usize,
    },
    /// A row that cannot be used.
    #[error("{}, {place}: {problem}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Where.
        place: Place,
        /// Why.
        problem: RowProblem,
    },
}

/// Where a row is, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of a file with one row a line.
    Line(usize),
    /// An item of a file that is one list.
    Item(usize),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Item(number) => write!(f, "item {number}"),
        }
    }
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowProblem {
    /// It is no JSON.
    #[error("is not valid JSON: {0}")]
    Json(String),
    /// It is no object.
    #[error("must be an object such as {{\"question\": …}}")]
    NoObject,
    /// A column is missing.
    #[error("has no column `{column}`; it has [{there}]")]
    Missing {
        /// The column.
        column: String,
        /// The columns it has.
        there: String,
    },
    /// A column holds something else.
    #[error("column `{column}` must hold {must}")]
    Wrong {
        /// The column.
        column: String,
        /// What would be right.
        must: &'static str,
    },
    /// It has no answer.
    #[error(
        "has no answer in column `{column}`; set needs_answer = false if the verifier needs none"
    )]
    NoAnswer {
        /// The column.
        column: String,
    },
    /// The configuration names no column for answers.
    #[error(
        "format.columns names no column for the answer or the tests; set needs_answer = false if the verifier needs none"
    )]
    NoAnswerColumn,
}

impl RowProblem {
    pub(super) fn at(self, path: &Path, place: Place) -> DataSetError {
        DataSetError::Row { path: path.to_owned(), place, problem: self }
    }
}
