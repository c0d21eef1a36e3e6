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
#[derive(Debug)]
pub enum TimeMapping {
    /// The column is handed on as it is.
    Same,
    /// By a program of one expression; `input` is the index of the event time among the input's columns.
    Through { input: usize, program: Program },
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
    fn map_time(&mut self, time: Timestamp) -> Result<Option<Timestamp>> {
        let (at, program) = match &mut self.time {
            None => return Ok(None),
            Some(TimeMapping::Same) => return Ok(Some(time)),
            Some(TimeMapping::Through { input, program }) => (*input, program),
        };
        let columns = self.input.fields().iter().enumerate().map(|(index, field)| match index == at {
            true => one_time(time, field.data_type()),
            false => Ok(new_null_array(field.data_type(), 1)),
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let row = RecordBatch::try_new(Arc::clone(&self.input), columns)?;
        // A time that the expression cannot take has no bound above it: the next watermark may have one.
        let mapped = program.evaluate(&row, &mut RowErrors::new())?;
        let Some(column) = mapped.first() else { return Ok(None) };
        let ticks = ticks(column)?;
        Ok(ticks.is_valid(0).then(|| Timestamp(ticks.value(0))))
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
        let mapped = match combined {
            Timestamp::MAX => Some(combined),
            _ => self.map_time(combined)?,
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

#[cfg(test)]
mod tests {
    use super::{Project, TimeMapping};
    use crate::event::POSITION;
    use crate::expr::Program;
    use crate::operators::error_policy::{ErrorPolicy, OnError};
    use crate::testing::{Harness, cut, field, placed, strings};
    use crate::time::Timestamp;
    use crate::types::arrow_schema;
    use dataflare_plan::{BinaryOperator, DataType, Expr, Field, NamedExpr};
    use serde_json::json;

    fn col(name: &str) -> Expr {
        Expr::Column { name: name.into() }
    }

    /// `t // 10`, the event time of the output.
    fn tens() -> Expr {
        let ten = Expr::Literal { value: json!(10), dtype: DataType::Int64 };
        Expr::Binary { op: BinaryOperator::FloorDiv, left: Box::new(col("t")), right: Box::new(ten) }
    }

    fn project(
        exprs: &[(&str, Expr)],
        input: &Vec<Field>,
        output: &[Field],
        time: Option<TimeMapping>,
    ) -> Harness<Project> {
        let named = |(name, expr): &(&str, Expr)| NamedExpr { name: (*name).into(), expr: expr.clone() };
        let exprs: Vec<NamedExpr> = exprs.iter().map(named).collect();
        let program = Program::new(&exprs, input, None).unwrap();
        let policy = ErrorPolicy::new(OnError::DeadLetter, "select");
        Harness::new(Project::new(program, arrow_schema(input), arrow_schema(output), time, policy))
    }

    fn into_tens() -> Harness<Project> {
        let input = vec![field("t", DataType::Int64), field("a", DataType::Int64)];
        let named = NamedExpr { name: "g".into(), expr: tens() };
        let program = Program::new(&[named], &input, None).unwrap();
        let time = TimeMapping::Through { input: 0, program };
        let output = [field("a", DataType::Int64), field("g", DataType::Int64)];
        project(&[("a", col("a")), ("g", tens())], &input, &output, Some(time)).with_event_time("g")
    }

    #[test]
    fn hidden_columns_and_places_stay() {
        let mut select = into_tens();
        let rows = placed(1, 0, [("t", vec![7, 23]), ("a", vec![1, 2]), (POSITION, vec![4, 5])]);
        let pieces = cut(&rows, 1, 3);
        let places: Vec<_> = pieces.iter().map(|piece| piece.order).collect();
        pieces.into_iter().for_each(|piece| select.push(piece));
        let emitted = select.take_from(0);
        assert_eq!(emitted.iter().map(|piece| piece.order).collect::<Vec<_>>(), places);
        let names: Vec<_> =
            emitted[0].records.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["a", "g", POSITION]);
    }

    #[test]
    fn watermark_goes_through_the_expression_of_the_event_time() {
        let mut select = into_tens();
        select.watermark(29);
        assert_eq!(select.forwarded(), Timestamp(2));
        select.push(placed(0, 0, [("t", vec![29, 31]), ("a", vec![0, 0])]));
        assert_eq!(select.take("g"), [Some(2), Some(3)]);
        select.end();
        assert_eq!(select.forwarded(), Timestamp::MAX);
    }

    #[test]
    fn ended_event_time_forwards_the_end_only() {
        let input = vec![field("t", DataType::Int64)];
        let mut select = project(&[("t", col("t"))], &input, &input, None);
        select.watermark(29);
        assert_eq!(select.forwarded(), Timestamp::MIN);
        select.end();
        assert_eq!(select.forwarded(), Timestamp::MAX);
    }

    #[test]
    fn frame_without_columns_keeps_its_rows() {
        let input = vec![field("t", DataType::Int64)];
        let mut select = project(&[], &input, &[], None);
        select.push(placed(0, 0, [("t", vec![1, 2, 3])]));
        assert_eq!(select.take_from(0)[0].rows(), 3);
    }

    #[test]
    fn row_that_fails_leaves_as_a_dead_letter() {
        let input = vec![field("s", DataType::String)];
        let number =
            Expr::Cast { input: Box::new(col("s")), dtype: DataType::Int64, strict: true, wrap: false };
        let mut select = project(&[("n", number)], &input, &[field("n", DataType::Int64)], None);
        select.push(strings("s", &[Some("7"), Some("x"), None]));
        assert_eq!(select.take("n"), [Some(7), None]);
        let letter = select.take_from(1).remove(0).records;
        assert_eq!((letter.num_rows(), letter.schema().field(0).name().as_str()), (1, "s"));
    }
}
