//! Whether the pages of a Parquet file can be what they say, looked at before they are read.
//!
//! The library allocates what a page's header asks for. So sizes and counts are compared with each other and with
//! what is in the file first: a damaged byte is then an error, and no demand for gigabytes.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use parquet::basic::Encoding;
use parquet::column::page::Page;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};

/// How much smaller than its contents compressed data can be: gzip's bound, which is the largest of those built in.
const MOST_COMPRESSED: u64 = 1100;
/// Beside that, for what is tiny.
const SLACK: u64 = 1 << 16;

/// Checks every page of a file of `size` bytes.
///
/// # Errors
/// The first column that is damaged, and how.
pub(super) fn check(
    reader: &SerializedFileReader<File>,
    file: &File,
    size: u64,
) -> Result<(), String> {
    for (i, group) in reader.metadata().row_groups().iter().enumerate() {
        for (j, column) in group.columns().iter().enumerate() {
            let damaged = |what: String| {
                format!("column `{}` {what}: the file is damaged", column.column_path().string())
            };
            check_column(group, column, file, size).map_err(damaged)?;
            if column.encodings().any(is_delta_of_bytes) {
                check_deltas(reader, i, j).map_err(damaged)?;
            }
        }
    }
    Ok(())
}

fn check_column(
    group: &RowGroupMetaData,
    column: &ColumnChunkMetaData,
    file: &File,
    size: u64,
) -> Result<(), String> {
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let (start, length) = (u64::try_from(start), u64::try_from(column.compressed_size()));
    let (Ok(start), Ok(length)) = (start, length) else {
        return Err("lies outside of the file".to_owned());
    };
    let end = start.checked_add(length).filter(|&end| end <= size);
    let Some(end) = end else { return Err("lies outside of the file".to_owned()) };
    let unpacked = u64::try_from(column.uncompressed_size()).unwrap_or(u64::MAX);
    if unpacked > length.saturating_mul(MOST_COMPRESSED) + SLACK {
        return Err(format!("holds {length} bytes and says to unpack to {unpacked}"));
    }
    let (values, rows) = (column.num_values(), group.num_rows());
    let repeated = column.column_descr().max_rep_level() > 0;
    if rows < 0 || values < rows || (!repeated && values != rows) {
        return Err(format!("says to hold {values} values in {rows} rows"));
    }
    let failed = |error: io::Error| format!("cannot be read ({error})");
    let mut bytes = BufReader::with_capacity(256, file);
    bytes.seek(SeekFrom::Start(start)).map_err(failed)?;
    let mut at = start;
    let mut counted: i64 = 0;
    while at < end {
        let mut header = Header { bytes: &mut bytes, left: end - at, page: PageSizes::default() };
        header.structure(&mut Vec::new())?;
        let (page, left) = (header.page, header.left);
        let sized = (0..=i64::try_from(unpacked).unwrap_or(i64::MAX)).contains(&page.unpacked)
            && u64::try_from(page.packed).is_ok_and(|packed| packed <= left);
        // An entry of a dictionary has a byte at least.
        if !sized || page.values < 0 || !(0..=page.unpacked).contains(&page.entries) {
            return Err(format!("has a page of impossible size at byte {at}"));
        }
        counted = counted.saturating_add(page.values);
        bytes.seek_relative(page.packed).map_err(failed)?;
        at = end - left + page.packed.unsigned_abs();
    }
    if counted != values {
        return Err(format!("says to hold {values} values, and its pages hold {counted}"));
    }
    Ok(())
}

/// What the header of a page says of its size.
#[derive(Clone, Copy, Debug, Default)]
struct PageSizes {
    unpacked: i64,
    packed: i64,
    /// Of a page of data.
    values: i64,
    /// Of a dictionary.
    entries: i64,
}

/// A header as it is read: a structure in Thrift's compact protocol.
struct Header<R> {
    bytes: R,
    /// How long it may still be.
    left: u64,
    page: PageSizes,
}

impl<R: Read> Header<R> {
    fn byte(&mut self) -> Result<u8, String> {
        let mut byte = [0];
        let read = self.left > 0 && self.bytes.read_exact(&mut byte).is_ok();
        self.left = self.left.saturating_sub(1);
        if read { Ok(byte[0]) } else { Err("has a page without an end".to_owned()) }
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("has a page with an endless number".to_owned())
    }

    fn integer(&mut self) -> Result<i64, String> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn skip(&mut self, bytes: u64) -> Result<(), String> {
        let skipped = bytes <= self.left
            && io::copy(&mut self.bytes.by_ref().take(bytes), &mut io::sink())
                .is_ok_and(|copied| copied == bytes);
        self.left = self.left.saturating_sub(bytes);
        if skipped { Ok(()) } else { Err("has a page without an end".to_owned()) }
    }

    /// Reads a structure; `path` holds the numbers of the fields that it lies in.
    fn structure(&mut self, path: &mut Vec<i64>) -> Result<(), String> {
        if path.len() > 8 {
            return Err("has a page with an endless header".to_owned());
        }
        path.push(0);
        loop {
            let byte = self.byte()?;
            if byte == 0 {
                path.pop();
                return Ok(());
            }
            let field = match byte >> 4 {
                0 => self.integer()?,
                step => path.last().copied().unwrap_or(0).saturating_add(i64::from(step)),
            };
            if let Some(last) = path.last_mut() {
                *last = field;
            }
            self.value(byte & 15, path)?;
        }
    }

    fn value(&mut self, kind: u8, path: &mut Vec<i64>) -> Result<(), String> {
        match kind {
            // True and false, which have no bytes.
            1 | 2 => Ok(()),
            3 => self.byte().map(drop),
            4..=6 => {
                let value = self.integer()?;
                match path[..] {
                    [2] => self.page.unpacked = value,
                    [3] => self.page.packed = value,
                    [5 | 8, 1] => self.page.values = value,
                    [7, 1] => self.page.entries = value,
                    _ => {}
                }
                Ok(())
            }
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(length)
            }
            12 => self.structure(path),
            other => Err(format!("has a page with a field of kind {other}")),
        }
    }
}

fn is_delta_of_bytes(encoding: Encoding) -> bool {
    matches!(encoding, Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY)
}

/// Texts whose lengths are packed have a count of their own.
fn check_deltas(
    reader: &SerializedFileReader<File>,
    group: usize,
    column: usize,
) -> Result<(), String> {
    let failed = |error: parquet::errors::ParquetError| format!("cannot be read ({error})");
    let group = reader.get_row_group(group).map_err(failed)?;
    let levels = group.metadata().column(column).column_descr();
    let levels = [levels.max_rep_level(), levels.max_def_level()];
    let mut pages = group.get_column_page_reader(column).map_err(failed)?;
    while let Some(page) = pages.get_next_page().map_err(failed)? {
        if !is_delta_of_bytes(page.encoding()) {
            continue;
        }
        let bytes: &[u8] = page.buffer();
        let data = match &page {
            Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. } => {
                bytes.get((*def_levels_byte_len as usize + *rep_levels_byte_len as usize)..)
            }
            _ => levels.iter().filter(|&&most| most > 0).try_fold(bytes, |bytes, _| {
                let (length, rest) = bytes.split_first_chunk::<4>()?;
                rest.get(u32::from_le_bytes(*length) as usize..)
            }),
        };
        let most = u64::from(page.num_values());
        let first = data.and_then(|data| packed_lengths(data, most));
        let fits = match page.encoding() {
            Encoding::DELTA_BYTE_ARRAY => first.and_then(|rest| packed_lengths(rest, most)),
            _ => first,
        };
        if fits.is_none() {
            return Err("has packed lengths that do not fit".to_owned());
        }
    }
    Ok(())
}

/// What follows a `DELTA_BINARY_PACKED` list of at most `most` numbers; none if it is no such list.
fn packed_lengths(data: &[u8], most: u64) -> Option<&[u8]> {
    let page = PageSizes::default();
    let mut header = Header { bytes: data, left: data.len() as u64, page };
    let (block, parts) = (header.varint().ok()?, header.varint().ok()?);
    let (count, _first) = (header.varint().ok()?, header.varint().ok()?);
    if count > most || parts == 0 || !block.is_multiple_of(parts) || block > 1 << 24 {
        return None;
    }
    let part = block / parts;
    let mut left = count.saturating_sub(1);
    while left > 0 {
        let _smallest = header.varint().ok()?;
        let widths = header.bytes.get(..usize::try_from(parts).ok()?)?;
        header.skip(parts).ok()?;
        for &width in widths {
            if left > 0 {
                header.skip((part * u64::from(width)).div_ceil(8)).ok()?;
            }
            left = left.saturating_sub(part);
        }
        if part == 0 {
            return None;
        }
    }
    Some(header.bytes)
}
