//! The extension module `dataflare_fast._core`: the only code that knows both Python and the engine.
//!
//! The GIL is taken in sources, sinks and functions written in Python and for residual expressions, once per batch;
//! workers never wait for it elsewhere. Not here: behaviour, which lies in the crates below. Called by the package
//! `dataflare_fast` only.
//!
//! | module | holds |
//! |---|---|
//! | `allocator` | where memory comes from, and when it goes back |
//! | `arrow_capsule` | record batches in and out, over the Arrow C stream interface |
//! | `error`, `causes` | errors of the engine as Python exceptions, with the user's own as their cause |
//! | `connectors` | what a plan names, opened: Rust connectors and Python objects |
//! | `batches`, `python_source` | sources in memory and in Python |
//! | `collect`, `callback`, `python_sink`, `changes` | sinks in memory and in Python |
//! | `residual`, `expressions` | expressions of Polars, and which have a kernel |
//! | `job` | start, wait, stop |
//! | `plans`, `reading` | a plan explained; a source read without a job, for plain Polars |

mod allocator;
mod arrow_capsule;
mod batches;
mod callback;
mod causes;
mod changes;
mod collect;
mod connectors;
mod csv_text;
mod error;
mod expressions;
mod job;
mod plans;
mod python_sink;
mod python_source;
mod reading;
mod residual;

use pyo3::prelude::*;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    allocator::configure();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(expressions::is_compiled, module)?)?;
    module.add_function(wrap_pyfunction!(expressions::compiled_functions, module)?)?;
    module.add_function(wrap_pyfunction!(expressions::processor_path, module)?)?;
    module.add_function(wrap_pyfunction!(expressions::evaluate, module)?)?;
    module.add_function(wrap_pyfunction!(plans::explain, module)?)?;
    module.add_function(wrap_pyfunction!(reading::source_splits, module)?)?;
    module.add_function(wrap_pyfunction!(reading::read_split, module)?)?;
    module.add_function(wrap_pyfunction!(job::start, module)?)?;
    module.add_function(wrap_pyfunction!(job::simulate, module)?)?;
    module.add_class::<job::PyJob>()?;
    module.add_class::<collect::Collector>()?;
    module.add_class::<arrow_capsule::ArrowBatch>()
}
