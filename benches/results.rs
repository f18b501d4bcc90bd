//! Trains every recipe on twenty seeds and writes `docs/results.md`.
//!
//! `cargo bench --bench results` (half an hour on two cores). Names of recipes may be given after `--`.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::Value;
use skinner_core::{Rng, statistics};

/// A recipe, what is asked of it and on how many of ten seeds, and what RL Baselines3 Zoo and `CleanRL` publish.
type Row = (&'static str, Option<(f64, usize)>, &'static str, &'static str);

const ROWS: [Row; 31] = [
    ("ppo-cartpole", Some((475.0, 10)), "500.0", "492.4 ± 13.1"),
    ("a2c-cartpole", Some((475.0, 10)), "500.0", "–"),
    ("reinforce-cartpole", Some((475.0, 9)), "–", "–"),
    ("reinforce-plain-cartpole", None, "–", "–"),
    ("dqn-cartpole", Some((475.0, 10)), "500.0", "488.7 ± 16.1"),
    ("dqn-cartpole-zoo", None, "500.0", "488.7 ± 16.1"),
    ("rainbow-cartpole", Some((475.0, 10)), "–", "498.5 ± 1.8 (C51)"),
    ("sac-cartpole", Some((475.0, 10)), "–", "–"),
    ("ppo-acrobot", Some((-90.0, 10)), "-73.5", "-89.9 ± 6.3"),
    ("a2c-acrobot", None, "-83.4", "–"),
    ("reinforce-acrobot", None, "–", "–"),
    ("dqn-acrobot", None, "-76.6", "-91.5 ± 7.2"),
    ("ppo-mountaincar", None, "-110.4", "-200.0"),
    ("dqn-mountaincar", None, "-100.8", "-195.0 ± 8.5"),
    ("ppo-mountaincar-continuous", Some((88.0, 8)), "88.3", "–"),
    ("ppo-pendulum", Some((-180.0, 10)), "-172.2", "–"),
    ("sac-pendulum", None, "-157.0", "–"),
    ("td3-pendulum", None, "-151.9", "–"),
    ("ddpg-pendulum", None, "-152.1", "–"),
    ("dqn-lunarlander", Some((200.0, 9)), "154.4", "–"),
    ("ppo-lunarlander", Some((200.0, 10)), "242.1", "–"),
    ("reinforce-lunarlander", None, "–", "–"),
    ("sac-lunarlander-continuous", Some((200.0, 10)), "260.4", "–"),
    ("ppo-frozenlake", None, "–", "–"),
    ("q-learning-frozenlake", Some((0.735, 10)), "–", "–"),
    ("q-learning-frozenlake8x8", Some((0.87, 10)), "–", "–"),
    ("q-learning-cliffwalking", Some((-13.0, 10)), "–", "–"),
    ("q-learning-taxi", Some((7.8, 10)), "–", "–"),
    ("double-q-learning-frozenlake", Some((0.735, 9)), "–", "–"),
    ("sarsa-cliffwalking", Some((-17.0, 10)), "–", "–"),
    ("monte-carlo-blackjack", Some((-0.05, 10)), "–", "–"),
];

const HEAD: &str = "# Results\n\n\
Each recipe as it is embedded in the binary, seeds 0 to 9 and 10 to 19. The return is the mean of 100 \
episodes of the **final** greedy policy; the best checkpoint is never quoted. Of tables it is that policy's exact mean \
return under the step limit (`exact_return`), which no luck of episodes changes. IQM is the interquartile mean \
over seeds with its 95 % bootstrap interval. `reached` counts the seeds at or above the threshold.\n\n\
The last columns are what others publish for the same algorithm and environment. RL Baselines3 Zoo (its `benchmark.md`) plays \
one trained agent, which may be the best of several; its LunarLander is v2. CleanRL (its documentation) gives the mean \
episode return at the end of training over three seeds, after 500,000 steps. LunarLander here is on another physics \
engine ([what differs](environments.md)).\n\n\
Regenerate with `cargo bench --bench results`.\n\n\
| recipe | env steps (first seed) | seeds | mean | IQM (95 %) | worst | threshold | reached | rl-zoo | CleanRL |\n\
|---|---|---|---|---|---|---|---|---|---|\n";

#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let mut page = HEAD.to_owned();
    for row_of in ROWS {
        let (recipe, ..) = row_of;
        if !wanted.is_empty() && !wanted.iter().any(|name| name == recipe) {
            continue;
        }
        for first in [0, 10] {
            let row = row(row_of, first);
            println!("{}", row.trim_end());
            page += &row;
        }
    }
    if wanted.is_empty() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/results.md"), page).unwrap();
    }
}

/// The exact return of a table's policy, else the mean of the episodes played.
fn final_return(run: &Value) -> f64 {
    let exact = run.get("exact_return").unwrap_or(&run["eval_return_mean"]);
    exact.as_f64().unwrap()
}

fn row((recipe, asked, zoo, clean_rl): Row, first: u64) -> String {
    let dir = std::env::temp_dir()
        .join(format!("skinner-results-{}-{recipe}-{first}", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_skinner"))
        .args([
            "train",
            recipe,
            "--json",
            "--seeds",
            "10",
            "--seed",
            &first.to_string(),
            "--run-dir",
        ])
        .arg(&dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_dir_all(&dir).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let runs = line["runs"].as_array().unwrap();
    let returns: Vec<f64> = runs.iter().map(final_return).collect();
    let (low, high) =
        statistics::bootstrap_interval(&[&returns], statistics::iqm, 0.95, 2000, &mut Rng::new(0));
    let worst = returns.iter().copied().fold(f64::INFINITY, f64::min);
    let (threshold, reached) =
        asked.map_or(("–".to_owned(), "–".to_owned()), |(threshold, needed)| {
            let reached = returns.iter().filter(|&&r| r >= threshold).count();
            (format!("{threshold} on {needed}/10"), format!("{reached}/10"))
        });
    let mut row = String::new();
    let d = if runs[0].get("exact_return").is_some() { 4 } else { 2 };
    writeln!(
        row,
        "| `{recipe}` | {} | {first}–{} | {:.d$} | {:.d$} ({low:.d$} to {high:.d$}) | {worst:.d$} | {threshold} | {reached} | {zoo} | {clean_rl} |",
        runs[0]["env_steps"],
        first + 9,
        statistics::mean(&returns),
        statistics::iqm(&returns),
    )
    .unwrap();
    row
}
