//! Arrow IPC files: `sink_ipc`.
//!
//! Not here: when a file begins, ends and appears (`sink.rs`). Called by the registry. Cost: a file with categories is
//! held in memory until it ends, because a file has one dictionary for each column.

use crate::files::format::{PartFormat, Rolled};
use crate::files::parquet::sink::{Marks, marked, marks};
use crate::files::sink::FileSink;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType as Arrow, SchemaRef};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use arrow::record_batch::RecordBatch;
use dataflare_engine::{EngineError, Result};
use dataflare_plan::Schema;
use serde::Deserialize;
use serde_json::Value;
use std::fs::File;
use std::io::BufWriter;
use std::sync::Arc;

/// Polars' `IpcWriterOptions`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    compression: Option<Value>,
    compat_level: Option<u64>,
    record_batch_size: Option<usize>,
}

/// A sink of Arrow IPC files.
///
/// # Errors
/// [`EngineError::Call`]: an option that is missing, unknown or out of range.
pub fn ipc_sink(options: &Value, schema: &Schema) -> Result<FileSink> {
    FileSink::new("ipc", options, schema, |options, written| {
        let place = options.path.display().to_string();
        let format: Options = if options.format.is_null() {
            Options::default()
        } else {
            crate::files::format::parse("ipc", &options.format)?
        };
        if format.compat_level.is_some_and(|level| level != 1) {
            return Err(EngineError::call(place, "compat_level newest", "an older one"));
        }
        let compression = compression(&place, format.compression.as_ref())?;
        Ok(Box::new(IpcParts { compression, batch_rows: format.record_batch_size, marks: marks(written) }))
    })
}

fn compression(place: &str, value: Option<&Value>) -> Result<Option<CompressionType>> {
    let name = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(name)) => name.as_str(),
        Some(Value::Object(one)) => one.keys().next().map_or("", String::as_str),
        Some(_) => "",
    };
    match name.to_lowercase().as_str() {
        "uncompressed" => Ok(None),
        "lz4" => Ok(Some(CompressionType::LZ4_FRAME)),
        "zstd" => Ok(Some(CompressionType::ZSTD)),
        other => Err(EngineError::call(place, "compression uncompressed, lz4 or zstd", format!("'{other}'"))),
    }
}

struct IpcParts {
    compression: Option<CompressionType>,
    batch_rows: Option<usize>,
    marks: Marks,
}

impl PartFormat for IpcParts {
    fn extension(&self) -> String {
        "arrow".to_owned()
    }

    fn create(&self, file: File, schema: &SchemaRef) -> Result<Box<dyn Rolled>, String> {
        let schema = marked(schema, &self.marks);
        let options = IpcWriteOptions::default().try_with_compression(self.compression);
        let options = options.map_err(|error| error.to_string())?;
        let file = BufWriter::with_capacity(1 << 18, file);
        let writer =
            FileWriter::try_new_with_options(file, &schema, options).map_err(|error| error.to_string())?;
        let held = schema.fields().iter().any(|field| has_dictionary(field.data_type())).then(Vec::new);
        Ok(Box::new(IpcPart {
            writer,
            schema,
            batch_rows: self.batch_rows.unwrap_or(usize::MAX).max(1),
            held,
        }))
    }
}

fn has_dictionary(dtype: &Arrow) -> bool {
    match dtype {
        Arrow::Dictionary(..) => true,
        Arrow::List(item) | Arrow::LargeList(item) | Arrow::FixedSizeList(item, _) => {
            has_dictionary(item.data_type())
        }
        Arrow::Struct(fields) => fields.iter().any(|field| has_dictionary(field.data_type())),
        _ => false,
    }
}

struct IpcPart {
    writer: FileWriter<BufWriter<File>>,
    schema: SchemaRef,
    batch_rows: usize,
    /// Batches whose dictionaries must become one.
    held: Option<Vec<RecordBatch>>,
}

impl IpcPart {
    fn put(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let mut from = 0;
        while from < batch.num_rows() {
            let rows = self.batch_rows.min(batch.num_rows() - from);
            self.writer.write(&batch.slice(from, rows)).map_err(|error| error.to_string())?;
            from += rows;
        }
        Ok(())
    }
}

impl Rolled for IpcPart {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let batch = batch.clone().with_schema(Arc::clone(&self.schema)).map_err(|error| error.to_string())?;
        match &mut self.held {
            Some(held) => {
                held.push(batch);
                Ok(())
            }
            None => self.put(&batch),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<File, String> {
        if let Some(held) = self.held.take() {
            self.put(&concat_batches(&self.schema, &held).map_err(|error| error.to_string())?)?;
        }
        let file = self.writer.into_inner().map_err(|error| error.to_string())?;
        file.into_inner().map_err(|error| error.error().to_string())
    }
}
