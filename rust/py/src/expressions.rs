//! Expressions for Python: which of them the engine evaluates with its own kernels, and what it makes of them.
//!
//! Not here: kernels (`dataflare-engine::expr`). Called by `planner/compiled.py`, and by tests that compare the
//! engine's answers with Polars'.

use crate::arrow_capsule::{ArrowBatch, read_batches};
use crate::residual::PolarsResidual;
use arrow::array::RecordBatchOptions;
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema as ArrowSchema};
use arrow::record_batch::RecordBatch;
use dataflare_engine::expr::Program;
use dataflare_plan::{Expr, NamedExpr, Schema};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// True if kernels alone evaluate `expr` over a frame with the columns `schema`, both in the plan's JSON form.
#[pyfunction]
pub fn is_compiled(expr: &str, schema: &str) -> PyResult<bool> {
    let expr: Expr = parse("an expression", expr)?;
    let schema: Schema = parse("a schema", schema)?;
    Ok(dataflare_engine::expr::is_compiled(&expr, &schema))
}

/// Names of the functions that have a kernel for at least some types and options.
#[pyfunction]
pub fn compiled_functions() -> Vec<&'static str> {
    dataflare_engine::expr::compiled_functions()
}

/// Which path of kernels with several this processor takes.
#[pyfunction]
pub fn processor_path() -> &'static str {
    dataflare_engine::bounds::path()
}

/// Evaluates named expressions over a frame, as the operators of a job do; kernels run without the GIL.
#[pyfunction]
pub fn evaluate(py: Python<'_>, exprs: &str, schema: &str, frame: &Bound<'_, PyAny>) -> PyResult<ArrowBatch> {
    let exprs: Vec<NamedExpr> = parse("named expressions", exprs)?;
    let schema: Schema = parse("a schema", schema)?;
    let batches = read_batches(frame)?;
    let failed = |error: &dyn std::fmt::Display| PyValueError::new_err(error.to_string());
    let batch = match &batches[..] {
        [] => return Err(PyValueError::new_err("expected a frame, got no batch")),
        [first, ..] => concat_batches(&first.schema(), &batches).map_err(|error| failed(&error))?,
    };
    let mut errors = Vec::new();
    let columns = py.detach(|| {
        let mut program = Program::new(&exprs, &schema, Some(&PolarsResidual))?;
        program.evaluate(&batch, &mut errors)
    });
    let columns = columns.map_err(|error| failed(&error))?;
    if let Some(error) = errors.first() {
        return Err(PyValueError::new_err(format!("{}, row {}: {}", error.place, error.row, error.message)));
    }
    let fields: Vec<Field> = std::iter::zip(&exprs, &columns)
        .map(|(named, column)| Field::new(&named.name, column.data_type().clone(), true))
        .collect();
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let made = RecordBatch::try_new_with_options(ArrowSchema::new(fields).into(), columns, &rows);
    Ok(ArrowBatch::new(made.map_err(|error| failed(&error))?))
}

fn parse<T: serde::de::DeserializeOwned>(what: &str, json: &str) -> PyResult<T> {
    serde_json::from_str(json)
        .map_err(|error| PyValueError::new_err(format!("expected {what} of the plan: {error}")))
}
