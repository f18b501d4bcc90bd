//! Deep Q-learning (Mnih et al. 2015, *Human-level control through deep reinforcement learning*) and what was added to it,
//! each a switch: double Q-learning, dueling networks, prioritised replay, several steps, distributions of returns as
//! atoms (C51) or quantiles (QR-DQN), noisy layers. Rainbow (Hessel et al. 2018) is their sum.

mod config;
mod value;

use std::borrow::Cow;
use std::cell::RefCell;

use skinner_core::objective::q_learning::greedy_actions;
use skinner_core::replay::{PriorityTree, Transitions, importance_weights};
use skinner_core::{Actions, Metrics, Rng, SeedSequence, Space, VecEnv};
use skinner_nn::{
    ActorCriticTape, Network as _, Noisy, Optimizer, OptimizerKind, QNetwork, QNetworkShape, QTape,
};

pub use config::{Config, Returns};
use value::Values;

use crate::error::AlgoError;
use crate::exploration::Exploration;
use crate::off_policy::{Experience, State, crossed, update_target};
use crate::on_policy::STREAM_WEIGHTS;
use crate::policy::{ActionBatch, Greedy};
use crate::{Agent, NamedArray};

/// DQN at some point of its training.
pub struct Dqn {
    config: Config,
    num_actions: usize,
    network: QNetwork,
    /// With noisy layers: what of the parameters is noisy.
    noisy: Option<Noisy>,
    /// How the network's numbers are read as returns.
    values: Values,
    params: Vec<f32>,
    target: Vec<f32>,
    optimizer: Optimizer,
    experience: Experience,
    /// With prioritised replay: a priority for each slot.
    priorities: Option<PriorityTree>,
    work: Work,
}

/// Room to work in; nothing of it outlives an update.
#[derive(Default)]
struct Work {
    tape: QTape,
    next_tape: QTape,
    slots: Vec<usize>,
    batch: Transitions,
    weights: Vec<f32>,
    grad: Vec<f32>,
    d_effective: Vec<f32>,
    online: NoisyParams,
    target: NoisyParams,
}

/// Noise and the parameters that it makes.
#[derive(Default)]
struct NoisyParams {
    noise: Vec<f32>,
    effective: Vec<f32>,
}

impl NoisyParams {
    /// The parameters to run the network with: `params` themselves, or with fresh noise.
    fn renew<'a>(
        &'a mut self,
        noisy: Option<&Noisy>,
        params: &'a [f32],
        rng: &mut Rng,
    ) -> &'a [f32] {
        let Some(noisy) = noisy else { return params };
        noisy.sample(&mut self.noise, rng);
        noisy.effective(params, &self.noise, &mut self.effective);
        &self.effective
    }
}

impl Dqn {
    /// A fresh agent on environments, which are reset.
    ///
    /// # Errors
    /// If the configuration makes no sense or the environments fail.
    pub fn new(
        config: Config,
        envs: &mut dyn VecEnv,
        seed: &SeedSequence,
    ) -> Result<Self, AlgoError> {
        config.validate()?;
        let Space::Discrete(num_actions) = *envs.action_space() else {
            let space = envs.action_space();
            return Err(AlgoError::Conflict(format!(
                "dqn needs a Discrete action space, but the environment has {space}; for continuous actions there are sac, td3 and ppo"
            )));
        };
        let values = Values::new(&config);
        let network = QNetwork::new(&QNetworkShape {
            inputs: envs.observation_space().flat_width(),
            hidden: config.network.hidden_sizes.clone(),
            activation: config.network.activation,
            num_actions,
            num_atoms: values.num_atoms(),
            dueling: config.dueling,
        });
        let plain = network.num_params();
        let noisy = config.noisy.then(|| Noisy::new(plain, network.later_layers()));
        let mut params = vec![0.0; noisy.as_ref().map_or(plain, Noisy::num_params)];
        let weights = &mut seed.child(STREAM_WEIGHTS).rng();
        if config.network.orthogonal_init {
            network.init_orthogonal(&mut params[..plain], weights);
        } else {
            network.init_uniform(&mut params[..plain], weights);
        }
        if let Some(noisy) = &noisy {
            noisy.init_sigma(&mut params, config.noisy_sigma as f32);
        }
        let experience =
            Experience::new(config.num_envs, config.buffer_size, 1, &params, envs, seed)?;
        let capacity = experience.state.replay.capacity();
        let epsilon = config.adam_epsilon as f32;
        Ok(Self {
            optimizer: Optimizer::new(OptimizerKind::Adam, epsilon, params.len()),
            priorities: config.prioritized.then(|| PriorityTree::new(capacity)),
            work: Work {
                grad: vec![0.0; params.len()],
                d_effective: vec![0.0; if config.noisy { plain } else { 0 }],
                slots: vec![0; config.batch_size],
                ..Work::default()
            },
            target: params.clone(),
            num_actions,
            network,
            noisy,
            values,
            params,
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
        let before = self.experience.state.env_steps;
        let progress = before as f64 / self.config.total_steps as f64;
        let exploration = self.config.exploration.at(progress);
        for _ in 0..self.config.train_frequency {
            self.act(envs, exploration)?;
        }
        let after = self.experience.state.env_steps;
        let mut metrics = Metrics::new();
        if after >= self.config.learning_starts {
            self.learn(progress, &mut metrics)?;
            if crossed(self.config.target_network_frequency, before, after) {
                update_target(&mut self.target, &self.params, self.config.tau);
            }
        }
        let (name, value) = exploration.parameter();
        metrics.set(name, value);
        self.experience.metrics(&mut metrics);
        Ok(metrics)
    }

    /// One step in every environment: at random before learning starts, then as exploration says.
    fn act(&mut self, envs: &mut dyn VecEnv, exploration: Exploration) -> Result<(), AlgoError> {
        let Work { tape, online, .. } = &mut self.work;
        let State { rng, obs, env_steps, .. } = &mut self.experience.state;
        let (num_envs, num_actions) = (self.config.num_envs, self.num_actions);
        let mut actions = Vec::with_capacity(num_envs);
        if *env_steps < self.config.learning_starts {
            actions.extend((0..num_envs).map(|_| rng.below(num_actions) as u32));
        } else {
            let params = online.renew(self.noisy.as_ref(), &self.params, rng);
            self.network.forward(params, obs, tape);
            let q_values = self.values.means(self.network.output(tape, 0));
            let (mut row, mut scratch) = (vec![0.0; num_actions], vec![0.0; num_actions]);
            for q in q_values.chunks_exact(num_actions) {
                row.iter_mut().zip(q).for_each(|(a, &b)| *a = f64::from(b));
                actions.push(exploration.choose(&row, &[], &mut scratch, rng) as u32);
            }
        }
        let remembered: Vec<f32> = actions.iter().map(|&action| action as f32).collect();
        let slots = self.experience.advance(envs, Actions::Discrete(&actions, 1), &remembered)?;
        if let Some(priorities) = &mut self.priorities {
            let newest = priorities.max();
            slots.for_each(|slot| priorities.set(slot, newest));
        }
        Ok(())
    }

    /// `gradient_steps` updates.
    fn learn(&mut self, progress: f64, metrics: &mut Metrics) -> Result<(), AlgoError> {
        let rate = self.config.learning_rate * self.config.learning_rate_schedule.factor(progress);
        let (mut losses, mut q_values, mut norms) = (0.0, 0.0, 0.0);
        for _ in 0..self.config.gradient_steps {
            self.draw(progress);
            let learned = self.gradient();
            let clip = self.config.max_grad_norm;
            let clip = (clip > 0.0).then_some(clip as f32);
            let grad = &mut self.work.grad;
            losses += self.experience.finite("the loss", learned.loss)?;
            let norm = self.optimizer.step(&mut self.params, grad, rate as f32, clip);
            norms += self.experience.finite("the gradient", norm)?;
            q_values += f64::from(learned.q_value);
            self.prioritize(&learned.surprise);
            self.experience.state.updates += 1;
        }
        let updates = self.config.gradient_steps as f64;
        metrics.set("td_loss", losses / updates);
        metrics.set("q_values", q_values / updates);
        metrics.set("grad_norm", norms / updates);
        metrics.set("learning_rate", rate);
        Ok(())
    }

    /// A batch of transitions, with the weights that correct for how it was drawn.
    fn draw(&mut self, progress: f64) {
        let Self { config, experience, priorities, work, .. } = self;
        let Work { slots, batch, weights, .. } = work;
        if let Some(priorities) = priorities {
            let beta = config.priority_beta + (1.0 - config.priority_beta) * progress;
            priorities.sample(slots, &mut experience.state.rng);
            importance_weights(priorities, slots, beta, weights);
        } else {
            experience.draw(slots);
        }
        experience.state.replay.gather(slots, config.n_steps, config.gamma as f32, batch);
    }

    /// The loss on the batch and its gradient.
    fn gradient(&mut self) -> value::Learned {
        let Self { config, network, noisy, values, params, target, experience, work, .. } = self;
        let rng = &mut experience.state.rng;
        let Work { tape, next_tape, batch, weights, grad, d_effective, online, .. } = work;
        let noisy = noisy.as_ref();
        let target = if config.target_network { &*target } else { &*params };
        let online_params = online.renew(noisy, params, rng);
        let target_params = work.target.renew(noisy, target, rng);

        // What follows is valued by the target network; the best action is its own choice or, with double Q-learning, the
        // online network's.
        let chosen_by = if config.double { online_params } else { target_params };
        network.forward(chosen_by, &batch.next_obs, next_tape);
        let next_actions =
            greedy_actions(&values.means(network.output(next_tape, 0)), self.num_actions);
        if config.double {
            network.forward(target_params, &batch.next_obs, next_tape);
        }
        let next = network.output(next_tape, 0);

        network.forward(online_params, &batch.obs, tape);
        let learned = values.loss(&value::Batch {
            output: network.output(tape, 0),
            action: &batch.action,
            next,
            next_action: &next_actions,
            reward: &batch.reward,
            discount: &batch.discount,
            weight: weights,
        });
        if let Some(noisy) = noisy {
            network.backward(
                online_params,
                &batch.obs,
                tape,
                &[&learned.d_output],
                d_effective,
                None,
            );
            noisy.backward(d_effective, &online.noise, grad);
        } else {
            network.backward(online_params, &batch.obs, tape, &[&learned.d_output], grad, None);
        }
        learned
    }

    /// With prioritised replay: new priorities `(|error| + ε)^α` of the rows of the batch.
    fn prioritize(&mut self, surprise: &[f32]) {
        let Some(priorities) = &mut self.priorities else { return };
        for (&slot, &surprise) in self.work.slots.iter().zip(surprise) {
            let priority = f64::from(surprise.abs()) + self.config.priority_epsilon;
            priorities.set(slot, priority.powf(self.config.priority_alpha));
        }
    }

    /// Values of observations `[batch, num_actions]`, without noise.
    pub fn q_values(&self, obs: &[f32]) -> Vec<f32> {
        let mut tape = QTape::default();
        self.network.forward(&self.params[..self.network.num_params()], obs, &mut tape);
        self.values.means(self.network.output(&tape, 0)).into_owned()
    }
}

/// The greedy policy of the present values, without noise.
struct GreedyValues<'a> {
    agent: &'a Dqn,
    tape: RefCell<QTape>,
}

impl Greedy for GreedyValues<'_> {
    fn greedy(&self, obs: &[f32], _tape: &mut ActorCriticTape) -> ActionBatch {
        let Dqn { network, values, params, num_actions, .. } = self.agent;
        let tape = &mut *self.tape.borrow_mut();
        network.forward(&params[..network.num_params()], obs, tape);
        let actions = greedy_actions(&values.means(network.output(tape, 0)), *num_actions);
        ActionBatch::Discrete(actions.into_iter().map(|action| action as u32).collect(), 1)
    }
}

/// What of an agent is saved beside its parameters.
type Saved<'a> =
    (Cow<'a, State>, Cow<'a, Optimizer>, Cow<'a, [f32]>, Cow<'a, Option<PriorityTree>>);

impl Agent for Dqn {
    fn greedy(&self) -> Box<dyn Greedy + '_> {
        Box::new(GreedyValues { agent: self, tape: RefCell::default() })
    }

    fn env_steps(&self) -> u64 {
        self.experience.state.env_steps
    }

    fn warnings(&self) -> Vec<String> {
        self.experience.warnings(&self.params)
    }

    fn arrays(&self) -> Vec<NamedArray<'_>> {
        let arrays = self.network.arrays();
        let parts = self.params.chunks_exact(self.network.num_params()).zip(["", ".sigma"]);
        let named = parts.flat_map(|(part, suffix)| {
            arrays.iter().map(move |(name, shape, place)| {
                (format!("{name}{suffix}"), shape.clone(), part[place.clone()].into())
            })
        });
        named.collect()
    }

    fn save(&self) -> Result<Vec<u8>, AlgoError> {
        let saved: Saved<'_> = (
            Cow::Borrowed(&self.experience.state),
            Cow::Borrowed(&self.optimizer),
            self.target[..].into(),
            Cow::Borrowed(&self.priorities),
        );
        postcard::to_stdvec(&saved).map_err(|e| AlgoError::State(e.to_string()))
    }

    fn load(&mut self, params: Vec<f32>, state: &[u8]) -> Result<(), AlgoError> {
        let (state, optimizer, target, priorities): Saved<'_> =
            postcard::from_bytes(state).map_err(|e| AlgoError::State(e.to_string()))?;
        let fits = params.len() == self.params.len()
            && target.len() == self.target.len()
            && state.fits(&self.experience.state)
            && priorities.as_ref().as_ref().map(PriorityTree::capacity)
                == self.priorities.as_ref().map(PriorityTree::capacity);
        if !fits {
            return Err(AlgoError::State("it is of a network or a buffer of another size".into()));
        }
        self.params = params;
        self.target = target.into_owned();
        self.optimizer = optimizer.into_owned();
        self.priorities = priorities.into_owned();
        self.experience.state = state.into_owned();
        Ok(())
    }
}
