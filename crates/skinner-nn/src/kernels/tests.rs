use super::*;
use skinner_core::Rng;

fn random(n: usize, rng: &mut Rng) -> Vec<f32> {
    (0..n).map(|_| rng.normal() as f32).collect()
}

fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "{a} is not {b}");
    }
}

const SHAPES: [(usize, usize, usize); 13] = [
    (1, 4, 64),
    (8, 64, 64),
    (7, 3, 2),
    (50, 64, 2),
    (49, 65, 33),
    (6, 1, 1),
    (13, 17, 100),
    (97, 64, 1),
    (5, 2, 7),
    // Panels that are copied; single rows and pairs of them.
    (70, 130, 150),
    (200, 40, 257),
    (1, 20, 300),
    (2, 20, 105),
];

#[test]
fn layers_agree_with_plain_sums_on_every_instruction_set() {
    let mut rng = Rng::new(1);
    for isa in available_instruction_sets() {
        for (batch, inputs, outputs) in SHAPES {
            let (x, w) = (random(batch * inputs, &mut rng), random(inputs * outputs, &mut rng));
            let (bias, d) = (random(outputs, &mut rng), random(batch * outputs, &mut rng));
            let mut expect = vec![0.0f32; batch * outputs];
            let mut expect_dw = vec![1.0f32; inputs * outputs];
            let mut expect_db = vec![1.0f32; outputs];
            let mut expect_dx = vec![0.0f32; batch * inputs];
            for b in 0..batch {
                for j in 0..outputs {
                    let sum: f32 =
                        (0..inputs).map(|i| x[b * inputs + i] * w[i * outputs + j]).sum();
                    expect[b * outputs + j] = (sum + bias[j]).max(0.0);
                    expect_db[j] += d[b * outputs + j];
                    for i in 0..inputs {
                        expect_dw[i * outputs + j] += x[b * inputs + i] * d[b * outputs + j];
                        expect_dx[b * inputs + i] += w[i * outputs + j] * d[b * outputs + j];
                    }
                }
            }
            let layer =
                Dense { inputs, outputs, weight: &w, bias: &bias, activation: Activation::Relu };
            let (mut y, mut scratch) = (vec![0.0; batch * outputs], Scratch::default());
            forward(isa, layer, &x, &mut y, &mut scratch);
            close(&y, &expect);
            let (mut dw, mut db) = (vec![1.0; inputs * outputs], vec![1.0; outputs]);
            weight_gradient(isa, &x, &d, &mut dw, &mut db, &mut scratch);
            close(&dw, &expect_dw);
            close(&db, &expect_db);
            let mut dx = vec![0.0; batch * inputs];
            input_gradient(isa, layer, &d, &mut dx, None, &mut scratch);
            close(&dx, &expect_dx);
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    let mut rng = Rng::new(2);
    for outputs in [3, 70, 300] {
        a_row_of_any_batch(outputs, &mut rng);
    }
}

fn a_row_of_any_batch(outputs: usize, rng: &mut Rng) {
    let inputs = 64;
    let (w, bias) = (random(inputs * outputs, rng), random(outputs, rng));
    let x = random(61 * inputs, rng);
    for isa in available_instruction_sets() {
        let layer =
            Dense { inputs, outputs, weight: &w, bias: &bias, activation: Activation::Tanh };
        let mut all = vec![0.0; 61 * outputs];
        forward(isa, layer, &x, &mut all, &mut Scratch::default());
        for row in 0..61 {
            let mut one = vec![0.0; outputs];
            forward(
                isa,
                layer,
                &x[row * inputs..(row + 1) * inputs],
                &mut one,
                &mut Scratch::default(),
            );
            assert_eq!(one, all[row * outputs..(row + 1) * outputs]);
        }
    }
}

#[test]
fn tanh_is_tanh() {
    for isa in available_instruction_sets() {
        let x: Vec<f32> = (-12_000..=12_000).map(|i| i as f32 * 1e-3).collect();
        let layer = Dense {
            inputs: 1,
            outputs: 1,
            weight: &[1.0],
            bias: &[0.0],
            activation: Activation::Tanh,
        };
        let mut y = vec![0.0; x.len()];
        forward(isa, layer, &x, &mut y, &mut Scratch::default());
        for (x, y) in x.iter().zip(&y) {
            let exact = f64::from(*x).tanh();
            assert!(
                (f64::from(*y) - exact).abs() <= 5e-7 * exact.abs().max(1e-3),
                "tanh({x}) = {y}"
            );
        }
    }
}
