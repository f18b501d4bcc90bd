//! Optimizers on flat parameters, with clipping by the global gradient norm fused in.

use serde::{Deserialize, Serialize};

use crate::kernels::{self, AdamStep, instruction_set};

/// Which optimizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// Adam (Kingma & Ba 2015), betas 0.9 and 0.999.
    #[default]
    Adam,
    /// `RMSprop` (Tieleman & Hinton 2012) as `PyTorch` has it, decay 0.99; the classic choice for A2C.
    RmsProp,
}

/// An optimizer and its moments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Optimizer {
    kind: OptimizerKind,
    epsilon: f32,
    steps: u32,
    /// First moments (Adam only).
    mean: Vec<f32>,
    /// Second moments.
    square: Vec<f32>,
}

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const RMS_DECAY: f32 = 0.99;

impl Optimizer {
    /// Moments at zero for `num_params` parameters.
    pub fn new(kind: OptimizerKind, epsilon: f32, num_params: usize) -> Self {
        let mean = if kind == OptimizerKind::Adam { vec![0.0; num_params] } else { Vec::new() };
        Self { kind, epsilon, steps: 0, mean, square: vec![0.0; num_params] }
    }

    /// Steps taken.
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// One step on `params`. The gradient is scaled down to a norm of at most `max_grad_norm` first, and
    /// **cleared** after. Returns the norm it had. A gradient that is not finite changes nothing:
    /// the norm returned says so.
    pub fn step(
        &mut self,
        params: &mut [f32],
        grad: &mut [f32],
        learning_rate: f32,
        max_grad_norm: Option<f32>,
    ) -> f32 {
        let isa = instruction_set();
        let norm = kernels::squared_norm(isa, grad).sqrt();
        if !norm.is_finite() {
            grad.fill(0.0);
            return norm;
        }
        let scale = max_grad_norm.map_or(1.0, |max| (max / (norm + 1e-6)).min(1.0));
        self.steps += 1;
        match self.kind {
            OptimizerKind::Adam => {
                let t = self.steps as i32;
                let step = AdamStep {
                    beta1: BETA1,
                    beta2: BETA2,
                    rate: (f64::from(learning_rate) / (1.0 - f64::from(BETA1).powi(t))) as f32,
                    root: (1.0 / (1.0 - f64::from(BETA2).powi(t)).sqrt()) as f32,
                    epsilon: self.epsilon,
                    scale,
                    keep: 1.0,
                };
                kernels::adam_update(isa, step, params, grad, &mut self.mean, &mut self.square);
            }
            OptimizerKind::RmsProp => {
                for ((p, g), square) in params.iter_mut().zip(grad.iter_mut()).zip(&mut self.square)
                {
                    let scaled = *g * scale;
                    *square = RMS_DECAY * *square + (1.0 - RMS_DECAY) * scaled * scaled;
                    *p -= learning_rate * scaled / (square.sqrt() + self.epsilon);
                    *g = 0.0;
                }
            }
        }
        norm
    }
}

/// Moves a target network's parameters a share `tau` of the way to the trained ones, `target = (1 - tau)
/// target + tau online` (Polyak averaging; Lillicrap et al. 2016, algorithm 1). With 1 it copies.
///
/// # Panics
/// If the two differ in length.
pub fn polyak(target: &mut [f32], online: &[f32], tau: f32) {
    assert_eq!(target.len(), online.len(), "a target network has the shape of the trained one");
    kernels::mix(instruction_set(), target, online, tau);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_moves_to_the_trained_network() {
        // 17 numbers: one more than a vector.
        let (mut target, online) = ([1.0; 17], [3.0; 17]);
        polyak(&mut target, &online, 0.25);
        assert_eq!(target, [1.5; 17]);
        polyak(&mut target, &online, 1.0);
        assert_eq!(target, online);
    }

    /// Moments from the smallest to the largest, against f64.
    #[test]
    fn adam_at_every_magnitude() {
        for exponent in -20..=15 {
            let gradient = -1.7 * 10f64.powi(exponent);
            let mut adam = Optimizer::new(OptimizerKind::Adam, 1e-8, 20);
            let (mut params, mut grad) = ([0.0; 20], [gradient as f32; 20]);
            adam.step(&mut params, &mut grad, 0.5, None);
            // Below a square of about 1e-38 a root is zero.
            let square = (0.001 * gradient * gradient) as f32;
            let root = f64::from(square).sqrt() / 0.001f64.sqrt();
            let expected = -0.5 * gradient / (root + 1e-8);
            let error = (f64::from(params[0]) - expected).abs();
            assert!(error < 1e-5 * expected.abs() + 1e-15, "{gradient}: {} {expected}", params[0]);
            assert_eq!(params, [params[0]; 20]);
        }
    }

    /// Kingma & Ba's first two steps by hand, for gradients 1 then -2 and learning rate 0.1.
    #[test]
    fn adam_by_hand() {
        let mut adam = Optimizer::new(OptimizerKind::Adam, 1e-8, 1);
        let mut params = [1.0];
        adam.step(&mut params, &mut [1.0], 0.1, None);
        assert!((params[0] - 0.9).abs() < 1e-6);
        adam.step(&mut params, &mut [-2.0], 0.1, None);
        // m = .09 - .2 = -.11, /(1-.81) = -.578947; v = .000999 + .004 = .004999, /(1-.998001) = 2.50075
        let expected = 0.9 + 0.1 * 0.578_947_4 / 2.500_75f32.sqrt();
        assert!((params[0] - expected).abs() < 1e-5, "{} is not {expected}", params[0]);
    }

    /// With an epsilon that shows where it is added: to the root of the corrected moment.
    #[test]
    fn adam_epsilon_by_hand() {
        let mut adam = Optimizer::new(OptimizerKind::Adam, 0.5, 1);
        let mut params = [1.0];
        adam.step(&mut params, &mut [2.0], 0.1, None);
        assert!((params[0] - (1.0 - 0.1 * 2.0 / (2.0 + 0.5))).abs() < 1e-6, "{}", params[0]);
    }

    /// PyTorch's first step: square 0.01 · 4, root 0.2, parameter 1 - 0.1 · 2 / (0.2 + 0.5).
    #[test]
    fn rms_prop_by_hand() {
        let mut rms = Optimizer::new(OptimizerKind::RmsProp, 0.5, 1);
        let mut params = [1.0];
        rms.step(&mut params, &mut [2.0], 0.1, None);
        assert!((params[0] - (1.0 - 0.1 * 2.0 / 0.7)).abs() < 1e-6, "{}", params[0]);
    }

    #[test]
    fn clipping_is_by_the_global_norm() {
        let mut rms = Optimizer::new(OptimizerKind::RmsProp, 0.0, 2);
        let mut grad = [3.0, 4.0];
        let norm = rms.step(&mut [0.0, 0.0], &mut grad, 0.1, Some(1.0));
        assert_eq!((norm, grad), (5.0, [0.0, 0.0]));
        let expected = [0.01 * 0.36, 0.01 * 0.64];
        for (square, expected) in rms.square.iter().zip(expected) {
            assert!((square - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let mut adam = Optimizer::new(OptimizerKind::Adam, 1e-8, 2);
        let mut params = [1.0, 2.0];
        assert!(adam.step(&mut params, &mut [f32::NAN, 0.0], 0.1, Some(0.5)).is_nan());
        assert_eq!((params, adam.steps()), ([1.0, 2.0], 0));
    }
}
