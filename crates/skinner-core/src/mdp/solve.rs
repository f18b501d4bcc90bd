//! Dynamic programming (Sutton & Barto 2018, chapter 4), without and with a time limit.
//!
//! Values are `[num_states]`, action values `[num_states * num_actions]`, policies `[num_states]` actions.
//! After a terminated outcome nothing follows. A time limit of an environment is not part of its state:
//! a policy that does not know the time is *stationary*, and under a limit its value is a finite sum
//! ([`Mdp::evaluate_within`]). A plan that knows how many steps are left can do better
//! ([`Mdp::optimum_within`]).

use super::{Mdp, MdpError, Transition};

/// Sweeps after which values count as not converging.
const MAX_SWEEPS: u64 = 1 << 21;
/// From so many sweeps on, twice as many must bring the change down.
const PATIENCE: u64 = 1 << 12;
/// Action values closer than this, relative to their size, are equal.
const TIE: f64 = 1e-9;

/// The optimum of a process.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// V*, `[num_states]`.
    pub values: Vec<f64>,
    /// Q*, `[num_states * num_actions]`.
    pub q_values: Vec<f64>,
    /// An optimal action for each state.
    pub policy: Vec<usize>,
    /// Sweeps over all states that it took.
    pub sweeps: u64,
    /// Greatest violation of the Bellman optimality equation.
    pub residual: f64,
}

/// The optimum with a number of steps left: the best action depends on the time.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedPlan {
    /// Values at the first step, `[num_states]`.
    pub values: Vec<f64>,
    /// The best action at each time, `[steps * num_states]`.
    pub actions: Vec<usize>,
}

impl Mdp {
    /// What follows an outcome is worth: `r + γ V(s')`, and `r` where the episode ends.
    #[inline]
    fn worth(outcome: &Transition, values: &[f64], gamma: f64) -> f64 {
        let next = if outcome.terminated { 0.0 } else { gamma * values[outcome.next_state] };
        outcome.probability * (outcome.reward + next)
    }

    /// Q(s, a) from values of the next states: Σ p (r + γ V(s')) (Sutton & Barto 2018, eq. 4.6).
    #[inline]
    pub fn backup(&self, state: usize, action: usize, values: &[f64], gamma: f64) -> f64 {
        self.outcomes(state, action).iter().map(|t| Self::worth(t, values, gamma)).sum()
    }

    fn best_backup(&self, state: usize, values: &[f64], gamma: f64) -> f64 {
        let actions = 0..self.num_actions();
        actions.map(|a| self.backup(state, a, values, gamma)).fold(f64::NEG_INFINITY, f64::max)
    }

    /// Action values of one step followed by `values`.
    pub fn q_values(&self, values: &[f64], gamma: f64) -> Vec<f64> {
        let pairs = (0..self.num_states())
            .flat_map(|state| (0..self.num_actions()).map(move |action| (state, action)));
        pairs.map(|(state, action)| self.backup(state, action, values, gamma)).collect()
    }

    /// The greatest violation of the Bellman optimality equation V = max Q (Sutton & Barto 2018, eq. 4.1).
    /// With γ below 1, `values` are within `residual / (1 - γ)` of V*.
    pub fn bellman_residual(&self, values: &[f64], gamma: f64) -> f64 {
        let miss = |state: usize| (self.best_backup(state, values, gamma) - values[state]).abs();
        (0..self.num_states()).map(miss).fold(0.0, f64::max)
    }

    /// Sweeps in place until no value changes by more than `tolerance` of the largest.
    fn sweep_until(
        &self,
        gamma: f64,
        tolerance: f64,
        values: &mut [f64],
        backup: impl Fn(usize, &[f64]) -> f64,
    ) -> Result<u64, MdpError> {
        if !(0.0..=1.0).contains(&gamma) {
            return Err(MdpError::Gamma { gamma });
        }
        let mut before = f64::INFINITY;
        for sweep in 1..=MAX_SWEEPS {
            let mut change: f64 = 0.0;
            let mut size: f64 = 1.0;
            for state in 0..self.num_states() {
                let value = backup(state, values);
                change = change.max((value - values[state]).abs());
                size = size.max(value.abs());
                values[state] = value;
            }
            if change <= tolerance * size {
                return Ok(sweep);
            }
            if sweep >= PATIENCE && sweep.is_power_of_two() {
                if change >= 0.999 * before || sweep == MAX_SWEEPS {
                    return Err(MdpError::NotConverged { gamma, sweeps: sweep, change });
                }
                before = change;
            }
        }
        unreachable!("the last sweep is a power of two")
    }

    /// Value iteration, in place (Sutton & Barto 2018, section 4.4 and 4.5).
    ///
    /// # Errors
    /// If `gamma` is out of range, or the values have no bound.
    pub fn value_iteration(&self, gamma: f64, tolerance: f64) -> Result<Solution, MdpError> {
        let mut values = vec![0.0; self.num_states()];
        let sweeps = self.sweep_until(gamma, tolerance, &mut values, |state, values| {
            self.best_backup(state, values, gamma)
        })?;
        Ok(self.solution(values, gamma, sweeps))
    }

    /// Policy iteration (Sutton & Barto 2018, section 4.3). A policy changes only where that is better, so
    /// ties cannot make it go in circles. It begins with a policy that can end wherever any can.
    ///
    /// # Errors
    /// If `gamma` is out of range, or the values of a policy have no bound.
    pub fn policy_iteration(&self, gamma: f64, tolerance: f64) -> Result<Solution, MdpError> {
        let everything = vec![0.0; self.num_states() * self.num_actions()];
        let mut policy = self.ending_policy(&everything);
        let mut values = vec![0.0; self.num_states()];
        let mut sweeps = 0;
        loop {
            sweeps += self.sweep_until(gamma, tolerance, &mut values, |state, values| {
                self.backup(state, policy[state], values, gamma)
            })?;
            let improved = self.improve(&policy, &values, gamma);
            if improved == policy {
                return Ok(self.solution(values, gamma, sweeps));
            }
            policy = improved;
        }
    }

    fn improve(&self, policy: &[usize], values: &[f64], gamma: f64) -> Vec<usize> {
        let q_values = self.q_values(values, gamma);
        let rows = q_values.chunks_exact(self.num_actions());
        rows.zip(policy)
            .map(|(q, &action)| {
                let best = best_of(q);
                if ties(q[action], q[best]) { action } else { best }
            })
            .collect()
    }

    fn solution(&self, values: Vec<f64>, gamma: f64, sweeps: u64) -> Solution {
        let q_values = self.q_values(&values, gamma);
        let policy =
            if gamma < 1.0 { self.greedy(&q_values) } else { self.ending_policy(&q_values) };
        let residual = self.bellman_residual(&values, gamma);
        Solution { values, q_values, policy, sweeps, residual }
    }

    /// The greedy policy; of equal actions the first.
    pub fn greedy(&self, q_values: &[f64]) -> Vec<usize> {
        q_values.chunks_exact(self.num_actions()).map(first_best).collect()
    }

    /// A greedy policy that comes to an end wherever a greedy one can. Without discount an action that
    /// stays where it is may look as good as one that goes on; here such ties are broken towards an end,
    /// then by the first action.
    fn ending_policy(&self, q_values: &[f64]) -> Vec<usize> {
        let mut policy = self.greedy(q_values);
        let mut ends = vec![false; self.num_states()];
        loop {
            let before = ends.clone();
            for (state, q) in q_values.chunks_exact(self.num_actions()).enumerate() {
                let leads =
                    |t: &Transition| t.probability > 0.0 && (t.terminated || before[t.next_state]);
                let best = q[best_of(q)];
                let ending = |&action: &usize| {
                    ties(q[action], best) && self.outcomes(state, action).iter().any(leads)
                };
                if !before[state]
                    && let Some(action) = (0..self.num_actions()).find(ending)
                {
                    (policy[state], ends[state]) = (action, true);
                }
            }
            if ends == before {
                return policy;
            }
        }
    }

    /// The values of a policy for ever (iterative policy evaluation, Sutton & Barto 2018, section 4.1).
    ///
    /// # Errors
    /// If `gamma` is out of range, or the values have no bound: without discount each episode must end.
    pub fn evaluate(
        &self,
        policy: &[usize],
        gamma: f64,
        tolerance: f64,
    ) -> Result<Vec<f64>, MdpError> {
        self.assert_fits(policy);
        let mut values = vec![0.0; self.num_states()];
        self.sweep_until(gamma, tolerance, &mut values, |state, values| {
            self.backup(state, policy[state], values, gamma)
        })?;
        Ok(values)
    }

    /// The values of a stationary policy when episodes are cut off after `steps`: exact.
    pub fn evaluate_within(&self, policy: &[usize], gamma: f64, steps: usize) -> Vec<f64> {
        self.assert_fits(policy);
        self.backwards(steps, |state, values| self.backup(state, policy[state], values, gamma))
    }

    /// The values of [`optimum_within`](Self::optimum_within) at the first step, without its plan.
    pub fn best_within(&self, gamma: f64, steps: usize) -> Vec<f64> {
        self.backwards(steps, |state, values| self.best_backup(state, values, gamma))
    }

    /// Values from the last step to the first. What no step changes any more stays.
    fn backwards(&self, steps: usize, backup: impl Fn(usize, &[f64]) -> f64) -> Vec<f64> {
        let mut values = vec![0.0; self.num_states()];
        let mut earlier = values.clone();
        for _ in 0..steps {
            for state in 0..self.num_states() {
                earlier[state] = backup(state, &values);
            }
            if earlier == values {
                break;
            }
            std::mem::swap(&mut values, &mut earlier);
        }
        values
    }

    /// The best that any policy can do within `steps`, one that counts them included: exact. Of equal
    /// actions the first.
    pub fn optimum_within(&self, gamma: f64, steps: usize) -> TimedPlan {
        let mut values = vec![0.0; self.num_states()];
        let mut actions = Vec::with_capacity(steps * self.num_states());
        for _ in 0..steps {
            let q_values = self.q_values(&values, gamma);
            // The last step is known first: the plan is turned around below.
            actions.extend(self.greedy(&q_values).into_iter().rev());
            let rows = q_values.chunks_exact(self.num_actions());
            values = rows.map(|q| q[best_of(q)]).collect();
        }
        actions.reverse();
        TimedPlan { values, actions }
    }

    fn assert_fits(&self, policy: &[usize]) {
        assert_eq!(policy.len(), self.num_states(), "an action for each state");
        assert!(policy.iter().all(|&action| action < self.num_actions()), "actions that exist");
    }
}

fn best_of(q: &[f64]) -> usize {
    (0..q.len()).fold(0, |best, action| if q[action] > q[best] { action } else { best })
}

fn ties(value: f64, best: f64) -> bool {
    best - value <= TIE * best.abs().max(1.0)
}

/// The first of the actions that are as good as the best.
fn first_best(q: &[f64]) -> usize {
    let best = q[best_of(q)];
    q.iter().position(|&value| ties(value, best)).unwrap_or(0)
}
