//! A policy: from observations to actions, and from a loss's gradient in log-probabilities and entropies
//! back to parameters. It joins a network with the distribution that its action space calls for.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use skinner_core::distribution::{
    Categorical, Gaussian, SquashedGaussian, StateDependentNoise, state_dependent_std,
    state_dependent_std_backward,
};
use skinner_core::{Actions, Rng, Space, running::RunningMoments};
use skinner_nn::{
    Activation, ActorCritic, ActorCriticShape, ActorCriticTape, FEATURES, HEAD, Network, VALUE,
};

use crate::error::{AlgoError, MOST_WIDTH, require};

/// How continuous actions are distributed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exploration {
    /// Independent normals with a standard deviation that does not depend on the state.
    #[default]
    Gaussian,
    /// The same, squashed by `tanh` into the bounds of the action space.
    SquashedGaussian,
    /// Generalised state-dependent exploration (Raffin et al. 2021).
    StateDependent,
}

/// The network and the distribution of actions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyConfig {
    /// Widths of the hidden layers.
    pub hidden_sizes: Vec<usize>,
    /// What follows each hidden layer: `tanh` or `relu`.
    pub activation: Activation,
    /// Whether policy and value share the hidden layers.
    pub shared_trunk: bool,
    /// Orthogonal initial weights (gains √2, 0.01 for the policy's head, 1 for the value); otherwise
    /// uniform on `±1/√inputs`.
    pub orthogonal_init: bool,
    /// For continuous actions: `gaussian`, `squashed_gaussian` or `state_dependent`.
    pub exploration: Exploration,
    /// Initial natural logarithm of the standard deviation of continuous actions.
    pub log_std_init: f32,
    /// With `state_dependent`: steps between new exploration matrices; 0 draws one a rollout.
    pub sde_sample_freq: usize,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            hidden_sizes: vec![64, 64],
            activation: Activation::Tanh,
            shared_trunk: false,
            orthogonal_init: true,
            exploration: Exploration::Gaussian,
            log_std_init: 0.0,
            sde_sample_freq: 0,
        }
    }
}

impl PolicyConfig {
    /// Checks what can be checked without knowing the spaces.
    ///
    /// # Errors
    /// The first key that makes no sense, with what would.
    pub fn validate(&self) -> Result<(), AlgoError> {
        let sizes = &self.hidden_sizes;
        let shown = format!("{sizes:?}");
        require(
            sizes.iter().all(|&n| n > 0 && n <= MOST_WIDTH),
            "policy.hidden_sizes",
            &shown,
            "every width must be at least 1 and at most 16384",
        )?;
        let needs_hidden = self.shared_trunk || self.exploration == Exploration::StateDependent;
        require(
            !(needs_hidden && sizes.is_empty()),
            "policy.hidden_sizes",
            &shown,
            "shared_trunk and state_dependent exploration need at least one hidden layer",
        )?;
        require(
            self.log_std_init.is_finite(),
            "policy.log_std_init",
            self.log_std_init,
            "must be finite",
        )?;
        Ok(())
    }
}

/// Actions of a batch as the policy draws them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ActionBatch {
    /// `[batch, components]` indices.
    Discrete(Vec<u32>, usize),
    /// `[batch, components]` numbers.
    Continuous(Vec<f32>, usize),
}

impl ActionBatch {
    /// What a batch of environments takes.
    pub fn as_actions(&self) -> Actions<'_> {
        match self {
            Self::Discrete(values, width) => Actions::Discrete(values, *width),
            Self::Continuous(values, width) => Actions::Continuous(values, *width),
        }
    }

    /// All numbers, indices too: what is remembered of them.
    pub(crate) fn as_numbers(&self) -> Cow<'_, [f32]> {
        match self {
            Self::Discrete(values, _) => values.iter().map(|&value| value as f32).collect(),
            Self::Continuous(values, _) => values.into(),
        }
    }

    /// The first row's first index: the action of a `Discrete` space.
    ///
    /// # Panics
    /// If the actions are continuous.
    pub fn discrete_action(&self) -> usize {
        self.discrete()[0] as usize
    }

    /// All numbers of continuous actions.
    ///
    /// # Panics
    /// If the actions are discrete.
    pub fn continuous_actions(&self) -> &[f32] {
        self.continuous()
    }

    /// Adds the rows of `other`, which is of the same kind.
    pub(crate) fn extend(&mut self, other: &Self) {
        match (self, other) {
            (Self::Discrete(all, _), Self::Discrete(more, _)) => all.extend_from_slice(more),
            (Self::Continuous(all, _), Self::Continuous(more, _)) => all.extend_from_slice(more),
            _ => unreachable!("a policy draws one kind of action"),
        }
    }

    /// The rows at `indices`.
    pub(crate) fn gather(&self, indices: &[usize]) -> Self {
        match self {
            Self::Discrete(all, width) => Self::Discrete(gather(all, *width, indices), *width),
            Self::Continuous(all, width) => Self::Continuous(gather(all, *width, indices), *width),
        }
    }

    pub(crate) fn clear(&mut self) {
        match self {
            Self::Discrete(all, _) => all.clear(),
            Self::Continuous(all, _) => all.clear(),
        }
    }

    fn discrete(&self) -> &[u32] {
        match self {
            Self::Discrete(values, _) => values,
            Self::Continuous(..) => panic!("these actions are continuous, not indices"),
        }
    }

    fn continuous(&self) -> &[f32] {
        match self {
            Self::Continuous(values, _) => values,
            Self::Discrete(..) => panic!("these actions are indices, not continuous"),
        }
    }
}

/// Rows of `width` at `indices`.
pub(crate) fn gather<T: Copy>(all: &[T], width: usize, indices: &[usize]) -> Vec<T> {
    if width == 1 {
        return indices.iter().map(|&i| all[i]).collect();
    }
    let mut out = Vec::with_capacity(indices.len() * width);
    for &i in indices {
        out.extend_from_slice(&all[i * width..(i + 1) * width]);
    }
    out
}

#[derive(Clone, Debug)]
enum Head {
    Categorical(Vec<usize>),
    Gaussian(usize),
    Squashed(usize),
    StateDependent(usize),
}

/// A policy with its parameters.
#[derive(Clone, Debug)]
pub struct Policy {
    config: PolicyConfig,
    observation_space: Space,
    action_space: Space,
    network: ActorCritic,
    head: Head,
    /// The flat parameters of actor, critic and log-std.
    pub params: Vec<f32>,
    /// Statistics by which [`Policy::choose`] normalises observations, set by
    /// [`OnPolicy::policy_for_use`](crate::OnPolicy::policy_for_use); in training the environments do it.
    pub obs_moments: Option<RunningMoments>,
}

/// What a policy says of a batch.
#[derive(Clone, Debug)]
pub struct Acted {
    /// Actions drawn.
    pub actions: ActionBatch,
    /// Their log-probabilities.
    pub log_prob: Vec<f32>,
    /// Values of the observations (empty without a critic).
    pub value: Vec<f32>,
}

/// A policy without its exploration, as evaluation plays it.
pub trait Greedy {
    /// The best action for each row of `obs`, as the environment takes it. `tape` is room to work in.
    fn greedy(&self, obs: &[f32], tape: &mut ActorCriticTape) -> ActionBatch;
}

impl<G: Greedy + ?Sized> Greedy for &G {
    fn greedy(&self, obs: &[f32], tape: &mut ActorCriticTape) -> ActionBatch {
        (**self).greedy(obs, tape)
    }
}

impl Greedy for Policy {
    fn greedy(&self, obs: &[f32], tape: &mut ActorCriticTape) -> ActionBatch {
        Self::greedy(self, obs, tape)
    }
}

impl Policy {
    /// A policy for these spaces with initial weights from `rng`.
    ///
    /// # Errors
    /// If the configuration makes no sense for them.
    pub fn new(
        config: &PolicyConfig,
        observation_space: &Space,
        action_space: &Space,
        critic: bool,
        rng: &mut Rng,
    ) -> Result<Self, AlgoError> {
        let mut policy = Self::with_zero_weights(config, observation_space, action_space, critic)?;
        if config.orthogonal_init {
            policy.network.init_orthogonal(&mut policy.params, 0.01, rng);
        } else {
            policy.network.init_uniform(&mut policy.params, rng);
        }
        policy.params[policy.network.extra()].fill(config.log_std_init);
        Ok(policy)
    }

    fn with_zero_weights(
        config: &PolicyConfig,
        observation_space: &Space,
        action_space: &Space,
        critic: bool,
    ) -> Result<Self, AlgoError> {
        config.validate()?;
        let sizes = &config.hidden_sizes;
        let head = head_for(config, action_space)?;
        let width = match &head {
            Head::Categorical(nvec) => nvec.iter().sum(),
            Head::Gaussian(dim) | Head::Squashed(dim) | Head::StateDependent(dim) => *dim,
        };
        let extra = match &head {
            Head::Categorical(_) => 0,
            Head::Gaussian(dim) | Head::Squashed(dim) => *dim,
            Head::StateDependent(dim) => dim * sizes[sizes.len() - 1],
        };
        let network = ActorCritic::new(&ActorCriticShape {
            inputs: observation_space.flat_width(),
            head: width,
            hidden: sizes.clone(),
            activation: config.activation,
            shared: config.shared_trunk,
            critic,
            extra,
        });
        let params = vec![0.0; network.num_params()];
        Ok(Self {
            config: config.clone(),
            observation_space: observation_space.clone(),
            action_space: action_space.clone(),
            network,
            head,
            params,
            obs_moments: None,
        })
    }

    /// The network.
    pub fn network(&self) -> &ActorCritic {
        &self.network
    }

    /// The space of actions.
    pub fn action_space(&self) -> &Space {
        &self.action_space
    }

    /// An empty batch of this policy's kind of action.
    pub(crate) fn no_actions(&self) -> ActionBatch {
        match &self.head {
            Head::Categorical(nvec) => ActionBatch::Discrete(Vec::new(), nvec.len()),
            Head::Gaussian(dim) | Head::Squashed(dim) | Head::StateDependent(dim) => {
                ActionBatch::Continuous(Vec::new(), *dim)
            }
        }
    }

    /// Actions for the environments from actions as drawn: squashed ones leave their pre-image.
    pub fn for_environment(&self, actions: ActionBatch) -> ActionBatch {
        match (&self.head, actions) {
            (Head::Squashed(_), ActionBatch::Continuous(u, width)) => {
                ActionBatch::Continuous(SquashedGaussian::squash(&u), width)
            }
            (_, actions) => actions,
        }
    }

    /// Draws actions for `obs` `[batch, obs_width]`. `noise` holds the exploration matrices of
    /// state-dependent exploration.
    pub fn act(
        &self,
        obs: &[f32],
        noise: Option<&StateDependentNoise>,
        tape: &mut ActorCriticTape,
        rng: &mut Rng,
    ) -> Acted {
        self.network.forward(&self.params, obs, tape);
        let dist = self.distribution(tape);
        let actions = match noise {
            Some(noise) => {
                let mut actions = self.network.output(tape, HEAD).to_vec();
                noise.perturb(&mut actions, self.network.output(tape, FEATURES));
                let width = self.action_space.width();
                ActionBatch::Continuous(actions, width)
            }
            None => dist.sample(rng),
        };
        let log_prob = dist.log_prob(&actions);
        Acted { actions, log_prob, value: self.network.output(tape, VALUE).to_vec() }
    }

    /// The most probable action of each row, as the environment takes it.
    pub fn greedy(&self, obs: &[f32], tape: &mut ActorCriticTape) -> ActionBatch {
        self.network.head(&self.params, obs, tape);
        self.for_environment(self.distribution(tape).mode())
    }

    /// The best action for one observation as the environment gives it: normalised by
    /// [`obs_moments`](Self::obs_moments) where there are any, bounded to the action space that the policy was
    /// trained on (with [`RescaleAction`](skinner_core::wrappers::RescaleAction) that is `[-1, 1]`).
    pub fn choose(&self, obs: &[f32]) -> ActionBatch {
        let mut row = obs.to_vec();
        if let Some(moments) = &self.obs_moments {
            moments.normalize(&mut row);
        }
        let mut actions = self.greedy(&row, &mut ActorCriticTape::default());
        if let (ActionBatch::Continuous(values, _), Space::Box { low, high }) =
            (&mut actions, &self.action_space)
        {
            for ((x, &low), &high) in values.iter_mut().zip(low).zip(high) {
                *x = x.clamp(low, high);
            }
        }
        actions
    }

    /// Values of observations: `[batch]`, or zeros without a critic.
    pub fn values(&self, obs: &[f32], tape: &mut ActorCriticTape) -> Vec<f32> {
        if self.network.has_critic() {
            self.network.values(&self.params, obs, tape).to_vec()
        } else {
            vec![0.0; obs.len() / self.observation_space.flat_width()]
        }
    }

    /// New exploration matrices, where exploration is state-dependent.
    pub fn sample_noise(&self, num_envs: usize, rng: &mut Rng) -> Option<StateDependentNoise> {
        match self.head {
            Head::StateDependent(dim) => {
                let log_std = &self.params[self.network.extra()];
                Some(StateDependentNoise::sample(log_std, dim, num_envs, rng))
            }
            _ => None,
        }
    }

    /// Steps between new exploration matrices.
    pub fn sde_sample_freq(&self) -> usize {
        self.config.sde_sample_freq
    }

    /// The distribution of actions after the last forward pass on `tape`.
    pub fn distribution<'a>(&'a self, tape: &'a ActorCriticTape) -> Distribution<'a> {
        let head = self.network.output(tape, HEAD);
        let log_std = &self.params[self.network.extra()];
        match &self.head {
            Head::Categorical(nvec) => Distribution::Categorical(Categorical::new(head, nvec)),
            Head::Gaussian(dim) => Distribution::Gaussian(Gaussian::new(head, log_std, *dim), *dim),
            Head::Squashed(dim) => {
                Distribution::Squashed(SquashedGaussian::new(head, log_std, *dim), *dim)
            }
            Head::StateDependent(dim) => {
                let features = self.network.output(tape, FEATURES);
                let own = state_dependent_std(features, log_std, *dim);
                let normal = Gaussian::new(head, &own, *dim);
                Distribution::StateDependent { normal, own, features, log_std, dim: *dim }
            }
        }
    }

    /// Carries gradients in head and value back into `d_params` (added), and that in log-std too.
    pub fn backward(
        &self,
        obs: &[f32],
        tape: &mut ActorCriticTape,
        d: &HeadGradient,
        d_value: &[f32],
        d_params: &mut [f32],
    ) {
        self.network.backward(&self.params, obs, tape, &[&d.head, d_value], d_params, None);
        d_params[self.network.extra()].iter_mut().zip(&d.log_std).for_each(|(a, b)| *a += b);
    }

    /// The policy as bytes: configuration, spaces, parameters and observation statistics.
    ///
    /// # Errors
    /// [`AlgoError::State`] if it cannot be encoded.
    pub fn to_bytes(&self) -> Result<Vec<u8>, AlgoError> {
        let saved = Saved {
            version: SAVED_VERSION,
            config: self.config.clone(),
            observation_space: self.observation_space.clone(),
            action_space: self.action_space.clone(),
            critic: self.network.has_critic(),
            params: self.params.clone(),
            obs_moments: self.obs_moments.clone(),
        };
        postcard::to_stdvec(&saved).map_err(|e| AlgoError::State(e.to_string()))
    }

    /// A policy from [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// [`AlgoError::State`] if the bytes are not such a policy.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AlgoError> {
        let saved: Saved =
            postcard::from_bytes(bytes).map_err(|e| AlgoError::State(e.to_string()))?;
        if saved.version != SAVED_VERSION {
            let what = format!("policy format {} where {SAVED_VERSION} is read", saved.version);
            return Err(AlgoError::State(what));
        }
        let (obs, action) = (&saved.observation_space, &saved.action_space);
        let mut policy = Self::with_zero_weights(&saved.config, obs, action, saved.critic)?;
        policy.set_params(saved.params)?;
        policy.obs_moments = saved.obs_moments;
        Ok(policy)
    }

    /// Replaces the parameters.
    ///
    /// # Errors
    /// [`AlgoError::State`] if there are too many or too few.
    pub fn set_params(&mut self, params: Vec<f32>) -> Result<(), AlgoError> {
        if params.len() != self.params.len() {
            let (has, needs) = (params.len(), self.params.len());
            return Err(AlgoError::State(format!("{has} parameters for a network of {needs}")));
        }
        self.params = params;
        Ok(())
    }
}

const SAVED_VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    config: PolicyConfig,
    observation_space: Space,
    action_space: Space,
    critic: bool,
    params: Vec<f32>,
    obs_moments: Option<RunningMoments>,
}

fn head_for(config: &PolicyConfig, action_space: &Space) -> Result<Head, AlgoError> {
    let dim = action_space.width();
    Ok(match (action_space, config.exploration) {
        (Space::Discrete(n), Exploration::Gaussian) => Head::Categorical(vec![*n]),
        (Space::MultiDiscrete(nvec), Exploration::Gaussian) => Head::Categorical(nvec.clone()),
        (Space::Discrete(_) | Space::MultiDiscrete(_), other) => {
            return Err(AlgoError::Conflict(format!(
                "policy.exploration = {other:?} is for continuous actions, but the action space is {action_space}; leave it out"
            )));
        }
        (Space::Box { .. }, Exploration::Gaussian) => Head::Gaussian(dim),
        (Space::Box { .. }, Exploration::SquashedGaussian) => Head::Squashed(dim),
        (Space::Box { .. }, Exploration::StateDependent) => Head::StateDependent(dim),
    })
}

/// The distribution that a policy's head describes.
pub enum Distribution<'a> {
    /// Discrete actions.
    Categorical(Categorical<'a, f32>),
    /// Continuous actions with independent noise.
    Gaussian(Gaussian<'a, f32>, usize),
    /// Continuous actions squashed by `tanh`.
    Squashed(SquashedGaussian<'a, f32>, usize),
    /// Continuous actions with state-dependent exploration.
    StateDependent {
        /// The normal that results.
        normal: Gaussian<'a, f32>,
        /// Its log-std `[batch, dim]`.
        own: Vec<f32>,
        /// Features `[batch, L]`.
        features: &'a [f32],
        /// Log-std of the exploration matrix `[L, dim]`.
        log_std: &'a [f32],
        /// Components of an action.
        dim: usize,
    },
}

/// Gradient of a loss in what the policy's distribution is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadGradient {
    /// `[batch, width of the head]`
    pub head: Vec<f32>,
    /// As the free parameters of the network; empty for discrete actions.
    pub log_std: Vec<f32>,
}

impl Distribution<'_> {
    /// A draw for every row.
    pub fn sample(&self, rng: &mut Rng) -> ActionBatch {
        match self {
            Self::Categorical(d) => discrete(d.sample(rng), d),
            Self::Gaussian(d, dim) => ActionBatch::Continuous(d.sample(rng), *dim),
            Self::Squashed(d, dim) => ActionBatch::Continuous(d.sample(rng), *dim),
            Self::StateDependent { normal, dim, .. } => {
                ActionBatch::Continuous(normal.sample(rng), *dim)
            }
        }
    }

    /// The most probable action of every row.
    pub fn mode(&self) -> ActionBatch {
        match self {
            Self::Categorical(d) => discrete(d.mode(), d),
            Self::Gaussian(d, dim) => ActionBatch::Continuous(d.mode(), *dim),
            Self::Squashed(d, dim) => ActionBatch::Continuous(d.mode(), *dim),
            Self::StateDependent { normal, dim, .. } => {
                ActionBatch::Continuous(normal.mode(), *dim)
            }
        }
    }

    /// Log-probability of each row's action.
    pub fn log_prob(&self, actions: &ActionBatch) -> Vec<f32> {
        match self {
            Self::Categorical(d) => d.log_prob(actions.discrete()),
            Self::Gaussian(d, _) | Self::StateDependent { normal: d, .. } => {
                d.log_prob(actions.continuous())
            }
            Self::Squashed(d, _) => d.log_prob(actions.continuous()),
        }
    }

    /// Entropy of each row.
    pub fn entropy(&self) -> Vec<f32> {
        match self {
            Self::Categorical(d) => d.entropy(),
            Self::Gaussian(d, _) | Self::StateDependent { normal: d, .. } => d.entropy(),
            Self::Squashed(d, _) => d.entropy(),
        }
    }

    /// From gradients in log-probabilities and entropies to those in head and log-std.
    pub fn backward(
        &self,
        actions: &ActionBatch,
        d_log_prob: &[f32],
        d_entropy: &[f32],
    ) -> HeadGradient {
        match self {
            Self::Categorical(d) => {
                let head = d.backward(actions.discrete(), d_log_prob, d_entropy);
                HeadGradient { head, log_std: Vec::new() }
            }
            Self::Gaussian(d, dim) => {
                let g = d.backward(actions.continuous(), d_log_prob, d_entropy);
                HeadGradient { log_std: g.shared_log_std(*dim), head: g.mean }
            }
            Self::Squashed(d, dim) => {
                let g = d.backward(actions.continuous(), d_log_prob, d_entropy);
                HeadGradient { log_std: g.shared_log_std(*dim), head: g.mean }
            }
            Self::StateDependent { normal, own, features, log_std, dim } => {
                let g = normal.backward(actions.continuous(), d_log_prob, d_entropy);
                let d = state_dependent_std_backward(features, log_std, own, &g.log_std, *dim);
                HeadGradient { head: g.mean, log_std: d }
            }
        }
    }
}

fn discrete(values: Vec<u32>, dist: &Categorical<'_, f32>) -> ActionBatch {
    ActionBatch::Discrete(values, dist.components())
}
