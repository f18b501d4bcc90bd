//! `cargo bench -p skinner-nn --bench mlp [NAME]`: passes of small networks in GFLOP/s, and what goes over flat
//! parameters in microseconds. Medians of many short runs on one thread.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use std::time::Instant;

use skinner_core::Rng;
use skinner_nn::{Activation, Mlp, MlpTape, Network, Optimizer, OptimizerKind, polyak};

/// Layers, batch, activation.
const SHAPES: [(&[usize], usize, Activation); 8] = [
    (&[4, 256, 256, 2], 64, Activation::Relu),
    (&[4, 256, 256, 2], 8, Activation::Relu),
    (&[4, 256, 256, 2], 1, Activation::Relu),
    (&[4, 256, 256, 1], 256, Activation::Relu),
    (&[8, 400, 300, 4], 128, Activation::Relu),
    (&[4, 64, 64, 2], 256, Activation::Tanh),
    (&[4, 64, 64, 2], 8, Activation::Tanh),
    (&[3, 64, 64, 1], 64, Activation::Relu),
];

fn main() {
    let named = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let peak = skinner_nn::multiply_add_peak();
    println!("multiply-add peak of one thread: {:.0} GFLOP/s", peak / 1e9);
    for (sizes, batch, activation) in SHAPES {
        let name = format!("{sizes:?} batch {batch}");
        if named.as_ref().is_some_and(|named| !name.contains(&named[..])) {
            continue;
        }
        let mut case = Case::new(sizes, batch, activation);
        let products: usize = sizes.windows(2).map(|pair| 2 * batch * pair[0] * pair[1]).sum();
        // Back from each layer to its weights, and from all but the first to its input.
        let first = 2 * batch * sizes[0] * sizes[1];
        let report = |what: &str, operations: usize, seconds: f64| {
            let rate = operations as f64 / seconds;
            println!(
                "{name} {what}: {:.1} us, {:.0} GFLOP/s, {:.0} % of the peak",
                seconds * 1e6,
                rate / 1e9,
                100.0 * rate / peak
            );
        };
        report("forward", products, median(|| case.forward()));
        report("backward", 2 * products - first, median(|| case.backward(false)));
        report("backward with the input", 2 * products, median(|| case.backward(true)));
        report("to the input alone", products, median(|| case.through()));
        println!("{name} adam, and a copy of the gradient: {:.1} us", median(|| case.step()) * 1e6);
        println!("{name} polyak: {:.1} us", median(|| case.follow()) * 1e6);
    }
}

struct Case {
    net: Mlp,
    params: Vec<f32>,
    target: Vec<f32>,
    grad: Vec<f32>,
    gradient: Vec<f32>,
    input: Vec<f32>,
    d_input: Vec<f32>,
    d_output: Vec<f32>,
    tape: MlpTape,
    adam: Optimizer,
}

impl Case {
    fn new(sizes: &[usize], batch: usize, activation: Activation) -> Self {
        let mut rng = Rng::new(1);
        let net = Mlp::new(sizes, activation, Activation::Identity);
        let mut params = vec![0.0; net.num_params()];
        net.init_uniform(&mut params, &mut rng);
        let mut random = |n: usize| (0..n).map(|_| rng.normal() as f32).collect::<Vec<f32>>();
        Self {
            grad: vec![0.0; params.len()],
            gradient: random(params.len()),
            target: params.clone(),
            input: random(batch * sizes[0]),
            d_input: vec![0.0; batch * sizes[0]],
            d_output: random(batch * sizes[sizes.len() - 1]),
            tape: MlpTape::default(),
            adam: Optimizer::new(OptimizerKind::Adam, 1e-8, params.len()),
            net,
            params,
        }
    }

    fn forward(&mut self) {
        self.net.forward(&self.params, &self.input, &mut self.tape);
    }

    fn backward(&mut self, with_input: bool) {
        let Self { net, params, grad, input, d_input, d_output, tape, .. } = self;
        let d_input = with_input.then_some(&mut d_input[..]);
        net.backward(params, input, tape, &[d_output], grad, d_input);
    }

    fn through(&mut self) {
        let Self { net, params, input, d_input, d_output, tape, .. } = self;
        net.backward_to_input(params, input, tape, d_output, d_input);
    }

    fn follow(&mut self) {
        polyak(&mut self.target, &self.params, 0.005);
    }

    fn step(&mut self) {
        // A gradient of zeros would let the moments fall to where numbers are slow.
        self.grad.copy_from_slice(&self.gradient);
        self.adam.step(&mut self.params, &mut self.grad, 1e-9, None);
    }
}

/// Seconds of one call: the median of runs of about a millisecond each.
fn median(mut call: impl FnMut()) -> f64 {
    let began = Instant::now();
    let mut calls = 0;
    while calls < 3 || began.elapsed().as_secs_f64() < 1e-3 {
        call();
        calls += 1;
    }
    let mut seconds: Vec<f64> = (0..101)
        .map(|_| {
            let began = Instant::now();
            (0..calls).for_each(|_| call());
            began.elapsed().as_secs_f64() / f64::from(calls)
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[50]
}
