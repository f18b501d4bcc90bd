//! Twin delayed deep deterministic policy gradients (Fujimoto et al. 2018, *Addressing Function Approximation Error in
//! Actor-Critic Methods*), and what they began with: DDPG (Lillicrap et al. 2016), which has one critic, whose actor learns
//! as often as it, and whose targets are not smoothed.

mod config;

use std::borrow::Cow;
use std::cell::RefCell;

use skinner_core::objective::actor_critic::{
    bootstrapped_target, deterministic_actor_loss, least_value, smooth_actions,
};
use skinner_core::replay::Transitions;
use skinner_core::{Actions, Metrics, Rng, SeedSequence, Space, VecEnv};
use skinner_nn::{Activation, ActorCriticTape, MlpTape, Network as _};

pub use config::{Config, Method};

use crate::error::AlgoError;
use crate::off_policy::{Experience, State};
use crate::on_policy::STREAM_WEIGHTS;
use crate::policy::{ActionBatch, Greedy};
use crate::trained::{Critics, SavedTrained, Trained, beside, load_all, unit_box};
use crate::{Agent, NamedArray};

/// TD3 at some point of its training.
pub struct Td3 {
    config: Config,
    /// Components of an action.
    dim: usize,
    actor: Trained,
    critics: Critics,
    experience: Experience,
    batch: Transitions,
    slots: Vec<usize>,
    /// Rows of observations and actions.
    input: Vec<f32>,
}

impl Td3 {
    /// A fresh agent on environments, which are reset. Actions must be in [-1, 1].
    ///
    /// # Errors
    /// If the configuration makes no sense or the environments fail.
    pub fn new(
        config: Config,
        envs: &mut dyn VecEnv,
        seed: &SeedSequence,
    ) -> Result<Self, AlgoError> {
        config.validate()?;
        let name = if config.method == Method::Ddpg { "ddpg" } else { "td3" };
        let Space::Box { .. } = envs.action_space() else {
            let space = envs.action_space();
            return Err(AlgoError::Conflict(format!(
                "{name} needs continuous actions, but the action space is {space}; for discrete ones there are dqn, sac and ppo"
            )));
        };
        let dim = unit_box(name, envs.action_space())?;
        let width = envs.observation_space().flat_width();
        let mut rng = seed.child(STREAM_WEIGHTS).rng();
        let mut network = |sizes, last| {
            Trained::new(&config.network, sizes, last, config.adam_epsilon, &mut rng).followed()
        };
        let actor = network((width, dim), (Activation::Tanh, 0.01));
        let critics = (0..config.num_critics)
            .map(|_| network((width + dim, 1), (Activation::Identity, 1.0)))
            .collect();
        let (num_envs, room) = (config.num_envs, config.buffer_size);
        Ok(Self {
            experience: Experience::new(num_envs, room, dim, &actor.params, envs, seed)?,
            critics: Critics(critics),
            batch: Transitions::default(),
            slots: vec![0; config.batch_size],
            input: Vec::new(),
            dim,
            actor,
            config,
        })
    }

    /// Whether another iteration would exceed `total_steps`.
    pub fn finished(&self) -> bool {
        let steps = (self.config.train_frequency * self.config.num_envs) as u64;
        self.experience.state.env_steps + steps > self.config.total_steps
    }

    /// Takes `train_frequency` steps in every environment and makes `gradient_steps` updates.
    ///
    /// # Errors
    /// If the environments fail or training diverges.
    pub fn iteration(&mut self, envs: &mut dyn VecEnv) -> Result<Metrics, AlgoError> {
        for _ in 0..self.config.train_frequency {
            self.act(envs)?;
        }
        let mut metrics = Metrics::new();
        if self.experience.state.env_steps >= self.config.learning_starts {
            for _ in 0..self.config.gradient_steps {
                self.update(&mut metrics)?;
            }
            metrics.set("learning_rate", self.rates().0);
        }
        self.experience.metrics(&mut metrics);
        Ok(metrics)
    }

    /// The present step sizes of the actor and of the critics.
    fn rates(&self) -> (f64, f64) {
        let env_steps = self.experience.state.env_steps;
        self.config.rates(env_steps as f64 / self.config.total_steps as f64)
    }

    /// One step in every environment: at random before learning starts, then as the actor says, with noise.
    fn act(&mut self, envs: &mut dyn VecEnv) -> Result<(), AlgoError> {
        let Self { config, dim, actor, experience, .. } = self;
        let State { rng, obs, env_steps, .. } = &mut experience.state;
        let count = config.num_envs * *dim;
        let action: Vec<f32> = if *env_steps < config.learning_starts {
            (0..count).map(|_| rng.uniform(-1.0, 1.0) as f32).collect()
        } else {
            let mut action = actor.forward(obs).to_vec();
            let noise = normals(count, rng);
            smooth_actions(&mut action, &noise, config.exploration_noise as f32, f32::INFINITY);
            action
        };
        experience.advance(envs, Actions::Continuous(&action, *dim), &action)?;
        Ok(())
    }

    /// Critics; every `policy_frequency`th time actor and target networks too (Fujimoto et al. 2018, algorithm 1).
    fn update(&mut self, metrics: &mut Metrics) -> Result<(), AlgoError> {
        let (n_steps, gamma) = (self.config.n_steps, self.config.gamma as f32);
        self.experience.draw(&mut self.slots);
        self.experience.state.replay.gather(&self.slots, n_steps, gamma, &mut self.batch);
        self.learn_critics(metrics)?;
        self.experience.state.updates += 1;
        let policy_frequency = self.config.policy_frequency as u64;
        if self.experience.state.updates.is_multiple_of(policy_frequency) {
            self.learn_actor(metrics)?;
            self.actor.update_target(self.config.tau);
            self.critics.update_targets(self.config.tau);
        }
        Ok(())
    }

    fn learn_critics(&mut self, metrics: &mut Metrics) -> Result<(), AlgoError> {
        let rate = self.rates().1;
        let Self { config, dim, actor, critics, experience, batch, input, .. } = self;
        let mut next_action = actor.forward_target(&batch.next_obs).to_vec();
        if config.policy_noise > 0.0 {
            let noise = normals(next_action.len(), &mut experience.state.rng);
            let (std, bound) = (config.policy_noise as f32, config.noise_clip as f32);
            smooth_actions(&mut next_action, &noise, std, bound);
        }
        beside(&batch.next_obs, &next_action, *dim, input);
        let next_value = least_value(&critics.forward_target(input));
        let target = bootstrapped_target(&batch.reward, &batch.discount, &next_value);

        beside(&batch.obs, &batch.action, *dim, input);
        let fitted = critics.fit(input, &[], &target, rate, config.max_grad_norm);
        metrics.set("critic_loss", experience.finite("the critics' loss", fitted.loss)?);
        metrics.set("q_values", fitted.q_value);
        metrics.set("critic_grad_norm", experience.finite("the gradient", fitted.grad_norm)?);
        Ok(())
    }

    /// The actor's own actions, to where the first critic values them more.
    fn learn_actor(&mut self, metrics: &mut Metrics) -> Result<(), AlgoError> {
        let rate = self.rates().0;
        let Self { config, dim, actor, critics, experience, batch, input, .. } = self;
        beside(&batch.obs, actor.forward(&batch.obs), *dim, input);
        let n = batch.len();
        let mut d_q = vec![0.0; n];
        let q = critics.0[0].forward(input);
        let loss = deterministic_actor_loss(q, 1.0 / n as f32, &mut d_q);
        let loss = experience.finite("the actor's loss", loss)?;
        let d_action = critics.action_gradient(input, &[d_q], *dim);
        let norm = actor.learn(&batch.obs, &d_action, rate, config.max_grad_norm);
        metrics.set("actor_loss", loss);
        metrics.set("actor_grad_norm", experience.finite("the gradient", norm)?);
        Ok(())
    }

    /// The least of the critics' values of observations with actions: `[batch]`.
    pub fn q_values(&mut self, obs: &[f32], action: &[f32]) -> Vec<f32> {
        beside(obs, action, self.dim, &mut self.input);
        least_value(&self.critics.forward(&self.input))
    }

    fn networks(&self) -> impl Iterator<Item = &Trained> {
        std::iter::once(&self.actor).chain(&self.critics.0)
    }
}

fn normals(count: usize, rng: &mut Rng) -> Vec<f32> {
    (0..count).map(|_| rng.normal() as f32).collect()
}

/// The actor without noise.
struct GreedyActor<'a> {
    agent: &'a Td3,
    tape: RefCell<MlpTape>,
}

impl Greedy for GreedyActor<'_> {
    fn greedy(&self, obs: &[f32], _tape: &mut ActorCriticTape) -> ActionBatch {
        let tape = &mut *self.tape.borrow_mut();
        let Trained { mlp, params, .. } = &self.agent.actor;
        mlp.forward(params, obs, tape);
        ActionBatch::Continuous(mlp.output(tape, 0).to_vec(), self.agent.dim)
    }
}

/// What of an agent is saved beside its networks' parameters.
type Saved<'a> = (Cow<'a, State>, Vec<SavedTrained<'a>>);

impl Agent for Td3 {
    fn greedy(&self) -> Box<dyn Greedy + '_> {
        Box::new(GreedyActor { agent: self, tape: RefCell::default() })
    }

    fn env_steps(&self) -> u64 {
        self.experience.state.env_steps
    }

    fn warnings(&self) -> Vec<String> {
        self.experience.warnings(&self.actor.params)
    }

    fn arrays(&self) -> Vec<NamedArray<'_>> {
        let critics = self.critics.0.iter().enumerate();
        let critics = critics.flat_map(|(i, critic)| critic.arrays(&format!("critic{i}")));
        self.actor.arrays("actor").into_iter().chain(critics).collect()
    }

    fn save(&self) -> Result<Vec<u8>, AlgoError> {
        let networks = self.networks().map(Trained::save).collect();
        let saved: Saved<'_> = (Cow::Borrowed(&self.experience.state), networks);
        postcard::to_stdvec(&saved).map_err(|e| AlgoError::State(e.to_string()))
    }

    fn load(&mut self, params: Vec<f32>, state: &[u8]) -> Result<(), AlgoError> {
        let (state, networks): Saved<'_> =
            postcard::from_bytes(state).map_err(|e| AlgoError::State(e.to_string()))?;
        if !state.fits(&self.experience.state) {
            return Err(AlgoError::State("it is of a buffer of another size".into()));
        }
        let own = std::iter::once(&mut self.actor).chain(&mut self.critics.0);
        load_all(own, &params, networks)?;
        self.experience.state = state.into_owned();
        Ok(())
    }
}
