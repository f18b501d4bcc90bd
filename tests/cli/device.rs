//! Language models on devices other than our own kernels: Burn on the CPU, and what is not there.

#[cfg(feature = "tensor")]
use std::path::Path;
#[cfg(feature = "tensor")]
use std::process::Stdio;
#[cfg(feature = "tensor")]
use std::time::Duration;

#[cfg(feature = "tensor")]
use serde_json::Value;

use super::error;
#[cfg(feature = "tensor")]
use super::{last_json, run, skinner, stderr};

const RECIPE: &str = r#"
algorithm = "sft"
packing = "best_fit"
max_length = 48
batch_size = 4
learning_rate = 5e-3
weight_decay = 0.1
log_every = 1
max_steps = 30

[data]
path = "completions.jsonl"
eval_fraction = 0.2

[model]
hidden_size = 32
num_hidden_layers = 2
num_attention_heads = 4
max_position_embeddings = 96

[samples]
count = 2
max_new_tokens = 8
"#;

const LORA: &str = "\n[lora]\nrank = 4\nalpha = 16.0\ndropout = 0.1\n";

fn workplace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let row = |i: usize| {
        let (prompt, completion) = (format!("say {}: ", i % 10), format!("{0}{0}.", i % 10));
        serde_json::json!({"prompt": prompt, "completion": completion}).to_string() + "\n"
    };
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("completions.jsonl", &(0..60).map(row).collect::<String>());
    write("sft.toml", RECIPE);
    write("lora.toml", &format!("{RECIPE}{LORA}"));
    dir
}

/// The values of a metric, line by line.
#[cfg(feature = "tensor")]
fn series(run_dir: &Path, key: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(run_dir.join("metrics.jsonl")).unwrap();
    let value = |line: &str| serde_json::from_str::<Value>(line).unwrap()[key].as_f64();
    text.lines().filter_map(value).collect()
}

#[cfg(feature = "tensor")]
fn assert_close(a: &[f64], b: &[f64], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() < 2e-3 * a.abs().max(1e-2), "{what}: {a} and {b}");
    }
}

/// A run in Burn has the losses of one by our own kernels, and its model is used on both.
#[cfg(feature = "tensor")]
#[test]
fn burn_trains_as_the_kernels_do() {
    let dir = workplace();
    let dir = dir.path();
    for recipe in ["sft", "lora"] {
        let file = format!("{recipe}.toml");
        let train = |device: &str, precision: &str| {
            let name = format!("{recipe}-{device}-{precision}");
            let set = format!("precision={precision}");
            let args = ["train", &file, "--json", "--run-dir", &name, "--device", device];
            let result = last_json(&run(dir, &[&args[..], &["--set", &set]].concat()));
            let info = std::fs::read_to_string(dir.join(&name).join("run.json")).unwrap();
            let info: Value = serde_json::from_str(&info).unwrap();
            assert_eq!(info["device"], device);
            let steps = series(&dir.join(name), "loss");
            (result["eval_loss"].as_f64().unwrap(), steps)
        };
        let (own, steps) = train("cpu", "f32");
        let (other, other_steps) = train("flex", "f32");
        assert_eq!(steps.len(), 30);
        assert_close(&steps, &other_steps, recipe);
        assert_close(&[own], &[other], recipe);
        // In bf16 both round, in other places.
        let (half, _) = train("flex", "bf16");
        assert!((half - own).abs() < 0.1 * own, "{recipe}: {half} and {own}");
        let evaluated = |name: &str, device: &str| {
            let line = last_json(&run(dir, &["eval", name, "--json", "--device", device]));
            line["eval_loss"].as_f64().unwrap()
        };
        let name = format!("{recipe}-flex-f32");
        assert_eq!(evaluated(&name, "flex"), other);
        assert_close(&[evaluated(&name, "cpu")], &[other], recipe);
    }
    let model = dir.join("sft-flex-f32");
    let model = model.to_str().unwrap();
    let scored = |device: &str, precision: &str| {
        let args = ["score", "--model", model, "--text", "say 3: 33.", "--json"];
        let more = ["--device", device, "--precision", precision];
        let line = last_json(&run(dir, &[&args[..], &more].concat()));
        let scores = line["log_probs"].as_array().unwrap().iter();
        scores.map(|x| x.as_f64().unwrap()).collect::<Vec<f64>>()
    };
    let own = scored("cpu", "f32");
    for (a, b) in own.iter().zip(scored("flex", "f32")) {
        assert!((a - b).abs() < 1e-4, "{a} and {b}");
    }
    for (a, b) in own.iter().zip(scored("flex", "bf16")) {
        assert!((a - b).abs() < 0.05 * a.abs().max(1.0), "{a} and {b}");
    }
    let generated = |device: &str, temperature: &str| {
        let args = ["generate", "--model", model, "--prompt", "say 4: ", "--json"];
        let more = ["--max-new-tokens", "6", "--temperature", temperature, "--device", device];
        last_json(&run(dir, &[&args[..], &more].concat()))["ids"].clone()
    };
    for temperature in ["0", "0.8"] {
        assert_eq!(generated("cpu", temperature), generated("flex", temperature));
    }
}

/// A run in Burn that was killed and continued has the bytes of one that was not.
#[cfg(feature = "tensor")]
#[test]
fn killed_runs_in_burn_leave_the_same_bytes() {
    let dir = workplace();
    let dir = dir.path();
    for recipe in ["sft.toml", "lora.toml"] {
        let args = |name: &'static str| {
            let device = ["--device", "flex", "--set", "max_steps=200"];
            [&["train", recipe, "--json", "--run-dir", name][..], &device].concat()
        };
        let whole = last_json(&run(dir, &args("whole")))["checkpoint_sha256"].clone();
        let checkpoints = dir.join("killed/checkpoints");
        let there = || std::fs::read_dir(&checkpoints).is_ok_and(|mut all| all.next().is_some());
        let mut child = skinner(dir, &args("killed"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while !there() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let resumed = last_json(&run(dir, &[&args("killed")[..], &["--resume"]].concat()));
        assert_eq!(resumed["checkpoint_sha256"], whole, "{recipe}");
        let metrics = |name: &str| std::fs::read(dir.join(name).join("metrics.jsonl")).unwrap();
        assert!(metrics("whole") == metrics("killed"), "{recipe}");
        // Another device rounds otherwise; it says so.
        let moved = ["train", recipe, "--run-dir", "whole", "--resume", "--json"];
        let output = run(dir, &[&moved[..], &["--set", "max_steps=200"]].concat());
        assert!(stderr(&output).contains("`flex`"), "{}", stderr(&output));
        for name in ["whole", "killed"] {
            std::fs::remove_dir_all(dir.join(name)).unwrap();
        }
    }
}

/// A device that is not built in, or not there, is one line, and leaves no directory.
#[test]
fn devices_that_are_not_there_are_named() {
    let dir = workplace();
    let dir = dir.path();
    let train = ["train", "sft.toml", "--run-dir", "wrong", "--device"];
    let says = |device: &str| error(dir, &[&train[..], &[device]].concat());
    for (device, feature, built_in) in [
        ("flex", "tensor", cfg!(feature = "tensor")),
        ("cuda", "cuda", cfg!(feature = "cuda")),
        ("vulkan", "vulkan", cfg!(feature = "vulkan")),
        ("metal", "metal", cfg!(feature = "metal")),
    ] {
        if !built_in {
            let message = says(device);
            assert!(message.contains(&format!("--device {device}")), "{message}");
            assert!(message.contains(&format!("--features {feature}")), "{message}");
            let generate = ["generate", "--model", "gone", "--prompt", "a", "--device", device];
            assert!(error(dir, &generate).contains(&format!("--features {feature}")));
        }
    }
    assert!(says("tpu").contains("tpu"));
    assert!(!dir.join("wrong").exists());
    let control = error(dir, &["train", "ppo-cartpole", "--device", "flex"]);
    assert!(control.contains("flex") && control.contains("`cpu`"), "{control}");
}
