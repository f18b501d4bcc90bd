//! Soft actor-critic (Haarnoja et al. 2018, *Soft Actor-Critic Algorithms and Applications*): an actor that is as random
//! as it can be at the price of a temperature, and critics of which the least counts. Continuous actions, and discrete
//! ones (Christodoulou 2019).

mod config;
mod continuous;
mod discrete;

use std::borrow::Cow;
use std::cell::RefCell;

use skinner_core::distribution::Categorical;
use skinner_core::objective::actor_critic::{bootstrapped_target, temperature_loss};
use skinner_core::objective::q_learning::greedy_actions;
use skinner_core::replay::Transitions;
use skinner_core::{Metrics, SeedSequence, Space, VecEnv};
use skinner_nn::{Activation, ActorCriticTape, MlpTape, Network as _, Optimizer, OptimizerKind};

pub use config::Config;

use crate::error::AlgoError;
use crate::off_policy::{Experience, State};
use crate::on_policy::STREAM_WEIGHTS;
use crate::policy::{ActionBatch, Greedy};
use crate::trained::{Critics, SavedTrained, Trained, beside, load_all, unit_box};
use crate::{Agent, NamedArray};

/// What is acted with.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// So many components in [-1, 1].
    Continuous(usize),
    /// One of so many.
    Discrete(usize),
}

/// SAC at some point of its training.
pub struct Sac {
    config: Config,
    kind: Kind,
    actor: Trained,
    critics: Critics,
    temperature: Temperature,
    experience: Experience,
    batch: Transitions,
    slots: Vec<usize>,
}

/// What a nat of entropy is worth, as its logarithm.
struct Temperature {
    log_alpha: [f32; 1],
    optimizer: Optimizer,
    target_entropy: f32,
}

/// What an actor's loss told.
struct ActorLearned {
    loss: f32,
    /// Of the actions, one number a row.
    log_prob: Vec<f32>,
    /// The loss's gradient in the actor's output.
    d_head: Vec<f32>,
}

impl Sac {
    /// A fresh agent on environments, which are reset. Continuous actions must be in [-1, 1].
    ///
    /// # Errors
    /// If the configuration makes no sense or the environments fail.
    pub fn new(
        config: Config,
        envs: &mut dyn VecEnv,
        seed: &SeedSequence,
    ) -> Result<Self, AlgoError> {
        config.validate()?;
        let kind = kind_of(envs.action_space())?;
        let width = envs.observation_space().flat_width();
        let (head, critic, action_width) = match kind {
            Kind::Continuous(dim) => (2 * dim, (width + dim, 1), dim),
            Kind::Discrete(n) => (n, (width, n), 1),
        };
        let mut rng = seed.child(STREAM_WEIGHTS).rng();
        let mut network = |sizes, last_gain| {
            let last = (Activation::Identity, last_gain);
            Trained::new(&config.network, sizes, last, config.adam_epsilon, &mut rng)
        };
        let actor = network((width, head), 0.01);
        let critics = (0..config.num_critics).map(|_| network(critic, 1.0).followed()).collect();
        let greatest = match kind {
            Kind::Continuous(dim) => -(dim as f64),
            Kind::Discrete(n) => SHARE_OF_GREATEST * (n as f64).ln(),
        };
        let experience = Experience::new(
            config.num_envs,
            config.buffer_size,
            action_width,
            &actor.params,
            envs,
            seed,
        )?;
        Ok(Self {
            kind,
            critics: Critics(critics),
            temperature: Temperature {
                log_alpha: [(config.alpha as f32).ln()],
                optimizer: Optimizer::new(OptimizerKind::Adam, config.adam_epsilon as f32, 1),
                target_entropy: config.target_entropy.unwrap_or(greatest) as f32,
            },
            batch: Transitions::default(),
            slots: vec![0; config.batch_size],
            actor,
            experience,
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
        metrics.set("alpha", self.alpha());
        self.experience.metrics(&mut metrics);
        Ok(metrics)
    }

    /// The present temperature.
    fn alpha(&self) -> f32 {
        self.temperature.log_alpha[0].exp()
    }

    /// The present step sizes of the actor and of the critics.
    fn rates(&self) -> (f64, f64) {
        let env_steps = self.experience.state.env_steps;
        self.config.rates(env_steps as f64 / self.config.total_steps as f64)
    }

    /// One step in every environment: at random before learning starts, then as the actor says.
    fn act(&mut self, envs: &mut dyn VecEnv) -> Result<(), AlgoError> {
        let Self { config, kind, actor, experience, .. } = self;
        let State { rng, obs, env_steps, .. } = &mut experience.state;
        let at_random = *env_steps < config.learning_starts;
        let actions = match *kind {
            Kind::Continuous(dim) => {
                let action = if at_random {
                    (0..config.num_envs * dim).map(|_| rng.uniform(-1.0, 1.0) as f32).collect()
                } else {
                    continuous::draw(actor.forward(obs), dim, rng).action
                };
                ActionBatch::Continuous(action, dim)
            }
            Kind::Discrete(n) => {
                let action = if at_random {
                    (0..config.num_envs).map(|_| rng.below(n) as u32).collect()
                } else {
                    Categorical::new(actor.forward(obs), &[n]).sample(rng)
                };
                ActionBatch::Discrete(action, 1)
            }
        };
        experience.advance(envs, actions.as_actions(), &actions.as_numbers())?;
        Ok(())
    }

    /// Critics, then actor and temperature, then target networks (Haarnoja et al. 2018, algorithm 1).
    fn update(&mut self, metrics: &mut Metrics) -> Result<(), AlgoError> {
        let (n_steps, gamma) = (self.config.n_steps, self.config.gamma as f32);
        self.experience.draw(&mut self.slots);
        self.experience.state.replay.gather(&self.slots, n_steps, gamma, &mut self.batch);
        self.learn_critics(metrics)?;
        let policy_frequency = self.config.policy_frequency as u64;
        if self.experience.state.updates.is_multiple_of(policy_frequency) {
            let log_prob = self.learn_actor(metrics)?;
            if self.config.autotune {
                self.learn_temperature(&log_prob, metrics)?;
            }
        }
        self.critics.update_targets(self.config.tau);
        self.experience.state.updates += 1;
        Ok(())
    }

    fn learn_critics(&mut self, metrics: &mut Metrics) -> Result<(), AlgoError> {
        let (alpha, rate) = (self.alpha(), self.rates().1);
        let Self { config, kind, actor, critics, experience, batch, .. } = self;
        let rng = &mut experience.state.rng;
        let next_value = match *kind {
            Kind::Continuous(dim) => {
                continuous::next_value(actor, critics, &batch.next_obs, (dim, alpha), rng)
            }
            Kind::Discrete(n) => discrete::next_value(actor, critics, &batch.next_obs, (n, alpha)),
        };
        let target = bootstrapped_target(&batch.reward, &batch.discount, &next_value);
        let max_norm = config.max_grad_norm;
        let fitted = match *kind {
            Kind::Continuous(dim) => {
                let mut input = Vec::new();
                beside(&batch.obs, &batch.action, dim, &mut input);
                critics.fit(&input, &[], &target, rate, max_norm)
            }
            Kind::Discrete(_) => critics.fit(&batch.obs, &batch.action, &target, rate, max_norm),
        };
        metrics.set("critic_loss", experience.finite("the critics' loss", fitted.loss)?);
        metrics.set("q_values", fitted.q_value);
        metrics.set("critic_grad_norm", experience.finite("the gradient", fitted.grad_norm)?);
        Ok(())
    }

    /// Returns log-probabilities of the actor's actions before its step.
    fn learn_actor(&mut self, metrics: &mut Metrics) -> Result<Vec<f32>, AlgoError> {
        let (alpha, rate) = (self.alpha(), self.rates().0);
        let Self { config, kind, actor, critics, experience, batch, .. } = self;
        let learned = match *kind {
            Kind::Continuous(dim) => {
                let rng = &mut experience.state.rng;
                continuous::actor_gradient(actor, critics, &batch.obs, (dim, alpha), rng)
            }
            Kind::Discrete(n) => discrete::actor_gradient(actor, critics, &batch.obs, (n, alpha)),
        };
        let loss = experience.finite("the actor's loss", learned.loss)?;
        let norm = actor.learn(&batch.obs, &learned.d_head, rate, config.max_grad_norm);
        metrics.set("actor_loss", loss);
        metrics.set("actor_grad_norm", experience.finite("the gradient", norm)?);
        let n = learned.log_prob.len() as f32;
        metrics.set("entropy", -learned.log_prob.iter().sum::<f32>() / n);
        Ok(learned.log_prob)
    }

    fn learn_temperature(
        &mut self,
        log_prob: &[f32],
        metrics: &mut Metrics,
    ) -> Result<(), AlgoError> {
        let rate = self.rates().0;
        let Temperature { log_alpha, optimizer, target_entropy } = &mut self.temperature;
        let (scale, mut d) = (1.0 / log_prob.len() as f32, [0.0]);
        let loss = temperature_loss(log_alpha[0], log_prob, *target_entropy, scale, &mut d[0]);
        metrics.set("alpha_loss", self.experience.finite("the temperature's loss", loss)?);
        optimizer.step(log_alpha, &mut d, rate as f32, None);
        Ok(())
    }

    /// The least of the critics' values of observations with actions: `[batch]` for continuous ones `[batch, dim]`;
    /// for discrete ones, where none are given, `[batch, num_actions]`.
    pub fn q_values(&mut self, obs: &[f32], action: &[f32]) -> Vec<f32> {
        let mut input = obs.to_vec();
        if let Kind::Continuous(dim) = self.kind {
            beside(obs, action, dim, &mut input);
        }
        skinner_core::objective::actor_critic::least_value(&self.critics.forward(&input))
    }

    fn networks(&self) -> impl Iterator<Item = &Trained> {
        std::iter::once(&self.actor).chain(&self.critics.0)
    }
}

/// The target entropy of discrete actions as a share of that of uniform ones; `CleanRL`'s.
const SHARE_OF_GREATEST: f64 = 0.89;

fn kind_of(space: &Space) -> Result<Kind, AlgoError> {
    match space {
        Space::Discrete(n) => Ok(Kind::Discrete(*n)),
        Space::Box { .. } => Ok(Kind::Continuous(unit_box("sac", space)?)),
        Space::MultiDiscrete(_) => Err(AlgoError::Conflict(format!(
            "sac takes continuous or Discrete actions, but the action space is {space}; for several discrete ones there are ppo and a2c"
        ))),
    }
}

/// The actor without its randomness.
struct GreedyActor<'a> {
    agent: &'a Sac,
    tape: RefCell<MlpTape>,
}

impl Greedy for GreedyActor<'_> {
    fn greedy(&self, obs: &[f32], _tape: &mut ActorCriticTape) -> ActionBatch {
        let tape = &mut *self.tape.borrow_mut();
        let Trained { mlp, params, .. } = &self.agent.actor;
        mlp.forward(params, obs, tape);
        let head = mlp.output(tape, 0);
        match self.agent.kind {
            Kind::Continuous(dim) => ActionBatch::Continuous(continuous::best(head, dim), dim),
            Kind::Discrete(n) => {
                let best = greedy_actions(head, n).into_iter().map(|action| action as u32);
                ActionBatch::Discrete(best.collect(), 1)
            }
        }
    }
}

/// What of an agent is saved beside its networks' parameters.
type Saved<'a> = (Cow<'a, State>, f32, Cow<'a, Optimizer>, Vec<SavedTrained<'a>>);

impl Agent for Sac {
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
        let saved: Saved<'_> = (
            Cow::Borrowed(&self.experience.state),
            self.temperature.log_alpha[0],
            Cow::Borrowed(&self.temperature.optimizer),
            self.networks().map(Trained::save).collect(),
        );
        postcard::to_stdvec(&saved).map_err(|e| AlgoError::State(e.to_string()))
    }

    fn load(&mut self, params: Vec<f32>, state: &[u8]) -> Result<(), AlgoError> {
        let (state, log_alpha, optimizer, networks): Saved<'_> =
            postcard::from_bytes(state).map_err(|e| AlgoError::State(e.to_string()))?;
        if !state.fits(&self.experience.state) {
            return Err(AlgoError::State("it is of a buffer of another size".into()));
        }
        let own = std::iter::once(&mut self.actor).chain(&mut self.critics.0);
        load_all(own, &params, networks)?;
        self.temperature.log_alpha = [log_alpha];
        self.temperature.optimizer = optimizer.into_owned();
        self.experience.state = state.into_owned();
        Ok(())
    }
}
