//! Batches of environments, which is all that trainers see.
//!
//! A batch resets an environment within the step that ended its episode. The last observation of
//! the ended episode is kept apart ([`StepBatch::final_obs`]), and [`StepBatch::obs`] is already the
//! first of the next episode. So there is no step whose row was made by a reset, and nothing that a
//! trainer could learn from by mistake.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use std::thread::{self, JoinHandle};

use serde::{Deserialize, Serialize};

use crate::{
    Rng, SeedSequence, Space, Step,
    env::{Action, Actions, Env, Observation},
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
    shards: Shards<E>,
}

enum Shards<E: Env> {
    One(Box<Shard<E>>),
    Many(Workers<E>),
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
}

/// The part of a step's buffers that one shard writes.
struct Rows<'a> {
    obs: &'a mut [f32],
    reward: &'a mut [f32],
    terminated: &'a mut [bool],
    truncated: &'a mut [bool],
    final_obs: &'a mut [f32],
    episodes: &'a mut Vec<Episode>,
}

impl<'a> Rows<'a> {
    fn all(batch: &'a mut StepBatch) -> Self {
        Self {
            obs: &mut batch.obs,
            reward: &mut batch.reward,
            terminated: &mut batch.terminated,
            truncated: &mut batch.truncated,
            final_obs: &mut batch.final_obs,
            episodes: &mut batch.episodes,
        }
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
                out.episodes.push(Episode {
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
        if !out.episodes.is_empty() {
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
        let mut parts = Vec::new();
        let threads = threads.min(num_envs);
        for i in (0..threads).rev() {
            let first = i * num_envs / threads;
            let lanes = lanes.split_off(first);
            let observation_space = observation_space.clone();
            parts.push(Shard { first, lanes, observation_space, recorded: None });
        }
        parts.reverse();
        let shards = if parts.len() == 1 {
            Shards::One(Box::new(parts.remove(0)))
        } else {
            Shards::Many(Workers::start(parts, width))
        };
        let action_space = env.action_space();
        Ok(Self { observation_space, action_space, num_envs, width, shards })
    }

    fn with_shards<T>(&self, mut each: impl FnMut(&mut Shard<E>) -> T) -> Vec<T>
    where
        E: Clone,
    {
        match &self.shards {
            Shards::One(shard) => {
                let mut copy = Shard {
                    first: shard.first,
                    lanes: shard.lanes.clone(),
                    observation_space: shard.observation_space.clone(),
                    recorded: None,
                };
                vec![each(&mut copy)]
            }
            Shards::Many(workers) => {
                workers.desks.iter().map(|desk| each(&mut lock(&desk.work).shard)).collect()
            }
        }
    }

    fn with_first_shard<T>(&mut self, mut f: impl FnMut(&mut Shard<E>) -> T) -> T {
        match &mut self.shards {
            Shards::One(shard) => f(shard),
            Shards::Many(workers) => f(&mut lock(&workers.desks[0].work).shard),
        }
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
        match &mut self.shards {
            Shards::One(shard) => shard.reset(width, obs),
            Shards::Many(workers) => {
                for desk in &workers.desks {
                    let shard = &mut lock(&desk.work).shard;
                    let rows = shard.first * width..(shard.first + shard.lanes.len()) * width;
                    shard.reset(width, &mut obs[rows]);
                }
            }
        }
        check_finite(obs, 0, width)
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut StepBatch) -> Result<(), EnvError> {
        out.begin();
        match &mut self.shards {
            Shards::One(shard) => shard.step(self.width, actions, &mut Rows::all(out)),
            Shards::Many(workers) => workers.step(self.width, actions, out),
        }
    }

    fn save(&self) -> Result<Vec<u8>, EnvError> {
        let lanes: Vec<Lane<E>> =
            self.with_shards(|shard| shard.lanes.clone()).into_iter().flatten().collect();
        postcard::to_stdvec(&lanes).map_err(|e| EnvError::State(e.to_string()))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), EnvError> {
        let lanes: Vec<Lane<E>> =
            postcard::from_bytes(state).map_err(|e| EnvError::State(e.to_string()))?;
        if lanes.len() != self.num_envs {
            let (saved, here) = (lanes.len(), self.num_envs);
            return Err(EnvError::State(format!("it holds {saved} environments, not {here}")));
        }
        let fill = |shard: &mut Shard<E>| {
            let rows = shard.first..shard.first + shard.lanes.len();
            shard.lanes = lanes[rows].to_vec();
        };
        match &mut self.shards {
            Shards::One(shard) => fill(shard),
            Shards::Many(workers) => {
                workers.desks.iter().for_each(|desk| fill(&mut lock(&desk.work).shard));
            }
        }
        Ok(())
    }

    fn start_recording(&mut self) {
        self.with_first_shard(|shard| shard.recorded = Some(Vec::new()));
    }

    fn take_scenes(&mut self) -> Vec<Scene> {
        self.with_first_shard(|shard| {
            shard.recorded.as_mut().map(std::mem::take).unwrap_or_default()
        })
    }
}

/// A thread for every shard but the first, which the caller's own thread steps.
///
/// A step is a few microseconds of work, so the threads spin for a short while between steps before
/// they sleep.
struct Workers<E: Env> {
    desks: Vec<Arc<Desk<E>>>,
    threads: Vec<JoinHandle<()>>,
}

/// What the caller and one worker hand each other.
struct Desk<E> {
    /// Steps asked for so far; the worker starts when it grows.
    asked: AtomicUsize,
    /// Steps finished so far.
    finished: AtomicUsize,
    stop: AtomicBool,
    work: Mutex<Work<E>>,
}

struct Work<E> {
    shard: Shard<E>,
    actions: OwnedActions,
    out: StepBatch,
    result: Result<(), EnvError>,
}

enum OwnedActions {
    Discrete(Vec<u32>, usize),
    Continuous(Vec<f32>, usize),
}

impl OwnedActions {
    /// The rows of `actions` for environments `first..first + n`, numbered from `first` still.
    fn fill(&mut self, actions: Actions<'_>, first: usize, n: usize) {
        match actions {
            Actions::Discrete(values, width) => {
                *self = Self::Discrete(values[first * width..(first + n) * width].to_vec(), width);
            }
            Actions::Continuous(values, width) => {
                *self =
                    Self::Continuous(values[first * width..(first + n) * width].to_vec(), width);
            }
        }
    }

    fn borrow(&self) -> Actions<'_> {
        match self {
            Self::Discrete(values, width) => Actions::Discrete(values, *width),
            Self::Continuous(values, width) => Actions::Continuous(values, *width),
        }
    }
}

const SPINS_BEFORE_SLEEP: u32 = 20_000;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<E: Env> Work<E> {
    fn run(&mut self, width: usize) {
        self.out.begin();
        let first = std::mem::take(&mut self.shard.first);
        self.result = self.shard.step(width, self.actions.borrow(), &mut Rows::all(&mut self.out));
        self.shard.first = first;
    }
}

impl<E: Env + 'static> Workers<E> {
    fn start(shards: Vec<Shard<E>>, width: usize) -> Self {
        let desks: Vec<Arc<Desk<E>>> = shards
            .into_iter()
            .map(|shard| {
                let out = StepBatch::new(shard.lanes.len(), width);
                let actions = OwnedActions::Discrete(Vec::new(), 1);
                let work = Mutex::new(Work { shard, actions, out, result: Ok(()) });
                let (asked, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
                Arc::new(Desk { asked, finished, stop: AtomicBool::new(false), work })
            })
            .collect();
        let threads = desks[1..]
            .iter()
            .map(|desk| {
                let desk = Arc::clone(desk);
                thread::spawn(move || serve(&desk, width))
            })
            .collect();
        Self { desks, threads }
    }

    fn step(
        &mut self,
        width: usize,
        actions: Actions<'_>,
        out: &mut StepBatch,
    ) -> Result<(), EnvError> {
        for (desk, thread) in self.desks[1..].iter().zip(&self.threads) {
            let mut work = lock(&desk.work);
            let (first, n) = (work.shard.first, work.shard.lanes.len());
            work.actions.fill(actions, first, n);
            drop(work);
            desk.asked.fetch_add(1, Ordering::Release);
            thread.thread().unpark();
        }
        let mut result = {
            let own = &mut lock(&self.desks[0].work).shard;
            let n = own.lanes.len();
            let mut rows = Rows {
                obs: &mut out.obs[..n * width],
                reward: &mut out.reward[..n],
                terminated: &mut out.terminated[..n],
                truncated: &mut out.truncated[..n],
                final_obs: &mut out.final_obs[..n * width],
                episodes: &mut out.episodes,
            };
            own.step(width, actions, &mut rows)
        };
        for (desk, thread) in self.desks[1..].iter().zip(&self.threads) {
            wait_for(desk, thread)?;
            let work = lock(&desk.work);
            let (first, n) = (work.shard.first, work.shard.lanes.len());
            out.obs[first * width..(first + n) * width].copy_from_slice(&work.out.obs);
            out.final_obs[first * width..(first + n) * width].copy_from_slice(&work.out.final_obs);
            out.reward[first..first + n].copy_from_slice(&work.out.reward);
            out.terminated[first..first + n].copy_from_slice(&work.out.terminated);
            out.truncated[first..first + n].copy_from_slice(&work.out.truncated);
            let shift = |e: &Episode| Episode { env: first + e.env, ..*e };
            out.episodes.extend(work.out.episodes.iter().map(shift));
            result = result.and_then(|()| work.result.clone().map_err(|e| renumber(e, first)));
        }
        result
    }
}

fn renumber(error: EnvError, first: usize) -> EnvError {
    match error {
        EnvError::Reward { env, step, value } => EnvError::Reward { env: env + first, step, value },
        EnvError::Observation { env, component, value } => {
            EnvError::Observation { env: env + first, component, value }
        }
        other => other,
    }
}

fn wait_for<E>(desk: &Desk<E>, thread: &JoinHandle<()>) -> Result<(), EnvError> {
    let mut spins = 0;
    while desk.finished.load(Ordering::Acquire) != desk.asked.load(Ordering::Relaxed) {
        spins += 1;
        if spins < SPINS_BEFORE_SLEEP {
            std::hint::spin_loop();
        } else if thread.is_finished() {
            return Err(EnvError::Remote("a thread of environments panicked".into()));
        } else {
            thread::yield_now();
        }
    }
    Ok(())
}

fn serve<E: Env>(desk: &Desk<E>, width: usize) {
    let mut done = 0;
    let mut spins = 0;
    loop {
        if desk.asked.load(Ordering::Acquire) != done {
            lock(&desk.work).run(width);
            done = done.wrapping_add(1);
            desk.finished.store(done, Ordering::Release);
            spins = 0;
        } else if desk.stop.load(Ordering::Acquire) {
            return;
        } else if spins < SPINS_BEFORE_SLEEP {
            spins += 1;
            std::hint::spin_loop();
        } else {
            thread::park();
        }
    }
}

impl<E: Env> Drop for Workers<E> {
    fn drop(&mut self) {
        for (desk, thread) in self.desks[1..].iter().zip(self.threads.drain(..)) {
            desk.stop.store(true, Ordering::Release);
            thread.thread().unpark();
            // A worker that panicked has already been reported by `wait_for`.
            drop(thread.join());
        }
    }
}
