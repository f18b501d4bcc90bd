//! The loops that networks spend their time in: matrix products of small matrices that stay in cache,
//! activations, and optimizer updates. Chosen at run time for AVX-512, AVX2 or plain Rust.
//!
//! The order of additions for one output element does not depend on how many rows there are: a row's result
//! does not depend on its batch.
#![expect(unsafe_code, reason = "vector intrinsics and unchecked strides in measured hot loops")]
#![expect(
    clippy::inline_always,
    reason = "vector code must be inlined into the function that enables its instructions"
)]

mod product;

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Plain, Simd};
use product::{Product, Right, Start, product};

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// 16 lanes.
    Avx512,
    /// 8 lanes.
    Avx2,
    /// Whatever the compiler makes of plain loops (SSE2, NEON).
    Plain,
}

/// The best instruction set of this CPU.
pub fn instruction_set() -> InstructionSet {
    static CHOICE: OnceLock<InstructionSet> = OnceLock::new();
    *CHOICE.get_or_init(|| available_instruction_sets()[0])
}

/// What this CPU has, best first.
pub fn available_instruction_sets() -> Vec<InstructionSet> {
    let mut sets = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            if is_x86_feature_detected!("avx512f") {
                sets.push(InstructionSet::Avx512);
            }
            sets.push(InstructionSet::Avx2);
        }
    }
    sets.push(InstructionSet::Plain);
    sets
}

/// `out[r, j] = bias[j] + x[r, :] · w[j, :]` for a few columns `j`: dot products along the rows.
#[inline(always)]
unsafe fn thin<S: Simd>(x: &[f32], w: &[f32], bias: &[f32], inputs: usize, out: &mut [f32]) {
    let outputs = bias.len();
    for (x, out) in x.chunks_exact(inputs).zip(out.chunks_exact_mut(outputs)) {
        for (j, out) in out.iter_mut().enumerate() {
            let w = &w[j * inputs..(j + 1) * inputs];
            unsafe {
                let mut sum = S::splat(0.0);
                let mut i = 0;
                while i + S::LANES <= inputs {
                    sum = S::fma(S::load(x.as_ptr().add(i)), S::load(w.as_ptr().add(i)), sum);
                    i += S::LANES;
                }
                if i < inputs {
                    let rest = inputs - i;
                    let tail = S::load_first(x.as_ptr().add(i), rest);
                    sum = S::fma(tail, S::load_first(w.as_ptr().add(i), rest), sum);
                }
                *out = bias[j] + S::sum(sum);
            }
        }
    }
}

/// Replaces each vector of `out` by an expression of it and of those of the other slices. A macro, because a
/// closure would be compiled without the vector instructions it calls.
macro_rules! in_place {
    ($s:ident, $out:ident, |$v:ident $(, $x:ident)*| $new:expr) => {{
        let n = $out.len();
        let out = $out.as_mut_ptr();
        $(let $x = $x.as_ptr();)*
        let mut i = 0;
        while i + $s::LANES <= n {
            let $v = $s::load(out.add(i));
            $s::store(out.add(i), { $(let $x = $s::load($x.add(i));)* $new });
            i += $s::LANES;
        }
        let rest = n - i;
        if rest > 0 {
            let $v = $s::load_first(out.add(i), rest);
            let new = { $(let $x = $s::load_first($x.add(i), rest);)* $new };
            $s::store_first(out.add(i), rest, new);
        }
    }};
}

/// Numerator and denominator of `tanh(x)/x` in `x²` on `|x| ≤ 9`, fitted to a relative error of 2e-8.
const TANH_P: [f32; 5] =
    [0.999_999_979, 0.133_810_246, 0.003_495_586_97, 2.060_906_43e-5, 1.335_463_89e-8];
const TANH_Q: [f32; 5] = [1.0, 0.467_143_402, 0.025_876_977_7, 0.000_328_563_295, 7.776_548_55e-7];

/// `tanh` to 4e-7: a rational function, no branch.
#[inline(always)]
unsafe fn tanh<S: Simd>(x: S::V) -> S::V {
    unsafe {
        let x = S::max(S::splat(-9.0), S::min(S::splat(9.0), x));
        let t = S::mul(x, x);
        let (mut p, mut q) = (S::splat(TANH_P[4]), S::splat(TANH_Q[4]));
        for k in (0..4).rev() {
            p = S::fma(p, t, S::splat(TANH_P[k]));
            q = S::fma(q, t, S::splat(TANH_Q[k]));
        }
        let y = S::div(S::mul(x, p), q);
        S::max(S::splat(-1.0), S::min(S::splat(1.0), y))
    }
}

/// What follows a layer's sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Hyperbolic tangent.
    #[default]
    Tanh,
    /// `max(0, x)`
    Relu,
    /// Nothing.
    Identity,
}

#[inline(always)]
unsafe fn activate<S: Simd>(activation: Activation, y: &mut [f32]) {
    unsafe {
        match activation {
            Activation::Tanh => in_place!(S, y, |v| tanh::<S>(v)),
            Activation::Relu => in_place!(S, y, |v| S::max(S::splat(0.0), v)),
            Activation::Identity => {}
        }
    }
}

/// Turns the gradient in a layer's output into that in its sum, given the output `y`.
#[inline(always)]
unsafe fn deactivate<S: Simd>(activation: Activation, d: &mut [f32], y: &[f32]) {
    unsafe {
        match activation {
            // d (1 - y²)
            Activation::Tanh => {
                in_place!(S, d, |v, y| S::fma(S::mul(v, S::mul(y, y)), S::splat(-1.0), v));
            }
            Activation::Relu => in_place!(S, d, |v, y| S::where_positive(y, v)),
            Activation::Identity => {}
        }
    }
}

/// Rows handled at once, so that what one loop wrote is in a near cache for the next.
const BLOCK: usize = 48;

/// Room to work in, kept from call to call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    /// Panels of right operands.
    packed: Vec<f32>,
    /// A transposed matrix of few columns.
    thin: Vec<f32>,
}

/// A layer forward: `y = activation(x w + bias)`, with `w` `[inputs, outputs]`.
#[inline(always)]
unsafe fn dense_forward<S: Simd>(
    layer: Dense<'_>,
    x: &[f32],
    y: &mut [f32],
    scratch: &mut Scratch,
) {
    let (inputs, outputs) = (layer.inputs, layer.outputs);
    if outputs < S::LANES / 2 {
        transpose(layer.weight, inputs, outputs, &mut scratch.thin);
        unsafe {
            thin::<S>(x, &scratch.thin, layer.bias, inputs, y);
            activate::<S>(layer.activation, y);
        }
        return;
    }
    for (x, y) in x.chunks(BLOCK * inputs).zip(y.chunks_mut(BLOCK * outputs)) {
        let sums = Product {
            m: y.len() / outputs,
            n: outputs,
            k: inputs,
            a: x.as_ptr(),
            a_row: inputs,
            a_col: 1,
            b: Right::Rows(layer.weight.as_ptr(), outputs),
            c: y.as_mut_ptr(),
            c_row: outputs,
            start: Start::Bias(layer.bias.as_ptr()),
        };
        unsafe {
            product::<S>(sums, &mut scratch.packed);
            activate::<S>(layer.activation, y);
        }
    }
}

/// A layer's parameters.
#[derive(Clone, Copy)]
pub(crate) struct Dense<'a> {
    pub inputs: usize,
    pub outputs: usize,
    pub weight: &'a [f32],
    pub bias: &'a [f32],
    pub activation: Activation,
}

/// `d_w += xᵀ d`, `d_bias += Σ d`.
#[inline(always)]
unsafe fn dense_gradient<S: Simd>(
    x: &[f32],
    d: &[f32],
    d_weight: &mut [f32],
    d_bias: &mut [f32],
    scratch: &mut Scratch,
) {
    let outputs = d_bias.len();
    let inputs = d_weight.len() / outputs;
    let batch = d.len() / outputs;
    let thin = outputs < S::LANES / 2 && inputs > outputs;
    if thin {
        scratch.thin.clear();
        scratch.thin.resize(inputs * outputs, 0.0);
    }
    // Sums go on from block to block, so the order of additions is that of one long sum.
    for first in (0..batch).step_by(GRADIENT_BLOCK) {
        let k = GRADIENT_BLOCK.min(batch - first);
        let (x, d) = (&x[first * inputs..], &d[first * outputs..]);
        let rows_of_d = Product {
            m: inputs,
            n: outputs,
            k,
            a: x.as_ptr(),
            a_row: 1,
            a_col: inputs,
            b: Right::Rows(d.as_ptr(), outputs),
            c: d_weight.as_mut_ptr(),
            c_row: outputs,
            start: Start::Keep,
        };
        // The bias is the weight of an input that is always 1.
        let one = 1.0f32;
        let bias = Product {
            m: 1,
            a: &raw const one,
            a_row: 0,
            a_col: 0,
            c: d_bias.as_mut_ptr(),
            ..rows_of_d
        };
        // The transposed product has long rows, so that its vectors are full.
        let rows_of_x = Product {
            m: outputs,
            n: inputs,
            a: d.as_ptr(),
            a_col: outputs,
            b: Right::Rows(x.as_ptr(), inputs),
            c: scratch.thin.as_mut_ptr(),
            c_row: inputs,
            ..rows_of_d
        };
        unsafe {
            product::<S>(bias, &mut scratch.packed);
            product::<S>(if thin { rows_of_x } else { rows_of_d }, &mut scratch.packed);
        }
    }
    if thin {
        for (i, row) in d_weight.chunks_exact_mut(outputs).enumerate() {
            for (j, w) in row.iter_mut().enumerate() {
                *w += scratch.thin[j * inputs + i];
            }
        }
    }
}

/// Rows of a batch summed at once, so that inputs and gradients stay in the first-level cache.
const GRADIENT_BLOCK: usize = 64;

/// Rows of a batch that share panels of a transposed weight.
const BACK_BLOCK: usize = 192;

/// `d_x = d wᵀ`, times the derivative of the activation that made `x` where `through` names it.
#[inline(always)]
unsafe fn dense_input_gradient<S: Simd>(
    layer: Dense<'_>,
    d: &[f32],
    d_x: &mut [f32],
    through: Option<(Activation, &[f32])>,
    scratch: &mut Scratch,
) {
    let (inputs, outputs) = (layer.inputs, layer.outputs);
    for (i, (d, d_x)) in
        d.chunks(BACK_BLOCK * outputs).zip(d_x.chunks_mut(BACK_BLOCK * inputs)).enumerate()
    {
        let sums = Product {
            m: d.len() / outputs,
            n: inputs,
            k: outputs,
            a: d.as_ptr(),
            a_row: outputs,
            a_col: 1,
            b: Right::Columns(layer.weight.as_ptr(), outputs),
            c: d_x.as_mut_ptr(),
            c_row: inputs,
            start: Start::Zero,
        };
        unsafe {
            product::<S>(sums, &mut scratch.packed);
            if let Some((activation, x)) = through {
                let from = i * BACK_BLOCK * inputs;
                deactivate::<S>(activation, d_x, &x[from..from + d_x.len()]);
            }
        }
    }
}

/// `[rows, columns]` to `[columns, rows]`.
fn transpose(matrix: &[f32], rows: usize, columns: usize, out: &mut Vec<f32>) {
    const TILE: usize = 4;
    out.resize(rows * columns, 0.0);
    let (whole_rows, whole_columns) = (rows / TILE * TILE, columns / TILE * TILE);
    for i in (0..whole_rows).step_by(TILE) {
        for j in (0..whole_columns).step_by(TILE) {
            let mut tile = [[0.0; TILE]; TILE];
            for (k, row) in tile.iter_mut().enumerate() {
                row.copy_from_slice(&matrix[(i + k) * columns + j..][..TILE]);
            }
            for l in 0..TILE {
                let column = [tile[0][l], tile[1][l], tile[2][l], tile[3][l]];
                out[(j + l) * rows + i..][..TILE].copy_from_slice(&column);
            }
        }
    }
    for i in 0..rows {
        let first = if i < whole_rows { whole_columns } else { 0 };
        for j in first..columns {
            out[j * rows + i] = matrix[i * columns + j];
        }
    }
}

/// One Adam step's numbers.
#[derive(Clone, Copy)]
pub(crate) struct AdamStep {
    pub beta1: f32,
    pub beta2: f32,
    /// `learning_rate / (1 - beta1^t)`
    pub rate: f32,
    /// `1 / sqrt(1 - beta2^t)`
    pub root: f32,
    pub epsilon: f32,
    /// What the gradient is multiplied by (clipping).
    pub scale: f32,
    /// What the parameter is multiplied by first: 1 without weight decay.
    pub keep: f32,
}

#[inline(always)]
unsafe fn adam<S: Simd>(
    step: AdamStep,
    params: &mut [f32],
    grad: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    let n = params.len();
    let (p, g) = (params.as_mut_ptr(), grad.as_mut_ptr());
    let (m, v) = (m.as_mut_ptr(), v.as_mut_ptr());
    unsafe {
        let mut i = 0;
        while i + S::LANES <= n {
            let (grad, mean) = (S::load(g.add(i)), S::load(m.add(i)));
            let (square, param) = (S::load(v.add(i)), S::load(p.add(i)));
            let (mean, square, param) = adam_vector::<S>(step, grad, mean, square, param);
            S::store(m.add(i), mean);
            S::store(v.add(i), square);
            S::store(p.add(i), param);
            S::store(g.add(i), S::splat(0.0));
            i += S::LANES;
        }
        let rest = n - i;
        if rest > 0 {
            let (grad, mean) = (S::load_first(g.add(i), rest), S::load_first(m.add(i), rest));
            let (square, param) = (S::load_first(v.add(i), rest), S::load_first(p.add(i), rest));
            let (mean, square, param) = adam_vector::<S>(step, grad, mean, square, param);
            S::store_first(m.add(i), rest, mean);
            S::store_first(v.add(i), rest, square);
            S::store_first(p.add(i), rest, param);
            S::store_first(g.add(i), rest, S::splat(0.0));
        }
    }
}

/// New moments and parameters of one vector.
#[inline(always)]
unsafe fn adam_vector<S: Simd>(
    step: AdamStep,
    grad: S::V,
    mean: S::V,
    square: S::V,
    param: S::V,
) -> (S::V, S::V, S::V) {
    unsafe {
        let grad = S::mul(grad, S::splat(step.scale));
        let mean = S::fma(S::splat(step.beta1), mean, S::mul(S::splat(1.0 - step.beta1), grad));
        let added = S::mul(S::mul(S::splat(1.0 - step.beta2), grad), grad);
        let square = S::fma(S::splat(step.beta2), square, added);
        let deviation = S::fma(S::sqrt(square), S::splat(step.root), S::splat(step.epsilon));
        let kept = S::mul(param, S::splat(step.keep));
        let param = S::fma(S::div(mean, deviation), S::splat(-step.rate), kept);
        (mean, square, param)
    }
}

/// `to = (1 - share) to + share from`
#[inline(always)]
unsafe fn move_towards<S: Simd>(to: &mut [f32], from: &[f32], share: f32) {
    unsafe {
        let (share, rest) = (S::splat(share), S::splat(1.0 - share));
        in_place!(S, to, |v, from| S::fma(share, from, S::mul(rest, v)));
    }
}

#[inline(always)]
unsafe fn sum_of_squares<S: Simd>(x: &[f32]) -> f32 {
    unsafe {
        let mut sums = [S::splat(0.0); 4];
        let mut i = 0;
        while i + 4 * S::LANES <= x.len() {
            for (j, sum) in sums.iter_mut().enumerate() {
                let v = S::load(x.as_ptr().add(i + j * S::LANES));
                *sum = S::fma(v, v, *sum);
            }
            i += 4 * S::LANES;
        }
        let head = S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3]));
        S::sum(head) + x[i..].iter().map(|v| v * v).sum::<f32>()
    }
}

/// 24 independent chains of multiply-adds, `rounds` times: what the registers allow at best.
#[inline(always)]
unsafe fn multiply_adds<S: Simd>(rounds: usize) -> f32 {
    unsafe {
        let (a, b) = (S::splat(0.999), S::splat(1e-3));
        let mut chains = [S::splat(0.0); 24];
        for (i, chain) in chains.iter_mut().enumerate() {
            *chain = S::splat(std::hint::black_box(i as f32));
        }
        for _ in 0..rounds {
            for chain in &mut chains {
                *chain = S::fma(*chain, a, b);
            }
        }
        let mut total = S::splat(0.0);
        for chain in chains {
            total = S::add(total, chain);
        }
        S::sum(total)
    }
}

/// The most floating-point operations a second that one core reaches in f32 multiply-adds: the limit
/// against which kernels are judged.
pub fn multiply_add_peak() -> f64 {
    let isa = instruction_set();
    let lanes = match isa {
        InstructionSet::Avx512 => 16,
        InstructionSet::Avx2 | InstructionSet::Plain => 8,
    };
    let rounds = 200_000;
    let once = || {
        let began = std::time::Instant::now();
        std::hint::black_box(peak(isa, std::hint::black_box(rounds)));
        (rounds * 24 * lanes * 2) as f64 / began.elapsed().as_secs_f64()
    };
    (0..20).map(|_| once()).fold(0.0, f64::max)
}

/// Makes a safe function that picks the implementer of a kernel at run time.
macro_rules! dispatch {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)? { $check:expr }) => {
        $(#[$doc])*
        pub(crate) fn $name(isa: InstructionSet, $($arg: $type),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx2,fma")]
            unsafe fn avx512($($arg: $type),*) $(-> $out)? {
                unsafe { super::kernels::$name::inner::<Avx512>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $type),*) $(-> $out)? {
                unsafe { super::kernels::$name::inner::<Avx2>($($arg),*) }
            }
            $check;
            // SAFETY: slice lengths were checked above; an `isa` comes from `instruction_set` or has passed
            // the check of `Mlp::with_instruction_set`, so its features were detected.
            unsafe {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    InstructionSet::Avx512 => avx512($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    InstructionSet::Avx2 => avx2($($arg),*),
                    _ => super::kernels::$name::inner::<Plain>($($arg),*),
                }
            }
        }
    };
}

mod forward {
    pub(super) use super::dense_forward as inner;
}
mod weight_gradient {
    pub(super) use super::dense_gradient as inner;
}
mod input_gradient {
    pub(super) use super::dense_input_gradient as inner;
}
mod adam_update {
    pub(super) use super::adam as inner;
}
mod mix {
    pub(super) use super::move_towards as inner;
}
mod squared_norm {
    pub(super) use super::sum_of_squares as inner;
}
mod peak {
    pub(super) use super::multiply_adds as inner;
}
mod through_activation {
    pub(super) use super::deactivate as inner;
}

dispatch! {
    /// `y = activation(x w + bias)`.
    fn forward(layer: Dense<'_>, x: &[f32], y: &mut [f32], scratch: &mut Scratch) {{
        assert!(layer.weight.len() == layer.inputs * layer.outputs && layer.bias.len() == layer.outputs);
        assert!(x.len() * layer.outputs == y.len() * layer.inputs && x.len().is_multiple_of(layer.inputs));
    }}
}

dispatch! {
    /// `d_weight += xᵀ d`, `d_bias += Σ d`.
    fn weight_gradient(x: &[f32], d: &[f32], d_weight: &mut [f32], d_bias: &mut [f32], scratch: &mut Scratch) {{
        assert!(!d_bias.is_empty() && d_weight.len().is_multiple_of(d_bias.len()));
        assert!(d.len().is_multiple_of(d_bias.len()));
        assert_eq!(x.len() * d_bias.len() * d_bias.len(), d.len() * d_weight.len());
    }}
}

dispatch! {
    /// `d_x = d wᵀ`, carried back through the activation that made `x`.
    fn input_gradient(layer: Dense<'_>, d: &[f32], d_x: &mut [f32], through: Option<(Activation, &[f32])>, scratch: &mut Scratch) {{
        assert!(layer.weight.len() == layer.inputs * layer.outputs);
        assert!(d.len() * layer.inputs == d_x.len() * layer.outputs && d.len().is_multiple_of(layer.outputs));
        assert!(through.is_none_or(|(_, x)| x.len() == d_x.len()));
    }}
}

dispatch! {
    /// The gradient in a sum from that in `activation(sum)`.
    fn through_activation(activation: Activation, d: &mut [f32], y: &[f32]) {{
        assert_eq!(d.len(), y.len());
    }}
}

dispatch! {
    /// Adam on flat arrays; the gradient is cleared.
    fn adam_update(step: AdamStep, params: &mut [f32], grad: &mut [f32], m: &mut [f32], v: &mut [f32]) {{
        assert!(grad.len() == params.len() && m.len() == params.len() && v.len() == params.len());
    }}
}

dispatch! {
    /// `to = (1 - share) to + share from`
    fn mix(to: &mut [f32], from: &[f32], share: f32) {{
        assert_eq!(to.len(), from.len());
    }}
}

dispatch! {
    /// Multiply-adds in registers.
    fn peak(rounds: usize) -> f32 {{}}
}

dispatch! {
    /// `Σ x²`
    fn squared_norm(x: &[f32]) -> f32 {{}}
}

#[cfg(test)]
mod tests;
