//! Action values from an observation, in one stream or in two (dueling).

use std::ops::Range;

use skinner_core::Rng;

use crate::kernels::Activation;
use crate::mlp::{LayerPlace, Mlp, MlpTape};
use crate::network::Network;

/// The shape of a [`QNetwork`].
#[derive(Clone, Debug, PartialEq)]
pub struct QNetworkShape {
    /// Width of an observation.
    pub inputs: usize,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// What follows each hidden layer.
    pub activation: Activation,
    /// Number of actions.
    pub num_actions: usize,
    /// Numbers for each action: 1 for its value, or those of a distribution.
    pub num_atoms: usize,
    /// Whether a value and advantages are computed apart.
    pub dueling: bool,
}

/// A network whose one output is `[batch, num_actions · num_atoms]`.
///
/// A dueling one (Wang et al. 2016) has the last hidden layer twice: one for the value `V`, one for the advantages `A`;
/// its output is `V + A - mean_a A` (eq. 9), for each atom on its own (as in Rainbow; Hessel et al. 2018).
#[derive(Clone, Debug)]
pub struct QNetwork {
    num_actions: usize,
    num_atoms: usize,
    /// The whole network, or what the two streams share.
    trunk: Option<(Mlp, Range<usize>)>,
    streams: Option<Streams>,
    num_params: usize,
}

#[derive(Clone, Debug)]
struct Streams {
    value: (Mlp, Range<usize>),
    advantage: (Mlp, Range<usize>),
}

/// What [`QNetwork`] remembers between forward and backward.
#[derive(Clone, Debug, Default)]
pub struct QTape {
    trunk: MlpTape,
    value: MlpTape,
    advantage: MlpTape,
    output: Vec<f32>,
    d_value: Vec<f32>,
    d_advantage: Vec<f32>,
    d_below: Vec<f32>,
    d_below_too: Vec<f32>,
}

impl QNetwork {
    /// A network of this shape.
    ///
    /// # Panics
    /// If a width is zero.
    pub fn new(shape: &QNetworkShape) -> Self {
        let (activation, linear) = (shape.activation, Activation::Identity);
        let outputs = shape.num_actions * shape.num_atoms;
        let all: Vec<usize> =
            std::iter::once(shape.inputs).chain(shape.hidden.iter().copied()).collect();
        let mut offset = 0;
        let mut place = |mlp: Mlp| {
            offset += mlp.num_params();
            let range = offset - mlp.num_params()..offset;
            (mlp, range)
        };
        let (trunk, streams) = if shape.dueling {
            let shared = all.len().saturating_sub(1).max(1);
            let trunk =
                (shared > 1).then(|| place(Mlp::new(&all[..shared], activation, activation)));
            let mut stream = |outputs: usize| {
                let own: Vec<usize> = all[shared - 1..].iter().copied().chain([outputs]).collect();
                place(Mlp::new(&own, activation, linear))
            };
            (trunk, Some(Streams { value: stream(shape.num_atoms), advantage: stream(outputs) }))
        } else {
            let sizes: Vec<usize> = all.into_iter().chain([outputs]).collect();
            (Some(place(Mlp::new(&sizes, activation, linear))), None)
        };
        let (num_actions, num_atoms) = (shape.num_actions, shape.num_atoms);
        Self { num_actions, num_atoms, trunk, streams, num_params: offset }
    }

    fn parts(&self) -> impl Iterator<Item = (&'static str, &(Mlp, Range<usize>))> {
        let streams = self.streams.iter();
        let streams = streams.flat_map(|s| [("value", &s.value), ("advantage", &s.advantage)]);
        let shared = if self.streams.is_some() { "trunk" } else { "q" };
        self.trunk.iter().map(move |trunk| (shared, trunk)).chain(streams)
    }

    /// Name, shape and place of every array in the flat parameters: weights are `[inputs, outputs]`.
    pub fn arrays(&self) -> Vec<(String, Vec<usize>, Range<usize>)> {
        let arrays = self.parts().flat_map(|(name, (mlp, range))| {
            let within = mlp.arrays(name).into_iter();
            within.map(|(name, shape, r)| (name, shape, range.start + r.start..range.start + r.end))
        });
        arrays.collect()
    }

    /// The places of all layers but the first, which sees the observation.
    pub fn later_layers(&self) -> Vec<LayerPlace> {
        let all = self.parts().flat_map(|(name, (mlp, range))| {
            let first = usize::from(self.trunk.is_none() || name == "trunk" || name == "q");
            mlp.layer_places(range.start).into_iter().skip(first)
        });
        all.collect()
    }

    /// Weights and biases uniform on `±1/√inputs`, as PyTorch's `nn.Linear` has it.
    pub fn init_uniform(&self, params: &mut [f32], rng: &mut Rng) {
        for (_, (mlp, range)) in self.parts() {
            mlp.init_uniform(&mut params[range.clone()], rng);
        }
    }

    /// Orthogonal hidden layers with gain √2, the last ones with gain 1, biases 0.
    pub fn init_orthogonal(&self, params: &mut [f32], rng: &mut Rng) {
        let hidden = std::f32::consts::SQRT_2;
        for (name, (mlp, range)) in self.parts() {
            let last = if name == "trunk" { hidden } else { 1.0 };
            mlp.init_orthogonal(&mut params[range.clone()], hidden, last, rng);
        }
    }

    /// Rows of `V + A - mean_a A` in `output`.
    fn join(&self, value: &[f32], advantage: &[f32], output: &mut Vec<f32>) {
        let (atoms, width) = (self.num_atoms, self.num_actions * self.num_atoms);
        output.clear();
        output.extend_from_slice(advantage);
        for (row, value) in output.chunks_exact_mut(width).zip(value.chunks_exact(atoms)) {
            for j in 0..atoms {
                let sum: f32 = row.iter().skip(j).step_by(atoms).sum();
                let shift = value[j] - sum / self.num_actions as f32;
                row.iter_mut().skip(j).step_by(atoms).for_each(|q| *q += shift);
            }
        }
    }

    /// Gradients in value and advantages from `d` in the joined output.
    fn part(&self, d: &[f32], d_value: &mut Vec<f32>, d_advantage: &mut Vec<f32>) {
        let (atoms, width) = (self.num_atoms, self.num_actions * self.num_atoms);
        d_advantage.clear();
        d_advantage.extend_from_slice(d);
        d_value.clear();
        for row in d_advantage.chunks_exact_mut(width) {
            for j in 0..atoms {
                let sum: f32 = row.iter().skip(j).step_by(atoms).sum();
                d_value.push(sum);
                let mean = sum / self.num_actions as f32;
                row.iter_mut().skip(j).step_by(atoms).for_each(|d| *d -= mean);
            }
        }
    }
}

impl Network for QNetwork {
    type Tape = QTape;

    fn num_params(&self) -> usize {
        self.num_params
    }

    fn forward(&self, params: &[f32], input: &[f32], tape: &mut QTape) {
        if let Some((trunk, range)) = &self.trunk {
            trunk.forward(&params[range.clone()], input, &mut tape.trunk);
        }
        if let Some(Streams { value: (value, v), advantage: (advantage, a) }) = &self.streams {
            let below = self.trunk.as_ref().map_or(input, |(mlp, _)| mlp.output(&tape.trunk, 0));
            value.forward(&params[v.clone()], below, &mut tape.value);
            advantage.forward(&params[a.clone()], below, &mut tape.advantage);
            let (v, a) = (value.output(&tape.value, 0), advantage.output(&tape.advantage, 0));
            self.join(v, a, &mut tape.output);
        }
    }

    fn output<'t>(&self, tape: &'t QTape, _index: usize) -> &'t [f32] {
        match (&self.streams, &self.trunk) {
            (None, Some((whole, _))) => whole.output(&tape.trunk, 0),
            _ => &tape.output,
        }
    }

    fn backward(
        &self,
        params: &[f32],
        input: &[f32],
        tape: &mut QTape,
        d_outputs: &[&[f32]],
        d_params: &mut [f32],
        d_input: Option<&mut [f32]>,
    ) {
        let QTape { trunk, value, advantage, d_value, d_advantage, d_below, d_below_too, .. } =
            tape;
        let Some(streams) = &self.streams else {
            if let Some((whole, r)) = &self.trunk {
                let d = &mut d_params[r.clone()];
                whole.backward(&params[r.clone()], input, trunk, d_outputs, d, d_input);
            }
            return;
        };
        self.part(d_outputs[0], d_value, d_advantage);
        let below = self.trunk.as_ref().map_or(input, |(mlp, _)| mlp.output(trunk, 0));
        let wanted = self.trunk.is_some() || d_input.is_some();
        let size = if wanted { below.len() } else { 0 };
        d_below.resize(size, 0.0);
        d_below_too.resize(size, 0.0);
        let sides = [
            (&streams.value, value, d_value, &mut *d_below),
            (&streams.advantage, advantage, d_advantage, &mut *d_below_too),
        ];
        for ((mlp, r), tape, d, d_below) in sides {
            let target = wanted.then_some(&mut d_below[..]);
            let own = &params[r.clone()];
            mlp.backward(own, below, tape, &[d], &mut d_params[r.clone()], target);
        }
        d_below.iter_mut().zip(&*d_below_too).for_each(|(a, b)| *a += b);
        if let Some((mlp, r)) = &self.trunk {
            let own = &params[r.clone()];
            mlp.backward(own, input, trunk, &[d_below], &mut d_params[r.clone()], d_input);
        } else if let Some(d_input) = d_input {
            d_input.copy_from_slice(d_below);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(hidden: &[usize], dueling: bool, num_atoms: usize) -> QNetworkShape {
        QNetworkShape {
            inputs: 3,
            hidden: hidden.to_vec(),
            activation: Activation::Tanh,
            num_actions: 2,
            num_atoms,
            dueling,
        }
    }

    /// `V + A - mean A` for two actions of two atoms, and back.
    #[test]
    fn streams_are_joined_by_hand() {
        let net = QNetwork::new(&shape(&[4], true, 2));
        let mut output = Vec::new();
        net.join(&[10.0, 20.0], &[1.0, 2.0, 3.0, 8.0], &mut output);
        assert_eq!(output, [9.0, 17.0, 11.0, 23.0]);
        let (mut d_value, mut d_advantage) = (Vec::new(), Vec::new());
        net.part(&[1.0, 2.0, 3.0, -4.0], &mut d_value, &mut d_advantage);
        assert_eq!(d_value, [4.0, -2.0]);
        assert_eq!(d_advantage, [-1.0, 3.0, 1.0, -3.0]);
    }

    /// Gradients in parameters and inputs against differences, for every kind of shape.
    #[test]
    fn gradients_by_difference() {
        let shapes = [
            shape(&[], false, 1),
            shape(&[5, 4], false, 1),
            shape(&[5, 4], false, 3),
            shape(&[], true, 1),
            shape(&[5], true, 3),
            shape(&[5, 4], true, 1),
            shape(&[6, 5, 4], true, 3),
        ];
        for shape in shapes {
            let net = QNetwork::new(&shape);
            let (mut rng, mut tape) = (Rng::new(7), QTape::default());
            let mut params = vec![0.0; net.num_params()];
            net.init_uniform(&mut params, &mut rng);
            let width = 2 * shape.num_atoms;
            let mut input: Vec<f32> = (0..6).map(|_| rng.normal() as f32).collect();
            let d_out: Vec<f32> = (0..2 * width).map(|_| rng.normal() as f32).collect();
            let loss = |params: &[f32], input: &[f32], tape: &mut QTape| -> f64 {
                net.forward(params, input, tape);
                let out = net.output(tape, 0);
                assert_eq!(out.len(), 2 * width);
                out.iter().zip(&d_out).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            loss(&params, &input, &mut tape);
            let (mut d_params, mut d_input) = (vec![1.0; params.len()], vec![0.0; input.len()]);
            net.backward(&params, &input, &mut tape, &[&d_out], &mut d_params, Some(&mut d_input));
            let step = 1e-2;
            let close = |gradient: f32, up: f64, down: f64| {
                let numeric = (up - down) / (2.0 * f64::from(step));
                let error = (f64::from(gradient) - numeric).abs();
                assert!(error < 2e-3 * (1.0 + numeric.abs()), "{shape:?}: {gradient}, {numeric}");
            };
            for i in 0..params.len() {
                let kept = params[i];
                params[i] = kept + step;
                let up = loss(&params, &input, &mut tape);
                params[i] = kept - step;
                let down = loss(&params, &input, &mut tape);
                params[i] = kept;
                // Gradients are added to what was there.
                close(d_params[i] - 1.0, up, down);
            }
            for i in 0..input.len() {
                let kept = input[i];
                input[i] = kept + step;
                let up = loss(&params, &input, &mut tape);
                input[i] = kept - step;
                let down = loss(&params, &input, &mut tape);
                input[i] = kept;
                close(d_input[i], up, down);
            }
        }
    }

    #[test]
    fn arrays_cover_the_parameters() {
        for shape in [shape(&[5, 4], false, 3), shape(&[5, 4], true, 3), shape(&[], true, 1)] {
            let net = QNetwork::new(&shape);
            let mut end = 0;
            for (_, sizes, range) in net.arrays() {
                assert_eq!(range.start, end);
                assert_eq!(range.len(), sizes.iter().product::<usize>());
                end = range.end;
            }
            assert_eq!(end, net.num_params());
        }
        let names = |net: &QNetwork| {
            net.later_layers().iter().map(|l| (l.inputs, l.outputs)).collect::<Vec<_>>()
        };
        assert_eq!(names(&QNetwork::new(&shape(&[5, 4], false, 3))), [(5, 4), (4, 6)]);
        let dueling = QNetwork::new(&shape(&[5, 4], true, 3));
        assert_eq!(names(&dueling), [(5, 4), (4, 3), (5, 4), (4, 6)]);
        assert_eq!(names(&QNetwork::new(&shape(&[4], true, 3))), [(4, 3), (4, 6)]);
    }
}
