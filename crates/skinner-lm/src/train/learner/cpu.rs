//! A learner's part on the CPU, by our own kernels.

use skinner_nn::AdamW;
use skinner_nn::matrix::Cpu;

use super::micro::Micro;
use crate::decoder::{
    Adapter, Decoder, Gradient, Head, Keep, LoraLayout, Model, Params, Tape, TensorAt,
};
use crate::error::LmError;
use crate::generate::{Completion, Engine, PackedWeights, Request, Sampling, Stop};
use crate::train::TrainConfig;

/// Weights, their gradient and the optimizer, as flat arrays.
pub(super) struct CpuLearner {
    params: Vec<f32>,
    adapter: Option<Vec<f32>>,
    adam: AdamW,
    grad: Vec<f32>,
    /// Gradients in embedded tokens, added when the step's last batch is done.
    embedded: Vec<(Micro, Vec<f32>)>,
    tape: Tape,
    keep: Keep,
    cpu: Cpu,
    /// The weights that training began with, where they are compared with.
    reference: Option<Vec<f32>>,
    /// The weights as completions are drawn with them.
    packed: PackedWeights,
    is_packed: bool,
    /// What logits are divided by.
    pub temperature: f32,
}

fn gradient(is_adapter: bool, grad: &mut [f32]) -> Gradient<'_> {
    if is_adapter { Gradient::Adapter(grad) } else { Gradient::Full(grad) }
}

fn adapter_of<'a>(
    lora: Option<&'a LoraLayout>,
    adapter: Option<&'a Vec<f32>>,
) -> Option<Adapter<'a>> {
    lora.zip(adapter).map(|(layout, params)| Adapter { layout, params })
}

impl CpuLearner {
    pub fn new(
        config: &TrainConfig,
        params: Vec<f32>,
        adapter: Option<Vec<f32>>,
        threads: usize,
    ) -> Self {
        let trained = adapter.as_ref().map_or(params.len(), Vec::len);
        Self {
            adam: AdamW::new(config.adamw(), trained),
            grad: vec![0.0; trained],
            embedded: Vec::new(),
            tape: Tape::default(),
            keep: if config.activation_checkpointing { Keep::Inputs } else { Keep::Everything },
            cpu: Cpu::new(threads, config.precision),
            reference: None,
            packed: PackedWeights::default(),
            is_packed: false,
            temperature: 1.0,
            params,
            adapter,
        }
    }

    pub fn keep_reference(&mut self) {
        self.reference = Some(self.params.clone());
    }

    pub fn params(&self) -> &[f32] {
        &self.params
    }

    pub fn values(&self) -> &[f32] {
        self.adapter.as_ref().unwrap_or(&self.params)
    }

    pub fn moments(&self) -> [&[f32]; 2] {
        [&self.adam.mean, &self.adam.square]
    }

    /// What is trained, means and squares.
    pub fn host_mut(&mut self) -> [&mut [f32]; 3] {
        let values = self.adapter.as_mut().unwrap_or(&mut self.params);
        [values, &mut self.adam.mean, &mut self.adam.square]
    }

    pub fn steps(&self) -> u32 {
        self.adam.steps
    }

    pub fn set_steps(&mut self, steps: u32) {
        self.adam.steps = steps;
    }

    pub fn scores(
        &mut self,
        decoder: &Decoder,
        lora: Option<&LoraLayout>,
        micro: &Micro,
        reference: bool,
    ) -> Vec<f32> {
        let adapter = adapter_of(lora.filter(|_| !reference), self.adapter.as_ref());
        let kept = self.reference.as_ref().filter(|_| reference);
        let model = Model { params: Params::F32(kept.unwrap_or(&self.params)), adapter };
        let (cpu, tape) = (&mut self.cpu, &mut self.tape);
        decoder.forward(cpu, &model, &micro.batch(), tape, Keep::Nothing, |_, _| {});
        let head = Head::at_temperature(decoder, self.temperature);
        head.scores(cpu, &model.params, &tape.hidden, &micro.targets, false).log_prob
    }

    pub fn generate(
        &mut self,
        decoder: &Decoder,
        lora: Option<&LoraLayout>,
        requests: &[Request],
        sampling: &Sampling,
        stop: &Stop<'_>,
    ) -> Result<Vec<Vec<Completion>>, LmError> {
        // Below an adapter the weights stay what they are.
        if self.adapter.is_none() || !self.is_packed {
            self.packed.pack(&mut self.cpu, decoder, &self.params);
            self.is_packed = true;
        }
        let mut engine = Engine::new(decoder, Params::F32(&self.params));
        engine.packed = Some(&self.packed);
        engine.adapter = adapter_of(lora, self.adapter.as_ref());
        engine.generate(&mut self.cpu, requests, sampling, stop, &mut |_, _, _| true)
    }

    /// `d` is given the log-probabilities of all targets and returns the gradients in them.
    pub fn accumulate(
        &mut self,
        decoder: &Decoder,
        lora: Option<&LoraLayout>,
        micro: Micro,
        d: impl FnOnce(&[f32]) -> Vec<f32>,
    ) {
        self.forward(decoder, lora, &micro);
        let head = Head::at_temperature(decoder, self.temperature);
        let adapter = adapter_of(lora, self.adapter.as_ref());
        let model = Model { params: Params::F32(&self.params), adapter };
        let (cpu, tape) = (&mut self.cpu, &mut self.tape);
        let mut d_hidden = vec![0.0; tape.hidden.len()];
        let mut grad = gradient(self.adapter.is_some(), &mut self.grad);
        let (hidden, targets) = (&tape.hidden, &micro.targets);
        if head.holds(targets.len()) {
            let mut d = Some(d);
            let d = |found: &[f32]| d.take().map_or_else(Vec::new, |d| d(found));
            head.scores_and_backward(cpu, &model, hidden, targets, &mut d_hidden, &mut grad, d);
        } else {
            let scores = head.scores(cpu, &model.params, hidden, targets, false);
            let d = d(&scores.log_prob);
            head.backward(cpu, &model, hidden, targets, (&d, &[]), &mut d_hidden, &mut grad);
        }
        self.backward(decoder, lora, micro, &d_hidden);
    }

    /// The gradient of `-scale Σ log_prob`; returns the log-probabilities.
    pub fn accumulate_likelihood(
        &mut self,
        decoder: &Decoder,
        lora: Option<&LoraLayout>,
        micro: Micro,
        scale: f32,
    ) -> Vec<f32> {
        self.forward(decoder, lora, &micro);
        let head = Head::at_temperature(decoder, self.temperature);
        let adapter = adapter_of(lora, self.adapter.as_ref());
        let model = Model { params: Params::F32(&self.params), adapter };
        let (cpu, tape) = (&mut self.cpu, &mut self.tape);
        let mut d_hidden = vec![0.0; tape.hidden.len()];
        let mut grad = gradient(self.adapter.is_some(), &mut self.grad);
        let scores = head.scores_and_backward(
            cpu,
            &model,
            &tape.hidden,
            &micro.targets,
            &mut d_hidden,
            &mut grad,
            |log_probs| vec![-scale; log_probs.len()],
        );
        self.backward(decoder, lora, micro, &d_hidden);
        scores
    }

    fn forward(&mut self, decoder: &Decoder, lora: Option<&LoraLayout>, micro: &Micro) {
        let adapter = adapter_of(lora, self.adapter.as_ref());
        let model = Model { params: Params::F32(&self.params), adapter };
        let (cpu, tape) = (&mut self.cpu, &mut self.tape);
        decoder.forward(cpu, &model, &micro.batch(), tape, self.keep, |_, _| {});
    }

    fn backward(
        &mut self,
        decoder: &Decoder,
        lora: Option<&LoraLayout>,
        micro: Micro,
        d_hidden: &[f32],
    ) {
        let adapter = adapter_of(lora, self.adapter.as_ref());
        let model = Model { params: Params::F32(&self.params), adapter };
        let mut grad = gradient(self.adapter.is_some(), &mut self.grad);
        let (cpu, tape) = (&mut self.cpu, &mut self.tape);
        let d = decoder.backward(cpu, &model, &micro.batch(), tape, d_hidden, &mut grad);
        if self.adapter.is_none() {
            self.embedded.push((micro, d));
        }
    }

    pub fn update(
        &mut self,
        decoder: &Decoder,
        tensors: &[TensorAt],
        learning_rate: f32,
        max_grad_norm: Option<f32>,
    ) -> f64 {
        for (micro, d) in self.embedded.drain(..) {
            decoder.embed_backward(&micro.batch(), &d, &mut self.grad);
        }
        let params = self.adapter.as_mut().unwrap_or(&mut self.params);
        let tensors = tensors.iter().map(|tensor| (tensor.range(), tensor.decays()));
        let team = &mut self.cpu.team;
        self.adam.step(team, params, &mut self.grad, tensors, learning_rate, max_grad_norm)
    }

    pub fn reference_mut(&mut self) -> Option<&mut [f32]> {
        self.reference.as_deref_mut()
    }
}
