//! Tables: exact numbers beside learned ones, tables of a user's own, `solve`.

use std::path::Path;

use super::{error, last_json, run, stdout};

fn close(found: &serde_json::Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
}

fn lake<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let base =
        ["train", "q-learning-frozenlake", "--set", "total_steps=300_000", "--run-dir", "lake"];
    base.into_iter().chain(more.iter().copied()).collect()
}

#[test]
fn exact_returns_stand_beside_played_ones() {
    let dir = tempfile::tempdir().unwrap();
    let line = last_json(&run(dir.path(), &lake(&["--json"])));
    close(&line["optimal_return"], 0.740_165);
    close(&line["best_plan_return"], 0.744_190);
    let exact = line["exact_return"].as_f64().unwrap();
    assert!((0.1..=0.744_2).contains(&exact), "{exact}");
    assert!(line.get("episodes_to_optimal").is_some());
    // The table is drawn beside the optimal one, as an image that needs nothing from outside.
    let html = std::fs::read_to_string(dir.path().join("lake/report.html")).unwrap();
    assert!(html.contains("data:image/svg+xml,%3Csvg") && html.contains("Exact return"));
    let svg = dir.path().join("lake/pictures/values-and-greedy-actions.svg");
    let svg = std::fs::read_to_string(svg).unwrap();
    assert!(svg.contains(">learned<") && svg.contains(">optimal<"));
    // A finished run prints its map again.
    let text = stdout(&run(dir.path(), &lake(&["--resume"])));
    assert!(text.contains("learned") && text.contains("H → ↓ G"), "{text}");
    assert!(text.contains("exactly 0."), "{text}");
    let again = last_json(&run(dir.path(), &["eval", "lake", "--json"]));
    assert_eq!(again["eval_return_mean"], line["eval_return_mean"]);
}

#[test]
fn metrics_hold_the_exact_return_on_the_way() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &lake(&[]));
    let metrics = std::fs::read_to_string(dir.path().join("lake/metrics.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> =
        metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let exact = lines.iter().filter(|line| line["exact_return"].is_f64()).count();
    assert!(exact > 100, "{exact} of {}", lines.len());
    for key in ["td_error", "tried_fraction", "epsilon", "episode_return", "episodes"] {
        assert!(lines[lines.len() / 2].get(key).is_some(), "{key}: {}", lines[lines.len() / 2]);
    }
}

const TABLE: &str = r#"
states = ["home", "road", "work"]
actions = ["walk", "drive"]
start = "home"
terminal = ["work"]
transitions = [
    { state = "home", action = "walk", next = "road", reward = -3 },
    { state = "home", action = "drive", next = "road", probability = 0.9, reward = -1 },
    { state = "home", action = "drive", next = "home", probability = 0.1, reward = -1 },
    { state = "road", action = "walk", next = "work", reward = -2 },
    { state = "road", action = "drive", next = "work", probability = 0.5, reward = -1 },
    { state = "road", action = "drive", next = "home", probability = 0.5, reward = -1 },
]
"#;

fn with_table(dir: &Path, text: &str) -> [&'static str; 11] {
    std::fs::write(dir.join("way.toml"), text).unwrap();
    [
        "train",
        "q-learning-cliffwalking",
        "--json",
        "--set",
        "env=Table-v0",
        "--set",
        "env.table=way.toml",
        "--set",
        "learning_rate_decay=0.7",
        "--run-dir",
        "way",
    ]
}

/// At home it is best to drive, at 10 / 9 in the mean; on the road to walk, at 2.
#[test]
fn a_table_of_ones_own_is_learned_and_solved() {
    let dir = tempfile::tempdir().unwrap();
    let line = last_json(&run(dir.path(), &with_table(dir.path(), TABLE)));
    close(&line["optimal_return"], -2.0 - 10.0 / 9.0);
    close(&line["exact_return"], -2.0 - 10.0 / 9.0);
    // The resolved recipe holds the whole table: the file is not needed any more.
    std::fs::remove_file(dir.path().join("way.toml")).unwrap();
    run(dir.path(), &["eval", "way"]);
    let recipe = dir.path().join("way/recipe.toml");
    std::fs::copy(&recipe, dir.path().join("again.toml")).unwrap();
    let again = last_json(&run(dir.path(), &["train", "again.toml", "--json", "--run-dir", "2"]));
    assert_eq!(again["checkpoint_sha256"], line["checkpoint_sha256"]);

    std::fs::write(dir.path().join("way.toml"), TABLE).unwrap();
    let solved = last_json(&run(dir.path(), &["solve", "way.toml", "--json"]));
    close(&solved["value"], -2.0 - 10.0 / 9.0);
    assert_eq!(solved["states"][0]["action"], "drive");
    let text = stdout(&run(dir.path(), &["solve", "way.toml", "--gamma", "0.9"]));
    assert!(text.contains("road") && text.contains("walk"), "{text}");
}

#[test]
fn mistakes_in_a_table_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let says = |from: &str, to: &str, parts: &[&str]| {
        let line = error(dir.path(), &with_table(dir.path(), &TABLE.replacen(from, to, 1)));
        for part in parts {
            assert!(line.contains(part), "`{part}` is not in: {line}");
        }
    };
    says("0.9", "0.8", &["`home`", "`drive`", "sum to 0.9"]);
    says("0.9", "-0.9", &["`home`", "`drive`", "-0.9"]);
    says("next = \"road\"", "next = \"rode\"", &["row 1", "`rode`", "`road`"]);
    says("0.9", "many", &["way.toml"]);
    says("probability", "probabilty", &["probabilty", "probability"]);
    says("next = \"home\", probability = 0.1", "next = \"road\", probability = 0.1", &["two rows"]);
    assert!(error(dir.path(), &["solve", "none.toml"]).contains("none.toml"));
    assert!(error(dir.path(), &["solve", "CartPole-v1"]).contains("no table"));
    assert!(error(dir.path(), &["solve", "FrozenLake"]).contains("FrozenLake-v1"));
    assert!(error(dir.path(), &["solve", "Chain-v0", "--gamma", "2"]).contains("gamma = 2"));
}

#[test]
fn solve_prints_the_oracles() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["solve", "FrozenLake-v1", "--gamma", "0.99", "--json"];
    let line = last_json(&run(dir.path(), &args));
    close(&line["value"], 0.542_026);
    close(&line["optimal_return"], 0.740_165);
    close(&line["best_plan_return"], 0.744_190);
    assert!(line["bellman_residual"].as_f64().unwrap() < 1e-9);
    let text = stdout(&run(dir.path(), &["solve", "FrozenLake-v1"]));
    assert!(text.contains("← H ← H") && text.contains("0.823529"), "{text}");
    let set =
        ["solve", "FrozenLake-v1", "--set", "is_slippery=false", "--set", "max_episode_steps=6"];
    assert!(stdout(&run(dir.path(), &set)).contains("return within 6 steps 1.000000"));
}

#[test]
fn what_does_not_go_with_a_table_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let says = |set: &str, parts: &[&str]| {
        let line = error(dir.path(), &["train", "q-learning-frozenlake", "--set", set]);
        for part in parts {
            assert!(line.contains(part), "`{part}` is not in: {line}");
        }
    };
    says("wrappers.frame_stack=2", &["wrappers", "q_learning"]);
    says("env=CartPole-v1", &["Box(4"]);
    says("exploration.kind=thompson", &["bandits"]);
    says("exploration.kind=epsilon", &["exploration.kind", "epsilon_greedy"]);
    says("exploration.epsilon_ende=1", &["epsilon_ende", "epsilon_end"]);
    says("num_envs=2", &["num_envs"]);
    says("learning_rate=2", &["learning_rate = 2", "at most 1"]);
}

#[test]
fn explorations_are_compared_by_one_key() {
    let dir = tempfile::tempdir().unwrap();
    for kind in ["epsilon_greedy", "boltzmann", "ucb", "thompson"] {
        let set = format!("exploration.kind={kind}");
        let args = [
            "train",
            "q-learning-frozenlake",
            "--json",
            "--set",
            "env=BernoulliBandit-v0",
            "--set",
            "total_steps=20_000",
            "--set",
            "learning_rate_decay=1",
            "--set",
            &set,
            "--run-dir",
            kind,
        ];
        let line = last_json(&run(dir.path(), &args));
        close(&line["exact_return"], 0.9);
    }
}
