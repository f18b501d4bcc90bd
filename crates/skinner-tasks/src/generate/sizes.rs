use serde::{Deserialize, Serialize};

use super::{GenerateError, Rng};

/// How large tasks are: each as large as another number drawn from a range. In a recipe `3`, or `[1, 4]` for 1 to 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Sizes {
    /// The smallest.
    pub low: usize,
    /// The largest.
    pub high: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "must be a size such as 3, or a range such as [1, 4]")]
enum Written {
    One(usize),
    Range([usize; 2]),
}

impl From<Written> for Sizes {
    fn from(written: Written) -> Self {
        match written {
            Written::One(size) => size.into(),
            Written::Range([low, high]) => Self { low, high },
        }
    }
}

impl From<Sizes> for Written {
    fn from(sizes: Sizes) -> Self {
        if sizes.low == sizes.high {
            Self::One(sizes.low)
        } else {
            Self::Range([sizes.low, sizes.high])
        }
    }
}

impl From<usize> for Sizes {
    fn from(size: usize) -> Self {
        Self { low: size, high: size }
    }
}

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.low == self.high {
            write!(f, "{}", self.low)
        } else {
            write!(f, "[{}, {}]", self.low, self.high)
        }
    }
}

impl Sizes {
    /// From `low` to `high`.
    pub const fn new(low: usize, high: usize) -> Self {
        Self { low, high }
    }

    pub(super) fn check(
        self,
        name: &'static str,
        low: usize,
        high: usize,
        must: &'static str,
    ) -> Result<(), GenerateError> {
        let ok = low <= self.low && self.low <= self.high && self.high <= high;
        super::check(ok, name, &self, must)
    }

    /// One of them, each as likely.
    pub(super) fn draw(self, rng: &mut Rng) -> usize {
        self.low + rng.below(self.high.saturating_sub(self.low) + 1)
    }
}
