//! `console`: prints rows to standard output, as a table or as JSON lines. At least once.
//!
//! Options: `format` (`table`, the default, or `json`), `rows` (print at most so many of a batch; `null`: all). Changes
//! of upsert and retract frames stand in front of the row: `+I`, `-U`, `+U`, `-D`. Not here: the demo's live table.

use crate::json;
use arrow::array::{Array, RecordBatch, UInt8Array};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use dataflare_engine::event::{Batch, Epoch};
use dataflare_engine::sink::{Preparation, Prepared, Sink, SinkWriter};
use dataflare_engine::types::arrow_schema;
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{Field, FrameKind};
use serde::Deserialize;
use serde_json::Value;
use std::io::Write;

/// Longer values are cut in tables.
const VALUE_CHARS: usize = 40;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    Table,
    Json,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default)]
    format: Format,
    #[serde(default)]
    rows: Option<usize>,
}

/// Standard output.
#[derive(Debug)]
pub struct Console {
    options: Options,
}

impl Console {
    /// The console as `options` describe it, for rows of `fields`.
    ///
    /// # Errors
    /// Bad options; with `json`, types that JSON cannot hold.
    pub fn new(options: &Value, fields: &[Field]) -> Result<Self> {
        let options: Options = serde_json::from_value(options.clone())
            .map_err(|error| EngineError::call("console", "options format and rows", error.to_string()))?;
        if options.format == Format::Json {
            json::check(&arrow_schema(fields)).map_err(|error| {
                EngineError::call("console", "column types that JSON holds", error.to_string())
            })?;
        }
        Ok(Self { options })
    }
}

impl Sink for Console {
    fn takes(&self, _kind: FrameKind) -> bool {
        true
    }

    fn writer(&self, _worker: usize, _attempt: u64, _pending: Vec<Prepared>) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(Writer { options: self.options }))
    }

    fn confirm(&self, _epoch: Epoch, _prepared: &[Prepared]) -> Result<()> {
        Ok(())
    }
}

struct Writer {
    options: Options,
}

impl SinkWriter for Writer {
    fn write(&mut self, batch: Batch) -> Result<Option<Batch>> {
        let text = match self.options.format {
            Format::Table => table(&batch, self.options.rows)?,
            Format::Json => lines(&batch, self.options.rows)?,
        };
        let mut output = std::io::stdout().lock();
        let written = output.write_all(&text).and_then(|()| output.flush());
        written.map_err(|error| EngineError::unavailable("standard output", error))?;
        Ok(None)
    }

    fn prepare(&mut self, _epoch: Epoch, _committed: Epoch, _last: bool) -> Result<Preparation> {
        Ok(Box::new(|| Ok(Prepared::Null)))
    }
}

fn shown(batch: &Batch, limit: Option<usize>) -> (RecordBatch, usize) {
    let rows = batch.rows().min(limit.unwrap_or(usize::MAX));
    (batch.records.slice(0, rows), batch.rows() - rows)
}

fn change(changes: &UInt8Array, row: usize) -> &'static str {
    ["+I", "-U", "+U", "-D"].get(usize::from(changes.value(row))).copied().unwrap_or("?")
}

/// With changes, each line is `+U {…}`.
fn lines(batch: &Batch, limit: Option<usize>) -> Result<Vec<u8>> {
    let (records, _) = shown(batch, limit);
    let text = json::lines(&records)?;
    let Some(changes) = &batch.changes else { return Ok(text) };
    let mut marked = Vec::with_capacity(text.len() + 3 * records.num_rows());
    for (row, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        marked.extend_from_slice(change(changes, row).as_bytes());
        marked.push(b' ');
        marked.extend_from_slice(line);
    }
    Ok(marked)
}

/// Columns as wide as their widest value, numbers to the right.
fn table(batch: &Batch, limit: Option<usize>) -> Result<Vec<u8>> {
    let (records, hidden) = shown(batch, limit);
    let options = FormatOptions::default().with_null("null");
    let mut columns: Vec<Vec<String>> = Vec::new();
    if let Some(changes) = &batch.changes {
        let marks = (0..records.num_rows()).map(|row| change(changes, row).to_string());
        columns.push(std::iter::once(String::new()).chain(marks).collect());
    }
    for (field, column) in records.schema().fields().iter().zip(records.columns()) {
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
        let values = (0..column.len()).map(|row| cut(&formatter.value(row).to_string()));
        let mut cells: Vec<String> = std::iter::once(field.name().clone()).chain(values).collect();
        let width = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
        for cell in &mut cells {
            let blanks = " ".repeat(width - cell.chars().count());
            *cell =
                if column.data_type().is_numeric() { blanks + cell } else { std::mem::take(cell) + &blanks };
        }
        columns.push(cells);
    }
    let mut text = String::new();
    for row in 0..=records.num_rows() {
        let cells: Vec<&str> =
            columns.iter().filter_map(|cells| cells.get(row).map(String::as_str)).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    if hidden > 0 {
        text.push_str(&format!("… and {hidden} more\n"));
    }
    Ok(text.into_bytes())
}

/// One line of at most [`VALUE_CHARS`].
fn cut(value: &str) -> String {
    let mut text: String =
        value.chars().map(|c| if c.is_control() { ' ' } else { c }).take(VALUE_CHARS).collect();
    if value.chars().count() > VALUE_CHARS {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{lines, table};
    use arrow::array::{Int64Array, RecordBatch, StringViewArray, UInt8Array};
    use arrow::datatypes::{DataType, Field, Schema};
    use dataflare_engine::event::Batch;
    use std::sync::Arc;

    fn batch() -> Batch {
        let schema = Schema::new(vec![
            Field::new("name", DataType::Utf8View, true),
            Field::new("price", DataType::Int64, true),
        ]);
        let names = StringViewArray::from(vec![Some("a\nb"), None, Some("long name")]);
        let prices = Int64Array::from(vec![Some(5), Some(1_000), None]);
        Batch::new(RecordBatch::try_new(Arc::new(schema), vec![Arc::new(names), Arc::new(prices)]).unwrap())
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn rows_are_a_table_with_numbers_to_the_right() {
        let expected = "name       price\na b            5\nnull        1000\nlong name   null\n";
        assert_eq!(text(table(&batch(), None).unwrap()), expected);
        assert_eq!(text(table(&batch(), Some(1)).unwrap()), "name  price\na b       5\n… and 2 more\n");
    }

    #[test]
    fn rows_are_json_lines_with_their_change_in_front() {
        let plain = "{\"name\":\"a\\nb\",\"price\":5}\n{\"name\":null,\"price\":1000}\n";
        assert_eq!(text(lines(&batch(), Some(2)).unwrap()), plain);
        let changed = Batch { changes: Some(UInt8Array::from(vec![1, 2, 3])), ..batch() };
        let found = text(lines(&changed, None).unwrap());
        assert!(found.starts_with("-U {\"name\":\"a\\nb\"") && found.contains("\n-D {"), "{found}");
        assert!(text(table(&changed, None).unwrap()).contains("\n+U  null"));
    }
}
