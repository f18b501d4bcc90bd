//! Text out of ids as they come.

use super::Tokenizer;
use crate::error::LmError;

/// Decodes ids as they come; made by [`Tokenizer::stream`].
///
/// What [`TextStream::push`] returns is whole characters, and all of it with [`TextStream::finish`] is what
/// [`Tokenizer::decode`] makes of all ids.
#[derive(Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    skip_special_tokens: bool,
    /// The ids of the last text that was returned, then those of none yet.
    ids: Vec<u32>,
    returned: usize,
}

impl<'a> TextStream<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer, skip_special_tokens: bool) -> Self {
        Self { tokenizer, skip_special_tokens, ids: Vec::new(), returned: 0 }
    }

    /// The text that another id completes; empty while a character is not whole.
    ///
    /// # Errors
    /// When `id` is no token.
    pub fn push(&mut self, id: u32) -> Result<String, LmError> {
        self.ids.push(id);
        let text = self.pending().inspect_err(|_| {
            self.ids.pop();
        })?;
        // U+FFFD at the end may become a character with the next id.
        if text.is_empty() || text.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(String::new());
        }
        self.ids.drain(..self.returned);
        self.returned = self.ids.len();
        Ok(text)
    }

    /// The rest: a character that never became whole is U+FFFD.
    ///
    /// # Errors
    /// When the tokenizer's decoder fails.
    pub fn finish(mut self) -> Result<String, LmError> {
        self.pending()
    }

    /// The text after what was returned; the ids before it are decoded with it, because some decoders treat the
    /// first id of a text as no other.
    fn pending(&mut self) -> Result<String, LmError> {
        let before = self.tokenizer.decode(&self.ids[..self.returned], self.skip_special_tokens)?;
        let all = self.tokenizer.decode(&self.ids, self.skip_special_tokens)?;
        match all.strip_prefix(&before) {
            Some(text) => Ok(text.to_owned()),
            None => Err(LmError::Tokenizer(format!(
                "its decoder takes back text when a token follows: {before:?} became {all:?}"
            ))),
        }
    }
}
