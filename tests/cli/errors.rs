//! Bad input: one clear line that says what, where and what would be right.

use std::path::Path;

use super::{error, run, skinner, small, stderr};

fn says(dir: &Path, args: &[&str], parts: &[&str]) {
    let line = error(dir, args);
    for part in parts {
        assert!(line.contains(part), "{args:?}: `{part}` is not in: {line}");
    }
}

fn set_says(set: &str, parts: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    says(dir.path(), &["train", "ppo-cartpole", "--set", set], parts);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn unknown_names_come_with_the_nearest() {
    let dir = tempfile::tempdir().unwrap();
    says(dir.path(), &["train", "ppo-cartpol"], &["`ppo-cartpol`", "`ppo-cartpole`"]);
    says(dir.path(), &["train", "missing.toml"], &["missing.toml", "No such file"]);
    set_says("learning_rat=1", &["learning_rat", "learning_rate", "ppo-cartpole"]);
    set_says("sed=1", &["sed", "seed"]);
    set_says("policy.hiden_sizes=[1]", &["hiden_sizes", "hidden_sizes"]);
    set_says("eval.episode=1", &["episode", "episodes"]);
    set_says("env=CartPol-v1", &["CartPol-v1", "CartPole-v1"]);
    set_says("env.max_episode_step=1", &["max_episode_step", "max_episode_steps"]);
    set_says("algorithm=ppp", &["ppp", "ppo"]);
    set_says("policy.activation=tan", &["tan", "tanh"]);
}

#[test]
fn wrong_types_and_ranges() {
    set_says("gamma=1.5", &["gamma = 1.5", "between 0 and 1"]);
    set_says("num_envs=0", &["num_envs = 0", "at least 1"]);
    set_says("num_envs=-3", &["num_envs", "-3"]);
    set_says("num_envs=many", &["num_envs", "many"]);
    set_says("num_minibatches=7", &["num_minibatches = 7", "256"]);
    set_says("total_steps=10", &["total_steps = 10", "one rollout"]);
    set_says("learning_rate=nan", &["learning_rate"]);
    set_says("policy.hidden_sizes=[64,0]", &["hidden_sizes", "at least 1"]);
    set_says("policy.exploration=state_dependent", &["Discrete(2)", "continuous"]);
    set_says("wrappers.rescale_action=true", &["rescale_action", "Discrete(2)"]);
    set_says("wrappers.frame_stack=0", &["frame_stack", "at least 1"]);
    set_says("env.max_episode_steps=0", &["max_episode_steps", "CartPole-v1"]);
    set_says("gamma", &["gamma", "="]);
    set_says("num_envs=4294967296", &["num_envs = 4294967296", "more than"]);
    set_says("policy.hidden_sizes=[1000000]", &["hidden_sizes", "at most"]);
    set_says("wrappers.frame_stack=1000000000000", &["frame_stack", "at most"]);
    set_says("env=CliffWalking-v1", &["CliffWalking-v1", "env.max_episode_steps"]);
}

#[test]
fn recipes_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let write = |text: &str| std::fs::write(dir.path().join("r.toml"), text).unwrap();
    write("algorithm = \"ppo\"\nenv = \"CartPole-v1\"\ngamma = = 1\n");
    says(dir.path(), &["train", "r.toml"], &["r.toml", "line 3"]);
    write("env = \"CartPole-v1\"\n");
    says(dir.path(), &["train", "r.toml"], &["algorithm", "`ppo`"]);
    write("algorithm = \"ppo\"\n");
    says(dir.path(), &["train", "r.toml"], &["env.id"]);
    std::fs::write(dir.path().join("r.toml"), [0xff, 0xfe, 0x00]).unwrap();
    says(dir.path(), &["train", "r.toml"], &["r.toml"]);
}

#[test]
fn arguments_that_make_no_sense() {
    let dir = tempfile::tempdir().unwrap();
    says(dir.path(), &["train", "ppo-cartpole", "--device", "cuda"], &["cuda", "cpu"]);
    says(dir.path(), &["eval", "nowhere"], &["nowhere", "no run directory"]);
    says(dir.path(), &["report", "nowhere", "--out", "x.html"], &["nowhere"]);
    let usage = skinner(dir.path(), &["train", "ppo-cartpole", "--seeds", "0"]).output().unwrap();
    assert_eq!(usage.status.code(), Some(2), "{}", stderr(&usage));
    let usage = skinner(dir.path(), &["trian"]).output().unwrap();
    assert!(stderr(&usage).contains("train"), "{}", stderr(&usage));
}

/// A reward beyond what an f32 holds: the run stops and says where.
#[test]
fn a_number_that_is_not_finite_stops_the_run() {
    let dir = tempfile::tempdir().unwrap();
    says(
        dir.path(),
        &[
            "train",
            "ppo-cartpole",
            "--run-dir",
            "r",
            "--set",
            "env=GaussianBandit-v0",
            "--set",
            "env.means=[1e300, 1e300]",
        ],
        &["environment 0", "reward inf", "finite"],
    );
    let info = std::fs::read_to_string(dir.path().join("r/run.json")).unwrap();
    assert!(info.contains("failed"), "{info}");
}

#[test]
fn directories_that_cannot_be_used() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &small(&["--run-dir", "r"]));
    says(dir.path(), &small(&["--run-dir", "r"]), &["already holds a run", "--resume"]);
    says(
        dir.path(),
        &small(&["--run-dir", "r", "--resume", "--set", "gamma=0.5"]),
        &["gamma", "0.98", "0.5"],
    );
    std::fs::create_dir(dir.path().join("other")).unwrap();
    std::fs::write(dir.path().join("other/notes.txt"), "mine").unwrap();
    says(dir.path(), &small(&["--run-dir", "other"]), &["other", "notes.txt"]);
    std::fs::write(dir.path().join("file"), "mine").unwrap();
    says(dir.path(), &small(&["--run-dir", "file"]), &["file", "not a directory"]);
    assert_eq!(std::fs::read_to_string(dir.path().join("file")).unwrap(), "mine");
    // A file system that takes no directory, even from root.
    if Path::new("/proc/self").exists() {
        says(dir.path(), &small(&["--run-dir", "/proc/self/run"]), &["/proc/self/run", "cannot"]);
    }
}
