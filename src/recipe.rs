//! A recipe: one TOML file that says everything about a run but where its files go.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use skinner_algos::{AlgorithmConfig, AlgorithmName, a2c, dqn, ppo, reinforce, sac, tabular, td3};
use skinner_core::running::RunningMoments;
use skinner_core::wrappers::{ClipAction, FrameStack, Normalize, NormalizeConfig, RescaleAction};
use skinner_core::{SeedSequence, Space, VecEnv};
use skinner_envs::catalog::{self, EnvConfig};
use skinner_run::recipe::{apply_set, decode, nearest, parse};
use toml::{Table, Value};

#[cfg(feature = "lm")]
use crate::lm_recipe::LmRecipe;

/// A recipe in the binary.
pub(crate) struct Embedded {
    pub name: &'static str,
    pub text: &'static str,
}

macro_rules! embedded {
    ($($(#[$when:meta])? $name:literal),* $(,)?) => {
        /// All recipes in the binary.
        pub(crate) const EMBEDDED: &[Embedded] = &[
            $($(#[$when])? Embedded {
                name: $name,
                text: include_str!(concat!("../recipes/", $name, ".toml")),
            }),*
        ];
    };
}

embedded![
    "a2c-acrobot",
    "a2c-cartpole",
    "ddpg-pendulum",
    "double-q-learning-frozenlake",
    #[cfg(feature = "lm")]
    "dpo-smollm2-hh",
    #[cfg(feature = "lm")]
    "dpo-smollm2-hh-tiny",
    "dqn-acrobot",
    "dqn-cartpole",
    "dqn-cartpole-ablations",
    "dqn-cartpole-zoo",
    "dqn-lunarlander",
    "dqn-mountaincar",
    #[cfg(feature = "lm")]
    "grpo-arithmetic",
    #[cfg(feature = "lm")]
    "grpo-countdown-tiny",
    #[cfg(feature = "lm")]
    "grpo-smollm2-arithmetic",
    #[cfg(feature = "lm")]
    "grpo-smollm2-gsm8k",
    "monte-carlo-blackjack",
    "ppo-acrobot",
    "ppo-cartpole",
    "ppo-frozenlake",
    "ppo-lunarlander",
    "ppo-mountaincar",
    "ppo-mountaincar-continuous",
    "ppo-pendulum",
    #[cfg(feature = "lm")]
    "pretrain-shakespeare",
    #[cfg(feature = "lm")]
    "pretrain-shakespeare-tiny",
    "q-learning-cliffwalking",
    "q-learning-exploration",
    "q-learning-frozenlake",
    "q-learning-frozenlake8x8",
    "q-learning-taxi",
    "reinforce-acrobot",
    "reinforce-cartpole",
    "reinforce-lunarlander",
    "reinforce-plain-cartpole",
    "rainbow-cartpole",
    #[cfg(feature = "lm")]
    "rlvr-code-tiny",
    "sac-cartpole",
    "sac-lunarlander-continuous",
    "sac-pendulum",
    "sac-pendulum-zoo",
    "sarsa-cliffwalking",
    #[cfg(feature = "lm")]
    "sft-smollm2-arithmetic",
    #[cfg(feature = "lm")]
    "sft-smollm2-gsm8k",
    #[cfg(feature = "lm")]
    "sft-smollm2-gsm8k-tiny",
    "tabular-cliffwalking",
    "td3-pendulum",
];

/// What a recipe says, with every default filled in.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// File name without its ending, or the embedded name.
    pub name: String,
    pub run: RunConfig,
    pub env: EnvConfig,
    pub algorithm: AlgorithmConfig,
}

/// The keys that do not belong to the algorithm.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunConfig {
    /// One sentence.
    #[serde(default)]
    pub description: String,
    /// Which algorithm.
    pub algorithm: AlgorithmName,
    /// Seed of everything random.
    #[serde(default)]
    pub seed: u64,
    /// Environment steps between lines of metrics; 0 for a five-hundredth of `total_steps`.
    #[serde(default)]
    pub log_every: u64,
    /// Transformations between environment and agent.
    #[serde(default)]
    pub wrappers: Wrappers,
    /// Evaluation.
    #[serde(default)]
    pub eval: EvalConfig,
}

const RUN_KEYS: [&str; 6] = ["description", "algorithm", "seed", "log_every", "wrappers", "eval"];

/// Transformations between environment and agent.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Wrappers {
    /// Observations shown at once.
    pub frame_stack: usize,
    /// Normalise observations by running statistics (frozen in evaluation).
    pub normalize_obs: bool,
    /// Divide rewards by the running deviation of the discounted return (training only).
    pub normalize_reward: bool,
    /// Show the agent actions in [-1, 1].
    pub rescale_action: bool,
}

impl Default for Wrappers {
    fn default() -> Self {
        Self {
            frame_stack: 1,
            normalize_obs: false,
            normalize_reward: false,
            rescale_action: false,
        }
    }
}

/// How a policy is evaluated: greedily, on environments with seeds of their own.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EvalConfig {
    /// Episodes of the final evaluation.
    pub episodes: usize,
    /// Environment steps between evaluations on the way; 0 for a twentieth of `total_steps`.
    pub every: u64,
    /// Episodes of each of those.
    pub episodes_on_the_way: usize,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self { episodes: 100, every: 0, episodes_on_the_way: 10 }
    }
}

/// A recipe of either kind.
pub(crate) enum AnyRecipe {
    /// An agent in an environment.
    Control(Box<Recipe>),
    /// Agents that differ in a few keys.
    Variants(Box<Variants>),
    /// A language model.
    #[cfg(feature = "lm")]
    Language(Box<LmRecipe>),
}

/// A recipe with a table `variants`: what differs in each, by name.
pub(crate) struct Variants {
    /// What they have in common.
    pub base: Recipe,
    /// The table itself.
    overrides: Table,
    /// Each as a recipe of its own.
    pub each: Vec<(String, Recipe)>,
}

impl AnyRecipe {
    /// Reads a recipe by name or path, with `--set` and `--seed` on top.
    pub fn load(name_or_path: &str, sets: &[String], seed: Option<u64>) -> anyhow::Result<Self> {
        let (name, text, mut origin) = find(name_or_path)?;
        let mut table = parse(&text, &origin)?;
        if !sets.is_empty() {
            origin += " with --set";
        }
        let overrides = table.remove("variants");
        let finished = |mut table: Table| -> anyhow::Result<Table> {
            apply_sets(&mut table, sets)?;
            set_seed(&mut table, seed)?;
            Ok(table)
        };
        let overrides = match overrides {
            None => return Self::from_table(name, finished(table)?, &origin),
            Some(Value::Table(overrides)) if !overrides.is_empty() => overrides,
            Some(_) => bail!("{origin}: `variants` {VARIANTS_SHAPE}"),
        };
        let each = variants(&table, &overrides, &origin)?;
        let each = each.into_iter().map(|(variant, table)| {
            let origin = format!("{origin}, variant {variant}");
            let recipe = Recipe::from_table(name.clone(), finished(table)?, &origin)?;
            Ok((variant, recipe))
        });
        Ok(Self::Variants(Box::new(Variants {
            each: each.collect::<anyhow::Result<_>>()?,
            base: Recipe::from_table(name, finished(table)?, &origin)?,
            overrides,
        })))
    }

    /// A resolved recipe as a run directory holds it.
    pub fn from_table(name: String, table: Table, origin: &str) -> anyhow::Result<Self> {
        #[cfg(feature = "lm")]
        if crate::lm_recipe::is_language(&table) {
            return Ok(Self::Language(Box::new(LmRecipe::from_table(name, table, origin)?)));
        }
        Ok(Self::Control(Box::new(Recipe::from_table(name, table, origin)?)))
    }

    /// One sentence.
    pub fn description(&self) -> &str {
        match self {
            Self::Control(recipe) => &recipe.run.description,
            Self::Variants(variants) => &variants.base.run.description,
            #[cfg(feature = "lm")]
            Self::Language(recipe) => &recipe.run.description,
        }
    }

    /// The recipe with every default, as TOML.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        match self {
            Self::Control(recipe) => recipe.to_toml(),
            Self::Variants(variants) => {
                let overrides = BTreeMap::from([("variants", &variants.overrides)]);
                Ok(format!("{}\n{}", variants.base.to_toml()?, toml::to_string(&overrides)?))
            }
            #[cfg(feature = "lm")]
            Self::Language(recipe) => recipe.to_toml(),
        }
    }
}

impl Recipe {
    /// A resolved recipe as a run directory holds it.
    pub fn from_table(name: String, mut table: Table, origin: &str) -> anyhow::Result<Self> {
        let env = decode_env(&mut table, origin)?;
        let mut run_table = Table::new();
        for key in RUN_KEYS {
            if let Some(value) = table.remove(key) {
                run_table.insert(key.into(), value);
            }
        }
        if !run_table.contains_key("algorithm") {
            bail!("{origin}: the key `algorithm` is missing; it is one of {}", algorithm_names());
        }
        let run: RunConfig = decode(run_table, &[], origin)?;
        let mut also: Vec<&str> = RUN_KEYS.to_vec();
        also.push("env");
        let algorithm = match run.algorithm {
            AlgorithmName::Reinforce => {
                AlgorithmConfig::Reinforce(decode::<reinforce::Config>(table, &also, origin)?)
            }
            AlgorithmName::A2c => {
                AlgorithmConfig::A2c(decode::<a2c::Config>(table, &also, origin)?)
            }
            AlgorithmName::Ppo => {
                AlgorithmConfig::Ppo(decode::<ppo::Config>(table, &also, origin)?)
            }
            AlgorithmName::Dqn => {
                AlgorithmConfig::Dqn(decode::<dqn::Config>(table, &also, origin)?)
            }
            AlgorithmName::Sac => {
                AlgorithmConfig::Sac(decode::<sac::Config>(table, &also, origin)?)
            }
            AlgorithmName::Td3 => {
                AlgorithmConfig::Td3(decode::<td3::Config>(table, &also, origin)?)
            }
            AlgorithmName::Ddpg => {
                // The same keys with other defaults.
                let mut all = Table::try_from(td3::Config::ddpg())?;
                all.extend(table);
                let config = decode::<td3::Config>(all, &also, origin)?;
                AlgorithmConfig::Td3(td3::Config { method: td3::Method::Ddpg, ..config })
            }
            AlgorithmName::QLearning
            | AlgorithmName::DoubleQLearning
            | AlgorithmName::Sarsa
            | AlgorithmName::ExpectedSarsa
            | AlgorithmName::MonteCarlo => {
                let method = run.algorithm.tabular_method().unwrap_or_default();
                let config = decode::<tabular::Config>(table, &also, origin)?;
                AlgorithmConfig::Tabular(tabular::Config { method, ..config })
            }
        };
        let recipe = Self { name, run, env, algorithm };
        recipe.validate().with_context(|| origin.to_owned())?;
        Ok(recipe)
    }

    fn validate(&self) -> anyhow::Result<()> {
        self.algorithm.validate()?;
        let wrappers = &self.run.wrappers;
        if self.run.algorithm.tabular_method().is_some() && *wrappers != Wrappers::default() {
            bail!(
                "wrappers do not go with {}: a table is learned from the environment's own observations and rewards",
                self.run.algorithm.as_str()
            );
        }
        if !(1..=1024).contains(&wrappers.frame_stack) {
            let depth = wrappers.frame_stack;
            bail!(
                "wrappers.frame_stack = {depth} is out of range: must be at least 1 and at most 1024"
            );
        }
        if !self.env.always_ends() {
            bail!(
                "{} has no time limit, and a greedy policy may walk for ever: set env.max_episode_steps, for example to 1000",
                self.env.id()
            );
        }
        let (last, on_the_way) = (self.run.eval.episodes, self.run.eval.episodes_on_the_way);
        for (key, episodes) in [("episodes", last), ("episodes_on_the_way", on_the_way)] {
            if !(1..=1_000_000).contains(&episodes) {
                bail!(
                    "eval.{key} = {episodes} is out of range: must be at least 1 and at most 1000000"
                );
            }
        }
        Ok(())
    }

    /// The recipe with every default, as TOML.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        let mut table = Table::try_from(&self.run)?;
        table.extend(Table::try_from(&self.algorithm)?);
        table.insert("env".into(), Value::try_from(&self.env)?);
        // Scalars come before tables, or TOML would read them as part of the last table.
        let (tables, mut scalars): (Table, Table) =
            table.into_iter().partition(|(_, v)| v.is_table());
        scalars.extend(tables);
        Ok(toml::to_string(&scalars)?)
    }

    /// The training environments.
    pub fn training_envs(
        &self,
        seed: &SeedSequence,
        threads: usize,
    ) -> anyhow::Result<Box<dyn VecEnv>> {
        let envs = catalog::make(&self.env, self.algorithm.num_envs(), seed, threads)?;
        let envs = self.wrap(envs)?;
        let wrappers = &self.run.wrappers;
        if !wrappers.normalize_obs && !wrappers.normalize_reward {
            return Ok(envs);
        }
        let config = NormalizeConfig {
            obs: wrappers.normalize_obs,
            reward: wrappers.normalize_reward,
            gamma: self.algorithm.gamma(),
        };
        Ok(Box::new(Normalize::new(envs, config)))
    }

    /// Environments to evaluate in, with the statistics of the training ones.
    pub fn eval_envs(
        &self,
        num_envs: usize,
        seed: &SeedSequence,
        moments: Option<&RunningMoments>,
    ) -> anyhow::Result<Box<dyn VecEnv>> {
        let envs = self.wrap(catalog::make(&self.env, num_envs, seed, 1)?)?;
        Ok(match moments {
            Some(moments) => Box::new(Normalize::frozen(envs, moments.clone())?),
            None => envs,
        })
    }

    fn wrap(&self, mut envs: Box<dyn VecEnv>) -> anyhow::Result<Box<dyn VecEnv>> {
        let wrappers = &self.run.wrappers;
        if matches!(envs.action_space(), Space::Box { .. }) {
            // A squashed policy acts in (-1, 1); any other one may leave the bounds.
            envs = if wrappers.rescale_action || self.algorithm.acts_in_unit_box() {
                Box::new(RescaleAction::new(envs)?)
            } else {
                Box::new(ClipAction::new(envs)?)
            };
        } else if wrappers.rescale_action {
            envs = Box::new(RescaleAction::new(envs)?);
        }
        if wrappers.frame_stack > 1 {
            envs = Box::new(FrameStack::new(envs, wrappers.frame_stack)?);
        }
        Ok(envs)
    }

    /// Environment steps between lines of metrics.
    pub fn log_every(&self) -> u64 {
        default_if_zero(self.run.log_every, self.algorithm.total_steps() / 500)
    }

    /// Environment steps between evaluations on the way.
    pub fn eval_every(&self) -> u64 {
        default_if_zero(self.run.eval.every, self.algorithm.total_steps() / 20)
    }
}

/// `--set`, in order.
fn apply_sets(table: &mut Table, sets: &[String]) -> anyhow::Result<()> {
    if table.contains_key("env") {
        expand_env(table);
    }
    for assignment in sets {
        match assignment.split_once('=') {
            // Another environment has options of its own, so it replaces the whole table.
            Some((key, id)) if key.trim() == "env" => {
                table.insert("env".into(), Value::String(id.trim().trim_matches('"').into()));
                expand_env(table);
            }
            // So does another model.
            Some((key, spec)) if key.trim() == "model" => {
                let spec = spec.trim().trim_matches('"');
                table.insert("model".into(), Value::String(spec.into()));
            }
            _ => apply_set(table, assignment)?,
        }
    }
    Ok(())
}

/// `--seed`.
fn set_seed(table: &mut Table, seed: Option<u64>) -> anyhow::Result<()> {
    if let Some(seed) = seed {
        let Ok(seed) = i64::try_from(seed) else {
            bail!("--seed {seed} is too large: it must be below 2^63")
        };
        table.insert("seed".into(), Value::Integer(seed));
    }
    Ok(())
}

const VARIANTS_SHAPE: &str = "must be a table of tables: [variants.NAME] with the keys that differ";

/// The tables of all variants: what they have in common with what is their own on top.
fn variants(base: &Table, overrides: &Table, origin: &str) -> anyhow::Result<Vec<(String, Table)>> {
    #[cfg(feature = "lm")]
    if crate::lm_recipe::is_language(base) {
        bail!("{origin}: `variants` are for agents in environments, not for language models");
    }
    let mut base = base.clone();
    expand_env(&mut base);
    overrides
        .iter()
        .map(|(name, own)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if name.is_empty() || !name.chars().all(plain) {
                bail!(
                    "{origin}: the variant `{name}` must be named by letters, digits, `-` and `_`: it names a directory"
                );
            }
            let Some(own) = own.as_table() else {
                bail!("{origin}: `variants.{name}` {VARIANTS_SHAPE}")
            };
            let (mut table, mut own) = (base.clone(), own.clone());
            if own.contains_key("env") {
                // Another environment has options of its own.
                table.remove("env");
            }
            expand_env(&mut own);
            merge(&mut table, own);
            Ok((name.clone(), table))
        })
        .collect()
}

/// Puts `own` on top of `table`, key by key.
fn merge(table: &mut Table, own: Table) {
    for (key, value) in own {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

fn default_if_zero(value: u64, default: u64) -> u64 {
    if value > 0 { value } else { default.max(1) }
}

fn find(name_or_path: &str) -> anyhow::Result<(String, String, String)> {
    if let Some(found) = EMBEDDED.iter().find(|recipe| recipe.name == name_or_path) {
        let origin = format!("recipe {}", found.name);
        return Ok((found.name.into(), found.text.into(), origin));
    }
    let path = Path::new(name_or_path);
    let looks_like_path =
        path.extension().is_some_and(|e| e == "toml") || path.components().count() > 1;
    if looks_like_path || path.is_file() {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the recipe {}", path.display()))?;
        let name = path.file_stem().map_or("recipe".into(), |s| s.to_string_lossy().into_owned());
        return Ok((name, text, path.display().to_string()));
    }
    let names: Vec<&str> = EMBEDDED.iter().map(|recipe| recipe.name).collect();
    let hint = nearest(name_or_path, &names)
        .map_or(String::new(), |name| format!("did you mean `{name}`? "));
    bail!(
        "unknown recipe `{name_or_path}`; {hint}`skinner list recipes` shows all, and a file's name ends in .toml"
    )
}

/// The table `env` alone, so that errors name its keys by their whole path.
#[derive(Deserialize)]
struct Nested {
    env: EnvConfig,
}

/// `env = "CartPole-v1"` is short for `env.id`.
pub(crate) fn expand_env(table: &mut Table) {
    if let Some(Value::String(id)) = table.get("env") {
        let env = Table::from_iter([("id".to_owned(), Value::String(id.clone()))]);
        table.insert("env".into(), Value::Table(env));
    }
}

pub(crate) fn decode_env(table: &mut Table, origin: &str) -> anyhow::Result<EnvConfig> {
    expand_env(table);
    let mut env = match table.remove("env") {
        Some(Value::Table(env)) => env,
        Some(other) => bail!("{origin}: `env` must be an id or a table with `id`, not {other}"),
        None => bail!("{origin}: the key `env.id` is missing; `skinner list envs` shows all"),
    };
    match env.get("id") {
        Some(Value::String(id)) => {
            EnvConfig::from_id(id).with_context(|| format!("{origin}, `env.id`"))?;
        }
        Some(other) => bail!("{origin}: `env.id` must be a string, not {other}"),
        None => bail!("{origin}: the key `env.id` is missing; `skinner list envs` shows all"),
    }
    if let Some(Value::String(path)) = env.get("table") {
        let table =
            read_table(Path::new(path)).with_context(|| format!("{origin}, `env.table`"))?;
        env.insert("table".into(), table);
    }
    let id = env.remove("id");
    let ordered: Table = id.map(|id| ("id".to_owned(), id)).into_iter().chain(env).collect();
    let nested = Table::from_iter([("env".to_owned(), Value::Table(ordered))]);
    Ok(decode::<Nested>(nested, &[], origin)?.env)
}

/// The table of a process in a TOML or JSON file, so that the resolved recipe holds all of it.
pub(crate) fn read_table(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the table {}", path.display()))?;
    if path.extension().is_some_and(|extension| extension == "json") {
        return serde_json::from_str(&text)
            .with_context(|| format!("{} is not JSON as it should be", path.display()));
    }
    Ok(Value::Table(parse(&text, &path.display().to_string())?))
}

fn algorithm_names() -> String {
    let names = AlgorithmName::ALL.iter().map(|name| name.as_str());
    #[cfg(feature = "lm")]
    let names = names.chain(crate::lm_recipe::LmAlgorithm::ALL.iter().map(|name| name.as_str()));
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
