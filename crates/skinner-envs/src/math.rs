//! Sine and cosine that a processor can overlap from one environment to the next: straight-line code
//! without tables, within two units in the last place (or 1e-19) of the standard library's.

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2, FRAC_PI_4};

/// Largest angle that [`sin_cos`] reduces itself.
const LARGEST: f64 = 100_000.0;

/// Sine and cosine of an angle that is mostly within ±π/4: Taylor polynomials (to x¹⁷ and x¹⁶) there,
/// the standard library elsewhere.
#[inline]
pub(crate) fn sin_cos_near_zero(x: f64) -> (f64, f64) {
    if x.abs() <= FRAC_PI_4 { polynomials(x) } else { standard(x) }
}

/// Sine and cosine of any angle: the nearest multiple of π/2 is subtracted in two parts (Cody and
/// Waite), and the polynomials do the rest.
#[inline]
pub(crate) fn sin_cos(x: f64) -> (f64, f64) {
    // π/2 in a part of 33 bits, whose small multiples are exact, and what is left of it.
    const HIGH: f64 = f64::from_bits(FRAC_PI_2.to_bits() & !0xf_ffff);
    const LOW: f64 = (FRAC_PI_2 - HIGH) + 6.123_233_995_736_766e-17;
    // Added to a number of moderate size this leaves the nearest integer in the last bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    if x.abs() <= LARGEST {
        let shifted = x * FRAC_2_PI + ROUND;
        let (quarter, multiple) = (shifted.to_bits(), shifted - ROUND);
        let (sin, cos) = polynomials((x - multiple * HIGH) - multiple * LOW);
        let (sin, cos) = if quarter & 1 == 0 { (sin, cos) } else { (cos, sin) };
        let sin_sign = (quarter & 2) << 62;
        let cos_sign = (quarter.wrapping_add(1) & 2) << 62;
        (f64::from_bits(sin.to_bits() ^ sin_sign), f64::from_bits(cos.to_bits() ^ cos_sign))
    } else {
        standard(x)
    }
}

#[cold]
#[inline(never)]
fn standard(x: f64) -> (f64, f64) {
    x.sin_cos()
}

#[inline]
fn polynomials(x: f64) -> (f64, f64) {
    const F: [f64; 18] = inverse_factorials();
    let z = x * x;
    let z2 = z * z;
    let z4 = z2 * z2;
    let sin_tail = (z * F[5] - F[3])
        + z2 * (z * F[9] - F[7])
        + z4 * ((z * F[13] - F[11]) + z2 * (z * F[17] - F[15]));
    let cos_tail =
        (F[4] - z * F[6]) + z2 * (F[8] - z * F[10]) + z4 * ((F[12] - z * F[14]) + z2 * F[16]);
    let half = 0.5 * z;
    let one_minus_half = 1.0 - half;
    let rounding = (1.0 - one_minus_half) - half;
    (x + x * z * sin_tail, one_minus_half + (rounding + z2 * cos_tail))
}

const fn inverse_factorials() -> [f64; 18] {
    let mut values = [1.0; 18];
    let mut factorial = 1.0;
    let mut n = 1;
    while n < 18 {
        factorial *= n as f64;
        values[n] = 1.0 / factorial;
        n += 1;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ulps(a: f64, b: f64) -> u64 {
        a.to_bits().abs_diff(b.to_bits())
    }

    fn check(sin_cos: fn(f64) -> (f64, f64), x: f64, allowed: u64) {
        let (sin, cos) = sin_cos(x);
        for (found, expected) in [(sin, x.sin()), (cos, x.cos())] {
            let close = ulps(found, expected) <= allowed || (found - expected).abs() < 1e-19;
            assert!(close, "{found}, not {expected}, at {x}");
        }
    }

    #[test]
    fn small_angles_agree_to_one_ulp() {
        let count = 200_000;
        for i in -count..=count {
            check(sin_cos_near_zero, FRAC_PI_4 * f64::from(i) / f64::from(count), 1);
        }
    }

    #[test]
    fn all_angles_agree_to_two_ulps() {
        let count = 200_000;
        for i in -count..=count {
            check(sin_cos, 100.0 * f64::from(i) / f64::from(count), 2);
            check(sin_cos, FRAC_PI_2 * f64::from(i), 2);
        }
        for x in [0.0, 1e-300, -1e-20, 3e-9, 0.8, -2.5, 99_999.0, 1e5, -1e12] {
            check(sin_cos, x, 2);
            check(sin_cos_near_zero, x, 1);
        }
        assert!(sin_cos(f64::INFINITY).0.is_nan() && sin_cos(f64::NAN).1.is_nan());
    }
}
