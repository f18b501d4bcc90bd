//! Every network's gradients against central differences.

use skinner_core::Rng;
use skinner_nn::{
    Activation, ActorCritic, ActorCriticShape, Mlp, MlpTape, Network, available_instruction_sets,
};

/// The loss is a fixed random weighting of all outputs. Central differences of an f32 network carry noise of
/// about 1e-3, so the bound is on the angle and length of the whole gradient.
fn check<N: Network>(network: &N, inputs: usize, outputs: &[usize]) {
    let (batch, mut rng) = (5, Rng::new(11));
    let mut random = |n: usize, scale: f32| -> Vec<f32> {
        (0..n).map(|_| rng.normal() as f32 * scale).collect()
    };
    let params = random(network.num_params(), 0.4);
    let input = random(batch * inputs, 1.0);
    let weights: Vec<Vec<f32>> = outputs.iter().map(|n| random(batch * n, 1.0)).collect();
    let d_outputs: Vec<&[f32]> = weights.iter().map(Vec::as_slice).collect();
    let loss = |params: &[f32], input: &[f32]| -> f64 {
        let mut tape = N::Tape::default();
        network.forward(params, input, &mut tape);
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        weights.iter().enumerate().map(|(i, w)| dot(network.output(&tape, i), w)).sum()
    };
    let mut tape = N::Tape::default();
    network.forward(&params, &input, &mut tape);
    let mut d_params = vec![0.0; params.len()];
    let mut d_input = vec![0.0; input.len()];
    network.backward(&params, &input, &mut tape, &d_outputs, &mut d_params, Some(&mut d_input));
    agree(&params, &d_params, |p| loss(p, &input));
    agree(&input, &d_input, |x| loss(&params, x));
    // A second call adds.
    let once = d_params.clone();
    network.backward(&params, &input, &mut tape, &d_outputs, &mut d_params, None);
    assert!(d_params.iter().zip(&once).all(|(two, one)| (two - 2.0 * one).abs() < 1e-4));
}

fn agree(x: &[f32], gradient: &[f32], loss: impl Fn(&[f32]) -> f64) {
    let step = 4e-3;
    let mut moved = x.to_vec();
    for i in 0..x.len() {
        moved[i] = x[i] + step;
        let above = loss(&moved);
        moved[i] = x[i] - step;
        let below = loss(&moved);
        moved[i] = x[i];
        let numeric = (above - below) / f64::from(2.0 * step);
        let error = (f64::from(gradient[i]) - numeric).abs();
        assert!(error < 2e-3 * (1.0 + numeric.abs()), "{i}: {} against {numeric}", gradient[i]);
    }
}

/// The gradient in the input is the same bits with and without that in the parameters.
#[test]
fn through_a_frozen_network() {
    for isa in available_instruction_sets() {
        let net = Mlp::new(&[5, 130, 40, 1], Activation::Relu, Activation::Identity);
        let (net, mut rng) = (net.with_instruction_set(isa), Rng::new(3));
        let mut random = |n: usize| (0..n).map(|_| rng.normal() as f32).collect::<Vec<f32>>();
        let (params, input, d) = (random(net.num_params()), random(5 * 70), random(70));
        let (mut tape, mut d_params) = (MlpTape::default(), vec![0.0; net.num_params()]);
        let (mut with, mut without) = (vec![0.0; input.len()], vec![0.0; input.len()]);
        net.forward(&params, &input, &mut tape);
        net.backward_to_input(&params, &input, &mut tape, &d, &mut without);
        net.backward(&params, &input, &mut tape, &[&d], &mut d_params, Some(&mut with));
        assert_eq!(with, without);
        assert!(with.iter().any(|&d| d != 0.0));
    }
}

#[test]
fn mlp() {
    for isa in available_instruction_sets() {
        for sizes in [&[3, 5, 2][..], &[4, 20, 17, 1], &[7, 33], &[2, 9, 9, 9]] {
            let mlp = Mlp::new(sizes, Activation::Tanh, Activation::Identity);
            check(&mlp.with_instruction_set(isa), sizes[0], &sizes[sizes.len() - 1..]);
        }
        let relu = Mlp::new(&[3, 16, 2], Activation::Relu, Activation::Identity);
        check(&relu.with_instruction_set(isa), 3, &[2]);
        let squashed = Mlp::new(&[3, 8, 2], Activation::Tanh, Activation::Tanh);
        check(&squashed.with_instruction_set(isa), 3, &[2]);
    }
}

#[test]
fn actor_critic_separate_and_shared() {
    for shared in [false, true] {
        let shape = ActorCriticShape {
            inputs: 4,
            head: 3,
            hidden: vec![10, 6],
            activation: Activation::Tanh,
            shared,
            critic: true,
            extra: 0,
        };
        check(&ActorCritic::new(&shape), 4, &[3, 1]);
    }
}
