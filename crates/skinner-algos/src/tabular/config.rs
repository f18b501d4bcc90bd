//! Hyper-parameters of the tabular family.

use serde::{Deserialize, Serialize};

use crate::error::{AlgoError, MOST_STEPS, positive, require, size};
use crate::exploration::{ExplorationConfig, ExplorationKind};

/// What is learned towards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// The best next action (Watkins 1989; Sutton & Barto 2018, eq. 6.8).
    #[default]
    QLearning,
    /// The best next action by one table, valued by another (van Hasselt 2010; eq. 6.10).
    DoubleQLearning,
    /// The next action as it is taken (Rummery & Niranjan 1994; eq. 6.7).
    Sarsa,
    /// The mean over the next action (van Seijen et al. 2009; eq. 6.9).
    ExpectedSarsa,
    /// The return of the whole episode (Sutton & Barto 2018, section 5.4).
    MonteCarlo,
}

/// How a pair that is visited again adds to its trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trace {
    /// The trace becomes 1 (Singh & Sutton 1996).
    #[default]
    Replacing,
    /// The trace rises by 1.
    Accumulating,
}

/// Hyper-parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is learned towards; the recipe's `algorithm` says it.
    #[serde(skip)]
    pub method: Method,
    /// Environment steps to train for.
    pub total_steps: u64,
    /// Discount.
    pub gamma: f64,
    /// Step size of the first update of a state and action.
    pub learning_rate: f64,
    /// ω: the `n`th update of a state and action has step size `learning_rate / n^ω`; 0 for a constant one.
    pub learning_rate_decay: f64,
    /// What every action is worth before it is tried; a high one is an optimistic start.
    pub initial_value: f64,
    /// Rewards that are added up before bootstrapping.
    pub n_steps: usize,
    /// λ of eligibility traces; 0 for none.
    pub lambda: f64,
    /// `replacing` or `accumulating` traces.
    pub trace: Trace,
    /// Whether Monte Carlo learns from the first visit of an episode alone.
    pub first_visit: bool,
    /// How actions are chosen.
    pub exploration: ExplorationConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            method: Method::QLearning,
            total_steps: 1_000_000,
            gamma: 0.99,
            learning_rate: 0.1,
            learning_rate_decay: 0.0,
            initial_value: 0.0,
            n_steps: 1,
            lambda: 0.0,
            trace: Trace::Replacing,
            first_visit: true,
            exploration: ExplorationConfig::default(),
        }
    }
}

impl Config {
    /// Checks every hyper-parameter.
    ///
    /// # Errors
    /// The first that makes no sense, with what would.
    pub fn validate(&self) -> Result<(), AlgoError> {
        let unit = "must be between 0 and 1";
        require(self.total_steps > 0, "total_steps", self.total_steps, "must be at least 1")?;
        require((0.0..=1.0).contains(&self.gamma), "gamma", self.gamma, unit)?;
        positive("learning_rate", self.learning_rate)?;
        let at_most_one = "must be at most 1: beyond it an update leads past its target";
        require(self.learning_rate <= 1.0, "learning_rate", self.learning_rate, at_most_one)?;
        let decay = self.learning_rate_decay;
        require((0.0..=1.0).contains(&decay), "learning_rate_decay", decay, unit)?;
        require(
            self.initial_value.is_finite(),
            "initial_value",
            self.initial_value,
            "must be finite",
        )?;
        require((0.0..=1.0).contains(&self.lambda), "lambda", self.lambda, unit)?;
        size("n_steps", self.n_steps, MOST_STEPS)?;
        self.exploration.validate()?;
        self.validate_together()
    }

    fn validate_together(&self) -> Result<(), AlgoError> {
        let conflict = |what: &str| Err(AlgoError::Conflict(what.to_owned()));
        let traces = matches!(self.method, Method::QLearning | Method::Sarsa);
        let steps = traces || self.method == Method::ExpectedSarsa;
        if self.lambda > 0.0 && !traces {
            return conflict("lambda: only q_learning and sarsa have traces");
        }
        if self.n_steps > 1 && !steps {
            return conflict(
                "n_steps: only q_learning, sarsa and expected_sarsa have several steps",
            );
        }
        if self.lambda > 0.0 && self.n_steps > 1 {
            return conflict("give either lambda or n_steps");
        }
        let thompson = self.exploration.kind == ExplorationKind::Thompson;
        let expects = matches!(self.method, Method::ExpectedSarsa | Method::MonteCarlo);
        if thompson && expects {
            return conflict(
                "exploration.kind = \"thompson\" has no probabilities to take a mean over: use q_learning or sarsa",
            );
        }
        Ok(())
    }
}
