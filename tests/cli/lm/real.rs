//! The real model, against what PyTorch says of it.

use std::path::Path;

use serde_json::{Value, json};
use skinner_lm::{SourceOptions, resolve};

use super::{args, last_json, numbers, run};

const NAME: &str = "smollm2-135m-instruct";

/// Whether the model is to be had; a loud word where not, or a failure where `CI` or `SKINNER_REQUIRE_MODEL` is
/// set.
fn is_here() -> bool {
    match SourceOptions::from_env().and_then(|options| resolve(NAME, &options)) {
        Ok(_) => true,
        Err(why) => {
            let required = ["CI", "SKINNER_REQUIRE_MODEL"].map(std::env::var_os);
            assert!(required.iter().all(Option::is_none), "{NAME} is required: {why}");
            say(&format!("\n*** SKIPPED: this test needs the model {NAME} ***\n{why}\n"));
            false
        }
    }
}

#[expect(clippy::print_stderr, reason = "a test that is passed over must say so")]
fn say(what: &str) {
    eprintln!("{what}");
}

#[test]
fn texts_ids_and_log_probs_are_pytorchs() {
    if !is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let golden = include_str!("../../../crates/skinner-lm/tests/data/smollm2.json");
    let golden: Value = serde_json::from_str(golden).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        std::fs::write(dir.path().join("messages.json"), case["messages"].to_string()).unwrap();
        let named =
            |command| args(command, &["--model", NAME, "--messages", "messages.json", "--json"]);
        let mut score = named("score");
        if case["text"].as_str().unwrap().ends_with("assistant\n") {
            score.push("--add-generation-prompt");
        }
        let scored = last_json(&run(dir.path(), &score));
        assert_eq!((&scored["text"], &scored["ids"]), (&case["text"], &case["ids"]));
        let (found, expected) = (numbers(&scored["log_probs"]), numbers(&case["log_probs"]));
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-3, "{found} is not {expected}");
        }
        if case["greedy_ids"].is_array() {
            let count = case["greedy_ids"].as_array().unwrap().len().to_string();
            let greedy = ["--temperature", "0", "--max-new-tokens", &count];
            let generate = [&named("generate")[..], &greedy].concat();
            let generated = last_json(&run(dir.path(), &generate));
            assert_eq!(generated["ids"], case["greedy_ids"]);
            assert_eq!(generated["text"], case["greedy_text"]);
        }
    }
}

/// The recipes that are there to be tried: they move in two steps, and their adapters are used.
#[test]
fn the_tiny_recipes_train() {
    if !is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    for (recipe, set) in
        [("sft-smollm2-gsm8k-tiny", "gsm8k"), ("dpo-smollm2-hh-tiny", "hh-harmless")]
    {
        let path = format!("data.path={}", data.join(set).display());
        let sets = [
            &path,
            "max_steps=2",
            "data.max_eval_samples=2",
            "eval.every=1",
            "samples.max_new_tokens=4",
        ];
        let mut args = vec!["train", recipe, "--json", "--run-dir", recipe];
        sets.iter().for_each(|set| args.extend(["--set", set]));
        let result = last_json(&run(dir.path(), &args));
        let metrics =
            std::fs::read_to_string(dir.path().join(recipe).join("metrics.jsonl")).unwrap();
        let losses: Vec<f64> = metrics
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["eval_loss"].as_f64())
            .collect();
        // Two pairs say nothing of preferences but that the policy has left the reference.
        let learned = match set {
            "gsm8k" => losses.first() > losses.last(),
            _ => losses[0] == std::f64::consts::LN_2 && losses.last() != losses.first(),
        };
        assert!(learned, "{recipe}: {losses:?}");
        assert_eq!(result["warnings"], json!([]));
        let more = ["--max-new-tokens", "2", "--temperature", "0", "--json"];
        let generate = ["generate", "--model", recipe, "--chat", "--prompt", "Hello"];
        let line = last_json(&run(dir.path(), &[&generate[..], &more].concat()));
        assert_eq!(line["ids"].as_array().unwrap().len(), 2);
    }
}
