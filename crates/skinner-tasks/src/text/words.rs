use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{Score, Scored, TextError};
use crate::{Failed, Task, columns};

/// The completion has some words or phrases and lacks others.
///
/// With partial credit, the score is the share of them that is as it should be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Words {
    /// What it must have.
    pub contains: Vec<String>,
    /// What it must not have.
    pub lacks: Vec<String>,
    /// The column with more of what it must have.
    pub contains_column: Option<String>,
    /// The column with more of what it must not have.
    pub lacks_column: Option<String>,
    /// Upper and lower case are different.
    pub match_case: bool,
    /// A part of a longer word counts too.
    pub within_words: bool,
}

impl Words {
    pub(super) fn validated(self) -> Result<Self, TextError> {
        let from_columns = self.contains_column.is_some() || self.lacks_column.is_some();
        if self.contains.is_empty() && self.lacks.is_empty() && !from_columns {
            return Err(TextError::Either { name: "contains", column: "contains_column" });
        }
        if self.contains.iter().chain(&self.lacks).any(String::is_empty) {
            let must = "a text that is not empty";
            return Err(TextError::Value { name: "contains", value: "\"\"".to_owned(), must });
        }
        Ok(self)
    }

    pub(super) fn score(&self, text: &str, task: &Task) -> Scored {
        let all = |here: &Vec<String>, column: &Option<String>| {
            let mut words = here.clone();
            if let Some(column) = column {
                words.extend(columns::texts(task, column)?);
            }
            Ok::<_, Failed>(words)
        };
        let contains = all(&self.contains, &self.contains_column)?;
        let lacks = all(&self.lacks, &self.lacks_column)?;
        let text = self.case(text);
        let missing: Vec<&String> = contains.iter().filter(|word| !self.has(&text, word)).collect();
        let present: Vec<&String> = lacks.iter().filter(|word| self.has(&text, word)).collect();
        let wrong = missing.len() + present.len();
        if wrong == 0 {
            return Ok(Score::new(1.0, "all words as they should be"));
        }
        let right = contains.len() + lacks.len() - wrong;
        let mut reason = String::new();
        if !missing.is_empty() {
            reason = format!("lacks {missing:?}");
        }
        if !present.is_empty() {
            let and = if reason.is_empty() { "" } else { ", " };
            let _ = write!(reason, "{and}has {present:?}");
        }
        Ok(Score::new(right as f64 / (right + wrong) as f64, reason))
    }

    fn case(&self, text: &str) -> String {
        if self.match_case { text.to_owned() } else { text.to_lowercase() }
    }

    fn has(&self, text: &str, word: &str) -> bool {
        let word = self.case(word);
        text.match_indices(&word).any(|(start, found)| {
            let before = text[..start].chars().next_back();
            let after = text[start + found.len()..].chars().next();
            let joins = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
            self.within_words || !joins(before) && !joins(after)
        })
    }
}
