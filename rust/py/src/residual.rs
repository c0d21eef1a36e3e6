//! Expressions without a kernel: handed to Polars, one call per batch, with the GIL held for that call.
//!
//! Not here: rebuilding expressions (`planner/rebuilding.py`), and which ones these are (`dataflare-engine::expr`).
//! A worker of the engine calls it through [`Residual`].

use crate::arrow_capsule::{ArrowBatch, read_batches};
use arrow::array::{Array, ArrayRef};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::record_batch::RecordBatch;
use dataflare_engine::error::{EngineError, Result, RowError, RowErrors};
use dataflare_engine::expr::{Residual, ResidualProgram};
use dataflare_engine::types::column_index;
use dataflare_plan::{NamedExpr, Schema};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::Arc;

/// Polars, in this interpreter.
#[derive(Debug)]
pub struct PolarsResidual;

impl Residual for PolarsResidual {
    fn prepare(&self, exprs: &[NamedExpr], input: &Schema) -> Result<Box<dyn ResidualProgram>> {
        let places: Vec<String> = exprs.iter().map(|named| named.expr.to_string()).collect();
        let place = places.join(", ");
        let columns = exprs.iter().flat_map(|named| named.expr.columns());
        let read: Schema =
            input.iter().filter(|field| columns.clone().any(|name| name == field.name)).cloned().collect();
        let json =
            |value: serde_json::Result<String>| value.map_err(|error| EngineError::internal(&*place, error));
        let (written, schema) = (json(serde_json::to_string(exprs))?, json(serde_json::to_string(&read))?);
        let evaluator = Python::attach(|py| -> PyResult<Py<PyAny>> {
            let class = py.import("dataflare_fast.planner.residual")?.getattr("ResidualEvaluator")?;
            Ok(class.call1((written, schema))?.unbind())
        });
        let evaluator = evaluator.map_err(|error| refused(&place, &error))?;
        Ok(Box::new(PolarsProgram { evaluator, read, place, places }))
    }
}

/// Row of the batch, number of the expression and Polars' reason, for each row that it refused.
type Failures = Vec<(usize, usize, String)>;

/// Expressions that a Python `ResidualEvaluator` holds.
struct PolarsProgram {
    evaluator: Py<PyAny>,
    /// The columns that the expressions read.
    read: Schema,
    /// All expressions, and each, for messages.
    place: String,
    places: Vec<String>,
}

impl ResidualProgram for PolarsProgram {
    fn evaluate(&mut self, batch: &RecordBatch, errors: &mut RowErrors) -> Result<Vec<ArrayRef>> {
        let indices = self
            .read
            .iter()
            .map(|field| column_index(batch.schema_ref(), &field.name))
            .collect::<Result<Vec<_>>>()?;
        let input = batch.project(&indices)?;
        Python::attach(|py| {
            let (made, failures) = self.call(py, input).map_err(|error| self.broken(&error))?;
            errors.extend(failures.into_iter().map(|(row, number, message)| RowError {
                row,
                code: "polars",
                place: self.places.get(number).unwrap_or(&self.place).clone(),
                message,
            }));
            self.columns(&made, batch.num_rows())
        })
    }
}

impl PolarsProgram {
    /// The columns that Polars made, and the rows that it refused.
    fn call(&self, py: Python<'_>, input: RecordBatch) -> PyResult<(Vec<RecordBatch>, Failures)> {
        let input = Bound::new(py, ArrowBatch::new(input))?;
        let answer = self.evaluator.bind(py).call_method1("evaluate", (input,))?;
        let (frame, failures) = answer.extract::<(Bound<'_, PyAny>, Failures)>()?;
        Ok((read_batches(&frame)?, failures))
    }

    fn columns(&self, batches: &[RecordBatch], rows: usize) -> Result<Vec<ArrayRef>> {
        let Some(first) = batches.first() else {
            return Err(EngineError::internal(&*self.place, "Polars gave no batch"));
        };
        (0..first.num_columns())
            .map(|index| {
                let chunks: Vec<&dyn Array> =
                    batches.iter().map(|batch| batch.column(index).as_ref()).collect();
                let array = if let [_] = chunks[..] { first.column(index).clone() } else { concat(&chunks)? };
                if array.len() != rows {
                    let found = format!("{} rows from Polars for a batch of {rows}", array.len());
                    return Err(EngineError::internal(&*self.place, found));
                }
                as_the_engine_keeps_it(array)
            })
            .collect()
    }

    fn broken(&self, error: &PyErr) -> EngineError {
        EngineError::internal(&*self.place, error)
    }
}

/// What `ResidualEvaluator` says of its arguments: a `CallError` is the user's, anything else ours.
fn refused(place: &str, error: &PyErr) -> EngineError {
    Python::attach(|py| match error.is_instance_of::<PyValueError>(py) {
        true => EngineError::call(place, "constants that Polars takes", error.value(py).to_string()),
        false => EngineError::internal(place, error),
    })
}

/// Polars exports categories with small keys and names the items of lists in its own way.
pub(crate) fn as_the_engine_keeps_it(array: ArrayRef) -> Result<ArrayRef> {
    let kept = kept_type(array.data_type());
    if *array.data_type() == kept { Ok(array) } else { Ok(cast(&array, &kept)?) }
}

/// The type inside the engine; `dataflare_engine::types::arrow_type` says the same of plan types.
fn kept_type(dtype: &DataType) -> DataType {
    let item = |field: &FieldRef| Arc::new(Field::new("item", kept_type(field.data_type()), true));
    match dtype {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Dictionary(_, _) => {
            DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8View))
        }
        DataType::List(field) | DataType::LargeList(field) => DataType::LargeList(item(field)),
        DataType::FixedSizeList(field, width) => DataType::FixedSizeList(item(field), *width),
        DataType::Struct(fields) => DataType::Struct(
            fields.iter().map(|field| Field::new(field.name(), kept_type(field.data_type()), true)).collect(),
        ),
        other => other.clone(),
    }
}
