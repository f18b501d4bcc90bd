//! The rollout buffer: what happened in `num_steps` steps of `num_envs` environments.

use crate::{StepBatch, returns::Steps};

/// Rows of a rollout, time-major `[num_steps, num_envs]`. Each row is a real transition: the batch of
/// environments resets within the step that ends an episode, so no row is ever made by a reset.
#[derive(Clone, Debug, Default)]
pub struct RolloutBuffer {
    num_envs: usize,
    /// Observations acted on: `[rows, obs_width]`.
    pub obs: Vec<f32>,
    /// Rewards.
    pub reward: Vec<f32>,
    /// The task ended in this step.
    pub terminated: Vec<bool>,
    /// The episode was cut off in this step.
    pub truncated: Vec<bool>,
    /// Values of the observations acted on, when they were acted on.
    pub value: Vec<f32>,
    /// Log-probabilities of the actions under the policy that chose them.
    pub log_prob: Vec<f32>,
    /// Values of the observations that followed in the same episode.
    pub next_value: Vec<f32>,
    /// Final observations of truncated episodes `[cut_rows.len(), obs_width]`.
    cut_obs: Vec<f32>,
    /// Their rows.
    cut_rows: Vec<usize>,
}

impl RolloutBuffer {
    /// An empty buffer for `num_envs` environments.
    pub fn new(num_envs: usize) -> Self {
        Self { num_envs, ..Self::default() }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        for rows in [
            &mut self.obs,
            &mut self.reward,
            &mut self.value,
            &mut self.log_prob,
            &mut self.next_value,
            &mut self.cut_obs,
        ] {
            rows.clear();
        }
        self.terminated.clear();
        self.truncated.clear();
        self.cut_rows.clear();
    }

    /// Number of transitions.
    pub fn len(&self) -> usize {
        self.reward.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.reward.is_empty()
    }

    /// Adds one step of every environment: the observations acted on, what the policy said of them, and
    /// what the environments answered.
    pub fn push(&mut self, obs: &[f32], log_prob: &[f32], value: &[f32], step: &StepBatch) {
        let first = self.len();
        self.obs.extend_from_slice(obs);
        self.log_prob.extend_from_slice(log_prob);
        self.value.extend_from_slice(value);
        self.reward.extend_from_slice(step.reward());
        self.terminated.extend_from_slice(step.terminated());
        self.truncated.extend_from_slice(step.truncated());
        for env in 0..self.num_envs {
            let bootstraps = step.truncated()[env] && !step.terminated()[env];
            if let (true, Some(ending)) = (bootstraps, step.final_obs(env)) {
                self.cut_rows.push(first + env);
                self.cut_obs.extend_from_slice(ending);
            }
        }
    }

    /// Fills `next_value`: the value of the next row of the same episode, of `last_obs` for the last
    /// row, of the final observation for a truncated step. `values_of` maps observations to values.
    pub fn bootstrap(&mut self, last_obs: &[f32], mut values_of: impl FnMut(&[f32]) -> Vec<f32>) {
        self.next_value.clear();
        self.next_value.extend_from_slice(&self.value[self.num_envs..]);
        self.next_value.extend(values_of(last_obs));
        if !self.cut_rows.is_empty() {
            for (&row, value) in self.cut_rows.iter().zip(values_of(&self.cut_obs)) {
                self.next_value[row] = value;
            }
        }
    }

    /// The rollout as the estimators of [`returns`](crate::returns) read it.
    pub fn steps(&self) -> Steps<'_, f32> {
        Steps {
            reward: &self.reward,
            value: &self.value,
            next_value: &self.next_value,
            terminated: &self.terminated,
            truncated: &self.truncated,
            num_envs: self.num_envs,
        }
    }
}
