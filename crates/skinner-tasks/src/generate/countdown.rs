//! `countdown 3 5 20 -> 75:`: an expression of given numbers that has a given value.

use serde::{Deserialize, Serialize};
use skinner_core::Rng;

use super::{GenerateError, Made, Make, PATIENCE, PromptStyle, Sizes, check, numbers};
use crate::{Task, VerifierConfig, puzzle};

/// So many numbers, of which an expression with + − × ÷ makes the target; each is used at most once. Targets are the
/// values of random expressions of all the numbers, so every task has an answer. Its teacher works the expression out,
/// and sometimes works out another of the same numbers that misses the target, sees that, and tries again or gives up.
/// It does not come back to a value:
///
/// ```text
/// countdown 3 5 20 -> 45:20-5=15;15*3=45;(20-5)*3
/// countdown 3 5 20 -> 45:3+5=8;20+8=28;20-5=15;15*3=45;(20-5)*3
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Countdown {
    /// How many numbers.
    pub numbers: Sizes,
    /// The largest number; the smallest is 1.
    pub largest: usize,
    /// The target.
    pub target: Sizes,
    /// The probability with which the teacher gives an expression of another value, at random.
    pub misses: f64,
    /// The probability with which it then tries again.
    pub retries: f64,
    /// How it is asked.
    pub prompt_style: PromptStyle,
}

impl Default for Countdown {
    fn default() -> Self {
        Self {
            numbers: Sizes::new(3, 4),
            largest: 25,
            target: Sizes::new(10, 100),
            misses: 0.0,
            retries: 0.0,
            prompt_style: PromptStyle::default(),
        }
    }
}

/// Expressions that a teacher tries at most.
const TRIES: usize = 16;

/// Results on the way stay below this.
const LARGEST_RESULT: i64 = 1_000_000;

/// Two whole numbers joined, where the result is one and positive.
fn joined(a: i64, b: i64, sign: usize) -> Option<(i64, char)> {
    let (result, sign) = match sign {
        0 => (a + b, '+'),
        1 => (a - b, '-'),
        2 => (a * b, '*'),
        _ if a % b == 0 => (a / b, '/'),
        _ => return None,
    };
    (1..=LARGEST_RESULT).contains(&result).then_some((result, sign))
}

/// A value that an expression of all the numbers has, and the expression.
fn expression(numbers: &[i64], rng: &mut Rng) -> (i64, String) {
    let mut parts: Vec<(i64, String)> = numbers.iter().map(|n| (*n, n.to_string())).collect();
    while parts.len() > 1 {
        let (a, a_text) = parts.swap_remove(rng.below(parts.len()));
        let (b, b_text) = parts.swap_remove(rng.below(parts.len()));
        // A sum is always possible while it is small; one too large is no target.
        let (value, sign) = joined(a, b, rng.below(4)).unwrap_or((a.saturating_add(b), '+'));
        let text = format!("{a_text}{sign}{b_text}");
        parts.push((value, if parts.is_empty() { text } else { format!("({text})") }));
    }
    parts.swap_remove(0)
}

/// An expression of a task's numbers that has not the value of its target, nor one of those that were tried, and its
/// value; where there is one.
fn missing(task: &Task, tried: &[i64], rng: &mut Rng) -> Option<(i64, String)> {
    let (numbers, target) = puzzle::countdown::question(task).ok()?;
    let misses = |(value, _): &(i64, String)| *value != target && !tried.contains(value);
    (0..PATIENCE).map(|_| expression(&numbers, rng)).find(misses)
}

impl Countdown {
    /// Numbers, a target that is none of them, and an expression; `None` if this draw gave no such target.
    fn attempt(&self, count: usize, rng: &mut Rng) -> Option<(Vec<i64>, i64, String)> {
        let numbers: Vec<i64> = (0..count).map(|_| 1 + rng.below(self.largest) as i64).collect();
        let (target, expression) = expression(&numbers, rng);
        let range = self.target.low as i64..=self.target.high as i64;
        let fits = range.contains(&target) && !numbers.contains(&target);
        fits.then_some((numbers, target, expression))
    }

    fn find(&self, count: usize, rng: &mut Rng) -> Option<(Vec<i64>, i64, String)> {
        (0..PATIENCE).find_map(|_| self.attempt(count, rng))
    }
}

impl Make for Countdown {
    fn validate(&self) -> Result<(), GenerateError> {
        self.numbers.check("numbers", 2, 6, "2 to 6")?;
        check((1..=10_000).contains(&self.largest), "largest", &self.largest, "1 to 10000")?;
        self.target.check("target", 1, 1_000_000, "1 to 1000000")?;
        check((0.0..=1.0).contains(&self.misses), "misses", &self.misses, "0 to 1")?;
        check((0.0..=1.0).contains(&self.retries), "retries", &self.retries, "0 to 1")?;
        let mut rng = Rng::new(0);
        let reached = (self.numbers.low..=self.numbers.high)
            .all(|count| self.find(count, &mut rng).is_some());
        check(reached, "target", &self.target, "within reach of so few numbers up to `largest`")
    }

    fn draw(&self, rng: &mut Rng) -> Made {
        let count = self.numbers.draw(rng);
        // A target outside the range is better than none; `validate` has found that targets are not so rare.
        let (all, target, answer) = self.find(count, rng).unwrap_or_else(|| {
            let all = vec![1; count];
            (all, count as i64, vec!["1"; count].join("+"))
        });
        let plain = format!("countdown {} -> {target}:", numbers::joined(&all, " "));
        let question = format!(
            "Write an expression that equals {target}, using the numbers {} each at most once, \
             the signs +, -, *, / and brackets.",
            numbers::joined(&all, ", ")
        );
        let prompt = self.prompt_style.prompt(&plain, &question, "the expression");
        let key = format!("{} -> {target}", numbers::joined(&numbers::sorted(&all), ","));
        Made::new(prompt, &answer, key).with("numbers", all).with("target", target)
    }

    fn teach(&self, task: &Task, rng: &mut Rng) -> Option<String> {
        let right = task.answer.clone()?;
        let (mut worked, mut tried) = (String::new(), Vec::new());
        loop {
            let miss = (rng.random() < self.misses).then(|| missing(task, &tried, rng)).flatten();
            let ends = miss.is_none() || tried.len() + 1 == TRIES || rng.random() >= self.retries;
            let (value, expression) = miss.unwrap_or_else(|| (0, right.clone()));
            tried.push(value);
            worked += &(numbers::joined(&puzzle::countdown::steps(&expression).ok()?, ";") + ";");
            if ends {
                return Some(self.prompt_style.completion(&worked, &expression));
            }
        }
    }

    fn sizes(&mut self) -> &mut Sizes {
        &mut self.numbers
    }

    fn verifier(&self) -> VerifierConfig {
        VerifierConfig::Countdown(puzzle::Config::default())
    }
}
