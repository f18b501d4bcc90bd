use super::expression::{Expression, Fraction, Sign};

/// Numbers that the search takes at most: with one more it takes about a hundred times as long.
pub const MAX_NUMBERS: usize = 6;

type Part = (Fraction, Expression);

/// An expression with the value `target` that uses each of `numbers` at most once, or `None` where there is none. All
/// expressions with rational parts are tried, so the answer is exact.
///
/// Of more than six numbers only the first six are used.
///
/// ```
/// use skinner_tasks::puzzle::countdown::{check, solve};
///
/// let found = solve(&[3, 3, 8, 8], 24).unwrap();
/// assert!(check(&found, &[3, 3, 8, 8], 24).is_ok());
/// assert_eq!(solve(&[1, 1], 3), None);
/// ```
pub fn solve(numbers: &[i64], target: i64) -> Option<String> {
    let first = numbers.iter().take(MAX_NUMBERS);
    let parts: Vec<Part> = first.map(|n| ((*n).into(), Expression::Number(*n))).collect();
    search(&parts, target.into()).map(|found| found.to_string())
}

/// Joins two of the parts in every way, and goes on with one part less. Parts left over do not count.
fn search(parts: &[Part], target: Fraction) -> Option<Expression> {
    if let Some((_, found)) = parts.iter().find(|(value, _)| *value == target) {
        return Some(found.clone());
    }
    for i in 0..parts.len() {
        for j in i + 1..parts.len() {
            let mut rest: Vec<Part> = Vec::with_capacity(parts.len() - 1);
            rest.extend((0..parts.len()).filter(|k| *k != i && *k != j).map(|k| parts[k].clone()));
            for joined in joins(&parts[i], &parts[j]) {
                rest.push(joined);
                if let Some(found) = search(&rest, target) {
                    return Some(found);
                }
                rest.pop();
            }
        }
    }
    None
}

/// What two parts can make. Of equal values one is enough.
fn joins(one: &Part, two: &Part) -> Vec<Part> {
    let ways = [
        (Sign::Add, one, two),
        (Sign::Multiply, one, two),
        (Sign::Subtract, one, two),
        (Sign::Subtract, two, one),
        (Sign::Divide, one, two),
        (Sign::Divide, two, one),
    ];
    let mut made: Vec<Part> = Vec::with_capacity(ways.len());
    for (sign, left, right) in ways {
        if let Ok(value) = left.0.apply(sign, right.0)
            && made.iter().all(|(other, _)| *other != value)
        {
            made.push((value, Expression::both(sign, left.1.clone(), right.1.clone())));
        }
    }
    made
}
