//! What a language model wrote before and after its training.

use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;

use super::RunReport;
use crate::error::RunError;
use crate::plot::escape;

/// Texts with more letters or lines than this show their beginning and unfold.
const LONG: usize = 600;
const LONG_LINES: usize = 16;
const BEGINNING: usize = 200;
const BEGINNING_LINES: usize = 4;

/// One completion, as training wrote it to `samples/before.jsonl` or `samples/after.jsonl`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Sample {
    /// What was completed.
    pub prompt: String,
    /// How.
    pub completion: String,
    /// Tokens of the completion.
    #[serde(default)]
    pub tokens: Option<u64>,
    /// The completion's log-probability.
    #[serde(default)]
    pub log_prob: Option<f64>,
    /// Why it ended.
    #[serde(default)]
    pub finish: Option<String>,
    /// The completion's log-probability less that by the model that training started from.
    #[serde(default)]
    pub log_ratio: Option<f64>,
}

/// The completions of the same prompts before and after training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// By the model that training started from.
    pub before: Vec<Sample>,
    /// By the trained model.
    pub after: Vec<Sample>,
}

impl Samples {
    /// Reads them below a run directory; what cannot be read becomes a note. `finished` says whether both
    /// files should be there. A run that took no samples has no folder of them, and that is no note.
    pub(super) fn read(run_dir: &Path, finished: bool, notes: &mut Vec<String>) -> Self {
        let dir = run_dir.join("samples");
        if !dir.is_dir() {
            return Self::default();
        }
        let mut read = |name: &str, expected: bool| {
            read_file(&dir.join(name), expected, notes).unwrap_or_default()
        };
        let before = read("before.jsonl", true);
        let after = read("after.jsonl", finished);
        let prompts = |samples: &[Sample]| -> Vec<String> {
            samples.iter().map(|sample| sample.prompt.clone()).collect()
        };
        let both = !before.is_empty() && !after.is_empty();
        if both && prompts(&before) != prompts(&after) {
            let dir = dir.display();
            notes.push(format!(
                "{dir}: before.jsonl and after.jsonl hold other prompts, so only after.jsonl is shown"
            ));
            return Self { before: Vec::new(), after };
        }
        Self { before, after }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }
}

fn read_file(path: &Path, expected: bool, notes: &mut Vec<String>) -> Option<Vec<Sample>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            if expected || error.kind() != ErrorKind::NotFound {
                notes.push(RunError::io("read", path)(error).to_string());
            }
            return None;
        }
    };
    let (mut samples, mut unreadable) = (Vec::new(), Vec::new());
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        match serde_json::from_slice::<Sample>(line) {
            Ok(sample) => samples.push(sample),
            Err(_) => unreadable.push(number + 1),
        }
    }
    if let [first, ..] = unreadable[..] {
        let count = unreadable.len();
        let lines = if count == 1 { "line" } else { "lines" };
        let path = path.display();
        notes.push(format!("{path}: {count} unreadable {lines} left out, first line {first}"));
    }
    Some(samples)
}

/// The completions of a run side by side.
pub(super) fn table(page: &mut String, run: &RunReport) {
    let Samples { before, after } = &run.samples;
    let ratios = after.iter().any(|sample| sample.log_ratio.is_some());
    page.push_str(
        "<div class=\"scroll\"><table class=\"samples\">\n<thead><tr><th>prompt</th><th>before</th>\
         <th>after</th><th>tokens</th>",
    );
    page.push_str(if ratios { "<th>log ratio</th></tr>" } else { "</tr>" });
    page.push_str("</thead>\n<tbody>\n");
    for index in 0..before.len().max(after.len()) {
        let (before, after) = (before.get(index), after.get(index));
        let Some(any) = before.or(after) else { continue };
        page.push_str("<tr>");
        text_cell(page, Some(&any.prompt));
        text_cell(page, before.map(|sample| &sample.completion[..]));
        text_cell(page, after.map(|sample| &sample.completion[..]));
        let tokens = |sample: Option<&Sample>| {
            sample.and_then(|sample| sample.tokens).map_or("–".to_owned(), |n| n.to_string())
        };
        let _ = write!(page, "<td>{} → {}</td>", tokens(before), tokens(after));
        if ratios {
            let ratio = after.and_then(|sample| sample.log_ratio);
            let ratio = ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
            let _ = write!(page, "<td>{ratio}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
}

fn text_cell(page: &mut String, text: Option<&str>) {
    let Some(text) = text else {
        page.push_str("<td>–</td>");
        return;
    };
    if text.chars().count() <= LONG && text.lines().count() <= LONG_LINES {
        let _ = write!(page, "<td class=\"text\">{}</td>", escape(text));
        return;
    }
    let lines: Vec<&str> = text.lines().take(BEGINNING_LINES).collect();
    let beginning: String = lines.join("\n").chars().take(BEGINNING).collect();
    let _ = write!(
        page,
        "<td class=\"text\"><details><summary>{} …</summary>{}</details></td>",
        escape(&beginning),
        escape(text)
    );
}
