use super::HALF_LN_TWO_PI;
use crate::{Rng, real::Real};

/// Independent normals a row: `mean` `[batch, dim]` and a standard deviation for each component, either
/// one row shared by the batch (`[dim]`) or one a row (`[batch, dim]`).
#[derive(Clone, Debug)]
pub struct Gaussian<'a, F> {
    mean: &'a [F],
    log_std: Vec<F>,
    dim: usize,
}

/// Gradients in the parameters of a [`Gaussian`].
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianGradient<F> {
    /// `[batch, dim]`
    pub mean: Vec<F>,
    /// `[batch, dim]`; a shared standard deviation's gradient is the sum over rows.
    pub log_std: Vec<F>,
}

impl<F: Real> GaussianGradient<F> {
    /// Gradient in a `log_std` `[dim]` that all rows share.
    pub fn shared_log_std(&self, dim: usize) -> Vec<F> {
        let mut sum = vec![F::ZERO; dim];
        for row in self.log_std.chunks_exact(dim) {
            sum.iter_mut().zip(row).for_each(|(s, &d)| *s += d);
        }
        sum
    }
}

impl<'a, F: Real> Gaussian<'a, F> {
    /// Normals with `mean` `[batch, dim]` and `log_std` `[dim]` or `[batch, dim]`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn new(mean: &'a [F], log_std: &[F], dim: usize) -> Self {
        assert!(dim > 0 && mean.len().is_multiple_of(dim), "mean is [batch, {dim}]");
        assert!(log_std.len() == dim || log_std.len() == mean.len(), "log_std is [dim] or as mean");
        Self { mean, log_std: log_std.to_vec(), dim }
    }

    #[inline]
    fn log_std(&self, i: usize) -> F {
        self.log_std[i % self.log_std.len()]
    }

    /// Mean of every row.
    pub fn mode(&self) -> Vec<F> {
        self.mean.to_vec()
    }

    /// A draw for every row: `[batch, dim]`.
    pub fn sample(&self, rng: &mut Rng) -> Vec<F> {
        (0..self.mean.len())
            .map(|i| self.mean[i] + self.log_std(i).exp() * F::of(rng.normal()))
            .collect()
    }

    /// Log-density of `actions` `[batch, dim]`: one number a row.
    pub fn log_prob(&self, actions: &[F]) -> Vec<F> {
        assert_eq!(actions.len(), self.mean.len(), "actions are [batch, {}]", self.dim);
        self.sum_rows(|i| {
            let z = (actions[i] - self.mean[i]) / self.log_std(i).exp();
            -F::of(0.5) * z * z - self.log_std(i) - F::of(HALF_LN_TWO_PI)
        })
    }

    /// Entropy in nats, `Σ ½ + ½ ln 2π + ln σ`: one number a row.
    pub fn entropy(&self) -> Vec<F> {
        self.sum_rows(|i| F::of(0.5 + HALF_LN_TWO_PI) + self.log_std(i))
    }

    fn sum_rows(&self, each: impl Fn(usize) -> F) -> Vec<F> {
        let rows = self.mean.len() / self.dim;
        (0..rows).map(|row| (row * self.dim..(row + 1) * self.dim).map(&each).sum()).collect()
    }

    /// Gradients in mean and log-std, from those in log-probabilities and entropies:
    /// `∂ log p/∂μ = (a-μ)/σ²`, `∂ log p/∂ ln σ = ((a-μ)/σ)² - 1`, `∂H/∂ ln σ = 1`.
    pub fn backward(
        &self,
        actions: &[F],
        d_log_prob: &[F],
        d_entropy: &[F],
    ) -> GaussianGradient<F> {
        let mut mean = vec![F::ZERO; self.mean.len()];
        let mut log_std = vec![F::ZERO; self.mean.len()];
        for i in 0..self.mean.len() {
            let row = i / self.dim;
            let std = self.log_std(i).exp();
            let z = (actions[i] - self.mean[i]) / std;
            mean[i] = d_log_prob[row] * z / std;
            log_std[i] = d_log_prob[row] * (z * z - F::ONE) + d_entropy[row];
        }
        GaussianGradient { mean, log_std }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite_difference::check_gradient;

    const ACTIONS: [f64; 6] = [0.4, -0.3, 1.5, 0.2, -2.0, 0.9];
    const WEIGHT: [f64; 3] = [0.7, -1.3, 0.2];
    const BONUS: [f64; 3] = [0.4, 0.9, -0.5];

    #[test]
    fn worked_numbers() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
        let dist = Gaussian::new(&[1.0, 0.0], &[2.0f64.ln(), 0.0], 2);
        let half_ln_two_pi = 0.5 * (2.0 * std::f64::consts::PI).ln();
        close(dist.log_prob(&[3.0, 0.0])[0], -0.5 - 2.0f64.ln() - 2.0 * half_ln_two_pi);
        close(dist.entropy()[0], 1.0 + 2.0 * half_ln_two_pi + 2.0f64.ln());
    }

    #[test]
    fn gradients_by_difference_with_shared_and_own_deviations() {
        let weighted = |dist: &Gaussian<'_, f64>| -> f64 {
            let (log_prob, entropy) = (dist.log_prob(&ACTIONS), dist.entropy());
            (0..3).map(|i| WEIGHT[i] * log_prob[i] + BONUS[i] * entropy[i]).sum()
        };
        let shared = [0.1, -0.2, 0.3, 0.0, 0.4, -0.6, -0.3, 0.5];
        check_gradient(&shared, |x, d| {
            let dist = Gaussian::new(&x[..6], &x[6..], 2);
            let gradient = dist.backward(&ACTIONS, &WEIGHT, &BONUS);
            d[..6].copy_from_slice(&gradient.mean);
            d[6..].copy_from_slice(&gradient.shared_log_std(2));
            weighted(&dist)
        });
        let own = [0.1, -0.2, 0.3, 0.0, 0.4, -0.6, -0.3, 0.5, 0.2, 0.1, -0.8, 0.0];
        check_gradient(&own, |x, d| {
            let dist = Gaussian::new(&x[..6], &x[6..], 2);
            let gradient = dist.backward(&ACTIONS, &WEIGHT, &BONUS);
            d[..6].copy_from_slice(&gradient.mean);
            d[6..].copy_from_slice(&gradient.log_std);
            weighted(&dist)
        });
    }

    #[test]
    fn samples_have_the_moments() {
        let dist = Gaussian::new(&[1.5f64], &[0.7f64.ln()], 1);
        let mut rng = Rng::new(5);
        let draws: Vec<f64> = (0..20_000).map(|_| dist.sample(&mut rng)[0]).collect();
        assert!((crate::statistics::mean(&draws) - 1.5).abs() < 0.02);
        assert!((crate::statistics::std(&draws) - 0.7).abs() < 0.02);
    }
}
