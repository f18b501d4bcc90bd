//! `skinner audit`: what is wrong with a set of tasks, before anything is trained on it.

use std::io::BufRead as _;

use anyhow::{Context as _, bail};
use serde_json::Value;
use skinner_core::SeedSequence;
use skinner_lm::train;
use skinner_lm::train::grpo::TaskSource;
use skinner_tasks::audit::{Config, audit as look_at};
use skinner_tasks::{RewardConfig, Rewards, Task};

use crate::lm_train::hint_at_data;
use crate::recipe::AnyRecipe;
use crate::{out, verify};

/// Options of `skinner audit`.
#[derive(clap::Args)]
pub(crate) struct AuditArgs {
    /// A recipe with tasks: its name (see `skinner list recipes`) or the path of a TOML file. Without it, `--reward`
    /// grades tasks of standard input, one JSON object a line
    #[arg(required_unless_present = "reward")]
    recipe: Option<String>,
    /// Grade with this verifier instead of the recipe's
    #[arg(long, value_name = "NAME")]
    reward: Option<String>,
    /// A second verifier: where do the two disagree?
    #[arg(long, value_name = "NAME")]
    against: Option<String>,
    /// Change a key of the recipe; without one, of the verifier `--reward`; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Change a key of the verifier `--against`; may be given several times
    #[arg(long, value_name = "KEY=VALUE", requires = "against")]
    against_set: Vec<String>,
    /// Tasks to look at, at most
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    items: u64,
    /// Tasks shown of each finding
    #[arg(long, value_name = "N", default_value_t = 3)]
    examples: usize,
    /// Seed of the tasks that a generator makes [default: the recipe's]
    #[arg(long)]
    seed: Option<u64>,
    /// Print one JSON object instead
    #[arg(long)]
    json: bool,
}

/// Looks at tasks and says what was found.
pub(crate) fn audit(args: &AuditArgs) -> anyhow::Result<()> {
    let (tasks, rewards) = match &args.recipe {
        Some(recipe) => of_recipe(args, recipe)?,
        None => (of_stdin(args.items as usize)?, None),
    };
    let given = |name: Option<&str>, sets: &[String]| {
        name.map(|name| verify::reward(name, sets)).transpose()
    };
    let own_sets = if args.recipe.is_some() { &[][..] } else { &args.sets };
    let Some(rewards) =
        given(args.reward.as_deref(), own_sets)?.map(|reward| vec![reward]).or(rewards)
    else {
        bail!("there is no verifier: name one by --reward");
    };
    let rewards = Rewards::new(&rewards)?;
    let against = given(args.against.as_deref(), &args.against_set)?
        .map(|reward| Rewards::new(&[reward]))
        .transpose()?;
    let config = Config { examples: args.examples, ..Config::default() };
    let found = look_at(&tasks, &rewards, against.as_ref(), &config);
    if args.json {
        return out(&serde_json::to_string(&found)?);
    }
    out(&format!("{} tasks, graded by {}\n", tasks.len(), rewards.labels().join(", ")))?;
    out(found.to_string().trim_end())
}

/// The recipe's tasks to train on, and who grades them.
fn of_recipe(
    args: &AuditArgs,
    recipe: &str,
) -> anyhow::Result<(Vec<Task>, Option<Vec<RewardConfig>>)> {
    let AnyRecipe::Language(recipe) = AnyRecipe::load(recipe, &args.sets, args.seed)? else {
        bail!("{recipe} has no tasks: its algorithm trains in an environment");
    };
    let train::Task::Grpo(grpo) = &recipe.task else {
        let algorithm = recipe.run.algorithm.as_str();
        bail!("{} has no tasks that are graded: its algorithm is `{algorithm}`", recipe.name);
    };
    let root = SeedSequence::new(recipe.run.seed);
    let tasks =
        grpo.task.examples(&root, args.items as usize).map_err(|error| match &grpo.task {
            TaskSource::DataSet(config) => {
                hint_at_data(error, "task.path", &config.path.to_string_lossy())
            }
            TaskSource::Generator(_) => error.into(),
        })?;
    Ok((tasks, Some(grpo.reward.clone())))
}

/// Tasks as `{prompt, answer, ...}`, one a line.
fn of_stdin(items: usize) -> anyhow::Result<Vec<Task>> {
    let mut tasks = Vec::new();
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line.context("cannot read stdin")?;
        if line.trim().is_empty() {
            continue;
        }
        if tasks.len() == items {
            break;
        }
        tasks.push(task(&line).with_context(|| format!("stdin, line {}", number + 1))?);
    }
    if tasks.is_empty() {
        bail!(
            "stdin has no task: write one JSON object a line, as {{\"prompt\": \"2+2=\", \"answer\": \"4\"}}"
        );
    }
    Ok(tasks)
}

fn task(line: &str) -> anyhow::Result<Task> {
    let mut row: Value = serde_json::from_str(line)
        .context("it must be a JSON object such as {\"prompt\": \"2+2=\", \"answer\": \"4\"}")?;
    if let Some(answer) = row.get_mut("answer").filter(|answer| answer.is_number()) {
        *answer = answer.to_string().into();
    }
    serde_json::from_value(row)
        .context("it must have a `prompt`, and a text or number as its `answer`")
}
