//! What a transformer's time goes to: products of large matrices, of a few rows with large matrices, and
//! the row-wise functions between them.

mod attend;
mod few_rows;
mod gemm;
mod row_wise;

pub use attend::{Cached, attention_mix, attention_scores};
pub use few_rows::few_rows;
pub use row_wise::*;

use crate::kernels::{InstructionSet, instruction_set};
use crate::team::Team;
use gemm::{Line, Product, Right};

/// How numbers are rounded before they are multiplied. Sums are f32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Not at all.
    #[default]
    F32,
    /// To 8 significant bits.
    Bf16,
}

/// The nearest bf16, ties to even.
#[inline]
pub fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    if x.is_nan() { ((bits >> 16) | 0x40) as u16 } else { rounded as u16 }
}

/// A bf16 as f32, which it always is exactly.
#[inline]
pub fn from_bf16(x: u16) -> f32 {
    f32::from_bits(u32::from(x) << 16)
}

/// Numbers of a matrix as they lie in memory.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// As they are.
    F32(&'a [f32]),
    /// The upper halves of f32.
    Bf16(&'a [u16]),
}

impl Source<'_> {
    fn len(&self) -> usize {
        match self {
            Self::F32(x) => x.len(),
            Self::Bf16(x) => x.len(),
        }
    }
}

/// A matrix with any strides: element (i, j) lies at `i * row + j * col`.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    source: Source<'a>,
    row: usize,
    col: usize,
}

impl<'a> Operand<'a> {
    /// Rows of `row` numbers each, one after the other.
    pub fn rows(data: &'a [f32], row: usize) -> Self {
        Self { source: Source::F32(data), row, col: 1 }
    }

    /// As [`Operand::rows`], of any source.
    pub fn of(source: Source<'a>, row: usize) -> Self {
        Self { source, row, col: 1 }
    }

    /// Its transpose.
    pub fn flipped(self) -> Self {
        Self { source: self.source, row: self.col, col: self.row }
    }

    fn assert_covers(&self, rows: usize, columns: usize) {
        if rows > 0 && columns > 0 {
            let last = (rows - 1) * self.row + (columns - 1) * self.col;
            assert!(last < self.source.len(), "an operand is smaller than its {rows} x {columns}");
        }
    }
}

/// The threads, instructions and buffers that products are computed with.
pub struct Cpu {
    /// Who computes.
    pub team: Team,
    precision: Precision,
    packed: Vec<Line>,
    spare: Vec<Vec<f32>>,
}

impl std::fmt::Debug for Cpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cpu")
            .field("threads", &self.team.threads())
            .field("precision", &self.precision)
            .finish_non_exhaustive()
    }
}

impl Cpu {
    /// `threads` threads that multiply in `precision`.
    pub fn new(threads: usize, precision: Precision) -> Self {
        Self { team: Team::new(threads), precision, packed: Vec::new(), spare: Vec::new() }
    }

    /// What numbers are rounded to before they are multiplied.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// A buffer of `len` numbers, whatever they are. [`Cpu::keep`] it after use: a fresh one costs a page
    /// fault for every 4 KiB.
    pub fn spare(&mut self, len: usize) -> Vec<f32> {
        let fits = |i: &usize| self.spare[*i].capacity() >= len;
        let best = (0..self.spare.len()).filter(fits).min_by_key(|&i| self.spare[i].capacity());
        let mut buffer = best.map_or_else(Vec::new, |i| self.spare.swap_remove(i));
        buffer.resize(len, 0.0);
        buffer
    }

    /// Keeps a buffer for [`Cpu::spare`].
    pub fn keep(&mut self, buffer: Vec<f32>) {
        const MOST: usize = 8;
        self.spare.push(buffer);
        if self.spare.len() > MOST {
            self.spare.sort_by_key(|buffer| std::cmp::Reverse(buffer.capacity()));
            self.spare.truncate(MOST);
        }
    }

    /// `c = a · b`, or `c += a · b`: `a` is `m × k`, `b` is `k × n`, rows of `c` are `c_row` apart.
    ///
    /// # Panics
    /// If a matrix is smaller than its sizes say.
    pub fn product(
        &mut self,
        [m, n, k]: [usize; 3],
        a: Operand<'_>,
        b: Operand<'_>,
        c: &mut [f32],
        c_row: usize,
        accumulate: bool,
    ) {
        b.assert_covers(k, n);
        let product = checked([m, n, k], a, b, c, c_row, accumulate, self.precision);
        #[expect(unsafe_code, reason = "sizes were checked; the instruction set was detected")]
        // SAFETY: as the reason says.
        unsafe {
            gemm::product(&mut self.team, &mut self.packed, &product);
        }
    }
}

/// [`Cpu::product`] in f32 on this thread, for small products inside a larger job.
///
/// # Panics
/// If a matrix is smaller than its sizes say.
pub fn product_here(
    [m, n, k]: [usize; 3],
    a: Operand<'_>,
    b: Operand<'_>,
    c: &mut [f32],
    c_row: usize,
    accumulate: bool,
) {
    b.assert_covers(k, n);
    let product = checked([m, n, k], a, b, c, c_row, accumulate, Precision::F32);
    #[expect(unsafe_code, reason = "sizes were checked; the instruction set was detected")]
    // SAFETY: as the reason says.
    unsafe {
        gemm::product_alone(&product, None);
    }
}

/// A right operand that several products share, packed once for all of them; in f32, on one thread.
#[derive(Default)]
pub struct Packed {
    right: Right,
    /// Rows and columns.
    sizes: [usize; 2],
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed").field("sizes", &self.sizes).finish_non_exhaustive()
    }
}

impl Packed {
    /// Packs `b`, which is `k × n`, in place of what was packed here before.
    ///
    /// # Panics
    /// If `b` is smaller.
    pub fn pack(&mut self, [k, n]: [usize; 2], b: Operand<'_>) {
        b.assert_covers(k, n);
        let none = Operand::rows(&[], 0);
        let product = checked([0, n, k], none, b, &mut [], n, false, Precision::F32);
        self.right.pack(&product);
        self.sizes = [k, n];
    }

    /// As [`Packed::pack`], on all threads.
    ///
    /// # Panics
    /// If `b` is smaller.
    pub fn pack_on(&mut self, team: &mut Team, [k, n]: [usize; 2], b: Operand<'_>) {
        b.assert_covers(k, n);
        let none = Operand::rows(&[], 0);
        let product = checked([0, n, k], none, b, &mut [], n, false, Precision::F32);
        self.right.pack_on(team, &product);
        self.sizes = [k, n];
    }

    /// `c = a · b` with all that was packed, on all threads: for few rows of `a`, bound by reading `b`. The same bits
    /// as [`Cpu::product`] in f32.
    ///
    /// # Panics
    /// If a matrix is smaller than its sizes say.
    pub fn product_on(&self, team: &mut Team, m: usize, a: Operand<'_>, c: &mut [f32]) {
        let ([k, n], none) = (self.sizes, Operand::rows(&[], 0));
        let product = checked([m, n, k], a, none, c, n, false, Precision::F32);
        #[expect(unsafe_code, reason = "sizes were checked; the instruction set was detected")]
        // SAFETY: as the reason says; what was packed covers the sizes.
        unsafe {
            gemm::product_packed(team, &product, &self.right);
        }
    }

    /// As [`product_here`], with the first `k` rows and `n` columns of what was packed. The same bits.
    ///
    /// # Panics
    /// If a matrix is smaller than its sizes say.
    pub fn product(
        &self,
        [m, n, k]: [usize; 3],
        a: Operand<'_>,
        c: &mut [f32],
        c_row: usize,
        accumulate: bool,
    ) {
        assert!(k <= self.sizes[0] && n <= self.sizes[1], "the packed operand is smaller");
        let none = Operand::rows(&[], 0);
        let product = checked([m, n, k], a, none, c, c_row, accumulate, Precision::F32);
        #[expect(unsafe_code, reason = "sizes were checked; the instruction set was detected")]
        // SAFETY: as the reason says; what was packed covers the sizes.
        unsafe {
            gemm::product_alone(&product, Some(&self.right));
        }
    }
}

/// A product whose left operand and result fit; the right operand is the caller's to check.
fn checked<'a>(
    [m, n, k]: [usize; 3],
    a: Operand<'a>,
    b: Operand<'a>,
    c: &mut [f32],
    c_row: usize,
    accumulate: bool,
    precision: Precision,
) -> Product<'a> {
    a.assert_covers(m, k);
    assert!(c_row >= n && (m == 0 || (m - 1) * c_row + n <= c.len()), "the result does not fit");
    let isa = instruction_set();
    let pairs = precision == Precision::Bf16 && isa == InstructionSet::Avx512 && multiplies_pairs();
    Product { isa, precision, pairs, m, n, k, a, b, c: c.as_mut_ptr(), c_row, accumulate }
}

/// Whether this CPU has an instruction for pairs of bf16 that is faster than two multiply-adds of f32: AMD's
/// have; Intel's take longer (100 against 180 GFLOP/s on a Sapphire Rapids).
#[cfg(target_arch = "x86_64")]
fn multiplies_pairs() -> bool {
    static ANSWER: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ANSWER.get_or_init(|| {
        let id = std::arch::x86_64::__cpuid(0);
        let amd = (id.ebx, id.edx, id.ecx) == (0x6874_7541, 0x6974_6e65, 0x444d_4163);
        amd && is_x86_feature_detected!("avx512bf16")
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn multiplies_pairs() -> bool {
    false
}

#[cfg(test)]
mod tests;
