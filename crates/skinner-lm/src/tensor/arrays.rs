//! A flat array's parts as matrices on a device.

use std::collections::BTreeMap;

use burn_tensor::{DType, Device, Gradients, IndexingUpdateOp, Int, Tensor, TensorData};

use crate::decoder::{Layout, LoraLayout};

/// A part of a flat array: a matrix, or a vector as a matrix of one row.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartAt {
    /// Where it starts.
    pub offset: usize,
    pub shape: [usize; 2],
    /// Whether weight decay applies.
    pub decays: bool,
}

impl PartAt {
    fn len(&self) -> usize {
        self.shape[0] * self.shape[1]
    }
}

/// The parts of a decoder's weights. Those that are multiplied with at once (q, k and v; gate and up) are one.
pub(super) fn parts_of(layout: &Layout) -> Vec<PartAt> {
    let linears = layout.blocks.iter().flat_map(|b| [&b.qkv, &b.o, &b.up, &b.down]);
    let joined: BTreeMap<usize, [usize; 2]> = linears
        .flat_map(|linear| {
            let bias = linear.bias.map(|bias| (bias, [1, linear.outputs]));
            std::iter::once((linear.weight, [linear.outputs, linear.inputs])).chain(bias)
        })
        .collect();
    let mut parts: Vec<PartAt> = Vec::new();
    let mut end = 0;
    for tensor in layout.tensors().iter().filter(|tensor| !tensor.shape.contains(&0)) {
        if tensor.offset < end {
            continue;
        }
        let own = match tensor.shape[..] {
            [rows, columns] => [rows, columns],
            _ => [1, tensor.range().len()],
        };
        let shape = joined.get(&tensor.offset).copied().unwrap_or(own);
        let part = PartAt { offset: tensor.offset, shape, decays: tensor.decays() };
        end = part.offset + part.len();
        parts.push(part);
    }
    assert_eq!(end, layout.num_params(), "the parts cover the array");
    parts
}

/// The parts of adapters.
pub(super) fn parts_of_adapter(layout: &LoraLayout) -> Vec<PartAt> {
    let part = |tensor: &crate::decoder::TensorAt| PartAt {
        offset: tensor.offset,
        shape: [tensor.shape[0], tensor.shape[1]],
        decays: tensor.decays(),
    };
    layout.tensors().iter().map(part).collect()
}

/// Matrices on a device, by the places in the flat array where they start.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrays(BTreeMap<usize, Tensor<2>>);

impl Arrays {
    pub fn upload(parts: &[PartAt], values: &[f32], device: &Device) -> Self {
        let one = |part: &PartAt| {
            let values = values[part.offset..part.offset + part.len()].to_vec();
            (part.offset, matrix(values, part.shape, device))
        };
        Self(parts.iter().map(one).collect())
    }

    pub fn zeros(parts: &[PartAt], device: &Device) -> Self {
        let zeros = |part: &PartAt| Tensor::zeros(part.shape, (device, DType::F32));
        Self(parts.iter().map(|part| (part.offset, zeros(part))).collect())
    }

    /// All numbers, one part after the other.
    pub fn download(&self) -> Vec<f32> {
        self.0.values().flat_map(|part| numbers(part.clone())).collect()
    }

    /// The matrices (vectors stay as they are) rounded to bf16.
    pub fn rounded(self) -> Self {
        let round = |part: Tensor<2>| {
            if part.dims()[0] > 1 { part.cast(DType::BF16) } else { part }
        };
        Self(self.0.into_iter().map(|(at, part)| (at, round(part))).collect())
    }

    /// # Panics
    /// If no part starts there.
    pub fn get(&self, at: usize) -> Tensor<2> {
        self.0[&at].clone()
    }

    pub fn replace(&mut self, at: usize, part: Tensor<2>) {
        self.0.insert(at, part);
    }

    pub fn take(&mut self, at: usize) -> Option<Tensor<2>> {
        self.0.remove(&at)
    }

    /// Some parts, as what gradients are asked for.
    pub fn leaves(&self, places: &[usize]) -> Self {
        let leaf = |at: &usize| (*at, self.get(*at).autodiff().require_grad());
        Self(places.iter().map(leaf).collect())
    }

    /// Adds the gradients in all of `leaves`.
    ///
    /// # Panics
    /// If one has none: what is trained must take part in the loss.
    pub fn add_gradients(&mut self, leaves: &Self, gradients: &mut Gradients) {
        for (&at, leaf) in &leaves.0 {
            let gradient = leaf.grad_remove(gradients);
            let gradient = gradient.unwrap_or_else(|| panic!("the part at {at} has no gradient"));
            self.add(at, gradient);
        }
    }

    pub fn add(&mut self, at: usize, more: Tensor<2>) {
        let sum = match self.0.remove(&at) {
            Some(sum) => sum + more,
            None => more,
        };
        self.0.insert(at, sum);
    }

    /// Adds rows to some rows of a part, which is zeros before.
    pub fn add_rows(&mut self, part: [usize; 3], rows: Tensor<1, Int>, more: Tensor<2>) {
        let [at, height, width] = part;
        let sum = self
            .0
            .remove(&at)
            .unwrap_or_else(|| Tensor::zeros([height, width], (&more.device(), DType::F32)));
        self.0.insert(at, sum.select_assign(0, rows, more, IndexingUpdateOp::Add));
    }

    /// `√ Σ x²` over all parts.
    pub fn norm(&self) -> f64 {
        let squares: Vec<Tensor<1>> =
            self.0.values().map(|part| (part.clone() * part.clone()).sum()).collect();
        if squares.is_empty() {
            return 0.0;
        }
        let sums = numbers(Tensor::cat(squares, 0));
        sums.into_iter().map(f64::from).sum::<f64>().sqrt()
    }
}

/// A matrix of host numbers.
pub(super) fn matrix(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
}

/// A vector of host numbers.
pub(super) fn vector(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), (device, DType::F32))
}

/// Places of rows.
pub(super) fn places(values: impl Iterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.map(|at| at as i32).collect();
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), device)
}

/// The numbers of a tensor.
///
/// # Panics
/// If the device has failed.
pub(super) fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    match tensor.try_into_vec_as::<f32>() {
        Ok(numbers) => numbers,
        Err(error) => panic!("the device does not give its numbers back: {error}"),
    }
}
