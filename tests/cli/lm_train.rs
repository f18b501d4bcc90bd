//! Training language models: recipes of a second or two on models of a few thousand numbers.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::{error, files_below, last_json, run, skinner, stderr, stdout};

const TEXT: &str = "the cat sat on the mat. the dog sat on the log. ";

const MODEL: &str = r"
[model]
hidden_size = 32
num_hidden_layers = 2
num_attention_heads = 4
max_position_embeddings = 96
";

/// Files with data and recipes of every kind.
fn workplace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("text.txt", &TEXT.repeat(80));
    let rows = |row: &dyn Fn(usize) -> Value| -> String {
        (0..60).map(|i| row(i).to_string() + "\n").collect()
    };
    write(
        "completions.jsonl",
        &rows(&|i| {
            serde_json::json!({
                "prompt": format!("say {}: ", i % 10), "completion": format!("{0}{0}.", i % 10)
            })
        }),
    );
    write(
        "pairs.jsonl",
        &rows(&|i| {
            serde_json::json!({
                "prompt": format!("number {}: ", i % 7),
                "chosen": format!("{} yes.", 2 * (i % 5)),
                "rejected": format!("{} no.", 2 * (i % 5) + 1),
            })
        }),
    );
    let common = "max_length = 48\nbatch_size = 4\nlearning_rate = 5e-3\nmax_steps = 60\n";
    let samples = "[samples]\ncount = 2\nmax_new_tokens = 8\n";
    let data = |file: &str| format!("[data]\npath = \"{file}\"\neval_fraction = 0.2\n");
    let recipe = |name: &str, keys: &str, file: &str, more: &str| {
        let text = format!("{keys}\n{common}{MODEL}{}{samples}{more}", data(file));
        write(name, &text);
    };
    let lora = "[lora]\nrank = 4\nalpha = 16.0\ndropout = 0.1\n";
    recipe("pretrain.toml", "algorithm = \"pretrain\"", "text.txt", "prompts = [\"the \"]\n");
    recipe("sft.toml", "algorithm = \"sft\"\npacking = \"best_fit\"", "completions.jsonl", "");
    recipe("dpo.toml", "algorithm = \"dpo\"\nbeta = 0.1", "pairs.jsonl", "");
    recipe("dpo-lora.toml", "algorithm = \"dpo\"\nloss_type = \"ipo\"", "pairs.jsonl", lora);
    recipe("kto.toml", "algorithm = \"kto\"", "pairs.jsonl", "");
    recipe("kto-lora.toml", "algorithm = \"kto\"", "pairs.jsonl", lora);
    let sft = "[sft]\nbatch_size = 4\nmax_length = 48\nmax_steps = 20\nlearning_rate = 5e-3\n";
    // A model this small trips over all of these.
    let silent = "[monitor]\npatience = 0\nlength_factor = 0.0\nrepetition = 0.0\nconstant_answers = 0.0\n\
                  distinct_factor = 0.0\n";
    let grpo = format!(
        "algorithm = \"grpo\"\n{common}num_generations = 4\nmax_completion_length = 12\nsft_examples = 50\n\
         eval_items = 20\neval_items_on_the_way = 5\neval_samples = 4\n{MODEL}{sft}{samples}{silent}\
         [task]\nname = \"addition\"\ndigits = 2\n[[reward]]\nverifier = \"math\"\n"
    );
    write("grpo.toml", &grpo);
    dir
}

fn train(dir: &Path, recipe: &str, run_dir: &str, more: &[&str]) -> Value {
    let args = [&["train", recipe, "--json", "--run-dir", run_dir][..], more].concat();
    last_json(&run(dir, &args))
}

/// Every kind of recipe learns, says what it used, and leaves what the documentation lists.
#[test]
fn every_kind_of_recipe_runs() {
    let dir = workplace();
    let dir = dir.path();
    for (recipe, score) in [
        ("pretrain.toml", "eval_loss"),
        ("sft.toml", "eval_loss"),
        ("dpo.toml", "eval_accuracy"),
        ("dpo-lora.toml", "eval_accuracy"),
        ("kto.toml", "eval_rewards/margins"),
        ("kto-lora.toml", "eval_rewards/margins"),
        ("grpo.toml", "eval_accuracy_after"),
    ] {
        let name = recipe.trim_end_matches(".toml");
        let result = train(dir, recipe, name, &[]);
        assert_eq!(result["status"], "finished", "{recipe}");
        assert!(result["tokens_per_second"].as_f64().unwrap() > 0.0);
        assert!(result["peak_memory_mb"].as_f64().unwrap() > 1.0);
        assert_eq!(result["warnings"], serde_json::json!([]));
        let score = result[score].as_f64().unwrap();
        let metrics = std::fs::read_to_string(dir.join(name).join("metrics.jsonl")).unwrap();
        let first: Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
        match recipe {
            "pretrain.toml" | "sft.toml" => {
                assert!(score < 0.8 * first["eval_loss"].as_f64().unwrap(), "{recipe} {score}");
            }
            "kto.toml" | "kto-lora.toml" => assert!(score > 0.0),
            "grpo.toml" => {
                let number = |key: &str| result[key].as_f64().unwrap();
                assert!((0.0..=1.0).contains(&score));
                assert!((0.0..=1.0).contains(&number("eval_accuracy_before")));
                assert_eq!(number("eval_items"), 20.0);
                assert!(number("mismatch_kl_max") < 1e-9);
                assert!(number("eval_pass_at_k/1") <= number("eval_pass_at_k/4"));
                let traces = dir.join(name).join("samples/step-26.jsonl");
                let traces = std::fs::read_to_string(traces).unwrap();
                let trace: Value = serde_json::from_str(traces.lines().next().unwrap()).unwrap();
                assert!(trace["reasons"][0].as_str().unwrap().starts_with("math"), "{trace}");
            }
            _ => {
                assert_eq!(first["eval_accuracy"], 0.5);
                assert!(score > 0.9, "{recipe} {score}");
            }
        }
        let files: Vec<String> =
            files_below(&dir.join(name)).iter().map(|f| f.display().to_string()).collect();
        let folder = if recipe.contains("lora") {
            "adapter/adapter_config.json"
        } else {
            "model/config.json"
        };
        for file in ["samples/before.jsonl", "samples/after.jsonl", "report.html", folder] {
            assert!(files.iter().any(|f| f == file), "{recipe}: no {file} in {files:?}");
        }
        let report = std::fs::read_to_string(dir.join(name).join("report.html")).unwrap();
        assert!(report.contains("grad_norm"));
    }
    // The evaluation again, from the checkpoint; the model, by its folder.
    let eval = last_json(&run(dir, &["eval", "sft", "--json"]));
    let trained =
        last_json(&run(dir, &["train", "sft.toml", "--json", "--run-dir", "sft", "--resume"]));
    assert_eq!(eval["eval_loss"], trained["eval_loss"]);
    let more = ["--max-new-tokens", "4", "--temperature", "0", "--json"];
    let generate = [&["generate", "--model", "sft", "--prompt", "say 7: "][..], &more].concat();
    assert_eq!(last_json(&run(dir, &generate))["text"].as_str().unwrap()[..2], *"77");
}

/// Everything that does not hold wall-clock times: metrics, completions, the model, the last checkpoint.
fn contents(run_dir: &Path) -> Vec<(String, Vec<u8>)> {
    let all = files_below(run_dir);
    let steps = all.iter().filter_map(|file| {
        let name = file.strip_prefix("checkpoints").ok()?.components().next()?;
        Some(name.as_os_str().to_string_lossy().into_owned()).filter(|n| n.starts_with("step"))
    });
    let last = steps.max().unwrap();
    all.into_iter()
        .map(|file| file.display().to_string())
        .filter(|name| {
            let kept = ["metrics", "samples", "model", "adapter", "recipe"];
            kept.iter().any(|start| name.starts_with(start)) || name.contains(&last)
        })
        .map(|name| (name.clone(), std::fs::read(run_dir.join(&name)).unwrap()))
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

#[test]
fn killed_runs_and_other_threads_leave_the_same_bytes() {
    let dir = workplace();
    let dir = dir.path();
    for recipe in ["sft.toml", "dpo.toml", "dpo-lora.toml", "grpo.toml"] {
        let name = |kind: &str| format!("{}-{kind}", recipe.trim_end_matches(".toml"));
        let steps = ["--set", "max_steps=300"];
        let with = |run_dir: &str, more: &[&str]| -> Vec<String> {
            let all = [&["train", recipe, "--json", "--run-dir", run_dir][..], &steps, more];
            all.concat().into_iter().map(str::to_owned).collect()
        };
        let go = |args: &[String]| {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            run(dir, &args)
        };
        go(&with(&name("whole"), &["--threads", "1"]));
        let mut kills = 0;
        for attempt in 0..40 {
            let mut args = with(&name("killed"), &["--threads", "2"]);
            if dir.join(name("killed")).join("run.json").exists() {
                args.push("--resume".into());
            }
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let mut child =
                skinner(dir, &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(150 + 90 * attempt));
            if child.try_wait().unwrap().is_some() || kills == 6 {
                assert!(child.wait().unwrap().success());
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        }
        assert!(kills > 0, "{recipe}: never killed");
        same(&dir.join(name("whole")), &dir.join(name("killed")));
    }
}

/// Ctrl-C while the reference model is still asked: nothing is saved, and that is what it says.
#[cfg(unix)]
#[test]
fn an_interrupt_before_the_first_step_says_what_is_there() {
    let dir = workplace();
    let dir = dir.path();
    let pair = |i: usize| serde_json::json!({"prompt": "a", "chosen": "b".repeat(40), "rejected": i.to_string()});
    let pairs: String = (0..6000).map(|i| pair(i).to_string() + "\n").collect();
    std::fs::write(dir.join("many.jsonl"), pairs).unwrap();
    let sets = ["--set", "data.path=many.jsonl", "--set", "max_steps=0"];
    let args = [&["train", "dpo.toml", "--run-dir", "early"][..], &sets].concat();
    let child = skinner(dir, &args).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    while !dir.join("early/run.json").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = stderr(&output);
    assert!(said.contains("has no checkpoint yet") && !said.contains("is saved"), "{said}");
    assert!(!dir.join("early/checkpoints/step-0").exists());
}

#[test]
fn seeds_are_separate_runs() {
    let dir = workplace();
    let result = train(dir.path(), "sft.toml", "many", &["--seeds", "2", "--set", "max_steps=3"]);
    let runs = result["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    assert_ne!(runs[0]["checkpoint_sha256"], runs[1]["checkpoint_sha256"]);
    assert!(dir.path().join("many/report.html").exists());
    assert!(dir.path().join("many/seed-1/metrics.jsonl").exists());
}

/// Mistakes are one line that says what, where and what would be right, and leave no directory.
#[test]
fn mistakes_are_named() {
    let dir = workplace();
    let dir = dir.path();
    let check = |recipe: &str, sets: &[&str], expected: &[&str]| {
        let mut args = vec!["train", recipe, "--run-dir", "wrong"];
        sets.iter().for_each(|set| args.extend(["--set", set]));
        let message = error(dir, &args);
        for part in expected {
            assert!(message.contains(part), "{sets:?}: {message}");
        }
        assert!(!dir.join("wrong").exists(), "{sets:?} left a directory");
    };
    check("sft.toml", &["learning_rat=1"], &["learning_rat", "learning_rate"]);
    check("sft.toml", &["model.hiden_size=8"], &["hiden_size", "hidden_size"]);
    check("dpo.toml", &["bta=1"], &["`bta`", "`beta`"]);
    check("dpo.toml", &["beta=0"], &["beta", "above 0"]);
    check("dpo.toml", &["simpo_gamma=0.5"], &["simpo_gamma", "sigmoid"]);
    check("sft.toml", &["batch_size=0"], &["batch_size = 0"]);
    check("sft.toml", &["max_length=97"], &["max_length = 97", "96"]);
    check("sft.toml", &["model.num_attention_heads=5"], &["num_attention_heads", "32"]);
    check("sft.toml", &["data.path=gone.jsonl"], &["gone.jsonl"]);
    check("sft.toml", &["data.path=data/gsm8k"], &["data/gsm8k", "data.path"]);
    check("dpo.toml", &["data.path=completions.jsonl"], &["chosen"]);
    check("kto-lora.toml", &["lora.rank=0"], &["rank"]);
    check("kto-lora.toml", &["lora.target_modules=[\"nope\"]"], &["nope", "q_proj"]);
    check("grpo.toml", &["num_generations=1"], &["num_generations = 1", "2 to"]);
    check("grpo.toml", &["task.digits=0"], &["digits = 0"]);
    check("grpo.toml", &["task.name=additoin"], &["additoin", "addition"]);
    check("grpo.toml", &["loss_type=grp"], &["grp", "grpo"]);
    check("grpo.toml", &["data.path=text.txt"], &["[task]"]);
    check("sft.toml", &["model=no-such-model"], &["no-such-model", "smollm2-135m-instruct"]);
    std::fs::write(dir.join("broken.jsonl"), "{\"prompt\": \"a\", \"completion\": \"b\"}\n{oops\n")
        .unwrap();
    check("sft.toml", &["data.path=broken.jsonl"], &["broken.jsonl", "line 2"]);
    let device = error(dir, &["train", "sft.toml", "--device", "cuda"]);
    assert!(device.contains("cuda") && device.contains("cpu"), "{device}");
}

/// The embedded recipes are read, whole, by `show`; and the smallest data in the repository trains.
#[test]
fn recipes_of_the_repository() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for recipe in ["pretrain-shakespeare", "sft-smollm2-gsm8k", "dpo-smollm2-hh"] {
        for recipe in [recipe.to_owned(), format!("{recipe}-tiny")] {
            let shown = stdout(&run(root, &["show", &recipe]));
            for key in ["learning_rate", "micro_batch_tokens", "[data]", "[samples]"] {
                assert!(shown.contains(key), "{recipe}: {shown}");
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run").display().to_string();
    let mut args = vec!["train", "pretrain-shakespeare-tiny", "--json", "--run-dir", &run_dir];
    let sets = ["max_steps=5", "data.eval_fraction=0.001", "samples.max_new_tokens=5"];
    sets.iter().for_each(|set| args.extend(["--set", set]));
    let output = run(root, &args);
    assert!(stderr(&output).contains("tokens in"), "{}", stderr(&output));
    assert!(last_json(&output)["eval_loss"].as_f64().unwrap() < 5.0);
}
