//! Parquet files: `pl.scan_parquet`.
//!
//! The reader thread reads footers and the bytes of one row group; a batch is a slice of it, decompressed and decoded on
//! a worker. Columns match by name; types must be equal, a file may not have columns that the first one lacks (Polars'
//! rules). Position in a file: the row. Not here: order of files, offsets (`scan.rs`). Called by the registry.
//! Cost: the bytes of one row group in memory; a page that two slices share is decompressed by both.

use crate::files::format::{BATCH_ROWS, FileFormat, Piece, damaged, not_readable};
use crate::files::scan::FileScan;
use crate::files::types::{FirstColumns, column_of, convert};
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
use std::sync::Arc;

/// Gaps between column chunks that are read through rather than skipped.
const GAP_BYTES: u64 = 64 << 10;

/// A scan of Parquet files.
///
/// # Errors
/// [`EngineError::Call`]: an option that is missing, unknown or out of range.
pub fn parquet_source(options: &Value, schema: &Schema) -> Result<FileScan> {
    FileScan::new("parquet", options, schema, |columns| {
        Ok(Box::new(ParquetFormat { columns: columns.into(), first: FirstColumns::default() }))
    })
}

struct ParquetFormat {
    columns: Arc<[Field]>,
    first: FirstColumns,
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
        self.first.check(path, metadata.schema())?;
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
mod tests;
