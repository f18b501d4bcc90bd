//! Adam with decoupled weight decay for large flat arrays, on all threads.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::kernels::{self, AdamStep, instruction_set};
use crate::team::Team;

/// `AdamW`'s numbers that do not change.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Decay of the mean of gradients.
    pub beta1: f32,
    /// Decay of the mean of squared gradients.
    pub beta2: f32,
    /// Added to the root of the latter.
    pub epsilon: f32,
    /// Share of a parameter that is taken off a step, times the learning rate.
    pub weight_decay: f32,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// Adam whose weight decay does not pass through the moments (Loshchilov & Hutter 2019, algorithm 2).
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW {
    /// The numbers that do not change.
    pub config: AdamWConfig,
    /// Steps taken.
    pub steps: u32,
    /// Means of gradients.
    pub mean: Vec<f32>,
    /// Means of squared gradients.
    pub square: Vec<f32>,
}

/// Elements of a job. Norms are added up by jobs, so it is part of the result.
const JOB: usize = 1 << 16;

impl AdamW {
    /// Moments at zero for `num_params` parameters.
    pub fn new(config: AdamWConfig, num_params: usize) -> Self {
        // Zeros that are written now: pages that a first step reads before it writes them cost it seconds.
        let zeros = || std::iter::repeat_n(0.0, num_params).collect();
        Self { config, steps: 0, mean: zeros(), square: zeros() }
    }

    /// One step on the ranges given (the second says whether weight decay applies). The gradient is scaled
    /// down to a norm of at most `max_grad_norm` first, and **cleared** after. Returns the norm it had.
    /// A gradient that is not finite changes nothing: the norm returned says so.
    ///
    /// # Panics
    /// If the arrays differ in length, or the ranges do not cover them in order.
    pub fn step(
        &mut self,
        team: &mut Team,
        params: &mut [f32],
        grad: &mut [f32],
        tensors: impl Iterator<Item = (Range<usize>, bool)>,
        learning_rate: f32,
        max_grad_norm: Option<f32>,
    ) -> f64 {
        assert!(params.len() == self.mean.len() && grad.len() == self.mean.len());
        let isa = instruction_set();
        let norm = gradient_norm(team, grad);
        if !norm.is_finite() {
            grad.fill(0.0);
            return norm;
        }
        self.steps += 1;
        let t = self.steps as i32;
        let AdamWConfig { beta1, beta2, epsilon, weight_decay } = self.config;
        let scale = max_grad_norm.map_or(1.0, |max| (f64::from(max) / (norm + 1e-6)).min(1.0));
        let step = AdamStep {
            beta1,
            beta2,
            rate: (f64::from(learning_rate) / (1.0 - f64::from(beta1).powi(t))) as f32,
            root: (1.0 / (1.0 - f64::from(beta2).powi(t)).sqrt()) as f32,
            epsilon,
            scale: scale as f32,
            keep: 1.0,
        };
        let decayed = AdamStep { keep: 1.0 - learning_rate * weight_decay, ..step };
        let mut jobs = Vec::new();
        let (mut p, mut g) = (params, grad);
        let (mut m, mut v) = (&mut self.mean[..], &mut self.square[..]);
        let mut done = 0;
        for (range, decays) in tensors {
            assert_eq!(range.start, done, "ranges cover the parameters in order");
            while done < range.end {
                let len = JOB.min(range.end - done);
                let (params, gradient, means, squares);
                (params, p) = p.split_at_mut(len);
                (gradient, g) = g.split_at_mut(len);
                (means, m) = m.split_at_mut(len);
                (squares, v) = v.split_at_mut(len);
                let step = if decays { decayed } else { step };
                jobs.push((params, gradient, means, squares, step));
                done += len;
            }
        }
        assert!(p.is_empty(), "ranges cover the parameters in order");
        team.for_each(&mut jobs, |(p, g, m, v, step)| {
            kernels::adam_update(isa, *step, p, g, m, v);
        });
        norm
    }
}

/// The norm of a flat gradient, the same for any number of threads.
pub fn gradient_norm(team: &mut Team, grad: &[f32]) -> f64 {
    let isa = instruction_set();
    let mut sums = vec![0.0f32; grad.len().div_ceil(JOB)];
    team.for_chunks(&mut sums, 1, |i, sum| {
        let part = &grad[i * JOB..((i + 1) * JOB).min(grad.len())];
        sum[0] = kernels::squared_norm(isa, part);
    });
    sums.iter().map(|&sum| f64::from(sum)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loshchilov & Hutter's algorithm in f64.
    #[test]
    fn steps_by_hand_for_any_number_of_threads() {
        let config = AdamWConfig { weight_decay: 0.1, ..AdamWConfig::default() };
        let n = 3 * JOB / 2;
        let gradient = |i: usize, t: i32| ((i % 7) as f32 - 3.0) * 0.1 * t as f32;
        let mut results = Vec::new();
        for threads in [1, 2] {
            let mut team = Team::new(threads);
            let mut adam = AdamW::new(config, n);
            let mut params: Vec<f32> = (0..n).map(|i| (i % 5) as f32).collect();
            for t in 1..=3 {
                let mut grad: Vec<f32> = (0..n).map(|i| gradient(i, t)).collect();
                let ranges = [(0..10, false), (10..n, true)].into_iter();
                adam.step(&mut team, &mut params, &mut grad, ranges, 0.01, None);
                assert!(grad.iter().all(|&g| g == 0.0));
            }
            results.push(params);
        }
        assert_eq!(results[0], results[1]);
        for i in [0, 4, 9, 10, 11, n - 1] {
            let (mut p, mut m, mut v) = ((i % 5) as f64, 0.0, 0.0);
            for t in 1..=3 {
                let g = f64::from(gradient(i, t));
                p *= if i < 10 { 1.0 } else { 1.0 - 0.01 * 0.1 };
                m = 0.9 * m + 0.1 * g;
                v = 0.999 * v + 0.001 * g * g;
                let (m, v) = (m / (1.0 - 0.9f64.powi(t)), v / (1.0 - 0.999f64.powi(t)));
                p -= 0.01 * m / (v.sqrt() + 1e-8);
            }
            assert!((f64::from(results[0][i]) - p).abs() < 1e-5, "{i}");
        }
    }

    #[test]
    fn clipping_and_gradients_that_are_not_finite() {
        let mut team = Team::new(2);
        let mut adam = AdamW::new(AdamWConfig::default(), 2);
        let mut params = [1.0, 1.0];
        let tensors = || std::iter::once((0..2, true));
        let norm = adam.step(&mut team, &mut params, &mut [3.0, 4.0], tensors(), 0.1, Some(1.0));
        assert_eq!(norm, 5.0);
        assert!((adam.mean[0] - 0.06).abs() < 1e-6);
        let before = (params, adam.clone());
        let bad = [f32::NAN, 0.0];
        assert!(adam.step(&mut team, &mut params, &mut bad.clone(), tensors(), 0.1, None).is_nan());
        assert_eq!((params, adam), before);
    }
}
