//! `sort 9 3 4=`: several numbers in ascending order.

use serde::{Deserialize, Serialize};
use skinner_core::Rng;

use super::{GenerateError, Made, Make, PromptStyle, Sizes, check, numbers};
use crate::VerifierConfig;

/// So many numbers in ascending order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sort {
    /// How many numbers.
    pub numbers: Sizes,
    /// Digits of each number, at most.
    pub digits: usize,
    /// How it is asked.
    pub prompt_style: PromptStyle,
}

impl Default for Sort {
    fn default() -> Self {
        Self { numbers: Sizes::new(2, 5), digits: 2, prompt_style: PromptStyle::default() }
    }
}

impl Make for Sort {
    fn validate(&self) -> Result<(), GenerateError> {
        self.numbers.check("numbers", 2, 64, "2 to 64")?;
        check((1..=9).contains(&self.digits), "digits", &self.digits, "1 to 9")
    }

    fn draw(&self, rng: &mut Rng) -> Made {
        let count = self.numbers.draw(rng);
        let all: Vec<i64> = (0..count).map(|_| numbers::up_to_digits(self.digits, rng)).collect();
        let sorted = numbers::sorted(&all);
        let plain = format!("sort {}=", numbers::joined(&all, " "));
        let question =
            format!("Sort these numbers in ascending order: {}.", numbers::joined(&all, ", "));
        let prompt =
            self.prompt_style.prompt(&plain, &question, "the sorted numbers, separated by spaces,");
        Made::new(prompt, &numbers::joined(&sorted, " "), numbers::joined(&sorted, ","))
    }

    fn sizes(&mut self) -> &mut Sizes {
        &mut self.numbers
    }

    fn verifier(&self) -> VerifierConfig {
        super::exact_text(self.prompt_style)
    }
}
