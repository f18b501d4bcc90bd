//! `347+589=`: column by column from the right, then the sum.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use skinner_core::Rng;

use super::{GenerateError, Made, Make, Sizes, check, numbers};
use crate::Task;

/// Sums of two numbers of so many digits. Its teacher writes the sum of each column, and forgets some carries:
///
/// ```text
/// 347+589=7+9=16;4+8+1=13;3+5+1=9;936
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Addition {
    /// Digits of both numbers.
    pub digits: Sizes,
    /// The probability with which the teacher forgets each carry.
    pub forgets: f64,
}

impl Default for Addition {
    fn default() -> Self {
        Self { digits: 3.into(), forgets: 0.6 }
    }
}

/// Of a number, from the right.
fn digits(number: &str) -> impl Iterator<Item = u32> {
    number.bytes().rev().map(|byte| u32::from(byte - b'0'))
}

impl Make for Addition {
    fn validate(&self) -> Result<(), GenerateError> {
        self.digits.check("digits", 1, 18, "1 to 18")?;
        check((0.0..=1.0).contains(&self.forgets), "forgets", &self.forgets, "0 to 1")
    }

    fn draw(&self, rng: &mut Rng) -> Made {
        let size = self.digits.draw(rng);
        let (a, b) = (numbers::of_digits(size, rng), numbers::of_digits(size, rng));
        let sum = a + b;
        let key = format!("{}+{}", a.min(b), a.max(b));
        Made::new(Value::from(format!("{a}+{b}=")), &sum, key)
    }

    fn sizes(&mut self) -> &mut Sizes {
        &mut self.digits
    }

    fn teach(&self, task: &Task, rng: &mut Rng) -> Option<String> {
        let (a, b) = task.prompt.as_str()?.strip_suffix('=')?.split_once('+')?;
        if ![a, b].iter().all(|x| x.bytes().all(|byte| byte.is_ascii_digit())) {
            return None;
        }
        let (mut worked, mut result) = (String::new(), String::new());
        let mut carry = 0;
        let columns = a.len().max(b.len());
        let padded = |x| digits(x).chain(std::iter::repeat(0)).take(columns);
        for (i, (a, b)) in padded(a).zip(padded(b)).enumerate() {
            // Whoever forgets a carry goes on as if there were none.
            if carry > 0 && rng.random() < self.forgets {
                carry = 0;
            }
            let sum = a + b + carry;
            let _ = write!(worked, "{a}+{b}");
            if carry > 0 {
                worked.push_str("+1");
            }
            let _ = write!(worked, "={sum};");
            // Of the last column all of the sum is written down.
            let digit = if i + 1 == columns { sum } else { sum % 10 };
            result.insert_str(0, &digit.to_string());
            carry = sum / 10;
        }
        Some(worked + &result)
    }
}
