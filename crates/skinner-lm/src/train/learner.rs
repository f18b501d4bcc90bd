//! The weights, their gradient and the optimizer: forward and backward over packed sequences, a few at a time.
//! Sequences that follow each other and have the same tokens before their first target have these run once.

mod cpu;
mod micro;

use std::time::Instant;

use skinner_core::SeedSequence;

use super::TrainConfig;
use super::start::Start;
use crate::decoder::{Decoder, LoraConfig, LoraLayout, TensorAt};
use crate::error::LmError;
use crate::generate::{Completion, Request, Sampling, Stop};
use crate::template::ChatTemplate;
use crate::tensor::Machine;
#[cfg(feature = "tensor")]
use crate::tensor::TensorLearner;
use crate::tokenizer::Tokenizer;
use cpu::CpuLearner;
pub use micro::Sequence;
use micro::{Micro, micro_batches};

/// Where the weights are, and who computes with them.
enum Compute {
    Cpu(Box<CpuLearner>),
    #[cfg(feature = "tensor")]
    Tensor(Box<TensorLearner>),
}

/// A model in training.
pub struct Learner {
    decoder: Decoder,
    lora: Option<(LoraConfig, LoraLayout)>,
    compute: Compute,
    micro_batch_tokens: usize,
    /// Text to tokens.
    pub tokenizer: Tokenizer,
    /// Conversations to text.
    pub template: Option<ChatTemplate>,
    /// Where the model came from.
    pub provenance: String,
    /// What the last step took so far.
    pub(super) seconds: Seconds,
}

/// Where a learner's time went.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seconds {
    pub generation: f64,
    /// Forward and backward, and forward alone for log-probabilities.
    pub gradients: f64,
    pub optimizer: f64,
}

impl std::fmt::Debug for Learner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Learner").field("decoder", self.decoder.config()).finish_non_exhaustive()
    }
}

impl Learner {
    /// A model before its first step. A number stands for that many threads of our own kernels.
    ///
    /// # Errors
    /// When there is nothing to train, or the device does not have the precision.
    pub fn new(
        config: &TrainConfig,
        start: Start,
        machine: impl Into<Machine>,
    ) -> Result<Self, LmError> {
        let Start { decoder, params, lora, tokenizer, template, provenance } = start;
        let trained = lora.as_ref().map_or(params.len(), |(_, layout, _)| layout.num_params());
        if trained == 0 {
            return Err(LmError::Recipe("there are no parameters to train".into()));
        }
        let (lora, adapter) = match lora {
            Some((config, layout, values)) => (Some((config, layout)), Some(values)),
            None => (None, None),
        };
        let compute = match machine.into() {
            Machine::Cpu { threads } => {
                Compute::Cpu(Box::new(CpuLearner::new(config, params, adapter, threads)))
            }
            #[cfg(feature = "tensor")]
            Machine::Tensor(device) => {
                let adapter = lora.as_ref().map(|(_, layout)| layout).zip(adapter);
                let learner = TensorLearner::new(device, config, &decoder, params, adapter)?;
                Compute::Tensor(Box::new(learner))
            }
        };
        let micro_batch_tokens = config.micro_batch_tokens;
        let seconds = Seconds::default();
        Ok(Self {
            decoder,
            lora,
            compute,
            micro_batch_tokens,
            tokenizer,
            template,
            provenance,
            seconds,
        })
    }

    /// The model's shape.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The weights; those below an adapter where one is trained.
    pub fn params(&self) -> &[f32] {
        match &self.compute {
            Compute::Cpu(cpu) => cpu.params(),
            #[cfg(feature = "tensor")]
            Compute::Tensor(tensor) => tensor.params(),
        }
    }

    /// What is trained: weights or adapters.
    fn values(&self) -> &[f32] {
        match &self.compute {
            Compute::Cpu(cpu) => cpu.values(),
            #[cfg(feature = "tensor")]
            Compute::Tensor(tensor) => tensor.values(),
        }
    }

    fn tensors(&self) -> &[TensorAt] {
        match &self.lora {
            None => self.decoder.layout().tensors(),
            Some((_, layout)) => layout.tensors(),
        }
    }

    /// The adapter in training.
    pub fn adapter(&self) -> Option<(&LoraConfig, &LoraLayout, &[f32])> {
        self.lora.as_ref().map(|(config, layout)| (config, layout, self.values()))
    }

    /// Numbers that are trained.
    pub fn num_trainable(&self) -> usize {
        self.lora.as_ref().map_or(self.decoder.layout().num_params(), |(_, l)| l.num_params())
    }

    /// The weights with the adapter, if there is one, added.
    pub fn merged(&self) -> std::borrow::Cow<'_, [f32]> {
        match self.adapter() {
            None => self.values().into(),
            Some((_, layout, adapter)) => {
                let mut merged = self.params().to_vec();
                layout.merge(adapter, self.decoder.layout(), &mut merged);
                merged.into()
            }
        }
    }

    /// What is trained, by name, with its shape: weights or adapters. On a device, it is brought to the host
    /// once a step.
    pub fn trained(&self) -> Vec<(&str, &[usize], &[f32])> {
        let values = self.values();
        self.tensors().iter().map(|t| (&t.name[..], &t.shape[..], &values[t.range()])).collect()
    }

    /// The optimizer's means of gradients and of their squares.
    pub fn moments(&self) -> [&[f32]; 2] {
        match &self.compute {
            Compute::Cpu(cpu) => cpu.moments(),
            #[cfg(feature = "tensor")]
            Compute::Tensor(tensor) => tensor.moments(),
        }
    }

    /// Where a checkpoint's numbers go: of a trained tensor, or `adam.mean` or `adam.square`.
    pub fn tensor_mut(&mut self, name: &str) -> Option<&mut [f32]> {
        let range = self.tensors().iter().find(|tensor| tensor.name == name).map(TensorAt::range);
        let [values, mean, square] = match &mut self.compute {
            Compute::Cpu(cpu) => cpu.host_mut(),
            #[cfg(feature = "tensor")]
            Compute::Tensor(tensor) => tensor.host_mut()?,
        };
        match name {
            "adam.mean" => Some(mean),
            "adam.square" => Some(square),
            _ => Some(&mut values[range?]),
        }
    }

    /// The temperature at which log-probabilities are taken from here on.
    ///
    /// # Errors
    /// Where the device has only 1.
    pub fn set_temperature(&mut self, temperature: f32) -> Result<(), LmError> {
        match &mut self.compute {
            Compute::Cpu(cpu) => cpu.temperature = temperature,
            #[cfg(feature = "tensor")]
            Compute::Tensor(_) if temperature != 1.0 => {
                let what = format!("temperature = {temperature}: this device trains at 1 only");
                return Err(LmError::Device(what));
            }
            #[cfg(feature = "tensor")]
            Compute::Tensor(_) => {}
        }
        Ok(())
    }

    /// Keeps a copy of the weights as they are, to be the reference; with an adapter there is no need to.
    ///
    /// # Errors
    /// On a device.
    pub fn keep_reference(&mut self) -> Result<(), LmError> {
        if self.lora.is_some() {
            return Ok(());
        }
        match &mut self.compute {
            Compute::Cpu(cpu) => {
                cpu.keep_reference();
                Ok(())
            }
            #[cfg(feature = "tensor")]
            Compute::Tensor(_) => Err(LmError::Device(
                "beta: on this device a reference needs an adapter to train ([lora])".into(),
            )),
        }
    }

    /// Forgets what the optimizer knows of earlier gradients.
    pub fn reset_optimizer(&mut self) {
        for name in ["adam.mean", "adam.square"] {
            if let Some(moments) = self.tensor_mut(name) {
                moments.fill(0.0);
            }
        }
        self.set_adam_steps(0);
    }

    pub(super) fn adam_steps(&self) -> u32 {
        match &self.compute {
            Compute::Cpu(cpu) => cpu.steps(),
            #[cfg(feature = "tensor")]
            Compute::Tensor(tensor) => tensor.steps,
        }
    }

    pub(crate) fn set_adam_steps(&mut self, steps: u32) {
        match &mut self.compute {
            Compute::Cpu(cpu) => cpu.set_steps(steps),
            #[cfg(feature = "tensor")]
            Compute::Tensor(tensor) => tensor.steps = steps,
        }
    }

    /// A number that changes when any trained one does.
    pub(super) fn checksum(&self) -> u64 {
        self.values().iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, x| {
            (hash ^ u64::from(x.to_bits())).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// The log-probabilities of all targets, sequence by sequence; with the adapter, or (`reference`)
    /// without.
    pub fn scores(&mut self, sequences: &[Sequence<'_>], reference: bool) -> Vec<Vec<f32>> {
        let began = Instant::now();
        let mut scores = Vec::with_capacity(sequences.len());
        for range in micro_batches(sequences, 1, self.micro_batch_tokens) {
            let sequences = &sequences[range.clone()];
            let micro = Micro::new(sequences, range.start, None);
            let lora = self.lora.as_ref().map(|(_, layout)| layout);
            let decoder = &self.decoder;
            let found = match &mut self.compute {
                Compute::Cpu(cpu) => cpu.scores(decoder, lora, &micro, reference),
                #[cfg(feature = "tensor")]
                Compute::Tensor(tensor) => {
                    tensor.scores(decoder, lora, micro.batch(), &micro.targets, reference)
                }
            };
            let mut rest = &found[..];
            for sequence in sequences {
                let (own, later) = rest.split_at(sequence.num_targets());
                scores.push(own.to_vec());
                rest = later;
            }
        }
        self.seconds.gradients += began.elapsed().as_secs_f64();
        scores
    }

    /// Completions by the model as it stands.
    ///
    /// # Errors
    /// As [`crate::generate::Engine::generate`].
    pub fn generate(
        &mut self,
        requests: &[Request],
        sampling: &Sampling,
        stop: &Stop<'_>,
    ) -> Result<Vec<Vec<Completion>>, LmError> {
        let began = Instant::now();
        let lora = self.lora.as_ref().map(|(_, layout)| layout);
        let completed = match &mut self.compute {
            Compute::Cpu(cpu) => cpu.generate(&self.decoder, lora, requests, sampling, stop),
            #[cfg(feature = "tensor")]
            Compute::Tensor(tensor) => {
                let engine = tensor.engine(&self.decoder, lora);
                engine.generate(requests, sampling, stop, &mut |_, _, _| true)
            }
        };
        self.seconds.generation += began.elapsed().as_secs_f64();
        completed
    }

    /// Adds the gradient of a loss to what the next [`Learner::update`] steps along. Sequences are run in
    /// groups of `group`; `objective` is given the number of the first sequence, and the log-probabilities of the
    /// targets of some of them, and writes the gradients in these.
    pub fn accumulate(
        &mut self,
        sequences: &[Sequence<'_>],
        group: usize,
        dropout: &SeedSequence,
        mut objective: impl FnMut(std::ops::Range<usize>, &[f32], &mut [f32]),
    ) {
        let began = Instant::now();
        for range in micro_batches(sequences, group, self.micro_batch_tokens) {
            let micro = self.micro(&sequences[range.clone()], range.start, dropout);
            let lora = self.lora.as_ref().map(|(_, layout)| layout);
            let decoder = &self.decoder;
            let d = |scores: &[f32]| {
                let mut d = vec![0.0; scores.len()];
                objective(range, scores, &mut d);
                d
            };
            match &mut self.compute {
                Compute::Cpu(cpu) => cpu.accumulate(decoder, lora, micro, d),
                #[cfg(feature = "tensor")]
                Compute::Tensor(tensor) => {
                    tensor.accumulate(decoder, lora, micro.batch(), &micro.targets, d);
                }
            }
        }
        self.seconds.gradients += began.elapsed().as_secs_f64();
    }

    /// Adds the gradient of `-scale Σ log_prob` over all targets; returns that sum of log-probabilities. One
    /// pass through the head does both, since this loss' gradient is known before its value.
    pub fn accumulate_likelihood(
        &mut self,
        sequences: &[Sequence<'_>],
        scale: f32,
        dropout: &SeedSequence,
    ) -> f64 {
        let began = Instant::now();
        let mut total = 0.0;
        for range in micro_batches(sequences, 1, self.micro_batch_tokens) {
            let micro = self.micro(&sequences[range.clone()], range.start, dropout);
            let lora = self.lora.as_ref().map(|(_, layout)| layout);
            let decoder = &self.decoder;
            let scores = match &mut self.compute {
                Compute::Cpu(cpu) => cpu.accumulate_likelihood(decoder, lora, micro, scale),
                #[cfg(feature = "tensor")]
                Compute::Tensor(tensor) => {
                    let (batch, targets) = (micro.batch(), &micro.targets);
                    tensor.accumulate_likelihood(decoder, lora, batch, targets, scale)
                }
            };
            total += scores.iter().map(|&x| f64::from(x)).sum::<f64>();
        }
        self.seconds.gradients += began.elapsed().as_secs_f64();
        total
    }

    fn micro(&self, sequences: &[Sequence<'_>], first: usize, dropout: &SeedSequence) -> Micro {
        let drops = self.lora.as_ref().is_some_and(|(config, _)| config.dropout > 0.0);
        Micro::new(sequences, first, drops.then_some(dropout))
    }

    /// Steps along the gradient, which is cleared. Returns its norm; one that is not finite changes nothing.
    pub fn update(&mut self, learning_rate: f32, max_grad_norm: f32) -> f64 {
        let began = Instant::now();
        let clip = (max_grad_norm > 0.0).then_some(max_grad_norm);
        let norm = match &mut self.compute {
            Compute::Cpu(cpu) => {
                let tensors = match &self.lora {
                    None => self.decoder.layout().tensors(),
                    Some((_, layout)) => layout.tensors(),
                };
                cpu.update(&self.decoder, tensors, learning_rate, clip)
            }
            #[cfg(feature = "tensor")]
            Compute::Tensor(tensor) => tensor.update(learning_rate, clip),
        };
        self.seconds.optimizer += began.elapsed().as_secs_f64();
        norm
    }

    /// The copy that [`Learner::keep_reference`] made, where there is one.
    pub fn reference_mut(&mut self) -> Option<&mut [f32]> {
        match &mut self.compute {
            Compute::Cpu(cpu) => cpu.reference_mut(),
            #[cfg(feature = "tensor")]
            Compute::Tensor(_) => None,
        }
    }
}
