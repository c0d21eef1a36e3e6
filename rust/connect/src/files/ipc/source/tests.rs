use super::ipc_source;
use crate::files::ipc::sink::ipc_sink;
use crate::testing::{Taken, drain};
use arrow::array::{AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, Int64Type};
use dataflare_engine::sink::Sink;
use dataflare_engine::{Batch, EngineError};
use dataflare_plan::{DataType, Field, Schema};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn schema() -> Schema {
    let field = |name: &str, dtype| Field { name: name.to_owned(), dtype };
    vec![field("n", DataType::Int64), field("c", DataType::Categorical)]
}

fn batch(from: i64, rows: i64) -> Batch {
    let numbers = Int64Array::from_iter_values(from..from + rows);
    let words =
        StringViewArray::from_iter_values((from..from + rows).map(|n| format!("a long category {}", n % 7)));
    let kind = Arrow::Dictionary(Box::new(Arrow::UInt32), Box::new(Arrow::Utf8View));
    let words = cast(&words, &kind).unwrap();
    Batch::new(
        RecordBatch::try_from_iter_with_nullable([("n", Arc::new(numbers) as _, true), ("c", words, true)])
            .unwrap(),
    )
}

fn write(folder: &Path, name: &str, format: Value, batches: &[Batch]) -> PathBuf {
    let path = folder.join(name);
    let sink = ipc_sink(&json!({"path": path, "layout": "file", "format": format}), &schema()).unwrap();
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
    for compression in [json!(null), json!("LZ4"), json!("ZSTD")] {
        let format = json!({"compression": compression, "record_batch_size": 100_000});
        let a = write(folder.path(), "a.arrow", format, &[batch(0, 130_000), batch(130_000, 70_000)]);
        let b = write(folder.path(), "b.arrow", json!(null), &[batch(200_000, 3)]);
        let source = ipc_source(&json!({"paths": [a, b]}), &schema()).unwrap();
        let taken = drain(&source, None).unwrap();
        assert_eq!(numbers(&taken), (0..200_003).collect::<Vec<_>>());
        assert_eq!(
            taken.iter().map(|t| t.records.num_rows()).collect::<Vec<_>>(),
            [65_536, 34_464, 65_536, 34_464, 3]
        );
        let words = cast(taken[3].records.column(1), &Arrow::Utf8View).unwrap();
        assert_eq!(words.as_string_view().value(0), "a long category 0");
        for (index, t) in taken.iter().enumerate() {
            assert_eq!(numbers(&drain(&source, Some(&t.next)).unwrap()), numbers(&taken[index + 1..]));
        }
    }
}

#[test]
fn damage_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "a.arrow", json!(null), &[batch(0, 100)]);
    let bytes = std::fs::read(&path).unwrap();
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        drain(&ipc_source(&json!({"paths": [path]}), &schema()).unwrap(), None)
    };
    for cut in [0, 1, 9, 10, 100, bytes.len() / 2, bytes.len() - 1] {
        let error = read(&bytes[..cut]).unwrap_err();
        assert!(
            matches!(&error, EngineError::Data { .. }) && error.to_string().contains("a.arrow"),
            "{cut}: {error}"
        );
    }
    // One wrong byte may change a value; it must not bring the job down.
    for place in 0..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[place] ^= 0x55;
        if let Err(error) = read(&wrong) {
            assert!(!matches!(error, EngineError::Internal { .. }), "{place}: {error}");
        }
    }
}

#[test]
fn files_must_have_the_declared_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "a.arrow", json!(null), &[batch(0, 1)]);
    let other = vec![Field { name: "n".to_owned(), dtype: DataType::String }];
    let error = drain(&ipc_source(&json!({"paths": [path]}), &other).unwrap(), None).unwrap_err();
    assert!(error.to_string().ends_with("a.arrow, column 'n': expected String, got Int64"), "{error}");
    let missing = vec![Field { name: "x".to_owned(), dtype: DataType::String }];
    let error = drain(&ipc_source(&json!({"paths": [path]}), &missing).unwrap(), None).unwrap_err();
    assert!(
        error.to_string().ends_with("a.arrow, column 'x': expected String, got a file without it"),
        "{error}"
    );
}
