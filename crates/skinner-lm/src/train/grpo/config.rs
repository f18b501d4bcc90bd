//! What a recipe of this family says.

use serde::{Deserialize, Serialize};
use skinner_core::objective::grpo::{
    Correction, KlTerm, LossType, PolicyLoss, RatioLevel, Surrogate,
};
use skinner_core::objective::kl::{AdaptiveKl, KlEstimator};
use skinner_core::returns::group::{Deviation, ScaleRewards};
use skinner_tasks::{RewardConfig, curriculum};

use super::TaskSource;
use super::monitor::MonitorConfig;
use crate::error::LmError;
use crate::generate::Sampling;
use crate::train::TrainConfig;

/// Whose reading of a method is taken where they differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Convention {
    /// TRL's: `1e-4` beside the (sample) deviation of rewards; `delta` bounds every ratio; `cispo` bounds ratios by
    /// `epsilon_high` itself.
    #[default]
    Trl,
    /// verl's: `1e-6`; `delta` is the dual clip of negative advantages; `cispo` bounds ratios by
    /// `1 - epsilon` and `1 + epsilon_high`.
    Verl,
    /// The papers': the population's deviation, `1e-8`; the rest as verl.
    Paper,
}

/// The values of GRPO and its family. `batch_size` counts prompts here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpoConfig {
    /// A preset of ratio, clip and normalisation.
    pub loss_type: LossType,
    /// Whose reading.
    pub convention: Convention,
    /// Completions of each prompt.
    pub num_generations: usize,
    /// Longest completion, in tokens.
    pub max_completion_length: usize,
    /// Logits are divided by it when completions are drawn and when they are learned.
    pub temperature: f64,
    /// Passes over each batch of completions.
    pub num_iterations: usize,
    /// Optimizer steps of a pass.
    pub num_minibatches: usize,
    /// The clip below 1, and above it unless `epsilon_high` is given.
    pub epsilon: f64,
    /// The clip above 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epsilon_high: Option<f64>,
    /// A second bound of ratios, see [`Convention`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<f64>,
    /// What ratios are of, where not as `loss_type` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importance_sampling_level: Option<RatioLevel>,
    /// What differences from a group's mean are divided by, where not as `loss_type` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_rewards: Option<ScaleRewards>,
    /// The weight of the divergence from the model that reinforcement starts from.
    pub beta: f64,
    /// How it is estimated.
    pub kl_estimator: KlEstimator,
    /// Whether it is taken off the reward instead of added to the loss.
    pub kl_in_reward: bool,
    /// Whether its estimate in the loss is multiplied by the ratio.
    pub use_bias_correction_kl: bool,
    /// Let `beta` follow a divergence that is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive_kl: Option<AdaptiveKl>,
    /// How to correct for a sampler that is not quite the trainer.
    pub correction: Correction,
    /// The bound of its weights.
    pub correction_cap: f64,
    /// Leave out completions that were cut at `max_completion_length`.
    pub mask_truncated_completions: bool,
    /// Tokens before `max_completion_length` over which a penalty falls from 0 to -1; 0 for none.
    pub overlong_cache: usize,
    /// How often groups without variance are replaced by others before a step is taken with what is there.
    pub dynamic_sampling: usize,
    /// The largest share of samples of a step whose grading may fail.
    pub max_failed: f64,
    /// A control: each completion gets the reward of another, drawn at random.
    pub shuffle_rewards: bool,
    /// Tasks of an epoch; of a data set the first ones, at most all.
    pub train_items: usize,
    /// Tasks kept for evaluation before and after, each completed greedily; of a data set at most all.
    pub eval_items: usize,
    /// How many of them on the way.
    pub eval_items_on_the_way: usize,
    /// Completions drawn of each of some tasks before and after, for pass@k and maj@k; 0 for none.
    pub eval_samples: usize,
    /// Of how many tasks; as many as on the way unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_items_sampled: Option<usize>,
    /// Worked examples that `[sft]` imitates first.
    pub sft_examples: usize,
    /// A control: the run ends where imitation does.
    pub imitate_only: bool,
}

impl Default for GrpoConfig {
    fn default() -> Self {
        Self {
            loss_type: LossType::default(),
            convention: Convention::default(),
            num_generations: 8,
            max_completion_length: 256,
            temperature: 1.0,
            num_iterations: 1,
            num_minibatches: 1,
            epsilon: 0.2,
            epsilon_high: None,
            delta: None,
            importance_sampling_level: None,
            scale_rewards: None,
            beta: 0.0,
            kl_estimator: KlEstimator::default(),
            kl_in_reward: false,
            use_bias_correction_kl: false,
            adaptive_kl: None,
            correction: Correction::default(),
            correction_cap: 3.0,
            mask_truncated_completions: false,
            overlong_cache: 0,
            dynamic_sampling: 0,
            max_failed: 0.1,
            shuffle_rewards: false,
            train_items: 100_000,
            eval_items: 1000,
            eval_items_on_the_way: 200,
            eval_samples: 0,
            eval_items_sampled: None,
            sft_examples: 20_000,
            imitate_only: false,
        }
    }
}

/// Everything of a run with verifiable rewards that is not the optimizer's.
#[derive(Clone, Debug, PartialEq)]
pub struct GrpoTask {
    /// The values.
    pub config: GrpoConfig,
    /// Where tasks come from.
    pub task: TaskSource,
    /// Who grades.
    pub reward: Vec<RewardConfig>,
    /// Imitation of the tasks' teacher first, if wanted.
    pub sft: Option<TrainConfig>,
    /// Tasks of other kinds that are never trained on.
    pub eval_task: Vec<EvalTask>,
    /// Which difficulty comes next, where not all are drawn alike.
    pub curriculum: Option<curriculum::Config>,
    /// What is watched for.
    pub monitor: MonitorConfig,
}

/// Tasks that are solved greedily before and after training and at no time trained on: what is learned elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalTask {
    /// What it is called in the logs.
    pub label: String,
    /// How many.
    #[serde(default = "hundred")]
    pub items: usize,
    /// Longest completion, in tokens, where not as in training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_completion_length: Option<usize>,
    /// Where tasks come from.
    pub task: TaskSource,
    /// Who grades, where not as in training.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reward: Vec<RewardConfig>,
}

fn hundred() -> usize {
    100
}

impl EvalTask {
    /// The run's task with these in place of its own.
    pub(super) fn instead(&self, grpo: &GrpoTask) -> GrpoTask {
        let longest = self.max_completion_length.unwrap_or(grpo.config.max_completion_length);
        GrpoTask {
            config: GrpoConfig {
                eval_items: self.items,
                max_completion_length: longest,
                overlong_cache: 0,
                ..grpo.config.clone()
            },
            task: self.task.clone(),
            reward: if self.reward.is_empty() { grpo.reward.clone() } else { self.reward.clone() },
            eval_task: Vec::new(),
            curriculum: None,
            ..grpo.clone()
        }
    }
}

impl GrpoTask {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first key that is out of range, and the range.
    pub fn validate(&self) -> Result<(), LmError> {
        self.config.validate()?;
        self.monitor.validate()?;
        let invalid = |what: &str, error: String| LmError::Recipe(format!("{what}: {error}"));
        self.task.validate()?;
        if let Some(sft) = &self.sft {
            sft.validate().map_err(|error| invalid("sft", error.to_string()))?;
        }
        if self.config.imitate_only && self.sft.is_none() {
            return Err(LmError::Recipe("imitate_only = true: there is no [sft] to do it".into()));
        }
        for (i, other) in self.eval_task.iter().enumerate() {
            let known = self.eval_task[..i].iter().any(|before| before.label == other.label);
            if known || other.label.is_empty() || other.label.contains('/') {
                return Err(LmError::Recipe(format!(
                    "eval_task.label = {:?}: must be a text without `/`, each another",
                    other.label
                )));
            }
        }
        Ok(())
    }
}

impl GrpoConfig {
    fn validate(&self) -> Result<(), LmError> {
        let check = |ok: bool, key: &str, value: &dyn std::fmt::Display, range: &str| {
            let what = format!("{key} = {value} is out of range: must be {range}");
            if ok { Ok(()) } else { Err(LmError::Recipe(what)) }
        };
        let count = |key: &str, value: usize, least: usize| {
            let range = format!("{least} to 2^20");
            check((least..=1 << 20).contains(&value), key, &value, &range)
        };
        count("num_generations", self.num_generations, 2)?;
        count("max_completion_length", self.max_completion_length, 1)?;
        count("num_iterations", self.num_iterations, 1)?;
        count("num_minibatches", self.num_minibatches, 1)?;
        count("train_items", self.train_items, 1)?;
        count("eval_items", self.eval_items, 1)?;
        count("sft_examples", self.sft_examples, 0)?;
        count("eval_samples", self.eval_samples, 0)?;
        if let Some(items) = self.eval_items_sampled {
            count("eval_items_sampled", items, 1)?;
        }
        let range = |key: &str, value: f64, low: f64, high: f64| {
            check((low..=high).contains(&value), key, &value, &format!("{low} to {high}"))
        };
        range("temperature", self.temperature, 0.01, 100.0)?;
        range("epsilon", self.epsilon, 0.0, 1.0)?;
        if let Some(high) = self.epsilon_high {
            range("epsilon_high", high, 0.0, 100.0)?;
        }
        if let Some(delta) = self.delta {
            range("delta", delta, 1.0, 1000.0)?;
        }
        range("beta", self.beta, 0.0, 1000.0)?;
        range("correction_cap", self.correction_cap, 1.0, 1e6)?;
        range("max_failed", self.max_failed, 0.0, 1.0)?;
        if let Some(adaptive) = self.adaptive_kl {
            check(adaptive.target > 0.0, "adaptive_kl.target", &adaptive.target, "above 0")?;
            check(adaptive.horizon > 0.0, "adaptive_kl.horizon", &adaptive.horizon, "above 0")?;
            check(self.beta > 0.0, "beta", &self.beta, "above 0 for adaptive_kl to change it")?;
        }
        let cache = self.overlong_cache;
        let most = self.max_completion_length;
        check(cache <= most, "overlong_cache", &cache, "at most max_completion_length")
    }

    /// Held-out tasks of which several completions are drawn.
    pub(super) fn items_sampled(&self) -> usize {
        self.eval_items_sampled.unwrap_or(self.eval_items_on_the_way)
    }

    /// Whether the divergence is taken off the reward; of `reinforce_pp` it always is.
    pub(super) fn takes_kl_off_reward(&self) -> bool {
        self.kl_in_reward || self.loss_type == LossType::ReinforcePp
    }

    /// How completions are drawn.
    pub(super) fn sampling(&self) -> Sampling {
        Sampling { temperature: self.temperature as f32, ..Sampling::default() }
    }

    /// Whether the sampler's log-probabilities are corrected for.
    pub(super) fn needs_weights(&self) -> bool {
        self.correction != Correction::None
    }

    fn high(&self) -> f64 {
        self.epsilon_high.unwrap_or(self.epsilon)
    }

    /// The loss, as the convention reads it.
    pub(super) fn kernel(&self, beta: f32) -> PolicyLoss<f32> {
        let (low, high) = (self.epsilon as f32, self.high() as f32);
        let delta = self.delta.map(|delta| delta as f32);
        let trl = self.convention == Convention::Trl;
        let surrogate = match self.loss_type {
            LossType::Cispo if trl => {
                // TRL's bound is the ratio itself; its usual value is 5.
                let most = self.epsilon_high.map_or(5.0, |high| high as f32);
                Surrogate::StopGradient { least: 0.0, most }
            }
            LossType::Cispo => Surrogate::StopGradient { least: 1.0 - low, most: 1.0 + high },
            LossType::Sapo => Surrogate::Soft { tau_positive: 1.0, tau_negative: 1.05 },
            _ if trl => Surrogate::Clip { low, high, most: delta, dual: None },
            _ => Surrogate::Clip { low, high, most: None, dual: delta },
        };
        let in_loss = beta > 0.0 && !self.takes_kl_off_reward();
        PolicyLoss {
            level: self.importance_sampling_level.unwrap_or(self.loss_type.ratio_level()),
            surrogate,
            normalisation: self.loss_type.normalisation(),
            kl: in_loss.then_some(KlTerm {
                estimator: self.kl_estimator,
                beta,
                times_ratio: self.use_bias_correction_kl,
            }),
        }
    }

    /// What advantages are divided by.
    pub(super) fn scale(&self) -> ScaleRewards {
        self.scale_rewards.unwrap_or(match self.loss_type {
            LossType::DrGrpo | LossType::Rloo => ScaleRewards::None,
            LossType::ReinforcePp => ScaleRewards::Batch,
            _ => ScaleRewards::Group,
        })
    }

    /// How a deviation is taken.
    pub(super) fn deviation(&self) -> Deviation<f64> {
        let (sample, epsilon) = match self.convention {
            Convention::Trl => (true, 1e-4),
            Convention::Verl => (true, 1e-6),
            Convention::Paper => (false, 1e-8),
        };
        Deviation { sample, epsilon }
    }
}
