//! Operands as panels: what a tile reads lies side by side.

use super::{Product, blocks};
use crate::kernels::InstructionSet;
use crate::matrix::{Operand, Precision, Source, to_bf16};
#[cfg(target_arch = "x86_64")]
use crate::simd::{transpose8, transpose16};

/// Writes rows `first..first + rows` of an operand as panels of `width` rows: for each step of the inner
/// dimension (two of bf16), one word a row, zeros where rows are missing.
pub(super) unsafe fn pack(
    p: &Product<'_>,
    operand: &Operand<'_>,
    first: usize,
    rows: usize,
    width: usize,
    k0: usize,
    k_len: usize,
    to: *mut u32,
) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn avx2(
        p: &Product<'_>,
        operand: &Operand<'_>,
        [first, rows, width, k0, k_len]: [usize; 5],
        to: *mut u32,
    ) {
        unsafe { pack_any(p, operand, [first, rows, width, k0, k_len], InstructionSet::Avx2, to) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx2")]
    unsafe fn avx512(
        p: &Product<'_>,
        operand: &Operand<'_>,
        [first, rows, width, k0, k_len]: [usize; 5],
        to: *mut u32,
    ) {
        unsafe { pack_any(p, operand, [first, rows, width, k0, k_len], InstructionSet::Avx512, to) }
    }
    let sizes = [first, rows, width, k0, k_len];
    unsafe {
        match p.isa {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => avx512(p, operand, sizes, to),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => avx2(p, operand, sizes, to),
            _ => pack_any(p, operand, sizes, InstructionSet::Plain, to),
        }
    }
}

#[inline(always)]
unsafe fn pack_any(
    p: &Product<'_>,
    operand: &Operand<'_>,
    [first, rows, width, k0, k_len]: [usize; 5],
    isa: InstructionSet,
    to: *mut u32,
) {
    let (row, col) = (operand.row, operand.col);
    let start = first * row + k0 * col;
    let bf16 = p.precision == Precision::Bf16;
    unsafe {
        match operand.source {
            Source::F32(x) => {
                let at = x.as_ptr().add(start);
                let half = |i| u32::from(to_bf16(*at.add(i)));
                if p.pairs {
                    pack_pairs([rows, k_len, width], to, row, col, half);
                } else if row == 1 && bf16 {
                    copy_rows([rows, k_len, width], to, col, |i| half(i) << 16);
                } else if row == 1 {
                    copy_rows([rows, k_len, width], to, col, |i| (*at.add(i)).to_bits());
                } else if bf16 {
                    let get = |i| half(i) << 16;
                    transpose_rows::<true>([rows, k_len, width], to, (at, row, col), isa, get);
                } else {
                    let get = |i| (*at.add(i)).to_bits();
                    transpose_rows::<false>([rows, k_len, width], to, (at, row, col), isa, get);
                }
            }
            Source::Bf16(x) => {
                let at = x.as_ptr().add(start);
                let half = |i| u32::from(*at.add(i));
                if p.pairs {
                    pack_pairs([rows, k_len, width], to, row, col, half);
                } else if row == 1 {
                    copy_rows([rows, k_len, width], to, col, |i| half(i) << 16);
                } else {
                    let at = std::ptr::null();
                    let get = |i| half(i) << 16;
                    transpose_rows::<false>(
                        [rows, k_len, width],
                        to,
                        (at, row, col),
                        InstructionSet::Plain,
                        get,
                    );
                }
            }
        }
    }
}

/// Packs an operand whose rows lie side by side, step by step of the inner dimension.
#[inline(always)]
unsafe fn copy_rows(
    [rows, k_len, width]: [usize; 3],
    to: *mut u32,
    col: usize,
    get: impl Fn(usize) -> u32,
) {
    // A few steps at a time: rows that are a multiple of a page apart share few places of a cache.
    const STEPS: usize = 8;
    for (k0, steps) in blocks(k_len, STEPS) {
        for (first, there) in blocks(rows, width) {
            for k in k0..k0 + steps {
                let to = unsafe { to.add(first * k_len + k * width) };
                let to = unsafe { std::slice::from_raw_parts_mut(to, width) };
                let from = k * col + first;
                match <&mut [u32; 8]>::try_from(&mut *to) {
                    Ok(to) if there == 8 => {
                        to.iter_mut().enumerate().for_each(|(r, word)| *word = get(from + r));
                    }
                    _ => {
                        let (to, none) = to.split_at_mut(there);
                        to.iter_mut().enumerate().for_each(|(r, word)| *word = get(from + r));
                        none.fill(0);
                    }
                }
            }
        }
    }
}

/// Packs an operand by columns, some steps of the inner dimension at a time, so that what is read and
/// written stays in the first-level cache.
#[inline(always)]
unsafe fn transpose_rows<const ROUND: bool>(
    [rows, k_len, width]: [usize; 3],
    to: *mut u32,
    (from, row, col): (*const f32, usize, usize),
    #[allow(unused, reason = "there are no such instructions elsewhere")] isa: InstructionSet,
    get: impl Fn(usize) -> u32,
) {
    const STEPS: usize = 32;
    unsafe {
        for (first, there) in blocks(rows, width) {
            let to = to.add(first * k_len);
            for (k0, steps) in blocks(k_len, STEPS) {
                let mut r = 0;
                #[cfg(target_arch = "x86_64")]
                if isa == InstructionSet::Avx512 && col == 1 && steps.is_multiple_of(16) {
                    while r + 16 <= there {
                        for k in (k0..k0 + steps).step_by(16) {
                            let from = from.add((first + r) * row + k);
                            transpose16::<ROUND>(from, row, to.add(k * width + r).cast(), width);
                        }
                        r += 16;
                    }
                }
                #[cfg(target_arch = "x86_64")]
                if isa != InstructionSet::Plain && col == 1 && steps.is_multiple_of(8) {
                    while r + 8 <= there {
                        for k in (k0..k0 + steps).step_by(8) {
                            let from = from.add((first + r) * row + k);
                            transpose8::<ROUND>(from, row, to.add(k * width + r).cast(), width);
                        }
                        r += 8;
                    }
                }
                for r in r..there {
                    for k in k0..k0 + steps {
                        *to.add(k * width + r) = get((first + r) * row + k * col);
                    }
                }
            }
            fill(there, width, k_len, to);
        }
    }
}

/// Zeros after the rows that are there.
#[inline(always)]
unsafe fn fill(rows: usize, width: usize, depth: usize, to: *mut u32) {
    if rows < width {
        for k in 0..depth {
            unsafe { to.add(k * width + rows).write_bytes(0, width - rows) };
        }
    }
}

#[inline(always)]
unsafe fn pack_pairs(
    [rows, k_len, width]: [usize; 3],
    to: *mut u32,
    row: usize,
    col: usize,
    get: impl Fn(usize) -> u32,
) {
    let depth = k_len.div_ceil(2);
    for (first, there) in blocks(rows, width) {
        let get = |i: usize| get(first * row + i);
        unsafe { pack_panel_of_pairs([there, k_len, width], to.add(first * depth), row, col, get) };
    }
}

#[inline(always)]
unsafe fn pack_panel_of_pairs(
    [rows, k_len, width]: [usize; 3],
    to: *mut u32,
    row: usize,
    col: usize,
    get: impl Fn(usize) -> u32,
) {
    let depth = k_len.div_ceil(2);
    unsafe {
        if row == 1 {
            for pair in 0..k_len / 2 {
                let to = std::slice::from_raw_parts_mut(to.add(pair * width), rows);
                let (low, high) = (2 * pair * col, (2 * pair + 1) * col);
                for (r, word) in to.iter_mut().enumerate() {
                    *word = get(low + r) | get(high + r) << 16;
                }
            }
        } else {
            for (p0, len) in blocks(k_len / 2, 16) {
                for r in 0..rows {
                    let mut pairs = [0u32; 16];
                    let base = r * row + 2 * p0 * col;
                    if len == 16 && col == 1 {
                        for (j, pair) in pairs.iter_mut().enumerate() {
                            *pair = get(base + 2 * j) | get(base + 2 * j + 1) << 16;
                        }
                    } else {
                        for (j, pair) in pairs.iter_mut().enumerate().take(len) {
                            let low = get(base + 2 * j * col);
                            *pair = low | get(base + (2 * j + 1) * col) << 16;
                        }
                    }
                    let to = to.add(p0 * width + r);
                    for (j, pair) in pairs.iter().enumerate().take(len) {
                        *to.add(j * width) = *pair;
                    }
                }
            }
        }
        if k_len % 2 == 1 {
            for r in 0..rows {
                *to.add((depth - 1) * width + r) = get(r * row + (k_len - 1) * col);
            }
        }
        fill(rows, width, depth, to);
    }
}
