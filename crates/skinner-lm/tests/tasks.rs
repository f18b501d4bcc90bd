//! Tasks of data sets, curricula, and graders that do not repeat themselves.
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::path::{Path, PathBuf};

use skinner_core::SeedSequence;
use skinner_lm::train::grpo::{GrpoConfig, GrpoTask, MonitorConfig, TaskSource, worked_examples};
use skinner_lm::train::{ModelShape, ModelSource, Start, StartTerms, Task, TrainConfig, Trainer};
use skinner_tasks::data_set::{self, Columns, Format};
use skinner_tasks::generate::{Addition, Generator, Sizes};
use skinner_tasks::{RewardConfig, curriculum};

const LAST_NUMBER: &str = r#"[{"verifier": "math", "extractors": ["last_number"]}]"#;

fn config() -> TrainConfig {
    TrainConfig {
        batch_size: 4,
        max_steps: 20,
        max_length: 32,
        learning_rate: 5e-3,
        ..TrainConfig::default()
    }
}

fn grpo(task: impl Into<TaskSource>, reward: &str) -> GrpoTask {
    let config = GrpoConfig {
        num_generations: 6,
        max_completion_length: 6,
        sft_examples: 40,
        train_items: 50,
        eval_items: 4,
        eval_items_on_the_way: 4,
        ..GrpoConfig::default()
    };
    let reward: Vec<RewardConfig> = serde_json::from_str(reward).unwrap();
    GrpoTask {
        config,
        task: task.into(),
        reward,
        sft: None,
        curriculum: None,
        eval_task: vec![],
        monitor: MonitorConfig::default(),
    }
}

fn additions(digits: Sizes) -> Generator {
    Generator::Addition(Addition { digits, forgets: 0.5 })
}

fn trainer(task: &GrpoTask, threads: usize) -> Result<Trainer, String> {
    let root = SeedSequence::new(7);
    let data = worked_examples(task, &root).map_err(|error| error.to_string())?;
    let shape = ModelShape {
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        max_position_embeddings: 64,
        ..ModelShape::default()
    };
    let start = Start::new(&ModelSource::New(shape), StartTerms::default(), &data, &root).unwrap();
    let task = Task::Grpo(Box::new(task.clone()));
    Trainer::new(&config(), &task, start, &data, &root, threads).map_err(|error| error.to_string())
}

/// Tensors, moments and state.
type Saved = (Vec<(String, Vec<f32>)>, Vec<u8>);

fn save(trainer: &Trainer) -> Saved {
    let learner = &trainer.learner;
    let trained = learner.trained().into_iter().map(|(name, _, x)| (name.to_owned(), x.to_vec()));
    let moments = ["adam.mean", "adam.square"].into_iter().zip(learner.moments());
    let moments = moments.map(|(name, x)| (name.to_owned(), x.to_vec()));
    (trained.chain(moments).collect(), trainer.save().unwrap())
}

fn load(trainer: &mut Trainer, (tensors, state): &Saved) {
    for (name, values) in tensors {
        trainer.learner.tensor_mut(name).unwrap().copy_from_slice(values);
    }
    trainer.load(state).unwrap();
}

fn train(trainer: &mut Trainer, steps: u64) {
    for _ in 0..steps {
        trainer.iteration().unwrap();
    }
}

fn write(dir: &Path, name: &str, rows: impl IntoIterator<Item = serde_json::Value>) -> PathBuf {
    let path = dir.join(name);
    let text: String = rows.into_iter().map(|row| row.to_string() + "\n").collect();
    std::fs::write(&path, text).unwrap();
    path
}

fn sum(i: usize) -> serde_json::Value {
    let (a, b) = (i / 7, i % 7);
    serde_json::json!({
        "question": format!("{a}+{b}="),
        "answer": format!("<<{a}+{b}={0}>>{0}\n#### {0}", a + b),
    })
}

fn gsm8k(path: PathBuf) -> TaskSource {
    TaskSource::DataSet(Box::new(data_set::Config::new(path, Format::Gsm8k)))
}

#[test]
fn a_folder_with_splits_is_a_source_of_tasks() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "train.jsonl", (0..40).map(sum));
    write(dir.path(), "test.jsonl", (38..45).map(sum));
    let mut task = grpo(gsm8k(dir.path().into()), LAST_NUMBER);
    task.sft = Some(TrainConfig { max_steps: 2, ..config() });
    let data = worked_examples(&task, &SeedSequence::new(7)).unwrap();
    // The worked solutions, without the calculator's spans.
    assert_eq!((data.train.len(), data.eval.len()), (38, 4));
    let worked = r#"completion: Text("2\n#### 2")"#;
    assert!(format!("{:?}", data.train[8]).contains(worked), "{:?}", data.train[8]);
    let mut trainer = trainer(&task, 1).unwrap();
    let note =
        "38 tasks to train on, 7 kept for evaluation; 2 left out, as they are among those as well";
    assert!(trainer.notes.iter().any(|found| found == note), "{:?}", trainer.notes);
    train(&mut trainer, 6);
    let found = trainer.evaluate_whole(&|| false, false).unwrap().unwrap();
    assert_eq!(found.get("eval_items"), Some(4.0));
    let trace: serde_json::Value =
        serde_json::from_str(trainer.traces().unwrap().lines().next().unwrap()).unwrap();
    assert!(trace["prompt"].as_str().unwrap().ends_with('='), "{trace}");
}

/// Without a split for it, about a tenth is kept, by a hash of the prompt.
#[test]
fn a_file_is_divided() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "rows.jsonl", (0..300).map(sum));
    let task = grpo(gsm8k(path), LAST_NUMBER);
    let trainer = trainer(&task, 1).unwrap();
    let note = trainer.notes.last().unwrap();
    let numbers: Vec<usize> = note.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers[0] + numbers[1], 300, "{note}");
    assert!((15..50).contains(&numbers[1]), "{note}");
}

#[test]
fn data_that_cannot_be_tasks_is_named_by_its_row() {
    let dir = tempfile::tempdir().unwrap();
    let error = |name: &str, row: serde_json::Value, format: Format| {
        let path = write(dir.path(), name, (0..30).map(sum).chain([row]));
        let config = data_set::Config::new(path, format);
        trainer(&grpo(TaskSource::DataSet(Box::new(config)), LAST_NUMBER), 1).err().unwrap()
    };
    let row = serde_json::json!({ "question": "2+2=", "answer": "four" });
    let found = error("a.jsonl", row, Format::Gsm8k);
    let expect = "a.jsonl, line 31: has no answer in column `answer`; set needs_answer = false";
    assert!(found.contains(expect), "{found}");
    let row = serde_json::json!({ "question": "1+".repeat(40), "answer": "#### 40" });
    let found = error("b.jsonl", row, Format::Gsm8k);
    let expect = "b.jsonl, line 31: a prompt of 80 tokens and max_completion_length = 6 are more";
    assert!(found.contains(expect) && found.contains("context of 64"), "{found}");
    let columns = Columns { prompt: "q".into(), answer: None, solution: None, tests: None };
    let found = error("c.jsonl", serde_json::json!({}), Format::Columns(columns));
    assert!(found.contains("c.jsonl, line 1: has no column `q`"), "{found}");
    let mut no_teacher = grpo(gsm8k(dir.path().join("a.jsonl")), LAST_NUMBER);
    no_teacher.sft = Some(config());
    let columns = Columns {
        prompt: "question".into(),
        answer: Some("answer".into()),
        solution: None,
        tests: None,
    };
    let plain = data_set::Config::new(dir.path().join("a.jsonl"), Format::Columns(columns));
    no_teacher.task = TaskSource::DataSet(Box::new(plain));
    let found = trainer(&no_teacher, 1).err().unwrap();
    assert!(found.contains("sft: ") && found.contains("worked solutions"), "{found}");
    let gone = trainer(&grpo(gsm8k("gone.jsonl".into()), LAST_NUMBER), 1).err().unwrap();
    assert!(gone.contains("gone.jsonl"), "{gone}");
}

/// Of a generator by size, of a data set by row: the run that continues has the same bytes.
#[test]
fn a_curriculum_continues_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let rows = write(dir.path(), "rows.jsonl", (0..40).map(sum));
    for (source, shown) in [
        (additions(Sizes::new(1, 3)).into(), "curriculum/probability/3"),
        (gsm8k(rows), "curriculum/pass_rate"),
    ] {
        let mut task = grpo(source, LAST_NUMBER);
        task.curriculum = Some(curriculum::Config::default());
        let [mut whole, mut first] = [(); 2].map(|()| trainer(&task, 1).unwrap());
        train(&mut whole, 4);
        train(&mut first, 4);
        let saved = save(&first);
        let found: Vec<_> = (0..4).map(|_| whole.iteration().unwrap()).collect();
        assert!(found[3].get(shown).is_some_and(|x| (0.0..=1.0).contains(&x)), "{found:?}");
        let mut second = trainer(&task, 2).unwrap();
        load(&mut second, &saved);
        let again: Vec<_> = (0..4).map(|_| second.iteration().unwrap()).collect();
        assert_eq!(again, found);
        assert_eq!(save(&second), save(&whole));
        // Without its state the same steps would draw other tasks.
        let mut forgetful = trainer(&task, 1).unwrap();
        let mut state: serde_json::Value = serde_json::from_slice(&saved.1).unwrap();
        state["grpo"]["curriculum"].take();
        load(&mut forgetful, &(saved.0, serde_json::to_vec(&state).unwrap()));
        train(&mut forgetful, 4);
        assert_ne!(save(&forgetful), save(&whole));
    }
}

#[test]
fn a_curriculum_needs_levels() {
    let mut task = grpo(additions(2.into()), LAST_NUMBER);
    task.curriculum = Some(curriculum::Config::default());
    let error = trainer(&task, 1).err().unwrap();
    assert!(error.contains("curriculum: all tasks are of one size"), "{error}");
    task.task = additions(Sizes::new(1, 2)).into();
    task.curriculum = Some(curriculum::Config { memory: 2.0, uniform: 0.1 });
    let error = trainer(&task, 1).err().unwrap();
    assert!(error.contains("curriculum: memory = 2 is out of range"), "{error}");
}

/// Its rewards depend on how often it was asked before, which it keeps in a file.
const COUNTING: &str = "
import json, sys
for line in sys.stdin:
    completions = json.loads(line)['completions']
    try:
        count = int(open(sys.argv[1]).read())
    except OSError:
        count = 0
    open(sys.argv[1], 'w').write(str(count + 1))
    print(json.dumps([(len(c) + sum(map(ord, c)) + count) % 5 / 5 for c in completions]))
";

fn counting(file: &Path) -> GrpoTask {
    let reward = serde_json::json!([{
        "verifier": "external",
        "command": ["python3", "-u", "-c", COUNTING, file],
    }]);
    grpo(additions(1.into()), &reward.to_string())
}

/// What a grader says only once is in the journal, so the steps after a checkpoint come out the same again.
#[test]
fn a_grader_that_never_repeats_itself_still_gives_the_same_run() {
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        eprintln!("SKIPPED, nothing was tested: there is no python3");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let mut whole = trainer(&counting(&path("whole")), 1).unwrap();
    whole.keep_grades(&path("whole.jsonl")).unwrap();
    train(&mut whole, 10);

    let task = counting(&path("killed"));
    let mut first = trainer(&task, 1).unwrap();
    first.keep_grades(&path("killed.jsonl")).unwrap();
    train(&mut first, 4);
    let saved = save(&first);
    train(&mut first, 3);
    drop(first);
    let asked = std::fs::read_to_string(path("killed")).unwrap();

    let mut second = trainer(&task, 2).unwrap();
    second.keep_grades(&path("killed.jsonl")).unwrap();
    load(&mut second, &saved);
    train(&mut second, 3);
    assert_eq!(std::fs::read_to_string(path("killed")).unwrap(), asked, "graded again");
    train(&mut second, 3);
    assert_eq!(save(&second), save(&whole));
    let journals = ["whole.jsonl", "killed.jsonl"].map(|name| std::fs::read(path(name)).unwrap());
    assert!(!journals[0].is_empty() && journals[0] == journals[1]);

    // Without the journal the run goes another way.
    let mut other = trainer(&task, 1).unwrap();
    load(&mut other, &saved);
    train(&mut other, 6);
    assert_ne!(save(&other), save(&whole));
}

/// Verifiers that only compute are asked again.
#[test]
fn what_repeats_needs_no_journal() {
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = trainer(&grpo(additions(1.into()), LAST_NUMBER), 1).unwrap();
    trainer.keep_grades(&dir.path().join("grades.jsonl")).unwrap();
    train(&mut trainer, 2);
    assert!(!dir.path().join("grades.jsonl").exists());
}
