//! Arrow IPC files: `dff.scan_ipc`.
//!
//! The reader thread reads the footer and one record batch after the other, as bytes; a worker decodes it, once for all
//! pieces of it. Columns match by name, as in Parquet. Position in a file: the row. Not here: IPC streams, which have
//! no footer to find a row by; order of files, offsets (`scan.rs`). Called by the registry.
//! Cost: the bytes of one record batch in memory, also of columns that are not wanted.

use crate::files::format::{BATCH_ROWS, FileFormat, Piece, damaged, not_readable};
use crate::files::scan::FileScan;
use crate::files::types::{FirstColumns, column_of, convert};
use arrow::array::{ArrayRef, RecordBatchOptions};
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::convert::try_fb_to_schema;
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::{Block, root_as_footer, root_as_message};
use arrow::record_batch::RecordBatch;
use dataflare_engine::Result;
use dataflare_engine::source::Decoded;
use dataflare_engine::types::arrow_schema;
use dataflare_plan::{Field, Schema};
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Behind a footer: its length and the magic word.
const TRAILER_BYTES: u64 = 10;

/// A scan of Arrow IPC files.
///
/// # Errors
/// [`EngineError::Call`]: an option that is missing, unknown or out of range.
pub fn ipc_source(options: &Value, schema: &Schema) -> Result<FileScan> {
    FileScan::new("ipc", options, schema, |columns| {
        Ok(Box::new(IpcFormat { columns: columns.into(), first: FirstColumns::default() }))
    })
}

struct IpcFormat {
    columns: Arc<[Field]>,
    first: FirstColumns,
}

/// One file, as the pieces of it share it.
struct OpenIpc {
    path: PathBuf,
    decoder: FileDecoder,
    /// Of the file, and those of them that are read.
    schema: SchemaRef,
    wanted: Vec<usize>,
    columns: Arc<[Field]>,
}

/// What a footer says.
struct Footer {
    length: u64,
    schema: SchemaRef,
    version: arrow::ipc::MetadataVersion,
    dictionaries: Vec<Block>,
    batches: Vec<Block>,
}

/// A record batch that several pieces share.
struct Shared {
    block: Block,
    bytes: Buffer,
    decoded: OnceLock<Result<RecordBatch>>,
}

impl FileFormat for IpcFormat {
    fn read(&self, path: &Path, position: u64, take: &mut dyn FnMut(Piece) -> bool) -> Result<()> {
        let mut file = File::open(path).map_err(|error| not_readable(path, &error))?;
        let (open, blocks, length) = self.open(path, &mut file)?;
        let open = Arc::new(open);
        let mut start = 0;
        for (number, block) in blocks.iter().enumerate() {
            let bytes = read_block(
                path,
                &mut file,
                block,
                length,
                block.metaDataLength().max(0).unsigned_abs().into(),
            )?;
            let rows = rows_of(path, &bytes)?;
            let skip = position.saturating_sub(start).min(rows);
            if skip < rows {
                let all = u64::try_from(block.bodyLength()).unwrap_or(u64::MAX);
                let all = all.saturating_add(bytes.len() as u64);
                let bytes = Buffer::from_vec(read_block(path, &mut file, block, length, all)?);
                let shared = Shared { block: *block, bytes, decoded: OnceLock::new() };
                let is_last = number + 1 == blocks.len();
                if !pieces(&open, &Arc::new(shared), start, rows, skip, is_last).all(&mut *take) {
                    return Ok(());
                }
            }
            start += rows;
        }
        if position > start {
            return Err(damaged(
                path,
                start,
                format!("the file is shorter than at the checkpoint, which had read {position} rows"),
            ));
        }
        Ok(())
    }

    fn prime(&self, first: &Path) -> Result<()> {
        let mut file = File::open(first).map_err(|error| not_readable(first, &error))?;
        self.open(first, &mut file).map(drop)
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["arrow", "ipc", "feather"]
    }

    fn is_complete(&self, path: &Path) -> bool {
        File::open(path).is_ok_and(|mut file| footer(path, &mut file).is_ok())
    }
}

impl IpcFormat {
    /// Reads the footer and the dictionaries, and checks the columns.
    fn open(&self, path: &Path, file: &mut File) -> Result<(OpenIpc, Vec<Block>, u64)> {
        let footer = footer(path, file)?;
        self.first.check(path, &footer.schema)?;
        let wanted = self
            .columns
            .iter()
            .map(|field| column_of(path, &footer.schema, field))
            .collect::<Result<Vec<_>>>()?;
        let mut decoder =
            FileDecoder::new(Arc::clone(&footer.schema), footer.version).with_projection(wanted.clone());
        for block in &footer.dictionaries {
            let all = u64::try_from(block.bodyLength()).unwrap_or(u64::MAX);
            let all = all.saturating_add(block.metaDataLength().max(0).unsigned_abs().into());
            let bytes = Buffer::from_vec(read_block(path, file, block, footer.length, all)?);
            let read = catch_unwind(AssertUnwindSafe(|| decoder.read_dictionary(block, &bytes)));
            let read = read.map_err(|_| damaged(path, 0, "a damaged dictionary"))?;
            read.map_err(|error| damaged(path, 0, format!("a dictionary: {error}")))?;
        }
        let open = OpenIpc {
            path: path.to_owned(),
            decoder,
            schema: footer.schema,
            wanted,
            columns: Arc::clone(&self.columns),
        };
        Ok((open, footer.batches, footer.length))
    }
}

fn footer(path: &Path, file: &mut File) -> Result<Footer> {
    let unreadable = |error: std::io::Error| not_readable(path, &error);
    let no_file = || {
        damaged(
            path,
            0,
            "expected an Arrow IPC file, which ends with a footer and ARROW1; it is cut off or something else",
        )
    };
    let length = file.metadata().map_err(unreadable)?.len();
    let behind = length.checked_sub(TRAILER_BYTES).ok_or_else(no_file)?;
    let mut trailer = [0; TRAILER_BYTES as usize];
    file.seek(SeekFrom::Start(behind)).and_then(|_| file.read_exact(&mut trailer)).map_err(unreadable)?;
    let bytes = read_footer_length(trailer).map_err(|_| no_file())?;
    let start = behind.checked_sub(bytes as u64).ok_or_else(no_file)?;
    let mut footer = vec![0; bytes];
    file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut footer)).map_err(unreadable)?;
    let bad = |error: &dyn std::fmt::Display| damaged(path, 0, format!("the footer: {error}"));
    let footer = root_as_footer(&footer).map_err(|error| bad(&error))?;
    let schema = footer.schema().ok_or_else(|| bad(&"there is no schema in it"))?;
    let schema = catch_unwind(AssertUnwindSafe(|| try_fb_to_schema(schema)));
    let schema = schema.map_err(|_| bad(&"its schema cannot be read"))?.map_err(|error| bad(&error))?;
    Ok(Footer {
        length,
        schema: Arc::new(schema),
        version: footer.version(),
        dictionaries: footer.dictionaries().iter().flatten().copied().collect(),
        batches: footer.recordBatches().iter().flatten().copied().collect(),
    })
}

/// The first `bytes` bytes of a block.
fn read_block(path: &Path, file: &mut File, block: &Block, length: u64, bytes: u64) -> Result<Vec<u8>> {
    let outside =
        || damaged(path, 0, format!("a record batch at byte {} lies behind the end", block.offset()));
    let start = u64::try_from(block.offset()).map_err(|_| outside())?;
    start.checked_add(bytes).filter(|end| *end <= length).ok_or_else(outside)?;
    let mut read = vec![0; usize::try_from(bytes).map_err(|_| outside())?];
    let outcome = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut read));
    outcome.map_err(|error| not_readable(path, &error))?;
    Ok(read)
}

/// Rows of a record batch, by its message.
fn rows_of(path: &Path, bytes: &[u8]) -> Result<u64> {
    // A message begins with a marker (in newer files) and its length.
    let message = match bytes {
        [0xff, 0xff, 0xff, 0xff, _, _, _, _, message @ ..] | [_, _, _, _, message @ ..] => message,
        _ => &[],
    };
    let bad = |error: &dyn std::fmt::Display| damaged(path, 0, format!("a record batch: {error}"));
    let message = root_as_message(message).map_err(|error| bad(&error))?;
    let batch = message.header_as_record_batch().ok_or_else(|| bad(&"its message is of another kind"))?;
    u64::try_from(batch.length()).map_err(|_| bad(&"it has less than no rows"))
}

/// A record batch from `skip` on, in pieces of at most [`BATCH_ROWS`]. The cuts do not depend on `skip`.
fn pieces<'a>(
    open: &'a Arc<OpenIpc>,
    shared: &'a Arc<Shared>,
    start: u64,
    rows: u64,
    skip: u64,
    is_last: bool,
) -> impl Iterator<Item = Piece> + 'a {
    let mut from = skip;
    std::iter::from_fn(move || {
        (from < rows).then(|| {
            let to = ((from / BATCH_ROWS + 1) * BATCH_ROWS).min(rows);
            let (open, shared, range) = (Arc::clone(open), Arc::clone(shared), from..to);
            let share = shared.bytes.len() as f64 * (to - from) as f64 / rows as f64;
            from = to;
            Piece {
                rows: to - range.start,
                next: start + to,
                last: is_last && to == rows,
                bytes: share as usize,
                decode: Box::new(move || open.decode(&shared, start, rows, range)),
            }
        })
    })
}

impl OpenIpc {
    fn decode(&self, shared: &Shared, start: u64, rows: u64, range: std::ops::Range<u64>) -> Result<Decoded> {
        let decoded = shared.decoded.get_or_init(|| {
            let decoded = catch_unwind(AssertUnwindSafe(|| self.batch(shared, rows)));
            decoded
                .unwrap_or_else(|_| Err("it cannot be read".to_owned()))
                .map_err(|reason| damaged(&self.path, start, format!("a damaged record batch: {reason}")))
        });
        let batch = decoded.as_ref().map_err(Clone::clone)?;
        let place = |row: u64| usize::try_from(row).unwrap_or(usize::MAX);
        Ok(Decoded::whole(batch.slice(place(range.start), place(range.end - range.start))))
    }

    fn batch(&self, shared: &Shared, rows: u64) -> Result<RecordBatch, String> {
        let batch = self.decoder.read_record_batch(&shared.block, &shared.bytes);
        let batch = batch.map_err(|error| error.to_string())?.ok_or("it is empty")?;
        if batch.num_rows() as u64 != rows {
            return Err(format!("expected {rows} rows, got {}", batch.num_rows()));
        }
        let column = |(place, field): (usize, &Field)| -> Result<ArrayRef, String> {
            let name = self.wanted.get(place).and_then(|index| self.schema.fields().get(*index));
            let column =
                name.and_then(|field| batch.column_by_name(field.name())).ok_or("a column is missing")?;
            convert(column, &field.dtype).map_err(|error| error.to_string())
        };
        let columns = self.columns.iter().enumerate().map(column).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(arrow_schema(&self.columns), columns, &options)
            .map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests;
