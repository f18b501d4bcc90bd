use serde::{Deserialize, Serialize};

use super::{Score, Scored, TextError};
use crate::{Task, columns};

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Runs without white space that hold a letter or a digit.
    #[default]
    Words,
    /// Letters of any alphabet; with `letter`, that one in either case.
    Letters,
    /// Characters of any kind.
    Characters,
    /// Ends of sentences (`.`, `!`, `?` and their runs, before white space or the end), and what is after the last.
    Sentences,
    /// Lines that are not blank.
    Lines,
    /// Groups of lines with a blank line between them.
    Paragraphs,
}

/// The completion has so many words, letters, sentences or lines.
///
/// With partial credit, a count out of bounds gets the ratio to the nearer bound.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Counts {
    /// What is counted.
    pub of: Counted,
    /// The one letter that is counted, of [`Counted::Letters`].
    pub letter: Option<char>,
    /// The smallest count.
    pub min: Option<usize>,
    /// The largest count.
    pub max: Option<usize>,
    /// The column that holds the smallest count.
    pub min_column: Option<String>,
    /// The column that holds the largest count.
    pub max_column: Option<String>,
}

impl Counts {
    pub(super) fn validated(self) -> Result<Self, TextError> {
        let no_min = self.min.is_none() && self.min_column.is_none();
        let both_min = self.min.is_some() && self.min_column.is_some();
        if both_min || no_min && self.max.is_none() && self.max_column.is_none() {
            return Err(TextError::Either { name: "min", column: "min_column" });
        }
        if self.max.is_some() && self.max_column.is_some() {
            return Err(TextError::Either { name: "max", column: "max_column" });
        }
        if let (Some(min), Some(max)) = (self.min, self.max)
            && min > max
        {
            let value = max.to_string();
            return Err(TextError::Value { name: "max", value, must: "at least min" });
        }
        if let Some(letter) = self.letter.filter(|_| self.of != Counted::Letters) {
            let must = "left out, unless of = \"letters\"";
            return Err(TextError::Value { name: "letter", value: letter.to_string(), must });
        }
        Ok(self)
    }

    pub(super) fn score(&self, text: &str, task: &Task) -> Scored {
        let bound = |here: Option<usize>, column: &Option<String>| match column {
            Some(column) => columns::count(task, column).map(Some),
            None => Ok(here),
        };
        let min = bound(self.min, &self.min_column)?.unwrap_or(0);
        let max = bound(self.max, &self.max_column)?;
        let count = self.count(text);
        let name = format!("{:?}", self.of).to_lowercase();
        if count < min {
            let reason = format!("{count} {name}, at least {min} are wanted");
            return Ok(Score::new(count as f64 / min as f64, reason));
        }
        if let Some(max) = max.filter(|max| count > *max) {
            let reason = format!("{count} {name}, at most {max} are wanted");
            return Ok(Score::new(max as f64 / count as f64, reason));
        }
        Ok(Score::new(1.0, format!("{count} {name}")))
    }

    fn count(&self, text: &str) -> usize {
        match self.of {
            Counted::Words => {
                let is_word = |word: &&str| word.chars().any(char::is_alphanumeric);
                text.split_whitespace().filter(is_word).count()
            }
            Counted::Letters => match self.letter {
                Some(letter) => {
                    let same = |c: char| c.to_lowercase().eq(letter.to_lowercase());
                    text.chars().filter(|c| same(*c)).count()
                }
                None => text.chars().filter(|c| c.is_alphabetic()).count(),
            },
            Counted::Characters => text.chars().count(),
            Counted::Sentences => sentences(text),
            Counted::Lines => text.lines().filter(|line| !line.trim().is_empty()).count(),
            Counted::Paragraphs => paragraphs(text),
        }
    }
}

fn sentences(text: &str) -> usize {
    let mut count = 0;
    let mut has_content = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let is_end = matches!(c, '.' | '!' | '?' | '。' | '！' | '？');
        has_content |= c.is_alphanumeric();
        let is_wide = matches!(c, '。' | '！' | '？');
        let ends = chars.peek().is_none_or(|next| next.is_whitespace() || is_wide);
        if is_end && ends && has_content {
            count += 1;
            has_content = false;
        }
    }
    count + usize::from(has_content)
}

fn paragraphs(text: &str) -> usize {
    let mut count = 0;
    let mut before_blank = true;
    for line in text.lines() {
        let blank = line.trim().is_empty();
        count += usize::from(before_blank && !blank);
        before_blank = blank;
    }
    count
}
