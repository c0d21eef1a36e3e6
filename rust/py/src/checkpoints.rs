//! Objects of a checkpoint, checked as a restore checks them, for `read_checkpoint` and `dataflare checkpoint verify`.

use crate::error::PyEngineError;
use dataflare_engine::EngineError;
use dataflare_engine::checkpoint::record::Object;
use dataflare_engine::checkpoint::table_file;
use pyo3::prelude::*;

/// Compares an object with its entry in the record; a difference is a DataError that names the object.
#[pyfunction]
pub fn verify_object(entry_json: &str, bytes: &[u8]) -> PyResult<()> {
    let entry: Object = serde_json::from_str(entry_json)
        .map_err(|error| PyEngineError(EngineError::internal("an entry of a checkpoint", error)))?;
    Ok(table_file::verify(&entry, bytes).map_err(PyEngineError::from)?)
}
