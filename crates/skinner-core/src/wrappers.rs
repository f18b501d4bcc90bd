//! Wrappers: a time limit around one environment, and transformations around a batch of them.

use serde::{Deserialize, Serialize};

use crate::{
    Rng, Space, Step,
    env::{Actions, Env},
    mdp::Tabular,
    running::{CLIP, EPSILON, RunningMoments},
    scene::Scene,
    vec_env::{EnvError, StepBatch, VecEnv},
};

/// Truncates an episode after `max_steps` steps. A step may be both `terminated` and `truncated`; termination then decides what is bootstrapped (nothing).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimeLimit<E> {
    env: E,
    max_steps: usize,
    steps: usize,
}

impl<E> TimeLimit<E> {
    /// `env` with episodes of at most `max_steps`.
    pub fn new(env: E, max_steps: usize) -> Self {
        Self { env, max_steps, steps: 0 }
    }

    /// The environment inside.
    pub fn inner(&self) -> &E {
        &self.env
    }
}

impl<E: Env> Env for TimeLimit<E> {
    type Obs = E::Obs;
    type Action = E::Action;

    fn observation_space(&self) -> Space {
        self.env.observation_space()
    }

    fn action_space(&self) -> Space {
        self.env.action_space()
    }

    #[inline]
    fn reset(&mut self, rng: &mut Rng) -> Self::Obs {
        self.steps = 0;
        self.env.reset(rng)
    }

    #[inline]
    fn step(&mut self, action: &Self::Action, rng: &mut Rng) -> Step<Self::Obs> {
        let mut step = self.env.step(action, rng);
        self.steps += 1;
        step.truncated |= self.steps >= self.max_steps;
        step
    }

    fn render(&self) -> Option<Scene> {
        self.env.render()
    }

    /// The table does not know the limit: it has no time in its states.
    fn tabular(&self) -> Option<&dyn Tabular> {
        self.env.tabular()
    }
}

/// Passes the calls that a wrapper does not change on to the environments inside.
macro_rules! delegate {
    ($($name:ident),*) => { $(delegate!(@ $name);)* };
    (@ num_envs) => { fn num_envs(&self) -> usize { self.inner.num_envs() } };
    (@ observation_space) => {
        fn observation_space(&self) -> &Space { self.inner.observation_space() }
    };
    (@ action_space) => { fn action_space(&self) -> &Space { self.inner.action_space() } };
    (@ reset) => {
        fn reset(&mut self, obs: &mut [f32]) -> Result<(), EnvError> { self.inner.reset(obs) }
    };
    (@ state) => {
        fn save(&self) -> Result<Vec<u8>, EnvError> { self.inner.save() }
        fn load(&mut self, state: &[u8]) -> Result<(), EnvError> { self.inner.load(state) }
    };
    (@ scenes) => {
        fn start_recording(&mut self) { self.inner.start_recording(); }
        fn take_scenes(&mut self) -> Vec<Scene> { self.inner.take_scenes() }
    };
    (@ statistics) => {
        fn obs_statistics(&self) -> Option<&RunningMoments> { self.inner.obs_statistics() }
    };
}

/// Clips continuous actions to the bounds of the action space.
pub struct ClipAction {
    inner: Box<dyn VecEnv>,
    low: Vec<f32>,
    high: Vec<f32>,
    clipped: Vec<f32>,
}

impl ClipAction {
    /// Wraps environments that take real vectors.
    ///
    /// # Errors
    /// [`EnvError::Wrapper`] if the action space is discrete.
    pub fn new(inner: Box<dyn VecEnv>) -> Result<Self, EnvError> {
        let (low, high) = action_bounds("clip_action", inner.as_ref())?;
        Ok(Self { inner, low, high, clipped: Vec::new() })
    }
}

fn action_bounds(
    wrapper: &'static str,
    inner: &dyn VecEnv,
) -> Result<(Vec<f32>, Vec<f32>), EnvError> {
    match inner.action_space() {
        Space::Box { low, high } => Ok((low.clone(), high.clone())),
        other => {
            let has = other.to_string();
            Err(EnvError::Wrapper { wrapper, needs: "a Box action space", has })
        }
    }
}

fn continuous<'a>(wrapper: &'static str, actions: Actions<'a>) -> Result<&'a [f32], EnvError> {
    match actions {
        Actions::Continuous(values, _) => Ok(values),
        Actions::Discrete(..) => {
            let has = "been given discrete ones".to_owned();
            Err(EnvError::Wrapper { wrapper, needs: "continuous actions", has })
        }
    }
}

impl VecEnv for ClipAction {
    delegate!(num_envs, observation_space, action_space, reset, state, scenes, statistics);

    fn step(&mut self, actions: Actions<'_>, out: &mut StepBatch) -> Result<(), EnvError> {
        let width = self.low.len();
        self.clipped.clear();
        self.clipped.extend_from_slice(continuous("clip_action", actions)?);
        for row in self.clipped.chunks_exact_mut(width) {
            for ((x, &low), &high) in row.iter_mut().zip(&self.low).zip(&self.high) {
                *x = x.clamp(low, high);
            }
        }
        self.inner.step(Actions::Continuous(&self.clipped, width), out)
    }
}

/// Shows the policy an action space of `[-1, 1]` and maps it affinely onto the environment's bounds;
/// numbers beyond `±1` are clipped first.
pub struct RescaleAction {
    inner: Box<dyn VecEnv>,
    space: Space,
    low: Vec<f32>,
    high: Vec<f32>,
    scaled: Vec<f32>,
}

impl RescaleAction {
    /// Wraps environments whose actions are bounded real vectors.
    ///
    /// # Errors
    /// [`EnvError::Wrapper`] if the action space is discrete or unbounded.
    pub fn new(inner: Box<dyn VecEnv>) -> Result<Self, EnvError> {
        let (low, high) = action_bounds("rescale_action", inner.as_ref())?;
        if low.iter().chain(&high).any(|bound| !bound.is_finite()) {
            let has = inner.action_space().to_string();
            let needs = "finite action bounds";
            return Err(EnvError::Wrapper { wrapper: "rescale_action", needs, has });
        }
        let space = Space::uniform_box(-1.0, 1.0, low.len());
        Ok(Self { inner, space, low, high, scaled: Vec::new() })
    }
}

impl VecEnv for RescaleAction {
    delegate!(num_envs, observation_space, reset, state, scenes, statistics);

    fn action_space(&self) -> &Space {
        &self.space
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut StepBatch) -> Result<(), EnvError> {
        let width = self.low.len();
        self.scaled.clear();
        self.scaled.extend_from_slice(continuous("rescale_action", actions)?);
        for row in self.scaled.chunks_exact_mut(width) {
            for ((x, &low), &high) in row.iter_mut().zip(&self.low).zip(&self.high) {
                *x = (low + (x.clamp(-1.0, 1.0) + 1.0) * 0.5 * (high - low)).clamp(low, high);
            }
        }
        self.inner.step(Actions::Continuous(&self.scaled, width), out)
    }
}

/// Shows the last `depth` observations at once, oldest first; an episode starts with its first
/// observation repeated.
pub struct FrameStack {
    inner: Box<dyn VecEnv>,
    space: Space,
    depth: usize,
    width: usize,
    stacked: Vec<f32>,
    step: StepBatch,
}

impl FrameStack {
    /// Wraps environments with stacks of `depth` observations.
    ///
    /// # Errors
    /// [`EnvError::Zero`] if `depth` is zero.
    pub fn new(inner: Box<dyn VecEnv>, depth: usize) -> Result<Self, EnvError> {
        if depth == 0 {
            return Err(EnvError::Zero { what: "frame_stack" });
        }
        let space = match inner.observation_space() {
            Space::Box { low, high } => {
                Space::Box { low: low.repeat(depth), high: high.repeat(depth) }
            }
            Space::Discrete(n) => Space::MultiDiscrete(vec![*n; depth]),
            Space::MultiDiscrete(nvec) => Space::MultiDiscrete(nvec.repeat(depth)),
        };
        let width = inner.observation_space().flat_width();
        let stacked = vec![0.0; inner.num_envs() * depth * width];
        let step = StepBatch::new(inner.num_envs(), width);
        Ok(Self { inner, space, depth, width, stacked, step })
    }
}

impl VecEnv for FrameStack {
    delegate!(num_envs, action_space, scenes, statistics);

    fn observation_space(&self) -> &Space {
        &self.space
    }

    fn reset(&mut self, obs: &mut [f32]) -> Result<(), EnvError> {
        self.inner.reset(&mut self.step.obs)?;
        let stacks = self.stacked.chunks_exact_mut(self.depth * self.width);
        for (stack, frame) in stacks.zip(self.step.obs.chunks_exact(self.width)) {
            stack.chunks_exact_mut(self.width).for_each(|slot| slot.copy_from_slice(frame));
        }
        obs.copy_from_slice(&self.stacked);
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut StepBatch) -> Result<(), EnvError> {
        self.inner.step(actions, &mut self.step)?;
        let (width, last) = (self.width, (self.depth - 1) * self.width);
        let rows = self.depth * width;
        for (i, stack) in self.stacked.chunks_exact_mut(rows).enumerate() {
            let frame = &self.step.obs[i * width..(i + 1) * width];
            stack.copy_within(width.., 0);
            if let Some(ending) = self.step.final_obs(i) {
                stack[last..].copy_from_slice(ending);
                out.final_obs[i * rows..(i + 1) * rows].copy_from_slice(stack);
                stack.chunks_exact_mut(width).for_each(|slot| slot.copy_from_slice(frame));
            } else {
                stack[last..].copy_from_slice(frame);
            }
        }
        out.obs.copy_from_slice(&self.stacked);
        out.reward.copy_from_slice(&self.step.reward);
        out.terminated.copy_from_slice(&self.step.terminated);
        out.truncated.copy_from_slice(&self.step.truncated);
        out.episodes.clone_from(&self.step.episodes);
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, EnvError> {
        pack(&(&self.stacked, self.inner.save()?))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), EnvError> {
        let (stacked, inner): (Vec<f32>, Vec<u8>) = unpack(state)?;
        if stacked.len() != self.stacked.len() {
            return Err(EnvError::State("the frame stack has another size".into()));
        }
        self.stacked = stacked;
        self.inner.load(&inner)
    }
}

/// Which running statistics [`Normalize`] applies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormalizeConfig {
    /// Shift and scale observations by their running moments.
    pub obs: bool,
    /// Divide rewards by the running standard deviation of the discounted return.
    pub reward: bool,
    /// Discount of that return.
    pub gamma: f64,
}

/// Normalises observations and rewards by running statistics, clipped to ±10. [`frozen`](Self::frozen) applies
/// given statistics without changing them and leaves rewards alone, which is what evaluation needs.
/// Episode returns are always those of the environment's own rewards.
pub struct Normalize {
    inner: Box<dyn VecEnv>,
    config: NormalizeConfig,
    learning: bool,
    obs_moments: RunningMoments,
    return_moments: RunningMoments,
    returns: Vec<f32>,
}

impl Normalize {
    /// Wraps environments and starts with no statistics.
    pub fn new(inner: Box<dyn VecEnv>, config: NormalizeConfig) -> Self {
        let obs_moments = RunningMoments::new(inner.observation_space().flat_width());
        let returns = vec![0.0; inner.num_envs()];
        let return_moments = RunningMoments::new(1);
        Self { inner, config, learning: true, obs_moments, return_moments, returns }
    }

    /// Wraps environments with fixed statistics of observations, for evaluation.
    ///
    /// # Errors
    /// [`EnvError::State`] if the statistics are of observations of another width.
    pub fn frozen(inner: Box<dyn VecEnv>, moments: RunningMoments) -> Result<Self, EnvError> {
        let (has, needs) = (moments.mean().len(), inner.observation_space().flat_width());
        if has != needs {
            let what = format!("statistics of {has} numbers for observations of {needs}");
            return Err(EnvError::State(what));
        }
        let config = NormalizeConfig { obs: true, reward: false, gamma: 1.0 };
        let mut normalize = Self::new(inner, config);
        normalize.learning = false;
        normalize.obs_moments = moments;
        Ok(normalize)
    }

    fn normalize_obs(&self, obs: &mut [f32]) {
        self.obs_moments.normalize(obs);
    }

    fn normalize_rewards(&mut self, out: &mut StepBatch) {
        let gamma = self.config.gamma as f32;
        for (sum, reward) in self.returns.iter_mut().zip(&out.reward) {
            *sum = *sum * gamma + reward;
        }
        if self.learning {
            self.return_moments.update(&self.returns);
        }
        let scale = (self.return_moments.variance()[0] + EPSILON).sqrt() as f32;
        for (i, reward) in out.reward.iter_mut().enumerate() {
            *reward = (*reward / scale).clamp(-CLIP, CLIP);
            if out.terminated[i] || out.truncated[i] {
                self.returns[i] = 0.0;
            }
        }
    }
}

impl VecEnv for Normalize {
    delegate!(num_envs, observation_space, action_space, scenes);

    fn reset(&mut self, obs: &mut [f32]) -> Result<(), EnvError> {
        self.inner.reset(obs)?;
        self.returns.fill(0.0);
        if self.config.obs {
            if self.learning {
                self.obs_moments.update(obs);
            }
            self.normalize_obs(obs);
        }
        Ok(())
    }

    fn step(&mut self, actions: Actions<'_>, out: &mut StepBatch) -> Result<(), EnvError> {
        self.inner.step(actions, out)?;
        if self.config.obs {
            if self.learning {
                self.obs_moments.update(&out.obs);
            }
            self.normalize_obs(&mut out.obs);
            for i in 0..out.terminated.len() {
                if out.terminated[i] || out.truncated[i] {
                    let row = i * out.width..(i + 1) * out.width;
                    self.normalize_obs(&mut out.final_obs[row]);
                }
            }
        }
        if self.config.reward {
            self.normalize_rewards(out);
        }
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, EnvError> {
        let inner = self.inner.save()?;
        pack(&(&self.obs_moments, &self.return_moments, &self.returns, inner))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), EnvError> {
        let (obs, returns_moments, returns, inner): (_, _, Vec<f32>, Vec<u8>) = unpack(state)?;
        self.obs_moments = obs;
        self.return_moments = returns_moments;
        self.returns = returns;
        self.inner.load(&inner)
    }

    fn obs_statistics(&self) -> Option<&RunningMoments> {
        self.config.obs.then_some(&self.obs_moments)
    }
}

fn pack<T: Serialize>(state: &T) -> Result<Vec<u8>, EnvError> {
    postcard::to_stdvec(state).map_err(|e| EnvError::State(e.to_string()))
}

fn unpack<T: serde::de::DeserializeOwned>(state: &[u8]) -> Result<T, EnvError> {
    postcard::from_bytes(state).map_err(|e| EnvError::State(e.to_string()))
}
