//! `generate`, `score` and `chat`, on a tiny model of random weights and (in [`real`]) on a real one.

mod real;
mod serve;

use std::borrow::Cow;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use skinner_core::Rng;
use skinner_lm::hf_folder::save_pretrained;
use skinner_lm::{ChatTemplate, Decoder, Dtype, Family, ModelConfig, Tokenizer};

use super::{error, last_json, run, skinner, stderr, stdout};

const TEXT: &str =
    "user: What is the sea?\nassistant: The sea is a place. How, where and why: see the café.\n";
const TEMPLATE: &str = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}\
    {% if add_generation_prompt %}assistant: {% endif %}";
const CONTEXT: usize = 96;

/// Writes a model into `dir/model` that says anything at all, with a chat template if asked for.
fn write_model(dir: &Path, with_template: bool) {
    write_changed_model(dir, with_template.then_some(TEMPLATE), |_, _| {});
}

/// The same with tensors that `change` has changed by their names.
fn write_changed_model(dir: &Path, template: Option<&str>, change: impl Fn(&str, &mut [f32])) {
    let tokenizer = Tokenizer::train_bpe([TEXT].into_iter(), 300).unwrap();
    let config = ModelConfig {
        family: Family::Llama,
        vocab_size: tokenizer.vocab_size(),
        hidden_size: 32,
        intermediate_size: 48,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
        max_position_embeddings: CONTEXT,
        norm_eps: 1e-5,
        rope_theta: 100.0,
        rope_scaling: None,
        tie_word_embeddings: true,
        bos_token_id: tokenizer.bos(),
        eos_token_ids: tokenizer.eos().into_iter().collect(),
        pad_token_id: None,
    };
    let decoder = Decoder::new(config.clone()).unwrap();
    let mut rng = Rng::new(5);
    let mut params = decoder.init(&mut rng);
    params.iter_mut().for_each(|x| *x += 0.25 * rng.normal() as f32);
    for tensor in decoder.layout().tensors() {
        change(&tensor.name, &mut params[tensor.range()]);
    }
    let template = template.map(|text| ChatTemplate::new(text, None, None).unwrap());
    let tensors = decoder.layout().tensors().iter();
    let tensors =
        tensors.map(|t| (t.name.clone(), t.shape.clone(), Cow::Borrowed(&params[t.range()])));
    let folder = dir.join("model");
    save_pretrained(&folder, &config, &tokenizer, template.as_ref(), tensors, Dtype::F32).unwrap();
}

/// A directory with the model, and a conversation in `messages.json`.
fn with_model() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write_model(dir.path(), true);
    let messages = json!([{"role": "user", "content": "What is the sea?"}]);
    std::fs::write(dir.path().join("messages.json"), messages.to_string()).unwrap();
    dir
}

fn tokenizer(dir: &Path) -> Tokenizer {
    Tokenizer::from_file(dir.join("model/tokenizer.json")).unwrap()
}

/// `skinner COMMAND ...`, with `--model model` unless there is another.
fn args<'a>(command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let model: &[&str] = if more.contains(&"--model") { &[] } else { &["--model", "model"] };
    [&[command], model, more].concat()
}

fn generated(dir: &Path, more: &[&str]) -> Value {
    let length = ["--max-new-tokens", "12"];
    let length = if more.contains(&length[0]) { &[] } else { &length[..] };
    last_json(&run(dir, &args("generate", &[&["--json"], length, more].concat())))
}

/// Runs with a text on standard input.
fn run_with_input(dir: &Path, args: &[&str], input: &str) -> Output {
    let mut command = skinner(dir, args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    output
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn generate_prints_what_scripts_read() {
    let dir = with_model();
    let line = generated(dir.path(), &["--prompt", "The sea"]);
    let ids: Vec<u32> = numbers(&line["ids"]).iter().map(|&id| id as u32).collect();
    assert!((1..=12).contains(&ids.len()));
    assert_eq!(numbers(&line["log_probs"]).len(), ids.len());
    assert!(numbers(&line["log_probs"]).iter().all(|&x| x < 0.0));
    assert_eq!(line["text"], tokenizer(dir.path()).decode(&ids, false).unwrap());
    // Twice the same, on any number of threads; another seed is another completion.
    assert_eq!(line, generated(dir.path(), &["--prompt", "The sea", "--threads", "1"]));
    assert_ne!(line, generated(dir.path(), &["--prompt", "The sea", "--seed", "1"]));
    // The first of several is the one alone.
    let many = generated(dir.path(), &["--prompt", "The sea", "--num-generations", "3"]);
    let many = many["completions"].as_array().unwrap();
    assert_eq!((many.len(), &many[0]), (3, &line));
    assert_ne!(many[0], many[1]);
    // What a person sees is the content.
    let seen =
        run(dir.path(), &args("generate", &["--prompt", "The sea", "--max-new-tokens", "12"]));
    assert_eq!(stdout(&seen), format!("{}\n", line["content"].as_str().unwrap()));
    let greedy = ["--prompt", "The sea", "--temperature", "0"];
    assert_eq!(generated(dir.path(), &greedy)["ids"], {
        let top_1 = ["--prompt", "The sea", "--top-k", "1", "--seed", "7"];
        generated(dir.path(), &top_1)["ids"].clone()
    });
    assert!(
        generated(dir.path(), &[&greedy[..], &["--precision", "bf16"]].concat())["ids"].is_array()
    );
}

#[test]
fn a_prompt_comes_from_many_places() {
    let dir = with_model();
    let plain = generated(dir.path(), &["--prompt", "What is the sea?"]);
    std::fs::write(dir.path().join("prompt.txt"), "What is the sea?").unwrap();
    assert_eq!(plain, generated(dir.path(), &["--prompt-file", "prompt.txt"]));
    let given = args("generate", &["--json", "--max-new-tokens", "12"]);
    assert_eq!(plain, last_json(&run_with_input(dir.path(), &given, "What is the sea?")));
    let chat = generated(dir.path(), &["--messages", "messages.json"]);
    assert_ne!(plain, chat);
    assert_eq!(chat, generated(dir.path(), &["--chat", "--prompt", "What is the sea?"]));
    let written = generated(dir.path(), &["--prompt", "user: What is the sea?\nassistant: "]);
    assert_eq!(chat, written);
    // A run directory stands for its model.
    let run_dir = generated(dir.path(), &["--prompt", "What is the sea?", "--model", "."]);
    assert_eq!(plain, run_dir);
}

#[test]
fn a_stop_string_ends_what_is_seen() {
    let dir = with_model();
    let free = generated(dir.path(), &["--prompt", "The sea"]);
    let text = free["content"].as_str().unwrap();
    let (at, character) = text.char_indices().nth(3).unwrap();
    let stop = character.to_string();
    let stopped = generated(dir.path(), &["--prompt", "The sea", "--stop", &stop]);
    let first = text.find(character).unwrap();
    assert!(first <= at);
    assert_eq!(stopped["content"], text[..first]);
    assert_eq!(stopped["finish"], "stop");
    assert!(numbers(&stopped["ids"]).len() <= numbers(&free["ids"]).len());
}

#[test]
fn score_prints_what_scripts_read() {
    let dir = with_model();
    let messages = ["--messages", "messages.json", "--json"];
    let line = last_json(&run(dir.path(), &args("score", &messages)));
    assert_eq!(line["text"], "user: What is the sea?\n");
    let count = line["ids"].as_array().unwrap().len();
    assert_eq!(numbers(&line["log_probs"]).len(), count - 1);
    let whole = [&messages[..], &["--add-generation-prompt"]].concat();
    let whole = last_json(&run(dir.path(), &args("score", &whole)));
    assert_eq!(whole["text"], "user: What is the sea?\nassistant: ");
    let text = whole["text"].as_str().unwrap();
    let plain = last_json(&run(dir.path(), &args("score", &["--text", text, "--json"])));
    assert_eq!(plain, whole);
    let mean = numbers(&whole["log_probs"]).iter().sum::<f64>()
        / numbers(&whole["log_probs"]).len() as f64;
    let shown = stdout(&run(dir.path(), &args("score", &["--prompt", text])));
    assert!(shown.contains(&format!("perplexity {:.4}", (-mean).exp())), "{shown}");
}

#[test]
fn what_cannot_be_done_says_so() {
    let dir = with_model();
    let bare = tempfile::tempdir().unwrap();
    write_model(bare.path(), false);
    let long = "sea ".repeat(200);
    let wrong = "[{\"role\": \"user\", \"contents\": \"a\"}]";
    let files =
        [("no.json", "{"), ("text.json", "\"sea\""), ("none.json", "[]"), ("wrong.json", wrong)];
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    for (command, expected) in [
        (args("generate", &["--prompt", "a", "--temperature", "-1"]), "temperature = -1"),
        (args("generate", &["--prompt", "a", "--top-p", "0"]), "top_p = 0"),
        (args("generate", &["--prompt", &long]), "more than the model's context of 96"),
        (args("generate", &["--messages", "absent.json"]), "cannot read absent.json"),
        (args("generate", &["--messages", "no.json"]), "no.json: is no JSON"),
        (args("generate", &["--messages", "text.json"]), "text.json: holds no messages"),
        (args("generate", &["--messages", "none.json"]), "none.json: holds no messages"),
        (args("score", &["--messages", "wrong.json"]), "wrong.json: message 1: has no `content`"),
        (
            args("generate", &["--prompt", "a", "--model", "nowhere"]),
            "cannot find the model `nowhere`",
        ),
        (args("generate", &["--prompt", "a", "--adapter", "."]), "adapter_config.json"),
        (args("score", &["--text", &long]), "more than the model's context of 96"),
        (args("score", &["--text", "s"]), "must have 2 or more"),
        (args("serve", &["--host", "256.0.0.1"]), "cannot listen on 256.0.0.1:8080"),
    ] {
        let said = error(dir.path(), &command);
        assert!(said.contains(expected), "{command:?}: {said}");
    }
    let said = error(bare.path(), &args("generate", &["--prompt", "a", "--chat"]));
    assert!(said.contains("plain text"), "{said}");
    let said = error(bare.path(), &args("chat", &[]));
    assert!(said.contains("chat template"), "{said}");
}

#[test]
fn chat_answers_line_by_line() {
    let dir = with_model();
    let chat = args("chat", &["--temperature", "0", "--max-new-tokens", "8"]);
    let one = run_with_input(dir.path(), &chat, "What is the sea?\n");
    let first = generated(
        dir.path(),
        &["--messages", "messages.json", "--temperature", "0", "--max-new-tokens", "8"],
    );
    let first = format!("{}\n", first["content"].as_str().unwrap());
    assert_eq!(stdout(&one), first);
    // The second answer knows the first, unless all is forgotten; it is that to the conversation from its start.
    let twice = run_with_input(dir.path(), &chat, "What is the sea?\nWhat is the sea?\n");
    let said = first.strip_suffix('\n').unwrap();
    let asked = json!({"role": "user", "content": "What is the sea?"});
    let whole = json!([asked, {"role": "assistant", "content": said}, asked]);
    std::fs::write(dir.path().join("whole.json"), whole.to_string()).unwrap();
    let second = generated(
        dir.path(),
        &["--messages", "whole.json", "--temperature", "0", "--max-new-tokens", "8"],
    );
    assert_eq!(stdout(&twice), format!("{first}{}\n", second["content"].as_str().unwrap()));
    assert_ne!(stdout(&twice), first.repeat(2));
    let input = "What is the sea?\n/reset\n\nWhat is the sea?\n/nothing\n/quit\nWhat is the sea?\n";
    let reset = run_with_input(dir.path(), &chat, input);
    assert_eq!(stdout(&reset), first.repeat(2));
    assert!(stderr(&reset).contains("/nothing is no command"));
    // What does not fit is forgotten: the oldest turns, or a message too long for any answer.
    let long = run_with_input(dir.path(), &chat, &"What is the sea?\n".repeat(9));
    assert!(stderr(&long).contains("the context of 96 tokens is full"), "{}", stderr(&long));
    let longest = format!("{}\nWhat is the sea?\n", "sea ".repeat(200));
    let longest = run_with_input(dir.path(), &chat, &longest);
    assert_eq!(stdout(&longest), first);
    assert!(stderr(&longest).contains("must have at most 88"), "{}", stderr(&longest));
    // That message alone: what was said before is still known.
    let between = format!("What is the sea?\n{}\nWhat is the sea?\n", "sea ".repeat(200));
    assert_eq!(stdout(&run_with_input(dir.path(), &chat, &between)), stdout(&twice));
    let told = args("chat", &["--system", "Sea!", "--temperature", "0", "--max-new-tokens", "8"]);
    assert_ne!(stdout(&run_with_input(dir.path(), &told, "What is the sea?\n")), first);
}

/// A model whose logits are no numbers is an error, not the same token for ever.
#[test]
fn broken_weights_say_so() {
    let dir = tempfile::tempdir().unwrap();
    write_changed_model(dir.path(), Some(TEMPLATE), |name, values| {
        if name == "model.norm.weight" {
            values.fill(3e38);
        }
    });
    let said = error(dir.path(), &args("generate", &["--prompt", "The sea"]));
    assert!(said.contains("token 0") && said.contains("weights are broken"), "{said}");
    let server = serve::Server::start(dir.path(), &[]);
    for stream in [false, true] {
        let body = json!({"prompt": "The sea", "stream": stream}).to_string();
        let reply = server.ask("POST", "/v1/completions", &body);
        assert_eq!(reply.status, if stream { 200 } else { 500 });
        assert!(reply.body.contains("weights are broken"), "{}", reply.body);
        assert!(reply.body.contains("server_error"), "{}", reply.body);
    }
}

#[test]
fn known_models_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let listed = stdout(&run(dir.path(), &["list", "models"]));
    assert!(listed.contains("smollm2-135m-instruct") && listed.contains("Apache-2.0"), "{listed}");
}
