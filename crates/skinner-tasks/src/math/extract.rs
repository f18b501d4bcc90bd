//! Where in a text the final answer is.

use std::borrow::Cow;

use memchr::{memchr, memrchr, memrchr2};
use serde::{Deserialize, Serialize};

/// A way to find the final answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extractor {
    /// The last `\boxed{…}`. Boxes with nothing but `,`, `and` or `or` between them are one list.
    Boxed,
    /// What is between the last tags, `<answer>…</answer>`.
    Tags,
    /// The line after the last `####`.
    Hashes,
    /// What follows the last "answer is" or "answer:", up to the end of its sentence.
    AnswerIs,
    /// The last formula, `$…$`, `\(…\)` or `\[…\]`, where no number comes after it.
    Formula,
    /// The last number.
    LastNumber,
    /// The whole text.
    Whole,
}

impl Extractor {
    /// Its name in a recipe and in reasons.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Boxed => "boxed",
            Self::Tags => "tags",
            Self::Hashes => "hashes",
            Self::AnswerIs => "answer_is",
            Self::Formula => "formula",
            Self::LastNumber => "last_number",
            Self::Whole => "whole",
        }
    }

    /// The answer in a text, where there is one. `tag` is the name of the tags.
    pub fn extract<'a>(self, text: &'a str, tag: &str) -> Option<Cow<'a, str>> {
        let found = match self {
            Self::Boxed => return boxed(text),
            Self::Tags => tagged(text, tag),
            Self::Hashes => hashes(text),
            Self::AnswerIs => answer_is(text),
            Self::Formula => formula(text),
            Self::LastNumber => last_number(text),
            Self::Whole => Some(text),
        };
        found.map(str::trim).filter(|found| !found.is_empty()).map(Cow::Borrowed)
    }
}

/// The place of the brace that closes the first one, in a text that begins with it.
pub(super) fn closing_brace(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'{' => depth += 1,
            b'}' if depth <= 1 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}

/// A box: where its command begins, and where its content is.
struct Framed {
    start: usize,
    inner: (usize, usize),
}

/// The last box that is closed before `end`, of the last few.
fn last_box(text: &str, mut end: usize) -> Option<Framed> {
    const TRIES: usize = 8;
    for _ in 0..TRIES {
        let start = loop {
            let backslash = memrchr(b'\\', &text.as_bytes()[..end])?;
            let name = &text[backslash + 1..];
            if name.starts_with("boxed") || name.starts_with("fbox") {
                break backslash;
            }
            end = backslash;
        };
        let name = if text[start..].starts_with("\\boxed") { 6 } else { 5 };
        let after = &text[start + name..];
        let brace = start + name + after.len() - after.trim_start().len();
        if text[brace..].starts_with('{') {
            if let Some(close) = closing_brace(&text[brace..]) {
                return Some(Framed { start, inner: (brace + 1, brace + close) });
            }
        } else if brace > start + name {
            let word = text[brace..].split(|c: char| c.is_whitespace() || c == '$').next()?;
            return Some(Framed { start, inner: (brace, brace + word.len()) });
        }
        end = start;
    }
    None
}

fn boxed(text: &str) -> Option<Cow<'_, str>> {
    const MAX_BOXES: usize = 64;
    let last = last_box(text, text.len())?;
    let content = |framed: &Framed| text[framed.inner.0..framed.inner.1].trim();
    let mut found = vec![content(&last)];
    let mut start = last.start;
    while found.len() < MAX_BOXES
        && let Some(before) = last_box_near(text, start)
    {
        let content = content(&before);
        if !found.contains(&content) {
            found.push(content);
        }
        start = before.start;
    }
    if found.len() == 1 {
        return Some(Cow::Borrowed(found[0])).filter(|found| !found.is_empty());
    }
    found.reverse();
    Some(Cow::Owned(found.join(", ")))
}

/// The box before `end`, where nothing but connectors is between.
fn last_box_near(text: &str, end: usize) -> Option<Framed> {
    const REACH: usize = 48;
    memrchr(b'}', &text.as_bytes()[end.saturating_sub(REACH)..end])?;
    let framed = last_box(text, end)?;
    // A box around the other one does not end before it.
    let between = text.get(framed.inner.1..end)?.trim_start_matches('}');
    (between.len() < REACH && connects(between)).then_some(framed)
}

/// Whether a text only joins the items of a list.
fn connects(text: &str) -> bool {
    const CONNECTORS: [&str; 16] = [
        "$",
        ",",
        ";",
        "\\(",
        "\\)",
        "\\[",
        "\\]",
        "\\quad",
        "\\,",
        "\\;",
        "\\ ",
        "\\text{and}",
        "\\text{ and }",
        "\\text{or}",
        "\\text{ or }",
        "and",
    ];
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let Some(after) = CONNECTORS.iter().chain(&["or"]).find_map(|c| rest.strip_prefix(c))
        else {
            return false;
        };
        rest = after.trim_start();
    }
    true
}

fn tagged<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let mut end = text.len();
    for _ in 0..8 {
        let open = last_tag(&text[..end], tag, false)?;
        let inner = &text[open + tag.len() + 2..end];
        if let Some(close) = first_close(inner, tag) {
            return Some(&inner[..close]);
        }
        end = open;
    }
    None
}

/// The last `<tag>` of a text.
fn last_tag(text: &str, tag: &str, close: bool) -> Option<usize> {
    let mut end = text.len();
    loop {
        let at = memrchr(b'<', &text.as_bytes()[..end])?;
        if is_tag(&text[at..], tag, close) {
            return Some(at);
        }
        end = at;
    }
}

fn first_close(text: &str, tag: &str) -> Option<usize> {
    let mut start = 0;
    loop {
        let at = start + memchr(b'<', &text.as_bytes()[start..])?;
        if is_tag(&text[at..], tag, true) {
            return Some(at);
        }
        start = at + 1;
    }
}

fn is_tag(text: &str, tag: &str, close: bool) -> bool {
    text.strip_prefix(if close { "</" } else { "<" })
        .and_then(|rest| rest.strip_prefix(tag))
        .is_some_and(|rest| rest.starts_with('>'))
}

fn hashes(text: &str) -> Option<&str> {
    let mut end = text.len();
    loop {
        let at = memrchr(b'#', &text.as_bytes()[..end])?;
        if text[..=at].ends_with("####") {
            return text[at + 1..].lines().next();
        }
        end = at;
    }
}

/// The text after the last "answer is", "answer:" or "answer =".
fn answer_is(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut end = text.len();
    loop {
        // Of the word's letters this is the rarest one.
        let w = memrchr2(b'w', b'W', &bytes[..end])?;
        end = w;
        let is_word = w >= 3 && bytes[w - 3..].len() >= 6;
        if !is_word || !bytes[w - 3..w + 3].eq_ignore_ascii_case(b"answer") {
            continue;
        }
        let after = text[w + 3..].trim_start_matches(['*', ' ']);
        let follows = ["is", "IS", ":", "="].iter().find_map(|word| after.strip_prefix(word));
        if let Some(found) = follows.and_then(sentence) {
            return Some(found);
        }
    }
}

/// The answer at the beginning of a text: a formula, or up to the end of the sentence.
fn sentence(text: &str) -> Option<&str> {
    const MAX_WORDS: usize = 3;
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, ':' | '*' | '"'));
    for (open, close) in [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")] {
        if let Some((inner, after)) = text.strip_prefix(open).and_then(|t| t.split_once(close)) {
            let ends = after.trim_start_matches([' ', '*']);
            if !ends.starts_with(|c: char| c.is_alphanumeric() || c == '$' || c == '\\') {
                return Some(inner);
            }
            break;
        }
    }
    let line = text.lines().next()?;
    let end = ends_of_sentence(line);
    let found = line[..end].trim_end_matches(['.', '*', ' ', '"']);
    let words = found.split_whitespace().filter(|word| {
        word.chars().filter(|c| c.is_alphabetic()).count() > 1 && !word.starts_with('\\')
    });
    (words.count() <= MAX_WORDS && !leads_to_number(found)).then_some(found)
}

/// Whether words come first and a number later: "the largest is 34".
fn leads_to_number(text: &str) -> bool {
    let first = text.split_whitespace().next().unwrap_or_default();
    let is_word = first.len() > 1 && first.chars().all(char::is_alphabetic);
    is_word && text.bytes().any(|byte| byte.is_ascii_digit())
}

/// Where a sentence or its first clause ends.
fn ends_of_sentence(line: &str) -> usize {
    for (at, mark) in line.char_indices() {
        let after = &line[at + mark.len_utf8()..];
        let spaced = after.starts_with(' ');
        let word = || {
            let word = after.trim_start().split(|c: char| !c.is_alphabetic()).next();
            word.is_some_and(|word| word.len() > 1 && !["and", "or"].contains(&word))
        };
        let ends = mark == '.' && (spaced || after.is_empty()) || mark == ',' && spaced && word();
        if ends {
            return at;
        }
    }
    line.len()
}

fn formula(text: &str) -> Option<&str> {
    let dollars = || {
        let end = memrchr(b'$', text.as_bytes())?;
        let text = text[..end].trim_end_matches('$');
        let start = memrchr(b'$', text.as_bytes())? + 1;
        Some((text.len(), &text[start..]))
    };
    let escaped = |open: &str, close: &str| {
        let end = text.rfind(close)?;
        let start = text[..end].rfind(open)? + open.len();
        Some((end, &text[start..end]))
    };
    let found = [dollars(), escaped("\\(", "\\)"), escaped("\\[", "\\]")];
    let (end, inner) = found.into_iter().flatten().max_by_key(|(end, _)| *end)?;
    let is_last = !text.as_bytes()[end..].iter().any(u8::is_ascii_digit);
    is_last.then_some(inner)
}

/// The last number, with its sign, separators, decimals, a fraction's bar and a sign of percent.
fn last_number(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut end = text.len();
    loop {
        let last = bytes[..end].iter().rposition(u8::is_ascii_digit)? + 1;
        let start = number_start(bytes, last);
        let embedded = start > 0 && bytes[start - 1].is_ascii_alphabetic();
        if embedded {
            end = start;
            continue;
        }
        let after = &text[last..];
        let percent = after.trim_start_matches([' ', '\\']);
        let percent = after.len() - percent.len() + usize::from(percent.starts_with('%'));
        let end = last + if text[last..last + percent].ends_with('%') { percent } else { 0 };
        return Some(&text[start..end]);
    }
}

/// Where the number begins that ends before `end`.
fn number_start(bytes: &[u8], end: usize) -> usize {
    let digit = |at: usize| bytes[at].is_ascii_digit();
    let mut start = end;
    let mut slash = false;
    while start > 0 {
        let joins = start >= 2 && digit(start - 2);
        match bytes[start - 1] {
            b'0'..=b'9' => start -= 1,
            b'.' | b',' if joins => start -= 1,
            b'/' if joins && !slash => {
                slash = true;
                start -= 1;
            }
            b'.' => {
                start -= 1;
                break;
            }
            _ => break,
        }
    }
    let before = if start > 0 && bytes[start - 1] == b'$' { start - 1 } else { start };
    let is_sign = before > 0 && bytes[before - 1] == b'-';
    let is_minus = before > 1
        && (bytes[before - 2].is_ascii_alphanumeric() || matches!(bytes[before - 2], b')' | b'}'));
    if is_sign && !is_minus { before - 1 } else { start }
}
