use super::parquet_source;
use crate::testing::{Taken, drain, take};
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use dataflare_engine::EngineError;
use dataflare_engine::source::Source;
use dataflare_plan::{DataType, Field};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn write(folder: &Path, name: &str, columns: Vec<(&str, ArrayRef)>) -> PathBuf {
    let path = folder.join(name);
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(100_000))
        .set_data_page_row_count_limit(7_000)
        .build();
    let mut writer =
        ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path
}

fn numbers(from: i64, to: i64) -> Vec<(&'static str, ArrayRef)> {
    let words: StringArray = (from..to).map(|n| (n % 3 != 0).then(|| format!("a longer word {n}"))).collect();
    vec![("n", Arc::new(Int64Array::from_iter_values(from..to))), ("s", Arc::new(words))]
}

fn field(name: &str, dtype: DataType) -> Field {
    Field { name: name.to_owned(), dtype }
}

fn open(options: &Value, schema: &[Field]) -> impl Source + use<> {
    parquet_source(options, &schema.to_vec()).unwrap()
}

fn rows(taken: &[Taken]) -> Vec<i64> {
    let values =
        |t: &Taken| t.records.column_by_name("n").unwrap().as_primitive::<Int64Type>().values().to_vec();
    taken.iter().flat_map(values).collect()
}

#[test]
fn files_are_read_in_path_order_in_bounded_batches_with_growing_places() {
    let folder = tempfile::tempdir().unwrap();
    let a = write(folder.path(), "a.parquet", numbers(0, 250_000));
    let b = write(folder.path(), "b.parquet", numbers(250_000, 250_010));
    let schema = [field("s", DataType::String), field("n", DataType::Int64)];
    let taken = drain(&open(&json!({"paths": [a, b]}), &schema), None).unwrap();
    assert_eq!(rows(&taken), (0..250_010).collect::<Vec<_>>());
    assert!(taken.iter().all(|t| t.records.num_rows() <= 65_536));
    let mut place = 0;
    for t in &taken {
        assert_eq!(t.first, place);
        assert!(t.positions.is_none() && t.rejected.is_empty());
        place += t.records.num_rows() as u64;
    }
    let whole = concat_batches(&taken[0].records.schema(), taken.iter().map(|t| &t.records)).unwrap();
    let words = whole.column(0).as_string_view();
    assert_eq!((words.is_valid(3), words.value(200_000)), (false, "a longer word 200000"));
}

#[test]
fn reading_goes_on_after_every_offset() {
    let folder = tempfile::tempdir().unwrap();
    let a = write(folder.path(), "a.parquet", numbers(0, 150_000));
    let empty = write(folder.path(), "b.parquet", numbers(0, 0));
    let c = write(folder.path(), "c.parquet", numbers(150_000, 150_003));
    let source = open(&json!({"paths": [a, empty, c]}), &[field("n", DataType::Int64)]);
    let taken = drain(&source, None).unwrap();
    for (index, t) in taken.iter().enumerate() {
        let rest = drain(&source, Some(&t.next)).unwrap();
        assert_eq!(rows(&rest), rows(&taken[index + 1..]));
        assert_eq!(rest.first().map(|t| t.first), taken.get(index + 1).map(|t| t.first));
    }
}

#[test]
fn n_rows_path_and_row_index_cover_the_whole_scan() {
    let folder = tempfile::tempdir().unwrap();
    let a = write(folder.path(), "a.parquet", numbers(0, 5));
    let b = write(folder.path(), "b.parquet", numbers(5, 10));
    let options =
        json!({"paths": [a, b], "n_rows": 7, "path_column": "file", "row_index": {"name": "i", "offset": 3}});
    let schema = [field("i", DataType::UInt32), field("n", DataType::Int64), field("file", DataType::String)];
    let taken = drain(&open(&options, &schema), None).unwrap();
    assert_eq!(rows(&taken), (0..7).collect::<Vec<_>>());
    let last = &taken.last().unwrap().records;
    assert_eq!(last.column(0).as_primitive::<arrow::datatypes::UInt32Type>().values(), &[8, 9]);
    assert_eq!(last.column(2).as_string_view().value(1), b.display().to_string());
}

#[test]
fn a_followed_file_counts_when_its_footer_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let a = write(folder.path(), "a.parquet", numbers(0, 5));
    let whole = std::fs::read(&a).unwrap();
    std::fs::write(&a, &whole[..whole.len() - 4]).unwrap();
    write(folder.path(), "b.parquet", numbers(5, 7));
    let options = json!({"path": folder.path(), "follow": true, "poll_ms": 3});
    let source = open(&options, &[field("n", DataType::Int64)]);
    let first = take(&source, None, 1).unwrap();
    assert_eq!(rows(&first), [5, 6]);
    assert_eq!(source.waits_for(), Some(format!("'{}' is not a whole file yet", a.display())));
    std::fs::write(&a, whole).unwrap();
    assert_eq!(rows(&take(&source, Some(&first[0].next), 1).unwrap()), [0, 1, 2, 3, 4]);
}

#[test]
fn zero_columns_keep_their_row_count() {
    let folder = tempfile::tempdir().unwrap();
    let a = write(folder.path(), "a.parquet", numbers(0, 70_000));
    let taken = drain(&open(&json!({"paths": [a]}), &[]), None).unwrap();
    assert_eq!(taken.iter().map(|t| t.records.num_rows()).sum::<usize>(), 70_000);
}

#[test]
fn schema_change_between_files_names_file_column_and_types() {
    let folder = tempfile::tempdir().unwrap();
    let a = write(folder.path(), "a.parquet", numbers(0, 5));
    let b = write(folder.path(), "b.parquet", vec![("n", Arc::new(Int32Array::from(vec![1])))]);
    let error = drain(&open(&json!({"paths": [a, b]}), &[field("n", DataType::Int64)]), None).unwrap_err();
    assert_eq!(error, EngineError::call(format!("{}, column 'n'", b.display()), "Int64", "Int32"));
    let missing = drain(&open(&json!({"paths": [a, b]}), &[field("s", DataType::String)]), None).unwrap_err();
    assert_eq!(
        missing,
        EngineError::call(format!("{}, column 's'", b.display()), "String", "a file without it")
    );
    let extra = drain(&open(&json!({"paths": [b, a]}), &[]), None).unwrap_err();
    assert!(extra.to_string().starts_with(&format!("{}, column 's': expected the columns of", a.display())));
}

#[test]
fn corrupt_and_truncated_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let schema = [field("n", DataType::Int64)];
    let damaged = |path: &Path| match drain(&open(&json!({"paths": [path]}), &schema), None) {
        Err(EngineError::Data { place, .. }) => assert_eq!(place, path.display().to_string()),
        other => panic!("expected a data error, got {other:?}"),
    };
    let cut = write(folder.path(), "cut.parquet", numbers(0, 1000));
    OpenOptions::new().write(true).open(&cut).unwrap().set_len(500).unwrap();
    damaged(&cut);
    let nothing = folder.path().join("nothing.parquet");
    File::create(&nothing).unwrap();
    damaged(&nothing);
    let scrambled = write(folder.path(), "scrambled.parquet", numbers(0, 1000));
    let mut bytes = std::fs::read(&scrambled).unwrap();
    bytes[4..400].fill(0xff);
    std::fs::write(&scrambled, bytes).unwrap();
    damaged(&scrambled);
}

#[test]
fn a_missing_file_and_a_folder_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    for (path, found) in
        [(folder.path().join("no.parquet"), "nothing there"), (folder.path().to_owned(), "a folder")]
    {
        let error = open(&json!({"paths": [path]}), &[]).splits().unwrap_err();
        assert_eq!(error, EngineError::call(path.display().to_string(), "a file", found));
    }
}

#[test]
fn an_offset_of_other_files_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let b = write(folder.path(), "b.parquet", numbers(0, 5));
    let schema = [field("n", DataType::Int64)];
    let next = take(&open(&json!({"paths": [b]}), &schema), None, 1).unwrap().remove(0).next;
    let a = write(folder.path(), "a.parquet", numbers(0, 5));
    let error = drain(&open(&json!({"paths": [a, b]}), &schema), Some(&next)).unwrap_err();
    assert!(error.to_string().contains("as number 1, as at the checkpoint"), "{error}");
}

#[test]
fn a_file_of_polars_is_read_as_polars_types_it() {
    // Written by Polars 2.1 with every type that both know; one column each.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let schema: Vec<Field> =
        serde_json::from_slice(&std::fs::read(folder.join("types.schema.json")).unwrap()).unwrap();
    let taken = drain(&open(&json!({"paths": [folder.join("types.parquet")]}), &schema), None).unwrap();
    assert_eq!(taken.len(), 1);
    let row = |row: usize| -> Vec<String> {
        taken[0].records.columns().iter().map(|c| array_value_to_string(c, row).unwrap()).collect()
    };
    let first = "1|1|1|1|1|1|1|1|1.0|1.0|true|a|61|2024-02-29|01:02:03.000004|1970-01-01T00:00:00.001|\
        1970-01-01T00:00:00.000001|1970-01-01T00:00:00.000000001|1970-01-01T01:00:00.000001+01:00|PT0.000001S|1.23|\
        x|q|[1, ]|[a, ]|[1, 2]|{x: 1, y: a}|";
    assert_eq!(row(0).join("|"), first);
    assert_eq!(row(1).join("|"), "|".repeat(26) + "{x: , y: }|");
    let third = "2|2|2|2|2|2|2|2|2.0|2.0|false|a string of more than twelve bytes|78797a|1969-12-31|00:00:00|\
        1969-12-31T23:59:59.999|1969-12-31T23:59:59.999999|1969-12-31T23:59:59.999999999|\
        1970-01-01T00:59:59.999999+01:00|-PT0.000001S|-4.56|y|p|[]|[]|[3, 4]|{x: 2, y: }|";
    assert_eq!(row(2).join("|"), third);
}
