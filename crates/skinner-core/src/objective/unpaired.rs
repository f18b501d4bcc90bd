//! Losses of completions that are judged one by one (KTO), and of reward models.

use serde::{Deserialize, Serialize};

use super::preference::{d_sigmoid, sigmoid, softplus};
use crate::parameter::{ParameterError, require};
use crate::real::Real;

/// Parameters of [`kto`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KtoConfig {
    /// `β`: how much a log-ratio counts as reward.
    pub beta: f64,
    /// `λ_D`: weight of desirable completions.
    pub desirable_weight: f64,
    /// `λ_U`: weight of undesirable ones. The paper keeps `λ_D n_D / (λ_U n_U)` within 1 to 4/3.
    pub undesirable_weight: f64,
}

impl Default for KtoConfig {
    fn default() -> Self {
        Self { beta: 0.1, desirable_weight: 1.0, undesirable_weight: 1.0 }
    }
}

impl KtoConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first parameter that is out of range.
    pub fn validate(&self) -> Result<(), ParameterError> {
        let positive = |key, value: f64| {
            require(value > 0.0 && value.is_finite(), key, value, "must be above 0 and finite")
        };
        positive("beta", self.beta)?;
        let not_negative = |key, value: f64| {
            require(value >= 0.0 && value.is_finite(), key, value, "must be at least 0 and finite")
        };
        not_negative("desirable_weight", self.desirable_weight)?;
        not_negative("undesirable_weight", self.undesirable_weight)?;
        let sum = self.desirable_weight + self.undesirable_weight;
        let both = "must not be 0 while undesirable_weight is 0 too";
        require(sum > 0.0, "desirable_weight", self.desirable_weight, both)
    }
}

/// KTO's reference point `z0`: an estimate of KL(π ‖ ref), the mean log-ratio of completions that
/// belong to *other* prompts, at least 0 (Ethayarajh et al. 2024, section 4.1). It is a constant of
/// the batch: no gradient flows through it. 0 for an empty batch.
///
/// `policy` and `reference` are log-probabilities of the mismatched completions, one a row.
pub fn kto_reference_point<F: Real>(policy: &[F], reference: &[F]) -> F {
    let n = policy.len();
    assert_eq!(reference.len(), n, "one number a row");
    if n == 0 {
        return F::ZERO;
    }
    let sum: F = (0..n).map(|i| policy[i] - reference[i]).sum();
    (sum / F::of(n as f64)).max(F::ZERO)
}

/// What [`kto`] tells of a batch. `loss` carries `scale`; the others are plain sums and counts,
/// because the numbers of desirable and undesirable rows are known only when the batch is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KtoStats<F> {
    /// The loss.
    pub loss: F,
    /// Sum of the implicit rewards of desirable rows; over their number it is `rewards/chosen`.
    pub reward_chosen: F,
    /// Sum of the implicit rewards of undesirable rows.
    pub reward_rejected: F,
    /// Number of desirable rows.
    pub num_chosen: usize,
    /// Number of undesirable rows.
    pub num_rejected: usize,
}

/// KTO (Ethayarajh et al. 2024, eq. 8): `scale Σ λ_D (1 - σ(r - β z0))` over desirable rows and
/// `scale Σ λ_U (1 - σ(β z0 - r))` over undesirable ones, `r = β (log π - log ref)`.
///
/// `policy` and `reference` are log-probabilities of whole completions, one a row. Adds the
/// gradient in `policy`.
pub fn kto<F: Real>(
    policy: &[F],
    reference: &[F],
    desirable: &[bool],
    z0: F,
    config: &KtoConfig,
    scale: F,
    d_policy: &mut [F],
) -> KtoStats<F> {
    let n = policy.len();
    assert!(reference.len() == n && desirable.len() == n, "one value a row");
    assert_eq!(d_policy.len(), n, "one gradient a row");
    let beta = F::of(config.beta);
    let mut out = KtoStats::default();
    for i in 0..n {
        let reward = beta * (policy[i] - reference[i]);
        let (sign, weight) = if desirable[i] {
            out.reward_chosen += reward;
            out.num_chosen += 1;
            (F::ONE, F::of(config.desirable_weight))
        } else {
            out.reward_rejected += reward;
            out.num_rejected += 1;
            (-F::ONE, F::of(config.undesirable_weight))
        };
        let value = sign * (reward - beta * z0);
        // 1 - σ(value)
        out.loss += weight * sigmoid(-value);
        d_policy[i] -= scale * weight * beta * sign * d_sigmoid(value);
    }
    out.loss *= scale;
    out
}

/// What [`reward_model`] tells of a batch: each number is `scale` times a sum over rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RewardModelStats<F> {
    /// The loss.
    pub loss: F,
    /// Difference of the two rewards.
    pub margin: F,
    /// Rows whose chosen reward is the larger; ties count one half.
    pub accuracy: F,
}

/// The loss of a reward model, `scale Σ (-log σ(chosen - rejected - margin) + c (chosen +
/// rejected)²)`: Bradley-Terry (Ouyang et al. 2022, eq. 1), with a margin a row (Touvron et al.
/// 2023, eq. 2; an empty slice: none) and the term that centres rewards on 0 (Eisenstein et al.
/// 2023).
///
/// `chosen` and `rejected` are rewards, one a row. Adds the gradients in both.
pub fn reward_model<F: Real>(
    chosen: &[F],
    rejected: &[F],
    margin: &[F],
    center_coef: F,
    scale: F,
    d_chosen: &mut [F],
    d_rejected: &mut [F],
) -> RewardModelStats<F> {
    let n = chosen.len();
    assert_eq!(rejected.len(), n, "one number a row");
    assert!(margin.is_empty() || margin.len() == n, "one margin a row, or none");
    assert!(d_chosen.len() == n && d_rejected.len() == n, "one gradient a row");
    let mut out = RewardModelStats::default();
    for i in 0..n {
        let difference = chosen[i] - rejected[i];
        let z = difference - margin.get(i).copied().unwrap_or(F::ZERO);
        let sum = chosen[i] + rejected[i];
        out.loss += softplus(-z) + center_coef * sum * sum;
        let (d_z, d_sum) = (-sigmoid(-z), (center_coef + center_coef) * sum);
        d_chosen[i] += scale * (d_sum + d_z);
        d_rejected[i] += scale * (d_sum - d_z);
        out.margin += difference;
        if difference > F::ZERO {
            out.accuracy += F::ONE;
        } else if difference == F::ZERO {
            out.accuracy += F::of(0.5);
        }
    }
    out.loss *= scale;
    out.margin *= scale;
    out.accuracy *= scale;
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite_difference::check_gradient;

    #[test]
    fn gradients_by_finite_difference() {
        let desirable = [true, true, false, false];
        let reference = [-10.5, -10.8, -9.5, -12.0];
        let config = KtoConfig { undesirable_weight: 1.33, ..KtoConfig::default() };
        check_gradient(&[-10.0, -11.0, -9.0, -13.0], |x, d| {
            kto(x, &reference, &desirable, 0.175, &config, 0.25, d).loss
        });
        // Both rewards in one vector: chosen first.
        check_gradient(&[1.0, 0.2, -3.0, 0.0, 0.7, 1.0], |x, d| {
            let (d_chosen, d_rejected) = d.split_at_mut(3);
            let margin = [0.5, 0.0, 1.0];
            reward_model(&x[..3], &x[3..], &margin, 0.01, 1.0 / 3.0, d_chosen, d_rejected).loss
        });
    }

    #[test]
    fn a_batch_in_parts_is_the_batch() {
        let (x, reference) = ([-10.0, -11.0, -9.0], [-10.5, -10.8, -9.5]);
        let desirable = [true, false, true];
        let part = |range: std::ops::Range<usize>, d: &mut [f64]| {
            let (x, r) = (&x[range.clone()], &reference[range.clone()]);
            let labels = &desirable[range.clone()];
            kto(x, r, labels, 0.3, &KtoConfig::default(), 1.0 / 3.0, &mut d[range]).loss
        };
        let (mut whole, mut parts) = ([0.0; 3], [0.0; 3]);
        let loss = part(0..3, &mut whole);
        let sum = part(0..1, &mut parts) + part(1..3, &mut parts);
        assert!((loss - sum).abs() < 1e-15);
        assert_eq!(whole, parts);
    }

    #[test]
    fn a_reference_point_is_never_negative() {
        assert_eq!(kto_reference_point(&[-2.0, -3.0], &[-1.0, -1.0]), 0.0);
        assert_eq!(kto_reference_point::<f64>(&[], &[]), 0.0);
    }

    #[test]
    fn weights_are_checked() {
        assert!(KtoConfig::default().validate().is_ok());
        let none = KtoConfig { desirable_weight: 0.0, undesirable_weight: 0.0, beta: 0.1 };
        assert!(none.validate().is_err());
        let error = KtoConfig { beta: -1.0, ..KtoConfig::default() }.validate().unwrap_err();
        assert_eq!(error.to_string(), "beta = -1: must be above 0 and finite");
    }
}
