use serde::{Deserialize, Serialize};

use super::{Score, Scored, TextError, short};
use crate::{Failed, Task, columns};

/// The completion is a certain text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Exact {
    /// The text. Without it and `column`, it is the task's `answer`.
    pub expected: Option<String>,
    /// The column that holds the text, or a list of texts of which one must match.
    pub column: Option<String>,
    /// Upper and lower case are the same.
    pub ignore_case: bool,
    /// Runs of white space are one space, and none counts at the ends.
    pub ignore_whitespace: bool,
    /// Punctuation is left out.
    pub ignore_punctuation: bool,
}

impl Exact {
    pub(super) fn validated(self) -> Result<Self, TextError> {
        if self.expected.is_some() && self.column.is_some() {
            return Err(TextError::Either { name: "expected", column: "column" });
        }
        Ok(self)
    }

    pub(super) fn score(&self, text: &str, task: &Task) -> Scored {
        let expected = match (&self.expected, &self.column) {
            (Some(expected), _) => vec![expected.clone()],
            (None, Some(column)) => columns::texts(task, column)?,
            (None, None) => match &task.answer {
                Some(answer) => vec![answer.clone()],
                None => return Err(Failed("the task has no `answer`".to_owned())),
            },
        };
        let given = self.normal(text);
        if expected.iter().any(|expected| self.normal(expected) == given) {
            return Ok(Score::new(1.0, "exact match"));
        }
        let wanted = expected.first().map_or("", String::as_str);
        let reason = format!("{:?} is not {:?}", short(text), short(wanted));
        Ok(Score::new(0.0, reason))
    }

    fn normal(&self, text: &str) -> String {
        let is_left_out = |c: char| self.ignore_punctuation && is_punctuation(c);
        let mut normal: String = text.chars().filter(|c| !is_left_out(*c)).collect();
        if self.ignore_case {
            normal = normal.to_lowercase();
        }
        if self.ignore_whitespace {
            normal = normal.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        normal
    }
}

fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation()
        || ('\u{2010}'..='\u{2027}').contains(&c)
        || matches!(c, '«' | '»' | '¡' | '¿' | '…' | '‹' | '›' | '、' | '。' | '！' | '？' | '，')
}
