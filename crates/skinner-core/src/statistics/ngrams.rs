//! How much sequences repeat themselves and each other.

use std::collections::{BTreeMap, BTreeSet};

/// The share of a sequence's n-grams that occurred in it before; 0 where there are none.
pub fn repeated_ngrams<T: Ord>(sequence: &[T], n: usize) -> f64 {
    let all = sequence.windows(n).count();
    let different: BTreeSet<&[T]> = sequence.windows(n).collect();
    (all - different.len()) as f64 / all.max(1) as f64
}

/// Different n-grams of several sequences as a share of all their n-grams (Li et al. 2016, section 5.1); 1 where there
/// are none.
pub fn distinct_ngrams<T: Ord>(sequences: &[&[T]], n: usize) -> f64 {
    let grams = || sequences.iter().flat_map(|sequence| sequence.windows(n));
    let different: BTreeSet<&[T]> = grams().collect();
    match grams().count() {
        0 => 1.0,
        all => different.len() as f64 / all as f64,
    }
}

/// How often the most frequent item occurs, as a share of all; 0 of none.
pub fn most_common_share<T: Ord>(items: &[T]) -> f64 {
    let mut counts: BTreeMap<&T, usize> = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts.into_values().max().unwrap_or(0) as f64 / items.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetition_by_hand() {
        // abc bca cab abc bca: two of five occurred before.
        assert_eq!(repeated_ngrams(b"abcabca", 3), 0.4);
        assert_eq!(repeated_ngrams(b"aaaaa", 2), 0.75);
        assert_eq!(repeated_ngrams(b"abcdef", 2), 0.0);
        assert_eq!(repeated_ngrams(b"ab", 4), 0.0);
    }

    #[test]
    fn variety_by_hand() {
        // ab bc, ab bd: three of four are different.
        assert_eq!(distinct_ngrams(&[b"abc", b"abd"], 2), 0.75);
        assert_eq!(distinct_ngrams(&[b"abc", b"abc", b"abc"], 3), 1.0 / 3.0);
        assert_eq!(distinct_ngrams::<u8>(&[], 3), 1.0);
        assert_eq!(distinct_ngrams(&[b"ab"], 3), 1.0);
    }

    #[test]
    fn the_most_common_by_hand() {
        assert_eq!(most_common_share(&["7", "8", "7", "9"]), 0.5);
        assert_eq!(most_common_share(&[1, 1, 1]), 1.0);
        assert_eq!(most_common_share::<u8>(&[]), 0.0);
    }
}
