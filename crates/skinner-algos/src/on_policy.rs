//! What the on-policy algorithms share: acting, collecting, counting, and saving all of it.

use serde::{Deserialize, Serialize};
use skinner_core::distribution::StateDependentNoise;
use skinner_core::{Metrics, Rng, RolloutBuffer, SeedSequence, StepBatch, VecEnv};
use skinner_nn::{ActorCriticTape, Network as _, Optimizer, OptimizerKind};

use crate::episodes::Episodes;
use crate::error::AlgoError;
use crate::policy::{ActionBatch, Policy, PolicyConfig};

/// Keys of the random streams below a run's seed.
pub(crate) const STREAM_WEIGHTS: u32 = 0;
pub(crate) const STREAM_TRAINING: u32 = 1;
/// The stream of the training environments below a run's seed.
pub const STREAM_ENVS: u32 = 2;
/// The stream of evaluation environments below a run's seed.
pub const STREAM_EVAL: u32 = 3;

/// A policy that acts in environments and learns from what it did there.
pub struct OnPolicy {
    /// The policy.
    pub policy: Policy,
    pub(crate) optimizer: Optimizer,
    pub(crate) grad: Vec<f32>,
    pub(crate) tape: ActorCriticTape,
    pub(crate) state: State,
    pub(crate) buffer: RolloutBuffer,
    pub(crate) actions: ActionBatch,
    step: StepBatch,
}

/// A loss without its weight, as it is logged.
pub(crate) fn unweighted(loss: f32, coef: f64) -> f64 {
    if coef > 0.0 { f64::from(loss) / coef } else { 0.0 }
}

/// What of [`OnPolicy`] a checkpoint holds beside parameters and moments.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub rng: Rng,
    /// The observations to act on next `[num_envs, obs_width]`.
    pub obs: Vec<f32>,
    pub env_steps: u64,
    pub iterations: u64,
    episodes: Episodes,
    noise: Option<StateDependentNoise>,
    /// [`fingerprint`] of the initial weights.
    initial_weights: u64,
}

/// A number that changes when any of the weights does (FNV-1a over their bits).
pub(crate) fn fingerprint(params: &[f32]) -> u64 {
    let mix = |hash: u64, x: &f32| (hash ^ u64::from(x.to_bits())).wrapping_mul(0x100_0000_01b3);
    params.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

impl OnPolicy {
    /// A fresh policy on freshly reset environments.
    ///
    /// # Errors
    /// If the configuration does not fit the spaces or the environments fail.
    pub fn new(
        config: &PolicyConfig,
        critic: bool,
        optimizer: (OptimizerKind, f64),
        num_envs: usize,
        envs: &mut dyn VecEnv,
        seed: &SeedSequence,
    ) -> Result<Self, AlgoError> {
        if envs.num_envs() != num_envs {
            let given = envs.num_envs();
            let what = format!("num_envs = {num_envs}, but {given} environments were given");
            return Err(AlgoError::Conflict(what));
        }
        let weights = &mut seed.child(STREAM_WEIGHTS).rng();
        let (observation_space, action_space) = (envs.observation_space(), envs.action_space());
        let policy = Policy::new(config, observation_space, action_space, critic, weights)?;
        let width = observation_space.flat_width();
        let num_params = policy.network().num_params();
        let mut obs = vec![0.0; num_envs * width];
        envs.reset(&mut obs)?;
        let state = State {
            rng: seed.child(STREAM_TRAINING).rng(),
            obs,
            env_steps: 0,
            iterations: 0,
            episodes: Episodes::default(),
            noise: None,
            initial_weights: fingerprint(&policy.params),
        };
        Ok(Self {
            optimizer: Optimizer::new(optimizer.0, optimizer.1 as f32, num_params),
            grad: vec![0.0; num_params],
            tape: ActorCriticTape::default(),
            state,
            buffer: RolloutBuffer::new(num_envs),
            actions: policy.no_actions(),
            step: StepBatch::new(num_envs, width),
            policy,
        })
    }

    /// The policy as it is used outside of training: with the statistics by which `envs`, the training
    /// environments, normalise observations.
    pub fn policy_for_use(&self, envs: &dyn VecEnv) -> Policy {
        let mut policy = self.policy.clone();
        policy.obs_moments = envs.obs_statistics().cloned();
        policy
    }

    /// Environment steps so far, over all environments.
    pub fn env_steps(&self) -> u64 {
        self.state.env_steps
    }

    /// Acts for one step everywhere and remembers what happened; episodes of environments that do not
    /// `count` are left out of the statistics.
    fn advance(
        &mut self,
        envs: &mut dyn VecEnv,
        count: impl Fn(usize) -> bool,
    ) -> Result<(), AlgoError> {
        let state = &mut self.state;
        let acted =
            self.policy.act(&state.obs, state.noise.as_ref(), &mut self.tape, &mut state.rng);
        self.actions.extend(&acted.actions);
        let outward = self.policy.for_environment(acted.actions);
        envs.step(outward.as_actions(), &mut self.step)?;
        let value =
            if acted.value.is_empty() { vec![0.0; acted.log_prob.len()] } else { acted.value };
        self.buffer.push(&state.obs, &acted.log_prob, &value, &self.step);
        state.obs.copy_from_slice(self.step.obs());
        state.env_steps += envs.num_envs() as u64;
        for &episode in self.step.episodes().iter().filter(|episode| count(episode.env)) {
            state.episodes.add(episode);
        }
        Ok(())
    }

    fn start_rollout(&mut self) {
        self.buffer.clear();
        self.actions.clear();
    }

    fn renew_noise(&mut self, t: usize, num_envs: usize) {
        let frequency = self.policy.sde_sample_freq();
        if t == 0 || (frequency > 0 && t.is_multiple_of(frequency)) {
            self.state.noise = self.policy.sample_noise(num_envs, &mut self.state.rng);
        }
    }

    /// Fills the buffer with `num_steps` steps of every environment, and with the values that
    /// bootstrapping needs.
    pub(crate) fn collect(
        &mut self,
        envs: &mut dyn VecEnv,
        num_steps: usize,
    ) -> Result<(), AlgoError> {
        self.start_rollout();
        for t in 0..num_steps {
            self.renew_noise(t, envs.num_envs());
            self.advance(envs, |_| true)?;
        }
        self.bootstrap();
        Ok(())
    }

    /// Fills the buffer with `episodes` whole episodes of every environment. An environment that has
    /// played its share is stepped on until all have, and those rows are marked in the mask returned
    /// (`true`: belongs to a whole episode).
    pub(crate) fn collect_episodes(
        &mut self,
        envs: &mut dyn VecEnv,
        episodes: usize,
    ) -> Result<Vec<bool>, AlgoError> {
        self.start_rollout();
        let num_envs = envs.num_envs();
        if num_envs > 1 {
            envs.reset(&mut self.state.obs)?;
        }
        let mut left = vec![episodes; num_envs];
        let mut mask = Vec::new();
        let mut t = 0;
        while left.iter().any(|&n| n > 0) {
            self.renew_noise(t, num_envs);
            mask.extend(left.iter().map(|&n| n > 0));
            self.advance(envs, |env| left[env] > 0)?;
            for episode in self.step.episodes() {
                left[episode.env] = left[episode.env].saturating_sub(1);
            }
            t += 1;
        }
        self.bootstrap();
        Ok(mask)
    }

    fn bootstrap(&mut self) {
        let Self { buffer, policy, tape, state, .. } = self;
        buffer.bootstrap(&state.obs, |obs| policy.values(obs, tape));
    }

    /// One optimizer step on the gathered gradient.
    pub(crate) fn step_optimizer(
        &mut self,
        learning_rate: f64,
        max_grad_norm: f64,
    ) -> Result<f64, AlgoError> {
        let clip = (max_grad_norm > 0.0).then_some(max_grad_norm as f32);
        let Self { optimizer, policy, grad, state, .. } = self;
        let norm = optimizer.step(&mut policy.params, grad, learning_rate as f32, clip);
        if norm.is_finite() {
            Ok(f64::from(norm))
        } else {
            Err(AlgoError::Diverged {
                what: "the gradient",
                value: norm,
                env_steps: state.env_steps,
            })
        }
    }

    /// The numbers every algorithm reports.
    pub(crate) fn episode_metrics(&self, metrics: &mut Metrics) {
        self.state.episodes.metrics(metrics);
    }

    /// What looks like a mistake rather than a hard task: one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.policy.params.is_empty() {
            warnings.push("the policy has no trainable parameters".into());
        }
        if self.state.iterations > 0
            && fingerprint(&self.policy.params) == self.state.initial_weights
        {
            warnings.push(format!(
                "the weights are exactly the initial ones after {} updates; learning_rate may be too small",
                self.optimizer.steps()
            ));
        }
        warnings.extend(self.state.episodes.warnings(self.state.env_steps));
        warnings
    }

    /// Everything beside parameters and environments that continues the run exactly.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn save(&self) -> Result<Vec<u8>, AlgoError> {
        postcard::to_stdvec(&(&self.state, &self.optimizer))
            .map_err(|e| AlgoError::State(e.to_string()))
    }

    /// Continues from parameters and what [`save`](Self::save) gave.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn load(&mut self, params: Vec<f32>, state: &[u8]) -> Result<(), AlgoError> {
        let (state, optimizer): (State, Optimizer) =
            postcard::from_bytes(state).map_err(|e| AlgoError::State(e.to_string()))?;
        if state.obs.len() != self.state.obs.len() {
            return Err(AlgoError::State("it is of another number of environments".into()));
        }
        self.policy.set_params(params)?;
        self.state = state;
        self.optimizer = optimizer;
        Ok(())
    }
}
