//! What can be wrong with the parameters of an environment.

/// A parameter which the environment cannot be built from.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ParameterError {
    /// A number outside its range.
    #[error("`{name}` must be {expected}, not {value}")]
    OutOfRange {
        /// The parameter.
        name: &'static str,
        /// The value given.
        value: f64,
        /// The values allowed, in words.
        expected: &'static str,
    },
    /// A list without elements.
    #[error("`{name}` must have at least one element")]
    Empty {
        /// The parameter.
        name: &'static str,
    },
    /// Rows of a map differ in length.
    #[error("map row {row} has {found} tiles where row 0 has {expected}")]
    MapNotRectangular {
        /// Index of the row, from 0.
        row: usize,
        /// Tiles in row 0.
        expected: usize,
        /// Tiles in this row.
        found: usize,
    },
    /// A letter that stands for no tile.
    #[error(
        "map row {row}, column {column}: unknown tile '{tile}' \
         (S start, F frozen, H hole, G goal)"
    )]
    MapUnknownTile {
        /// Index of the row, from 0.
        row: usize,
        /// Index of the column, from 0.
        column: usize,
        /// The letter found.
        tile: char,
    },
    /// A map on which an episode cannot begin.
    #[error("the map has no start: one tile must be S")]
    MapWithoutStart,
    /// A table that describes no process.
    #[error("`table`: {0}")]
    Table(#[from] skinner_core::MdpError),
    /// A start from which no goal can be reached.
    #[error("no goal G can be reached from the start in row {row}, column {column}")]
    MapGoalUnreachable {
        /// Row of the start, from 0.
        row: usize,
        /// Column of the start, from 0.
        column: usize,
    },
}

/// `value` when `valid`, else the error that names it.
pub(crate) fn check(
    name: &'static str,
    value: f64,
    expected: &'static str,
    valid: bool,
) -> Result<f64, ParameterError> {
    if valid { Ok(value) } else { Err(ParameterError::OutOfRange { name, value, expected }) }
}

pub(crate) fn check_finite(name: &'static str, value: f64) -> Result<f64, ParameterError> {
    check(name, value, "finite", value.is_finite())
}

pub(crate) fn check_probability(name: &'static str, value: f64) -> Result<f64, ParameterError> {
    check(name, value, "a probability from 0 to 1", (0.0..=1.0).contains(&value))
}

pub(crate) fn check_positive(name: &'static str, value: usize) -> Result<usize, ParameterError> {
    check(name, value as f64, "at least 1", value > 0).map(|_| value)
}
