//! Attention of one token's queries to cached keys and values, as decoding needs it.
#![expect(unsafe_code, reason = "vector intrinsics in measured hot loops")]
#![expect(
    clippy::inline_always,
    reason = "vector code must be inlined into the function that enables its instructions"
)]

use super::row_wise::vectorised;
use crate::kernels::{InstructionSet, instruction_set};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Plain, Simd};

/// Keys or values of one head: rows of `dim` numbers, `stride` apart.
#[derive(Clone, Copy, Debug)]
pub struct Cached<'a> {
    /// From the first row on.
    pub rows: &'a [f32],
    /// Between the beginnings of two rows.
    pub stride: usize,
    /// How many rows.
    pub len: usize,
    /// Width of a row.
    pub dim: usize,
}

impl Cached<'_> {
    fn fits(&self) -> bool {
        self.len == 0 || (self.len - 1) * self.stride + self.dim <= self.rows.len()
    }
}

#[inline(always)]
unsafe fn scores_inner<S: Simd>(queries: &[f32], keys: Cached<'_>, scores: &mut [f32], row: usize) {
    let (dim, whole) = (keys.dim, keys.dim - keys.dim % S::LANES);
    unsafe {
        for (g, q) in queries.chunks_exact(dim).enumerate() {
            let q = q.as_ptr();
            for j in 0..keys.len {
                let k = keys.rows.as_ptr().add(j * keys.stride);
                let mut sum = S::splat(0.0);
                let mut i = 0;
                while i < whole {
                    sum = S::fma(S::load(q.add(i)), S::load(k.add(i)), sum);
                    i += S::LANES;
                }
                if whole < dim {
                    let (q, k) = (q.add(whole), k.add(whole));
                    let rest = dim - whole;
                    sum = S::fma(S::load_first(q, rest), S::load_first(k, rest), sum);
                }
                *scores.as_mut_ptr().add(g * row + j) = S::sum(sum);
            }
        }
    }
}

vectorised! {
    /// `scores[g, j] = q_g · k_j` for the queries of a group (`group × dim`); rows of `scores` are `row` apart.
    fn attention_scores = scores_inner(
        queries: &[f32], keys: Cached<'_>, scores: &mut [f32], row: usize
    ) where keys.fits() && keys.dim > 0 && row >= keys.len
        && (queries.len() / keys.dim - 1) * row + keys.len <= scores.len()
}

#[inline(always)]
unsafe fn mix_inner<S: Simd>(weights: &[f32], row: usize, values: Cached<'_>, out: &mut [f32]) {
    let dim = values.dim;
    unsafe {
        for (g, out) in out.chunks_exact_mut(dim).enumerate() {
            let p = weights.as_ptr().add(g * row);
            let mut i = 0;
            while i + 4 * S::LANES <= dim {
                let at = out.as_mut_ptr().add(i);
                let mut sums = [S::splat(0.0); 4];
                for l in 0..4 {
                    sums[l] = S::load(at.add(l * S::LANES));
                }
                for j in 0..values.len {
                    let v = values.rows.as_ptr().add(j * values.stride + i);
                    let p = S::splat(*p.add(j));
                    for l in 0..4 {
                        sums[l] = S::fma(p, S::load(v.add(l * S::LANES)), sums[l]);
                    }
                }
                for l in 0..4 {
                    S::store(at.add(l * S::LANES), sums[l]);
                }
                i += 4 * S::LANES;
            }
            while i < dim {
                let rest = (dim - i).min(S::LANES);
                let at = out.as_mut_ptr().add(i);
                let whole = rest == S::LANES;
                let mut sum = if whole { S::load(at) } else { S::load_first(at, rest) };
                for j in 0..values.len {
                    let v = values.rows.as_ptr().add(j * values.stride + i);
                    let v = if whole { S::load(v) } else { S::load_first(v, rest) };
                    sum = S::fma(S::splat(*p.add(j)), v, sum);
                }
                if whole {
                    S::store(at, sum);
                } else {
                    S::store_first(at, rest, sum);
                }
                i += S::LANES;
            }
        }
    }
}

vectorised! {
    /// `out_g += Σ_j weights[g, j] v_j`; rows of `weights` are `row` apart, `out` is `group × dim`.
    fn attention_mix = mix_inner(
        weights: &[f32], row: usize, values: Cached<'_>, out: &mut [f32]
    ) where values.fits() && values.dim > 0 && row >= values.len
        && (out.len() / values.dim - 1) * row + values.len <= weights.len()
}
