//! Products of large matrices: operands are packed into panels, tiles of the result stay in registers.
//!
//! Every element of a result is one chain of multiply-adds in the order of `k`, started from what was there.
//! So it does not depend on the number of rows, on threads or on blocking, and adding two batches one
//! after the other gives the bits of adding them at once.
#![expect(unsafe_code, reason = "tiles of one result are written by several threads")]
#![expect(
    clippy::inline_always,
    reason = "vector code must be inlined into the function that enables its instructions"
)]

mod pack;

use std::cell::RefCell;

use super::{Operand, Precision, Source};
use crate::kernels::InstructionSet;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Plain, Simd};
use crate::team::Team;
use pack::pack;

/// Rows of the left operand packed at once.
const M_BLOCK: usize = 2048;
/// Columns of the right operand packed at once by one thread.
const N_BLOCK: usize = 3072;
/// Steps of the inner dimension packed at once.
const K_BLOCK: usize = 1024;
/// Rows of a job.
const M_JOB: usize = 96;
/// Panels of columns of a job, at most.
const N_JOB: usize = 4;
/// Rows of the left operand that a job packs.
const PACK_ROWS: usize = 128;
/// Vectors of columns in a panel.
const NV: usize = 3;

/// Packed operands, on cache lines of their own.
#[derive(Default)]
pub(super) struct Panels {
    a: Vec<Line>,
    b: Vec<Line>,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Line(#[expect(dead_code, reason = "reached by pointer")] [u32; 16]);

fn words(lines: &mut Vec<Line>, count: usize) -> *mut u32 {
    let needed = count.div_ceil(16);
    if lines.len() < needed {
        lines.resize(needed, Line([0; 16]));
    }
    lines.as_mut_ptr().cast()
}

/// A pointer that threads share; each writes places of its own.
#[derive(Clone, Copy)]
struct Shared<T>(*mut T);
// SAFETY: see the places where it is used: no two jobs write the same element.
unsafe impl<T> Sync for Shared<T> {}
unsafe impl<T> Send for Shared<T> {}
impl<T> Shared<T> {
    fn get(&self) -> *mut T {
        self.0
    }
}

/// Rows of a tile for an instruction set.
fn tile_rows(isa: InstructionSet) -> usize {
    if isa == InstructionSet::Avx512 { 8 } else { 4 }
}

fn panel_columns(isa: InstructionSet) -> usize {
    NV * if isa == InstructionSet::Avx512 { 16 } else { 8 }
}

/// One product, its sizes checked by the caller.
pub(super) struct Product<'a> {
    pub isa: InstructionSet,
    pub precision: Precision,
    /// Whether two bf16 share a word and are multiplied by one instruction; otherwise a rounded number is a
    /// word of its own, an f32.
    pub pairs: bool,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Operand<'a>,
    pub b: Operand<'a>,
    pub c: *mut f32,
    pub c_row: usize,
    pub accumulate: bool,
}

impl Product<'_> {
    /// The left operand where it lies, if tiles can read it there: rows of numbers side by side, not rounded.
    fn left_in_place(&self) -> Option<*const u32> {
        match self.a.source {
            Source::F32(a) if self.a.col == 1 && self.precision == Precision::F32 => {
                Some(a.as_ptr().cast())
            }
            _ => None,
        }
    }

    /// What packing the columns from `next` on will read, where it lies side by side.
    fn ahead(&self, next: usize, columns: usize, (k0, k_len): (usize, usize)) -> Ahead {
        if next >= self.n || self.b.row != 1 {
            return Ahead::default();
        }
        let columns = columns.min(self.n - next);
        let (start, count) = (next * self.b.col + k0, (columns - 1) * self.b.col + k_len);
        let (at, bytes): (*const u8, usize) = match self.b.source {
            Source::F32(x) => (x[start..start + count].as_ptr().cast(), 4 * count),
            Source::Bf16(x) => (x[start..start + count].as_ptr().cast(), 2 * count),
        };
        Ahead { at, lines: bytes.div_ceil(LINE) }
    }

    /// Words of `steps` of the inner dimension.
    fn depth(&self, steps: usize) -> usize {
        if self.pairs { steps.div_ceil(2) } else { steps }
    }
}

// SAFETY: `c` is written through disjoint tiles.
unsafe impl Sync for Product<'_> {}

/// Blocks of `size` in `0..total`: start and length.
fn blocks(total: usize, size: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..total).step_by(size).map(move |start| (start, size.min(total - start)))
}

thread_local! {
    /// What a thread packs for itself.
    static OWN: RefCell<Panels> = RefCell::default();
}

/// The product on all threads of the team: the left operand is packed by all of them for all of them; of the
/// right one, each job packs the panels it needs, which then stay in its core's cache.
///
/// # Safety
/// `c` is valid for `m` rows of `n`, `c_row` apart, and nobody else uses them; the operands cover their
/// `m × k` and `k × n` elements; the CPU has the instruction set.
pub(super) unsafe fn product(team: &mut Team, shared: &mut Vec<Line>, p: &Product<'_>) {
    let (mr, nr) = (tile_rows(p.isa), panel_columns(p.isa));
    let panels = p.n.div_ceil(nr);
    for (k0, k_len) in blocks(p.k, K_BLOCK) {
        let depth = p.depth(k_len);
        for (m0, m_len) in blocks(p.m, M_BLOCK) {
            let left = if let Some(a) = p.left_in_place() {
                Left::InPlace { at: unsafe { a.add(m0 * p.a.row + k0) }, row: p.a.row }
            } else {
                let a = Shared(words(shared, m_len.div_ceil(mr) * mr * depth));
                team.for_range(m_len.div_ceil(PACK_ROWS), |job| {
                    let first = job * PACK_ROWS;
                    let rows = PACK_ROWS.min(m_len - first);
                    let to = unsafe { a.get().add(first * depth) };
                    unsafe { pack(p, &p.a, m0 + first, rows, mr, k0, k_len, to) };
                });
                Left::Packed { at: a.get(), depth }
            };
            // Enough jobs that no thread waits long for another.
            let wanted = if team.threads() == 1 { 1 } else { 6 * team.threads() };
            let together = (panels / wanted).clamp(1, N_JOB);
            let groups = panels.div_ceil(together);
            let m_jobs = wanted.div_ceil(groups).min(m_len.div_ceil(M_JOB));
            let m_step = m_len.div_ceil(m_jobs).next_multiple_of(mr);
            let threads = team.threads();
            team.for_range(groups * m_jobs, |job| {
                let (i, j) = ((job % m_jobs) * m_step, (job / m_jobs) * together * nr);
                let (rows, columns) =
                    (m_step.min(m_len.saturating_sub(i)), (together * nr).min(p.n - j));
                OWN.with_borrow_mut(|own| unsafe {
                    let b = words(&mut own.b, columns.div_ceil(nr) * nr * depth);
                    pack(p, &p.b.flipped(), j, columns, nr, k0, k_len, b);
                    let next = (job + threads) / m_jobs * together * nr;
                    let ahead = if next == j {
                        Ahead::default()
                    } else {
                        p.ahead(next, together * nr, (k0, k_len))
                    };
                    let parts = rows.div_ceil(M_JOB);
                    for (part, (first, rows)) in blocks(rows, M_JOB).enumerate() {
                        let tiles = Tiles {
                            ahead: ahead.part(part, parts),
                            depth,
                            rows,
                            columns,
                            a: left.starting_at(i + first),
                            b,
                            b_depth: depth,
                            c: p.c.add((m0 + i + first) * p.c_row + j),
                            c_row: p.c_row,
                            accumulate: p.accumulate || k0 > 0,
                        };
                        tiles.run(p.isa, p.pairs);
                    }
                });
            });
        }
    }
}

/// The product on this thread alone, for small ones inside a larger job. `right` is the right operand where it
/// is packed already: all of it, of which the product may take the first rows and columns.
///
/// # Safety
/// As [`product`].
pub(super) unsafe fn product_alone(p: &Product<'_>, right: Option<&Right>) {
    for (n0, n_len) in blocks(p.n, N_BLOCK) {
        unsafe { columns_alone(p, right, (n0, n_len)) };
    }
}

/// The product with a packed right operand on all threads, for few rows: bound by reading what was packed.
///
/// # Safety
/// As [`product`]; `right` has `k` rows and `n` columns.
pub(super) unsafe fn product_packed(team: &mut Team, p: &Product<'_>, right: &Right) {
    const JOBS: usize = 4;
    let nr = panel_columns(p.isa);
    let panels = p.n.div_ceil(nr);
    let columns = panels.div_ceil(JOBS * team.threads()).min(N_BLOCK / nr) * nr;
    team.for_range(p.n.div_ceil(columns), |job| {
        let n0 = job * columns;
        unsafe { columns_alone(p, Some(right), (n0, columns.min(p.n - n0))) };
    });
}

/// Some columns of a product.
unsafe fn columns_alone(p: &Product<'_>, right: Option<&Right>, (n0, n_len): (usize, usize)) {
    let (mr, nr) = (tile_rows(p.isa), panel_columns(p.isa));
    OWN.with_borrow_mut(|own| {
        for (k0, k_len) in blocks(p.k, K_BLOCK) {
            let depth = p.depth(k_len);
            let (b, b_depth, ahead) = if let Some(right) = right {
                let panels: *const u32 = right.lines.as_ptr().cast();
                let b = unsafe { panels.add(n0 * right.depth + k0 * nr) };
                (b, right.depth, right.ahead(b, n_len.div_ceil(nr), nr, k_len))
            } else {
                let b = words(&mut own.b, n_len.div_ceil(nr) * nr * depth);
                unsafe { pack(p, &p.b.flipped(), n0, n_len, nr, k0, k_len, b) };
                (b.cast_const(), depth, Ahead::default())
            };
            for (m0, m_len) in blocks(p.m, M_JOB) {
                let a = if let Some(a) = p.left_in_place() {
                    Left::InPlace { at: unsafe { a.add(m0 * p.a.row + k0) }, row: p.a.row }
                } else {
                    let a = words(&mut own.a, m_len.div_ceil(mr) * mr * depth);
                    unsafe { pack(p, &p.a, m0, m_len, mr, k0, k_len, a) };
                    Left::Packed { at: a, depth }
                };
                let tiles = Tiles {
                    ahead: if m0 == 0 { ahead } else { Ahead::default() },
                    depth,
                    rows: m_len,
                    columns: n_len,
                    a,
                    b,
                    b_depth,
                    c: unsafe { p.c.add(m0 * p.c_row + n0) },
                    c_row: p.c_row,
                    accumulate: p.accumulate || k0 > 0,
                };
                unsafe { tiles.run(p.isa, p.pairs) };
            }
        }
    });
}

/// A right operand in f32, packed whole.
#[derive(Default)]
pub(super) struct Right {
    lines: Vec<Line>,
    depth: usize,
}

impl Right {
    /// Packs the right operand of a product in f32.
    pub fn pack(&mut self, p: &Product<'_>) {
        let nr = panel_columns(p.isa);
        self.depth = p.k;
        let to = words(&mut self.lines, p.n.div_ceil(nr) * nr * p.k);
        // SAFETY: there is room for all panels, and the operand covers `k × n`.
        unsafe { pack(p, &p.b.flipped(), 0, p.n, nr, 0, p.k, to) };
    }

    /// As [`Right::pack`], on all threads.
    pub fn pack_on(&mut self, team: &mut Team, p: &Product<'_>) {
        let nr = panel_columns(p.isa);
        self.depth = p.k;
        let to = Shared(words(&mut self.lines, p.n.div_ceil(nr) * nr * p.k));
        team.for_range(p.n.div_ceil(nr), |panel| {
            let first = panel * nr;
            // SAFETY: as above; each job writes a panel of its own.
            unsafe {
                let to = to.get().add(first * p.k);
                pack(p, &p.b.flipped(), first, nr.min(p.n - first), nr, 0, p.k, to);
            }
        });
    }

    /// The panels behind each of some that begin at `b`, where these are read whole: large ones, from memory.
    fn ahead(&self, b: *const u32, panels: usize, nr: usize, k_len: usize) -> Ahead {
        const SMALL: usize = 1 << 16;
        if k_len < self.depth || self.lines.len() < SMALL {
            return Ahead::default();
        }
        let words = nr * self.depth;
        Ahead { at: b.wrapping_add(words).cast(), lines: panels * words * 4 / LINE }
    }
}

/// Memory that will be needed soon, in lines of the cache.
#[derive(Clone, Copy)]
struct Ahead {
    at: *const u8,
    lines: usize,
}

const LINE: usize = 64;

impl Default for Ahead {
    fn default() -> Self {
        Self { at: std::ptr::null(), lines: 0 }
    }
}

impl Ahead {
    /// One of several equal parts.
    fn part(self, part: usize, parts: usize) -> Self {
        let each = self.lines.div_ceil(parts);
        let before = (part * each).min(self.lines);
        Self { at: self.at.wrapping_add(before * LINE), lines: each.min(self.lines - before) }
    }
}

/// The left operand of tiles.
#[derive(Clone, Copy)]
enum Left {
    /// Panels of a tile's rows.
    Packed { at: *const u32, depth: usize },
    /// Rows where they lie, so many words apart.
    InPlace { at: *const u32, row: usize },
}

// SAFETY: it is only read, see `product`.
unsafe impl Sync for Left {}

impl Left {
    /// From a row on, which begins a panel.
    #[inline(always)]
    unsafe fn starting_at(self, i: usize) -> Self {
        unsafe {
            match self {
                Self::Packed { at, depth } => Self::Packed { at: at.add(i * depth), depth },
                Self::InPlace { at, row } => Self::InPlace { at: at.add(i * row), row },
            }
        }
    }
}

/// Operands and the part of the result that they make.
#[derive(Clone, Copy)]
struct Tiles {
    /// What is fetched meanwhile.
    ahead: Ahead,
    depth: usize,
    rows: usize,
    columns: usize,
    a: Left,
    b: *const u32,
    /// Steps of a panel of `b`, of which the first `depth` are taken.
    b_depth: usize,
    c: *mut f32,
    c_row: usize,
    accumulate: bool,
}

impl Tiles {
    unsafe fn run(self, isa: InstructionSet, pairs: bool) {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx2,fma")]
        unsafe fn avx512(tiles: Tiles) {
            unsafe { tiles.all::<Avx512, 8, false>() }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bf16,avx2,fma")]
        unsafe fn avx512_pairs(tiles: Tiles) {
            unsafe { tiles.all::<Avx512, 8, true>() }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2(tiles: Tiles) {
            unsafe { tiles.all::<Avx2, 4, false>() }
        }
        unsafe {
            match (isa, pairs) {
                #[cfg(target_arch = "x86_64")]
                (InstructionSet::Avx512, false) => avx512(self),
                #[cfg(target_arch = "x86_64")]
                (InstructionSet::Avx512, true) => avx512_pairs(self),
                #[cfg(target_arch = "x86_64")]
                (InstructionSet::Avx2, _) => avx2(self),
                _ => self.all::<Plain, 4, false>(),
            }
        }
    }

    #[inline(always)]
    unsafe fn all<S: Simd, const MR: usize, const PAIRS: bool>(self) {
        let nr = NV * S::LANES;
        let down = self.rows.div_ceil(MR);
        let tiles = self.columns.div_ceil(nr) * down;
        for (j, columns) in blocks(self.columns, nr) {
            for (i, rows) in blocks(self.rows, MR) {
                let tile = Self {
                    ahead: self.ahead.part(j / nr * down + i / MR, tiles),
                    rows,
                    columns,
                    a: unsafe { self.a.starting_at(i) },
                    b: unsafe { self.b.add(j * self.b_depth) },
                    c: unsafe { self.c.add(i * self.c_row + j) },
                    ..self
                };
                unsafe {
                    match columns.div_ceil(S::LANES) {
                        3 => tile.one::<S, MR, 3, PAIRS>(),
                        2 => tile.one::<S, MR, 2, PAIRS>(),
                        _ => tile.one::<S, MR, 1, PAIRS>(),
                    }
                }
            }
        }
    }

    /// One tile of `MR` rows and `N` vectors of columns.
    #[inline(always)]
    unsafe fn one<S: Simd, const MR: usize, const N: usize, const PAIRS: bool>(self) {
        let tail = self.columns % S::LANES;
        unsafe {
            let mut sums = [[S::splat(0.0); N]; MR];
            if self.accumulate {
                for i in 0..MR {
                    if i < self.rows {
                        let row = self.c.add(i * self.c_row);
                        for j in 0..N {
                            let at = row.add(j * S::LANES);
                            sums[i][j] = if tail > 0 && j == N - 1 {
                                S::load_first(at, tail)
                            } else {
                                S::load(at)
                            };
                        }
                    }
                }
            }
            match self.a {
                Left::Packed { at, .. } => {
                    let at = at.cast::<f32>();
                    self.sum_up::<S, MR, N, PAIRS>(&mut sums, |k, i| at.add(k * MR + i));
                }
                Left::InPlace { at, row } => {
                    // Rows that are not there repeat the last one; their sums are not stored.
                    let last = self.rows - 1;
                    let rows: [_; MR] =
                        std::array::from_fn(|i| at.cast::<f32>().add(i.min(last) * row));
                    self.sum_up::<S, MR, N, PAIRS>(&mut sums, |k, i| rows[i].add(k));
                }
            }
            for i in 0..MR {
                if i < self.rows {
                    let row = self.c.add(i * self.c_row);
                    for j in 0..N {
                        let at = row.add(j * S::LANES);
                        if tail > 0 && j == N - 1 {
                            S::store_first(at, tail, sums[i][j]);
                        } else {
                            S::store(at, sums[i][j]);
                        }
                    }
                }
            }
        }
    }
    /// Adds the products of all steps of the inner dimension; `left` says where a row's number for a step is.
    #[inline(always)]
    unsafe fn sum_up<S: Simd, const MR: usize, const N: usize, const PAIRS: bool>(
        self,
        sums: &mut [[S::V; N]; MR],
        left: impl Fn(usize, usize) -> *const f32,
    ) {
        let nr = NV * S::LANES;
        let b = self.b.cast::<f32>();
        // One line every few steps, if that is enough: many at once would be in the way of the operands.
        let every = self.depth.div_ceil(self.ahead.lines.max(1));
        let at_once = self.ahead.lines.div_ceil(self.depth.max(1)).max(1);
        let mut ahead = self.ahead.at;
        for (k0, steps) in blocks(self.depth, every.max(1)) {
            for _ in 0..at_once {
                unsafe { S::prefetch(ahead) };
                ahead = ahead.wrapping_add(LINE);
            }
            for k in k0..k0 + steps {
                unsafe {
                    let mut right = [S::splat(0.0); N];
                    for j in 0..N {
                        right[j] = S::load(b.add(k * nr + j * S::LANES));
                    }
                    for i in 0..MR {
                        let left = S::splat(*left(k, i));
                        for j in 0..N {
                            sums[i][j] = if PAIRS {
                                S::dot_bf16(left, right[j], sums[i][j])
                            } else {
                                S::fma(left, right[j], sums[i][j])
                            };
                        }
                    }
                }
            }
        }
    }
}
