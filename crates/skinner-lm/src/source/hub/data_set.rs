//! A data set's repository: which files it has, and those that are wanted.

use std::fs;
use std::path::{Path, PathBuf};

use hf_hub::{Cache, Repo, RepoType};

use super::{SourceOptions, api, failed, fetch_file, parse};
use crate::error::LmError;

/// A list of all files, kept beside those that were fetched.
const LISTING: &str = ".files.json";

/// A commit of a data set's repository.
pub(crate) struct DataRepository {
    options: SourceOptions,
    cache: Cache,
    /// The repository at this commit.
    repo: Repo,
    names: Vec<String>,
}

impl DataRepository {
    /// Looks up `owner/name` or `owner/name@revision`, in the cache first.
    ///
    /// # Errors
    /// When it is not in the cache and the hub does not have it, or cannot be asked.
    pub fn open(text: &str, options: &SourceOptions) -> Result<Self, LmError> {
        let address = parse(text)?;
        if let Some(file) = address.file {
            return Err(LmError::Source(format!(
                "a file of a data set is named behind a colon: hf:{}:{file}",
                address.repository
            )));
        }
        let at = |revision: &str| {
            let name = address.repository.clone();
            Repo::with_revision(name, RepoType::Dataset, revision.to_owned())
        };
        let cache = Cache::new(options.cache.join("hub"));
        let folder = cache.path().join(at("main").folder_name());
        let commit = fs::read_to_string(folder.join("refs").join(address.revision));
        let commit = commit.map_or(address.revision.to_owned(), |commit| commit.trim().to_owned());
        let listing = folder.join("snapshots").join(&commit).join(LISTING);
        let known = fs::read(&listing).ok().and_then(|names| serde_json::from_slice(&names).ok());
        let (commit, names) = match known {
            Some(names) => (commit, names),
            None if options.hub_offline => return Err(not_here(cache.path())),
            None => {
                let asked = ask(&cache, at(address.revision), options);
                asked.map_err(|why| at_hub(options, &why))?
            }
        };
        Ok(Self { options: options.clone(), repo: at(&commit), cache, names })
    }

    /// All files.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Fetches files, those that are not here yet.
    ///
    /// # Errors
    /// When the hub cannot be asked, or what it sends is damaged.
    pub fn fetch(&self, names: &[&str]) -> Result<Vec<PathBuf>, LmError> {
        let folder = self.cache.repo(self.repo.clone()).pointer_path(self.repo.revision());
        let here = |name: &&str| Some(folder.join(name)).filter(|path| path.exists());
        let found: Vec<PathBuf> = names.iter().filter_map(here).collect();
        if found.len() == names.len() {
            return Ok(found);
        }
        if self.options.hub_offline {
            return Err(not_here(self.cache.path()));
        }
        let repository = api(&self.cache, &self.options)?.repo(self.repo.clone());
        let fetch = |name: &&str| here(name).map_or_else(|| fetch_file(&repository, name), Ok);
        let fetched: Result<_, LmError> = names.iter().map(fetch).collect();
        fetched.map_err(|why| at_hub(&self.options, &why))
    }
}

/// Asks the hub for the commit of a revision and its files, and keeps the answer.
fn ask(
    cache: &Cache,
    repo: Repo,
    options: &SourceOptions,
) -> Result<(String, Vec<String>), LmError> {
    let info = api(cache, options)?.repo(repo.clone()).info().map_err(|error| {
        let text = error.to_string();
        if ["401", "403", "404"].iter().any(|code| text.contains(code)) {
            let what = "there is no such data set or revision, or it is not open to this HF_TOKEN";
            return LmError::Source(format!("{what} ({text})"));
        }
        failed(&error)
    })?;
    let safe = |name: &String| {
        !name.contains('\\') && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
    };
    let mut names: Vec<String> = info.siblings.into_iter().map(|file| file.rfilename).collect();
    names.retain(safe);
    if info.sha.is_empty() || !info.sha.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(LmError::Source(format!("its commit `{}` is none", info.sha)));
    }
    let files = cache.repo(repo);
    let folder = files.pointer_path(&info.sha);
    fs::create_dir_all(&folder).map_err(LmError::io("create", &folder))?;
    let listing = folder.join(LISTING);
    let text = serde_json::to_vec(&names)
        .map_err(|error| LmError::Source(format!("its list of files: {error}")))?;
    crate::tensor_file::write_atomic(&listing, &text)?;
    files.create_ref(&info.sha).map_err(LmError::io("write", &folder))?;
    Ok((info.sha, names))
}

fn not_here(cache: &Path) -> LmError {
    LmError::Source(format!(
        "not all of it is in the cache ({}), and HF_HUB_OFFLINE forbids to fetch it",
        cache.display()
    ))
}

fn at_hub(options: &SourceOptions, why: &LmError) -> LmError {
    LmError::Source(format!("at {}: {why}", options.hub_endpoint))
}
