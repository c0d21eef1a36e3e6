//! NDJSON files: `sink_ndjson`. Not here: how values are written (`json_text.rs`), when a file begins, ends and appears
//! (`file_sink.rs`). Called by the registry.

use crate::file_sink::{FileSink, PartFormat, Rolled};
use crate::json_text::{Lines, check};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use dataflare_engine::types::arrow_schema;
use dataflare_engine::{EngineError, Result};
use dataflare_plan::Schema;
use serde_json::Value;
use std::fs::File;
use std::io::BufWriter;

/// A sink of NDJSON files.
///
/// # Errors
/// [`EngineError::Call`]: an option or a column type that is not supported.
pub fn ndjson_sink(options: &Value, schema: &Schema) -> Result<FileSink> {
    FileSink::new("ndjson", options, schema, |options| {
        let place = options.path.display().to_string();
        match options.format.get("compression") {
            None | Some(Value::Null) => {}
            Some(Value::String(name)) if name == "Uncompressed" => {}
            Some(other) => {
                return Err(EngineError::call(place, "compression=\"uncompressed\"", other.to_string()));
            }
        }
        if let Err(column) = check(&arrow_schema(schema)) {
            let dtype = schema.iter().find(|field| field.name == column).map(|field| field.dtype.to_string());
            let place = format!("{place}, column '{column}'");
            return Err(EngineError::call(place, "a type that JSON holds", dtype.unwrap_or_default()));
        }
        Ok(Box::new(NdjsonParts))
    })
}

struct NdjsonParts;

impl PartFormat for NdjsonParts {
    fn extension(&self) -> &'static str {
        "ndjson"
    }

    fn create(&self, file: File, _schema: &SchemaRef) -> Result<Box<dyn Rolled>, String> {
        Ok(Box::new(NdjsonPart(Lines::new(BufWriter::with_capacity(1 << 18, file)))))
    }
}

struct NdjsonPart(Lines<BufWriter<File>>);

impl Rolled for NdjsonPart {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), String> {
        self.0.write(batch)
    }

    fn finish(self: Box<Self>) -> Result<File, String> {
        self.0.finish()?.into_inner().map_err(|error| error.error().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::ndjson_sink;
    use crate::parquet_source::parquet_source;
    use crate::testing::drain;
    use dataflare_engine::Batch;
    use dataflare_engine::sink::Sink;
    use dataflare_plan::{DataType, Field, Schema};
    use serde_json::json;
    use std::path::Path;

    #[test]
    fn every_type_is_written_as_polars_writes_it() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let mut schema: Schema =
            serde_json::from_slice(&std::fs::read(data.join("types.schema.json")).unwrap()).unwrap();
        schema.retain(|field| field.dtype != DataType::Binary);
        let source = parquet_source(&json!({"paths": [data.join("types.parquet")]}), &schema).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("types.ndjson");
        let sink = ndjson_sink(&json!({"path": path, "layout": "file"}), &schema).unwrap();
        let mut writer = sink.writer(0, 1, Vec::new()).unwrap();
        writer.write(Batch::new(drain(&source, None).unwrap().remove(0).records)).unwrap();
        sink.confirm(1, &[writer.prepare(1, 0, true).unwrap()().unwrap()]).unwrap();
        let expected = std::fs::read_to_string(data.join("types.ndjson")).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), expected);
    }

    #[test]
    fn binary_columns_and_compression_are_refused() {
        let schema = vec![Field { name: "b".to_owned(), dtype: DataType::Binary }];
        let refused = ndjson_sink(&json!({"path": "o.ndjson", "layout": "file"}), &schema).unwrap_err();
        assert_eq!(refused.to_string(), "o.ndjson, column 'b': expected a type that JSON holds, got Binary");
        let options = json!({"path": "o.ndjson", "layout": "file", "format": {"compression": "Gzip"}});
        assert!(ndjson_sink(&options, &Vec::new()).is_err());
    }
}
