//! `Table-v0`: any finite Markov decision process, written down as a table.
//!
//! The table is the option `table`, in the form of [`MdpTable`]. Without it, it is the recycling robot of
//! the book: search for cans, wait for someone to bring one, or recharge.
//!
//! # Actions: `Discrete(actions)`
//!
//! As the table lists them.
//!
//! # Observations: `Discrete(states)`
//!
//! The state's place in the table's list.
//!
//! # Rewards
//!
//! As the table says.
//!
//! # Start
//!
//! As the table says.
//!
//! # Episode End
//!
//! - **Termination**: when a terminal state is entered, or where a row says so.
//! - **Truncation**: none here; registered with a limit of 100 steps.
//!
//! # Source
//!
//! Sutton and Barto, *Reinforcement Learning*, 2nd edition, example 3.3, for the default, with α = 0.7,
//! β = 0.6, a reward of 2 for searching and 1 for waiting. There a full battery cannot be recharged; here that
//! does nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skinner_core::mdp::{Mdp, MdpError, MdpTable, Row, Start, Tabular, Transition};
use skinner_core::{Env, Rng, Space, Step, scene::Scene};

use crate::draw::{BLACK, Draw, GREY, WHITE, scene};

/// A process given as a table; see the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    mdp: Arc<Mdp>,
    state: usize,
}

impl Table {
    /// The process that a table describes.
    ///
    /// # Errors
    /// What is wrong with the table, with the state and action where it is.
    pub fn new(table: &MdpTable) -> Result<Self, MdpError> {
        Ok(Self { mdp: Arc::new(Mdp::try_from(table)?), state: 0 })
    }
}

/// The recycling robot; see the [module](self).
pub fn recycling_robot() -> MdpTable {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let row = |state: &str, action: &str, next: &str, probability, reward| Row {
        state: state.to_owned(),
        action: action.to_owned(),
        next: next.to_owned(),
        probability,
        reward,
        terminated: false,
    };
    MdpTable {
        states: names(&["high", "low"]),
        actions: names(&["search", "wait", "recharge"]),
        start: Start::State("high".to_owned()),
        terminal: Vec::new(),
        transitions: vec![
            row("high", "search", "high", 0.7, 2.0),
            row("high", "search", "low", 0.3, 2.0),
            row("high", "wait", "high", 1.0, 1.0),
            row("high", "recharge", "high", 1.0, 0.0),
            row("low", "search", "high", 0.4, -3.0),
            row("low", "search", "low", 0.6, 2.0),
            row("low", "wait", "low", 1.0, 1.0),
            row("low", "recharge", "high", 1.0, 0.0),
        ],
    }
}

/// The first index whose probabilities so far exceed a draw.
#[inline]
fn draw(probabilities: impl Iterator<Item = f64>, rng: &mut Rng) -> usize {
    let u = rng.random();
    let (mut sum, mut last) = (0.0, 0);
    for (index, probability) in probabilities.enumerate() {
        sum += probability;
        if sum > u {
            return index;
        }
        if probability > 0.0 {
            last = index;
        }
    }
    // Rounding may leave the sum an ulp short of one.
    last
}

impl Env for Table {
    type Obs = usize;
    type Action = usize;

    fn observation_space(&self) -> Space {
        Space::Discrete(self.mdp.num_states())
    }

    fn action_space(&self) -> Space {
        Space::Discrete(self.mdp.num_actions())
    }

    #[inline]
    fn reset(&mut self, rng: &mut Rng) -> usize {
        self.state = draw(self.mdp.start().iter().copied(), rng);
        self.state
    }

    #[inline]
    fn step(&mut self, action: &usize, rng: &mut Rng) -> Step<usize> {
        let outcomes = self.mdp.outcomes(self.state, *action);
        let outcome = outcomes[draw(outcomes.iter().map(|t| t.probability), rng)];
        self.state = outcome.next_state;
        let (reward, terminated) = (outcome.reward as f32, outcome.terminated);
        Step { obs: self.state, reward, terminated, truncated: false }
    }

    fn render(&self) -> Option<Scene> {
        const COLUMNS: usize = 6;
        let count = self.mdp.num_states();
        let (columns, rows) = (count.min(COLUMNS), count.div_ceil(COLUMNS));
        let width = (110.0 * columns as f32).max(330.0);
        let left = (width - 110.0 * columns as f32) / 2.0 + 5.0;
        let mut picture = scene(width, 60.0 * rows as f32, WHITE);
        for state in 0..count {
            let (column, row) = (state % COLUMNS, state / COLUMNS);
            let [x, y] = [left + 110.0 * column as f32, 60.0 * row as f32 + 5.0];
            let here = state == self.state;
            picture.rounded_rect([x, y], [100.0, 50.0], 8.0, if here { BLACK } else { GREY });
            let fill = if here { [250, 208, 90] } else { [232, 236, 242] };
            picture.rounded_rect([x + 2.0, y + 2.0], [96.0, 46.0], 7.0, fill);
            let name: String = self.mdp.state_name(state).chars().take(14).collect();
            picture.text(x + 50.0, y + 25.0, 14.0, &name, BLACK);
        }
        Some(picture)
    }

    fn tabular(&self) -> Option<&dyn Tabular> {
        Some(self)
    }
}

impl Tabular for Table {
    fn num_states(&self) -> usize {
        self.mdp.num_states()
    }

    fn num_actions(&self) -> usize {
        self.mdp.num_actions()
    }

    fn transitions(&self, state: usize, action: usize) -> Vec<Transition> {
        self.mdp.outcomes(state, action).to_vec()
    }

    fn initial_distribution(&self) -> Vec<f64> {
        self.mdp.start().to_vec()
    }

    fn to_mdp(&self) -> Result<Mdp, MdpError> {
        Ok(self.mdp.as_ref().clone())
    }
}
