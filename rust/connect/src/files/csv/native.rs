//! CSV by the engine's own rules, for `dff.scan_csv`: RFC 4180, an explicit schema, no guessing.
//!
//! A field that equals `null_value` is null, quoted or not; a record has as many fields as the schema; times are ISO 8601. Not here: where
//! records end (`source.rs`).

use crate::files::csv::source::{CsvOptions, CsvParser};
use crate::files::types::convert;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType as Arrow, Field as ArrowField, Schema as ArrowSchema, SchemaRef};
use arrow::record_batch::RecordBatchOptions;
use arrow_csv::ReaderBuilder;
use dataflare_engine::types::{arrow_schema, arrow_type};
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{DataType, Field};
use regex::Regex;
use std::sync::Arc;

pub struct NativeParser {
    /// All columns of a file, as what they are parsed.
    schema: SchemaRef,
    /// The wanted ones, and their places.
    columns: Vec<Field>,
    places: Vec<usize>,
    csv: CsvOptions,
    null: Regex,
}

impl NativeParser {
    /// # Errors
    /// [`EngineError::Call`]: a column that the schema lacks, a type that CSV does not hold.
    pub fn new(csv: &CsvOptions, columns: &[Field]) -> Result<Self> {
        let place_of = |field: &Field| {
            let place = || format!("scan_csv, column '{}'", field.name);
            let place_in = csv.columns.iter().position(|column| column.name == field.name);
            let index =
                place_in.ok_or_else(|| EngineError::call(place(), "a column of the schema", "none"))?;
            parsed_type(&field.dtype)
                .map(|_| index)
                .ok_or_else(|| EngineError::call(place(), "a type that CSV holds", field.dtype.to_string()))
        };
        let places = columns.iter().map(place_of).collect::<Result<Vec<_>>>()?;
        let fields = csv.columns.iter().map(|field| {
            let dtype = parsed_type(&field.dtype).unwrap_or(Arrow::Utf8View);
            ArrowField::new(&field.name, dtype, true)
        });
        let schema = Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()));
        let null = Regex::new(&format!("^{}$", regex::escape(&csv.null_value)))
            .map_err(|error| EngineError::internal("scan_csv", error))?;
        Ok(Self { schema, columns: columns.to_vec(), places, csv: csv.clone(), null })
    }

    /// The texts of one record.
    pub fn fields(csv: &CsvOptions, record: &[u8]) -> Option<Vec<String>> {
        let fields: Vec<_> = (0..csv.columns.len())
            .map(|place| ArrowField::new(place.to_string(), Arrow::Utf8, true))
            .collect();
        let nothing = Regex::new("[^\\s\\S]").ok()?;
        let mut decoder =
            builder(csv, Arc::new(ArrowSchema::new(fields)), 1).with_null_regex(nothing).build_decoder();
        decoder.decode(&[record, &[csv.eol_char]].concat()).ok()?;
        let batch = decoder.flush().ok()??;
        let text = |column: &ArrayRef| arrow::array::AsArray::as_string::<i32>(column).value(0).to_owned();
        Some(batch.columns().iter().map(text).collect())
    }
}

/// As what a column is parsed; `None`: CSV does not hold it.
fn parsed_type(dtype: &DataType) -> Option<Arrow> {
    match dtype {
        DataType::Categorical | DataType::Enum { .. } => Some(Arrow::Utf8View),
        DataType::Binary
        | DataType::Duration { .. }
        | DataType::List(_)
        | DataType::Array { .. }
        | DataType::Struct(_) => None,
        dtype => Some(arrow_type(dtype)),
    }
}

fn builder(csv: &CsvOptions, schema: SchemaRef, rows: usize) -> ReaderBuilder {
    let mut builder = ReaderBuilder::new(schema)
        .with_header(false)
        .with_delimiter(csv.separator)
        .with_batch_size(rows.max(1));
    // Without quotes: a byte that no text holds.
    builder = builder.with_quote(csv.quote_char.unwrap_or(0xff));
    if csv.eol_char == b'\n' { builder } else { builder.with_terminator(csv.eol_char) }
}

impl CsvParser for NativeParser {
    fn parse(&self, text: &[u8]) -> Result<RecordBatch, String> {
        // As many rows as the text can hold, so that the decoder never stops in the middle.
        let most = memchr::memchr_iter(self.csv.eol_char, text).count() + 2;
        let mut decoder = builder(&self.csv, Arc::clone(&self.schema), most)
            .with_projection(self.places.clone())
            .with_null_regex(self.null.clone())
            .build_decoder();
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let read = decoder.decode(rest).map_err(|error| words(&error))?;
            if read == 0 {
                break;
            }
            at += read;
        }
        // An empty input tells it that the last record has ended.
        decoder.decode(&[]).map_err(|error| words(&error))?;
        let batch = decoder.flush().map_err(|error| words(&error))?;
        let batch = batch.ok_or("expected a row, got none")?;
        let column = |(column, field): (&ArrayRef, &Field)| {
            let found = convert(column, &field.dtype).map_err(|error| error.to_string())?;
            let nulls = arrow::array::Array::logical_null_count;
            match nulls(&found) == nulls(column) {
                true => Ok(found),
                false => Err(format!("column '{}': expected one of the categories", field.name)),
            }
        };
        let columns =
            batch.columns().iter().zip(&self.columns).map(column).collect::<Result<Vec<_>, String>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(arrow_schema(&self.columns), columns, &options)
            .map_err(|error| error.to_string())
    }
}

/// Without the name of Arrow's variant, its line numbers, which are those of a piece, and the rest of the row.
fn words(error: &arrow::error::ArrowError) -> String {
    let text = error.to_string();
    let text =
        text.strip_prefix("Csv error: ").or_else(|| text.strip_prefix("Parser error: ")).unwrap_or(&text);
    let text = text.split(" at line ").next().unwrap_or(text);
    if let Some(rest) = text.strip_prefix("incorrect number of fields for line ") {
        return rest.split_once(", ").map_or_else(|| rest.to_owned(), |(_, words)| words.to_owned());
    }
    text.chars().take(300).collect()
}
