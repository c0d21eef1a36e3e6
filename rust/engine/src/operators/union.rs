//! `concat`: the rows of all inputs.
//!
//! In: batches with the same columns on several inputs. Out: the same batches; their input number counts on over the
//! branches, so that (input, split) stays one place.
//! Not here: order above inputs that have event time, which a watermark above decides.
//! Forwards: the least watermark of all inputs. State: none.

use super::{Flow, Input, Operator, Output};
use crate::error::Result;
use crate::event::{Batch, Order};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct Union {
    /// Input numbers of each branch begin here.
    bases: Vec<u32>,
    schema: SchemaRef,
}

impl Union {
    /// `bases`: for each branch, how many inputs stand in the branches before it.
    pub fn new(bases: Vec<u32>, schema: SchemaRef) -> Self {
        Self { bases, schema }
    }
}

impl Operator for Union {
    fn on_batch(&mut self, input: Input, batch: Batch, out: &mut Output) -> Result<Flow> {
        let base = self.bases.get(input).copied().unwrap_or_default();
        let order = batch.order.map(|order| Order { input: base + order.input, ..order });
        // Branches may differ in nullability or metadata of a field, never in what the planner compared.
        let records = match batch.records.num_columns() == self.schema.fields().len() {
            true => RecordBatch::try_new(Arc::clone(&self.schema), batch.records.columns().to_vec())?,
            false => batch.records,
        };
        out.push(Batch { records, order, changes: batch.changes });
        Ok(Flow::Ready)
    }
}
