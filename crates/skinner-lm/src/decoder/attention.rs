//! Causal attention within segments of a packed batch, and its gradient.
//!
//! A unit of work is one segment (forward, some of its queries) and one head of keys with the query heads that
//! share it, so every sum stays within a unit: results depend neither on threads nor on the other segments.

use skinner_nn::matrix::{Cpu, Operand, Packed, add_scaled, dot, exp_sum, max, product_here};

use super::Segment;

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

    /// Where a head's keys and its values begin in a row.
    fn columns(&self, key_head: usize) -> (usize, usize) {
        let key = (self.queries + key_head) * self.dim;
        (key, key + self.keys * self.dim)
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

/// The columns of one head, in the rows that a segment's tokens before `end` see. `held` is for those of two places.
fn seen<'a>(
    (qkv, row): (&'a [f32], usize),
    (column, dim): (usize, usize),
    segment: &Segment,
    end: usize,
    held: &'a mut Vec<f32>,
) -> Operand<'a> {
    if segment.prefix.is_none() {
        return Operand::rows(&qkv[segment.start * row + column..], row);
    }
    let rows = Segment { end, ..*segment }.seen();
    held.extend(rows.flat_map(|t| &qkv[t * row + column..][..dim]));
    Operand::rows(held, dim)
}

/// Some tokens of a segment and one head of keys.
struct Part {
    segment: Segment,
    tokens: std::ops::Range<usize>,
    /// Where its results begin.
    row: usize,
    key_head: usize,
    out: Vec<f32>,
    log_sums: Vec<f32>,
}

impl Part {
    /// Tokens that its last one sees.
    fn seen(&self) -> usize {
        self.segment.before() + self.tokens.end - self.segment.start
    }
}

/// Queries of a part.
const PART: usize = 256;

/// Writes the attention of every token to `out` (`tokens × queries·dim`) and the logarithms of the sums of
/// exponentials to `log_sums` (`tokens × queries`); with `last_only`, of every segment's last token.
pub(crate) fn forward(
    cpu: &mut Cpu,
    heads: Heads,
    (segments, last_only): (&[Segment], bool),
    qkv: &[f32],
    out: &mut Vec<f32>,
    log_sums: &mut Vec<f32>,
) {
    let (dim, group) = (heads.dim, heads.group());
    let (mut parts, mut rows) = (Vec::new(), 0);
    for &segment in segments {
        let Segment { start, end, .. } = segment;
        let from = if last_only { start.max(end.saturating_sub(1)) } else { start };
        for first in (from..end).step_by(PART) {
            let tokens = first..end.min(first + PART);
            for key_head in 0..heads.keys {
                let tokens = tokens.clone();
                let (out, log_sums) = (Vec::new(), Vec::new());
                parts.push(Part { segment, tokens, row: rows, key_head, out, log_sums });
            }
            rows += tokens.len();
        }
    }
    // Long ones first, so that threads end together.
    parts.sort_by_key(|part| std::cmp::Reverse(part.seen() * part.tokens.len()));
    cpu.team.for_each(&mut parts, |part| {
        let tokens = part.tokens.len();
        part.out.resize(group * tokens * dim, 0.0);
        part.log_sums.resize(group * tokens, 0.0);
        let query = part.tokens.start * heads.row() + part.key_head * group * dim;
        let (key, value) = heads.columns(part.key_head);
        let (rows, end) = ((qkv, heads.row()), part.tokens.end);
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        let group = Group {
            heads,
            len: part.seen(),
            keys: seen(rows, (key, dim), &part.segment, end, &mut keys),
            values: seen(rows, (value, dim), &part.segment, end, &mut values),
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

/// A segment and one head of keys: gradients.
struct Unit {
    segment: Segment,
    key_head: usize,
    /// Of the group's heads, one after the other, in the segment's own tokens.
    d_query: Vec<f32>,
    /// In all tokens that the segment sees.
    d_key: Vec<f32>,
    d_value: Vec<f32>,
}

fn units(heads: Heads, segments: &[Segment]) -> Vec<Unit> {
    let mut units: Vec<Unit> = segments
        .iter()
        .flat_map(|&segment| (0..heads.keys).map(move |key_head| (segment, key_head)))
        .map(|(segment, key_head)| Unit {
            segment,
            key_head,
            d_query: Vec::new(),
            d_key: Vec::new(),
            d_value: Vec::new(),
        })
        .collect();
    // Long ones first, so that threads end together.
    let cost = |segment: &Segment| (segment.before() + segment.len()) * segment.len();
    units.sort_by_key(|unit| std::cmp::Reverse(cost(&unit.segment)));
    units
}

/// Writes the gradient in q, k and v to `d_qkv`, from that in the outputs. What a prefix gets from the segments
/// behind it is added in an order that depends on these alone.
pub(crate) fn backward(
    cpu: &mut Cpu,
    heads: Heads,
    segments: &[Segment],
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
    d_qkv.clear();
    d_qkv.resize(qkv.len(), 0.0);
    let (dim, row) = (heads.dim, heads.row());
    let mut add = |at: usize, d: &[f32]| add_scaled(&mut d_qkv[at..at + dim], 1.0, d);
    for unit in &units {
        let segment = &unit.segment;
        for (i, d) in unit.d_query.chunks(dim).enumerate() {
            let (g, token) = (i / segment.len(), i % segment.len());
            let head = unit.key_head * heads.group() + g;
            add((segment.start + token) * row + head * dim, d);
        }
        let (key, value) = heads.columns(unit.key_head);
        let both = unit.d_key.chunks(dim).zip(unit.d_value.chunks(dim));
        for (token, (d_key, d_value)) in segment.seen().zip(both) {
            add(token * row + key, d_key);
            add(token * row + value, d_value);
        }
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
    let (dim, row, scale) = (heads.dim, heads.row(), heads.scale());
    let (segment, width) = (unit.segment, heads.queries * dim);
    let (before, tokens) = (segment.before(), segment.len());
    let len = before + tokens;
    unit.d_query.resize(heads.group() * tokens * dim, 0.0);
    unit.d_key.resize(len * dim, 0.0);
    unit.d_value.resize(len * dim, 0.0);
    let (mut p, mut d_p) = (vec![0.0; BLOCK * len], vec![0.0; BLOCK * len]);
    let (key, value) = heads.columns(unit.key_head);
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    let k = seen((qkv, row), (key, dim), &segment, segment.end, &mut keys);
    let v = seen((qkv, row), (value, dim), &segment, segment.end, &mut values);
    let mut packed: [Packed; 3] = Default::default();
    packed[0].pack([dim, len], k.flipped());
    packed[1].pack([dim, len], v.flipped());
    packed[2].pack([len, dim], k);
    let [keys_flipped, values_flipped, keys] = &packed;
    for g in 0..heads.group() {
        let head = unit.key_head * heads.group() + g;
        for (first, rows) in query_blocks(tokens) {
            let seen = before + first + rows;
            let q = Operand::rows(&qkv[(segment.start + first) * row + head * dim..], row);
            keys_flipped.product([rows, seen, dim], q, &mut p, seen, false);
            let at = (segment.start + first) * width + head * dim;
            let d = Operand::rows(&d_out[at..], width);
            values_flipped.product([rows, seen, dim], d, &mut d_p, seen, false);
            for i in 0..rows {
                let row = &mut p[i * seen..(i + 1) * seen];
                let (past, future) = row.split_at_mut(before + first + i + 1);
                let log_sum = log_sums[(segment.start + first + i) * heads.queries + head];
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
            let d_query = &mut unit.d_query[(g * tokens + first) * dim..];
            keys.product([rows, dim, seen], d_scores, d_query, dim, false);
            product_here([seen, dim, rows], d_scores.flipped(), q, &mut unit.d_key, dim, true);
        }
    }
}
