//! Avro files: `dff.scan_avro`.
//!
//! The reader thread finds the blocks of a file; a worker decodes some of them, by the schema in the file's header. Position in a
//! file: the byte at which a block begins. Not here: order of files, offsets (`scan.rs`); single Avro messages. Called
//! by the registry.

use crate::files::format::{BATCH_ROWS, FileFormat, Piece, damaged, not_readable};
use crate::files::scan::FileScan;
use crate::files::types::{FirstColumns, fits, plan_type};
use arrow::array::{ArrayRef, RecordBatchOptions, new_empty_array};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::DataType as Arrow;
use arrow::record_batch::RecordBatch;
use arrow_avro::reader::{Reader, ReaderBuilder};
use dataflare_engine::source::Decoded;
use dataflare_engine::types::{arrow_schema, arrow_type};
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{DataType, Field, Schema};
use serde_json::Value;
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Compressed bytes of a piece, if its first block is not larger.
const PIECE_BYTES: u64 = 1 << 20;

/// A header that is longer is none.
const HEADER_BYTES: u64 = 16 << 20;

/// Bytes of the mark behind each block.
const SYNC_BYTES: usize = 16;

/// A scan of Avro files.
///
/// # Errors
/// [`EngineError::Call`]: an option that is missing, unknown or out of range.
pub fn avro_source(options: &Value, schema: &Schema) -> Result<FileScan> {
    FileScan::new("avro", options, schema, |columns| {
        Ok(Box::new(AvroFormat { columns: columns.into(), first: FirstColumns::default() }))
    })
}

struct AvroFormat {
    columns: Arc<[Field]>,
    first: FirstColumns,
}

/// One file, as the pieces of it share it.
struct OpenAvro {
    path: PathBuf,
    /// Up to the first block.
    header: Vec<u8>,
    sync: [u8; SYNC_BYTES],
    columns: Arc<[Field]>,
}

/// A file that is read from its beginning to its end.
struct Input<'a> {
    path: &'a Path,
    file: BufReader<File>,
    at: u64,
    length: u64,
}

impl Input<'_> {
    fn cut_off(&self) -> EngineError {
        damaged(
            self.path,
            0,
            format!("an Avro file that is cut off, or none: it ends inside what begins at byte {}", self.at),
        )
    }

    fn bytes(&mut self, count: u64, into: &mut Vec<u8>) -> Result<()> {
        if count > self.length.saturating_sub(self.at) {
            return Err(self.cut_off());
        }
        let read = Read::by_ref(&mut self.file).take(count).read_to_end(into);
        let read = read.map_err(|error| not_readable(self.path, &error))?;
        if (read as u64) < count {
            return Err(self.cut_off());
        }
        self.at += count;
        Ok(())
    }

    /// A zig-zag number of variable length.
    fn number(&mut self, into: &mut Vec<u8>) -> Result<i64> {
        let (mut value, start) = (0_u64, into.len());
        for shift in (0..64).step_by(7) {
            self.bytes(1, into)?;
            let byte = into.last().copied().unwrap_or_default();
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()));
            }
        }
        Err(damaged(self.path, 0, format!("a number of {} bytes at byte {}", into.len() - start, self.at)))
    }

    fn count(&mut self, into: &mut Vec<u8>) -> Result<u64> {
        let at = self.at;
        let number = self.number(into)?;
        u64::try_from(number).map_err(|_| damaged(self.path, 0, format!("a count of {number} at byte {at}")))
    }
}

impl AvroFormat {
    /// Reads the header and checks the columns.
    fn open<'a>(&self, path: &'a Path) -> Result<(OpenAvro, Input<'a>)> {
        let unreadable = |error: std::io::Error| not_readable(path, &error);
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let mut input = Input { path, file: BufReader::with_capacity(1 << 16, file), at: 0, length };
        let mut header = Vec::new();
        input.bytes(4, &mut header)?;
        if header != b"Obj\x01" {
            return Err(damaged(
                path,
                0,
                "expected an Avro file, which begins with Obj1; it is something else",
            ));
        }
        loop {
            let mut entries = input.number(&mut header)?;
            if entries < 0 {
                // Then the bytes of the entries follow.
                input.number(&mut header)?;
                entries = entries.saturating_neg();
            }
            if entries == 0 {
                break;
            }
            for _ in 0..entries.saturating_mul(2) {
                let size = input.count(&mut header)?;
                if size > HEADER_BYTES {
                    return Err(damaged(path, 0, format!("a header with an entry of {size} bytes")));
                }
                input.bytes(size, &mut header)?;
            }
        }
        let mut sync = Vec::new();
        input.bytes(SYNC_BYTES as u64, &mut sync)?;
        header.extend(&sync);
        let sync = <[u8; SYNC_BYTES]>::try_from(sync).map_err(|_| input.cut_off())?;
        let open = OpenAvro { path: path.to_owned(), header, sync, columns: Arc::clone(&self.columns) };
        open.check(&self.first)?;
        Ok((open, input))
    }
}

impl FileFormat for AvroFormat {
    fn read(&self, path: &Path, position: u64, take: &mut dyn FnMut(Piece) -> bool) -> Result<()> {
        let (open, mut input) = self.open(path)?;
        if position > input.length {
            return Err(damaged(
                path,
                0,
                format!("the file is shorter than at the checkpoint, which had read {position} bytes"),
            ));
        }
        if position > 0 {
            input.file.seek(SeekFrom::Start(position)).map_err(|error| not_readable(path, &error))?;
            input.at = position;
        }
        let open = Arc::new(open);
        while input.at < input.length {
            let (start, mut rows, mut blocks) = (input.at, 0, Vec::new());
            while input.at < input.length && rows < BATCH_ROWS && input.at - start < PIECE_BYTES {
                rows += input.count(&mut blocks)?;
                let size = input.count(&mut blocks)?;
                input.bytes(size, &mut blocks)?;
                input.bytes(SYNC_BYTES as u64, &mut blocks)?;
                if !blocks.ends_with(&open.sync) {
                    return Err(damaged(
                        path,
                        0,
                        format!("the mark behind a block is wrong at byte {}", input.at),
                    ));
                }
            }
            let bytes = blocks.len();
            let open = Arc::clone(&open);
            let piece = Piece {
                rows,
                next: input.at,
                last: input.at == input.length,
                bytes,
                decode: Box::new(move || {
                    catch_unwind(AssertUnwindSafe(|| open.decode(&blocks, rows)))
                        .unwrap_or_else(|_| Err("it cannot be read".to_owned()))
                        .map(Decoded::whole)
                        .map_err(|reason| {
                            damaged(&open.path, 0, format!("a damaged block behind byte {start}: {reason}"))
                        })
                }),
            };
            if !take(piece) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn prime(&self, first: &Path) -> Result<()> {
        self.open(first).map(drop)
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["avro"]
    }
}

/// Polars' types know no "adjusted to UTC" of an Avro timestamp.
fn fits_avro(declared: &DataType, found: &DataType) -> bool {
    match (declared, found) {
        (DataType::Datetime { unit, zone: None }, DataType::Datetime { unit: other, .. }) => unit == other,
        (DataType::List(declared), DataType::List(found)) => fits_avro(declared, found),
        (DataType::Struct(declared), DataType::Struct(found)) => {
            declared.len() == found.len()
                && declared.iter().zip(found).all(|(a, b)| a.name == b.name && fits_avro(&a.dtype, &b.dtype))
        }
        _ => fits(declared, found),
    }
}

impl OpenAvro {
    fn reader(&self, blocks: &[u8], rows: usize) -> Result<Reader<Cursor<Vec<u8>>>, String> {
        let text = [self.header.as_slice(), blocks].concat();
        let builder = ReaderBuilder::new().with_batch_size(rows.max(1));
        builder.build(Cursor::new(text)).map_err(|error| error.to_string())
    }

    fn check(&self, first: &FirstColumns) -> Result<()> {
        let reader = catch_unwind(AssertUnwindSafe(|| self.reader(&[], 1)));
        let reader = reader.unwrap_or_else(|_| Err("it cannot be read".to_owned()));
        let reader =
            reader.map_err(|reason| damaged(&self.path, 0, format!("a damaged header: {reason}")))?;
        let schema = reader.schema();
        first.check(&self.path, &schema)?;
        for field in self.columns.iter() {
            let place = || format!("{}, column '{}'", self.path.display(), field.name);
            let Some((_, found)) = schema.column_with_name(&field.name) else {
                return Err(EngineError::call(place(), field.dtype.to_string(), "a file without it"));
            };
            let dtype = plan_type(found.data_type());
            if !dtype.as_ref().is_some_and(|dtype| fits_avro(&field.dtype, dtype)) {
                let found = dtype.map_or_else(|| found.data_type().to_string(), |dtype| dtype.to_string());
                return Err(EngineError::call(place(), field.dtype.to_string(), found));
            }
        }
        Ok(())
    }

    fn decode(&self, blocks: &[u8], rows: u64) -> Result<RecordBatch, String> {
        let rows = usize::try_from(rows).map_err(|_| "more rows than memory".to_owned())?;
        // A block says how many rows it has; it is not believed before they are decoded.
        let reader = self.reader(blocks, rows.min(BATCH_ROWS as usize))?;
        let schema = reader.schema();
        let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        let batch = concat_batches(&schema, &batches).map_err(|error| error.to_string())?;
        if batch.num_rows() != rows {
            return Err(format!("expected {rows} rows, got {}", batch.num_rows()));
        }
        let column = |field: &Field| -> Result<ArrayRef, String> {
            let target = arrow_type(&field.dtype);
            let Some(column) = batch.column_by_name(&field.name) else { return Ok(new_empty_array(&target)) };
            // A zone is dropped without moving the time.
            let column = match (column.data_type(), &target) {
                (Arrow::Timestamp(unit, Some(_)), Arrow::Timestamp(_, None)) => {
                    let utc = cast(column, &Arrow::Timestamp(*unit, Some("+00:00".into())));
                    cast(&utc.map_err(|error| error.to_string())?, &Arrow::Int64)
                        .map_err(|error| error.to_string())?
                }
                _ => ArrayRef::clone(column),
            };
            cast(&column, &target).map_err(|error| error.to_string())
        };
        let columns = self.columns.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(arrow_schema(&self.columns), columns, &options)
            .map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests;
