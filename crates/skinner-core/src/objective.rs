//! Objectives: pure functions from what a policy says of a batch to a loss and its gradient.
//!
//! Each function is one *term* of a loss. It returns its own value and **adds** its gradient to the
//! gradients of what it reads (log-probabilities, entropies, values), so that an algorithm is the sum
//! of the terms it calls. `scale` is what a row's contribution is multiplied by, usually one over the
//! number of rows of the whole (mini)batch: a batch may thus be split in parts without changing the
//! sum. Losses are minimised.
//!
//! The terms of policy gradients are in this module, those of action values in [`q_learning`], those of actors that
//! learn through critics in [`actor_critic`]; [`tokens`] has those of language modelling, [`preference`] DPO and its
//! family, [`unpaired`] KTO and reward models, [`grpo`] the policy losses of reinforcement learning with sampled
//! completions, [`kl`] their distance from a reference.

pub mod actor_critic;
pub mod grpo;
pub mod kl;
pub mod preference;
pub mod q_learning;
pub mod tokens;
pub mod unpaired;

use crate::real::Real;

/// The policy-gradient loss `-scale Σ A_t log π(a_t|s_t)` (Williams 1992; Sutton & Barto 2018,
/// eq. 13.8), where the advantage is a return (REINFORCE), a return minus a baseline, or an
/// estimate such as GAE (A2C; Mnih et al. 2016).
pub fn policy_gradient<F: Real>(
    log_prob: &[F],
    advantage: &[F],
    scale: F,
    d_log_prob: &mut [F],
) -> F {
    let n = log_prob.len();
    assert!(advantage.len() == n && d_log_prob.len() == n, "one number a row");
    let mut loss = F::ZERO;
    for i in 0..n {
        loss -= advantage[i] * log_prob[i];
        d_log_prob[i] -= scale * advantage[i];
    }
    scale * loss
}

/// What [`clipped_surrogate`] tells of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Surrogate<F> {
    /// The loss.
    pub loss: F,
    /// `scale` times the number of rows whose ratio lies outside the clip range.
    pub clipfrac: F,
    /// `scale Σ (r - 1 - ln r)`: Schulman's k3 estimate of KL(old ‖ new).
    pub approx_kl: F,
}

/// PPO's clipped surrogate, `-scale Σ min(r A, clip(r, 1-ε, 1+ε) A)` with
/// `r = exp(log π - log π_old)` (Schulman et al. 2017, eq. 7).
pub fn clipped_surrogate<F: Real>(
    log_prob: &[F],
    old_log_prob: &[F],
    advantage: &[F],
    clip_coef: F,
    scale: F,
    d_log_prob: &mut [F],
) -> Surrogate<F> {
    let n = log_prob.len();
    assert!(old_log_prob.len() == n && advantage.len() == n, "one number a row");
    assert_eq!(d_log_prob.len(), n, "one gradient a row");
    let (low, high) = (F::ONE - clip_coef, F::ONE + clip_coef);
    let mut out = Surrogate::default();
    for i in 0..n {
        let log_ratio = log_prob[i] - old_log_prob[i];
        let ratio = log_ratio.exp();
        let unclipped = ratio * advantage[i];
        let clipped = ratio.clamp(low, high) * advantage[i];
        out.loss -= unclipped.min(clipped);
        // d min(..)/d log π is r A where the unclipped term is the smaller one (or they tie).
        if unclipped <= clipped {
            d_log_prob[i] -= scale * unclipped;
        }
        if ratio < low || ratio > high {
            out.clipfrac += F::ONE;
        }
        out.approx_kl += ratio - F::ONE - log_ratio;
    }
    out.loss *= scale;
    out.clipfrac *= scale;
    out.approx_kl *= scale;
    out
}

/// The entropy bonus `-coef · scale Σ H_t` (Williams & Peng 1991).
pub fn entropy_bonus<F: Real>(entropy: &[F], coef: F, scale: F, d_entropy: &mut [F]) -> F {
    assert_eq!(entropy.len(), d_entropy.len(), "one gradient a row");
    let weight = coef * scale;
    d_entropy.iter_mut().for_each(|d| *d -= weight);
    -weight * entropy.iter().copied().sum::<F>()
}

/// Squared error of the value, `coef · scale Σ (V - target)²`. There is no factor ½ (as in
/// Stable-Baselines3); with CleanRL's, use half its `vf_coef`.
pub fn value_loss<F: Real>(value: &[F], target: &[F], coef: F, scale: F, d_value: &mut [F]) -> F {
    let n = value.len();
    assert!(target.len() == n && d_value.len() == n, "one number a row");
    let weight = coef * scale;
    let mut loss = F::ZERO;
    for i in 0..n {
        let error = value[i] - target[i];
        loss += error * error;
        d_value[i] += weight * (error + error);
    }
    weight * loss
}

/// The squared error of the value with PPO's value clipping,
/// `coef · scale Σ max((V - target)², (V_old + clip(V - V_old, ±ε) - target)²)`; an implementation
/// detail of OpenAI's code, studied by Engstrom et al. (2020).
pub fn clipped_value_loss<F: Real>(
    value: &[F],
    old_value: &[F],
    target: &[F],
    clip: F,
    coef: F,
    scale: F,
    d_value: &mut [F],
) -> F {
    let n = value.len();
    assert!(old_value.len() == n && target.len() == n, "one number a row");
    assert_eq!(d_value.len(), n, "one gradient a row");
    let weight = coef * scale;
    let mut loss = F::ZERO;
    for i in 0..n {
        let change = value[i] - old_value[i];
        let inside = change.abs() <= clip;
        let error = value[i] - target[i];
        let clipped = old_value[i] + change.clamp(-clip, clip) - target[i];
        if error * error >= clipped * clipped {
            loss += error * error;
            d_value[i] += weight * (error + error);
        } else {
            loss += clipped * clipped;
            // Outside the range the clipped prediction does not move with the value.
            if inside {
                d_value[i] += weight * (clipped + clipped);
            }
        }
    }
    weight * loss
}

/// Shifts and scales advantages to mean 0 and (sample) standard deviation 1. A single advantage is
/// left as it is: it has no standard deviation.
pub fn normalize_advantage<F: Real>(advantage: &mut [F]) {
    if advantage.len() < 2 {
        return;
    }
    let n = F::of(advantage.len() as f64);
    let mean = advantage.iter().copied().sum::<F>() / n;
    let squares: F = advantage.iter().map(|&a| (a - mean) * (a - mean)).sum();
    let std = (squares / (n - F::ONE)).sqrt();
    let scale = F::ONE / (std + F::of(1e-8));
    advantage.iter_mut().for_each(|a| *a = (*a - mean) * scale);
}

/// `1 - Var(target - value) / Var(target)`: 1 for a perfect value function, at most 0 for one that is
/// no better than a constant; NaN where the targets do not vary.
pub fn explained_variance<F: Real>(value: &[F], target: &[F]) -> F {
    let n = F::of(target.len() as f64);
    let variance = |each: &dyn Fn(usize) -> F| {
        let mean = (0..target.len()).map(each).sum::<F>() / n;
        (0..target.len()).map(|i| (each(i) - mean) * (each(i) - mean)).sum::<F>() / n
    };
    let total = variance(&|i| target[i]);
    if total > F::ZERO { F::ONE - variance(&|i| target[i] - value[i]) / total } else { F::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite_difference::check_gradient;

    const LOG_PROB: [f64; 5] = [-0.5, -1.2, -0.1, -2.0, -0.7];
    const OLD: [f64; 5] = [-0.9, -1.1, -0.6, -1.2, -0.7];
    const ADVANTAGE: [f64; 5] = [1.0, -2.0, -0.5, -1.5, 2.0];

    #[test]
    fn policy_gradient_by_hand_and_difference() {
        let loss = |x: &[f64], d: &mut [f64]| policy_gradient(x, &ADVANTAGE, 0.2, d);
        // -(−.5 + 2.4 + .05 + 3 − 1.4) / 5
        assert!((loss(&LOG_PROB, &mut [0.0; 5]) + 0.71).abs() < 1e-12);
        check_gradient(&LOG_PROB, loss);
    }

    /// Ratios e^.4, e^-.1, e^.5, e^-.8, 1 with ε = 0.2: row 0 is clipped to 1.2 (gradient 0), row 1 is
    /// inside, row 2 has A < 0 and r > 1.2 (not clipped), row 3 has A < 0 and r < 0.8 (clipped).
    #[test]
    fn clipped_surrogate_by_hand_and_difference() {
        let loss = |x: &[f64], d: &mut [f64]| clipped_surrogate(x, &OLD, &ADVANTAGE, 0.2, 0.2, d);
        let mut d = [0.0; 5];
        let out = loss(&LOG_PROB, &mut d);
        let (r1, r2) = ((-0.1f64).exp(), 0.5f64.exp());
        let expected = -(1.2 - 2.0 * r1 - 0.5 * r2 - 1.5 * 0.8 + 2.0) / 5.0;
        assert!((out.loss - expected).abs() < 1e-12);
        assert!((out.clipfrac - 0.6).abs() < 1e-12);
        assert_eq!((d[0], d[3]), (0.0, 0.0));
        let k3 = |log: f64| log.exp() - 1.0 - log;
        let kl = (k3(0.4) + k3(-0.1) + k3(0.5) + k3(-0.8)) / 5.0;
        assert!((out.approx_kl - kl).abs() < 1e-12);
        check_gradient(&LOG_PROB, |x, d| loss(x, d).loss);
    }

    #[test]
    fn value_losses_by_hand_and_difference() {
        let (value, target) = ([1.0, 2.0, -1.0, 0.5], [0.0, 2.5, 1.0, 0.4]);
        let old = [0.5, 2.4, -1.05, 0.9];
        let plain = |x: &[f64], d: &mut [f64]| value_loss(x, &target, 0.5, 0.25, d);
        assert!(
            (plain(&value, &mut [0.0; 4]) - 0.5 * (1.0 + 0.25 + 4.0 + 0.01) / 4.0).abs() < 1e-12
        );
        check_gradient(&value, plain);
        let clipped =
            |x: &[f64], d: &mut [f64]| clipped_value_loss(x, &old, &target, 0.2, 0.5, 0.25, d);
        // max(1, .49), max(.25, .09), max(4, 4), max(.01, .09)
        let expected = 0.5 * (1.0 + 0.25 + 4.0 + 0.09) / 4.0;
        assert!((clipped(&value, &mut [0.0; 4]) - expected).abs() < 1e-12);
        check_gradient(&value, clipped);
    }

    #[test]
    fn entropy_bonus_by_hand_and_difference() {
        let entropy = [0.3, 0.6, 0.9];
        let loss = |x: &[f64], d: &mut [f64]| entropy_bonus(x, 0.1, 1.0 / 3.0, d);
        assert!((loss(&entropy, &mut [0.0; 3]) + 0.06).abs() < 1e-12);
        check_gradient(&entropy, loss);
    }

    #[test]
    fn gradients_are_added_to_what_is_there() {
        type Term = fn(&[f64], &mut [f64]) -> f64;
        let terms: [Term; 5] = [
            |x, d| policy_gradient(x, &ADVANTAGE, 0.2, d),
            |x, d| clipped_surrogate(x, &OLD, &ADVANTAGE, 0.2, 0.2, d).loss,
            |x, d| entropy_bonus(x, 0.1, 0.2, d),
            |x, d| value_loss(x, &ADVANTAGE, 0.5, 0.2, d),
            |x, d| clipped_value_loss(x, &OLD, &ADVANTAGE, 0.2, 0.5, 0.2, d),
        ];
        for term in terms {
            let (mut alone, mut added) = ([0.0; 5], [10.0; 5]);
            term(&LOG_PROB, &mut alone);
            term(&LOG_PROB, &mut added);
            assert!(alone.iter().zip(&added).all(|(a, b)| (a + 10.0 - b).abs() < 1e-12));
        }
    }

    #[test]
    fn a_batch_in_parts_is_the_batch() {
        let whole = clipped_surrogate(&LOG_PROB, &OLD, &ADVANTAGE, 0.2, 0.2, &mut [0.0; 5]);
        let part = |r: std::ops::Range<usize>| {
            let (x, o, a) = (&LOG_PROB[r.clone()], &OLD[r.clone()], &ADVANTAGE[r.clone()]);
            clipped_surrogate(x, o, a, 0.2, 0.2, &mut vec![0.0; r.len()]).loss
        };
        assert!((part(0..2) + part(2..5) - whole.loss).abs() < 1e-12);
    }

    #[test]
    fn normalized_advantages_have_unit_moments() {
        let mut advantage = ADVANTAGE;
        normalize_advantage(&mut advantage);
        assert!(crate::statistics::mean(&advantage).abs() < 1e-9);
        let std = crate::statistics::std(&advantage) * (5.0f64 / 4.0).sqrt();
        assert!((std - 1.0).abs() < 1e-6);
        let mut single = [3.0];
        normalize_advantage(&mut single);
        assert_eq!(single, [3.0]);
    }

    #[test]
    fn explained_variance_of_extremes() {
        let target = [1.0, 2.0, 4.0];
        assert_eq!(explained_variance(&target, &target), 1.0);
        assert!(explained_variance(&[7.0; 3], &target).abs() < 1e-12);
        assert!(explained_variance(&[0.0f64; 3], &[2.0; 3]).is_nan());
    }
}
