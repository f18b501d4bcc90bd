//! Processes that a user writes down, in TOML or JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Mdp, MdpError, Transition};

/// A process as a user writes it.
///
/// ```toml
/// states = ["home", "road", "work"]
/// actions = ["walk", "drive"]
/// start = "home"                       # or { home = 0.5, road = 0.5 }
/// terminal = ["work"]                  # coming here ends the episode
/// transitions = [
///     { state = "home", action = "walk", next = "road", reward = -3 },
///     { state = "home", action = "drive", next = "road", probability = 0.9, reward = -1 },
///     { state = "home", action = "drive", next = "home", probability = 0.1, reward = -1 },
///     # ... a row for each outcome of each action in each state that is not terminal
/// ]
/// ```
///
/// JSON has the same keys. `Mdp::try_from` checks all of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MdpTable {
    /// The names of the states; state `i` is the `i`th.
    pub states: Vec<String>,
    /// The names of the actions, which are the same in each state.
    pub actions: Vec<String>,
    /// Where episodes begin.
    pub start: Start,
    /// States that end the episode when they are entered.
    #[serde(default)]
    pub terminal: Vec<String>,
    /// Every outcome of every action.
    pub transitions: Vec<Row>,
}

/// Where episodes begin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Start {
    /// Always in this state.
    State(String),
    /// In these states with these probabilities.
    Distribution(BTreeMap<String, f64>),
}

/// One outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Where the action is taken.
    pub state: String,
    /// The action.
    pub action: String,
    /// Where it leads.
    pub next: String,
    /// How likely that is; 1 if left out.
    #[serde(default = "certain")]
    pub probability: f64,
    /// The reward; 0 if left out.
    #[serde(default)]
    pub reward: f64,
    /// Whether the episode ends here even though `next` is not terminal.
    #[serde(default)]
    pub terminated: bool,
}

fn certain() -> f64 {
    1.0
}

/// Names and their numbers.
struct Names<'a> {
    what: &'static str,
    numbers: BTreeMap<&'a str, usize>,
    listed: &'a [String],
}

impl<'a> Names<'a> {
    fn new(what: &'static str, listed: &'a [String]) -> Result<Self, MdpError> {
        let mut numbers = BTreeMap::new();
        for (number, name) in listed.iter().enumerate() {
            if numbers.insert(name.as_str(), number).is_some() {
                return Err(MdpError::DuplicateName { what, name: name.clone() });
            }
        }
        if listed.is_empty() {
            return Err(MdpError::Empty { what });
        }
        Ok(Self { what, numbers, listed })
    }

    fn number(&self, name: &str, place: impl FnOnce() -> String) -> Result<usize, MdpError> {
        self.numbers.get(name).copied().ok_or_else(|| {
            let mut known: Vec<String> =
                self.listed.iter().take(12).map(|name| format!("`{name}`")).collect();
            if self.listed.len() > known.len() {
                known.push(format!("{} more", self.listed.len() - known.len()));
            }
            let (what, known) = (self.what, known.join(", "));
            MdpError::UnknownName { place: place(), what, name: name.to_owned(), known }
        })
    }
}

impl TryFrom<&MdpTable> for Mdp {
    type Error = MdpError;

    fn try_from(table: &MdpTable) -> Result<Self, MdpError> {
        let states = Names::new("state", &table.states)?;
        let actions = Names::new("action", &table.actions)?;
        let mut terminal = vec![false; table.states.len()];
        for name in &table.terminal {
            terminal[states.number(name, || "terminal".into())?] = true;
        }
        let outcomes = outcomes(table, &states, &actions, &terminal)?;
        let mut mdp = Self {
            num_actions: table.actions.len(),
            first: std::iter::once(0)
                .chain(outcomes.iter().scan(0, |end, of_pair| {
                    *end += of_pair.len();
                    Some(*end)
                }))
                .collect(),
            outcomes: outcomes.into_iter().flatten().collect(),
            start: start(table, &states, &terminal)?,
            observed: (0..table.states.len()).collect(),
            state_names: table.states.clone(),
            action_names: table.actions.clone(),
        };
        mdp.check()?;
        mdp.make_sums_exact();
        match mdp.start_without_end(&terminal) {
            Some(state) => Err(MdpError::Unreachable { state: table.states[state].clone() }),
            None => Ok(mdp),
        }
    }
}

/// The outcomes of each state and action, in the order of the rows.
fn outcomes(
    table: &MdpTable,
    states: &Names<'_>,
    actions: &Names<'_>,
    terminal: &[bool],
) -> Result<Vec<Vec<Transition>>, MdpError> {
    let num_actions = table.actions.len();
    let mut outcomes = vec![Vec::new(); table.states.len() * num_actions];
    let mut seen = BTreeSet::new();
    for (number, row) in table.transitions.iter().enumerate() {
        let place = || format!("transitions, row {}", number + 1);
        let state = states.number(&row.state, place)?;
        let action = actions.number(&row.action, place)?;
        let next_state = states.number(&row.next, place)?;
        let (name, action_name) = (row.state.clone(), row.action.clone());
        if terminal[state] {
            return Err(MdpError::TerminalRow { state: name, action: action_name });
        }
        if !seen.insert((state, action, next_state)) {
            let next = row.next.clone();
            return Err(MdpError::DuplicateRow { state: name, action: action_name, next });
        }
        outcomes[state * num_actions + action].push(Transition {
            probability: row.probability,
            next_state,
            reward: row.reward,
            terminated: row.terminated || terminal[next_state],
        });
    }
    for (state, _) in terminal.iter().enumerate().filter(|(_, ends)| **ends) {
        outcomes[state * num_actions..(state + 1) * num_actions]
            .fill(vec![Transition::certain(state, 0.0, true)]);
    }
    Ok(outcomes)
}

fn start(table: &MdpTable, states: &Names<'_>, terminal: &[bool]) -> Result<Vec<f64>, MdpError> {
    let mut start = vec![0.0; table.states.len()];
    let mut put = |name: &String, probability: f64| {
        let state = states.number(name, || "start".into())?;
        if terminal[state] {
            return Err(MdpError::StartTerminal { state: name.clone() });
        }
        start[state] = probability;
        Ok(())
    };
    match &table.start {
        Start::State(name) => put(name, 1.0)?,
        Start::Distribution(given) => {
            given.iter().try_for_each(|(name, &probability)| put(name, probability))?;
        }
    }
    Ok(start)
}

impl Mdp {
    /// Rounded probabilities, such as 0.333333, are scaled to sum to one.
    fn make_sums_exact(&mut self) {
        for pair in self.first.windows(2) {
            let of_pair = &mut self.outcomes[pair[0]..pair[1]];
            let sum: f64 = of_pair.iter().map(|outcome| outcome.probability).sum();
            of_pair.iter_mut().for_each(|outcome| outcome.probability /= sum);
        }
        let sum: f64 = self.start.iter().sum();
        self.start.iter_mut().for_each(|probability| *probability /= sum);
    }

    /// A start from which no end can be reached, where the table has terminal states.
    fn start_without_end(&self, terminal: &[bool]) -> Option<usize> {
        let ends = self.can_end();
        let any = terminal.contains(&true);
        (0..self.num_states()).find(|&state| any && self.start[state] > 0.0 && !ends[state])
    }
}
