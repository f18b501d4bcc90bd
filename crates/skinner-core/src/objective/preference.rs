//! Losses of preference pairs: DPO and its family.
//!
//! A row is a prompt with a completion that was preferred (`chosen`) and one that was not
//! (`rejected`). What is read of them are log-probabilities of whole completions, sums over their
//! tokens, under the policy `π` and under a fixed reference `ref`. Below, per row,
//!
//! - `r_c = β (log π(chosen) - log ref(chosen))` is the implicit reward of the chosen completion
//!   (Rafailov et al. 2023, eq. 5, up to a term of the prompt), `r_r` that of the rejected one;
//! - `z = r_c - r_r` is their margin;
//! - `|c|` and `|r|` are lengths in tokens; `σ` is the logistic function.
//!
//! The names are TRL's `loss_type`s.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::parameter::{ParameterError, require};
use crate::real::Real;

/// Which function of a pair is minimised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreferenceLoss {
    /// DPO: `-log σ(z)` (Rafailov et al. 2023, eq. 7).
    #[default]
    Sigmoid,
    /// DPO on log-ratios per token: `-log σ(r_c / |c| - r_r / |r|)`.
    SigmoidNorm,
    /// Conservative DPO: `-(1-ε) log σ(z) - ε log σ(-z)`, where `ε` (`label_smoothing`) is the
    /// probability that a label is wrong (Mitchell 2023; Rafailov et al. 2023, appendix).
    Cdpo,
    /// Robust DPO, unbiased under flipped labels:
    /// `(-(1-ε) log σ(z) + ε log σ(-z)) / (1 - 2ε)` (Chowdhury et al. 2024, eq. 13).
    Robust,
    /// `max(0, 1 - z)` (`SLiC`, Zhao et al. 2023; RSO, Liu et al. 2024).
    Hinge,
    /// IPO on log-ratios per token, as TRL has it: `((r_c / |c| - r_r / |r|) / β - 1 / 2β)²`.
    Ipo,
    /// IPO on sums, as in the paper: `(z / β - 1 / 2β)²` (Azar et al. 2023, eq. 17).
    IpoSum,
    /// BCO on pairs, its shift left out: `-log σ(r_c) - log σ(-r_r)` (Jung et al. 2024, eq. 8).
    BcoPair,
    /// `-log σ(r_c) - ½ log σ(-r_c) - ½ log σ(-r_r)` (NCA, Chen et al. 2024).
    NcaPair,
    /// SPPO with hard labels: `(r_c / β - 1 / 2β)² + (r_r / β + 1 / 2β)²` (Wu et al. 2024, eq.
    /// 4.7).
    SppoHard,
    /// `1 - σ(r_c) + σ(r_r)`: chosen up, rejected down (APO, D'Oosterlinck et al. 2024, eq. 7).
    ApoZero,
    /// `σ(r_c) + 1 - σ(z)`: both down, rejected more (the same, eq. 8).
    ApoDown,
    /// EXO on pairs, the reverse divergence of `σ(z)` from labels smoothed by `ε`:
    /// `σ(z) (log σ(z) - log(1-ε)) + σ(-z) (log σ(-z) - log ε)` (Ji et al. 2024, eq. 16).
    ExoPair,
    /// `-(1-m) log σ(z) + m e^(-z)` with `m = σ(z / τ)` (DiscoPOP, Lu et al. 2024, eq. 5).
    Discopop,
    /// SimPO, without a reference: `-log σ(β log π(c) / |c| - β log π(r) / |r| - γ)`
    /// (Meng et al. 2024, eq. 6).
    Simpo,
    /// ORPO, without a reference: `-β log σ(log odds(c) - log odds(r))`, where
    /// `odds = p / (1 - p)` of the mean probability of a token, `log p = log π / length`; and the
    /// negative log-likelihood of the chosen completion beside it (Hong et al. 2024, eq. 6-7).
    Orpo,
}

impl PreferenceLoss {
    /// Every loss.
    pub const ALL: [Self; 16] = [
        Self::Sigmoid,
        Self::SigmoidNorm,
        Self::Cdpo,
        Self::Robust,
        Self::Hinge,
        Self::Ipo,
        Self::IpoSum,
        Self::BcoPair,
        Self::NcaPair,
        Self::SppoHard,
        Self::ApoZero,
        Self::ApoDown,
        Self::ExoPair,
        Self::Discopop,
        Self::Simpo,
        Self::Orpo,
    ];

    /// Its name in a recipe.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sigmoid => "sigmoid",
            Self::SigmoidNorm => "sigmoid_norm",
            Self::Cdpo => "cdpo",
            Self::Robust => "robust",
            Self::Hinge => "hinge",
            Self::Ipo => "ipo",
            Self::IpoSum => "ipo_sum",
            Self::BcoPair => "bco_pair",
            Self::NcaPair => "nca_pair",
            Self::SppoHard => "sppo_hard",
            Self::ApoZero => "apo_zero",
            Self::ApoDown => "apo_down",
            Self::ExoPair => "exo_pair",
            Self::Discopop => "discopop",
            Self::Simpo => "simpo",
            Self::Orpo => "orpo",
        }
    }

    /// Whether it compares with a reference model. Where it does not, `ref_chosen` and
    /// `ref_rejected` are not read.
    pub const fn needs_reference(self) -> bool {
        !matches!(self, Self::Simpo | Self::Orpo)
    }

    /// The label smoothing where none is given; none where the loss has no such parameter.
    const fn default_smoothing(self) -> Option<f64> {
        match self {
            Self::Cdpo | Self::Robust => Some(0.1),
            Self::ExoPair => Some(1e-3),
            _ => None,
        }
    }
}

impl fmt::Display for PreferenceLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A loss and its parameters. One that the loss does not have must be left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PreferenceConfig {
    /// Which loss.
    pub loss_type: PreferenceLoss,
    /// `β`: how much a log-ratio counts as reward (IPO's `τ`, ORPO's `λ`). SimPO wants about 2.
    pub beta: f64,
    /// `ε` of `cdpo` and `robust` (0.1 unless given) and of `exo_pair` (0.001).
    pub label_smoothing: Option<f64>,
    /// `γ` of `simpo`: the margin that a pair shall have, as a reward (0.5).
    pub simpo_gamma: Option<f64>,
    /// `τ` of `discopop` (0.05).
    pub discopop_tau: Option<f64>,
    /// Weight of the chosen completion's negative log-likelihood per token, which any loss may have
    /// beside it (RPO, Pang et al. 2024, eq. 1): 1 for `orpo`, 0 for the others.
    pub nll_coef: Option<f64>,
}

impl Default for PreferenceConfig {
    fn default() -> Self {
        Self {
            loss_type: PreferenceLoss::Sigmoid,
            beta: 0.1,
            label_smoothing: None,
            simpo_gamma: None,
            discopop_tau: None,
            nll_coef: None,
        }
    }
}

impl PreferenceConfig {
    /// This loss with this `beta` and its other parameters' defaults.
    pub fn new(loss_type: PreferenceLoss, beta: f64) -> Self {
        Self { loss_type, beta, ..Self::default() }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the first parameter that is out of range or that the loss does not have.
    pub fn validate(&self) -> Result<(), ParameterError> {
        let positive = |x: f64| x > 0.0 && x.is_finite();
        require(positive(self.beta), "beta", self.beta, "must be above 0 and finite")?;
        let unused = |owner: &str| {
            format!("loss_type = \"{}\" has no such parameter ({owner} has)", self.loss_type)
        };
        if let Some(epsilon) = self.label_smoothing {
            let takes = self.loss_type.default_smoothing().is_some();
            let owner = "cdpo, robust and exo_pair: each";
            require(takes, "label_smoothing", epsilon, unused(owner))?;
            let ok = (0.0..0.5).contains(&epsilon)
                && (epsilon > 0.0 || self.loss_type != PreferenceLoss::ExoPair);
            let range = "must be from 0 to less than 0.5 (exo_pair: above 0)";
            require(ok, "label_smoothing", epsilon, range)?;
        }
        if let Some(gamma) = self.simpo_gamma {
            let takes = self.loss_type == PreferenceLoss::Simpo;
            require(takes, "simpo_gamma", gamma, unused("simpo"))?;
            let ok = gamma >= 0.0 && gamma.is_finite();
            require(ok, "simpo_gamma", gamma, "must be at least 0 and finite")?;
        }
        if let Some(tau) = self.discopop_tau {
            let takes = self.loss_type == PreferenceLoss::Discopop;
            require(takes, "discopop_tau", tau, unused("discopop"))?;
            require(positive(tau), "discopop_tau", tau, "must be above 0 and finite")?;
        }
        if let Some(coef) = self.nll_coef {
            let ok = coef >= 0.0 && coef.is_finite();
            require(ok, "nll_coef", coef, "must be at least 0 and finite")?;
        }
        Ok(())
    }

    /// Whether the lengths of the completions are read.
    pub fn needs_lengths(&self) -> bool {
        use PreferenceLoss::{Ipo, Orpo, SigmoidNorm, Simpo};
        matches!(self.loss_type, SigmoidNorm | Ipo | Simpo | Orpo) || self.nll_weight() != 0.0
    }

    fn nll_weight(&self) -> f64 {
        let default = f64::from(self.loss_type == PreferenceLoss::Orpo);
        self.nll_coef.unwrap_or(default)
    }

    fn smoothing(&self) -> f64 {
        self.label_smoothing.or(self.loss_type.default_smoothing()).unwrap_or(0.0)
    }
}

/// Log-probabilities of pairs of completions: one number a row, each the sum over the tokens of a
/// completion.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a, F> {
    /// `log π(chosen)`
    pub policy_chosen: &'a [F],
    /// `log π(rejected)`
    pub policy_rejected: &'a [F],
    /// `log ref(chosen)`; may be empty where [`PreferenceLoss::needs_reference`] says no.
    pub ref_chosen: &'a [F],
    /// `log ref(rejected)`; likewise.
    pub ref_rejected: &'a [F],
    /// Tokens of the chosen completions; may be empty where [`PreferenceConfig::needs_lengths`]
    /// says no.
    pub len_chosen: &'a [usize],
    /// Tokens of the rejected completions; likewise.
    pub len_rejected: &'a [usize],
}

/// What [`preference`] tells of a batch: each number is `scale` times a sum over rows, so that
/// parts of a batch add up to the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PreferenceStats<F> {
    /// The loss, the likelihood term included.
    pub loss: F,
    /// `rewards/chosen`: the implicit reward `r_c` of the chosen completions (`β log π / length`
    /// for a loss without a reference).
    pub reward_chosen: F,
    /// `rewards/rejected`
    pub reward_rejected: F,
    /// `rewards/margins`: the difference of the two.
    pub margin: F,
    /// `rewards/accuracies`: rows whose margin is positive; one of exactly 0 counts one half.
    pub accuracy: F,
    /// The chosen completions' negative log-likelihood per token, unweighted; 0 where `nll_coef`
    /// is.
    pub nll: F,
}

/// `scale Σ loss(row)` over preference pairs, with the loss of `config` (see [`PreferenceLoss`]).
/// Adds the gradients in `policy_chosen` and `policy_rejected`.
pub fn preference<F: Real>(
    pairs: &Pairs<'_, F>,
    config: &PreferenceConfig,
    scale: F,
    d_policy_chosen: &mut [F],
    d_policy_rejected: &mut [F],
) -> PreferenceStats<F> {
    let n = pairs.policy_chosen.len();
    assert_eq!(pairs.policy_rejected.len(), n, "one number a row");
    assert!(d_policy_chosen.len() == n && d_policy_rejected.len() == n, "one gradient a row");
    let (with_reference, with_lengths) =
        (config.loss_type.needs_reference(), config.needs_lengths());
    if with_reference {
        assert!(pairs.ref_chosen.len() == n && pairs.ref_rejected.len() == n, "one number a row");
    }
    if with_lengths {
        assert!(pairs.len_chosen.len() == n && pairs.len_rejected.len() == n, "one length a row");
    }
    let length = |lengths: &[usize], i: usize| {
        if with_lengths { F::of(lengths[i].max(1) as f64) } else { F::ONE }
    };
    let (beta, nll_weight) = (F::of(config.beta), F::of(config.nll_weight()));
    let half = F::of(0.5);
    let mut out = PreferenceStats::default();
    for i in 0..n {
        let (len_c, len_r) = (length(pairs.len_chosen, i), length(pairs.len_rejected, i));
        // What the loss compares: log-ratios, or log-probabilities per token.
        let (x_c, x_r, weight_c, weight_r) = if with_reference {
            let ratio_c = pairs.policy_chosen[i] - pairs.ref_chosen[i];
            let ratio_r = pairs.policy_rejected[i] - pairs.ref_rejected[i];
            (ratio_c, ratio_r, F::ONE, F::ONE)
        } else {
            let mean_c = pairs.policy_chosen[i] / len_c;
            let mean_r = pairs.policy_rejected[i] / len_r;
            (mean_c, mean_r, F::ONE / len_c, F::ONE / len_r)
        };
        let row = config.row(x_c, x_r, len_c, len_r);
        out.loss += row.loss;
        d_policy_chosen[i] += scale * row.d_chosen * weight_c;
        d_policy_rejected[i] += scale * row.d_rejected * weight_r;
        if nll_weight != F::ZERO {
            let nll = -pairs.policy_chosen[i] / len_c;
            out.nll += nll;
            out.loss += nll_weight * nll;
            d_policy_chosen[i] -= scale * nll_weight / len_c;
        }
        out.reward_chosen += beta * x_c;
        out.reward_rejected += beta * x_r;
        out.margin += beta * (x_c - x_r);
        if x_c > x_r {
            out.accuracy += F::ONE;
        } else if x_c == x_r {
            out.accuracy += half;
        }
    }
    for number in [
        &mut out.loss,
        &mut out.reward_chosen,
        &mut out.reward_rejected,
        &mut out.margin,
        &mut out.accuracy,
        &mut out.nll,
    ] {
        *number *= scale;
    }
    out
}

/// The loss of one pair and its derivatives in what it compares.
struct Row<F> {
    loss: F,
    d_chosen: F,
    d_rejected: F,
}

impl PreferenceConfig {
    /// `x_c` and `x_r` are log-ratios where there is a reference, else log-probabilities a token.
    fn row<F: Real>(&self, x_c: F, x_r: F, len_c: F, len_r: F) -> Row<F> {
        use PreferenceLoss as Loss;
        let beta = F::of(self.beta);
        let (half, two) = (F::of(0.5), F::of(2.0));
        let (r_c, r_r) = (beta * x_c, beta * x_r);
        // A loss of the margin z alone, given as (loss, dloss/dz).
        let of_margin =
            |(loss, d_z): (F, F)| Row { loss, d_chosen: beta * d_z, d_rejected: -(beta * d_z) };
        let z = r_c - r_r;
        let epsilon = F::of(self.smoothing());
        match self.loss_type {
            Loss::Sigmoid => of_margin(logistic(z, F::ONE, F::ZERO)),
            Loss::Cdpo => of_margin(logistic(z, F::ONE - epsilon, epsilon)),
            Loss::Robust => {
                let clean = F::ONE - two * epsilon;
                of_margin(logistic(z, (F::ONE - epsilon) / clean, -epsilon / clean))
            }
            Loss::SigmoidNorm => {
                let (loss, d_z) = logistic(r_c / len_c - r_r / len_r, F::ONE, F::ZERO);
                Row { loss, d_chosen: beta * d_z / len_c, d_rejected: -(beta * d_z / len_r) }
            }
            Loss::Hinge => {
                let short = F::ONE - z;
                of_margin(if short > F::ZERO { (short, -F::ONE) } else { (F::ZERO, F::ZERO) })
            }
            Loss::Ipo => {
                let error = x_c / len_c - x_r / len_r - half / beta;
                let d = two * error;
                Row { loss: error * error, d_chosen: d / len_c, d_rejected: -(d / len_r) }
            }
            Loss::IpoSum => {
                let error = x_c - x_r - half / beta;
                Row { loss: error * error, d_chosen: two * error, d_rejected: -(two * error) }
            }
            Loss::BcoPair => Row {
                loss: softplus(-r_c) + softplus(r_r),
                d_chosen: -(beta * sigmoid(-r_c)),
                d_rejected: beta * sigmoid(r_r),
            },
            Loss::NcaPair => Row {
                loss: softplus(-r_c) + half * (softplus(r_c) + softplus(r_r)),
                d_chosen: beta * (half * sigmoid(r_c) - sigmoid(-r_c)),
                d_rejected: beta * half * sigmoid(r_r),
            },
            Loss::SppoHard => {
                let (error_c, error_r) = (x_c - half / beta, x_r + half / beta);
                let loss = error_c * error_c + error_r * error_r;
                Row { loss, d_chosen: two * error_c, d_rejected: two * error_r }
            }
            Loss::ApoZero => Row {
                loss: sigmoid(-r_c) + sigmoid(r_r),
                d_chosen: -(beta * d_sigmoid(r_c)),
                d_rejected: beta * d_sigmoid(r_r),
            },
            Loss::ApoDown => Row {
                loss: sigmoid(r_c) + sigmoid(-z),
                d_chosen: beta * (d_sigmoid(r_c) - d_sigmoid(z)),
                d_rejected: beta * d_sigmoid(z),
            },
            Loss::ExoPair => {
                let (log_clean, log_flipped) = ((F::ONE - epsilon).ln(), epsilon.ln());
                let won = sigmoid(z) * (-softplus(-z) - log_clean);
                let lost = sigmoid(-z) * (-softplus(z) - log_flipped);
                of_margin((won + lost, d_sigmoid(z) * (z - log_clean + log_flipped)))
            }
            Loss::Discopop => {
                let tau = F::of(self.discopop_tau.unwrap_or(0.05));
                let mix = sigmoid(z / tau);
                let log_loss = softplus(-z);
                // m e^(-z) and (1 - m) m e^(-z) as one power each: e^(-z) alone may overflow.
                let exp_loss = (-z - softplus(-z / tau)).exp();
                let d_exp_loss = (-z - softplus(-z / tau) - softplus(z / tau)).exp();
                let loss = (F::ONE - mix) * log_loss + exp_loss;
                let d_mix = (d_exp_loss - d_sigmoid(z / tau) * log_loss) / tau;
                of_margin((loss, d_mix - (F::ONE - mix) * sigmoid(-z) - exp_loss))
            }
            Loss::Simpo => {
                let gamma = F::of(self.simpo_gamma.unwrap_or(0.5));
                of_margin(logistic(z - gamma, F::ONE, F::ZERO))
            }
            Loss::Orpo => {
                let (odds_c, d_odds_c) = log_odds(x_c);
                let (odds_r, d_odds_r) = log_odds(x_r);
                let (loss, d_odds) = logistic(odds_c - odds_r, F::ONE, F::ZERO);
                Row {
                    loss: beta * loss,
                    d_chosen: beta * d_odds * d_odds_c,
                    d_rejected: -(beta * d_odds * d_odds_r),
                }
            }
        }
    }
}

/// `-a log σ(z) - b log σ(-z)` and its derivative.
fn logistic<F: Real>(z: F, a: F, b: F) -> (F, F) {
    (a * softplus(-z) + b * softplus(z), b * sigmoid(z) - a * sigmoid(-z))
}

/// `log(p / (1 - p))` of `p = e^log_p` and its derivative `1 / (1 - p)`. A probability that rounds
/// to 1 is taken as 1 - 10⁻¹².
fn log_odds<F: Real>(log_p: F) -> (F, F) {
    // 1 - e^x = 2t / (t - 1) with t = tanh(x / 2), which keeps the digits where x is near 0.
    let t = (log_p * F::of(0.5)).tanh();
    let complement = ((t + t) / (t - F::ONE)).max(F::of(1e-12));
    (log_p - complement.ln(), F::ONE / complement)
}

/// The logistic function.
pub(super) fn sigmoid<F: Real>(x: F) -> F {
    let small = (-x.abs()).exp();
    let numerator = if x >= F::ZERO { F::ONE } else { small };
    numerator / (F::ONE + small)
}

/// The derivative `σ(x) σ(-x)`.
pub(super) fn d_sigmoid<F: Real>(x: F) -> F {
    sigmoid(x) * sigmoid(-x)
}

/// `log(1 + e^x) = -log σ(-x)`.
pub(super) fn softplus<F: Real>(x: F) -> F {
    x.max(F::ZERO) + (-x.abs()).exp().ln_1p()
}
