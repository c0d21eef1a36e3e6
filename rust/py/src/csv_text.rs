//! CSV by Polars: its parser for `pl.scan_csv`, its printer for `sink_csv`, a chunk a call.
//!
//! Not here: where rows begin and end (`dataflare-connect::files::csv`), which options are handed on
//! (`planner/csv_text.py`).

use crate::arrow_capsule::{read_batches, to_frame};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use dataflare_connect::files::csv::sink::CsvPrinter;
use dataflare_connect::files::csv::source::CsvParser;
use dataflare_connect::files::types::convert;
use dataflare_engine::types::arrow_schema;
use dataflare_plan::Schema;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// A `CsvReader` or `CsvWriter` of `planner/csv_text.py`.
pub struct PolarsCsv {
    object: Py<PyAny>,
    /// The columns that are read.
    schema: Schema,
}

impl PolarsCsv {
    pub fn new(object: Py<PyAny>, schema: Schema) -> Self {
        Self { object, schema }
    }

    fn frame(&self, text: &[u8]) -> PyResult<Vec<RecordBatch>> {
        Python::attach(|py| {
            let frame = self.object.bind(py).call_method1("parse", (PyBytes::new(py, text),))?;
            read_batches(&frame)
        })
    }
}

/// What Polars says, without its advice to change settings.
fn reason(error: &PyErr) -> String {
    let text = Python::attach(|py| error.value(py).to_string());
    text.lines().next().unwrap_or_default().to_owned()
}

impl CsvParser for PolarsCsv {
    fn parse(&self, text: &[u8]) -> Result<RecordBatch, String> {
        let batches = self.frame(text).map_err(|error| reason(&error))?;
        let words = |error: arrow::error::ArrowError| error.to_string();
        let first = batches.first().ok_or("Polars gave no batch")?;
        let batch = concat_batches(&first.schema(), &batches).map_err(words)?;
        let column = |field: &dataflare_plan::Field| -> Result<ArrayRef, String> {
            let column = batch.column_by_name(&field.name).ok_or("Polars gave no such column")?;
            convert(column, &field.dtype).map_err(|error| error.to_string())
        };
        let columns = self.schema.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(arrow_schema(&self.schema), columns, &options).map_err(words)
    }
}

impl CsvPrinter for PolarsCsv {
    fn print(&self, rows: &RecordBatch, is_first: bool) -> Result<Vec<u8>, String> {
        Python::attach(|py| {
            let frame = to_frame(py, rows.clone())?;
            self.object.bind(py).call_method1("print", (frame, is_first))?.extract::<Vec<u8>>()
        })
        .map_err(|error: PyErr| reason(&error))
    }
}
