//! Exact rationals: machine words where they suffice, big integers where they do not.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Pow, Signed, ToPrimitive, Zero};

/// Parts of a rational have at most this many bits; what would be larger is not computed.
pub(super) const MAX_BITS: u64 = 4096;
/// Parts of a small rational stay below this, so that products of two fit an `i128`.
const SMALL: i128 = 1 << 62;

/// A rational number in lowest terms. Each has one representation: `Small` where both parts fit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rational {
    Small(i64, i64),
    Big(Box<BigRational>),
}

impl Rational {
    pub(super) const ZERO: Self = Self::Small(0, 1);
    pub(super) const ONE: Self = Self::Small(1, 1);

    pub(super) const fn integer(value: i64) -> Self {
        Self::Small(value, 1)
    }

    /// `numerator / denominator`; nothing where the denominator is 0.
    #[cfg(test)]
    fn ratio(numerator: i64, denominator: i64) -> Option<Self> {
        Self::reduced(i128::from(numerator), i128::from(denominator))
    }

    /// A decimal: its digits as one integer, divided by ten to the `decimals`.
    pub(super) fn decimal(digits: &str, decimals: u32) -> Option<Self> {
        if digits.len() <= 17 && decimals <= 17 {
            return Self::reduced(digits.parse().ok()?, 10_i128.pow(decimals));
        }
        if digits.len() as u64 * 3 > MAX_BITS {
            return None;
        }
        let numerator: BigInt = digits.parse().ok()?;
        Self::bounded(BigRational::new(numerator, Pow::pow(BigInt::from(10), decimals)))
    }

    fn reduced(numerator: i128, denominator: i128) -> Option<Self> {
        if denominator == 0 {
            return None;
        }
        let divisor = if denominator == 1 { 1 } else { numerator.gcd(&denominator) };
        let sign = denominator.signum();
        let (n, d) = (numerator / divisor * sign, denominator / divisor * sign);
        if n.abs() < SMALL && d < SMALL {
            return Some(Self::Small(n as i64, d as i64));
        }
        Some(Self::Big(Box::new(BigRational::new_raw(n.into(), d.into()))))
    }

    fn bounded(value: BigRational) -> Option<Self> {
        if value.numer().bits() > MAX_BITS || value.denom().bits() > MAX_BITS {
            return None;
        }
        let small = |x: &BigInt| x.to_i64().filter(|x| i128::from(*x).abs() < SMALL);
        Some(match (small(value.numer()), small(value.denom())) {
            (Some(n), Some(d)) => Self::Small(n, d),
            _ => Self::Big(Box::new(value)),
        })
    }

    fn big(&self) -> BigRational {
        match self {
            Self::Small(n, d) => BigRational::new_raw((*n).into(), (*d).into()),
            Self::Big(value) => (**value).clone(),
        }
    }

    /// Numerator and denominator, where both are small.
    pub(super) const fn parts(&self) -> Option<(i64, i64)> {
        match self {
            Self::Small(n, d) => Some((*n, *d)),
            Self::Big(_) => None,
        }
    }

    /// The value, where it is a small integer.
    pub(super) const fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Small(n, 1) => Some(*n),
            _ => None,
        }
    }

    pub(super) fn is_integer(&self) -> bool {
        match self {
            Self::Small(_, d) => *d == 1,
            Self::Big(value) => value.is_integer(),
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    pub(super) fn is_negative(&self) -> bool {
        match self {
            Self::Small(n, _) => *n < 0,
            Self::Big(value) => value.is_negative(),
        }
    }

    /// Whether its decimal expansion ends.
    pub(super) fn terminates(&self) -> bool {
        let mut denominator = match self {
            Self::Small(_, d) => BigInt::from(*d),
            Self::Big(value) => value.denom().clone(),
        };
        for prime in [2, 5] {
            let prime = BigInt::from(prime);
            while (&denominator % &prime).is_zero() {
                denominator /= &prime;
            }
        }
        denominator.is_one()
    }

    pub(super) fn add(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Small(a, b), Self::Small(c, d)) => {
                let [a, b, c, d] = [*a, *b, *c, *d].map(i128::from);
                Self::reduced(a * d + c * b, b * d)
            }
            _ => Self::bounded(self.big() + other.big()),
        }
    }

    pub(super) fn mul(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Small(a, b), Self::Small(c, d)) => {
                let [a, b, c, d] = [*a, *b, *c, *d].map(i128::from);
                Self::reduced(a * c, b * d)
            }
            _ => Self::bounded(self.big() * other.big()),
        }
    }

    pub(super) fn negated(&self) -> Self {
        match self {
            Self::Small(n, d) => Self::Small(-n, *d),
            Self::Big(value) => Self::Big(Box::new(-(**value).clone())),
        }
    }

    /// `1 / self`; nothing for 0.
    pub(super) fn inverse(&self) -> Option<Self> {
        match self {
            Self::Small(n, d) => Self::reduced(i128::from(*d), i128::from(*n)),
            Self::Big(value) => Self::bounded(value.recip()),
        }
    }

    /// `self` to a power; nothing where that would be too large, or is 0 to a negative power.
    pub(super) fn pow(&self, exponent: i64) -> Option<Self> {
        if exponent < 0 {
            return self.inverse()?.pow(exponent.checked_neg()?);
        }
        if matches!(self, Self::Small(-1..=1, 1)) {
            let odd = exponent % 2 == 1;
            let one = if odd { self.clone() } else { self.mul(self)? };
            return Some(if exponent == 0 { Self::ONE } else { one });
        }
        let base = self.big();
        let bits = base.numer().bits().max(base.denom().bits());
        if bits.checked_mul(exponent as u64)? > 2 * MAX_BITS {
            return None;
        }
        Self::bounded(Pow::pow(base, exponent as u32))
    }

    /// The largest integer that is not above it, where that is small.
    pub(super) fn floor(&self) -> Option<i64> {
        match self {
            Self::Small(n, d) => Some(n.div_euclid(*d)),
            Self::Big(value) => value.floor().to_integer().to_i64(),
        }
    }

    pub(super) fn to_f64(&self) -> f64 {
        match self {
            Self::Small(n, d) => *n as f64 / *d as f64,
            Self::Big(value) => value.to_f64().unwrap_or(f64::NAN),
        }
    }
}

impl std::fmt::Display for Rational {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Small(n, 1) => write!(out, "{n}"),
            Self::Small(n, d) => write!(out, "{n}/{d}"),
            Self::Big(value) => write!(out, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(numerator: i64, denominator: i64) -> Rational {
        Rational::ratio(numerator, denominator).expect("a denominator that is not 0")
    }

    #[test]
    fn arithmetic_by_hand() {
        assert_eq!(ratio(2, -4), ratio(-1, 2));
        assert_eq!(ratio(1, 3).add(&ratio(1, 6)), Some(ratio(1, 2)));
        assert_eq!(ratio(2, 3).mul(&ratio(9, 4)), Some(ratio(3, 2)));
        assert_eq!(ratio(2, 3).pow(-2), Some(ratio(9, 4)));
        assert_eq!(Rational::decimal("12345", 2), Some(ratio(2469, 20)));
        assert_eq!(Rational::ZERO.inverse(), None);
        assert_eq!(ratio(-7, 2).floor(), Some(-4));
    }

    #[test]
    fn large_values_come_back_small() {
        let large = Rational::integer(10).pow(40).expect("133 bits");
        assert!(matches!(large, Rational::Big(_)));
        let one = large.mul(&large.inverse().expect("not 0"));
        assert_eq!(one, Some(Rational::ONE));
        assert_eq!(large.add(&large.negated()), Some(Rational::ZERO));
    }

    #[test]
    fn what_is_too_large_is_nothing() {
        assert_eq!(Rational::integer(9).pow(387_420_489), None);
        assert_eq!(Rational::integer(2).pow(i64::MIN), None);
        assert_eq!(Rational::integer(-1).pow(i64::MAX), Some(Rational::integer(-1)));
        assert_eq!(Rational::decimal(&"9".repeat(100_000), 0), None);
    }

    #[test]
    fn decimal_expansions() {
        for (value, ends) in [(ratio(1, 8), true), (ratio(7, 50), true), (ratio(1, 3), false)] {
            assert_eq!(value.terminates(), ends, "{value}");
        }
    }
}
