//! The order in which examples are taken.

use serde::{Deserialize, Serialize};
use skinner_core::SeedSequence;

/// An endless stream of indices, epoch after epoch, each a permutation of `0..len`.
///
/// The permutation of an epoch is a function of the seed and the epoch alone, so the position is
/// all that a checkpoint needs: a stream that was saved goes on exactly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataOrder {
    seed: SeedSequence,
    len: usize,
    shuffle: bool,
    epoch: u32,
    position: usize,
    /// The permutation of `epoch`, made when it is needed.
    #[serde(skip)]
    indices: Vec<usize>,
}

impl DataOrder {
    /// The stream of `len` examples (at least one) below `seed`, from its beginning. Without
    /// `shuffle` every epoch runs from 0 to `len - 1`.
    pub fn new(seed: &SeedSequence, len: usize, shuffle: bool) -> Self {
        assert!(len > 0, "an order of no examples");
        Self { seed: seed.clone(), len, shuffle, epoch: 0, position: 0, indices: Vec::new() }
    }

    /// The permutation of an epoch.
    fn permutation(&self) -> Vec<usize> {
        let mut indices: Vec<usize> = (0..self.len).collect();
        if self.shuffle {
            self.seed.child(self.epoch).rng().shuffle(&mut indices);
        }
        indices
    }

    /// The next index.
    pub fn next_index(&mut self) -> usize {
        if self.position >= self.len {
            self.epoch = self.epoch.wrapping_add(1);
            self.position = 0;
            self.indices.clear();
        }
        if self.indices.len() != self.len {
            self.indices = self.permutation();
        }
        self.position += 1;
        self.indices[self.position - 1]
    }

    /// The next `size` indices. A batch may reach into the next epoch.
    pub fn batch(&mut self, size: usize) -> Vec<usize> {
        (0..size).map(|_| self.next_index()).collect()
    }

    /// Examples in an epoch.
    pub fn epoch_len(&self) -> usize {
        self.len
    }

    /// Epochs so far, the current one by its part done.
    pub fn epochs(&self) -> f64 {
        f64::from(self.epoch) + self.position as f64 / self.len as f64
    }

    /// Whether a saved order belongs to this many examples.
    pub fn fits(&self, len: usize) -> bool {
        self.len == len && len > 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn epochs_are_permutations_that_differ() {
        let mut order = DataOrder::new(&SeedSequence::new(7), 50, true);
        let epochs: Vec<Vec<usize>> = (0..3).map(|_| order.batch(50)).collect();
        assert_eq!(order.epochs(), 3.0);
        for epoch in &epochs {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        }
        assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2]);
        let mut again = DataOrder::new(&SeedSequence::new(7), 50, true);
        assert_eq!(again.batch(150), epochs.concat());
        let mut plain = DataOrder::new(&SeedSequence::new(7), 3, false);
        assert_eq!(plain.batch(7), [0, 1, 2, 0, 1, 2, 0]);
    }

    proptest! {
        #[test]
        fn a_saved_order_goes_on_exactly(len in 1..20usize, before in 0..60usize, seed: u64) {
            let mut order = DataOrder::new(&SeedSequence::new(seed), len, true);
            order.batch(before);
            let saved = serde_json::to_string(&order).unwrap();
            let mut resumed: DataOrder = serde_json::from_str(&saved).unwrap();
            prop_assert!(resumed.fits(len) && !resumed.fits(len + 1));
            prop_assert_eq!(resumed.batch(30), order.batch(30));
        }
    }
}
