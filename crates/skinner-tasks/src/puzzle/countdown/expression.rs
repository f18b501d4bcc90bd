//! Expressions of integers, computed exactly.

use std::fmt;

/// Longer texts are not parsed.
const MAX_BYTES: usize = 1024;
const MAX_DEPTH: usize = 64;

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpressionError {
    /// Too many bytes.
    #[error("the expression has {0} bytes, at most {MAX_BYTES} are parsed")]
    TooLong(usize),
    /// Too many brackets within each other.
    #[error("the expression is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Nothing where a number should be, or a bracket that is not closed.
    #[error("the expression ends where more is expected")]
    Ends,
    /// Something that has no meaning there.
    #[error("`{0}` is not understood there")]
    Unexpected(char),
    /// A division by zero.
    #[error("something is divided by zero")]
    DividesByZero,
    /// A number too large to compute with.
    #[error("a number in it is too large")]
    TooLarge,
}

use ExpressionError::{DividesByZero, Ends, TooDeep, TooLarge, TooLong, Unexpected};

/// A quotient in lowest terms; the denominator is positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fraction {
    numerator: i128,
    denominator: i128,
}

impl From<i64> for Fraction {
    fn from(number: i64) -> Self {
        Self { numerator: number.into(), denominator: 1 }
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.numerator)?;
        if self.denominator == 1 { Ok(()) } else { write!(f, "/{}", self.denominator) }
    }
}

impl Fraction {
    fn reduced(numerator: i128, denominator: i128) -> Self {
        let divisor = num_integer::gcd(numerator, denominator) * denominator.signum();
        Self { numerator: numerator / divisor, denominator: denominator / divisor }
    }

    pub(super) fn is_zero(self) -> bool {
        self.numerator == 0
    }

    pub(super) fn apply(self, sign: Sign, other: Self) -> Result<Self, ExpressionError> {
        if sign == Sign::Divide && other.is_zero() {
            return Err(DividesByZero);
        }
        self.computed(sign, other).ok_or(TooLarge)
    }

    fn computed(self, sign: Sign, other: Self) -> Option<Self> {
        let (p, q, r, s) = (self.numerator, self.denominator, other.numerator, other.denominator);
        let (numerator, denominator) = match sign {
            Sign::Add => (p.checked_mul(s)?.checked_add(r.checked_mul(q)?)?, q.checked_mul(s)?),
            Sign::Subtract => {
                (p.checked_mul(s)?.checked_sub(r.checked_mul(q)?)?, q.checked_mul(s)?)
            }
            Sign::Multiply => (p.checked_mul(r)?, q.checked_mul(s)?),
            Sign::Divide => (p.checked_mul(s)?, q.checked_mul(r)?),
        };
        // Neither has a counterpart of the other sign.
        let fits = numerator != i128::MIN && denominator != i128::MIN;
        fits.then(|| Self::reduced(numerator, denominator))
    }
}

/// One of the four operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Sign {
    fn of(c: char) -> Option<Self> {
        match c {
            '+' => Some(Self::Add),
            '-' => Some(Self::Subtract),
            '*' => Some(Self::Multiply),
            '/' => Some(Self::Divide),
            _ => None,
        }
    }

    pub(super) fn as_char(self) -> char {
        match self {
            Self::Add => '+',
            Self::Subtract => '-',
            Self::Multiply => '*',
            Self::Divide => '/',
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    Number(i64),
    Both(Sign, Box<[Expression; 2]>),
}

impl Expression {
    pub(super) fn both(sign: Sign, left: Self, right: Self) -> Self {
        Self::Both(sign, Box::new([left, right]))
    }

    pub(super) fn parse(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > MAX_BYTES {
            return Err(TooLong(text.len()));
        }
        let mut parser = Parser { chars: plain(text), at: 0 };
        let parsed = parser.sum(0)?;
        match parser.chars.get(parser.at) {
            None => Ok(parsed),
            Some(c) => Err(Unexpected(*c)),
        }
    }

    pub(super) fn numbers(&self) -> Vec<i64> {
        match self {
            Self::Number(number) => vec![*number],
            Self::Both(_, sides) => [sides[0].numbers(), sides[1].numbers()].concat(),
        }
    }

    pub(super) fn value(&self) -> Result<Fraction, ExpressionError> {
        match self {
            Self::Number(number) => Ok((*number).into()),
            Self::Both(sign, sides) => sides[0].value()?.apply(*sign, sides[1].value()?),
        }
    }

    fn push_steps(&self, steps: &mut Vec<Step>) -> Result<(), ExpressionError> {
        let Self::Both(sign, sides) = self else { return Ok(()) };
        sides[0].push_steps(steps)?;
        sides[1].push_steps(steps)?;
        let (left, right) = (sides[0].value()?, sides[1].value()?);
        steps.push(Step(format!("{left}{}{right}={}", sign.as_char(), self.value()?)));
        Ok(())
    }
}

impl fmt::Display for Expression {
    /// With a bracket around each part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |side: &Self| match side {
            Self::Number(number) => number.to_string(),
            Self::Both(..) => format!("({side})"),
        };
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Both(sign, sides) => {
                write!(f, "{}{}{}", part(&sides[0]), sign.as_char(), part(&sides[1]))
            }
        }
    }
}

/// One operation of an expression and its result, as `75-50=25`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step(String);

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The operations of an expression in the order in which they can be done.
///
/// # Errors
/// If it has no value.
pub fn steps(expression: &str) -> Result<Vec<Step>, ExpressionError> {
    let mut steps = Vec::new();
    Expression::parse(expression)?.push_steps(&mut steps)?;
    Ok(steps)
}

/// Other ways of writing the signs, and no white space, dollars or LaTeX sizes of brackets.
fn plain(text: &str) -> Vec<char> {
    let mut text = text.to_owned();
    for (written, sign) in [
        ("\\times", "*"),
        ("\\cdot", "*"),
        ("\\div", "/"),
        ("\\left", ""),
        ("\\right", ""),
        ("\\(", ""),
        ("\\)", ""),
    ] {
        text = text.replace(written, sign);
    }
    let sign = |c: char| match c {
        '×' | '·' | 'x' | '∗' => '*',
        '÷' | ':' | '∕' => '/',
        '−' | '–' => '-',
        '[' => '(',
        ']' => ')',
        c => c,
    };
    // Digits with a space between them are two numbers, so one space of several stays.
    let joined = text.replace('$', "").split_whitespace().collect::<Vec<_>>().join(" ");
    joined.chars().map(sign).collect()
}

struct Parser {
    chars: Vec<char>,
    at: usize,
}

impl Parser {
    fn peek(&mut self) -> Option<char> {
        while self.chars.get(self.at) == Some(&' ') {
            self.at += 1;
        }
        self.chars.get(self.at).copied()
    }

    fn sum(&mut self, depth: usize) -> Result<Expression, ExpressionError> {
        self.chain(depth, &[Sign::Add, Sign::Subtract], Self::product)
    }

    fn product(&mut self, depth: usize) -> Result<Expression, ExpressionError> {
        self.chain(depth, &[Sign::Multiply, Sign::Divide], Self::operand)
    }

    /// Operands with signs of one precedence between them, from left to right.
    fn chain(
        &mut self,
        depth: usize,
        signs: &[Sign],
        operand: fn(&mut Self, usize) -> Result<Expression, ExpressionError>,
    ) -> Result<Expression, ExpressionError> {
        let mut chain = operand(self, depth)?;
        let mut links = 0;
        while let Some(sign) = self.peek().and_then(Sign::of).filter(|sign| signs.contains(sign)) {
            self.at += 1;
            links += 1;
            // The tree is as deep as the chain is long, and trees are walked by recursion.
            if links > MAX_DEPTH {
                return Err(TooDeep);
            }
            chain = Expression::both(sign, chain, operand(self, depth)?);
        }
        Ok(chain)
    }

    fn operand(&mut self, depth: usize) -> Result<Expression, ExpressionError> {
        match self.peek().ok_or(Ends)? {
            '(' if depth >= MAX_DEPTH => Err(TooDeep),
            '(' => {
                self.at += 1;
                let inner = self.sum(depth + 1)?;
                match self.peek() {
                    Some(')') => self.at += 1,
                    Some(c) => return Err(Unexpected(c)),
                    None => return Err(Ends),
                }
                Ok(inner)
            }
            c if c.is_ascii_digit() => self.number(),
            c => Err(Unexpected(c)),
        }
    }

    fn number(&mut self) -> Result<Expression, ExpressionError> {
        let mut number = 0_i64;
        while let Some(digit) = self.chars.get(self.at).and_then(|c| c.to_digit(10)) {
            number = number
                .checked_mul(10)
                .and_then(|number| number.checked_add(digit.into()))
                .ok_or(TooLarge)?;
            self.at += 1;
        }
        Ok(Expression::Number(number))
    }
}
