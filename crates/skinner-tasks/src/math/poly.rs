//! Polynomials over the rationals whose unknowns are variables, constants and roots of primes.
//!
//! `√12` is `2·3^(1/2)`: the exponent of a prime lies between 0 and 1, what is whole goes into the
//! coefficient. Distinct products of such roots are linearly independent over the rationals, so
//! two numbers of this kind are equal exactly when their terms are.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::number::Rational;

/// What is not a rational number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Atom {
    Prime(i64),
    Pi,
    Euler,
    Imaginary,
    Infinity,
    Symbol(String),
    /// What has no normal form, by its text: a function, a root of a sum.
    Opaque(String),
}

/// A product of powers, ordered by what is raised.
pub(super) type Monomial = Vec<(Atom, Rational)>;

/// How much may still be computed, in products of two monomials.
#[derive(Debug)]
pub(super) struct Budget(u32);

/// For all that one comparison of two answers computes.
const TOTAL: u32 = 100_000;
/// For one expression of it.
const EACH: u32 = 10_000;

impl Default for Budget {
    fn default() -> Self {
        Self(TOTAL)
    }
}

impl Budget {
    /// Computes one expression from a part of the budget.
    pub(super) fn part<T>(&mut self, compute: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let mut part = Self(self.0.min(EACH));
        let before = part.0;
        let computed = compute(&mut part);
        self.0 -= before - part.0;
        computed
    }

    pub(super) fn spend(&mut self, products: usize) -> Option<()> {
        let products = u32::try_from(products).unwrap_or(u32::MAX);
        let enough = products <= self.0;
        self.0 = self.0.saturating_sub(products);
        enough.then_some(())
    }
}

/// A sum of monomials with coefficients that are not 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Poly(pub(super) BTreeMap<Monomial, Rational>);

impl Poly {
    pub(super) fn constant(value: Rational) -> Self {
        Self::term(value, Vec::new())
    }

    pub(super) fn atom(atom: Atom) -> Self {
        Self::term(Rational::ONE, vec![(atom, Rational::ONE)])
    }

    pub(super) fn term(coefficient: Rational, monomial: Monomial) -> Self {
        if coefficient.is_zero() {
            return Self::default();
        }
        Self(BTreeMap::from([(monomial, coefficient)]))
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// The value, where it is a rational number.
    pub(super) fn as_constant(&self) -> Option<Rational> {
        match self.single() {
            Some((monomial, value)) if monomial.is_empty() => Some(value.clone()),
            None if self.is_zero() => Some(Rational::ZERO),
            _ => None,
        }
    }

    /// The term, where it is one.
    pub(super) fn single(&self) -> Option<(&Monomial, &Rational)> {
        if self.0.len() == 1 { self.0.first_key_value() } else { None }
    }

    pub(super) fn any_atom(&self, is: impl Fn(&Atom) -> bool) -> bool {
        self.0.keys().flatten().any(|(atom, _)| is(atom))
    }

    pub(super) fn add(&self, other: &Self) -> Option<Self> {
        let mut sum = self.0.clone();
        for (monomial, value) in &other.0 {
            add_term(&mut sum, monomial.clone(), value)?;
        }
        Some(Self(sum))
    }

    pub(super) fn scaled(&self, factor: &Rational) -> Option<Self> {
        if factor.is_zero() {
            return Some(Self::default());
        }
        let scale = |(monomial, value): (&Monomial, &Rational)| {
            Some((monomial.clone(), value.mul(factor)?))
        };
        self.0.iter().map(scale).collect::<Option<_>>().map(Self)
    }

    pub(super) fn mul(&self, other: &Self, budget: &mut Budget) -> Option<Self> {
        budget.spend(self.0.len() * other.0.len())?;
        let mut product = BTreeMap::new();
        for (a, x) in &self.0 {
            for (b, y) in &other.0 {
                let (factor, monomial) = multiplied(a, b)?;
                add_term(&mut product, monomial, &x.mul(y)?.mul(&factor)?)?;
            }
        }
        Some(Self(product))
    }

    /// A text that equal polynomials share.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (monomial, value) in &self.0 {
            let _ = write!(text, "+{value}");
            for (atom, exponent) in monomial {
                let _ = match atom {
                    Atom::Symbol(name) => write!(text, "*{name}^{exponent}"),
                    Atom::Opaque(inner) => write!(text, "*{{{inner}}}^{exponent}"),
                    other => write!(text, "*{other:?}^{exponent}"),
                };
            }
        }
        text
    }
}

fn add_term(
    sum: &mut BTreeMap<Monomial, Rational>,
    monomial: Monomial,
    value: &Rational,
) -> Option<()> {
    let there = sum.remove(&monomial).unwrap_or(Rational::ZERO).add(value)?;
    if !there.is_zero() {
        sum.insert(monomial, there);
    }
    Some(())
}

/// The product of two monomials, and the rational that comes out of it.
fn multiplied(a: &Monomial, b: &Monomial) -> Option<(Rational, Monomial)> {
    let mut exponents: BTreeMap<&Atom, Rational> = BTreeMap::new();
    for (atom, exponent) in a.iter().chain(b) {
        let sum = exponents.remove(atom).unwrap_or(Rational::ZERO).add(exponent)?;
        exponents.insert(atom, sum);
    }
    let mut factor = Rational::ONE;
    let mut monomial = Vec::with_capacity(exponents.len());
    for (atom, exponent) in exponents {
        let (out, rest) = simplified(atom, exponent)?;
        factor = factor.mul(&out)?;
        if !rest.is_zero() {
            monomial.push((atom.clone(), rest));
        }
    }
    Some((factor, monomial))
}

/// What of a power is rational, and the exponent that is left.
pub(super) fn simplified(atom: &Atom, exponent: Rational) -> Option<(Rational, Rational)> {
    match atom {
        Atom::Prime(prime) => {
            let whole = exponent.floor()?;
            let rest = exponent.add(&Rational::integer(whole).negated())?;
            Some((Rational::integer(*prime).pow(whole)?, rest))
        }
        Atom::Imaginary if exponent.is_integer() => {
            let power = exponent.floor()?.rem_euclid(4);
            let sign = if power >= 2 { -1 } else { 1 };
            Some((Rational::integer(sign), Rational::integer(power % 2)))
        }
        _ => Some((Rational::ONE, exponent)),
    }
}
