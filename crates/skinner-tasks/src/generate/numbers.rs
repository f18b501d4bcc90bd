//! Numbers drawn, and read from tasks again.

use skinner_core::Rng;

use crate::Task;

/// A number of so many digits, at most 18; the first is not 0.
pub(super) fn of_digits(digits: usize, rng: &mut Rng) -> u64 {
    let first = 1 + rng.below(9) as u64;
    (1..digits).fold(first, |number, _| 10 * number + rng.below(10) as u64)
}

/// A number of at most so many digits.
pub(super) fn up_to_digits(digits: usize, rng: &mut Rng) -> i64 {
    rng.below(10_usize.pow(digits as u32)) as i64
}

/// The task's column `numbers`.
pub(super) fn of_task(task: &Task) -> Option<Vec<i64>> {
    task.columns.get("numbers")?.as_array()?.iter().map(serde_json::Value::as_i64).collect()
}

/// Joined by a separator.
pub(super) fn joined<T: ToString>(items: &[T], separator: &str) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}

/// The same in ascending order.
pub(super) fn sorted(items: &[i64]) -> Vec<i64> {
    let mut items = items.to_vec();
    items.sort_unstable();
    items
}

/// The greatest common divisor.
pub(super) fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a.abs() } else { greatest_common_divisor(b, a % b) }
}
