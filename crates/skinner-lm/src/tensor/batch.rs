//! A packed batch on a device.

use burn_tensor::{DType, Device, Int, Tensor};
use skinner_core::SeedSequence;

use super::arrays::{matrix, places};
use crate::decoder::{Batch, Decoder, Segment, drop_inputs};

/// What a score becomes that is not to be seen: its exponential is 0, and it is no infinity.
pub(super) const UNSEEN: f32 = -1e30;

/// Cosines and sines of each token's angles, each `tokens × 1 × head_dim / 2`.
pub(super) type Angles = [Tensor<3>; 2];

/// A batch whose places and angles are on the device.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    pub device: &'a Device,
    pub batch: Batch<'a>,
    pub ids: Tensor<1, Int>,
    pub positions: Tensor<1, Int>,
    /// None where positions are learned.
    pub angles: Option<Angles>,
    /// Tokens of the longest segment with its prefix.
    pub longest: usize,
    /// From packed tokens to segments of the longest one's length, and back; none where all have it.
    pub padding: Option<[Tensor<1, Int>; 2]>,
    /// `1 × 1 × longest × longest`: what later tokens add to scores.
    pub future: Tensor<4>,
}

impl<'a> Placed<'a> {
    pub fn new(decoder: &Decoder, batch: Batch<'a>, device: &'a Device) -> Self {
        let segments = batch.segments;
        assert_eq!(segments.last().map_or(0, |s| s.end), batch.ids.len(), "segments cover");
        let all = |s: &Segment| s.before() + s.len();
        let longest = segments.iter().map(all).max().unwrap_or(0);
        let positions = places(segments.iter().flat_map(|s| s.before()..all(s)), device);
        let angles = angles(decoder, 0..longest, device)
            .map(|angles| angles.map(|table| table.select(0, positions.clone())));
        let ragged = segments.iter().any(|s| s.prefix.is_some() || s.len() < longest);
        let padding = ragged.then(|| {
            // A place without a token takes its segment's first: it is never seen. A prefix stands before each
            // segment that has it.
            let padded = segments.iter().flat_map(|segment| {
                segment.seen().chain(std::iter::repeat(segment.start)).take(longest)
            });
            let packed = segments
                .iter()
                .enumerate()
                .flat_map(|(i, s)| (s.before()..all(s)).map(move |j| i * longest + j));
            // An empty segment has no first token; a batch has others then.
            let last = batch.ids.len().saturating_sub(1);
            [places(padded.map(|at| at.min(last)), device), places(packed, device)]
        });
        let unseen = Tensor::<2>::full([longest, longest], UNSEEN, (device, DType::F32));
        Self {
            ids: places(batch.ids.iter().map(|&id| id as usize), device),
            positions,
            angles,
            longest,
            padding,
            future: unseen.triu(1).reshape([1, 1, longest, longest]),
            device,
            batch,
        }
    }

    /// Dropout's mask of a part's inputs; none outside training.
    pub fn mask(&self, inputs: usize, part: usize, rate: f32) -> Option<Tensor<2>> {
        let seeds: &[SeedSequence] = self.batch.dropout.filter(|_| rate > 0.0)?;
        let tokens = self.batch.ids.len();
        let mut mask = vec![1.0; tokens * inputs];
        drop_inputs(&mut mask, inputs, self.batch.segments, seeds, part, rate);
        Some(matrix(mask, [tokens, inputs], self.device))
    }
}

/// The rotary angles of some positions; none where positions are learned.
pub(super) fn angles(
    decoder: &Decoder,
    positions: impl Iterator<Item = usize>,
    device: &Device,
) -> Option<Angles> {
    let rope = decoder.rope()?;
    let half = decoder.config().head_dim / 2;
    let (mut cos, mut sin) = (Vec::new(), Vec::new());
    for position in positions {
        let both = rope.angles(position);
        cos.extend_from_slice(&both[..half]);
        sin.extend_from_slice(&both[half..]);
    }
    Some([cos, sin].map(|values| {
        let rows = values.len() / half;
        matrix(values, [rows, half], device).reshape([rows, 1, half])
    }))
}
