//! An expression with a given value, made of given numbers: parsed and computed exactly, and found by search.

mod expression;
mod solve;

pub use expression::{ExpressionError, Step, steps};
pub use solve::solve;

use expression::{Expression, Fraction};

use super::{Verdict, broken};
use crate::{Failed, Task, columns};

/// The numbers that may be used and the value wanted.
pub(crate) fn question(task: &Task) -> Result<(Vec<i64>, i64), Failed> {
    let list = columns::column(task, "numbers")?.as_array();
    let numbers: Option<Vec<i64>> =
        list.and_then(|list| list.iter().map(serde_json::Value::as_i64).collect());
    let numbers = numbers.ok_or_else(|| broken("numbers", "a list of integers"))?;
    let target = columns::column(task, "target")?.as_i64();
    Ok((numbers, target.ok_or_else(|| broken("target", "an integer"))?))
}

pub(super) fn verdict(task: &Task, given: &str) -> Result<Verdict, Failed> {
    let (numbers, target) = question(task)?;
    Ok(check(given, &numbers, target))
}

/// Whether an expression has the value `target` and uses each of `numbers` at most once, and why.
///
/// It may be followed by `=` and that value. The signs are `+ - * /`, also as `− × x · ÷ : \times \cdot \div`.
///
/// # Errors
/// What is wrong with it.
pub fn check(expression: &str, numbers: &[i64], target: i64) -> Result<String, String> {
    let (made, value) = match expression.split_once('=') {
        Some((made, value)) => (made, Some(value)),
        None => (expression, None),
    };
    let parsed = Expression::parse(made).map_err(|error| error.to_string())?;
    let mut left = numbers.to_vec();
    for number in parsed.numbers() {
        let Some(at) = left.iter().position(|n| *n == number) else {
            return Err(format!("{number} is not among the numbers left"));
        };
        left.swap_remove(at);
    }
    let found = parsed.value().map_err(|error| error.to_string())?;
    let claims = value.is_some_and(|value| value.trim().parse() != Ok(target));
    if found != Fraction::from(target) {
        return Err(format!("the value is {found}, not {target}"));
    }
    if claims {
        return Err(format!("what follows `=` is not {target}"));
    }
    Ok(format!("the value is {target}"))
}
