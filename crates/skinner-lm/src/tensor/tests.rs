//! Burn against our own kernels: on the CPU, or on the device that `SKINNER_TEST_DEVICE` names.

use skinner_core::{Rng, SeedSequence};
use skinner_nn::matrix::{Cpu, Precision};

use super::arrays::{Arrays, matrix, numbers, parts_of, parts_of_adapter};
use super::batch::Placed;
use super::head::TensorHead;
use super::net::Net;
use super::*;
use crate::config::{Family, ModelConfig, RopeScaling};
use crate::decoder::{
    Adapter, Batch, Decoder, Gradient, Head, Keep, LoraConfig, LoraLayout, Model, Params, Segment,
    Tape, Target, TensorAt,
};
use crate::generate::{Completion, Engine, Request, Sampling, Stop};
use crate::tokenizer::Tokenizer;
use crate::train::{Learner, Sequence, Start, TrainConfig};

/// Largest difference that rounding explains, as a share of the largest number of a tensor.
const TOLERANCE: f32 = 2e-5;

fn config(family: Family) -> ModelConfig {
    let gpt2 = family == Family::Gpt2;
    let llama3 = RopeScaling::Llama3 {
        factor: 4.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 16,
    };
    ModelConfig {
        family,
        vocab_size: 29,
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 3,
        num_attention_heads: 6,
        num_key_value_heads: if gpt2 { 6 } else { 2 },
        head_dim: 4,
        max_position_embeddings: 48,
        norm_eps: 1e-5,
        rope_theta: 100.0,
        rope_scaling: match family {
            Family::Qwen2 => Some(RopeScaling::Linear { factor: 2.0 }),
            Family::Qwen3 => Some(llama3),
            Family::Llama | Family::Gpt2 => None,
        },
        tie_word_embeddings: family != Family::Qwen2,
        bos_token_id: None,
        eos_token_ids: vec![],
        pad_token_id: Some(3),
    }
}

/// A decoder with lively weights: every vector differs from its usual initial value.
fn lively(family: Family) -> (Decoder, Vec<f32>) {
    let decoder = Decoder::new(config(family)).unwrap();
    let mut rng = Rng::new(3);
    let mut params = decoder.init(&mut rng);
    params.iter_mut().for_each(|x| *x += 0.2 * rng.normal() as f32);
    (decoder, params)
}

/// What is compared with our own kernels; one that is not there fails.
fn device() -> TensorDevice {
    let name = std::env::var("SKINNER_TEST_DEVICE").unwrap_or_else(|_| "flex".into());
    match name.parse::<DeviceKind>().unwrap().open(1).unwrap() {
        Machine::Tensor(device) => device,
        Machine::Cpu { .. } => panic!("SKINNER_TEST_DEVICE must be a device of Burn's"),
    }
}

fn segments(lengths: &[usize]) -> Vec<Segment> {
    let end = |i: usize| lengths[..i].iter().sum();
    (0..lengths.len()).map(|i| (end(i), end(i + 1)).into()).collect()
}

fn ids(n: usize, seed: u64) -> Vec<u32> {
    let mut rng = Rng::new(seed);
    (0..n).map(|_| rng.below(29) as u32).collect()
}

fn lora(dropout: f64, target: &str) -> LoraConfig {
    LoraConfig { rank: 3, alpha: 5.0, dropout, target_modules: vec![target.into()], merge: false }
}

/// What is run on both: a batch, and coefficients of its log-probabilities and entropies.
struct Case<'a> {
    decoder: &'a Decoder,
    params: &'a [f32],
    lora: Option<(&'a LoraLayout, &'a [f32])>,
    ids: Vec<u32>,
    segments: Vec<Segment>,
    seeds: Option<Vec<SeedSequence>>,
}

/// Log-probabilities, entropies, and the gradient of their weighted sum.
type Found = (Vec<f32>, Vec<f32>, Vec<f32>);

const TEMPERATURE: f32 = 0.7;

impl Case<'_> {
    fn batch(&self) -> Batch<'_> {
        Batch { ids: &self.ids, segments: &self.segments, dropout: self.seeds.as_deref() }
    }

    fn targets(&self) -> Vec<Target> {
        let within = |segment: &Segment| {
            let rows: Vec<usize> = segment.seen().collect();
            let own = segment.before().max(1)..rows.len();
            own.map(|i| Target { row: rows[i - 1], id: self.ids[rows[i]] }).collect::<Vec<_>>()
        };
        self.segments.iter().flat_map(within).collect()
    }

    fn coefficients(&self) -> (Vec<f32>, Vec<f32>) {
        let d = |t: &Target| 0.3 + (t.id % 5) as f32 * 0.2;
        let d: Vec<f32> = self.targets().iter().map(d).collect();
        let d_entropy = d.iter().map(|d| 0.5 * d).collect();
        (d, d_entropy)
    }

    fn tensors(&self) -> &[TensorAt] {
        self.lora.map_or(self.decoder.layout().tensors(), |(layout, _)| layout.tensors())
    }

    fn on_cpu(&self) -> Found {
        let adapter = self.lora.map(|(layout, params)| Adapter { layout, params });
        let model = Model { params: Params::F32(self.params), adapter };
        let mut cpu = Cpu::new(1, Precision::F32);
        let (mut tape, batch) = (Tape::default(), self.batch());
        self.decoder.forward(&mut cpu, &model, &batch, &mut tape, Keep::Everything, |_, _| {});
        let head = Head::at_temperature(self.decoder, TEMPERATURE);
        let targets = self.targets();
        let scores = head.scores(&mut cpu, &model.params, &tape.hidden, &targets, true);
        let (d, d_entropy) = self.coefficients();
        let len = self.lora.map_or(self.params.len(), |(layout, _)| layout.num_params());
        let mut sink = vec![0.0; len];
        let mut grad = match self.lora {
            Some(_) => Gradient::Adapter(&mut sink),
            None => Gradient::Full(&mut sink),
        };
        let mut d_hidden = vec![0.0; tape.hidden.len()];
        let both = (&d[..], &d_entropy[..]);
        let hidden = &tape.hidden;
        head.backward(&mut cpu, &model, hidden, &targets, both, &mut d_hidden, &mut grad);
        let d = self.decoder.backward(&mut cpu, &model, &batch, &mut tape, &d_hidden, &mut grad);
        if self.lora.is_none() {
            self.decoder.embed_backward(&batch, &d, &mut sink);
        }
        (scores.log_prob, scores.entropy, sink)
    }

    fn on_device(&self, keep: Keep) -> Found {
        let device = device();
        let handle = &device.handle;
        let parts = parts_of(self.decoder.layout());
        let weights = Arrays::upload(&parts, self.params, handle);
        let adapter = self.lora.map(|(layout, values)| {
            (layout, Arrays::upload(&parts_of_adapter(layout), values, handle))
        });
        let adapter = adapter.as_ref().map(|(layout, values)| (*layout, values));
        let net = Net { decoder: self.decoder, weights: &weights, adapter, half: false };
        let placed = Placed::new(self.decoder, self.batch(), handle);
        let tape = net.forward(&placed, keep);
        let head = TensorHead { net, inverse_temperature: 1.0 / TEMPERATURE, entropy: true };
        let targets = self.targets();
        let scores = head.scores(&tape.hidden, &targets);
        let (d, d_entropy) = self.coefficients();
        let mut gradient = Arrays::default();
        let (again, d_hidden) = head.backward(&tape.hidden, &targets, &mut gradient, |at, some| {
            let range = at..at + some.len();
            (d[range.clone()].to_vec(), d_entropy[range].to_vec())
        });
        assert_eq!(again, scores.log_prob);
        net.backward(tape, &placed, d_hidden, &mut gradient);
        let parts = self.lora.map_or(parts, |(layout, _)| parts_of_adapter(layout));
        // Burn skips what takes no part in a loss in silence; `download` would be shorter then.
        let sink = gradient.download();
        assert_eq!(
            sink.len(),
            parts.iter().map(|part| part.shape[0] * part.shape[1]).sum::<usize>()
        );
        (scores.log_prob, scores.entropy, sink)
    }
}

/// The largest difference of two arrays, as a share of the largest number.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().chain(b).fold(1e-6f32, |largest, x| largest.max(x.abs()));
    a.iter().zip(b).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs())) / largest
}

fn assert_equal(case: &Case<'_>, what: &str) {
    let (log_prob, entropy, grad) = case.on_cpu();
    let (other_log_prob, other_entropy, other) = case.on_device(Keep::Inputs);
    assert!(difference(&log_prob, &other_log_prob) < TOLERANCE, "{what}");
    assert!(difference(&entropy, &other_entropy) < TOLERANCE, "{what}");
    for tensor in case.tensors() {
        let (own, theirs) = (&grad[tensor.range()], &other[tensor.range()]);
        let apart = difference(own, theirs);
        assert!(apart < TOLERANCE, "{what} {}: {apart}", tensor.name);
        let moved = theirs.iter().any(|&x| x != 0.0);
        assert!(moved, "{what} {} has no gradient", tensor.name);
    }
    // Graphs kept or computed again: Burn takes other ways with and without a graph, so not by bytes.
    let (_, _, kept) = case.on_device(Keep::Everything);
    assert!(difference(&other, &kept) < TOLERANCE, "{what}");
}

#[test]
fn log_probs_and_gradients_equal_the_kernels() {
    for family in Family::ALL {
        let (decoder, params) = lively(family);
        for lengths in [&[9, 1, 7][..], &[6, 6], &[17]] {
            let case = Case {
                decoder: &decoder,
                params: &params,
                lora: None,
                ids: ids(lengths.iter().sum(), 5),
                segments: segments(lengths),
                seeds: None,
            };
            assert_equal(&case, &format!("{family:?} {lengths:?}"));
        }
        let mut behind_the_first = segments(&[6, 4, 1, 6]);
        behind_the_first[1..].iter_mut().for_each(|segment| segment.prefix = Some((0, 6)));
        let case = Case {
            decoder: &decoder,
            params: &params,
            lora: None,
            ids: ids(17, 5),
            segments: behind_the_first,
            seeds: None,
        };
        assert_equal(&case, &format!("{family:?} behind a prefix"));
    }
}

#[test]
fn adapters_equal_the_kernels() {
    for (family, target, dropout) in [
        (Family::Llama, "all-linear", 0.25),
        (Family::Gpt2, "all-linear", 0.25),
        (Family::Qwen2, "v_proj", 0.0),
    ] {
        let (decoder, params) = lively(family);
        let layout = LoraLayout::new(&lora(dropout, target), decoder.layout()).unwrap();
        let mut rng = Rng::new(4);
        let mut adapter = layout.init(&mut rng);
        adapter.iter_mut().for_each(|x| *x += 0.1 * rng.normal() as f32);
        let case = Case {
            decoder: &decoder,
            params: &params,
            lora: Some((&layout, &adapter)),
            ids: ids(12, 5),
            segments: segments(&[8, 4]),
            seeds: Some(vec![SeedSequence::new(1), SeedSequence::new(2)]),
        };
        assert_equal(&case, &format!("{family:?} adapters"));
    }
}

fn learner(family: Family, lora: Option<&LoraConfig>, machine: Machine) -> Learner {
    let (decoder, params) = lively(family);
    let lora = lora.map(|config| {
        let layout = LoraLayout::new(config, decoder.layout()).unwrap();
        let values = layout.init(&mut Rng::new(6));
        (config.clone(), layout, values)
    });
    let text: String = ('a'..='z').collect();
    let tokenizer = Tokenizer::train_characters(&text, None, None).unwrap();
    let start =
        Start { decoder, params, lora, tokenizer, template: None, provenance: "test".into() };
    let config = TrainConfig {
        weight_decay: 0.1,
        // Adam divides by the root of the gradient's square, and some of it (of GPT-2's biases of keys, which
        // change nothing) is rounding alone: with more than the usual epsilon that counts for little.
        adam_epsilon: 1e-4,
        micro_batch_tokens: 24,
        activation_checkpointing: family == Family::Gpt2,
        ..TrainConfig::default()
    };
    Learner::new(&config, start, machine).unwrap()
}

const LENGTHS: [usize; 6] = [9, 12, 7, 14, 10, 5];

/// One step of a loss whose gradient in a pair's log-probabilities depends on both, as DPO's does.
fn preference_step(learner: &mut Learner, step: u64) -> (Vec<f32>, f64) {
    let all: Vec<Vec<u32>> = LENGTHS.iter().zip(0..).map(|(&n, i)| ids(n, 7 * step + i)).collect();
    let masks: Vec<Vec<bool>> =
        LENGTHS.iter().map(|&n| (0..n).map(|t| t > n / 3).collect()).collect();
    let sequences: Vec<Sequence<'_>> = all
        .iter()
        .zip(&masks)
        .map(|(ids, targets)| Sequence { ids, targets, starts: &[0] })
        .collect();
    let mut seen = learner.scores(&sequences, true).concat();
    learner.accumulate(&sequences, 2, &SeedSequence::new(step), |range, scores, d| {
        seen.extend_from_slice(scores);
        let mut rest = (scores, d);
        for pair in sequences[range].chunks(2) {
            let lengths = [pair[0].num_targets(), pair[1].num_targets()];
            let (own, later) = rest.0.split_at(lengths[0] + lengths[1]);
            let (chosen, rejected) = own.split_at(lengths[0]);
            let margin = chosen.iter().sum::<f32>() - rejected.iter().sum::<f32>();
            let slope = -1.0 / (1.0 + margin.exp());
            let (d, d_later) = rest.1.split_at_mut(own.len());
            d[..lengths[0]].fill(slope / 3.0);
            d[lengths[0]..].fill(-slope / 3.0);
            rest = (later, d_later);
        }
    });
    let total = learner.accumulate_likelihood(&sequences, 0.01, &SeedSequence::new(step));
    seen.push(total as f32);
    let norm = learner.update(3e-3, 0.5);
    (seen, norm)
}

/// Three steps of `AdamW` with clipping and weight decay, from the same gradients.
#[test]
fn learners_take_the_same_steps() {
    let adapters = lora(0.2, "all-linear");
    for (family, lora) in [
        (Family::Llama, None),
        (Family::Qwen2, None),
        (Family::Gpt2, None),
        (Family::Llama, Some(&adapters)),
    ] {
        let mut own = learner(family, lora, 2.into());
        let mut other = learner(family, lora, Machine::Tensor(device()));
        assert_eq!(own.num_trainable(), other.num_trainable());
        for step in 0..3 {
            let (scores, norm) = preference_step(&mut own, step);
            let (other_scores, other_norm) = preference_step(&mut other, step);
            assert!(difference(&scores, &other_scores) < 1e-4, "{family:?} {step}");
            assert!((norm / other_norm - 1.0).abs() < 1e-4, "{family:?} {norm} {other_norm}");
        }
        let apart: Vec<f32> = own
            .trained()
            .iter()
            .zip(other.trained())
            .map(|((name, shape, a), (other_name, other_shape, b))| {
                assert_eq!((*name, *shape), (other_name, other_shape));
                difference(a, b)
            })
            .collect();
        let worst = apart.iter().fold(0.0f32, |worst, &x| worst.max(x));
        assert!(worst < 1e-4, "{family:?}: {worst}");
        for (a, b) in own.moments().into_iter().zip(other.moments()) {
            assert!(difference(a, b) < 1e-4, "{family:?}");
        }
        assert!(difference(&own.merged(), &other.merged()) < 1e-4);
    }
}

fn all_of(learner: &Learner) -> Vec<Vec<f32>> {
    let mut all: Vec<Vec<f32>> = learner.trained().iter().map(|(.., x)| x.to_vec()).collect();
    all.extend(learner.moments().map(<[f32]>::to_vec));
    all
}

/// A learner that continues from what a checkpoint holds takes the same steps, by bytes.
#[test]
fn resumed_steps_are_the_same_bits() {
    let adapters = lora(0.2, "all-linear");
    for lora in [None, Some(&adapters)] {
        let mut whole = learner(Family::Llama, lora, Machine::Tensor(device()));
        preference_step(&mut whole, 0);
        let mut resumed = learner(Family::Llama, lora, Machine::Tensor(device()));
        let saved: Vec<(String, Vec<f32>)> = whole
            .trained()
            .iter()
            .map(|(name, _, x)| ((*name).to_owned(), x.to_vec()))
            .chain(
                ["adam.mean", "adam.square"]
                    .map(str::to_owned)
                    .into_iter()
                    .zip(whole.moments().map(<[f32]>::to_vec)),
            )
            .collect();
        for (name, values) in &saved {
            resumed.tensor_mut(name).unwrap().copy_from_slice(values);
        }
        assert!(resumed.tensor_mut("no.such").is_none());
        resumed.set_adam_steps(1);
        assert_eq!(all_of(&whole), all_of(&resumed));
        for step in 1..3 {
            assert_eq!(preference_step(&mut whole, step), preference_step(&mut resumed, step));
        }
        assert_eq!(all_of(&whole), all_of(&resumed));
    }
}

/// A gradient that is no number changes nothing and is forgotten.
#[test]
fn a_gradient_that_is_no_number_changes_nothing() {
    let mut learner = learner(Family::Llama, None, Machine::Tensor(device()));
    let before = all_of(&learner);
    let ids = ids(6, 1);
    let sequence = Sequence { ids: &ids, targets: &[true; 6], starts: &[0] };
    let seed = SeedSequence::new(0);
    learner.accumulate(&[sequence], 1, &seed, |_, _, d| d.fill(f32::NAN));
    assert!(!learner.update(1e-2, 1.0).is_finite());
    assert_eq!(all_of(&learner), before);
    learner.accumulate(&[sequence], 1, &seed, |_, _, d| d.fill(-1.0));
    assert!(learner.update(1e-2, 1.0).is_finite());
}

fn requests() -> Vec<Request> {
    let seeds = |from: u64, n: u64| (from..from + n).map(SeedSequence::new).collect();
    vec![
        Request { prompt: vec![1, 2, 3, 4, 5], seeds: seeds(0, 3) },
        Request { prompt: vec![7], seeds: seeds(10, 1) },
        Request { prompt: (0..17).collect(), seeds: seeds(20, 2) },
        Request { prompt: vec![11; 40], seeds: seeds(30, 1) },
    ]
}

fn assert_same(own: &[Vec<Completion>], other: &[Vec<Completion>], what: &str) {
    for (own, other) in own.iter().flatten().zip(other.iter().flatten()) {
        assert_eq!((&own.ids, own.finish), (&other.ids, other.finish), "{what}");
        assert!(difference(&own.log_probs(), &other.log_probs()) < 1e-4, "{what}");
    }
}

/// Prompts of unequal length, completions that leave early or reach the context, requests that wait.
#[test]
fn completions_equal_the_engine() {
    for family in Family::ALL {
        let (decoder, params) = lively(family);
        let mut cpu = Cpu::new(1, Precision::F32);
        let engine = Engine::new(&decoder, Params::F32(&params));
        let mut other = TensorEngine::new(&decoder, &params, &device(), Precision::F32).unwrap();
        let stop = Stop { ids: vec![13, 17], max_new_tokens: 30, ..Stop::default() };
        let warm = Sampling { temperature: 0.8, top_k: 12, ..Sampling::default() };
        let penalties =
            Sampling { frequency_penalty: 0.5, repetition_penalty: 1.3, ..warm.clone() };
        for sampling in [Sampling::greedy(), warm, penalties] {
            let mut watch = |_, _, _| true;
            let own = engine.generate(&mut cpu, &requests(), &sampling, &stop, &mut watch).unwrap();
            for max_batch in [64, 3] {
                other.max_batch = max_batch;
                let theirs = other.generate(&requests(), &sampling, &stop, &mut watch).unwrap();
                assert_same(&own, &theirs, &format!("{family:?} {max_batch}"));
            }
        }
        let ids = ids(20, 9);
        let scored = engine.score(&mut cpu, &ids, 0).unwrap();
        let other = other.score(&ids).unwrap();
        for (a, b) in scored.iter().zip(&other) {
            assert!(a.id == b.id && (a.log_prob - b.log_prob).abs() < 1e-4);
        }
    }
}

#[test]
fn who_watches_ends_a_completion_and_bad_prompts_say_so() {
    let (decoder, params) = lively(Family::Llama);
    let engine = TensorEngine::new(&decoder, &params, &device(), Precision::F32).unwrap();
    let stop = Stop { max_new_tokens: 8, ..Stop::default() };
    let (sampling, requests) = (Sampling::greedy(), requests());
    let mut drawn = 0;
    let mut watch = |request, completion, _| {
        drawn += usize::from((request, completion) == (0, 1));
        (request, completion) != (0, 1) || drawn < 3
    };
    let done = engine.generate(&requests, &sampling, &stop, &mut watch).unwrap();
    assert_eq!((done[0][1].ids.len(), done[0][0].ids.len()), (3, 8));
    assert_eq!(done[0][1].finish, crate::generate::Finish::Cancelled);
    for (prompt, says) in [(vec![], "no tokens"), (vec![29], "29"), (vec![1; 49], "49")] {
        let request = Request { prompt, seeds: vec![SeedSequence::new(0)] };
        let error = engine.generate(&[request], &sampling, &stop, &mut |_, _, _| true);
        assert!(error.unwrap_err().to_string().contains(says));
    }
    let none = Stop { max_new_tokens: 0, ..Stop::default() };
    let done = engine.generate(&requests, &sampling, &none, &mut |_, _, _| true).unwrap();
    assert!(done.iter().flatten().all(|completion| completion.ids.is_empty()));
}

/// A learner generates with what it has learned, its adapter too.
#[test]
fn learners_generate_the_same() {
    let adapters = lora(0.0, "all-linear");
    for lora in [None, Some(&adapters)] {
        let mut own = learner(Family::Llama, lora, 1.into());
        let mut other = learner(Family::Llama, lora, Machine::Tensor(device()));
        preference_step(&mut own, 0);
        preference_step(&mut other, 0);
        let stop = Stop { max_new_tokens: 12, ..Stop::default() };
        let sampling = Sampling::greedy();
        let theirs = other.generate(&requests(), &sampling, &stop).unwrap();
        assert_same(&own.generate(&requests(), &sampling, &stop).unwrap(), &theirs, "learner");
    }
}

/// In bf16 both round what they multiply, though not in the same places.
#[test]
fn bf16_is_close() {
    let (decoder, params) = lively(Family::Llama);
    let device = device();
    if let Err(error) = TensorEngine::new(&decoder, &params, &device, Precision::Bf16) {
        assert_ne!(device.kind(), DeviceKind::Flex, "{error}");
        assert!(error.to_string().contains("use the precision f32"), "{error}");
        return;
    }
    let [half, whole] = [Precision::Bf16, Precision::F32].map(|precision| {
        let engine = TensorEngine::new(&decoder, &params, &device, precision).unwrap();
        let scored = engine.score(&ids(20, 9)).unwrap();
        scored.into_iter().map(|scored| scored.log_prob).collect::<Vec<f32>>()
    });
    let apart = difference(&half, &whole);
    assert!(apart > 1e-5 && apart < 0.05, "{apart}");
}

#[test]
fn devices_say_what_is_missing() {
    for kind in DeviceKind::ALL {
        assert_eq!(kind.as_str().parse::<DeviceKind>().unwrap(), kind);
    }
    let error = "tpu".parse::<DeviceKind>().unwrap_err().to_string();
    assert!(error.contains("tpu") && error.contains("vulkan"), "{error}");
    assert_eq!(DeviceKind::Flex.open(1).unwrap().name(), "flex");
    if cfg!(not(feature = "metal")) {
        let error = DeviceKind::Metal.open(1).unwrap_err().to_string();
        assert!(error.contains("--features metal"), "{error}");
    }
}

#[test]
fn arrays_come_back_as_they_went() {
    let (decoder, params) = lively(Family::Gpt2);
    let device = device();
    let parts = parts_of(decoder.layout());
    let mut arrays = Arrays::upload(&parts, &params, &device.handle);
    assert_eq!(arrays.download(), params);
    assert!(Arrays::zeros(&parts, &device.handle).download().iter().all(|&x| x == 0.0));
    let norm = params.iter().map(|&x| f64::from(x * x)).sum::<f64>().sqrt();
    assert!((arrays.norm() / norm - 1.0).abs() < 1e-5);
    arrays.add(0, matrix(vec![1.0; 29 * 24], [29, 24], &device.handle));
    assert_eq!(numbers(arrays.get(0))[5], params[5] + 1.0);
}
