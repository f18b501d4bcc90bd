//! `12*7=`: column by column from the right, then the product.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use skinner_core::Rng;

use super::{GenerateError, Made, Make, PromptStyle, Sizes, check, numbers};
use crate::Task;

/// Products of two numbers of so many digits. Its teacher writes for each column the products of the digits that meet
/// there, with the carry:
///
/// ```text
/// 347*28=7*8=56;4*8+7*2+5=51;3*8+4*2+5=37;3*2+3=9;9716
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Multiplication {
    /// Digits of both numbers.
    pub digits: Sizes,
    /// How it is asked.
    pub prompt_style: PromptStyle,
    /// The probability with which the teacher forgets each carry.
    pub forgets: f64,
}

impl Default for Multiplication {
    fn default() -> Self {
        Self { digits: Sizes::new(1, 2), prompt_style: PromptStyle::default(), forgets: 0.0 }
    }
}

/// From the right.
fn digits(mut number: i64) -> Vec<i64> {
    let mut digits = vec![number % 10];
    while number >= 10 {
        number /= 10;
        digits.push(number % 10);
    }
    digits
}

impl Make for Multiplication {
    fn validate(&self) -> Result<(), GenerateError> {
        self.digits.check("digits", 1, 9, "1 to 9")?;
        check((0.0..=1.0).contains(&self.forgets), "forgets", &self.forgets, "0 to 1")
    }

    fn draw(&self, rng: &mut Rng) -> Made {
        let size = self.digits.draw(rng);
        let (a, b) = (numbers::of_digits(size, rng), numbers::of_digits(size, rng));
        let (plain, question) = (format!("{a}*{b}="), format!("What is {a} * {b}?"));
        let prompt = self.prompt_style.prompt(&plain, &question, "the number");
        Made::new(prompt, &(a * b), format!("{}*{}", a.min(b), a.max(b)))
            .with("numbers", vec![a, b])
    }

    fn teach(&self, task: &Task, rng: &mut Rng) -> Option<String> {
        let [a, b] = numbers::of_task(task)?.try_into().ok()?;
        let (a, b) = (digits(a), digits(b));
        let (mut worked, mut result) = (String::new(), String::new());
        let mut carry = 0;
        let columns = a.len() + b.len() - 1;
        for column in 0..columns {
            if carry > 0 && rng.random() < self.forgets {
                carry = 0;
            }
            let meet = |i: usize| column.checked_sub(i).and_then(|j| Some((b.get(i)?, a.get(j)?)));
            let pairs: Vec<_> = (0..b.len()).filter_map(meet).collect();
            let products: Vec<String> = pairs.iter().map(|(y, x)| format!("{x}*{y}")).collect();
            let sum = pairs.iter().map(|(y, x)| *y * *x).sum::<i64>() + carry;
            worked.push_str(&products.join("+"));
            if carry > 0 {
                let _ = write!(worked, "+{carry}");
            }
            let _ = write!(worked, "={sum};");
            let digit = if column + 1 == columns { sum } else { sum % 10 };
            result.insert_str(0, &digit.to_string());
            carry = sum / 10;
        }
        Some(self.prompt_style.completion(&worked, &result))
    }

    fn sizes(&mut self) -> &mut Sizes {
        &mut self.digits
    }
}
