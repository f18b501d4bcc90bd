//! Exact values of the tabular environments, against those computed with Gymnasium 1.4.0's tables.

use skinner_core::Mdp;
use skinner_envs::EnvConfig;

const TOLERANCE: f64 = 1e-12;

fn mdp(json: &str) -> Mdp {
    let config: EnvConfig = serde_json::from_str(json).unwrap();
    config.model().unwrap().unwrap().mdp
}

fn close(found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() <= within, "{found}, not {expected}");
}

fn lake() -> Mdp {
    mdp(r#"{"id": "FrozenLake-v1"}"#)
}

/// The mean return within the limit of the policy that is optimal for this discount.
fn success(mdp: &Mdp, gamma: f64, limit: usize) -> f64 {
    let policy = mdp.value_iteration(gamma, TOLERANCE).unwrap().policy;
    mdp.at_start(&mdp.evaluate_within(&policy, 1.0, limit))
}

#[test]
fn the_small_lake() {
    let lake = lake();
    let discounted = lake.value_iteration(0.99, TOLERANCE).unwrap();
    close(discounted.values[0], 0.542_026, 1e-6);
    for gamma in [0.99, 1.0] {
        close(success(&lake, gamma, 100), 0.740_165, 1e-6);
    }
    for gamma in [0.9, 0.95] {
        close(success(&lake, gamma, 100), 0.729_766, 1e-6);
    }
    close(lake.at_start(&lake.optimum_within(1.0, 100).values), 0.744_190, 1e-6);
    close(lake.at_start(&lake.best_within(1.0, 100)), 0.744_190, 1e-6);
    for solution in [lake.value_iteration(1.0, TOLERANCE), lake.policy_iteration(1.0, TOLERANCE)] {
        let solution = solution.unwrap();
        close(lake.at_start(&solution.values), 14.0 / 17.0, 1e-9);
        let own = lake.evaluate(&solution.policy, 1.0, TOLERANCE).unwrap();
        close(lake.at_start(&own), 14.0 / 17.0, 1e-9);
    }
}

#[test]
fn the_large_lake() {
    let lake = mdp(r#"{"id": "FrozenLake8x8-v1"}"#);
    close(success(&lake, 0.99, 200), 0.862_955, 1e-6);
    close(success(&lake, 0.999, 200), 0.885_654, 1e-6);
    close(success(&lake, 0.95, 200), 0.738_576, 1e-6);
}

/// Ice that does not slip: without discount every safe move looks alike, and the policy must still arrive.
#[test]
fn a_lake_that_does_not_slip() {
    let lake = mdp(r#"{"id": "FrozenLake-v1", "is_slippery": false}"#);
    for gamma in [0.9, 1.0] {
        close(success(&lake, gamma, 6), 1.0, 0.0);
    }
}

#[test]
fn the_taxi() {
    let taxi = mdp(r#"{"id": "Taxi-v4"}"#);
    let optimum = success(&taxi, 0.99, 200);
    close(optimum, 7.93, 5e-3);
    close(success(&taxi, 1.0, 200), optimum, 1e-9);
}

#[test]
fn the_cliff() {
    let cliff = mdp(r#"{"id": "CliffWalking-v1"}"#);
    for solution in [cliff.value_iteration(1.0, 1e-12), cliff.policy_iteration(1.0, 1e-12)] {
        close(cliff.at_start(&solution.unwrap().values), -13.0, 0.0);
    }
}

/// When the best policy hits: figure 5.2 of Sutton and Barto, but for a soft 18 against an ace, where the
/// figure's simulated policy sticks and hitting is worth a little more.
#[test]
fn blackjack() {
    let blackjack = mdp(r#"{"id": "Blackjack-v1"}"#);
    let solution = blackjack.value_iteration(1.0, TOLERANCE).unwrap();
    let index = |sum: usize, dealer: usize, ace: usize| (sum * 11 + dealer) * 2 + ace;
    for dealer in 1..=10 {
        for sum in 11..=21 {
            let hits = solution.policy[index(sum, dealer, 0)] == 1;
            let stick_from = match dealer {
                2 | 3 => 13,
                4..=6 => 12,
                _ => 17,
            };
            assert_eq!(hits, sum < stick_from, "{sum} against {dealer}");
            let hits = solution.policy[index(sum.max(12), dealer, 1)] == 1;
            let stick_from = if matches!(dealer, 1 | 9 | 10) { 19 } else { 18 };
            assert_eq!(hits, sum.max(12) < stick_from, "soft {sum} against {dealer}");
        }
    }
    close(blackjack.at_start(&solution.values), -0.043, 1e-3);
    let start: f64 = blackjack.start().iter().sum();
    close(start, 1.0, 1e-12);
}

/// The table's random process is the environment's: mean returns of always hitting below 18, and of each
/// rule for naturals, agree with play.
#[test]
fn the_table_of_blackjack_is_the_game() {
    use skinner_core::{Env, Rng};
    for (natural, sab) in [(false, true), (true, false), (false, false)] {
        let mut game = skinner_envs::Blackjack::new(natural, sab);
        let table = Mdp::new(&game).unwrap();
        let on_seen: Vec<usize> = (0..704).map(|seen| usize::from(seen / 22 < 18)).collect();
        let policy = table.policy_on_states(&on_seen);
        let exact = table.at_start(&table.evaluate(&policy, 1.0, TOLERANCE).unwrap());
        let (mut rng, episodes) = (Rng::new(4), 400_000);
        let mut sum = 0.0;
        for _ in 0..episodes {
            let mut obs = game.reset(&mut rng);
            loop {
                let step = game.step(&usize::from(obs[0] < 18), &mut rng);
                obs = step.obs;
                if step.terminated {
                    sum += f64::from(step.reward);
                    break;
                }
            }
        }
        // A hand's deviation is about one.
        close(sum / episodes as f64, exact, 3.0 / (episodes as f64).sqrt());
    }
}

/// The recycling robot of the book, by hand: with γ = 0.9 it searches while the battery is high and
/// recharges when it is low, so V(high) = 2 + γ (0.7 V(high) + 0.3 γ V(high)).
#[test]
fn the_recycling_robot() {
    let robot = mdp(r#"{"id": "Table-v0"}"#);
    let solution = robot.value_iteration(0.9, TOLERANCE).unwrap();
    assert_eq!(solution.policy, [0, 2]);
    close(solution.values[0], 2.0 / (1.0 - 0.9 * (0.7 + 0.3 * 0.9)), 1e-8);
    assert_eq!((robot.state_name(1), robot.action_name(2)), ("low".into(), "recharge".into()));
}

#[test]
fn only_environments_with_a_table_have_a_model() {
    let model = |json: &str| serde_json::from_str::<EnvConfig>(json).unwrap().model().unwrap();
    assert!(model(r#"{"id": "CartPole-v1"}"#).is_none());
    assert!(model(r#"{"id": "Taxi-v4", "fickle_passenger": true}"#).is_none());
    assert!(model(r#"{"id": "GaussianBandit-v0"}"#).is_some());
}
