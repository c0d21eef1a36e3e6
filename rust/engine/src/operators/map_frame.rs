//! `map_batches` and `apply`: a function of Python from the rows of a batch to other rows.
//!
//! In: append batches. Out: one batch for each, with what the function makes of its rows; the function never sees an empty
//! one. Rows that come out need not be those that went in, so each gets the position of its batch's first row with its own
//! place appended, and its event time, where that goes on, is read from the column again.
//! Not here: the call itself, in this process or another (`rust/py`).
//! Forwards: the watermark as it is where event time goes on, else the end only. State: none.
//! Cost: the function, with the GIL held by the caller's side only while Python runs.

use super::logical_order::without_hidden;
use super::project::ticks;
use super::{Flow, Input, Operator, Output};
use crate::error::{EngineError, Result};
use crate::event::{Batch, POSITION, TIME};
use crate::time::Timestamp;
use crate::types::column_index;
use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use std::sync::Arc;

/// Bits of a position that hold the place of a row in what the function gave.
const ROW_BITS: u32 = 24;

/// A function over frames; one for each worker.
pub trait FrameFunction: Send {
    /// The rows that `rows` become. `place` says where they come from, for messages.
    ///
    /// # Errors
    /// What the function raises.
    fn call(&mut self, rows: RecordBatch, place: &str) -> Result<RecordBatch>;
}

/// See the module.
pub struct MapFrame {
    function: Box<dyn FrameFunction>,
    text: String,
    output: SchemaRef,
    /// The output column that is the event time.
    time: Option<String>,
}

impl MapFrame {
    /// `output`: the columns of the node.
    pub fn new(
        function: Box<dyn FrameFunction>,
        text: String,
        output: SchemaRef,
        time: Option<String>,
    ) -> Self {
        Self { function, text, output, time }
    }

    fn call(&mut self, batch: &Batch) -> Result<RecordBatch> {
        if batch.rows() == 0 {
            return Ok(RecordBatch::new_empty(self.output.clone()));
        }
        let place = match batch.order {
            Some(order) => format!("{}, input {}, split {}", self.text, order.input, order.split),
            None => self.text.clone(),
        };
        let made = self.function.call(without_hidden(&batch.records)?, &place)?;
        let columns = self.output.fields().iter().map(|field| {
            let column = made.column_by_name(field.name()).filter(|one| one.data_type() == field.data_type());
            column.cloned().ok_or_else(|| {
                let found = made.schema();
                let names: Vec<String> = found
                    .fields()
                    .iter()
                    .map(|field| format!("{} {}", field.name(), field.data_type()))
                    .collect();
                let expected = format!("a column '{}' of type {}", field.name(), field.data_type());
                EngineError::call(&place, expected, names.join(", "))
            })
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(made.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.output.clone(), columns, &options)?)
    }

    /// The positions of `rows` rows that came of a batch.
    fn positions(&self, batch: &Batch, rows: usize) -> Result<Option<ArrayRef>> {
        let column = batch.records.column_by_name(POSITION);
        let Some(held) = column.and_then(|column| column.as_primitive_opt::<UInt64Type>()) else {
            return Ok(None);
        };
        let first = held.values().first().copied().unwrap_or(0);
        if rows > 1 << ROW_BITS || first >> (u64::BITS - ROW_BITS) != 0 {
            return Err(EngineError::call(
                &self.text,
                "at most 16 777 216 rows of one batch where order matters above",
                format!("{rows} rows of the batch at {first}"),
            ));
        }
        let positions = (0..rows as u64).map(|row| first << ROW_BITS | row);
        Ok(Some(Arc::new(UInt64Array::from_iter_values(positions))))
    }
}

impl std::fmt::Debug for MapFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MapFrame({})", self.text)
    }
}

impl Operator for MapFrame {
    fn on_batch(&mut self, _input: Input, batch: Batch, out: &mut Output) -> Result<Flow> {
        let made = self.call(&batch)?;
        let mut fields: Vec<Arc<Field>> = made.schema().fields().iter().cloned().collect();
        let mut columns = made.columns().to_vec();
        if let Some(positions) = self.positions(&batch, made.num_rows())? {
            fields.push(Arc::new(Field::new(POSITION, DataType::UInt64, false)));
            columns.push(positions);
        }
        if let (Some(time), Some(_)) = (&self.time, batch.records.column_by_name(TIME)) {
            fields.push(Arc::new(Field::new(TIME, DataType::Int64, true)));
            columns.push(Arc::new(ticks(made.column(column_index(&made.schema(), time)?))?));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(made.num_rows()));
        let records = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
        out.push(batch.with_records(records));
        Ok(Flow::Ready)
    }

    fn on_watermark(
        &mut self,
        _: Input,
        combined: Timestamp,
        _: Timestamp,
        out: &mut Output,
    ) -> Result<Flow> {
        if self.time.is_some() || combined == Timestamp::MAX {
            out.watermark(combined);
        }
        Ok(Flow::Ready)
    }
}

#[cfg(test)]
mod tests {
    use super::{FrameFunction, MapFrame};
    use crate::error::Result;
    use crate::testing::{Harness, batch, placed};
    use crate::time::Timestamp;
    use arrow::array::RecordBatch;
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;

    /// Gives the rows twice.
    struct Twice;

    impl FrameFunction for Twice {
        fn call(&mut self, rows: RecordBatch, _place: &str) -> Result<RecordBatch> {
            assert!(rows.num_rows() > 0);
            Ok(arrow::compute::concat_batches(&rows.schema(), [&rows, &rows])?)
        }
    }

    fn map(time: Option<&str>) -> Harness<MapFrame> {
        let output = Schema::new(vec![Field::new("t", DataType::Int64, true)]);
        let time = time.map(ToOwned::to_owned);
        Harness::new(MapFrame::new(Box::new(Twice), "twice".to_owned(), Arc::new(output), time))
    }

    #[test]
    fn function_never_sees_an_empty_batch() {
        let mut operator = map(None);
        operator.push(placed(0, 0, [("t", vec![])]));
        operator.push(placed(0, 1, [("t", vec![4])]));
        assert_eq!(operator.take("t"), [Some(4), Some(4)]);
    }

    #[test]
    fn watermark_goes_on_where_the_time_column_does() {
        let (mut kept, mut lost) = (map(Some("t")), map(None));
        for operator in [&mut kept, &mut lost] {
            operator.push(batch([("t", vec![Some(7)])]));
            operator.watermark(5);
        }
        assert_eq!((kept.forwarded(), lost.forwarded()), (Timestamp(5), Timestamp::MIN));
        lost.end();
        assert_eq!(lost.forwarded(), Timestamp::MAX);
    }
}
