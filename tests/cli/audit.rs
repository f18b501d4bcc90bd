//! `skinner audit`, and recipes whose tasks are a data set.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{error, last_json, run, skinner, stderr, stdout};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_recipe_s_tasks_are_looked_at() {
    let text = stdout(&run(repository(), &["audit", "grpo-arithmetic", "--items", "40"]));
    assert!(text.starts_with("40 tasks, graded by math\n"), "{text}");
    assert!(text.contains("unsolvable                         0 of 40"), "{text}");
    let args = ["audit", "grpo-arithmetic", "--items", "40", "--json", "--seed", "3"];
    let found = last_json(&run(repository(), &args));
    assert_eq!((&found["tasks"], &found["ambiguous"]["count"]), (&json!(40), &json!(0)));
}

/// The sample of GSM8K in the repository: a few of its answers are among the numbers of their questions.
#[test]
fn a_data_set_is_looked_at() {
    let args = ["audit", "grpo-smollm2-gsm8k", "--items", "200", "--json", "--against", "text"];
    let check = ["--against-set", "check={kind=\"exact\"}"];
    let found = last_json(&run(repository(), &[&args[..], &check].concat()));
    assert_eq!(found["tasks"], 200);
    assert_eq!(found["unsolvable"]["count"], 0, "{found}");
    assert_eq!(found["without_answer"]["count"], 0);
    assert!(found["disagreement"]["of"].as_u64().unwrap() > 200, "{found}");
    let solved = |policy: &str| {
        let all = found["trivial"].as_array().unwrap();
        let one = all.iter().find(|trivial| trivial["policy"] == policy).unwrap();
        one["solved"].as_u64().unwrap()
    };
    assert_eq!(solved("empty"), 0);
    assert!((1..60).contains(&solved("best single number")), "{found}");
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = error(dir.path(), &["audit", "grpo-smollm2-gsm8k"]);
    assert!(elsewhere.contains("data/gsm8k") && elsewhere.contains("task.path"), "{elsewhere}");
}

fn audit(args: &[&str], lines: &[Value]) -> (String, String, bool) {
    let text: String = lines.iter().map(|line| line.to_string() + "\n").collect();
    let mut child = skinner(Path::new("."), &[&["audit"][..], args].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    let output = child.wait_with_output().unwrap();
    (stdout(&output), stderr(&output), output.status.success())
}

/// What is planted is found, and is no failure.
#[test]
fn tasks_of_standard_input_are_looked_at() {
    let items = [
        json!({"prompt": "What is 7 times 1?", "answer": 7}),
        json!({"prompt": "Which number?", "answer": "10"}),
        json!({"prompt": "Which  number?", "answer": "11"}),
        json!({"prompt": "Nobody knows."}),
        json!({"prompt": "Who?", "answer": "the king"}),
    ];
    let sets = ["--reward", "math", "--set", "extractors=[\"last_number\"]"];
    let (text, errors, success) = audit(&sets, &items);
    assert!(success, "{errors}");
    for line in [
        "without answer                     1 of 5",
        "unsolvable                         1 of 5",
        "  task 4: \"Who?\" \"the king\"",
        "duplicates                         1 of 5",
        "ambiguous                          2 of 5",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let (text, ..) = audit(&[&sets[..], &["--json", "--items", "1"]].concat(), &items);
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&found["tasks"], &found["trivial"][3]["solved"]), (&json!(1), &json!(1)), "{text}");
}

#[test]
fn mistakes_are_named() {
    let check = |args: &[&str], lines: &[Value], expected: &[&str]| {
        let (_, errors, success) = audit(args, lines);
        assert!(!success, "{args:?}");
        assert!(expected.iter().all(|part| errors.contains(part)), "{args:?}: {errors}");
    };
    check(&[], &[], &["<RECIPE>"]);
    check(&["ppo-cartpole"], &[], &["no tasks", "environment"]);
    check(&["sft-smollm2-gsm8k"], &[], &["no tasks that are graded", "`sft`"]);
    check(&["--reward", "maths"], &[json!({"prompt": "x"})], &["maths", "`math`"]);
    check(&["--reward", "math"], &[], &["stdin has no task"]);
    check(&["--reward", "math"], &[json!({"answer": "1"})], &["stdin, line 1", "`prompt`"]);
    check(&["--reward", "math"], &[json!({"prompt": "", "answer": []})], &["line 1", "`answer`"]);
}

/// What `show` prints is a recipe that says the same.
#[test]
fn recipes_with_tasks_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    for (recipe, task) in [
        ("grpo-smollm2-gsm8k", "format = \"gsm8k\""),
        ("rlvr-code-tiny", "name = \"simple_functions\""),
    ] {
        let shown = stdout(&run(dir.path(), &["show", recipe]));
        assert!(shown.contains(task), "{shown}");
        std::fs::write(dir.path().join("shown.toml"), &shown).unwrap();
        assert_eq!(stdout(&run(dir.path(), &["show", "shown.toml"])), shown);
    }
}

const MODEL: &str = "max_steps = 4\nbatch_size = 4\nmax_length = 64\nnum_generations = 4\n\
    max_completion_length = 8\n[model]\nhidden_size = 32\nnum_hidden_layers = 1\nnum_attention_heads = 2\n\
    max_position_embeddings = 96\n[[reward]]\nverifier = \"math\"\n";

/// A file of a user's own, by the names of its columns; and what is wrong with other ones.
#[test]
fn a_recipe_takes_tasks_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let rows: String = (0..60)
        .map(|i| json!({"q": format!("{i} and 1 is "), "a": i + 1}).to_string() + "\n")
        .collect();
    std::fs::write(dir.join("rows.jsonl"), rows).unwrap();
    let task = "[task]\npath = \"rows.jsonl\"\nformat = { columns = { prompt = \"q\", answer = \"a\" } }\n";
    let curriculum = "[curriculum]\nmemory = 0.9\n";
    std::fs::write(
        dir.join("own.toml"),
        format!("algorithm = \"grpo\"\n{MODEL}{task}{curriculum}"),
    )
    .unwrap();
    let result = last_json(&run(dir, &["train", "own.toml", "--json", "--run-dir", "own"]));
    assert_eq!(result["status"], "finished");
    assert!(result["eval_items"].as_f64().unwrap() < 30.0, "{result}");
    let metrics = std::fs::read_to_string(dir.join("own/metrics.jsonl")).unwrap();
    assert!(metrics.contains("curriculum/pass_rate"), "{metrics}");
    // The resolved recipe says all of it, and is a recipe.
    let shown = stdout(&run(dir, &["show", "own/recipe.toml"]));
    assert!(shown.contains("split = \"train\"") && shown.contains("memory = 0.9"), "{shown}");

    let check = |sets: &[&str], expected: &[&str]| {
        let mut args = vec!["train", "own.toml", "--run-dir", "wrong"];
        sets.iter().for_each(|set| args.extend(["--set", set]));
        let message = error(dir, &args);
        assert!(expected.iter().all(|part| message.contains(part)), "{sets:?}: {message}");
        assert!(!dir.join("wrong").exists());
    };
    check(&["task.name=addition"], &["`name`", "`path`"]);
    check(&["task.pth=x"], &["task.pth", "path"]);
    check(&["task.path=gone.jsonl"], &["gone.jsonl"]);
    check(&["task.format.columns.answer=b"], &["rows.jsonl, line 1", "no answer in column `b`"]);
    check(&["max_completion_length=90"], &["rows.jsonl, line 1", "max_completion_length = 90"]);
    check(&["task.few_shot=2"], &["few_shot = 2", "worked solution"]);
    check(&["curriculum.memory=2"], &["memory = 2"]);
    check(&["curriculum.memry=1"], &["memry", "memory"]);
}
