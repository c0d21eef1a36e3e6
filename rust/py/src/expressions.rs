//! What the planner asks about expressions: which of them the engine evaluates with its own kernels.
//!
//! Not here: kernels (`dataflare-engine::expr`). Called by `planner/compiled.py`.

use dataflare_plan::{Expr, Schema};
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

fn parse<T: serde::de::DeserializeOwned>(what: &str, json: &str) -> PyResult<T> {
    serde_json::from_str(json)
        .map_err(|error| PyValueError::new_err(format!("expected {what} of the plan: {error}")))
}
