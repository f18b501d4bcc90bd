//! What an answer says: a value, a point, a set, an interval, an equation.

use super::ParseError;
use super::normal::normal;
use super::number::Rational;
use super::numeric::constant_value;
use super::poly::Budget;
use super::tree::{Bracket, Comparator, Constant, Expr};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Value(Expr),
    Text(String),
    /// Two items may be the ends of an interval.
    Point {
        left: Bracket,
        right: Bracket,
        items: Vec<Answer>,
    },
    Set(Vec<Answer>),
    List(Vec<Answer>),
    Ratio(Vec<Answer>),
    Matrix(Vec<Vec<Answer>>),
    /// Disjoint intervals in rising order.
    Region(Vec<Interval>),
    /// `x = 5`: the name, and what it is.
    Named {
        name: Expr,
        value: Box<Answer>,
    },
    /// What is 0 in `a = b`: `a - b`.
    Equation(Expr),
    /// What is positive (or, if not strict, not negative).
    Inequality {
        difference: Expr,
        strict: bool,
    },
}

/// An interval of the reals; a point where both ends are one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Interval {
    pub(super) low: Expr,
    pub(super) low_closed: bool,
    pub(super) high: Expr,
    pub(super) high_closed: bool,
}

impl Interval {
    fn point(value: Expr) -> Self {
        Self { low: value.clone(), low_closed: true, high: value, high_closed: true }
    }

    fn above(low: Expr, low_closed: bool) -> Self {
        let high = Expr::Constant(Constant::Infinity);
        Self { low, low_closed, high, high_closed: false }
    }

    fn under(high: Expr, high_closed: bool) -> Self {
        let low = Expr::Negative(Box::new(Expr::Constant(Constant::Infinity)));
        Self { low, low_closed: false, high, high_closed }
    }
}

/// The meaning of a tree. The budget is for what must be computed to find it.
pub(super) fn answer(expr: Expr, budget: &mut Budget) -> Result<Answer, ParseError> {
    let mut each = |items: Vec<Expr>| {
        items.into_iter().map(|item| answer(item, budget)).collect::<Result<Vec<_>, _>>()
    };
    match expr {
        Expr::Text(text) => Ok(Answer::Text(text)),
        Expr::Group { left, right, items } => {
            Ok(Answer::Point { left, right, items: each(items)? })
        }
        Expr::Set(items) => Ok(Answer::Set(flat(each(items)?))),
        Expr::List(items) => Ok(Answer::List(flat(each(items)?))),
        Expr::Ratio(items) => Ok(Answer::Ratio(each(items)?)),
        Expr::Matrix(rows) => {
            rows.into_iter().map(each).collect::<Result<_, _>>().map(Answer::Matrix)
        }
        Expr::Union(parts) => union(parts, budget),
        Expr::Relation(first, rest) => relation(*first, rest, budget),
        scalar => value(scalar),
    }
}

/// Lists within a list, as `±` makes them, become part of it.
fn flat(items: Vec<Answer>) -> Vec<Answer> {
    let inner = |item| match item {
        Answer::List(inner) => inner,
        Answer::Named { value, .. } if matches!(*value, Answer::List(_)) => flat(vec![*value]),
        other => vec![other],
    };
    items.into_iter().flat_map(inner).collect()
}

/// A scalar; one with `±` is two.
fn value(expr: Expr) -> Result<Answer, ParseError> {
    let structure = |e: &Expr| {
        matches!(
            e,
            Expr::Group { .. }
                | Expr::Set(_)
                | Expr::List(_)
                | Expr::Ratio(_)
                | Expr::Union(_)
                | Expr::Matrix(_)
                | Expr::Relation(..)
                | Expr::Text(_)
        )
    };
    if expr.any(&structure) {
        return Err(ParseError::NoValue);
    }
    if expr.any(&|e| matches!(e, Expr::PlusMinus(..))) {
        let both = [true, false].map(|plus| Answer::Value(expr.with_sign(plus)));
        return Ok(Answer::List(both.to_vec()));
    }
    Ok(Answer::Value(expr))
}

fn union(parts: Vec<Expr>, budget: &mut Budget) -> Result<Answer, ParseError> {
    let mut pieces = Vec::new();
    for part in parts {
        match answer(part, budget)? {
            Answer::Region(more) => pieces.extend(more),
            Answer::Set(items) => {
                for item in items {
                    let Answer::Value(value) = item else { return Err(ParseError::NoValue) };
                    pieces.push(Interval::point(value));
                }
            }
            other => pieces.push(other.as_interval().ok_or(ParseError::NoValue)?),
        }
    }
    Ok(Answer::Region(joined(pieces)))
}

impl Answer {
    /// Two values in brackets, read as an interval.
    pub(super) fn as_interval(&self) -> Option<Interval> {
        let Self::Point { left, right, items } = self else { return None };
        let [Self::Value(low), Self::Value(high)] = &items[..] else { return None };
        Some(Interval {
            low: low.clone(),
            low_closed: *left == Bracket::Square,
            high: high.clone(),
            high_closed: *right == Bracket::Square,
        })
    }
}

/// In rising order, with what touches or overlaps made one.
fn joined(mut pieces: Vec<Interval>) -> Vec<Interval> {
    pieces.sort_by(|a, b| {
        let ends = constant_value(&a.low).total_cmp(&constant_value(&b.low));
        ends.then(b.low_closed.cmp(&a.low_closed))
    });
    let mut disjoint: Vec<Interval> = Vec::new();
    for piece in pieces {
        let Some(last) = disjoint.last_mut() else {
            disjoint.push(piece);
            continue;
        };
        let (end, start) = (constant_value(&last.high), constant_value(&piece.low));
        let touches = start < end || start == end && (last.high_closed || piece.low_closed);
        if !touches {
            disjoint.push(piece);
            continue;
        }
        let high = constant_value(&piece.high);
        if high > end {
            (last.high, last.high_closed) = (piece.high, piece.high_closed);
        } else if high == end {
            last.high_closed |= piece.high_closed;
        }
    }
    disjoint
}

fn relation(
    first: Expr,
    rest: Vec<(Comparator, Expr)>,
    budget: &mut Budget,
) -> Result<Answer, ParseError> {
    use Comparator::{About, Equal, In};
    if let [(In, _)] = rest[..] {
        return rest
            .into_iter()
            .next()
            .map_or(Err(ParseError::NoValue), |(_, set)| answer(set, budget));
    }
    if rest.iter().all(|(comparator, _)| matches!(comparator, Equal | About)) {
        return equation(first, rest, budget);
    }
    let unknown = rest.iter().find_map(|(_, right)| unknown(right)).or_else(|| unknown(&first));
    if let Some(pieces) = region(&first, &rest, budget) {
        let is_absolute = matches!(unknown, Some(Expr::Call(name, _)) if name == "abs");
        let pieces = if is_absolute { mirrored(pieces) } else { pieces };
        return Ok(Answer::Region(joined(pieces)));
    }
    inequality(first, rest)
}

fn equation(
    first: Expr,
    rest: Vec<(Comparator, Expr)>,
    budget: &mut Budget,
) -> Result<Answer, ParseError> {
    let exact = rest.iter().rposition(|(comparator, _)| *comparator == Comparator::Equal);
    let last = exact.unwrap_or(0);
    let Some((_, value)) = rest.into_iter().nth(last) else { return Err(ParseError::NoValue) };
    if is_name(&first) {
        return Ok(Answer::Named { name: first, value: Box::new(answer(value, budget)?) });
    }
    if matches!(value, Expr::Symbol(_)) {
        return Ok(Answer::Named { name: value, value: Box::new(answer(first, budget)?) });
    }
    scalar(difference(first, value)).map(Answer::Equation)
}

fn difference(left: Expr, right: Expr) -> Expr {
    Expr::Sum(vec![left, Expr::Negative(Box::new(right))])
}

fn scalar(expr: Expr) -> Result<Expr, ParseError> {
    match value(expr)? {
        Answer::Value(expr) => Ok(expr),
        _ => Err(ParseError::NoValue),
    }
}

/// Whether an expression is what a value is given to: `x`, `f(x)`, `AB`, `|AB|`, `A : B`, `(p, q)`.
fn is_name(expr: &Expr) -> bool {
    match expr {
        Expr::Symbol(_) | Expr::Text(_) => true,
        Expr::Call(name, items) => {
            let is_function = name == "abs" || name.starts_with(|c| "fghFGH".contains(c));
            is_function && items.iter().all(is_name)
        }
        Expr::Product(items) | Expr::Ratio(items) | Expr::Group { items, .. } => {
            items.iter().all(is_name)
        }
        Expr::Quotient(above, below) => is_name(above) && is_name(below),
        _ => false,
    }
}

/// What one unknown may be, where each comparison is linear in it.
fn region(first: &Expr, rest: &[(Comparator, Expr)], budget: &mut Budget) -> Option<Vec<Interval>> {
    match rest {
        [(comparator, right)] => half_lines(first, *comparator, right, budget),
        [(one, middle), (two, last)] => {
            let (left, right) =
                (half_lines(first, *one, middle, budget)?, half_lines(middle, *two, last, budget)?);
            let ([left], [right]) = (&left[..], &right[..]) else { return None };
            let rises = constant_value(&left.low).is_finite();
            let (low, high) = if rises { (left, right) } else { (right, left) };
            let bounded = constant_value(&low.low).is_finite()
                && constant_value(&high.high).is_finite()
                && constant_value(&low.high) == f64::INFINITY
                && constant_value(&high.low) == f64::NEG_INFINITY;
            bounded.then(|| {
                vec![Interval {
                    low: low.low.clone(),
                    low_closed: low.low_closed,
                    high: high.high.clone(),
                    high_closed: high.high_closed,
                }]
            })
        }
        _ => None,
    }
}

fn half_lines(
    left: &Expr,
    comparator: Comparator,
    right: &Expr,
    budget: &mut Budget,
) -> Option<Vec<Interval>> {
    use Comparator::{AtLeast, AtMost, Greater, Less, NotEqual};
    let difference = difference(left.clone(), right.clone());
    let unknown = unknown(&difference)?;
    let at_zero = replaced(&difference, &unknown);
    let slope = slope(&difference, &unknown, &at_zero, budget)?;
    let inverse = Expr::Number(slope.inverse()?.negated(), false);
    let end = match (left == &unknown, right == &unknown) {
        (true, _) => right.clone(),
        (_, true) => left.clone(),
        _ => Expr::Product(vec![inverse, at_zero]),
    };
    let falls = slope.is_negative();
    Some(match comparator {
        Less | AtMost if falls => vec![Interval::above(end, comparator == AtMost)],
        Greater | AtLeast if falls => vec![Interval::under(end, comparator == AtLeast)],
        Less | AtMost => vec![Interval::under(end, comparator == AtMost)],
        Greater | AtLeast => vec![Interval::above(end, comparator == AtLeast)],
        NotEqual => vec![Interval::under(end.clone(), false), Interval::above(end, false)],
        _ => return None,
    })
}

/// What `x` may be, from what `|x|` may be.
fn mirrored(pieces: Vec<Interval>) -> Vec<Interval> {
    let minus = |expr: &Expr| Expr::Negative(Box::new(expr.clone()));
    let mut both = Vec::new();
    for piece in pieces {
        let (low, high) = (minus(&piece.high), minus(&piece.low));
        let (low_closed, high_closed) = (piece.high_closed, piece.low_closed);
        if constant_value(&piece.low) < 0.0 {
            both.push(Interval { low, low_closed, ..piece });
        } else {
            both.push(Interval { low, low_closed, high, high_closed });
            both.push(piece);
        }
    }
    both
}

/// The one variable of an expression, its absolute value, or the one value of a function: `f(x)`.
fn unknown(expr: &Expr) -> Option<Expr> {
    let mut found = Vec::new();
    collect_unknowns(expr, &mut found);
    found.dedup();
    match &found[..] {
        [one] => Some((*one).clone()),
        _ => None,
    }
}

fn collect_unknowns<'a>(expr: &'a Expr, found: &mut Vec<&'a Expr>) {
    let is_unknown = match expr {
        Expr::Call(name, _) if name.starts_with(['f', 'g', 'h']) => true,
        Expr::Call(name, inner) => name == "abs" && matches!(inner[..], [Expr::Symbol(_)]),
        Expr::Symbol(_) => true,
        _ => false,
    };
    if is_unknown {
        found.push(expr);
        return;
    }
    for child in expr.children() {
        collect_unknowns(child, found);
    }
}

/// The expression with 0 in the place of the unknown.
fn replaced(expr: &Expr, unknown: &Expr) -> Expr {
    let one = |inner: &Expr| Box::new(replaced(inner, unknown));
    let all = |items: &[Expr]| items.iter().map(|item| replaced(item, unknown)).collect();
    match expr {
        same if same == unknown => Expr::integer(0),
        Expr::Sum(items) => Expr::Sum(all(items)),
        Expr::Product(items) => Expr::Product(all(items)),
        Expr::Quotient(above, below) => Expr::Quotient(one(above), one(below)),
        Expr::Negative(inner) => Expr::Negative(one(inner)),
        Expr::Quantity(inner, unit) => Expr::Quantity(one(inner), unit.clone()),
        other => other.clone(),
    }
}

/// What multiplies the unknown, where that is a rational number other than 0.
fn slope(
    difference: &Expr,
    unknown: &Expr,
    at_zero: &Expr,
    budget: &mut Budget,
) -> Option<Rational> {
    let rest = Expr::Sum(vec![difference.clone(), Expr::Negative(Box::new(at_zero.clone()))]);
    let rest = normal(&rest, budget)?;
    let unknown = normal(unknown, budget)?;
    let below = rest.below.as_constant()?.inverse()?;
    let (monomial, coefficient) = rest.above.single()?;
    (Some(monomial) == unknown.above.single().map(|(monomial, _)| monomial)).then_some(())?;
    coefficient.mul(&below)
}

fn inequality(first: Expr, rest: Vec<(Comparator, Expr)>) -> Result<Answer, ParseError> {
    use Comparator::{AtLeast, AtMost, Greater, Less};
    let [(comparator, last)] = <[_; 1]>::try_from(rest).map_err(|_| ParseError::NoValue)?;
    let difference = match comparator {
        Greater | AtLeast => difference(first, last),
        Less | AtMost => difference(last, first),
        _ => return Err(ParseError::NoValue),
    };
    let strict = matches!(comparator, Less | Greater);
    Ok(Answer::Inequality { difference: scalar(difference)?, strict })
}
