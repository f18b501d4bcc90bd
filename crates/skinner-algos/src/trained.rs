//! What the off-policy actor-critic algorithms are made of: networks, each with what trains it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use skinner_core::objective::value_loss;
use skinner_core::{Rng, Space};
use skinner_nn::{Activation, Mlp, MlpTape, Network as _, Optimizer, OptimizerKind};

use crate::NamedArray;
use crate::error::{AlgoError, MOST_STEPS, not_negative, positive, require, size};
use crate::off_policy::{NetworkConfig, update_target};

/// A network, its parameters, a copy of them that follows, and its optimizer.
pub(crate) struct Trained {
    pub mlp: Mlp,
    pub params: Vec<f32>,
    /// The target network's parameters; empty for a network that has none.
    target: Vec<f32>,
    optimizer: Optimizer,
    grad: Vec<f32>,
    tape: MlpTape,
}

/// What of a network is saved beside its parameters.
#[derive(Serialize, Deserialize)]
pub(crate) struct SavedTrained<'a> {
    optimizer: Cow<'a, Optimizer>,
    target: Cow<'a, [f32]>,
}

impl Trained {
    /// Fresh weights for a network from `inputs` to `outputs` numbers, with `last` after the last layer. Orthogonal
    /// weights have `last_gain` there.
    pub fn new(
        config: &NetworkConfig,
        (inputs, outputs): (usize, usize),
        (last, last_gain): (Activation, f32),
        adam_epsilon: f64,
        rng: &mut Rng,
    ) -> Self {
        let sizes = [&[inputs][..], &config.hidden_sizes, &[outputs]].concat();
        let mlp = Mlp::new(&sizes, config.activation, last);
        let mut params = vec![0.0; mlp.num_params()];
        if config.orthogonal_init {
            mlp.init_orthogonal(&mut params, std::f32::consts::SQRT_2, last_gain, rng);
        } else {
            mlp.init_uniform(&mut params, rng);
        }
        Self {
            target: Vec::new(),
            optimizer: Optimizer::new(OptimizerKind::Adam, adam_epsilon as f32, params.len()),
            grad: vec![0.0; params.len()],
            tape: MlpTape::default(),
            mlp,
            params,
        }
    }

    /// With a target network, which begins as a copy.
    pub fn followed(self) -> Self {
        Self { target: self.params.clone(), ..self }
    }

    /// Outputs for `input`, which stay until the next pass.
    pub fn forward(&mut self, input: &[f32]) -> &[f32] {
        self.mlp.forward(&self.params, input, &mut self.tape);
        self.output()
    }

    /// As [`Trained::forward`], of the target network.
    pub fn forward_target(&mut self, input: &[f32]) -> &[f32] {
        self.mlp.forward(&self.target, input, &mut self.tape);
        self.output()
    }

    /// Outputs of the last pass.
    pub fn output(&self) -> &[f32] {
        self.mlp.output(&self.tape, 0)
    }

    /// One optimizer step on a loss with gradient `d_output` in what [`Trained::forward`] gave for `input`. Returns the
    /// gradient's norm; if that is not finite, nothing has changed.
    pub fn learn(&mut self, input: &[f32], d_output: &[f32], rate: f64, max_norm: f64) -> f32 {
        let Self { mlp, params, grad, tape, .. } = self;
        mlp.backward(params, input, tape, &[d_output], grad, None);
        let clip = (max_norm > 0.0).then_some(max_norm as f32);
        self.optimizer.step(&mut self.params, &mut self.grad, rate as f32, clip)
    }

    /// The gradient in `input` of a loss with gradient `d_output` in what [`Trained::forward`] gave for it.
    pub fn input_gradient(&mut self, input: &[f32], d_output: &[f32], d_input: &mut [f32]) {
        self.mlp.backward_to_input(&self.params, input, &mut self.tape, d_output, d_input);
    }

    /// Moves the target network towards this one.
    pub fn update_target(&mut self, tau: f64) {
        update_target(&mut self.target, &self.params, tau);
    }

    pub fn arrays(&self, prefix: &str) -> Vec<NamedArray<'_>> {
        let arrays = self.mlp.arrays(prefix).into_iter();
        arrays.map(|(name, shape, place)| (name, shape, self.params[place].into())).collect()
    }

    pub fn save(&self) -> SavedTrained<'_> {
        SavedTrained {
            optimizer: Cow::Borrowed(&self.optimizer),
            target: Cow::Borrowed(&self.target),
        }
    }
}

/// Networks continued from their parameters, one after the other, and what [`Trained::save`] gave of each.
pub(crate) fn load_all<'a>(
    networks: impl Iterator<Item = &'a mut Trained>,
    mut params: &[f32],
    saved: Vec<SavedTrained<'_>>,
) -> Result<(), AlgoError> {
    let networks: Vec<&mut Trained> = networks.collect();
    let sizes = networks.iter().map(|network| network.params.len()).sum::<usize>();
    let targets = networks.iter().map(|network| network.target.len());
    if params.len() != sizes || !targets.eq(saved.iter().map(|saved| saved.target.len())) {
        return Err(AlgoError::State("it is of networks of another size".into()));
    }
    for (network, saved) in networks.into_iter().zip(saved) {
        let own;
        (own, params) = params.split_at(network.params.len());
        network.params.copy_from_slice(own);
        network.target = saved.target.into_owned();
        network.optimizer = saved.optimizer.into_owned();
    }
    Ok(())
}

/// Hyper-parameters of the optimizers and of what they lead to.
pub(crate) struct Steps {
    pub learning_rate: f64,
    pub critic_learning_rate: f64,
    pub adam_epsilon: f64,
    pub max_grad_norm: f64,
    pub gamma: f64,
    pub tau: f64,
    pub num_critics: usize,
    pub policy_frequency: usize,
}

impl Steps {
    pub fn validate(&self) -> Result<(), AlgoError> {
        size("policy_frequency", self.policy_frequency, MOST_STEPS)?;
        positive("learning_rate", self.learning_rate)?;
        not_negative("critic_learning_rate", self.critic_learning_rate)?;
        positive("adam_epsilon", self.adam_epsilon)?;
        not_negative("max_grad_norm", self.max_grad_norm)?;
        let unit = "must be between 0 and 1";
        require((0.0..=1.0).contains(&self.gamma), "gamma", self.gamma, unit)?;
        let above = "must be above 0 and at most 1";
        require(self.tau > 0.0 && self.tau <= 1.0, "tau", self.tau, above)?;
        let critics = self.num_critics;
        require((1..=100).contains(&critics), "num_critics", critics, "must be from 1 to 100")
    }
}

/// Critics of one shape, which learn the same from different weights.
pub(crate) struct Critics(pub Vec<Trained>);

/// What fitting critics told.
pub(crate) struct Fitted {
    /// Half the mean squared error, mean over critics.
    pub loss: f32,
    /// Mean value before the step.
    pub q_value: f32,
    /// The largest norm of a gradient.
    pub grad_norm: f32,
}

impl Critics {
    /// The critics' values for `input`.
    pub fn forward(&mut self, input: &[f32]) -> Vec<&[f32]> {
        self.0.iter_mut().map(|critic| critic.forward(input)).collect()
    }

    /// The target networks' values for `input`.
    pub fn forward_target(&mut self, input: &[f32]) -> Vec<&[f32]> {
        self.0.iter_mut().map(|critic| critic.forward_target(input)).collect()
    }

    /// One step of each critic on half the mean squared error of the values of the actions taken, `action`: the index
    /// of one of its outputs a row, or empty where it has a single one.
    pub fn fit(
        &mut self,
        input: &[f32],
        action: &[f32],
        target: &[f32],
        rate: f64,
        max_norm: f64,
    ) -> Fitted {
        let (n, critics) = (target.len(), self.0.len() as f32);
        let mut fitted = Fitted { loss: 0.0, q_value: 0.0, grad_norm: 0.0 };
        for critic in &mut self.0 {
            let output = critic.forward(input);
            let width = output.len() / n;
            let at = |row: usize| row * width + action.get(row).map_or(0, |&a| a as usize);
            let q: Vec<f32> = (0..n).map(|row| output[at(row)]).collect();
            let mut d_q = vec![0.0; n];
            fitted.loss += value_loss(&q, target, 0.5, 1.0 / n as f32, &mut d_q) / critics;
            fitted.q_value += q.iter().sum::<f32>() / (n as f32 * critics);
            let mut d_output = vec![0.0; n * width];
            (0..n).for_each(|row| d_output[at(row)] = d_q[row]);
            let norm = critic.learn(input, &d_output, rate, max_norm);
            // `max` would pass over what is not a number.
            if norm.is_nan() || norm > fitted.grad_norm {
                fitted.grad_norm = norm;
            }
        }
        fitted
    }

    /// Moves all target networks.
    pub fn update_targets(&mut self, tau: f64) {
        self.0.iter_mut().for_each(|critic| critic.update_target(tau));
    }

    /// The gradient in the actions `[batch, dim]`, the last numbers of each row of `input`, from those in the values
    /// that [`Critics::forward`] gave for it, one slice a critic.
    pub fn action_gradient(&mut self, input: &[f32], d_q: &[Vec<f32>], dim: usize) -> Vec<f32> {
        let n = d_q[0].len();
        let width = input.len() / n;
        let mut d_action = vec![0.0; n * dim];
        let mut d_input = vec![0.0; input.len()];
        for (critic, d_q) in self.0.iter_mut().zip(d_q) {
            critic.input_gradient(input, d_q, &mut d_input);
            for (d_action, row) in d_action.chunks_exact_mut(dim).zip(d_input.chunks_exact(width)) {
                d_action.iter_mut().zip(&row[width - dim..]).for_each(|(sum, d)| *sum += d);
            }
        }
        d_action
    }
}

/// The number of components of actions that are in [-1, 1] each; `algorithm` takes no others.
pub(crate) fn unit_box(algorithm: &str, space: &Space) -> Result<usize, AlgoError> {
    if *space == Space::uniform_box(-1.0, 1.0, space.width()) {
        return Ok(space.width());
    }
    Err(AlgoError::Conflict(format!(
        "{algorithm} acts in [-1, 1], but the action space is {space}; wrap the environments in RescaleAction"
    )))
}

/// Rows of observations and actions side by side: what a critic of continuous actions reads.
pub(crate) fn beside(obs: &[f32], action: &[f32], dim: usize, out: &mut Vec<f32>) {
    let width = obs.len() / (action.len() / dim);
    out.clear();
    for (obs, action) in obs.chunks_exact(width).zip(action.chunks_exact(dim)) {
        out.extend_from_slice(obs);
        out.extend_from_slice(action);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(inputs: usize, outputs: usize, weights: &[f32]) -> Trained {
        let config = NetworkConfig { hidden_sizes: Vec::new(), ..NetworkConfig::default() };
        let last = (Activation::Identity, 1.0);
        let mut network = Trained::new(&config, (inputs, outputs), last, 1e-8, &mut Rng::new(1));
        network.params[..weights.len()].copy_from_slice(weights);
        network.params[weights.len()..].fill(0.0);
        network.followed()
    }

    /// Q = 2 s + 3 a and Q = -s + 5 a, at (1, 1) and (2, -1).
    #[test]
    fn critics_by_hand() {
        let mut critics = Critics(vec![linear(2, 1, &[2.0, 3.0]), linear(2, 1, &[-1.0, 5.0])]);
        let mut input = Vec::new();
        beside(&[1.0, 2.0], &[1.0, -1.0], 1, &mut input);
        assert_eq!(input, [1.0, 1.0, 2.0, -1.0]);
        assert_eq!(critics.forward(&input), [[5.0, 1.0], [4.0, -7.0]]);
        let d_q = [vec![0.0, 1.0], vec![2.0, 0.5]];
        assert_eq!(critics.action_gradient(&input, &d_q, 1), [10.0, 5.5]);
        let fitted = critics.fit(&input, &[], &[4.0, 1.0], 0.01, 0.0);
        // Errors 1, 0 and 0, -8: half the mean squares are 0.25 and 16.
        assert_eq!((fitted.loss, fitted.q_value), (8.125, 0.75));
        // Adam's first step is the learning rate, against the gradient; targets have not moved.
        let moved = critics.forward(&input);
        assert!((moved[0][0] - 4.97).abs() < 1e-4, "{moved:?}");
        assert_eq!(critics.forward_target(&input), [[5.0, 1.0], [4.0, -7.0]]);
        critics.update_targets(1.0);
        assert!((critics.forward_target(&input)[0][0] - 4.97).abs() < 1e-4);
    }

    /// Of two discrete actions only the one taken is fitted.
    #[test]
    fn the_action_taken_is_fitted() {
        let mut critics = Critics(vec![linear(1, 2, &[2.0, 3.0])]);
        let fitted = critics.fit(&[1.0, 2.0], &[1.0, 1.0], &[0.0, 6.0], 0.01, 0.0);
        assert_eq!((fitted.loss, fitted.q_value), (2.25, 4.5));
        assert!(critics.0[0].params[0] == 2.0 && critics.0[0].params[1] < 3.0);
    }
}
