//! NDJSON files: `pl.scan_ndjson`, `dff.scan_ndjson`.
//!
//! A line that is no object of the declared types is rejected, the others stay. Not here: where lines end and which of
//! them is bad (`text.rs`), the rules of values (`columns.rs`), order of files and offsets (`scan.rs`). Called by the
//! registry.

use crate::files::format::parse;
use crate::files::ndjson::columns::{CATEGORIES, PolarsRules};
use crate::files::records::Ends;
use crate::files::scan::FileScan;
use crate::files::text::{TextFormat, TextScan};
use crate::files::types::convert;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType as Arrow, Field as ArrowField, Schema as ArrowSchema, SchemaRef};
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder;
use dataflare_engine::types::{arrow_schema, arrow_type};
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{DataType, Field, Schema};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Polars' reader options that would change the rows.
#[derive(Debug, Default, Deserialize)]
struct ReaderOptions {
    #[serde(default)]
    ignore_errors: bool,
}

/// A scan of NDJSON files.
///
/// # Errors
/// [`EngineError::Call`]: an option or a column type that is not supported.
pub fn ndjson_source(options: &Value, schema: &Schema) -> Result<FileScan> {
    let mut options = options.clone();
    let reader = options
        .as_object_mut()
        .and_then(|options| options.remove("polars"))
        .filter(|reader| !reader.is_null());
    let reader: ReaderOptions =
        reader.map_or_else(|| Ok(ReaderOptions::default()), |reader| parse("ndjson", &reader))?;
    if reader.ignore_errors {
        let found = "ignore_errors=True (use on_error of the engine)";
        return Err(EngineError::call("scan_ndjson", "ignore_errors=False", found));
    }
    FileScan::new("ndjson", &options, schema, |columns| Ok(Box::new(TextScan::new(Rules::new(columns)?))))
}

/// The declared columns, and as what they are parsed.
struct Rules {
    columns: Vec<Field>,
    parsed: SchemaRef,
}

impl Rules {
    fn new(columns: Vec<Field>) -> Result<Self> {
        let fields: Vec<_> = columns.iter().map(parsed_field).collect();
        let rules = Self { parsed: Arc::new(ArrowSchema::new(fields)), columns };
        for field in &rules.columns {
            if decoder(&Arc::new(ArrowSchema::new(vec![parsed_field(field)])), 1).is_err() {
                let place = format!("scan_ndjson, column '{}'", field.name);
                return Err(EngineError::call(place, "a type that JSON holds", field.dtype.to_string()));
            }
        }
        Ok(rules)
    }

    fn batch(&self, parsed: &RecordBatch) -> Result<RecordBatch> {
        let columns =
            parsed.columns().iter().zip(&self.columns).map(|(column, field)| convert(column, &field.dtype));
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(parsed.num_rows()));
        Ok(RecordBatch::try_new_with_options(arrow_schema(&self.columns), columns, &options)?)
    }
}

/// Dictionaries are parsed as texts.
fn parsed_field(field: &Field) -> ArrowField {
    let text = ArrowField::new(&field.name, Arrow::Utf8View, true);
    match &field.dtype {
        DataType::Categorical => {
            text.with_metadata(HashMap::from([(CATEGORIES.to_owned(), "null".to_owned())]))
        }
        DataType::Enum { categories } => {
            let values = (CATEGORIES.to_owned(), serde_json::json!(categories).to_string());
            text.with_metadata(HashMap::from([values]))
        }
        dtype => ArrowField::new(&field.name, arrow_type(dtype), true),
    }
}

fn decoder(schema: &SchemaRef, rows: usize) -> std::result::Result<Decoder, String> {
    // One more, so that the decoder never stops in the middle of what it is given.
    let builder = ReaderBuilder::new(Arc::clone(schema)).with_batch_size(rows.saturating_add(1));
    builder.with_decoder_factory(Arc::new(PolarsRules)).build_decoder().map_err(|error| error.to_string())
}

impl TextFormat for Rules {
    fn extensions(&self) -> &'static [&'static str] {
        &[
            "ndjson",
            "jsonl",
            "json",
            "ndjson.gz",
            "jsonl.gz",
            "json.gz",
            "ndjson.zst",
            "jsonl.zst",
            "json.zst",
            "ndjson.zz",
            "jsonl.zz",
            "json.zz",
        ]
    }

    fn ends(&self) -> Ends {
        Ends::lines()
    }

    fn is_row(&self, line: &[u8]) -> bool {
        !line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
    }

    fn code(&self) -> &'static str {
        "json"
    }

    /// Each line must be one object, whole.
    fn parse(&self, text: &[u8], lines: &[Range<usize>]) -> std::result::Result<RecordBatch, String> {
        let mut decoder = decoder(&self.parsed, lines.len())?;
        for (row, line) in lines.iter().enumerate() {
            let line = text.get(line.clone()).unwrap_or_default();
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let read = decoder.decode(line).map_err(|error| words(&error))?;
            if decoder.has_partial_record() || read < line.len() {
                return Err("the line ends inside an object".to_owned());
            }
            if decoder.len() != row + 1 {
                return Err(format!("expected one object, got {}", decoder.len() - row));
            }
        }
        let batch = decoder.flush().map_err(|error| words(&error))?;
        let batch = batch.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&self.parsed)));
        self.batch(&batch).map_err(|error| error.to_string())
    }
}

/// Without the name of Arrow's variant.
fn words(error: &arrow::error::ArrowError) -> String {
    let text = error.to_string();
    text.strip_prefix("Json error: ").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests;
