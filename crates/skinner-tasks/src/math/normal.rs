//! The normal form of an expression: a quotient of two polynomials, exact.

use super::number::Rational;
use super::poly::{Atom, Budget, Monomial, Poly, simplified};
use super::tree::{Constant, Expr};

/// Larger exponents of what is no number are not expanded.
const MAX_EXPONENT: i64 = 64;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fraction {
    pub(super) above: Poly,
    pub(super) below: Poly,
}

/// The normal form; nothing where the expression has none, or it would be too large.
pub(super) fn normal(expr: &Expr, budget: &mut Budget) -> Option<Fraction> {
    budget.part(|budget| fraction(expr, budget))
}

impl Fraction {
    pub(super) fn constant(value: Rational) -> Self {
        Self::whole(Poly::constant(value))
    }

    fn whole(above: Poly) -> Self {
        Self { above, below: Poly::constant(Rational::ONE) }
    }

    /// The value, where it is a rational number.
    pub(super) fn as_constant(&self) -> Option<Rational> {
        let below = self.below.as_constant()?.inverse()?;
        self.above.as_constant()?.mul(&below)
    }

    /// Whether a part of it has no normal form, so that unequal forms may be equal values.
    pub(super) fn is_opaque(&self) -> bool {
        let opaque = |atom: &Atom| matches!(atom, Atom::Opaque(_));
        self.above.any_atom(opaque) || self.below.any_atom(opaque)
    }

    pub(super) fn same(&self, other: &Self, budget: &mut Budget) -> Option<bool> {
        budget.part(|budget| {
            let left = self.above.mul(&other.below, budget)?;
            Some(left == other.above.mul(&self.below, budget)?)
        })
    }

    pub(super) fn add(&self, other: &Self, budget: &mut Budget) -> Option<Self> {
        if self.below == other.below {
            let above = self.above.add(&other.above)?;
            return Some(Self { above, below: self.below.clone() });
        }
        let left = self.above.mul(&other.below, budget)?;
        let right = other.above.mul(&self.below, budget)?;
        Some(Self { above: left.add(&right)?, below: self.below.mul(&other.below, budget)? })
    }

    pub(super) fn negated(&self) -> Option<Self> {
        let above = self.above.scaled(&Rational::integer(-1))?;
        Some(Self { above, below: self.below.clone() })
    }

    fn mul(&self, other: &Self, budget: &mut Budget) -> Option<Self> {
        let above = self.above.mul(&other.above, budget)?;
        Some(Self { above, below: self.below.mul(&other.below, budget)? })
    }

    /// `1 / self`; what is a single term stays above.
    fn inverse(&self, budget: &mut Budget) -> Option<Self> {
        if self.above.is_zero() {
            return None;
        }
        if let Some((monomial, value)) = self.above.single() {
            let turn = |(atom, exponent): &(Atom, Rational)| (atom.clone(), exponent.negated());
            let turned: Monomial = monomial.iter().map(turn).collect();
            // The product with 1 brings exponents of primes and of i into their range.
            let inverse = Poly::term(value.inverse()?, turned);
            let inverse = inverse.mul(&Poly::constant(Rational::ONE), budget)?;
            return Some(Self::whole(self.below.mul(&inverse, budget)?));
        }
        Some(Self { above: self.below.clone(), below: self.above.clone() })
    }

    /// A text that equal forms of one denominator share.
    pub(super) fn text(&self) -> String {
        match self.below.as_constant() {
            Some(Rational::ONE) => self.above.text(),
            _ => format!("({})/({})", self.above.text(), self.below.text()),
        }
    }
}

fn fraction(expr: &Expr, budget: &mut Budget) -> Option<Fraction> {
    budget.spend(1)?;
    match expr {
        Expr::Number(value, _) => Some(Fraction::constant(value.clone())),
        Expr::Symbol(name) => Some(Fraction::whole(Poly::atom(Atom::Symbol(name.clone())))),
        Expr::Constant(constant) => Some(Fraction::whole(Poly::atom(atom(*constant)))),
        Expr::Sum(terms) => {
            let mut sum = Fraction::constant(Rational::ZERO);
            for term in terms {
                sum = sum.add(&fraction(term, budget)?, budget)?;
            }
            Some(sum)
        }
        Expr::Product(factors) => {
            let mut product = Fraction::constant(Rational::ONE);
            for factor in factors {
                product = product.mul(&fraction(factor, budget)?, budget)?;
            }
            Some(product)
        }
        Expr::Quotient(above, below) => {
            let below = fraction(below, budget)?.inverse(budget)?;
            fraction(above, budget)?.mul(&below, budget)
        }
        Expr::Power(base, exponent) => power(base, exponent, budget),
        Expr::Negative(inner) => fraction(inner, budget)?.negated(),
        Expr::Percent(inner) => {
            let hundredth = Fraction::constant(Rational::Small(1, 100));
            fraction(inner, budget)?.mul(&hundredth, budget)
        }
        Expr::Quantity(inner, _) => fraction(inner, budget),
        Expr::Call(name, arguments) => call(name, arguments, budget),
        _ => None,
    }
}

const fn atom(constant: Constant) -> Atom {
    match constant {
        Constant::Pi => Atom::Pi,
        Constant::Euler => Atom::Euler,
        Constant::Imaginary => Atom::Imaginary,
        Constant::Infinity => Atom::Infinity,
    }
}

fn opaque(text: String) -> Fraction {
    Fraction::whole(Poly::atom(Atom::Opaque(text)))
}

fn call(name: &str, arguments: &[Expr], budget: &mut Budget) -> Option<Fraction> {
    if name == "exp" && arguments.len() == 1 {
        return power(&Expr::Constant(Constant::Euler), &arguments[0], budget);
    }
    let mut values = Vec::with_capacity(arguments.len());
    for argument in arguments {
        values.push(fraction(argument, budget)?);
    }
    let numbers: Option<Vec<Rational>> = values.iter().map(Fraction::as_constant).collect();
    if let Some(value) = numbers.and_then(|numbers| exact_call(name, &numbers)) {
        return Some(Fraction::constant(value));
    }
    let texts: Vec<String> = values.iter().map(Fraction::text).collect();
    Some(opaque(format!("{name}({})", texts.join(", "))))
}

/// Functions of rational numbers that have rational values.
fn exact_call(name: &str, numbers: &[Rational]) -> Option<Rational> {
    let counted = |value: &Rational| value.as_integer().filter(|n| (0..=1000).contains(n));
    match (name, numbers) {
        ("abs", [x]) => Some(if x.is_negative() { x.negated() } else { x.clone() }),
        ("floor", [x]) => x.floor().map(Rational::integer),
        ("ceil", [x]) => x.negated().floor().map(|floor| Rational::integer(-floor)),
        ("factorial", [n]) => product((1..=counted(n)?).map(Some)),
        ("binom", [n, k]) => {
            let (n, k) = (counted(n)?, counted(k)?);
            if k > n {
                return Some(Rational::ZERO);
            }
            let k = k.min(n - k);
            product((n - k + 1..=n).map(Some))?.mul(&product((1..=k).map(Some))?.inverse()?)
        }
        _ => None,
    }
}

fn product(factors: impl Iterator<Item = Option<i64>>) -> Option<Rational> {
    let mut product = Rational::ONE;
    for factor in factors {
        product = product.mul(&Rational::integer(factor?))?;
    }
    Some(product)
}

fn power(base: &Expr, exponent: &Expr, budget: &mut Budget) -> Option<Fraction> {
    let base = fraction(base, budget)?;
    let exponent = fraction(exponent, budget)?;
    let Some(value) = exponent.as_constant() else {
        return Some(opaque(format!("({})^({})", base.text(), exponent.text())));
    };
    if let Some(whole) = value.as_integer() {
        return whole_power(&base, whole, budget);
    }
    match root(&base, &value, budget) {
        Some(root) => Some(root),
        None => Some(opaque(format!("({})^({value})", base.text()))),
    }
}

fn whole_power(base: &Fraction, exponent: i64, budget: &mut Budget) -> Option<Fraction> {
    if let Some(value) = base.as_constant() {
        return value.pow(exponent).map(Fraction::constant);
    }
    if exponent < 0 {
        return whole_power(&base.inverse(budget)?, exponent.checked_neg()?, budget);
    }
    if let (Some((monomial, value)), Some(Rational::ONE)) =
        (base.above.single(), base.below.as_constant())
    {
        let count = Rational::integer(exponent);
        let raise = |(atom, old): &(Atom, Rational)| Some((atom.clone(), old.mul(&count)?));
        let raised = monomial.iter().map(raise).collect::<Option<Vec<_>>>()?;
        return single_term(value.pow(exponent)?, raised, budget);
    }
    if exponent > MAX_EXPONENT {
        return None;
    }
    let mut power = Fraction::constant(Rational::ONE);
    for _ in 0..exponent {
        power = power.mul(base, budget)?;
    }
    Some(power)
}

/// A single term to a power that is not whole: each of its factors is raised.
fn root(base: &Fraction, exponent: &Rational, budget: &mut Budget) -> Option<Fraction> {
    let (numerator, denominator) = exponent.parts()?;
    if base.above.is_zero() {
        return (numerator > 0).then(|| Fraction::constant(Rational::ZERO));
    }
    base.below.as_constant().filter(|below| *below == Rational::ONE)?;
    let (monomial, coefficient) = base.above.single()?;
    let (above, below) = coefficient.parts()?;
    let mut raised = Vec::new();
    if above < 0 {
        match denominator {
            2 => raised.push((Atom::Imaginary, Rational::integer(numerator))),
            odd if odd % 2 == 1 => raised.push((Atom::Imaginary, Rational::integer(numerator * 2))),
            _ => return None,
        }
    }
    for (part, sign) in [(above.checked_abs()?, 1), (below, -1)] {
        for (prime, count) in primes(part)? {
            let count = Rational::integer(count * sign);
            raised.push((Atom::Prime(prime), count.mul(exponent)?));
        }
    }
    for (atom, count) in monomial {
        // The square root of x² is |x|.
        let even = count.as_integer().is_some_and(|count| count % 2 == 0);
        if matches!(atom, Atom::Infinity | Atom::Imaginary)
            || even && denominator % 2 == 0 && !matches!(atom, Atom::Pi | Atom::Euler)
        {
            return None;
        }
        raised.push((atom.clone(), count.mul(exponent)?));
    }
    single_term(Rational::ONE, raised, budget)
}

/// A coefficient times powers, each in its simplest form.
fn single_term(coefficient: Rational, powers: Monomial, budget: &mut Budget) -> Option<Fraction> {
    let mut result = Poly::constant(coefficient);
    for (atom, count) in powers {
        let (factor, rest) = simplified(&atom, count)?;
        let monomial = if rest.is_zero() { Vec::new() } else { vec![(atom, rest)] };
        result = result.mul(&Poly::term(factor, monomial), budget)?;
    }
    Some(Fraction::whole(result))
}

/// The prime factors of a positive number and their counts; nothing where they are too large.
fn primes(mut number: i64) -> Option<Vec<(i64, i64)>> {
    const LARGEST: i64 = 1 << 16;
    let mut found = Vec::new();
    let mut divisor = 2;
    while divisor <= LARGEST && divisor * divisor <= number {
        let mut count = 0;
        while number % divisor == 0 {
            number /= divisor;
            count += 1;
        }
        if count > 0 {
            found.push((divisor, count));
        }
        divisor += if divisor == 2 { 1 } else { 2 };
    }
    if number >= LARGEST * LARGEST {
        return None;
    }
    if number > 1 {
        found.push((number, 1));
    }
    Some(found)
}
