//! Step sizes that fall with visits.

/// Bits of a count that matter.
const BITS: u32 = 12;

/// `α / n^ω` for counts `n`, from a small table: beyond 4,096 visits the count is rounded down to its first
/// twelve bits, so the step size is right to one part in two thousand.
#[derive(Clone, Debug)]
pub(crate) struct StepSize {
    small: Vec<f64>,
    /// `2^(-ω k)`.
    halvings: Vec<f64>,
}

impl StepSize {
    pub fn new(learning_rate: f64, decay: f64) -> Self {
        let of = |n: u32| learning_rate / f64::from(n.max(1)).powf(decay);
        let halvings = (0..=32 - BITS).map(|k| (-decay * f64::from(k)).exp2());
        Self { small: (0..1 << BITS).map(of).collect(), halvings: halvings.collect() }
    }

    /// The step size of the `n`th update, from 1.
    #[inline]
    pub fn at(&self, n: u32) -> f64 {
        let shift = (32 - BITS).saturating_sub(n.leading_zeros());
        self.small[(n >> shift) as usize] * self.halvings[shift as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_power_law() {
        let check = |learning_rate, decay| {
            let size = StepSize::new(learning_rate, decay);
            for n in [1, 2, 100, 4095, 4096, 5000, 1_234_567, u32::MAX] {
                let expected = learning_rate / f64::from(n).powf(decay);
                assert!((size.at(n) / expected - 1.0).abs() < 5e-4, "{n}: {}", size.at(n));
            }
        };
        check(0.1, 0.0);
        check(1.0, 1.0);
        check(0.5, 0.65);
    }
}
