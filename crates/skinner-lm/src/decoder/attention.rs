//! Causal attention within segments of a packed batch, and its gradient.
//!
//! A unit of work is one segment and one head of keys with the query heads that share it, so every sum stays
//! within a unit: results depend neither on threads nor on the other segments.

use skinner_nn::matrix::{Cpu, Operand, dot, exp_sum, max, product_here};

/// Queries whose scores are held at once.
const BLOCK: usize = 64;

/// Widths of the rows of q, k and v, which lie beside each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    pub queries: usize,
    pub keys: usize,
    pub dim: usize,
}

impl Heads {
    /// Width of a row of q, k and v.
    pub fn row(&self) -> usize {
        (self.queries + 2 * self.keys) * self.dim
    }

    fn group(&self) -> usize {
        self.queries / self.keys
    }

    /// `1 / √dim`
    pub fn scale(&self) -> f32 {
        1.0 / (self.dim as f32).sqrt()
    }
}

/// The rows of one segment: `start..end`, and one head of keys.
struct Unit {
    start: usize,
    end: usize,
    key_head: usize,
    /// Outputs of the group's heads, one after the other; in the backward pass the gradients in q.
    out: Vec<f32>,
    /// Logarithms of the sums of exponentials, of the group's heads.
    log_sums: Vec<f32>,
    d_key: Vec<f32>,
    d_value: Vec<f32>,
}

fn units(heads: Heads, segments: &[(usize, usize)]) -> Vec<Unit> {
    let mut units: Vec<Unit> = segments
        .iter()
        .flat_map(|&(start, end)| (0..heads.keys).map(move |key_head| (start, end, key_head)))
        .map(|(start, end, key_head)| Unit {
            start,
            end,
            key_head,
            out: Vec::new(),
            log_sums: Vec::new(),
            d_key: Vec::new(),
            d_value: Vec::new(),
        })
        .collect();
    // Long ones first, so that threads end together.
    units.sort_by_key(|unit| std::cmp::Reverse(unit.end - unit.start));
    units
}

/// Blocks of queries: first row and rows.
fn query_blocks(len: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..len).step_by(BLOCK).map(move |first| (first, BLOCK.min(len - first)))
}

/// Writes the attention of every token to `out` (`tokens × queries·dim`) and the logarithms of the sums of
/// exponentials to `log_sums` (`tokens × queries`).
pub(crate) fn forward(
    cpu: &mut Cpu,
    heads: Heads,
    segments: &[(usize, usize)],
    qkv: &[f32],
    out: &mut Vec<f32>,
    log_sums: &mut Vec<f32>,
) {
    let tokens = qkv.len() / heads.row();
    let mut units = units(heads, segments);
    cpu.team.for_each(&mut units, |unit| unit_forward(unit, heads, qkv));
    let width = heads.queries * heads.dim;
    out.resize(tokens * width, 0.0);
    log_sums.resize(tokens * heads.queries, 0.0);
    for unit in &units {
        let len = unit.end - unit.start;
        for g in 0..heads.group() {
            let head = unit.key_head * heads.group() + g;
            for i in 0..len {
                let from = (g * len + i) * heads.dim;
                let to = (unit.start + i) * width + head * heads.dim;
                out[to..to + heads.dim].copy_from_slice(&unit.out[from..from + heads.dim]);
                log_sums[(unit.start + i) * heads.queries + head] = unit.log_sums[g * len + i];
            }
        }
    }
}

/// Where q of a head, k and v of a unit start.
fn places(unit: &Unit, heads: Heads, g: usize) -> [usize; 3] {
    let base = unit.start * heads.row();
    let query = base + (unit.key_head * heads.group() + g) * heads.dim;
    let key = base + (heads.queries + unit.key_head) * heads.dim;
    [query, key, key + heads.keys * heads.dim]
}

fn unit_forward(unit: &mut Unit, heads: Heads, qkv: &[f32]) {
    let (len, dim, row, scale) = (unit.end - unit.start, heads.dim, heads.row(), heads.scale());
    unit.out.resize(heads.group() * len * dim, 0.0);
    unit.log_sums.resize(heads.group() * len, 0.0);
    let mut scores = vec![0.0; BLOCK * len];
    for g in 0..heads.group() {
        let [query, key, value] = places(unit, heads, g);
        for (first, rows) in query_blocks(len) {
            let seen = first + rows;
            let q = Operand::rows(&qkv[query + first * row..], row);
            let k = Operand::rows(&qkv[key..], row).flipped();
            product_here([rows, seen, dim], q, k, &mut scores, seen, false);
            for i in 0..rows {
                let row = &mut scores[i * seen..(i + 1) * seen];
                let (past, future) = row.split_at_mut(first + i + 1);
                let largest = max(past) * scale;
                let sum = exp_sum(past, scale, largest);
                past.iter_mut().for_each(|p| *p /= sum);
                future.fill(0.0);
                unit.log_sums[g * len + first + i] = largest + sum.ln();
            }
            let v = Operand::rows(&qkv[value..], row);
            let p = Operand::rows(&scores, seen);
            let out = &mut unit.out[(g * len + first) * dim..];
            product_here([rows, dim, seen], p, v, out, dim, false);
        }
    }
}

/// Writes the gradient in q, k and v to `d_qkv`, from that in the outputs.
pub(crate) fn backward(
    cpu: &mut Cpu,
    heads: Heads,
    segments: &[(usize, usize)],
    qkv: &[f32],
    out: &[f32],
    log_sums: &[f32],
    d_out: &[f32],
    d_qkv: &mut Vec<f32>,
) {
    let mut units = units(heads, segments);
    cpu.team.for_each(&mut units, |unit| {
        unit_backward(unit, heads, qkv, out, log_sums, d_out);
    });
    d_qkv.resize(qkv.len(), 0.0);
    let (dim, row) = (heads.dim, heads.row());
    for unit in &units {
        let len = unit.end - unit.start;
        let mut copy = |from: &[f32], at: usize| {
            for i in 0..len {
                let to = at + i * row;
                d_qkv[to..to + dim].copy_from_slice(&from[i * dim..(i + 1) * dim]);
            }
        };
        for g in 0..heads.group() {
            copy(&unit.out[g * len * dim..], places(unit, heads, g)[0]);
        }
        let [_, key, value] = places(unit, heads, 0);
        copy(&unit.d_key, key);
        copy(&unit.d_value, value);
    }
}

fn unit_backward(
    unit: &mut Unit,
    heads: Heads,
    qkv: &[f32],
    out: &[f32],
    log_sums: &[f32],
    d_out: &[f32],
) {
    let (len, dim, row, scale) = (unit.end - unit.start, heads.dim, heads.row(), heads.scale());
    let width = heads.queries * dim;
    unit.out.resize(heads.group() * len * dim, 0.0);
    unit.d_key.resize(len * dim, 0.0);
    unit.d_value.resize(len * dim, 0.0);
    let (mut p, mut d_p) = (vec![0.0; BLOCK * len], vec![0.0; BLOCK * len]);
    for g in 0..heads.group() {
        let [query, key, value] = places(unit, heads, g);
        let head = unit.key_head * heads.group() + g;
        for (first, rows) in query_blocks(len) {
            let seen = first + rows;
            let q = Operand::rows(&qkv[query + first * row..], row);
            let k = Operand::rows(&qkv[key..], row);
            let v = Operand::rows(&qkv[value..], row);
            product_here([rows, seen, dim], q, k.flipped(), &mut p, seen, false);
            let at = (unit.start + first) * width + head * dim;
            let d = Operand::rows(&d_out[at..], width);
            product_here([rows, seen, dim], d, v.flipped(), &mut d_p, seen, false);
            for i in 0..rows {
                let (past, future) = p[i * seen..(i + 1) * seen].split_at_mut(first + i + 1);
                let log_sum = log_sums[(unit.start + first + i) * heads.queries + head];
                exp_sum(past, scale, log_sum);
                future.fill(0.0);
            }
            let weights = Operand::rows(&p, seen);
            product_here([seen, dim, rows], weights.flipped(), d, &mut unit.d_value, dim, true);
            for i in 0..rows {
                let from = at + i * width;
                let along = dot(&out[from..from + dim], &d_out[from..from + dim]);
                let p = &p[i * seen..(i + 1) * seen];
                for (d, p) in d_p[i * seen..(i + 1) * seen].iter_mut().zip(p) {
                    *d = p * (*d - along) * scale;
                }
            }
            let d_scores = Operand::rows(&d_p, seen);
            let d_query = &mut unit.out[(g * len + first) * dim..];
            product_here([rows, dim, seen], d_scores, k, d_query, dim, false);
            product_here([seen, dim, rows], d_scores.flipped(), q, &mut unit.d_key, dim, true);
        }
    }
}
