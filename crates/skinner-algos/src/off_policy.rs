//! What the off-policy algorithms share: acting, remembering, counting, and saving all of it.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use skinner_core::{Actions, Metrics, ReplayBuffer, Rng, SeedSequence, StepBatch, VecEnv};
use skinner_nn::{Activation, polyak};

use crate::episodes::Episodes;
use crate::error::{AlgoError, MOST_ENVS, MOST_STEPS, MOST_WIDTH, require, size};
use crate::on_policy::{STREAM_TRAINING, fingerprint};

/// Bound on the transitions of a replay buffer.
const MOST_TRANSITIONS: usize = 1 << 30;

/// A network's hidden layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// Widths of the hidden layers.
    pub hidden_sizes: Vec<usize>,
    /// What follows each hidden layer: `relu` or `tanh`.
    pub activation: Activation,
    /// Orthogonal initial weights; otherwise uniform on `±1/√inputs`.
    pub orthogonal_init: bool,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self { hidden_sizes: vec![256, 256], activation: Activation::Relu, orthogonal_init: false }
    }
}

impl NetworkConfig {
    /// Checks the widths.
    ///
    /// # Errors
    /// If one makes no sense.
    pub fn validate(&self) -> Result<(), AlgoError> {
        let fits = |&n: &usize| n > 0 && n <= MOST_WIDTH;
        require(
            self.hidden_sizes.iter().all(fits),
            "network.hidden_sizes",
            format!("{:?}", self.hidden_sizes),
            "every width must be at least 1 and at most 16384",
        )
    }
}

/// Hyper-parameters of when and from what is learned.
pub(crate) struct Replayed {
    pub total_steps: u64,
    pub num_envs: usize,
    pub buffer_size: usize,
    pub learning_starts: u64,
    pub batch_size: usize,
    pub train_frequency: usize,
    pub gradient_steps: usize,
    pub n_steps: usize,
}

impl Replayed {
    pub fn validate(&self) -> Result<(), AlgoError> {
        size("num_envs", self.num_envs, MOST_ENVS)?;
        size("buffer_size", self.buffer_size, MOST_TRANSITIONS)?;
        size("batch_size", self.batch_size, MOST_STEPS)?;
        size("train_frequency", self.train_frequency, MOST_STEPS)?;
        size("gradient_steps", self.gradient_steps, MOST_STEPS)?;
        size("n_steps", self.n_steps, MOST_STEPS)?;
        let conflict = |what: String| Err(AlgoError::Conflict(what));
        let iteration = self.train_frequency.saturating_mul(self.num_envs) as u64;
        if self.total_steps < iteration {
            return conflict(format!(
                "total_steps = {} is less than one iteration, train_frequency × num_envs = {iteration}",
                self.total_steps
            ));
        }
        if self.learning_starts >= self.total_steps {
            return conflict(format!(
                "learning_starts = {} leaves nothing of total_steps = {} to learn in",
                self.learning_starts, self.total_steps
            ));
        }
        if self.buffer_size < self.num_envs {
            return conflict(format!(
                "buffer_size = {} has no room for one step of num_envs = {} environments",
                self.buffer_size, self.num_envs
            ));
        }
        Ok(())
    }
}

/// What an agent has seen: its replay buffer, where its environments are, and what it counts.
pub(crate) struct Experience {
    pub state: State,
    step: StepBatch,
}

/// What of [`Experience`] a checkpoint holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub rng: Rng,
    /// The observations to act on next `[num_envs, obs_width]`.
    pub obs: Vec<f32>,
    pub env_steps: u64,
    /// Gradient steps so far.
    pub updates: u64,
    pub replay: ReplayBuffer,
    episodes: Episodes,
    /// [`fingerprint`] of the initial weights.
    initial_weights: u64,
}

impl Experience {
    /// Nothing seen yet, on freshly reset environments. `params` are the initial weights; an action is remembered as
    /// `action_width` numbers.
    pub fn new(
        num_envs: usize,
        buffer_size: usize,
        action_width: usize,
        params: &[f32],
        envs: &mut dyn VecEnv,
        seed: &SeedSequence,
    ) -> Result<Self, AlgoError> {
        if envs.num_envs() != num_envs {
            let given = envs.num_envs();
            let what = format!("num_envs = {num_envs}, but {given} environments were given");
            return Err(AlgoError::Conflict(what));
        }
        let width = envs.observation_space().flat_width();
        let mut obs = vec![0.0; num_envs * width];
        envs.reset(&mut obs)?;
        let state = State {
            rng: seed.child(STREAM_TRAINING).rng(),
            obs,
            env_steps: 0,
            updates: 0,
            replay: ReplayBuffer::new(buffer_size, num_envs, width, action_width),
            episodes: Episodes::default(),
            initial_weights: fingerprint(params),
        };
        Ok(Self { state, step: StepBatch::new(num_envs, width) })
    }

    /// One step everywhere, remembered with `remembered` `[num_envs, action_width]` as its actions. Returns the slots it
    /// went to.
    pub fn advance(
        &mut self,
        envs: &mut dyn VecEnv,
        actions: Actions<'_>,
        remembered: &[f32],
    ) -> Result<Range<usize>, AlgoError> {
        envs.step(actions, &mut self.step)?;
        let state = &mut self.state;
        let slots = state.replay.push(&state.obs, remembered, &self.step);
        state.obs.copy_from_slice(self.step.obs());
        state.env_steps += envs.num_envs() as u64;
        self.step.episodes().iter().for_each(|&episode| state.episodes.add(episode));
        Ok(slots)
    }

    /// Slots drawn uniformly, with replacement.
    pub fn draw(&mut self, slots: &mut [usize]) {
        let State { replay, rng, .. } = &mut self.state;
        slots.iter_mut().for_each(|slot| *slot = rng.below(replay.len()));
    }

    /// A loss or the norm of a gradient, or the error that it is not finite.
    pub fn finite(&self, what: &'static str, value: f32) -> Result<f64, AlgoError> {
        let env_steps = self.state.env_steps;
        if value.is_finite() {
            Ok(f64::from(value))
        } else {
            Err(AlgoError::Diverged { what, value, env_steps })
        }
    }

    /// The numbers every algorithm reports.
    pub fn metrics(&self, metrics: &mut Metrics) {
        self.state.episodes.metrics(metrics);
        metrics.set("updates", self.state.updates as f64);
    }

    /// What looks like a mistake rather than a hard task: one sentence each.
    pub fn warnings(&self, params: &[f32]) -> Vec<String> {
        let State { env_steps, updates, initial_weights, episodes, .. } = &self.state;
        let mut warnings = Vec::new();
        if *env_steps > 0 && *updates == 0 {
            warnings.push(format!(
                "nothing has been learned: no update was made in {env_steps} steps; learning_starts may be too large"
            ));
        } else if *updates > 0 && fingerprint(params) == *initial_weights {
            warnings.push(format!(
                "the weights are exactly the initial ones after {updates} updates; learning_rate may be too small"
            ));
        }
        warnings.extend(episodes.warnings(*env_steps));
        warnings
    }
}

impl State {
    /// Whether it is of the same sizes as `other`.
    pub fn fits(&self, other: &Self) -> bool {
        self.obs.len() == other.obs.len() && self.replay.fits(&other.replay)
    }
}

/// Moves the target network towards the online one: `target ← (1 - tau) target + tau online` (Lillicrap et al. 2016);
/// with `tau` 1 it becomes a copy.
pub(crate) fn update_target(target: &mut [f32], online: &[f32], tau: f64) {
    if tau >= 1.0 {
        target.copy_from_slice(online);
    } else {
        polyak(target, online, tau as f32);
    }
}

/// Whether a multiple of `every` was passed on the way from `before` to `after`.
pub(crate) fn crossed(every: u64, before: u64, after: u64) -> bool {
    after / every > before / every
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_moves_towards_the_online_network() {
        let mut target = [0.0, 10.0];
        update_target(&mut target, &[1.0, 0.0], 0.25);
        assert_eq!(target, [0.25, 7.5]);
        update_target(&mut target, &[1.0, 0.0], 1.0);
        assert_eq!(target, [1.0, 0.0]);
    }
}
