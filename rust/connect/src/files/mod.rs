//! Files: what is read from them and written to them, in every format.
//!
//! A format is one module: it implements [`format::FileFormat`] to be read and [`format::PartFormat`] to be written (a
//! format of lines implements [`text::TextFormat`] instead), and has a line in the two registries below. Not here: what
//! runs on a stream.

pub mod avro;
pub mod compression;
pub mod csv;
pub mod followed;
pub mod format;
mod hive;
pub mod ipc;
pub mod ndjson;
pub mod parquet;
pub mod records;
pub mod scan;
pub mod segments;
pub mod sink;
pub mod target;
pub mod text;
pub mod types;

use dataflare_engine::Result;
use dataflare_plan::Schema;
use scan::FileScan;
use serde_json::Value;
use sink::FileSink;

/// The scan of files in the format that `connector` names; `None`: not one of ours.
///
/// # Errors
/// [`dataflare_engine::EngineError::Call`]: an option that is missing, unknown or out of range.
pub fn source(connector: &str, options: &Value, schema: &Schema) -> Result<Option<FileScan>> {
    Ok(Some(match connector {
        "avro" => avro::source::avro_source(options, schema)?,
        "csv" => csv::source::csv_source(options, schema)?,
        "ipc" => ipc::source::ipc_source(options, schema)?,
        "ndjson" => ndjson::source::ndjson_source(options, schema)?,
        "parquet" => parquet::source::parquet_source(options, schema)?,
        _ => return Ok(None),
    }))
}

/// The sink of files in the format that `connector` names; `None`: not one of ours.
///
/// # Errors
/// As for [`source`].
pub fn sink(connector: &str, options: &Value, schema: &Schema) -> Result<Option<FileSink>> {
    Ok(Some(match connector {
        "avro" => avro::sink::avro_sink(options, schema)?,
        "ipc" => ipc::sink::ipc_sink(options, schema)?,
        "ndjson" => ndjson::sink::ndjson_sink(options, schema)?,
        "parquet" => parquet::sink::parquet_sink(options, schema)?,
        _ => return Ok(None),
    }))
}
