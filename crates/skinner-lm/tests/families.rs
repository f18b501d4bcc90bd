//! Every family against transformers, on tiny random models with all their parts. `data/families/make.py` made the models and the
//! expected values (torch 2.15, f32, eager attention).

use std::path::PathBuf;

use serde_json::Value;
use skinner_core::SeedSequence;
use skinner_lm::decoder::{Batch, Gradient, Head, Keep, Model, Params, Tape, Target};
use skinner_lm::generate::{Engine, Request, Sampling, Stop};
use skinner_lm::weights::Weights;
use skinner_lm::{Decoder, hf_folder};
use skinner_nn::matrix::{Cpu, Precision};

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    numbers(value).into_iter().map(|x| x as u32).collect()
}

fn close(got: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((got - expected).abs() <= tolerance, "{what}: {got} is not {expected}");
}

#[test]
fn every_family_is_transformers() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/families");
    let expected = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    for (name, expected) in expected.as_object().unwrap() {
        let path = folder.join(name);
        let config = hf_folder::read_config(&path).unwrap();
        let weights = Weights::from_folder(&path, &config).unwrap();
        let decoder = Decoder::new(config).unwrap();
        let mut params = vec![0.0; decoder.layout().num_params()];
        for tensor in decoder.layout().tensors() {
            weights.read(&tensor.name, &mut params[tensor.range()]).unwrap();
        }
        let given = ids(&expected["ids"]);
        let mut cpu = Cpu::new(2, Precision::F32);
        let model = Model { params: Params::F32(&params), adapter: None };
        let segments = [(0, given.len()).into()];
        let batch = Batch { ids: &given, segments: &segments, dropout: None };
        let mut tape = Tape::default();
        decoder.forward(&mut cpu, &model, &batch, &mut tape, Keep::Everything, |_, _| {});
        let targets: Vec<Target> =
            (1..given.len()).map(|i| Target { row: i - 1, id: given[i] }).collect();
        let (mut d_hidden, mut grad) = (vec![0.0; tape.hidden.len()], vec![0.0; params.len()]);
        let mut sink = Gradient::Full(&mut grad);
        let head = Head::new(&decoder);
        let width = decoder.config().hidden_size;
        let last = tape.hidden[tape.hidden.len() - width..].to_vec();
        let logits = head.logits(&mut cpu, &model.params, &last);
        for (got, expected) in logits.iter().zip(numbers(&expected["last_logits"])) {
            close(f64::from(*got), expected, 1e-4, &format!("{name}: a logit"));
        }
        let total = targets.len() as f32;
        let log_probs = head.scores_and_backward(
            &mut cpu,
            &model,
            &tape.hidden,
            &targets,
            &mut d_hidden,
            &mut sink,
            |log_probs| vec![-1.0 / total; log_probs.len()],
        );
        let expected_log_probs = numbers(&expected["log_probs"]);
        assert_eq!(log_probs.len(), expected_log_probs.len());
        for (got, expected) in log_probs.iter().zip(expected_log_probs) {
            close(f64::from(*got), expected, 1e-4, &format!("{name}: a log-probability"));
        }
        let d = decoder.backward(&mut cpu, &model, &batch, &mut tape, &d_hidden, &mut sink);
        decoder.embed_backward(&batch, &d, &mut grad);
        let norm = grad.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        let expected_norm = expected["grad_norm"].as_f64().unwrap();
        close(norm, expected_norm, 1e-4 * expected_norm, &format!("{name}: the gradient's norm"));
        let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
        let stop = Stop { max_new_tokens: 12, ..Stop::default() };
        let request = Request { prompt: given, seeds: vec![SeedSequence::new(0)] };
        let engine = Engine::new(&decoder, Params::F32(&params));
        let done =
            engine.generate(&mut cpu, &[request], &greedy, &stop, &mut |_, _, _| true).unwrap();
        assert_eq!(done[0][0].ids, ids(&expected["greedy"]), "{name}");
    }
}
