//! A recipe that trains a language model.

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use skinner_core::objective::preference::PreferenceConfig;
use skinner_core::objective::unpaired::KtoConfig;
use skinner_lm::RopeScaling;
use skinner_lm::data::DataConfig;
use skinner_lm::decoder::LoraConfig;
use skinner_lm::template::Date;
use skinner_lm::train::grpo::{EvalTask, GrpoConfig, GrpoTask, MonitorConfig, TaskSource};
use skinner_lm::train::likelihood::SftConfig;
use skinner_lm::train::{ModelShape, ModelSource, Task, TrainConfig};
use skinner_run::recipe::decode;
use skinner_tasks::generate::Generator;
use skinner_tasks::{RewardConfig, curriculum, data_set};
use toml::{Table, Value};

/// What a language model is trained for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LmAlgorithm {
    Pretrain,
    Sft,
    Dpo,
    Kto,
    Grpo,
}

impl LmAlgorithm {
    pub const ALL: [Self; 5] = [Self::Pretrain, Self::Sft, Self::Dpo, Self::Kto, Self::Grpo];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pretrain => "pretrain",
            Self::Sft => "sft",
            Self::Dpo => "dpo",
            Self::Kto => "kto",
            Self::Grpo => "grpo",
        }
    }

    pub fn summary(self) -> &'static str {
        match self {
            Self::Pretrain => "next tokens of text, from random weights or on top of a model",
            Self::Sft => "supervised fine-tuning on completions or conversations",
            Self::Dpo => {
                "direct preference optimisation and its family (IPO, cDPO, SimPO, ORPO, ...)"
            }
            Self::Kto => "Kahneman-Tversky optimisation on completions judged alone",
            Self::Grpo => {
                "reinforcement with verifiable rewards: GRPO and its family (DAPO, GSPO, RLOO, ...)"
            }
        }
    }
}

/// The keys that belong neither to the loop nor to the loss.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LmRunConfig {
    /// One sentence.
    #[serde(default)]
    pub description: String,
    pub algorithm: LmAlgorithm,
    /// Seed of everything random.
    #[serde(default)]
    pub seed: u64,
    /// Optimizer steps between lines of metrics; 0 for a two-hundredth of all.
    #[serde(default)]
    pub log_every: u64,
    /// Where the examples are; tasks with verifiable rewards have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataConfig>,
    /// Train an adapter instead of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// The day that a chat template writes where it asks for today's, as in `2026-11-27`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// Stretch the rotary embedding, and the context with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeScaling>,
    /// Evaluation.
    #[serde(default)]
    pub eval: LmEvalConfig,
    /// Completions to look at, before and after.
    #[serde(default)]
    pub samples: SamplesConfig,
}

const RUN_KEYS: [&str; 10] = [
    "description",
    "algorithm",
    "seed",
    "log_every",
    "data",
    "date",
    "lora",
    "rope_scaling",
    "eval",
    "samples",
];

/// When the data kept for evaluation is looked at.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LmEvalConfig {
    /// Optimizer steps between evaluations on the way; 0 for a tenth of all, or of imitation and of reinforcement each.
    pub every: u64,
}

/// Completions that are sampled before and after training.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SamplesConfig {
    /// Prompts of the evaluation's data to complete.
    pub count: usize,
    /// Prompts to complete instead.
    pub prompts: Vec<String>,
    /// Longest completion, in tokens.
    pub max_new_tokens: usize,
    /// 0 takes the most likely token.
    pub temperature: f64,
}

impl Default for SamplesConfig {
    fn default() -> Self {
        Self { count: 4, prompts: Vec::new(), max_new_tokens: 96, temperature: 0.0 }
    }
}

/// What a recipe says, with every default filled in.
#[derive(Clone, Debug)]
pub(crate) struct LmRecipe {
    pub name: String,
    pub run: LmRunConfig,
    pub model: ModelSource,
    pub train: TrainConfig,
    pub task: Task,
}

/// Whether a recipe's algorithm is one of these.
pub(crate) fn is_language(table: &Table) -> bool {
    let algorithm = table.get("algorithm").and_then(Value::as_str);
    LmAlgorithm::ALL.iter().any(|known| Some(known.as_str()) == algorithm)
}

/// Whether a value is a table or a list of tables.
fn is_table(value: &Value) -> bool {
    value.is_table() || value.as_array().is_some_and(|list| list.iter().any(Value::is_table))
}

#[derive(Deserialize)]
struct NestedModel {
    model: ModelShape,
}

fn decode_model(table: &mut Table, origin: &str) -> anyhow::Result<ModelSource> {
    match table.remove("model") {
        Some(Value::String(spec)) if !spec.is_empty() => Ok(ModelSource::Named(spec)),
        Some(Value::Table(shape)) => {
            let nested = Table::from_iter([("model".to_owned(), Value::Table(shape))]);
            Ok(ModelSource::New(decode::<NestedModel>(nested, &[], origin)?.model))
        }
        Some(other) => bail!(
            "{origin}: `model` must be a name (`skinner list models`), a path, or a table that describes a new \
             model, not {other}"
        ),
        None => bail!(
            "{origin}: the key `model` is missing: a name (`skinner list models`), a path, or a table that \
             describes a new model"
        ),
    }
}

/// The tables of a recipe with verifiable rewards, beside the keys of its loss.
#[derive(Deserialize)]
struct GrpoTables<T> {
    task: T,
    reward: Vec<RewardConfig>,
    #[serde(default)]
    sft: Option<TrainConfig>,
    #[serde(default)]
    curriculum: Option<curriculum::Config>,
    #[serde(default)]
    monitor: MonitorConfig,
    #[serde(default)]
    eval_task: Vec<EvalTask>,
}

const GRPO_TABLES: [&str; 6] = ["task", "reward", "sft", "curriculum", "monitor", "eval_task"];

/// The tables with a generator, which has a name, or a data set, which has a path.
fn decode_tables(tables: Table, origin: &str) -> anyhow::Result<GrpoTables<TaskSource>> {
    let has = |key: &str| tables.get("task").and_then(|task| task.get(key)).is_some();
    match (has("name"), has("path")) {
        (true, true) => bail!(
            "{origin}: `task` has a `name` and a `path`: leave one out; a name is of a generator, a path of a data set"
        ),
        (false, true) => {
            let tables: GrpoTables<data_set::Config> = decode(tables, &[], origin)?;
            Ok(tables.with(|config| TaskSource::DataSet(Box::new(config))))
        }
        (_, false) => {
            let tables: GrpoTables<Generator> = decode(tables, &[], origin)?;
            Ok(tables.with(TaskSource::Generator))
        }
    }
}

impl<T> GrpoTables<T> {
    fn with<U>(self, task: impl FnOnce(T) -> U) -> GrpoTables<U> {
        let Self { task: given, reward, sft, curriculum, monitor, eval_task } = self;
        GrpoTables { task: task(given), reward, sft, curriculum, monitor, eval_task }
    }
}

/// Pretraining has no keys of its own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoKeys {}

fn keys_of(config: &impl Serialize) -> anyhow::Result<Vec<String>> {
    Ok(Table::try_from(config)?.into_iter().map(|(key, _)| key).collect())
}

impl LmRecipe {
    /// A recipe's table, read or resolved before.
    pub fn from_table(name: String, mut table: Table, origin: &str) -> anyhow::Result<Self> {
        let model = decode_model(&mut table, origin)?;
        if let Some(Value::String(path)) = table.get("data") {
            let data = Table::from_iter([("path".to_owned(), Value::String(path.clone()))]);
            table.insert("data".into(), Value::Table(data));
        }
        let mut take = |keys: &[String]| -> Table {
            keys.iter().filter_map(|key| Some((key.clone(), table.remove(key)?))).collect()
        };
        let run_table = take(&RUN_KEYS.map(str::to_owned));
        let train_keys = keys_of(&TrainConfig::default())?;
        let train_table = take(&train_keys);
        let run: LmRunConfig = decode(run_table, &[], origin)?;
        let train: TrainConfig = decode(train_table, &[], origin)?;
        let mut also: Vec<&str> = RUN_KEYS.to_vec();
        also.push("model");
        also.extend(train_keys.iter().map(String::as_str));
        let task = match run.algorithm {
            LmAlgorithm::Pretrain => {
                let NoKeys {} = decode(table, &also, origin)?;
                Task::Pretrain
            }
            LmAlgorithm::Sft => Task::Sft(decode::<SftConfig>(table, &also, origin)?),
            LmAlgorithm::Dpo => Task::Dpo(decode::<PreferenceConfig>(table, &also, origin)?),
            LmAlgorithm::Kto => Task::Kto(decode::<KtoConfig>(table, &also, origin)?),
            LmAlgorithm::Grpo => {
                let keys = GRPO_TABLES.iter();
                let tables: Table =
                    keys.filter_map(|key| Some(((*key).to_owned(), table.remove(*key)?))).collect();
                also.extend(GRPO_TABLES);
                let GrpoTables { task, reward, sft, curriculum, monitor, eval_task } =
                    decode_tables(tables, origin)?;
                let config: GrpoConfig = decode(table, &also, origin)?;
                Task::Grpo(Box::new(GrpoTask {
                    config,
                    task,
                    reward,
                    sft,
                    curriculum,
                    monitor,
                    eval_task,
                }))
            }
        };
        let recipe = Self { name, run, model, train, task };
        recipe.validate().with_context(|| origin.to_owned())?;
        Ok(recipe)
    }

    fn validate(&self) -> anyhow::Result<()> {
        self.train.validate()?;
        match &self.task {
            Task::Dpo(dpo) => dpo.validate()?,
            Task::Kto(kto) => kto.validate()?,
            Task::Grpo(grpo) => grpo.validate()?,
            Task::Pretrain | Task::Sft(_) => {}
        }
        match (&self.task, &self.run.data) {
            (Task::Grpo(_), Some(_)) => bail!("data: this algorithm takes its tasks from `[task]`"),
            (Task::Grpo(_), None) => {}
            (_, None) => bail!("the key `data` is missing: a file, a folder, or `hf:owner/name`"),
            (_, Some(data)) => {
                if let Err(error) = data.validate() {
                    bail!("data: {error}");
                }
            }
        }
        self.date()?;
        let samples = &self.run.samples;
        let sampling = skinner_lm::generate::Sampling {
            temperature: samples.temperature as f32,
            ..Default::default()
        };
        sampling.validate().context("samples")?;
        if samples.count > 1000 || samples.prompts.len() > 1000 {
            bail!("samples.count = {} is out of range: must be at most 1000", samples.count);
        }
        Ok(())
    }

    /// What chat templates take for today.
    pub fn date(&self) -> anyhow::Result<Option<Date>> {
        let parse = |text: &String| text.parse().map_err(|error| anyhow::anyhow!("date: {error}"));
        self.run.date.as_ref().map(parse).transpose()
    }

    /// The recipe with every default, as TOML.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        let mut table = Table::try_from(&self.run)?;
        table.extend(Table::try_from(&self.train)?);
        match &self.task {
            Task::Pretrain => {}
            Task::Sft(sft) => table.extend(Table::try_from(sft)?),
            Task::Dpo(dpo) => table.extend(Table::try_from(dpo)?),
            Task::Kto(kto) => table.extend(Table::try_from(kto)?),
            Task::Grpo(grpo) => {
                table.extend(Table::try_from(&grpo.config)?);
                table.insert("task".into(), Value::try_from(&grpo.task)?);
                table.insert("reward".into(), Value::try_from(&grpo.reward)?);
                table.insert("monitor".into(), Value::try_from(&grpo.monitor)?);
                if let Some(sft) = &grpo.sft {
                    table.insert("sft".into(), Value::try_from(sft)?);
                }
                if !grpo.eval_task.is_empty() {
                    table.insert("eval_task".into(), Value::try_from(&grpo.eval_task)?);
                }
                if let Some(curriculum) = &grpo.curriculum {
                    table.insert("curriculum".into(), Value::try_from(curriculum)?);
                }
            }
        }
        let model = match &self.model {
            ModelSource::Named(spec) => Value::String(spec.clone()),
            ModelSource::New(shape) => Value::try_from(shape)?,
        };
        table.insert("model".into(), model);
        // Scalars come before tables, or TOML would read them as part of the last table.
        let (tables, mut scalars): (Table, Table) =
            table.into_iter().partition(|(_, value)| is_table(value));
        scalars.extend(tables);
        Ok(toml::to_string(&scalars)?)
    }

    /// The model in a word or two.
    pub fn model_name(&self) -> String {
        match &self.model {
            ModelSource::Named(spec) => spec.clone(),
            ModelSource::New(shape) => {
                format!("new {} x {}", shape.num_hidden_layers, shape.hidden_size)
            }
        }
    }
}
