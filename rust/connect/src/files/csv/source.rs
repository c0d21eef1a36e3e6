//! CSV files: `pl.scan_csv`, parsed by Polars, and `dff.scan_csv`, parsed by `native.rs`.
//!
//! What both share: where records end, which of them are rows, the header. Not here: chunks and bad rows (`text.rs`).
//! Called by the registry and, with Polars as the parser, by `rust/py`.

use crate::files::csv::native::NativeParser;
use crate::files::format::parse;
use crate::files::records::Ends;
use crate::files::scan::FileScan;
use crate::files::text::{Heading, TextFormat, TextScan};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use dataflare_engine::types::arrow_schema;
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{Field, Schema};
use serde::Deserialize;
use serde_json::Value;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Makes rows of text.
pub trait CsvParser: Send + Sync {
    /// The rows of `text`, which holds whole records, none of them a header.
    ///
    /// # Errors
    /// A reason in words.
    fn parse(&self, text: &[u8]) -> Result<RecordBatch, String>;
}

/// What the planner says about the text.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvOptions {
    /// All columns of the files, in their order.
    pub columns: Vec<Field>,
    #[serde(default = "yes")]
    pub has_header: bool,
    #[serde(default = "comma")]
    pub separator: u8,
    #[serde(default = "quote")]
    pub quote_char: Option<u8>,
    #[serde(default = "line_feed")]
    pub eol_char: u8,
    #[serde(default)]
    pub comment_prefix: Option<String>,
    #[serde(default)]
    pub skip_lines: usize,
    #[serde(default)]
    pub skip_rows: usize,
    #[serde(default)]
    pub skip_rows_after_header: usize,
    /// The text that stands for null.
    #[serde(default)]
    pub null_value: String,
}

fn yes() -> bool {
    true
}

fn comma() -> u8 {
    b','
}

#[expect(clippy::unnecessary_wraps, reason = "the default of an optional field")]
fn quote() -> Option<u8> {
    Some(b'"')
}

fn line_feed() -> u8 {
    b'\n'
}

/// A scan of CSV files by the engine's own rules.
///
/// # Errors
/// [`EngineError::Call`]: an option or a column type that is not supported.
pub fn csv_source(options: &Value, schema: &Schema) -> Result<FileScan> {
    scan(options, schema, true, |csv, columns| Ok(Arc::new(NativeParser::new(csv, columns)?)))
}

/// A scan of CSV files that `parser` reads: it knows the wanted columns itself.
///
/// # Errors
/// As for [`csv_source`].
pub fn foreign_csv_source(options: &Value, schema: &Schema, parser: Arc<dyn CsvParser>) -> Result<FileScan> {
    scan(options, schema, false, |_, _| Ok(parser))
}

fn scan(
    options: &Value,
    schema: &Schema,
    is_native: bool,
    parser: impl FnOnce(&CsvOptions, &[Field]) -> Result<Arc<dyn CsvParser>>,
) -> Result<FileScan> {
    let mut options = options.clone();
    let csv = options.as_object_mut().and_then(|options| options.remove("csv"));
    let csv: CsvOptions = parse("csv", &csv.unwrap_or_default())?;
    FileScan::new("csv", &options, schema, |columns| {
        let parser = parser(&csv, &columns)?;
        Ok(Box::new(TextScan::new(CsvFormat { csv, columns, parser, is_native, header: OnceLock::new() })))
    })
}

struct CsvFormat {
    csv: CsvOptions,
    /// The wanted columns.
    columns: Vec<Field>,
    parser: Arc<dyn CsvParser>,
    /// Quotes count at the beginning of a field only, blank lines are no rows.
    is_native: bool,
    /// The header of the first file.
    header: OnceLock<Vec<u8>>,
}

fn without_break(record: &[u8], line: u8) -> &[u8] {
    let record = record.strip_suffix(&[line]).unwrap_or(record);
    if line == b'\n' { record.strip_suffix(b"\r").unwrap_or(record) } else { record }
}

impl CsvFormat {
    fn is_comment(&self, record: &[u8]) -> bool {
        self.csv.comment_prefix.as_ref().is_some_and(|prefix| record.starts_with(prefix.as_bytes()))
    }
}

impl TextFormat for CsvFormat {
    fn extensions(&self) -> &'static [&'static str] {
        &[
            "csv", "tsv", "txt", "csv.gz", "tsv.gz", "txt.gz", "csv.zst", "tsv.zst", "txt.zst", "csv.zz",
            "tsv.zz", "txt.zz",
        ]
    }

    fn ends(&self) -> Ends {
        Ends {
            line: self.csv.eol_char,
            quote: self.csv.quote_char,
            separator: self.is_native.then_some(self.csv.separator),
            comment: self.csv.comment_prefix.as_ref().map(|prefix| prefix.clone().into_bytes()),
            skips_mark: true,
            plain_lines: self.csv.skip_lines,
        }
    }

    fn is_row(&self, record: &[u8]) -> bool {
        let is_blank = self.is_native && without_break(record, self.csv.eol_char).is_empty();
        !is_blank && !self.is_comment(record)
    }

    fn code(&self) -> &'static str {
        "csv"
    }

    fn parse(&self, text: &[u8], rows: &[Range<usize>]) -> Result<RecordBatch, String> {
        if self.columns.is_empty() || rows.is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
            let schema = arrow_schema(&self.columns);
            let columns =
                schema.fields().iter().map(|field| arrow::array::new_empty_array(field.data_type()));
            return RecordBatch::try_new_with_options(Arc::clone(&schema), columns.collect(), &options)
                .map_err(|error| error.to_string());
        }
        let (start, end) = (rows.first().map_or(0, |row| row.start), rows.last().map_or(0, |row| row.end));
        self.parser.parse(text.get(start..end).unwrap_or_default())
    }

    fn heading(&self) -> Option<Box<dyn Heading + '_>> {
        let csv = &self.csv;
        Some(Box::new(CsvHeading {
            format: self,
            lines: csv.skip_lines,
            begun: false,
            rows: csv.skip_rows,
            header: csv.has_header,
            after: csv.skip_rows_after_header,
        }))
    }
}

/// How much of the beginning is still to come.
struct CsvHeading<'a> {
    format: &'a CsvFormat,
    lines: usize,
    /// Something that is not blank came.
    begun: bool,
    rows: usize,
    header: bool,
    after: usize,
}

/// True if there was one more, which is counted.
fn one_of(left: &mut usize) -> bool {
    let is_one = *left > 0;
    *left = left.saturating_sub(1);
    is_one
}

impl Heading for CsvHeading<'_> {
    fn take(&mut self, path: &Path, record: &[u8]) -> Result<bool> {
        let line = self.format.csv.eol_char;
        if one_of(&mut self.lines) || self.format.is_comment(record) {
            return Ok(true);
        }
        if !self.begun && self.header && without_break(record, line).is_empty() {
            return Ok(true);
        }
        self.begun = true;
        if one_of(&mut self.rows) {
            return Ok(true);
        }
        if self.header {
            self.header = false;
            self.format.check_header(path, without_break(record, line))?;
            return Ok(true);
        }
        Ok(one_of(&mut self.after))
    }

    fn end(&mut self, path: &Path) -> Result<()> {
        match self.header {
            false => Ok(()),
            true => Err(EngineError::call(path.display().to_string(), "a header", "an empty file")),
        }
    }
}

impl CsvFormat {
    /// The engine's own rules hold it against the declared columns, Polars' against the first file.
    fn check_header(&self, path: &Path, header: &[u8]) -> Result<()> {
        let place = || path.display().to_string();
        let shown = |header: &[u8]| {
            let text: String = String::from_utf8_lossy(header).chars().take(200).collect();
            format!("'{text}'")
        };
        let first = self.header.get_or_init(|| header.to_vec());
        if first == header && !self.is_native {
            return Ok(());
        }
        if !self.is_native {
            return Err(EngineError::call(
                place(),
                format!("the header {} of the first file", shown(first)),
                shown(header),
            ));
        }
        let found = NativeParser::fields(&self.csv, header).unwrap_or_default();
        let declared: Vec<&str> = self.csv.columns.iter().map(|field| field.name.as_str()).collect();
        match found == declared {
            true => Ok(()),
            false => Err(EngineError::call(
                place(),
                format!("a header of the columns {}", declared.join(", ")),
                shown(header),
            )),
        }
    }
}

#[cfg(test)]
mod tests;
