//! A multilayer perceptron on flat parameters.

use std::ops::Range;

use skinner_core::Rng;

use crate::kernels::{self, Activation, Dense, InstructionSet, Scratch, instruction_set};
use crate::network::Network;

/// A fully connected network: the shape only; parameters are handed in.
#[derive(Clone, Debug)]
pub struct Mlp {
    layers: Vec<Layer>,
    isa: InstructionSet,
}

#[derive(Clone, Debug)]
struct Layer {
    inputs: usize,
    outputs: usize,
    weight: Range<usize>,
    bias: Range<usize>,
    activation: Activation,
}

impl Layer {
    fn dense<'a>(&self, params: &'a [f32]) -> Dense<'a> {
        Dense {
            inputs: self.inputs,
            outputs: self.outputs,
            weight: &params[self.weight.clone()],
            bias: &params[self.bias.clone()],
            activation: self.activation,
        }
    }
}

/// Sizes of a layer, and where its parameters are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerPlace {
    /// Width of what comes in.
    pub inputs: usize,
    /// Width of what goes out.
    pub outputs: usize,
    /// Place of the weight `[inputs, outputs]`.
    pub weight: Range<usize>,
    /// Place of the bias `[outputs]`.
    pub bias: Range<usize>,
}

/// Activations of every layer, and gradients on their way back.
#[derive(Clone, Debug, Default)]
pub struct MlpTape {
    outputs: Vec<Vec<f32>>,
    d_current: Vec<f32>,
    d_next: Vec<f32>,
    scratch: Scratch,
}

impl MlpTape {
    /// The output of layer `index` of the last forward pass.
    pub fn layer(&self, index: usize) -> &[f32] {
        &self.outputs[index]
    }
}

impl Mlp {
    /// Layers between `sizes`, with `hidden` after all but the last and `last` after that.
    ///
    /// # Panics
    /// If there are fewer than two sizes or one is zero.
    pub fn new(sizes: &[usize], hidden: Activation, last: Activation) -> Self {
        assert!(
            sizes.len() >= 2 && sizes.iter().all(|&n| n > 0),
            "sizes of at least one layer: {sizes:?}"
        );
        let mut offset = 0;
        let mut take = |n: usize| {
            offset += n;
            offset - n..offset
        };
        let count = sizes.len() - 1;
        let layers = (0..count)
            .map(|i| Layer {
                inputs: sizes[i],
                outputs: sizes[i + 1],
                weight: take(sizes[i] * sizes[i + 1]),
                bias: take(sizes[i + 1]),
                activation: if i + 1 == count { last } else { hidden },
            })
            .collect();
        Self { layers, isa: instruction_set() }
    }

    /// The same network on another instruction set.
    ///
    /// # Panics
    /// If this CPU does not have it.
    #[must_use]
    pub fn with_instruction_set(mut self, isa: InstructionSet) -> Self {
        assert!(kernels::available_instruction_sets().contains(&isa), "{isa:?} is not available");
        self.isa = isa;
        self
    }

    /// Number of layers.
    pub fn num_layers(&self) -> usize {
        self.layers.len()
    }

    /// Width of the input.
    pub fn inputs(&self) -> usize {
        self.layers[0].inputs
    }

    /// Width of the output.
    pub fn outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].outputs
    }

    /// Name, shape and place of every array in the flat parameters: weights are `[inputs, outputs]`.
    pub fn arrays(&self, prefix: &str) -> Vec<(String, Vec<usize>, Range<usize>)> {
        let mut arrays = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            let shape = vec![layer.inputs, layer.outputs];
            arrays.push((format!("{prefix}.{i}.weight"), shape, layer.weight.clone()));
            arrays.push((format!("{prefix}.{i}.bias"), vec![layer.outputs], layer.bias.clone()));
        }
        arrays
    }

    /// Every layer's place where the parameters begin at `start`.
    pub fn layer_places(&self, start: usize) -> Vec<LayerPlace> {
        let moved = |range: &Range<usize>| start + range.start..start + range.end;
        let place = |layer: &Layer| LayerPlace {
            inputs: layer.inputs,
            outputs: layer.outputs,
            weight: moved(&layer.weight),
            bias: moved(&layer.bias),
        };
        self.layers.iter().map(place).collect()
    }

    /// Orthogonal weights (Saxe et al. 2014) scaled by `hidden_gain`, the last layer's by `last_gain`;
    /// biases 0.
    pub fn init_orthogonal(
        &self,
        params: &mut [f32],
        hidden_gain: f32,
        last_gain: f32,
        rng: &mut Rng,
    ) {
        for (i, layer) in self.layers.iter().enumerate() {
            let gain = if i + 1 == self.layers.len() { last_gain } else { hidden_gain };
            let weight = &mut params[layer.weight.clone()];
            orthogonal(weight, layer.inputs, layer.outputs, gain, rng);
            params[layer.bias.clone()].fill(0.0);
        }
    }

    /// Weights and biases uniform on `±1/√inputs`, as PyTorch's `nn.Linear` has it.
    pub fn init_uniform(&self, params: &mut [f32], rng: &mut Rng) {
        for layer in &self.layers {
            let bound = 1.0 / (layer.inputs as f64).sqrt();
            for p in &mut params[layer.weight.start..layer.bias.end] {
                *p = rng.uniform(-bound, bound) as f32;
            }
        }
    }
}

impl Network for Mlp {
    type Tape = MlpTape;

    fn num_params(&self) -> usize {
        self.layers[self.layers.len() - 1].bias.end
    }

    fn forward(&self, params: &[f32], input: &[f32], tape: &mut MlpTape) {
        let batch = input.len() / self.inputs();
        tape.outputs.resize(self.layers.len(), Vec::new());
        for (i, layer) in self.layers.iter().enumerate() {
            let (before, after) = tape.outputs.split_at_mut(i);
            let x = before.last().map_or(input, Vec::as_slice);
            after[0].resize(batch * layer.outputs, 0.0);
            kernels::forward(self.isa, layer.dense(params), x, &mut after[0], &mut tape.scratch);
        }
    }

    fn output<'t>(&self, tape: &'t MlpTape, _index: usize) -> &'t [f32] {
        &tape.outputs[self.layers.len() - 1]
    }

    fn backward(
        &self,
        params: &[f32],
        input: &[f32],
        tape: &mut MlpTape,
        d_outputs: &[&[f32]],
        d_params: &mut [f32],
        d_input: Option<&mut [f32]>,
    ) {
        self.back(params, input, tape, d_outputs[0], Some(d_params), d_input);
    }
}

impl Mlp {
    /// Only the gradient in the input, of parameters that stay as they are: an actor learns through its critic
    /// so. `params`, `input` and `tape` are those of the last `forward`.
    pub fn backward_to_input(
        &self,
        params: &[f32],
        input: &[f32],
        tape: &mut MlpTape,
        d_output: &[f32],
        d_input: &mut [f32],
    ) {
        self.back(params, input, tape, d_output, None, Some(d_input));
    }

    fn back(
        &self,
        params: &[f32],
        input: &[f32],
        tape: &mut MlpTape,
        d_output: &[f32],
        mut d_params: Option<&mut [f32]>,
        d_input: Option<&mut [f32]>,
    ) {
        let last = self.layers.len() - 1;
        let MlpTape { outputs, d_current, d_next, scratch } = tape;
        let mut width = d_output.len();
        grow(d_current, width);
        d_current[..width].copy_from_slice(d_output);
        let activation = self.layers[last].activation;
        kernels::through_activation(self.isa, activation, &mut d_current[..width], &outputs[last]);
        for i in (0..=last).rev() {
            let layer = &self.layers[i];
            let x = if i == 0 { input } else { &outputs[i - 1] };
            let d = &d_current[..width];
            if let Some(d_params) = &mut d_params {
                let (d_weight, d_bias) =
                    d_params[layer.weight.start..layer.bias.end].split_at_mut(layer.weight.len());
                kernels::weight_gradient(self.isa, x, d, d_weight, d_bias, scratch);
            }
            if i > 0 {
                grow(d_next, x.len());
                let through = Some((self.layers[i - 1].activation, x));
                let d_x = &mut d_next[..x.len()];
                kernels::input_gradient(self.isa, layer.dense(params), d, d_x, through, scratch);
                std::mem::swap(d_current, d_next);
                width = x.len();
            }
        }
        if let Some(d_input) = d_input {
            let (first, d) = (self.layers[0].dense(params), &d_current[..width]);
            kernels::input_gradient(self.isa, first, d, d_input, None, scratch);
        }
    }
}

/// Room for `n` numbers; a buffer never shrinks, so that it is not cleared anew in each pass.
fn grow(buffer: &mut Vec<f32>, n: usize) {
    if buffer.len() < n {
        buffer.resize(n, 0.0);
    }
}

/// Fills `[rows, columns]` with a matrix whose shorter side is orthonormal, times `gain`: Gram-Schmidt
/// (applied twice, in f64) on normal draws, which is the distribution of a QR factorisation with a
/// positive diagonal.
fn orthogonal(weight: &mut [f32], rows: usize, columns: usize, gain: f32, rng: &mut Rng) {
    let (count, length) = (rows.min(columns), rows.max(columns));
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(count);
    for _ in 0..count {
        let mut v: Vec<f64> = (0..length).map(|_| rng.normal()).collect();
        for _ in 0..2 {
            for unit in &basis {
                let along: f64 = v.iter().zip(unit).map(|(a, b)| a * b).sum();
                v.iter_mut().zip(unit).for_each(|(a, b)| *a -= along * b);
            }
        }
        let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        v.iter_mut().for_each(|x| *x /= norm);
        basis.push(v);
    }
    for i in 0..rows {
        for j in 0..columns {
            let x = if rows <= columns { basis[i][j] } else { basis[j][i] };
            weight[i * columns + j] = x as f32 * gain;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orthogonal_weights_are_orthogonal() {
        for (rows, columns) in [(4, 64), (64, 64), (64, 2)] {
            let mut w = vec![0.0; rows * columns];
            orthogonal(&mut w, rows, columns, 2.0, &mut Rng::new(3));
            let short = rows.min(columns);
            let at = |k: usize, l: usize| {
                if rows <= columns { w[k * columns + l] } else { w[l * columns + k] }
            };
            for a in 0..short {
                for b in 0..short {
                    let dot: f32 = (0..rows.max(columns)).map(|l| at(a, l) * at(b, l)).sum();
                    let expected = if a == b { 4.0 } else { 0.0 };
                    assert!((dot - expected).abs() < 1e-5);
                }
            }
        }
    }
}
