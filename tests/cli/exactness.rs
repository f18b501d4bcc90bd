//! A run is a function of its recipe and seed: for any number of threads, killed or not.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{files_below, last_json, run, skinner, stderr};

/// A run of a few seconds with everything that has state: normalisation, schedules, evaluations.
fn long<'a>(run_dir: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let set = [
        "--set",
        "total_steps=60_000",
        "--set",
        "eval.episodes=5",
        "--set",
        "wrappers.normalize_obs=true",
        "--set",
        "wrappers.normalize_reward=true",
        "--set",
        "eval.every=7000",
    ];
    [&["train", "ppo-cartpole", "--json", "--run-dir", run_dir][..], &set, more].concat()
}

/// All files but those that hold wall-clock times.
fn contents(run_dir: &Path) -> Vec<(String, Vec<u8>)> {
    let timed = ["run.json", "timing.jsonl", "report.html", "lock"];
    files_below(run_dir)
        .into_iter()
        .filter(|file| {
            !timed.iter().any(|name| file.ends_with(name)) && !file.starts_with("tensorboard")
        })
        .map(|file| (file.display().to_string(), std::fs::read(run_dir.join(&file)).unwrap()))
        .collect()
}

fn same(a: &Path, b: &Path) {
    let (a, b) = (contents(a), contents(b));
    let names = |all: &[(String, Vec<u8>)]| all.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b));
    for ((name, a), (_, b)) in a.iter().zip(&b) {
        assert!(a == b, "{name} differs");
    }
}

/// Events hold wall-clock times of eight bytes each, so equal runs leave files of equal size.
fn same_size_of_events(a: &Path, b: &Path) {
    let size = |dir: &Path| {
        let events = dir.join("tensorboard");
        let file = &files_below(&events)[0];
        std::fs::metadata(events.join(file)).unwrap().len()
    };
    assert_eq!(size(a), size(b));
}

#[test]
fn one_thread_and_two_give_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &long("one", &["--threads", "1"]));
    run(dir.path(), &long("again", &["--threads", "1"]));
    run(dir.path(), &long("two", &["--threads", "2"]));
    same(&dir.path().join("one"), &dir.path().join("again"));
    same(&dir.path().join("one"), &dir.path().join("two"));
    let other = last_json(&run(dir.path(), &long("other", &["--seed", "1"])));
    let first = last_json(&run(dir.path(), &long("one", &["--resume"])));
    assert_ne!(other["checkpoint_sha256"], first["checkpoint_sha256"]);
}

fn start(dir: &Path, args: &[&str]) -> Child {
    skinner(dir, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Kills at moments spread over the run, several times in the same directory, and resumes.
#[test]
fn a_killed_run_ends_as_if_it_had_not_been() {
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let expected = last_json(&run(dir.path(), &long("whole", &[])));
    let whole = began.elapsed();
    let mut kills = 0;
    for (i, fraction) in [0.02, 0.35, 0.62, 0.9].into_iter().enumerate() {
        let name = format!("killed-{i}");
        for second in [0.0, 0.17, 0.31] {
            let more: &[&str] = if second > 0.0 { &["--resume"] } else { &[] };
            let mut child = start(dir.path(), &long(&name, more));
            std::thread::sleep(whole.mul_f64(if second > 0.0 { second } else { fraction }));
            kills += usize::from(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let resumed = last_json(&run(dir.path(), &long(&name, &["--resume"])));
        for key in ["checkpoint_sha256", "eval_return_mean", "eval_return_std", "env_steps"] {
            assert_eq!(resumed[key], expected[key], "{key}, {name}");
        }
        same(&dir.path().join("whole"), &dir.path().join(&name));
        same_size_of_events(&dir.path().join("whole"), &dir.path().join(&name));
    }
    assert!(kills >= 3, "only {kills} runs were still alive when killed");
}

#[test]
fn ctrl_c_saves_and_exits_with_130() {
    let dir = tempfile::tempdir().unwrap();
    let expected = last_json(&run(dir.path(), &long("whole", &[])));
    let child = start(dir.path(), &long("stopped", &[]));
    wait_for(&dir.path().join("stopped/metrics.jsonl"));
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(stderr(&output).contains("--resume"));
    let info: Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("stopped/run.json")).unwrap())
            .unwrap();
    assert_eq!(info["status"], "interrupted");
    let resumed = last_json(&run(dir.path(), &long("stopped", &["--resume"])));
    assert_eq!(resumed["checkpoint_sha256"], expected["checkpoint_sha256"]);
    same(&dir.path().join("whole"), &dir.path().join("stopped"));
}

/// Everything else that has state: exploration matrices, stacked frames.
#[test]
fn exploration_matrices_and_frames_are_part_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let args = |run_dir: &'static str, resume: &[&'static str]| {
        let set = [
            "--set",
            "total_steps=40_000",
            "--set",
            "wrappers.frame_stack=2",
            "--set",
            "policy.sde_sample_freq=5",
            "--set",
            "eval.episodes=2",
            "--threads",
            "2",
        ];
        [&["train", "ppo-mountaincar-continuous", "--json", "--run-dir", run_dir][..], &set, resume]
            .concat()
    };
    run(dir.path(), &args("whole", &[]));
    let mut child = start(dir.path(), &args("killed", &[]));
    let checkpoints = dir.path().join("killed/checkpoints");
    let began = Instant::now();
    while std::fs::read_dir(&checkpoints).map_or(0, Iterator::count) < 2 {
        assert!(began.elapsed() < Duration::from_secs(60), "no checkpoints");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    run(dir.path(), &args("killed", &["--resume"]));
    same(&dir.path().join("whole"), &dir.path().join("killed"));
}

/// Tables, counts, traces and half-finished episodes are part of it too.
#[test]
fn tables_and_traces_are_part_of_it() {
    let dir = tempfile::tempdir().unwrap();
    for (recipe, set) in [("sarsa-cliffwalking", "lambda=0.8"), ("monte-carlo-blackjack", "seed=1")]
    {
        let whole = format!("whole-{recipe}");
        let killed = format!("killed-{recipe}");
        let args = |run_dir| {
            let sets = ["--set", "total_steps=4_000_000", "--set", set];
            [&["train", recipe, "--json", "--run-dir", run_dir][..], &sets].concat()
        };
        let expected = last_json(&run(dir.path(), &args(&whole)));
        let mut child = start(dir.path(), &args(&killed));
        let checkpoints = dir.path().join(&killed).join("checkpoints");
        let began = Instant::now();
        while std::fs::read_dir(&checkpoints).map_or(0, Iterator::count) < 2 {
            assert!(began.elapsed() < Duration::from_secs(60), "no checkpoints");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let resumed = last_json(&run(dir.path(), &[args(&killed), vec!["--resume"]].concat()));
        for key in ["checkpoint_sha256", "exact_return", "episodes_to_optimal"] {
            assert_eq!(resumed[key], expected[key], "{key}, {recipe}");
        }
        same(&dir.path().join(&whole), &dir.path().join(&killed));
    }
}

/// So is what was remembered, its priorities, the noise, and moments and target networks.
#[test]
fn replay_and_priorities_are_part_of_it() {
    let dir = tempfile::tempdir().unwrap();
    for recipe in ["dqn-cartpole", "rainbow-cartpole"] {
        let whole = format!("whole-{recipe}");
        let killed = format!("killed-{recipe}");
        let args = |run_dir| {
            let sets = [
                "--set",
                "total_steps=20_000",
                "--set",
                "buffer_size=5_000",
                "--set",
                "eval.episodes=2",
            ];
            [&["train", recipe, "--json", "--run-dir", run_dir][..], &sets].concat()
        };
        let expected = last_json(&run(dir.path(), &args(&whole)));
        let mut child = start(dir.path(), &args(&killed));
        let checkpoints = dir.path().join(&killed).join("checkpoints");
        let began = Instant::now();
        // Late enough that the buffer has begun to forget.
        while !checkpoints.join("step-000000008000").exists() {
            assert!(began.elapsed() < Duration::from_secs(60), "no checkpoints");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let resumed = last_json(&run(dir.path(), &[args(&killed), vec!["--resume"]].concat()));
        assert_eq!(resumed["checkpoint_sha256"], expected["checkpoint_sha256"], "{recipe}");
        same(&dir.path().join(&whole), &dir.path().join(&killed));
    }
}

/// Until the file has a line.
fn wait_for(path: &Path) {
    let began = Instant::now();
    while std::fs::metadata(path).map_or(0, |m| m.len()) == 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "{} stays empty", path.display());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_finished_run_is_not_run_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = last_json(&run(dir.path(), &long("r", &[])));
    let before = contents(&dir.path().join("r"));
    let again = last_json(&run(dir.path(), &long("r", &["--resume"])));
    assert_eq!(first, again);
    assert_eq!(before, contents(&dir.path().join("r")));
}

#[test]
fn resume_without_a_run_starts_one() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &long("r", &["--resume"]));
    run(dir.path(), &long("whole", &[]));
    same(&dir.path().join("r"), &dir.path().join("whole"));
}
