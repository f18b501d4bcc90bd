//! A policy's head and a value from one observation, with separate or shared hidden layers.

use std::ops::Range;

use skinner_core::Rng;

use crate::kernels::Activation;
use crate::mlp::{Mlp, MlpTape};
use crate::network::Network;

/// Index of the policy's head among the outputs of an [`ActorCritic`].
pub const HEAD: usize = 0;
/// Index of the value `[batch, 1]`.
pub const VALUE: usize = 1;
/// Index of the features that the head is a linear function of. No gradient is taken through it.
pub const FEATURES: usize = 2;

/// An actor and a critic: [`Mlp`]s on one flat array of parameters, followed there by `extra` free
/// parameters (such as a log standard deviation) that the network itself does not read.
#[derive(Clone, Debug)]
pub struct ActorCritic {
    trunk: Option<(Mlp, Range<usize>)>,
    actor: Mlp,
    critic: Option<Mlp>,
    actor_range: Range<usize>,
    critic_range: Range<usize>,
    extra: Range<usize>,
}

/// What [`ActorCritic`] remembers between forward and backward.
#[derive(Clone, Debug, Default)]
pub struct ActorCriticTape {
    trunk: MlpTape,
    actor: MlpTape,
    critic: MlpTape,
    d_features: Vec<f32>,
    d_features_critic: Vec<f32>,
}

/// The shape of an [`ActorCritic`].
#[derive(Clone, Debug, PartialEq)]
pub struct ActorCriticShape {
    /// Width of an observation.
    pub inputs: usize,
    /// Width of the policy's head.
    pub head: usize,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// What follows each hidden layer.
    pub activation: Activation,
    /// Whether actor and critic share the hidden layers.
    pub shared: bool,
    /// Whether there is a critic at all.
    pub critic: bool,
    /// Number of free parameters.
    pub extra: usize,
}

impl ActorCritic {
    /// A network of this shape.
    ///
    /// # Panics
    /// If hidden layers are shared but there are none, or a width is zero.
    pub fn new(shape: &ActorCriticShape) -> Self {
        let linear = Activation::Identity;
        let with = |first: &[usize], last: usize| {
            let sizes: Vec<usize> = first.iter().copied().chain([last]).collect();
            Mlp::new(&sizes, shape.activation, linear)
        };
        let all: Vec<usize> =
            std::iter::once(shape.inputs).chain(shape.hidden.iter().copied()).collect();
        let trunk = shape.shared.then(|| Mlp::new(&all, shape.activation, shape.activation));
        let below = if shape.shared { &all[all.len() - 1..] } else { &all[..] };
        let actor = with(below, shape.head);
        let critic = shape.critic.then(|| with(below, 1));
        let mut offset = 0;
        let mut take = |n: usize| {
            offset += n;
            offset - n..offset
        };
        let trunk = trunk.map(|mlp| {
            let range = take(mlp.num_params());
            (mlp, range)
        });
        let actor_range = take(actor.num_params());
        let critic_range = take(critic.as_ref().map_or(0, Network::num_params));
        let extra = take(shape.extra);
        Self { trunk, actor, critic, actor_range, critic_range, extra }
    }

    /// Orthogonal hidden layers with gain √2, the head with `head_gain`, the value with gain 1, biases 0
    /// (Andrychowicz et al. 2021 on what matters for on-policy methods).
    pub fn init_orthogonal(&self, params: &mut [f32], head_gain: f32, rng: &mut Rng) {
        let hidden = std::f32::consts::SQRT_2;
        if let Some((trunk, range)) = &self.trunk {
            trunk.init_orthogonal(&mut params[range.clone()], hidden, hidden, rng);
        }
        self.actor.init_orthogonal(&mut params[self.actor_range.clone()], hidden, head_gain, rng);
        if let Some(critic) = &self.critic {
            critic.init_orthogonal(&mut params[self.critic_range.clone()], hidden, 1.0, rng);
        }
    }

    /// PyTorch's default for linear layers: uniform on `±1/√inputs`.
    pub fn init_uniform(&self, params: &mut [f32], rng: &mut Rng) {
        if let Some((trunk, range)) = &self.trunk {
            trunk.init_uniform(&mut params[range.clone()], rng);
        }
        self.actor.init_uniform(&mut params[self.actor_range.clone()], rng);
        if let Some(critic) = &self.critic {
            critic.init_uniform(&mut params[self.critic_range.clone()], rng);
        }
    }

    /// Place of the free parameters.
    pub fn extra(&self) -> Range<usize> {
        self.extra.clone()
    }

    /// Whether there is a critic.
    pub fn has_critic(&self) -> bool {
        self.critic.is_some()
    }

    /// Place of the critic's own parameters (empty without one).
    pub fn critic_params(&self) -> Range<usize> {
        self.critic_range.clone()
    }

    /// Width of the features below the head.
    pub fn num_features(&self) -> usize {
        if let Some((trunk, _)) = &self.trunk {
            return trunk.outputs();
        }
        self.actor.arrays("actor")[2 * (self.actor.num_layers() - 1)].1[0]
    }

    /// Name, shape and place of every array in the flat parameters.
    pub fn arrays(&self) -> Vec<(String, Vec<usize>, Range<usize>)> {
        let mut arrays = Vec::new();
        let mut add = |mlp: &Mlp, name: &str, at: usize| {
            let moved = |r: Range<usize>| r.start + at..r.end + at;
            arrays.extend(mlp.arrays(name).into_iter().map(|(n, s, r)| (n, s, moved(r))));
        };
        if let Some((trunk, range)) = &self.trunk {
            add(trunk, "trunk", range.start);
        }
        add(&self.actor, "actor", self.actor_range.start);
        if let Some(critic) = &self.critic {
            add(critic, "critic", self.critic_range.start);
        }
        if !self.extra.is_empty() {
            arrays.push(("log_std".into(), vec![self.extra.len()], self.extra.clone()));
        }
        arrays
    }

    /// Only the value of each observation: `[batch]`. The head's part of `tape` is left as it was.
    pub fn values<'t>(
        &self,
        params: &[f32],
        input: &[f32],
        tape: &'t mut ActorCriticTape,
    ) -> &'t [f32] {
        let Some(critic) = &self.critic else { return &[] };
        let below = if let Some((trunk, range)) = &self.trunk {
            trunk.forward(&params[range.clone()], input, &mut tape.trunk);
            trunk.output(&tape.trunk, 0)
        } else {
            input
        };
        critic.forward(&params[self.critic_range.clone()], below, &mut tape.critic);
        critic.output(&tape.critic, 0)
    }

    /// Only the head for each observation.
    pub fn head<'t>(
        &self,
        params: &[f32],
        input: &[f32],
        tape: &'t mut ActorCriticTape,
    ) -> &'t [f32] {
        let below = if let Some((trunk, range)) = &self.trunk {
            trunk.forward(&params[range.clone()], input, &mut tape.trunk);
            trunk.output(&tape.trunk, 0)
        } else {
            input
        };
        self.actor.forward(&params[self.actor_range.clone()], below, &mut tape.actor);
        self.actor.output(&tape.actor, 0)
    }
}

impl Network for ActorCritic {
    type Tape = ActorCriticTape;

    fn num_params(&self) -> usize {
        self.extra.end
    }

    fn forward(&self, params: &[f32], input: &[f32], tape: &mut ActorCriticTape) {
        self.head(params, input, tape);
        if let Some(critic) = &self.critic {
            let below = match &self.trunk {
                Some((trunk, _)) => trunk.output(&tape.trunk, 0),
                None => input,
            };
            critic.forward(&params[self.critic_range.clone()], below, &mut tape.critic);
        }
    }

    fn output<'t>(&self, tape: &'t ActorCriticTape, index: usize) -> &'t [f32] {
        match (index, &self.critic, &self.trunk) {
            (HEAD, ..) => self.actor.output(&tape.actor, 0),
            (VALUE, Some(critic), _) => critic.output(&tape.critic, 0),
            (FEATURES, _, Some((trunk, _))) => trunk.output(&tape.trunk, 0),
            (FEATURES, _, None) if self.actor.num_layers() > 1 => {
                tape.actor.layer(self.actor.num_layers() - 2)
            }
            _ => &[],
        }
    }

    fn backward(
        &self,
        params: &[f32],
        input: &[f32],
        tape: &mut ActorCriticTape,
        d_outputs: &[&[f32]],
        d_params: &mut [f32],
        mut d_input: Option<&mut [f32]>,
    ) {
        let d_value = d_outputs.get(VALUE).copied().unwrap_or_default();
        let ActorCriticTape { trunk, actor, critic, d_features, d_features_critic } = tape;
        let (actor_params, d_actor) = (&params[self.actor_range.clone()], self.actor_range.clone());
        let below: &[f32] = match &self.trunk {
            Some((mlp, _)) => mlp.output(trunk, 0),
            None => input,
        };
        let wants = self.trunk.is_some() || d_input.is_some();
        d_features.clear();
        d_features.resize(if wants { below.len() } else { 0 }, 0.0);
        let target = wants.then_some(&mut d_features[..]);
        self.actor.backward(
            actor_params,
            below,
            actor,
            &d_outputs[..1],
            &mut d_params[d_actor],
            target,
        );
        if let (Some(mlp), false) = (&self.critic, d_value.is_empty()) {
            d_features_critic.resize(d_features.len(), 0.0);
            let target = wants.then_some(&mut d_features_critic[..]);
            let range = self.critic_range.clone();
            mlp.backward(
                &params[range.clone()],
                below,
                critic,
                &[d_value],
                &mut d_params[range],
                target,
            );
            d_features.iter_mut().zip(&*d_features_critic).for_each(|(a, b)| *a += b);
        }
        if let Some((mlp, range)) = &self.trunk {
            let d = d_features.clone();
            let d_trunk = &mut d_params[range.clone()];
            mlp.backward(&params[range.clone()], input, trunk, &[&d], d_trunk, d_input.take());
        } else if let Some(d_input) = d_input {
            d_input.copy_from_slice(d_features);
        }
    }
}
