//! GRPO and its family against values computed from the papers' formulas with the conventions of TRL 1.16 and
//! verl 0.9.1, and general properties.
#![expect(clippy::unreadable_literal, reason = "reference values as their source prints them")]

use skinner_core::Real;
use skinner_core::finite_difference::check_gradient;
use skinner_core::objective::grpo::{
    Completions, Correction, KlTerm, LossType, PolicyLoss, PolicyStats, RatioLevel, Surrogate,
    Totals, importance_weights, policy_loss, soft_overlong,
};
use skinner_core::objective::kl::KlEstimator;

const LOG_PROB: [f64; 12] =
    [-1.0, -2.0, -0.4, -0.5, -0.25, -9.0, -1.5, -7.0, -8.0, -2.0, -2.0, -2.0];
const OLD: [f64; 12] = [-1.3, -2.05, -0.1, -0.2, -0.3, -9.0, -1.8, -7.0, -8.0, -2.05, -2.05, -2.05];
const REF: [f64; 12] = [-0.9, -1.9, -0.3, -0.4, -0.15, -8.9, -1.4, -6.9, -7.9, -1.9, -1.9, -1.9];
const ADVANTAGE: [f64; 4] = [0.8, -0.7, 0.5, -0.4];
/// Tokens of each sequence that count.
const LENGTHS: [usize; 4] = [3, 2, 1, 0];
const STARTS: [usize; 4] = [0, 3, 6, 9];
const TOTALS: Totals = Totals { sequences: 4, tokens: 6, max_completion_length: 3 };

fn mask() -> Vec<bool> {
    (0..12).map(|t| t % 3 < LENGTHS[t / 3]).collect()
}

fn loss<F: Real>(config: &PolicyLoss<F>, log_prob: &[F], d: &mut [F]) -> PolicyStats<F> {
    let of = |x: &[f64]| -> Vec<F> { x.iter().map(|&x| F::of(x)).collect() };
    let advantage: Vec<F> = (0..12).map(|t| F::of(ADVANTAGE[t / 3])).collect();
    let batch = Completions {
        log_prob,
        old_log_prob: &of(&OLD),
        ref_log_prob: &of(&REF),
        correction: &[],
        advantage: &advantage,
        mask: &mask(),
        starts: &STARTS,
    };
    policy_loss(config, &batch, TOTALS, d)
}

fn clip<F: Real>(low: f64, high: f64) -> Surrogate<F> {
    Surrogate::Clip { low: F::of(low), high: F::of(high), most: None, dual: None }
}

fn config<F: Real>(
    loss_type: LossType,
    level: RatioLevel,
    surrogate: Surrogate<F>,
    kl: Option<bool>,
) -> PolicyLoss<F> {
    let kl =
        kl.map(|times_ratio| KlTerm { estimator: KlEstimator::K3, beta: F::of(0.04), times_ratio });
    PolicyLoss { level, surrogate, normalisation: loss_type.normalisation(), kl }
}

/// Loss type; then for the token's and the sequence's ratio: `ε_high` 0.2 and 0.28, each without a divergence,
/// with one, and with one times the ratio.
const GOLDEN: [(LossType, [[f64; 6]; 2]); 4] = [
    (
        LossType::Grpo,
        [
            [
                -0.1874864002042807,
                -0.18733127266201124,
                -0.1873161105214889,
                -0.20281973353761407,
                -0.20266460599534458,
                -0.20264944385482225,
            ],
            [
                -0.19892430812494802,
                -0.19876918058267853,
                -0.1987562966176863,
                -0.20892430812494803,
                -0.20876918058267854,
                -0.2087562966176863,
            ],
        ],
    ),
    (
        LossType::Bnpo,
        [
            [
                -0.2829636143638295,
                -0.28275677764080354,
                -0.28274699094582395,
                -0.30029694769716286,
                -0.3000901109741369,
                -0.30008032427915726,
            ],
            [
                -0.30080658821809886,
                -0.3005997514950729,
                -0.3005940541222461,
                -0.30747325488476557,
                -0.30726641816173955,
                -0.3072607207889128,
            ],
        ],
    ),
    (
        LossType::DrGrpo,
        [
            [
                -0.14148180718191475,
                -0.14137838882040177,
                -0.14137349547291198,
                -0.15014847384858143,
                -0.15004505548706845,
                -0.15004016213957863,
            ],
            [
                -0.15040329410904943,
                -0.15029987574753645,
                -0.15029702706112305,
                -0.15373662744238278,
                -0.15363320908086978,
                -0.1536303603944564,
            ],
        ],
    ),
    (
        LossType::Dapo,
        [
            [
                -0.2829636143638295,
                -0.28275677764080354,
                -0.28274699094582395,
                -0.30029694769716286,
                -0.3000901109741369,
                -0.30008032427915726,
            ],
            [
                -0.30080658821809886,
                -0.3005997514950729,
                -0.3005940541222461,
                -0.30747325488476557,
                -0.30726641816173955,
                -0.3072607207889128,
            ],
        ],
    ),
];

fn check<F: Real>(config: &PolicyLoss<F>, expected: f64, what: &str) {
    let tolerance = if size_of::<F>() == 8 { 1e-9 } else { 1e-5 };
    let log_prob: Vec<F> = LOG_PROB.iter().map(|&x| F::of(x)).collect();
    let mut d = vec![F::ZERO; 12];
    let got = loss(config, &log_prob, &mut d).loss.to_f64();
    assert!((got - expected).abs() <= tolerance, "{what}: {got}, not {expected}");
    for (t, counts) in mask().into_iter().enumerate() {
        assert!(counts || d[t] == F::ZERO, "{what}: token {t} does not count");
    }
}

/// The derivative of what has one: a stop-gradient's loss is not what its gradient is of.
fn check_difference(config: &PolicyLoss<f64>) {
    check_gradient(&LOG_PROB, |x, d| loss(config, x, d).loss);
}

fn goldens<F: Real>() {
    for (loss_type, levels) in GOLDEN {
        for (level, values) in [RatioLevel::Token, RatioLevel::Sequence].into_iter().zip(levels) {
            for (i, expected) in values.into_iter().enumerate() {
                let high = if i < 3 { 0.2 } else { 0.28 };
                let kl = [None, Some(false), Some(true)][i % 3];
                let config = config::<F>(loss_type, level, clip(0.2, high), kl);
                check(&config, expected, &format!("{loss_type} {level:?} {i}"));
            }
        }
    }
    let others: [(LossType, Surrogate<F>, f64); 7] = [
        (LossType::Gspo, clip(0.0003, 0.0004), -0.1501825),
        (
            LossType::Grpo,
            Surrogate::Clip {
                low: F::of(0.2),
                high: F::of(0.2),
                most: Some(F::of(1.05)),
                dual: None,
            },
            -0.15865166044587908,
        ),
        (
            LossType::Cispo,
            Surrogate::StopGradient { least: F::ZERO, most: F::of(5.0) },
            0.5946863195763646,
        ),
        (
            LossType::Cispo,
            Surrogate::StopGradient { least: F::ZERO, most: F::of(1.2) },
            0.5559727942858971,
        ),
        (
            LossType::Cispo,
            Surrogate::StopGradient { least: F::of(0.8), most: F::of(1.2) },
            0.5556768853893058,
        ),
        (
            LossType::Sapo,
            Surrogate::Soft { tau_positive: F::ONE, tau_negative: F::of(1.05) },
            -0.3873361784683358,
        ),
        (LossType::Luspo, clip(0.2, 0.2), -0.4512098823271482),
    ];
    for (loss_type, surrogate, expected) in others {
        let config = config::<F>(loss_type, loss_type.ratio_level(), surrogate, None);
        check(&config, expected, &format!("{loss_type} {surrogate:?}"));
    }
}

#[test]
fn golden_values() {
    goldens::<f64>();
    goldens::<f32>();
}

#[test]
fn gradients_by_difference() {
    let soft = Surrogate::Soft { tau_positive: 1.0, tau_negative: 1.05 };
    let capped = Surrogate::Clip { low: 0.2, high: 0.2, most: Some(1.05), dual: None };
    let dual = Surrogate::Clip { low: 0.2, high: 0.2, most: None, dual: Some(1.3) };
    for level in [RatioLevel::Token, RatioLevel::Sequence, RatioLevel::Whole] {
        for loss_type in LossType::ALL {
            for surrogate in [clip(0.2, 0.28), capped, dual, soft] {
                for kl in [None, Some(false), Some(true)] {
                    check_difference(&config(loss_type, level, surrogate, kl));
                }
            }
        }
    }
}

/// The gradient of the stop-gradient form, by hand: `-w clip(r) A`.
#[test]
fn cut_off_ratios_keep_every_gradient() {
    let surrogate = Surrogate::StopGradient { least: 0.0, most: 1.2 };
    let config = config(LossType::Cispo, RatioLevel::Token, surrogate, None);
    let mut d = [0.0; 12];
    loss(&config, &LOG_PROB, &mut d);
    for t in 0..12 {
        let ratio = (LOG_PROB[t] - OLD[t]).exp().min(1.2);
        let expected = if mask()[t] { -ratio * ADVANTAGE[t / 3] / 6.0 } else { 0.0 };
        assert!((d[t] - expected).abs() < 1e-12, "{t}");
    }
}

/// One token with ratio `r`: Ye et al.'s dual clip.
#[test]
fn dual_clip() {
    for (ratio, advantage, expected) in [
        (0.5f64, 1.0, -0.5),
        (1.5, 1.0, -1.2),
        (0.5, -1.0, 0.8),
        (1.5, -1.0, 1.5),
        (4.0, -1.0, 3.0),
        (10.0, -1.0, 3.0),
    ] {
        let config = PolicyLoss {
            level: RatioLevel::Token,
            surrogate: Surrogate::Clip { low: 0.2, high: 0.2, most: None, dual: Some(3.0) },
            normalisation: LossType::Grpo.normalisation(),
            kl: None,
        };
        let batch = Completions {
            log_prob: &[ratio.ln()],
            old_log_prob: &[0.0],
            ref_log_prob: &[],
            correction: &[],
            advantage: &[advantage],
            mask: &[true],
            starts: &[0],
        };
        let totals = Totals { sequences: 1, tokens: 1, max_completion_length: 1 };
        let got = policy_loss(&config, &batch, totals, &mut [0.0]).loss;
        assert!((got - expected).abs() < 1e-12, "{ratio} {advantage}: {got}");
    }
}

/// A batch in parts is the batch, and padding changes nothing.
#[test]
fn parts_add_up() {
    for loss_type in LossType::ALL {
        let config = config(loss_type, loss_type.ratio_level(), clip(0.2, 0.28), Some(true));
        let mut whole_d = [0.0; 12];
        let whole = loss(&config, &LOG_PROB, &mut whole_d);
        let advantage: Vec<f64> = (0..12).map(|t| ADVANTAGE[t / 3]).collect();
        let mut parts = PolicyStats::<f64>::default();
        let mut parts_d = [0.0; 12];
        // Without the tokens that do not count, a sequence at a time.
        for (i, length) in LENGTHS.into_iter().enumerate() {
            let range = 3 * i..3 * i + length;
            let batch = Completions {
                log_prob: &LOG_PROB[range.clone()],
                old_log_prob: &OLD[range.clone()],
                ref_log_prob: &REF[range.clone()],
                correction: &[],
                advantage: &advantage[range.clone()],
                mask: &vec![true; length],
                starts: &[0],
            };
            let part = policy_loss(&config, &batch, TOTALS, &mut parts_d[range]);
            parts.loss += part.loss;
            parts.kl += part.kl;
        }
        assert!((whole.loss - parts.loss).abs() < 1e-12, "{loss_type}");
        assert!((whole.kl - parts.kl).abs() < 1e-12, "{loss_type}");
        assert_eq!(whole_d, parts_d, "{loss_type}");
    }
}

/// On policy, the gradient of every preset but the weights is the policy gradient: `-w_t A`.
#[test]
fn on_policy_it_is_the_policy_gradient() {
    let mask = mask();
    for loss_type in LossType::ALL {
        let surrogate = match loss_type {
            LossType::Cispo => Surrogate::StopGradient { least: 0.0, most: 5.0 },
            LossType::Sapo => Surrogate::Soft { tau_positive: 1.0, tau_negative: 1.05 },
            _ => clip(0.2, 0.2),
        };
        let config = config(loss_type, loss_type.ratio_level(), surrogate, None);
        let advantage: Vec<f64> = (0..12).map(|t| ADVANTAGE[t / 3]).collect();
        let batch = Completions {
            log_prob: &LOG_PROB,
            old_log_prob: &LOG_PROB,
            ref_log_prob: &[],
            correction: &[],
            advantage: &advantage,
            mask: &mask,
            starts: &STARTS,
        };
        let mut d = [0.0; 12];
        policy_loss(&config, &batch, TOTALS, &mut d);
        for t in 0..12 {
            let length = LENGTHS[t / 3] as f64;
            let weight = match loss_type {
                LossType::Grpo | LossType::Gspo | LossType::Sapo => 1.0 / (4.0 * length),
                LossType::Rloo | LossType::Luspo => 1.0 / 4.0,
                LossType::DrGrpo => 1.0 / 12.0,
                _ => 1.0 / 6.0,
            };
            let expected = if mask[t] { -weight * advantage[t] } else { 0.0 };
            assert!((d[t] - expected).abs() < 1e-12, "{loss_type} {t}: {} {expected}", d[t]);
        }
    }
}

#[test]
fn importance_weights_by_hand() {
    let (trainer, sampler) = ([-1.0, -0.5, -2.0], [-1.2, -0.4, -3.5]);
    let cases: [(Correction, [f64; 3]); 5] = [
        (Correction::None, [1.0; 3]),
        (Correction::TokenTruncate, [1.2214027581601699, 0.9048374180359596, 3.0]),
        (Correction::TokenMask, [1.2214027581601699, 0.9048374180359596, 0.0]),
        (Correction::SequenceTruncate, [3.0; 3]),
        (Correction::SequenceMask, [0.0; 3]),
    ];
    for (correction, expected) in cases {
        let got = importance_weights(correction, 3.0, &trainer, &sampler);
        assert!(got.iter().zip(expected).all(|(g, e)| (g - e).abs() < 1e-12), "{got:?}");
    }
    let whole = importance_weights(Correction::SequenceMask, 5.0, &trainer, &sampler);
    assert!((whole[0] - 4.953032424395115).abs() < 1e-12);
}

#[test]
fn overlong() {
    for (tokens, expected) in [(80, 0.0), (81, -0.05), (90, -0.5), (100, -1.0), (101, -1.0)] {
        assert_eq!(soft_overlong(tokens, 100, 20), expected);
    }
}
