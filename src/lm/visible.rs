//! What a reader sees of a completion: its text without special tokens, up to a stop string.

use skinner_lm::Tokenizer;
use skinner_lm::tokenizer::TextStream;

/// Text that is shown as tokens come. A part that may turn out to begin a stop string is held back.
pub(crate) struct Visible<'a> {
    tokenizer: &'a Tokenizer,
    stream: TextStream<'a>,
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

impl<'a> Visible<'a> {
    pub(crate) fn new(tokenizer: &'a Tokenizer, stops: &[String], with_special: bool) -> Self {
        Self {
            tokenizer,
            stream: tokenizer.stream(!with_special),
            stops: stops.to_vec(),
            held: String::new(),
            stopped: false,
        }
    }

    /// The text that another token lets be seen.
    pub(crate) fn push(&mut self, id: u32) -> anyhow::Result<String> {
        // A row of the model that is no token has no text.
        if self.stopped || self.tokenizer.id_to_token(id).is_none() {
            return Ok(String::new());
        }
        let text = self.stream.push(id)?;
        Ok(self.add(&text))
    }

    /// The rest.
    pub(crate) fn finish(mut self) -> anyhow::Result<String> {
        if self.stopped {
            return Ok(String::new());
        }
        let stream = std::mem::replace(&mut self.stream, self.tokenizer.stream(false));
        let mut text = self.add(&stream.finish()?);
        text.push_str(&self.held);
        Ok(text)
    }

    fn add(&mut self, text: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(text);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop)).min() {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let kept = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - kept);
        std::mem::replace(&mut self.held, rest)
    }
}

/// Bytes at the end of `text` that begin `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let starts = stop.char_indices().map(|(at, _)| at).rev();
    starts.into_iter().find(|&len| text.ends_with(&stop[..len])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_begin_a_stop_string_waits() {
        let tokenizer = Tokenizer::train_characters("abcdé<", None, None).unwrap();
        let check = |text: &str, stops: &[&str], expected: &[&str]| {
            let stops: Vec<String> = stops.iter().map(ToString::to_string).collect();
            let mut visible = Visible::new(&tokenizer, &stops, false);
            let mut seen = Vec::new();
            for id in tokenizer.encode(text, false).unwrap() {
                seen.push(visible.push(id).unwrap());
            }
            seen.push(visible.finish().unwrap());
            seen.retain(|text| !text.is_empty());
            assert_eq!(seen, expected, "{text} {stops:?}");
        };
        check("abc", &[], &["a", "b", "c"]);
        check("abcd", &["bd", "bc"], &["a"]);
        check("ababc", &["abc"], &["ab"]);
        check("aab", &["abc"], &["a", "ab"]);
        check("aééb", &["éb"], &["a", "é"]);
        check("d<<", &["<<a", "b"], &["d", "<<"]);
    }
}
