use serde::{Deserialize, Serialize};

use super::{Score, TextError, short};

/// The completion consists of tagged parts in order: `<think>…</think><answer>…</answer>`.
///
/// Each tag occurs once, and only white space is outside. With partial credit, the score is the share of
/// parts that were read before the first mistake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Format {
    /// The names of the tags, in order.
    pub tags: Vec<String>,
    /// Text may stand outside of the tags.
    pub allow_outside: bool,
    /// A part may hold nothing.
    pub allow_empty: bool,
    /// The opening tag of the first part stands in the prompt.
    pub opened: bool,
}

impl Default for Format {
    fn default() -> Self {
        let tags = ["think", "answer"].map(str::to_owned).to_vec();
        Self { tags, allow_outside: false, allow_empty: false, opened: false }
    }
}

impl Format {
    pub(super) fn validated(self) -> Result<Self, TextError> {
        let in_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '|');
        let is_name = |tag: &String| !tag.is_empty() && tag.chars().all(in_name);
        let wrong = self.tags.iter().find(|tag| !is_name(tag)).cloned();
        let repeated = (1..self.tags.len()).find(|at| self.tags[..*at].contains(&self.tags[*at]));
        let wrong = wrong.or_else(|| repeated.map(|at| self.tags[at].clone()));
        match wrong {
            Some(value) => {
                let must = "different names of letters, digits, `_`, `-` and `|`";
                Err(TextError::Value { name: "tags", value, must })
            }
            None if self.tags.is_empty() => {
                let value = "empty".to_owned();
                Err(TextError::Value { name: "tags", value, must: "at least one name" })
            }
            None => Ok(self),
        }
    }

    pub(super) fn score(&self, text: &str) -> Score {
        let total = self.tags.len() as f64;
        let mut rest = text;
        for (index, tag) in self.tags.iter().enumerate() {
            let opened = self.opened && index == 0;
            match self.part(rest, tag, opened) {
                Ok(after) => rest = after,
                Err(reason) => return Score::new(index as f64 / total, reason),
            }
        }
        let again = self.tags.iter().find(|tag| has_tag(rest, tag));
        if let Some(tag) = again {
            return Score::new((total - 1.0) / total, format!("<{tag}> occurs again"));
        }
        if !self.allow_outside && !rest.trim().is_empty() {
            let reason = format!("text after the last tag: {:?}", short(rest.trim()));
            return Score::new((total - 1.0) / total, reason);
        }
        Score::new(1.0, "the format is right")
    }

    /// Reads a part; what comes after it.
    fn part<'a>(&self, text: &'a str, tag: &str, opened: bool) -> Result<&'a str, String> {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let inner = if opened {
            text
        } else {
            let Some((before, inner)) = text.split_once(&open) else {
                return Err(format!("no <{tag}> in its place"));
            };
            if !self.allow_outside && !before.trim().is_empty() {
                return Err(format!("text before <{tag}>: {:?}", short(before.trim())));
            }
            if let Some(other) = self.tags.iter().find(|tag| has_tag(before, tag)) {
                return Err(format!("<{other}> stands before <{tag}>"));
            }
            inner
        };
        let Some((inner, after)) = inner.split_once(&close) else {
            return Err(format!("<{tag}> is not closed"));
        };
        if let Some(other) = self.tags.iter().find(|tag| has_tag(inner, tag)) {
            return Err(format!("<{other}> stands within <{tag}>"));
        }
        if !self.allow_empty && inner.trim().is_empty() {
            return Err(format!("<{tag}> is empty"));
        }
        Ok(after)
    }
}

/// Whether an opening or closing tag is in a text.
fn has_tag(text: &str, tag: &str) -> bool {
    text.contains(&format!("<{tag}>")) || text.contains(&format!("</{tag}>"))
}
