use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::{Score, Scored, TextError, require_either, short};
use crate::{Failed, Task, columns};

/// A compiled pattern takes at most this many bytes.
const SIZE_LIMIT: usize = 1 << 20;

/// The completion matches a regular expression. Its time is linear in the text, for any pattern.
///
/// A pattern of the configuration is compiled once, one of a column for each task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pattern {
    /// The expression, in the syntax of the crate regex.
    pub pattern: Option<String>,
    /// The column that holds the expression.
    pub column: Option<String>,
    /// The whole text must match, not some part of it.
    pub full: bool,
    /// It must not match.
    pub forbidden: bool,
}

#[derive(Debug)]
pub(super) struct Ready {
    config: Pattern,
    regex: Option<Regex>,
}

fn compiled(pattern: &str, full: bool) -> Result<Regex, TextError> {
    let anchored = format!("\\A(?:{pattern})\\z");
    RegexBuilder::new(if full { &anchored } else { pattern })
        .size_limit(SIZE_LIMIT)
        .build()
        .map_err(|source| TextError::Pattern { pattern: short(pattern), source: Box::new(source) })
}

impl Ready {
    pub(super) fn new(config: Pattern) -> Result<Self, TextError> {
        require_either(config.pattern.is_some(), config.column.is_some(), "pattern", "column")?;
        let regex = config.pattern.as_deref().map(|pattern| compiled(pattern, config.full));
        Ok(Self { regex: regex.transpose()?, config })
    }

    pub(super) fn score(&self, text: &str, task: &Task) -> Scored {
        let found = match (&self.regex, &self.config.column) {
            (Some(regex), _) => regex.is_match(text),
            (None, Some(column)) => {
                let pattern = columns::text(task, column)?;
                let regex = compiled(pattern, self.config.full);
                regex.map_err(|error| Failed(format!("column `{column}`: {error}")))?.is_match(text)
            }
            (None, None) => false,
        };
        let reason = if found { "the pattern matches" } else { "the pattern does not match" };
        Ok(Score::yes_or_no(found != self.config.forbidden, reason))
    }
}
