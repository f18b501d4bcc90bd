//! Weights, moments and gradients of a model in training, on a device.

use std::sync::OnceLock;

use burn_tensor::Tensor;
use skinner_nn::AdamWConfig;

use super::TensorDevice;
use super::arrays::{Arrays, PartAt, parts_of, parts_of_adapter};
use super::batch::Placed;
use super::generate::TensorEngine;
use super::head::TensorHead;
use super::net::Net;
use crate::decoder::{Batch, Decoder, Keep, LoraLayout, Target};
use crate::error::LmError;
use crate::train::TrainConfig;

/// What the host knows of what is trained, until the next step.
#[derive(Debug, Default)]
struct Host {
    values: OnceLock<Vec<f32>>,
    moments: OnceLock<[Vec<f32>; 2]>,
    /// Whether it was written to: then the device must hear of it.
    written: bool,
}

/// The device's part of [`crate::train::Learner`]: steps are taken with no weight leaving the device.
#[derive(Debug)]
pub(crate) struct TensorLearner {
    device: TensorDevice,
    /// Places of what is trained.
    parts: Vec<PartAt>,
    /// The weights that do not change, below an adapter.
    fixed: Option<Arrays>,
    trained: Arrays,
    gradient: Arrays,
    mean: Arrays,
    square: Arrays,
    config: AdamWConfig,
    pub steps: u32,
    host: Host,
    base: OnceLock<Vec<f32>>,
    half: bool,
    keep: Keep,
}

impl TensorLearner {
    /// `adapter` is what is trained, if it is.
    ///
    /// # Errors
    /// A precision that the device does not have.
    pub fn new(
        device: TensorDevice,
        config: &TrainConfig,
        decoder: &Decoder,
        params: Vec<f32>,
        adapter: Option<(&LoraLayout, Vec<f32>)>,
    ) -> Result<Self, LmError> {
        let half = device.halves(config.precision)?;
        let handle = &device.handle;
        let all = parts_of(decoder.layout());
        let (parts, fixed, values) = match adapter {
            None => (all, None, params),
            Some((layout, values)) => {
                let fixed = Arrays::upload(&all, &params, handle);
                (parts_of_adapter(layout), Some(fixed), values)
            }
        };
        let host = Host::default();
        let trained = Arrays::upload(&parts, &values, handle);
        let _ = host.values.set(values);
        Ok(Self {
            fixed,
            trained,
            gradient: Arrays::default(),
            mean: Arrays::zeros(&parts, handle),
            square: Arrays::zeros(&parts, handle),
            config: config.adamw(),
            steps: 0,
            host,
            base: OnceLock::new(),
            half,
            keep: if config.activation_checkpointing { Keep::Inputs } else { Keep::Everything },
            parts,
            device,
        })
    }

    /// What is trained, brought to the host once a step.
    pub fn values(&self) -> &[f32] {
        self.host.values.get_or_init(|| self.trained.download())
    }

    /// The weights below an adapter, or those in training.
    pub fn params(&self) -> &[f32] {
        match &self.fixed {
            None => self.values(),
            Some(fixed) => self.base.get_or_init(|| fixed.download()),
        }
    }

    /// The means of gradients and of their squares.
    pub fn moments(&self) -> [&[f32]; 2] {
        let download = || [self.mean.download(), self.square.download()];
        let [mean, square] = self.host.moments.get_or_init(download);
        [mean, square]
    }

    /// The same arrays to write to: values, means, squares.
    pub fn host_mut(&mut self) -> Option<[&mut [f32]; 3]> {
        self.values();
        self.moments();
        self.host.written = true;
        let [mean, square] = self.host.moments.get_mut()?;
        Some([self.host.values.get_mut()?, mean, square])
    }

    /// Brings what was written on the host to the device.
    fn settle(&mut self) {
        if !std::mem::take(&mut self.host.written) {
            return;
        }
        let (parts, device) = (&self.parts, &self.device.handle);
        if let Some(values) = self.host.values.get() {
            self.trained = Arrays::upload(parts, values, device);
        }
        if let Some([mean, square]) = self.host.moments.get() {
            self.mean = Arrays::upload(parts, mean, device);
            self.square = Arrays::upload(parts, square, device);
        }
    }

    fn net<'a>(&'a self, decoder: &'a Decoder, lora: Option<&'a LoraLayout>) -> Net<'a> {
        let half = self.half;
        match (&self.fixed, lora) {
            (Some(weights), Some(layout)) => {
                Net { decoder, weights, adapter: Some((layout, &self.trained)), half }
            }
            _ => Net { decoder, weights: &self.trained, adapter: None, half },
        }
    }

    /// Log-probabilities of the targets; `reference` is without the adapter.
    pub fn scores(
        &mut self,
        decoder: &Decoder,
        lora: Option<&LoraLayout>,
        batch: Batch<'_>,
        targets: &[Target],
        reference: bool,
    ) -> Vec<f32> {
        self.settle();
        let mut net = self.net(decoder, lora);
        if reference {
            net.adapter = None;
        }
        let placed = Placed::new(decoder, batch, &self.device.handle);
        let hidden = net.hidden(&placed, &mut |_| {});
        TensorHead::new(net).scores(&hidden, targets).log_prob
    }

    /// Adds a loss' gradient: `d` is given the log-probabilities of all targets and returns the gradients in
    /// them.
    pub fn accumulate(
        &mut self,
        decoder: &Decoder,
        lora: Option<&LoraLayout>,
        batch: Batch<'_>,
        targets: &[Target],
        d: impl FnOnce(&[f32]) -> Vec<f32>,
    ) {
        self.backward(decoder, lora, batch, targets, |head, hidden, gradient| {
            let d = d(&head.scores(hidden, targets).log_prob);
            let of_chunk =
                |first: usize, found: &[f32]| (d[first..first + found.len()].to_vec(), vec![]);
            head.backward(hidden, targets, gradient, of_chunk)
        });
    }

    /// Adds the gradient of `-scale Σ log_prob`, and returns the log-probabilities.
    pub fn accumulate_likelihood(
        &mut self,
        decoder: &Decoder,
        lora: Option<&LoraLayout>,
        batch: Batch<'_>,
        targets: &[Target],
        scale: f32,
    ) -> Vec<f32> {
        self.backward(decoder, lora, batch, targets, |head, hidden, gradient| {
            let of_chunk = |_: usize, found: &[f32]| (vec![-scale; found.len()], vec![]);
            head.backward(hidden, targets, gradient, of_chunk)
        })
    }

    /// Both passes; `through_head` adds the head's gradient and returns what [`TensorHead::backward`] does.
    fn backward(
        &mut self,
        decoder: &Decoder,
        lora: Option<&LoraLayout>,
        batch: Batch<'_>,
        targets: &[Target],
        through_head: impl FnOnce(&TensorHead<'_>, &Tensor<2>, &mut Arrays) -> (Vec<f32>, Tensor<2>),
    ) -> Vec<f32> {
        self.settle();
        let mut gradient = std::mem::take(&mut self.gradient);
        let net = self.net(decoder, lora);
        let placed = Placed::new(decoder, batch, &self.device.handle);
        let tape = net.forward(&placed, self.keep);
        let head = TensorHead::new(net);
        let (scores, d_hidden) = through_head(&head, &tape.hidden, &mut gradient);
        // Without targets nothing flows back.
        if !targets.is_empty() {
            net.backward(tape, &placed, d_hidden, &mut gradient);
        }
        self.gradient = gradient;
        scores
    }

    /// One step of `AdamW` as [`skinner_nn::AdamW::step`] takes it; the gradient is cleared. Returns its norm; one
    /// that is not finite changes nothing.
    pub fn update(&mut self, learning_rate: f32, max_grad_norm: Option<f32>) -> f64 {
        self.settle();
        let mut gradient = std::mem::take(&mut self.gradient);
        let norm = gradient.norm();
        if !norm.is_finite() {
            return norm;
        }
        self.host = Host::default();
        self.steps += 1;
        let t = self.steps as i32;
        let AdamWConfig { beta1, beta2, epsilon, weight_decay } = self.config;
        let scale = max_grad_norm.map_or(1.0, |max| (f64::from(max) / (norm + 1e-6)).min(1.0));
        let rate = (f64::from(learning_rate) / (1.0 - f64::from(beta1).powi(t))) as f32;
        let root = (1.0 / (1.0 - f64::from(beta2).powi(t)).sqrt()) as f32;
        for part in &self.parts {
            let at = part.offset;
            let parts = (self.trained.take(at), self.mean.take(at), self.square.take(at));
            let (Some(value), Some(mean), Some(square)) = parts else { continue };
            let keep = if part.decays { 1.0 - learning_rate * weight_decay } else { 1.0 };
            // A part without a gradient had none in this batch: an embedding whose tokens were all padding.
            let (mut mean, mut square) = (mean * beta1, square * beta2);
            if let Some(gradient) = gradient.take(at) {
                let gradient = gradient * scale as f32;
                mean = mean + gradient.clone() * (1.0 - beta1);
                square = square + gradient.clone() * (1.0 - beta2) * gradient;
            }
            let deviation = square.clone().sqrt() * root + epsilon;
            self.trained.replace(at, value * keep - mean.clone() / deviation * rate);
            self.mean.replace(at, mean);
            self.square.replace(at, square);
        }
        norm
    }

    /// What completions are generated with.
    pub fn engine<'a>(
        &'a mut self,
        decoder: &'a Decoder,
        lora: Option<&'a LoraLayout>,
    ) -> TensorEngine<'a> {
        self.settle();
        TensorEngine::lent(self.net(decoder, lora), &self.device.handle)
    }
}
