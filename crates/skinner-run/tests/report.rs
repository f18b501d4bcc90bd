//! Reports of whole, partial and broken run directories.

use std::fs;
use std::path::Path;

use serde_json::json;
use skinner_core::Metrics;
use skinner_run::report::{RunReport, run_dirs, write_report};
use skinner_run::{History, Logger, RunDir, RunInfo, Status};
use tempfile::tempdir;

/// A finished run whose return is its seed times ten.
fn sample(path: &Path, seed: u64, gamma: f64, lines: u64) {
    let recipe = format!("gamma = {gamma}\nseed = {seed}\n[env]\nid = \"<Cart&Pole>\"\n");
    let info = RunInfo {
        version: "0.1.0".to_owned(),
        command: format!("skinner train ppo-cartpole --seed {seed}"),
        algorithm: "ppo".to_owned(),
        env: "<Cart&Pole>".to_owned(),
        seed,
        started: "2026-01-01T00:00:00Z".to_owned(),
        ..RunInfo::default()
    };
    let run_dir = RunDir::create(path, &recipe, &info).unwrap();
    let mut logger = Logger::open(&run_dir, None).unwrap();
    for line in 1..=lines {
        let (mut metrics, mut timing) = (Metrics::new(), Metrics::new());
        metrics.set("episode_return", seed as f64 * 10.0);
        metrics.set("policy_loss", f64::NAN);
        timing.set("steps_per_second", 1000.0);
        timing.set("train_seconds", line as f64 * 3.06);
        logger.log(line * (100 + seed), &metrics, &timing).unwrap();
    }
    let result = json!({ "return_mean": seed as f64 * 10.0, "episodes": 100, "kind": "greedy" });
    let finish = |info: &mut RunInfo| {
        info.status = Status::Finished;
        info.ended = Some("2026-01-01T00:01:01Z".to_owned());
        info.result = result.as_object().cloned();
    };
    run_dir.update_info(finish).unwrap();
}

fn report(root: &Path, paths: &[&Path]) -> (String, Vec<String>) {
    let out = root.join("reports/report.html");
    let notes = write_report(&out, paths).unwrap();
    (fs::read_to_string(out).unwrap(), notes)
}

#[test]
fn one_run() {
    let home = tempdir().unwrap();
    sample(&home.path().join("run"), 3, 0.98, 20);
    let (html, notes) = report(home.path(), &[&home.path().join("run")]);
    assert!(notes.is_empty(), "{notes:?}");
    for part in [
        "<h1>ppo on &lt;Cart&amp;Pole&gt;</h1>",
        "<td>3</td><td>30</td><td>100</td>",
        "Episode return in training",
        "policy_loss",
        "<td>gamma</td><td>0.98</td>",
        "<td>1 min 1 s</td><td>1000</td>",
        "<pre>skinner train ppo-cartpole --seed 3</pre>",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("<Cart") && !html.contains("<script") && !html.contains("mean ±"));
    assert!(!html.replace("http://www.w3.org/2000/svg", "").contains("http"), "nothing is fetched");
    assert!(!html.contains("NaN"));
}

#[test]
fn seeds_of_one_recipe_are_one_curve() {
    let home = tempdir().unwrap();
    for seed in [2, 10, 1, 4] {
        sample(&home.path().join(format!("seed-{seed}")), seed, 0.98, 20);
    }
    let dirs = run_dirs(home.path()).unwrap();
    assert!(dirs[3].ends_with("seed-10"), "seeds are numbers: {dirs:?}");
    let (html, _) = report(home.path(), &[home.path()]);
    assert!(html.contains("seeds 1, 2, 4, 10"));
    assert!(html.contains("<td>mean ± std</td><td>42.5 ± 34.9</td><td>100</td>"));
    assert!(html.contains("<td>IQM [95 %]</td><td>30.0 ["));
    assert_eq!(html, report(home.path(), &[home.path()]).0, "the bootstrap is seeded");
}

#[test]
fn different_recipes_are_told_apart() {
    let home = tempdir().unwrap();
    let (a, b) = (home.path().join("a"), home.path().join("b"));
    sample(&a, 1, 0.98, 20);
    sample(&b, 1, 0.99, 20);
    let (html, _) = report(home.path(), &[&a, &b]);
    assert!(html.contains("<h1>ppo on &lt;Cart&amp;Pole&gt;: 2 recipes</h1>"));
    assert!(html.contains("(gamma = 0.98)") && html.contains("(gamma = 0.99)"));
    assert!(html.contains("<tr class=\"strong\"><td>gamma</td>"));
}

#[test]
fn a_run_that_is_not_whole_is_reported_as_it_is() {
    let home = tempdir().unwrap();
    let path = home.path().join("run");
    drop(RunDir::create(&path, "seed = 1\n", &RunInfo::default()).unwrap());
    let (html, notes) = report(home.path(), &[&path]);
    assert!(notes[0].ends_with("metrics.jsonl holds no metrics: nothing has been logged yet"));
    assert!(notes[1].ends_with("is not finished: killed (no process holds its lock)"));
    assert!(
        html.contains("No episode return has been logged.")
            && html.contains("No final evaluation yet.")
    );

    fs::write(path.join("metrics.jsonl"), "{\"step\":5,\"a\":1}\n[]\n{\"step\":6,\"a\"").unwrap();
    fs::write(path.join("run.json"), "{").unwrap();
    let (html, notes) = report(home.path(), &[&path]);
    assert!(notes.iter().any(|note| note.contains("run.json cannot be read")), "{notes:?}");
    assert!(notes.iter().any(|note| note.ends_with("2 unreadable lines left out, first line 2")));
    assert!(html.contains("The command is not known"));

    let _holder = RunDir::resume(&path, "seed = 1\n", &RunInfo::default()).unwrap();
    assert_eq!(RunReport::read(&path).unwrap().stands(), "running");
}

/// A finished run of a language model.
fn language(path: &Path, seed: u64) {
    let recipe = format!("model = \"small\"\nseed = {seed}\n[data]\npath = \"d\"\n");
    let info = RunInfo { algorithm: "dpo".into(), env: "small".into(), seed, ..RunInfo::default() };
    let run_dir = RunDir::create(path, &recipe, &info).unwrap();
    let mut logger = Logger::open(&run_dir, None).unwrap();
    for step in 0..=10_u64 {
        let (mut metrics, mut timing) = (Metrics::new(), Metrics::new());
        metrics.set("loss", 0.7 - step as f64 / 100.0);
        metrics.set("rewards/margins", step as f64);
        if step % 5 == 0 {
            metrics.set("eval_accuracy", 0.6);
            metrics.set("eval_accuracy_low", 0.5);
            metrics.set("eval_accuracy_high", 0.7);
        }
        timing.set("tokens_per_second", 123.4);
        timing.set("train_seconds", 3.0);
        logger.log(step, &metrics, &timing).unwrap();
    }
    let result = json!({
        "eval_accuracy": 0.6, "samples/mean_length": 12.5, "steps": 10, "num_tokens": 5000,
        "tokens_per_second": 123.4, "train_seconds": 3.0, "peak_memory_mb": 765.4,
    });
    run_dir
        .update_info(|info| {
            info.status = Status::Finished;
            info.result = result.as_object().cloned();
        })
        .unwrap();
}

fn write_samples(run: &Path, before: &str, after: &str) {
    fs::create_dir_all(run.join("samples")).unwrap();
    fs::write(run.join("samples/before.jsonl"), before).unwrap();
    fs::write(run.join("samples/after.jsonl"), after).unwrap();
}

#[test]
fn a_language_model_is_shown_before_and_after() {
    let home = tempdir().unwrap();
    let run = home.path().join("run");
    language(&run, 1);
    let line = |completion: &str, tokens: u64| {
        json!({
            "prompt": "<Who>?", "completion": completion, "tokens": tokens, "log_prob": -3.5,
            "finish": "stop", "log_ratio": 1.234_5,
        })
        .to_string()
    };
    let long = "a & b ".repeat(200);
    write_samples(&run, &line("<b>me</b>", 3), &(line(&long, 700) + "\n"));
    let (html, notes) = report(home.path(), &[&run]);
    assert!(notes.is_empty(), "{notes:?}");
    for part in [
        "<h1>dpo on small</h1>",
        "Of the final model, not the best one.",
        "<th>seed</th><th>eval_accuracy</th><th>samples/mean_length</th><th>num_tokens</th><th>steps</th></tr>",
        "Accuracy on what is kept for evaluation",
        "Loss in training",
        "the band of the accuracy is its 95 % bootstrap interval over what was evaluated.",
        "<td class=\"text\">&lt;Who&gt;?</td><td class=\"text\">&lt;b&gt;me&lt;/b&gt;</td>",
        "<details><summary>a &amp; b a &amp; b",
        "<td>3 → 700</td><td>1.23</td>",
        "rewards/margins",
        "All over optimizer steps.",
        "<th>tokens per second</th><th>peak memory</th>",
        "<td>3.0 s</td><td>123</td><td>765 MB</td>",
    ] {
        assert!(html.contains(part), "{part}");
    }
    for part in ["episode", "environment", "steps per second", "<b>me"] {
        assert!(!html.contains(part), "{part}");
    }
}

#[test]
fn samples_of_several_runs_are_the_first_ones() {
    let home = tempdir().unwrap();
    for seed in [1, 2] {
        let run = home.path().join(format!("seed-{seed}"));
        language(&run, seed);
        let line = format!("{{\"prompt\":\"p\",\"completion\":\"of seed {seed}\"}}\n");
        write_samples(&run, &line, &line);
    }
    let (html, notes) = report(home.path(), &[home.path()]);
    assert!(notes.is_empty(), "{notes:?}");
    assert!(html.contains("seed-1</h3>") && html.contains("of seed 1"));
    assert!(!html.contains("seed-2</h3>") && !html.contains("of seed 2"));
    assert!(html.contains("<td>– → –</td></tr>"), "what is not known is a dash, and has no column");
}

#[test]
fn samples_that_are_broken_become_notes() {
    let home = tempdir().unwrap();
    let run = home.path().join("run");
    language(&run, 1);
    let ok = "{\"prompt\":\"p\",\"completion\":\"c\"}\n";
    let check = |before: Option<&str>, after: Option<&str>, expect: &str| {
        write_samples(&run, before.unwrap_or(""), after.unwrap_or(""));
        for (name, text) in [("before", before), ("after", after)] {
            if text.is_none() {
                fs::remove_file(run.join(format!("samples/{name}.jsonl"))).unwrap();
            }
        }
        let (html, notes) = report(home.path(), &[&run]);
        assert!(notes.len() == 1 && notes[0].contains(expect), "{expect}: {notes:?}");
        assert!(html.contains("<td class=\"text\">c</td>"), "what can be read is shown");
    };
    check(Some(&(ok.to_owned() + "{\"prompt\":1}\n[")), Some(ok), "2 unreadable lines left out");
    check(Some(ok), None, "after.jsonl");
    check(None, Some(ok), "before.jsonl");
    check(Some("{\"prompt\":\"q\",\"completion\":\"d\"}"), Some(ok), "hold other prompts");
}

#[test]
fn what_is_no_run_is_refused() {
    let home = tempdir().unwrap();
    let out = home.path().join("report.html");
    let error = write_report(&out, &[home.path().join("none")]).unwrap_err().to_string();
    assert!(error.ends_with("none is no run directory: it has no recipe.toml"), "{error}");
    let nothing: [&Path; 0] = [];
    assert!(write_report(&out, &nothing).unwrap_err().to_string().contains("name at least one"));
    assert!(!out.exists());
}

#[test]
fn history_reads_what_can_be_read() {
    let text = b"{\"step\":1,\"b\":2,\"a\":null}\n\n{\"b\":1}\n{\"step\":2,\"a\":3.5}\n{\"step\":3,\"a\":\"x\"}\n";
    let history = History::parse(text);
    assert_eq!(history.points("b"), [(1.0, 2.0)]);
    assert_eq!(history.points("a"), [(2.0, 3.5)]);
    assert_eq!(history.columns[0].name, "b");
    assert_eq!((history.last_step, history.lines), (Some(2), 2));
    assert_eq!(history.unreadable, [3, 5]);
    assert!(history.points("c").is_empty());
}
