//! Estimates of the divergence from a reference model, from log-probabilities of sampled tokens.

use serde::{Deserialize, Serialize};

use crate::real::Real;

/// Schulman's estimators of `KL(π ‖ ref)` from a token that `π` drew (Schulman 2020). With
/// `x = log π - log ref`:
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlEstimator {
    /// `x`: unbiased, may be negative. As a loss its gradient says nothing (it is 0 on average); it
    /// belongs in the reward.
    K1,
    /// `x² / 2`: as a loss, its gradient is that of the divergence.
    K2,
    /// `e^(-x) + x - 1`: unbiased and never negative. As a loss, its gradient is that of
    /// `KL(ref ‖ π)` unless it is multiplied by the ratio.
    #[default]
    K3,
}

impl KlEstimator {
    /// The estimate and its derivative in `log_prob`.
    pub fn estimate<F: Real>(self, log_prob: F, ref_log_prob: F) -> (F, F) {
        let x = log_prob - ref_log_prob;
        match self {
            Self::K1 => (x, F::ONE),
            Self::K2 => (F::of(0.5) * x * x, x),
            Self::K3 => {
                let inverse = (-x).exp();
                (inverse + x - F::ONE, F::ONE - inverse)
            }
        }
    }
}

/// A KL coefficient that follows its target (Ziegler et al. 2019, section 2.2): after a batch of
/// `samples` with divergence `kl`, `β ← β (1 + clip(kl / target - 1, ±0.2) samples / horizon)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptiveKl {
    /// Nats of a whole completion that are wanted.
    pub target: f64,
    /// Samples in which the coefficient may move by a fifth.
    pub horizon: f64,
}

impl AdaptiveKl {
    /// The next coefficient.
    pub fn next(&self, beta: f64, kl: f64, samples: usize) -> f64 {
        let error = (kl / self.target - 1.0).clamp(-0.2, 0.2);
        beta * (1.0 + error * samples as f64 / self.horizon)
    }
}

/// `KL` of the best of `n` samples from their policy, at most: `ln n - (n - 1) / n` (Stiennon et al.
/// 2020, appendix G.3).
pub fn best_of_n_kl(n: usize) -> f64 {
    let n = n as f64;
    n.ln() - (n - 1.0) / n
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite_difference::check_gradient;

    /// Source: Schulman's formulas; computed in double precision.
    #[test]
    fn estimators_by_hand_and_difference() {
        for (log_prob, reference, k) in [
            (-1.0, -1.0, [0.0, 0.0, 0.0]),
            (-1.0, -0.9, [-0.1, 0.005, 0.005_170_918_075_647_624]),
            (-0.5, -2.0, [1.5, 1.125, 0.723_130_160_148_429_9]),
            (-2.0, -0.5, [-1.5, 1.125, 1.981_689_070_338_064_5]),
            (-0.1, -12.0, [11.9, 70.805, 10.900_006_790_404_808]),
        ] {
            for (estimator, expected) in
                [KlEstimator::K1, KlEstimator::K2, KlEstimator::K3].into_iter().zip(k)
            {
                let (value, _) = estimator.estimate::<f64>(log_prob, reference);
                assert!((value - expected).abs() < 1e-9, "{estimator:?}: {value}");
                check_gradient(&[log_prob], |x, d| {
                    let (value, slope) = estimator.estimate(x[0], reference);
                    d[0] += slope;
                    value
                });
            }
        }
    }

    /// Source: Ziegler et al.'s controller with TRL's numbers.
    #[test]
    fn the_coefficient_follows_its_target() {
        let adaptive = AdaptiveKl { target: 6.0, horizon: 10_000.0 };
        let mut beta = 0.2;
        for (kl, expected) in [(3.0, 0.198_976), (9.0, 0.199_994_757_12), (6.0, 0.199_994_757_12)] {
            beta = adaptive.next(beta, kl, 256);
            assert!((beta - expected).abs() < 1e-12, "{beta}");
        }
    }

    #[test]
    fn best_of_n() {
        for (n, expected) in [(1, 0.0), (2, 0.193_147_180_559_945_3), (16, 1.835_088_722_239_781_1)]
        {
            assert!((best_of_n_kl(n) - expected).abs() < 1e-12);
        }
    }
}
