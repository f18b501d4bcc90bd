//! Running mean and variance.

use serde::{Deserialize, Serialize};

/// Added to variances before their root is taken.
pub(crate) const EPSILON: f64 = 1e-8;
/// Bound on normalised numbers.
pub(crate) const CLIP: f32 = 10.0;

/// Mean and variance of a stream of vectors, merged batch by batch (Chan et al. 1979).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunningMoments {
    count: f64,
    mean: Vec<f64>,
    variance: Vec<f64>,
}

impl RunningMoments {
    /// Nothing seen yet of vectors of `width` numbers: mean 0, variance 1, with a weight of 1e-4
    /// so that the first batch decides.
    pub fn new(width: usize) -> Self {
        Self { count: 1e-4, mean: vec![0.0; width], variance: vec![1.0; width] }
    }

    /// Takes in `[rows, width]` numbers.
    pub fn update(&mut self, rows: &[f32]) {
        let width = self.mean.len();
        let n = (rows.len() / width) as f64;
        if n == 0.0 {
            return;
        }
        let total = self.count + n;
        for j in 0..width {
            let column = || rows[j..].iter().step_by(width).map(|&x| f64::from(x));
            let mean = column().sum::<f64>() / n;
            let variance = column().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
            let delta = mean - self.mean[j];
            let squares = self.variance[j] * self.count
                + variance * n
                + delta * delta * self.count * n / total;
            self.mean[j] += delta * n / total;
            self.variance[j] = squares / total;
        }
        self.count = total;
    }

    /// Component means.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Component variances, with divisor `n`.
    pub fn variance(&self) -> &[f64] {
        &self.variance
    }

    /// Replaces each row `x` by `(x - mean) / sqrt(variance + 1e-8)`, clipped to `±10`.
    pub fn normalize(&self, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(self.mean.len()) {
            for ((x, mean), variance) in row.iter_mut().zip(&self.mean).zip(&self.variance) {
                let scaled = (f64::from(*x) - mean) / (variance + EPSILON).sqrt();
                *x = (scaled as f32).clamp(-CLIP, CLIP);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_merge_into_the_moments_of_all_rows() {
        let rows: Vec<f32> = (0..60).map(|i| ((i * 37 % 23) as f32) - 5.0).collect();
        let mut split = RunningMoments::new(2);
        for chunk in rows.chunks(14) {
            split.update(chunk);
        }
        for j in 0..2 {
            let column: Vec<f64> = rows[j..].iter().step_by(2).map(|&x| f64::from(x)).collect();
            let mean = crate::statistics::mean(&column);
            let std = crate::statistics::std(&column);
            assert!((split.mean()[j] - mean).abs() < 1e-3);
            assert!((split.variance()[j].sqrt() - std).abs() < 1e-3);
        }
    }

    #[test]
    fn normalized_rows_have_unit_moments() {
        let mut rows: Vec<f32> = (0..1000).map(|i| (i % 10) as f32 * 3.0 + 100.0).collect();
        let mut moments = RunningMoments::new(1);
        moments.update(&rows);
        moments.normalize(&mut rows);
        let values: Vec<f64> = rows.iter().map(|&x| f64::from(x)).collect();
        assert!(crate::statistics::mean(&values).abs() < 1e-3);
        assert!((crate::statistics::std(&values) - 1.0).abs() < 1e-3);
    }
}
