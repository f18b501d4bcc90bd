//! Priorities of transitions (Schaul et al. 2016, *Prioritized Experience Replay*).

use serde::{Deserialize, Serialize};

use crate::Rng;

/// A sum tree over the priorities of slots: a slot is drawn in proportion to its priority in O(log n).
///
/// A node is the sum of its two children, computed anew whenever one changes, so that sums do not drift and are a
/// function of the priorities alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Leaves", into = "Leaves")]
pub struct PriorityTree {
    /// A power of two.
    leaves: usize,
    /// Node `i` has the children `2 i` and `2 i + 1`; the root is node 1.
    nodes: Vec<f64>,
    capacity: usize,
    /// The largest priority ever set.
    max: f64,
}

/// What of a tree is saved.
#[derive(Clone, Serialize, Deserialize)]
struct Leaves {
    priorities: Vec<f64>,
    max: f64,
}

impl From<Leaves> for PriorityTree {
    fn from(saved: Leaves) -> Self {
        let mut tree = Self::new(saved.priorities.len());
        tree.nodes[tree.leaves..tree.leaves + tree.capacity].copy_from_slice(&saved.priorities);
        for node in (1..tree.leaves).rev() {
            tree.nodes[node] = tree.nodes[2 * node] + tree.nodes[2 * node + 1];
        }
        tree.max = saved.max;
        tree
    }
}

impl From<PriorityTree> for Leaves {
    fn from(tree: PriorityTree) -> Self {
        let mut priorities = tree.nodes;
        priorities.drain(..tree.leaves);
        priorities.truncate(tree.capacity);
        Self { priorities, max: tree.max }
    }
}

impl PriorityTree {
    /// Room for `capacity` slots, all of priority 0: never drawn.
    pub fn new(capacity: usize) -> Self {
        let leaves = capacity.next_power_of_two();
        Self { leaves, nodes: vec![0.0; 2 * leaves], capacity, max: 1.0 }
    }

    /// Number of slots.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The sum of all priorities.
    pub fn total(&self) -> f64 {
        self.nodes[1]
    }

    /// The priority of a slot.
    pub fn get(&self, slot: usize) -> f64 {
        self.nodes[self.leaves + slot]
    }

    /// The largest priority that was ever set (1 before any): what new transitions get, so that each is drawn soon.
    pub fn max(&self) -> f64 {
        self.max
    }

    /// Sets the priority of a slot.
    ///
    /// # Panics
    /// If the slot is not there, or the priority is negative or not finite.
    pub fn set(&mut self, slot: usize, priority: f64) {
        assert!(slot < self.capacity, "slot {slot} of {}", self.capacity);
        assert!(priority >= 0.0 && priority.is_finite(), "priority {priority}");
        self.max = self.max.max(priority);
        let mut node = self.leaves + slot;
        self.nodes[node] = priority;
        while node > 1 {
            node /= 2;
            self.nodes[node] = self.nodes[2 * node] + self.nodes[2 * node + 1];
        }
    }

    /// The slot at which the running sum of priorities exceeds `mass`, `0 <= mass < total()`. A slot of priority 0
    /// is never found.
    pub fn find(&self, mut mass: f64) -> usize {
        let mut node = 1;
        while node < self.leaves {
            let left = self.nodes[2 * node];
            // Rounding may leave the mass at the very end of what is there.
            if mass < left || self.nodes[2 * node + 1] <= 0.0 {
                node *= 2;
            } else {
                mass -= left;
                node = 2 * node + 1;
            }
        }
        node - self.leaves
    }

    /// Draws one slot from each of `slots.len()` equal parts of the total (section 3.3, proportional variant).
    ///
    /// # Panics
    /// If every priority is 0.
    pub fn sample(&self, slots: &mut [usize], rng: &mut Rng) {
        assert!(self.total() > 0.0, "nothing has a priority");
        let part = self.total() / slots.len() as f64;
        for (i, slot) in slots.iter_mut().enumerate() {
            *slot = self.find((i as f64 + rng.random()) * part);
        }
    }
}

/// Importance weights `(N P(i))^-β / max_j (N P(j))^-β` of drawn rows, with `P(i)` the priority over the total and the
/// maximum over those drawn (section 3.4).
pub fn importance_weights(tree: &PriorityTree, slots: &[usize], beta: f64, weights: &mut Vec<f32>) {
    // (p_i / p_min)^-β: the total and the number of rows cancel.
    let smallest = slots.iter().map(|&slot| tree.get(slot)).fold(f64::INFINITY, f64::min);
    weights.clear();
    weights.extend(slots.iter().map(|&slot| (tree.get(slot) / smallest).powf(-beta) as f32));
}
