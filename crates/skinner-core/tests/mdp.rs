//! Exact planning: worked numbers, agreement of the methods, tables with mistakes.

use proptest::prelude::*;
use skinner_core::mdp::{Mdp, MdpError, MdpTable, Tabular, Transition};
use skinner_core::{Rng, SeedSequence};

const TOLERANCE: f64 = 1e-12;

/// Two states; in each, action 0 ends with reward 0.5 or 1 and action 1 goes to the other one.
struct Chain;

impl Tabular for Chain {
    fn num_states(&self) -> usize {
        2
    }
    fn num_actions(&self) -> usize {
        2
    }
    fn transitions(&self, state: usize, action: usize) -> Vec<Transition> {
        vec![match action {
            0 => Transition::certain(state, [0.5, 1.0][state], true),
            _ => Transition::certain(1 - state, 0.0, false),
        }]
    }
    fn initial_distribution(&self) -> Vec<f64> {
        vec![1.0, 0.0]
    }
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
}

/// Worked by hand: V* = (γ, 1), Q* = (0.5, γ; 1, γ²).
#[test]
fn a_chain_by_hand() {
    let mdp = Mdp::new(&Chain).unwrap();
    let solution = mdp.value_iteration(0.9, TOLERANCE).unwrap();
    let expected = [0.5, 0.9, 1.0, 0.81];
    solution.q_values.iter().zip(expected).for_each(|(&found, expected)| close(found, expected));
    assert_eq!(solution.policy, [1, 0]);
    assert_eq!(mdp.policy_iteration(0.9, TOLERANCE).unwrap().policy, [1, 0]);
    close(mdp.at_start(&solution.values), 0.9);
    // To stop at once is worth 0.5; in one step nothing better can be done, in two it can.
    close(mdp.evaluate(&[0, 0], 0.9, TOLERANCE).unwrap()[0], 0.5);
    close(mdp.optimum_within(1.0, 1).values[0], 0.5);
    let plan = mdp.optimum_within(1.0, 2);
    close(plan.values[0], 1.0);
    assert_eq!(plan.actions, [1, 0, 0, 0]);
    // The patient policy has not stopped yet when it is cut off after one step.
    close(mdp.evaluate_within(&[1, 0], 1.0, 1)[0], 0.0);
    close(mdp.evaluate_within(&[1, 0], 1.0, 2)[0], 1.0);
}

/// Without discount, moving on from state 1 is worth as much as stopping there; only stopping ends.
#[test]
fn ties_without_discount_are_broken_towards_the_end() {
    let mdp = Mdp::new(&Chain).unwrap();
    for solution in [mdp.value_iteration(1.0, TOLERANCE), mdp.policy_iteration(1.0, TOLERANCE)] {
        let solution = solution.unwrap();
        assert_eq!((solution.policy, solution.values), (vec![1, 0], vec![1.0, 1.0]));
    }
}

#[test]
fn a_reward_for_ever_has_no_value_without_discount() {
    let mut table = table();
    table.transitions[1].reward = -1.0;
    table.transitions[1].next = "here".into();
    let mdp = Mdp::try_from(&table).unwrap();
    let error = mdp.evaluate(&[1, 0, 0], 1.0, TOLERANCE).unwrap_err();
    assert!(matches!(error, MdpError::NotConverged { .. }), "{error}");
    close(mdp.evaluate(&[1, 0, 0], 0.9, TOLERANCE).unwrap()[0], -10.0);
    assert_eq!(mdp.value_iteration(1.1, 1e-9), Err(MdpError::Gamma { gamma: 1.1 }));
}

/// A random process: every action leads to a few states, ends the episode now and then, and pays.
struct Random {
    outcomes: Vec<Vec<Transition>>,
    states: usize,
}

impl Random {
    fn new(seed: u64, states: usize, actions: usize) -> Self {
        let mut rng: Rng = SeedSequence::new(seed).rng();
        let outcomes = (0..states * actions)
            .map(|_| {
                let weights: Vec<f64> = (0..3).map(|_| rng.random() + 0.01).collect();
                let sum: f64 = weights.iter().sum();
                let outcome = |weight: &f64| Transition {
                    probability: weight / sum,
                    next_state: rng.below(states),
                    reward: rng.normal(),
                    terminated: rng.random() < 0.1,
                };
                weights.iter().map(outcome).collect()
            })
            .collect();
        Self { outcomes, states }
    }
}

impl Tabular for Random {
    fn num_states(&self) -> usize {
        self.states
    }
    fn num_actions(&self) -> usize {
        self.outcomes.len() / self.states
    }
    fn transitions(&self, state: usize, action: usize) -> Vec<Transition> {
        self.outcomes[state * self.num_actions() + action].clone()
    }
    fn initial_distribution(&self) -> Vec<f64> {
        vec![1.0 / self.states as f64; self.states]
    }
}

proptest! {
    #[test]
    fn the_methods_agree(
        seed in 0_u64..1_000_000,
        states in 1_usize..12,
        actions in 1_usize..5,
        gamma in 0.0_f64..0.98,
    ) {
        let mdp = Mdp::new(&Random::new(seed, states, actions)).unwrap();
        let by_values = mdp.value_iteration(gamma, TOLERANCE).unwrap();
        let by_policies = mdp.policy_iteration(gamma, TOLERANCE).unwrap();
        for (a, b) in by_values.values.iter().zip(&by_policies.values) {
            prop_assert!((a - b).abs() < 1e-7, "{a} and {b}");
        }
        prop_assert!(by_values.residual < 1e-9 && by_policies.residual < 1e-7);
        // The greedy policy is worth V*, and none is worth more.
        let own = mdp.evaluate(&by_values.policy, gamma, TOLERANCE).unwrap();
        let other = mdp.evaluate(&vec![0; states], gamma, TOLERANCE).unwrap();
        for state in 0..states {
            prop_assert!((own[state] - by_values.values[state]).abs() < 1e-7);
            prop_assert!(other[state] <= by_values.values[state] + 1e-9);
        }
    }

    #[test]
    fn a_long_limit_is_none_and_the_timed_optimum_is_no_worse(
        seed in 0_u64..1_000_000,
        limit in 1_usize..30,
    ) {
        let mdp = Mdp::new(&Random::new(seed, 6, 3)).unwrap();
        let solution = mdp.value_iteration(0.8, TOLERANCE).unwrap();
        let within = mdp.evaluate_within(&solution.policy, 0.8, limit);
        let timed = mdp.optimum_within(0.8, limit);
        let long = mdp.evaluate_within(&solution.policy, 0.8, 300);
        for state in 0..6 {
            prop_assert!(timed.values[state] >= within[state] - 1e-9);
            prop_assert!((long[state] - solution.values[state]).abs() < 1e-8);
        }
    }
}

fn table() -> MdpTable {
    serde_json::from_str(
        r#"{
            "states": ["here", "there", "end"], "actions": ["go", "stay"],
            "start": "here", "terminal": ["end"],
            "transitions": [
                {"state": "here", "action": "go", "next": "there", "reward": -1},
                {"state": "here", "action": "stay", "next": "end", "reward": 1},
                {"state": "there", "action": "go", "next": "end", "probability": 0.9, "reward": 5},
                {"state": "there", "action": "go", "next": "here", "probability": 0.1},
                {"state": "there", "action": "stay", "next": "there"}
            ]
        }"#,
    )
    .unwrap()
}

/// V(here) = -1 + γ (0.9 · 5 + 0.1 γ V(here)).
#[test]
fn a_table_by_hand() {
    let mdp = Mdp::try_from(&table()).unwrap();
    let solution = mdp.value_iteration(0.5, TOLERANCE).unwrap();
    close(solution.values[0], (-1.0 + 0.5 * 4.5) / (1.0 - 0.5 * 0.1 * 0.5));
    assert_eq!(solution.policy, [0, 0, 0]);
    assert_eq!((mdp.state_name(1), mdp.action_name(1)), ("there".into(), "stay".into()));
    assert_eq!(mdp.state_named("end"), Some(2));
    assert_eq!(mdp.warnings(), Vec::<String>::new());
}

#[test]
fn rounded_probabilities_are_scaled() {
    let mut table = table();
    (table.transitions[2].probability, table.transitions[3].probability) = (0.666_666, 0.333_333);
    let mdp = Mdp::try_from(&table).unwrap();
    let sum: f64 = mdp.outcomes(1, 0).iter().map(|t| t.probability).sum();
    close(sum, 1.0);
}

fn check(change: impl FnOnce(&mut MdpTable), expected: &str) {
    let mut table = table();
    change(&mut table);
    let error = Mdp::try_from(&table).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn mistakes_are_named() {
    check(
        |t| t.transitions[2].probability = 0.8,
        "state `there`, action `go`: the probabilities sum to 0.9",
    );
    check(
        |t| t.transitions[2].probability = -0.1,
        "state `there`, action `go`: the probability of `end` is -0.1",
    );
    check(|t| t.transitions[2].probability = f64::NAN, "the probability of `end` is NaN");
    check(
        |t| t.transitions[0].next = "ther".into(),
        "transitions, row 1: unknown state `ther`; the table has `here`, `there`, `end`",
    );
    check(|t| t.transitions[4].action = "rest".into(), "row 5: unknown action `rest`");
    check(|t| t.transitions[4].state = "x".into(), "row 5: unknown state `x`");
    check(|t| t.start = skinner_core::mdp::Start::State("x".into()), "start: unknown state `x`");
    check(|t| t.terminal.push("y".into()), "terminal: unknown state `y`");
    check(
        |t| t.transitions[3].next = "end".into(),
        "state `there`, action `go`: two rows lead to `end`",
    );
    check(|t| drop(t.transitions.pop()), "state `there`, action `stay`: there is no row");
    check(|t| t.transitions[0].reward = f64::INFINITY, "the reward to `there` is inf");
    check(|t| t.states.push("here".into()), "the state `here` is listed twice");
    check(|t| t.actions.clear(), "the table has no action");
    check(|t| t.start = skinner_core::mdp::Start::State("end".into()), "start: `end` is terminal");
    check(|t| t.terminal.push("there".into()), "state `there` is terminal, so its row");
    let half = |t: &mut MdpTable| {
        let starts = [("here".to_owned(), 0.5)].into_iter().collect();
        t.start = skinner_core::mdp::Start::Distribution(starts);
    };
    check(half, "start: the probabilities sum to 0.5");
    let unreachable = |t: &mut MdpTable| {
        t.transitions[1].next = "here".into();
        t.transitions[2].next = "there".into();
    };
    check(unreachable, "start: from `here` no terminal state can be reached");
    let text = r#"{"states": [], "actions": [], "start": "a", "transitions": [], "x": 1}"#;
    assert!(serde_json::from_str::<MdpTable>(text).unwrap_err().to_string().contains("`x`"));
}

#[test]
fn odd_tables_are_remarked_on() {
    let mut odd = table();
    odd.states.push("nowhere".into());
    for action in ["go", "stay"] {
        let mut row = odd.transitions[4].clone();
        (row.state, row.action, row.next) = ("nowhere".into(), action.into(), "nowhere".into());
        odd.transitions.push(row);
    }
    odd.transitions[0].next = "nowhere".into();
    let warnings = Mdp::try_from(&odd).unwrap().warnings();
    assert_eq!(
        warnings,
        ["no episode comes to `there`", "no episode ends any more once it is in `nowhere`"]
    );
    odd.terminal.clear();
    odd.transitions.iter_mut().for_each(|row| row.next = "nowhere".into());
    odd.transitions.remove(3);
    odd.transitions[2].probability = 1.0;
    for action in ["go", "stay"] {
        let mut row = odd.transitions[3].clone();
        (row.state, row.action) = ("end".into(), action.into());
        odd.transitions.push(row);
    }
    let warnings = Mdp::try_from(&odd).unwrap().warnings();
    assert!(warnings.iter().any(|w| w.contains("no episode ever ends")), "{warnings:?}");
}
