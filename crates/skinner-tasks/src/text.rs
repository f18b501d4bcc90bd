//! Texts that a rule can check: exact match, patterns, schemas, counts, words, language, format, length.
//!
//! A [`Check`] gives a score from 0 to 1. The reward is the score where [`Config::partial`] is set, and else 1
//! for a full score and 0 for any other. A parameter stands in the configuration or in a column of the task
//! (the field that ends in `column` names it), never in both.

mod counts;
mod exact;
mod format;
mod language;
mod length;
mod pattern;
#[cfg(feature = "json-schema")]
mod schema;
mod words;

use serde::{Deserialize, Serialize};

use crate::{Failed, Graded, Reward, Task, Trace};

pub use counts::{Counted, Counts};
pub use exact::Exact;
pub use format::Format;
pub use language::Language;
pub use length::Length;
pub use pattern::Pattern;
#[cfg(feature = "json-schema")]
pub use schema::JsonSchema;
pub use words::Words;

/// What a completion is checked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Check {
    /// It is a certain text.
    Exact(Exact),
    /// It matches a pattern.
    Regex(Pattern),
    /// It is JSON of a certain shape.
    #[cfg(feature = "json-schema")]
    JsonSchema(JsonSchema),
    /// It has a certain number of words, letters, sentences or lines.
    Counts(Counts),
    /// It has some words and lacks others.
    Words(Words),
    /// It is in a certain language.
    Language(Language),
    /// It consists of tagged parts in order.
    Format(Format),
    /// It has about so many tokens.
    Length(Length),
}

/// A verifier of texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is checked.
    pub check: Check,
    /// Only what is within the last tags of this name is checked, such as `answer`.
    #[serde(default)]
    pub tag: Option<String>,
    /// Whether the reward is the score. Otherwise it is 1 or 0. A [`Check::Length`] is always partial.
    #[serde(default)]
    pub partial: bool,
}

impl Config {
    /// A check of the whole completion without partial credit.
    pub const fn new(check: Check) -> Self {
        Self { check, tag: None, partial: false }
    }
}

/// A verifier that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// A pattern is wrong or too large.
    #[error("pattern {pattern:?}: {source}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        source: Box<regex::Error>,
    },
    /// A schema is wrong.
    #[error("schema: {0}")]
    Schema(String),
    /// A parameter is given twice or not at all.
    #[error("give either {name} or {column}")]
    Either {
        /// The field.
        name: &'static str,
        /// The field that names a column.
        column: &'static str,
    },
    /// A parameter has a value that makes no sense.
    #[error("{name} is {value}, must be {must}")]
    Value {
        /// The field.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What would be right.
        must: &'static str,
    },
}

/// From 0 to 1, and why.
pub(crate) struct Score {
    score: f64,
    reason: String,
}

impl Score {
    fn new(score: f64, reason: impl Into<String>) -> Self {
        Self { score, reason: reason.into() }
    }

    fn yes_or_no(yes: bool, reason: impl Into<String>) -> Self {
        Self::new(f64::from(u8::from(yes)), reason)
    }
}

type Scored = Result<Score, Failed>;

/// A check that is ready to run.
#[derive(Debug)]
enum Ready {
    Exact(Exact),
    Regex(pattern::Ready),
    #[cfg(feature = "json-schema")]
    JsonSchema(schema::Ready),
    Counts(Counts),
    Words(Words),
    Language(language::Ready),
    Format(Format),
    Length(Length),
}

/// A verifier of texts.
#[derive(Debug)]
pub struct Text {
    check: Ready,
    tag: Option<String>,
    partial: bool,
}

impl Text {
    /// A verifier; patterns and schemas of the configuration are compiled here.
    ///
    /// # Errors
    /// If a parameter is wrong, missing or given twice.
    pub fn new(config: Config) -> Result<Self, TextError> {
        let partial = config.partial || matches!(config.check, Check::Length(_));
        let check = match config.check {
            Check::Exact(check) => Ready::Exact(check.validated()?),
            Check::Regex(check) => Ready::Regex(pattern::Ready::new(check)?),
            #[cfg(feature = "json-schema")]
            Check::JsonSchema(check) => Ready::JsonSchema(schema::Ready::new(check)?),
            Check::Counts(check) => Ready::Counts(check.validated()?),
            Check::Words(check) => Ready::Words(check.validated()?),
            Check::Language(check) => Ready::Language(language::Ready::new(check)?),
            Check::Format(check) => Ready::Format(check.validated()?),
            Check::Length(check) => Ready::Length(check.validated()?),
        };
        Ok(Self { check, tag: config.tag, partial })
    }

    /// Grades a completion.
    ///
    /// # Errors
    /// If the task lacks what the check needs.
    pub fn grade(&self, task: &Task, trace: &Trace) -> Graded {
        let score = self.score(task, trace)?;
        let reward = if self.partial { score.score } else { f64::from(score.score >= 1.0) };
        Ok(Reward::new(reward, score.reason))
    }

    /// What is checked of a completion, with single spaces; `None` where its tags are missing.
    pub fn answer(&self, completion: &str) -> Option<String> {
        let text = match &self.tag {
            Some(tag) => within(completion, tag)?,
            None => completion,
        };
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    fn score(&self, task: &Task, trace: &Trace) -> Scored {
        let mut text = trace.completion.as_str();
        if let Some(tag) = &self.tag {
            let Some(inner) = within(text, tag) else {
                return Ok(Score::new(0.0, format!("no <{tag}>…</{tag}>")));
            };
            text = inner;
        }
        let empty = text.trim_start().is_empty();
        let scored = match &self.check {
            Ready::Exact(check) => check.score(text, task),
            Ready::Regex(check) => check.score(text, task),
            #[cfg(feature = "json-schema")]
            Ready::JsonSchema(check) => check.score(text, task),
            Ready::Counts(check) => check.score(text, task),
            Ready::Words(check) => check.score(text, task),
            Ready::Language(check) => check.score(text, task),
            Ready::Format(check) => Ok(check.score(text)),
            Ready::Length(check) => check.score(trace.tokens, task),
        }?;
        Ok(if empty { Score::new(0.0, "the completion is empty") } else { scored })
    }
}

/// What is between the last tags of a name.
fn within<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let end = text.rfind(&close)?;
    let start = text[..end].rfind(&open)? + open.len();
    Some(&text[start..end])
}

/// That exactly one of a parameter and its column is given.
fn require_either(
    here: bool,
    column: bool,
    name: &'static str,
    column_name: &'static str,
) -> Result<(), TextError> {
    if here == column {
        return Err(TextError::Either { name, column: column_name });
    }
    Ok(())
}

/// The beginning of a text, for reasons.
pub(crate) fn short(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut chars = text.chars();
    let mut beginning: String = chars.by_ref().take(LONGEST).collect();
    if chars.next().is_some() {
        beginning.push('…');
    }
    beginning
}
