//! Batches of environments, which is all that trainers see.
//!
//! A batch resets an environment within the step that ended its episode. The last observation of
//! the ended episode is kept apart ([`StepBatch::final_obs`]), and [`StepBatch::obs`] is already the
//! first of the next episode. So there is no step whose row was made by a reset, and nothing that a
//! trainer could learn from by mistake.

use serde::{Deserialize, Serialize};

use crate::{
    Rng, SeedSequence, Space, Step,
    env::{Action, Actions, Env, Observation},
    pool::Pool,
    scene::Scene,
};

/// What can go wrong with environments.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EnvError {
    /// A reward was NaN or infinite.
    #[error(
        "environment {env} returned reward {value} at step {step} of its episode; rewards must be finite"
    )]
    Reward {
        /// Index in the batch.
        env: usize,
        /// Step within the episode, from 1.
        step: u32,
        /// What it returned.
        value: f32,
    },
    /// An observation held NaN or an infinity.
    #[error(
        "environment {env} returned an observation with {value} in component {component}; observations must be finite"
    )]
    Observation {
        /// Index in the batch.
        env: usize,
        /// Index in the flat row.
        component: usize,
        /// What it returned.
        value: f32,
    },
    /// An impossible size.
    #[error("{what} must be at least 1, got 0")]
    Zero {
        /// `num_envs` or `threads`.
        what: &'static str,
    },
    /// A wrapper that does not fit the environment under it.
    #[error("{wrapper} needs {needs}, but the environment has {has}")]
    Wrapper {
        /// Which wrapper.
        wrapper: &'static str,
        /// What it works on.
        needs: &'static str,
        /// What it found.
        has: String,
    },
    /// Saved state that does not fit.
    #[error("the saved state of the environments cannot be read: {0}")]
    State(String),
    /// An environment that lives elsewhere failed.
    #[error("{0}")]
    Remote(String),
}

/// An episode that ended during a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// Index in the batch.
    pub env: usize,
    /// Undiscounted sum of the environment's own rewards.
    pub episode_return: f64,
    /// Number of steps.
    pub length: u32,
}

/// What a batch of environments answers to one batch of actions. The caller owns and reuses it.
#[derive(Clone, Debug)]
pub struct StepBatch {
    pub(crate) width: usize,
    pub(crate) obs: Vec<f32>,
    pub(crate) reward: Vec<f32>,
    pub(crate) terminated: Vec<bool>,
    pub(crate) truncated: Vec<bool>,
    pub(crate) final_obs: Vec<f32>,
    pub(crate) episodes: Vec<Episode>,
}

impl StepBatch {
    /// Room for the answers of `num_envs` environments with observations of `width` numbers.
    pub fn new(num_envs: usize, width: usize) -> Self {
        Self {
            width,
            obs: vec![0.0; num_envs * width],
            reward: vec![0.0; num_envs],
            terminated: vec![false; num_envs],
            truncated: vec![false; num_envs],
            final_obs: vec![0.0; num_envs * width],
            episodes: Vec::new(),
        }
    }

    /// `[num_envs, width]`: what to act on next (a new episode's first observation where one ended).
    pub fn obs(&self) -> &[f32] {
        &self.obs
    }

    /// `[num_envs]` rewards of this step.
    pub fn reward(&self) -> &[f32] {
        &self.reward
    }

    /// `[num_envs]`: the task ended, nothing follows.
    pub fn terminated(&self) -> &[bool] {
        &self.terminated
    }

    /// `[num_envs]`: the episode was cut off; the value of [`final_obs`](Self::final_obs) counts.
    pub fn truncated(&self) -> &[bool] {
        &self.truncated
    }

    /// The last observation of the episode that environment `env` ended in this step, if it did.
    pub fn final_obs(&self, env: usize) -> Option<&[f32]> {
        (self.terminated[env] || self.truncated[env])
            .then(|| &self.final_obs[env * self.width..(env + 1) * self.width])
    }

    /// Episodes that ended in this step, in order of environment.
    pub fn episodes(&self) -> &[Episode] {
        &self.episodes
    }

    /// Forgets the previous step's episodes. An implementer of [`VecEnv`] calls this first.
    pub fn begin(&mut self) {
        self.episodes.clear();
    }

    /// Writes the answer of one environment, for implementers of [`VecEnv`] outside this crate.
    /// `reset_obs` is the first observation of the next episode, given exactly when one ended.
    ///
    /// # Panics
    /// If `reset_obs` is given for an episode that goes on, or missing for one that ended.
    pub fn put(&mut self, env: usize, step: &Step<&[f32]>, reset_obs: Option<(&[f32], Episode)>) {
        assert_eq!(step.done(), reset_obs.is_some(), "a reset belongs to an ended episode");
        let row = env * self.width..(env + 1) * self.width;
        self.reward[env] = step.reward;
        self.terminated[env] = step.terminated;
        self.truncated[env] = step.truncated;
        if let Some((obs, episode)) = reset_obs {
            self.final_obs[row.clone()].copy_from_slice(step.obs);
            self.obs[row].copy_from_slice(obs);
            self.episodes.push(episode);
        } else {
            self.obs[row].copy_from_slice(step.obs);
        }
    }
}

/// What one step of [`VecEnv::drive`] brought; observations are numbers ([`Observation::index`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moved {
    /// The reward.
    pub reward: f32,
    /// What the agent sees after its action; the ended episode's last where one ended.
    pub obs: usize,
    /// The task ended, nothing follows.
    pub terminated: bool,
    /// The episode was cut off; the value of `obs` counts.
    pub truncated: bool,
    /// The next episode's first observation and the ended episode, where one ended.
    pub ended: Option<(usize, Episode)>,
}

/// Many environments stepped together. They may live in this process or elsewhere; they may fail.
pub trait VecEnv: Send {
    /// Number of environments.
    fn num_envs(&self) -> usize;

    /// The space of one observation.
    fn observation_space(&self) -> &Space;

    /// The space of one action.
    fn action_space(&self) -> &Space;

    /// Starts a new episode everywhere and writes `[num_envs, flat_width]` first observations.
    ///
    /// # Errors
    /// When an environment fails.
    fn reset(&mut self, obs: &mut [f32]) -> Result<(), EnvError>;

    /// One step everywhere.
    ///
    /// # Errors
    /// When an environment fails or answers with a number that is not finite.
    fn step(&mut self, actions: Actions<'_>, out: &mut StepBatch) -> Result<(), EnvError>;

    /// Everything needed to continue exactly from here.
    ///
    /// # Errors
    /// When the environments cannot be saved.
    fn save(&self) -> Result<Vec<u8>, EnvError>;

    /// Continues from what [`save`](Self::save) gave.
    ///
    /// # Errors
    /// When the bytes do not fit these environments.
    fn load(&mut self, state: &[u8]) -> Result<(), EnvError>;

    /// Steps environment 0 alone, `steps` times from `action` on: the same steps, resets and random numbers as
    /// those of [`step`](Self::step), without flat buffers. `agent` is shown each and answers with the next
    /// action; the last answer is returned. For agents with tables, to which one-hot rows would cost more
    /// than all they do.
    ///
    /// # Errors
    /// When the environment fails, when observations or actions are not discrete, or when a wrapper has
    /// changed them.
    fn drive(
        &mut self,
        action: usize,
        steps: u64,
        agent: &mut dyn FnMut(&Moved) -> usize,
    ) -> Result<usize, EnvError> {
        let _ = (action, steps, agent);
        let has = "wrappers around it".to_owned();
        Err(EnvError::Wrapper { wrapper: "a table", needs: "a bare environment", has })
    }

    /// Begins to keep a picture of environment 0 after its reset and after each of its steps.
    fn start_recording(&mut self) {}

    /// The pictures kept since the last call; the last of an episode shows its final state.
    fn take_scenes(&mut self) -> Vec<Scene> {
        Vec::new()
    }

    /// Running statistics of observations, where a wrapper keeps them.
    fn obs_statistics(&self) -> Option<&crate::running::RunningMoments> {
        None
    }
}

/// Copies of one [`Env`], stepped on one or several threads with the same result.
pub struct EnvBatch<E: Env> {
    observation_space: Space,
    action_space: Space,
    num_envs: usize,
    width: usize,
    /// One for each thread.
    shards: Vec<Shard<E>>,
    pool: Pool,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(bound = "E: Env")]
struct Lane<E> {
    env: E,
    rng: Rng,
    episode_return: f64,
    length: u32,
}

struct Shard<E> {
    first: usize,
    lanes: Vec<Lane<E>>,
    observation_space: Space,
    recorded: Option<Vec<Scene>>,
    /// Episodes that ended in the present step.
    episodes: Vec<Episode>,
}

impl<E: Env> Lane<E> {
    /// One step, and the reset within it where it ends an episode.
    #[inline]
    fn advance(&mut self, space: &Space, action: usize) -> Result<Moved, EnvError> {
        let action = E::Action::read(Actions::Discrete(&[action as u32], 1), 0);
        let step = self.env.step(&action, &mut self.rng);
        self.episode_return += f64::from(step.reward);
        self.length += 1;
        if !step.reward.is_finite() {
            return Err(EnvError::Reward { env: 0, step: self.length, value: step.reward });
        }
        let ended = step.done().then(|| {
            let (episode_return, length) = (self.episode_return, self.length);
            (self.episode_return, self.length) = (0.0, 0);
            let first = self.env.reset(&mut self.rng).index(space);
            (first, Episode { env: 0, episode_return, length })
        });
        let (reward, obs) = (step.reward, step.obs.index(space));
        Ok(Moved { reward, obs, terminated: step.terminated, truncated: step.truncated, ended })
    }
}

/// The part of a step's buffers that one shard writes.
struct Rows<'a> {
    obs: &'a mut [f32],
    reward: &'a mut [f32],
    terminated: &'a mut [bool],
    truncated: &'a mut [bool],
    final_obs: &'a mut [f32],
}

impl StepBatch {
    /// The rows of consecutive shards of these sizes, which cover the batch.
    fn split(&mut self, sizes: impl Iterator<Item = usize>) -> Vec<Rows<'_>> {
        let width = self.width;
        let (mut obs, mut final_obs) = (&mut self.obs[..], &mut self.final_obs[..]);
        let mut reward = &mut self.reward[..];
        let (mut terminated, mut truncated) = (&mut self.terminated[..], &mut self.truncated[..]);
        sizes
            .map(|n| Rows {
                obs: obs.split_off_mut(..n * width).expect("shards cover the batch"),
                reward: reward.split_off_mut(..n).expect("shards cover the batch"),
                terminated: terminated.split_off_mut(..n).expect("shards cover the batch"),
                truncated: truncated.split_off_mut(..n).expect("shards cover the batch"),
                final_obs: final_obs.split_off_mut(..n * width).expect("shards cover the batch"),
            })
            .collect()
    }
}

impl<E: Env> Shard<E> {
    fn reset(&mut self, width: usize, obs: &mut [f32]) {
        for (lane, row) in self.lanes.iter_mut().zip(obs.chunks_exact_mut(width)) {
            lane.episode_return = 0.0;
            lane.length = 0;
            lane.env.reset(&mut lane.rng).write(&self.observation_space, row);
        }
        self.record();
    }

    fn step(
        &mut self,
        width: usize,
        actions: Actions<'_>,
        out: &mut Rows<'_>,
    ) -> Result<(), EnvError> {
        self.episodes.clear();
        let recording = self.recorded.is_some();
        let space = &self.observation_space;
        for (i, lane) in self.lanes.iter_mut().enumerate() {
            let action = E::Action::read(actions, self.first + i);
            let step = lane.env.step(&action, &mut lane.rng);
            lane.episode_return += f64::from(step.reward);
            lane.length += 1;
            if !step.reward.is_finite() {
                let env = self.first + i;
                return Err(EnvError::Reward { env, step: lane.length, value: step.reward });
            }
            out.reward[i] = step.reward;
            out.terminated[i] = step.terminated;
            out.truncated[i] = step.truncated;
            let row = i * width..(i + 1) * width;
            if step.terminated || step.truncated {
                if recording && i == 0 {
                    self.recorded.iter_mut().for_each(|all| all.extend(lane.env.render()));
                }
                step.obs.write(space, &mut out.final_obs[row.clone()]);
                self.episodes.push(Episode {
                    env: self.first + i,
                    episode_return: lane.episode_return,
                    length: lane.length,
                });
                lane.episode_return = 0.0;
                lane.length = 0;
                lane.env.reset(&mut lane.rng).write(space, &mut out.obs[row]);
            } else {
                step.obs.write(space, &mut out.obs[row]);
            }
        }
        self.record();
        check_finite(out.obs, self.first, width)?;
        if !self.episodes.is_empty() {
            check_finite(out.final_obs, self.first, width)?;
        }
        Ok(())
    }

    fn record(&mut self) {
        if let (Some(recorded), Some(lane)) = (&mut self.recorded, self.lanes.first()) {
            recorded.extend(lane.env.render());
        }
    }
}

fn check_finite(obs: &[f32], first: usize, width: usize) -> Result<(), EnvError> {
    const EXPONENT: u32 = 0x7f80_0000;
    let bad = obs.iter().fold(false, |bad, x| bad | (x.to_bits() & EXPONENT == EXPONENT));
    if !bad {
        return Ok(());
    }
    let index = obs.iter().position(|x| !x.is_finite()).unwrap_or(0);
    Err(EnvError::Observation {
        env: first + index / width,
        component: index % width,
        value: obs[index],
    })
}

impl<E: Env + 'static> EnvBatch<E> {
    /// `num_envs` copies of `env`; copy `i` draws from `seed.child(i)`. With several `threads` the
    /// copies are divided among them, and the results are the same.
    ///
    /// # Errors
    /// [`EnvError::Zero`] if `num_envs` or `threads` is zero.
    #[expect(clippy::needless_pass_by_value, reason = "the environment belongs to the batch")]
    pub fn new(
        env: E,
        num_envs: usize,
        seed: &SeedSequence,
        threads: usize,
    ) -> Result<Self, EnvError> {
        let rngs = (0..num_envs).map(|i| seed.child(i as u32).rng()).collect();
        Self::with_generators(&env, rngs, threads)
    }

    /// One copy of `env` for each generator. `Rng::new(s)` gives the episodes of Gymnasium's seed `s`.
    ///
    /// # Errors
    /// [`EnvError::Zero`] if there is no generator or no thread.
    pub fn with_generators(env: &E, rngs: Vec<Rng>, threads: usize) -> Result<Self, EnvError> {
        if rngs.is_empty() {
            return Err(EnvError::Zero { what: "num_envs" });
        }
        if threads == 0 {
            return Err(EnvError::Zero { what: "threads" });
        }
        let observation_space = env.observation_space();
        let num_envs = rngs.len();
        let width = observation_space.flat_width();
        let mut lanes: Vec<Lane<E>> = rngs
            .into_iter()
            .map(|rng| Lane { env: env.clone(), rng, episode_return: 0.0, length: 0 })
            .collect();
        let threads = threads.min(num_envs);
        let mut shards: Vec<Shard<E>> = (0..threads)
            .rev()
            .map(|i| {
                let first = i * num_envs / threads;
                let observation_space = observation_space.clone();
                let (lanes, episodes) = (lanes.split_off(first), Vec::new());
                Shard { first, lanes, observation_space, recorded: None, episodes }
            })
            .collect();
        shards.reverse();
        let action_space = env.action_space();
        let pool = Pool::new(threads - 1);
        Ok(Self { observation_space, action_space, num_envs, width, shards, pool })
    }
}

impl<E: Env + 'static> VecEnv for EnvBatch<E> {
    fn num_envs(&self) -> usize {
        self.num_envs
    }

    fn observation_space(&self) -> &Space {
        &self.observation_space
    }

    fn action_space(&self) -> &Space {
        &self.action_space
    }

    fn reset(&mut self, obs: &mut [f32]) -> Result<(), EnvError> {
        let width = self.width;
        for shard in &mut self.shards {
            let rows = shard.first * width..(shard.first + shard.lanes.len()) * width;
            shard.reset(width, &mut obs[rows]);
        }
        check_finite(obs, 0, width)
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut StepBatch) -> Result<(), EnvError> {
        out.begin();
        let width = self.width;
        if let [shard] = &mut self.shards[..] {
            let rows = &mut Rows {
                obs: &mut out.obs,
                reward: &mut out.reward,
                terminated: &mut out.terminated,
                truncated: &mut out.truncated,
                final_obs: &mut out.final_obs,
            };
            shard.step(width, actions, rows)?;
            out.episodes.extend_from_slice(&shard.episodes);
            return Ok(());
        }
        let sizes: Vec<usize> = self.shards.iter().map(|shard| shard.lanes.len()).collect();
        let rows = out.split(sizes.into_iter());
        let mut work: Vec<_> =
            self.shards.iter_mut().zip(rows).map(|(shard, rows)| (shard, rows, Ok(()))).collect();
        self.pool.for_each(&mut work, |(shard, rows, result)| {
            *result = shard.step(width, actions, rows);
        });
        let results: Vec<_> = work.into_iter().map(|(_, _, result)| result).collect();
        for (shard, result) in self.shards.iter().zip(results) {
            result?;
            out.episodes.extend_from_slice(&shard.episodes);
        }
        Ok(())
    }

    fn drive(
        &mut self,
        mut action: usize,
        steps: u64,
        agent: &mut dyn FnMut(&Moved) -> usize,
    ) -> Result<usize, EnvError> {
        let (Some(_), Space::Discrete(_)) =
            (self.observation_space.cardinality(), &self.action_space)
        else {
            let has = format!("{} and {}", self.observation_space, self.action_space);
            let needs = "discrete observations and actions";
            return Err(EnvError::Wrapper { wrapper: "a table", needs, has });
        };
        let (space, lane) = (&self.observation_space, &mut self.shards[0].lanes[0]);
        for _ in 0..steps {
            action = agent(&lane.advance(space, action)?);
        }
        Ok(action)
    }

    fn save(&self) -> Result<Vec<u8>, EnvError> {
        let lanes: Vec<&Lane<E>> = self.shards.iter().flat_map(|shard| &shard.lanes).collect();
        postcard::to_stdvec(&lanes).map_err(|e| EnvError::State(e.to_string()))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), EnvError> {
        let lanes: Vec<Lane<E>> =
            postcard::from_bytes(state).map_err(|e| EnvError::State(e.to_string()))?;
        if lanes.len() != self.num_envs {
            let (saved, here) = (lanes.len(), self.num_envs);
            return Err(EnvError::State(format!("it holds {saved} environments, not {here}")));
        }
        let mut lanes = lanes.into_iter();
        for shard in &mut self.shards {
            let n = shard.lanes.len();
            shard.lanes.clear();
            shard.lanes.extend(lanes.by_ref().take(n));
        }
        Ok(())
    }

    fn start_recording(&mut self) {
        self.shards[0].recorded = Some(Vec::new());
    }

    fn take_scenes(&mut self) -> Vec<Scene> {
        self.shards[0].recorded.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
