//! Terms of a loss on the tokens of sequences.
//!
//! Sequences lie one after another in flat slices. `mask` says which tokens are targets; `starts`
//! are the positions where sequences begin, the first 0, in ascending order.

use crate::real::Real;

/// The masked negative log-likelihood of next tokens, `-scale Σ mask_t log π(token_t)`: the
/// cross-entropy of language modelling (Bengio et al. 2003, eq. 1; Radford et al. 2018, eq. 1).
/// With `scale` one over the number of targets of the *whole* batch, a batch in parts is the batch.
///
/// All slices are `[tokens]`. Adds the gradient in `log_prob`.
pub fn nll<F: Real>(log_prob: &[F], mask: &[bool], scale: F, d_log_prob: &mut [F]) -> F {
    let n = log_prob.len();
    assert!(mask.len() == n && d_log_prob.len() == n, "one value a token");
    let mut sum = F::ZERO;
    for i in 0..n {
        if mask[i] {
            sum += log_prob[i];
            d_log_prob[i] -= scale;
        }
    }
    -(scale * sum)
}

/// The log-probability of each sequence, the sum over its targets, and its number of targets:
/// what [`preference`](super::preference::preference) and [`kto`](super::unpaired::kto) read.
pub fn sequence_log_probs<F: Real>(
    log_prob: &[F],
    mask: &[bool],
    starts: &[usize],
) -> (Vec<F>, Vec<usize>) {
    assert_eq!(mask.len(), log_prob.len(), "one value a token");
    let mut sums = Vec::with_capacity(starts.len());
    let mut lengths = Vec::with_capacity(starts.len());
    for (i, &start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(log_prob.len());
        let targets = (start..end).filter(|&t| mask[t]);
        sums.push(targets.clone().map(|t| log_prob[t]).sum());
        lengths.push(targets.count());
    }
    (sums, lengths)
}

/// The way back of [`sequence_log_probs`]: adds the gradient in each sequence's log-probability to
/// each of its targets.
pub fn spread_sequence_gradient<F: Real>(
    d_sequence: &[F],
    mask: &[bool],
    starts: &[usize],
    d_log_prob: &mut [F],
) {
    assert_eq!(d_sequence.len(), starts.len(), "one gradient a sequence");
    assert_eq!(mask.len(), d_log_prob.len(), "one value a token");
    for (i, &start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(mask.len());
        for t in start..end {
            if mask[t] {
                d_log_prob[t] += d_sequence[i];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite_difference::check_gradient;

    const LOG_PROB: [f64; 6] = [-0.5, -1.5, -0.25, -3.0, -2.0, -0.125];
    const MASK: [bool; 6] = [false, true, true, true, false, true];

    #[test]
    fn nll_by_hand_and_difference() {
        let loss = |x: &[f64], d: &mut [f64]| nll(x, &MASK, 0.25, d);
        let mut d = [1.0; 6];
        assert_eq!(loss(&LOG_PROB, &mut d), (1.5 + 0.25 + 3.0 + 0.125) / 4.0);
        assert_eq!(d, [1.0, 0.75, 0.75, 0.75, 1.0, 0.75]);
        check_gradient(&LOG_PROB, loss);
        let parts = nll(&LOG_PROB[..3], &MASK[..3], 0.25, &mut [0.0; 3])
            + nll(&LOG_PROB[3..], &MASK[3..], 0.25, &mut [0.0; 3]);
        assert_eq!(parts, loss(&LOG_PROB, &mut d));
    }

    #[test]
    fn sequences_there_and_back() {
        let starts = [0, 3, 5];
        let (sums, lengths) = sequence_log_probs(&LOG_PROB, &MASK, &starts);
        assert_eq!(sums, [-1.75, -3.0, -0.125]);
        assert_eq!(lengths, [2, 1, 1]);
        let mut d = [0.0; 6];
        spread_sequence_gradient(&[1.0, 2.0, 3.0], &MASK, &starts, &mut d);
        assert_eq!(d, [0.0, 1.0, 1.0, 2.0, 0.0, 3.0]);
    }
}
