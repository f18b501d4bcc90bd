//! The policy loss of language models: GRPO and its family are one function with four choices.
//!
//! A completion is a sequence of tokens with one advantage; below, of token `t`,
//!
//! - `r_t` is the **ratio** `π / π_old` ([`RatioLevel`]: of the token, or of its sequence);
//! - `f(r_t, A)` is the **surrogate** ([`Surrogate`]: how the ratio is clipped);
//! - `w_t` is the **weight** of the token ([`Normalisation`]);
//! - `k_t` is the **divergence** from a reference ([`KlTerm`]).
//!
//! The loss is `Σ_t w_t (-c_t f(r_t, A) + β k_t)`, where `c_t` corrects for a sampler that is not the
//! trainer. The names of the presets ([`LossType`]) are TRL's.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::kl::KlEstimator;
use crate::real::Real;

/// A published combination of the choices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossType {
    /// Tokens clipped, a mean over each sequence, then over sequences (Shao et al. 2024, eq. 3).
    Grpo,
    /// Divided by a constant length instead, so that long wrong answers are not favoured; advantages
    /// not divided by their deviation (Liu et al. 2025, section 3.2).
    DrGrpo,
    /// A mean over all tokens of the batch, the upper bound apart from the lower (Yu et al. 2025, eq.
    /// 8).
    #[default]
    Dapo,
    /// As `dapo` with one bound.
    Bnpo,
    /// Ratios of whole sequences, their length's root taken (Zheng et al. 2025, eq. 5-7).
    Gspo,
    /// Ratios cut off, without a gradient through them, so that no token loses its gradient (`MiniMax`
    /// 2025, eq. 4-5).
    Cispo,
    /// A completion is one action: the ratio of whole sequences; advantages against the mean of the
    /// others (Ahmadian et al. 2024, eq. 6).
    Rloo,
    /// PPO's clip with advantages normalised over the batch and the divergence in the reward (Hu 2025).
    ReinforcePp,
    /// Ratios in a soft gate instead of a clip (Gao et al. 2025).
    Sapo,
    /// `gspo` with each sequence weighted by its length.
    Luspo,
}

impl LossType {
    /// Every preset.
    pub const ALL: [Self; 10] = [
        Self::Grpo,
        Self::DrGrpo,
        Self::Dapo,
        Self::Bnpo,
        Self::Gspo,
        Self::Cispo,
        Self::Rloo,
        Self::ReinforcePp,
        Self::Sapo,
        Self::Luspo,
    ];

    /// Its name in a recipe.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grpo => "grpo",
            Self::DrGrpo => "dr_grpo",
            Self::Dapo => "dapo",
            Self::Bnpo => "bnpo",
            Self::Gspo => "gspo",
            Self::Cispo => "cispo",
            Self::Rloo => "rloo",
            Self::ReinforcePp => "reinforce_pp",
            Self::Sapo => "sapo",
            Self::Luspo => "luspo",
        }
    }

    /// What its ratios are of.
    pub const fn ratio_level(self) -> RatioLevel {
        match self {
            Self::Gspo | Self::Luspo => RatioLevel::Sequence,
            Self::Rloo => RatioLevel::Whole,
            _ => RatioLevel::Token,
        }
    }

    /// What its tokens weigh.
    pub const fn normalisation(self) -> Normalisation {
        match self {
            Self::Grpo | Self::Gspo | Self::Rloo | Self::Sapo => Normalisation::Sequence,
            Self::Dapo | Self::Bnpo | Self::Cispo | Self::ReinforcePp => Normalisation::Tokens,
            Self::DrGrpo => Normalisation::Constant,
            Self::Luspo => Normalisation::SequenceSum,
        }
    }
}

impl fmt::Display for LossType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a ratio is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RatioLevel {
    /// The token.
    #[default]
    Token,
    /// The sequence, `exp` of the mean log-ratio of its tokens.
    Sequence,
    /// The sequence, `exp` of the sum.
    Whole,
}

/// How a ratio and an advantage become what is maximised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Surrogate<F> {
    /// `min(r A, clip(r, 1 - low, 1 + high) A)` (Schulman et al. 2017, eq. 7). With `most`, ratios of
    /// the first term are at most that (TRL's `delta`). With `dual`, the objective of a negative
    /// advantage is at least `dual · A` (Ye et al. 2020, eq. 5; verl's `clip_ratio_c`).
    Clip {
        /// `ε` below 1.
        low: F,
        /// `ε` above 1.
        high: F,
        /// A bound above 1.
        most: Option<F>,
        /// A bound above `1 + high`, for negative advantages.
        dual: Option<F>,
    },
    /// `sg(clip(r, least, most)) A log π`, `sg` without gradient.
    StopGradient {
        /// Smallest ratio.
        least: F,
        /// Largest ratio.
        most: F,
    },
    /// `4/τ σ(τ (r - 1)) A`.
    Soft {
        /// `τ` of positive advantages.
        tau_positive: F,
        /// `τ` of negative ones.
        tau_negative: F,
    },
}

/// What the loss of a token is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalisation {
    /// Its sequence's tokens, and the sequences.
    Sequence,
    /// All tokens of the batch.
    #[default]
    Tokens,
    /// The largest length, and the sequences.
    Constant,
    /// The sequences alone.
    SequenceSum,
}

/// The divergence from a reference, in the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KlTerm<F> {
    /// Which estimate.
    pub estimator: KlEstimator,
    /// `β`
    pub beta: F,
    /// Whether the estimate is multiplied by the ratio, so that the gradient of `K3` is that of
    /// `KL(π ‖ ref)`.
    pub times_ratio: bool,
}

/// The four choices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolicyLoss<F> {
    /// What ratios are of.
    pub level: RatioLevel,
    /// How they are clipped.
    pub surrogate: Surrogate<F>,
    /// What tokens weigh.
    pub normalisation: Normalisation,
    /// The divergence from a reference, if any.
    pub kl: Option<KlTerm<F>>,
}

/// Completions, tokens one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Completions<'a, F> {
    /// Log-probabilities under the policy, `[tokens]`.
    pub log_prob: &'a [F],
    /// Under the policy that the batch began with, `[tokens]`.
    pub old_log_prob: &'a [F],
    /// Under the reference, `[tokens]`; empty without a divergence in the loss.
    pub ref_log_prob: &'a [F],
    /// Corrections `c_t` for the sampler, `[tokens]`; empty for 1.
    pub correction: &'a [F],
    /// How much better than expected, `[tokens]`: usually the same for all tokens of a completion.
    pub advantage: &'a [F],
    /// Which tokens count, `[tokens]`; the others get a gradient of exactly 0.
    pub mask: &'a [bool],
    /// Where completions begin; the first is 0.
    pub starts: &'a [usize],
}

/// Of the whole batch, of which a part may be given at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Completions.
    pub sequences: usize,
    /// Tokens that count.
    pub tokens: usize,
    /// The largest length a completion may have.
    pub max_completion_length: usize,
}

/// What [`policy_loss`] says of (a part of) a batch; parts add up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PolicyStats<F> {
    /// The loss.
    pub loss: F,
    /// The mean over tokens of the divergence from the reference.
    pub kl: F,
    /// The share of tokens with a negative advantage whose ratio is below the range.
    pub clipped_low: F,
    /// The share of tokens with a positive advantage whose ratio is above the range.
    pub clipped_high: F,
    /// The mean over tokens of Schulman's k3 estimate of `KL(π_old ‖ π)`.
    pub approx_kl: F,
}

impl<F: Real> Surrogate<F> {
    /// `f(r, A)` and its derivative in `r`, without the stop-gradient form.
    fn value(&self, ratio: F, advantage: F) -> (F, F) {
        match *self {
            Self::Clip { low, high, most, dual } => {
                let capped = most.map_or(ratio, |most| ratio.min(most));
                let clipped = ratio.clamp(F::ONE - low, F::ONE + high);
                // Where a bound is reached, the ratio has no say.
                let term = |bounded: F| {
                    let slope = if bounded == ratio { advantage } else { F::ZERO };
                    (bounded * advantage, slope)
                };
                let (free, bound) = (term(capped), term(clipped));
                let (value, slope) = if free.0 <= bound.0 { free } else { bound };
                match dual {
                    Some(c) if advantage < F::ZERO && value < c * advantage => {
                        (c * advantage, F::ZERO)
                    }
                    _ => (value, slope),
                }
            }
            Self::Soft { tau_positive, tau_negative } => {
                let tau = if advantage > F::ZERO { tau_positive } else { tau_negative };
                let gate = F::ONE / (F::ONE + (-tau * (ratio - F::ONE)).exp());
                let four = F::of(4.0);
                (four / tau * gate * advantage, four * gate * (F::ONE - gate) * advantage)
            }
            Self::StopGradient { least, most } => (ratio.clamp(least, most) * advantage, F::ZERO),
        }
    }

    /// Whether the ratio is outside the range on the side where the gradient is lost: below, above.
    fn clips(&self, ratio: F, advantage: F) -> [bool; 2] {
        let (least, most) = match *self {
            Self::Clip { low, high, .. } => (F::ONE - low, F::ONE + high),
            Self::StopGradient { least, most } => (least, most),
            Self::Soft { .. } => return [false; 2],
        };
        [ratio < least && advantage < F::ZERO, ratio > most && advantage > F::ZERO]
    }
}

/// The loss of a batch of completions, or of a part of it whose `totals` are the batch's. Adds the
/// gradient in `log_prob`. See the [module](self) for the formula.
pub fn policy_loss<F: Real>(
    config: &PolicyLoss<F>,
    batch: &Completions<'_, F>,
    totals: Totals,
    d_log_prob: &mut [F],
) -> PolicyStats<F> {
    let n = batch.log_prob.len();
    assert!(batch.old_log_prob.len() == n && batch.advantage.len() == n, "one number a token");
    assert!(batch.mask.len() == n && d_log_prob.len() == n, "one number a token");
    assert!(batch.correction.is_empty() || batch.correction.len() == n, "one number a token");
    assert!(config.kl.is_none() || batch.ref_log_prob.len() == n, "a reference for every token");
    let mut stats = PolicyStats::default();
    for (i, &start) in batch.starts.iter().enumerate() {
        let end = batch.starts.get(i + 1).copied().unwrap_or(n);
        sequence_loss(config, batch, start..end, totals, d_log_prob, &mut stats);
    }
    stats
}

fn sequence_loss<F: Real>(
    config: &PolicyLoss<F>,
    batch: &Completions<'_, F>,
    range: std::ops::Range<usize>,
    totals: Totals,
    d_log_prob: &mut [F],
    stats: &mut PolicyStats<F>,
) {
    let count = |x: usize| F::of(x.max(1) as f64);
    let tokens = || range.clone().filter(|&t| batch.mask[t]);
    let length = count(tokens().count());
    let log_ratio = |t: usize| batch.log_prob[t] - batch.old_log_prob[t];
    let sum: F = tokens().map(log_ratio).sum();
    // What a token's log-probability adds to the logarithm of the ratio of its sequence.
    let (shared, share) = match config.level {
        RatioLevel::Token => (None, F::ONE),
        RatioLevel::Sequence => (Some((sum / length).exp()), F::ONE / length),
        RatioLevel::Whole => (Some(sum.exp()), F::ONE),
    };
    let weight = F::ONE
        / match config.normalisation {
            Normalisation::Sequence => length * count(totals.sequences),
            Normalisation::Tokens => count(totals.tokens),
            Normalisation::Constant => {
                count(totals.max_completion_length) * count(totals.sequences)
            }
            Normalisation::SequenceSum => count(totals.sequences),
        };
    let a_token = F::ONE / count(totals.tokens);
    let mut d_shared = F::ZERO;
    for t in tokens() {
        let ratio = shared.unwrap_or_else(|| log_ratio(t).exp());
        let advantage = batch.advantage[t];
        let corrected = weight * batch.correction.get(t).copied().unwrap_or(F::ONE);
        let (value, slope) = config.surrogate.value(ratio, advantage);
        let mut d_ratio = -corrected * slope;
        if matches!(config.surrogate, Surrogate::StopGradient { .. }) {
            stats.loss -= corrected * value * batch.log_prob[t];
            d_log_prob[t] -= corrected * value;
        } else {
            stats.loss -= corrected * value;
        }
        if let Some(term) = config.kl {
            let (mut kl, mut d_kl) =
                term.estimator.estimate(batch.log_prob[t], batch.ref_log_prob[t]);
            stats.kl += a_token * kl;
            if term.times_ratio {
                d_ratio += weight * term.beta * kl;
                (kl, d_kl) = (kl * ratio, d_kl * ratio);
            }
            stats.loss += weight * term.beta * kl;
            d_log_prob[t] += weight * term.beta * d_kl;
        }
        match shared {
            Some(_) => d_shared += d_ratio * ratio * share,
            None => d_log_prob[t] += d_ratio * ratio,
        }
        let [low, high] = config.surrogate.clips(ratio, advantage);
        stats.clipped_low += if low { a_token } else { F::ZERO };
        stats.clipped_high += if high { a_token } else { F::ZERO };
        let x = log_ratio(t);
        stats.approx_kl += a_token * (x.exp() - F::ONE - x);
    }
    if shared.is_some() {
        tokens().for_each(|t| d_log_prob[t] += d_shared);
    }
}

/// What becomes of weights for a sampler that is not the trainer which are above a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Correction {
    /// There are no weights: all are 1.
    #[default]
    None,
    /// Each token's weight is at most the bound (Espeholt et al. 2018; Yao et al. 2025).
    TokenTruncate,
    /// Tokens above the bound are left out.
    TokenMask,
    /// All tokens of a sequence have the weight of the sequence, at most the bound.
    SequenceTruncate,
    /// Sequences above the bound are left out.
    SequenceMask,
}

/// Weights `π_trainer / π_sampler` of the tokens of one completion, see [`Correction`].
pub fn importance_weights<F: Real>(
    correction: Correction,
    bound: F,
    trainer_log_prob: &[F],
    sampler_log_prob: &[F],
) -> Vec<F> {
    assert_eq!(trainer_log_prob.len(), sampler_log_prob.len(), "one number a token");
    let log_ratios = trainer_log_prob.iter().zip(sampler_log_prob).map(|(&t, &s)| t - s);
    let or_zero = |x: F| if x > bound { F::ZERO } else { x };
    let n = trainer_log_prob.len();
    match correction {
        Correction::None => vec![F::ONE; n],
        Correction::TokenTruncate => log_ratios.map(|x| x.exp().min(bound)).collect(),
        Correction::TokenMask => log_ratios.map(|x| or_zero(x.exp())).collect(),
        Correction::SequenceTruncate => vec![log_ratios.sum::<F>().exp().min(bound); n],
        Correction::SequenceMask => vec![or_zero(log_ratios.sum::<F>().exp()); n],
    }
}

/// The penalty of a completion that is nearly as long as it may be: 0 up to `max - cache` tokens, from
/// there down to -1 at `max` (Yu et al. 2025, eq. 13).
pub fn soft_overlong(tokens: usize, max: usize, cache: usize) -> f64 {
    let from = max.saturating_sub(cache);
    if tokens <= from {
        0.0
    } else if tokens >= max {
        -1.0
    } else {
        -((tokens - from) as f64) / cache as f64
    }
}
