//! What can be wrong with the table of a process, or with a question about it.

/// Errors of [`Mdp`](super::Mdp).
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are the values that the messages name")]
pub enum MdpError {
    /// A process without states or actions.
    #[error("the table has no {what}: it needs at least one")]
    Empty { what: &'static str },
    /// A name that the lists of states and actions do not have.
    #[error("{place}: unknown {what} `{name}`; the table has {known}")]
    UnknownName { place: String, what: &'static str, name: String, known: String },
    /// A name that stands twice in a list.
    #[error("the {what} `{name}` is listed twice")]
    DuplicateName { what: &'static str, name: String },
    /// Two rows for the same outcome.
    #[error(
        "state `{state}`, action `{action}`: two rows lead to `{next}`; give one row with the sum of their probabilities"
    )]
    DuplicateRow { state: String, action: String, next: String },
    /// An action about which nothing is said.
    #[error(
        "state `{state}`, action `{action}`: there is no row; every action needs outcomes in every state that does not end the episode"
    )]
    Missing { state: String, action: String },
    /// A probability that is none.
    #[error(
        "state `{state}`, action `{action}`: the probability of `{next}` is {value}; it must be from 0 to 1"
    )]
    Probability { state: String, action: String, next: String, value: f64 },
    /// Outcomes that are not all there.
    #[error("state `{state}`, action `{action}`: the probabilities sum to {sum}, not to 1")]
    Sum { state: String, action: String, sum: f64 },
    /// A reward that is no number.
    #[error(
        "state `{state}`, action `{action}`: the reward to `{next}` is {value}; it must be finite"
    )]
    Reward { state: String, action: String, next: String, value: f64 },
    /// An outcome that leads nowhere.
    #[error("state `{state}`, action `{action}`: there is no state {next}")]
    NextState { state: String, action: String, next: String },
    /// A start that is no probability.
    #[error("start: the probability of `{state}` is {value}; it must be from 0 to 1")]
    StartProbability { state: String, value: f64 },
    /// Starts that are not all there.
    #[error("start: the probabilities sum to {sum}, not to 1")]
    StartSum { sum: f64 },
    /// Starts for another number of states.
    #[error("start: {has} probabilities for {needs} states")]
    StartLength { has: usize, needs: usize },
    /// An episode that is over before it begins.
    #[error("start: `{state}` is terminal, so no episode can begin there")]
    StartTerminal { state: String },
    /// A row for a state that ends the episode.
    #[error("state `{state}` is terminal, so its row for action `{action}` has no meaning")]
    TerminalRow { state: String, action: String },
    /// Terminal states that a start cannot come to.
    #[error("start: from `{state}` no terminal state can be reached")]
    Unreachable { state: String },
    /// A discount out of range.
    #[error("gamma = {gamma} is out of range: it must be from 0 to 1")]
    Gamma { gamma: f64 },
    /// Values that do not come to rest.
    #[error(
        "the values still change by {change} after {sweeps} sweeps: with gamma {gamma} they have no bound, or converge too slowly; a gamma below 1 or a time limit helps"
    )]
    NotConverged { gamma: f64, sweeps: u64, change: f64 },
}
