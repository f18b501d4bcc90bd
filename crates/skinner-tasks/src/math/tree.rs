//! The tree that an answer is parsed into.

use super::number::Rational;

/// An expression or a structure of expressions, as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    /// A number; whether it was written with a decimal point.
    Number(Rational, bool),
    /// A variable, its subscript included.
    Symbol(String),
    Constant(Constant),
    Sum(Vec<Expr>),
    Product(Vec<Expr>),
    Quotient(Box<Expr>, Box<Expr>),
    Power(Box<Expr>, Box<Expr>),
    Negative(Box<Expr>),
    /// `±x`; of `∓x` the flag is set.
    PlusMinus(Box<Expr>, bool),
    /// A function and its arguments.
    Call(String, Vec<Expr>),
    Percent(Box<Expr>),
    /// A value and its unit.
    Quantity(Box<Expr>, String),
    /// Words.
    Text(String),
    /// `(1, 2)`, `[0, 1)`: a point or an interval.
    Group {
        left: Bracket,
        right: Bracket,
        items: Vec<Expr>,
    },
    Set(Vec<Expr>),
    /// `1, 2 and 3`
    List(Vec<Expr>),
    /// `7 : 32`
    Ratio(Vec<Expr>),
    Union(Vec<Expr>),
    Matrix(Vec<Vec<Expr>>),
    /// `a < b = c`
    Relation(Box<Expr>, Vec<(Comparator, Expr)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Constant {
    Pi,
    Euler,
    Imaginary,
    Infinity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bracket {
    Round,
    Square,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparator {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
    About,
    In,
}

impl Expr {
    pub(super) const fn integer(value: i64) -> Self {
        Self::Number(Rational::integer(value), false)
    }

    /// The parts one level below.
    pub(super) fn children(&self) -> Vec<&Self> {
        match self {
            Self::Number(..) | Self::Symbol(_) | Self::Constant(_) | Self::Text(_) => Vec::new(),
            Self::Sum(items)
            | Self::Product(items)
            | Self::Call(_, items)
            | Self::Group { items, .. }
            | Self::Set(items)
            | Self::List(items)
            | Self::Ratio(items)
            | Self::Union(items) => items.iter().collect(),
            Self::Quotient(a, b) | Self::Power(a, b) => vec![a, b],
            Self::Negative(a) | Self::PlusMinus(a, _) | Self::Percent(a) | Self::Quantity(a, _) => {
                vec![a]
            }
            Self::Matrix(rows) => rows.iter().flatten().collect(),
            Self::Relation(first, rest) => {
                std::iter::once(&**first).chain(rest.iter().map(|(_, e)| e)).collect()
            }
        }
    }

    /// Whether it or a part of it is so.
    pub(super) fn any(&self, is: &impl Fn(&Self) -> bool) -> bool {
        is(self) || self.children().into_iter().any(|child| child.any(is))
    }

    /// Whether a number in it has a decimal point.
    pub(super) fn has_decimal(&self) -> bool {
        self.any(&|e| matches!(e, Self::Number(_, true)))
    }

    /// With `±` read as plus (and `∓` as minus), or the other way round.
    pub(super) fn with_sign(&self, plus: bool) -> Self {
        let all = |items: &[Self]| items.iter().map(|e| e.with_sign(plus)).collect();
        let one = |item: &Self| Box::new(item.with_sign(plus));
        match self {
            Self::PlusMinus(item, flipped) if plus == *flipped => Self::Negative(one(item)),
            Self::PlusMinus(item, _) => item.with_sign(plus),
            Self::Sum(items) => Self::Sum(all(items)),
            Self::Product(items) => Self::Product(all(items)),
            Self::Call(name, items) => Self::Call(name.clone(), all(items)),
            Self::Quotient(a, b) => Self::Quotient(one(a), one(b)),
            Self::Power(a, b) => Self::Power(one(a), one(b)),
            Self::Negative(a) => Self::Negative(one(a)),
            Self::Percent(a) => Self::Percent(one(a)),
            Self::Quantity(a, unit) => Self::Quantity(one(a), unit.clone()),
            other => other.clone(),
        }
    }
}
