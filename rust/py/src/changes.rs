//! The `_change` column that users see when they asked for updates: `+I`, `-U`, `+U`, `-D`.

use arrow::array::{RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};
use dataflare_engine::event::Change;
use dataflare_engine::{Batch, Result};
use std::sync::Arc;

/// The batch's columns, and what happens to each row if the batch says so.
pub fn with_changes(batch: Batch) -> Result<RecordBatch> {
    let Some(changes) = batch.changes else { return Ok(batch.records) };
    let texts: StringViewArray = changes.iter().map(|change| change.map(text)).collect();
    let mut fields: Vec<Arc<Field>> = batch.records.schema().fields().iter().cloned().collect();
    let mut columns = batch.records.columns().to_vec();
    fields.push(Arc::new(Field::new("_change", DataType::Utf8View, true)));
    columns.push(Arc::new(texts));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn text(change: u8) -> &'static str {
    const BEFORE: u8 = Change::UpdateBefore as u8;
    const AFTER: u8 = Change::UpdateAfter as u8;
    const DELETE: u8 = Change::Delete as u8;
    match change {
        BEFORE => "-U",
        AFTER => "+U",
        DELETE => "-D",
        _ => "+I",
    }
}
