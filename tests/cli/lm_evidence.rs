//! What a run with rewards leaves as evidence: pass@k before and after, warnings of its monitor, charts.

use std::path::Path;

use serde_json::Value;

use super::{last_json, run, skinner, stderr};

/// Sums of two digits, imitated first; `reward` and `more` are tables.
fn write_recipe(dir: &Path, name: &str, keys: &str, reward: &str, more: &str) {
    let text = format!(
        "algorithm = \"grpo\"\nmax_length = 32\nbatch_size = 4\nlearning_rate = 2e-3\nmax_steps = 40\nlog_every = 1\n\
         num_generations = 8\nmax_completion_length = 12\nsft_examples = 200\neval_items = 4\n\
         eval_items_on_the_way = 4\n{keys}\n\
         [model]\nhidden_size = 32\nnum_hidden_layers = 2\nnum_attention_heads = 4\nmax_position_embeddings = 32\n\
         [sft]\nbatch_size = 16\nmax_length = 32\nmax_steps = 300\nlearning_rate = 5e-3\n\
         [samples]\ncount = 1\nmax_new_tokens = 4\n\
         [task]\nname = \"addition\"\ndigits = 1\n{reward}\n{more}\n"
    );
    std::fs::write(dir.join(name), text).unwrap();
}

const A_LETTER: &str =
    "[[reward]]\nverifier = \"text\"\ncheck = { kind = \"regex\", pattern = \"7\" }\n";
const THE_SUM: &str = "[[reward]]\nverifier = \"math\"\nextractors = [\"last_number\"]\n";

/// A reward that pays for a letter, whatever the sum: the verifier that is not trained on falls, the run stops
/// with the reason and says it everywhere.
#[test]
fn a_gamed_reward_stops_the_run_where_that_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let monitor = "[monitor]\nwindow = 4\nstop = true\nconstant_answers = 0.0\ndistinct_factor = 0.0\n\
                   length_factor = 0.0\nrepetition = 0.0\npatience = 0\n\
                   [[monitor.reward]]\nlabel = \"sum\"\nverifier = \"math\"\nextractors = [\"last_number\"]\n";
    write_recipe(dir, "gamed.toml", "", A_LETTER, monitor);
    let args = ["train", "gamed.toml", "--json", "--run-dir", "gamed"];
    let output = skinner(dir, &args).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: stopped by its monitor: since step"), "{said}");
    assert!(said.contains("the verifier `sum`, which is not trained on, has fallen"), "{said}");
    let info = || -> Value {
        serde_json::from_slice(&std::fs::read(dir.join("gamed/run.json")).unwrap()).unwrap()
    };
    assert!(info()["status"].as_str().unwrap().starts_with("failed: stopped by its monitor"));
    assert!(info()["warnings"][0].as_str().unwrap().contains("the reward may be gamed"));
    let report = std::fs::read_to_string(dir.join("gamed/report.html")).unwrap();
    assert!(report.contains("warning: since step") && report.contains("may be gamed"));
    let last =
        |metrics: &str| -> Value { serde_json::from_str(metrics.lines().last().unwrap()).unwrap() };
    let metrics = std::fs::read_to_string(dir.join("gamed/metrics.jsonl")).unwrap();
    assert!(last(&metrics)["monitor/rewards/sum/mean"].as_f64().unwrap() < 0.5);
    assert!(last(&metrics)["step"].as_u64().unwrap() < 340);
    // Resumed, it stops again where it was.
    let again = skinner(dir, &[&args[..], &["--resume"]].concat()).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("stopped by its monitor: since step"), "{}", stderr(&again));
    assert_eq!(std::fs::read_to_string(dir.join("gamed/metrics.jsonl")).unwrap(), metrics);
    assert!(info()["warnings"][0].as_str().unwrap().contains("the reward may be gamed"));
}

/// pass@k before and after, in the result, in the log, as a chart and in words; beside a divergence from the model
/// after imitation, which survives a stop.
#[test]
fn what_reinforcement_adds_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let keys = "eval_samples = 8\neval_items_sampled = 3\nbeta = 0.01";
    write_recipe(dir, "sum.toml", keys, THE_SUM, "");
    let args = ["train", "sum.toml", "--json", "--run-dir", "whole"];
    let result = last_json(&run(dir, &args));
    let number = |key: &str| result[key].as_f64().unwrap_or_else(|| panic!("no {key}"));
    for k in [1, 2, 4, 8] {
        for name in ["eval_pass_at_k", "eval_pass_at_k_before"] {
            assert!((0.0..=1.0).contains(&number(&format!("{name}/{k}"))));
        }
    }
    assert!(number("eval_pass_at_k_before/1") <= number("eval_pass_at_k_before/8"));
    assert_eq!(number("eval_items_sampled"), 3.0);
    for key in ["eval_accuracy_before", "eval_maj_at_k/8", "eval_maj_at_k_before/8", "eval_reward"]
    {
        assert!((0.0..=1.0).contains(&number(key)), "{key}");
    }
    let metrics = std::fs::read_to_string(dir.join("whole/metrics.jsonl")).unwrap();
    let steps: Vec<u64> = metrics
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line.get("eval_pass_at_k/1").is_some())
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [301, 340], "before the first step with rewards, and after the last");
    let timing = std::fs::read_to_string(dir.join("whole/timing.jsonl")).unwrap();
    let of_step = timing.lines().find(|line| line.contains("\"step\":330,")).unwrap();
    let of_step: Value = serde_json::from_str(of_step).unwrap();
    let seconds = |part: &str| of_step[format!("seconds/{part}")].as_f64().unwrap();
    let parts: f64 = ["generation", "grading", "gradients", "optimizer"].map(seconds).iter().sum();
    assert!(parts > 0.0 && parts <= seconds("step"), "{of_step}");
    let svg = std::fs::read_to_string(dir.join("whole/pass-at-k.svg")).unwrap();
    assert!(svg.contains("before reinforcement") && svg.contains("after reinforcement"));
    let report = std::fs::read_to_string(dir.join("whole/report.html")).unwrap();
    for part in ["What reinforcement adds", "At one attempt", "Accuracy and length of completions"]
    {
        assert!(report.contains(part), "{part}");
    }
    // Killed once the weights after imitation are kept, and continued.
    let stopped = ["train", "sum.toml", "--json", "--run-dir", "stopped"];
    let mut child = skinner(dir, &stopped)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let reference = dir.join("stopped/checkpoints/reference");
    while !reference.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let _ = child.kill();
    child.wait().unwrap();
    let continued = last_json(&run(dir, &[&stopped[..], &["--resume"]].concat()));
    assert_eq!(continued["checkpoint_sha256"], result["checkpoint_sha256"]);
    assert_eq!(std::fs::read_to_string(dir.join("stopped/metrics.jsonl")).unwrap(), metrics);
}

/// Its rewards are anything.
const MOODY: &str = "
import json, random, sys
for line in sys.stdin:
    print(json.dumps([random.random() for _ in json.loads(line)['completions']]), flush=True)
";

/// Rewards, the monitor's and those of evaluations are of a program that never says the same twice: what a run had
/// logged when it was killed stands in the log of the run that went on from the last checkpoint.
#[test]
#[expect(clippy::print_stderr, reason = "a test that skips says why")]
fn what_a_grader_said_before_a_kill_stands_after_it() {
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        eprintln!("SKIPPED, nothing was tested: there is no python3");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("grade.py"), MOODY).unwrap();
    let grader = |table: &str| {
        format!("[[{table}]]\nverifier = \"external\"\ncommand = [\"python3\", \"grade.py\"]\n")
    };
    let elsewhere = format!(
        "[[eval_task]]\nlabel = \"two\"\nitems = 4\ntask = {{ name = \"addition\", digits = 2 }}\n{}",
        grader("eval_task.reward")
    );
    let more = [grader("monitor.reward"), elsewhere, "[eval]\nevery = 3\n".into()].concat();
    let keys = "eval_samples = 4\neval_items_sampled = 3";
    write_recipe(dir, "moody.toml", keys, &grader("reward"), &more);
    let args =
        ["train", "moody.toml", "--json", "--run-dir", "killed", "--set", "sft.max_steps=20"];
    let log = dir.join("killed/metrics.jsonl");
    // There is no log until the run has begun.
    let lines = || {
        if log.exists() { std::fs::read_to_string(&log).unwrap() } else { String::new() }
    };
    let checkpoint = || {
        let saved = std::fs::read_dir(dir.join("killed/checkpoints")).unwrap();
        let names = saved.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter_map(|name| name.strip_prefix("step-")?.parse::<u64>().ok()).max()
    };
    let (mut before, mut redone) = (String::new(), 0);
    for attempt in 0..5 {
        let resume: &[&str] = if attempt == 0 { &[] } else { &["--resume"] };
        let mut child = skinner(dir, &[&args[..], resume].concat())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let enough = before.lines().count().max(24) + 3;
        while lines().lines().count() < enough && child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let _ = child.kill();
        child.wait().unwrap();
        let now = lines();
        let now = &now[..now.rfind('\n').map_or(0, |end| end + 1)];
        assert!(now.starts_with(&before), "{before}\nbecame\n{now}");
        let last: Value = serde_json::from_str(now.lines().last().unwrap()).unwrap();
        redone += last["step"].as_u64().unwrap() - checkpoint().unwrap_or(0).max(20);
        before = now.to_owned();
    }
    run(dir, &[&args[..], &["--resume"]].concat());
    assert!(lines().starts_with(&before), "{before}\nbecame\n{}", lines());
    assert!(redone > 0, "always killed right after a checkpoint");
    for part in ["monitor/rewards/external/mean", "eval_accuracy/two"] {
        assert!(lines().contains(part), "{part}: {}", lines());
    }
}
