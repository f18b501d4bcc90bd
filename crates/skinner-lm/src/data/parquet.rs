//! Rows of Parquet files.

mod contain;
mod pages;

use std::fs::File;
use std::sync::Arc;

use parquet::file::reader::SerializedFileReader;
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row as Record};
use serde_json::{Map, Value};

use super::error::{DataError, Place};
use super::read::{Row, Rows};
use contain::contain;

/// The rows of an open file, one row group decoded at a time. What the library cannot read is an error, panics of
/// its included.
pub(super) fn rows(file: File, name: &str) -> Result<Rows, DataError> {
    let size = file.metadata().map_err(DataError::io(name))?.len();
    let again = file.try_clone().map_err(DataError::io(name))?;
    let opened = contain(|| {
        let reader = SerializedFileReader::new(file)
            .map_err(|error| format!("is no Parquet file: {error}"))?;
        pages::check(&reader, &again, size)?;
        Ok(reader.into_iter())
    });
    let opened = opened.unwrap_or_else(|what| Err(damaged(&what)));
    let records = opened.map_err(|what| DataError::file(name, what))?;
    Ok(Box::new(Records { left: Some(records), file: name.into(), number: 0 }))
}

fn damaged(what: &str) -> String {
    format!("is damaged, or beyond what can be read: {what}")
}

/// Records as they are read; none after one that cannot be decoded, since what follows it is lost too.
struct Records {
    left: Option<RowIter<'static>>,
    file: Arc<str>,
    number: usize,
}

impl Iterator for Records {
    type Item = Result<Row, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let records = self.left.as_mut()?;
        let next = contain(|| records.next());
        self.number += 1;
        let place = Place { file: self.file.clone(), unit: "row", number: self.number };
        let what = match next {
            Ok(None) => return None,
            Ok(Some(Ok(record))) => {
                return Some(match columns(record) {
                    Ok(columns) => Ok(Row { columns, place }),
                    Err(what) => Err(DataError::broken(&place, what)),
                });
            }
            Ok(Some(Err(error))) => error.to_string(),
            Err(what) => what,
        };
        self.left = None;
        Some(Err(DataError::file(place.to_string(), damaged(&what))))
    }
}

fn columns(record: Record) -> Result<Map<String, Value>, String> {
    record
        .into_columns()
        .into_iter()
        .map(|(name, field)| match value(field) {
            Ok(value) => Ok((name, value)),
            Err(what) => Err(format!("column `{name}` {what}")),
        })
        .collect()
}

/// Strings, numbers, lists and structures; bytes if they are text. Times and decimals as they
/// print.
fn value(field: Field) -> Result<Value, String> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(x) => x.into(),
        Field::Byte(x) => x.into(),
        Field::Short(x) => x.into(),
        Field::Int(x) => x.into(),
        Field::Long(x) => x.into(),
        Field::UByte(x) => x.into(),
        Field::UShort(x) => x.into(),
        Field::UInt(x) => x.into(),
        Field::ULong(x) => x.into(),
        Field::Float(x) => x.into(),
        Field::Double(x) => x.into(),
        Field::Str(x) => x.into(),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => text.into(),
            Err(_) => return Err("holds bytes that are not UTF-8 text".to_owned()),
        },
        Field::Group(record) => Value::Object(columns(record)?),
        Field::ListInternal(list) => {
            let elements: Result<_, _> = list.elements().iter().cloned().map(value).collect();
            Value::Array(elements?)
        }
        other => other.to_string().into(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use parquet::basic::{Compression, Encoding, ZstdLevel};
    use parquet::data_type::{BoolType, ByteArray, ByteArrayType};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;
    use crate::data::read::file_rows;

    /// Two rows of `messages` (a list of structures, as the library datasets writes it) and a
    /// label.
    fn write(path: &std::path::Path, compression: Compression) {
        write_as(path, compression, None);
    }

    /// The same with another encoding of strings than the usual dictionary.
    fn write_as(path: &std::path::Path, compression: Compression, strings: Option<Encoding>) {
        let schema = "message schema {
            optional group messages (LIST) { repeated group list { optional group element {
                optional binary content (UTF8); optional binary role (UTF8); } } }
            optional boolean label; optional binary raw; }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut properties = WriterProperties::builder().set_compression(compression);
        if let Some(encoding) = strings {
            properties = properties
                .set_dictionary_enabled(false)
                .set_encoding(encoding)
                .set_column_encoding("label".into(), Encoding::PLAIN);
        }
        let properties = properties.build();
        let file = File::create(path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
        let mut group = writer.next_row_group().unwrap();
        for texts in [["hi", "hello", "bye"], ["user", "assistant", "user"]] {
            let mut column = group.next_column().unwrap().unwrap();
            let values = texts.map(ByteArray::from);
            column
                .typed::<ByteArrayType>()
                .write_batch(&values, Some(&[4; 3]), Some(&[0, 1, 0]))
                .unwrap();
            column.close().unwrap();
        }
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<BoolType>().write_batch(&[true], Some(&[1, 0]), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let values = [ByteArray::from("text"), ByteArray::from(vec![0xff])];
        column.typed::<ByteArrayType>().write_batch(&values, Some(&[1, 1]), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
    }

    fn compressions() -> [Compression; 3] {
        [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(ZstdLevel::default())]
    }

    #[test]
    fn nested_columns_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train-00000-of-00001.parquet");
        for compression in compressions() {
            write(&path, compression);
            let rows: Vec<_> = file_rows(&path).unwrap().collect();
            let row = rows[0].as_ref().unwrap();
            let expect = serde_json::json!({
                "messages": [
                    {"role": "user", "content": "hi"},
                    {"role": "assistant", "content": "hello"},
                ],
                "label": true,
                "raw": "text",
            });
            assert_eq!(Value::Object(row.columns.clone()), expect);
            let error = rows[1].as_ref().unwrap_err().to_string();
            assert!(error.contains("row 2: column `raw` holds bytes"), "{error}");
        }
    }

    #[test]
    fn what_is_no_parquet_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        for bytes in [&b""[..], b"PAR1", b"PAR1\0\0\0\xff\xff\xff\x7fPAR1"] {
            File::create(&path).unwrap().write_all(bytes).unwrap();
            let error = file_rows(&path).err().unwrap().to_string();
            assert!(error.contains("a.parquet: is no Parquet file"), "{error}");
        }
    }

    /// Reads all of a file, as far as it goes.
    fn read(path: &std::path::Path) -> Result<usize, String> {
        let mut count = 0;
        for row in file_rows(path).map_err(|error| error.to_string())? {
            match row {
                Ok(_) | Err(DataError::Broken { .. }) => count += 1,
                Err(error) => return Err(error.to_string()),
            }
            assert!(count <= 1000, "rows without end");
        }
        Ok(count)
    }

    /// The most memory that this process ever asked for, in kB, where the system tells.
    fn most_memory() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    }

    /// The largest `i32` as Thrift writes it.
    const HUGE: [u8; 5] = [0xfe, 0xff, 0xff, 0xff, 0x0f];

    /// A page that says to be huge is none that is made room for.
    #[test]
    fn pages_of_impossible_size_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        write(&path, Compression::SNAPPY);
        let whole = std::fs::read(&path).unwrap();
        // The first page is a dictionary. Its header: kind, unpacked size, packed size, and entries.
        assert_eq!([whole[4], whole[5], whole[6], whole[8]], [0x15, 4, 0x15, 0x15]);
        let entries = whole.windows(3).position(|bytes| bytes == [0x4c, 0x15, 6]).unwrap() + 2;
        for at in [7, 9, entries] {
            let bytes = [&whole[..at], &HUGE, &whole[at + 1..]].concat();
            std::fs::write(&path, bytes).unwrap();
            let error = read(&path).unwrap_err();
            assert!(
                error.contains("`messages.list.element.content` has a page of impossible size"),
                "{error}"
            );
        }
    }

    /// Every byte of a file changed in some ways, and the file cut everywhere: rows or an error, never a panic, never
    /// gigabytes.
    #[test]
    fn damage_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let [path, hurt] = ["a.parquet", "b.parquet"].map(|name| folder.path().join(name));
        let before = most_memory();
        let mut errors = 0;
        for compression in compressions() {
            let deltas = [Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY];
            for strings in [None, Some(deltas[0]), Some(deltas[1])] {
                write_as(&path, compression, strings);
                let whole = std::fs::read(&path).unwrap();
                assert_eq!(read(&path), Ok(2), "{strings:?}");
                for at in 0..whole.len() {
                    for change in [1, 0x80, 0xff, 0] {
                        let mut bytes = whole.clone();
                        bytes[at] ^= change;
                        if change == 0 {
                            bytes[at..].iter_mut().zip(HUGE).for_each(|(byte, huge)| *byte = huge);
                        }
                        std::fs::write(&hurt, &bytes).unwrap();
                        if let Err(error) = read(&hurt) {
                            assert!(error.contains("b.parquet"), "{error}");
                            errors += 1;
                        }
                    }
                    std::fs::write(&hurt, &whole[..at]).unwrap();
                    assert!(read(&hurt).is_err(), "cut at {at}");
                }
            }
        }
        assert!(errors > 1000, "{errors}");
        // Threads of other tests reserve some too.
        assert!(most_memory() - before < 1 << 21, "{} kB", most_memory() - before);
    }
}
