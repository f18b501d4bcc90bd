//! A pretrained model: what its files say and hold.

use std::path::Path;

use crate::config::ModelConfig;
use crate::error::LmError;
use crate::gguf::Gguf;
use crate::hf_folder;
use crate::source::ResolvedModel;
use crate::template::ChatTemplate;
use crate::tokenizer::Tokenizer;
use crate::weights::Weights;

/// A model in its files: description, tokenizer and template in memory, weights to be read one at a time.
#[derive(Debug)]
pub struct Pretrained {
    /// The decoder's shape.
    pub config: ModelConfig,
    /// Text to ids and back.
    pub tokenizer: Tokenizer,
    /// How conversations are written, if the model is made for them.
    pub template: Option<ChatTemplate>,
    /// The weights.
    pub weights: Weights,
    /// Where it comes from, for people and for `run.json`.
    pub provenance: String,
}

impl Pretrained {
    /// Opens what [`crate::source::resolve`] found.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the files do not fit each other.
    pub fn load(model: &ResolvedModel) -> Result<Self, LmError> {
        let mut pretrained = Self::open(&model.path)?;
        pretrained.provenance.clone_from(&model.provenance);
        Ok(pretrained)
    }

    /// Opens a GGUF file or a Hugging Face folder.
    ///
    /// # Errors
    /// As [`Pretrained::load`].
    pub fn open(path: &Path) -> Result<Self, LmError> {
        let pretrained =
            if path.is_dir() { Self::open_folder(path) } else { Self::open_gguf(path) }?;
        pretrained.check_vocabulary()?;
        Ok(pretrained)
    }

    fn open_gguf(path: &Path) -> Result<Self, LmError> {
        let gguf = Gguf::open(path)?;
        let config = ModelConfig::from_gguf(&gguf)?;
        let tokenizer = Tokenizer::from_gguf(&gguf)?;
        let template = match gguf.text("tokenizer.chat_template")? {
            None => None,
            Some(source) => {
                let (bos, eos) = (tokenizer.bos_token(), tokenizer.eos_token());
                Some(ChatTemplate::new(source, bos.as_deref(), eos.as_deref())?)
            }
        };
        let weights = Weights::from_gguf(&gguf, &config)?;
        Ok(Self { config, tokenizer, template, weights, provenance: path.display().to_string() })
    }

    fn open_folder(path: &Path) -> Result<Self, LmError> {
        let config = hf_folder::read_config(path)?;
        let tokenizer = hf_folder::read_tokenizer(path)?;
        let template = hf_folder::read_template(path, &tokenizer)?;
        let weights = Weights::from_folder(path, &config)?;
        Ok(Self { config, tokenizer, template, weights, provenance: path.display().to_string() })
    }

    fn check_vocabulary(&self) -> Result<(), LmError> {
        let (tokens, rows) = (self.tokenizer.vocab_size(), self.config.vocab_size);
        if tokens <= rows {
            return Ok(());
        }
        Err(LmError::Config(format!(
            "{}: its tokenizer has {tokens} tokens and its embedding {rows} rows, must be as many or more",
            self.provenance
        )))
    }
}
