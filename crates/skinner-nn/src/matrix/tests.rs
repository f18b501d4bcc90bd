use skinner_core::Rng;

use super::*;

fn random(n: usize, rng: &mut Rng) -> Vec<f32> {
    (0..n).map(|_| rng.normal() as f32).collect()
}

fn check(sizes: [usize; 3], flips: [bool; 2], precision: Precision, rng: &mut Rng) {
    let [m, n, k] = sizes;
    let (a, b, start) = (random(m * k, rng), random(k * n, rng), random(m * n, rng));
    let operand = |x, rows, columns, flip| {
        if flip { Operand::rows(x, rows).flipped() } else { Operand::rows(x, columns) }
    };
    let (left, right) = (operand(&a[..], m, k, flips[0]), operand(&b[..], k, n, flips[1]));
    let round = |x: f32| {
        if precision == Precision::Bf16 { from_bf16(to_bf16(x)) } else { x }
    };
    for accumulate in [false, true] {
        let mut results = Vec::new();
        for threads in [1, 3] {
            let mut c = start.clone();
            Cpu::new(threads, precision).product(sizes, left, right, &mut c, n, accumulate);
            results.push(c);
        }
        assert_eq!(results[0], results[1]);
        if precision == Precision::F32 {
            let mut c = start.clone();
            product_here(sizes, left, right, &mut c, n, accumulate);
            assert_eq!(results[0], c);
            // Packed once, whole or in part.
            let mut packed = Packed::default();
            packed.pack([k, n], right);
            for [rows, columns, depth] in [sizes, [m, n.div_ceil(2), k], [m, n, k.div_ceil(3)]] {
                let (mut c, mut expected) = (start.clone(), start.clone());
                let sizes = [rows, columns, depth];
                packed.product(sizes, left, &mut c, n, accumulate);
                product_here(sizes, left, right, &mut expected, n, accumulate);
                assert_eq!(expected, c);
            }
            let (mut team, mut c) = (crate::team::Team::new(2), start.clone());
            let mut expected = start.clone();
            packed.pack_on(&mut team, [k, n], right);
            packed.product_on(&mut team, m, left, &mut c);
            product_here(sizes, left, right, &mut expected, n, false);
            assert_eq!(expected, c);
        }
        for i in 0..m {
            for j in 0..n {
                let mut sum = if accumulate { f64::from(start[i * n + j]) } else { 0.0 };
                let mut size = sum.abs();
                for l in 0..k {
                    let x = a[if flips[0] { l * m + i } else { i * k + l }];
                    let y = b[if flips[1] { j * k + l } else { l * n + j }];
                    let term = f64::from(round(x)) * f64::from(round(y));
                    sum += term;
                    size += term.abs();
                }
                let got = f64::from(results[0][i * n + j]);
                assert!((got - sum).abs() <= 1e-6 * size, "{sizes:?} {i} {j}: {got} is not {sum}");
            }
        }
    }
}

#[test]
fn products_of_all_shapes_and_layouts() {
    let mut rng = Rng::new(1);
    for precision in [Precision::F32, Precision::Bf16] {
        for sizes in [[1, 1, 1], [3, 5, 2], [8, 48, 16], [17, 49, 33], [100, 70, 1], [9, 200, 1100]]
        {
            for flips in [[false, false], [false, true], [true, false], [true, true]] {
                check(sizes, flips, precision, &mut rng);
            }
        }
    }
}

/// A row does not depend on the rows beside it, and batches add up to the bits of one batch.
#[test]
fn rows_and_batches_do_not_matter() {
    let mut rng = Rng::new(2);
    let (m, n, k) = (37, 61, 530);
    let (a, b) = (random(m * k, &mut rng), random(k * n, &mut rng));
    let mut cpu = Cpu::new(2, Precision::F32);
    let mut whole = vec![0.0; m * n];
    cpu.product([m, n, k], Operand::rows(&a, k), Operand::rows(&b, n), &mut whole, n, false);
    for i in 0..m {
        let mut row = vec![0.0; n];
        let own = Operand::rows(&a[i * k..(i + 1) * k], k);
        cpu.product([1, n, k], own, Operand::rows(&b, n), &mut row, n, false);
        assert_eq!(row, whole[i * n..(i + 1) * n]);
    }
    let mut parts = vec![0.0; m * n];
    for (from, to) in [(0, 1), (1, 256), (256, 300), (300, k)] {
        let left = Operand::rows(&a[from..], k);
        let right = Operand::rows(&b[from * n..], n);
        cpu.product([m, n, to - from], left, right, &mut parts, n, true);
    }
    assert_eq!(parts, whole);
}

#[test]
fn bf16_rounds_to_even() {
    for (x, expected) in
        [(1.0, 1.0), (1.0 + 1.0 / 256.0, 1.0), (1.0 + 3.0 / 256.0, 1.0 + 1.0 / 64.0)]
    {
        assert_eq!(from_bf16(to_bf16(x)), expected);
    }
    assert!(from_bf16(to_bf16(f32::NAN)).is_nan());
    assert_eq!(from_bf16(to_bf16(f32::INFINITY)), f32::INFINITY);
}

#[test]
fn few_rows_are_exact_to_rounding_and_do_not_depend_on_each_other() {
    let mut rng = Rng::new(3);
    for (rows, n, k) in [(1, 5, 7), (3, 50, 64), (7, 101, 75)] {
        let (x, w) = (random(rows * k, &mut rng), random(n * k, &mut rng));
        let halves: Vec<u16> = w.iter().map(|&x| to_bf16(x)).collect();
        for (source, w) in [
            (Source::F32(&w), w.clone()),
            (Source::Bf16(&halves), halves.iter().map(|&h| from_bf16(h)).collect()),
        ] {
            let mut y = vec![0.0; rows * n];
            few_rows(&mut Cpu::new(2, Precision::F32), &x, source, [rows, n, k], &mut y, n);
            for b in 0..rows {
                let mut alone = vec![0.0; n];
                let own = &x[b * k..(b + 1) * k];
                few_rows(&mut Cpu::new(1, Precision::F32), own, source, [1, n, k], &mut alone, n);
                assert_eq!(alone, y[b * n..(b + 1) * n]);
                for o in 0..n {
                    let terms = own.iter().zip(&w[o * k..]).map(|(x, w)| f64::from(x * w));
                    let size: f64 = terms.clone().map(f64::abs).sum();
                    let sum: f64 = terms.sum();
                    assert!((f64::from(y[b * n + o]) - sum).abs() < 1e-6 * size);
                }
            }
        }
    }
}

fn close(a: f64, b: f64, tolerance: f64) {
    assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{a} is not {b}");
}

#[test]
fn exponentials() {
    for n in [1, 15, 16, 33] {
        let x: Vec<f32> = (0..n).map(|i| i as f32 * 1.7 - 30.0).collect();
        let mut y = x.clone();
        let sum = exp_sum(&mut y, 0.5, 1.0);
        let expected: Vec<f64> = x.iter().map(|&x| (f64::from(x) * 0.5 - 1.0).exp()).collect();
        for (y, e) in y.iter().zip(&expected) {
            assert!((f64::from(*y) / e - 1.0).abs() < 5e-7, "{y} is not {e}");
        }
        close(f64::from(sum), expected.iter().sum(), 1e-6);
        assert_eq!(max(&x), x[n - 1]);
        let mut z = x.clone();
        let (same, moment) = exp_moments(&mut z, 0.5, 1.0);
        assert_eq!((same, &z), (sum, &y));
        let moments = x.iter().zip(&expected).map(|(x, e)| e * (f64::from(*x) * 0.5 - 1.0));
        close(f64::from(moment), moments.sum(), 1e-6);
    }
    let mut far = [-1e30f32, f32::NEG_INFINITY, 0.0];
    assert!((exp_sum(&mut far.clone(), 1.0, 0.0) - 1.0).abs() < 1e-6);
    assert!(exp_moments(&mut far, 1.0, 0.0).1.abs() < 1e-6);
}

/// Gradients of the row-wise functions against differences of themselves.
#[test]
fn row_wise_gradients() {
    let mut rng = Rng::new(5);
    let n = 37;
    let [x, w, b, up, d]: [Vec<f32>; 5] = std::array::from_fn(|_| random(n, &mut rng));
    let value = |f: &dyn Fn(&[f32], &mut [f32]), x: &[f32]| {
        let mut y = vec![0.0; n];
        f(x, &mut y);
        y.iter().zip(&d).map(|(y, d)| f64::from(*y) * f64::from(*d)).sum::<f64>()
    };
    let check = |f: &dyn Fn(&[f32], &mut [f32]), x: &[f32], grad: &[f32]| {
        for i in 0..n {
            let h = 1e-2f32;
            let (mut above, mut below) = (x.to_vec(), x.to_vec());
            above[i] += h;
            below[i] -= h;
            let slope = (value(f, &above) - value(f, &below)) / (2.0 * f64::from(h));
            close(f64::from(grad[i]), slope, 2e-3);
        }
    };
    let norm = |x: &[f32], y: &mut [f32]| {
        rms_norm(x, &w, 1e-5, y);
    };
    let mut grad = vec![0.0; n];
    let inverse = rms_norm(&x, &w, 1e-5, &mut vec![0.0; n]);
    rms_norm_backward(&x, &w, inverse, &d, &mut grad);
    check(&norm, &x, &grad);

    let norm = |x: &[f32], y: &mut [f32]| {
        layer_norm(x, &w, &b, 1e-5, y);
    };
    let mut grad = vec![0.0; n];
    let moments = layer_norm(&x, &w, &b, 1e-5, &mut vec![0.0; n]);
    layer_norm_backward(&x, &w, moments, &d, &mut grad);
    check(&norm, &x, &grad);

    let (mut d_gate, mut d_up) = (x.clone(), up.clone());
    swiglu_backward(&mut d_gate, &mut d_up, &d);
    check(&|x, y| swiglu(x, &up, y), &x, &d_gate);
    check(&|up, y| swiglu(&x, up, y), &up, &d_up);

    let mut grad = x.clone();
    gelu_backward(&mut grad, &d);
    check(&|x, y| gelu(x, y), &x, &grad);
}

/// The instruction for pairs of bf16, on CPUs that have it whether it is fast there or not.
#[test]
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the features are detected here")]
fn pairs_of_bf16() {
    if instruction_set() != InstructionSet::Avx512 || !is_x86_feature_detected!("avx512bf16") {
        return;
    }
    let mut rng = Rng::new(6);
    for [m, n, k] in [[3, 5, 7], [9, 50, 1100]] {
        let (a, b) = (random(m * k, &mut rng), random(n * k, &mut rng));
        let right = Operand::rows(&b, k).flipped();
        let (mut by_pairs, mut by_ones) = (vec![0.0; m * n], vec![0.0; m * n]);
        let left = Operand::rows(&a, k);
        let precision = Precision::Bf16;
        let mut product = checked([m, n, k], left, right, &mut by_pairs, n, false, precision);
        product.pairs = true;
        // SAFETY: sizes were checked, features were detected.
        unsafe { gemm::product_alone(&product, None) };
        let mut product = checked([m, n, k], left, right, &mut by_ones, n, false, precision);
        product.pairs = false;
        // SAFETY: as above.
        unsafe { gemm::product_alone(&product, None) };
        for (x, y) in by_pairs.iter().zip(&by_ones) {
            assert!((x - y).abs() < 1e-4, "{x} is not {y}");
        }
    }
}

#[test]
fn attention_to_a_cache() {
    let mut rng = Rng::new(8);
    for (group, dim, len, stride) in [(1, 8, 3, 8), (3, 64, 9, 100), (2, 20, 5, 41), (2, 80, 4, 80)]
    {
        let (q, cache) = (random(group * dim, &mut rng), random(len * stride, &mut rng));
        let rows = Cached { rows: &cache, stride, len, dim };
        let row = len + 2;
        let mut scores = vec![0.0; group * row];
        attention_scores(&q, rows, &mut scores, row);
        let mut out = vec![1.0; group * dim];
        attention_mix(&scores, row, rows, &mut out);
        for g in 0..group {
            for j in 0..len {
                let expected: f32 = (0..dim).map(|i| q[g * dim + i] * cache[j * stride + i]).sum();
                close(f64::from(scores[g * row + j]), f64::from(expected), 1e-5);
            }
            for i in 0..dim {
                let mixed: f32 =
                    (0..len).map(|j| scores[g * row + j] * cache[j * stride + i]).sum();
                close(f64::from(out[g * dim + i]), f64::from(1.0 + mixed), 1e-5);
            }
        }
    }
}
