use skinner_nn::matrix::Precision;

use super::*;
use crate::config::{Family, ModelConfig};
use crate::decoder::{HalfParams, Head, LoraConfig, LoraLayout, Target};

fn lively(family: Family) -> (Decoder, Vec<f32>) {
    let gpt2 = family == Family::Gpt2;
    let config = ModelConfig {
        family,
        vocab_size: 29,
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 2,
        num_attention_heads: 6,
        num_key_value_heads: if gpt2 { 6 } else { 2 },
        head_dim: 4,
        max_position_embeddings: 40,
        norm_eps: 1e-5,
        rope_theta: 100.0,
        rope_scaling: None,
        tie_word_embeddings: true,
        bos_token_id: None,
        eos_token_ids: vec![],
        pad_token_id: None,
    };
    let decoder = Decoder::new(config).unwrap();
    let mut rng = Rng::new(3);
    let mut params = decoder.init(&mut rng);
    params.iter_mut().for_each(|x| *x += 0.15 * rng.normal() as f32);
    (decoder, params)
}

fn stop(max_new_tokens: usize) -> Stop<'static> {
    Stop { max_new_tokens, ..Stop::default() }
}

fn requests() -> Vec<Request> {
    let seeds = |from: u64, n: u64| (from..from + n).map(SeedSequence::new).collect();
    vec![
        Request { prompt: vec![1, 2, 3, 4, 5], seeds: seeds(0, 3) },
        Request { prompt: vec![7], seeds: seeds(10, 1) },
        Request { prompt: (0..17).collect(), seeds: seeds(20, 2) },
    ]
}

fn run(
    engine: &Engine<'_>,
    requests: &[Request],
    threads: usize,
    stop: &Stop<'_>,
) -> Vec<Vec<Completion>> {
    let mut cpu = Cpu::new(threads, Precision::F32);
    let sampling = Sampling { temperature: 0.8, ..Sampling::default() };
    engine.generate(&mut cpu, requests, &sampling, stop, &mut |_, _, _| true).unwrap()
}

/// What the cache says is what a run of the whole sequence says.
#[test]
fn log_probs_are_those_of_the_whole_sequence() {
    for family in [Family::Llama, Family::Qwen2, Family::Qwen3, Family::Gpt2] {
        let (decoder, params) = lively(family);
        let engine = Engine::new(&decoder, Params::F32(&params));
        for (request, completions) in requests().iter().zip(run(&engine, &requests(), 2, &stop(12)))
        {
            for completion in completions {
                assert_eq!((completion.ids.len(), completion.finish), (12, Finish::Length));
                let ids = [&request.prompt[..], &completion.ids].concat();
                let mut cpu = Cpu::new(1, Precision::F32);
                let mut tape = Tape::default();
                let model = Model { params: Params::F32(&params), adapter: None };
                let segments = [(0, ids.len()).into()];
                let batch = Batch { ids: &ids, segments: &segments, dropout: None };
                decoder.forward(&mut cpu, &model, &batch, &mut tape, Keep::Nothing, |_, _| {});
                let from = request.prompt.len();
                let targets: Vec<Target> =
                    (from..ids.len()).map(|i| Target { row: i - 1, id: ids[i] }).collect();
                let head = Head::at_temperature(&decoder, 0.8);
                let scores = head.scores(&mut cpu, &model.params, &tape.hidden, &targets, false);
                for (a, b) in completion.log_probs().iter().zip(scores.log_prob) {
                    assert!((a - b).abs() < 1e-4, "{family:?}: {a} is not {b}");
                }
            }
        }
    }
}

/// Packed weights make the same completions, and those, too, have the same bits whatever is decoded beside them.
#[test]
fn packed_weights_are_as_good() {
    for family in [Family::Llama, Family::Qwen2, Family::Qwen3, Family::Gpt2] {
        let (decoder, params) = lively(family);
        let mut engine = Engine::new(&decoder, Params::F32(&params));
        let plain = run(&engine, &requests(), 1, &stop(12));
        let mut packed = PackedWeights::default();
        packed.pack(&mut Cpu::new(2, Precision::F32), &decoder, &params);
        engine.packed = Some(&packed);
        let all = run(&engine, &requests(), 1, &stop(12));
        for (a, b) in all.iter().flatten().zip(plain.iter().flatten()) {
            assert_eq!(a.ids, b.ids, "{family:?}");
            assert!(a.log_probs().iter().zip(b.log_probs()).all(|(a, b)| (a - b).abs() < 1e-4));
        }
        assert_eq!(all, run(&engine, &requests(), 3, &stop(12)), "{family:?} threads");
        for (request, completions) in requests().iter().zip(&all) {
            for (seed, completion) in request.seeds.iter().zip(completions) {
                let alone = Request { prompt: request.prompt.clone(), seeds: vec![seed.clone()] };
                assert_eq!(run(&engine, &[alone], 2, &stop(12)), [[completion.clone()]], "alone");
            }
        }
    }
}

/// With an adapter beside the weights it generates what the merged weights do.
#[test]
fn adapters_are_used() {
    let (decoder, params) = lively(Family::Llama);
    let target_modules = vec!["q_proj".into(), "v_proj".into(), "down_proj".into()];
    let config = LoraConfig { rank: 3, alpha: 6.0, dropout: 0.0, target_modules, merge: false };
    let layout = LoraLayout::new(&config, decoder.layout()).unwrap();
    let mut rng = Rng::new(4);
    let adapter: Vec<f32> = (0..layout.num_params()).map(|_| 0.2 * rng.normal() as f32).collect();
    let mut merged = params.clone();
    layout.merge(&adapter, decoder.layout(), &mut merged);
    let mut engine = Engine::new(&decoder, Params::F32(&params));
    let plain = run(&engine, &requests(), 2, &stop(10));
    engine.adapter = Some(Adapter { layout: &layout, params: &adapter });
    let adapted = run(&engine, &requests(), 2, &stop(10));
    let expected = run(&Engine::new(&decoder, Params::F32(&merged)), &requests(), 1, &stop(10));
    assert_ne!(plain, adapted);
    for (a, b) in adapted.iter().flatten().zip(expected.iter().flatten()) {
        assert_eq!(a.ids, b.ids);
        assert!(a.log_probs().iter().zip(b.log_probs()).all(|(a, b)| (a - b).abs() < 1e-4));
    }
}

/// By bytes: alone or in a batch, with one thread or three, one at a time or all at once.
#[test]
fn a_completion_does_not_depend_on_its_batch() {
    for family in [Family::Llama, Family::Gpt2] {
        let (decoder, params) = lively(family);
        let half = HalfParams::new(decoder.layout(), &params);
        for params in [Params::F32(&params), Params::Bf16(&half)] {
            let mut engine = Engine::new(&decoder, params);
            let all = run(&engine, &requests(), 1, &stop(9));
            assert_eq!(all, run(&engine, &requests(), 3, &stop(9)));
            engine.max_batch = 2;
            assert_eq!(all, run(&engine, &requests(), 2, &stop(9)));
            for (request, expected) in requests().iter().zip(&all) {
                for (seed, expected) in request.seeds.iter().zip(expected) {
                    let alone = Request { seeds: vec![seed.clone()], ..request.clone() };
                    assert_eq!(run(&engine, &[alone], 1, &stop(9))[0][0], *expected);
                }
            }
        }
    }
}

/// Prompts that begin like earlier ones have the bits that they have alone: of any length behind any beginning, over
/// the places where attention takes its blocks, and whatever is kept.
#[test]
fn what_is_kept_of_prompts_changes_no_bit() {
    for family in [Family::Llama, Family::Qwen2, Family::Qwen3, Family::Gpt2] {
        let config =
            ModelConfig { max_position_embeddings: 300, ..lively(family).0.config().clone() };
        let decoder = Decoder::new(config).unwrap();
        let mut rng = Rng::new(3);
        let mut params = decoder.init(&mut rng);
        params.iter_mut().for_each(|x| *x += 0.15 * rng.normal() as f32);
        let half = HalfParams::new(decoder.layout(), &params);
        let ids: Vec<u32> = (0..250).map(|i| (i * i + 7 * i) % 29).collect();
        let other = |at: usize| [&ids[..at], &[28, 1, 2]].concat();
        // What is known of each: longer ones, the same again, a shorter one, other ends.
        let prompts = [
            (ids[..7].to_vec(), 0),
            (ids[..40].to_vec(), 7),
            (ids[..41].to_vec(), 40),
            (ids[..41].to_vec(), 40),
            (ids[..130].to_vec(), 41),
            (other(64), 64),
            (other(20), 20),
            (ids[..9].to_vec(), 8),
            (ids.clone(), 130),
            (vec![ids[0]], 0),
        ];
        let mut all = vec![Params::F32(&params)];
        all.push(Params::Bf16(&half));
        for params in all {
            let engine = Engine::new(&decoder, params);
            let terms = Terms { sampling: Sampling::default(), stop: stop(4), alternatives: 0 };
            for threads in [1, 3] {
                let mut cpu = Cpu::new(threads, Precision::F32);
                let mut session = engine.session().keep_prompts(1000);
                for (i, (prompt, expected)) in prompts.iter().enumerate() {
                    let seeds = vec![SeedSequence::new(i as u64)];
                    let request = Request { prompt: prompt.clone(), seeds };
                    let requests = std::slice::from_ref(&request);
                    let known = session.enter(&mut cpu, 0, requests, &terms).unwrap();
                    assert_eq!(known, *expected, "{family:?} {i}");
                    let mut fresh = engine.session();
                    assert_eq!(fresh.enter(&mut cpu, 0, requests, &terms).unwrap(), 0);
                    assert_eq!(session.logits, fresh.logits, "{family:?} {i}");
                    let mut drawn = Vec::new();
                    for session in [&mut session, &mut fresh] {
                        let mut ended = Vec::new();
                        while session.rows() > 0 {
                            ended.extend(session.advance(&mut cpu, &mut |_| true));
                        }
                        drawn.push(ended.remove(0).generated.unwrap());
                    }
                    assert_eq!(drawn[0], drawn[1], "{family:?} {i}");
                }
            }
        }
    }
}

/// The tokens kept are bounded, and those used last stay.
#[test]
fn old_prompts_are_forgotten() {
    let (decoder, params) = lively(Family::Llama);
    let engine = Engine::new(&decoder, Params::F32(&params));
    let mut cpu = Cpu::new(1, Precision::F32);
    let mut session = engine.session().keep_prompts(20);
    let terms = Terms { sampling: Sampling::greedy(), stop: stop(1), alternatives: 0 };
    let mut known = |first: u32, len: usize| {
        let request = Request { prompt: vec![first; len], seeds: vec![SeedSequence::new(0)] };
        session.enter(&mut cpu, 0, &[request], &terms).unwrap()
    };
    assert_eq!([known(1, 8), known(2, 8), known(1, 9)], [0, 0, 8]);
    // 8 of the second and 9 of the first: a third drives out the second, which was used least recently.
    assert_eq!([known(3, 8), known(1, 9), known(2, 8)], [0, 8, 0]);
    // One that is too long is not kept, and drives out all.
    assert_eq!([known(4, 21), known(4, 21), known(1, 9)], [0, 0, 0]);
}

#[test]
fn completions_end_where_they_should() {
    let (decoder, params) = lively(Family::Llama);
    let engine = Engine::new(&decoder, Params::F32(&params));
    let free = run(&engine, &requests(), 1, &stop(20));
    // A stop token ends a completion, and is its last.
    let id = free[0][0].ids[4];
    let stopped = run(&engine, &requests(), 1, &Stop { ids: vec![id], ..stop(20) });
    let first = free[0][0].ids.iter().position(|&x| x == id).unwrap();
    assert_eq!(stopped[0][0].ids, free[0][0].ids[..=first]);
    assert_eq!(stopped[0][0].finish, Finish::Stop);
    // The context of 40 ends others: a last token is drawn from its last position.
    let long = run(&engine, &requests(), 1, &stop(1000));
    let lengths: Vec<usize> = long.iter().map(|c| c[0].ids.len()).collect();
    assert_eq!(lengths, [36, 40, 24]);
    // Whoever watches may end one.
    let mut cpu = Cpu::new(1, Precision::F32);
    let mut seen = 0;
    let cancelled = engine
        .generate(&mut cpu, &requests(), &Sampling::default(), &stop(8), &mut |request, _, _| {
            seen += usize::from(request == 1);
            request != 1 || seen < 3
        })
        .unwrap();
    assert_eq!((cancelled[1][0].ids.len(), cancelled[1][0].finish), (3, Finish::Cancelled));
    assert_eq!(cancelled[2][1].ids.len(), 8);
}

/// Log-probabilities are those of the distribution that was drawn from: after penalties.
#[test]
fn penalties_change_what_is_drawn() {
    let (decoder, params) = lively(Family::Llama);
    let engine = Engine::new(&decoder, Params::F32(&params));
    let mut cpu = Cpu::new(1, Precision::F32);
    let mut generate = |sampling: &Sampling| {
        let mut watch = |_, _, _| true;
        engine.generate(&mut cpu, &requests()[1..2], sampling, &stop(20), &mut watch).unwrap()[0][0]
            .clone()
    };
    let free = generate(&Sampling::greedy());
    // Nothing outweighs this penalty, so no token comes twice, nor does that of the prompt.
    let once = generate(&Sampling { repetition_penalty: 100.0, ..Sampling::greedy() });
    let mut ids = [&requests()[1].prompt[..], &once.ids].concat();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "{:?}", once.ids);
    assert_ne!(once.ids, free.ids);
    // A reward for what was said raises its probability.
    let again = generate(&Sampling { frequency_penalty: -2.0, ..Sampling::greedy() });
    let probability = |completion: &Completion| completion.log_probs()[19];
    assert!(probability(&again) > probability(&free), "{again:?}");
}

#[test]
fn a_stop_string_ends_a_completion() {
    let text: String = (0..29u8).map(|i| char::from(b'A' + i)).collect();
    let tokenizer = Tokenizer::train_characters(&text, None, None).unwrap();
    let (decoder, params) = lively(Family::Llama);
    let engine = Engine::new(&decoder, Params::F32(&params));
    let free = run(&engine, &requests()[..1], 1, &stop(20));
    let string = tokenizer.decode(&free[0][0].ids[5..7], false).unwrap();
    let stop = Stop { strings: vec![string.clone()], tokenizer: Some(&tokenizer), ..stop(20) };
    let stopped = run(&engine, &requests()[..1], 1, &stop);
    let text = tokenizer.decode(&stopped[0][0].ids, false).unwrap();
    assert!(text.ends_with(&string) && stopped[0][0].ids.len() <= 7, "{text}");
    assert_eq!(stopped[0][0].finish, Finish::Stop);
}

/// A sequence whose logits are broken ends with an error that names it; the others go on.
#[test]
fn broken_weights_say_so() {
    let (decoder, mut params) = lively(Family::Llama);
    // The embedding of a token that the first prompt has and the second has not; as an output it is broken too.
    let width = decoder.config().hidden_size;
    let engine = Engine::new(&decoder, Params::F32(&params));
    let [good, ..] = &run(&engine, &requests()[1..2], 1, &stop(5))[0][..] else { panic!() };
    let good = good.clone();
    let embedding = decoder.layout().tensors()[0].range().start;
    params[embedding + 3 * width] = f32::NAN;
    let engine = Engine::new(&decoder, Params::F32(&params));
    let mut cpu = Cpu::new(2, Precision::F32);
    for temperature in [0.0, 0.8] {
        let sampling = Sampling { temperature, ..Sampling::default() };
        let error = engine
            .generate(&mut cpu, &requests()[1..], &sampling, &stop(5), &mut |_, _, _| true)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("request 0, completion 0, token 0: "), "{error}");
        assert!(error.contains("weights are broken"), "{error}");
    }
    // A head of its own keeps the damage with those whose prompts meet it.
    let mut config = decoder.config().clone();
    config.tie_word_embeddings = false;
    let decoder = Decoder::new(config).unwrap();
    let mut rng = Rng::new(3);
    let mut params = decoder.init(&mut rng);
    let embedding = decoder.layout().tensors()[0].range().start;
    params[embedding + 3 * width] = f32::INFINITY;
    let engine = Engine::new(&decoder, Params::F32(&params));
    let mut session = engine.session();
    let terms = Terms { sampling: Sampling::greedy(), stop: stop(3), alternatives: 0 };
    session.enter(&mut cpu, 0, &requests()[..2], &terms).unwrap();
    let mut ended = Vec::new();
    while session.rows() > 0 {
        ended.extend(session.advance(&mut cpu, &mut |_| true));
    }
    assert_eq!(ended.len(), 4);
    for ended in ended {
        match ended.request {
            0 => {
                let error = ended.generated.unwrap_err().to_string();
                let place = format!("request 0, completion {}, token 0", ended.completion);
                assert!(error.starts_with(&place), "{error}");
            }
            _ => assert_eq!(ended.generated.unwrap().ids.len(), good.ids.len().min(3)),
        }
    }
}

/// A tokenizer whose text cannot be told token by token says so, if a stop string is looked for in it.
#[test]
fn text_that_cannot_be_told_says_so() {
    let vocabulary: Vec<String> =
        (0..29u8).map(|i| format!("\"{}\": {i}", char::from(b'A' + i).escape_default())).collect();
    // A letter is taken back when another follows.
    let text = format!(
        r#"{{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": null, "post_processor": null,
            "decoder": {{"type": "Sequence", "decoders": [
                {{"type": "Fuse"}}, {{"type": "Replace", "pattern": {{"Regex": ".(?=.)"}}, "content": ""}}]}},
            "model": {{"type": "WordLevel", "vocab": {{{}}}, "unk_token": "A"}}}}"#,
        vocabulary.join(", ")
    );
    let tokenizer = Tokenizer::from_json(&text).unwrap();
    let (decoder, params) = lively(Family::Llama);
    let engine = Engine::new(&decoder, Params::F32(&params));
    let mut cpu = Cpu::new(1, Precision::F32);
    let stop = Stop { strings: vec!["nowhere".into()], tokenizer: Some(&tokenizer), ..stop(9) };
    let sampling = Sampling::default();
    let error = engine
        .generate(&mut cpu, &requests(), &sampling, &stop, &mut |_, _, _| true)
        .unwrap_err()
        .to_string();
    assert!(error.contains("takes back text"), "{error}");
    let stop = Stop { strings: Vec::new(), ..stop };
    engine.generate(&mut cpu, &requests(), &sampling, &stop, &mut |_, _, _| true).unwrap();
}

#[test]
fn bad_prompts_say_so() {
    let (decoder, params) = lively(Family::Llama);
    let engine = Engine::new(&decoder, Params::F32(&params));
    let error = |prompt: Vec<u32>| {
        let requests = [Request { prompt, seeds: vec![SeedSequence::new(1)] }];
        let mut cpu = Cpu::new(1, Precision::F32);
        let sampling = Sampling::default();
        let result = engine.generate(&mut cpu, &requests, &sampling, &stop(1), &mut |_, _, _| true);
        result.unwrap_err().to_string()
    };
    assert!(error(vec![]).contains("no tokens"));
    assert!(error(vec![29]).contains("29 is out of range"));
    assert!(error(vec![0; 41]).contains("41 tokens are more than the model's context of 40"));
}

/// Requests that come while others are under way, each with terms of its own, are what they are alone.
#[test]
fn requests_join_and_leave() {
    let (decoder, params) = lively(Family::Llama);
    let engine = Engine::new(&decoder, Params::F32(&params));
    let mut cpu = Cpu::new(2, Precision::F32);
    let terms = |i: usize| Terms {
        sampling: Sampling { temperature: 0.5 * i as f32, ..Sampling::default() },
        stop: stop(4 + 5 * i),
        alternatives: i,
    };
    let mut session = engine.session();
    let mut found = vec![Vec::new(); 3];
    let mut ended = 0;
    for step in 0..30 {
        if step % 3 == 0 && step / 3 < 3 {
            let i = step / 3;
            session.enter(&mut cpu, i, &requests()[i..=i], &terms(i)).unwrap();
        }
        for done in session.advance(&mut cpu, &mut |seen| seen.alternatives.len() == seen.request) {
            found[done.request].push((done.completion, done.generated.unwrap()));
            ended += 1;
        }
    }
    assert_eq!((ended, session.rows()), (6, 0));
    for (i, (request, mut found)) in requests().into_iter().zip(found).enumerate() {
        let Terms { sampling, stop, .. } = terms(i);
        let mut watch = |_, _, _| true;
        let alone = engine.generate(&mut cpu, &[request], &sampling, &stop, &mut watch).unwrap();
        found.sort_by_key(|(completion, _)| *completion);
        let found: Vec<Completion> = found.into_iter().map(|(_, generated)| generated).collect();
        assert_eq!(found, alone[0], "request {i}");
    }
    let none = session.enter(&mut cpu, 0, &requests(), &Terms { stop: stop(0), ..terms(1) });
    assert!(none.unwrap_err().to_string().contains("max_new_tokens = 0"));
}

/// Given tokens have the log-probabilities that they are drawn with, and so have alternatives.
#[test]
fn scores_and_alternatives_are_those_of_drawing() {
    for family in [Family::Llama, Family::Gpt2] {
        let (decoder, params) = lively(family);
        let engine = Engine::new(&decoder, Params::F32(&params));
        let mut cpu = Cpu::new(2, Precision::F32);
        let request = Request { prompt: vec![3, 1, 4], seeds: vec![SeedSequence::new(1)] };
        let terms = Terms { sampling: Sampling::default(), stop: stop(9), alternatives: 29 };
        let mut session = engine.session();
        session.enter(&mut cpu, 0, std::slice::from_ref(&request), &terms).unwrap();
        let mut drawn: Vec<(Drawn, Vec<(u32, f32)>)> = Vec::new();
        while session.rows() > 0 {
            session.advance(&mut cpu, &mut |seen| {
                drawn.push((seen.drawn, seen.alternatives.to_vec()));
                true
            });
        }
        let ids = [request.prompt, drawn.iter().map(|(drawn, _)| drawn.id).collect()].concat();
        let scored = engine.score(&mut cpu, &ids, 29).unwrap();
        assert_eq!(scored.len(), ids.len() - 1);
        for (scored, (drawn, alternatives)) in scored[2..].iter().zip(&drawn) {
            assert_eq!(scored.id, drawn.id);
            assert!((scored.log_prob - drawn.log_prob).abs() < 1e-4);
            assert!(alternatives.windows(2).all(|w| w[0].1 >= w[1].1));
            let total: f32 = alternatives.iter().map(|(_, log_prob)| log_prob.exp()).sum();
            assert!((total - 1.0).abs() < 1e-4, "{total}");
            for (id, log_prob) in alternatives {
                let given = scored.alternatives.iter().find(|(given, _)| given == id).unwrap();
                assert!((given.1 - log_prob).abs() < 1e-4);
                assert!(*id != drawn.id || *log_prob == drawn.log_prob);
            }
        }
        assert!(engine.score(&mut cpu, &ids, 0).unwrap()[0].alternatives.is_empty());
    }
}
