//! Functions of one row at a time: norms, activations, soft maximum. All are pure; a row's result depends
//! on that row alone.
#![expect(unsafe_code, reason = "vector intrinsics in measured hot loops")]
#![expect(
    clippy::inline_always,
    reason = "vector code must be inlined into the function that enables its instructions"
)]

use crate::kernels::{InstructionSet, instruction_set};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Plain, Simd};

/// Makes a safe function of a generic kernel, compiled for each instruction set and chosen at run time.
macro_rules! vectorised {
    ($(#[$doc:meta])* fn $name:ident = $inner:ident($($arg:ident: $type:ty),*) $(-> $out:ty)? where $check:expr) => {
        $(#[$doc])*
        ///
        /// # Panics
        /// If slices that belong together differ in length.
        pub fn $name($($arg: $type),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx2,fma")]
            unsafe fn avx512($($arg: $type),*) $(-> $out)? {
                unsafe { $inner::<Avx512>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $type),*) $(-> $out)? {
                unsafe { $inner::<Avx2>($($arg),*) }
            }
            assert!($check, "slices of different lengths");
            // SAFETY: lengths were checked above, and the instruction set was detected.
            unsafe {
                match instruction_set() {
                    #[cfg(target_arch = "x86_64")]
                    InstructionSet::Avx512 => avx512($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    InstructionSet::Avx2 => avx2($($arg),*),
                    _ => $inner::<Plain>($($arg),*),
                }
            }
        }
    };
}

pub(super) use vectorised;

/// Goes over vectors of `n` elements: `$body` with the index and, at the end, how many lanes are left.
macro_rules! over {
    ($s:ident, $n:expr, |$i:ident, $load:ident, $store:ident| $body:block) => {{
        let n = $n;
        let mut $i = 0;
        while $i + $s::LANES <= n {
            macro_rules! $load {
                ($x:expr) => {
                    $s::load($x.as_ptr().add($i))
                };
            }
            #[allow(unused_macros)]
            macro_rules! $store {
                ($x:expr, $v:expr) => {
                    $s::store($x.as_mut_ptr().add($i), $v)
                };
            }
            $body
            $i += $s::LANES;
        }
        if $i < n {
            let rest = n - $i;
            macro_rules! $load {
                ($x:expr) => {
                    $s::load_first($x.as_ptr().add($i), rest)
                };
            }
            #[allow(unused_macros)]
            macro_rules! $store {
                ($x:expr, $v:expr) => {
                    $s::store_first($x.as_mut_ptr().add($i), rest, $v)
                };
            }
            $body
        }
    }};
}

/// `e^x` to 2e-7, 0 below -87, for `x ≤ 88`.
#[inline(always)]
unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    // x = n ln 2 + r: adding and subtracting 1.5 · 2^23 rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    const TERMS: [f32; 6] =
        [0.500_000_012, 0.166_666_655, 0.041_665_796, 0.008_333_452, 0.001_398_2, 0.000_198_756_9];
    unsafe {
        let x = S::max(S::splat(-87.3), S::min(S::splat(88.0), x));
        let whole = S::fma(x, S::splat(std::f32::consts::LOG2_E), S::splat(ROUND));
        let n = S::add(whole, S::splat(-ROUND));
        let r = S::fma(n, S::splat(-0.693_359_375), x);
        let r = S::fma(n, S::splat(2.121_944_4e-4), r);
        let mut p = S::splat(TERMS[5]);
        for k in (0..5).rev() {
            p = S::fma(p, r, S::splat(TERMS[k]));
        }
        let r2 = S::mul(r, r);
        let p = S::add(S::fma(p, r2, r), S::splat(1.0));
        S::mul(p, S::pow2(n))
    }
}

/// `1 / (1 + e^-x)`
#[inline(always)]
unsafe fn sigmoid<S: Simd>(x: S::V) -> S::V {
    unsafe {
        let e = exp::<S>(S::mul(x, S::splat(-1.0)));
        S::div(S::splat(1.0), S::add(S::splat(1.0), e))
    }
}

#[inline(always)]
unsafe fn scaled_exp<S: Simd>(row: &mut [f32], scale: f32, max: f32) -> f32 {
    unsafe {
        let mut sum = S::splat(0.0);
        let whole = row.len() - row.len() % S::LANES;
        let (scale, shift) = (S::splat(scale), S::splat(-max));
        let mut i = 0;
        while i < whole {
            let at = row.as_mut_ptr().add(i);
            let e = exp::<S>(S::fma(S::load(at), scale, shift));
            S::store(at, e);
            sum = S::add(sum, e);
            i += S::LANES;
        }
        let mut total = S::sum(sum);
        if whole < row.len() {
            let rest = row.len() - whole;
            let at = row.as_mut_ptr().add(whole);
            let e = exp::<S>(S::fma(S::load_first(at, rest), scale, shift));
            S::store_first(at, rest, e);
            total += row[whole..].iter().sum::<f32>();
        }
        total
    }
}

vectorised! {
    /// Replaces each `x` by `e^(scale x - max)` and returns their sum.
    fn exp_sum = scaled_exp(row: &mut [f32], scale: f32, max: f32) -> f32 where true
}

#[inline(always)]
unsafe fn scaled_exp_moments<S: Simd>(row: &mut [f32], scale: f32, max: f32) -> (f32, f32) {
    unsafe {
        let (mut sum, mut moment) = (S::splat(0.0), S::splat(0.0));
        let (scale, shift) = (S::splat(scale), S::splat(-max));
        // Below this `e^y y` is nothing; of -inf it would be NaN.
        let least = S::splat(-80.0);
        let whole = row.len() - row.len() % S::LANES;
        let mut i = 0;
        while i < whole {
            let at = row.as_mut_ptr().add(i);
            let y = S::fma(S::load(at), scale, shift);
            let e = exp::<S>(y);
            S::store(at, e);
            sum = S::add(sum, e);
            moment = S::fma(e, S::max(y, least), moment);
            i += S::LANES;
        }
        let (mut total, mut total_moment) = (S::sum(sum), S::sum(moment));
        if whole < row.len() {
            let rest = row.len() - whole;
            let at = row.as_mut_ptr().add(whole);
            let y = S::fma(S::load_first(at, rest), scale, shift);
            S::store_first(at, rest, exp::<S>(y));
            total += row[whole..].iter().sum::<f32>();
            let mut lanes = [0.0f32; 16];
            S::store(lanes.as_mut_ptr(), S::max(y, least));
            total_moment += row[whole..].iter().zip(&lanes).map(|(e, y)| e * y).sum::<f32>();
        }
        (total, total_moment)
    }
}

vectorised! {
    /// As [`exp_sum`], with the sum of `e^y y` over all `y = scale x - max` behind it.
    fn exp_moments = scaled_exp_moments(row: &mut [f32], scale: f32, max: f32) -> (f32, f32) where true
}

#[inline(always)]
unsafe fn largest<S: Simd>(row: &[f32]) -> f32 {
    unsafe {
        let mut best = S::splat(f32::NEG_INFINITY);
        let whole = row.len() - row.len() % S::LANES;
        let mut i = 0;
        while i < whole {
            best = S::max(best, S::load(row.as_ptr().add(i)));
            i += S::LANES;
        }
        let mut lanes = [0.0f32; 16];
        S::store(lanes.as_mut_ptr(), best);
        let rest = row[whole..].iter().copied().fold(f32::NEG_INFINITY, f32::max);
        lanes[..S::LANES].iter().copied().fold(rest, f32::max)
    }
}

vectorised! {
    /// The largest element; minus infinity of none.
    fn max = largest(row: &[f32]) -> f32 where true
}

#[inline(always)]
unsafe fn dot_inner<S: Simd>(a: &[f32], b: &[f32]) -> f32 {
    unsafe {
        let mut sum = S::splat(0.0);
        over!(S, a.len(), |i, load, store| {
            sum = S::fma(load!(a), load!(b), sum);
        });
        S::sum(sum)
    }
}

vectorised! {
    /// `Σ a b`
    fn dot = dot_inner(a: &[f32], b: &[f32]) -> f32 where a.len() == b.len()
}

#[inline(always)]
unsafe fn add_scaled_inner<S: Simd>(y: &mut [f32], scale: f32, x: &[f32]) {
    unsafe {
        let scale = S::splat(scale);
        over!(S, y.len(), |i, load, store| {
            store!(y, S::fma(scale, load!(x), load!(y)));
        });
    }
}

vectorised! {
    /// `y += scale x`
    fn add_scaled = add_scaled_inner(y: &mut [f32], scale: f32, x: &[f32]) where y.len() == x.len()
}

#[inline(always)]
unsafe fn rms_norm_inner<S: Simd>(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) -> f32 {
    unsafe {
        let mut sum = S::splat(0.0);
        over!(S, x.len(), |i, load, store| {
            sum = S::fma(load!(x), load!(x), sum);
        });
        let inverse = 1.0 / (S::sum(sum) / x.len() as f32 + eps).sqrt();
        let scale = S::splat(inverse);
        over!(S, x.len(), |i, load, store| {
            store!(y, S::mul(S::mul(load!(x), scale), load!(weight)));
        });
        inverse
    }
}

vectorised! {
    /// `y = weight x / rms(x)` (Zhang & Sennrich 2019, eq. 4); returns `1 / rms(x)`.
    fn rms_norm = rms_norm_inner(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) -> f32
    where x.len() == weight.len() && x.len() == y.len()
}

#[inline(always)]
unsafe fn rms_norm_backward_inner<S: Simd>(
    x: &[f32],
    weight: &[f32],
    inverse: f32,
    d_y: &[f32],
    d_x: &mut [f32],
) {
    unsafe {
        let mut sum = S::splat(0.0);
        over!(S, x.len(), |i, load, store| {
            sum = S::fma(S::mul(load!(d_y), load!(weight)), load!(x), sum);
        });
        let shared = S::splat(-S::sum(sum) * inverse * inverse * inverse / x.len() as f32);
        let inverse = S::splat(inverse);
        over!(S, x.len(), |i, load, store| {
            let own = S::fma(S::mul(load!(d_y), load!(weight)), inverse, load!(d_x));
            store!(d_x, S::fma(shared, load!(x), own));
        });
    }
}

vectorised! {
    /// Adds the gradient in `x` of [`rms_norm`] to `d_x`; `inverse` is what it returned.
    fn rms_norm_backward = rms_norm_backward_inner(
        x: &[f32], weight: &[f32], inverse: f32, d_y: &[f32], d_x: &mut [f32]
    ) where x.len() == weight.len() && x.len() == d_y.len() && x.len() == d_x.len()
}

#[inline(always)]
unsafe fn scaled_product_inner<S: Simd>(sum: &mut [f32], scale: f32, a: &[f32], b: &[f32]) {
    unsafe {
        let scale = S::splat(scale);
        over!(S, sum.len(), |i, load, store| {
            store!(sum, S::fma(S::mul(load!(a), scale), load!(b), load!(sum)));
        });
    }
}

vectorised! {
    /// `sum += scale a b`, element by element: the gradient in a norm's weight.
    fn add_scaled_product = scaled_product_inner(
        sum: &mut [f32], scale: f32, a: &[f32], b: &[f32]
    ) where sum.len() == a.len() && sum.len() == b.len()
}

#[inline(always)]
unsafe fn swiglu_inner<S: Simd>(gate: &[f32], up: &[f32], y: &mut [f32]) {
    unsafe {
        over!(S, y.len(), |i, load, store| {
            let g = load!(gate);
            store!(y, S::mul(S::mul(g, sigmoid::<S>(g)), load!(up)));
        });
    }
}

vectorised! {
    /// `y = silu(gate) up` (Shazeer 2020).
    fn swiglu = swiglu_inner(gate: &[f32], up: &[f32], y: &mut [f32])
    where gate.len() == y.len() && up.len() == y.len()
}

#[inline(always)]
unsafe fn swiglu_backward_inner<S: Simd>(gate: &mut [f32], up: &mut [f32], d_y: &[f32]) {
    unsafe {
        over!(S, d_y.len(), |i, load, store| {
            let (g, u, d) = (load!(gate), load!(up), load!(d_y));
            let s = sigmoid::<S>(g);
            let silu = S::mul(g, s);
            // silu'(g) = s + silu (1 - s)
            let slope = S::fma(silu, S::fma(s, S::splat(-1.0), S::splat(1.0)), s);
            store!(up, S::mul(d, silu));
            store!(gate, S::mul(S::mul(d, u), slope));
        });
    }
}

vectorised! {
    /// Replaces `gate` and `up` of [`swiglu`] by the gradients in them.
    fn swiglu_backward = swiglu_backward_inner(gate: &mut [f32], up: &mut [f32], d_y: &[f32])
    where gate.len() == d_y.len() && up.len() == d_y.len()
}

/// `√(2/π)` and the cubic's factor in the tanh form of GELU.
const GELU: (f32, f32) = (0.797_884_56, 0.044_715);

#[inline(always)]
unsafe fn gelu_inner<S: Simd>(x: &[f32], y: &mut [f32]) {
    unsafe {
        over!(S, y.len(), |i, load, store| {
            let v = load!(x);
            // tanh(t) = 2 sigmoid(2t) - 1, so GELU is v sigmoid(2t).
            let cube = S::mul(S::mul(v, v), v);
            let t = S::mul(S::splat(2.0 * GELU.0), S::fma(S::splat(GELU.1), cube, v));
            store!(y, S::mul(v, sigmoid::<S>(t)));
        });
    }
}

vectorised! {
    /// `y = gelu(x)` in its tanh form (Hendrycks & Gimpel 2016).
    fn gelu = gelu_inner(x: &[f32], y: &mut [f32]) where x.len() == y.len()
}

#[inline(always)]
unsafe fn gelu_backward_inner<S: Simd>(x: &mut [f32], d_y: &[f32]) {
    unsafe {
        over!(S, d_y.len(), |i, load, store| {
            let v = load!(x);
            let square = S::mul(v, v);
            let inner = S::fma(S::splat(GELU.1), S::mul(square, v), v);
            let s = sigmoid::<S>(S::mul(S::splat(2.0 * GELU.0), inner));
            let inner_slope = S::fma(S::splat(3.0 * GELU.1), square, S::splat(1.0));
            let slope = S::mul(S::mul(S::splat(2.0 * GELU.0), inner_slope), S::mul(v, s));
            let slope = S::fma(slope, S::fma(s, S::splat(-1.0), S::splat(1.0)), s);
            store!(x, S::mul(load!(d_y), slope));
        });
    }
}

vectorised! {
    /// Replaces `x` of [`gelu`] by the gradient in it.
    fn gelu_backward = gelu_backward_inner(x: &mut [f32], d_y: &[f32]) where x.len() == d_y.len()
}

/// `y = weight (x - mean) / deviation + bias` (Ba et al. 2016); returns the mean and one over the deviation.
///
/// # Panics
/// If slices that belong together differ in length.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, y: &mut [f32]) -> (f32, f32) {
    let mean = x.iter().sum::<f32>() / x.len() as f32;
    y.iter_mut().zip(x).for_each(|(y, x)| *y = x - mean);
    let inverse = 1.0 / (dot(y, y) / x.len() as f32 + eps).sqrt();
    for ((y, w), b) in y.iter_mut().zip(weight).zip(bias) {
        *y = *y * inverse * w + b;
    }
    (mean, inverse)
}

/// Adds the gradient in `x` of [`layer_norm`] to `d_x`.
///
/// # Panics
/// If slices that belong together differ in length.
pub fn layer_norm_backward(
    x: &[f32],
    weight: &[f32],
    (mean, inverse): (f32, f32),
    d_y: &[f32],
    d_x: &mut [f32],
) {
    let n = x.len() as f32;
    let (mut sum, mut along) = (0.0, 0.0);
    for ((x, w), d) in x.iter().zip(weight).zip(d_y) {
        sum += d * w;
        along += d * w * (x - mean) * inverse;
    }
    for (((x, w), d), d_x) in x.iter().zip(weight).zip(d_y).zip(d_x) {
        let normal = (x - mean) * inverse;
        *d_x += inverse * (d * w - sum / n - normal * along / n);
    }
}
