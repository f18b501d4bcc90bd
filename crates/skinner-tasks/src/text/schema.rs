use jsonschema::Validator;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Score, Scored, TextError, require_either, short};
use crate::{Failed, Task, columns};

/// The completion is JSON of a certain shape. A fence of Markdown around it is left out.
///
/// A schema of the configuration is compiled once, one of a column for each task. References to other
/// documents are errors: nothing is fetched. With partial credit, JSON of another shape gets a half.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JsonSchema {
    /// The JSON schema.
    pub schema: Option<Value>,
    /// The column that holds the schema, as JSON or as its text.
    pub column: Option<String>,
}

#[derive(Debug)]
pub(super) struct Ready {
    column: Option<String>,
    validator: Option<Validator>,
}

fn compiled(schema: &Value) -> Result<Validator, TextError> {
    jsonschema::validator_for(schema).map_err(|error| TextError::Schema(error.to_string()))
}

impl Ready {
    pub(super) fn new(config: JsonSchema) -> Result<Self, TextError> {
        require_either(config.schema.is_some(), config.column.is_some(), "schema", "column")?;
        let validator = config.schema.as_ref().map(compiled).transpose()?;
        Ok(Self { column: config.column, validator })
    }

    pub(super) fn score(&self, text: &str, task: &Task) -> Scored {
        match (&self.validator, &self.column) {
            (Some(validator), _) => Ok(checked(validator, text)),
            (None, Some(column)) => {
                let wrong = |error: String| Failed(format!("column `{column}`: {error}"));
                let schema = match columns::column(task, column)? {
                    Value::String(text) => {
                        serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?
                    }
                    other => other.clone(),
                };
                let validator = compiled(&schema).map_err(|error| wrong(error.to_string()))?;
                Ok(checked(&validator, text))
            }
            (None, None) => Ok(Score::new(0.0, "no schema")),
        }
    }
}

fn checked(validator: &Validator, text: &str) -> Score {
    let value: Value = match serde_json::from_str(without_fence(text)) {
        Ok(value) => value,
        Err(error) => return Score::new(0.0, format!("no JSON: {error}")),
    };
    let Some(error) = validator.iter_errors(&value).next() else {
        return Score::new(1.0, "the JSON fits the schema");
    };
    let place = error.instance_path().to_string();
    let place = if place.is_empty() { "the JSON" } else { &place };
    Score::new(0.5, format!("{}: {}", short(place), short(&error.to_string())))
}

fn without_fence(text: &str) -> &str {
    let text = text.trim();
    let Some(inner) = text.strip_prefix("```").and_then(|text| text.strip_suffix("```")) else {
        return text;
    };
    inner.split_once('\n').map_or(inner, |(_, inner)| inner)
}
