use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use skinner_core::SeedSequence;

use super::*;
use crate::data::{DataConfig, Sample, load_with};
use crate::source::resolve;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const WEIGHTS: &[u8] = b"not really weights, but long enough to be sent in two parts";
const WEIGHTS_SHA256: &str = "f0486e6be6ca9e8ec8e8e8a8e3a1e1ed3e2ba5e1f6c0a3d5fd5b2b2c7d54a9b5";

/// A server of the hub's interface on this machine: small files itself, behind a relative redirect; large ones by a
/// redirect to another address, named by their SHA-256.
struct Hub {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
struct Content {
    small: BTreeMap<&'static str, &'static str>,
    large: BTreeMap<&'static str, (&'static [u8], String)>,
    /// The files of `someone/data`, a data set.
    data: BTreeMap<&'static str, &'static str>,
}

impl Hub {
    fn start(content: Content) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (base, log) = (endpoint.clone(), requests.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(&stream.unwrap(), &base, &content, &log);
            }
        });
        Self { endpoint, requests }
    }

    fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn answer(mut stream: &TcpStream, base: &str, content: &Content, log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let request = lines.next().unwrap_or_default();
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    log.lock().unwrap().push(format!("{request} {}", headers.join(" ")));
    let path = request.split(' ').nth(1).unwrap_or_default();
    let range = headers.iter().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned)
    });
    let commit = format!("X-Repo-Commit: {COMMIT}\r\n");
    let resolve = "/someone/model/resolve/main/";
    let not_found = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let redirect = |location: String, more: &str| {
        format!(
            "HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: {location}\r\nContent-Length: 0\r\n\
             {commit}{more}\r\n"
        )
        .into_bytes()
    };
    let listing = |names: Vec<&str>| {
        let names: Vec<_> =
            names.iter().map(|name| format!("{{\"rfilename\":\"{name}\"}}")).collect();
        let body = format!("{{\"sha\":\"{COMMIT}\",\"siblings\":[{}]}}", names.join(","));
        partial(body.as_bytes(), None, "Content-Type: application/json\r\n")
    };
    let data = format!("/datasets/someone/data/resolve/{COMMIT}/");
    let reply = if path == "/api/models/someone/model/revision/main" {
        listing(content.small.keys().chain(content.large.keys()).copied().collect())
    } else if path == "/api/datasets/someone/data/revision/main" {
        listing(content.data.keys().copied().collect())
    } else if let Some(name) = path.strip_prefix(&data) {
        redirect(format!("/rows/{name}"), "")
    } else if let Some(name) = path.strip_prefix("/rows/") {
        let sum: u32 = name.bytes().map(u32::from).sum();
        let tag = format!("{commit}ETag: \"{sum:040x}\"\r\n");
        partial(content.data[name].as_bytes(), range.as_deref(), &tag)
    } else if let Some(name) = path.strip_prefix("/cached/") {
        let tag = format!("{commit}ETag: \"{:040x}\"\r\n", name.len());
        partial(content.small[name].as_bytes(), range.as_deref(), &tag)
    } else if let Some(name) = path.strip_prefix("/cdn/") {
        partial(content.large[name].0, range.as_deref(), "ETag: \"other\"\r\n")
    } else if let Some(name) = path.strip_prefix(resolve) {
        match (content.small.get(name), content.large.get(name)) {
            (Some(_), _) => redirect(format!("/cached/{name}"), ""),
            (_, Some((_, sha256))) => {
                redirect(format!("{base}/cdn/{name}"), &format!("X-Linked-Etag: \"{sha256}\"\r\n"))
            }
            _ => not_found.to_vec(),
        }
    } else {
        not_found.to_vec()
    };
    stream.write_all(&reply).unwrap();
}

fn partial(body: &[u8], range: Option<&str>, headers: &str) -> Vec<u8> {
    let (first, last) = range.and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
    let first: usize = first.parse().unwrap();
    let last = last.parse().unwrap_or(body.len() - 1).min(body.len() - 1);
    let part = &body[first..=last];
    let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
    let mut reply = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{last}/{}\r\n{headers}\r\n",
        part.len(),
        body.len()
    )
    .into_bytes();
    reply.extend(part);
    reply
}

fn content() -> Content {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    fs::write(&path, WEIGHTS).unwrap();
    let sha = sha256(&path).unwrap();
    Content {
        small: [("config.json", "{}"), ("tokenizer.json", "{\"a\":1}"), ("README.md", "no")].into(),
        large: [
            ("model.safetensors", (WEIGHTS, sha.clone())),
            ("pytorch_model.bin", (WEIGHTS, sha.clone())),
            ("small.gguf", (WEIGHTS, sha)),
        ]
        .into(),
        data: [
            ("README.md", "a data set"),
            ("../escape.jsonl", "{}"),
            ("data/train-00001-of-00002.jsonl", "{\"text\": \"c\"}\n"),
            ("data/train-00000-of-00002.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\"}\n"),
            ("data/test-00000-of-00001.jsonl", "{\"text\": \"d\"}\n"),
            ("small/train.jsonl", "{\"text\": \"e\"}\n"),
            ("small/validation.jsonl", "{\"text\": \"f\"}\n"),
        ]
        .into(),
    }
}

fn options(hub: &Hub, folder: &Path) -> SourceOptions {
    SourceOptions {
        cache: folder.to_owned(),
        hub_endpoint: hub.endpoint.clone(),
        hub_token: Some("secret".to_owned()),
        hub_offline: false,
        pip: Vec::new(),
    }
}

#[test]
fn a_folder_is_fetched_once() {
    let (hub, folder) = (Hub::start(content()), tempfile::tempdir().unwrap());
    let mut options = options(&hub, folder.path());
    let model = resolve("hf:someone/model", &options).unwrap();
    assert_eq!(model.revision.as_deref(), Some(COMMIT));
    assert_eq!(model.provenance, format!("hf:someone/model@{COMMIT}"));
    assert_eq!(fs::read(model.path.join("model.safetensors")).unwrap(), WEIGHTS);
    assert_eq!(fs::read_to_string(model.path.join("tokenizer.json")).unwrap(), "{\"a\":1}");
    assert!(
        !model.path.join("README.md").exists() && !model.path.join("pytorch_model.bin").exists()
    );
    let requests = hub.requests.lock().unwrap().clone();
    assert!(requests[0].to_ascii_lowercase().contains("authorization: bearer secret"));
    options.hub_offline = true;
    for spec in ["hf:someone/model", "hf:someone/model@main", &format!("hf:someone/model@{COMMIT}")]
    {
        assert_eq!(resolve(spec, &options).unwrap(), model);
    }
    assert_eq!(hub.requests(), requests.len());
}

#[test]
fn one_file_is_fetched_alone() {
    let (hub, folder) = (Hub::start(content()), tempfile::tempdir().unwrap());
    let options = options(&hub, folder.path());
    let model = resolve("hf:someone/model/small.gguf@main", &options).unwrap();
    assert_eq!(fs::read(&model.path).unwrap(), WEIGHTS);
    assert_eq!(model.provenance, format!("hf:someone/model/small.gguf@{COMMIT}"));
    assert_eq!(model.sha256.as_deref().map(str::len), Some(64));
    assert!(!model.path.with_file_name("config.json").exists());
}

#[test]
fn damaged_and_missing_files_are_refused() {
    let mut damaged = content();
    damaged.large.insert("model.safetensors", (WEIGHTS, WEIGHTS_SHA256.to_owned()));
    let (hub, folder) = (Hub::start(damaged), tempfile::tempdir().unwrap());
    let options = options(&hub, folder.path());
    for _ in 0..2 {
        let error = resolve("hf:someone/model", &options).unwrap_err().to_string();
        assert!(error.contains(WEIGHTS_SHA256) && error.contains("damaged"), "{error}");
    }
    let error = resolve("hf:someone/model/missing.gguf", &options).unwrap_err().to_string();
    assert!(error.contains("404") && error.contains("missing.gguf"), "{error}");
    let error = resolve("hf:someone/else", &options).unwrap_err().to_string();
    assert!(error.contains("404") && error.contains(&hub.endpoint), "{error}");
}

#[test]
fn a_repository_without_safetensors_is_explained() {
    let mut ggufs = content();
    ggufs.large.remove("model.safetensors");
    let (hub, folder) = (Hub::start(ggufs), tempfile::tempdir().unwrap());
    let error = resolve("hf:someone/model", &options(&hub, folder.path())).unwrap_err().to_string();
    assert!(error.contains("hf:someone/model/small.gguf"), "{error}");
}

#[test]
fn offline_only_the_cache_is_used() {
    let (hub, folder) = (Hub::start(content()), tempfile::tempdir().unwrap());
    let options = SourceOptions { hub_offline: true, ..options(&hub, folder.path()) };
    let error = resolve("hf:someone/model", &options).unwrap_err().to_string();
    assert!(error.contains("HF_HUB_OFFLINE") && hub.requests() == 0, "{error}");
}

/// The texts to train and to evaluate on.
fn texts_of(config: &DataConfig, options: &SourceOptions) -> Result<[String; 2], String> {
    let options = || Ok(options.clone());
    let set = load_with(config, &SeedSequence::new(1), &options).map_err(|e| e.to_string())?;
    let text = |samples: &[Sample]| {
        let each = samples.iter().map(|sample| match sample {
            Sample::Text(text) => text.as_str(),
            other => panic!("{other:?}"),
        });
        each.collect()
    };
    Ok([text(&set.train), text(&set.eval)])
}

#[test]
fn a_data_set_is_fetched_once() {
    let (hub, folder) = (Hub::start(content()), tempfile::tempdir().unwrap());
    let mut options = options(&hub, folder.path());
    let named = |path: &str| DataConfig { path: path.to_owned(), ..DataConfig::default() };
    let expected = ["abc", "d"].map(str::to_owned);
    assert_eq!(texts_of(&named("hf:someone/data"), &options).unwrap(), expected);
    let requests = hub.requests.lock().unwrap().clone();
    assert!(requests[0].to_ascii_lowercase().contains("authorization: bearer secret"));
    assert!(!requests.iter().any(|request| request.contains("small")), "{requests:?}");
    // What is there is not asked for again, and what is not cannot be had.
    options.hub_offline = true;
    for path in ["hf:someone/data", "hf:someone/data@main", &format!("hf:someone/data@{COMMIT}")] {
        assert_eq!(texts_of(&named(path), &options).unwrap(), expected);
    }
    assert_eq!(hub.requests(), requests.len());
    for path in ["hf:someone/data:small", "hf:someone/other"] {
        let error = texts_of(&named(path), &options).unwrap_err();
        assert!(error.starts_with(path) && error.contains("HF_HUB_OFFLINE"), "{error}");
    }
    assert_eq!(hub.requests(), requests.len());
    // Configurations, splits of them, and files.
    options.hub_offline = false;
    for (path, train, eval) in [
        ("hf:someone/data:small", "e", "f"),
        ("hf:someone/data:small/validation", "f", ""),
        ("hf:someone/data:/test", "d", ""),
        ("hf:someone/data:data/train-00001-of-00002.jsonl", "c", ""),
    ] {
        let found = texts_of(&named(path), &options).unwrap();
        assert_eq!(found, [train, eval].map(str::to_owned), "{path}");
    }
    let both = DataConfig {
        eval_path: Some("hf:someone/data:small/train".to_owned()),
        split: "test".to_owned(),
        ..named("hf:someone/data")
    };
    assert_eq!(texts_of(&both, &options).unwrap(), ["d", "e"].map(str::to_owned));
}

#[test]
fn data_sets_that_are_not_there_say_so() {
    let (hub, folder) = (Hub::start(content()), tempfile::tempdir().unwrap());
    let options = options(&hub, folder.path());
    let error = |path: &str, split: &str| {
        let (path, split) = (path.to_owned(), split.to_owned());
        let config = DataConfig { path, split, ..DataConfig::default() };
        texts_of(&config, &options).unwrap_err()
    };
    let none = error("hf:someone/else", "train");
    assert!(none.contains("no such data set") && none.contains(&hub.endpoint), "{none}");
    let none = error("hf:someone/data", "dev");
    assert!(none.contains("no file of the split dev (has data/test-"), "{none}");
    assert!(!none.contains("escape"), "{none}");
    let none = error("hf:someone/data:large", "train");
    assert!(none.contains("the split train of `large` (has"), "{none}");
    let none = error("hf:someone/data:train.jsonl", "train");
    assert!(none.contains("no file train.jsonl (has"), "{none}");
    let none = error("hf:someone/data/train.jsonl", "train");
    assert!(none.contains("hf:someone/data:train.jsonl"), "{none}");
    assert!(error("hf:someone", "train").contains("must be hf:owner/name"));
}

#[test]
fn addresses_are_checked() {
    let good = parse("someone/model/sub/a.gguf@refs/pr/1").unwrap();
    assert_eq!((good.repository.as_str(), good.file), ("someone/model", Some("sub/a.gguf")));
    assert_eq!(good.revision, "refs/pr/1");
    assert_eq!(parse("a/b").unwrap().revision, "main");
    for bad in
        ["a", "a/", "/b", "../b", "a/b@", "a/b@../..", "a/b/../c", "a/b/", "a b/c", "a/b@x@y"]
    {
        assert!(parse(bad).is_err(), "{bad}");
    }
    assert!(is_weights("model.safetensors") && is_weights("model-00001-of-00002.safetensors"));
    assert!(!is_weights("sub/model.safetensors") && !is_weights("model-../x.safetensors"));
}
