//! Sequences side by side, as many as fit into memory together.

use std::ops::Range;

use skinner_core::SeedSequence;

use crate::data::{Example, Packed};
use crate::decoder::{Batch, Segment, Target};

/// Fewer tokens are not worth sharing: a token that begins every text is no prompt.
const SHORTEST_PROMPT: usize = 2;

/// Tokens of sequences that share a prompt, at most: they are in memory together.
const SHARED: usize = 2048;

/// A sequence to run: tokens, which of them are targets, and where its segments begin.
#[derive(Clone, Copy, Debug)]
pub struct Sequence<'a> {
    /// Tokens.
    pub ids: &'a [u32],
    /// Which are predicted; never the first of a segment.
    pub targets: &'a [bool],
    /// Where segments begin; the first is 0.
    pub starts: &'a [usize],
}

impl<'a> From<&'a Packed> for Sequence<'a> {
    fn from(packed: &'a Packed) -> Self {
        Self { ids: &packed.ids, targets: &packed.targets, starts: &packed.segments }
    }
}

impl<'a> From<&'a Example> for Sequence<'a> {
    fn from(example: &'a Example) -> Self {
        Self { ids: &example.ids, targets: &example.loss_mask, starts: &[0] }
    }
}

impl Sequence<'_> {
    /// Number of targets.
    pub fn num_targets(&self) -> usize {
        self.targets.iter().skip(1).filter(|&&target| target).count()
    }

    /// The tokens before its first target, if it is one segment.
    fn prompt(&self) -> &[u32] {
        let first = self.targets.iter().skip(1).position(|&target| target);
        match first {
            Some(before) if self.starts.len() == 1 => &self.ids[..=before],
            _ => &[],
        }
    }

    fn shares_prompt(&self, other: &Self) -> bool {
        let prompt = self.prompt();
        prompt.len() >= SHORTEST_PROMPT && prompt == other.prompt()
    }
}

/// Ranges of sequences that have one prompt, which is run once for up to [`SHARED`] tokens.
fn families(sequences: &[Sequence<'_>]) -> Vec<Range<usize>> {
    let mut families: Vec<Range<usize>> = Vec::new();
    let mut tokens = 0;
    for (i, sequence) in sequences.iter().enumerate() {
        let own = sequence.ids.len() - sequence.prompt().len();
        match families.last_mut() {
            Some(last) if sequences[i - 1].shares_prompt(sequence) && tokens + own <= SHARED => {
                last.end = i + 1;
                tokens += own;
            }
            _ => {
                families.push(i..i + 1);
                tokens = sequence.ids.len();
            }
        }
    }
    families
}

/// Tokens that are run for sequences of one prompt.
fn num_tokens(family: &[Sequence<'_>]) -> usize {
    let prompt = family[0].prompt().len();
    prompt + family.iter().map(|sequence| sequence.ids.len() - prompt).sum::<usize>()
}

/// Ranges of sequences of at most `most` tokens together. `group` sequences are never parted, nor are those that share
/// a prompt: sums are the same, by bytes, whatever `most` is.
pub(super) fn micro_batches(
    sequences: &[Sequence<'_>],
    group: usize,
    most: usize,
) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let (mut tokens, mut start, mut more) = (0, 0, 0);
    for family in families(sequences) {
        let end = family.end;
        more += num_tokens(&sequences[family]);
        if end % group != 0 && end != sequences.len() {
            continue;
        }
        match ranges.last_mut() {
            Some(last) if tokens + more <= most => {
                last.end = end;
                tokens += more;
            }
            _ => {
                ranges.push(start..end);
                tokens = more;
            }
        }
        (start, more) = (end, 0);
    }
    ranges
}

/// Sequences that are run at once.
pub(super) struct Micro {
    ids: Vec<u32>,
    segments: Vec<Segment>,
    pub targets: Vec<Target>,
    seeds: Vec<SeedSequence>,
}

impl Micro {
    /// `first` is the number of the first sequence in its batch: dropout's masks go by it.
    pub fn new(sequences: &[Sequence<'_>], first: usize, dropout: Option<&SeedSequence>) -> Self {
        let mut micro = Self { ids: vec![], segments: vec![], targets: vec![], seeds: vec![] };
        for family in families(sequences) {
            let number = first + family.start;
            let seed = |i: usize| dropout.map(|seed| seed.child((number + i) as u32));
            match &sequences[family] {
                [sequence] => micro.push_whole(sequence, seed(0).as_ref()),
                family => micro.push_family(family, seed),
            }
        }
        micro
    }

    fn push_whole(&mut self, sequence: &Sequence<'_>, seed: Option<&SeedSequence>) {
        let base = self.ids.len();
        self.ids.extend_from_slice(sequence.ids);
        for (j, &start) in sequence.starts.iter().enumerate() {
            let end = sequence.starts.get(j + 1).copied().unwrap_or(sequence.ids.len());
            self.segments.push((base + start, base + end).into());
            self.seeds.extend(seed.map(|seed| seed.child(j as u32)));
            let targets = (start + 1..end).filter(|&t| sequence.targets[t]);
            self.targets.extend(targets.map(|t| Target { row: base + t - 1, id: sequence.ids[t] }));
        }
    }

    /// Sequences of one prompt, which is run once.
    fn push_family(
        &mut self,
        family: &[Sequence<'_>],
        seed: impl Fn(usize) -> Option<SeedSequence>,
    ) {
        let prompt = family[0].prompt();
        let prefix = (self.ids.len(), self.ids.len() + prompt.len());
        self.ids.extend_from_slice(prompt);
        self.segments.push(prefix.into());
        self.seeds.extend(seed(0).map(|seed| seed.child(1)));
        for (i, sequence) in family.iter().enumerate() {
            let start = self.ids.len();
            self.ids.extend_from_slice(&sequence.ids[prompt.len()..]);
            self.segments.push(Segment { start, end: self.ids.len(), prefix: Some(prefix) });
            self.seeds.extend(seed(i).map(|seed| seed.child(0)));
            for t in (prompt.len()..sequence.ids.len()).filter(|&t| sequence.targets[t]) {
                let own = t - prompt.len();
                let row = if own == 0 { prefix.1 - 1 } else { start + own - 1 };
                self.targets.push(Target { row, id: sequence.ids[t] });
            }
        }
    }

    pub fn batch(&self) -> Batch<'_> {
        let dropout = (!self.seeds.is_empty()).then_some(&self.seeds[..]);
        Batch { ids: &self.ids, segments: &self.segments, dropout }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[usize] = &[0];

    fn sequence<'a>(ids: &'a [u32], targets: &'a [bool]) -> Sequence<'a> {
        Sequence { ids, targets, starts: WHOLE }
    }

    /// A prompt of 2 tokens, then targets.
    const TARGETS: [bool; 5] = [false, false, true, true, true];

    #[test]
    fn a_prompt_is_laid_out_once() {
        let (a, b, c) = ([7, 8, 1, 2], [7, 8, 3], [7, 9, 4]);
        let all =
            [sequence(&a, &TARGETS[..4]), sequence(&b, &TARGETS[..3]), sequence(&c, &TARGETS[..3])];
        let micro = Micro::new(&all, 0, None);
        assert_eq!(micro.ids, [7, 8, 1, 2, 3, 7, 9, 4]);
        let prefix = Some((0, 2));
        let segments = [
            (0, 2).into(),
            Segment { start: 2, end: 4, prefix },
            Segment { start: 4, end: 5, prefix },
            (5, 8).into(),
        ];
        assert_eq!(micro.segments, segments);
        let targets: Vec<_> = micro.targets.iter().map(|target| (target.row, target.id)).collect();
        assert_eq!(targets, [(1, 1), (2, 2), (1, 3), (6, 4)]);
        assert_eq!(families(&all), vec![0..2, 2..3]);
        assert_eq!(num_tokens(&all[..2]), 5);
    }

    #[test]
    fn those_of_one_prompt_stay_together() {
        let (a, b) = ([7, 8, 1, 2], [9, 9, 1, 2]);
        let (a, b) = (sequence(&a, &TARGETS[..4]), sequence(&b, &TARGETS[..4]));
        let all = [a, b, b, b, a];
        // 4, 8 and 4 tokens.
        assert_eq!(micro_batches(&all, 1, 16), vec![Range { start: 0, end: 5 }]);
        assert_eq!(micro_batches(&all, 1, 12), [0..4, 4..5]);
        assert_eq!(micro_batches(&all, 1, 11), [0..1, 1..4, 4..5]);
        assert_eq!(micro_batches(&all, 1, 1), [0..1, 1..4, 4..5]);
        assert_eq!(micro_batches(&all, 2, 1), [0..4, 4..5]);
    }

    #[test]
    fn a_prompt_is_shared_by_so_many_tokens() {
        let ids: Vec<u32> = (0..1002).collect();
        let targets: Vec<bool> = (0..1002).map(|t| t > 1).collect();
        let all = [sequence(&ids, &targets); 5];
        // 1,002 tokens, and 1,000 more.
        assert_eq!(families(&all), [0..2, 2..4, 4..5]);
        assert_eq!(micro_batches(&all, 1, 5000), [0..4, 4..5]);
    }

    #[test]
    fn what_begins_every_text_is_not_shared() {
        let ids = [1, 5, 6];
        let targets = [false, true, true];
        let all = [sequence(&ids, &targets); 2];
        assert_eq!(families(&all), [0..1, 1..2]);
        assert_eq!(Micro::new(&all, 0, None).segments.len(), 2);
    }
}
