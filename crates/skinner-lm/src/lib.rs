//! Language models: load, score, generate, pretrain, fine-tune and align them.

pub mod adapter;
pub mod config;
pub mod data;
pub mod decoder;
pub mod error;
pub mod generate;
pub mod gguf;
pub mod hf_folder;
pub mod load;
pub mod message;
pub mod pretrained;
pub mod source;
pub mod template;
pub mod tensor;
pub mod tensor_file;
pub mod tokenizer;
pub mod train;
pub mod weights;

pub use adapter::LoraFile;
pub use config::{Family, ModelConfig, RopeScaling};
pub use decoder::Decoder;
pub use error::LmError;
pub use gguf::Gguf;
pub use load::{LoadedModel, RUN_ADAPTER, RUN_MODEL};
pub use message::Message;
pub use pretrained::Pretrained;
pub use source::{KNOWN_MODELS, ResolvedModel, SourceOptions, resolve};
pub use template::ChatTemplate;
pub use tensor_file::Dtype;
pub use tokenizer::Tokenizer;
pub use weights::Weights;
