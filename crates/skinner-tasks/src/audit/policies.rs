//! Policies that do no work.

use std::collections::BTreeMap;
use std::fmt;

use crate::text;

pub(super) enum Policy {
    /// Nothing at all.
    Empty,
    /// The prompt again.
    Copy,
    /// The most frequent answer.
    Constant(String),
    /// A number of the prompt, counted from 0.
    Number(usize),
    /// Its last number.
    Last,
    /// That number of the prompt which is best: more than a policy can have, and a limit for all of them.
    Best,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty"),
            Self::Copy => f.write_str("copy of the prompt"),
            Self::Constant(answer) => write!(f, "always {:?}", text::short(answer)),
            Self::Number(0) => f.write_str("first number"),
            Self::Number(at) => write!(f, "number {}", at + 1),
            Self::Last => f.write_str("last number"),
            Self::Best => f.write_str("best single number"),
        }
    }
}

impl Policy {
    /// What it answers; of several the best counts. None where it has no answer.
    pub(super) fn completions(&self, prompt: &str, numbers: &[String]) -> Vec<String> {
        match self {
            Self::Empty => vec![String::new()],
            Self::Copy => vec![prompt.to_owned()],
            Self::Constant(answer) => vec![answer.clone()],
            Self::Number(at) => numbers.get(*at).cloned().into_iter().collect(),
            Self::Last => numbers.last().cloned().into_iter().collect(),
            Self::Best => numbers.to_vec(),
        }
    }
}

/// All of them; so many numbers are tried one by one.
pub(super) fn all(references: &[Option<String>], numbers: usize) -> Vec<Policy> {
    let mut policies = vec![Policy::Empty, Policy::Copy];
    policies.extend(most_frequent(references).map(Policy::Constant));
    policies.extend((0..numbers).map(Policy::Number));
    policies.extend([Policy::Last, Policy::Best]);
    policies
}

/// Of answers that are equally frequent, the first in the order of texts; white space around them does not count.
fn most_frequent(references: &[Option<String>]) -> Option<String> {
    let mut counts: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for answer in references.iter().flatten() {
        counts.entry(answer.trim()).or_insert((0, answer)).0 += 1;
    }
    let largest = counts.values().map(|(count, _)| *count).max()?;
    counts.into_values().find(|(count, _)| *count == largest).map(|(_, answer)| answer.to_owned())
}

/// The numbers of a text without their signs, as written, such as `1,018` or `2.5`.
pub(super) fn numbers(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !digit(at) {
            at += 1;
            continue;
        }
        let start = at;
        let thousands =
            |at: usize| bytes[at] == b',' && (1..=3).all(|i| digit(at + i)) && !digit(at + 4);
        while digit(at) || at < bytes.len() && (thousands(at) || bytes[at] == b'.' && digit(at + 1))
        {
            at += 1;
        }
        found.push(text[start..at].to_owned());
    }
    found
}
