use super::avro_source;
use crate::files::avro::sink::avro_sink;
use crate::testing::{Taken, drain};
use arrow::array::{AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::Int64Type;
use dataflare_engine::sink::Sink;
use dataflare_engine::{Batch, EngineError};
use dataflare_plan::{DataType, Field, Schema};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn schema() -> Schema {
    let field = |name: &str, dtype| Field { name: name.to_owned(), dtype };
    vec![field("n", DataType::Int64), field("s", DataType::String)]
}

fn batch(from: i64, rows: i64) -> Batch {
    let numbers = Int64Array::from_iter_values(from..from + rows);
    let words: StringViewArray =
        (from..from + rows).map(|n| (n % 3 > 0).then(|| format!("word {n}"))).collect();
    let columns = [("n", Arc::new(numbers) as _, true), ("s", Arc::new(words) as _, true)];
    Batch::new(RecordBatch::try_from_iter_with_nullable(columns).unwrap())
}

fn write(folder: &Path, format: Value, batches: &[Batch]) -> PathBuf {
    let path = folder.join("a.avro");
    let sink = avro_sink(&json!({"path": path, "layout": "file", "format": format}), &schema()).unwrap();
    let mut writer = sink.writer(0, 1, Vec::new()).unwrap();
    for batch in batches {
        writer.write(batch.clone()).unwrap();
    }
    sink.confirm(1, &[writer.prepare(1, 0, true).unwrap()().unwrap()]).unwrap();
    path
}

fn numbers(taken: &[Taken]) -> Vec<i64> {
    taken.iter().flat_map(|t| t.records.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[test]
fn reading_goes_on_after_every_offset_in_any_compression() {
    let folder = tempfile::tempdir().unwrap();
    for compression in ["uncompressed", "deflate", "snappy", "zstd"] {
        let batches: Vec<Batch> = (0..30).map(|k| batch(k * 10_000, 10_000)).collect();
        let path = write(folder.path(), json!({"compression": compression}), &batches);
        let source = avro_source(&json!({"paths": [path]}), &schema()).unwrap();
        let taken = drain(&source, None).unwrap();
        assert_eq!(numbers(&taken), (0..300_000).collect::<Vec<_>>());
        assert!(taken.len() > 2);
        let words = taken[0].records.column(1).as_string_view();
        assert_eq!((words.value(1), arrow::array::Array::is_null(words, 3)), ("word 1", true));
        for (index, t) in taken.iter().enumerate() {
            assert_eq!(numbers(&drain(&source, Some(&t.next)).unwrap()), numbers(&taken[index + 1..]));
        }
    }
}

#[test]
fn damage_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), json!(null), &[batch(0, 50), batch(50, 50)]);
    let bytes = std::fs::read(&path).unwrap();
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        drain(&avro_source(&json!({"paths": [path]}), &schema()).unwrap(), None)
    };
    for cut in [0, 1, 4, 50, bytes.len() / 2, bytes.len() - 1] {
        let error = read(&bytes[..cut]).unwrap_err();
        assert!(
            matches!(&error, EngineError::Data { .. }) && error.to_string().contains("a.avro"),
            "{cut}: {error}"
        );
    }
    for place in 0..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[place] ^= 0x55;
        if let Err(error) = read(&wrong) {
            assert!(!matches!(error, EngineError::Internal { .. }), "{place}: {error}");
        }
    }
    let other = vec![Field { name: "n".to_owned(), dtype: DataType::String }];
    std::fs::write(&path, &bytes).unwrap();
    let error = drain(&avro_source(&json!({"paths": [path]}), &other).unwrap(), None).unwrap_err();
    assert!(error.to_string().ends_with("a.avro, column 'n': expected String, got Int64"), "{error}");
}

#[test]
fn types_that_avro_does_not_hold_are_refused_by_column() {
    let schema = vec![Field { name: "u".to_owned(), dtype: DataType::UInt64 }];
    let refused = avro_sink(&json!({"path": "o.avro", "layout": "file"}), &schema).unwrap_err().to_string();
    assert!(refused.starts_with("o.avro, column 'u': expected a type that Avro holds"), "{refused}");
}
