//! NDJSON files: `sink_ndjson`. Not here: how values are written (`text.rs`), when a file begins, ends and appears
//! (`sink.rs`). Called by the registry.

use crate::files::compression::{Codec, TextWriter};
use crate::files::format::{PartFormat, Rolled};
use crate::files::ndjson::text::{Lines, check};
use crate::files::sink::FileSink;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use dataflare_engine::types::arrow_schema;
use dataflare_engine::{EngineError, Result};
use dataflare_plan::Schema;
use serde_json::Value;
use std::fs::File;

/// A sink of NDJSON files.
///
/// # Errors
/// [`EngineError::Call`]: an option or a column type that is not supported.
pub fn ndjson_sink(options: &Value, schema: &Schema) -> Result<FileSink> {
    FileSink::new("ndjson", options, schema, |options, written| {
        let place = options.path.display().to_string();
        let codec = Codec::of(&place, options.format.get("compression"))?;
        if let Err(column) = check(&arrow_schema(written)) {
            let dtype =
                written.iter().find(|field| field.name == column).map(|field| field.dtype.to_string());
            let place = format!("{place}, column '{column}'");
            return Err(EngineError::call(place, "a type that JSON holds", dtype.unwrap_or_default()));
        }
        Ok(Box::new(NdjsonParts { codec }))
    })
}

struct NdjsonParts {
    codec: Codec,
}

impl PartFormat for NdjsonParts {
    fn extension(&self) -> String {
        format!("ndjson{}", self.codec.suffix())
    }

    fn create(&self, file: File, _schema: &SchemaRef) -> Result<Box<dyn Rolled>, String> {
        Ok(Box::new(NdjsonPart(Lines::new(self.codec.writer(file)?))))
    }
}

struct NdjsonPart(Lines<TextWriter>);

impl Rolled for NdjsonPart {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), String> {
        self.0.write(batch)
    }

    fn finish(self: Box<Self>) -> Result<File, String> {
        self.0.finish()?.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::ndjson_sink;
    use crate::files::parquet::source::parquet_source;
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
    fn binary_columns_and_unknown_compression_are_refused() {
        let schema = vec![Field { name: "b".to_owned(), dtype: DataType::Binary }];
        let refused = ndjson_sink(&json!({"path": "o.ndjson", "layout": "file"}), &schema).unwrap_err();
        assert_eq!(refused.to_string(), "o.ndjson, column 'b': expected a type that JSON holds, got Binary");
        let options = json!({"path": "o.ndjson", "layout": "file", "format": {"compression": "Brotli"}});
        assert!(ndjson_sink(&options, &Vec::new()).is_err());
    }
}
