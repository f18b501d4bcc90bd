//! Models and data sets of the Hugging Face hub.

use std::fs;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

pub(crate) use data_set::DataRepository;

use super::{ResolvedModel, SourceOptions, check_sha256, model_in, sha256};
use crate::error::LmError;

mod data_set;

/// What is fetched of a repository besides its weights.
const FILES: [&str; 9] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "adapter_config.json",
    "adapter_model.safetensors",
];

/// `owner/name`, perhaps a file, and a revision.
#[derive(Debug, PartialEq, Eq)]
struct Address<'a> {
    repository: String,
    file: Option<&'a str>,
    revision: &'a str,
}

fn parse(text: &str) -> Result<Address<'_>, LmError> {
    let bad = || {
        LmError::Source(format!(
            "`hf:{text}` must be hf:owner/name, hf:owner/name@revision or hf:owner/name/file.gguf@revision"
        ))
    };
    let word = |part: &str| {
        !part.is_empty()
            && part != "."
            && !part.contains("..")
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let (path, revision) = text.split_once('@').unwrap_or((text, "main"));
    let mut parts = path.splitn(3, '/');
    let (owner, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let file = parts.next();
    if ![owner, name].into_iter().chain(file.iter().flat_map(|f| f.split('/'))).all(word)
        || !revision.split('/').all(word)
    {
        return Err(bad());
    }
    Ok(Address { repository: format!("{owner}/{name}"), file, revision })
}

pub(super) fn fetch(
    text: &str,
    expected: Option<&str>,
    options: &SourceOptions,
) -> Result<ResolvedModel, LmError> {
    let address = parse(text)?;
    let repo = Repo::with_revision(
        address.repository.clone(),
        RepoType::Model,
        address.revision.to_owned(),
    );
    let cache = Cache::new(options.cache.join("hub"));
    let path = match cached(&cache, &repo, &address) {
        Some(path) => path,
        None if options.hub_offline => {
            return Err(LmError::Source(format!(
                "hf:{text}: not in the cache ({}), and HF_HUB_OFFLINE forbids to fetch it",
                cache.path().display()
            )));
        }
        None => download(&cache, repo, &address, options).map_err(|why| {
            LmError::Source(format!("hf:{text} at {}: {why}", options.hub_endpoint))
        })?,
    };
    let revision = commit_of(&path, cache.path());
    let sha256 = if path.is_file() {
        let found = sha256(&path)?;
        check_sha256(&path, &found, expected)?;
        Some(found)
    } else {
        None
    };
    let file = address.file.map(|file| format!("/{file}")).unwrap_or_default();
    let at = revision.as_deref().unwrap_or(address.revision);
    let provenance = format!("hf:{}{file}@{at}", address.repository);
    Ok(ResolvedModel { path, provenance, sha256, revision })
}

/// The commit, out of `…/snapshots/COMMIT/…`.
fn commit_of(path: &Path, cache: &Path) -> Option<String> {
    let mut parts = path.strip_prefix(cache).ok()?.iter();
    parts.by_ref().find(|part| *part == "snapshots")?;
    Some(parts.next()?.to_string_lossy().into_owned())
}

/// What the cache has; a folder only when all of it is there.
fn cached(cache: &Cache, repo: &Repo, address: &Address) -> Option<PathBuf> {
    let files = cache.repo(repo.clone());
    let snapshot = cache.path().join(repo.folder_name()).join("snapshots").join(address.revision);
    let find = |name: &str| {
        files.get(name).or_else(|| Some(snapshot.join(name)).filter(|path| path.exists()))
    };
    match address.file {
        Some(file) => find(file),
        // Written last.
        None => find(COMPLETE)?.parent().map(Path::to_owned),
    }
}

/// Marks a snapshot that was fetched whole.
const COMPLETE: &str = ".complete";

fn download(
    cache: &Cache,
    repo: Repo,
    address: &Address,
    options: &SourceOptions,
) -> Result<PathBuf, LmError> {
    let repository = api(cache, options)?.repo(repo);
    if let Some(file) = address.file {
        return fetch_file(&repository, file);
    }
    let info = repository.info().map_err(|error| failed(&error))?;
    let names: Vec<&str> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
    let wanted: Vec<&str> =
        names.iter().copied().filter(|name| FILES.contains(name) || is_weights(name)).collect();
    if !wanted.iter().any(|name| name.ends_with(".safetensors")) {
        let is_gguf = |name: &str| Path::new(name).extension().is_some_and(|end| end == "gguf");
        let hint = match names.iter().find(|name| is_gguf(name)) {
            Some(first) => {
                format!("; name one of its GGUF files, such as hf:{}/{first}", address.repository)
            }
            None => String::new(),
        };
        return Err(LmError::Source(format!("the repository has no model.safetensors{hint}")));
    }
    let mut folder = None;
    for name in wanted {
        folder = fetch_file(&repository, name)?.parent().map(Path::to_owned);
    }
    let folder = folder.ok_or_else(|| LmError::Source("the repository is empty".to_owned()))?;
    let complete = folder.join(COMPLETE);
    fs::write(&complete, "").map_err(LmError::io("write", &complete))?;
    model_in(&folder)
}

fn failed(error: &ApiError) -> LmError {
    LmError::Source(error.to_string())
}

fn api(cache: &Cache, options: &SourceOptions) -> Result<Api, LmError> {
    let token = options.hub_token.clone().or_else(|| Cache::from_env().token());
    ApiBuilder::from_cache(cache.clone())
        .with_endpoint(options.hub_endpoint.trim_end_matches('/').to_owned())
        .with_token(token)
        .with_progress(false)
        .with_retries(3)
        .build()
        .map_err(|error| failed(&error))
}

/// `model.safetensors` or a shard of it; a name with a slash is none.
fn is_weights(name: &str) -> bool {
    let shard = name.strip_prefix("model").and_then(|name| name.strip_suffix(".safetensors"));
    shard.is_some_and(|number| {
        number.is_empty()
            || (number.starts_with('-')
                && number.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
    })
}

/// Fetches a file; the hub names large files by their SHA-256, which is checked.
fn fetch_file(repository: &ApiRepo, name: &str) -> Result<PathBuf, LmError> {
    let path = repository
        .get(name)
        .map_err(|error| LmError::Source(format!("{}: {error}", repository.url(name))))?;
    let blob = path.canonicalize().map_err(LmError::io("read", &path))?;
    let tag = blob.file_name().unwrap_or_default().to_string_lossy();
    if tag.len() == 64 && tag.chars().all(|c| c.is_ascii_hexdigit()) {
        let found = sha256(&blob)?;
        if let Err(error) = check_sha256(&path, &found, Some(&tag)) {
            // So that it is not found the next time.
            let _ = fs::remove_file(&path).and_then(|()| fs::remove_file(&blob));
            return Err(error);
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests;
