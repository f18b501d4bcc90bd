//! Damaged and unwritable files: nothing is lost, and what is wrong is said.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{error, last_json, run, skinner, small, stderr};

fn checkpoints(run_dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(run_dir.join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("step-"))
        .collect();
    all.sort();
    all
}

type Damage = fn(&Path);

fn flip_a_byte(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn truncate(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn a_damaged_checkpoint_is_detected_and_the_one_before_it_offered() {
    let dir = tempfile::tempdir().unwrap();
    let expected = last_json(&run(dir.path(), &small(&["--run-dir", "whole"])));
    let damages: [(&str, Damage); 4] = [
        ("state.bin", flip_a_byte),
        ("model.safetensors", truncate),
        ("checkpoint.json", truncate),
        ("state.bin", |path| std::fs::remove_file(path).unwrap()),
    ];
    for (i, (file, damage)) in damages.into_iter().enumerate() {
        let name = format!("r{i}");
        run(dir.path(), &small(&["--run-dir", &name]));
        let all = checkpoints(&dir.path().join(&name));
        damage(&all[all.len() - 1].join(file));
        let good: u64 =
            all[all.len() - 2].file_name().unwrap().to_string_lossy()[5..].parse().unwrap();
        let line = error(dir.path(), &["eval", &name]);
        assert!(line.contains(file) && line.contains(&format!("--checkpoint {good}")), "{line}");
        run(dir.path(), &["eval", &name, "--checkpoint", &good.to_string()]);
        let output = run(dir.path(), &small(&["--run-dir", &name, "--resume"]));
        assert!(stderr(&output).contains("warning") && stderr(&output).contains(file));
        assert_eq!(last_json(&output)["checkpoint_sha256"], expected["checkpoint_sha256"]);
    }
}

/// `run.json` holds facts, not the training state: damage is said, and nothing else is lost.
#[test]
fn damaged_facts_are_said_and_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let hidden = ["--set", "policy.hidden_sizes=[64, 64]"];
    let args = |more: &[&'static str]| small(&[&["--run-dir", "r"], &hidden[..], more].concat());
    let first = last_json(&run(dir.path(), &args(&[])));
    let path = dir.path().join("r/run.json");
    let info = std::fs::read_to_string(&path).unwrap();
    assert!(info.contains("--set 'policy.hidden_sizes=[64, 64]'"), "{info}");
    truncate(&path);
    let output = run(dir.path(), &args(&["--resume"]));
    assert!(stderr(&output).contains("run.json"), "{}", stderr(&output));
    assert_eq!(last_json(&output)["checkpoint_sha256"], first["checkpoint_sha256"]);
}

/// A finished run without its checkpoints is trained again, and ends as it did.
#[test]
fn a_finished_run_without_checkpoints_starts_anew() {
    let dir = tempfile::tempdir().unwrap();
    let first = last_json(&run(dir.path(), &small(&["--run-dir", "r"])));
    std::fs::remove_dir_all(dir.path().join("r/checkpoints")).unwrap();
    let again = last_json(&run(dir.path(), &small(&["--run-dir", "r", "--resume"])));
    assert_eq!(again["checkpoint_sha256"], first["checkpoint_sha256"]);
    let lines = std::fs::read_to_string(dir.path().join("r/metrics.jsonl")).unwrap();
    assert_eq!(lines.matches("eval_length_mean").count(), 1);
}

#[test]
fn without_any_good_checkpoint_nothing_is_pretended() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &small(&["--run-dir", "r"]));
    for checkpoint in checkpoints(&dir.path().join("r")) {
        flip_a_byte(&checkpoint.join("state.bin"));
    }
    let output = skinner(dir.path(), &small(&["--run-dir", "r", "--resume"])).output().unwrap();
    assert!(!output.status.success());
    assert!(stderr(&output).contains("state.bin"), "{}", stderr(&output));
}

#[test]
fn a_directory_in_use_is_refused_until_its_process_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let long = ["--run-dir", "r", "--set", "total_steps=50_000_000"];
    let mut child = skinner(dir.path(), &small(&long)).stdout(Stdio::null()).spawn().unwrap();
    while !dir.path().join("r/recipe.toml").exists() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let line = error(dir.path(), &small(&[&long[..], &["--resume"]].concat()));
    assert!(line.contains("in use by another process"), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
    // The lock died with its process.
    let line = error(dir.path(), &small(&["--run-dir", "r"]));
    assert!(line.contains("already holds a run"), "{line}");
}

/// A limit on the size of files stands in for a full disk: writes fail in the middle of the run.
#[cfg(unix)]
#[test]
fn a_full_disk_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let set = small(&["--run-dir", "r", "--set", "log_every=256"]).join(" ");
    let script =
        format!("trap '' XFSZ; ulimit -f 16; exec {} {set}", env!("CARGO_BIN_EXE_skinner"));
    let output = Command::new("sh").args(["-c", &script]).current_dir(dir.path()).output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("cannot write") && !text.contains("panicked"), "{text}");
    // With room again, the run goes on to the end it would have had.
    let more = ["--run-dir", "r", "--set", "log_every=256", "--resume"];
    let resumed = last_json(&run(dir.path(), &small(&more)));
    let whole =
        last_json(&run(dir.path(), &small(&["--run-dir", "whole", "--set", "log_every=256"])));
    assert_eq!(resumed["checkpoint_sha256"], whole["checkpoint_sha256"]);
}
