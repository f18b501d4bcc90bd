//! One operation on small numbers, asked in words: what an instructed model nearly can.

use serde::{Deserialize, Serialize};
use skinner_core::Rng;

use crate::Task;

use super::{GenerateError, Made, Make, PromptStyle, Sizes, check};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// The sum of two numbers.
    Add,
    /// Their product.
    Multiply,
    /// The largest of three.
    Max,
}

/// Questions about numbers of so many digits, as messages. One of three is kept for evaluation, whatever the order of
/// its numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arithmetic {
    /// Digits of each number, at most.
    pub digits: Sizes,
    /// Which are asked for, each as often.
    pub operations: Vec<Operation>,
}

impl Default for Arithmetic {
    fn default() -> Self {
        Self {
            digits: 1.into(),
            operations: vec![Operation::Add, Operation::Multiply, Operation::Max],
        }
    }
}

impl Make for Arithmetic {
    /// The answer alone, and right.
    fn teach(&self, task: &Task, _rng: &mut Rng) -> Option<String> {
        task.answer.clone()
    }

    /// There are few questions about small numbers.
    fn held_out_of(&self) -> u64 {
        3
    }

    fn sizes(&mut self) -> &mut Sizes {
        &mut self.digits
    }

    fn validate(&self) -> Result<(), GenerateError> {
        self.digits.check("digits", 1, 9, "1 to 9")?;
        check(!self.operations.is_empty(), "operations", "[]", "at least one")
    }

    fn draw(&self, rng: &mut Rng) -> Made {
        let operation = self.operations[rng.below(self.operations.len())];
        let below = 10usize.pow(self.digits.draw(rng) as u32);
        let mut numbers: Vec<usize> = (0..if operation == Operation::Max { 3 } else { 2 })
            .map(|_| rng.below(below))
            .collect();
        let (question, answer) = match (operation, &numbers[..]) {
            (Operation::Add, [a, b, ..]) => (format!("What is {a} + {b}?"), a + b),
            (Operation::Multiply, [a, b, ..]) => (format!("What is {a} * {b}?"), a * b),
            (_, all) => {
                let listed: Vec<String> = all.iter().map(ToString::to_string).collect();
                let largest = all.iter().copied().max().unwrap_or_default();
                (format!("What is the largest of {}?", listed.join(", ")), largest)
            }
        };
        numbers.sort_unstable();
        let prompt = PromptStyle::Chat.prompt("", &question, "the number");
        Made::new(prompt, &answer, format!("{operation:?} {numbers:?}"))
    }
}
