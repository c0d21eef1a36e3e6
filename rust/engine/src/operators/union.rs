//! `concat`: the rows of all inputs.
//!
//! In: batches with the same columns on several inputs. Out: the same batches; their input number counts on over the
//! branches, so that (input, split) stays one place.
//! Not here: order above inputs that have event time, which a watermark above decides.
//! Forwards: the least watermark of all inputs. State: none.

use super::logical_order::is_hidden;
use super::{Flow, Input, Operator, Output};
use crate::error::Result;
use crate::event::{Batch, Order};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
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

    /// Branches may differ in nullability or metadata of a field and in the order of hidden columns, never in what the
    /// planner compared.
    fn aligned(&self, records: &RecordBatch) -> Result<RecordBatch> {
        let schema = records.schema();
        let all = schema.fields().iter().zip(records.columns());
        let mut hidden: Vec<(&FieldRef, &ArrayRef)> = all.filter(|(field, _)| is_hidden(field)).collect();
        hidden.sort_by_key(|(field, _)| field.name());
        let shown = records.columns().iter().take(self.schema.fields().len());
        let fields = self.schema.fields().iter().chain(hidden.iter().map(|(field, _)| *field)).cloned();
        let columns = shown.chain(hidden.iter().map(|(_, column)| *column)).cloned().collect();
        let options = RecordBatchOptions::new().with_row_count(Some(records.num_rows()));
        let fields: Vec<FieldRef> = fields.collect();
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
    }
}

impl Operator for Union {
    fn on_batch(&mut self, input: Input, batch: Batch, out: &mut Output) -> Result<Flow> {
        let base = self.bases.get(input).copied().unwrap_or_default();
        let order = batch.order.map(|order| Order { input: base + order.input, ..order });
        let records = self.aligned(&batch.records)?;
        out.push(Batch { records, order, changes: batch.changes });
        Ok(Flow::Ready)
    }
}

#[cfg(test)]
mod tests {
    use super::Union;
    use crate::event::{POSITION, TIME};
    use crate::testing::{Harness, field, placed};
    use crate::time::Timestamp;
    use crate::types::arrow_schema;
    use arrow::compute::concat_batches;
    use dataflare_plan::DataType;

    fn union() -> Harness<Union> {
        let schema = arrow_schema(&[field("t", DataType::Int64)]);
        Harness::new(Union::new(vec![0, 2], schema)).with_inputs(2).with_event_time("t")
    }

    #[test]
    fn inputs_of_later_branches_count_on() {
        let mut union = union();
        union.push_to(1, placed(3, 9, [("t", vec![1])]));
        let order = union.take_from(0)[0].order.unwrap();
        assert_eq!((order.input, order.split, order.sequence), (2, 3, 9));
    }

    #[test]
    fn hidden_columns_line_up() {
        let mut union = union();
        union.push_to(0, placed(0, 0, [("t", vec![1]), (POSITION, vec![0]), (TIME, vec![1])]));
        union.push_to(1, placed(0, 0, [("t", vec![2]), (TIME, vec![2]), (POSITION, vec![5])]));
        let records: Vec<_> = union.take_from(0).into_iter().map(|batch| batch.records).collect();
        assert_eq!(concat_batches(&records[0].schema(), &records).unwrap().num_rows(), 2);
    }

    #[test]
    fn watermark_is_the_least_of_all_inputs() {
        let mut union = union();
        union.watermark_of(0, Timestamp(50));
        assert_eq!(union.forwarded(), Timestamp::MIN);
        union.watermark_of(1, Timestamp(20));
        assert_eq!(union.forwarded(), Timestamp(20));
        union.push_to(1, placed(0, 0, [("t", vec![20, 70])]));
        assert_eq!(union.take("t"), [Some(20), Some(70)]);
    }
}
