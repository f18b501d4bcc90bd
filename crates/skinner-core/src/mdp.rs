//! Finite Markov decision processes whose dynamics are known, and what can be computed from them exactly.
//!
//! An [`Mdp`] is made from any environment that is [`Tabular`], or from a table that a user writes
//! ([`MdpTable`]). [`solve`] has the planning methods of Sutton & Barto 2018, chapter 4: value iteration,
//! policy iteration, the exact value of a policy, and all of it under a time limit.
//!
//! ```
//! use skinner_core::mdp::{Mdp, Tabular, Transition};
//!
//! /// Stop for 1 now, or pass through a state that pays 3 in the next step.
//! struct Patience;
//! impl Tabular for Patience {
//!     fn num_states(&self) -> usize { 2 }
//!     fn num_actions(&self) -> usize { 2 }
//!     fn transitions(&self, state: usize, action: usize) -> Vec<Transition> {
//!         vec![match (state, action) {
//!             (0, 1) => Transition::certain(1, 0.0, false),
//!             (0, _) => Transition::certain(0, 1.0, true),
//!             _ => Transition::certain(1, 3.0, true),
//!         }]
//!     }
//!     fn initial_distribution(&self) -> Vec<f64> { vec![1.0, 0.0] }
//! }
//!
//! let mdp = Mdp::new(&Patience)?;
//! let solution = mdp.value_iteration(0.5, 1e-10)?;
//! assert_eq!((solution.values[0], solution.policy[0]), (1.5, 1));
//! assert_eq!(mdp.value_iteration(0.3, 1e-10)?.policy[0], 0);
//! # Ok::<(), skinner_core::mdp::MdpError>(())
//! ```

mod error;
pub mod layout;
pub mod solve;
mod table;

pub use error::MdpError;
pub use layout::{Cell, Layout, Mark, Panel};
pub use solve::{Solution, TimedPlan};
pub use table::{MdpTable, Row, Start};

use serde::{Deserialize, Serialize};

/// Probabilities that should sum to one may miss it by this, as `0.333333` thrice does.
const SUM_TOLERANCE: f64 = 1e-5;

/// One possible outcome of an action in a state.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// How likely the outcome is; the outcomes of one action sum to one.
    pub probability: f64,
    /// The state that follows.
    pub next_state: usize,
    /// The reward of the step, its mean where it is random beside the next state.
    pub reward: f64,
    /// Whether the episode ends here.
    pub terminated: bool,
}

impl Transition {
    /// The outcome of an action that has no other.
    pub fn certain(next_state: usize, reward: f64, terminated: bool) -> Self {
        Self { probability: 1.0, next_state, reward, terminated }
    }
}

/// A finite environment that can say what each action does: the model of dynamic programming.
///
/// The table describes the dynamics of `step`: same states, same order of outcomes, same probabilities.
pub trait Tabular {
    /// States are `0..num_states`.
    fn num_states(&self) -> usize;

    /// Actions are `0..num_actions`, the same in each state.
    fn num_actions(&self) -> usize;

    /// Every outcome of `action` in `state`; the same next state may be listed more than once.
    fn transitions(&self, state: usize, action: usize) -> Vec<Transition>;

    /// The probability of each state to be the first of an episode.
    fn initial_distribution(&self) -> Vec<f64>;

    /// What the agent sees of a state: the state itself, unless parts of it are hidden.
    fn observed(&self, state: usize) -> usize {
        state
    }

    /// The table as a process, with names where there are any.
    ///
    /// # Errors
    /// What is wrong with the table.
    fn to_mdp(&self) -> Result<Mdp, MdpError> {
        Mdp::new(self)
    }

    /// How observations are laid out for a reader, where they have a place.
    fn layout(&self) -> Option<Layout> {
        None
    }
}

/// A finite Markov decision process with known dynamics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mdp {
    num_actions: usize,
    outcomes: Vec<Transition>,
    /// `[num_states * num_actions + 1]`: where the outcomes of each state and action begin.
    first: Vec<usize>,
    start: Vec<f64>,
    observed: Vec<usize>,
    /// Empty where states have no names.
    state_names: Vec<String>,
    action_names: Vec<String>,
}

impl Mdp {
    /// The process that a tabular environment describes.
    ///
    /// # Errors
    /// If there is no state or action, probabilities are none or do not sum to one, or an outcome leads
    /// nowhere.
    pub fn new(table: &(impl Tabular + ?Sized)) -> Result<Self, MdpError> {
        let (num_states, num_actions) = (table.num_states(), table.num_actions());
        let mut mdp = Self {
            num_actions,
            outcomes: Vec::new(),
            first: vec![0],
            start: table.initial_distribution(),
            observed: (0..num_states).map(|state| table.observed(state)).collect(),
            state_names: Vec::new(),
            action_names: Vec::new(),
        };
        for state in 0..num_states {
            for action in 0..num_actions {
                mdp.outcomes.extend(table.transitions(state, action));
                mdp.first.push(mdp.outcomes.len());
            }
        }
        mdp.check()?;
        Ok(mdp)
    }

    fn check(&mut self) -> Result<(), MdpError> {
        if self.num_states() == 0 || self.num_actions == 0 {
            let what = if self.num_actions == 0 { "action" } else { "state" };
            return Err(MdpError::Empty { what });
        }
        for state in 0..self.num_states() {
            for action in 0..self.num_actions {
                self.check_outcomes(state, action)?;
            }
        }
        self.check_start()
    }

    fn check_outcomes(&mut self, state: usize, action: usize) -> Result<(), MdpError> {
        let names = || (self.state_name(state), self.action_name(action));
        let outcomes = self.outcomes(state, action);
        if outcomes.is_empty() {
            let (state, action) = names();
            return Err(MdpError::Missing { state, action });
        }
        for outcome in outcomes {
            let (state, action) = names();
            if outcome.next_state >= self.num_states() {
                let next = outcome.next_state.to_string();
                return Err(MdpError::NextState { state, action, next });
            }
            let next = self.state_name(outcome.next_state);
            if !(0.0..=1.0).contains(&outcome.probability) {
                let value = outcome.probability;
                return Err(MdpError::Probability { state, action, next, value });
            }
            if !outcome.reward.is_finite() {
                let value = outcome.reward;
                return Err(MdpError::Reward { state, action, next, value });
            }
        }
        let sum: f64 = outcomes.iter().map(|outcome| outcome.probability).sum();
        if (sum - 1.0).abs() > SUM_TOLERANCE {
            let (state, action) = names();
            return Err(MdpError::Sum { state, action, sum });
        }
        Ok(())
    }

    fn check_start(&self) -> Result<(), MdpError> {
        if self.start.len() != self.num_states() {
            let (has, needs) = (self.start.len(), self.num_states());
            return Err(MdpError::StartLength { has, needs });
        }
        for (state, &value) in self.start.iter().enumerate() {
            if !(0.0..=1.0).contains(&value) {
                return Err(MdpError::StartProbability { state: self.state_name(state), value });
            }
        }
        let sum: f64 = self.start.iter().sum();
        if (sum - 1.0).abs() > SUM_TOLERANCE {
            return Err(MdpError::StartSum { sum });
        }
        Ok(())
    }

    /// States are `0..num_states`.
    #[inline]
    pub fn num_states(&self) -> usize {
        (self.first.len() - 1) / self.num_actions.max(1)
    }

    /// Actions are `0..num_actions`, the same in each state.
    #[inline]
    pub fn num_actions(&self) -> usize {
        self.num_actions
    }

    /// Every outcome of `action` in `state`.
    #[inline]
    pub fn outcomes(&self, state: usize, action: usize) -> &[Transition] {
        let pair = state * self.num_actions + action;
        &self.outcomes[self.first[pair]..self.first[pair + 1]]
    }

    /// `[num_states]`: the probability of each state to be the first of an episode.
    pub fn start(&self) -> &[f64] {
        &self.start
    }

    /// What is seen of a state; see [`Tabular::observed`].
    #[inline]
    pub fn observed(&self, state: usize) -> usize {
        self.observed[state]
    }

    /// For each state the action that a policy on observations takes.
    pub fn policy_on_states(&self, on_observations: &[usize]) -> Vec<usize> {
        self.observed.iter().map(|&observation| on_observations[observation]).collect()
    }

    /// The name of a state, its number where it has none.
    pub fn state_name(&self, state: usize) -> String {
        self.state_names.get(state).cloned().unwrap_or_else(|| state.to_string())
    }

    /// The name of an action, its number where it has none.
    pub fn action_name(&self, action: usize) -> String {
        self.action_names.get(action).cloned().unwrap_or_else(|| action.to_string())
    }

    /// The state called so.
    pub fn state_named(&self, name: &str) -> Option<usize> {
        self.state_names.iter().position(|known| known == name)
    }

    /// The mean over starts of `[num_states]` values.
    pub fn at_start(&self, values: &[f64]) -> f64 {
        self.start.iter().zip(values).map(|(probability, value)| probability * value).sum()
    }

    /// States that an episode can come to, by any actions.
    pub fn reachable(&self) -> Vec<bool> {
        let mut seen = vec![false; self.num_states()];
        let mut open: Vec<usize> =
            (0..self.num_states()).filter(|&state| self.start[state] > 0.0).collect();
        while let Some(state) = open.pop() {
            if std::mem::replace(&mut seen[state], true) {
                continue;
            }
            let actions = 0..self.num_actions;
            let outcomes = actions.flat_map(|action| self.outcomes(state, action));
            open.extend(
                outcomes.filter(|t| t.probability > 0.0 && !t.terminated).map(|t| t.next_state),
            );
        }
        seen
    }

    /// States from which an episode can end, by some actions.
    pub fn can_end(&self) -> Vec<bool> {
        let mut ends = vec![false; self.num_states()];
        loop {
            let before = ends.clone();
            for state in 0..self.num_states() {
                let leads =
                    |t: &Transition| t.probability > 0.0 && (t.terminated || ends[t.next_state]);
                let found =
                    (0..self.num_actions).any(|a| self.outcomes(state, a).iter().any(leads));
                ends[state] |= found;
            }
            if ends == before {
                return ends;
            }
        }
    }

    /// What looks like a mistake in the table, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let (reachable, ends) = (self.reachable(), self.can_end());
        let named = |which: &dyn Fn(usize) -> bool| -> Vec<String> {
            let states = (0..self.num_states()).filter(|&state| which(state));
            states.map(|state| format!("`{}`", self.state_name(state))).collect()
        };
        let mut warnings = Vec::new();
        let never = named(&|state| !reachable[state] && !self.is_end(state));
        if !never.is_empty() {
            warnings.push(format!("no episode comes to {}", never.join(", ")));
        }
        let stuck = named(&|state| reachable[state] && !ends[state]);
        if stuck.len() == reachable.iter().filter(|&&reached| reached).count() {
            warnings.push("no episode ever ends: it needs a time limit, or a gamma below 1".into());
        } else if !stuck.is_empty() {
            warnings.push(format!("no episode ends any more once it is in {}", stuck.join(", ")));
        }
        warnings
    }

    /// Whether nothing follows a state: each of its actions ends the episode there, with reward 0.
    pub fn is_end(&self, state: usize) -> bool {
        let rests = |t: &Transition| t.terminated && t.next_state == state && t.reward == 0.0;
        (0..self.num_actions).all(|action| self.outcomes(state, action).iter().all(rests))
    }
}
