//! Text to token ids and back.

mod build;
mod stream;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use serde_json::Value;
use tokenizers::models::ModelWrapper;

use crate::error::LmError;

pub use stream::TextStream;

/// Tokens and, for each, the bytes of the text that it stands for.
pub type TokensWithOffsets = (Vec<u32>, Vec<Range<usize>>);

/// A tokenizer of Hugging Face's format, with the ids of the tokens that begin, end and fill texts.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: BTreeSet<u32>,
    vocab_size: usize,
    /// Whether a character without a token would vanish: then it is an error.
    drops_unknown: bool,
    bos: Option<u32>,
    eos: Option<u32>,
    pad: Option<u32>,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// When the file cannot be read or is no tokenizer.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, LmError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(LmError::io("read", path))?;
        Self::from_json(&text).map_err(|error| LmError::file(path, error.to_string()))
    }

    /// Reads the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// When it is no tokenizer.
    pub fn from_json(text: &str) -> Result<Self, LmError> {
        let inner = text.parse().map_err(|error| tokenizer_error(&error))?;
        Self::wrap(inner)
    }

    fn wrap(mut inner: tokenizers::Tokenizer) -> Result<Self, LmError> {
        // A file may ask to cut and fill; here that is the caller's to do.
        inner.with_truncation(None).map_err(|error| tokenizer_error(&error))?;
        inner.with_padding(None);
        let decoder = inner.get_added_tokens_decoder();
        let special =
            decoder.iter().filter(|(_, token)| token.special).map(|(id, _)| *id).collect();
        let last = inner.get_vocab(true).into_values().max();
        let vocab_size = last.map_or(0, |id| id as usize + 1);
        let drops_unknown = match inner.get_model() {
            ModelWrapper::BPE(bpe) => {
                bpe.get_unk_token().is_none()
                    && inner.get_pre_tokenizer().is_none()
                    && inner.get_normalizer().is_none()
                    && !bpe.byte_fallback
            }
            _ => false,
        };
        Ok(Self { inner, special, vocab_size, drops_unknown, bos: None, eos: None, pad: None })
    }

    /// Names the tokens that begin, end and fill texts.
    ///
    /// # Errors
    /// When a name is no token.
    pub fn with_special_tokens(
        mut self,
        bos: Option<&str>,
        eos: Option<&str>,
        pad: Option<&str>,
    ) -> Result<Self, LmError> {
        let id = |name: Option<&str>| match name {
            None => Ok(None),
            Some(name) => self.token_to_id(name).map(Some).ok_or_else(|| {
                LmError::Tokenizer(format!("`{name}` is not one of its {} tokens", self.vocab_size))
            }),
        };
        let (bos, eos, pad) = (id(bos)?, id(eos)?, id(pad)?);
        (self.bos, self.eos, self.pad) = (bos, eos, pad);
        Ok(self)
    }

    /// Takes the names of special tokens out of a `tokenizer_config.json` or `special_tokens_map.json`.
    ///
    /// # Errors
    /// When a name is no token.
    pub fn with_config(self, config: &Value) -> Result<Self, LmError> {
        // A token is its text, or an object that holds it.
        let name = |key: &str| {
            let value = config.get(key)?;
            value.as_str().or_else(|| value.get("content")?.as_str())
        };
        self.with_special_tokens(name("bos_token"), name("eos_token"), name("pad_token"))
    }

    /// The ids of a text.
    ///
    /// Special tokens written out in the text become their ids. Bytes that a byte-level vocabulary lacks are
    /// dropped, as everywhere. With `add_special_tokens` the tokenizer's own
    /// frame is put around them, such as a beginning.
    ///
    /// # Errors
    /// When a character has no token, where the tokenizer would drop it.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, LmError> {
        self.check_characters(text)?;
        let encoding = self
            .inner
            .encode_fast(text, add_special_tokens)
            .map_err(|error| tokenizer_error(&error))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of a text and the bytes of it that each stands for.
    ///
    /// A token that is added has an empty range. Tokens that share a character share its bytes.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_with_offsets(
        &self,
        text: &str,
        add_special_tokens: bool,
    ) -> Result<TokensWithOffsets, LmError> {
        self.check_characters(text)?;
        let encoding =
            self.inner.encode(text, add_special_tokens).map_err(|error| tokenizer_error(&error))?;
        let ranges = encoding.get_offsets().iter().map(|(start, end)| *start..*end).collect();
        Ok((encoding.get_ids().to_vec(), ranges))
    }

    fn check_characters(&self, text: &str) -> Result<(), LmError> {
        if !self.drops_unknown {
            return Ok(());
        }
        let special: Vec<String> =
            self.special.iter().filter_map(|&id| self.inner.id_to_token(id)).collect();
        let mut buffer = [0; 4];
        let mut known = 0;
        for (offset, character) in text.char_indices() {
            let rest = &text[offset..];
            if let Some(token) = special.iter().find(|token| rest.starts_with(token.as_str())) {
                known = known.max(offset + token.len());
            }
            if offset < known {
                continue;
            }
            if self.inner.token_to_id(character.encode_utf8(&mut buffer)).is_none() {
                return Err(LmError::Tokenizer(format!(
                    "{character:?} at byte {offset} is not one of its {} characters: train it on a text \
                     that has it, or with a token for unknown characters",
                    self.vocab_size
                )));
            }
        }
        Ok(())
    }

    /// As [`Tokenizer::decode`], of what a model drew: it may have more rows than there are tokens, and those have no
    /// text.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn decode_drawn(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, LmError> {
        let is_token = |id: &u32| self.inner.id_to_token(*id).is_some();
        let known: Vec<u32> = ids.iter().copied().filter(is_token).collect();
        self.decode(&known, skip_special_tokens)
    }

    /// The text of some ids; without the special tokens if asked.
    ///
    /// Bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// When an id is no token.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, LmError> {
        if let Some(id) = ids.iter().find(|id| self.inner.id_to_token(**id).is_none()) {
            return Err(LmError::TokenId { id: *id, vocab_size: self.vocab_size });
        }
        self.inner.decode(ids, skip_special_tokens).map_err(|error| tokenizer_error(&error))
    }

    /// Decodes ids as they come, never half a character.
    pub fn stream(&self, skip_special_tokens: bool) -> TextStream<'_> {
        TextStream::new(self, skip_special_tokens)
    }

    /// One more than the largest id.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The id of a token as it is written in the vocabulary.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// A token as it is written in the vocabulary.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The token that fills a batch.
    pub fn pad(&self) -> Option<u32> {
        self.pad
    }

    /// The token that begins a text, written out.
    pub fn bos_token(&self) -> Option<String> {
        self.id_to_token(self.bos?)
    }

    /// The token that ends a text, written out.
    pub fn eos_token(&self) -> Option<String> {
        self.id_to_token(self.eos?)
    }

    /// The token that fills a batch, written out.
    pub fn pad_token(&self) -> Option<String> {
        self.id_to_token(self.pad?)
    }

    /// Whether every token of another has the same id here.
    pub(crate) fn holds(&self, other: &Self) -> bool {
        let own = self.inner.get_vocab(true);
        other.inner.get_vocab(true).iter().all(|(token, id)| own.get(token) == Some(id))
    }

    /// Whether a token steers and is no text.
    pub fn is_special(&self, id: u32) -> bool {
        self.special.contains(&id)
    }

    /// The text of a `tokenizer.json`.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn to_json(&self) -> Result<String, LmError> {
        self.inner.to_string(true).map_err(|error| tokenizer_error(&error))
    }

    /// Writes a `tokenizer.json`, to a temporary name first.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), LmError> {
        crate::tensor_file::write_atomic(path.as_ref(), self.to_json()?.as_bytes())
    }
}

fn tokenizer_error(error: &tokenizers::Error) -> LmError {
    LmError::Tokenizer(error.to_string())
}
