//! Returns and advantages: how good was what happened, compared with what was expected.
//!
//! All functions read time-major slices `[num_steps, num_envs]` and keep termination and truncation
//! apart: after a *terminated* step nothing follows, so its successor is worth 0; after a *truncated*
//! step the episode would have gone on, so the successor's value is bootstrapped; after either, the
//! next row belongs to another episode and no trace crosses over (Pardo et al. 2018, *Time Limits in
//! Reinforcement Learning*).

pub mod group;

use crate::real::Real;

/// A rollout as the estimators see it; every slice is `[num_steps, num_envs]`.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'a, F> {
    /// Reward of the step.
    pub reward: &'a [F],
    /// Value of the observation acted on.
    pub value: &'a [F],
    /// Value of the observation that followed *in the same episode* (for a truncated step: the final
    /// observation, not the first of the next episode). Not read where `terminated`.
    pub next_value: &'a [F],
    /// The task ended in this step.
    pub terminated: &'a [bool],
    /// The episode was cut off in this step.
    pub truncated: &'a [bool],
    /// Number of environments: the length of one row.
    pub num_envs: usize,
}

impl<F: Real> Steps<'_, F> {
    fn check(&self) {
        let n = self.reward.len();
        assert!(self.num_envs > 0 && n.is_multiple_of(self.num_envs), "[num_steps, num_envs]");
        assert_eq!(self.value.len(), n, "value: one a step");
        assert_eq!(self.next_value.len(), n, "next_value: one a step");
        assert_eq!(self.terminated.len(), n, "terminated: one a step");
        assert_eq!(self.truncated.len(), n, "truncated: one a step");
    }

    fn done(&self, i: usize) -> bool {
        self.terminated[i] || self.truncated[i]
    }

    /// Value of what follows step `i`: 0 after termination.
    fn successor(&self, i: usize) -> F {
        if self.terminated[i] { F::ZERO } else { self.next_value[i] }
    }

    /// Whether the row below `i` is the next step of the same episode.
    fn continues(&self, i: usize) -> bool {
        !self.done(i) && i + self.num_envs < self.reward.len()
    }
}

/// Discounted returns to go, `G_t = r_t + γ G_{t+1}` (Sutton & Barto 2018, eq. 3.9). The rollout's end
/// and truncated steps are bootstrapped with `next_value`.
pub fn discounted<F: Real>(steps: &Steps<'_, F>, gamma: F) -> Vec<F> {
    steps.check();
    let mut returns = vec![F::ZERO; steps.reward.len()];
    for i in (0..returns.len()).rev() {
        let next =
            if steps.continues(i) { returns[i + steps.num_envs] } else { steps.successor(i) };
        returns[i] = steps.reward[i] + gamma * next;
    }
    returns
}

/// n-step returns, `r_t + … + γ^{n-1} r_{t+n-1} + γ^n V(s_{t+n})` (Sutton & Barto 2018, eq. 7.1),
/// shorter where the episode or the rollout ends.
///
/// # Panics
/// If `n` is zero.
pub fn n_step<F: Real>(steps: &Steps<'_, F>, gamma: F, n: usize) -> Vec<F> {
    steps.check();
    assert!(n > 0, "n-step returns need n of at least 1");
    (0..steps.reward.len())
        .map(|start| {
            let mut i = start;
            let mut sum = steps.reward[i];
            let mut discount = gamma;
            for _ in 1..n {
                if !steps.continues(i) {
                    break;
                }
                i += steps.num_envs;
                sum += discount * steps.reward[i];
                discount *= gamma;
            }
            sum + discount * steps.successor(i)
        })
        .collect()
}

/// Generalised advantage estimation, `A_t = δ_t + γλ A_{t+1}`, `δ_t = r_t + γ V(s_{t+1}) - V(s_t)`
/// (Schulman et al. 2016, eq. 16).
pub fn gae<F: Real>(steps: &Steps<'_, F>, gamma: F, gae_lambda: F) -> Vec<F> {
    steps.check();
    let mut advantage = vec![F::ZERO; steps.reward.len()];
    for i in (0..advantage.len()).rev() {
        let delta = steps.reward[i] + gamma * steps.successor(i) - steps.value[i];
        let trace = if steps.continues(i) { advantage[i + steps.num_envs] } else { F::ZERO };
        advantage[i] = delta + gamma * gae_lambda * trace;
    }
    advantage
}

/// λ-returns, `G^λ_t = r_t + γ((1-λ) V(s_{t+1}) + λ G^λ_{t+1})` (Sutton & Barto 2018, eq. 12.2): the
/// value targets that belong to [`gae`].
pub fn lambda_returns<F: Real>(steps: &Steps<'_, F>, gamma: F, lambda: F) -> Vec<F> {
    steps.check();
    let mut returns = vec![F::ZERO; steps.reward.len()];
    for i in (0..returns.len()).rev() {
        let value = steps.successor(i);
        let next = if steps.continues(i) {
            (F::ONE - lambda) * value + lambda * returns[i + steps.num_envs]
        } else {
            value
        };
        returns[i] = steps.reward[i] + gamma * next;
    }
    returns
}

/// What [`vtrace`] estimates.
#[derive(Clone, Debug, PartialEq)]
pub struct Vtrace<F> {
    /// Value targets `v_s`.
    pub value_target: Vec<F>,
    /// Policy-gradient advantages `ρ_s (r_s + γ v_{s+1} - V(x_s))`.
    pub advantage: Vec<F>,
}

/// V-trace, the off-policy correction of IMPALA (Espeholt et al. 2018, eq. 1 and 4).
///
/// `ratio` is π/μ of the action taken, not its logarithm; `rho_bar` and `c_bar` are the clips.
pub fn vtrace<F: Real>(
    steps: &Steps<'_, F>,
    ratio: &[F],
    gamma: F,
    lambda: F,
    rho_bar: F,
    c_bar: F,
) -> Vtrace<F> {
    steps.check();
    assert_eq!(ratio.len(), steps.reward.len(), "ratio: one a step");
    let n = ratio.len();
    let mut value_target = vec![F::ZERO; n];
    let mut advantage = vec![F::ZERO; n];
    for i in (0..n).rev() {
        let rho = ratio[i].min(rho_bar);
        let c = lambda * ratio[i].min(c_bar);
        let delta = rho * (steps.reward[i] + gamma * steps.successor(i) - steps.value[i]);
        let (trace, next_target) = if steps.continues(i) {
            let below = i + steps.num_envs;
            (value_target[below] - steps.value[below], value_target[below])
        } else {
            (F::ZERO, steps.successor(i))
        };
        value_target[i] = steps.value[i] + delta + gamma * c * trace;
        advantage[i] = rho * (steps.reward[i] + gamma * next_target - steps.value[i]);
    }
    Vtrace { value_target, advantage }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(actual: &[f64], expected: &[f64]) {
        assert_eq!(actual.len(), expected.len());
        for (a, e) in actual.iter().zip(expected) {
            assert!((a - e).abs() < 1e-9, "{actual:?} is not {expected:?}");
        }
    }

    fn steps<'a>(
        reward: &'a [f64],
        value: &'a [f64],
        next_value: &'a [f64],
        ends: &'a ([bool; 3], [bool; 3]),
    ) -> Steps<'a, f64> {
        let (terminated, truncated) = ends;
        Steps { reward, value, next_value, terminated, truncated, num_envs: 1 }
    }

    const REWARD: [f64; 3] = [1.0, 2.0, 3.0];
    const VALUE: [f64; 3] = [0.5, 1.0, 1.5];
    const NEXT: [f64; 3] = [1.0, 1.5, 4.0];
    const RUNS_ON: ([bool; 3], [bool; 3]) = ([false; 3], [false; 3]);
    const TERMINATES: ([bool; 3], [bool; 3]) = ([false, true, false], [false; 3]);
    const TRUNCATES: ([bool; 3], [bool; 3]) = ([false; 3], [false, true, false]);

    /// By hand with gamma 0.5: 1 + .5(2 + .5(3 + .5·4)) and its variants.
    #[test]
    fn discounted_returns_by_hand() {
        let check = |ends, expected: [f64; 3]| {
            close(&discounted(&steps(&REWARD, &VALUE, &NEXT, ends), 0.5), &expected);
        };
        check(&RUNS_ON, [3.25, 4.5, 5.0]);
        check(&TERMINATES, [2.0, 2.0, 5.0]);
        check(&TRUNCATES, [2.375, 2.75, 5.0]);
    }

    /// By hand with gamma 0.5, lambda 0.5: deltas [1, 1.75, 3.5] and what follows from them.
    #[test]
    fn gae_by_hand() {
        let check = |ends, expected: [f64; 3]| {
            close(&gae(&steps(&REWARD, &VALUE, &NEXT, ends), 0.5, 0.5), &expected);
        };
        check(&RUNS_ON, [1.656_25, 2.625, 3.5]);
        check(&TERMINATES, [1.25, 1.0, 3.5]);
        check(&TRUNCATES, [1.437_5, 1.75, 3.5]);
    }

    /// The reference README's case; IMPALA's own test never clips.
    #[test]
    fn vtrace_golden() {
        let v = [0.0, 1.0, 2.0, 3.0, 4.0];
        let no = [false; 5];
        let next = [1.0, 2.0, 3.0, 4.0, 1.0];
        let steps = Steps {
            reward: &v,
            value: &v,
            next_value: &next,
            terminated: &no,
            truncated: &no,
            num_envs: 1,
        };
        let out = vtrace(&steps, &[0.3, 2.0, 0.5, 4.0, 0.8], 0.9, 1.0, 1.0, 1.0);
        close(&out.value_target, &[1.548_568_8, 5.735_44, 5.261_6, 7.248, 4.72]);
        close(&out.advantage, &[1.548_568_8, 4.735_44, 3.261_6, 4.248, 0.72]);
    }

    /// By hand, gamma 1, one step that ends and one that goes on, ρ̄ = 2, c̄ = 0.5, λ = 0.5:
    /// δ = [1.5 (1 + 3 - 2), 2 (2 + 5 - 3)] = [3, 8]; the targets
    /// are 3 + 8 = 11 and 2 + 3 + 0.5 · 0.5 · (11 - 3) = 7.
    #[test]
    fn vtrace_clips_and_lambda_by_hand() {
        let no = [false; 2];
        let steps = Steps {
            reward: &[1.0, 2.0],
            value: &[2.0, 3.0],
            next_value: &[3.0, 5.0],
            terminated: &no,
            truncated: &no,
            num_envs: 1,
        };
        let out = vtrace(&steps, &[1.5, 4.0], 1.0, 0.5, 2.0, 0.5);
        close(&out.value_target, &[7.0, 11.0]);
        close(&out.advantage, &[1.5 * (1.0 + 11.0 - 2.0), 8.0]);
        let ended =
            vtrace(&Steps { terminated: &[true, false], ..steps }, &[1.5, 4.0], 1.0, 0.5, 2.0, 0.5);
        close(&ended.value_target, &[2.0 + 1.5 * (1.0 - 2.0), 11.0]);
        close(&ended.advantage, &[1.5 * (1.0 - 2.0), 8.0]);
        let cut =
            vtrace(&Steps { truncated: &[true, false], ..steps }, &[1.5, 4.0], 1.0, 0.5, 2.0, 0.5);
        close(&cut.value_target, &[2.0 + 3.0, 11.0]);
        close(&cut.advantage, &[3.0, 8.0]);
    }

    #[test]
    fn environments_do_not_mix() {
        let two = |a: [f64; 3], b: [f64; 3]| -> Vec<f64> {
            a.iter().zip(&b).flat_map(|(&x, &y)| [x, y]).collect()
        };
        let (reward, value, next) = (two(REWARD, VALUE), two(VALUE, NEXT), two(NEXT, REWARD));
        let (no, end) = ([false; 6], [false, false, true, false, false, false]);
        let both = Steps {
            reward: &reward,
            value: &value,
            next_value: &next,
            terminated: &end,
            truncated: &no,
            num_envs: 2,
        };
        let together = gae(&both, 0.9, 0.8);
        let first = gae(&steps(&REWARD, &VALUE, &NEXT, &TERMINATES), 0.9, 0.8);
        let second = gae(&steps(&VALUE, &NEXT, &REWARD, &RUNS_ON), 0.9, 0.8);
        close(&together, &[first[0], second[0], first[1], second[1], first[2], second[2]]);
    }

    proptest! {
        /// λ = 1 is the discounted return, λ = 0 the one-step target, GAE their difference from V,
        /// n beyond the end the discounted return, and V-trace on policy the λ-return.
        #[test]
        fn the_estimators_agree_where_they_should(
            rows in proptest::collection::vec((-5.0..5.0, -5.0..5.0, -5.0..5.0, 0..6u8), 1..12),
            gamma in 0.0..1.0f64,
            lambda in 0.0..1.0f64,
        ) {
            let reward: Vec<f64> = rows.iter().map(|r| r.0).collect();
            let value: Vec<f64> = rows.iter().map(|r| r.1).collect();
            let terminated: Vec<bool> = rows.iter().map(|r| r.3 == 0).collect();
            let truncated: Vec<bool> = rows.iter().map(|r| r.3 == 1).collect();
            let next_value: Vec<f64> = (0..rows.len())
                .map(|i| if i + 1 < rows.len() && !truncated[i] { value[i + 1] } else { rows[i].2 })
                .collect();
            let steps = Steps {
                reward: &reward, value: &value, next_value: &next_value,
                terminated: &terminated, truncated: &truncated, num_envs: 1,
            };
            let monte_carlo = discounted(&steps, gamma);
            close(&lambda_returns(&steps, gamma, 1.0), &monte_carlo);
            close(&n_step(&steps, gamma, rows.len()), &monte_carlo);
            close(&n_step(&steps, gamma, 1), &lambda_returns(&steps, gamma, 0.0));
            let target = lambda_returns(&steps, gamma, lambda);
            let advantage = gae(&steps, gamma, lambda);
            let sum: Vec<f64> = advantage.iter().zip(&value).map(|(a, v)| a + v).collect();
            close(&sum, &target);
            let on_policy = vtrace(&steps, &vec![1.0; rows.len()], gamma, lambda, 1.0, 1.0);
            close(&on_policy.value_target, &target);
        }
    }
}
