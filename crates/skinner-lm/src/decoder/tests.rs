use skinner_core::{Rng, SeedSequence};
use skinner_nn::matrix::{Cpu, Precision};

use super::*;
use crate::config::RopeScaling;

fn config(family: Family) -> ModelConfig {
    let gpt2 = family == Family::Gpt2;
    ModelConfig {
        family,
        vocab_size: 23,
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: if gpt2 { 4 } else { 2 },
        head_dim: 4,
        max_position_embeddings: 200,
        norm_eps: 1e-5,
        rope_theta: 100.0,
        rope_scaling: (family == Family::Qwen2).then_some(RopeScaling::Linear { factor: 2.0 }),
        tie_word_embeddings: family != Family::Qwen2,
        bos_token_id: None,
        eos_token_ids: vec![],
        pad_token_id: None,
    }
}

const FAMILIES: [Family; 4] = [Family::Llama, Family::Qwen2, Family::Qwen3, Family::Gpt2];

/// A decoder with lively weights: every vector differs from its usual initial value.
fn lively(family: Family) -> (Decoder, Vec<f32>) {
    let decoder = Decoder::new(config(family)).unwrap();
    let mut rng = Rng::new(3);
    let mut params = decoder.init(&mut rng);
    params.iter_mut().for_each(|x| *x += 0.2 * rng.normal() as f32);
    (decoder, params)
}

fn segments(lengths: &[usize]) -> Vec<Segment> {
    let end = |i: usize| lengths[..i].iter().sum();
    (0..lengths.len()).map(|i| (end(i), end(i + 1)).into()).collect()
}

/// Segments of which the first is the others' prefix.
fn behind_the_first(lengths: &[usize]) -> Vec<Segment> {
    let mut segments = segments(lengths);
    segments[1..].iter_mut().for_each(|segment| segment.prefix = Some((0, lengths[0])));
    segments
}

fn targets(ids: &[u32], segments: &[Segment]) -> Vec<Target> {
    let within = |segment: &Segment| {
        let rows: Vec<usize> = segment.seen().collect();
        let own = segment.before().max(1)..rows.len();
        own.map(|i| Target { row: rows[i - 1], id: ids[rows[i]] }).collect::<Vec<_>>()
    };
    segments.iter().flat_map(within).collect()
}

struct Case<'a> {
    decoder: &'a Decoder,
    lora: Option<&'a LoraLayout>,
    ids: Vec<u32>,
    segments: Vec<Segment>,
    seeds: Option<Vec<SeedSequence>>,
    keep: Keep,
    threads: usize,
}

impl Case<'_> {
    /// `Σ c log_prob + ½ c entropy` with fixed coefficients, and its gradient.
    fn run(&self, params: &[f32], adapter: &[f32]) -> (f64, Vec<f32>) {
        let adapter_of = self.lora.map(|layout| Adapter { layout, params: adapter });
        let model = Model { params: Params::F32(params), adapter: adapter_of };
        let mut cpu = Cpu::new(self.threads, Precision::F32);
        let dropout = self.seeds.as_deref();
        let batch = Batch { ids: &self.ids, segments: &self.segments, dropout };
        let mut tape = Tape::default();
        self.decoder.forward(&mut cpu, &model, &batch, &mut tape, self.keep, |_, _| {});
        let head = Head::at_temperature(self.decoder, 0.7);
        let targets = targets(&self.ids, &self.segments);
        let scores = head.scores(&mut cpu, &model.params, &tape.hidden, &targets, true);
        let weight = |t: &Target| 0.3 + (t.id % 5) as f32 * 0.2;
        let d: Vec<f32> = targets.iter().map(weight).collect();
        let d_entropy: Vec<f32> = d.iter().map(|d| 0.5 * d).collect();
        let terms = scores.log_prob.iter().zip(&scores.entropy).zip(&d);
        let loss = terms.map(|((l, h), d)| f64::from(*d) * (f64::from(*l) + 0.5 * f64::from(*h)));
        let loss = loss.sum();
        let len = self.lora.map_or(params.len(), LoraLayout::num_params);
        let mut sink = vec![0.0; len];
        let mut grad = match self.lora {
            Some(_) => Gradient::Adapter(&mut sink),
            None => Gradient::Full(&mut sink),
        };
        let mut d_hidden = vec![0.0; tape.hidden.len()];
        let gradients = (&d[..], &d_entropy[..]);
        head.backward(
            &mut cpu,
            &model,
            &tape.hidden,
            &targets,
            gradients,
            &mut d_hidden,
            &mut grad,
        );
        let d = self.decoder.backward(&mut cpu, &model, &batch, &mut tape, &d_hidden, &mut grad);
        if self.lora.is_none() {
            self.decoder.embed_backward(&batch, &d, &mut sink);
        }
        (loss, sink)
    }
}

fn ids(n: usize, rng: &mut Rng) -> Vec<u32> {
    (0..n).map(|_| rng.below(23) as u32).collect()
}

/// The slope along random directions of each tensor against differences of the loss.
fn check_slopes(
    tensors: &[TensorAt],
    at: &[f32],
    grad: &[f32],
    loss: &dyn Fn(&[f32]) -> f64,
    what: &str,
) {
    let mut rng = Rng::new(11);
    for tensor in tensors {
        let range = tensor.range();
        let direction: Vec<f32> = range.clone().map(|_| rng.normal() as f32).collect();
        let moved = |h: f32| {
            let mut p = at.to_vec();
            p[range.clone()].iter_mut().zip(&direction).for_each(|(p, d)| *p += h * d);
            loss(&p)
        };
        let difference = |h: f32| (moved(h) - moved(-h)) / (2.0 * f64::from(h));
        // Richardson's extrapolation.
        let slope = (4.0 * difference(2e-3) - difference(4e-3)) / 3.0;
        let along: f64 = grad[range.clone()]
            .iter()
            .zip(&direction)
            .map(|(g, d)| f64::from(*g) * f64::from(*d))
            .sum();
        let tolerance = 0.02 * (slope.abs() + 0.05);
        assert!(
            (slope - along).abs() < tolerance,
            "{what} {}: {along} is not {slope}",
            tensor.name
        );
    }
}

#[test]
fn gradients_of_all_families_are_slopes() {
    for family in FAMILIES {
        let (decoder, params) = lively(family);
        let case = Case {
            decoder: &decoder,
            lora: None,
            ids: ids(17, &mut Rng::new(5)),
            segments: segments(&[9, 1, 7]),
            seeds: None,
            keep: Keep::Everything,
            threads: 1,
        };
        let (_, grad) = case.run(&params, &[]);
        let loss = |p: &[f32]| case.run(p, &[]).0;
        check_slopes(decoder.layout().tensors(), &params, &grad, &loss, &format!("{family:?}"));
    }
}

#[test]
fn gradients_behind_a_prefix_are_slopes() {
    for family in FAMILIES {
        let (decoder, params) = lively(family);
        let case = Case {
            decoder: &decoder,
            lora: None,
            ids: ids(17, &mut Rng::new(5)),
            segments: behind_the_first(&[6, 4, 1, 6]),
            seeds: None,
            keep: Keep::Everything,
            threads: 1,
        };
        let (_, grad) = case.run(&params, &[]);
        let loss = |p: &[f32]| case.run(p, &[]).0;
        check_slopes(decoder.layout().tensors(), &params, &grad, &loss, &format!("{family:?}"));
    }
}

/// Completions behind a prompt that is run once have the hidden states, by bytes, of those that repeat it.
#[test]
fn a_prefix_stands_for_its_repetition() {
    for family in FAMILIES {
        let (decoder, params) = lively(family);
        let model = Model { params: Params::F32(&params), adapter: None };
        let shared = behind_the_first(&[70, 3, 66, 1]);
        let all = ids(140, &mut Rng::new(8));
        let width = decoder.config().hidden_size;
        let mut cpu = Cpu::new(2, Precision::F32);
        let mut tape = Tape::default();
        let batch = Batch { ids: &all, segments: &shared, dropout: None };
        decoder.forward(&mut cpu, &model, &batch, &mut tape, Keep::Nothing, |_, _| {});
        let hidden = tape.hidden.clone();
        for segment in &shared {
            let ids: Vec<u32> = segment.seen().map(|t| all[t]).collect();
            let whole = [(0, ids.len()).into()];
            let batch = Batch { ids: &ids, segments: &whole, dropout: None };
            decoder.forward(&mut cpu, &model, &batch, &mut tape, Keep::Nothing, |_, _| {});
            let own = segment.start * width..segment.end * width;
            assert!(tape.hidden[segment.before() * width..] == hidden[own], "{family:?}");
        }
    }
}

#[test]
fn gradients_of_adapters_are_slopes() {
    for family in [Family::Llama, Family::Gpt2] {
        let (decoder, params) = lively(family);
        let lora = LoraConfig {
            rank: 3,
            alpha: 5.0,
            dropout: 0.25,
            target_modules: vec!["all-linear".into()],
            merge: false,
        };
        let layout = LoraLayout::new(&lora, decoder.layout()).unwrap();
        let mut rng = Rng::new(4);
        let mut adapter = layout.init(&mut rng);
        adapter.iter_mut().for_each(|x| *x += 0.1 * rng.normal() as f32);
        let case = Case {
            decoder: &decoder,
            lora: Some(&layout),
            ids: ids(12, &mut Rng::new(5)),
            segments: segments(&[8, 4]),
            seeds: Some(vec![SeedSequence::new(1), SeedSequence::new(2)]),
            keep: Keep::Inputs,
            threads: 1,
        };
        let (_, grad) = case.run(&params, &adapter);
        let loss = |p: &[f32]| case.run(&params, p).0;
        check_slopes(layout.tensors(), &adapter, &grad, &loss, &format!("{family:?} adapters"));
    }
}

/// Threads, activation checkpointing and what else is in the batch change no bit.
#[test]
fn the_same_bits_however_it_is_computed() {
    for family in FAMILIES {
        let (decoder, params) = lively(family);
        let lengths = [70, 3, 130];
        let case = |keep, threads| Case {
            decoder: &decoder,
            lora: None,
            ids: ids(203, &mut Rng::new(6)),
            segments: segments(&lengths),
            seeds: None,
            keep,
            threads,
        };
        let (loss, grad) = case(Keep::Everything, 1).run(&params, &[]);
        for (keep, threads) in [(Keep::Inputs, 1), (Keep::Everything, 2), (Keep::Inputs, 3)] {
            let (other_loss, other) = case(keep, threads).run(&params, &[]);
            assert_eq!((loss, &grad), (other_loss, &other), "{family:?} {keep:?} {threads}");
        }
        // One sequence at a time: the same gradients, added up in the same order.
        let model = Model { params: Params::F32(&params), adapter: None };
        let whole = case(Keep::Everything, 1);
        let mut hidden = Vec::new();
        let mut cpu = Cpu::new(2, Precision::F32);
        let mut tape = Tape::default();
        for segment in &whole.segments {
            let alone = [(0, segment.len()).into()];
            let ids = &whole.ids[segment.start..segment.end];
            let batch = Batch { ids, segments: &alone, dropout: None };
            decoder.forward(&mut cpu, &model, &batch, &mut tape, Keep::Nothing, |_, _| {});
            hidden.extend_from_slice(&tape.hidden);
        }
        let batch = Batch { ids: &whole.ids, segments: &whole.segments, dropout: None };
        decoder.forward(&mut cpu, &model, &batch, &mut tape, Keep::Nothing, |_, _| {});
        assert_eq!(hidden, tape.hidden, "{family:?}");
    }
}

/// Gradients of one sequence after the other are those of all at once, by bytes (f32).
#[test]
fn accumulation_is_exact() {
    for family in FAMILIES {
        let (decoder, params) = lively(family);
        let all = ids(90, &mut Rng::new(7));
        let lengths = segments(&[30, 41, 19]);
        let model = Model { params: Params::F32(&params), adapter: None };
        let mut cpu = Cpu::new(2, Precision::F32);
        let mut accumulate = |groups: &[std::ops::Range<usize>]| {
            let (mut sink, mut embedded) = (vec![0.0; params.len()], Vec::new());
            for group in groups {
                let from = lengths[group.start].start;
                let own: Vec<Segment> = lengths[group.clone()]
                    .iter()
                    .map(|s| (s.start - from, s.end - from).into())
                    .collect();
                let ids = &all[from..from + own[own.len() - 1].end];
                let batch = Batch { ids, segments: &own, dropout: None };
                let mut tape = Tape::default();
                decoder.forward(&mut cpu, &model, &batch, &mut tape, Keep::Everything, |_, _| {});
                let mut d_hidden = vec![0.0; tape.hidden.len()];
                let targets = targets(ids, &own);
                let mut grad = Gradient::Full(&mut sink);
                Head::new(&decoder).scores_and_backward(
                    &mut cpu,
                    &model,
                    &tape.hidden,
                    &targets,
                    &mut d_hidden,
                    &mut grad,
                    |log_probs| log_probs.iter().map(|_| -1.0 / 87.0).collect(),
                );
                let d = decoder.backward(&mut cpu, &model, &batch, &mut tape, &d_hidden, &mut grad);
                embedded.push((ids, own, d));
            }
            for (ids, own, d) in embedded {
                let batch = Batch { ids, segments: &own, dropout: None };
                decoder.embed_backward(&batch, &d, &mut sink);
            }
            sink
        };
        let one_by_one = accumulate(&[0..1, 1..2, 2..3]);
        let whole = 0..3;
        let (mixed, at_once) = (accumulate(&[0..2, 2..3]), accumulate(&[whole]));
        assert_eq!(one_by_one, at_once, "{family:?}");
        assert_eq!(one_by_one, mixed, "{family:?}");
    }
}

#[test]
fn merged_adapters_compute_the_same() {
    let (decoder, params) = lively(Family::Llama);
    let lora = LoraConfig {
        rank: 2,
        alpha: 4.0,
        dropout: 0.0,
        target_modules: vec!["q_proj".into(), "down_proj".into()],
        merge: false,
    };
    let layout = LoraLayout::new(&lora, decoder.layout()).unwrap();
    let mut rng = Rng::new(4);
    let adapter: Vec<f32> = (0..layout.num_params()).map(|_| 0.2 * rng.normal() as f32).collect();
    let mut merged = params.clone();
    layout.merge(&adapter, decoder.layout(), &mut merged);
    let hidden = |model: Model<'_>| {
        let mut tape = Tape::default();
        let batch = Batch { ids: &[1, 2, 3, 4], segments: &[(0, 4).into()], dropout: None };
        let mut cpu = Cpu::new(1, Precision::F32);
        decoder.forward(&mut cpu, &model, &batch, &mut tape, Keep::Nothing, |_, _| {});
        tape.hidden
    };
    let adapter = Some(Adapter { layout: &layout, params: &adapter });
    let with = hidden(Model { params: Params::F32(&params), adapter });
    let without = hidden(Model { params: Params::F32(&merged), adapter: None });
    assert!(with.iter().zip(&without).all(|(a, b)| (a - b).abs() < 1e-4));
    let plain = hidden(Model { params: Params::F32(&params), adapter: None });
    assert!(with.iter().zip(&plain).any(|(a, b)| (a - b).abs() > 1e-2));
}

#[test]
fn bad_adapters_say_so() {
    let layout = Layout::new(&config(Family::Llama));
    let check = |lora: LoraConfig, expected: &str| {
        let error = LoraLayout::new(&lora, &layout).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let good = LoraConfig {
        rank: 2,
        alpha: 4.0,
        dropout: 0.0,
        target_modules: vec!["q_proj".into()],
        merge: false,
    };
    check(LoraConfig { rank: 0, ..good.clone() }, "rank is 0");
    check(LoraConfig { dropout: 1.0, ..good.clone() }, "dropout is 1");
    let target_modules = vec!["c_attn".into()];
    check(LoraConfig { target_modules, ..good.clone() }, "down_proj, gate_proj, k_proj");
    check(LoraConfig { target_modules: vec![], ..good }, "nothing would be trained");
}
