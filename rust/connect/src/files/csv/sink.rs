//! CSV files: `sink_csv`. The words of values are Polars': a [`CsvPrinter`] makes them (`rust/py`).
//!
//! Not here: when a file begins, ends and appears (`sink.rs`). Called by `rust/py`, which has the printer.

use crate::files::compression::{Codec, TextWriter};
use crate::files::format::{PartFormat, Rolled};
use crate::files::sink::FileSink;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use dataflare_engine::Result;
use dataflare_plan::Schema;
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

/// Makes text of rows.
pub trait CsvPrinter: Send + Sync {
    /// The text of some rows, with the header (and the mark of the encoding) before them if they are the first.
    ///
    /// # Errors
    /// A reason in words.
    fn print(&self, rows: &RecordBatch, is_first: bool) -> Result<Vec<u8>, String>;
}

/// A sink of CSV files.
///
/// # Errors
/// [`dataflare_engine::EngineError::Call`]: an option that is missing, unknown or out of range.
pub fn csv_sink(options: &Value, schema: &Schema, printer: Arc<dyn CsvPrinter>) -> Result<FileSink> {
    FileSink::new("csv", options, schema, |options, _| {
        let place = options.path.display().to_string();
        let codec = Codec::of(&place, options.format.get("compression"))?;
        Ok(Box::new(CsvParts { codec, printer }))
    })
}

struct CsvParts {
    codec: Codec,
    printer: Arc<dyn CsvPrinter>,
}

impl PartFormat for CsvParts {
    fn extension(&self) -> String {
        format!("csv{}", self.codec.suffix())
    }

    fn create(&self, file: File, schema: &SchemaRef) -> Result<Box<dyn Rolled>, String> {
        let (out, printer) = (self.codec.writer(file)?, Arc::clone(&self.printer));
        Ok(Box::new(CsvPart { out, printer, schema: Arc::clone(schema), is_first: true }))
    }
}

struct CsvPart {
    out: TextWriter,
    printer: Arc<dyn CsvPrinter>,
    schema: SchemaRef,
    is_first: bool,
}

impl Rolled for CsvPart {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let text = self.printer.print(batch, self.is_first)?;
        self.is_first = false;
        self.out.write_all(&text).map_err(|error| error.to_string())
    }

    fn finish(mut self: Box<Self>) -> Result<File, String> {
        if self.is_first {
            let nothing = RecordBatch::new_empty(Arc::clone(&self.schema));
            self.write(&nothing)?;
        }
        self.out.finish()
    }
}
