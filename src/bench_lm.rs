//! `skinner bench --only lm`: training, decoding and prefill of a language model, beside this machine's limits.

use std::hint::black_box;
use std::process::Command;
use std::sync::Barrier;
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use serde_json::{Map, Value};
use skinner_core::objective::grpo::{
    Completions, LossType, PolicyLoss, Surrogate, Totals, policy_loss,
};
use skinner_core::returns::group::{Deviation, group_relative};
use skinner_core::{Rng, SeedSequence};
use skinner_lm::decoder::{HalfParams, LoraConfig, LoraLayout, Params};
use skinner_lm::generate::{Engine, Request, Sampling, Stop};
use skinner_lm::train::{Learner, STREAM_ADAPTER, Sequence, Start, TrainConfig};
use skinner_lm::{Decoder, LoadedModel, Message, SourceOptions};
use skinner_nn::matrix::{Cpu, Precision};
use skinner_run::host;

/// A training step's batch: sequences, and tokens of each.
const TRAIN_SHAPE: [usize; 2] = [4, 256];
const DECODE_PROMPT: usize = 33;
const DECODE_TOKENS: usize = 64;
const PREFILL_PROMPT: usize = 512;
const LORA_RANK: usize = 16;
/// A step of group-relative policy optimisation: completions of one prompt, and tokens of each.
const GRPO_SHAPE: [usize; 2] = [8, 64];
const GRPO_PROMPT: &str = "What is 7 + 5? Answer with the number only.";
/// Numbers of the array that is read to measure bandwidth: 512 MB.
const BANDWIDTH_NUMBERS: usize = 1 << 26;
const REPEATS: usize = 5;

/// Options of `skinner bench --only lm`.
#[derive(clap::Args)]
pub(crate) struct LmArgs {
    /// With --only lm: the model, as in `skinner generate`
    #[arg(long, default_value = "smollm2-135m-instruct")]
    model: String,
    /// With --only lm: threads [default: all cores]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1024))]
    threads: Option<u64>,
    /// With --only lm: measure this part alone, and its memory
    #[arg(long)]
    lm_part: Option<LmPart>,
}

/// What is measured in a process of its own, so that its peak memory is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LmPart {
    /// A step on all weights in f32
    TrainF32,
    /// A step on all weights, products in bf16
    TrainBf16,
    /// A step on an adapter of rank 16 in f32
    TrainLora,
    /// A step of GRPO on all weights in f32: completions, then forward, backward and update
    Grpo,
    /// New tokens of 1 and of 16 sequences, in f32 and in bf16
    Decode,
    /// The run of a prompt in f32
    Prefill,
    /// Multiply-adds and bytes read in a second
    Limits,
}

impl LmPart {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Takes a result's name, value and unit.
pub(crate) type Put<'a> = &'a mut dyn FnMut(&str, f64, &str) -> anyhow::Result<()>;

/// Measures everything, each part in a process of its own, or one part here.
pub(crate) fn bench(args: &LmArgs, put: Put<'_>) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.map_or(cores, |n| n as usize);
    if let Some(part) = args.lm_part {
        return measure(part, &args.model, threads, put);
    }
    let mut results = Map::new();
    // The limits first: if the model cannot be had, the next part says so.
    for part in [LmPart::Limits]
        .into_iter()
        .chain(LmPart::value_variants().iter().copied().filter(|&part| part != LmPart::Limits))
    {
        for (name, value) in in_child(part, &args.model, threads)? {
            put(&name, value.as_f64().unwrap_or(f64::NAN), unit(&name))?;
            results.insert(name, value);
        }
    }
    shares(&results, threads, put)
}

fn unit(name: &str) -> &'static str {
    let units = [
        ("tokens_per_second", "tokens/s"),
        ("peak_memory_mb", "MB"),
        ("gflops", "GFLOP/s"),
        ("gflop_per_token", "GFLOP"),
        ("gb_per_second", "GB/s"),
        ("gb_read_per_token", "GB"),
        ("milliseconds", "ms"),
        ("seconds", "s"),
    ];
    units.iter().find(|(part, _)| name.contains(part)).map_or("", |unit| unit.1)
}

fn in_child(part: LmPart, model: &str, threads: usize) -> anyhow::Result<Map<String, Value>> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let output = Command::new(program)
        .args(["bench", "--only", "lm", "--json", "--model", model])
        .args(["--threads", &threads.to_string(), "--lm-part", &part.name()])
        .output()
        .with_context(|| format!("cannot measure {}", part.name()))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let message = message.trim().trim_start_matches("error: ");
        bail!("{}: {message}", part.name());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap_or_default())
        .with_context(|| format!("what {} printed cannot be read", part.name()))
}

/// How much of the machine's limits was reached.
fn shares(results: &Map<String, Value>, threads: usize, put: Put<'_>) -> anyhow::Result<()> {
    let get = |name: &str| results.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let peak = get(&format!("multiply_add_peak_gflops/threads-{threads}"));
    let bandwidth = get(&format!("read_bandwidth_gb_per_second/threads-{threads}"));
    let flop = get("lm_forward_gflop_per_token");
    let of_peak = "of the f32 multiply-add peak";
    // Backward is twice forward; with an adapter the weights' own gradients are left out.
    for (kind, work) in [("f32", 3.0), ("bf16", 3.0), ("lora", 2.0)] {
        let rate = get(&format!("lm_train_tokens_per_second/{kind}"));
        put(&format!("lm_train_share_of_peak/{kind}"), rate * work * flop / peak, of_peak)?;
    }
    for kind in ["f32", "bf16"] {
        let rate = get(&format!("lm_decode_tokens_per_second/{kind}/batch-1"));
        let share = rate * get(&format!("lm_gb_read_per_token/{kind}")) / bandwidth;
        put(&format!("lm_decode_share_of_bandwidth/{kind}/batch-1"), share, "of read bandwidth")?;
        let rate = get(&format!("lm_decode_tokens_per_second/{kind}/batch-16"));
        put(&format!("lm_decode_share_of_peak/{kind}/batch-16"), rate * flop / peak, of_peak)?;
    }
    let rate = get("lm_prefill_tokens_per_second/f32");
    put("lm_prefill_share_of_peak/f32", rate * flop / peak, of_peak)
}

fn measure(part: LmPart, model: &str, threads: usize, put: Put<'_>) -> anyhow::Result<()> {
    if part == LmPart::Limits {
        return limits(threads, put);
    }
    let model = LoadedModel::load(model, &SourceOptions::from_env()?, None)?;
    check_context(&model)?;
    match part {
        LmPart::TrainF32 => train(model, "f32", threads, put)?,
        LmPart::TrainBf16 => train(model, "bf16", threads, put)?,
        LmPart::TrainLora => train(model, "lora", threads, put)?,
        LmPart::Grpo => grpo(model, threads, put)?,
        LmPart::Decode => decode(&model, threads, put)?,
        LmPart::Prefill => prefill(&model, threads, put)?,
        LmPart::Limits => {}
    }
    if let Some(peak) = host::peak_memory_mb() {
        put(&format!("lm_peak_memory_mb/{}", part.name()), peak, "MB")?;
    }
    Ok(())
}

fn check_context(model: &LoadedModel) -> anyhow::Result<()> {
    let context = model.decoder.config().max_position_embeddings;
    if context <= PREFILL_PROMPT {
        bail!(
            "{} has a context of {context} tokens, these measurements take {}",
            model.provenance,
            PREFILL_PROMPT + 1
        );
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What every thread can multiply and add, and read, when all do so at once.
fn limits(threads: usize, put: Put<'_>) -> anyhow::Result<()> {
    let on_all = |f: &(dyn Fn() -> f64 + Sync)| -> f64 {
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(f)).collect();
            running.into_iter().map(|thread| thread.join().unwrap_or(f64::NAN)).sum()
        })
    };
    let peak = on_all(&skinner_nn::multiply_add_peak) / 1e9;
    put(&format!("multiply_add_peak_gflops/threads-{threads}"), peak, "GFLOP/s")?;
    let bandwidth = read_bandwidth(threads) / 1e9;
    put(&format!("read_bandwidth_gb_per_second/threads-{threads}"), bandwidth, "GB/s")
}

/// Bytes a second of reading one array, a part of it on each thread; the best of [`REPEATS`], as it is a limit.
fn read_bandwidth(threads: usize) -> f64 {
    let numbers = vec![1u64; BANDWIDTH_NUMBERS];
    let part = BANDWIDTH_NUMBERS.div_ceil(threads);
    // Several places at once: from one alone a core reads at a third of this.
    let sum = |part: &[u64]| {
        let [a, b, c, d] = std::array::from_fn(|i| {
            let quarter = part.len() / 4;
            part[i * quarter..(i + 1) * quarter].as_chunks::<8>().0
        });
        let mut sums = [[0u64; 8]; 4];
        for blocks in a.iter().zip(b).zip(c).zip(d) {
            let (((a, b), c), d) = blocks;
            for (sums, block) in sums.iter_mut().zip([a, b, c, d]) {
                sums.iter_mut().zip(block).for_each(|(sum, x)| *sum = sum.wrapping_add(*x));
            }
        }
        black_box(sums);
    };
    let barrier = Barrier::new(threads);
    let once = || {
        std::thread::scope(|scope| {
            let running: Vec<_> = numbers
                .chunks(part)
                .map(|part| {
                    let barrier = &barrier;
                    scope.spawn(move || {
                        barrier.wait();
                        let began = Instant::now();
                        sum(black_box(part));
                        began.elapsed().as_secs_f64()
                    })
                })
                .collect();
            let seconds = running.into_iter().filter_map(|thread| thread.join().ok());
            size_of_val(&numbers[..]) as f64 / seconds.fold(0.0, f64::max)
        })
    };
    (0..REPEATS).map(|_| once()).fold(0.0, f64::max)
}

/// Floating-point operations of a token's forward pass, in matrix products.
fn forward_flop(decoder: &Decoder) -> f64 {
    2.0 * matrix_numbers(decoder) as f64
}

/// Numbers of the matrices that every token is multiplied with, the output head included.
fn matrix_numbers(decoder: &Decoder) -> usize {
    let config = decoder.config();
    let modules = decoder.layout().modules();
    let linear: usize = modules.iter().map(|(_, outputs, inputs)| outputs * inputs).sum();
    linear + config.vocab_size * config.hidden_size
}

fn random_ids(rng: &mut Rng, vocab_size: usize, len: usize) -> Vec<u32> {
    (0..len).map(|_| rng.below(vocab_size) as u32).collect()
}

/// Tokens a second of optimizer steps on random tokens.
fn train(model: LoadedModel, kind: &str, threads: usize, put: Put<'_>) -> anyhow::Result<()> {
    let [batch_size, length] = TRAIN_SHAPE;
    let config = TrainConfig {
        batch_size,
        max_length: length,
        learning_rate: 1e-5,
        precision: if kind == "bf16" { Precision::Bf16 } else { Precision::F32 },
        ..TrainConfig::default()
    };
    let LoadedModel { decoder, params, tokenizer, template, provenance, .. } = model;
    if kind == "f32" {
        put("lm_forward_gflop_per_token", forward_flop(&decoder) / 1e9, "GFLOP")?;
    }
    let mut start = Start { decoder, params, lora: None, tokenizer, template, provenance };
    let seed = SeedSequence::new(1);
    if kind == "lora" {
        let lora = LoraConfig {
            rank: LORA_RANK,
            alpha: 2.0 * LORA_RANK as f64,
            dropout: 0.0,
            target_modules: vec!["all-linear".to_owned()],
            merge: false,
        };
        let layout = LoraLayout::new(&lora, start.decoder.layout())?;
        let adapter = layout.init(&mut seed.child(STREAM_ADAPTER).rng());
        start.lora = Some((lora, layout, adapter));
    }
    let vocab_size = start.decoder.config().vocab_size;
    let mut learner = Learner::new(&config, start, threads)?;
    let mut rng = Rng::new(1);
    let ids: Vec<Vec<u32>> =
        (0..batch_size).map(|_| random_ids(&mut rng, vocab_size, length)).collect();
    let targets: Vec<bool> = (0..length).map(|t| t > 0).collect();
    let batch: Vec<Sequence<'_>> =
        ids.iter().map(|ids| Sequence { ids, targets: &targets, starts: &[0] }).collect();
    let scale = 1.0 / (batch_size * (length - 1)) as f32;
    let mut seconds = Vec::new();
    for _ in 0..=REPEATS {
        let began = Instant::now();
        learner.accumulate_likelihood(&batch, scale, &seed);
        learner.update(config.learning_rate as f32, config.max_grad_norm as f32);
        seconds.push(began.elapsed().as_secs_f64());
    }
    // The first step also reserves memory.
    let rate = (batch_size * length) as f64 / median(seconds.split_off(1));
    put(&format!("lm_train_tokens_per_second/{kind}"), rate, "tokens/s")
}

/// Seconds of a step of GRPO, and of it those that completions take. They do not end early, and rewards alternate.
fn grpo(model: LoadedModel, threads: usize, put: Put<'_>) -> anyhow::Result<()> {
    let [num_generations, max_new_tokens] = GRPO_SHAPE;
    let LoadedModel { decoder, params, tokenizer, template, provenance, .. } = model;
    let template = template.context("the model has no chat template")?;
    let messages = [Message::new("user", GRPO_PROMPT)];
    let text = template.render(&messages, None, true)?;
    let prompt = tokenizer.encode(&text, false)?;
    let start = Start { decoder, params, lora: None, tokenizer, template: None, provenance };
    let config = TrainConfig { micro_batch_tokens: 1024, ..TrainConfig::default() };
    let mut learner = Learner::new(&config, start, threads)?;
    let seed = SeedSequence::new(1);
    let stop = Stop { max_new_tokens, ..Stop::default() };
    let rewards: Vec<f64> = (0..num_generations).map(|i| (i % 2) as f64).collect();
    let by = Deviation { sample: true, epsilon: 1e-4 };
    let advantages = group_relative(&rewards, Some(by));
    let totals = Totals {
        sequences: num_generations,
        tokens: num_generations * max_new_tokens,
        max_completion_length: max_new_tokens,
    };
    let loss_type = LossType::default();
    let kernel = PolicyLoss {
        level: loss_type.ratio_level(),
        surrogate: Surrogate::Clip { low: 0.2, high: 0.2, most: None, dual: None },
        normalisation: loss_type.normalisation(),
        kl: None,
    };
    let (mut steps, mut completing) = (Vec::new(), Vec::new());
    for step in 0..=REPEATS as u32 {
        let began = Instant::now();
        let seeds = (0..num_generations as u32).map(|i| seed.child(step).child(i)).collect();
        let request = Request { prompt: prompt.clone(), seeds };
        let completed = learner.generate(&[request], &Sampling::default(), &stop)?;
        completing.push(began.elapsed().as_secs_f64());
        let ids: Vec<Vec<u32>> =
            completed[0].iter().map(|one| [&prompt[..], &one.ids].concat()).collect();
        let targets: Vec<bool> =
            (0..prompt.len() + max_new_tokens).map(|t| t >= prompt.len()).collect();
        let batch: Vec<Sequence<'_>> =
            ids.iter().map(|ids| Sequence { ids, targets: &targets, starts: &[0] }).collect();
        learner.accumulate(&batch, 1, &seed, |range, log_prob, d| {
            let advantage: Vec<f32> = range
                .clone()
                .flat_map(|i| std::iter::repeat_n(advantages[i] as f32, max_new_tokens))
                .collect();
            let starts: Vec<usize> = range.enumerate().map(|(i, _)| i * max_new_tokens).collect();
            let completions = Completions {
                log_prob,
                old_log_prob: log_prob,
                ref_log_prob: &[],
                correction: &[],
                advantage: &advantage,
                mask: &vec![true; log_prob.len()],
                starts: &starts,
            };
            policy_loss(&kernel, &completions, totals, d);
        });
        learner.update(1e-6, config.max_grad_norm as f32);
        steps.push(began.elapsed().as_secs_f64());
    }
    // The first step also reserves memory.
    put("lm_grpo_step_seconds/f32", median(steps.split_off(1)), "s")?;
    put("lm_grpo_completions_seconds/f32", median(completing.split_off(1)), "s")
}

/// New tokens a second, from the first one on, of several sequences at once.
fn decode(model: &LoadedModel, threads: usize, put: Put<'_>) -> anyhow::Result<()> {
    let half = HalfParams::new(model.decoder.layout(), &model.params);
    let bytes = matrix_numbers(&model.decoder) as f64;
    for (kind, params, size) in
        [("f32", Params::F32(&model.params), 4.0), ("bf16", Params::Bf16(&half), 2.0)]
    {
        put(&format!("lm_gb_read_per_token/{kind}"), bytes * size / 1e9, "GB")?;
        for batch_size in [1, 16] {
            let rates = (0..REPEATS)
                .map(|i| {
                    let shape = [batch_size, DECODE_PROMPT, DECODE_TOKENS];
                    let [first, last] = generate(model, params, shape, i, threads)?;
                    Ok((batch_size * (DECODE_TOKENS - 1)) as f64 / (last - first))
                })
                .collect::<anyhow::Result<Vec<f64>>>()?;
            let name = format!("lm_decode_tokens_per_second/{kind}/batch-{batch_size}");
            put(&name, median(rates), "tokens/s")?;
        }
    }
    Ok(())
}

/// Prompt tokens a second.
fn prefill(model: &LoadedModel, threads: usize, put: Put<'_>) -> anyhow::Result<()> {
    for (length, name) in [(DECODE_PROMPT, "first_token"), (PREFILL_PROMPT, "prefill")] {
        let seconds = (0..REPEATS)
            .map(
                |i| Ok(generate(model, Params::F32(&model.params), [1, length, 1], i, threads)?[0]),
            )
            .collect::<anyhow::Result<Vec<f64>>>()?;
        let seconds = median(seconds);
        if name == "prefill" {
            put("lm_prefill_tokens_per_second/f32", length as f64 / seconds, "tokens/s")?;
        } else {
            put("lm_first_token_milliseconds/f32", seconds * 1e3, "ms")?;
        }
    }
    Ok(())
}

/// Seconds until the first and until the last token of `[sequences, prompt tokens, new tokens]`, greedily.
fn generate(
    model: &LoadedModel,
    params: Params<'_>,
    [batch_size, prompt, max_new_tokens]: [usize; 3],
    seed: usize,
    threads: usize,
) -> anyhow::Result<[f64; 2]> {
    let mut rng = Rng::new(seed as u64);
    let vocab_size = model.decoder.config().vocab_size;
    let requests: Vec<Request> = (0..batch_size)
        .map(|i| Request {
            prompt: random_ids(&mut rng, vocab_size, prompt),
            seeds: vec![SeedSequence::new(i as u64)],
        })
        .collect();
    let sampling = Sampling { temperature: 0.0, ..Sampling::default() };
    let stop = Stop { max_new_tokens, ..Stop::default() };
    let engine = Engine::new(&model.decoder, params);
    let mut cpu = Cpu::new(threads, Precision::F32);
    let (mut first, mut last) = (None, 0.0);
    let began = Instant::now();
    engine.generate(&mut cpu, &requests, &sampling, &stop, &mut |_, _, _| {
        last = began.elapsed().as_secs_f64();
        first.get_or_insert(last);
        true
    })?;
    Ok([first.unwrap_or(last), last])
}
