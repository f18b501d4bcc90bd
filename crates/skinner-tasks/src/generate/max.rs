//! `max 3 9 4=`: the largest of several numbers.

use serde::{Deserialize, Serialize};
use skinner_core::Rng;

use super::{GenerateError, Made, Make, PromptStyle, Sizes, check, numbers};

/// The largest of so many numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Max {
    /// How many numbers.
    pub numbers: Sizes,
    /// Digits of each number, at most.
    pub digits: usize,
    /// How it is asked.
    pub prompt_style: PromptStyle,
}

impl Default for Max {
    fn default() -> Self {
        Self { numbers: Sizes::new(2, 5), digits: 2, prompt_style: PromptStyle::default() }
    }
}

impl Make for Max {
    fn validate(&self) -> Result<(), GenerateError> {
        self.numbers.check("numbers", 2, 64, "2 to 64")?;
        check((1..=9).contains(&self.digits), "digits", &self.digits, "1 to 9")
    }

    fn draw(&self, rng: &mut Rng) -> Made {
        let count = self.numbers.draw(rng);
        let all: Vec<i64> = (0..count).map(|_| numbers::up_to_digits(self.digits, rng)).collect();
        let sorted = numbers::sorted(&all);
        let plain = format!("max {}=", numbers::joined(&all, " "));
        let question = format!("What is the largest of {}?", numbers::joined(&all, ", "));
        let prompt = self.prompt_style.prompt(&plain, &question, "the number");
        Made::new(
            prompt,
            &all.iter().max().copied().unwrap_or_default(),
            numbers::joined(&sorted, ","),
        )
    }

    fn sizes(&mut self) -> &mut Sizes {
        &mut self.numbers
    }
}
