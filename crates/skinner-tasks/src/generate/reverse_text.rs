//! `reverse abcd=`: letters in the opposite order.

use serde::{Deserialize, Serialize};
use skinner_core::Rng;

use super::{GenerateError, Made, Make, PromptStyle, Sizes};
use crate::VerifierConfig;

/// So many random letters, to be written backwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReverseText {
    /// How many letters.
    pub letters: Sizes,
    /// How it is asked.
    pub prompt_style: PromptStyle,
}

impl Default for ReverseText {
    fn default() -> Self {
        Self { letters: Sizes::new(3, 8), prompt_style: PromptStyle::default() }
    }
}

impl Make for ReverseText {
    fn validate(&self) -> Result<(), GenerateError> {
        self.letters.check("letters", 2, 256, "2 to 256")
    }

    fn draw(&self, rng: &mut Rng) -> Made {
        let count = self.letters.draw(rng);
        let text: String = (0..count).map(|_| char::from(b'a' + rng.below(26) as u8)).collect();
        let reversed: String = text.chars().rev().collect();
        let question = format!("Write the text \"{text}\" backwards.");
        let prompt = self.prompt_style.prompt(&format!("reverse {text}="), &question, "the text");
        // Who knows the one knows the other.
        let key = text.clone().min(reversed.clone());
        Made::new(prompt, &reversed, key)
    }

    fn sizes(&mut self) -> &mut Sizes {
        &mut self.letters
    }

    fn verifier(&self) -> VerifierConfig {
        super::exact_text(self.prompt_style)
    }
}
