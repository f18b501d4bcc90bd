//! Packing: several examples in one sequence, and a stream in equal blocks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Example;

/// How examples are put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// Each example is a sequence of its own.
    #[default]
    None,
    /// Best fit, decreasing: the longest first, each where it leaves the least room.
    BestFit,
    /// In their order, each into the current sequence while it fits.
    InOrder,
}

/// A sequence of segments. Attention and positions begin anew in each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Token ids, `[tokens]`.
    pub ids: Vec<u32>,
    /// Which tokens are targets; never the first of a segment.
    pub targets: Vec<bool>,
    /// Where segments begin, ascending, the first 0.
    pub segments: Vec<usize>,
}

impl Packed {
    /// Number of targets.
    pub fn num_targets(&self) -> usize {
        self.targets.iter().filter(|&&target| target).count()
    }

    /// The ranges of the segments.
    pub fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        let ends = self.segments.iter().skip(1).copied().chain([self.ids.len()]);
        self.segments.iter().copied().zip(ends).map(|(start, end)| start..end)
    }

    fn push(&mut self, example: &Example) {
        let start = self.ids.len();
        self.segments.push(start);
        self.ids.extend(&example.ids);
        self.targets.extend(&example.loss_mask);
        if let Some(first) = self.targets.get_mut(start) {
            *first = false;
        }
    }
}

/// Puts examples into sequences of at most `max_length` tokens; a longer example stays alone,
/// whole. No example is split, left out or repeated. The result is a function of the lengths and
/// their order alone. Within a sequence and among sequences the order of [`Packing::BestFit`] is
/// that of the examples' first appearance.
pub fn pack(examples: &[Example], max_length: usize, packing: Packing) -> Vec<Packed> {
    let lengths: Vec<usize> = examples.iter().map(|example| example.ids.len()).collect();
    let bins = match packing {
        Packing::None => (0..examples.len()).map(|i| vec![i]).collect(),
        Packing::InOrder => in_order(&lengths, max_length),
        Packing::BestFit => best_fit(&lengths, max_length),
    };
    let join = |bin: &Vec<usize>| {
        let mut packed = Packed::default();
        bin.iter().for_each(|&i| packed.push(&examples[i]));
        packed
    };
    bins.iter().map(join).collect()
}

fn in_order(lengths: &[usize], max_length: usize) -> Vec<Vec<usize>> {
    let mut bins: Vec<Vec<usize>> = Vec::new();
    let mut used = usize::MAX;
    for (i, &length) in lengths.iter().enumerate() {
        match bins.last_mut() {
            Some(bin) if used.saturating_add(length) <= max_length => {
                bin.push(i);
                used += length;
            }
            _ => {
                bins.push(vec![i]);
                used = length;
            }
        }
    }
    bins
}

/// Best-fit decreasing (Johnson 1974), the heuristic of "Fewer truncations improve language
/// modeling" (Ding et al. 2024), but without cutting.
fn best_fit(lengths: &[usize], max_length: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(lengths[i]), i));
    let mut bins: Vec<Vec<usize>> = Vec::new();
    // Bins by the room that is left in them.
    let mut by_room: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for i in order {
        let length = lengths[i];
        let fitting = by_room.range_mut(length.max(1)..).next();
        let (bin, room) = if let Some((&room, bins_of_room)) = fitting {
            let bin = bins_of_room.pop().expect("no empty list is kept");
            if bins_of_room.is_empty() {
                by_room.remove(&room);
            }
            (bin, room)
        } else {
            bins.push(Vec::new());
            (bins.len() - 1, max_length)
        };
        bins[bin].push(i);
        let left = room.saturating_sub(length);
        if left > 0 {
            by_room.entry(left).or_default().push(bin);
        }
    }
    bins.iter_mut().for_each(|bin| bin.sort_unstable());
    bins.sort_by_key(|bin| bin[0]);
    bins
}

/// Cuts a stream of tokens into blocks that predict `block_length` tokens each, the last one fewer.
/// A block begins with the token that the block before ends with, so it has up to
/// `block_length + 1` ids, and every token of the stream but the first is a target exactly once.
pub fn blocks(stream: &[u32], block_length: usize) -> Vec<Packed> {
    assert!(block_length > 0, "blocks of no tokens");
    let starts = (0..stream.len().saturating_sub(1)).step_by(block_length);
    let block = |start: usize| {
        let end = (start + block_length + 1).min(stream.len());
        let ids = stream[start..end].to_vec();
        let mut targets = vec![true; ids.len()];
        targets[0] = false;
        Packed { ids, targets, segments: vec![0] }
    };
    starts.map(block).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Examples of these lengths, of ids that say which and where.
    fn examples(lengths: &[usize]) -> Vec<Example> {
        let example = |(i, &length): (usize, &usize)| Example {
            ids: (0..length).map(|t| (1000 * i + t) as u32).collect(),
            loss_mask: (0..length).map(|t| t % 3 != 0).collect(),
        };
        lengths.iter().enumerate().map(example).collect()
    }

    fn lengths_of(packed: &[Packed]) -> Vec<Vec<usize>> {
        packed.iter().map(|p| p.ranges().map(|range| range.len()).collect()).collect()
    }

    #[test]
    fn bins_by_hand() {
        let examples = examples(&[3, 6, 4, 2, 7, 1]);
        let packed = pack(&examples, 10, Packing::InOrder);
        assert_eq!(lengths_of(&packed), [vec![3, 6], vec![4, 2], vec![7, 1]]);
        assert_eq!(packed[0].segments, [0, 3]);
        assert_eq!(packed[0].ids, [0, 1, 2, 1000, 1001, 1002, 1003, 1004, 1005]);
        // 7; 6 + 4; 3 beside 7; 2 and 1 into a third.
        let packed = pack(&examples, 10, Packing::BestFit);
        assert_eq!(lengths_of(&packed), [vec![3, 7], vec![6, 4], vec![2, 1]]);
        assert_eq!(pack(&examples, 10, Packing::None).len(), 6);
    }

    #[test]
    fn a_first_token_is_no_target() {
        let whole = Example { ids: vec![5, 6], loss_mask: vec![true, true] };
        let packed = pack(&[whole.clone(), whole], 4, Packing::InOrder);
        assert_eq!(packed[0].targets, [false, true, false, true]);
        assert_eq!(packed[0].num_targets(), 2);
    }

    #[test]
    fn blocks_share_one_token() {
        let stream: Vec<u32> = (0..8).collect();
        let ids: Vec<Vec<u32>> = blocks(&stream, 3).into_iter().map(|block| block.ids).collect();
        assert_eq!(ids, [vec![0, 1, 2, 3], vec![3, 4, 5, 6], vec![6, 7]]);
        assert!(blocks(&[1], 3).is_empty() && blocks(&[], 3).is_empty());
    }

    proptest! {
        #[test]
        fn packing_loses_and_repeats_nothing(
            lengths in prop::collection::vec(0..40usize, 0..60),
            max_length in 1..50usize,
        ) {
            let examples = examples(&lengths);
            for packing in [Packing::None, Packing::BestFit, Packing::InOrder] {
                let packed = pack(&examples, max_length, packing);
                let mut segments = Vec::new();
                for p in &packed {
                    prop_assert_eq!(p.ids.len(), p.targets.len());
                    let longest = p.ranges().map(|range| range.len()).max().unwrap_or(0);
                    prop_assert!(p.ids.len() <= max_length.max(longest));
                    prop_assert!(p.ids.len() <= max_length || p.segments.len() == 1);
                    for range in p.ranges() {
                        segments.push((p.ids[range.clone()].to_vec(), p.targets[range].to_vec()));
                    }
                }
                segments.sort();
                let mut expected: Vec<_> =
                    examples.iter().map(|e| (e.ids.clone(), e.loss_mask.clone())).collect();
                expected.sort();
                prop_assert_eq!(segments, expected);
            }
        }

        #[test]
        fn every_token_of_a_stream_is_a_target_once(
            stream in prop::collection::vec(any::<u32>(), 2..60),
            block_length in 1..20usize,
        ) {
            let blocks = blocks(&stream, block_length);
            let targets: Vec<u32> = blocks
                .iter()
                .flat_map(|b| b.ids.iter().zip(&b.targets).filter(|(_, t)| **t).map(|(id, _)| *id))
                .collect();
            prop_assert_eq!(&targets, &stream[1..]);
            prop_assert!(blocks.iter().all(|b| b.ids.len() <= block_length + 1));
        }
    }
}
