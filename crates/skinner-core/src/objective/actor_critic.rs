//! Objectives of actors that learn through critics, off-policy: soft actor-critic for continuous and discrete
//! actions, twin delayed and plain deterministic policy gradients.
//!
//! `q` has one slice for each critic, all of the same shape: two of them are SAC's and TD3's, one is DDPG's. Where
//! several are given, the least counts. The critics themselves are fitted by [`value_loss`](super::value_loss).

use crate::real::Real;

/// What a critic is fitted to, `r + discount · V(s')`. `discount` is 0 after a termination alone, so that what follows
/// a truncation counts.
pub fn bootstrapped_target<F: Real>(reward: &[F], discount: &[F], next_value: &[F]) -> Vec<F> {
    let n = reward.len();
    assert!(discount.len() == n && next_value.len() == n, "one number a row");
    (0..n).map(|i| reward[i] + discount[i] * next_value[i]).collect()
}

/// The least of the critics' values, `min_i Q_i` (Fujimoto et al. 2018, eq. 10).
pub fn least_value<F: Real>(q: &[&[F]]) -> Vec<F> {
    let n = rows(q);
    (0..n).map(|i| q[least_critic(q, i)][i]).collect()
}

/// The value of an action that was drawn, `min_i Q_i(s, a) - α log π(a|s)` (Haarnoja et al. 2018b, eq. 3).
pub fn soft_value<F: Real>(q: &[&[F]], log_prob: &[F], alpha: F) -> Vec<F> {
    assert_eq!(rows(q), log_prob.len(), "one number a row");
    let mut value = least_value(q);
    value.iter_mut().zip(log_prob).for_each(|(value, &log_prob)| *value -= alpha * log_prob);
    value
}

/// SAC's loss of the actor, `scale Σ (α log π(a|s) - min_i Q_i(s, a))` (Haarnoja et al. 2018b, eq. 9), for actions
/// that move with the policy's parameters. The gradient in the values belongs to the least of them.
pub fn soft_actor_loss<F: Real>(
    q: &[&[F]],
    log_prob: &[F],
    alpha: F,
    scale: F,
    d_q: &mut [&mut [F]],
    d_log_prob: &mut [F],
) -> F {
    let n = rows(q);
    assert!(log_prob.len() == n && d_log_prob.len() == n, "one number a row");
    assert_eq!(d_q.len(), q.len(), "one gradient a critic");
    let mut loss = F::ZERO;
    for i in 0..n {
        let least = least_critic(q, i);
        loss += alpha * log_prob[i] - q[least][i];
        d_q[least][i] -= scale;
        d_log_prob[i] += scale * alpha;
    }
    scale * loss
}

/// The loss of SAC's temperature, `-scale Σ α (log π(a|s) + target_entropy)` (Haarnoja et al. 2018b, eq. 18), of
/// `ln α`, in which it adds the gradient. For discrete actions the log-probability's mean is given: minus the
/// entropy (Christodoulou 2019, eq. 11).
pub fn temperature_loss<F: Real>(
    log_alpha: F,
    log_prob: &[F],
    target_entropy: F,
    scale: F,
    d_log_alpha: &mut F,
) -> F {
    let excess: F = log_prob.iter().map(|&log_prob| log_prob + target_entropy).sum();
    let loss = -scale * log_alpha.exp() * excess;
    *d_log_alpha += loss;
    loss
}

/// The value of a state under discrete actions, `Σ_a π(a|s) (min_i Q_i(s, a) - α log π(a|s))` (Christodoulou 2019,
/// eq. 10): `[batch]`. Values and log-probabilities are `[batch, num_actions]`.
pub fn expected_soft_value<F: Real>(
    q: &[&[F]],
    log_probs: &[F],
    num_actions: usize,
    alpha: F,
) -> Vec<F> {
    assert_eq!(rows(q), log_probs.len(), "one number an action");
    let worth = |i: usize| log_probs[i].exp() * (q[least_critic(q, i)][i] - alpha * log_probs[i]);
    let row = |i: usize| (i * num_actions..(i + 1) * num_actions).map(worth).sum();
    (0..log_probs.len() / num_actions).map(row).collect()
}

/// The loss of an actor with discrete actions, `scale Σ_s Σ_a π(a|s) (α log π(a|s) - min_i Q_i(s, a))` (Christodoulou
/// 2019, eq. 12). Adds the gradient in the log-probabilities, each taken as free; the values are constants.
pub fn expected_soft_actor_loss<F: Real>(
    q: &[&[F]],
    log_probs: &[F],
    alpha: F,
    scale: F,
    d_log_probs: &mut [F],
) -> F {
    let n = rows(q);
    assert!(log_probs.len() == n && d_log_probs.len() == n, "one number an action");
    let mut loss = F::ZERO;
    for i in 0..n {
        let (prob, cost) = (log_probs[i].exp(), alpha * log_probs[i] - q[least_critic(q, i)][i]);
        loss += prob * cost;
        d_log_probs[i] += scale * prob * (cost + alpha);
    }
    scale * loss
}

/// The deterministic policy gradient's loss, `-scale Σ Q(s, μ(s))` (Silver et al. 2014, eq. 9; Lillicrap et al. 2016,
/// eq. 6), of the values of the actor's own actions.
pub fn deterministic_actor_loss<F: Real>(q: &[F], scale: F, d_q: &mut [F]) -> F {
    assert_eq!(q.len(), d_q.len(), "one gradient a row");
    d_q.iter_mut().for_each(|d| *d -= scale);
    -scale * q.iter().copied().sum::<F>()
}

/// TD3's actions for targets, `clip(a + clip(σ ε, -c, c), -1, 1)` (Fujimoto et al. 2018, section 5.3), in place; `noise` is
/// ε, drawn from a standard normal.
pub fn smooth_actions<F: Real>(action: &mut [F], noise: &[F], std: F, bound: F) {
    assert_eq!(action.len(), noise.len(), "one draw a component");
    for (a, &noise) in action.iter_mut().zip(noise) {
        *a = (*a + (std * noise).clamp(-bound, bound)).clamp(-F::ONE, F::ONE);
    }
}

/// Numbers of each critic.
fn rows<F: Real>(q: &[&[F]]) -> usize {
    assert!(!q.is_empty() && q.iter().all(|of_one| of_one.len() == q[0].len()), "alike critics");
    q[0].len()
}

/// The critic whose value number `i` is the least, the first of equals.
fn least_critic<F: Real>(q: &[&[F]], i: usize) -> usize {
    (1..q.len()).fold(0, |least, other| if q[other][i] < q[least][i] { other } else { least })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite_difference::check_gradient;

    const FIRST: [f64; 3] = [1.0, 2.0, -1.0];
    const SECOND: [f64; 3] = [0.5, 3.0, -1.5];
    const LOG_PROB: [f64; 3] = [-1.0, 0.5, -2.0];

    fn close(a: &[f64], b: &[f64]) {
        assert_eq!(a.len(), b.len());
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12), "{a:?} is not {b:?}");
    }

    /// The least values are 0.5, 2 and -1.5.
    #[test]
    fn soft_targets_by_hand() {
        let next = soft_value(&[&FIRST, &SECOND], &LOG_PROB, 0.2);
        close(&next, &[0.7, 1.9, -1.1]);
        // The second row terminated; the third was cut off, which its discount does not show.
        let target = bootstrapped_target(&[1.0, 2.0, 3.0], &[0.9, 0.0, 0.9], &next);
        close(&target, &[1.63, 2.0, 2.01]);
        close(&least_value(&[&FIRST[..]]), &FIRST);
        close(&soft_value(&[&FIRST[..]], &LOG_PROB, 0.0), &FIRST);
    }

    #[test]
    fn soft_actor_loss_by_hand_and_difference() {
        let (mut d_first, mut d_second, mut d_log_prob) = ([0.0; 3], [0.0; 3], [0.0; 3]);
        let mut d_q = [&mut d_first[..], &mut d_second[..]];
        let q = [&FIRST[..], &SECOND];
        let loss = soft_actor_loss(&q, &LOG_PROB, 0.2, 0.5, &mut d_q, &mut d_log_prob);
        // ½ (0.2 (-1 + 0.5 - 2) - (0.5 + 2 - 1.5))
        close(&[loss], &[-0.75]);
        close(&d_first, &[0.0, -0.5, 0.0]);
        close(&d_second, &[-0.5, 0.0, -0.5]);
        close(&d_log_prob, &[0.1; 3]);
        let x = [&FIRST[..], &SECOND, &LOG_PROB].concat();
        check_gradient(&x, |x, d| {
            let (d_q, d_log_prob) = d.split_at_mut(6);
            let (d_first, d_second) = d_q.split_at_mut(3);
            let (q, log_prob) = ([&x[..3], &x[3..6]], &x[6..]);
            soft_actor_loss(&q, log_prob, 0.2, 0.5, &mut [d_first, d_second], d_log_prob)
        });
    }

    /// Where the policy is more certain than it should be, descending raises the temperature.
    #[test]
    fn temperature_by_hand_and_difference() {
        let mut d = 0.0;
        let loss = temperature_loss(0.5f64.ln(), &LOG_PROB, -1.0, 1.0 / 3.0, &mut d);
        // -0.5 · mean(-2, -0.5, -3)
        close(&[loss, d], &[5.5 / 6.0; 2]);
        let mut d = 0.0;
        temperature_loss(0.5f64.ln(), &[3.0], -1.0, 1.0, &mut d);
        assert!(d < 0.0, "log-probability 3 is an entropy of -3, below -1");
        check_gradient(&[-0.7], |x, d| temperature_loss(x[0], &LOG_PROB, 1.5, 0.2, &mut d[0]));
    }

    /// One state, two actions with probabilities ¼ and ¾, least values 1 and 2.
    #[test]
    fn expectations_by_hand_and_difference() {
        let log_probs = [0.25f64.ln(), 0.75f64.ln()];
        let q = [&[1.0, 5.0][..], &[4.0, 2.0]];
        let entropy = -(0.25 * log_probs[0] + 0.75 * log_probs[1]);
        close(&expected_soft_value(&q, &log_probs, 2, 0.2), &[1.75 + 0.2 * entropy]);
        let loss = expected_soft_actor_loss(&q, &log_probs, 0.2, 0.5, &mut [0.0; 2]);
        close(&[loss], &[-0.5 * (1.75 + 0.2 * entropy)]);
        check_gradient(&[-1.2, -0.4], |x, d| expected_soft_actor_loss(&q, x, 0.2, 0.5, d));
    }

    /// The best policy under entropy is the softmax of `Q / α`: there the gradient in its logits is 0.
    #[test]
    fn the_softmax_of_the_values_is_optimal() {
        let (q, alpha) = ([0.3, -0.2, 1.1], 0.5);
        let mut log_probs = q.map(|q| q / alpha);
        let mut probs = [0.0; 3];
        crate::distribution::log_softmax(&mut log_probs, &mut probs);
        let mut d = [0.0; 3];
        expected_soft_actor_loss(&[&q[..]], &log_probs, alpha, 1.0, &mut d);
        crate::distribution::log_softmax_backward(&probs, &mut d);
        close(&d, &[0.0; 3]);
        // Its value is α ln Σ exp(Q / α).
        let sum: f64 = q.iter().map(|q| (q / alpha).exp()).sum();
        let value = expected_soft_value(&[&q[..]], &log_probs, 3, alpha);
        close(&value, &[alpha * sum.ln()]);
    }

    #[test]
    fn deterministic_losses_by_hand_and_difference() {
        let mut d = [0.0; 3];
        close(&[deterministic_actor_loss(&FIRST, 0.5, &mut d)], &[-1.0]);
        close(&d, &[-0.5; 3]);
        check_gradient(&FIRST, |x, d| deterministic_actor_loss(x, 0.5, d));
        // Noise of 0.2, -0.6 (bounded to -0.5) and 0.4, the last of which leaves the box.
        let mut action = [0.0, 0.3, 0.9];
        smooth_actions(&mut action, &[1.0, -3.0, 2.0], 0.2, 0.5);
        close(&action, &[0.2, -0.2, 1.0]);
    }

    #[test]
    fn gradients_are_added_to_what_is_there() {
        let (mut d_q, mut d_log_prob, mut d_log_alpha) = ([10.0; 3], [10.0; 3], 10.0);
        soft_actor_loss(&[&FIRST[..]], &LOG_PROB, 0.2, 0.5, &mut [&mut d_q[..]], &mut d_log_prob);
        temperature_loss(0.0, &LOG_PROB, 2.5 / 3.0, 1.0, &mut d_log_alpha);
        close(&d_q, &[9.5; 3]);
        close(&d_log_prob, &[10.1; 3]);
        close(&[d_log_alpha], &[10.0]);
        deterministic_actor_loss(&FIRST, 0.5, &mut d_q);
        close(&d_q, &[9.0; 3]);
        expected_soft_actor_loss(&[&[0.0][..]], &[0.0], 0.5, 1.0, &mut d_q[..1]);
        close(&d_q, &[9.5, 9.0, 9.0]);
    }
}
