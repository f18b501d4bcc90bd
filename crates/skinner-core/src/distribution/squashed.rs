use super::{HALF_LN_TWO_PI, gaussian::GaussianGradient};
use crate::{Rng, distribution::Gaussian, real::Real};

/// A normal squashed through `tanh` into `(-1, 1)` (Haarnoja et al. 2018, appendix C).
///
/// Actions are handled *before* the squashing (`u`, with `a = tanh u`): nothing is lost to rounding
/// near ±1. [`squash`](Self::squash) gives what the environment receives.
#[derive(Clone, Debug)]
pub struct SquashedGaussian<'a, F> {
    normal: Gaussian<'a, F>,
    mean: &'a [F],
    log_std: Vec<F>,
    dim: usize,
}

/// Nodes of the trapezoid rule over ±8 standard deviations that gives the entropy; it converges
/// faster than any power of the step for smooth integrands.
const NODES: i32 = 32;
const NODE_STEP: f64 = 0.25;

impl<'a, F: Real> SquashedGaussian<'a, F> {
    /// The distribution of `tanh(u)` for `u` normal with `mean` `[batch, dim]` and `log_std` `[dim]` or
    /// `[batch, dim]`.
    pub fn new(mean: &'a [F], log_std: &[F], dim: usize) -> Self {
        let normal = Gaussian::new(mean, log_std, dim);
        Self { normal, mean, log_std: log_std.to_vec(), dim }
    }

    fn log_std(&self, i: usize) -> F {
        self.log_std[i % self.log_std.len()]
    }

    /// What the environment receives for `u`.
    pub fn squash(u: &[F]) -> Vec<F> {
        u.iter().map(|x| x.tanh()).collect()
    }

    /// The `u` of the median action, `mean`.
    pub fn mode(&self) -> Vec<F> {
        self.normal.mode()
    }

    /// A draw of `u` for every row: `[batch, dim]`.
    pub fn sample(&self, rng: &mut Rng) -> Vec<F> {
        self.normal.sample(rng)
    }

    /// Log-density of `tanh(u)`, `log N(u) - Σ ln(1 - tanh² u)`: one number a row.
    pub fn log_prob(&self, u: &[F]) -> Vec<F> {
        let rows = self.normal.log_prob(u).into_iter().zip(u.chunks_exact(self.dim));
        rows.map(|(normal, u)| normal - u.iter().map(|&x| log_slope(x)).sum::<F>()).collect()
    }

    /// Entropy in nats, that of the normal plus `E[Σ ln(1 - tanh² u)]`, by quadrature: one number a row.
    pub fn entropy(&self) -> Vec<F> {
        let mut entropy = self.normal.entropy();
        for i in 0..self.mean.len() {
            let std = self.log_std(i).exp();
            entropy[i / self.dim] += expectation(|noise| log_slope(self.mean[i] + std * noise));
        }
        entropy
    }

    /// Gradients in mean and log-std, from those in log-probabilities and entropies. The squashing term
    /// of the log-density does not depend on the parameters for a given `u`.
    pub fn backward(&self, u: &[F], d_log_prob: &[F], d_entropy: &[F]) -> GaussianGradient<F> {
        let mut gradient = self.normal.backward(u, d_log_prob, d_entropy);
        for i in 0..self.mean.len() {
            let d = d_entropy[i / self.dim];
            let std = self.log_std(i).exp();
            // d ln(1 - tanh² u)/du = -2 tanh u
            let slope = |noise: F| -F::of(2.0) * (self.mean[i] + std * noise).tanh();
            gradient.mean[i] += d * expectation(slope);
            gradient.log_std[i] += d * expectation(|noise| slope(noise) * std * noise);
        }
        gradient
    }

    /// Gradients in mean and log-std of `Σ d_action · tanh(u) + Σ d_log_prob · log π(u)` where
    /// `u = mean + std · noise` moves with the parameters (the reparameterised gradient of SAC).
    pub fn backward_reparameterized(
        &self,
        u: &[F],
        d_action: &[F],
        d_log_prob: &[F],
    ) -> GaussianGradient<F> {
        let n = self.mean.len();
        let mut gradient = GaussianGradient { mean: vec![F::ZERO; n], log_std: vec![F::ZERO; n] };
        for i in 0..n {
            let d_log = d_log_prob[i / self.dim];
            let a = u[i].tanh();
            // With u = μ + σε: log π = -ε²/2 - ln σ - ½ ln 2π - ln(1 - tanh² u).
            let d_u = d_action[i] * (F::ONE - a * a) + d_log * F::of(2.0) * a;
            gradient.mean[i] = d_u;
            gradient.log_std[i] = d_u * (u[i] - self.mean[i]) - d_log;
        }
        gradient
    }
}

/// Where a log-std that a network gives is bounded (Haarnoja et al. 2018).
const LOG_STD_RANGE: (f64, f64) = (-20.0, 2.0);

/// Mean and log-std `[batch, dim]` each, from a head of both `[batch, 2 dim]`; the latter is bounded to -20 to 2.
pub fn mean_and_log_std<F: Real>(head: &[F], dim: usize) -> (Vec<F>, Vec<F>) {
    assert!(head.len().is_multiple_of(2 * dim), "a head is [batch, 2 · {dim}]");
    let (low, high) = (F::of(LOG_STD_RANGE.0), F::of(LOG_STD_RANGE.1));
    let rows = || head.chunks_exact(2 * dim);
    let mean = rows().flat_map(|row| row[..dim].iter().copied()).collect();
    let log_std = rows().flat_map(|row| row[dim..].iter().map(|s| s.clamp(low, high))).collect();
    (mean, log_std)
}

/// Gradient in the head of [`mean_and_log_std`]: none in a log-std beyond its bounds.
pub fn mean_and_log_std_backward<F: Real>(
    head: &[F],
    gradient: &GaussianGradient<F>,
    dim: usize,
) -> Vec<F> {
    assert!(head.len() == 2 * gradient.mean.len(), "a head is [batch, 2 · {dim}]");
    let (low, high) = (F::of(LOG_STD_RANGE.0), F::of(LOG_STD_RANGE.1));
    let mut d_head = vec![F::ZERO; head.len()];
    for (i, (&d_mean, &d_log_std)) in gradient.mean.iter().zip(&gradient.log_std).enumerate() {
        let at = i / dim * 2 * dim + i % dim;
        d_head[at] = d_mean;
        if head[at + dim] >= low && head[at + dim] <= high {
            d_head[at + dim] = d_log_std;
        }
    }
    d_head
}

/// `ln(1 - tanh² u) = 2 (ln 2 - u - softplus(-2u))`, which does not cancel for large `|u|`.
fn log_slope<F: Real>(u: F) -> F {
    let u = u.abs();
    let softplus = (-(u + u)).exp().ln_1p();
    F::of(2.0) * (F::of(std::f64::consts::LN_2) - u - softplus)
}

/// `E[f(ε)]` for a standard normal ε.
fn expectation<F: Real>(f: impl Fn(F) -> F) -> F {
    (-NODES..=NODES)
        .map(|k| {
            let noise = f64::from(k) * NODE_STEP;
            let weight = NODE_STEP * (-0.5 * noise * noise - HALF_LN_TWO_PI).exp();
            F::of(weight) * f(F::of(noise))
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite_difference::check_gradient;

    const U: [f64; 4] = [0.4, -0.3, 1.5, 6.0];

    #[test]
    fn density_is_that_of_the_squashed_variable() {
        // log N(0.5; 0, 1) - ln(1 - tanh²(0.5)), by hand.
        let dist = SquashedGaussian::new(&[0.0], &[0.0], 1);
        let expected = -0.125 - HALF_LN_TWO_PI - (1.0 - 0.5f64.tanh().powi(2)).ln();
        assert!((dist.log_prob(&[0.5])[0] - expected).abs() < 1e-12);
        assert!(dist.log_prob(&[20.0])[0].is_finite());
        assert!(SquashedGaussian::new(&[0.0f32], &[0.0], 1).log_prob(&[60.0])[0].is_finite());
    }

    /// `-2 |u| + 2 ln 2 - 2 ln(1 + e^(-2|u|))`, where `1 - tanh² u` itself is rounded to 0.
    #[test]
    fn the_slope_far_out() {
        for u in [20.0, -20.0] {
            assert!((log_slope(u) + 38.613_705_638_880_11).abs() < 1e-12);
            assert!((log_slope(u as f32) + 38.613_705).abs() < 1e-5);
        }
        assert!((log_slope(0.5) - (1.0 - 0.5f64.tanh().powi(2)).ln()).abs() < 1e-14);
        assert!(log_slope(0.0f32).abs() < 1e-6);
        // N(20; 20, 1) through it, and the gradient of the action there.
        let dist = SquashedGaussian::new(&[20.0], &[0.0], 1);
        assert!(
            (dist.log_prob(&[20.0])[0] - (38.613_705_638_880_11 - HALF_LN_TWO_PI)).abs() < 1e-12
        );
        let gradient = dist.backward_reparameterized(&[20.0], &[1.0], &[1.0]);
        assert!((gradient.mean[0] - 2.0).abs() < 1e-12 && gradient.log_std == [-1.0]);
    }

    #[test]
    fn entropy_is_the_mean_of_minus_log_prob() {
        let dist = SquashedGaussian::new(&[0.3], &[0.2], 1);
        let mut rng = Rng::new(1);
        let n = 100_000;
        let total: f64 = (0..n).map(|_| -dist.log_prob(&dist.sample(&mut rng))[0]).sum();
        assert!((dist.entropy()[0] - total / f64::from(n)).abs() < 0.01);
    }

    #[test]
    fn a_uniform_is_the_most_it_can_be() {
        // The entropy on (-1, 1) is bounded by ln 2, that of the uniform.
        for std in [0.1, 0.5, 0.87, 1.5] {
            let dist = SquashedGaussian::new(&[0.0], &[f64::ln(std)], 1);
            assert!(dist.entropy()[0] < std::f64::consts::LN_2);
        }
    }

    #[test]
    fn gradients_by_difference() {
        let x = [0.1, -0.2, 0.3, 0.5, -0.3, 0.2];
        check_gradient(&x, |x, d| {
            let dist = SquashedGaussian::new(&x[..4], &x[4..], 2);
            let (weight, bonus) = ([0.7, -1.3], [0.4, 0.9]);
            let gradient = dist.backward(&U, &weight, &bonus);
            d[..4].copy_from_slice(&gradient.mean);
            d[4..].copy_from_slice(&gradient.shared_log_std(2));
            let (log_prob, entropy) = (dist.log_prob(&U), dist.entropy());
            (0..2).map(|i| weight[i] * log_prob[i] + bonus[i] * entropy[i]).sum()
        });
    }

    #[test]
    fn reparameterized_gradients_by_difference() {
        let x = [0.1, -0.2, 0.3, 0.5, -0.3, 0.2, 0.1, -1.0];
        let noise = [0.5, -1.0, 0.2, 2.0];
        let (d_action, d_log_prob) = ([1.0, -0.5, 0.3, 0.8], [0.7, -0.4]);
        check_gradient(&x, |x, d| {
            let dist = SquashedGaussian::new(&x[..4], &x[4..], 2);
            let u: Vec<f64> = (0..4).map(|i| x[i] + x[4 + i].exp() * noise[i]).collect();
            let gradient = dist.backward_reparameterized(&u, &d_action, &d_log_prob);
            d[..4].copy_from_slice(&gradient.mean);
            d[4..].copy_from_slice(&gradient.log_std);
            let log_prob = dist.log_prob(&u);
            (0..4).map(|i| d_action[i] * u[i].tanh()).sum::<f64>()
                + (0..2).map(|i| d_log_prob[i] * log_prob[i]).sum::<f64>()
        });
    }

    /// Through the head that a network gives, whose log-std may lie beyond its bounds.
    #[test]
    fn gradients_of_a_head_by_difference() {
        // Two rows of mean, mean, log-std, log-std, one of the latter too large.
        let head = [0.1, -0.2, 0.3, 2.5, 0.5, -0.3, -0.6, -1.0];
        let noise = [0.5, -1.0, 0.2, 2.0];
        let (d_action, d_log_prob) = ([1.0, -0.5, 0.3, 0.8], [0.7, -0.4]);
        let (mean, log_std) = mean_and_log_std(&head, 2);
        assert_eq!((mean, log_std), (vec![0.1, -0.2, 0.5, -0.3], vec![0.3, 2.0, -0.6, -1.0]));
        check_gradient(&head, |x, d| {
            let (mean, log_std) = mean_and_log_std(x, 2);
            let dist = SquashedGaussian::new(&mean, &log_std, 2);
            let u: Vec<f64> = (0..4).map(|i| mean[i] + log_std[i].exp() * noise[i]).collect();
            let gradient = dist.backward_reparameterized(&u, &d_action, &d_log_prob);
            d.copy_from_slice(&mean_and_log_std_backward(x, &gradient, 2));
            let log_prob = dist.log_prob(&u);
            (0..4).map(|i| d_action[i] * u[i].tanh()).sum::<f64>()
                + (0..2).map(|i| d_log_prob[i] * log_prob[i]).sum::<f64>()
        });
    }

    #[test]
    fn a_log_std_beyond_its_bounds_has_no_gradient() {
        let head = [0.5, -21.0, 0.5, -20.0, 0.5, 2.1];
        assert_eq!(mean_and_log_std(&head, 1).1, [-20.0, -20.0, 2.0]);
        let gradient = GaussianGradient { mean: vec![1.0; 3], log_std: vec![3.0; 3] };
        let expected = [1.0, 0.0, 1.0, 3.0, 1.0, 0.0];
        assert_eq!(mean_and_log_std_backward(&head, &gradient, 1), expected);
    }
}
