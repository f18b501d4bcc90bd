use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::error::{DataSetError, Place, RowProblem};

pub(super) type Row = Map<String, Value>;

/// The rows of a file. A file that begins with `[` is one list; any other has a row a line.
pub(super) fn rows(path: &Path) -> Result<Vec<(Place, Row)>, DataSetError> {
    let unreadable = |problem: String| DataSetError::Read { path: path.to_owned(), problem };
    let text = fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let values = if text.trim_start().starts_with('[') { items(text) } else { lines(text) };
    let values = values.map_err(|(place, problem)| problem.at(path, place))?;
    if values.is_empty() {
        return Err(DataSetError::Empty { path: path.to_owned() });
    }
    let row = |(place, value): (Place, Value)| match value {
        Value::Object(row) => Ok((place, row)),
        _ => Err(RowProblem::NoObject.at(path, place)),
    };
    values.into_iter().map(row).collect()
}

type Values = Result<Vec<(Place, Value)>, (Place, RowProblem)>;

fn items(text: &str) -> Values {
    let json =
        |error: serde_json::Error| (Place::Line(error.line()), RowProblem::Json(error.to_string()));
    let items: Vec<Value> = serde_json::from_str(text).map_err(json)?;
    Ok(items.into_iter().enumerate().map(|(i, item)| (Place::Item(i + 1), item)).collect())
}

fn lines(text: &str) -> Values {
    let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    numbered
        .map(|(i, line)| {
            let place = Place::Line(i + 1);
            let value = serde_json::from_str(line);
            Ok((place, value.map_err(|error| (place, RowProblem::Json(error.to_string())))?))
        })
        .collect()
}
