//! The weights, their gradient and the optimizer: forward and backward over packed sequences, a few at a time.

use skinner_core::SeedSequence;
use skinner_nn::AdamW;
use skinner_nn::matrix::Cpu;

use super::TrainConfig;
use super::start::Start;
use crate::data::{Example, Packed};
use crate::decoder::{
    Adapter, Batch, Decoder, Gradient, Head, Keep, LoraConfig, LoraLayout, Model, Params, Tape,
    Target,
};
use crate::error::LmError;
use crate::generate::{Completion, Engine, Request, Sampling, Stop};
use crate::template::ChatTemplate;
use crate::tokenizer::Tokenizer;

/// A sequence to run: tokens, which of them are targets, and where its segments begin.
#[derive(Clone, Copy, Debug)]
pub struct Sequence<'a> {
    /// Tokens.
    pub ids: &'a [u32],
    /// Which are predicted; never the first of a segment.
    pub targets: &'a [bool],
    /// Where segments begin; the first is 0.
    pub starts: &'a [usize],
}

impl<'a> From<&'a Packed> for Sequence<'a> {
    fn from(packed: &'a Packed) -> Self {
        Self { ids: &packed.ids, targets: &packed.targets, starts: &packed.segments }
    }
}

impl<'a> From<&'a Example> for Sequence<'a> {
    fn from(example: &'a Example) -> Self {
        Self { ids: &example.ids, targets: &example.loss_mask, starts: &[0] }
    }
}

impl Sequence<'_> {
    /// Number of targets.
    pub fn num_targets(&self) -> usize {
        self.targets.iter().skip(1).filter(|&&target| target).count()
    }
}

/// Sequences that are run at once.
struct Micro {
    ids: Vec<u32>,
    segments: Vec<(usize, usize)>,
    targets: Vec<Target>,
    seeds: Vec<SeedSequence>,
}

impl Micro {
    /// `first` is the number of the first sequence in its batch: dropout's masks go by it.
    fn new(sequences: &[Sequence<'_>], first: usize, dropout: Option<&SeedSequence>) -> Self {
        let mut micro = Self { ids: vec![], segments: vec![], targets: vec![], seeds: vec![] };
        for (i, sequence) in sequences.iter().enumerate() {
            let base = micro.ids.len();
            micro.ids.extend_from_slice(sequence.ids);
            for (j, &start) in sequence.starts.iter().enumerate() {
                let end = sequence.starts.get(j + 1).copied().unwrap_or(sequence.ids.len());
                micro.segments.push((base + start, base + end));
                if let Some(seed) = dropout {
                    micro.seeds.push(seed.child((first + i) as u32).child(j as u32));
                }
                for t in start + 1..end {
                    if sequence.targets[t] {
                        micro.targets.push(Target { row: base + t - 1, id: sequence.ids[t] });
                    }
                }
            }
        }
        micro
    }

    fn batch(&self) -> Batch<'_> {
        let dropout = (!self.seeds.is_empty()).then_some(&self.seeds[..]);
        Batch { ids: &self.ids, segments: &self.segments, dropout }
    }
}

/// A model in training.
pub struct Learner {
    decoder: Decoder,
    params: Vec<f32>,
    lora: Option<(LoraConfig, LoraLayout, Vec<f32>)>,
    adam: AdamW,
    grad: Vec<f32>,
    /// Gradients in embedded tokens, added when the step's last batch is done.
    embedded: Vec<(Micro, Vec<f32>)>,
    tape: Tape,
    keep: Keep,
    micro_batch_tokens: usize,
    /// Who computes.
    pub cpu: Cpu,
    /// Text to tokens.
    pub tokenizer: Tokenizer,
    /// Conversations to text.
    pub template: Option<ChatTemplate>,
    /// Where the model came from.
    pub provenance: String,
}

impl std::fmt::Debug for Learner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Learner").field("decoder", self.decoder.config()).finish_non_exhaustive()
    }
}

impl Learner {
    /// A model before its first step.
    ///
    /// # Errors
    /// When there is nothing to train.
    pub fn new(config: &TrainConfig, start: Start, threads: usize) -> Result<Self, LmError> {
        let Start { decoder, params, lora, tokenizer, template, provenance } = start;
        let trained = lora.as_ref().map_or(params.len(), |(_, layout, _)| layout.num_params());
        if trained == 0 {
            return Err(LmError::Config("there are no parameters to train".into()));
        }
        Ok(Self {
            adam: AdamW::new(config.adamw(), trained),
            grad: vec![0.0; trained],
            embedded: Vec::new(),
            tape: Tape::default(),
            keep: if config.activation_checkpointing { Keep::Inputs } else { Keep::Everything },
            micro_batch_tokens: config.micro_batch_tokens,
            cpu: Cpu::new(threads, config.precision),
            decoder,
            params,
            lora,
            tokenizer,
            template,
            provenance,
        })
    }

    /// The model's shape.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The weights; those below an adapter where one is trained.
    pub fn params(&self) -> &[f32] {
        &self.params
    }

    /// The adapter in training.
    pub fn adapter(&self) -> Option<(&LoraConfig, &LoraLayout, &[f32])> {
        self.lora.as_ref().map(|(config, layout, params)| (config, layout, &params[..]))
    }

    /// Numbers that are trained.
    pub fn num_trainable(&self) -> usize {
        self.grad.len()
    }

    /// The weights with the adapter, if there is one, added.
    pub fn merged(&self) -> std::borrow::Cow<'_, [f32]> {
        match &self.lora {
            None => (&self.params[..]).into(),
            Some((_, layout, adapter)) => {
                let mut merged = self.params.clone();
                layout.merge(adapter, self.decoder.layout(), &mut merged);
                merged.into()
            }
        }
    }

    /// What is trained, by name, with its shape: weights or adapters.
    pub fn trained(&self) -> Vec<(&str, &[usize], &[f32])> {
        let (tensors, values) = match &self.lora {
            None => (self.decoder.layout().tensors(), &self.params),
            Some((_, layout, params)) => (layout.tensors(), params),
        };
        tensors.iter().map(|t| (&t.name[..], &t.shape[..], &values[t.range()])).collect()
    }

    /// The optimizer's means of gradients and of their squares.
    pub fn moments(&self) -> [&[f32]; 2] {
        [&self.adam.mean, &self.adam.square]
    }

    /// Where a checkpoint's numbers go: of a trained tensor, or `adam.mean` or `adam.square`.
    pub fn tensor_mut(&mut self, name: &str) -> Option<&mut [f32]> {
        match name {
            "adam.mean" => return Some(&mut self.adam.mean),
            "adam.square" => return Some(&mut self.adam.square),
            _ => {}
        }
        let (tensors, values) = match &mut self.lora {
            None => (self.decoder.layout().tensors(), &mut self.params),
            Some((_, layout, params)) => (layout.tensors(), params),
        };
        let range = tensors.iter().find(|tensor| tensor.name == name)?.range();
        Some(&mut values[range])
    }

    pub(super) fn adam_steps(&self) -> u32 {
        self.adam.steps
    }

    pub(super) fn set_adam_steps(&mut self, steps: u32) {
        self.adam.steps = steps;
    }

    /// A number that changes when any trained one does.
    pub(super) fn checksum(&self) -> u64 {
        let values = self.lora.as_ref().map_or(&self.params, |(_, _, params)| params);
        values.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, x| {
            (hash ^ u64::from(x.to_bits())).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// Ranges of sequences that fit into memory together; `group` of them are never parted.
    fn micro_batches(
        &self,
        sequences: &[Sequence<'_>],
        group: usize,
    ) -> Vec<std::ops::Range<usize>> {
        let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
        let mut tokens = 0;
        for (i, group_of) in sequences.chunks(group).enumerate() {
            let more: usize = group_of.iter().map(|s| s.ids.len()).sum();
            let (from, to) = (i * group, i * group + group_of.len());
            match ranges.last_mut() {
                Some(last) if tokens + more <= self.micro_batch_tokens => {
                    last.end = to;
                    tokens += more;
                }
                _ => {
                    ranges.push(from..to);
                    tokens = more;
                }
            }
        }
        ranges
    }

    /// The log-probabilities of all targets, sequence by sequence; with the adapter, or (`reference`)
    /// without.
    pub fn scores(&mut self, sequences: &[Sequence<'_>], reference: bool) -> Vec<Vec<f32>> {
        let mut scores = Vec::with_capacity(sequences.len());
        for range in self.micro_batches(sequences, 1) {
            let sequences = &sequences[range.clone()];
            let micro = Micro::new(sequences, range.start, None);
            let adapter = match &self.lora {
                Some((_, layout, params)) if !reference => Some(Adapter { layout, params }),
                _ => None,
            };
            let model = Model { params: Params::F32(&self.params), adapter };
            let (cpu, tape) = (&mut self.cpu, &mut self.tape);
            self.decoder.forward(cpu, &model, &micro.batch(), tape, Keep::Nothing, |_, _| {});
            let head = Head::new(&self.decoder);
            let found = head.scores(cpu, &model.params, &tape.hidden, &micro.targets, false);
            let mut rest = &found.log_prob[..];
            for sequence in sequences {
                let (own, later) = rest.split_at(sequence.num_targets());
                scores.push(own.to_vec());
                rest = later;
            }
        }
        scores
    }

    /// Completions by the model as it stands.
    ///
    /// # Errors
    /// As [`Engine::generate`].
    pub fn generate(
        &mut self,
        requests: &[Request],
        sampling: &Sampling,
        stop: &Stop<'_>,
    ) -> Result<Vec<Vec<Completion>>, LmError> {
        let mut engine = Engine::new(&self.decoder, Params::F32(&self.params));
        engine.adapter = adapter_of(self.lora.as_ref());
        engine.generate(&mut self.cpu, requests, sampling, stop, &mut |_, _, _| true)
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
        for range in self.micro_batches(sequences, group) {
            let found = self.forward(&sequences[range.clone()], range.start, dropout);
            let head = Head::new(&self.decoder);
            let adapter = adapter_of(self.lora.as_ref());
            let model = Model { params: Params::F32(&self.params), adapter };
            let (cpu, tape) = (&mut self.cpu, &mut self.tape);
            let scores = head.scores(cpu, &model.params, &tape.hidden, &found.targets, false);
            let mut d = vec![0.0; scores.log_prob.len()];
            objective(range, &scores.log_prob, &mut d);
            let mut d_hidden = vec![0.0; tape.hidden.len()];
            let mut grad = gradient(self.lora.is_some(), &mut self.grad);
            let (hidden, targets) = (&tape.hidden, &found.targets);
            head.backward(cpu, &model, hidden, targets, (&d, &[]), &mut d_hidden, &mut grad);
            self.backward(found, &d_hidden);
        }
    }

    /// Adds the gradient of `-scale Σ log_prob` over all targets; returns that sum of log-probabilities. One
    /// pass through the head does both, since this loss' gradient is known before its value.
    pub fn accumulate_likelihood(
        &mut self,
        sequences: &[Sequence<'_>],
        scale: f32,
        dropout: &SeedSequence,
    ) -> f64 {
        let mut total = 0.0;
        for range in self.micro_batches(sequences, 1) {
            let found = self.forward(&sequences[range.clone()], range.start, dropout);
            let head = Head::new(&self.decoder);
            let adapter = adapter_of(self.lora.as_ref());
            let model = Model { params: Params::F32(&self.params), adapter };
            let (cpu, tape) = (&mut self.cpu, &mut self.tape);
            let mut d_hidden = vec![0.0; tape.hidden.len()];
            let mut grad = gradient(self.lora.is_some(), &mut self.grad);
            let scores = head.scores_and_backward(
                cpu,
                &model,
                &tape.hidden,
                &found.targets,
                &mut d_hidden,
                &mut grad,
                |log_probs| vec![-scale; log_probs.len()],
            );
            total += scores.iter().map(|&x| f64::from(x)).sum::<f64>();
            self.backward(found, &d_hidden);
        }
        total
    }

    fn forward(
        &mut self,
        sequences: &[Sequence<'_>],
        first: usize,
        dropout: &SeedSequence,
    ) -> Micro {
        let drops = self.lora.as_ref().is_some_and(|(config, ..)| config.dropout > 0.0);
        let micro = Micro::new(sequences, first, drops.then_some(dropout));
        let adapter = adapter_of(self.lora.as_ref());
        let model = Model { params: Params::F32(&self.params), adapter };
        let (cpu, tape) = (&mut self.cpu, &mut self.tape);
        self.decoder.forward(cpu, &model, &micro.batch(), tape, self.keep, |_, _| {});
        micro
    }

    fn backward(&mut self, micro: Micro, d_hidden: &[f32]) {
        let adapter = adapter_of(self.lora.as_ref());
        let model = Model { params: Params::F32(&self.params), adapter };
        let mut grad = gradient(self.lora.is_some(), &mut self.grad);
        let (cpu, tape) = (&mut self.cpu, &mut self.tape);
        let d = self.decoder.backward(cpu, &model, &micro.batch(), tape, d_hidden, &mut grad);
        if self.lora.is_none() {
            self.embedded.push((micro, d));
        }
    }

    /// Steps along the gradient, which is cleared. Returns its norm; one that is not finite changes nothing.
    pub fn update(&mut self, learning_rate: f32, max_grad_norm: f32) -> f64 {
        for (micro, d) in self.embedded.drain(..) {
            self.decoder.embed_backward(&micro.batch(), &d, &mut self.grad);
        }
        let (tensors, params) = match &mut self.lora {
            None => (self.decoder.layout().tensors(), &mut self.params),
            Some((_, layout, params)) => (layout.tensors(), params),
        };
        let tensors = tensors.iter().map(|tensor| (tensor.range(), tensor.decays()));
        let clip = (max_grad_norm > 0.0).then_some(max_grad_norm);
        let team = &mut self.cpu.team;
        self.adam.step(team, params, &mut self.grad, tensors, learning_rate, clip)
    }
}

fn adapter_of(lora: Option<&(LoraConfig, LoraLayout, Vec<f32>)>) -> Option<Adapter<'_>> {
    lora.map(|(_, layout, params)| Adapter { layout, params })
}

fn gradient(adapter: bool, grad: &mut [f32]) -> Gradient<'_> {
    if adapter { Gradient::Adapter(grad) } else { Gradient::Full(grad) }
}
