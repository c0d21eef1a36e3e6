//! Parquet files: `pl.scan_parquet`.
//!
//! The reader thread reads footers and the bytes of one row group; a batch is a slice of it, decompressed and decoded on
//! a worker. Columns match by name; types must be equal, a file may not have columns that the first one lacks (Polars'
//! rules). Position in a file: the row. Not here: order of files, offsets (`file_scan.rs`). Called by the registry.
//! Cost: the bytes of one row group in memory; a page that two slices share is decompressed by both.

use crate::file_scan::{BATCH_ROWS, FileFormat, FileScan, Piece, damaged, not_readable};
use crate::file_types::{convert, fits, plan_type};
use arrow::array::{ArrayRef, RecordBatchOptions, RecordBatchReader};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType as Arrow, Schema as ArrowSchema};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use dataflare_engine::source::Decoded;
use dataflare_engine::types::arrow_schema;
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{DataType, Field, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use serde_json::Value;
use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Gaps between column chunks that are read through rather than skipped.
const GAP_BYTES: u64 = 64 << 10;

/// A scan of Parquet files.
///
/// # Errors
/// [`EngineError::Call`]: an option that is missing, unknown or out of range.
pub fn parquet_source(options: &Value, schema: &Schema) -> Result<FileScan> {
    FileScan::new("parquet", options, schema, |columns| {
        Ok(Box::new(ParquetFormat { columns: columns.into(), first: OnceLock::new() }))
    })
}

struct ParquetFormat {
    columns: Arc<[Field]>,
    /// Column names of the first file.
    first: OnceLock<Vec<String>>,
}

/// One file, as the slices of it share it.
struct OpenParquet {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    columns: Arc<[Field]>,
}

impl FileFormat for ParquetFormat {
    fn read(&self, path: &Path, position: u64, take: &mut dyn FnMut(Piece) -> bool) -> Result<()> {
        let mut file = File::open(path).map_err(|error| not_readable(path, &error))?;
        let open = Arc::new(self.open(path, &file)?);
        let total = rows_of(&open.metadata);
        if position > total {
            return Err(damaged(
                path,
                total,
                format!("the file is shorter than at the checkpoint, which had read {position} rows"),
            ));
        }
        let mut group_start = 0;
        for group in 0..open.metadata.metadata().num_row_groups() {
            let rows = group_rows(&open.metadata, group);
            let skip = position.saturating_sub(group_start).min(rows);
            if skip < rows {
                let bytes = fetch(&mut file, &open, group)?;
                for piece in slices(&open, group, &bytes, group_start, skip, total) {
                    if !take(piece) {
                        return Ok(());
                    }
                }
            }
            group_start += rows;
        }
        Ok(())
    }

    fn prime(&self, first: &Path) -> Result<()> {
        let file = File::open(first).map_err(|error| not_readable(first, &error))?;
        self.open(first, &file).map(drop)
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["parquet"]
    }

    fn is_complete(&self, path: &Path) -> bool {
        File::open(path).is_ok_and(|file| ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).is_ok())
    }
}

impl ParquetFormat {
    /// Reads the footer and checks the columns.
    fn open(&self, path: &Path, file: &File) -> Result<OpenParquet> {
        let metadata = ArrowReaderMetadata::load(file, ArrowReaderOptions::new())
            .map_err(|error| damaged(path, 0, error))?;
        self.check_extra(path, metadata.schema())?;
        let indices = self
            .columns
            .iter()
            .map(|field| column_of(path, metadata.schema(), field))
            .collect::<Result<Vec<_>>>()?;
        let mask = ProjectionMask::roots(metadata.parquet_schema(), indices);
        let hinted = hinted(&metadata, &self.columns);
        let metadata = ArrowReaderMetadata::try_new(
            Arc::clone(metadata.metadata()),
            ArrowReaderOptions::new().with_schema(hinted),
        )
        .unwrap_or(metadata); // a type that cannot be decoded directly is cast after decoding
        Ok(OpenParquet { path: path.to_owned(), metadata, mask, columns: Arc::clone(&self.columns) })
    }

    fn check_extra(&self, path: &Path, schema: &ArrowSchema) -> Result<()> {
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let first = self.first.get_or_init(|| names.clone());
        match names.iter().find(|name| !first.contains(name)) {
            None => Ok(()),
            Some(extra) => Err(EngineError::call(
                format!("{}, column '{extra}'", path.display()),
                "the columns of the first file",
                "a column that it does not have",
            )),
        }
    }
}

/// Index of a declared column in a file, after a check of its type.
fn column_of(path: &Path, schema: &ArrowSchema, field: &Field) -> Result<usize> {
    let place = || format!("{}, column '{}'", path.display(), field.name);
    let Some((index, found)) = schema.column_with_name(&field.name) else {
        return Err(EngineError::call(place(), field.dtype.to_string(), "a file without it"));
    };
    match plan_type(found.data_type()) {
        Some(dtype) if fits(&field.dtype, &dtype) => Ok(index),
        Some(dtype) => Err(EngineError::call(place(), field.dtype.to_string(), dtype.to_string())),
        None => Err(EngineError::call(
            place(),
            field.dtype.to_string(),
            format!("Arrow type {}", found.data_type()),
        )),
    }
}

/// The schema of a file with its strings and binaries as views, so that they are decoded as such.
fn hinted(metadata: &ArrowReaderMetadata, columns: &[Field]) -> Arc<ArrowSchema> {
    let fields = metadata.schema().fields().iter().map(|field| {
        let declared = columns.iter().find(|column| &column.name == field.name()).map(|column| &column.dtype);
        match (declared, field.data_type()) {
            (_, Arrow::Null) => Arc::clone(field),
            (Some(DataType::String | DataType::Categorical | DataType::Enum { .. }), _) => {
                Arc::new(field.as_ref().clone().with_data_type(Arrow::Utf8View))
            }
            (Some(DataType::Binary), Arrow::Binary | Arrow::LargeBinary) => {
                Arc::new(field.as_ref().clone().with_data_type(Arrow::BinaryView))
            }
            _ => Arc::clone(field),
        }
    });
    Arc::new(ArrowSchema::new_with_metadata(fields.collect::<Vec<_>>(), metadata.schema().metadata().clone()))
}

fn rows_of(metadata: &ArrowReaderMetadata) -> u64 {
    (0..metadata.metadata().num_row_groups()).map(|group| group_rows(metadata, group)).sum()
}

fn group_rows(metadata: &ArrowReaderMetadata, group: usize) -> u64 {
    metadata
        .metadata()
        .row_groups()
        .get(group)
        .map_or(0, |group| u64::try_from(group.num_rows()).unwrap_or(0))
}

/// A row group from `skip` on, in slices of at most [`BATCH_ROWS`]. The cuts do not depend on `skip`.
fn slices<'a>(
    open: &'a Arc<OpenParquet>,
    group: usize,
    fetched: &'a Fetched,
    group_start: u64,
    skip: u64,
    total: u64,
) -> impl Iterator<Item = Piece> + 'a {
    let rows = group_rows(&open.metadata, group);
    let size: usize = fetched.ranges.iter().map(|(_, bytes)| bytes.len()).sum();
    let per_row = size as f64 / rows as f64;
    let mut from = skip;
    std::iter::from_fn(move || {
        (from < rows).then(|| {
            let to = ((from / BATCH_ROWS + 1) * BATCH_ROWS).min(rows);
            let (open, fetched, offset) = (Arc::clone(open), fetched.clone(), from);
            from = to;
            Piece {
                rows: to - offset,
                next: group_start + to,
                last: group_start + to == total,
                bytes: (per_row * (to - offset) as f64) as usize,
                decode: Box::new(move || {
                    catch_unwind(AssertUnwindSafe(|| open.decode(group, fetched, offset, to - offset)))
                        .unwrap_or_else(|_| {
                            Err(damaged(&open.path, group_start + offset, "a damaged row group"))
                        })
                        .map_err(|error| at_row(error, &open.path, group_start + offset))
                }),
            }
        })
    })
}

/// The rows before this one were decoded by other slices.
fn at_row(error: EngineError, path: &Path, row: u64) -> EngineError {
    match error {
        EngineError::Data { reason, .. } => damaged(path, row, reason),
        other => other,
    }
}

impl OpenParquet {
    fn decode(&self, group: usize, fetched: Fetched, offset: u64, rows: u64) -> Result<Decoded> {
        let damage =
            |error: &dyn std::fmt::Display| damaged(&self.path, 0, format!("row group {group}: {error}"));
        let (offset, rows) =
            (usize::try_from(offset).unwrap_or(usize::MAX), usize::try_from(rows).unwrap_or(usize::MAX));
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(fetched, self.metadata.clone())
            .with_row_groups(vec![group])
            .with_projection(self.mask.clone())
            .with_offset(offset)
            .with_limit(rows)
            .with_batch_size(rows)
            .build()
            .map_err(|error| damage(&error))?;
        let schema = reader.schema();
        let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|error| damage(&error))?;
        let batch = match batches.as_slice() {
            [one] => one.clone(),
            several => concat_batches(&schema, several).map_err(|error| damage(&error))?,
        };
        if batch.num_rows() != rows {
            return Err(damage(&format!(
                "expected {rows} rows from row {offset} on, got {}",
                batch.num_rows()
            )));
        }
        let column = |field: &Field| -> Result<ArrayRef> {
            let column = batch.column_by_name(&field.name).ok_or_else(|| damage(&"a column is missing"))?;
            convert(column, &field.dtype)
        };
        let columns = self.columns.iter().map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Decoded::whole(RecordBatch::try_new_with_options(arrow_schema(&self.columns), columns, &options)?))
    }
}

/// Bytes of the wanted columns of a row group: a file with holes.
#[derive(Clone)]
struct Fetched {
    length: u64,
    /// (place in the file, bytes), ascending.
    ranges: Arc<[(u64, Bytes)]>,
}

/// Reads the wanted column chunks of a row group.
fn fetch(file: &mut File, open: &OpenParquet, group: usize) -> Result<Fetched> {
    let length = file.metadata().map_err(|error| not_readable(&open.path, &error))?.len();
    let chunks =
        open.metadata.metadata().row_groups().get(group).map(|group| group.columns()).unwrap_or_default();
    let wanted = chunks.iter().enumerate().filter(|(leaf, _)| open.mask.leaf_included(*leaf));
    let mut ranges: Vec<(u64, u64)> = wanted.map(|(_, chunk)| chunk.byte_range()).collect();
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (start, size) in ranges {
        let end = start.checked_add(size).filter(|end| *end <= length);
        let end = end.ok_or_else(|| {
            damaged(&open.path, 0, format!("row group {group} lies behind the end of the file"))
        })?;
        match joined.last_mut() {
            Some((_, last)) if start <= last.saturating_add(GAP_BYTES) => *last = end.max(*last),
            _ => joined.push((start, end)),
        }
    }
    let mut read = |(start, end): (u64, u64)| -> Result<(u64, Bytes)> {
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(usize::MAX)];
        let outcome = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes));
        outcome.map_err(|error| damaged(&open.path, 0, format!("row group {group}: {error}")))?;
        Ok((start, Bytes::from(bytes)))
    };
    Ok(Fetched { length, ranges: joined.into_iter().map(&mut read).collect::<Result<Vec<_>>>()?.into() })
}

impl Fetched {
    fn range(&self, start: u64) -> parquet::errors::Result<Bytes> {
        let holds = |(at, bytes): &&(u64, Bytes)| *at <= start && start <= at + bytes.len() as u64;
        let (at, bytes) = self.ranges.iter().rev().find(holds).ok_or_else(|| outside(start))?;
        Ok(bytes.slice(usize::try_from(start - at).map_err(|_| outside(start))?..))
    }
}

fn outside(start: u64) -> ParquetError {
    ParquetError::General(format!("byte {start} belongs to none of the columns that were read"))
}

impl Length for Fetched {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Fetched {
    type T = Cursor<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(Cursor::new(self.range(start)?))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let range = self.range(start)?;
        if range.len() < length {
            return Err(outside(start + range.len() as u64));
        }
        Ok(range.slice(..length))
    }
}

#[cfg(test)]
mod tests {
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
        let words: StringArray =
            (from..to).map(|n| (n % 3 != 0).then(|| format!("a longer word {n}"))).collect();
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
        let options = json!({"paths": [a, b], "n_rows": 7, "path_column": "file", "row_index": {"name": "i", "offset": 3}});
        let schema =
            [field("i", DataType::UInt32), field("n", DataType::Int64), field("file", DataType::String)];
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
        let error =
            drain(&open(&json!({"paths": [a, b]}), &[field("n", DataType::Int64)]), None).unwrap_err();
        assert_eq!(error, EngineError::call(format!("{}, column 'n'", b.display()), "Int64", "Int32"));
        let missing =
            drain(&open(&json!({"paths": [a, b]}), &[field("s", DataType::String)]), None).unwrap_err();
        assert_eq!(
            missing,
            EngineError::call(format!("{}, column 's'", b.display()), "String", "a file without it")
        );
        let extra = drain(&open(&json!({"paths": [b, a]}), &[]), None).unwrap_err();
        assert!(
            extra.to_string().starts_with(&format!("{}, column 's': expected the columns of", a.display()))
        );
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
}
