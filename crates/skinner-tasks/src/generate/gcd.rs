//! `gcd 84 36=`: the greatest common divisor of two numbers.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use skinner_core::Rng;

use super::{GenerateError, Made, Make, PromptStyle, Sizes, numbers};
use crate::Task;

/// The greatest common divisor of two numbers. They are multiples, twice or more, of a common factor up to the root of
/// the largest number, so that the answer is seldom 1 or one of the two. Its teacher follows Euclid:
///
/// ```text
/// gcd 84 36=84%36=12;36%12=0;12
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gcd {
    /// Digits of each number, at most.
    pub digits: Sizes,
    /// How it is asked.
    pub prompt_style: PromptStyle,
}

impl Default for Gcd {
    fn default() -> Self {
        Self { digits: Sizes::new(2, 3), prompt_style: PromptStyle::default() }
    }
}

impl Make for Gcd {
    fn validate(&self) -> Result<(), GenerateError> {
        self.digits.check("digits", 1, 9, "1 to 9")
    }

    fn draw(&self, rng: &mut Rng) -> Made {
        let largest = 10_usize.pow(self.digits.draw(rng) as u32) - 1;
        let factor = 1 + rng.below(largest.isqrt());
        let multiple = |rng: &mut Rng| (factor * (2 + rng.below(largest / factor - 1))) as i64;
        let (a, b) = (multiple(rng), multiple(rng));
        let question = format!("What is the greatest common divisor of {a} and {b}?");
        let prompt = self.prompt_style.prompt(&format!("gcd {a} {b}="), &question, "the number");
        let divisor = numbers::greatest_common_divisor(a, b);
        Made::new(prompt, &divisor, format!("{},{}", a.min(b), a.max(b)))
            .with("numbers", vec![a, b])
    }

    fn teach(&self, task: &Task, _rng: &mut Rng) -> Option<String> {
        let [a, b] = numbers::of_task(task)?.try_into().ok()?;
        let (mut a, mut b) = (a.max(b), a.min(b));
        let mut worked = String::new();
        while b > 0 {
            let _ = write!(worked, "{a}%{b}={};", a % b);
            (a, b) = (b, a % b);
        }
        Some(self.prompt_style.completion(&worked, &a.to_string()))
    }

    fn sizes(&mut self) -> &mut Sizes {
        &mut self.digits
    }
}
