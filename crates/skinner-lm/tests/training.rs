//! Trainers on a model of a few thousand numbers: they learn what they should, and the same bits come out
//! however the work is cut.

use skinner_core::SeedSequence;
use skinner_core::objective::preference::{PreferenceConfig, PreferenceLoss};
use skinner_core::objective::unpaired::KtoConfig;
use skinner_lm::data::{Content, Dataset, LoadCounts, Packing, Sample};
use skinner_lm::decoder::LoraConfig;
use skinner_lm::train::grpo::{GrpoConfig, GrpoTask, MonitorConfig, worked_examples};
use skinner_lm::train::likelihood::SftConfig;
use skinner_lm::train::{ModelShape, ModelSource, Start, StartTerms, Task, TrainConfig, Trainer};
use skinner_tasks::RewardConfig;
use skinner_tasks::generate::{Addition, Generator};

fn shape() -> ModelShape {
    ModelShape {
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        max_position_embeddings: 64,
        ..ModelShape::default()
    }
}

fn config() -> TrainConfig {
    TrainConfig {
        batch_size: 6,
        max_steps: 40,
        max_length: 32,
        learning_rate: 5e-3,
        warmup_steps: 4,
        ..TrainConfig::default()
    }
}

fn lora() -> LoraConfig {
    LoraConfig {
        rank: 4,
        alpha: 16.0,
        dropout: 0.1,
        target_modules: vec!["all-linear".into()],
        merge: false,
    }
}

fn text(text: impl Into<String>) -> Content {
    Content::Text(text.into())
}

fn dataset(sample: impl Fn(usize) -> Sample) -> Dataset {
    Dataset {
        train: (0..50).map(&sample).collect(),
        eval: (50..60).map(sample).collect(),
        train_counts: LoadCounts::default(),
        eval_counts: LoadCounts::default(),
    }
}

/// The completion repeats the prompt's digit.
fn completions() -> Dataset {
    dataset(|i| Sample::PromptCompletion {
        prompt: text(format!("say {}: ", i % 10)),
        completion: text(format!("{0}{0}{0}.", i % 10)),
    })
}

/// Even digits are preferred.
fn pairs() -> Dataset {
    dataset(|i| Sample::Preference {
        prompt: text(format!("number {}: ", i % 7)),
        chosen: text(format!("{} is nice.", 2 * (i % 5))),
        rejected: text(format!("{} is not.", 2 * (i % 5) + 1)),
    })
}

fn trainer_with(
    config: &TrainConfig,
    task: &Task,
    data: &Dataset,
    lora: Option<&LoraConfig>,
    threads: usize,
) -> Trainer {
    let root = SeedSequence::new(7);
    let source = ModelSource::New(shape());
    let start =
        Start::new(&source, StartTerms { lora, ..StartTerms::default() }, data, &root).unwrap();
    let mut trainer = Trainer::new(config, task, start, data, &root, threads).unwrap();
    assert!(trainer.prepare(&mut |_, _| true));
    trainer
}

fn train(trainer: &mut Trainer, steps: u64) -> Vec<f64> {
    (0..steps).map(|_| trainer.iteration().unwrap().get("loss").unwrap()).collect()
}

fn bits(trainer: &Trainer) -> Vec<Vec<f32>> {
    let mut all: Vec<Vec<f32>> =
        trainer.learner.trained().into_iter().map(|(_, _, x)| x.to_vec()).collect();
    all.extend(trainer.learner.moments().map(<[f32]>::to_vec));
    all
}

fn sft() -> Task {
    Task::Sft(SftConfig { packing: Packing::BestFit, ..SftConfig::default() })
}

fn dpo(loss_type: PreferenceLoss) -> Task {
    let beta = if loss_type == PreferenceLoss::Simpo { 2.0 } else { 0.1 };
    Task::Dpo(PreferenceConfig::new(loss_type, beta))
}

fn kto() -> Task {
    Task::Kto(KtoConfig::default())
}

/// Rewards by `reward` (JSON) of completions of sums; imitation first takes `sft` steps.
fn grpo(mut config: GrpoConfig, reward: &str, sft: u64) -> GrpoTask {
    config.num_generations = 8;
    config.max_completion_length = 6;
    config.sft_examples = 40;
    config.train_items = 50;
    config.eval_items = 4;
    config.eval_items_on_the_way = 4;
    let task = Generator::Addition(Addition { digits: 1.into(), forgets: 0.5 }).into();
    let reward: Vec<RewardConfig> = serde_json::from_str(reward).unwrap();
    let sft = TrainConfig { max_steps: sft, ..self::config() };
    let sft = (sft.max_steps > 0).then_some(sft);
    GrpoTask {
        config,
        task,
        reward,
        sft,
        curriculum: None,
        eval_task: vec![],
        monitor: MonitorConfig::default(),
    }
}

const LAST_NUMBER: &str = r#"[{"verifier": "math", "extractors": ["last_number"]}]"#;
const BEGINS_WITH_7: &str =
    r#"[{"verifier": "text", "check": {"kind": "regex", "pattern": "^7"}}]"#;

fn rl_config() -> TrainConfig {
    TrainConfig { batch_size: 4, max_steps: 18, ..config() }
}

/// Whatever it is asked, a 7 is rewarded; then a 7 is what it says.
#[test]
fn what_is_rewarded_is_done_more_often() {
    use skinner_core::objective::grpo::LossType;
    for loss_type in LossType::ALL {
        let task = grpo(GrpoConfig { loss_type, ..GrpoConfig::default() }, BEGINS_WITH_7, 0);
        let data = worked_examples(&task, &SeedSequence::new(7)).unwrap();
        let config = TrainConfig { max_steps: 60, learning_rate: 1e-2, ..rl_config() };
        let mut trainer = trainer_with(&config, &Task::Grpo(Box::new(task)), &data, None, 1);
        let metrics: Vec<_> = (0..60).map(|_| trainer.iteration().unwrap()).collect();
        let reward = |range: std::ops::Range<usize>| {
            let len = range.len() as f64;
            metrics[range].iter().map(|m| m.get("reward").unwrap()).sum::<f64>() / len
        };
        let (first, last) = (reward(0..3), reward(50..60));
        assert!(first < 0.4 && last > 0.9, "{loss_type}: {first} to {last}");
        let after = trainer.evaluate_whole(&|| false, true).unwrap().unwrap();
        assert_eq!(after.get("eval_accuracy"), Some(1.0), "{loss_type}");
        // What was drawn is scored with the same weights, so the two agree to rounding.
        assert!(metrics.iter().all(|m| m.get("mismatch_kl").unwrap() < 1e-9), "{loss_type}");
    }
}

/// The control: rewards of others' completions teach nothing.
#[test]
fn shuffled_rewards_teach_nothing() {
    let shuffled = GrpoConfig { shuffle_rewards: true, ..GrpoConfig::default() };
    let task = grpo(shuffled, BEGINS_WITH_7, 0);
    let data = worked_examples(&task, &SeedSequence::new(7)).unwrap();
    let config = TrainConfig { max_steps: 40, ..rl_config() };
    let mut trainer = trainer_with(&config, &Task::Grpo(Box::new(task)), &data, None, 1);
    let rewards: Vec<f64> =
        (0..40).map(|_| trainer.iteration().unwrap().get("reward").unwrap()).collect();
    let last = rewards[30..].iter().sum::<f64>() / 10.0;
    assert!(last < 0.5, "{rewards:?}");
}

/// With imitation first, several steps on a batch, an adapter, a divergence in the reward or in the loss.
fn grpo_tasks() -> Vec<(Task, Dataset, Option<&'static LoraConfig>)> {
    static LORA: std::sync::LazyLock<LoraConfig> = std::sync::LazyLock::new(lora);
    let plain = GrpoConfig::default();
    let several = GrpoConfig {
        num_iterations: 2,
        num_minibatches: 2,
        dynamic_sampling: 1,
        correction: skinner_core::objective::grpo::Correction::TokenTruncate,
        ..GrpoConfig::default()
    };
    let beta = GrpoConfig { beta: 0.05, temperature: 0.8, ..GrpoConfig::default() };
    let in_reward = GrpoConfig { kl_in_reward: true, ..beta.clone() };
    [(plain, 2, false), (several, 2, true), (beta, 0, false), (in_reward, 0, true)]
        .into_iter()
        .map(|(config, sft, adapter)| {
            let task = grpo(config, LAST_NUMBER, sft);
            let data = worked_examples(&task, &SeedSequence::new(7)).unwrap();
            (Task::Grpo(Box::new(task)), data, adapter.then_some(&*LORA))
        })
        .collect()
}

#[test]
fn tasks_without_a_verdict_are_named() {
    let bad = |task: GrpoTask| {
        let data = worked_examples(&task, &SeedSequence::new(7)).unwrap();
        let root = SeedSequence::new(7);
        let start =
            Start::new(&ModelSource::New(shape()), StartTerms::default(), &data, &root).unwrap();
        let task = Task::Grpo(Box::new(task));
        match Trainer::new(&rl_config(), &task, start, &data, &root, 1) {
            Ok(mut trainer) => trainer.iteration().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    };
    let default = GrpoConfig::default;
    let none = bad(grpo(default(), "[]", 0));
    assert!(none.contains("[[reward]]"), "{none}");
    // A column that these tasks do not have: every grading fails, which ends the run.
    let column = r#"[{"verifier": "text", "check": {"kind": "exact", "column": "gone"}}]"#;
    let failed = bad(grpo(default(), column, 0));
    assert!(failed.contains("max_failed") && failed.contains("gone"), "{failed}");
    let mut long = grpo(default(), LAST_NUMBER, 0);
    long.config.max_completion_length = 64;
    let long = bad(long);
    assert!(long.contains("context of 64"), "{long}");
}

#[test]
fn supervised_fine_tuning_learns_to_copy() {
    let data = completions();
    let config = TrainConfig { max_steps: 150, learning_rate: 1e-2, ..config() };
    let mut trainer = trainer_with(&config, &Task::Sft(SftConfig::default()), &data, None, 1);
    let before = trainer.evaluate(&|| false).unwrap().unwrap().get("eval_loss").unwrap();
    train(&mut trainer, 150);
    let after = trainer.evaluate(&|| false).unwrap().unwrap().get("eval_loss").unwrap();
    assert!(before > 2.0 && after < 0.1, "{before} to {after}");
    assert!(trainer.warnings().is_empty());
}

#[test]
fn pretraining_learns_a_text() {
    let data = Dataset {
        train: vec![Sample::Text("the cat sat on the mat. ".repeat(60))],
        eval: vec![Sample::Text("the cat sat on the mat. ".repeat(4))],
        train_counts: LoadCounts::default(),
        eval_counts: LoadCounts::default(),
    };
    let config = TrainConfig { learning_rate: 1e-2, max_steps: 80, ..config() };
    let mut trainer = trainer_with(&config, &Task::Pretrain, &data, None, 2);
    train(&mut trainer, 80);
    let loss = trainer.evaluate(&|| false).unwrap().unwrap().get("eval_loss").unwrap();
    assert!(loss < 0.2, "{loss}");
}

/// Every loss starts where it should and prefers what is chosen, with full weights and with an adapter.
#[test]
fn preferences_are_learned() {
    let data = pairs();
    for loss in PreferenceLoss::ALL {
        // Where margins are zero, `discopop` falls towards negative ones: it is not convex.
        if loss == PreferenceLoss::Discopop {
            continue;
        }
        for lora in [None, Some(&lora())] {
            let mut trainer = trainer_with(&config(), &dpo(loss), &data, lora, 1);
            let before = trainer.evaluate(&|| false).unwrap().unwrap();
            if loss.needs_reference() {
                assert_eq!(before.get("eval_accuracy"), Some(0.5), "{loss}");
                assert_eq!(before.get("eval_rewards/margins"), Some(0.0), "{loss}");
            }
            if loss == PreferenceLoss::Sigmoid {
                let loss = before.get("eval_loss").unwrap();
                assert!((loss - std::f64::consts::LN_2).abs() < 1e-12);
            }
            train(&mut trainer, 40);
            let after = trainer.evaluate(&|| false).unwrap().unwrap();
            let accuracy = after.get("eval_accuracy").unwrap();
            let margin = after.get("eval_rewards/margins").unwrap();
            assert!(accuracy > 0.9 && margin > 0.0, "{loss}: {accuracy}, {margin}");
        }
    }
}

#[test]
fn judged_completions_are_learned() {
    for lora in [Some(&lora()), None] {
        let mut trainer = trainer_with(&config(), &kto(), &pairs(), lora, 1);
        // The model is its own reference: every value is that of a log-ratio of 0, which is 1/2.
        let before = trainer.evaluate(&|| false).unwrap().unwrap();
        assert_eq!(before.get("eval_rewards/margins"), Some(0.0));
        for loss in [before.get("eval_loss").unwrap(), train(&mut trainer, 1)[0]] {
            assert!((loss - 0.5).abs() < 1e-12, "{loss}");
        }
        train(&mut trainer, 39);
        let margin =
            trainer.evaluate(&|| false).unwrap().unwrap().get("eval_rewards/margins").unwrap();
        assert!(margin > 0.05, "{margin}");
    }
}

/// With full weights the reference stays the model that training started from, in the completions and in `z0`.
#[test]
fn kto_compares_with_the_model_it_starts_from() {
    let mut trainer = trainer_with(&config(), &kto(), &pairs(), None, 1);
    let metrics: Vec<_> = (0..40).map(|_| trainer.iteration().unwrap()).collect();
    assert_eq!(metrics[0].get("kl"), Some(0.0));
    let moved = metrics.iter().filter(|m| m.get("kl").is_some_and(|kl| kl > 0.0)).count();
    assert!(moved > 5, "{moved}");
    assert!(metrics[39].get("rewards/margins").unwrap() > 0.05);
}

/// By bytes: threads, how much is in memory at once, and checkpointing of activations.
#[test]
fn the_same_bits_however_the_work_is_cut() {
    for (task, data, lora) in [
        (sft(), completions(), None),
        (dpo(PreferenceLoss::Sigmoid), pairs(), None),
        (dpo(PreferenceLoss::Sigmoid), pairs(), Some(&lora())),
        (kto(), pairs(), Some(&lora())),
        (kto(), pairs(), None),
    ]
    .into_iter()
    .chain(grpo_tasks())
    {
        let run = |change: &dyn Fn(&mut TrainConfig), threads: usize| {
            let mut config = config();
            change(&mut config);
            let mut trainer = trainer_with(&config, &task, &data, lora, threads);
            let losses = train(&mut trainer, 4);
            // A loss is added up by parts of a batch, in f64; the weights are the same by bytes.
            (losses.last().map(|loss| format!("{loss:.12}")), bits(&trainer))
        };
        let whole = run(&|_| {}, 1);
        assert!(whole == run(&|_| {}, 2), "{task:?} threads");
        assert!(whole == run(&|c| c.micro_batch_tokens = 1, 1), "{task:?} one sequence at a time");
        assert!(whole == run(&|c| c.micro_batch_tokens = 70, 2), "{task:?} some at a time");
        assert!(whole == run(&|c| c.activation_checkpointing = true, 1), "{task:?} checkpointing");
    }
}

/// A run that goes on from saved state and tensors ends with the bits of one that was never stopped.
#[test]
fn resuming_is_exact() {
    for (task, data, lora) in [
        (sft(), completions(), None),
        (dpo(PreferenceLoss::Ipo), pairs(), None),
        (dpo(PreferenceLoss::Sigmoid), pairs(), Some(&lora())),
        (kto(), pairs(), Some(&lora())),
        (kto(), pairs(), None),
    ]
    .into_iter()
    .chain(grpo_tasks())
    {
        let mut whole = trainer_with(&config(), &task, &data, lora, 1);
        let mut first = trainer_with(&config(), &task, &data, lora, 1);
        let expected = train(&mut whole, 20)[9..].to_vec();
        train(&mut first, 9);
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
        let mut second = trainer_with(&config(), &task, &data, lora, 2);
        for (name, values) in tensors {
            second.learner.tensor_mut(&name).unwrap().copy_from_slice(&values);
        }
        second.load(&state).unwrap();
        assert_eq!(train(&mut second, 11), expected, "{task:?}");
        assert_eq!(bits(&second), bits(&whole), "{task:?}");
        assert_eq!((second.step(), second.tokens()), (whole.step(), whole.tokens()));
    }
}

#[test]
fn mistakes_are_named() {
    let error = |config: &TrainConfig, task: &Task, data: &Dataset| {
        let root = SeedSequence::new(7);
        let start =
            Start::new(&ModelSource::New(shape()), StartTerms::default(), data, &root).unwrap();
        Trainer::new(config, task, start, data, &root, 1).unwrap_err().to_string()
    };
    let long = TrainConfig { max_length: 65, ..config() };
    assert!(error(&long, &sft(), &completions()).contains("max_length = 65"));
    let zero = TrainConfig { batch_size: 0, ..config() };
    assert!(error(&zero, &sft(), &completions()).contains("batch_size = 0"));
    let text = error(&config(), &dpo(PreferenceLoss::Sigmoid), &completions());
    assert!(text.contains("chosen"), "{text}");
    // A learning rate that throws the weights away is noticed.
    let wild = TrainConfig { learning_rate: 1e30, warmup_steps: 0, max_grad_norm: 0.0, ..config() };
    let mut trainer = trainer_with(&wild, &sft(), &completions(), None, 1);
    let error = (0..5).find_map(|_| trainer.iteration().err()).unwrap().to_string();
    assert!(error.contains("not both finite"), "{error}");
}

/// A loss that cannot move the weights says that nothing was learned.
#[test]
fn a_run_that_learns_nothing_says_so() {
    let still = TrainConfig { learning_rate: 1e-30, ..config() };
    let mut trainer = trainer_with(&still, &sft(), &completions(), None, 1);
    train(&mut trainer, 4);
    assert!(trainer.warnings()[0].contains("nothing was learned"));
}
