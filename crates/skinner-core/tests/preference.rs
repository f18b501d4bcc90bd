//! Losses of preferences against values computed from the papers' formulas with the conventions of
//! TRL 1.16, and their general properties.
#![expect(clippy::unreadable_literal, reason = "reference values as their source prints them")]

use proptest::prelude::*;
use skinner_core::Real;
use skinner_core::finite_difference::check_gradient;
use skinner_core::objective::preference::{
    Pairs, PreferenceConfig, PreferenceLoss, PreferenceStats, preference,
};
use skinner_core::objective::unpaired::{KtoConfig, kto, kto_reference_point, reward_model};

/// One pair, with the gradient in the chosen and the rejected log-probability.
fn pair<F: Real>(config: &PreferenceConfig, numbers: [f64; 4]) -> (PreferenceStats<F>, F, F) {
    let [policy_chosen, policy_rejected, ref_chosen, ref_rejected] = numbers.map(|x| [F::of(x)]);
    let pairs = Pairs {
        policy_chosen: &policy_chosen,
        policy_rejected: &policy_rejected,
        ref_chosen: &ref_chosen,
        ref_rejected: &ref_rejected,
        len_chosen: &[6],
        len_rejected: &[8],
    };
    let (mut d_chosen, mut d_rejected) = ([F::ZERO], [F::ZERO]);
    let stats = preference(&pairs, config, F::ONE, &mut d_chosen, &mut d_rejected);
    (stats, d_chosen[0], d_rejected[0])
}

fn close<F: Real>(got: F, expected: f64, what: &str) {
    let tolerance = if size_of::<F>() == 8 { 1e-9 } else { 1e-5 };
    let error = (got.to_f64() - expected).abs();
    assert!(error <= tolerance * expected.abs().max(1.0), "{what}: {got:?}, not {expected}");
}

const GOLDEN_PAIR: [f64; 4] = [-12.0, -15.0, -13.0, -14.5];

/// The values at beta 0.1 and 0.5 of [`GOLDEN_PAIR`], lengths 6 and 8.
const GOLDEN: [(PreferenceLoss, [f64; 2]); 14] = [
    (PreferenceLoss::Sigmoid, [0.6209570477895321, 0.38687100611489994]),
    (PreferenceLoss::SigmoidNorm, [0.6817544924915547, 0.6374957844027701]),
    (PreferenceLoss::Hinge, [0.85, 0.25]),
    (PreferenceLoss::Ipo, [22.760850694444443, 0.5941840277777778]),
    (PreferenceLoss::IpoSum, [12.25, 0.25]),
    (PreferenceLoss::Robust, [0.602207047789532, 0.2931210061148999]),
    (PreferenceLoss::Cdpo, [0.6359570477895321, 0.46187100611489995]),
    (PreferenceLoss::BcoPair, [1.3128563080868572, 1.0500164040589501]),
    (PreferenceLoss::NcaPair, [1.3508248141169994, 1.2490851862095818]),
    (PreferenceLoss::SppoHard, [36.25, 0.25]),
    (PreferenceLoss::ApoZero, [0.9625234160368497, 0.8153641679123473]),
    (PreferenceLoss::ApoDown, [0.9875493421351904, 0.9432806320264615]),
    (PreferenceLoss::ExoPair, [2.5055165554778718, 1.5893475711628275]),
    (PreferenceLoss::Discopop, [0.8493375792893855, 0.4723665265877366]),
];

fn goldens<F: Real>() {
    let rewards = [(0.1, [0.1, -0.05]), (0.5, [0.5, -0.25])];
    for (i, (beta, [chosen, rejected])) in rewards.into_iter().enumerate() {
        for (loss_type, values) in GOLDEN {
            let config = PreferenceConfig::new(loss_type, beta);
            let (stats, _, _) = pair::<F>(&config, GOLDEN_PAIR);
            close(stats.loss, values[i], loss_type.as_str());
            close(stats.reward_chosen, chosen, "rewards/chosen");
            close(stats.reward_rejected, rejected, "rewards/rejected");
            close(stats.margin, chosen - rejected, "rewards/margins");
            close(stats.accuracy, 1.0, "rewards/accuracies");
        }
        let gradient = [-0.04625701546562505, -0.16041065041230348][i];
        let config = PreferenceConfig::new(PreferenceLoss::Sigmoid, beta);
        let (_, d_chosen, d_rejected) = pair::<F>(&config, GOLDEN_PAIR);
        close(d_chosen, gradient, "gradient");
        close(d_rejected, -gradient, "gradient");
    }
}

fn kto_goldens<F: Real>() {
    let of = |x: &[f64]| x.iter().map(|&x| F::of(x)).collect::<Vec<F>>();
    let z0 =
        kto_reference_point(&of(&[-20.0, -21.0, -19.0, -22.0]), &of(&[-20.3, -20.9, -19.4, -22.1]));
    close(z0, 0.17499999999999982, "z0");
    let policy = of(&[-10.0, -11.0, -9.0, -13.0]);
    let reference = of(&[-10.5, -10.8, -9.5, -12.0]);
    let desirable = [true, true, false, false];
    let loss = |rows: std::ops::Range<usize>, undesirable_weight: f64, scale: f64| {
        let config = KtoConfig { undesirable_weight, ..KtoConfig::default() };
        let mut d = vec![F::ZERO; rows.len()];
        let (p, r, l) = (&policy[rows.clone()], &reference[rows.clone()], &desirable[rows]);
        kto(p, r, l, z0, &config, F::of(scale), &mut d).loss
    };
    let rows = [0.4918757150937392, 0.5093739015216607, 0.5081242849062608, 0.4706587499542144];
    for (i, expected) in rows.into_iter().enumerate() {
        close(loss(i..i + 1, 1.0, 1.0), expected, "kto row");
    }
    close(loss(0..4, 1.0, 0.25), 0.49500816286896876, "kto");
    close(loss(0..4, 1.33, 0.25), 0.575757763244958, "kto weighted");
}

fn orpo_goldens<F: Real>() {
    // The chosen likelihood is given apart there, so that term is left out and added by hand.
    let config = PreferenceConfig {
        nll_coef: Some(0.0),
        ..PreferenceConfig::new(PreferenceLoss::Orpo, 0.1)
    };
    let (stats, _, _) = pair::<F>(&config, [-0.7 * 6.0, -1.1 * 8.0, 0.0, 0.0]);
    close(stats.loss, 0.1 * 0.40933940595144586, "odds ratio");
    close(stats.loss + F::of(0.9), 0.9409339405951446, "orpo");
    close(stats.reward_chosen, -0.07, "rewards/chosen");
    let config = PreferenceConfig::new(PreferenceLoss::Orpo, 0.1);
    let (stats, _, _) = pair::<F>(&config, [-0.7 * 6.0, -1.1 * 8.0, 0.0, 0.0]);
    close(stats.loss, 0.7 + 0.1 * 0.40933940595144586, "orpo with its likelihood");
}

/// `-log σ(2 (-0.7) - 2 (-1.1) - 0.5) = -log σ(0.3)`.
fn simpo_by_hand<F: Real>() {
    let config = PreferenceConfig::new(PreferenceLoss::Simpo, 2.0);
    let (stats, _, _) = pair::<F>(&config, [-0.7 * 6.0, -1.1 * 8.0, 0.0, 0.0]);
    close(stats.loss, (1.0 + (-0.3f64).exp()).ln(), "simpo");
}

fn reward_model_goldens<F: Real>() {
    let cases = [
        (1.0, 0.0, 0.0, 0.0, 0.31326168751822286),
        (0.2, 0.7, 0.0, 0.0, 0.9740769841801067),
        (1.0, 0.0, 0.5, 0.0, 0.4740769841801067),
        (1.0, 0.5, 0.0, 0.01, 0.4965769841801067),
    ];
    for (chosen, rejected, margin, center_coef, expected) in cases {
        let (chosen, rejected) = ([F::of(chosen)], [F::of(rejected)]);
        let (mut d_chosen, mut d_rejected) = ([F::ZERO], [F::ZERO]);
        let stats = reward_model(
            &chosen,
            &rejected,
            &[F::of(margin)],
            F::of(center_coef),
            F::ONE,
            &mut d_chosen,
            &mut d_rejected,
        );
        close(stats.loss, expected, "reward model");
    }
}

#[test]
fn reference_values_in_f64() {
    goldens::<f64>();
    kto_goldens::<f64>();
    orpo_goldens::<f64>();
    simpo_by_hand::<f64>();
    reward_model_goldens::<f64>();
}

#[test]
fn reference_values_in_f32() {
    goldens::<f32>();
    kto_goldens::<f32>();
    orpo_goldens::<f32>();
    simpo_by_hand::<f32>();
    reward_model_goldens::<f32>();
}

const CHOSEN: [f64; 3] = [-12.0, -4.2, -30.0];
const REJECTED: [f64; 3] = [-15.0, -8.8, -21.0];
const REF_CHOSEN: [f64; 3] = [-13.0, -4.0, -28.0];
const REF_REJECTED: [f64; 3] = [-14.5, -9.9, -22.5];

/// The loss of rows of the three pairs, chosen log-probabilities first in `x` and `d`.
fn three(config: &PreferenceConfig, rows: std::ops::Range<usize>, x: &[f64], d: &mut [f64]) -> f64 {
    let (chosen, rejected) = x.split_at(3);
    let (d_chosen, d_rejected) = d.split_at_mut(3);
    let pairs = Pairs {
        policy_chosen: &chosen[rows.clone()],
        policy_rejected: &rejected[rows.clone()],
        ref_chosen: &REF_CHOSEN[rows.clone()],
        ref_rejected: &REF_REJECTED[rows.clone()],
        len_chosen: &[6, 3, 20][rows.clone()],
        len_rejected: &[8, 9, 10][rows.clone()],
    };
    let (d_chosen, d_rejected) = (&mut d_chosen[rows.clone()], &mut d_rejected[rows]);
    preference(&pairs, config, 1.0 / 3.0, d_chosen, d_rejected).loss
}

fn all_configs() -> impl Iterator<Item = PreferenceConfig> {
    PreferenceLoss::ALL.into_iter().flat_map(|loss_type| {
        [(0.1, None), (0.5, Some(0.3)), (2.0, None)].map(|(beta, nll_coef)| PreferenceConfig {
            nll_coef,
            ..PreferenceConfig::new(loss_type, beta)
        })
    })
}

#[test]
fn every_gradient_by_finite_difference() {
    let x = [CHOSEN, REJECTED].concat();
    for config in all_configs() {
        check_gradient(&x, |x, d| three(&config, 0..3, x, d));
    }
}

#[test]
fn every_batch_in_parts_is_the_batch_and_gradients_add() {
    let x = [CHOSEN, REJECTED].concat();
    for config in all_configs() {
        let (mut whole, mut parts) = ([0.0; 6], [0.0; 6]);
        let loss = three(&config, 0..3, &x, &mut whole);
        let sum = three(&config, 0..1, &x, &mut parts) + three(&config, 1..3, &x, &mut parts);
        assert!((loss - sum).abs() <= 1e-12 * loss.abs(), "{config:?}");
        assert_eq!(whole, parts, "{config:?}");
        let mut added = [10.0; 6];
        three(&config, 0..3, &x, &mut added);
        assert!(whole.iter().zip(&added).all(|(a, b)| (a + 10.0 - b).abs() < 1e-9));
    }
}

#[test]
fn before_the_first_update_the_loss_is_ln_2_and_nothing_is_preferred() {
    for loss_type in [PreferenceLoss::Sigmoid, PreferenceLoss::SigmoidNorm, PreferenceLoss::Cdpo] {
        let config = PreferenceConfig::new(loss_type, 0.1);
        let (stats, _, _) = pair::<f64>(&config, [-12.0, -15.0, -12.0, -15.0]);
        assert!((stats.loss - std::f64::consts::LN_2).abs() < 1e-15, "{loss_type}");
        assert_eq!((stats.margin, stats.accuracy), (0.0, 0.5));
        let (stats, _, _) = pair::<f32>(&config, [-12.0, -15.0, -12.0, -15.0]);
        assert_eq!(stats.loss, std::f32::consts::LN_2);
    }
}

#[test]
fn extreme_margins_stay_finite() {
    for config in all_configs() {
        for numbers in [[-1.0, -600.0, -300.0, -300.0], [-40.0, -1.0, -1.0, -40.0], [0.0; 4]] {
            let (stats, d_chosen, d_rejected) = pair::<f32>(&config, numbers);
            let finite = stats.loss.is_finite() && d_chosen.is_finite() && d_rejected.is_finite();
            assert!(finite, "{config:?} {numbers:?} {stats:?} {d_chosen} {d_rejected}");
        }
    }
}

#[test]
fn names_are_the_recipes() {
    for loss_type in PreferenceLoss::ALL {
        let json = serde_json::to_string(&loss_type).unwrap();
        assert_eq!(json, format!("\"{loss_type}\""));
        let config = PreferenceConfig::new(loss_type, 0.1);
        assert!(config.validate().is_ok());
        let again = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
        assert_eq!(config, again);
    }
}

#[test]
fn wrong_parameters_are_named() {
    let check = |json: &str, expect: &str| {
        let config: PreferenceConfig = serde_json::from_str(json).unwrap();
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains(expect), "{json}: {error}");
    };
    check(r#"{"beta": 0}"#, "beta = 0: must be above 0");
    check(r#"{"label_smoothing": 0.1}"#, "\"sigmoid\" has no such parameter");
    check(r#"{"loss_type": "robust", "label_smoothing": 0.5}"#, "less than 0.5");
    check(r#"{"loss_type": "exo_pair", "label_smoothing": 0}"#, "above 0");
    check(r#"{"loss_type": "ipo", "simpo_gamma": 1}"#, "(simpo has)");
    check(r#"{"loss_type": "discopop", "discopop_tau": -1}"#, "discopop_tau = -1");
    check(r#"{"nll_coef": -1}"#, "nll_coef = -1");
    assert!(serde_json::from_str::<PreferenceConfig>(r#"{"betta": 1}"#).is_err());
    assert!(serde_json::from_str::<PreferenceConfig>(r#"{"loss_type": "dpo"}"#).is_err());
}

proptest! {
    /// Swapping chosen and rejected negates the margin, and `-log σ(z)` and `-log σ(-z)` differ by
    /// z.
    #[test]
    fn swapping_a_pair(numbers in prop::array::uniform4(-50.0..0.0f64), beta in 0.01..2.0f64) {
        let [a, b, c, d] = numbers;
        let config = PreferenceConfig::new(PreferenceLoss::Sigmoid, beta);
        let (one, d_chosen, d_rejected) = pair::<f64>(&config, [a, b, c, d]);
        let (two, _, _) = pair::<f64>(&config, [b, a, d, c]);
        prop_assert_eq!(one.margin, -two.margin);
        prop_assert_eq!(one.accuracy, 1.0 - two.accuracy);
        prop_assert!((two.loss - one.loss - one.margin).abs() < 1e-9);
        // Descending raises the chosen completion and lowers the rejected one.
        prop_assert!(d_chosen <= 0.0 && d_rejected >= 0.0);
    }

    /// Only log-ratios count: shifting policy and reference of a completion together changes
    /// nothing.
    #[test]
    fn only_ratios_count(numbers in prop::array::uniform4(-50.0..0.0f64), shift in -9.0..9.0f64) {
        let [a, b, c, d] = numbers;
        for loss_type in PreferenceLoss::ALL.into_iter().filter(|l| l.needs_reference()) {
            let config = PreferenceConfig::new(loss_type, 0.1);
            let (one, _, _) = pair::<f64>(&config, [a, b, c, d]);
            let (two, _, _) = pair::<f64>(&config, [a + shift, b, c + shift, d]);
            prop_assert!((one.loss - two.loss).abs() <= 1e-9 * one.loss.abs().max(1.0));
        }
    }
}
