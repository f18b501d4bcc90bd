//! Spaces: what an observation or an action may be.

use serde::{Deserialize, Serialize};

use crate::Rng;

/// The set of values an observation or action may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Space {
    /// One of `0..n`.
    Discrete(usize),
    /// Several independent discrete values; component `i` is one of `0..nvec[i]`.
    MultiDiscrete(Vec<usize>),
    /// A real vector with bounds for each component, which may be infinite.
    Box {
        /// Lower bounds, one a component.
        low: Vec<f32>,
        /// Upper bounds, one a component.
        high: Vec<f32>,
    },
}

impl Space {
    /// A box with the same bounds in each of `dim` components.
    pub fn uniform_box(low: f32, high: f32, dim: usize) -> Self {
        Self::Box { low: vec![low; dim], high: vec![high; dim] }
    }

    /// Numbers in one value: 1 for a discrete one, else one a component.
    pub fn width(&self) -> usize {
        match self {
            Self::Discrete(_) => 1,
            Self::MultiDiscrete(nvec) => nvec.len(),
            Self::Box { low, .. } => low.len(),
        }
    }

    /// Numbers a network sees of one value: discrete values are one-hot encoded.
    pub fn flat_width(&self) -> usize {
        match self {
            Self::Discrete(n) => *n,
            Self::MultiDiscrete(nvec) => nvec.iter().sum(),
            Self::Box { low, .. } => low.len(),
        }
    }

    /// How many values there are, where they can be counted.
    pub fn cardinality(&self) -> Option<usize> {
        match self {
            Self::Discrete(n) => Some(*n),
            Self::MultiDiscrete(nvec) => {
                nvec.iter().try_fold(1_usize, |product, &n| product.checked_mul(n))
            }
            Self::Box { .. } => None,
        }
    }

    /// The number of a discrete value that is written one-hot into `row`; components count from the last.
    ///
    /// # Panics
    /// If the space is not discrete.
    pub fn index_of_row(&self, row: &[f32]) -> usize {
        let position = |row: &[f32]| row.iter().position(|&x| x == 1.0).unwrap_or(0);
        match self {
            Self::Discrete(_) => position(row),
            Self::MultiDiscrete(nvec) => {
                let (mut index, mut rest) = (0, row);
                for &n in nvec {
                    let (component, after) = rest.split_at(n);
                    index = index * n + position(component);
                    rest = after;
                }
                index
            }
            Self::Box { .. } => panic!("the values of {self} have no numbers"),
        }
    }

    /// A uniform draw, written as plain numbers into `out` (length [`width`](Self::width)).
    /// Unbounded components are standard normal.
    pub fn sample(&self, rng: &mut Rng, out: &mut [f32]) {
        match self {
            Self::Discrete(n) => out[0] = rng.below(*n) as f32,
            Self::MultiDiscrete(nvec) => {
                for (value, &n) in out.iter_mut().zip(nvec) {
                    *value = rng.below(n) as f32;
                }
            }
            Self::Box { low, high } => {
                for ((value, &low), &high) in out.iter_mut().zip(low).zip(high) {
                    *value = if low.is_finite() && high.is_finite() {
                        rng.uniform(low.into(), high.into()) as f32
                    } else {
                        (rng.normal() as f32).clamp(low, high)
                    };
                }
            }
        }
    }
}

impl std::fmt::Display for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Discrete(n) => write!(f, "Discrete({n})"),
            Self::MultiDiscrete(nvec) => write!(f, "MultiDiscrete({nvec:?})"),
            Self::Box { low, high } => {
                let min = low.iter().copied().fold(f32::INFINITY, f32::min);
                let max = high.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                write!(f, "Box({}; {min} to {max})", low.len())
            }
        }
    }
}
