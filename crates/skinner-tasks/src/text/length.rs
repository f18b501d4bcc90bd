use serde::{Deserialize, Serialize};

use super::{Score, Scored, TextError, require_either};
use crate::{Task, columns};

/// The completion has about so many tokens.
///
/// The score is `1 - |tokens - target| / width`, at least 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Length {
    /// The tokens that are wanted.
    pub target: Option<usize>,
    /// The column that holds the tokens that are wanted.
    pub column: Option<String>,
    /// Tokens away from the target at which the score is 0.
    pub width: f64,
    /// Shorter completions are as good as the target.
    pub shorter_is_fine: bool,
}

impl Default for Length {
    fn default() -> Self {
        Self { target: None, column: None, width: 100.0, shorter_is_fine: false }
    }
}

impl Length {
    pub(super) fn validated(self) -> Result<Self, TextError> {
        require_either(self.target.is_some(), self.column.is_some(), "target", "column")?;
        if !(self.width.is_finite() && self.width > 0.0) {
            let value = self.width.to_string();
            return Err(TextError::Value { name: "width", value, must: "above 0 and finite" });
        }
        Ok(self)
    }

    pub(super) fn score(&self, tokens: usize, task: &Task) -> Scored {
        let target = match &self.column {
            Some(column) => columns::count(task, column)?,
            None => self.target.unwrap_or_default(),
        };
        let away = if self.shorter_is_fine {
            tokens.saturating_sub(target)
        } else {
            tokens.abs_diff(target)
        };
        let score = (1.0 - away as f64 / self.width).max(0.0);
        Ok(Score::new(score, format!("{tokens} tokens, {target} are wanted")))
    }
}
