//! `select`, `with_columns`, `rename`, `drop`: replaces the columns.
//!
//! In: batches of any kind. Out: the same rows with the expressions as columns, hidden columns kept behind them; port 1
//! the dead letters.
//! Not here: aggregates; expressions that need other rows, which the planner refuses.
//! Forwards: f(W), where f is the expression of the event-time column: it is monotone (the planner checks), so W itself is
//! put through it. State: none.

use super::error_policy::{ErrorPolicy, keep_rows};
use super::{Flow, Input, Operator, Output};
use crate::error::{EngineError, Result, RowErrors};
use crate::event::Batch;
use crate::expr::Program;
use crate::time::Timestamp;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type, Schema, SchemaRef};
use std::sync::Arc;

/// How the event time passes.
#[derive(Clone, Copy, Debug)]
pub struct TimeMapping {
    /// Index of the event time among the input's columns.
    pub input: usize,
    /// Index among the output's.
    pub output: usize,
}

/// See the module.
pub struct Project {
    program: Program,
    input: SchemaRef,
    output: SchemaRef,
    time: Option<TimeMapping>,
    policy: ErrorPolicy,
    /// Output schema with hidden columns, made at the first batch.
    whole: Option<SchemaRef>,
    forwarded: Timestamp,
}

impl Project {
    /// `input` and `output`: the frames' own columns. `time`: `None` where event time ends.
    pub fn new(
        program: Program,
        input: SchemaRef,
        output: SchemaRef,
        time: Option<TimeMapping>,
        policy: ErrorPolicy,
    ) -> Self {
        Self { program, input, output, time, policy, whole: None, forwarded: Timestamp::MIN }
    }

    fn replaced(&mut self, batch: &Batch, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
        let mut columns = columns;
        let records = &batch.records;
        let hidden = self.input.fields().len()..records.num_columns();
        columns.extend(hidden.clone().map(|index| Arc::clone(records.column(index))));
        let schema = match &self.whole {
            Some(schema) => Arc::clone(schema),
            None => {
                let mut fields: Vec<FieldRef> = self.output.fields().iter().cloned().collect();
                fields.extend(hidden.map(|index| Arc::clone(&records.schema().fields()[index])));
                let schema = Arc::new(Schema::new(fields));
                self.whole = Some(Arc::clone(&schema));
                schema
            }
        };
        let options = RecordBatchOptions::new().with_row_count(Some(records.num_rows()));
        RecordBatch::try_new_with_options(schema, columns, &options).map_err(|error| {
            EngineError::internal(
                "project",
                format!("an expression has not the type that Polars gave it: {error}"),
            )
        })
    }

    /// Puts one event time through the expression; `None`: it cannot say.
    fn map_time(&mut self, time: Timestamp, mapping: TimeMapping) -> Result<Option<Timestamp>> {
        let columns = self.input.fields().iter().enumerate().map(|(index, field)| {
            if index == mapping.input {
                one_time(time, field.data_type())
            } else {
                Ok(new_null_array(field.data_type(), 1))
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let row = RecordBatch::try_new(Arc::clone(&self.input), columns)?;
        let mut errors = RowErrors::new();
        let mapped = self.program.evaluate(&row, &mut errors)?;
        let Some(column) = mapped.get(mapping.output) else { return Ok(None) };
        let ticks = ticks(column)?;
        Ok((ticks.is_valid(0)).then(|| Timestamp(ticks.value(0))))
    }
}

impl std::fmt::Debug for Project {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Project({:?})", self.output)
    }
}

impl Operator for Project {
    fn on_batch(&mut self, _input: Input, batch: Batch, out: &mut Output) -> Result<Flow> {
        let mut errors = RowErrors::new();
        let columns = self.program.evaluate(&batch.records, &mut errors)?;
        let (keep, letter) = self.policy.apply(&batch, &errors)?;
        if let Some(letter) = letter {
            out.push_to(1, letter);
        }
        let records = self.replaced(&batch, columns)?;
        let batch = batch.with_records(records);
        out.push(match keep {
            Some(keep) => keep_rows(batch, &keep)?,
            None => batch,
        });
        Ok(Flow::Ready)
    }

    fn on_watermark(
        &mut self,
        _: Input,
        combined: Timestamp,
        _: Timestamp,
        out: &mut Output,
    ) -> Result<Flow> {
        let mapped = match self.time {
            None if combined == Timestamp::MAX => Some(combined),
            None => None,
            Some(_) if combined == Timestamp::MIN || combined == Timestamp::MAX => Some(combined),
            Some(mapping) => self.map_time(combined, mapping)?,
        };
        if let Some(mapped) = mapped.filter(|mapped| *mapped > self.forwarded) {
            self.forwarded = mapped;
            out.watermark(mapped);
        }
        Ok(Flow::Ready)
    }
}

fn one_time(time: Timestamp, dtype: &DataType) -> Result<ArrayRef> {
    let ticks: ArrayRef = Arc::new(Int64Array::from(vec![time.0]));
    Ok(match dtype {
        DataType::Date32 => cast(&cast(&ticks, &DataType::Int32)?, dtype)?,
        _ => cast(&ticks, dtype)?,
    })
}

/// The physical integers of a time column.
///
/// # Errors
/// The column is no time: a bug of the planner.
pub fn ticks(column: &ArrayRef) -> Result<Int64Array> {
    let physical = match column.data_type() {
        DataType::Date32 => &cast(column, &DataType::Int32)?,
        _ => column,
    };
    Ok(cast(physical, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}
