use serde::{Deserialize, Serialize};
use whatlang::Lang;

use super::{Score, Scored, TextError, require_either};
use crate::{Task, columns};

/// The completion is in a certain language, as the crate whatlang tells it from its letters.
///
/// Short texts are often told wrongly: give it at least a few sentences.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Language {
    /// The language by ISO 639-3, such as `eng`, `deu` or `cmn`.
    pub language: Option<String>,
    /// The column that holds the language.
    pub column: Option<String>,
    /// The smallest confidence, from 0 to 1, with which the language must be told.
    pub min_confidence: f64,
}

#[derive(Debug)]
pub(super) struct Ready {
    config: Language,
    language: Option<Lang>,
}

const MUST: &str = "a language of whatlang by its code of ISO 639-3, such as eng, deu, fra or cmn";

impl Ready {
    pub(super) fn new(config: Language) -> Result<Self, TextError> {
        require_either(config.language.is_some(), config.column.is_some(), "language", "column")?;
        if !(0.0..=1.0).contains(&config.min_confidence) {
            let value = config.min_confidence.to_string();
            return Err(TextError::Value { name: "min_confidence", value, must: "from 0 to 1" });
        }
        let known = |code: &String| {
            let value = code.clone();
            Lang::from_code(code).ok_or(TextError::Value { name: "language", value, must: MUST })
        };
        Ok(Self { language: config.language.as_ref().map(known).transpose()?, config })
    }

    pub(super) fn score(&self, text: &str, task: &Task) -> Scored {
        let wanted = match (self.language, &self.config.column) {
            (Some(language), _) => Some(language),
            (None, Some(column)) => {
                let code = columns::text(task, column)?;
                Some(Lang::from_code(code).ok_or_else(|| columns::wrong(column, MUST))?)
            }
            (None, None) => None,
        };
        let Some(found) = whatlang::detect(text) else {
            return Ok(Score::new(0.0, "no language can be told"));
        };
        let (language, confidence) = (found.lang(), found.confidence());
        let right = Some(language) == wanted && confidence >= self.config.min_confidence;
        let reason = format!("{} (confidence {confidence:.2})", language.code());
        Ok(Score::yes_or_no(right, reason))
    }
}
