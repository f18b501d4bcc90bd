//! Rows of Parquet files.

use std::fs::File;
use std::sync::Arc;

use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row as Record};
use serde_json::{Map, Value};

use super::error::{DataError, Place};
use super::read::{Row, Rows};

/// The rows of an open file, one row group decoded at a time.
pub(super) fn rows(file: File, name: &str) -> Result<Rows, DataError> {
    let size = file.metadata().map_err(DataError::io(name))?.len();
    let reader = SerializedFileReader::new(file)
        .map_err(|error| DataError::file(name, format!("is no Parquet file: {error}")))?;
    check_ranges(reader.metadata(), size).map_err(|what| DataError::file(name, what))?;
    let file: Arc<str> = name.into();
    let row = move |(i, record): (usize, parquet::errors::Result<Record>)| {
        let place = Place { file: file.clone(), unit: "row", number: i + 1 };
        match record {
            Ok(record) => match columns(record) {
                Ok(columns) => Ok(Row { columns, place }),
                Err(what) => Err(DataError::broken(&place, what)),
            },
            // What follows a page that cannot be decoded is lost too.
            Err(error) => Err(DataError::file(place.to_string(), error.to_string())),
        }
    };
    Ok(Box::new(reader.into_iter().enumerate().map(row)))
}

/// Whether every column lies within the file, which the library takes for granted.
fn check_ranges(metadata: &ParquetMetaData, size: u64) -> Result<(), String> {
    for column in metadata.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let end = start.checked_add(column.compressed_size());
        let fits = start >= 0
            && column.compressed_size() >= 0
            && end.is_some_and(|end| end.unsigned_abs() <= size);
        if !fits {
            let name = column.column_path().string();
            return Err(format!("column `{name}` lies outside of the file: it is damaged"));
        }
    }
    Ok(())
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

    use parquet::basic::Compression;
    use parquet::data_type::{BoolType, ByteArray, ByteArrayType};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;
    use crate::data::read::file_rows;

    /// Two rows of `messages` (a list of structures, as the library datasets writes it) and a
    /// label.
    fn write(path: &std::path::Path, compression: Compression) {
        let schema = "message schema {
            optional group messages (LIST) { repeated group list { optional group element {
                optional binary content (UTF8); optional binary role (UTF8); } } }
            optional boolean label; optional binary raw; }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let properties = WriterProperties::builder().set_compression(compression).build();
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

    #[test]
    fn nested_columns_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train-00000-of-00001.parquet");
        for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY] {
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

    #[test]
    fn columns_outside_of_the_file_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        write(&path, Compression::UNCOMPRESSED);
        let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
        let size = File::open(&path).unwrap().metadata().unwrap().len();
        assert!(check_ranges(reader.metadata(), size).is_ok());
        let error = check_ranges(reader.metadata(), 40).unwrap_err();
        assert!(error.contains("lies outside of the file"), "{error}");
    }
}
