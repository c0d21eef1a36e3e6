//! A source instance on one worker: decodes what it is dealt.
//!
//! Out: port 0 one batch for each deal, with hidden positions where order is needed above; port 1 the rows that could not
//! be read (`on_error="dead_letter"`).

use super::dealer::Dealer;
use crate::error::{EngineError, Result};
use crate::event::{Batch, Order, POSITION};
use crate::operators::Output;
use crate::operators::error_policy::{ErrorPolicy, OnError};
use crate::source::{RawBatch, Rejected};
use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct SourceTask {
    dealer: Arc<Dealer>,
    schema: SchemaRef,
    positions: bool,
    policy: ErrorPolicy,
}

impl SourceTask {
    /// `schema`: what the plan says the source gives. `positions`: order is needed above.
    pub fn new(dealer: Arc<Dealer>, schema: SchemaRef, positions: bool, policy: ErrorPolicy) -> Self {
        Self { dealer, schema, positions, policy }
    }

    /// Who deals to it.
    pub fn dealer(&self) -> &Dealer {
        &self.dealer
    }

    /// Decodes one batch; gives the number of rows.
    pub fn decode(&mut self, order: Order, raw: RawBatch, out: &mut Output) -> Result<usize> {
        let first = raw.first;
        let decoded = (raw.decode)()?;
        for rejected in &decoded.rejected {
            self.reject(rejected, order, out)?;
        }
        let mut records = decoded.records;
        if *records.schema() != *self.schema {
            records = self.conform(records)?;
        }
        if self.positions {
            let count = records.num_rows() as u64;
            let positions = match decoded.positions {
                Some(positions) => UInt64Array::from(positions),
                None => (first..first + count).collect(),
            };
            records = with_column(&records, POSITION, DataType::UInt64, Arc::new(positions))?;
        }
        let rows = records.num_rows();
        out.push(Batch { records, order: Some(order), changes: None });
        Ok(rows)
    }

    /// Takes the plan's columns out of what the source gave, by name. Nullability, metadata and the order of columns may
    /// differ, and the source may give more; a missing column or another type is an error.
    fn conform(&self, records: RecordBatch) -> Result<RecordBatch> {
        let found = records.schema();
        let mismatch =
            || EngineError::call("source", format!("columns {}", names(&self.schema)), names(&found));
        let columns = self.schema.fields().iter().map(|field| {
            let column = records.column_by_name(field.name()).ok_or_else(mismatch)?;
            if column.data_type() == field.data_type() {
                Ok(Arc::clone(column))
            } else if is_same_type(column.data_type(), field.data_type()) {
                Ok(arrow::compute::cast(column, field.data_type())?)
            } else {
                Err(mismatch())
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(records.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }

    fn reject(&mut self, rejected: &Rejected, order: Order, out: &mut Output) -> Result<()> {
        match self.policy.on_error() {
            OnError::Raise => Err(EngineError::Data {
                place: rejected.offset.clone(),
                row: 0,
                reason: rejected.message.clone(),
            }),
            OnError::Skip => Ok(()),
            OnError::DeadLetter => {
                let letter = self.policy.dead_letter_of_source(rejected, order, &self.schema)?;
                out.push_to(1, letter);
                Ok(())
            }
        }
    }
}

/// Equal but for the names of list items, and the size of a dictionary's keys.
fn is_same_type(found: &DataType, expected: &DataType) -> bool {
    match (found, expected) {
        (DataType::Dictionary(_, found), DataType::Dictionary(_, expected)) => {
            found == expected || matches!(**found, DataType::Utf8 | DataType::LargeUtf8)
        }
        _ => found.equals_datatype(expected),
    }
}

fn names(schema: &Schema) -> String {
    schema
        .fields()
        .iter()
        .map(|field| format!("{}: {}", field.name(), field.data_type()))
        .collect::<Vec<_>>()
        .join(", ")
}

fn with_column(records: &RecordBatch, name: &str, dtype: DataType, column: ArrayRef) -> Result<RecordBatch> {
    let mut fields: Vec<Arc<Field>> = records.schema().fields().iter().cloned().collect();
    let mut columns = records.columns().to_vec();
    fields.push(Arc::new(Field::new(name, dtype, true)));
    columns.push(column);
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
