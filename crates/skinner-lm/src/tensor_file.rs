//! Safetensors files: a header that says where each tensor lies, then the numbers.
//!
//! Headers are checked against the file's length before anything is reserved for what they say. Tensors are read
//! and written one at a time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::LmError;
use crate::gguf::{TensorType, decode};

/// The longest header that is read, as in the `safetensors` library.
const MAX_HEADER_BYTES: u64 = 100_000_000;
const CHUNK_BYTES: usize = 1 << 20;

/// The number format of tensors that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit floats.
    F32,
    /// 16-bit brain floats, rounded to nearest even.
    Bf16,
}

impl Dtype {
    /// `PyTorch`'s name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
        }
    }

    const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// Where a tensor lies and how it is stored.
#[derive(Clone, Debug)]
pub(crate) struct StoredTensor {
    pub kind: TensorType,
    pub shape: Vec<usize>,
    /// From the start of the file.
    pub offset: u64,
}

/// A file of tensors that are read one at a time.
#[derive(Debug)]
pub(crate) struct TensorReader {
    path: PathBuf,
    file: File,
}

impl TensorReader {
    pub fn open(path: &Path) -> Result<Self, LmError> {
        let file = File::open(path).map_err(LmError::io("open", path))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Reads a tensor as it is stored, as `f32`.
    ///
    /// # Panics
    /// When `out` has another length than the tensor.
    pub fn read(&self, tensor: &StoredTensor, out: &mut [f32]) -> Result<(), LmError> {
        assert_eq!(out.len(), tensor.shape.iter().product::<usize>(), "numbers of a tensor");
        let (block_len, block_bytes) = (tensor.kind.block_len(), tensor.kind.block_bytes());
        let blocks = CHUNK_BYTES / block_bytes;
        let mut buffer = vec![0; blocks.min(out.len() / block_len) * block_bytes];
        let mut offset = tensor.offset;
        for out in out.chunks_mut(blocks * block_len) {
            let bytes = &mut buffer[..out.len() / block_len * block_bytes];
            self.read_at(offset, bytes)?;
            decode(tensor.kind, bytes, out);
            offset += bytes.len() as u64;
        }
        Ok(())
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), LmError> {
        use std::os::unix::fs::FileExt;
        self.file.read_exact_at(bytes, offset).map_err(LmError::io("read", &self.path))
    }

    #[cfg(not(unix))]
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), LmError> {
        let mut file = self.file.try_clone().map_err(LmError::io("read", &self.path))?;
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(bytes))
            .map_err(LmError::io("read", &self.path))
    }
}

#[derive(Deserialize)]
struct HeaderEntry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// Reads the header of a safetensors file.
pub(crate) fn read_header(path: &Path) -> Result<BTreeMap<String, StoredTensor>, LmError> {
    let mut file = File::open(path).map_err(LmError::io("open", path))?;
    let len = file.metadata().map_err(LmError::io("read", path))?.len();
    let mut size = [0; 8];
    if len < 8 {
        return Err(LmError::file(path, format!("has {len} bytes, too few for safetensors")));
    }
    file.read_exact(&mut size).map_err(LmError::io("read", path))?;
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER_BYTES || size > len - 8 {
        return Err(LmError::file(
            path,
            format!(
                "says that its header has {size} bytes of a file of {len}: no safetensors, or cut"
            ),
        ));
    }
    let mut header = vec![0; size as usize];
    file.read_exact(&mut header).map_err(LmError::io("read", path))?;
    parse_header(path, &header, len)
}

fn parse_header(
    path: &Path,
    header: &[u8],
    len: u64,
) -> Result<BTreeMap<String, StoredTensor>, LmError> {
    let malformed = |error: serde_json::Error| {
        LmError::file(path, format!("its safetensors header is malformed: {error}"))
    };
    let map: Map<String, Value> = serde_json::from_slice(header).map_err(malformed)?;
    let start = 8 + header.len() as u64;
    let mut tensors = BTreeMap::new();
    for (name, value) in map {
        if name == "__metadata__" {
            continue;
        }
        let entry: HeaderEntry = serde_json::from_value(value).map_err(|error| {
            LmError::file(path, format!("its header is malformed at tensor `{name}`: {error}"))
        })?;
        let tensor = stored(&entry, start, len)
            .map_err(|what| LmError::file(path, format!("tensor `{name}` {what}")))?;
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}

fn stored(entry: &HeaderEntry, start: u64, len: u64) -> Result<StoredTensor, String> {
    let kind = match entry.dtype.as_str() {
        "F32" => TensorType::F32,
        "F16" => TensorType::F16,
        "BF16" => TensorType::Bf16,
        other => return Err(format!("is of type {other}, must be F32, F16 or BF16")),
    };
    let (begin, end) = entry.data_offsets;
    let numbers = entry.shape.iter().try_fold(1usize, |all, size| all.checked_mul(*size));
    let bytes = numbers.and_then(|_| kind.bytes(&entry.shape));
    if bytes.is_none() || end.checked_sub(begin) != bytes {
        return Err(format!(
            "of shape {:?} ({}) says that it lies at bytes {begin} to {end}, which is not its size",
            entry.shape, entry.dtype
        ));
    }
    if start.checked_add(end).is_none_or(|end| end > len) {
        return Err(format!("ends at byte {start} + {end} of a file of {len}: the file is cut"));
    }
    Ok(StoredTensor { kind, shape: entry.shape.clone(), offset: start + begin })
}

/// Writes a safetensors file; `tensors` may come in any order, each of `shapes` exactly once.
///
/// The file is written to a temporary name beside `path` and renamed, and no more than one tensor is held.
///
/// # Errors
/// When the file cannot be written, or `tensors` are not those of `shapes`.
pub fn write_safetensors<'a>(
    path: &Path,
    shapes: &[(String, Vec<usize>)],
    dtype: Dtype,
    tensors: impl Iterator<Item = (String, Vec<usize>, Cow<'a, [f32]>)>,
) -> Result<(), LmError> {
    let temporary = temporary_name(path);
    let written = write_tensors(&temporary, shapes, dtype, tensors);
    let renamed =
        written.and_then(|()| fs::rename(&temporary, path).map_err(LmError::io("rename to", path)));
    if renamed.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    renamed
}

fn write_tensors<'a>(
    path: &Path,
    shapes: &[(String, Vec<usize>)],
    dtype: Dtype,
    tensors: impl Iterator<Item = (String, Vec<usize>, Cow<'a, [f32]>)>,
) -> Result<(), LmError> {
    let (header, mut places) = header(shapes, dtype);
    let write = || LmError::io("write", path);
    let mut file = BufWriter::new(File::create(path).map_err(LmError::io("create", path))?);
    file.write_all(&(header.len() as u64).to_le_bytes()).map_err(write())?;
    file.write_all(&header).map_err(write())?;
    for (name, shape, numbers) in tensors {
        let Some((expected, offset)) = places.remove(&name) else {
            let what = format!("tensor `{name}` is not one of the model's, or comes twice");
            return Err(LmError::file(path, what));
        };
        let fits = numbers.len() == shape.iter().product::<usize>();
        if *expected != shape || !fits {
            let found = if fits { shape } else { vec![numbers.len()] };
            return Err(LmError::TensorShape { name, found, expected: expected.clone() });
        }
        let start = 8 + header.len() as u64 + offset;
        if file.stream_position().map_err(write())? != start {
            file.seek(SeekFrom::Start(start)).map_err(write())?;
        }
        write_numbers(&mut file, &numbers, dtype).map_err(write())?;
    }
    if let Some(name) = places.keys().next() {
        return Err(LmError::file(path, format!("tensor `{name}` was not given, all must be")));
    }
    let file = file.into_inner().map_err(|error| write()(error.into_error()))?;
    file.sync_all().map_err(write())
}

type Places<'a> = BTreeMap<String, (&'a Vec<usize>, u64)>;

/// The header's bytes and, by name, each tensor's shape and offset in the data.
fn header(shapes: &[(String, Vec<usize>)], dtype: Dtype) -> (Vec<u8>, Places<'_>) {
    let mut map = Map::new();
    map.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut places = Places::new();
    let mut offset = 0;
    for (name, shape) in shapes {
        let end = offset + (shape.iter().product::<usize>() * dtype.bytes()) as u64;
        let kind = match dtype {
            Dtype::F32 => "F32",
            Dtype::Bf16 => "BF16",
        };
        let entry = json!({"dtype": kind, "shape": shape, "data_offsets": [offset, end]});
        map.insert(name.clone(), entry);
        places.insert(name.clone(), (shape, offset));
        offset = end;
    }
    let mut header = Value::Object(map).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    (header, places)
}

fn write_numbers(file: &mut impl Write, numbers: &[f32], dtype: Dtype) -> std::io::Result<()> {
    let mut bytes = Vec::with_capacity(CHUNK_BYTES);
    for chunk in numbers.chunks(CHUNK_BYTES / dtype.bytes()) {
        bytes.clear();
        match dtype {
            Dtype::F32 => chunk.iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes())),
            Dtype::Bf16 => chunk
                .iter()
                .for_each(|x| bytes.extend_from_slice(&half::bf16::from_f32(*x).to_le_bytes())),
        }
        file.write_all(&bytes)?;
    }
    Ok(())
}

/// The name beside `path` under which it is written first.
pub(crate) fn temporary_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

/// Writes a small file: to a temporary name beside it, then renamed.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), LmError> {
    let temporary = temporary_name(path);
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
        LmError::io("write", path)(source)
    })
}
