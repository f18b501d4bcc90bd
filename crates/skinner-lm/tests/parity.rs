//! The decoder against PyTorch, on the real model. The values in `data/smollm2.json` are transformers' (torch
//! 2.15, f32, eager attention) of SmolLM2-135M-Instruct, `Q4_1` dequantised.

mod common;

use serde_json::Value;
use skinner_lm::Decoder;
use skinner_lm::decoder::{Batch, Gradient, Head, Keep, Model, Params, Segment, Tape, Target};
use skinner_nn::matrix::{Cpu, Precision};
use skinner_nn::{AdamW, AdamWConfig};

fn golden() -> Value {
    serde_json::from_str(include_str!("data/smollm2.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    numbers(value).into_iter().map(|x| x as u32).collect()
}

fn next_tokens(ids: &[u32]) -> Vec<Target> {
    (1..ids.len()).map(|i| Target { row: i - 1, id: ids[i] }).collect()
}

struct Loaded {
    decoder: Decoder,
    params: Vec<f32>,
}

fn load() -> Option<Loaded> {
    let pretrained = common::smollm2()?;
    let decoder = Decoder::new(pretrained.config.clone()).unwrap();
    let mut params = vec![0.0; decoder.layout().num_params()];
    for tensor in decoder.layout().tensors() {
        pretrained.weights.read(&tensor.name, &mut params[tensor.range()]).unwrap();
    }
    Some(Loaded { decoder, params })
}

fn close(got: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((got - expected).abs() <= tolerance, "{what}: {got} is not {expected}");
}

/// Log-probabilities within 1e-3 and logits within 2e-3 of PyTorch's, in one packed batch; the loss within
/// 1e-4, gradient norms within 0.1 %, and four `AdamW` steps within 1e-3.
#[test]
fn scores_gradients_and_steps_are_pytorchs() {
    let Some(Loaded { decoder, mut params }) = load() else { return };
    let golden = golden();
    let cases = golden["cases"].as_array().unwrap();
    let mut cpu = Cpu::new(2, Precision::F32);
    let mut tape = Tape::default();
    let all: Vec<Vec<u32>> = cases.iter().map(|case| ids(&case["ids"])).collect();
    let mut segments = Vec::new();
    for ids in &all {
        let start = segments.last().map_or(0, |s: &Segment| s.end);
        segments.push((start, start + ids.len()).into());
    }
    let packed = all.concat();
    let batch = Batch { ids: &packed, segments: &segments, dropout: None };
    let model = Model { params: Params::F32(&params), adapter: None };
    decoder.forward(&mut cpu, &model, &batch, &mut tape, Keep::Nothing, |_, _| {});
    let head = Head::new(&decoder);
    let width = decoder.config().hidden_size;
    for (case, (segment, ids)) in cases.iter().zip(segments.iter().zip(&all)) {
        let hidden = &tape.hidden[segment.start * width..segment.end * width];
        let scores = head.scores(&mut cpu, &model.params, hidden, &next_tokens(ids), false);
        let expected = numbers(&case["log_probs"]);
        assert_eq!(scores.log_prob.len(), expected.len());
        for (got, expected) in scores.log_prob.iter().zip(expected) {
            close(f64::from(*got), expected, 1e-3, "a log-probability");
        }
        let logits = head.logits(&mut cpu, &model.params, &hidden[hidden.len() - width..]);
        let top = &case["last_logits_top8"];
        for (id, expected) in numbers(&top["ids"]).iter().zip(numbers(&top["logits"])) {
            close(f64::from(logits[*id as usize]), expected, 2e-3, "a logit");
        }
    }

    let sequence = &all[golden["sft"]["case"].as_u64().unwrap() as usize];
    let segment = [(0, sequence.len()).into()];
    let batch = Batch { ids: sequence, segments: &segment, dropout: None };
    let targets = next_tokens(sequence);
    let mut adam = AdamW::new(AdamWConfig::default(), params.len());
    let mut grad = vec![0.0; params.len()];
    for (step, expected) in numbers(&golden["adamw_losses"]["losses"]).into_iter().enumerate() {
        let model = Model { params: Params::F32(&params), adapter: None };
        decoder.forward(&mut cpu, &model, &batch, &mut tape, Keep::Everything, |_, _| {});
        let mut d_hidden = vec![0.0; tape.hidden.len()];
        let mut sink = Gradient::Full(&mut grad);
        let total = targets.len() as f32;
        let scores = Head::new(&decoder).scores_and_backward(
            &mut cpu,
            &model,
            &tape.hidden,
            &targets,
            &mut d_hidden,
            &mut sink,
            |log_probs| vec![-1.0 / total; log_probs.len()],
        );
        let d = decoder.backward(&mut cpu, &model, &batch, &mut tape, &d_hidden, &mut sink);
        decoder.embed_backward(&batch, &d, &mut grad);
        let loss = -scores.iter().map(|&s| f64::from(s)).sum::<f64>() / f64::from(total);
        close(loss, expected, if step == 0 { 1e-4 } else { 1e-3 }, "a loss");
        if step == 0 {
            let norm = |g: &[f32]| g.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
            let expected = golden["sft"]["grad_norm"].as_f64().unwrap();
            close(norm(&grad), expected, 1e-3 * expected, "the gradient's norm");
            for (name, expected) in golden["sft"]["grad_norm_by_tensor"].as_object().unwrap() {
                let tensors = decoder.layout().tensors();
                let tensor = tensors.iter().find(|t| t.name == *name).unwrap();
                let expected = expected.as_f64().unwrap();
                close(norm(&grad[tensor.range()]), expected, 1e-3 * expected, name);
            }
        }
        let rate = golden["adamw_losses"]["learning_rate"].as_f64().unwrap() as f32;
        let tensors = decoder.layout().tensors().iter().map(|t| (t.range(), t.decays()));
        adam.step(&mut cpu.team, &mut params, &mut grad, tensors, rate, None);
    }
}
