//! `skinner verify`: a verifier as a filter.

use std::io::BufRead as _;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use skinner_run::recipe;
use skinner_tasks::{GradedSample, RewardConfig, Rewards, Task, Trace};
use toml::Table;

use crate::out;

/// Items graded together: programs run side by side.
const TOGETHER: usize = 64;

/// Options of `skinner verify`.
#[derive(clap::Args)]
pub(crate) struct VerifyArgs {
    /// Which verifier: `math`, `text`, `tool_calls`, `code`, `countdown`, `sudoku`, `maze` or `external`
    #[arg(long, value_name = "NAME")]
    reward: String,
    /// Change a key of the verifier; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

/// A line of stdin.
#[derive(Deserialize)]
struct Item {
    completion: String,
    #[serde(flatten)]
    task: Value,
}

fn item(line: &str) -> anyhow::Result<(Task, Trace)> {
    let Item { completion, mut task } =
        serde_json::from_str(line).context("it must be a JSON object with a text `completion`")?;
    if let Some(fields) = task.as_object_mut() {
        fields.entry("prompt").or_insert(Value::Null);
    }
    let task = serde_json::from_value(task)?;
    Ok((task, Trace { completion, ..Trace::default() }))
}

/// A verifier by its name, with some of its keys.
pub(crate) fn reward(name: &str, sets: &[String]) -> anyhow::Result<RewardConfig> {
    let mut table = Table::new();
    for set in sets {
        recipe::apply_set(&mut table, set)?;
    }
    table.insert("verifier".into(), name.into());
    table.try_into().with_context(|| format!("verifier {name}"))
}

/// Grades every line of stdin.
pub(crate) fn verify(args: &VerifyArgs) -> anyhow::Result<()> {
    let rewards = Rewards::new(&[reward(&args.reward, &args.sets)?])?;
    let mut items = Vec::with_capacity(TOGETHER);
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line.context("cannot read stdin")?;
        if line.trim().is_empty() {
            continue;
        }
        items.push(item(&line).with_context(|| format!("stdin, line {}", number + 1))?);
        if items.len() == TOGETHER {
            grade(&rewards, &mut items)?;
        }
    }
    grade(&rewards, &mut items)
}

/// Grades some items and lets go of them.
fn grade(rewards: &Rewards, items: &mut Vec<(Task, Trace)>) -> anyhow::Result<()> {
    let samples: Vec<_> = items.iter().map(|(task, trace)| (task, trace)).collect();
    for GradedSample { parts, .. } in rewards.grade(&samples) {
        let Some(part) = parts.into_iter().next() else { bail!("no verifier graded the item") };
        let line = match part {
            Ok(reward) => serde_json::to_value(reward)?,
            Err(failed) => json!({ "failed": failed.to_string() }),
        };
        out(&line.to_string())?;
    }
    items.clear();
    Ok(())
}
