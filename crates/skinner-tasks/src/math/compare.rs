//! Whether two answers say the same.

use super::answer::{Answer, Interval, answer};
use super::normal::{Fraction, normal};
use super::number::Rational;
use super::numeric::same_values;
use super::poly::Budget;
use super::tree::{Bracket, Expr};
use super::{Basis, Comparison, Side, Units, plain};

/// What rounding may leave of a zero, where functions are evaluated.
const ABSOLUTE: f64 = 1e-12;

/// Sets of sets ask for as many comparisons as they have pairs.
const MAX_COMPARISONS: u32 = 10_000;

/// How answers are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Units, currencies and signs of percent.
    pub units: Units,
    /// The relative difference up to which values without a common exact form are equal.
    pub tolerance: f64,
}

impl Default for Rules {
    fn default() -> Self {
        Self { units: Units::default(), tolerance: 1e-9 }
    }
}

pub(super) fn compare(expected: &str, given: &str, rules: Rules) -> Comparison {
    let [expected, given] = [expected, given].map(plain::trimmed);
    if expected == given {
        return Comparison { same: !expected.is_empty(), basis: Basis::Text };
    }
    if let (Some(a), Some(b)) = (plain::small_integer(expected), plain::small_integer(given)) {
        return Comparison { same: a == b, basis: Basis::Exact };
    }
    if plain::same_words(expected, given) {
        return Comparison { same: true, basis: Basis::Text };
    }
    let mut budget = Budget::default();
    let mut parsed = |text: &str, side| {
        super::parser::parse(text)
            .and_then(|tree| answer(tree, &mut budget))
            .map_err(|error| Comparison { same: false, basis: Basis::Unparsed { side, error } })
    };
    let (a, b) = match (parsed(expected, Side::Expected), parsed(given, Side::Given)) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(failed), _) | (_, Err(failed)) => return failed,
    };
    let mut comparer = Comparer { rules, numeric: false, left: MAX_COMPARISONS, budget };
    let same = comparer.same(&a, &b);
    let basis = if comparer.numeric { Basis::Numeric } else { Basis::Exact };
    Comparison { same, basis }
}

struct Comparer {
    rules: Rules,
    /// Whether floating point decided anything.
    numeric: bool,
    /// How many values may still be compared.
    left: u32,
    /// What may still be computed of their normal forms.
    budget: Budget,
}

impl Comparer {
    fn same(&mut self, a: &Answer, b: &Answer) -> bool {
        match (a, b) {
            (Answer::Value(a), Answer::Value(b)) => self.same_quantity(a, b),
            (Answer::Text(a), Answer::Text(b)) => plain::same_words(a, b),
            (Answer::Named { name: first, value: a }, Answer::Named { name: second, value: b }) => {
                self.same(a, b) || same_equation(first, a, second, b, &mut self.budget)
            }
            (Answer::Named { name, value }, other) | (other, Answer::Named { name, value }) => {
                match other {
                    Answer::Equation(equation) => as_equation(name, value).is_some_and(|named| {
                        proportional(&named, equation, false, &mut self.budget)
                    }),
                    _ => self.same(value, other),
                }
            }
            (Answer::Point { .. }, Answer::Point { .. }) => self.same_points(a, b),
            (Answer::Point { left, right, items }, Answer::List(others))
            | (Answer::List(others), Answer::Point { left, right, items }) => {
                (*left, *right) == (Bracket::Round, Bracket::Round) && self.in_order(items, others)
            }
            (Answer::Set(a) | Answer::List(a), Answer::Set(b) | Answer::List(b)) => {
                self.same_items(a, b)
            }
            (Answer::Set(items), other) | (other, Answer::Set(items)) if items.len() == 1 => {
                self.same(&items[0], other)
            }
            (Answer::Ratio(a), Answer::Ratio(b)) => self.in_order(a, b),
            (Answer::Ratio(parts), Answer::Value(value))
            | (Answer::Value(value), Answer::Ratio(parts)) => {
                as_quotient(parts).is_some_and(|quotient| self.same_quantity(&quotient, value))
            }
            (Answer::Matrix(a), Answer::Matrix(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.in_order(a, b))
            }
            (Answer::Region(a), Answer::Region(b)) => self.same_regions(a, b),
            (Answer::Region(pieces), point) | (point, Answer::Region(pieces)) => {
                point.as_interval().is_some_and(|piece| self.same_regions(pieces, &[piece]))
            }
            (Answer::Equation(a), Answer::Equation(b)) => {
                proportional(a, b, false, &mut self.budget)
            }
            (
                Answer::Inequality { difference: a, strict: first },
                Answer::Inequality { difference: b, strict: second },
            ) => first == second && proportional(a, b, true, &mut self.budget),
            _ => false,
        }
    }

    fn in_order(&mut self, a: &[Answer], b: &[Answer]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.same(a, b))
    }

    /// Whether each item of either is among the other's.
    fn same_items(&mut self, a: &[Answer], b: &[Answer]) -> bool {
        const MAX_ITEMS: usize = 64;
        if a.len().max(b.len()) > MAX_ITEMS {
            return self.in_order(a, b);
        }
        let mut found = vec![false; b.len()];
        for item in a {
            let mut has_match = false;
            for (found, other) in found.iter_mut().zip(b) {
                if self.same(item, other) {
                    has_match = true;
                    *found = true;
                }
            }
            if !has_match {
                return false;
            }
        }
        found.into_iter().all(|found| found)
    }

    /// Brackets matter where the two items may be the ends of an interval.
    fn same_points(&mut self, a: &Answer, b: &Answer) -> bool {
        let (
            Answer::Point { left, right, items: first },
            Answer::Point { left: other_left, right: other_right, items: second },
        ) = (a, b)
        else {
            return false;
        };
        let mixed = |left: &Bracket, right: &Bracket| left != right;
        let matters = first.len() == 2 || mixed(left, right) || mixed(other_left, other_right);
        let same_brackets = left == other_left && right == other_right;
        (same_brackets || !matters) && self.in_order(first, second)
    }

    fn same_regions(&mut self, a: &[Interval], b: &[Interval]) -> bool {
        a.len() == b.len()
            && a.iter().zip(b).all(|(a, b)| {
                a.low_closed == b.low_closed
                    && a.high_closed == b.high_closed
                    && self.same_value(&a.low, &b.low)
                    && self.same_value(&a.high, &b.high)
            })
    }

    /// Values with their units and signs of percent.
    fn same_quantity(&mut self, a: &Expr, b: &Expr) -> bool {
        match (a, b) {
            (Expr::Percent(a), Expr::Percent(b)) => self.same_value(a, b),
            (Expr::Percent(inner), other) | (other, Expr::Percent(inner)) => {
                let other = without_unit(other);
                self.rules.units == Units::Ignore && self.same_value(inner, other)
                    || self.same_value(&Expr::Percent(inner.clone()), other)
            }
            (Expr::Quantity(a, unit), Expr::Quantity(b, other)) => {
                let same_unit = unit == other || self.rules.units == Units::Ignore;
                same_unit && self.same_value(a, b)
            }
            (Expr::Quantity(value, _), other) | (other, Expr::Quantity(value, _)) => {
                self.rules.units == Units::Ignore && self.same_value(value, other)
            }
            _ => self.same_value(a, b),
        }
    }

    fn same_value(&mut self, a: &Expr, b: &Expr) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let forms = normal(a, &mut self.budget).zip(normal(b, &mut self.budget));
        let mut absolute = 0.0;
        if let Some((x, y)) = &forms {
            let same = x.same(y, &mut self.budget);
            let opaque = x.is_opaque() || y.is_opaque();
            let rounded = (a.has_decimal() || b.has_decimal()) && !both_terminate(x, y);
            if same == Some(true) || same == Some(false) && !opaque && !rounded {
                return same == Some(true);
            }
            if opaque {
                absolute = ABSOLUTE;
            }
        }
        self.numeric = true;
        same_values(a, b, self.rules.tolerance, absolute) == Some(true)
    }
}

/// Whether one difference is a multiple of the other, so that both are 0 together.
fn proportional(a: &Expr, b: &Expr, positive: bool, budget: &mut Budget) -> bool {
    let (Some(a), Some(b)) = (normal(a, budget), normal(b, budget)) else { return false };
    let factor = |x: &Fraction, y: &Fraction| {
        let (_, x) = x.above.0.last_key_value()?;
        let (_, y) = y.above.0.last_key_value()?;
        y.mul(&x.inverse()?)
    };
    let Some(factor) = factor(&a, &b) else { return a.above == b.above };
    let scaled = a.above.scaled(&factor);
    scaled.as_ref() == Some(&b.above) && !(positive && factor.is_negative())
}

fn same_equation(first: &Expr, a: &Answer, second: &Expr, b: &Answer, budget: &mut Budget) -> bool {
    match (as_equation(first, a), as_equation(second, b)) {
        (Some(a), Some(b)) => proportional(&a, &b, false, budget),
        _ => false,
    }
}

fn both_terminate(a: &Fraction, b: &Fraction) -> bool {
    let terminates = |x: &Fraction| x.as_constant().as_ref().is_some_and(Rational::terminates);
    terminates(a) && terminates(b)
}

/// Of a ratio of two, the first divided by the second.
fn as_quotient(parts: &[Answer]) -> Option<Expr> {
    match parts {
        [Answer::Value(a), Answer::Value(b)] => {
            Some(Expr::Quotient(Box::new(a.clone()), Box::new(b.clone())))
        }
        _ => None,
    }
}

fn without_unit(expr: &Expr) -> &Expr {
    match expr {
        Expr::Quantity(inner, _) => inner,
        other => other,
    }
}

/// `name - value`, which is 0.
fn as_equation(name: &Expr, value: &Answer) -> Option<Expr> {
    match value {
        Answer::Value(value) => {
            Some(Expr::Sum(vec![name.clone(), Expr::Negative(Box::new(value.clone()))]))
        }
        _ => None,
    }
}
