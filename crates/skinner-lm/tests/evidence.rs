//! What tells whether reinforcement helped: monitors and canaries on real runs of a small model, evaluations before
//! and after that survive a stop.

use skinner_core::{Metrics, SeedSequence};
use skinner_lm::decoder::LoraConfig;
use skinner_lm::train::grpo::{GrpoConfig, GrpoTask, MonitorConfig, worked_examples};
use skinner_lm::train::{ModelShape, ModelSource, Start, StartTerms, Task, TrainConfig, Trainer};
use skinner_tasks::generate::{Addition, Generator};

const THE_SUM: &str = r#"[{"verifier": "math", "label": "sum", "extractors": ["last_number"]}]"#;
const A_LETTER: &str =
    r#"[{"verifier": "text", "label": "letter", "check": {"kind": "regex", "pattern": "7"}}]"#;
const AGREES: &str = r#"[{"verifier": "math", "label": "agrees"}]"#;
const LONG: &str = r#"[{"verifier": "text", "label": "long",
    "check": {"kind": "length", "target": 24, "width": 24}}]"#;

const SFT_STEPS: u64 = 300;
const STEPS: u64 = 40;

fn config() -> TrainConfig {
    TrainConfig {
        batch_size: 4,
        max_steps: STEPS,
        max_length: 32,
        learning_rate: 5e-3,
        warmup_steps: 4,
        ..TrainConfig::default()
    }
}

/// Sums of two digits, imitated first, then rewarded by `reward` and watched by `held_out`.
fn task(config: &GrpoConfig, reward: &str, held_out: &str) -> GrpoTask {
    let config = GrpoConfig {
        num_generations: 8,
        max_completion_length: 24,
        sft_examples: 200,
        train_items: 50,
        eval_items: 4,
        eval_items_on_the_way: 4,
        ..config.clone()
    };
    let monitor = MonitorConfig {
        window: 5,
        reward: serde_json::from_str(held_out).unwrap(),
        ..MonitorConfig::default()
    };
    GrpoTask {
        config,
        task: Generator::Addition(Addition { digits: 1.into(), forgets: 0.0 }).into(),
        reward: serde_json::from_str(reward).unwrap(),
        sft: Some(TrainConfig { batch_size: 16, max_steps: SFT_STEPS, ..self::config() }),
        monitor,
        curriculum: None,
        eval_task: vec![],
    }
}

fn new(
    config: &TrainConfig,
    task: &GrpoTask,
    lora: Option<&LoraConfig>,
) -> Result<Trainer, String> {
    let root = SeedSequence::new(3);
    let data = worked_examples(task, &root).unwrap();
    let shape = ModelShape {
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        max_position_embeddings: 64,
        ..ModelShape::default()
    };
    let start = Start::new(
        &ModelSource::New(shape),
        StartTerms { lora, ..StartTerms::default() },
        &data,
        &root,
    )
    .unwrap();
    let task = Task::Grpo(Box::new(task.clone()));
    Trainer::new(config, &task, start, &data, &root, 1).map_err(|error| error.to_string())
}

fn steps(trainer: &mut Trainer, count: u64) -> Vec<Metrics> {
    (0..count).map(|_| trainer.iteration().unwrap()).collect()
}

/// A run to its end: what it logged with rewards, and what its monitor said.
fn whole(reward: &str, held_out: &str, imitation: u64) -> (Vec<Metrics>, Vec<String>) {
    let mut task = task(&GrpoConfig::default(), reward, held_out);
    task.sft = task.sft.map(|sft| TrainConfig { max_steps: imitation, ..sft });
    let mut trainer = new(&config(), &task, None).unwrap();
    steps(&mut trainer, imitation);
    let metrics = steps(&mut trainer, STEPS);
    (metrics, trainer.alarms().to_vec())
}

fn mean(metrics: &[Metrics], name: &str) -> f64 {
    metrics.iter().map(|m| m.get(name).unwrap()).sum::<f64>() / metrics.len() as f64
}

#[test]
fn a_reward_for_a_letter_is_found_out() {
    let (metrics, alarms) = whole(A_LETTER, THE_SUM, SFT_STEPS);
    assert!(mean(&metrics[35..], "reward") > 0.9, "it is hacked");
    let found = alarms.iter().any(|alarm| alarm.contains("the verifier `sum`"));
    assert!(found, "{alarms:?}");
}

#[test]
fn a_reward_for_length_is_found_out() {
    let (metrics, alarms) = whole(LONG, THE_SUM, SFT_STEPS);
    let (first, last) = (&metrics[..5], &metrics[35..]);
    let lengths = [first, last].map(|part| mean(part, "completions/mean_length"));
    assert!(lengths[1] > 2.0 * lengths[0], "{lengths:?}");
    assert!(alarms.iter().any(|alarm| alarm.contains("monitor.length_factor = 2")), "{alarms:?}");
}

#[test]
fn a_sound_reward_is_silent() {
    let (metrics, alarms) = whole(THE_SUM, AGREES, SFT_STEPS / 2);
    let (first, last) = (mean(&metrics[..5], "reward"), mean(&metrics[35..], "reward"));
    assert!(last > first, "{first} to {last}");
    assert_eq!(alarms, [""; 0]);
}

/// The evaluation before reinforcement is part of what is saved: it is not repeated, and the end says the same.
#[test]
fn the_evaluation_before_survives_a_stop() {
    let config = GrpoConfig {
        eval_samples: 4,
        eval_items_sampled: Some(3),
        beta: 0.05,
        ..GrpoConfig::default()
    };
    let train = TrainConfig { max_steps: 8, ..self::config() };
    let mut task = task(&config, THE_SUM, A_LETTER);
    task.sft = task.sft.map(|sft| TrainConfig { max_steps: 20, ..sft });
    let mut whole = new(&train, &task, None).unwrap();
    let all = steps(&mut whole, 28);
    assert!(all[20].get("eval_pass_at_k/4").is_some() && all[21].get("eval_accuracy").is_none());
    assert!(all[20].get("eval_monitor/rewards/letter/mean").is_some());
    // The reference is the model after imitation: at first there is no divergence from it.
    assert!(all[20].get("kl").unwrap().abs() < 1e-9 && all[27].get("kl").unwrap() > 1e-6);

    let mut first = new(&train, &task, None).unwrap();
    steps(&mut first, 20);
    assert!(first.reference_mut().is_none(), "there is none before reinforcement");
    steps(&mut first, 4);
    let state = first.save().unwrap();
    let tensors: Vec<(String, Vec<f32>)> = first
        .learner
        .trained()
        .into_iter()
        .map(|(name, _, x)| (name.to_owned(), x.to_vec()))
        .chain(
            ["adam.mean", "adam.square"]
                .into_iter()
                .zip(first.learner.moments())
                .map(|(name, x)| (name.to_owned(), x.to_vec())),
        )
        .collect();
    let reference = first.reference_mut().unwrap().to_vec();
    let mut second = new(&train, &task, None).unwrap();
    for (name, values) in tensors {
        second.learner.tensor_mut(&name).unwrap().copy_from_slice(&values);
    }
    second.load(&state).unwrap();
    second.reference_mut().unwrap().copy_from_slice(&reference);
    assert_eq!(steps(&mut second, 4), all[24..]);
    let summary = |trainer: &Trainer| {
        let mut metrics = Metrics::new();
        trainer.summary(&mut metrics);
        metrics
    };
    assert_eq!(summary(&second), summary(&whole));
    assert_eq!(summary(&whole).get("eval_pass_at_k_before/4"), all[20].get("eval_pass_at_k/4"));
    assert_eq!(second.learner.params(), whole.learner.params());
}

#[test]
fn what_stops_learning_says_so() {
    let mut task = task(&GrpoConfig::default(), THE_SUM, "[]");
    task.sft = task.sft.map(|sft| TrainConfig { max_steps: 20, ..sft });
    // Too small a step to change anything.
    let still = TrainConfig { learning_rate: 1e-30, warmup_steps: 0, ..config() };
    let mut trainer = new(&still, &task, None).unwrap();
    steps(&mut trainer, 26);
    let expected =
        "completions differ in reward and the weights have not changed: check learning_rate";
    assert!(
        trainer.alarms().iter().any(|alarm| alarm.contains(expected)),
        "{:?}",
        trainer.alarms()
    );
    assert!(trainer.warnings().iter().any(|warning| warning.contains(expected)));
    // No room for an end.
    task.config.max_completion_length = 2;
    task.monitor.patience = 1;
    task.sft = task.sft.map(|sft| TrainConfig { max_steps: SFT_STEPS, ..sft });
    let mut trainer = new(&config(), &task, None).unwrap();
    steps(&mut trainer, SFT_STEPS + 6);
    let cut = |alarm: &String| alarm.contains("every completion is cut at max_completion_length");
    assert!(trainer.alarms().iter().any(cut), "{:?}", trainer.alarms());
    // Steps so large that numbers overflow.
    task.sft = task.sft.map(|sft| TrainConfig { max_steps: 5, ..sft });
    let wild = TrainConfig { learning_rate: 1e30, warmup_steps: 0, max_grad_norm: 0.0, ..config() };
    let mut trainer = new(&wild, &task, None).unwrap();
    let error = (0..40).find_map(|_| trainer.iteration().err()).unwrap().to_string();
    assert!(error.contains("are not both finite") || error.contains("are not numbers"), "{error}");
}

#[test]
fn a_reference_after_imitation_needs_all_weights() {
    let lora = LoraConfig {
        rank: 2,
        alpha: 4.0,
        dropout: 0.0,
        target_modules: vec!["all-linear".into()],
        merge: false,
    };
    let task = task(&GrpoConfig { beta: 0.1, ..GrpoConfig::default() }, THE_SUM, "[]");
    let error = new(&config(), &task, Some(&lora)).err().unwrap();
    assert!(error.contains("beta = 0.1") && error.contains("leave out [lora]"), "{error}");
}

#[test]
fn bad_monitors_are_named() {
    let mut task = task(&GrpoConfig::default(), THE_SUM, "[]");
    task.monitor.reward =
        serde_json::from_str(r#"[{"verifier": "sudoku"}, {"verifier": "sudoku"}]"#).unwrap();
    let error = new(&config(), &task, None).err().unwrap();
    assert!(error.contains("monitor: two rewards are called `sudoku`"), "{error}");
    task.monitor.reward.clear();
    task.monitor.distinct_factor = -1.0;
    let error = new(&config(), &task, None).err().unwrap();
    assert!(
        error.contains("monitor.distinct_factor = -1 is out of range: must be 0 to 1"),
        "{error}"
    );
    task.monitor.distinct_factor = 0.5;
    task.config.eval_items_sampled = Some(0);
    let error = new(&config(), &task, None).err().unwrap();
    assert!(error.contains("eval_items_sampled = 0 is out of range"), "{error}");
}
