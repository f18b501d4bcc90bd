//! `skinner serve`, by bare HTTP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::python;
use super::{args, generated, numbers, run, skinner, tokenizer, with_model};

pub(super) struct Server {
    child: Child,
    address: SocketAddr,
}

pub(super) struct Reply {
    pub status: u16,
    pub body: String,
}

impl Server {
    pub fn start(dir: &Path, more: &[&str]) -> Self {
        let args = args("serve", &[&["--port", "0", "--json"], more].concat());
        let mut child = skinner(dir, &args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        let address = line["address"].as_str().unwrap().strip_prefix("http://").unwrap();
        assert_eq!(line["port"], address.parse::<SocketAddr>().unwrap().port());
        Self { child, address: address.parse().unwrap() }
    }

    fn send(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        // A server that refuses early may not read all.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        stream
    }

    pub fn ask(&self, method: &str, path: &str, body: &str) -> Reply {
        let mut all = Vec::new();
        let _ = self.send(method, path, body).read_to_end(&mut all);
        let all = String::from_utf8(all).unwrap();
        let (head, body) = all.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{all}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        Reply { status, body: if chunked { unchunk(body) } else { body.to_owned() } }
    }

    fn get(&self, path: &str) -> Value {
        let reply = self.ask("GET", path, "");
        assert_eq!(reply.status, 200, "{}", reply.body);
        serde_json::from_str(&reply.body).unwrap()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let reply = self.ask("POST", path, &body.to_string());
        assert_eq!(reply.status, 200, "{}", reply.body);
        serde_json::from_str(&reply.body).unwrap()
    }

    /// The events of a stream; its last is the mark of the end.
    fn stream(&self, path: &str, body: &Value) -> Vec<Value> {
        let reply = self.ask("POST", path, &body.to_string());
        assert_eq!(reply.status, 200, "{}", reply.body);
        let mut events: Vec<&str> =
            reply.body.split("\n\n").filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(events.pop(), Some("[DONE]"));
        events.into_iter().map(|event| serde_json::from_str(event).unwrap()).collect()
    }

    /// The status and the message of a refusal.
    fn refused(&self, path: &str, body: &str) -> (u16, Value) {
        let reply = self.ask("POST", path, body);
        let body: Value =
            serde_json::from_str(&reply.body).unwrap_or_else(|_| panic!("{}", reply.body));
        assert_eq!(body["error"]["type"], "invalid_request_error");
        (reply.status, body["error"].clone())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unchunk(body: &str) -> String {
    let (mut rest, mut out) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        out.push_str(&after[..size]);
        rest = &after[(size + 2).min(after.len())..];
    }
    out
}

fn chat(more: &Value) -> Value {
    let mut body = json!({
        "model": "model",
        "messages": [{"role": "user", "content": "What is the sea?"}],
        "max_tokens": 12,
        "temperature": 0.8,
        "seed": 0,
    });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

#[test]
fn answers_are_those_of_generate() {
    let dir = with_model();
    let server = Server::start(dir.path(), &[]);
    let expected = generated(dir.path(), &["--messages", "messages.json"]);
    let body = chat(&json!({"logprobs": true, "top_logprobs": 2, "return_token_ids": true}));
    let answer = server.post("/v1/chat/completions", &body);
    let choice = &answer["choices"][0];
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(choice["message"]["content"], expected["content"]);
    assert_eq!(choice["token_ids"], expected["ids"]);
    assert_eq!(choice["finish_reason"], expected["finish"]);
    let content = choice["logprobs"]["content"].as_array().unwrap();
    let log_probs: Vec<f64> = content.iter().map(|x| x["logprob"].as_f64().unwrap()).collect();
    assert_eq!(log_probs, numbers(&expected["log_probs"]));
    for entry in content {
        let top = entry["top_logprobs"].as_array().unwrap();
        assert!(top.len() == 2 && top[0]["logprob"].as_f64() >= top[1]["logprob"].as_f64());
        assert!(top[0]["logprob"].as_f64() >= entry["logprob"].as_f64());
        let same = top.iter().find(|x| x["bytes"] == entry["bytes"]);
        assert!(same.is_none_or(|same| {
            let difference = same["logprob"].as_f64().unwrap() - entry["logprob"].as_f64().unwrap();
            difference.abs() < 1e-5
        }));
    }
    let bytes: Vec<u8> =
        content.iter().flat_map(|x| numbers(&x["bytes"])).map(|x| x as u8).collect();
    assert_eq!(String::from_utf8_lossy(&bytes), expected["text"].as_str().unwrap());
    let (prompt, generated) = (answer["prompt_token_ids"].as_array().unwrap().len(), content.len());
    let usage = |cached: usize| {
        json!({
            "prompt_tokens": prompt,
            "completion_tokens": generated,
            "total_tokens": prompt + generated,
            "prompt_tokens_details": {"cached_tokens": cached},
        })
    };
    assert_eq!(answer["usage"], usage(0));
    // In parts it is the same.
    let body = chat(&json!({
        "stream": true,
        "stream_options": {"include_usage": true},
        "logprobs": true,
        "return_token_ids": true,
    }));
    let mut events = server.stream("/v1/chat/completions", &body);
    assert_eq!(events.pop().unwrap()["usage"], usage(prompt - 1));
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(events[0]["prompt_token_ids"], answer["prompt_token_ids"]);
    assert_eq!(events.last().unwrap()["choices"][0]["finish_reason"], expected["finish"]);
    let choices = || events.iter().map(|event| &event["choices"][0]);
    let text: String = choices().filter_map(|choice| choice["delta"]["content"].as_str()).collect();
    assert_eq!(text, expected["content"]);
    let ids: Vec<f64> = choices().flat_map(|choice| numbers(&choice["token_ids"])).collect();
    assert_eq!(ids, numbers(&expected["ids"]));
    let told = choices().map(|choice| choice["logprobs"]["content"].as_array().unwrap().len());
    assert_eq!(told.sum::<usize>(), ids.len());
}

/// OpenAI's own client is content.
#[test]
fn the_openai_client() {
    let dir = with_model();
    let server = Server::start(dir.path(), &["--name", "mine"]);
    python(dir.path(), "openai_client.py", &[&format!("http://{}", server.address)]);
}

/// Who has not sent a whole request does not keep the server from ending.
#[cfg(unix)]
#[test]
fn half_a_request_does_not_hold_it_up() {
    let dir = with_model();
    let mut server = Server::start(dir.path(), &[]);
    let mut half = TcpStream::connect(server.address).unwrap();
    let head = "POST /v1/completions HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n{";
    half.write_all(head.as_bytes()).unwrap();
    server.get("/health");
    let id = server.child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let asked = Instant::now();
    while server.child.try_wait().unwrap().is_none() {
        assert!(asked.elapsed() < Duration::from_secs(30), "it still waits");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn texts_tokens_and_echoes() {
    let dir = with_model();
    let server = Server::start(dir.path(), &["--name", "mine"]);
    let expected = generated(dir.path(), &["--prompt", "The sea", "--temperature", "1"]);
    let ids = tokenizer(dir.path()).encode("The sea", true).unwrap();
    let body = |prompt: Value| json!({"prompt": prompt, "max_tokens": 12, "seed": 0});
    let alone = server.post("/v1/completions", &body("The sea".into()));
    assert_eq!(alone["choices"][0]["text"], expected["content"]);
    assert_eq!(alone["model"], "mine");
    let by_ids = server.post("/v1/completions", &body(json!(ids)));
    assert_eq!(by_ids["choices"], alone["choices"]);
    // Several prompts, two completions of each.
    let mut several = body(json!(["The sea", "Where"]));
    several["n"] = 2.into();
    let several = server.post("/v1/completions", &several);
    let choices = several["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 4);
    assert_eq!(choices[0], alone["choices"][0]);
    assert_eq!(choices[3]["index"], 3);
    // The log-probabilities of a completion are those of the same tokens given.
    let whole =
        [&ids[..], &numbers(&expected["ids"]).iter().map(|&id| id as u32).collect::<Vec<_>>()]
            .concat();
    let echo = json!({"prompt": whole, "max_tokens": 0, "echo": true, "logprobs": 1});
    let echoed = server.post("/v1/completions", &echo);
    let log_probs = echoed["choices"][0]["logprobs"]["token_logprobs"].as_array().unwrap();
    assert_eq!((log_probs.len(), &log_probs[0]), (whole.len(), &Value::Null));
    for (given, drawn) in log_probs[ids.len()..].iter().zip(numbers(&expected["log_probs"])) {
        assert!((given.as_f64().unwrap() - drawn).abs() < 1e-4, "{given} is not {drawn}");
    }
    assert_eq!(echoed["choices"][0]["finish_reason"], "length");
    let text = echoed["choices"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("The sea"), "{text}");
    let mut with_echo = body("The sea".into());
    with_echo["echo"] = true.into();
    with_echo["logprobs"] = 2.into();
    let echoed = server.post("/v1/completions", &with_echo);
    let choice = &echoed["choices"][0];
    let content = expected["content"].as_str().unwrap();
    assert_eq!(choice["text"], format!("The sea{content}"));
    let offsets = numbers(&choice["logprobs"]["text_offset"]);
    assert_eq!((offsets[0], offsets[ids.len()]), (0.0, 7.0));
    assert_eq!(choice["logprobs"]["top_logprobs"][1].as_object().unwrap().len(), 2);
    // A stop string is not part of the text, whole or in parts.
    let stop: String = content.chars().nth(2).into_iter().collect();
    let before = content.split(&stop).next().unwrap();
    let mut stopped = body("The sea".into());
    stopped["stop"] = json!([stop, "<nothing>"]);
    let answer = server.post("/v1/completions", &stopped);
    assert_eq!(answer["choices"][0]["text"], before);
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    stopped["stream"] = true.into();
    let events = server.stream("/v1/completions", &stopped);
    let text: String =
        events.iter().map(|event| event["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(text, before);
}

#[test]
fn models_and_health() {
    let dir = with_model();
    let server = Server::start(dir.path(), &["--name", "owner/mine", "--precision", "bf16"]);
    let models = server.get("/v1/models");
    assert_eq!(models["data"][0]["id"], "owner/mine");
    assert_eq!(server.get("/v1/models/owner/mine"), models["data"][0]);
    assert_eq!(server.get("/health")["status"], "ok");
    assert_eq!(server.ask("GET", "/v1/models/other", "").status, 404);
    assert_eq!(server.ask("GET", "/v2", "").status, 404);
    assert_eq!(server.ask("GET", "/v1/completions", "").status, 405);
}

#[test]
fn what_is_refused_says_so() {
    let dir = with_model();
    let server = Server::start(dir.path(), &[]);
    let path = "/v1/chat/completions";
    let long = "sea ".repeat(200);
    for (more, param, expected) in [
        (json!({"temperature": -1}), "temperature", "temperature = -1"),
        (json!({"temperature": "hot"}), "temperature", "must be a number"),
        (json!({"top_p": 0}), "top_p", "top_p = 0"),
        (json!({"n": 0}), "n", "n is 0"),
        (json!({"n": 1000}), "n", "n is 1000"),
        (json!({"n": 65}), "n", "from 0 to 64"),
        (json!({"stream_options": {"include_usage": true}}), "stream_options", "needs stream"),
        (json!({"stream": true, "stream_options": {"x": 1}}), "stream_options", "stream_options.x"),
        (json!({"max_tokens": 0}), "max_tokens", "at least 1"),
        (json!({"top_logprobs": 2}), "top_logprobs", "needs logprobs"),
        (json!({"stop": [1]}), "stop", "a text or a list of texts"),
        (json!({"stop": ""}), "stop", "none of them empty"),
        (json!({"messages": []}), "messages", "messages is empty"),
        (json!({"messages": [{"content": "a"}]}), "messages", "messages[0]"),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
            "messages",
            "type `text`",
        ),
        (
            json!({"messages": [{"role": "user", "content": long}]}),
            "messages",
            "maximum context length is 96",
        ),
    ] {
        let (status, error) = server.refused(path, &chat(&more).to_string());
        assert_eq!((status, &error["param"]), (400, &param.into()), "{error}");
        assert!(error["message"].as_str().unwrap().contains(expected), "{error}");
    }
    for (body, status, expected) in [
        ("{".to_owned(), 400, "no JSON"),
        ("[]".to_owned(), 400, "must be a JSON object"),
        ("\u{0}".to_owned(), 400, "no JSON"),
        (chat(&json!({"model": "gpt"})).to_string(), 404, "there is no model `gpt`"),
        (chat(&json!({"frequency_penalty": 2.5})).to_string(), 400, "frequency_penalty = 2.5"),
        (chat(&json!({"repetition_penalty": 0})).to_string(), 400, "repetition_penalty = 0"),
        (chat(&json!({"tools": [{}]})).to_string(), 400, "tools has {}, must be"),
        (chat(&json!({"tools": [tool()]})).to_string(), 400, "template does not know tools"),
        (chat(&json!({"tool_choice": "required"})).to_string(), 400, "tool_choice"),
        (chat(&json!({"maxtokens": 3})).to_string(), 400, "maxtokens"),
        (" ".repeat((8 << 20) + 1), 413, "larger than 8388608 bytes"),
    ] {
        let (found, error) = server.refused(path, &body);
        assert_eq!(found, status, "{error}");
        assert!(error["message"].as_str().unwrap().contains(expected), "{error}");
    }
    for (prompt, expected) in [
        (json!(null), "prompt is missing"),
        (json!(7), "must be a text"),
        (json!([]), "0 entries"),
        (json!([[]]), "no tokens"),
        (json!([1, -2]), "must be a text"),
        (json!([100_000]), "out of range"),
    ] {
        let body = json!({"prompt": prompt}).to_string();
        let (status, error) = server.refused("/v1/completions", &body);
        assert_eq!(status, 400, "{error}");
        assert!(error["message"].as_str().unwrap().contains(expected), "{error}");
    }
    // It goes on after all that, and what says the default anyway is no reason to refuse.
    let harmless = json!({"user": "me", "presence_penalty": 0.0, "tools": [], "logit_bias": {}});
    assert!(server.post(path, &chat(&harmless))["choices"].is_array());
    let no_calls = json!({"tools": [tool()], "tool_choice": "none"});
    assert!(server.post(path, &chat(&no_calls))["choices"].is_array());
    let greedy = |more: Value| {
        let mut body = chat(&json!({"temperature": 0, "return_token_ids": true}));
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post(path, &body)["choices"][0]["token_ids"].clone()
    };
    let penalised = greedy(json!({"repetition_penalty": 50}));
    assert_ne!(penalised, greedy(json!({})));
    let given = ["--messages", "messages.json", "--temperature", "0", "--repetition-penalty", "50"];
    assert_eq!(penalised, generated(dir.path(), &given)["ids"]);
    let parts = json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "What is the sea?"}]}]});
    assert_eq!(
        server.post(path, &chat(&parts))["choices"],
        server.post(path, &chat(&json!({})))["choices"]
    );
}

fn tool() -> Value {
    json!({"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}})
}

/// A model that was taught to call a tool, and to answer once it is told what came of it.
#[test]
fn tools_are_called() {
    let dir = tempfile::tempdir().unwrap();
    let call = "<tool_call>{\"name\": \"look\", \"arguments\": {\"at\": 1}}</tool_call>";
    let row = |i: usize| {
        let asked = json!({"role": "user", "content": format!("see {}", i % 4)});
        let called = json!({"role": "assistant", "content": format!("{call}\n")});
        let told = json!([
            asked,
            {"role": "assistant", "content": "", "tool_calls": [
                {"function": {"name": "look", "arguments": {"at": 1}}}]},
            {"role": "tool", "content": "sea"},
            {"role": "assistant", "content": "a sea\n"},
        ]);
        let messages = if i.is_multiple_of(2) { json!([asked, called]) } else { told };
        json!({"messages": messages, "tools": [tool()]}).to_string() + "\n"
    };
    std::fs::write(dir.path().join("calls.jsonl"), (0..32).map(row).collect::<String>()).unwrap();
    let template = "{% for tool in tools or [] %}[{{ tool.function.name }}]{% endfor %}\
        {% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' %}{% generation %}{{ m.content }}\
        {% for c in m.tool_calls or [] %}{{ c.function.arguments.at }}{% endfor %}{% endgeneration %}\
        {% else %}{{ m.content }}\n{% endif %}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";
    let recipe = format!(
        "algorithm = \"sft\"\nmax_length = 160\nbatch_size = 8\nlearning_rate = 1e-2\nmax_steps = 150\n\
         loss_on = \"completion\"\n[model]\nhidden_size = 48\nnum_hidden_layers = 2\nnum_attention_heads = 4\n\
         tokenizer = {{ bpe = 300 }}\nchat_template = {}\n[data]\npath = \"calls.jsonl\"\n[samples]\ncount = 0\n",
        json!(template)
    );
    std::fs::write(dir.path().join("recipe.toml"), recipe).unwrap();
    run(dir.path(), &["train", "recipe.toml", "--run-dir", "run"]);
    let server = Server::start(dir.path(), &["--model", "run"]);
    let path = "/v1/chat/completions";
    let mut messages = vec![json!({"role": "user", "content": "see 2"})];
    let body = |messages: &[Value], stream: bool| json!({"messages": messages, "tools": [tool()], "temperature": 0, "stop": "\n", "stream": stream});
    let answer = server.post(path, &body(&messages, false));
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{answer}");
    assert_eq!(choice["message"]["content"], Value::Null);
    let calls = choice["message"]["tool_calls"].as_array().unwrap();
    assert_eq!((calls.len(), &calls[0]["type"]), (1, &"function".into()));
    assert_eq!(calls[0]["function"], json!({"name": "look", "arguments": "{\"at\":1}"}));
    // In parts the calls come at once, at the end.
    let events = server.stream(path, &body(&messages, true));
    let last = &events.last().unwrap()["choices"][0];
    assert_eq!(last["finish_reason"], "tool_calls");
    assert_eq!(last["delta"]["tool_calls"][0]["function"], calls[0]["function"]);
    assert_eq!(last["delta"]["tool_calls"][0]["index"], 0);
    assert!(
        events
            .iter()
            .all(|e| e["choices"][0]["delta"]["content"].as_str().is_none_or(str::is_empty))
    );
    // What came of it goes to the template.
    messages.push(choice["message"].clone());
    messages.push(json!({"role": "tool", "content": "sea", "tool_call_id": calls[0]["id"]}));
    let answer = server.post(path, &body(&messages, false));
    assert_eq!(answer["choices"][0]["message"]["content"], "a sea", "{answer}");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
}

/// What was said before is not run again, and changes no bit of what is said next.
#[test]
fn a_conversation_is_run_once() {
    let dir = with_model();
    let (keeping, forgetful) =
        (Server::start(dir.path(), &[]), Server::start(dir.path(), &["--prompt-cache", "0"]));
    let mut messages = vec![json!({"role": "user", "content": "What is the sea?"})];
    let mut prompt = 0;
    for turn in 0..2 {
        let body = chat(&json!({"messages": messages, "max_tokens": 6, "logprobs": true}));
        let [kept, fresh] =
            [&keeping, &forgetful].map(|server| server.post("/v1/chat/completions", &body));
        assert_eq!(kept["choices"], fresh["choices"]);
        let cached = |answer: &Value| {
            answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
        };
        assert_eq!(cached(&fresh), 0);
        // The end of what was asked may be one token with the beginning of the answer.
        assert!(cached(&kept) + 2 >= prompt && cached(&kept) <= prompt, "{turn}: {kept}");
        prompt = kept["usage"]["prompt_tokens"].as_u64().unwrap();
        messages.push(
            json!({"role": "assistant", "content": kept["choices"][0]["message"]["content"]}),
        );
        messages.push(json!({"role": "user", "content": "Where?"}));
    }
}

/// Requests of different sampling share the batch, and each is what it is alone.
#[test]
fn requests_are_decoded_together() {
    let dir = with_model();
    let server = Server::start(dir.path(), &["--max-batch", "5"]);
    let body = |i: u32| {
        let temperature = 0.5 + f64::from(i) / 8.0;
        chat(
            &json!({"seed": i, "temperature": temperature, "n": 1 + i % 3, "max_tokens": 8 + 6 * i}),
        )
    };
    let alone: Vec<Value> =
        (0..8).map(|i| server.post("/v1/chat/completions", &body(i))["choices"].clone()).collect();
    std::thread::scope(|scope| {
        let (server, body) = (&server, &body);
        let ask = |i| server.post("/v1/chat/completions", &body(i))["choices"].clone();
        let together: Vec<_> = (0..8).map(|i| scope.spawn(move || ask(i))).collect();
        for (one, alone) in together.into_iter().zip(alone) {
            assert_eq!(one.join().unwrap(), alone);
        }
    });
}

#[test]
fn who_goes_away_is_not_waited_for() {
    let dir = with_model();
    // One prompt of many at a time, and each completion as long as the context: minutes of work.
    let server = Server::start(dir.path(), &["--max-batch", "64"]);
    let until = |is_reached: &dyn Fn(&Value) -> bool| {
        let start = Instant::now();
        loop {
            let health = server.get("/health");
            if is_reached(&health) {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{health}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let idle = json!({"status": "ok", "active": 0, "waiting": 0});
    for stream in [true, false] {
        let body = json!({
            "prompt": vec!["The"; 1000],
            "n": 64,
            "max_tokens": 90,
            "ignore_eos": true,
            "stream": stream,
        });
        let asked = server.send("POST", "/v1/completions", &body.to_string());
        until(&|health| health["waiting"].as_u64() > Some(0));
        drop(asked);
        until(&|health| *health == idle);
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_lets_answers_end() {
    let dir = with_model();
    let mut server = Server::start(dir.path(), &[]);
    let body = json!({"prompt": vec!["The"; 40], "n": 16, "max_tokens": 90, "ignore_eos": true, "stream": true});
    let mut stream = server.send("POST", "/v1/completions", &body.to_string());
    let mut some = [0; 64];
    stream.read_exact(&mut some).unwrap();
    let id = server.child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("data: [DONE]"));
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}
