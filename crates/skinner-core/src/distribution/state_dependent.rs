//! Generalised state-dependent exploration (Raffin, Kober & Stulp 2021): the noise is a linear
//! function of the policy's features, `a = μ(s) + φ(s) W` with `W_ij ~ N(0, σ_ij²)` held for several
//! steps, so that exploration is smooth in time and depends on the state. Given the features the action
//! is normal with variance `Σ_i φ_i² σ_ij²` (eq. 9), which [`Gaussian`](super::Gaussian) then handles.

use serde::{Deserialize, Serialize};

use crate::{Rng, real::Real};

/// Added to the variance, so that vanishing features leave a proper distribution.
const VARIANCE_EPSILON: f64 = 1e-6;

/// The exploration matrices of a batch of environments, one each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateDependentNoise {
    /// `[num_envs, features, dim]`
    weights: Vec<f32>,
    dim: usize,
    num_envs: usize,
}

impl StateDependentNoise {
    /// Draws `W` for each environment from `log_std` `[features, dim]`.
    pub fn sample(log_std: &[f32], dim: usize, num_envs: usize, rng: &mut Rng) -> Self {
        let weights = (0..num_envs)
            .flat_map(|_| log_std.iter().map(|s| s.exp() * rng.normal() as f32).collect::<Vec<_>>())
            .collect();
        Self { weights, dim, num_envs }
    }

    /// Adds `φ W` of each environment to `mean` `[num_envs, dim]`; `features` is `[num_envs, features]`.
    pub fn perturb(&self, mean: &mut [f32], features: &[f32]) {
        let num_features = features.len() / self.num_envs;
        let matrices = self.weights.chunks_exact(num_features * self.dim);
        let rows = mean.chunks_exact_mut(self.dim).zip(features.chunks_exact(num_features));
        for ((mean, features), matrix) in rows.zip(matrices) {
            for (phi, weights) in features.iter().zip(matrix.chunks_exact(self.dim)) {
                mean.iter_mut().zip(weights).for_each(|(m, w)| *m += phi * w);
            }
        }
    }
}

/// `ln σ(s)` of the action `[batch, dim]`, from `features` `[batch, L]` and `log_std` `[L, dim]`.
pub fn state_dependent_std<F: Real>(features: &[F], log_std: &[F], dim: usize) -> Vec<F> {
    let variances: Vec<F> = log_std.iter().map(|&s| (s + s).exp()).collect();
    let num_features = log_std.len() / dim;
    let mut out = Vec::with_capacity(features.len() / num_features * dim);
    for row in features.chunks_exact(num_features) {
        for j in 0..dim {
            let sum: F = (0..num_features).map(|i| row[i] * row[i] * variances[i * dim + j]).sum();
            out.push(F::of(0.5) * (sum + F::of(VARIANCE_EPSILON)).ln());
        }
    }
    out
}

/// Gradient in `log_std` `[L, dim]` from that in the action's log-std `[batch, dim]`; features are taken
/// as constants, as the paper's implementation does.
pub fn state_dependent_std_backward<F: Real>(
    features: &[F],
    log_std: &[F],
    action_log_std: &[F],
    d_action_log_std: &[F],
    dim: usize,
) -> Vec<F> {
    let num_features = log_std.len() / dim;
    let mut gradient = vec![F::ZERO; log_std.len()];
    for (b, row) in features.chunks_exact(num_features).enumerate() {
        for j in 0..dim {
            let at = b * dim + j;
            // d(½ ln v)/d ln σ_ij = φ_i² σ_ij² / v
            let weight = d_action_log_std[at] / (action_log_std[at] + action_log_std[at]).exp();
            for i in 0..num_features {
                gradient[i * dim + j] += weight * row[i] * row[i];
            }
        }
    }
    gradient.iter_mut().zip(log_std).for_each(|(g, &s)| *g *= (s + s).exp());
    gradient
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{distribution::Gaussian, finite_difference::check_gradient};

    const FEATURES: [f64; 6] = [0.4, -0.9, 0.1, 1.2, 0.3, -0.5];

    #[test]
    fn worked_number() {
        let log_std = state_dependent_std(&[3.0, 4.0], &[0.0, 0.0], 1);
        assert!((log_std[0] - 5.0f64.ln()).abs() < 1e-7);
    }

    #[test]
    fn gradients_by_difference() {
        let x = [0.1, -0.2, 0.3, 0.0, -0.4, 0.6];
        let (mean, actions) = ([0.0, 0.1, -0.3, 0.4], [0.5, -0.2, 0.3, 1.0]);
        let (weight, bonus) = ([0.7, -1.3], [0.4, 0.9]);
        check_gradient(&x, |x, d| {
            let own = state_dependent_std(&FEATURES, x, 2);
            let dist = Gaussian::new(&mean, &own, 2);
            let gradient = dist.backward(&actions, &weight, &bonus);
            let back = state_dependent_std_backward(&FEATURES, x, &own, &gradient.log_std, 2);
            d.copy_from_slice(&back);
            let (log_prob, entropy) = (dist.log_prob(&actions), dist.entropy());
            (0..2).map(|i| weight[i] * log_prob[i] + bonus[i] * entropy[i]).sum()
        });
    }

    #[test]
    fn noise_has_the_stated_deviation() {
        let (features, log_std) = ([0.6f32, -0.8], [0.5f32.ln(), 1.5f32.ln()]);
        let mut rng = Rng::new(2);
        let draws: Vec<f64> = (0..20_000)
            .map(|_| {
                let mut action = [0.0];
                StateDependentNoise::sample(&log_std, 1, 1, &mut rng)
                    .perturb(&mut action, &features);
                f64::from(action[0])
            })
            .collect();
        let expected = f64::from(state_dependent_std(&features, &log_std, 1)[0].exp());
        assert!((crate::statistics::std(&draws) / expected - 1.0).abs() < 0.02);
    }
}
