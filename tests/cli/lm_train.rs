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
        // An adapter on a new model is nothing by itself: it is added to it.
        let model = "model/config.json";
        assert!(!files.iter().any(|file| file.starts_with("adapter")), "{recipe}: {files:?}");
        for file in ["samples/before.jsonl", "samples/after.jsonl", "report.html", model] {
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
    for recipe in ["pretrain.toml", "sft.toml", "dpo.toml", "dpo-lora.toml", "grpo.toml"] {
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
    let losses = [&runs[0], &runs[1]].map(|run| run["eval_loss"].as_f64().unwrap());
    let mean = result["summary"]["eval_loss_mean"].as_f64().unwrap();
    assert!((mean - f64::midpoint(losses[0], losses[1])).abs() < 1e-12);
    assert_eq!(result["failures"], serde_json::json!([]));
}

/// What one seed cannot do, the others do all the same.
#[test]
fn a_seed_that_fails_is_told_with_those_that_do_not() {
    let dir = workplace();
    let dir = dir.path();
    // Only its own directory is in the way of the second.
    std::fs::create_dir_all(dir.join("some")).unwrap();
    std::fs::write(dir.join("some/seed-1"), "no directory").unwrap();
    let args = ["train", "sft.toml", "--json", "--seeds", "3", "--set", "max_steps=3"];
    let more = ["--run-dir", "some", "--resume"];
    let output = skinner(dir, &[&args[..], &more].concat()).output().unwrap();
    assert!(!output.status.success());
    let result = last_json(&output);
    assert_eq!(result["runs"].as_array().unwrap().len(), 2);
    assert_eq!(result["summary"]["seeds"], 2);
    assert!(result["failures"][0].as_str().unwrap().starts_with("seed 1: "), "{result}");
    assert!(stderr(&output).contains("1 of 3 seeds failed"), "{}", stderr(&output));
}

/// A model that is there is trained further: its weights, an adapter on it, its context.
#[test]
fn trained_models_are_trained_further() {
    let dir = workplace();
    let dir = dir.path();
    let first = train(dir, "sft.toml", "first", &[]);
    let text = std::fs::read_to_string(dir.join("sft.toml")).unwrap();
    let (keys, rest) = text.split_once("[model]").unwrap();
    let (_, rest) = rest.split_once("[data]").unwrap();
    let named = |name: &str, model: &str, more: &str| {
        let text = format!("model = \"{model}\"\n{keys}[data]{rest}{more}");
        std::fs::write(dir.join(name), text).unwrap();
    };
    named("further.toml", "first", "");
    let loss = |result: &Value, name: &str| result[name].as_f64().unwrap();
    let before = |run_dir: &str| {
        let metrics = std::fs::read_to_string(dir.join(run_dir).join("metrics.jsonl")).unwrap();
        let line: Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
        line["eval_loss"].as_f64().unwrap()
    };
    train(dir, "further.toml", "further", &["--set", "max_steps=5"]);
    let went_on = (before("further") - loss(&first, "eval_loss")).abs();
    assert!(went_on < 1e-5, "it begins where the first ended, {went_on}");

    // An adapter on it, alone and with its base; both answer the same.
    let lora = "[lora]\nrank = 4\nalpha = 8\n";
    named("lora.toml", "first", lora);
    train(dir, "lora.toml", "lora", &["--set", "lora.merge=true"]);
    train(dir, "lora.toml", "alone", &[]);
    let answer = |more: &[&str]| {
        let args = ["generate", "--prompt", "say 7: ", "--temperature", "0", "--json"];
        last_json(&run(dir, &[&args[..], more].concat()))
    };
    assert!(dir.join("lora/adapter").exists() && dir.join("lora/model").exists());
    assert!(dir.join("alone/adapter").exists() && !dir.join("alone/model").exists());
    let (merged, alone) = (answer(&["--model", "lora"]), answer(&["--model", "alone"]));
    assert_eq!(merged["ids"], alone["ids"]);
    assert_eq!(answer(&["--model", "first", "--adapter", "alone"])["ids"], alone["ids"]);

    // And an adapter on what has one.
    named("second.toml", "alone", lora);
    train(dir, "second.toml", "second", &["--set", "max_steps=2"]);
    assert!(answer(&["--model", "second"])["ids"].is_array());
    let config = dir.join("second/adapter/adapter_config.json");
    let to_itself = std::fs::read_to_string(&config).unwrap().replace("\"alone\"", "\"second\"");
    std::fs::write(&config, to_itself).unwrap();
    let message = error(dir, &["generate", "--model", "second", "--prompt", "say 1: "]);
    assert!(message.contains("on itself"), "{message}");

    // Hugging Face's libraries read the same numbers.
    let scored = run(dir, &["score", "--model", "first", "--text", "say 1: 11.", "--json"]);
    super::python(dir, "read_folders.py", &["first/model", "lora", stdout(&scored).trim()]);

    // On a model with other tokens it is refused.
    train(dir, "pretrain.toml", "other", &["--set", "max_steps=2"]);
    let wrong = ["generate", "--model", "other", "--adapter", "alone", "--prompt", "the"];
    let message = error(dir, &wrong);
    assert!(message.contains("other tokens") && message.contains("tokenizer.json"), "{message}");

    // A longer context: that of the base is the adapter's no more.
    let longer = "[rope_scaling]\nrope_type = \"linear\"\nfactor = 4.0\n";
    named("long.toml", "first", &format!("{lora}{longer}"));
    train(dir, "long.toml", "long", &["--set", "max_length=200", "--set", "max_steps=3"]);
    assert!(!dir.join("long/adapter").exists());
    let text = "say 1: 11.".repeat(15);
    let score = |model| ["score", "--model", model, "--text", &text, "--json"];
    let scored = last_json(&run(dir, &score("long")));
    assert_eq!(scored["ids"].as_array().unwrap().len(), 150);
    assert!(error(dir, &score("first")).contains("context of 96"));
    // What is stretched already is stretched from where it began: 2 times 96.
    named("again.toml", "long", &longer.replace("4.0", "2.0"));
    train(dir, "again.toml", "again", &["--set", "max_steps=2"]);
    let config = std::fs::read_to_string(dir.join("again/model/config.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&config).unwrap()["max_position_embeddings"], 192);
}

/// Products in bf16 learn as well, and are not f32's.
#[test]
fn training_in_bf16() {
    let dir = workplace();
    let dir = dir.path();
    let whole = train(dir, "sft.toml", "f32", &[]);
    let half = train(dir, "sft.toml", "bf16", &["--set", "precision=bf16"]);
    let loss = |result: &Value| result["eval_loss"].as_f64().unwrap();
    assert_ne!(loss(&whole), loss(&half));
    assert!((loss(&whole) - loss(&half)).abs() < 0.1, "{} {}", loss(&whole), loss(&half));
}

/// Data from a pipe; data that changed under a run; rows that are left out.
#[test]
fn where_data_comes_from_and_what_becomes_of_it() {
    let dir = workplace();
    let dir = dir.path();
    let rows = std::fs::read_to_string(dir.join("completions.jsonl")).unwrap();
    let piped = |args: &[&str], text: &str| {
        use std::io::Write as _;
        let mut command = skinner(dir, args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let args = ["train", "sft.toml", "--json", "--set", "max_steps=4", "--set", "data.path=-"];
    let output = piped(&[&args[..], &["--run-dir", "piped"]].concat(), &rows);
    let read = train(dir, "sft.toml", "read", &["--set", "max_steps=4"]);
    assert_eq!(last_json(&output)["eval_loss"], read["eval_loss"]);
    let nothing = piped(&[&args[..], &["--run-dir", "nothing"]].concat(), "");
    assert!(stderr(&nothing).contains("standard input: has no row"), "{}", stderr(&nothing));

    let mut broken = rows.replacen("say 3", "say 4", 1);
    broken += "{oops\n";
    std::fs::write(dir.join("completions.jsonl"), &broken).unwrap();
    let skip = ["--set", "data.skip_broken_lines=true", "--set", "max_steps=2"];
    let told = run(dir, &[&["train", "sft.toml", "--run-dir", "told"][..], &skip].concat());
    let told = stderr(&told);
    assert!(told.contains("60 of 61 rows are samples; left out: 1 broken"), "{told}");

    // As many rows, one of them another.
    std::fs::write(dir.join("completions.jsonl"), rows.replacen("say 3", "say 4", 1)).unwrap();
    let eval = error(dir, &["eval", "read"]);
    assert!(eval.contains("other data"), "{eval}");
}

/// Texts without prompts are gone on from: every report has completions.
#[test]
fn texts_have_samples_too() {
    let dir = workplace();
    let dir = dir.path();
    let numbers: Vec<String> = (0..2000).map(|i| i.to_string()).collect();
    std::fs::write(dir.join("text.txt"), numbers.join(" ")).unwrap();
    train(dir, "pretrain.toml", "texts", &["--set", "samples.prompts=[]", "--set", "max_steps=3"]);
    let samples = std::fs::read_to_string(dir.join("texts/samples/after.jsonl")).unwrap();
    let prompts: Vec<Value> =
        samples.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(prompts.len(), 2);
    assert_ne!(prompts[0]["prompt"], prompts[1]["prompt"]);
    assert_eq!(prompts[0]["prompt"].as_str().unwrap().chars().count(), 64);
}

/// Conversations with a character model: its characters are the template's too; a template that asks for the date.
#[test]
fn templates_of_new_models() {
    let dir = workplace();
    let dir = dir.path();
    let rows: String = (0..40)
        .map(|i| {
            let (asked, said) = (format!("{i}?"), format!("{}!", i + 1));
            let messages = serde_json::json!([
                {"role": "user", "content": asked}, {"role": "assistant", "content": said}
            ]);
            serde_json::json!({"messages": messages}).to_string() + "\n"
        })
        .collect();
    std::fs::write(dir.join("talk.jsonl"), rows).unwrap();
    let template = "{{ strftime_now('%Y') }}\n{% for m in messages %}<{{ m.role }}>{{ m.content }}{% if m.role == \
                    'assistant' %}{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% \
                    endif %}";
    let text = std::fs::read_to_string(dir.join("sft.toml")).unwrap();
    let text = text
        .replace("[model]", &format!("[model]\nchat_template = {}", serde_json::json!(template)))
        .replace("completions.jsonl", "talk.jsonl");
    std::fs::write(dir.join("talk.toml"), text).unwrap();
    let message = error(dir, &["train", "talk.toml", "--run-dir", "talk"]);
    assert!(message.contains("sample 1") && message.contains("key `date`"), "{message}");
    let message = error(dir, &["train", "talk.toml", "--set", "date=2026-02-30"]);
    assert!(message.contains("2026-02-30"), "{message}");
    train(dir, "talk.toml", "talk", &["--set", "date=2026-11-27", "--set", "max_steps=3"]);
    let generate = ["generate", "--model", "talk", "--chat", "--prompt", "7?", "--json"];
    assert!(last_json(&run(dir, &generate))["ids"].is_array());
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
    check("sft.toml", &["nonsense=1"], &["nonsense", "packing", "learning_rate"]);
    check("sft.toml", &["learning_rate=0"], &["learning_rate = 0"]);
    check("sft.toml", &["model.tokenizer=bpe"], &["model.tokenizer", "{ bpe = "]);
    let huge = ["hidden_size=32768", "num_hidden_layers=4096", "num_attention_heads=32"];
    let huge = huge.map(|set| format!("model.{set}"));
    check("sft.toml", &huge.each_ref().map(String::as_str), &["GB"]);
    check("sft.toml", &["samples.prompts=[\"ÄÖ\"]"], &["'Ä'"]);
    let gpt2 = ["model.family=gpt2", "rope_scaling={rope_type=\"linear\", factor=2.0}"];
    check("sft.toml", &gpt2, &["rope_scaling", "gpt2"]);
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
