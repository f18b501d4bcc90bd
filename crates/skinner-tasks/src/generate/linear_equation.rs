//! `3x-4=x+8:`: a linear equation in one unknown.

use serde::{Deserialize, Serialize};
use skinner_core::Rng;

use super::{GenerateError, Made, Make, PromptStyle, Sizes, numbers};
use crate::Task;

/// Equations `ax + b = cx + d` with one solution. Its teacher brings the unknown to the left:
///
/// ```text
/// 3x-4=x+8:2x=12;x=6
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinearEquation {
    /// Digits of `a`, `b`, `c` and of a whole solution, at most.
    pub digits: Sizes,
    /// Whether the unknown stands on both sides.
    pub both_sides: bool,
    /// Whether solutions may be fractions.
    pub fractions: bool,
    /// How it is asked.
    pub prompt_style: PromptStyle,
}

impl Default for LinearEquation {
    fn default() -> Self {
        Self {
            digits: Sizes::new(1, 2),
            both_sides: true,
            fractions: false,
            prompt_style: PromptStyle::default(),
        }
    }
}

/// `ax + b`.
type Side = (i64, i64);

fn written((a, b): Side) -> String {
    let x = match a {
        0 => return b.to_string(),
        1 => "x".to_owned(),
        -1 => "-x".to_owned(),
        a => format!("{a}x"),
    };
    if b == 0 { x } else { format!("{x}{b:+}") }
}

/// `p/q` in lowest terms.
fn fraction(p: i64, q: i64) -> String {
    let divisor = numbers::greatest_common_divisor(p, q) * q.signum();
    let (p, q) = (p / divisor, q / divisor);
    if q == 1 { p.to_string() } else { format!("{p}/{q}") }
}

impl LinearEquation {
    /// Two sides of which the first has more or fewer of the unknown.
    fn sides(&self, rng: &mut Rng) -> (Side, Side) {
        let digits = self.digits.draw(rng);
        let signed = |rng: &mut Rng| {
            let number = numbers::up_to_digits(digits, rng);
            if rng.below(2) == 0 { number } else { -number }
        };
        let other_than = |avoided: i64, rng: &mut Rng| loop {
            let number = signed(rng);
            if number != avoided && number != 0 {
                return number;
            }
        };
        let c = if self.both_sides { other_than(0, rng) } else { 0 };
        let (a, b) = (other_than(c, rng), signed(rng));
        let d = if self.fractions { signed(rng) } else { (a - c) * signed(rng) + b };
        ((a, b), (c, d))
    }
}

impl Make for LinearEquation {
    fn validate(&self) -> Result<(), GenerateError> {
        self.digits.check("digits", 1, 6, "1 to 6")
    }

    fn draw(&self, rng: &mut Rng) -> Made {
        let (left, right) = self.sides(rng);
        let equation = format!("{}={}", written(left), written(right));
        let answer = fraction(right.1 - left.1, left.0 - right.0);
        let question = format!("Solve {} for x.", equation.replace('=', " = "));
        let form =
            if self.fractions { "the number, a fraction in lowest terms," } else { "the number" };
        let prompt = self.prompt_style.prompt(&format!("{equation}:"), &question, form);
        let key = format!("{:?}={:?}", left.min(right), left.max(right));
        Made::new(prompt, &answer, key).with("numbers", vec![left.0, left.1, right.0, right.1])
    }

    fn teach(&self, task: &Task, _rng: &mut Rng) -> Option<String> {
        let [a, b, c, d] = numbers::of_task(task)?.try_into().ok()?;
        if a == c {
            return None;
        }
        let collected = format!("{}={};", written((a - c, 0)), d - b);
        let answer = fraction(d - b, a - c);
        let worked = match self.prompt_style {
            PromptStyle::Reason => collected,
            PromptStyle::Plain | PromptStyle::Chat => collected + "x=",
        };
        Some(self.prompt_style.completion(&worked, &answer))
    }

    fn sizes(&mut self) -> &mut Sizes {
        &mut self.digits
    }
}
