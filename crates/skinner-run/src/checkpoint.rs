//! Checkpoints: what training continues from, there whole or not at all.
//!
//! A checkpoint is a directory of three files: `model.safetensors` (tensors), `state.bin` (bytes that
//! only the trainer reads) and `checkpoint.json` (step, metadata, where the logs stood, and size and
//! SHA-256 of the other two). It is written under a temporary name, synced and renamed. Its bytes are a
//! function of its contents: two equal runs leave equal checkpoints.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Read, Write as _};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::RunError;
use crate::files;
use crate::logger::LogOffsets;
use crate::run_dir::RunDir;

const FORMAT: u64 = 1;
const MODEL: &str = "model.safetensors";
const STATE: &str = "state.bin";
const MANIFEST: &str = "checkpoint.json";
const BEST: &str = "best";
const REFERENCE: &str = "reference";

/// A named array of numbers in row-major order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensor<'a> {
    /// Its name, unique in its checkpoint.
    pub name: String,
    /// Its shape; the product is the length of `data`.
    pub shape: Vec<usize>,
    /// Its numbers: lent to be saved, owned when loaded.
    pub data: Cow<'a, [f32]>,
}

/// What training continues from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint<'a> {
    /// Environment steps taken.
    pub step: u64,
    /// Networks and optimizer moments; [`load`] returns them in order of name.
    pub tensors: Vec<Tensor<'a>>,
    /// Everything else that the trainer needs.
    pub state: Vec<u8>,
    /// Facts for readers, such as the algorithm and the environment.
    pub metadata: BTreeMap<String, String>,
    /// Where the logs stood.
    pub logs: LogOffsets,
}

impl<'a> Checkpoint<'a> {
    /// The tensor called `name`.
    ///
    /// # Errors
    /// [`RunError::NoTensor`], which lists those that are there.
    pub fn tensor(&self, name: &str) -> Result<&Tensor<'a>, RunError> {
        let known = || self.tensors.iter().map(|tensor| tensor.name.clone()).collect();
        self.tensors.iter().find(|tensor| tensor.name == name).ok_or_else(|| RunError::NoTensor {
            step: self.step,
            name: name.to_owned(),
            known: known(),
        })
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    bytes: u64,
    sha256: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u64,
    step: u64,
    metadata: BTreeMap<String, String>,
    files: BTreeMap<String, FileEntry>,
    logs: LogOffsets,
    /// SHA-256 over all of the above.
    sha256: String,
}

impl Manifest {
    fn checksum(&self) -> String {
        let covered = (self.format, self.step, &self.metadata, &self.files, &self.logs);
        sha256(&serde_json::to_vec(&covered).expect("names and numbers are JSON"))
    }

    /// What is equal for equal training, wherever the logs stand.
    fn contents(&self) -> String {
        let covered = (self.format, self.step, &self.metadata, &self.files);
        sha256(&serde_json::to_vec(&covered).expect("names and numbers are JSON"))
    }
}

impl RunDir {
    /// Saves `checkpoints/step-N`, then removes all but the newest `keep` (at least two).
    ///
    /// Returns the SHA-256 of its contents: step, metadata, tensors and state. Checkpoints of later steps
    /// belong to a course that was cut off, and go too.
    ///
    /// # Errors
    /// [`RunError::Save`], which names the last complete checkpoint; all earlier ones are untouched.
    pub fn save_checkpoint(
        &self,
        checkpoint: &Checkpoint<'_>,
        keep: usize,
    ) -> Result<String, RunError> {
        self.save(checkpoint, &step_name(checkpoint.step))
            .and_then(|hash| self.prune(checkpoint.step, keep.max(2)).map(|()| hash))
            .map_err(|error| self.explain_save(checkpoint.step, error))
    }

    /// Saves `checkpoints/best`, in place of the one before.
    ///
    /// # Errors
    /// As [`RunDir::save_checkpoint`].
    pub fn save_best(&self, checkpoint: &Checkpoint<'_>) -> Result<String, RunError> {
        self.save(checkpoint, BEST).map_err(|error| self.explain_save(checkpoint.step, error))
    }

    /// Saves `checkpoints/reference`: weights that later steps are compared with.
    ///
    /// # Errors
    /// As [`RunDir::save_checkpoint`].
    pub fn save_reference(&self, checkpoint: &Checkpoint<'_>) -> Result<String, RunError> {
        self.save(checkpoint, REFERENCE).map_err(|error| self.explain_save(checkpoint.step, error))
    }

    /// What [`RunDir::save_reference`] saved.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load_reference(&self) -> Result<Checkpoint<'static>, RunError> {
        load(self.checkpoints_path().join(REFERENCE))
    }

    /// Steps and paths of the checkpoints, oldest first; `best` and `reference` are not among them.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn checkpoints(&self) -> Result<Vec<(u64, PathBuf)>, RunError> {
        list(&self.checkpoints_path())
    }

    /// The newest checkpoint that is whole, and why newer ones were passed over.
    ///
    /// # Errors
    /// When there are checkpoints and none is valid.
    pub fn newest_checkpoint(
        &self,
    ) -> Result<(Option<Checkpoint<'static>>, Vec<RunError>), RunError> {
        newest_valid(&self.checkpoints_path())
    }

    /// The path of `checkpoints/best`, if there is one.
    pub fn best_checkpoint(&self) -> Option<PathBuf> {
        Some(self.checkpoints_path().join(BEST)).filter(|path| path.is_dir())
    }

    fn save(&self, checkpoint: &Checkpoint<'_>, name: &str) -> Result<String, RunError> {
        self.writable()?;
        let parent = self.checkpoints_path();
        fs::create_dir_all(&parent).map_err(RunError::io("create directory", &parent))?;
        let temporary = parent.join(format!(".{name}.tmp"));
        remove_dir(&temporary)?;
        let saved = write_files(checkpoint, &temporary).and_then(|hash| {
            publish(&temporary, &parent.join(name))?;
            Ok(hash)
        });
        if saved.is_err() {
            let _ = fs::remove_dir_all(&temporary);
        }
        saved
    }

    fn prune(&self, step: u64, keep: usize) -> Result<(), RunError> {
        let (kept, later): (Vec<_>, Vec<_>) =
            self.checkpoints()?.into_iter().partition(|&(saved, _)| saved <= step);
        let old = kept.len().saturating_sub(keep);
        for (_, path) in kept[..old].iter().chain(&later) {
            remove_dir(path)?;
        }
        Ok(())
    }

    fn explain_save(&self, step: u64, error: RunError) -> RunError {
        let whole = |path: &Path| load(path).is_ok();
        let last =
            self.checkpoints().unwrap_or_default().into_iter().rev().find(|(_, path)| whole(path));
        let last = match last {
            Some((_, path)) => format!("the last complete checkpoint is {}", path.display()),
            None => "there is no complete checkpoint yet".to_owned(),
        };
        RunError::Save { step, source: Box::new(error), last }
    }
}

fn step_name(step: u64) -> String {
    format!("step-{step:012}")
}

fn write_files(checkpoint: &Checkpoint<'_>, dir: &Path) -> Result<String, RunError> {
    let sorted = sorted_tensors(&checkpoint.tensors)?;
    let mut manifest = Manifest {
        format: FORMAT,
        step: checkpoint.step,
        metadata: checkpoint.metadata.clone(),
        files: BTreeMap::new(),
        logs: checkpoint.logs,
        sha256: String::new(),
    };
    fs::create_dir(dir).map_err(RunError::io("create directory", dir))?;
    let mut model = Hashed::create(&dir.join(MODEL))?;
    write_tensors(&sorted, &mut |bytes| model.write(bytes))?;
    manifest.files.insert(MODEL.to_owned(), model.finish()?);
    let mut state = Hashed::create(&dir.join(STATE))?;
    state.write(&checkpoint.state)?;
    manifest.files.insert(STATE.to_owned(), state.finish()?);
    manifest.sha256 = manifest.checksum();
    let path = dir.join(MANIFEST);
    let mut json = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| RunError::malformed(&path, error.to_string()))?;
    json.push(b'\n');
    files::write_synced(&path, &json)?;
    files::sync_dir(dir)?;
    Ok(manifest.contents())
}

/// A new file and the hash of what was written to it.
struct Hashed {
    path: PathBuf,
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Hashed {
    fn create(path: &Path) -> Result<Self, RunError> {
        let file = File::create(path).map_err(RunError::io("create", path))?;
        Ok(Self { path: path.to_owned(), file, hash: Sha256::new(), bytes: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RunError> {
        self.file.write_all(bytes).map_err(RunError::io("write", &self.path))?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Waits until it is on the disk.
    fn finish(self) -> Result<FileEntry, RunError> {
        self.file.sync_all().map_err(RunError::io("write", &self.path))?;
        Ok(FileEntry { bytes: self.bytes, sha256: hex(&self.hash.finalize()) })
    }
}

/// Gives a complete directory its name. One that has the name already steps aside first; [`recover`]
/// brings it back should the process die in between.
fn publish(temporary: &Path, path: &Path) -> Result<(), RunError> {
    let aside = files::sibling(path, "old");
    remove_dir(&aside)?;
    match fs::rename(path, &aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(RunError::io("rename", path)(error));
        }
        _ => {}
    }
    if let Err(error) = fs::rename(temporary, path) {
        let _ = fs::rename(&aside, path);
        return Err(RunError::io("create", path)(error));
    }
    files::sync_dir(files::parent(path))?;
    remove_dir(&aside)
}

/// Puts the directory of checkpoints in order after a kill: half-written ones go, replaced ones whose
/// successor never came return.
pub(crate) fn recover(dir: &Path) -> Result<(), RunError> {
    for hidden in files::names(dir)?.iter().filter(|name| name.starts_with('.')) {
        let path = dir.join(hidden);
        if let Some(name) = hidden.strip_prefix('.').and_then(|name| name.strip_suffix(".old")) {
            let place = dir.join(name);
            if place.exists() {
                remove_dir(&path)?;
            } else {
                fs::rename(&path, &place).map_err(RunError::io("rename", &path))?;
            }
        } else if hidden.strip_suffix(".tmp").is_some() {
            remove_dir(&path)?;
        }
    }
    Ok(())
}

fn remove_dir(path: &Path) -> Result<(), RunError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(RunError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Steps and paths of the checkpoints below `dir`, oldest first.
fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, RunError> {
    let step = |name: &String| name.strip_prefix("step-")?.parse::<u64>().ok();
    let mut found: Vec<(u64, PathBuf)> =
        files::names(dir)?.iter().filter_map(|name| Some((step(name)?, dir.join(name)))).collect();
    found.sort();
    Ok(found)
}

/// The newest valid checkpoint below `dir`, and why newer ones were passed over.
pub(crate) fn newest_valid(
    dir: &Path,
) -> Result<(Option<Checkpoint<'static>>, Vec<RunError>), RunError> {
    let found = list(dir)?;
    let mut warnings = Vec::new();
    for (_, path) in found.iter().rev() {
        match load(path) {
            Ok(checkpoint) => return Ok((Some(checkpoint), warnings)),
            Err(error) => warnings.push(error),
        }
    }
    if warnings.is_empty() {
        return Ok((None, warnings));
    }
    Err(RunError::NoValidCheckpoint {
        path: dir.to_owned(),
        count: found.len(),
        first: Box::new(warnings.swap_remove(0)),
    })
}

/// Reads a checkpoint and checks every byte of it against its sizes and checksums.
///
/// # Errors
/// When a file is missing, cut, changed, or of another format; the error names the file.
pub fn load(path: impl AsRef<Path>) -> Result<Checkpoint<'static>, RunError> {
    let path = path.as_ref();
    let manifest = read_manifest(path)?;
    let mut state = Vec::new();
    checked(path, STATE, &manifest, &mut |bytes| state.extend_from_slice(bytes))?;
    // Checked first and read after, so that it is in memory once, as numbers.
    checked(path, MODEL, &manifest, &mut |_| {})?;
    let file = path.join(MODEL);
    let mut model = BufReader::new(File::open(&file).map_err(RunError::io("read", &file))?);
    Ok(Checkpoint {
        step: manifest.step,
        tensors: read_tensors(&mut model, manifest.files[MODEL].bytes)
            .map_err(|what| RunError::damaged(path, format!("{MODEL} {what}")))?,
        state,
        metadata: manifest.metadata,
        logs: manifest.logs,
    })
}

fn read_manifest(path: &Path) -> Result<Manifest, RunError> {
    #[derive(Deserialize)]
    struct Versioned {
        format: u64,
    }
    let bytes = read_file(path, MANIFEST)?;
    let unreadable = |error: serde_json::Error| {
        RunError::damaged(path, format!("{MANIFEST} is no valid JSON: {error}"))
    };
    let Versioned { format } = serde_json::from_slice(&bytes).map_err(unreadable)?;
    if format != FORMAT {
        return Err(RunError::Format { path: path.to_owned(), found: format, known: FORMAT });
    }
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(unreadable)?;
    if manifest.checksum() != manifest.sha256 {
        return Err(RunError::damaged(path, format!("{MANIFEST} does not match its checksum")));
    }
    Ok(manifest)
}

/// Reads a file of a checkpoint, whose size and hash must be the manifest's.
fn checked(
    path: &Path,
    name: &str,
    manifest: &Manifest,
    each: &mut dyn FnMut(&[u8]),
) -> Result<(), RunError> {
    let expected = manifest
        .files
        .get(name)
        .ok_or_else(|| RunError::damaged(path, format!("{MANIFEST} does not list {name}")))?;
    let failed = |error| missing_or(path, name, error);
    let mut file = File::open(path.join(name)).map_err(failed)?;
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        hash.update(&buffer[..read]);
        size += read as u64;
        each(&buffer[..read]);
    }
    if size != expected.bytes {
        let what = format!("{name} has {size} bytes instead of {}", expected.bytes);
        return Err(RunError::damaged(path, what));
    }
    if hex(&hash.finalize()) != expected.sha256 {
        return Err(RunError::damaged(path, format!("{name} does not match its checksum")));
    }
    Ok(())
}

fn missing_or(path: &Path, name: &str, error: std::io::Error) -> RunError {
    match error.kind() {
        ErrorKind::NotFound if path.is_dir() => {
            RunError::damaged(path, format!("{name} is missing"))
        }
        _ => RunError::io("read", &path.join(name))(error),
    }
}

fn read_file(path: &Path, name: &str) -> Result<Vec<u8>, RunError> {
    fs::read(path.join(name)).map_err(|error| missing_or(path, name, error))
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in digest {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// Tensors in order of name; each name once, each shape filled.
fn sorted_tensors<'a>(tensors: &'a [Tensor<'_>]) -> Result<Vec<&'a Tensor<'a>>, RunError> {
    let mut sorted: Vec<&Tensor<'_>> = tensors.iter().collect();
    sorted.sort_by_key(|tensor| &tensor.name);
    let twice = sorted.windows(2).find(|pair| pair[0].name == pair[1].name).map(|pair| pair[0]);
    let misshapen = sorted.iter().find(|t| t.shape.iter().product::<usize>() != t.data.len());
    if let Some(tensor) = twice {
        return Err(wrong(tensor, "the name is given twice"));
    }
    if let Some(tensor) = misshapen {
        return Err(wrong(tensor, "the numbers do not fill the shape"));
    }
    Ok(sorted)
}

/// Writes the bytes of a safetensors file, a part at a time.
fn write_tensors(
    sorted: &[&Tensor<'_>],
    write: &mut dyn FnMut(&[u8]) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let mut header = serde_json::Map::new();
    let mut offset = 0;
    for tensor in sorted {
        let end = offset + tensor.data.len() * size_of::<f32>();
        let entry = serde_json::json!({
            "dtype": "F32", "shape": tensor.shape, "data_offsets": [offset, end]
        });
        header.insert(tensor.name.clone(), entry);
        offset = end;
    }
    let mut header = serde_json::Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    write(&(header.len() as u64).to_le_bytes())?;
    write(&header)?;
    let mut bytes = Vec::with_capacity(1 << 20);
    for tensor in sorted {
        for part in tensor.data.chunks(1 << 18) {
            bytes.clear();
            part.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
            write(&bytes)?;
        }
    }
    Ok(())
}

fn wrong(tensor: &Tensor<'_>, what: &'static str) -> RunError {
    RunError::Tensor {
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        len: tensor.data.len(),
        what,
    }
}

/// Reads a safetensors file of `size` bytes, one tensor after the other.
fn read_tensors(file: &mut impl Read, size: u64) -> Result<Vec<Tensor<'static>>, String> {
    let broken = |error: &dyn std::fmt::Display| format!("is no safetensors: {error}");
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|error| broken(&error))?;
    let header_len = u64::from_le_bytes(length);
    if header_len > size.saturating_sub(8) {
        return Err(broken(&format!("a header of {header_len} bytes in a file of {size}")));
    }
    let mut header = Vec::new();
    file.take(header_len).read_to_end(&mut header).map_err(|error| broken(&error))?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| broken(&error))?;
    if 8 + header_len + metadata.data_len() as u64 != size {
        return Err(broken(&"its size is not what its header says"));
    }
    let mut tensors = Vec::new();
    let mut bytes = Vec::new();
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else { continue };
        if info.dtype != Dtype::F32 {
            return Err(format!("holds tensor `{name}` of type {}, expected F32", info.dtype));
        }
        let count = info.shape.iter().product::<usize>();
        let mut data = Vec::with_capacity(count);
        while data.len() < count {
            bytes.resize((count - data.len()).min(1 << 18) * size_of::<f32>(), 0);
            file.read_exact(&mut bytes).map_err(|error| broken(&error))?;
            let number = |word: &[u8]| f32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            data.extend(bytes.chunks_exact(4).map(number));
        }
        tensors.push(Tensor { name, shape: info.shape.clone(), data: data.into() });
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_tensors(&mut &bytes[..], bytes.len() as u64);
        }

        #[test]
        fn no_header_panics(position in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
            let data = vec![1.0; 6].into();
            let tensor = Tensor { name: "a".to_owned(), shape: vec![2, 3], data };
            let mut bytes = Vec::new();
            write_tensors(&[&tensor], &mut |part| {
                bytes.extend_from_slice(part);
                Ok(())
            })
            .unwrap();
            prop_assert_eq!(read_tensors(&mut &bytes[..], bytes.len() as u64).unwrap(), [tensor]);
            let index = position.index(bytes.len());
            bytes[index] = byte;
            let _ = read_tensors(&mut &bytes[..], bytes.len() as u64);
            bytes.truncate(cut.index(bytes.len()));
            prop_assert!(read_tensors(&mut &bytes[..], bytes.len() as u64).is_err());
        }
    }

    #[test]
    fn other_types_are_refused() {
        let view = safetensors::tensor::TensorView::new(Dtype::F64, vec![1], &[0; 8]).unwrap();
        let bytes = safetensors::serialize([("a", view)], None).unwrap();
        let error = read_tensors(&mut &bytes[..], bytes.len() as u64).unwrap_err();
        assert_eq!(error, "holds tensor `a` of type F64, expected F32");
    }
}
