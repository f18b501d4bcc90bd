//! The real binary, as a user meets it.

#[cfg(feature = "lm")]
mod audit;
#[cfg(feature = "lm")]
mod device;
mod errors;
mod exactness;
mod files;
#[cfg(feature = "lm")]
mod lm;
#[cfg(feature = "lm")]
mod lm_evidence;
#[cfg(feature = "lm")]
mod lm_train;
mod tabular;
#[cfg(feature = "lm")]
mod verify;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The binary with arguments, working in `dir`.
fn skinner(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skinner"));
    command.args(args).current_dir(dir);
    command
}

/// Runs to success.
fn run(dir: &Path, args: &[&str]) -> Output {
    let output = skinner(dir, args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    output
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The JSON object in the last line of stdout.
fn last_json(output: &Output) -> Value {
    let text = stdout(output);
    serde_json::from_str(text.lines().last().unwrap_or_default())
        .unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// The one error line of a command that must fail.
fn error(dir: &Path, args: &[&str]) -> String {
    let output = skinner(dir, args).output().unwrap();
    let text = stderr(&output);
    assert!(!output.status.success(), "{args:?} should fail");
    assert!(!text.contains("panicked"), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1, "one line: {text}");
    lines[0].to_owned()
}

/// A PPO run of a second or so, in `dir/NAME`.
const SMALL: [&str; 7] =
    ["train", "ppo-cartpole", "--json", "--set", "total_steps=20_000", "--set", "eval.episodes=5"];

fn small<'a>(more: &[&'a str]) -> Vec<&'a str> {
    SMALL.iter().copied().chain(more.iter().copied()).collect()
}

/// Runs a script of `tests/python` by the Python that `SKINNER_TEST_PYTHON` names, which has its libraries; without that it
/// says so and checks nothing.
#[cfg(feature = "lm")]
#[expect(clippy::print_stderr, reason = "a test that is passed over must say so")]
fn python(dir: &Path, script: &str, args: &[&str]) {
    let Some(python) = std::env::var_os("SKINNER_TEST_PYTHON") else {
        eprintln!("SKIPPED, {script} was not run: SKINNER_TEST_PYTHON names no Python");
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = root.join("tests/python").join(script);
    let output = Command::new(root.join(python)).arg(script).args(args).current_dir(dir).output();
    let output = output.unwrap();
    assert_eq!(stdout(&output).trim(), "ok", "{}", stderr(&output));
}

/// Every file below `dir`, sorted, relative.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn train_prints_what_scripts_read() {
    let dir = tempfile::tempdir().unwrap();
    let line = last_json(&run(dir.path(), &small(&["--run-dir", "r"])));
    for key in [
        "run_dir",
        "algorithm",
        "env",
        "seed",
        "env_steps",
        "train_seconds",
        "steps_per_second",
        "eval_episodes",
        "eval_return_mean",
        "eval_return_std",
    ] {
        assert!(line.get(key).is_some(), "{key} is missing in {line}");
    }
    assert_eq!((&line["algorithm"], &line["env"]), (&"ppo".into(), &"CartPole-v1".into()));
    assert!(line["env_steps"].as_u64().unwrap() <= 20_000);
    let files = files_below(&dir.path().join("r"));
    for file in ["recipe.toml", "run.json", "metrics.jsonl", "report.html"] {
        assert!(files.contains(&PathBuf::from(file)), "{files:?}");
    }
}

#[test]
fn eval_repeats_the_final_evaluation() {
    let dir = tempfile::tempdir().unwrap();
    for (name, recipe, more) in [
        ("plain", "ppo-cartpole", "num_steps=32"),
        ("normalised", "ppo-acrobot", "env.max_episode_steps=100"),
    ] {
        let set = ["--set", "total_steps=12_000", "--set", "eval.episodes=7", "--set", more];
        let args = [&["train", recipe, "--json", "--run-dir", name][..], &set].concat();
        let trained = last_json(&run(dir.path(), &args));
        let evaluated = last_json(&run(dir.path(), &["eval", name, "--json"]));
        for key in ["eval_episodes", "eval_return_mean", "eval_return_std", "eval_length_mean"] {
            assert_eq!(trained[key], evaluated[key], "{key}");
        }
    }
    let other = last_json(&run(
        dir.path(),
        &["eval", "plain", "--json", "--seed", "99", "--episodes", "3"],
    ));
    assert_eq!(other["eval_episodes"], 3);
    run(dir.path(), &["eval", "plain", "--checkpoint", "best"]);
}

#[test]
fn seeds_run_together_and_are_summarised() {
    let dir = tempfile::tempdir().unwrap();
    let args = small(&["--seeds", "3", "--seed", "5", "--run-dir", "many", "--threads", "2"]);
    let line = last_json(&run(dir.path(), &args));
    let runs = line["runs"].as_array().unwrap();
    let seeds: Vec<_> = runs.iter().map(|run| run["seed"].as_u64().unwrap()).collect();
    assert_eq!(seeds, [5, 6, 7]);
    assert_eq!(line["summary"]["seeds"], 3);
    // Each is the run that its seed gives alone.
    let alone = last_json(&run(dir.path(), &small(&["--seed", "6", "--run-dir", "alone"])));
    assert_eq!(alone["checkpoint_sha256"], runs[1]["checkpoint_sha256"]);
    run(dir.path(), &["report", "many", "alone", "--out", "all.html"]);
    let html = std::fs::read_to_string(dir.path().join("all.html")).unwrap();
    assert!(html.contains("<svg") && html.contains("CartPole-v1"));
    assert!(error(dir.path(), &["eval", "many"]).contains("seed-5"));
    // Neither a single run nor a taken seed is written over.
    assert!(
        error(dir.path(), &small(&["--seeds", "2", "--run-dir", "alone"])).contains("single run")
    );
    let taken = small(&["--seeds", "2", "--seed", "7", "--run-dir", "many"]);
    assert!(error(dir.path(), &taken).contains("already holds a run"));
    assert!(!dir.path().join("many/seed-8").exists());
}

#[test]
fn variants_run_beside_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let write = |variants: &str| {
        let recipe = "algorithm = \"q_learning\"\nenv = \"FrozenLake-v1\"\ntotal_steps = 3_000\n";
        std::fs::write(dir.path().join("compare.toml"), format!("{recipe}{variants}")).unwrap();
    };
    write(
        "[variants.plain]\n[variants.taxi]\nenv = \"Taxi-v4\"\n[variants.sarsa]\nalgorithm = \"sarsa\"\nlambda = 0.5\n",
    );
    let args = ["train", "compare.toml", "--json", "--seeds", "2", "--run-dir", "all"];
    let more = ["--set", "learning_rate=0.3", "--seed", "4"];
    let line = last_json(&run(dir.path(), &[&args[..], &more].concat()));
    let variants = line["variants"].as_object().unwrap();
    assert_eq!(variants.len(), 3);
    let last = |name: &str| &variants[name]["runs"][1];
    assert_eq!(
        (&last("plain")["algorithm"], &last("plain")["seed"]),
        (&"q_learning".into(), &5.into())
    );
    assert_eq!(last("taxi")["env"], "Taxi-v4");
    assert_eq!(last("sarsa")["algorithm"], "sarsa");
    let recipe = std::fs::read_to_string(dir.path().join("all/sarsa/seed-4/recipe.toml")).unwrap();
    assert!(recipe.contains("lambda = 0.5") && recipe.contains("learning_rate = 0.3"), "{recipe}");
    assert!(std::fs::read_to_string(dir.path().join("all/report.html")).unwrap().contains("<svg"));
    // A variant is the run that its keys give alone; what is finished is not run again.
    let alone =
        ["train", "compare.toml", "--json", "--run-dir", "alone", "--set", "learning_rate=0.3"];
    write("algorithm_is_given_twice = true\n");
    assert!(error(dir.path(), &alone).contains("algorithm_is_given_twice"));
    write("lambda = 0.5\n");
    let sarsa = [&alone[..], &["--set", "algorithm=sarsa", "--seed", "4"]].concat();
    let alone = last_json(&run(dir.path(), &sarsa));
    assert_eq!(alone["checkpoint_sha256"], variants["sarsa"]["runs"][0]["checkpoint_sha256"]);
    // What cannot be is said, with its place.
    for (variants, says) in [
        ("[variants]\n", "table of tables"),
        ("variants = 3\n", "table of tables"),
        ("[variants]\nplain = 3\n", "variants.plain"),
        ("[variants.\"../up\"]\n", "names a directory"),
        ("[variants.a]\nlambada = 0.5\n", "variant a"),
        ("[variants.a]\nlambda = 2.0\n", "variant a"),
    ] {
        write(variants);
        let said = error(dir.path(), &["train", "compare.toml", "--run-dir", "wrong"]);
        assert!(said.contains(says), "{said}");
    }
    assert!(!dir.path().join("wrong").exists());
}

#[test]
fn lists_help_and_completions() {
    let dir = tempfile::tempdir().unwrap();
    let listed = |what| stdout(&run(dir.path(), &["list", what]));
    assert!(listed("envs").contains("CartPole-v1"));
    assert!(listed("algorithms").contains("ppo"));
    assert!(listed("recipes").contains("ppo-cartpole"));
    let json = last_json(&run(dir.path(), &["list", "recipes", "--json"]));
    assert!(json.as_array().unwrap().iter().all(|row| !row["about"].as_str().unwrap().is_empty()));
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(stdout(&run(dir.path(), &["completions", shell])).contains("skinner"));
    }
    assert!(stdout(&run(dir.path(), &["train", "--help"])).contains("--resume"));
}

#[test]
fn a_shown_recipe_is_the_recipe() {
    let dir = tempfile::tempdir().unwrap();
    for name in last_json(&run(dir.path(), &["list", "recipes", "--json"])).as_array().unwrap() {
        let name = name["name"].as_str().unwrap();
        let shown = stdout(&run(dir.path(), &["show", name]));
        std::fs::write(dir.path().join("shown.toml"), &shown).unwrap();
        assert_eq!(stdout(&run(dir.path(), &["show", "shown.toml"])), shown, "{name}");
    }
}

#[test]
fn every_recipe_starts_and_renders() {
    let dir = tempfile::tempdir().unwrap();
    for name in last_json(&run(dir.path(), &["list", "recipes", "--json"])).as_array().unwrap() {
        let name = name["name"].as_str().unwrap();
        if !stdout(&run(dir.path(), &["show", name])).contains("[env]") {
            // Of a language model: `lm_train` has those.
            continue;
        }
        // Enough for one rollout of each.
        let steps = match name {
            _ if name.contains("lunarlander") => 20_000,
            // Wide networks.
            _ if name.ends_with("zoo") => 2_000,
            _ => 6_000,
        };
        let steps = format!("total_steps={steps}");
        let set = ["--set", &steps, "--set", "eval.episodes=2"];
        let trained = [&["train", name, "--json", "--run-dir", name][..], &set].concat();
        let trained = last_json(&run(dir.path(), &trained));
        // Of variants the first, with its first seed.
        let first = trained["variants"].as_object().and_then(|all| all.values().next());
        let run_dir = first.map_or(&trained["run_dir"], |one| &one["runs"][0]["run_dir"]);
        let gif = format!("{name}.gif");
        let run_dir = run_dir.as_str().unwrap();
        run(dir.path(), &["eval", run_dir, "--episodes", "1", "--render", &gif]);
        assert!(std::fs::read(dir.path().join(gif)).unwrap().starts_with(b"GIF89a"));
    }
    run(dir.path(), &["eval", "ppo-cartpole", "--episodes", "1", "--render", "last.svg"]);
    assert!(std::fs::read_to_string(dir.path().join("last.svg")).unwrap().starts_with("<svg"));
}

#[test]
fn without_a_run_directory_each_run_gets_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path =
        |args: &[&str]| last_json(&run(dir.path(), args))["run_dir"].as_str().unwrap().to_owned();
    assert_eq!(path(&small(&[])), "runs/ppo-cartpole-seed-0");
    assert_eq!(path(&small(&[])), "runs/ppo-cartpole-seed-0-2");
    std::fs::remove_dir_all(dir.path().join("runs/ppo-cartpole-seed-0")).unwrap();
    assert_eq!(path(&small(&["--resume"])), "runs/ppo-cartpole-seed-0-2");
}
