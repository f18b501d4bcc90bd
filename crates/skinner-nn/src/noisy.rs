//! Noisy layers (Fortunato et al. 2018, *Noisy Networks for Exploration*) as a function of flat parameters.
//!
//! A noisy layer's weight is `μ + σ ⊙ ε`. All of its parameters are `[μ, σ]` one after the other, so any network on flat
//! parameters becomes a noisy one: it is given [`Noisy::effective`] parameters, and its gradient is carried back by
//! [`Noisy::backward`].

use std::ops::Range;

use skinner_core::Rng;

use crate::mlp::LayerPlace;

/// Which of a network's parameters are noisy.
#[derive(Clone, Debug)]
pub struct Noisy {
    num_params: usize,
    layers: Vec<LayerPlace>,
}

impl Noisy {
    /// Noise on these layers of a network with `num_params` parameters.
    pub fn new(num_params: usize, layers: Vec<LayerPlace>) -> Self {
        Self { num_params, layers }
    }

    /// Length of `[μ, σ]`.
    pub fn num_params(&self) -> usize {
        2 * self.num_params
    }

    /// Where σ is.
    pub fn sigma(&self) -> Range<usize> {
        self.num_params..2 * self.num_params
    }

    /// Sets σ to `sigma_0 / √inputs` on the noisy layers and to 0 elsewhere (section 3.2, factorised noise).
    pub fn init_sigma(&self, params: &mut [f32], sigma_0: f32) {
        let sigma = &mut params[self.sigma()];
        sigma.fill(0.0);
        for layer in &self.layers {
            let initial = sigma_0 / (layer.inputs as f32).sqrt();
            sigma[layer.weight.clone()].fill(initial);
            sigma[layer.bias.clone()].fill(initial);
        }
    }

    /// Draws `ε` `[num_params]`: for a weight from input `i` to output `j` it is `f(ε_i) f(ε_j)`, for a bias `f(ε_j)`, with
    /// `f(x) = sign(x) √|x|` of standard normals (eqs. 10 and 11); 0 on layers without noise.
    pub fn sample(&self, noise: &mut Vec<f32>, rng: &mut Rng) {
        noise.clear();
        noise.resize(self.num_params, 0.0);
        for layer in &self.layers {
            let mut draw =
                |n: usize| -> Vec<f32> { (0..n).map(|_| scaled(rng.normal())).collect() };
            let (from, to) = (draw(layer.inputs), draw(layer.outputs));
            let weight = &mut noise[layer.weight.clone()];
            for (row, x) in weight.chunks_exact_mut(layer.outputs).zip(from) {
                row.iter_mut().zip(&to).for_each(|(w, y)| *w = x * y);
            }
            noise[layer.bias.clone()].copy_from_slice(&to);
        }
    }

    /// Writes `μ + σ ⊙ ε` to `out`.
    pub fn effective(&self, params: &[f32], noise: &[f32], out: &mut Vec<f32>) {
        let (mu, sigma) = params.split_at(self.num_params);
        out.clear();
        out.extend(mu.iter().zip(sigma).zip(noise).map(|((mu, sigma), noise)| mu + sigma * noise));
    }

    /// Writes the gradient in `[μ, σ]` from that in the effective parameters, which is cleared: the same in μ, times ε in
    /// σ.
    pub fn backward(&self, d_effective: &mut [f32], noise: &[f32], d_params: &mut [f32]) {
        let (d_mu, d_sigma) = d_params.split_at_mut(self.num_params);
        for (i, d) in d_effective.iter_mut().enumerate() {
            d_mu[i] = *d;
            d_sigma[i] = *d * noise[i];
            *d = 0.0;
        }
    }
}

fn scaled(x: f64) -> f32 {
    (x.signum() * x.abs().sqrt()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer() -> LayerPlace {
        LayerPlace { inputs: 2, outputs: 3, weight: 4..10, bias: 10..13 }
    }

    #[test]
    fn noise_is_a_product_of_inputs_and_outputs() {
        let noisy = Noisy::new(14, vec![layer()]);
        let mut noise = Vec::new();
        noisy.sample(&mut noise, &mut Rng::new(1));
        assert!(noise[..4].iter().chain(&noise[13..]).all(|&x| x == 0.0));
        // The factor of an input is the same for every output.
        for j in 0..3 {
            let input = [noise[4 + j] / noise[10 + j], noise[7 + j] / noise[10 + j]];
            for (i, x) in input.into_iter().enumerate() {
                let first = noise[4 + 3 * i] / noise[10];
                assert!((x - first).abs() < 1e-5, "{noise:?}");
            }
        }
        // E[f(x)²] = E|x| = √(2/π).
        let (mut sum, mut rng) = (0.0, Rng::new(2));
        for _ in 0..20_000 {
            noisy.sample(&mut noise, &mut rng);
            sum += noise[10..13].iter().map(|x| x * x).sum::<f32>() / 60_000.0;
        }
        assert!((sum - (2.0 / std::f32::consts::PI).sqrt()).abs() < 0.01, "{sum}");
    }

    #[test]
    fn forward_and_backward_by_hand() {
        let noisy = Noisy::new(2, Vec::new());
        let (params, noise) = ([1.0, 2.0, 0.5, 0.25], [2.0, -4.0]);
        let mut effective = Vec::new();
        noisy.effective(&params, &noise, &mut effective);
        assert_eq!(effective, [2.0, 1.0]);
        let (mut d, mut d_params) = ([3.0, -1.0], [0.0; 4]);
        noisy.backward(&mut d, &noise, &mut d_params);
        assert_eq!((d, d_params), ([0.0; 2], [3.0, -1.0, 6.0, 4.0]));
    }

    #[test]
    fn initial_sigma_by_hand() {
        let noisy = Noisy::new(14, vec![layer()]);
        let mut params = vec![7.0; 28];
        noisy.init_sigma(&mut params, 0.5);
        assert_eq!(params[..14], [7.0; 14]);
        let expected = 0.5 / 2.0f32.sqrt();
        assert!(params[18..27].iter().all(|&x| x == expected));
        assert!(params[14..18].iter().chain(&params[27..]).all(|&x| x == 0.0));
    }
}
