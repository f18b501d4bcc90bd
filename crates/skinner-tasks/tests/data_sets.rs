//! Data sets as they are published, loaded and audited. `SKINNER_TEST_DATA` names the folder with `gsm8k`, `svamp`,
//! `humaneval` and `mbpp`.

mod verifiers_common;

use std::path::PathBuf;

use skinner_tasks::audit::{self, Audit};
use skinner_tasks::data_set::{Config, DataSet, Format, load};
use skinner_tasks::{RewardConfig, Rewards};
use verifiers_common::{data_file, say};

/// A file's path, where the folder is there.
fn path(name: &str) -> Option<PathBuf> {
    data_file(name)?;
    std::env::var_os("SKINNER_TEST_DATA").map(|folder| PathBuf::from(folder).join(name))
}

fn data(name: &str, format: Format) -> Option<DataSet> {
    Some(load(&Config::new(path(name)?, format)).unwrap())
}

fn audited(data: &DataSet) -> Audit {
    let configs: Vec<RewardConfig> = serde_json::from_str(r#"[{"verifier": "math"}]"#).unwrap();
    let rewards = Rewards::new(&configs).unwrap();
    audit::audit(&data.train, &rewards, None, &audit::Config::default())
}

#[test]
fn gsm8k() {
    let (Some(train), Some(test)) = (path("gsm8k/train.jsonl"), path("gsm8k/test.jsonl")) else {
        return;
    };
    let config = Config { eval_path: Some(test), ..Config::new(train, Format::Gsm8k) };
    let data = load(&config).unwrap();
    assert_eq!((data.train.len() + data.left_out, data.eval.len()), (7473, 1319));
    assert_eq!(data.eval[0].answer.as_deref(), Some("18"));
    let audit = audited(&data);
    say(&format!("gsm8k, left out {}\n{audit}", data.left_out));
    assert_eq!((audit.without_answer.count, audit.not_graded.count), (0, 0));
    assert!(audit.unsolvable.share() < 0.001, "{audit}");
}

#[test]
fn svamp() {
    let Some(data) = data("svamp/test.jsonl", Format::Svamp) else { return };
    assert_eq!(data.train.len(), 1000);
    assert_eq!(data.train[0].answer.as_deref(), Some("145"));
    let audit = audited(&data);
    say(&format!("svamp\n{audit}"));
    assert_eq!(audit.unsolvable.count, 0);
}

#[test]
fn programs() {
    let Some(humaneval) = data("humaneval/HumanEval.jsonl", Format::Humaneval) else { return };
    assert_eq!(humaneval.train.len(), 164);
    assert_eq!(humaneval.train[0].columns["entry_point"], "has_close_elements");
    let Some(mbpp) = data("mbpp/mbpp.jsonl", Format::Mbpp) else { return };
    assert_eq!(mbpp.train.len(), 974);
    let Some(sanitized) = data("mbpp/sanitized-mbpp.json", Format::Mbpp) else { return };
    assert_eq!(sanitized.train.len(), 427);
    let all = humaneval.train.iter().chain(&mbpp.train).chain(&sanitized.train);
    assert!(all.into_iter().all(|task| task.answer.is_some() && task.prompt.is_string()));
}
