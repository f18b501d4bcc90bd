//! Formats: from the columns of a row to a [`Sample`].
//!
//! Columns have the names that TRL gives them. `prompt`, `completion`, `chosen` and `rejected` are
//! texts or lists of messages, all of one kind in a row.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{DataError, Place};
use super::read::Row;
use super::sample::{Content, Message, Sample};

/// What the columns of a data set mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// By the columns of the first row.
    #[default]
    Auto,
    /// `messages`, and `tools` where there are any.
    Messages,
    /// `prompt`, `completion`
    PromptCompletion,
    /// `text`
    Text,
    /// `prompt`, `chosen`, `rejected`; or `chosen` and `rejected` alone, which begin with the
    /// prompt.
    Preference,
    /// `prompt`, `completion`, `label` (true: desirable)
    Unpaired,
    /// GSM8K: `question` and `answer` become a user's message and the assistant's.
    Gsm8k,
    /// Anthropic's HH: `chosen` and `rejected` are transcripts, `\n\nHuman: …\n\nAssistant: …`,
    /// which become messages. All but the last answer is the prompt.
    Hh,
}

/// Formats in the order in which they are tried, and the columns each must have.
const COLUMNS: [(Format, &[&str]); 7] = [
    (Format::Messages, &["messages"]),
    (Format::Unpaired, &["prompt", "completion", "label"]),
    (Format::PromptCompletion, &["prompt", "completion"]),
    (Format::Hh, &["chosen", "rejected"]),
    (Format::Preference, &["chosen", "rejected"]),
    (Format::Gsm8k, &["question", "answer"]),
    (Format::Text, &["text"]),
];

impl Format {
    /// Its name in a recipe.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Messages => "messages",
            Self::PromptCompletion => "prompt_completion",
            Self::Text => "text",
            Self::Preference => "preference",
            Self::Unpaired => "unpaired",
            Self::Gsm8k => "gsm8k",
            Self::Hh => "hh",
        }
    }

    /// The columns a row must have.
    fn columns(self) -> &'static [&'static str] {
        COLUMNS.iter().find(|(format, _)| *format == self).map_or(&[], |(_, columns)| *columns)
    }

    /// The format of a row; [`Format::Auto`] looks at its columns.
    ///
    /// # Errors
    /// If they fit none.
    pub fn of(self, row: &Row) -> Result<Self, DataError> {
        if self != Self::Auto {
            return Ok(self);
        }
        let fits = |(format, columns): &&(Self, &[&str])| {
            let is_there = |name: &&str| row.columns.contains_key(*name);
            columns.iter().all(is_there)
                && match format {
                    Self::Hh => {
                        !row.columns.contains_key("prompt") && is_hh(&row.columns["chosen"])
                    }
                    Self::Gsm8k => {
                        row.columns["answer"].as_str().is_some_and(|text| text.contains("####"))
                    }
                    _ => true,
                }
        };
        COLUMNS.iter().find(fits).map(|(format, _)| *format).ok_or_else(|| DataError::Columns {
            place: row.place.clone(),
            found: row.columns.keys().cloned().collect(),
            expected: "one of `messages`; `prompt` and `completion`; these and `label`; \
                       `prompt`, `chosen` and `rejected`; `chosen` and `rejected`; `text`; \
                       `question` and `answer` (format = \"gsm8k\")"
                .to_owned(),
        })
    }

    /// The sample of a row. `strip_calculator` takes GSM8K's `<<…>>` out.
    ///
    /// # Errors
    /// If a column is missing or holds something else.
    pub fn sample(self, row: &Row, strip_calculator: bool) -> Result<Outcome, DataError> {
        let format = self.of(row)?;
        let get = Columns { row, format };
        let sample = match format {
            Self::Auto | Self::Messages => Sample::Messages {
                messages: get.messages("messages")?,
                tools: get.optional_list("tools")?,
            },
            Self::PromptCompletion => {
                let [prompt, completion] = get.contents(["prompt", "completion"])?;
                Sample::PromptCompletion { prompt, completion }
            }
            Self::Unpaired => {
                let [prompt, completion] = get.contents(["prompt", "completion"])?;
                Sample::Unpaired { prompt, completion, label: get.label()? }
            }
            Self::Text => Sample::Text(get.text("text")?.to_owned()),
            Self::Preference => return get.preference(),
            Self::Gsm8k => {
                let answer = get.text("answer")?;
                let answer =
                    if strip_calculator { without_calculator(answer) } else { answer.to_owned() };
                let question = get.text("question")?.trim();
                Sample::PromptCompletion {
                    prompt: Content::Messages(vec![Message::new("user", question)]),
                    completion: Content::Messages(vec![Message::new("assistant", answer)]),
                }
            }
            Self::Hh => return Ok(hh_pair(get.text("chosen")?, get.text("rejected")?)),
        };
        Ok(Outcome::Sample(sample))
    }
}

/// What becomes of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A sample.
    Sample(Sample),
    /// Nothing: the chosen and the rejected completion are the same.
    Identical,
    /// Nothing: a transcript without alternating turns, or two that differ before the last one.
    Malformed,
}

/// The columns of a row, read by name.
struct Columns<'a> {
    row: &'a Row,
    format: Format,
}

impl<'a> Columns<'a> {
    fn place(&self) -> &'a Place {
        &self.row.place
    }

    fn value(&self, name: &str) -> Result<&'a Value, DataError> {
        self.row.columns.get(name).ok_or_else(|| DataError::Columns {
            place: self.place().clone(),
            found: self.row.columns.keys().cloned().collect(),
            expected: format!(
                "{} (format = \"{}\")",
                self.format
                    .columns()
                    .iter()
                    .map(|n| format!("`{n}`"))
                    .collect::<Vec<_>>()
                    .join(", "),
                self.format.as_str()
            ),
        })
    }

    fn text(&self, name: &str) -> Result<&'a str, DataError> {
        let value = self.value(name)?;
        value.as_str().ok_or_else(|| self.wrong(name, value, "a string"))
    }

    fn wrong(&self, name: &str, found: &Value, expected: &str) -> DataError {
        let found = match found {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        DataError::broken(self.place(), format!("column `{name}` is {found}, must be {expected}"))
    }

    fn optional_list(&self, name: &str) -> Result<Vec<Value>, DataError> {
        match self.row.columns.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(list.clone()),
            Some(other) => Err(self.wrong(name, other, "a list")),
        }
    }

    fn label(&self) -> Result<bool, DataError> {
        match self.value("label")? {
            Value::Bool(label) => Ok(*label),
            Value::Number(n) if n.as_f64() == Some(1.0) => Ok(true),
            Value::Number(n) if n.as_f64() == Some(0.0) => Ok(false),
            other => Err(self.wrong("label", other, "true or false")),
        }
    }

    fn messages(&self, name: &str) -> Result<Vec<Message>, DataError> {
        let value = self.value(name)?;
        let Some(list) = value.as_array() else {
            return Err(self.wrong(name, value, "a list of messages"));
        };
        if list.is_empty() {
            let what = format!("column `{name}` has no message");
            return Err(DataError::broken(self.place(), what));
        }
        let message = |(i, value): (usize, &Value)| {
            Message::try_from(value.clone()).map_err(|what| {
                let what = format!("column `{name}`, message {}: {what}", i + 1);
                DataError::broken(self.place(), what)
            })
        };
        list.iter().enumerate().map(message).collect()
    }

    fn content(&self, name: &str) -> Result<Content, DataError> {
        match self.value(name)? {
            Value::String(text) => Ok(Content::Text(text.clone())),
            Value::Array(_) => self.messages(name).map(Content::Messages),
            other => Err(self.wrong(name, other, "a string or a list of messages")),
        }
    }

    /// Columns of which all are texts or all are messages.
    fn contents<const N: usize>(&self, names: [&str; N]) -> Result<[Content; N], DataError> {
        let mut contents = Vec::with_capacity(N);
        for name in names {
            contents.push(self.content(name)?);
        }
        let texts = contents.iter().filter(|c| matches!(c, Content::Text(_))).count();
        if texts != 0 && texts != N {
            let names = names.map(|name| format!("`{name}`")).join(", ");
            let what = format!("columns {names} must be all strings or all lists of messages");
            return Err(DataError::broken(self.place(), what));
        }
        Ok(contents.try_into().expect("one content a name"))
    }

    fn preference(&self) -> Result<Outcome, DataError> {
        let (prompt, chosen, rejected) = if self.row.columns.contains_key("prompt") {
            let [prompt, chosen, rejected] = self.contents(["prompt", "chosen", "rejected"])?;
            (prompt, chosen, rejected)
        } else {
            let [chosen, rejected] = self.contents(["chosen", "rejected"])?;
            split_prompt(chosen, rejected)
        };
        if chosen == rejected {
            return Ok(Outcome::Identical);
        }
        if prompt.is_empty() {
            let what = "`chosen` and `rejected` begin with no common prompt, and there is no \
                        column `prompt`";
            return Err(DataError::broken(self.place(), what));
        }
        Ok(Outcome::Sample(Sample::Preference { prompt, chosen, rejected }))
    }
}

/// Takes the common beginning of two transcripts as their prompt. Of texts a space before the first
/// difference belongs to the completions.
fn split_prompt(chosen: Content, rejected: Content) -> (Content, Content, Content) {
    match (chosen, rejected) {
        (Content::Text(chosen), Content::Text(rejected)) => {
            let same = chosen.chars().zip(rejected.chars()).take_while(|(a, b)| a == b);
            let mut at: usize = same.map(|(c, _)| c.len_utf8()).sum();
            if chosen[..at].ends_with(' ') {
                at -= 1;
            }
            let prompt = chosen[..at].to_owned();
            let rest = |text: &str| Content::Text(text[at..].to_owned());
            (Content::Text(prompt), rest(&chosen), rest(&rejected))
        }
        (Content::Messages(mut chosen), Content::Messages(mut rejected)) => {
            let same = chosen.iter().zip(&rejected).take_while(|(a, b)| a == b).count();
            let chosen_rest = chosen.split_off(same);
            let rejected_rest = rejected.split_off(same);
            let rest = (Content::Messages(chosen_rest), Content::Messages(rejected_rest));
            (Content::Messages(chosen), rest.0, rest.1)
        }
        // `contents` lets no mixture through.
        (chosen, rejected) => (Content::Text(String::new()), chosen, rejected),
    }
}

const HUMAN: &str = "\n\nHuman:";
const ASSISTANT: &str = "\n\nAssistant:";

fn is_hh(chosen: &Value) -> bool {
    chosen.as_str().is_some_and(|text| text.starts_with(HUMAN) && text.contains(ASSISTANT))
}

fn hh_pair(chosen: &str, rejected: &str) -> Outcome {
    let (Some(mut chosen), Some(mut rejected)) = (hh_turns(chosen), hh_turns(rejected)) else {
        return Outcome::Malformed;
    };
    if chosen == rejected {
        return Outcome::Identical;
    }
    let (last_chosen, last_rejected) = (chosen.pop(), rejected.pop());
    match (last_chosen, last_rejected) {
        (Some(last_chosen), Some(last_rejected)) if chosen == rejected => {
            Outcome::Sample(Sample::Preference {
                prompt: Content::Messages(chosen),
                chosen: Content::Messages(vec![last_chosen]),
                rejected: Content::Messages(vec![last_rejected]),
            })
        }
        _ => Outcome::Malformed,
    }
}

/// The messages of a transcript: turns that alternate, the human's first, the assistant's last.
fn hh_turns(text: &str) -> Option<Vec<Message>> {
    let mut turns = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (marker, role) =
            if turns.len() % 2 == 0 { (HUMAN, "user") } else { (ASSISTANT, "assistant") };
        let body = rest.strip_prefix(marker)?;
        let end = [HUMAN, ASSISTANT].iter().filter_map(|marker| body.find(marker)).min();
        let (body, next) = body.split_at(end.unwrap_or(body.len()));
        turns.push(Message::new(role, body.trim()));
        rest = next;
    }
    (!turns.is_empty() && turns.len() % 2 == 0).then_some(turns)
}

/// An answer of GSM8K without its calculator spans `<<48/2=24>>`.
fn without_calculator(answer: &str) -> String {
    let mut out = String::with_capacity(answer.len());
    let mut rest = answer;
    while let Some((before, after)) = rest.split_once("<<") {
        let Some((_, after)) = after.split_once(">>") else { break };
        out.push_str(before);
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests;
