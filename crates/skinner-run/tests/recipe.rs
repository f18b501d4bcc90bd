//! Recipes: what is read, what is set, and what every mistake says.

use proptest::prelude::*;
use serde::Deserialize;
use skinner_run::recipe::{apply_set, decode, flatten, nearest, parse};

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    gamma: f64,
    total_steps: u64,
    #[serde(default)]
    anneal: bool,
    #[serde(default)]
    env: EnvConfig,
    #[serde(default)]
    kind: Kind,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EnvConfig {
    id: String,
    num_envs: usize,
    hidden: Vec<usize>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    Plain,
    Dueling,
}

const GOOD: &str = "gamma = 0.99\ntotal_steps = 1000\n[env]\nid = \"CartPole-v1\"\nnum_envs = 4\n";

fn error_of(text: &str) -> String {
    decode::<Config>(parse(text, "a.toml").unwrap(), &["learning_rate"], "a.toml")
        .unwrap_err()
        .to_string()
}

fn set(text: &str, assignment: &str) -> Result<Config, String> {
    let mut table = parse(text, "a.toml").unwrap();
    apply_set(&mut table, assignment).map_err(|error| error.to_string())?;
    decode(table, &[], "a.toml").map_err(|error| error.to_string())
}

#[test]
fn a_recipe_becomes_a_config() {
    let config: Config = decode(parse(GOOD, "a.toml").unwrap(), &[], "a.toml").unwrap();
    assert_eq!(config.gamma, 0.99);
    assert_eq!(config.env.id, "CartPole-v1");
}

#[test]
fn syntax_errors_say_where() {
    let check = |text: &str, place: &str| {
        let error = parse(text, "a.toml").unwrap_err().to_string();
        assert!(error.starts_with(place), "{error}");
        assert!(!error.contains('\n'), "{error}");
    };
    check("gamma = 0.99\nsteps 1\n", "a.toml, line 2, column 7: ");
    check("gamma = \n", "a.toml, line 1, column 9: ");
    check("a = 1\na = 2\n", "a.toml, line 2, column 1: ");
    check("é = 1\n", "a.toml, line 1, column 1: ");
}

#[test]
fn unknown_keys_name_the_nearest() {
    let check = |text: &str, expect: &str| assert_eq!(error_of(text), expect);
    check("gama = 0.9", "a.toml: unknown key `gama`: did you mean `gamma`?");
    check("[env]\nnum_env = 3", "a.toml: unknown key `env.num_env`: did you mean `num_envs`?");
    check(
        "learning-rate = 0.9",
        "a.toml: unknown key `learning-rate`: did you mean `learning_rate`?",
    );
    check("[env]\nzzz = 3", "a.toml: unknown key `env.zzz`: known keys are id, num_envs, hidden");
}

#[test]
fn wrong_values_name_the_key_the_value_and_what_is_right() {
    let check = |text: &str, expect: &str| assert_eq!(error_of(text), expect);
    check("gamma = \"high\"", "a.toml: `gamma` is \"high\", expected a number");
    check(
        "total_steps = 1.5",
        "a.toml: `total_steps` is 1.5, expected a whole number, not negative",
    );
    check("total_steps = -1", "a.toml: `total_steps` is -1, expected a whole number, not negative");
    check("anneal = 1", "a.toml: `anneal` is 1, expected true or false");
    check("[env]\nid = 3", "a.toml: `env.id` is 3, expected a string (in quotes)");
    check(
        "[env]\nhidden = [64, \"x\"]",
        "a.toml: `env.hidden[1]` is \"x\", expected a whole number, not negative",
    );
    check("kind = \"duelling\"", "a.toml: `kind` is \"duelling\", expected `plain` or `dueling`");
    check("env = 3", "a.toml: `env` is 3, expected a table");
    check("gamma = 0.9", "a.toml: missing field `total_steps`");
}

#[test]
fn set_takes_toml_and_plain_text() {
    let config = |assignment| set(GOOD, assignment).unwrap();
    assert_eq!(config("gamma=0.5").gamma, 0.5);
    assert_eq!(config("gamma=1").gamma, 1.0);
    assert_eq!(config("total_steps=1e6").total_steps, 1_000_000);
    assert_eq!(config("env.id=Acrobot-v1").env.id, "Acrobot-v1");
    assert_eq!(config("env.id=\"a=b\"").env.id, "a=b");
    assert_eq!(config("env.id=a=b").env.id, "a=b");
    assert_eq!(config("env.hidden=[64, 64]").env.hidden, [64, 64]);
    assert!(config(" anneal = true ").anneal);
    assert_eq!(set("gamma = 1.0\ntotal_steps = 1", "env.num_envs=8").unwrap().env.num_envs, 8);
    assert_eq!(config("env={id = \"x\"}").env.id, "x");
}

#[test]
fn wrong_sets_say_what_is_right() {
    let check = |assignment: &str, expect: &str| {
        assert_eq!(set(GOOD, assignment).unwrap_err(), expect);
    };
    let write = "write --set key=value or --set table.key=value";
    check("gamma", &format!("--set gamma: `=` is missing; {write}"));
    check("=3", &format!("--set =3: the key is empty; {write}"));
    check("env.=3", &format!("--set env.=3: the key is empty; {write}"));
    check("gamma.x=3", "--set gamma.x=3: `gamma` is 0.99, not a table");
    check("gamma={x=3}", "--set gamma={x=3}: `gamma` is 0.99, not a table");
    check("env=3", "--set env=3: `env` is a table; set one of its keys: env.id, env.num_envs");
    check("gamma=high", "a.toml: `gamma` is \"high\", expected a number");
}

#[test]
fn nearest_only_when_close() {
    let known = ["gamma", "gae_lambda", "learning_rate", "clip_coef"];
    let check = |name: &str, expect: Option<&str>| {
        assert_eq!(nearest(name, &known).as_deref(), expect);
    };
    check("gama", Some("gamma"));
    check("GAMMA", Some("gamma"));
    check("learning-rate", Some("learning_rate"));
    check("clip", Some("clip_coef"));
    check("tau", None);
    check("", None);
}

#[test]
fn flat_keys_are_full() {
    let keys: Vec<String> =
        flatten(&parse(GOOD, "a.toml").unwrap()).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["env.id", "env.num_envs", "gamma", "total_steps"]);
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>(), assignment in any::<String>()) {
        let mut table = parse(&text, "a.toml").unwrap_or_default();
        let _ = apply_set(&mut table, &assignment);
        let _ = decode::<Config>(table, &[], "a.toml");
    }

    #[test]
    fn no_set_panics(assignment in "[a-z.]{0,8}=?[0-9e\\[\\]{}\"a.-]{0,8}") {
        let mut table = parse(GOOD, "a.toml").unwrap();
        let _ = apply_set(&mut table, &assignment);
        if let Err(error) = decode::<Config>(table, &[], "a.toml") {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}
