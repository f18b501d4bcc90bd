//! Examples: token ids with a mask of what shall be learnt.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A sequence of tokens, and which of them are targets: `loss_mask[i]` says that token `i` shall be
/// predicted from those before it. The first token never is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// Token ids, `[tokens]`.
    pub ids: Vec<u32>,
    /// Which tokens are targets, `[tokens]`.
    pub loss_mask: Vec<bool>,
}

impl Example {
    /// All tokens but the first are targets.
    pub fn whole(ids: Vec<u32>) -> Self {
        let loss_mask = (0..ids.len()).map(|i| i > 0).collect();
        Self { ids, loss_mask }
    }

    /// The tokens of the completion are targets.
    pub fn of_completion(prompt: &[u32], completion: &[u32]) -> Self {
        let ids = [prompt, completion].concat();
        let first = prompt.len().max(1);
        let loss_mask = (0..ids.len()).map(|i| i >= first).collect();
        Self { ids, loss_mask }
    }

    /// The tokens that stand for any byte of `spans` are targets; `offsets` are the bytes of each
    /// token.
    pub fn of_spans(ids: Vec<u32>, offsets: &[Range<usize>], spans: &[Range<usize>]) -> Self {
        assert_eq!(ids.len(), offsets.len(), "one range a token");
        let within = |token: &Range<usize>| {
            let overlaps = |span: &Range<usize>| token.start < span.end && span.start < token.end;
            spans.iter().any(overlaps)
        };
        let loss_mask = offsets.iter().enumerate().map(|(i, o)| i > 0 && within(o)).collect();
        Self { ids, loss_mask }
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Number of targets.
    pub fn num_targets(&self) -> usize {
        self.loss_mask.iter().filter(|&&target| target).count()
    }

    /// Number of tokens before the first target; of an example without targets all.
    pub fn prompt_len(&self) -> usize {
        self.loss_mask.iter().position(|&target| target).unwrap_or(self.len())
    }

    /// Takes `front` tokens from the beginning, then all beyond `max_length` from the end.
    fn cut(&mut self, front: usize, max_length: usize) {
        self.ids.drain(..front);
        self.loss_mask.drain(..front);
        self.ids.truncate(max_length);
        self.loss_mask.truncate(max_length);
        if let Some(first) = self.loss_mask.first_mut() {
            *first = false;
        }
    }
}

/// The two completions of a prompt, the preferred one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairExample {
    /// The prompt with the chosen completion.
    pub chosen: Example,
    /// The prompt with the rejected completion.
    pub rejected: Example,
}

/// A completion that was judged alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnpairedExample {
    /// The prompt with the completion.
    pub example: Example,
    /// Whether it is desirable.
    pub label: bool,
}

/// Completions under prompts of others: each row's prompt with the completion of the row before it
/// (of the first with the last one's), cut to `max_length` tokens. KTO estimates its reference
/// point on them ([`kto_reference_point`](skinner_core::objective::unpaired::kto_reference_point));
/// of a single row there is no other. A row whose prompt leaves no room has no targets.
pub fn mismatched(batch: &[UnpairedExample], max_length: usize) -> Vec<Example> {
    let row = |i: usize| {
        let (own, other) = (&batch[i].example, &batch[(i + batch.len() - 1) % batch.len()].example);
        let (prompt, completion) = (&own.ids[..own.prompt_len()], &other.ids[other.prompt_len()..]);
        let mut example = Example::of_completion(prompt, completion);
        example.cut(0, max_length);
        example
    };
    (0..batch.len()).map(row).collect()
}

/// What happens to an example that is too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncation {
    /// Its end is cut off.
    #[default]
    KeepStart,
    /// Its beginning is cut off, but nothing of what shall be learnt and at least one token before
    /// it; then, if that is not enough, its end.
    KeepEnd,
    /// It is left out.
    Drop,
}

/// What became of samples when they were tokenised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizeCounts {
    /// Samples given.
    pub samples: usize,
    /// Examples made of them.
    pub examples: usize,
    /// Examples that were cut.
    pub truncated: usize,
    /// Samples left out because they are too long.
    pub dropped_long: usize,
    /// Samples left out because no token of them is a target.
    pub dropped_without_targets: usize,
    /// Tokens of the examples.
    pub tokens: usize,
    /// Targets among them.
    pub targets: usize,
}

impl Truncation {
    /// Brings sequences that belong together (one, or the two of a pair, which begin with the same
    /// prompt) to at most `max_length` tokens each, and counts. Their beginnings are cut alike.
    /// None if they are left out.
    pub(super) fn apply<const N: usize>(
        self,
        mut examples: [Example; N],
        max_length: usize,
        counts: &mut TokenizeCounts,
    ) -> Option<[Example; N]> {
        counts.samples += 1;
        let has_targets = |examples: &[Example; N]| examples.iter().all(|e| e.num_targets() > 0);
        if !has_targets(&examples) {
            counts.dropped_without_targets += 1;
            return None;
        }
        let excess =
            examples.iter().map(Example::len).max().unwrap_or(0).saturating_sub(max_length);
        if excess > 0 {
            let front = match self {
                Self::Drop => {
                    counts.dropped_long += 1;
                    return None;
                }
                Self::KeepStart => 0,
                Self::KeepEnd => {
                    let prompt = examples.iter().map(Example::prompt_len).min().unwrap_or(0);
                    excess.min(prompt.saturating_sub(1))
                }
            };
            examples.iter_mut().for_each(|example| example.cut(front, max_length));
            if !has_targets(&examples) {
                counts.dropped_without_targets += 1;
                return None;
            }
            counts.truncated += N;
        }
        counts.examples += N;
        counts.tokens += examples.iter().map(Example::len).sum::<usize>();
        counts.targets += examples.iter().map(Example::num_targets).sum::<usize>();
        Some(examples)
    }
}

impl std::fmt::Display for TokenizeCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} examples of {} samples: {} tokens, {} of them targets",
            self.examples, self.samples, self.tokens, self.targets
        )?;
        for (count, what) in [
            (self.truncated, "cut"),
            (self.dropped_long, "too long and left out"),
            (self.dropped_without_targets, "without a target and left out"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(example: &Example) -> String {
        example.loss_mask.iter().map(|&target| if target { '1' } else { '0' }).collect()
    }

    #[test]
    fn masks_by_hand() {
        assert_eq!(mask(&Example::whole(vec![7, 8, 9])), "011");
        assert_eq!(mask(&Example::of_completion(&[7, 8], &[9, 2])), "0011");
        assert_eq!(mask(&Example::of_completion(&[], &[9, 2])), "01");
        let offsets = [0..0, 0..4, 4..5, 5..9, 9..9, 9..12];
        let example = Example::of_spans(vec![1; 6], &offsets, &[4..6, 11..12]);
        assert_eq!(mask(&example), "001101");
        assert_eq!((example.num_targets(), example.prompt_len()), (3, 2));
    }

    #[test]
    fn long_examples_by_hand() {
        let example = Example::of_completion(&[1, 2, 3, 4], &[5, 6, 7]);
        let check =
            |truncation: Truncation, max_length: usize, expect: &[u32], expect_mask: &str| {
                let mut counts = TokenizeCounts::default();
                match truncation.apply([example.clone()], max_length, &mut counts) {
                    Some([short]) => {
                        assert_eq!((&short.ids[..], mask(&short).as_str()), (expect, expect_mask));
                        assert_eq!(counts.truncated, usize::from(max_length < 7));
                    }
                    None => assert_eq!(expect, [0u32; 0], "{counts:?}"),
                }
            };
        check(Truncation::KeepStart, 7, &[1, 2, 3, 4, 5, 6, 7], "0000111");
        check(Truncation::KeepStart, 5, &[1, 2, 3, 4, 5], "00001");
        check(Truncation::KeepStart, 4, &[], "");
        check(Truncation::KeepEnd, 5, &[3, 4, 5, 6, 7], "00111");
        check(Truncation::KeepEnd, 2, &[4, 5], "01");
        check(Truncation::KeepEnd, 1, &[], "");
        check(Truncation::Drop, 6, &[], "");
    }

    #[test]
    fn mismatched_completions_come_from_the_row_before() {
        let row = |prompt: &[u32], completion: &[u32]| UnpairedExample {
            example: Example::of_completion(prompt, completion),
            label: true,
        };
        let batch = [row(&[1, 2], &[3]), row(&[4], &[5, 6, 7]), row(&[8, 9], &[10])];
        let rows = mismatched(&batch, 4);
        let ids: Vec<&[u32]> = rows.iter().map(|row| &row.ids[..]).collect();
        assert_eq!(ids, [&[1, 2, 10][..], &[4, 3], &[8, 9, 5, 6]]);
        let masks: Vec<String> = rows.iter().map(mask).collect();
        assert_eq!(masks, ["001", "01", "0011"]);
        assert!(mismatched(&[], 4).is_empty());
    }

    #[test]
    fn both_sides_of_a_pair_keep_the_same_prompt() {
        let pair = [
            Example::of_completion(&[1, 2, 3, 4], &[5]),
            Example::of_completion(&[1, 2, 3, 4], &[6, 7, 8]),
        ];
        let mut counts = TokenizeCounts::default();
        let [chosen, rejected] = Truncation::KeepEnd.apply(pair, 5, &mut counts).unwrap();
        assert_eq!((chosen.ids, rejected.ids), (vec![3, 4, 5], vec![3, 4, 6, 7, 8]));
        assert_eq!((counts.samples, counts.examples, counts.truncated), (1, 2, 2));
        assert_eq!((counts.tokens, counts.targets), (8, 4));
    }

    proptest! {
        #[test]
        fn cut_examples_fit_and_have_targets(
            prompt in prop::collection::vec(any::<u32>(), 0..12),
            completion in prop::collection::vec(any::<u32>(), 0..12),
            max_length in 1..15usize,
        ) {
            let example = Example::of_completion(&prompt, &completion);
            for truncation in [Truncation::KeepStart, Truncation::KeepEnd, Truncation::Drop] {
                let mut counts = TokenizeCounts::default();
                let cut = truncation.apply([example.clone()], max_length, &mut counts);
                if let Some([short]) = cut {
                    prop_assert!(short.len() <= max_length && short.num_targets() > 0);
                    prop_assert!(!short.loss_mask[0]);
                    let there = |window: &[u32]| window == short.ids;
                    prop_assert!(example.ids.windows(short.len()).any(there));
                } else {
                    prop_assert_eq!(counts.dropped_long + counts.dropped_without_targets, 1);
                }
            }
        }
    }
}
