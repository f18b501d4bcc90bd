//! `cargo bench -p skinner-nn --bench matrix [THREADS] [NAME]`: products of SmolLM2's shapes, in GFLOP/s.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use std::time::Instant;

use skinner_nn::matrix::{Cpu, Operand, Precision};

const MODEL_NUMBERS: usize = 1 << 26;

fn main() {
    let threads = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1);
    let named =
        std::env::args().skip(1).find(|arg| arg.parse::<usize>().is_err() && !arg.starts_with('-'));
    println!(
        "multiply-add peak of one thread: {:.0} GFLOP/s",
        skinner_nn::multiply_add_peak() / 1e9
    );
    let tokens = 512;
    let shapes = [
        ("gate and up, forward", [tokens, 3072, 576], [false, true]),
        ("down, forward", [tokens, 576, 1536], [false, true]),
        ("gate and up, to the input", [tokens, 576, 3072], [false, false]),
        ("gate and up, to the weights", [3072, 576, tokens], [true, false]),
        ("o, forward", [tokens, 576, 576], [false, true]),
        ("head, forward", [tokens, 49152, 576], [false, true]),
        ("head, to the input", [tokens, 576, 49152], [false, false]),
        ("head, to the weights", [49152, 576, tokens], [true, false]),
    ];
    for precision in [Precision::F32, Precision::Bf16] {
        let mut cpu = Cpu::new(threads, precision);
        for (name, [m, n, k], flips) in shapes {
            let name = format!("{precision:?} {name}");
            if named.as_ref().is_some_and(|named| !name.contains(&named[..])) {
                continue;
            }
            let a: Vec<f32> = (0..m * k).map(|i| (i % 13) as f32 * 0.1).collect();
            // As many as make a model: they do not stay in a cache from one product to the next.
            let copies = (MODEL_NUMBERS / (k * n)).max(1);
            let b: Vec<f32> = (0..copies * k * n).map(|i| (i % 17) as f32 * 0.1).collect();
            let mut c = vec![0.0; m * n];
            let operand = |x, rows, columns, flip| {
                if flip { Operand::rows(x, rows).flipped() } else { Operand::rows(x, columns) }
            };
            let mut seconds: Vec<f64> = (0..15)
                .map(|i| {
                    let b = &b[i % copies * k * n..][..k * n];
                    let began = Instant::now();
                    let (a, b) = (operand(&a[..], m, k, flips[0]), operand(b, k, n, flips[1]));
                    cpu.product([m, n, k], a, b, &mut c, n, true);
                    began.elapsed().as_secs_f64()
                })
                .collect();
            seconds.sort_by(f64::total_cmp);
            let rate = 2.0 * (m * n * k) as f64 / seconds[2] / 1e9;
            println!("{name}: {rate:.0} GFLOP/s, {:.2} ms", seconds[2] * 1e3);
        }
    }
}
