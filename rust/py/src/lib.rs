//! The extension module `dataflare_fast._core`: the only code that knows both Python and the engine.
//!
//! Not here: behaviour, which lies in the crates below. Called by the package `dataflare_fast` only.
mod arrow_capsule;
mod error;
mod expressions;
mod plans;
mod reading;
mod residual;

use pyo3::prelude::*;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(expressions::is_compiled, module)?)?;
    module.add_function(wrap_pyfunction!(expressions::compiled_functions, module)?)?;
    module.add_function(wrap_pyfunction!(expressions::evaluate, module)?)?;
    module.add_function(wrap_pyfunction!(plans::explain, module)?)?;
    module.add_function(wrap_pyfunction!(reading::source_splits, module)?)?;
    module.add_function(wrap_pyfunction!(reading::read_split, module)?)?;
    module.add_class::<arrow_capsule::ArrowBatch>()
}
