//! What Python asks about a plan without running it.

use crate::error::InternalError;
use dataflare_plan::Plan;
use pyo3::prelude::*;

/// Draws a plan in its JSON form; a plan that breaks a rule is a bug of the planner.
#[pyfunction]
pub fn explain(plan: &str) -> PyResult<String> {
    let plan = Plan::from_json(plan).map_err(|error| InternalError::new_err(error.to_string()))?;
    Ok(dataflare_plan::explain(&plan))
}
