//! Products of small matrices: tiles of the result stay in registers, panels of the right operand in the
//! first-level cache.
//!
//! Every element of a result is one chain of multiply-adds in the order of `k`, whatever the tiles are.

use crate::simd::Simd;

/// What a product starts from.
#[derive(Clone, Copy)]
pub(super) enum Start {
    Zero,
    /// A row added to every row of the result.
    Bias(*const f32),
    /// What the result holds already.
    Keep,
}

/// The right operand `[k, n]`.
#[derive(Clone, Copy)]
pub(super) enum Right {
    /// Row by row, so many numbers apart.
    Rows(*const f32, usize),
    /// Column by column, so many numbers apart.
    Columns(*const f32, usize),
}

/// `c[m, n] = start + a[m, k] · b[k, n]`: `a` with any strides, `c` row by row.
#[derive(Clone, Copy)]
pub(super) struct Product {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: *const f32,
    pub a_row: usize,
    pub a_col: usize,
    pub b: Right,
    pub c: *mut f32,
    pub c_row: usize,
    pub start: Start,
}

/// Vectors of columns in a panel.
const PANEL: usize = 2;
/// Rows from which on a right operand that the first-level cache does not hold is copied panel by panel.
const WORTH_A_COPY: usize = 96;
/// Numbers of a right operand that the first-level cache holds, beside others.
const IN_CACHE: usize = 6 << 10;
/// Numbers of a cache line.
const LINE: usize = 16;

/// Computes the product; `packed` is room for panels.
#[inline(always)]
pub(super) unsafe fn product<S: Simd>(p: Product, packed: &mut Vec<f32>) {
    unsafe {
        match p.b {
            Right::Rows(b, b_row) if p.m <= 2 => few_rows::<S>(p, b, b_row),
            Right::Rows(b, b_row) if p.m < WORTH_A_COPY || p.k * b_row <= IN_CACHE => {
                panels::<S>(p, |column, _| (b.add(column), b_row));
            }
            Right::Rows(b, b_row) => {
                let room = room::<S>(packed, p.k);
                panels::<S>(p, |column, width| {
                    copy_panel::<S>(b.add(column), b_row, p.k, width, room);
                    (room.cast_const(), PANEL * S::LANES)
                });
            }
            Right::Columns(b, b_column) => {
                let room = room::<S>(packed, p.k);
                panels::<S>(p, |column, width| {
                    transpose_panel::<S>(b.add(column * b_column), b_column, p.k, width, room);
                    (room.cast_const(), PANEL * S::LANES)
                });
            }
        }
    }
}

/// Place for a panel of `k` rows that begins on a cache line.
#[inline(always)]
unsafe fn room<S: Simd>(packed: &mut Vec<f32>, k: usize) -> *mut f32 {
    let needed = PANEL * S::LANES * k + LINE;
    if packed.len() < needed {
        packed.resize(needed, 0.0);
    }
    let start = packed.as_mut_ptr();
    let skip = start.align_offset(LINE * size_of::<f32>());
    unsafe { start.add(if skip < LINE { skip } else { 0 }) }
}

/// The first `width` columns of rows that are `b_row` apart, side by side.
#[inline(always)]
unsafe fn copy_panel<S: Simd>(b: *const f32, b_row: usize, k: usize, width: usize, to: *mut f32) {
    let panel = PANEL * S::LANES;
    for i in 0..k {
        let (from, to) = unsafe { (b.add(i * b_row), to.add(i * panel)) };
        if width == panel {
            for j in 0..PANEL {
                unsafe { S::store(to.add(j * S::LANES), S::load(from.add(j * S::LANES))) };
            }
        } else {
            unsafe { std::ptr::copy_nonoverlapping(from, to, width) };
        }
    }
}

/// `width` columns that are `b_column` apart, as rows side by side.
#[inline(always)]
unsafe fn transpose_panel<S: Simd>(
    b: *const f32,
    b_column: usize,
    k: usize,
    width: usize,
    to: *mut f32,
) {
    let panel = PANEL * S::LANES;
    let (columns, rows) = (width - width % S::LANES, k - k % S::LANES);
    unsafe {
        for i in (0..rows).step_by(S::LANES) {
            for j in (0..columns).step_by(S::LANES) {
                S::transpose(b.add(j * b_column + i), b_column, to.add(i * panel + j), panel);
            }
        }
        for j in 0..width {
            for i in if j < columns { rows } else { 0 }..k {
                *to.add(i * panel + j) = *b.add(j * b_column + i);
            }
        }
    }
}

/// One or two rows: bound by reading the right operand, of which long pieces of rows are read at once.
#[inline(always)]
unsafe fn few_rows<S: Simd>(p: Product, b: *const f32, b_row: usize) {
    let mut column = 0;
    unsafe {
        while column < p.n {
            let panel = Panel { column, b: b.add(column), b_row, tail: 0 };
            let left = p.n - column;
            column += match left / S::LANES {
                8.. if S::LANES == 16 => few::<S, 8>(p, panel),
                4.. => few::<S, 4>(p, panel),
                2.. => few::<S, 2>(p, panel),
                1 => few::<S, 1>(p, panel),
                _ => {
                    rows::<S, 1, true>(p, Panel { tail: left, ..panel });
                    left
                }
            };
        }
    }
}

/// `NV` vectors of columns for all rows, of which there are one or two; returns the columns.
#[inline(always)]
unsafe fn few<S: Simd, const NV: usize>(p: Product, panel: Panel) -> usize {
    unsafe {
        if p.m == 2 {
            tile::<S, 2, NV, false>(p, 0, panel);
        } else {
            tile::<S, 1, NV, false>(p, 0, panel);
        }
    }
    NV * S::LANES
}

/// Columns of a product, and where their part of the right operand is.
#[derive(Clone, Copy)]
struct Panel {
    column: usize,
    b: *const f32,
    b_row: usize,
    /// Columns of the last vector, if it is not whole.
    tail: usize,
}

/// All panels of columns; `right` says where the right operand's part is, and its stride, for a first column and
/// a number of them.
#[inline(always)]
unsafe fn panels<S: Simd>(p: Product, mut right: impl FnMut(usize, usize) -> (*const f32, usize)) {
    let mut column = 0;
    while column < p.n {
        let width = (p.n - column).min(PANEL * S::LANES);
        let (b, b_row) = right(column, width);
        let panel = Panel { column, b, b_row, tail: 0 };
        let tail = width % S::LANES;
        let whole = width - tail;
        unsafe {
            match whole / S::LANES {
                2 => rows::<S, 2, false>(p, panel),
                1 => rows::<S, 1, false>(p, panel),
                _ => {}
            }
            if tail > 0 {
                let rest = Panel { column: column + whole, b: b.add(whole), b_row, tail };
                rows::<S, 1, true>(p, rest);
            }
        }
        column += width;
    }
}

/// All rows of a panel of `NV` vectors of columns.
#[inline(always)]
unsafe fn rows<S: Simd, const NV: usize, const TAIL: bool>(p: Product, panel: Panel) {
    // Accumulators fit the registers: 32 of AVX-512, 16 of the others.
    let mut row = 0;
    unsafe {
        while row < p.m {
            row += match p.m - row {
                12.. if S::LANES == 16 => tile::<S, 12, NV, TAIL>(p, row, panel),
                8.. if S::LANES == 16 => tile::<S, 8, NV, TAIL>(p, row, panel),
                6.. => tile::<S, 6, NV, TAIL>(p, row, panel),
                4.. => tile::<S, 4, NV, TAIL>(p, row, panel),
                3 => tile::<S, 3, NV, TAIL>(p, row, panel),
                2 => tile::<S, 2, NV, TAIL>(p, row, panel),
                _ => tile::<S, 1, NV, TAIL>(p, row, panel),
            };
        }
    }
}

/// `MR` rows of a panel of `NV` vectors, the last of which is not whole with `TAIL`; returns `MR`.
#[inline(always)]
unsafe fn tile<S: Simd, const MR: usize, const NV: usize, const TAIL: bool>(
    p: Product,
    row: usize,
    panel: Panel,
) -> usize {
    unsafe {
        let load = |at: *const f32, j: usize| {
            if TAIL && j == NV - 1 {
                S::load_first(at.add(j * S::LANES), panel.tail)
            } else {
                S::load(at.add(j * S::LANES))
            }
        };
        let c = p.c.add(row * p.c_row + panel.column);
        let mut sums = [[S::splat(0.0); NV]; MR];
        match p.start {
            Start::Zero => {}
            Start::Bias(bias) => {
                for j in 0..NV {
                    let v = load(bias.add(panel.column), j);
                    for sum in &mut sums {
                        sum[j] = v;
                    }
                }
            }
            Start::Keep => {
                for (i, sum) in sums.iter_mut().enumerate() {
                    for j in 0..NV {
                        sum[j] = load(c.add(i * p.c_row), j);
                    }
                }
            }
        }
        let mut a = p.a.add(row * p.a_row);
        let mut b = panel.b;
        for _ in 0..p.k {
            let mut vectors = [S::splat(0.0); NV];
            for j in 0..NV {
                vectors[j] = load(b, j);
            }
            for (i, sum) in sums.iter_mut().enumerate() {
                let x = S::splat(*a.add(i * p.a_row));
                for j in 0..NV {
                    sum[j] = S::fma(x, vectors[j], sum[j]);
                }
            }
            a = a.add(p.a_col);
            b = b.add(panel.b_row);
        }
        for (i, sum) in sums.iter().enumerate() {
            let c = c.add(i * p.c_row);
            for j in 0..NV {
                if TAIL && j == NV - 1 {
                    S::store_first(c.add(j * S::LANES), panel.tail, sum[j]);
                } else {
                    S::store(c.add(j * S::LANES), sum[j]);
                }
            }
        }
    }
    MR
}
