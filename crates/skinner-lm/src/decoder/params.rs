//! The numbers of a decoder, as f32 to train them or as bf16 to read half as much when decoding.

use std::collections::BTreeMap;
use std::ops::Range;

use skinner_nn::matrix::{Source, from_bf16, to_bf16};

use super::layout::Layout;

/// Weights rounded to bf16; vectors (norms, biases) stay f32.
#[derive(Debug)]
pub struct HalfParams {
    halves: Vec<u16>,
    /// By where they start; those that lie one after the other (biases of q, k and v) are one.
    vectors: BTreeMap<usize, Vec<f32>>,
}

impl HalfParams {
    /// Rounds `params`.
    pub fn new(layout: &Layout, params: &[f32]) -> Self {
        let mut vectors: BTreeMap<usize, Vec<f32>> = BTreeMap::new();
        for tensor in layout.tensors().iter().filter(|tensor| !tensor.decays()) {
            let values = &params[tensor.range()];
            match vectors.last_entry() {
                Some(mut last) if last.key() + last.get().len() == tensor.offset => {
                    last.get_mut().extend_from_slice(values);
                }
                _ => {
                    vectors.insert(tensor.offset, values.to_vec());
                }
            }
        }
        Self { halves: params.iter().map(|&x| to_bf16(x)).collect(), vectors }
    }
}

/// Where a decoder's numbers come from.
#[derive(Clone, Copy, Debug)]
pub enum Params<'a> {
    /// The flat array itself.
    F32(&'a [f32]),
    /// A rounded copy.
    Bf16(&'a HalfParams),
}

impl<'a> Params<'a> {
    pub(crate) fn matrix(&self, at: Range<usize>) -> Source<'a> {
        match self {
            Self::F32(params) => Source::F32(&params[at]),
            Self::Bf16(params) => Source::Bf16(&params.halves[at]),
        }
    }

    /// # Panics
    /// If there is no vector at `at`: norms and biases are.
    pub(crate) fn vector(&self, at: usize, len: usize) -> &'a [f32] {
        match self {
            Self::F32(params) => &params[at..at + len],
            Self::Bf16(params) => {
                let before = params.vectors.range(..=at).next_back();
                let (start, values) = before.expect("norms and biases are kept");
                &values[at - start..][..len]
            }
        }
    }

    /// Adds a row of a matrix to `out`.
    pub(crate) fn add_row(&self, at: usize, out: &mut [f32]) {
        match self.matrix(at..at + out.len()) {
            Source::F32(row) => out.iter_mut().zip(row).for_each(|(o, x)| *o += x),
            Source::Bf16(row) => out.iter_mut().zip(row).for_each(|(o, &x)| *o += from_bf16(x)),
        }
    }
}
