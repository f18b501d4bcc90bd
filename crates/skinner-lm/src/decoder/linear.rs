//! `y = W x + b`, with adapters beside W where there are any.

use skinner_core::SeedSequence;
use skinner_nn::matrix::{Cpu, Operand, add_scaled};

use super::Segment;
use super::layout::{Linear, Part};
use super::lora::{Adapter, drop_inputs};
use super::params::Params;

/// What a decoder computes with: its weights, and the adapters beside them.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    /// The weights.
    pub params: Params<'a>,
    /// Adapters, if any.
    pub adapter: Option<Adapter<'a>>,
}

/// Dropout in training: the segments of the batch, and a seed for each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropout<'a> {
    pub segments: &'a [Segment],
    pub seeds: &'a [SeedSequence],
}

/// Where gradients are added: the weights', or the adapters'.
#[derive(Debug)]
pub enum Gradient<'a> {
    /// All weights, as [`super::Layout`] has them.
    Full(&'a mut [f32]),
    /// Adapters alone, as [`super::LoraLayout`] has them.
    Adapter(&'a mut [f32]),
}

/// Adds `bias` to every row.
fn add_bias(cpu: &mut Cpu, y: &mut [f32], bias: &[f32]) {
    cpu.team.for_chunks(y, bias.len() * 16, |_, rows| {
        rows.chunks_mut(bias.len()).for_each(|row| add_scaled(row, 1.0, bias));
    });
}

/// Adds the sum of the rows of `d` to `sum`, one row after the other.
pub(crate) fn add_rows(cpu: &mut Cpu, sum: &mut [f32], d: &[f32]) {
    let width = sum.len();
    cpu.team.for_chunks(sum, 64, |i, part| {
        let from = i * 64;
        for row in d.chunks(width) {
            add_scaled(part, 1.0, &row[from..from + part.len()]);
        }
    });
}

impl Linear {
    fn weight_range(&self) -> std::ops::Range<usize> {
        self.weight..self.weight + self.inputs * self.outputs
    }

    /// The inputs that a part's adapter sees: some dropped in training.
    fn adapter_inputs<'x>(
        &self,
        x: &'x [f32],
        part: &Part,
        rate: f32,
        dropout: Option<Dropout<'_>>,
    ) -> std::borrow::Cow<'x, [f32]> {
        match dropout {
            Some(Dropout { segments, seeds }) if rate > 0.0 => {
                let mut dropped = x.to_vec();
                drop_inputs(&mut dropped, self.inputs, segments, seeds, part.id, rate);
                dropped.into()
            }
            _ => x.into(),
        }
    }

    /// `y = W x + b` for all rows of `x`.
    pub fn forward(
        &self,
        cpu: &mut Cpu,
        model: &Model<'_>,
        x: &[f32],
        y: &mut Vec<f32>,
        dropout: Option<Dropout<'_>>,
    ) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let tokens = x.len() / inputs;
        y.resize(tokens * outputs, 0.0);
        let weight = Operand::of(model.params.matrix(self.weight_range()), inputs).flipped();
        let sizes = [tokens, outputs, inputs];
        cpu.product(sizes, Operand::rows(x, inputs), weight, y, outputs, false);
        if let Some(bias) = self.bias {
            add_bias(cpu, y, model.params.vector(bias, outputs));
        }
        let Some(adapter) = model.adapter else { return };
        for part in &self.parts {
            let Some([a, b]) = adapter.of(part.id, inputs, part.len) else { continue };
            let rank = adapter.layout.rank();
            let x = self.adapter_inputs(x, part, adapter.dropout(), dropout);
            let mut low = vec![0.0; tokens * rank];
            let a = Operand::rows(a, inputs).flipped();
            cpu.product(
                [tokens, rank, inputs],
                Operand::rows(&x, inputs),
                a,
                &mut low,
                rank,
                false,
            );
            low.iter_mut().for_each(|u| *u *= adapter.layout.scale());
            let b = Operand::rows(b, rank).flipped();
            let sizes = [tokens, part.len, rank];
            cpu.product(sizes, Operand::rows(&low, rank), b, &mut y[part.from..], outputs, true);
        }
    }

    /// From the gradient `d_y` in the outputs: adds those in the weights, and writes that in `x`.
    pub fn backward(
        &self,
        cpu: &mut Cpu,
        model: &Model<'_>,
        x: &[f32],
        d_y: &[f32],
        d_x: &mut Vec<f32>,
        grad: &mut Gradient<'_>,
        dropout: Option<Dropout<'_>>,
    ) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let tokens = x.len() / inputs;
        if let Gradient::Full(grad) = grad {
            let d_w = &mut grad[self.weight_range()];
            let d = Operand::rows(d_y, outputs).flipped();
            let sizes = [outputs, inputs, tokens];
            cpu.product(sizes, d, Operand::rows(x, inputs), d_w, inputs, true);
            if let Some(bias) = self.bias {
                add_rows(cpu, &mut grad[bias..bias + outputs], d_y);
            }
        }
        d_x.resize(tokens * inputs, 0.0);
        let weight = Operand::of(model.params.matrix(self.weight_range()), inputs);
        let sizes = [tokens, inputs, outputs];
        cpu.product(sizes, Operand::rows(d_y, outputs), weight, d_x, inputs, false);
        let (Some(adapter), Gradient::Adapter(grad)) = (model.adapter, grad) else { return };
        for part in &self.parts {
            self.adapter_backward(cpu, adapter, part, x, d_y, d_x, grad, dropout);
        }
    }

    fn adapter_backward(
        &self,
        cpu: &mut Cpu,
        adapter: Adapter<'_>,
        part: &Part,
        x: &[f32],
        d_y: &[f32],
        d_x: &mut [f32],
        grad: &mut [f32],
        dropout: Option<Dropout<'_>>,
    ) {
        let (inputs, outputs, rank) = (self.inputs, self.outputs, adapter.layout.rank());
        let tokens = x.len() / inputs;
        let Some([a, b]) = adapter.of(part.id, inputs, part.len) else { return };
        let Some((a_at, b_at)) = adapter.places(part.id) else { return };
        let scale = adapter.layout.scale();
        let seen = self.adapter_inputs(x, part, adapter.dropout(), dropout);
        let mut low = vec![0.0; tokens * rank];
        let sizes = [tokens, rank, inputs];
        let to_low = Operand::rows(a, inputs).flipped();
        cpu.product(sizes, Operand::rows(&seen, inputs), to_low, &mut low, rank, false);
        low.iter_mut().for_each(|u| *u *= scale);
        let d = Operand::rows(&d_y[part.from..], outputs);
        let d_b = &mut grad[b_at..b_at + part.len * rank];
        let sizes = [part.len, rank, tokens];
        cpu.product(sizes, d.flipped(), Operand::rows(&low, rank), d_b, rank, true);
        let mut d_low = low;
        let sizes = [tokens, rank, part.len];
        cpu.product(sizes, d, Operand::rows(b, rank), &mut d_low, rank, false);
        d_low.iter_mut().for_each(|u| *u *= scale);
        let d_a = &mut grad[a_at..a_at + rank * inputs];
        let low = Operand::rows(&d_low, rank);
        let sizes = [rank, inputs, tokens];
        cpu.product(sizes, low.flipped(), Operand::rows(&seen, inputs), d_a, inputs, true);
        let sizes = [tokens, inputs, rank];
        let a = Operand::rows(a, inputs);
        match dropout {
            Some(Dropout { segments, seeds }) if adapter.dropout() > 0.0 => {
                let mut d_seen = vec![0.0; tokens * inputs];
                cpu.product(sizes, low, a, &mut d_seen, inputs, false);
                let rate = adapter.dropout();
                drop_inputs(&mut d_seen, inputs, segments, seeds, part.id, rate);
                add_scaled(d_x, 1.0, &d_seen);
            }
            _ => cpu.product(sizes, low, a, d_x, inputs, true),
        }
    }
}
