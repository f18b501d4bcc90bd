//! The replay buffer: the latest transitions of `num_envs` environments, to be drawn again and again (Lin 1992; Mnih
//! et al. 2015).
//!
//! An observation is stored once: what follows a row is the next row of the same environment, and only the last
//! observation of an ended episode is kept apart. Transitions over several steps are put together when they are
//! drawn. So the buffer holds one observation, one action, one reward and one byte a step, and all of it is plain
//! data that a checkpoint saves.

mod priority;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::StepBatch;

pub use priority::{PriorityTree, importance_weights};

const TERMINATED: u8 = 1;
const TRUNCATED: u8 = 2;

/// A ring of rows, time-major `[steps, num_envs]`. It grows to its capacity and then forgets the oldest.
///
/// A row is named by its *slot*, `0..len()`, which stays the same until the row is overwritten.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReplayBuffer {
    num_envs: usize,
    obs_width: usize,
    action_width: usize,
    /// Steps of every environment that there is room for.
    capacity: usize,
    /// Steps of every environment so far.
    pushed: u64,
    obs: Vec<f32>,
    action: Vec<f32>,
    reward: Vec<f32>,
    ends: Vec<u8>,
    /// What followed the newest rows `[num_envs, obs_width]`.
    latest: Vec<f32>,
    /// Ended rows, oldest first: the number of the row since the first push.
    ended: VecDeque<u64>,
    /// Their last observations `[ended.len(), obs_width]`.
    final_obs: VecDeque<f32>,
}

/// Transitions drawn from a buffer, row by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transitions {
    /// Observations acted on `[batch, obs_width]`.
    pub obs: Vec<f32>,
    /// Actions `[batch, action_width]`; an index is stored as its number.
    pub action: Vec<f32>,
    /// Discounted sums of the rewards, `Σ_k γ^k r_k`, up to `n_steps` of them.
    pub reward: Vec<f32>,
    /// What the value of `next_obs` is worth: `γ^k` after `k` steps, 0 where the task ended.
    pub discount: Vec<f32>,
    /// Observations after the last step of each `[batch, obs_width]`, of the same episode.
    pub next_obs: Vec<f32>,
}

impl ReplayBuffer {
    /// Room for the latest `capacity` transitions (rounded down to a multiple of `num_envs`, but at least one of
    /// each environment).
    pub fn new(capacity: usize, num_envs: usize, obs_width: usize, action_width: usize) -> Self {
        assert!(num_envs > 0 && obs_width > 0 && action_width > 0, "sizes are at least 1");
        Self {
            num_envs,
            obs_width,
            action_width,
            capacity: (capacity / num_envs).max(1),
            pushed: 0,
            obs: Vec::new(),
            action: Vec::new(),
            reward: Vec::new(),
            ends: Vec::new(),
            latest: vec![0.0; num_envs * obs_width],
            ended: VecDeque::new(),
            final_obs: VecDeque::new(),
        }
    }

    /// Number of transitions.
    pub fn len(&self) -> usize {
        self.reward.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.reward.is_empty()
    }

    /// The most transitions that it ever holds.
    pub fn capacity(&self) -> usize {
        self.capacity * self.num_envs
    }

    /// Adds one step of every environment: the observations acted on `[num_envs, obs_width]`, the actions
    /// `[num_envs, action_width]`, and what the environments answered. Returns the slots it went to.
    ///
    /// # Panics
    /// If a slice has another length.
    pub fn push(
        &mut self,
        obs: &[f32],
        action: &[f32],
        step: &StepBatch,
    ) -> std::ops::Range<usize> {
        let n = self.num_envs;
        assert_eq!(obs.len(), n * self.obs_width, "observations are [num_envs, obs_width]");
        assert_eq!(action.len(), n * self.action_width, "actions are [num_envs, action_width]");
        let place = (self.pushed % self.capacity as u64) as usize;
        let first = place * n;
        self.forget(first);
        put(&mut self.obs, first * self.obs_width, obs);
        put(&mut self.action, first * self.action_width, action);
        put(&mut self.reward, first, step.reward());
        for env in 0..n {
            let end = if step.terminated()[env] { TERMINATED } else { 0 }
                | if step.truncated()[env] { TRUNCATED } else { 0 };
            put(&mut self.ends, first + env, &[end]);
            if let Some(last) = step.final_obs(env) {
                self.ended.push_back(self.pushed * n as u64 + env as u64);
                self.final_obs.extend(last);
            }
        }
        self.latest.copy_from_slice(step.obs());
        self.pushed += 1;
        first..first + n
    }

    /// Drops the last observations of rows that are overwritten from slot `first` on.
    fn forget(&mut self, first: usize) {
        if first >= self.reward.len() {
            return;
        }
        let oldest_kept = (self.pushed + 1 - self.capacity as u64) * self.num_envs as u64;
        while self.ended.front().is_some_and(|&row| row < oldest_kept) {
            self.ended.pop_front();
            self.final_obs.drain(..self.obs_width);
        }
    }

    /// The transitions that begin at `slots`, each over up to `n_steps` steps: fewer where the episode ends
    /// before, or where no more has happened yet. After a terminated step the discount is 0; after a truncated
    /// one the last observation of the episode is bootstrapped from, like any other.
    ///
    /// # Panics
    /// If a slot holds nothing or `n_steps` is 0.
    pub fn gather(&self, slots: &[usize], n_steps: usize, gamma: f32, out: &mut Transitions) {
        assert!(n_steps > 0, "a transition has at least one step");
        let (n, width) = (self.num_envs, self.obs_width);
        let newest = ((self.pushed + self.capacity as u64 - 1) % self.capacity as u64) as usize;
        out.clear();
        for &slot in slots {
            let (place, env) = (slot / n, slot % n);
            // Steps of this environment after this row.
            let later = (newest + self.capacity - place) % self.capacity;
            let (mut reward, mut discount, mut last) = (0.0, 1.0, slot);
            for k in 0..=later.min(n_steps - 1) {
                last = (place + k) % self.capacity * n + env;
                reward += discount * self.reward[last];
                discount *= gamma;
                if self.ends[last] != 0 {
                    break;
                }
            }
            let terminated = self.ends[last] & TERMINATED != 0;
            out.obs.extend_from_slice(row(&self.obs, slot, width));
            out.action.extend_from_slice(row(&self.action, slot, self.action_width));
            out.reward.push(reward);
            out.discount.push(if terminated { 0.0 } else { discount });
            if self.ends[last] != 0 {
                out.next_obs.extend(self.final_obs_of(last, newest));
            } else if last / n == newest {
                out.next_obs.extend_from_slice(row(&self.latest, env, width));
            } else {
                let next = ((last / n + 1) % self.capacity) * n + env;
                out.next_obs.extend_from_slice(row(&self.obs, next, width));
            }
        }
    }

    fn final_obs_of(&self, slot: usize, newest: usize) -> impl Iterator<Item = f32> {
        let age = (newest + self.capacity - slot / self.num_envs) % self.capacity;
        let number =
            (self.pushed - 1 - age as u64) * self.num_envs as u64 + (slot % self.num_envs) as u64;
        let place = self.ended.binary_search(&number).expect("every ended row is listed");
        self.final_obs.range(place * self.obs_width..(place + 1) * self.obs_width).copied()
    }

    /// Whether it was made for the same sizes.
    pub fn fits(&self, other: &Self) -> bool {
        let sizes = |b: &Self| (b.num_envs, b.obs_width, b.action_width, b.capacity);
        sizes(self) == sizes(other)
    }
}

impl Transitions {
    /// Number of transitions.
    pub fn len(&self) -> usize {
        self.reward.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.reward.is_empty()
    }

    fn clear(&mut self) {
        let Self { obs, action, reward, discount, next_obs } = self;
        for rows in [obs, action, reward, discount, next_obs] {
            rows.clear();
        }
    }
}

fn row(rows: &[f32], index: usize, width: usize) -> &[f32] {
    &rows[index * width..(index + 1) * width]
}

/// Writes `values` at `start`, which is inside or right behind what is there.
fn put<T: Copy>(all: &mut Vec<T>, start: usize, values: &[T]) {
    if start == all.len() {
        all.extend_from_slice(values);
    } else {
        all[start..start + values.len()].copy_from_slice(values);
    }
}
