//! Tokenizers out of GGUF metadata, and tokenizers trained here.

use std::collections::{BTreeSet, HashSet};

use tokenizers::decoders::fuse::Fuse;
use tokenizers::models::bpe::{BPE, BpeTrainer, Vocab};
use tokenizers::models::{ModelWrapper, TrainerWrapper};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, SplitDelimiterBehavior};

use super::{Tokenizer, tokenizer_error};
use crate::error::LmError;
use crate::gguf::Gguf;

const LLAMA3_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// `llama.cpp`'s numbers of token types.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// How a text is cut before its parts are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PreTokenizer {
    Gpt2,
    SmolLm,
    Llama3,
    Qwen2,
}

impl PreTokenizer {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "gpt-2" => Some(Self::Gpt2),
            "smollm" => Some(Self::SmolLm),
            "llama-bpe" => Some(Self::Llama3),
            "qwen2" => Some(Self::Qwen2),
            _ => None,
        }
    }

    fn build(self) -> Result<PreTokenizerWrapper, LmError> {
        let split = |pattern: &str| {
            let pattern = SplitPattern::Regex(pattern.to_owned());
            Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
                .map_err(|error| tokenizer_error(&error))
        };
        let bytes = ByteLevel::new(false, true, false);
        Ok(match self {
            Self::Gpt2 => bytes.use_regex(true).into(),
            Self::SmolLm => {
                let digits = Digits::new(true);
                Sequence::new(vec![digits.into(), bytes.use_regex(true).into()]).into()
            }
            Self::Llama3 => Sequence::new(vec![split(LLAMA3_PATTERN)?.into(), bytes.into()]).into(),
            Self::Qwen2 => Sequence::new(vec![split(QWEN2_PATTERN)?.into(), bytes.into()]).into(),
        })
    }
}

impl Tokenizer {
    /// Builds the tokenizer that a GGUF file's metadata describes.
    ///
    /// # Errors
    /// When the metadata is not of a byte-level BPE tokenizer whose way of cutting texts is known here.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, LmError> {
        let bad = |what: String| LmError::file(gguf.path(), what);
        let text = |key: &str| gguf.required(key, gguf.text(key)?);
        match text("tokenizer.ggml.model")? {
            "gpt2" => {}
            other => {
                return Err(bad(format!("`tokenizer.ggml.model` is `{other}`, must be gpt2")));
            }
        }
        let name = text("tokenizer.ggml.pre")?;
        let pre = PreTokenizer::from_name(name).ok_or_else(|| {
            bad(format!(
                "`tokenizer.ggml.pre` is `{name}`, and known are gpt-2, smollm, llama-bpe and qwen2"
            ))
        })?;
        let key = "tokenizer.ggml.tokens";
        let tokens = gguf.required(key, gguf.texts(key)?)?;
        let key = "tokenizer.ggml.token_type";
        let types = gguf.required(key, gguf.integers(key)?)?;
        if types.len() != tokens.len() {
            return Err(bad(format!(
                "`{key}` has {} entries, must be {}",
                types.len(),
                tokens.len()
            )));
        }
        let mut inner = tokenizers::Tokenizer::new(bpe(gguf, tokens, pre)?);
        inner.with_pre_tokenizer(Some(pre.build()?));
        inner.with_decoder(Some(ByteLevel::default()));
        if pre == PreTokenizer::Qwen2 {
            inner.with_normalizer(Some(NFC)).map_err(|error| tokenizer_error(&error))?;
        }
        let added = |kind: i64| {
            tokens.iter().zip(types).filter(move |(_, is)| **is == kind).map(move |(token, _)| {
                AddedToken::from(token.clone(), kind == CONTROL).normalized(false)
            })
        };
        inner.add_special_tokens(added(CONTROL)).map_err(|error| tokenizer_error(&error))?;
        inner.add_tokens(added(USER_DEFINED)).map_err(|error| tokenizer_error(&error))?;
        let id = |name: &str| special_id(gguf, name, tokens.len());
        let (bos, eos, pad) = (id("bos")?, id("eos")?, id("padding")?);
        let default_bos = pre == PreTokenizer::Llama3;
        if gguf.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(default_bos)
            && let Some(bos) = bos
        {
            let processing = begin_with(&tokens[bos as usize], bos)?;
            inner.with_post_processor(Some(processing));
        }
        Ok(Self { bos, eos, pad, ..Self::wrap(inner)? })
    }

    /// A tokenizer with one token for each distinct character of `text`, in order of their code points.
    ///
    /// With `unknown`, that token stands for every other character; without, they are errors. With `end`, that
    /// token ends texts.
    ///
    /// # Errors
    /// When `text` is empty, or `unknown` or `end` is one of its characters.
    pub fn train_characters(
        text: &str,
        unknown: Option<&str>,
        end: Option<&str>,
    ) -> Result<Self, LmError> {
        let characters: BTreeSet<char> = text.chars().collect();
        if characters.is_empty() {
            return Err(LmError::Tokenizer("the text to train on is empty".to_owned()));
        }
        let mut vocab: Vocab =
            (0..).zip(&characters).map(|(id, character)| (character.to_string(), id)).collect();
        for (token, meaning) in [(unknown, "for unknown characters"), (end, "that ends texts")] {
            let Some(token) = token else { continue };
            let id = vocab.len() as u32;
            if vocab.insert(token.to_owned(), id).is_some() {
                return Err(LmError::Tokenizer(format!(
                    "the token {meaning}, {token:?}, is a character of the text"
                )));
            }
        }
        let mut model = BPE::builder();
        if let Some(unknown) = unknown {
            model = model.unk_token(unknown.to_owned());
        }
        let model = model.vocab_and_merges(vocab, Vec::new()).build();
        let mut inner = tokenizers::Tokenizer::new(model.map_err(|error| tokenizer_error(&error))?);
        inner.with_decoder(Some(Fuse::new()));
        let special = unknown.into_iter().chain(end).map(|token| AddedToken::from(token, true));
        inner.add_special_tokens(special).map_err(|error| tokenizer_error(&error))?;
        Self::wrap(inner)?.with_special_tokens(None, end, None)
    }

    /// Trains byte-level BPE of at most `vocab_size` tokens; `<|endoftext|>`, id 0, begins, ends and fills.
    ///
    /// # Errors
    /// When `vocab_size` has no room for the 256 bytes and `<|endoftext|>`.
    pub fn train_bpe<S: AsRef<str> + Send>(
        texts: impl Iterator<Item = S> + Send,
        vocab_size: usize,
    ) -> Result<Self, LmError> {
        const END: &str = "<|endoftext|>";
        let alphabet: HashSet<char> = ByteLevel::alphabet().into_iter().collect();
        let least = alphabet.len() + 1;
        if vocab_size < least {
            return Err(LmError::Tokenizer(format!(
                "a vocabulary of {vocab_size} is too small, must be at least {least}: every byte and {END}"
            )));
        }
        let trainer = BpeTrainer::builder()
            .vocab_size(vocab_size)
            .show_progress(false)
            .special_tokens(vec![AddedToken::from(END, true)])
            .initial_alphabet(alphabet)
            .build();
        let mut inner = tokenizers::Tokenizer::new(BPE::default());
        inner.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
        inner.with_decoder(Some(ByteLevel::default()));
        inner
            .train(&mut TrainerWrapper::from(trainer), texts)
            .map_err(|error| tokenizer_error(&error))?;
        Self::wrap(inner)?.with_special_tokens(Some(END), Some(END), Some(END))
    }
}

fn bpe(gguf: &Gguf, tokens: &[String], pre: PreTokenizer) -> Result<ModelWrapper, LmError> {
    let bad = |what: String| LmError::file(gguf.path(), what);
    let vocab: Vocab = tokens.iter().cloned().zip(0..).collect();
    if vocab.len() != tokens.len() {
        let twice = tokens.iter().zip(0u32..).find(|(token, id)| vocab.get(*token) != Some(id));
        return Err(bad(format!(
            "`tokenizer.ggml.tokens` holds {:?} twice",
            twice.map_or("", |(token, _)| token)
        )));
    }
    let key = "tokenizer.ggml.merges";
    let mut merges = Vec::new();
    for merge in gguf.required(key, gguf.texts(key)?)? {
        let Some((left, right)) = merge.split_once(' ') else {
            return Err(bad(format!("`{key}` holds {merge:?}, must be two tokens")));
        };
        merges.push((left.to_owned(), right.to_owned()));
    }
    let model = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .ignore_merges(pre == PreTokenizer::Llama3)
        .build()
        .map_err(|error| bad(format!("its tokenizer: {error}")))?;
    Ok(model.into())
}

fn special_id(gguf: &Gguf, name: &str, num_tokens: usize) -> Result<Option<u32>, LmError> {
    let key = format!("tokenizer.ggml.{name}_token_id");
    match gguf.integer(&key)? {
        Some(id) if id >= num_tokens => Err(LmError::file(
            gguf.path(),
            format!("`{key}` is {id}, must be below the {num_tokens} tokens"),
        )),
        id => Ok(id.map(|id| id as u32)),
    }
}

fn begin_with(token: &str, id: u32) -> Result<TemplateProcessing, LmError> {
    TemplateProcessing::builder()
        .try_single(vec![token, "$A"])
        .and_then(|builder| builder.try_pair(vec![token, "$A", token, "$B:1"]))
        .map_err(LmError::Tokenizer)?
        .special_tokens(vec![(token, id)])
        .build()
        .map_err(|error| LmError::Tokenizer(error.to_string()))
}
