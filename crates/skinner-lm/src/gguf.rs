//! GGUF, the file format of `llama.cpp`: metadata and tensors in one file, versions 2 and 3.
//!
//! Every count, length, offset and product of a shape is checked against the file's length before anything is
//! reserved for it, so a damaged or hostile file is an error and costs no more memory than its own size.

mod names;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::error::LmError;

pub(crate) use names::hugging_face_name;
pub(crate) use types::{TensorType, decode};

const MAGIC: &[u8; 4] = b"GGUF";
/// The longest name of a key or a tensor.
const MAX_NAME_BYTES: u64 = 65_535;
const MAX_TEXT_BYTES: u64 = 1 << 26;
/// Entries of all arrays together.
const MAX_ENTRIES: u64 = 1 << 24;
/// A tensor's entry takes at least this many bytes: name, rank, one size, type, offset.
const MIN_TENSOR_BYTES: u64 = 8 + 4 + 8 + 4 + 8;
/// A key's entry takes at least this many bytes: name, type, one byte.
const MIN_KEY_BYTES: u64 = 8 + 4 + 1;

/// A value of the metadata; numbers of every width are widened.
#[derive(Clone, Debug, PartialEq)]
pub enum GgufValue {
    /// An integer, or the bits of one above `i64::MAX`.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A text.
    Text(String),
    /// Integers, or true and false as 1 and 0.
    Integers(Vec<i64>),
    /// Numbers with a fraction.
    Floats(Vec<f64>),
    /// Texts.
    Texts(Vec<String>),
}

impl GgufValue {
    fn kind(&self) -> &'static str {
        match self {
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Bool(_) => "a truth value",
            Self::Text(_) => "a text",
            Self::Integers(_) => "an array of integers",
            Self::Floats(_) => "an array of numbers",
            Self::Texts(_) => "an array of texts",
        }
    }
}

/// Where a tensor lies in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GgufTensor {
    pub name: String,
    /// Row-major, outermost first: GGUF's own order reversed.
    pub shape: Vec<usize>,
    pub kind: TensorType,
    /// From the start of the file.
    pub offset: u64,
}

/// A GGUF file's header; tensors are read through [`crate::weights::Weights`].
#[derive(Clone, Debug)]
pub struct Gguf {
    path: PathBuf,
    metadata: BTreeMap<String, GgufValue>,
    tensors: Vec<GgufTensor>,
}

impl Gguf {
    /// Reads the header of the file at `path`.
    ///
    /// # Errors
    /// When the file cannot be read, is no GGUF of version 2 or 3, or says something impossible.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LmError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(LmError::io("open", path))?;
        let len = file.metadata().map_err(LmError::io("read", path))?.len();
        Self::parse(BufReader::with_capacity(1 << 20, file), len, path)
    }

    /// Reads a header from `reader`, the first byte of a file of `len` bytes; `path` is for messages.
    pub(crate) fn parse(reader: impl Read, len: u64, path: &Path) -> Result<Self, LmError> {
        let mut header = Header { reader, path, position: 0, len, entries: 0 };
        header.magic()?;
        let version = header.version()?;
        let num_tensors = header.count("tensors", MIN_TENSOR_BYTES)?;
        let num_keys = header.count("keys", MIN_KEY_BYTES)?;
        let mut metadata = BTreeMap::new();
        for _ in 0..num_keys {
            let key = header.text("a key", MAX_NAME_BYTES)?;
            let kind = header.u32()?;
            let value = header.value(&key, kind)?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(header.error(format!("key `{key}` occurs twice")));
            }
        }
        let mut tensors = Vec::new();
        for _ in 0..num_tensors {
            tensors.push(header.tensor()?);
        }
        let mut gguf = Self { path: path.to_owned(), metadata, tensors };
        gguf.place_tensors(header.position, len)?;
        debug_assert!((2..=3).contains(&version));
        Ok(gguf)
    }

    /// Turns offsets within the data section into offsets within the file, and checks that all bytes are there.
    fn place_tensors(&mut self, header_end: u64, len: u64) -> Result<(), LmError> {
        let alignment = match self.integer("general.alignment")? {
            None => 32,
            Some(bytes) if (1..=1 << 20).contains(&bytes) && bytes.is_power_of_two() => bytes,
            Some(bytes) => {
                let what = format!("`general.alignment` is {bytes}, must be a power of two");
                return Err(LmError::file(&self.path, what));
            }
        };
        let start = header_end.next_multiple_of(alignment as u64);
        let mut seen = BTreeSet::new();
        for tensor in &mut self.tensors {
            let bytes = tensor.kind.bytes(&tensor.shape);
            let offset = start.checked_add(tensor.offset).filter(|offset| {
                bytes.and_then(|bytes| offset.checked_add(bytes)).is_some_and(|end| end <= len)
            });
            let Some(offset) = offset else {
                let what = format!(
                    "tensor `{}` of shape {:?} ({}) at byte {start} + {} does not lie in the file of {len} \
                     bytes: the file is cut or damaged",
                    tensor.name,
                    tensor.shape,
                    tensor.kind.name(),
                    tensor.offset
                );
                return Err(LmError::file(&self.path, what));
            };
            tensor.offset = offset;
            if !seen.insert(tensor.name.as_str()) {
                let what = format!("tensor `{}` occurs twice", tensor.name);
                return Err(LmError::file(&self.path, what));
            }
        }
        Ok(())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The metadata, by key.
    pub fn metadata(&self) -> &BTreeMap<String, GgufValue> {
        &self.metadata
    }

    pub(crate) fn tensors(&self) -> &[GgufTensor] {
        &self.tensors
    }

    /// Reads a small tensor whole.
    pub(crate) fn read_tensor(&self, tensor: &GgufTensor) -> Result<Vec<f32>, LmError> {
        let mut file = File::open(&self.path).map_err(LmError::io("open", &self.path))?;
        file.seek(SeekFrom::Start(tensor.offset)).map_err(LmError::io("read", &self.path))?;
        // Both products were checked against the file's length.
        let mut bytes = vec![0; tensor.kind.bytes(&tensor.shape).unwrap_or(0) as usize];
        file.read_exact(&mut bytes).map_err(LmError::io("read", &self.path))?;
        let mut out = vec![0.0; tensor.shape.iter().product()];
        decode(tensor.kind, &bytes, &mut out);
        Ok(out)
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&GgufTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    fn wrong_kind(&self, key: &str, value: &GgufValue, right: &str) -> LmError {
        LmError::file(&self.path, format!("`{key}` is {}, must be {right}", value.kind()))
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, LmError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(GgufValue::Text(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong_kind(key, other, "a text")),
        }
    }

    pub(crate) fn texts(&self, key: &str) -> Result<Option<&[String]>, LmError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(GgufValue::Texts(texts)) => Ok(Some(texts)),
            Some(other) => Err(self.wrong_kind(key, other, "an array of texts")),
        }
    }

    pub(crate) fn integers(&self, key: &str) -> Result<Option<&[i64]>, LmError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(GgufValue::Integers(integers)) => Ok(Some(integers)),
            Some(other) => Err(self.wrong_kind(key, other, "an array of integers")),
        }
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, LmError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(GgufValue::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(self.wrong_kind(key, other, "a truth value")),
        }
    }

    pub(crate) fn integer(&self, key: &str) -> Result<Option<usize>, LmError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(GgufValue::Integer(value)) => usize::try_from(*value).map(Some).map_err(|_| {
                LmError::file(&self.path, format!("`{key}` is {value}, must be at least 0"))
            }),
            Some(other) => Err(self.wrong_kind(key, other, "an integer")),
        }
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, LmError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(GgufValue::Float(value)) => Ok(Some(*value)),
            Some(GgufValue::Integer(value)) => Ok(Some(*value as f64)),
            Some(other) => Err(self.wrong_kind(key, other, "a number")),
        }
    }

    pub(crate) fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, LmError> {
        value.ok_or_else(|| LmError::file(&self.path, format!("the metadata has no `{key}`")))
    }
}

struct Header<'a, R> {
    reader: R,
    path: &'a Path,
    position: u64,
    len: u64,
    entries: u64,
}

impl<R: Read> Header<'_, R> {
    fn error(&self, what: impl Into<String>) -> LmError {
        LmError::file(self.path, what)
    }

    fn remaining(&self) -> u64 {
        self.len.saturating_sub(self.position)
    }

    fn magic(&mut self) -> Result<(), LmError> {
        let magic = self.bytes::<4>()?;
        if &magic == MAGIC {
            return Ok(());
        }
        Err(self
            .error(format!("begins with {magic:?}, a GGUF file begins with {MAGIC:?} (\"GGUF\")")))
    }

    fn version(&mut self) -> Result<u32, LmError> {
        match self.u32()? {
            version @ 2..=3 => Ok(version),
            version if matches!(version.swap_bytes(), 1..=3) => {
                Err(self.error("is a big-endian GGUF file, must be little-endian"))
            }
            version => Err(self.error(format!("is GGUF version {version}, must be 2 or 3"))),
        }
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], LmError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), LmError> {
        if bytes.len() as u64 > self.remaining() {
            return Err(self.error(format!(
                "ends within its header: {} more bytes wanted at byte {} of {}",
                bytes.len(),
                self.position,
                self.len
            )));
        }
        self.reader.read_exact(bytes).map_err(LmError::io("read", self.path))?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn u32(&mut self) -> Result<u32, LmError> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    fn u64(&mut self) -> Result<u64, LmError> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    fn count(&mut self, what: &str, min_bytes: u64) -> Result<u64, LmError> {
        let count = self.u64()?;
        if count > self.remaining() / min_bytes {
            return Err(self.error(format!(
                "says that it has {count} {what}, more than its {} bytes can hold",
                self.len
            )));
        }
        Ok(count)
    }

    fn text(&mut self, what: &str, max_bytes: u64) -> Result<String, LmError> {
        let len = self.u64()?;
        if len > self.remaining() || len > max_bytes {
            return Err(self.error(format!(
                "{what} at byte {} says that it has {len} bytes, at most {} are possible",
                self.position,
                self.remaining().min(max_bytes)
            )));
        }
        let mut bytes = vec![0; len as usize];
        self.fill(&mut bytes)?;
        String::from_utf8(bytes).map_err(|error| {
            self.error(format!("{what} before byte {} is no UTF-8: {error}", self.position))
        })
    }

    fn value(&mut self, key: &str, kind: u32) -> Result<GgufValue, LmError> {
        Ok(match kind {
            7 => GgufValue::Bool(self.bytes::<1>()?[0] != 0),
            8 => GgufValue::Text(self.text(key, MAX_TEXT_BYTES)?),
            9 => self.array(key)?,
            6 | 12 => GgufValue::Float(self.float(kind)?),
            _ => GgufValue::Integer(self.integer(key, kind)?),
        })
    }

    fn float(&mut self, kind: u32) -> Result<f64, LmError> {
        Ok(if kind == 6 {
            f64::from(f32::from_le_bytes(self.bytes()?))
        } else {
            f64::from_le_bytes(self.bytes()?)
        })
    }

    fn integer(&mut self, key: &str, kind: u32) -> Result<i64, LmError> {
        Ok(match kind {
            0 | 7 => i64::from(self.bytes::<1>()?[0]),
            1 => i64::from(i8::from_le_bytes(self.bytes()?)),
            2 => i64::from(u16::from_le_bytes(self.bytes()?)),
            3 => i64::from(i16::from_le_bytes(self.bytes()?)),
            4 => i64::from(self.u32()?),
            5 => i64::from(i32::from_le_bytes(self.bytes()?)),
            10 | 11 => i64::from_le_bytes(self.bytes()?),
            other => {
                return Err(self.error(format!("`{key}` is of type {other}, known are 0 to 12")));
            }
        })
    }

    fn array(&mut self, key: &str) -> Result<GgufValue, LmError> {
        let kind = self.u32()?;
        let bytes = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            9 => {
                return Err(self.error(format!("`{key}` is an array of arrays, which is not read")));
            }
            other => {
                return Err(
                    self.error(format!("`{key}` is an array of type {other}, known are 0 to 12"))
                );
            }
        };
        let len = self.u64()?;
        self.entries = self.entries.saturating_add(len);
        if len > self.remaining() / bytes || self.entries > MAX_ENTRIES {
            return Err(self.error(format!(
                "array `{key}` says that it has {len} entries, more than its {} bytes can hold or than {} \
                 in all arrays",
                self.len, MAX_ENTRIES
            )));
        }
        Ok(match kind {
            8 => GgufValue::Texts(
                (0..len).map(|_| self.text(key, MAX_TEXT_BYTES)).collect::<Result<_, _>>()?,
            ),
            6 | 12 => {
                GgufValue::Floats((0..len).map(|_| self.float(kind)).collect::<Result<_, _>>()?)
            }
            _ => GgufValue::Integers(
                (0..len).map(|_| self.integer(key, kind)).collect::<Result<_, _>>()?,
            ),
        })
    }

    fn tensor(&mut self) -> Result<GgufTensor, LmError> {
        let name = self.text("a tensor's name", MAX_NAME_BYTES)?;
        let rank = self.u32()?;
        if !(1..=4).contains(&rank) {
            return Err(
                self.error(format!("tensor `{name}` has {rank} dimensions, must be 1 to 4"))
            );
        }
        let mut shape = Vec::new();
        for _ in 0..rank {
            let size = self.u64()?;
            match usize::try_from(size) {
                Ok(size) if size > 0 => shape.push(size),
                _ => {
                    return Err(self.error(format!(
                        "tensor `{name}` has a dimension of {size}, must be at least 1"
                    )));
                }
            }
        }
        shape.reverse();
        let kind = self.u32()?;
        let offset = self.u64()?;
        let kind = TensorType::from_ggml(kind).map_err(|kind| {
            self.error(format!(
                "tensor `{name}` is of type {kind}, and read are {}: convert the file to one of these",
                TensorType::readable()
            ))
        })?;
        if !shape[shape.len() - 1].is_multiple_of(kind.block_len()) {
            return Err(self.error(format!(
                "tensor `{name}` has rows of {}, must be a multiple of {} for {}",
                shape[shape.len() - 1],
                kind.block_len(),
                kind.name()
            )));
        }
        Ok(GgufTensor { name, shape, kind, offset })
    }
}
