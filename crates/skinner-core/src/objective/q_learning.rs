//! Objectives of action values: temporal differences, double Q-learning, distributions of returns as atoms (C51) or as
//! quantiles (QR-DQN).
//!
//! Targets hold no gradient; they come from transitions `(reward, discount)` with `discount` 0 where the task ended.

use crate::real::Real;

/// The index of the greatest of each row's values, the first of equals: `[batch]` from `[batch, num_actions]`.
pub fn greedy_actions<F: Real>(q_values: &[F], num_actions: usize) -> Vec<usize> {
    assert!(num_actions > 0, "there is an action");
    let best =
        |row: &[F]| (1..row.len()).fold(0, |best, a| if row[a] > row[best] { a } else { best });
    q_values.chunks_exact(num_actions).map(best).collect()
}

/// One-step targets `r + discount · Q_target(s', a')` for given next actions: the greedy ones of the target network
/// itself (Mnih et al. 2015), or of the online network (double Q-learning; van Hasselt et al. 2016, eq. 4).
/// `next_q` is `[batch, num_actions]`.
pub fn td_target<F: Real>(
    reward: &[F],
    discount: &[F],
    next_q: &[F],
    next_action: &[usize],
) -> Vec<F> {
    let n = reward.len();
    assert!(discount.len() == n && next_action.len() == n, "one number a row");
    assert!(n > 0 && next_q.len().is_multiple_of(n), "next_q is [batch, num_actions]");
    let num_actions = next_q.len() / n;
    (0..n).map(|i| reward[i] + discount[i] * next_q[i * num_actions + next_action[i]]).collect()
}

/// The Huber loss of value errors, `scale Σ w_i h(Q_i - y_i)` with `h(e) = ½ e²` up to `|e| = delta` and
/// `delta (|e| - ½ delta)` beyond (Huber 1964; Mnih et al. 2015 clip the error at 1). An infinite `delta` is half the
/// squared error. `weight` is one number a row, or empty for 1 everywhere.
pub fn huber_loss<F: Real>(
    q_value: &[F],
    target: &[F],
    weight: &[F],
    delta: F,
    scale: F,
    d_q_value: &mut [F],
) -> F {
    let n = q_value.len();
    assert!(target.len() == n && d_q_value.len() == n, "one number a row");
    assert!(weight.is_empty() || weight.len() == n, "one weight a row");
    let mut loss = F::ZERO;
    for i in 0..n {
        let w = weight.get(i).copied().unwrap_or(F::ONE);
        let error = q_value[i] - target[i];
        loss += w * huber(error, delta);
        d_q_value[i] += scale * w * error.clamp(-delta, delta);
    }
    scale * loss
}

fn huber<F: Real>(error: F, delta: F) -> F {
    let half = F::of(0.5);
    let size = error.abs();
    if size <= delta { half * size * size } else { delta * (size - half * delta) }
}

/// The `num_atoms` evenly spaced returns from `v_min` to `v_max` (Bellemare et al. 2017, section 4).
pub fn atoms<F: Real>(v_min: F, v_max: F, num_atoms: usize) -> Vec<F> {
    assert!(num_atoms > 1 && v_min < v_max, "at least two atoms in a range");
    let step = (v_max - v_min) / F::of((num_atoms - 1) as f64);
    (0..num_atoms).map(|j| v_min + F::of(j as f64) * step).collect()
}

/// The distribution of `r + discount · z` on the atoms `z` themselves, Φ T̂ Z (Bellemare et al. 2017, algorithm 1): each
/// probability of `next_probs` `[batch, num_atoms]` goes to the two atoms beside where its return lies, and returns
/// beyond the range to the outermost. The result is `[batch, num_atoms]`.
pub fn categorical_projection<F: Real>(
    reward: &[F],
    discount: &[F],
    next_probs: &[F],
    atoms: &[F],
) -> Vec<F> {
    let (n, num_atoms) = (reward.len(), atoms.len());
    assert!(discount.len() == n, "one number a row");
    assert_eq!(next_probs.len(), n * num_atoms, "probabilities are [batch, num_atoms]");
    let (low, high) = (atoms[0], atoms[num_atoms - 1]);
    let per_step = F::of((num_atoms - 1) as f64) / (high - low);
    let mut out = vec![F::ZERO; next_probs.len()];
    for i in 0..n {
        let row = &mut out[i * num_atoms..(i + 1) * num_atoms];
        for (&p, &z) in next_probs[i * num_atoms..].iter().zip(atoms) {
            let place = ((reward[i] + discount[i] * z).clamp(low, high) - low) * per_step;
            let below = (place.to_f64() as usize).min(num_atoms - 1);
            let above = (below + 1).min(num_atoms - 1);
            let part = place - F::of(below as f64);
            // A return right on an atom (part 0) goes there alone.
            row[below] += p * (F::ONE - part);
            row[above] += p * part;
        }
    }
    out
}

/// The cross-entropy `-scale Σ_i w_i Σ_j m_ij ln p_ij` of predicted log-probabilities from target distributions, both
/// `[batch, num_atoms]` (Bellemare et al. 2017, algorithm 1). `row_loss` receives each row's, unweighted: the priority
/// of Rainbow (Hessel et al. 2018).
pub fn cross_entropy<F: Real>(
    log_probs: &[F],
    target: &[F],
    weight: &[F],
    scale: F,
    d_log_probs: &mut [F],
    row_loss: &mut [F],
) -> F {
    let n = row_loss.len();
    assert!(n > 0 && log_probs.len().is_multiple_of(n), "rows of atoms");
    assert!(
        target.len() == log_probs.len() && d_log_probs.len() == log_probs.len(),
        "one number an atom"
    );
    assert!(weight.is_empty() || weight.len() == n, "one weight a row");
    let num_atoms = log_probs.len() / n;
    let mut loss = F::ZERO;
    for i in 0..n {
        let w = weight.get(i).copied().unwrap_or(F::ONE);
        row_loss[i] = F::ZERO;
        for j in i * num_atoms..(i + 1) * num_atoms {
            row_loss[i] -= target[j] * log_probs[j];
            d_log_probs[j] -= scale * w * target[j];
        }
        loss += w * row_loss[i];
    }
    scale * loss
}

/// The quantile Huber loss `scale Σ_b w_b Σ_i mean_j ρ_τi(y_bj - θ_bi)` with `ρ_τ(u) = |τ - 1{u < 0}| h(u) / kappa` and
/// `τ_i = (i + ½) / N` (Dabney et al. 2018, eqs. 9 and 10, algorithm 1). `quantiles` is `[batch, N]`, `targets`
/// `[batch, M]`: every quantile is compared with every target of its own row. With `kappa` 0 it is the plain quantile
/// loss. `row_loss` receives each row's, unweighted.
pub fn quantile_huber_loss<F: Real>(
    quantiles: &[F],
    targets: &[F],
    weight: &[F],
    kappa: F,
    scale: F,
    d_quantiles: &mut [F],
    row_loss: &mut [F],
) -> F {
    let n = row_loss.len();
    assert!(n > 0 && quantiles.len().is_multiple_of(n), "rows of quantiles");
    assert!(targets.len().is_multiple_of(n) && !targets.is_empty(), "rows of targets");
    assert_eq!(d_quantiles.len(), quantiles.len(), "one gradient a quantile");
    assert!(weight.is_empty() || weight.len() == n, "one weight a row");
    let (num, num_targets) = (quantiles.len() / n, targets.len() / n);
    let (count, per_target) = (F::of(num as f64), F::ONE / F::of(num_targets as f64));
    let mut loss = F::ZERO;
    for b in 0..n {
        let w = weight.get(b).copied().unwrap_or(F::ONE);
        let targets = &targets[b * num_targets..(b + 1) * num_targets];
        row_loss[b] = F::ZERO;
        for i in 0..num {
            let theta = quantiles[b * num + i];
            let tau = (F::of(i as f64) + F::of(0.5)) / count;
            let (mut sum, mut slope) = (F::ZERO, F::ZERO);
            for &y in targets {
                let u = y - theta;
                let side = if u < F::ZERO { F::ONE - tau } else { tau };
                let (value, derivative) = scaled_huber(u, kappa);
                sum += side * value;
                slope -= side * derivative;
            }
            row_loss[b] += sum * per_target;
            d_quantiles[b * num + i] += scale * w * slope * per_target;
        }
        loss += w * row_loss[b];
    }
    scale * loss
}

/// `h(u) / kappa` and its derivative; `|u|` and its sign where `kappa` is 0.
fn scaled_huber<F: Real>(u: F, kappa: F) -> (F, F) {
    let sign = if u < F::ZERO { -F::ONE } else { F::ONE };
    if kappa <= F::ZERO {
        return (u.abs(), sign);
    }
    (huber(u, kappa) / kappa, (u / kappa).clamp(-F::ONE, F::ONE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite_difference::check_gradient;

    const REWARD: [f64; 3] = [1.0, -0.5, 2.0];
    const DISCOUNT: [f64; 3] = [0.9, 0.81, 0.0];

    #[test]
    fn double_targets_by_hand() {
        let online = [1.0, 3.0, 2.0, 1.0, 5.0, 5.0];
        let target = [10.0, -1.0, 4.0, 6.0, 7.0, 8.0];
        // Its own best: 10, 6 and nothing after the end.
        let own = greedy_actions(&target, 2);
        assert_eq!(own, [0, 1, 1]);
        assert_eq!(td_target(&REWARD, &DISCOUNT, &target, &own), [10.0, 0.81 * 6.0 - 0.5, 2.0]);
        // The online network's best, valued by the target network: -1 and 4. Equal values: the first.
        let chosen = greedy_actions(&online, 2);
        assert_eq!(chosen, [1, 0, 0]);
        let double = td_target(&REWARD, &DISCOUNT, &target, &chosen);
        for (y, expected) in double.iter().zip([0.1, 0.81 * 4.0 - 0.5, 2.0]) {
            assert!((y - expected).abs() < 1e-12, "{y}, not {expected}");
        }
    }

    #[test]
    fn huber_by_hand_and_difference() {
        let (q, y) = ([1.0, 2.0, -3.0, 0.2], [0.5, 5.0, 0.0, 0.2]);
        let weight = [1.0, 0.5, 2.0, 1.0];
        let loss = |x: &[f64], d: &mut [f64]| huber_loss(x, &y, &weight, 1.0, 0.25, d);
        // ½ .25, ½ · 2.5, 2 · 2.5, 0
        assert!((loss(&q, &mut [0.0; 4]) - (0.125 + 1.25 + 5.0) / 4.0).abs() < 1e-12);
        check_gradient(&q, loss);
        let squared = |x: &[f64], d: &mut [f64]| huber_loss(x, &y, &[], f64::INFINITY, 1.0, d);
        assert!((squared(&q, &mut [0.0; 4]) - (0.25 + 9.0 + 9.0) / 2.0).abs() < 1e-12);
        check_gradient(&q, squared);
    }

    #[test]
    fn projection_by_hand() {
        let z = atoms(-1.0, 1.0, 5);
        assert_eq!(z, [-1.0, -0.5, 0.0, 0.5, 1.0]);
        let check = |reward: f64, discount: f64, probs: [f64; 5], expected: [f64; 5]| {
            let m = categorical_projection(&[reward], &[discount], &probs, &z);
            for (got, expected) in m.iter().zip(expected) {
                assert!((got - expected).abs() < 1e-12, "{m:?}");
            }
        };
        let p = [0.1, 0.2, 0.3, 0.25, 0.15];
        // Right on the atoms nothing is lost: the identity, and a shift by one atom.
        check(0.0, 1.0, p, p);
        check(0.5, 1.0, p, [0.0, 0.1, 0.2, 0.3, 0.4]);
        // An end: everything at the reward, between two atoms in the ratio of the distances.
        check(0.1, 0.0, p, [0.0, 0.0, 0.8, 0.2, 0.0]);
        // Beyond the range.
        check(9.0, 0.9, p, [0.0, 0.0, 0.0, 0.0, 1.0]);
        check(-9.0, 0.9, p, [1.0, 0.0, 0.0, 0.0, 0.0]);
        // z = ±1 with discount ½ and reward ¼: -¼ lies amid -½ and 0, ¾ amid ½ and 1.
        check(0.25, 0.5, [0.5, 0.0, 0.0, 0.0, 0.5], [0.0, 0.25, 0.25, 0.25, 0.25]);
    }

    #[test]
    fn projection_keeps_the_mean_within_the_range() {
        let z = atoms(-10.0f64, 10.0, 51);
        let probs: Vec<f64> =
            (0..51).map(|i| (i as f64 - 20.0) / 1.0).map(|x| (-x * x / 30.0).exp()).collect();
        let total: f64 = probs.iter().sum();
        let probs: Vec<f64> = probs.iter().map(|p| p / total).collect();
        let mean = |p: &[f64]| p.iter().zip(&z).map(|(p, z)| p * z).sum::<f64>();
        let m = categorical_projection(&[0.3], &[0.9], &probs, &z);
        assert!((m.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((mean(&m) - (0.3 + 0.9 * mean(&probs))).abs() < 1e-9);
    }

    #[test]
    fn cross_entropy_by_hand_and_difference() {
        let log_p = [0.5f64, 0.25, 0.25, 0.1, 0.2, 0.7].map(f64::ln);
        let target = [1.0, 0.0, 0.0, 0.0, 0.5, 0.5];
        let weight = [2.0, 0.5];
        let loss =
            |x: &[f64], d: &mut [f64]| cross_entropy(x, &target, &weight, 0.5, d, &mut [0.0; 2]);
        let second = -0.5 * (0.2f64.ln() + 0.7f64.ln());
        let expected = 0.5 * (2.0 * 2.0f64.ln() + 0.5 * second);
        assert!((loss(&log_p, &mut [0.0; 6]) - expected).abs() < 1e-12);
        let mut rows = [9.0; 2];
        cross_entropy(&log_p, &target, &weight, 0.5, &mut [0.0; 6], &mut rows);
        assert!((rows[0] - 2.0f64.ln()).abs() < 1e-12 && (rows[1] - second).abs() < 1e-12);
        check_gradient(&log_p, loss);
    }

    /// Two quantiles (τ = ¼, ¾) at 0 and 2, targets 1 and -3, κ = 1. Differences y - θ: for θ = 0: 1 → ¼ · ½,
    /// -3 → ¾ · 2.5; for θ = 2: -1 → ¼ · ½, -5 → ¼ · 4.5. Means over the targets, summed over quantiles.
    #[test]
    fn quantile_loss_by_hand_and_difference() {
        let (theta, y) = ([0.0, 2.0], [1.0, -3.0]);
        let expected = 0.5 * (0.125 + 1.875 + 0.125 + 1.125);
        let loss =
            |x: &[f64], d: &mut [f64]| quantile_huber_loss(x, &y, &[], 1.0, 1.0, d, &mut [0.0; 1]);
        assert!((loss(&theta, &mut [0.0; 2]) - expected).abs() < 1e-12);
        check_gradient(&[0.3, 1.7], loss);
        // A row is compared with its own targets alone, however many there are.
        let (theta, y) = ([0.0, 2.0, 5.0, -1.0], [1.0, -3.0, 0.5, 4.0, 4.0, 4.0]);
        let both = |x: &[f64], d: &mut [f64], rows: &mut [f64]| {
            quantile_huber_loss(x, &y, &[1.0, 3.0], 0.7, 0.5, d, rows)
        };
        let (mut d, mut rows) = ([0.0; 4], [0.0; 2]);
        let sum = both(&theta, &mut d, &mut rows);
        let mut alone = [0.0; 2];
        let second =
            quantile_huber_loss(&theta[2..], &y[3..], &[], 0.7, 1.5, &mut alone, &mut [0.0]);
        assert_eq!(d[2..], alone);
        assert!((sum - 0.5 * rows[0] - second).abs() < 1e-12);
        check_gradient(&[0.3, 1.7, 4.9, -0.8], |x, d| both(x, d, &mut [0.0; 2]));
    }

    /// The minimiser of the plain quantile loss is the quantile: of 0, 1, 2, 3 the median lies between 1 and 2, so
    /// there the gradients of the targets cancel.
    #[test]
    fn the_quantile_is_where_the_loss_is_least() {
        let mut d = [0.0];
        quantile_huber_loss(&[1.5], &[0.0, 1.0, 2.0, 3.0], &[], 0.0, 1.0, &mut d, &mut [0.0]);
        assert_eq!(d, [0.0]);
    }
}
