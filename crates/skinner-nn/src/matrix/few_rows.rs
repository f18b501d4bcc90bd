//! A few rows times a large matrix that lies row by row, as decoding needs it: bound by reading the matrix.
//!
//! Each output is a sum over lanes in an order that depends on the inner dimension alone: a row's result
//! does not depend on how many rows there are.
#![expect(unsafe_code, reason = "outputs of one matrix are written by several threads")]
#![expect(
    clippy::inline_always,
    reason = "vector code must be inlined into the function that enables its instructions"
)]

use super::{Cpu, Source};
use crate::kernels::{InstructionSet, instruction_set};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Plain, Simd};

/// Outputs of a job.
const JOB: usize = 48;
/// Rows of the matrix that pass through registers together.
const TOGETHER: usize = 4;

#[derive(Clone, Copy)]
struct Work {
    x: *const f32,
    rows: usize,
    k: usize,
    y: *mut f32,
    y_row: usize,
}

// SAFETY: jobs write different outputs.
unsafe impl Sync for Work {}

/// `y[b, o] = Σ_k x[b, k] w[o, k]`: `x` is `rows × k`, `w` is `n × k`, rows of `y` are `y_row` apart.
///
/// # Panics
/// If a slice is too short.
pub fn few_rows(
    cpu: &mut Cpu,
    x: &[f32],
    w: Source<'_>,
    [rows, n, k]: [usize; 3],
    y: &mut [f32],
    y_row: usize,
) {
    assert!(x.len() >= rows * k && w.len() >= n * k && y_row >= n, "a matrix is too small");
    assert!(rows == 0 || y.len() >= (rows - 1) * y_row + n, "the result does not fit");
    let work = Work { x: x.as_ptr(), rows, k, y: y.as_mut_ptr(), y_row };
    let isa = instruction_set();
    cpu.team.for_range(n.div_ceil(JOB), |job| {
        let (from, to) = (job * JOB, ((job + 1) * JOB).min(n));
        let work = &work;
        // SAFETY: sizes were checked; the instruction set was detected; jobs have different outputs.
        unsafe {
            match w {
                Source::F32(w) => F32(w.as_ptr()).run(*work, from, to, isa),
                Source::Bf16(w) => Bf16(w.as_ptr()).run(*work, from, to, isa),
            }
        }
    });
}

/// Where a matrix's numbers come from.
trait Numbers: Copy {
    unsafe fn load<S: Simd>(self, i: usize) -> S::V;
    /// The first `n` lanes; the others are 0.
    unsafe fn load_first<S: Simd>(self, i: usize, n: usize) -> S::V;
    /// Where number `i` lies, which need not be there.
    fn address(self, i: usize) -> *const u8;

    unsafe fn run(self, work: Work, from: usize, to: usize, isa: InstructionSet) {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx2,fma")]
        unsafe fn avx512<W: Numbers>(w: W, work: Work, from: usize, to: usize) {
            unsafe { outputs::<Avx512, W>(w, work, from, to) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2<W: Numbers>(w: W, work: Work, from: usize, to: usize) {
            unsafe { outputs::<Avx2, W>(w, work, from, to) }
        }
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx512 => avx512(self, work, from, to),
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx2 => avx2(self, work, from, to),
                _ => outputs::<Plain, Self>(self, work, from, to),
            }
        }
    }
}

#[derive(Clone, Copy)]
struct F32(*const f32);
#[derive(Clone, Copy)]
struct Bf16(*const u16);

impl Numbers for F32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(self, i: usize) -> S::V {
        unsafe { S::load(self.0.add(i)) }
    }
    #[inline(always)]
    unsafe fn load_first<S: Simd>(self, i: usize, n: usize) -> S::V {
        unsafe { S::load_first(self.0.add(i), n) }
    }
    #[inline(always)]
    fn address(self, i: usize) -> *const u8 {
        self.0.wrapping_add(i).cast()
    }
}

impl Numbers for Bf16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(self, i: usize) -> S::V {
        unsafe { S::load_bf16(self.0.add(i)) }
    }
    #[inline(always)]
    unsafe fn load_first<S: Simd>(self, i: usize, n: usize) -> S::V {
        let mut padded = [0u16; 16];
        unsafe {
            std::ptr::copy_nonoverlapping(self.0.add(i), padded.as_mut_ptr(), n);
            S::load_bf16(padded.as_ptr())
        }
    }
    #[inline(always)]
    fn address(self, i: usize) -> *const u8 {
        self.0.wrapping_add(i).cast()
    }
}

#[inline(always)]
unsafe fn outputs<S: Simd, W: Numbers>(w: W, work: Work, from: usize, to: usize) {
    let mut o = from;
    while o < to {
        let mut row = 0;
        while row < work.rows {
            let left = work.rows - row;
            unsafe {
                row += match (to - o >= TOGETHER, left) {
                    (true, 4..) => tile::<S, W, TOGETHER, 4>(w, work, o, row),
                    (true, 2..) => tile::<S, W, TOGETHER, 2>(w, work, o, row),
                    (true, _) => tile::<S, W, TOGETHER, 1>(w, work, o, row),
                    (false, 4..) => tile::<S, W, 1, 4>(w, work, o, row),
                    (false, 2..) => tile::<S, W, 1, 2>(w, work, o, row),
                    (false, _) => tile::<S, W, 1, 1>(w, work, o, row),
                };
            }
        }
        o += if to - o >= TOGETHER { TOGETHER } else { 1 };
    }
}

/// `O` outputs of `R` rows; returns `R`.
#[inline(always)]
unsafe fn tile<S: Simd, W: Numbers, const O: usize, const R: usize>(
    w: W,
    work: Work,
    o: usize,
    row: usize,
) -> usize {
    unsafe {
        let mut sums = [[S::splat(0.0); R]; O];
        let x = work.x.add(row * work.k);
        let whole = work.k - work.k % S::LANES;
        // The rows after these are fetched while these are multiplied, by each group of rows of `x` a share.
        let (share, shares) = (row / 4, work.rows.div_ceil(4));
        let (mut i, mut step) = (0, share);
        while i < whole {
            if step == 0 {
                for a in 0..O {
                    S::prefetch(w.address((o + O + a) * work.k + i));
                }
                step = shares;
            }
            step -= 1;
            let mut right = [S::splat(0.0); R];
            for b in 0..R {
                right[b] = S::load(x.add(b * work.k + i));
            }
            for a in 0..O {
                let left = w.load::<S>((o + a) * work.k + i);
                for b in 0..R {
                    sums[a][b] = S::fma(left, right[b], sums[a][b]);
                }
            }
            i += S::LANES;
        }
        if whole < work.k {
            let rest = work.k - whole;
            for a in 0..O {
                let left = w.load_first::<S>((o + a) * work.k + whole, rest);
                for b in 0..R {
                    let right = S::load_first(x.add(b * work.k + whole), rest);
                    sums[a][b] = S::fma(left, right, sums[a][b]);
                }
            }
        }
        for b in 0..R {
            let y = work.y.add((row + b) * work.y_row + o);
            if let [s0, s1, s2, s3] = &sums[..] {
                let four = S::sum4([s0[b], s1[b], s2[b], s3[b]]);
                y.cast::<[f32; 4]>().write_unaligned(four);
            } else {
                (0..O).for_each(|a| *y.add(a) = S::sum(sums[a][b]));
            }
        }
    }
    R
}
