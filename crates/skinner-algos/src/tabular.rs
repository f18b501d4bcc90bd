//! Learning with a table: one number for each observation and action (Sutton & Barto 2018, chapters 5, 6, 7
//! and 12).
//!
//! Q-learning, double Q-learning, SARSA and expected SARSA learn from each step; with `n_steps` from several
//! rewards at a time, with `lambda` through eligibility traces; Monte Carlo control learns from whole
//! episodes. They differ in the target that a value is moved towards, and in nothing else.

mod config;
mod greedy;
mod learn;
mod step_size;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use skinner_core::vec_env::Moved;
use skinner_core::{Metrics, Rng, SeedSequence, Space, VecEnv};

pub use config::{Config, Method, Trace};
pub use greedy::GreedyTable;

use crate::episodes::Episodes;
use crate::error::AlgoError;
use crate::exploration::{Exploration, ExplorationKind};
use crate::on_policy::STREAM_TRAINING;
use greedy::first_best;
use step_size::StepSize;

/// Environment steps of one iteration; the parameter of exploration is read before each.
const STEPS_PER_ITERATION: u64 = 1_000;
/// More numbers than this are no table.
const MOST_PAIRS: usize = 1 << 27;

/// When values are updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    EachStep,
    AfterSteps(usize),
    Traces,
    AfterEpisodes,
}

impl Rule {
    fn of(config: &Config) -> Self {
        match config.method {
            Method::MonteCarlo => Self::AfterEpisodes,
            _ if config.lambda > 0.0 => Self::Traces,
            _ if config.n_steps > 1 => Self::AfterSteps(config.n_steps),
            _ => Self::EachStep,
        }
    }
}

/// What a checkpoint holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    /// `[num_observations * num_actions]`.
    q: Vec<f64>,
    /// The second table of double Q-learning; empty otherwise.
    second: Vec<f64>,
    /// Updates of each pair.
    counts: Vec<u32>,
    /// Where the agent is, and what it does next.
    obs: usize,
    action: usize,
    /// Pairs and rewards that are not learned from yet.
    pending: VecDeque<(usize, f64)>,
    /// Eligibility of each pair, and the pairs where it is not 0.
    traces: Vec<f64>,
    traced: Vec<usize>,
    rng: Rng,
    env_steps: u64,
    episodes: Episodes,
}

/// An agent with a table at some point of its training.
pub struct TableLearner {
    config: Config,
    rule: Rule,
    observation_space: Space,
    num_actions: usize,
    step_size: StepSize,
    exploration: Exploration,
    state: State,
    /// `[num_actions]` each.
    scratch: Vec<f64>,
    row: Vec<f64>,
    /// The episode in which each pair was last visited, for first visits.
    visited_in: Vec<u64>,
    /// Σ |δ| and updates of this iteration.
    errors: (f64, u64),
}

impl TableLearner {
    /// A fresh table on one environment, which is reset.
    ///
    /// # Errors
    /// If the configuration makes no sense, the environment has no finite observations and actions, or fails.
    pub fn new(
        config: Config,
        envs: &mut dyn VecEnv,
        seed: &SeedSequence,
    ) -> Result<Self, AlgoError> {
        config.validate()?;
        let observation_space = envs.observation_space().clone();
        let (num_observations, num_actions) = sizes(&config, envs)?;
        let pairs = num_observations * num_actions;
        let mut flat = vec![0.0; observation_space.flat_width() * envs.num_envs()];
        envs.reset(&mut flat)?;
        let only = |used: bool, size: usize| if used { size } else { 0 };
        let (rule, double) = (Rule::of(&config), config.method == Method::DoubleQLearning);
        let state = State {
            q: vec![config.initial_value; pairs],
            second: vec![config.initial_value; only(double, pairs)],
            counts: vec![0; pairs],
            obs: observation_space.index_of_row(&flat),
            action: 0,
            pending: VecDeque::new(),
            traces: vec![0.0; only(rule == Rule::Traces, pairs)],
            traced: Vec::new(),
            rng: seed.child(STREAM_TRAINING).rng(),
            env_steps: 0,
            episodes: Episodes::default(),
        };
        let mut agent = Self {
            step_size: StepSize::new(config.learning_rate, config.learning_rate_decay),
            exploration: config.exploration.at(0.0),
            scratch: vec![0.0; num_actions],
            row: vec![0.0; num_actions],
            visited_in: vec![0; only(rule == Rule::AfterEpisodes, pairs)],
            errors: (0.0, 0),
            config,
            rule,
            observation_space,
            num_actions,
            state,
        };
        agent.state.action = agent.choose(agent.state.obs);
        Ok(agent)
    }

    /// Whether `total_steps` have been taken.
    pub fn finished(&self) -> bool {
        self.state.env_steps >= self.config.total_steps
    }

    /// Takes a thousand steps and learns from each.
    ///
    /// # Errors
    /// If the environment fails or values stop being finite.
    pub fn iteration(&mut self, envs: &mut dyn VecEnv) -> Result<Metrics, AlgoError> {
        let total = self.config.total_steps;
        let steps = STEPS_PER_ITERATION.min(total.saturating_sub(self.state.env_steps));
        self.exploration = self.config.exploration.at(self.state.env_steps as f64 / total as f64);
        self.errors = (0.0, 0);
        let action = self.state.action;
        envs.drive(action, steps, &mut |moved| self.step(moved))?;
        self.state.env_steps += steps;
        self.metrics()
    }

    fn metrics(&self) -> Result<Metrics, AlgoError> {
        let (sum, updates) = self.errors;
        if !sum.is_finite() {
            let env_steps = self.state.env_steps;
            return Err(AlgoError::Diverged { what: "a value", value: sum as f32, env_steps });
        }
        let mut metrics = Metrics::new();
        if updates > 0 {
            metrics.set("td_error", sum / updates as f64);
        }
        let tried = self.state.counts.iter().filter(|&&count| count > 0).count();
        metrics.set("tried_fraction", tried as f64 / self.state.counts.len() as f64);
        let (name, value) = self.exploration.parameter();
        metrics.set(name, value);
        self.state.episodes.metrics(&mut metrics);
        Ok(metrics)
    }

    /// Learns from one step and chooses the next action.
    #[inline]
    fn step(&mut self, moved: &Moved) -> usize {
        let chosen = match self.rule {
            Rule::EachStep => self.learn_from_step(moved),
            Rule::AfterSteps(n) => self.learn_from_steps(moved, n),
            Rule::Traces => self.learn_through_traces(moved),
            Rule::AfterEpisodes => self.learn_from_episode(moved),
        };
        let action = if let Some((first, episode)) = moved.ended {
            self.state.episodes.add(episode);
            self.state.obs = first;
            self.choose(first)
        } else {
            self.state.obs = moved.obs;
            chosen.unwrap_or_else(|| self.choose(moved.obs))
        };
        self.state.action = action;
        action
    }

    #[inline]
    fn pair(&self) -> usize {
        self.state.obs * self.num_actions + self.state.action
    }

    #[inline]
    fn values(&self, obs: usize) -> &[f64] {
        &self.state.q[obs * self.num_actions..(obs + 1) * self.num_actions]
    }

    /// An action by the policy of exploration.
    #[inline]
    fn choose(&mut self, obs: usize) -> usize {
        let row = obs * self.num_actions..(obs + 1) * self.num_actions;
        let counts = &self.state.counts[row.clone()];
        let mut q = &self.state.q[row.clone()];
        if self.config.method == Method::DoubleQLearning {
            let both = q.iter().zip(&self.state.second[row]);
            self.row.iter_mut().zip(both).for_each(|(mean, (a, b))| *mean = f64::midpoint(*a, *b));
            q = &self.row;
        }
        self.exploration.choose(q, counts, &mut self.scratch, &mut self.state.rng)
    }

    /// `[num_observations * num_actions]` values; the mean of both tables where there are two.
    pub fn q_values(&self) -> Vec<f64> {
        let State { q, second, .. } = &self.state;
        if second.is_empty() {
            return q.clone();
        }
        q.iter().zip(second).map(|(a, b)| f64::midpoint(*a, *b)).collect()
    }

    /// The greedy policy.
    pub fn greedy(&self) -> GreedyTable {
        let q = self.q_values();
        let actions = q.chunks_exact(self.num_actions).map(first_best).collect();
        GreedyTable::new(self.observation_space.clone(), actions)
    }

    /// Actions of each observation.
    pub fn num_actions(&self) -> usize {
        self.num_actions
    }

    /// Environment steps so far.
    pub fn env_steps(&self) -> u64 {
        self.state.env_steps
    }

    /// Whole episodes so far.
    pub fn episodes(&self) -> u64 {
        self.state.episodes.count
    }

    /// What looks like a mistake rather than a hard task: one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.state.episodes.warnings(self.state.env_steps);
        if self.state.env_steps > 0 && self.state.counts.iter().all(|&count| count == 0) {
            warnings.push("nothing has been learned: no episode ended".into());
        }
        warnings
    }

    /// Everything that continues the run exactly, beside the environment.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn save(&self) -> Result<Vec<u8>, AlgoError> {
        postcard::to_stdvec(&self.state).map_err(|e| AlgoError::State(e.to_string()))
    }

    /// Continues from what [`save`](Self::save) gave.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn load(&mut self, state: &[u8]) -> Result<(), AlgoError> {
        let state: State =
            postcard::from_bytes(state).map_err(|e| AlgoError::State(e.to_string()))?;
        let sizes = |state: &State| (state.q.len(), state.second.len(), state.traces.len());
        if sizes(&state) != sizes(&self.state) {
            return Err(AlgoError::State("it is of a table of another size".into()));
        }
        self.state = state;
        Ok(())
    }
}

/// Observations and actions of a table for these environments.
fn sizes(config: &Config, envs: &dyn VecEnv) -> Result<(usize, usize), AlgoError> {
    let (observations, actions) = (envs.observation_space(), envs.action_space());
    let conflict = |what: String| Err(AlgoError::Conflict(what));
    let Some(num_observations) = observations.cardinality() else {
        return conflict(format!(
            "a table needs observations that can be counted, but the environment has {observations}"
        ));
    };
    let Space::Discrete(num_actions) = *actions else {
        return conflict(format!(
            "a table needs a Discrete action space, but the environment has {actions}"
        ));
    };
    if num_observations.checked_mul(num_actions).is_none_or(|pairs| pairs > MOST_PAIRS) {
        return conflict(format!(
            "{num_observations} observations with {num_actions} actions are too many for a table"
        ));
    }
    if config.exploration.kind == ExplorationKind::Thompson && num_observations > 1 {
        return conflict(format!(
            "exploration.kind = \"thompson\" is for bandits, which have one observation; this environment has {num_observations}"
        ));
    }
    Ok((num_observations, num_actions))
}
