//! Avro files: `.stream.sink_avro`.
//!
//! Not here: when a file begins, ends and appears (`sink.rs`). Called by the registry.

use crate::files::format::{PartFormat, Rolled, parse};
use crate::files::sink::FileSink;
use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, Field as ArrowField, FieldRef, Schema as ArrowSchema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow_avro::compression::CompressionCodec;
use arrow_avro::writer::format::AvroOcfFormat;
use arrow_avro::writer::{Writer, WriterBuilder};
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{DataType, Schema, TimeUnit};
use serde::Deserialize;
use serde_json::Value;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    compression: Option<String>,
}

/// A sink of Avro files.
///
/// # Errors
/// [`EngineError::Call`]: an option or a column type that is not supported.
pub fn avro_sink(options: &Value, schema: &Schema) -> Result<FileSink> {
    FileSink::new("avro", options, schema, |options, written| {
        let place = options.path.display().to_string();
        let format: Options =
            if options.format.is_null() { Options::default() } else { parse("avro", &options.format)? };
        let codec = match format.compression.as_deref() {
            None | Some("uncompressed") => None,
            Some("deflate") => Some(CompressionCodec::Deflate),
            Some("snappy") => Some(CompressionCodec::Snappy),
            Some("zstd") => Some(CompressionCodec::ZStandard),
            Some(other) => {
                let expected = "compression uncompressed, deflate, snappy or zstd";
                return Err(EngineError::call(place, expected, format!("'{other}'")));
            }
        };
        for field in written {
            if !is_held(&field.dtype) {
                let place = format!("{place}, column '{}'", field.name);
                let expected = "a type that Avro holds (integers to Int64, floats, Boolean, String, Binary, Date, \
                                Datetime in ms or us and UTC or no zone, List, Struct): cast it";
                return Err(EngineError::call(place, expected, field.dtype.to_string()));
            }
        }
        Ok(Box::new(AvroParts { codec }))
    })
}

/// True if a column of this type is read back as what it was, or as what it says (a category as its text).
fn is_held(dtype: &DataType) -> bool {
    match dtype {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::Float32
        | DataType::Float64
        | DataType::String
        | DataType::Binary
        | DataType::Categorical
        | DataType::Enum { .. }
        | DataType::Date => true,
        DataType::Datetime { unit, zone } => {
            *unit != TimeUnit::Nanoseconds && zone.as_deref().is_none_or(|zone| zone == "UTC")
        }
        DataType::List(inner) => is_held(inner),
        DataType::Struct(fields) => fields.iter().all(|field| is_held(&field.dtype)),
        _ => false,
    }
}

struct AvroParts {
    codec: Option<CompressionCodec>,
}

impl PartFormat for AvroParts {
    fn extension(&self) -> String {
        "avro".to_owned()
    }

    fn create(&self, file: File, schema: &SchemaRef) -> Result<Box<dyn Rolled>, String> {
        Ok(Box::new(AvroPart::new(BufWriter::with_capacity(1 << 18, file), schema, self.codec)?))
    }
}

struct AvroPart<W: Write> {
    writer: Writer<W, AvroOcfFormat>,
    schema: SchemaRef,
}

/// As what a column is written: Avro has no views, no numbers without a sign; categories become texts.
fn written_type(dtype: &Arrow) -> Arrow {
    let item = |field: &FieldRef| Arc::new(ArrowField::new("item", written_type(field.data_type()), true));
    match dtype {
        Arrow::Utf8View | Arrow::Dictionary(..) => Arrow::Utf8,
        Arrow::BinaryView => Arrow::Binary,
        Arrow::Int8 | Arrow::Int16 | Arrow::UInt8 | Arrow::UInt16 => Arrow::Int32,
        Arrow::UInt32 => Arrow::Int64,
        Arrow::Timestamp(unit, Some(_)) => Arrow::Timestamp(*unit, Some("+00:00".into())),
        Arrow::LargeList(field) | Arrow::FixedSizeList(field, _) => Arrow::List(item(field)),
        Arrow::Struct(fields) => Arrow::Struct(
            fields
                .iter()
                .map(|field| ArrowField::new(field.name(), written_type(field.data_type()), true))
                .collect(),
        ),
        other => other.clone(),
    }
}

impl<W: Write> AvroPart<W> {
    fn new(out: W, schema: &SchemaRef, codec: Option<CompressionCodec>) -> Result<Self, String> {
        let fields = schema
            .fields()
            .iter()
            .map(|field| ArrowField::new(field.name(), written_type(field.data_type()), true));
        let schema = ArrowSchema::new(fields.collect::<Vec<_>>());
        let writer =
            WriterBuilder::new(schema.clone()).with_compression(codec).build::<W, AvroOcfFormat>(out);
        Ok(Self { writer: writer.map_err(|error| error.to_string())?, schema: Arc::new(schema) })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let columns = batch.columns().iter().zip(self.schema.fields());
        let columns = columns
            .map(|(column, field)| cast(column, field.data_type()))
            .collect::<Result<Vec<ArrayRef>, _>>();
        let columns = columns.map_err(|error| error.to_string())?;
        let batch =
            RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|error| error.to_string())?;
        self.writer.write(&batch).map_err(|error| error.to_string())
    }
}

impl Rolled for AvroPart<BufWriter<File>> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), String> {
        Self::write(self, batch)
    }

    fn finish(mut self: Box<Self>) -> Result<File, String> {
        self.writer.finish().map_err(|error| error.to_string())?;
        self.writer.into_inner().into_inner().map_err(|error| error.error().to_string())
    }
}
