//! State tables as Arrow IPC files: readable by Polars and pyarrow without us. CRC32C (RFC 3720) over the whole object.

use super::record::Object;
use crate::error::{EngineError, Result};
use crate::state::StateTable;
use arrow::compute::concat_batches;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use std::io::Cursor;

/// The bytes of a table and its entry in the record.
///
/// # Errors
/// A column that Arrow IPC cannot hold: a bug.
pub fn encode(name: String, table: &StateTable) -> Result<(Object, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(table.rows.get_array_memory_size());
    let mut writer = FileWriter::try_new(&mut bytes, &table.rows.schema())?;
    writer.write(&table.rows)?;
    writer.finish()?;
    drop(writer);
    let object = Object {
        name,
        table: table.name.clone(),
        scope: table.scope,
        keys: table.keys,
        rows: table.rows.num_rows(),
        size: bytes.len(),
        crc32c: crc32c::crc32c(&bytes),
    };
    Ok((object, bytes))
}

/// Checks an object against its entry.
///
/// # Errors
/// [`EngineError::Data`] naming the object when size or checksum differ.
pub fn verify(object: &Object, bytes: &[u8]) -> Result<()> {
    let found = crc32c::crc32c(bytes);
    if bytes.len() == object.size && found == object.crc32c {
        return Ok(());
    }
    Err(damaged(
        object,
        format!(
            "expected {} bytes with CRC32C {:08x}, got {} bytes with {found:08x}: the object is damaged; restore an earlier checkpoint",
            object.size,
            object.crc32c,
            bytes.len()
        ),
    ))
}

fn damaged(object: &Object, reason: String) -> EngineError {
    EngineError::Data { place: format!("checkpoint object {}", object.name), row: 0, reason }
}

/// The table of an object, checked against its entry.
///
/// # Errors
/// [`EngineError::Data`] naming the object when size or checksum differ.
pub fn decode(object: &Object, bytes: &[u8]) -> Result<StateTable> {
    verify(object, bytes)?;
    let damaged = |reason| damaged(object, reason);
    let reader = FileReader::try_new(Cursor::new(bytes), None).map_err(|error| damaged(error.to_string()))?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|error| damaged(error.to_string()))?;
    let rows = concat_batches(&schema, &batches)?;
    Ok(StateTable { name: object.table.clone(), scope: object.scope, keys: object.keys, rows })
}
