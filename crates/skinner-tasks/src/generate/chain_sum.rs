//! `12+7-30=`: a sum and difference of several numbers, from left to right.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use skinner_core::Rng;

use super::{GenerateError, Made, Make, PromptStyle, Sizes, check, numbers};
use crate::Task;

/// Sums and differences of so many numbers. Its teacher writes what each step gives:
///
/// ```text
/// 12+7-30=12+7=19;19-30=-11;-11
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChainSum {
    /// How many numbers.
    pub terms: Sizes,
    /// Digits of each number, at most.
    pub digits: usize,
    /// How it is asked.
    pub prompt_style: PromptStyle,
}

impl Default for ChainSum {
    fn default() -> Self {
        Self { terms: Sizes::new(2, 4), digits: 2, prompt_style: PromptStyle::default() }
    }
}

impl Make for ChainSum {
    fn validate(&self) -> Result<(), GenerateError> {
        self.terms.check("terms", 2, 32, "2 to 32")?;
        check((1..=9).contains(&self.digits), "digits", &self.digits, "1 to 9")
    }

    fn draw(&self, rng: &mut Rng) -> Made {
        let count = self.terms.draw(rng);
        let mut terms = vec![numbers::up_to_digits(self.digits, rng)];
        for _ in 1..count {
            let term = numbers::up_to_digits(self.digits, rng);
            terms.push(if rng.below(2) == 0 { term } else { -term });
        }
        let mut plain = terms[0].to_string();
        for term in &terms[1..] {
            let _ = write!(plain, "{term:+}");
        }
        let question = format!("What is {}?", plain.replace('+', " + ").replace('-', " - "));
        let prompt = self.prompt_style.prompt(&format!("{plain}="), &question, "the number");
        let key = numbers::joined(&numbers::sorted(&terms), ",");
        Made::new(prompt, &terms.iter().sum::<i64>(), key).with("numbers", terms)
    }

    fn teach(&self, task: &Task, _rng: &mut Rng) -> Option<String> {
        let terms = numbers::of_task(task)?;
        let (mut sum, rest) = terms.split_first().map(|(first, rest)| (*first, rest))?;
        let mut worked = String::new();
        for term in rest {
            let _ = write!(worked, "{sum}{term:+}=");
            sum += term;
            let _ = write!(worked, "{sum};");
        }
        Some(self.prompt_style.completion(&worked, &sum.to_string()))
    }

    fn sizes(&mut self) -> &mut Sizes {
        &mut self.terms
    }
}
