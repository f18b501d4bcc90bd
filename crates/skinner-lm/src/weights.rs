//! A model's weights by Hugging Face's names, read one tensor at a time out of GGUF or safetensors files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::config::{Family, HEAD, ModelConfig};
use crate::error::LmError;
use crate::gguf::{Gguf, hugging_face_name};
use crate::tensor_file::{StoredTensor, TensorReader, read_header};

/// How a stored matrix differs from the one in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Same,
    /// `[in, out]` in the file.
    Transposed,
    /// The two halves of each head's rows are interleaved, as `llama.cpp` rotates them.
    Interleaved {
        head_dim: usize,
    },
}

#[derive(Debug)]
struct Entry {
    file: usize,
    tensor: StoredTensor,
    layout: Layout,
}

/// The weights of a model in its files.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    files: Vec<TensorReader>,
    entries: BTreeMap<String, Entry>,
    tensors: Vec<(String, Vec<usize>)>,
}

impl Weights {
    /// The weights in a GGUF file.
    ///
    /// # Errors
    /// When one is missing, has another shape than `config` says, or is none of this architecture's.
    pub fn from_gguf(gguf: &Gguf, config: &ModelConfig) -> Result<Self, LmError> {
        let mut entries = BTreeMap::new();
        for tensor in gguf.tensors() {
            // Read with the configuration, or the embedding once more.
            if tensor.name == "rope_freqs.weight"
                || (tensor.name == "output.weight" && config.tie_word_embeddings)
            {
                continue;
            }
            let Some(name) = hugging_face_name(config.family, &tensor.name) else {
                return Err(unknown_tensor(gguf.path(), &tensor.name, config));
            };
            let rotated =
                name.contains(".self_attn.q_proj.") || name.contains(".self_attn.k_proj.");
            let layout = if config.family == Family::Llama && rotated {
                Layout::Interleaved { head_dim: config.head_dim }
            } else {
                Layout::Same
            };
            let tensor = StoredTensor {
                kind: tensor.kind,
                shape: tensor.shape.clone(),
                offset: tensor.offset,
            };
            entries.insert(name, Entry { file: 0, tensor, layout });
        }
        let files = vec![TensorReader::open(gguf.path())?];
        Self::new(gguf.path(), files, entries, config)
    }

    /// The weights in a folder's `model.safetensors`, or in the files that its
    /// `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// As [`Weights::from_gguf`]; also when there is neither file.
    pub fn from_folder(folder: &Path, config: &ModelConfig) -> Result<Self, LmError> {
        let mut files = Vec::new();
        let mut entries = BTreeMap::new();
        for path in safetensors_files(folder)? {
            for (stored_name, tensor) in read_header(&path)? {
                let Some(name) = canonical_name(&stored_name, config) else { continue };
                let layout = if config.is_transposed_in_files(&name) {
                    Layout::Transposed
                } else {
                    Layout::Same
                };
                let entry = Entry { file: files.len(), tensor, layout };
                if entries.insert(name, entry).is_some() {
                    let what =
                        format!("tensor `{stored_name}` occurs twice in {}", folder.display());
                    return Err(LmError::file(&path, what));
                }
            }
            files.push(TensorReader::open(&path)?);
        }
        Self::new(folder, files, entries, config)
    }

    fn new(
        path: &Path,
        files: Vec<TensorReader>,
        entries: BTreeMap<String, Entry>,
        config: &ModelConfig,
    ) -> Result<Self, LmError> {
        // One too many layers in the description is found here, before its weights are reserved.
        let most = entries.len();
        if config.num_hidden_layers > most {
            return Err(LmError::file(
                path,
                format!("has {most} tensors, too few for {} layers", config.num_hidden_layers),
            ));
        }
        let weights = Self { path: path.to_owned(), files, entries, tensors: config.tensors() };
        for (name, expected) in &weights.tensors {
            let entry = weights.entry(name)?;
            let mut found = entry.tensor.shape.clone();
            if entry.layout == Layout::Transposed {
                found.reverse();
            }
            if found != *expected {
                return Err(LmError::TensorShape {
                    name: name.clone(),
                    found,
                    expected: expected.clone(),
                });
            }
        }
        if let Some(name) = weights.entries.keys().find(|name| weights.shape(name).is_none()) {
            return Err(unknown_tensor(path, name, config));
        }
        Ok(weights)
    }

    fn entry(&self, name: &str) -> Result<&Entry, LmError> {
        self.entries.get(name).ok_or_else(|| LmError::MissingTensor {
            path: self.path.clone(),
            name: name.to_owned(),
            nearest: nearest(name, self.entries.keys()),
        })
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every weight's name, in the order of [`ModelConfig::tensors`].
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|(name, _)| name.as_str())
    }

    /// A weight's shape as it is in memory; none when there is no such weight.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.iter().find(|(known, _)| known == name).map(|(_, shape)| shape.as_slice())
    }

    /// Reads one weight into `out`, row-major, matrices as `[out, in]`.
    ///
    /// # Errors
    /// When there is no such weight, `out` has another length, the file cannot be read, or a number in it is
    /// not finite.
    pub fn read(&self, name: &str, out: &mut [f32]) -> Result<(), LmError> {
        let Entry { file, tensor, layout } = self.entry(name)?;
        if out.len() != tensor.shape.iter().product::<usize>() {
            return Err(LmError::TensorShape {
                name: name.to_owned(),
                found: tensor.shape.clone(),
                expected: vec![out.len()],
            });
        }
        let file = &self.files[*file];
        match (layout, &tensor.shape[..]) {
            (Layout::Transposed, &[inputs, outputs]) => {
                let mut stored = vec![0.0; out.len()];
                file.read(tensor, &mut stored)?;
                transpose(&stored, inputs, outputs, out);
            }
            (Layout::Interleaved { head_dim }, &[rows, ..]) => {
                file.read(tensor, out)?;
                deinterleave(out, *head_dim, tensor.shape[1..].iter().product(), rows);
            }
            _ => file.read(tensor, out)?,
        }
        match out.iter().position(|x| !x.is_finite()) {
            Some(at) => Err(LmError::file(
                &self.path,
                format!("tensor `{name}` holds {} at {at}, must be finite", out[at]),
            )),
            None => Ok(()),
        }
    }

    /// Reads one weight.
    ///
    /// # Errors
    /// As [`Weights::read`].
    pub fn read_vec(&self, name: &str) -> Result<Vec<f32>, LmError> {
        let mut out = vec![0.0; self.entry(name)?.tensor.shape.iter().product()];
        self.read(name, &mut out)?;
        Ok(out)
    }
}

/// `out[o, i] = stored[i, o]`.
pub(crate) fn transpose(stored: &[f32], inputs: usize, outputs: usize, out: &mut [f32]) {
    for (o, row) in out.chunks_exact_mut(inputs.max(1)).take(outputs).enumerate() {
        for (i, value) in row.iter_mut().enumerate() {
            *value = stored[i * outputs + o];
        }
    }
}

/// Row `2 j + s` of a head becomes row `s head_dim / 2 + j`.
fn deinterleave(matrix: &mut [f32], head_dim: usize, width: usize, rows: usize) {
    debug_assert_eq!(rows % head_dim, 0);
    let mut head_rows = vec![0.0; head_dim * width];
    for head in matrix.chunks_exact_mut(head_dim * width) {
        head_rows.copy_from_slice(head);
        for (row, stored) in head_rows.chunks_exact(width).enumerate() {
            let to = (row % 2) * (head_dim / 2) + row / 2;
            head[to * width..][..width].copy_from_slice(stored);
        }
    }
}

/// The name in memory of a tensor in a Hugging Face file; none for what is no weight.
fn canonical_name(stored: &str, config: &ModelConfig) -> Option<String> {
    let buffer = stored.ends_with(".rotary_emb.inv_freq")
        || (config.family == Family::Gpt2
            && (stored.ends_with(".attn.bias") || stored.ends_with(".attn.masked_bias")));
    if buffer || (stored == HEAD && config.tie_word_embeddings) {
        return None;
    }
    let prefix = if config.family == Family::Gpt2 { "transformer." } else { "model." };
    if stored == HEAD || stored.starts_with(prefix) {
        Some(stored.to_owned())
    } else {
        // Saved without a head.
        Some(format!("{prefix}{stored}"))
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

fn safetensors_files(folder: &Path) -> Result<Vec<PathBuf>, LmError> {
    let whole = folder.join("model.safetensors");
    if whole.is_file() {
        return Ok(vec![whole]);
    }
    let path = folder.join("model.safetensors.index.json");
    if !path.is_file() {
        return Err(LmError::file(
            folder,
            "has neither model.safetensors nor model.safetensors.index.json",
        ));
    }
    let text = fs::read_to_string(&path).map_err(LmError::io("read", &path))?;
    let index: Index = serde_json::from_str(&text)
        .map_err(|error| LmError::file(&path, format!("is no index of shards: {error}")))?;
    let mut names: Vec<_> = index.weight_map.into_values().collect();
    names.sort();
    names.dedup();
    if let Some(name) = names.iter().find(|name| Path::new(name).file_name() != Some(name.as_ref()))
    {
        return Err(LmError::file(
            &path,
            format!("names the shard `{name}`, must be a file beside it"),
        ));
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

fn unknown_tensor(path: &Path, name: &str, config: &ModelConfig) -> LmError {
    let what = format!(
        "has a tensor `{name}`, which a {} model of {} layers does not have here",
        config.family.as_str(),
        config.num_hidden_layers
    );
    LmError::file(path, what)
}

/// The three names that take the fewest edits.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut known: Vec<_> = known.map(|known| (edits(name, known), known)).collect();
    known.sort();
    known.into_iter().take(3).map(|(_, known)| format!("`{known}`")).collect()
}

/// Levenshtein's distance in bytes.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
