//! Sources and sinks in Rust: files, Kafka, Nexmark.
//!
//! A connector is one file: it turns the plan's `connector` and `options` into a `Source` or `Sink` of the engine.
//! The two registries below are all that `rust/py` calls. Not here: sources and sinks written in Python, in-memory
//! batches (`rust/py`).

pub mod blocking;
pub mod columns;
pub mod console;
pub mod files;
pub mod json;
pub mod json_rows;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod nexmark;
#[cfg(test)]
mod testing;

use dataflare_engine::Result;
use dataflare_engine::sink::Sink;
use dataflare_engine::source::Source;
use dataflare_plan::Schema;
use serde_json::Value;
use std::sync::Arc;

/// The source that `connector` names; `None`: not one of ours. `schema` is the node's output.
///
/// # Errors
/// [`dataflare_engine::EngineError::Call`]: an option that is missing, unknown or out of range.
pub fn source(connector: &str, options: &Value, schema: &Schema) -> Result<Option<Arc<dyn Source>>> {
    Ok(Some(match connector {
        #[cfg(feature = "kafka")]
        "kafka" => Arc::new(kafka::source::Kafka::new(options, schema)?),
        "nexmark" => Arc::new(nexmark::Nexmark::new(options, schema)?),
        _ => return Ok(files::source(connector, options, schema)?.map(|scan| Arc::new(scan) as _)),
    }))
}

/// The sink that `connector` names; `None`: not one of ours. `schema` is what its input delivers.
///
/// # Errors
/// As for [`source`].
pub fn sink(connector: &str, options: &Value, schema: &Schema) -> Result<Option<Arc<dyn Sink>>> {
    Ok(Some(match connector {
        "console" => Arc::new(console::Console::new(options, schema)?),
        #[cfg(feature = "kafka")]
        "kafka" => Arc::new(kafka::sink::KafkaSink::new(options, schema)?),
        _ => return Ok(files::sink(connector, options, schema)?.map(|sink| Arc::new(sink) as _)),
    }))
}
