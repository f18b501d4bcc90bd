//! Statistics of runs: what to report of several seeds (Agarwal et al. 2021, *Deep Reinforcement
//! Learning at the Edge of the Statistical Precipice*), and of texts.

mod ngrams;

pub use ngrams::{distinct_ngrams, most_common_share, repeated_ngrams};

use crate::Rng;

/// Arithmetic mean; NaN for no values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Standard deviation with divisor `n` (NumPy's default); NaN for no values.
pub fn std(values: &[f64]) -> f64 {
    let centre = mean(values);
    (values.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

/// Interquartile mean: the mean of the middle half, what remains after a quarter (rounded down) of
/// the values is cut off at each end (`scipy.stats.trim_mean(x, 0.25)`); NaN for no values.
pub fn iqm(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let cut = sorted.len() / 4;
    mean(&sorted[cut..sorted.len() - cut])
}

/// The probability that at least one of `k` samples is correct, estimated without bias from `n` samples of which
/// `correct` were: `1 - C(n - correct, k) / C(n, k)` (Chen et al. 2021, eq. 1). `k` is at most `n`.
pub fn pass_at_k(n: usize, correct: usize, k: usize) -> f64 {
    assert!(k <= n && correct <= n, "k = {k} and correct = {correct} are at most n = {n}");
    if n - correct < k {
        return 1.0;
    }
    1.0 - (n - correct + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>()
}

/// The `q`-quantile (0 to 1) by linear interpolation (NumPy's default); NaN for no values.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let position = q.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

/// A confidence interval by the stratified percentile bootstrap: runs are drawn with replacement
/// within each stratum (task), never across, and `statistic` sees all drawn values at once.
///
/// `strata` holds the runs of each task; `level` is for example 0.95; the draws come from `rng`.
/// Returns `(low, high)`.
pub fn bootstrap_interval(
    strata: &[&[f64]],
    statistic: impl Fn(&[f64]) -> f64,
    level: f64,
    resamples: usize,
    rng: &mut Rng,
) -> (f64, f64) {
    let mut drawn = Vec::with_capacity(strata.iter().map(|s| s.len()).sum());
    let estimates: Vec<f64> = (0..resamples)
        .map(|_| {
            drawn.clear();
            for runs in strata {
                drawn.extend(runs.iter().map(|_| runs[rng.below(runs.len())]));
            }
            statistic(&drawn)
        })
        .collect();
    let tail = (1.0 - level) / 2.0;
    (quantile(&estimates, tail), quantile(&estimates, 1.0 - tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: the formula, in double precision.
    #[test]
    fn pass_at_k_by_hand() {
        for (n, correct, k, expected) in [
            (10, 3, 1, 0.3),
            (10, 3, 5, 0.916_666_666_666_666_6),
            (16, 1, 8, 0.5),
            (4, 4, 2, 1.0),
            (4, 0, 2, 0.0),
        ] {
            assert!((pass_at_k(n, correct, k) - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn worked_numbers() {
        let values = [4.0, 1.0, 3.0, 2.0, 100.0];
        assert_eq!(mean(&values), 22.0);
        assert_eq!(std(&[1.0, 3.0]), 1.0);
        // One of five is cut at each end.
        assert_eq!(iqm(&values), 3.0);
        assert_eq!([0.0, 0.5, 0.625, 1.0].map(|q| quantile(&values, q)), [1.0, 3.0, 3.5, 100.0]);
        assert!(quantile(&[], 0.5).is_nan());
    }

    /// The mean of n normals has deviation 1/√n; the interval covers it about as often as it says.
    #[test]
    fn intervals_cover_the_truth() {
        let mut rng = Rng::new(4);
        let covered = (0..200)
            .filter(|_| {
                let (a, b): (Vec<f64>, Vec<f64>) =
                    (0..30).map(|_| (rng.normal(), rng.normal() + 9.0)).unzip();
                let (low, high) = bootstrap_interval(&[&a, &b], mean, 0.95, 300, &mut Rng::new(1));
                assert!(high - low < 1.0, "strata are not mixed");
                (low..=high).contains(&4.5)
            })
            .count();
        assert!((175..=200).contains(&covered), "{covered} of 200");
    }
}
