//! Parquet files: `sink_parquet`.
//!
//! Polars' writer options onto those of the `parquet` crate; files carry Polars' own marks for Categorical and Enum.
//! Not here: when a file begins, ends and appears (`sink.rs`). Called by the registry.

use crate::files::format::{PartFormat, Rolled};
use crate::files::sink::FileSink;
use arrow::datatypes::{Field as ArrowField, Schema as ArrowSchema, SchemaRef};
use arrow::record_batch::RecordBatch;
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{DataType, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

/// Rows of a row group unless the user says otherwise.
const ROW_GROUP_ROWS: usize = 120_000;

/// A sink of Parquet files.
///
/// # Errors
/// [`EngineError::Call`]: an option that is missing, unknown or out of range.
pub fn parquet_sink(options: &Value, schema: &Schema) -> Result<FileSink> {
    FileSink::new("parquet", options, schema, |options, written| {
        let place = options.path.display().to_string();
        Ok(Box::new(ParquetParts { properties: properties(&place, &options.format)?, marks: marks(written) }))
    })
}

/// Polars' `ParquetWriteOptions`, as far as they have a meaning here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    compression: Option<Value>,
    statistics: Statistics,
    row_group_size: Option<usize>,
    data_page_size: Option<usize>,
    key_value_metadata: Option<Value>,
    arrow_schema: Option<Value>,
    encryption_properties: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Statistics {
    min_value: bool,
    max_value: bool,
}

impl Default for Statistics {
    fn default() -> Self {
        Self { min_value: true, max_value: true }
    }
}

fn properties(place: &str, format: &Value) -> Result<WriterProperties> {
    let options =
        if format.is_null() { Options::default() } else { crate::files::format::parse("parquet", format)? };
    for (name, value) in
        [("arrow_schema", &options.arrow_schema), ("encryption", &options.encryption_properties)]
    {
        if value.is_some() {
            return Err(EngineError::call(place, format!("sink_parquet without {name}="), "one"));
        }
    }
    let statistics = options.statistics.min_value || options.statistics.max_value;
    let mut builder = WriterProperties::builder()
        .set_created_by(format!("dataflare_fast {}", env!("CARGO_PKG_VERSION")))
        .set_compression(compression(place, options.compression.as_ref())?)
        .set_max_row_group_row_count(Some(options.row_group_size.unwrap_or(ROW_GROUP_ROWS).max(1)))
        .set_statistics_enabled(if statistics { EnabledStatistics::Chunk } else { EnabledStatistics::None })
        .set_key_value_metadata(metadata(place, options.key_value_metadata.as_ref())?);
    if let Some(bytes) = options.data_page_size {
        builder = builder.set_data_page_size_limit(bytes);
    }
    Ok(builder.build())
}

fn compression(place: &str, value: Option<&Value>) -> Result<Compression> {
    let (name, level) = match value {
        None => ("Zstd", None),
        Some(Value::String(name)) => (name.as_str(), None),
        Some(Value::Object(one)) => match one.iter().next() {
            Some((name, level)) => (name.as_str(), level.as_i64()),
            None => ("", None),
        },
        Some(_) => ("", None),
    };
    let level = level.map(i32::try_from).transpose().map_err(|_| wrong_level(place))?;
    Ok(match name {
        "Uncompressed" => Compression::UNCOMPRESSED,
        "Snappy" => Compression::SNAPPY,
        "Lz4Raw" => Compression::LZ4_RAW,
        "Zstd" => Compression::ZSTD(ZstdLevel::try_new(level.unwrap_or(3)).map_err(|_| wrong_level(place))?),
        "Gzip" => {
            let level = u32::try_from(level.unwrap_or(6)).map_err(|_| wrong_level(place))?;
            Compression::GZIP(GzipLevel::try_new(level).map_err(|_| wrong_level(place))?)
        }
        other => {
            let expected = "compression zstd, lz4, snappy, gzip or uncompressed";
            return Err(EngineError::call(place, expected, format!("'{}'", other.to_lowercase())));
        }
    })
}

fn wrong_level(place: &str) -> EngineError {
    EngineError::call(place, "a compression_level that the codec knows", "another")
}

/// `metadata={...}` of `sink_parquet`.
fn metadata(place: &str, value: Option<&Value>) -> Result<Option<Vec<KeyValue>>> {
    let Some(value) = value else { return Ok(None) };
    let pairs = value.get("Static").and_then(|pairs| Vec::<(String, String)>::deserialize(pairs).ok());
    let pairs = pairs
        .ok_or_else(|| EngineError::call(place, "metadata as a dictionary of texts", "something else"))?;
    Ok(Some(pairs.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect()))
}

/// Field metadata: (column, key, value).
pub type Marks = Vec<(usize, &'static str, String)>;

/// The metadata by which Polars reads a column back as what it was.
pub fn marks(schema: &Schema) -> Marks {
    let mark = |dtype: &DataType| match dtype {
        DataType::Categorical => Some(("_PL_CATEGORICAL2", "0;0;u32;".to_owned())),
        DataType::Enum { categories } => {
            let values = categories.iter().map(|category| format!("{};{category}", category.len()));
            Some(("_PL_ENUM_VALUES2", values.collect()))
        }
        _ => None,
    };
    let columns = schema.iter().enumerate();
    columns.filter_map(|(index, field)| mark(&field.dtype).map(|(key, value)| (index, key, value))).collect()
}

/// A schema with such metadata.
pub fn marked(schema: &SchemaRef, marks: &Marks) -> SchemaRef {
    let marked = |(index, field): (usize, &Arc<ArrowField>)| {
        let marks = marks.iter().filter(|(column, ..)| *column == index);
        let metadata: HashMap<_, _> =
            marks.map(|(_, key, value)| ((*key).to_owned(), value.clone())).collect();
        field.as_ref().clone().with_metadata(metadata)
    };
    Arc::new(ArrowSchema::new(schema.fields().iter().enumerate().map(marked).collect::<Vec<_>>()))
}

struct ParquetParts {
    properties: WriterProperties,
    marks: Marks,
}

impl PartFormat for ParquetParts {
    fn extension(&self) -> String {
        "parquet".to_owned()
    }

    fn create(&self, file: File, schema: &SchemaRef) -> Result<Box<dyn Rolled>, String> {
        let schema = marked(schema, &self.marks);
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(self.properties.clone()));
        Ok(Box::new(ParquetPart { writer: writer.map_err(|error| error.to_string())?, schema }))
    }
}

struct ParquetPart {
    writer: ArrowWriter<File>,
    schema: SchemaRef,
}

impl Rolled for ParquetPart {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let batch = batch.clone().with_schema(Arc::clone(&self.schema)).map_err(|error| error.to_string())?;
        self.writer.write(&batch).map_err(|error| error.to_string())
    }

    fn finish(self: Box<Self>) -> Result<File, String> {
        self.writer.into_inner().map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::parquet_sink;
    use crate::files::parquet::source::parquet_source;
    use crate::testing::drain;
    use arrow::compute::concat_batches;
    use dataflare_engine::Batch;
    use dataflare_engine::sink::Sink;
    use dataflare_plan::Schema;
    use parquet::basic::Compression;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use serde_json::{Value, json};
    use std::fs::File;
    use std::path::Path;

    /// Writes the file of all types into `path`.
    fn write(path: &Path, format: &Value) -> Result<(), String> {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let schema: Schema =
            serde_json::from_slice(&std::fs::read(data.join("types.schema.json")).unwrap()).unwrap();
        let source = parquet_source(&json!({"paths": [data.join("types.parquet")]}), &schema).unwrap();
        let options = json!({"path": path, "layout": "file", "format": format});
        let sink = parquet_sink(&options, &schema).map_err(|error| error.to_string())?;
        let mut writer = sink.writer(0, 1, Vec::new()).unwrap();
        let records = drain(&source, None).unwrap().remove(0).records;
        writer.write(Batch::new(records.clone())).unwrap();
        sink.confirm(1, &[writer.prepare(1, 0, true).unwrap()().unwrap()]).unwrap();
        let again = parquet_source(&json!({"paths": [path]}), &schema).unwrap();
        let again: Vec<_> = drain(&again, None).unwrap().into_iter().map(|taken| taken.records).collect();
        assert_eq!(concat_batches(&records.schema(), &again).unwrap(), records);
        Ok(())
    }

    #[test]
    fn every_type_comes_back_and_polars_options_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("types.parquet");
        for (name, codec) in [("Snappy", Compression::SNAPPY), ("Uncompressed", Compression::UNCOMPRESSED)] {
            let format = json!({"compression": name, "row_group_size": 2, "key_value_metadata": {"Static": [["k", "v"]]},
                "statistics": {"min_value": false, "max_value": false, "null_count": false}});
            write(&path, &format).unwrap();
            let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
            let metadata = reader.metadata();
            assert_eq!(
                (metadata.num_row_groups(), metadata.row_group(0).column(0).compression()),
                (2, codec)
            );
            let pairs = metadata.file_metadata().key_value_metadata().unwrap();
            assert!(pairs.iter().any(|pair| pair.key == "k" && pair.value.as_deref() == Some("v")));
        }
        for format in
            [json!(null), json!({"compression": {"Zstd": 1}}), json!({"compression": {"Gzip": null}})]
        {
            write(&path, &format).unwrap();
        }
        let refused = write(&path, &json!({"compression": {"Brotli": null}})).unwrap_err();
        assert!(refused.ends_with("got 'brotli'"), "{refused}");
    }
}
