//! Values of expressions in floating point, where no exact form decides.

use std::collections::BTreeSet;

use super::tree::{Constant, Expr};

/// Points at which expressions with variables are compared: each variable gets a value of its own.
const POINTS: [f64; 5] = [0.573_159, 1.318_427, 2.071_893, -0.842_617, 3.692_771];

/// Whether two expressions have the same values; nothing where too few are defined.
///
/// `tolerance` is relative to the larger value. `absolute` is what rounding may leave of a zero.
pub(super) fn same_values(a: &Expr, b: &Expr, tolerance: f64, absolute: f64) -> Option<bool> {
    let mut names = BTreeSet::new();
    collect_names(a, &mut names);
    collect_names(b, &mut names);
    let names: Vec<&str> = names.into_iter().collect();
    let points = if names.is_empty() { &POINTS[..1] } else { &POINTS[..] };
    let mut compared = 0;
    for point in points {
        let at = |name: &str| {
            let index = names.iter().position(|known| *known == name).unwrap_or(0);
            point + 0.317_113 * index as f64
        };
        let (x, y) = (value(a, &at), value(b, &at));
        if x.is_finite() && y.is_finite() {
            compared += 1;
            if (x - y).abs() > absolute.max(tolerance * x.abs().max(y.abs())) {
                return Some(false);
            }
        } else if x.is_finite() != y.is_finite() {
            return Some(false);
        }
    }
    (compared >= points.len().min(2)).then_some(true)
}

fn collect_names<'a>(expr: &'a Expr, names: &mut BTreeSet<&'a str>) {
    if let Expr::Symbol(name) = expr {
        names.insert(name);
    }
    for child in expr.children() {
        collect_names(child, names);
    }
}

/// The value of an expression without variables; NaN where it has none.
pub(super) fn constant_value(expr: &Expr) -> f64 {
    value(expr, &|_| f64::NAN)
}

fn value(expr: &Expr, at: &impl Fn(&str) -> f64) -> f64 {
    match expr {
        Expr::Number(value, _) => value.to_f64(),
        Expr::Symbol(name) => at(name),
        Expr::Constant(Constant::Pi) => std::f64::consts::PI,
        Expr::Constant(Constant::Euler) => std::f64::consts::E,
        Expr::Constant(Constant::Infinity) => f64::INFINITY,
        Expr::Sum(terms) => terms.iter().map(|term| value(term, at)).sum(),
        Expr::Product(factors) => factors.iter().map(|factor| value(factor, at)).product(),
        Expr::Quotient(above, below) => value(above, at) / value(below, at),
        Expr::Power(base, exponent) => raised(value(base, at), exponent, value(exponent, at)),
        Expr::Negative(inner) => -value(inner, at),
        Expr::Percent(inner) => value(inner, at) / 100.0,
        Expr::Quantity(inner, _) => value(inner, at),
        Expr::Call(name, arguments) => match &arguments[..] {
            [x] => function(name, value(x, at)),
            _ => f64::NAN,
        },
        _ => f64::NAN,
    }
}

/// A power; roots of odd degree are real for negative numbers too.
fn raised(base: f64, exponent: &Expr, value: f64) -> f64 {
    let Expr::Quotient(above, below) = exponent else { return base.powf(value) };
    let odd = |expr: &Expr| match expr {
        Expr::Number(value, _) => value.as_integer().map(|n| n % 2 != 0),
        _ => None,
    };
    match (odd(above), odd(below)) {
        (Some(odd), Some(true)) if base < 0.0 => {
            let power = (-base).powf(value);
            if odd { -power } else { power }
        }
        _ => base.powf(value),
    }
}

fn function(name: &str, x: f64) -> f64 {
    match name {
        "sin" => x.sin(),
        "cos" => x.cos(),
        "tan" => x.tan(),
        "cot" => 1.0 / x.tan(),
        "sec" => 1.0 / x.cos(),
        "csc" => 1.0 / x.sin(),
        "sinh" => x.sinh(),
        "cosh" => x.cosh(),
        "tanh" => x.tanh(),
        "arcsin" => x.asin(),
        "arccos" => x.acos(),
        "arctan" => x.atan(),
        "ln" => x.ln(),
        "lg" => x.log10(),
        "exp" => x.exp(),
        "abs" => x.abs(),
        "floor" => x.floor(),
        "ceil" => x.ceil(),
        "factorial" if (0.0..=170.0).contains(&x) && x.fract() == 0.0 => {
            (1..=x as u32).map(f64::from).product()
        }
        _ => f64::NAN,
    }
}
