//! Samples: what rows of a data set mean.

use serde::Serialize;
use serde_json::Value;

pub use crate::message::Message;

/// A text, or messages that a chat template turns into one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Messages of a conversation.
    Messages(Vec<Message>),
}

impl Content {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Messages(messages) => messages.is_empty(),
        }
    }
}

/// One sample of a data set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Sample {
    /// A conversation, and the tools that it may call.
    Messages {
        /// The messages.
        messages: Vec<Message>,
        /// Descriptions of tools, as the chat template takes them; mostly none.
        tools: Vec<Value>,
    },
    /// A prompt and what shall follow it.
    PromptCompletion {
        /// The prompt.
        prompt: Content,
        /// What shall follow.
        completion: Content,
    },
    /// Plain text.
    Text(String),
    /// A prompt and two completions, of which the first was preferred.
    Preference {
        /// The prompt.
        prompt: Content,
        /// The preferred completion.
        chosen: Content,
        /// The other one.
        rejected: Content,
    },
    /// A prompt and a completion that was judged alone.
    Unpaired {
        /// The prompt.
        prompt: Content,
        /// The completion.
        completion: Content,
        /// Whether it is desirable.
        label: bool,
    },
}

impl Sample {
    /// What it is, in a word for messages.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Messages { .. } => "messages",
            Self::PromptCompletion { .. } => "prompt_completion",
            Self::Text(_) => "text",
            Self::Preference { .. } => "preference",
            Self::Unpaired { .. } => "unpaired",
        }
    }

    /// The prompt to complete: the sample's own, or a conversation up to its last answer. None of
    /// plain text.
    pub fn prompt(&self) -> Option<Content> {
        match self {
            Self::Messages { messages, .. } => {
                let last = messages.iter().rposition(|message| message.role == "assistant")?;
                (last > 0).then(|| Content::Messages(messages[..last].to_vec()))
            }
            Self::PromptCompletion { prompt, .. }
            | Self::Preference { prompt, .. }
            | Self::Unpaired { prompt, .. } => Some(prompt.clone()),
            Self::Text(_) => None,
        }
    }
}
