//! Causal attention within segments of a packed batch, and its gradient.
//!
//! A unit of work is one segment (forward, some of its queries) and one head of keys with the query heads that
//! share it, so every sum stays within a unit: results depend neither on threads nor on the other segments.

use skinner_nn::matrix::{Cpu, Operand, Packed, dot, exp_sum, max, product_here};

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

/// Blocks of queries: first row and rows.
fn query_blocks(len: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..len).step_by(BLOCK).map(move |first| (first, BLOCK.min(len - first)))
}

/// One head of keys and values, and the heads of queries that share it.
pub(crate) struct Group<'a> {
    pub heads: Heads,
    /// Keys and values of so many tokens.
    pub len: usize,
    pub keys: Operand<'a>,
    pub values: Operand<'a>,
    /// Of the last `tokens` of them: from the first one's query in the first head on.
    pub queries: &'a [f32],
    /// Between two tokens' queries.
    pub row: usize,
    pub tokens: usize,
}

impl Group<'_> {
    /// Writes the attention of the tokens (heads × tokens × dim) and the logarithms of the sums of exponentials
    /// (heads × tokens).
    pub fn attend(&self, out: &mut [f32], log_sums: &mut [f32]) {
        let (len, dim, scale) = (self.len, self.heads.dim, self.heads.scale());
        let (mut keys, mut values) = (Packed::default(), Packed::default());
        keys.pack([dim, len], self.keys.flipped());
        values.pack([len, dim], self.values);
        let mut scores = vec![0.0; BLOCK.min(self.tokens) * len];
        for g in 0..self.heads.group() {
            for (first, rows) in query_blocks(self.tokens) {
                let before = len - self.tokens + first;
                let seen = before + rows;
                let q = Operand::rows(&self.queries[g * dim + first * self.row..], self.row);
                keys.product([rows, seen, dim], q, &mut scores, seen, false);
                let place = g * self.tokens + first;
                let log_sums = &mut log_sums[place..place + rows];
                let mut inverses = [0.0; BLOCK];
                for i in 0..rows {
                    let row = &mut scores[i * seen..(i + 1) * seen];
                    let (past, future) = row.split_at_mut(before + i + 1);
                    let largest = max(past) * scale;
                    let sum = exp_sum(past, scale, largest);
                    future.fill(0.0);
                    inverses[i] = 1.0 / sum;
                    log_sums[i] = largest + sum.ln();
                }
                let out = &mut out[place * dim..(place + rows) * dim];
                values.product([rows, dim, seen], Operand::rows(&scores, seen), out, dim, false);
                for (out, inverse) in out.chunks_mut(dim).zip(inverses) {
                    out.iter_mut().for_each(|x| *x *= inverse);
                }
            }
        }
    }
}

/// Some tokens of a segment and one head of keys.
struct Part {
    start: usize,
    tokens: std::ops::Range<usize>,
    /// Where its results begin.
    row: usize,
    key_head: usize,
    out: Vec<f32>,
    log_sums: Vec<f32>,
}

/// Queries of a part.
const PART: usize = 256;

/// Writes the attention of every token to `out` (`tokens × queries·dim`) and the logarithms of the sums of
/// exponentials to `log_sums` (`tokens × queries`); with `last_only`, of every segment's last token.
pub(crate) fn forward(
    cpu: &mut Cpu,
    heads: Heads,
    (segments, last_only): (&[(usize, usize)], bool),
    qkv: &[f32],
    out: &mut Vec<f32>,
    log_sums: &mut Vec<f32>,
) {
    let (dim, group) = (heads.dim, heads.group());
    let (mut parts, mut rows) = (Vec::new(), 0);
    for &(start, end) in segments {
        let from = if last_only { start.max(end.saturating_sub(1)) } else { start };
        for first in (from..end).step_by(PART) {
            let tokens = first..end.min(first + PART);
            for key_head in 0..heads.keys {
                let tokens = tokens.clone();
                let (out, log_sums) = (Vec::new(), Vec::new());
                parts.push(Part { start, tokens, row: rows, key_head, out, log_sums });
            }
            rows += tokens.len();
        }
    }
    // Long ones first, so that threads end together.
    parts.sort_by_key(|part| std::cmp::Reverse((part.tokens.end - part.start) * part.tokens.len()));
    cpu.team.for_each(&mut parts, |part| {
        let tokens = part.tokens.len();
        part.out.resize(group * tokens * dim, 0.0);
        part.log_sums.resize(group * tokens, 0.0);
        let query = part.tokens.start * heads.row() + part.key_head * group * dim;
        let key = part.start * heads.row() + (heads.queries + part.key_head) * dim;
        let group = Group {
            heads,
            len: part.tokens.end - part.start,
            keys: Operand::rows(&qkv[key..], heads.row()),
            values: Operand::rows(&qkv[key + heads.keys * dim..], heads.row()),
            queries: &qkv[query..],
            row: heads.row(),
            tokens,
        };
        group.attend(&mut part.out, &mut part.log_sums);
    });
    let width = heads.queries * dim;
    out.resize(rows * width, 0.0);
    log_sums.resize(rows * heads.queries, 0.0);
    for part in &parts {
        for g in 0..group {
            let head = part.key_head * group + g;
            for i in 0..part.tokens.len() {
                let from = g * part.tokens.len() + i;
                let to = (part.row + i) * width + head * dim;
                out[to..to + dim].copy_from_slice(&part.out[from * dim..(from + 1) * dim]);
                log_sums[(part.row + i) * heads.queries + head] = part.log_sums[from];
            }
        }
    }
}

/// The rows of one segment, `start..end`, and one head of keys: gradients.
struct Unit {
    start: usize,
    end: usize,
    key_head: usize,
    /// Of the group's heads, one after the other.
    d_query: Vec<f32>,
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
            d_query: Vec::new(),
            d_key: Vec::new(),
            d_value: Vec::new(),
        })
        .collect();
    // Long ones first, so that threads end together.
    units.sort_by_key(|unit| std::cmp::Reverse(unit.end - unit.start));
    units
}

/// Where q of a head, k and v of a unit start.
fn places(unit: &Unit, heads: Heads, g: usize) -> [usize; 3] {
    let base = unit.start * heads.row();
    let query = base + (unit.key_head * heads.group() + g) * heads.dim;
    let key = base + (heads.queries + unit.key_head) * heads.dim;
    [query, key, key + heads.keys * heads.dim]
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
            copy(&unit.d_query[g * len * dim..], places(unit, heads, g)[0]);
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
    unit.d_query.resize(heads.group() * len * dim, 0.0);
    unit.d_key.resize(len * dim, 0.0);
    unit.d_value.resize(len * dim, 0.0);
    let (mut p, mut d_p) = (vec![0.0; BLOCK * len], vec![0.0; BLOCK * len]);
    let [_, key, value] = places(unit, heads, 0);
    let (k, v) = (Operand::rows(&qkv[key..], row), Operand::rows(&qkv[value..], row));
    let mut packed: [Packed; 3] = Default::default();
    packed[0].pack([dim, len], k.flipped());
    packed[1].pack([dim, len], v.flipped());
    packed[2].pack([len, dim], k);
    let [keys_flipped, values_flipped, keys] = &packed;
    for g in 0..heads.group() {
        let [query, ..] = places(unit, heads, g);
        let head = unit.key_head * heads.group() + g;
        for (first, rows) in query_blocks(len) {
            let seen = first + rows;
            let q = Operand::rows(&qkv[query + first * row..], row);
            keys_flipped.product([rows, seen, dim], q, &mut p, seen, false);
            let at = (unit.start + first) * width + head * dim;
            let d = Operand::rows(&d_out[at..], width);
            values_flipped.product([rows, seen, dim], d, &mut d_p, seen, false);
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
            let d_query = &mut unit.d_query[(g * len + first) * dim..];
            keys.product([rows, dim, seen], d_scores, d_query, dim, false);
            product_here([seen, dim, rows], d_scores.flipped(), q, &mut unit.d_key, dim, true);
        }
    }
}
