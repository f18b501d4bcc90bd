//! Environments whose whole model is a table.

/// One possible outcome of an action in a state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transition {
    /// How likely the outcome is; the outcomes of one action sum to one.
    pub probability: f64,
    /// The state that follows.
    pub next_state: usize,
    /// The reward of the step.
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
/// The table describes exactly the dynamics of `step`: same states, same order of outcomes, same
/// probabilities. The agent observes the state itself.
pub trait Tabular {
    /// States are `0..num_states`.
    fn num_states(&self) -> usize;

    /// Actions are `0..num_actions`, the same in each state.
    fn num_actions(&self) -> usize;

    /// Every outcome of `action` in `state`; the same next state may be listed more than once.
    fn transitions(&self, state: usize, action: usize) -> Vec<Transition>;

    /// The probability of each state to be the first of an episode.
    fn initial_distribution(&self) -> Vec<f64>;
}
