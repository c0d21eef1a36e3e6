//! Messages of a partition to columns. Runs on the workers.
//!
//! The common case decodes a batch in one go. If one message spoils it, each is tried alone, and the bad ones become
//! rejected rows with their topic, partition and offset.

use super::cluster::Partition;
use super::queue::{Message, Messages};
use crate::json;
use arrow::array::{
    ArrayRef, BinaryViewBuilder, Int32Array, Int64Array, LargeListArray, RecordBatch, RecordBatchOptions,
    StringViewBuilder, StructArray, TimestampMillisecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, Schema as ArrowSchema, SchemaRef};
use dataflare_engine::source::{Decoded, Rejected};
use dataflare_engine::types::arrow_schema;
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{DataType, Field};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longer reasons are cut: they may quote the whole message.
const REASON_CHARS: usize = 300;

/// How the value of a message is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// One JSON object, whose fields are the columns.
    #[default]
    Json,
    /// Bytes or text: the one column that is not added by `columns`.
    Raw,
}

/// What else of a message can be a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Extra {
    Key,
    Topic,
    Partition,
    Offset,
    Timestamp,
    Headers,
}

/// Where a column comes from.
#[derive(Clone, Copy, Debug)]
enum Origin {
    /// The field of the JSON object with this place in `Decoding::json`.
    Field(usize),
    Raw,
    Extra(Extra),
}

/// The columns of a source.
#[derive(Debug)]
pub(super) struct Decoding {
    schema: SchemaRef,
    origins: Vec<Origin>,
    format: Format,
    /// The fields that are read from the JSON object.
    json: SchemaRef,
}

impl Decoding {
    /// `columns` says which columns hold something else than the value.
    pub(super) fn new(fields: &[Field], format: Format, columns: &BTreeMap<Extra, String>) -> Result<Self> {
        let schema = arrow_schema(fields);
        let (mut origins, mut json_fields) = (Vec::new(), Vec::new());
        for (field, arrow) in fields.iter().zip(schema.fields()) {
            let extra = columns.iter().find(|(_, name)| **name == field.name);
            origins.push(match (extra, format) {
                (Some((extra, _)), _) => {
                    extra.check(field)?;
                    Origin::Extra(*extra)
                }
                (None, Format::Json) => {
                    json_fields.push(Arc::clone(arrow));
                    Origin::Field(json_fields.len() - 1)
                }
                (None, Format::Raw) => Origin::Raw,
            });
        }
        let raw = || {
            fields
                .iter()
                .zip(&origins)
                .filter(|(_, origin)| matches!(origin, Origin::Raw))
                .map(|(field, _)| field)
        };
        if let Some(field) = raw().find(|field| !matches!(field.dtype, DataType::Binary | DataType::String)) {
            return Err(EngineError::call(
                place(field),
                "Binary or String for value=\"raw\"",
                field.dtype.to_string(),
            ));
        }
        if let Some(field) = raw().nth(1) {
            return Err(EngineError::call(place(field), "one column for value=\"raw\"", "a second one"));
        }
        let json = Arc::new(ArrowSchema::new(json_fields));
        json::decoder(&json, 1).map_err(|error| {
            EngineError::call("kafka value", "column types that JSON holds", error.to_string())
        })?;
        Ok(Self { schema, origins, format, json })
    }

    /// No rows.
    pub(super) fn nothing(&self) -> Decoded {
        Decoded::whole(RecordBatch::new_empty(Arc::clone(&self.schema)))
    }

    pub(super) fn decode(&self, partition: &Partition, messages: &Messages) -> Result<Decoded> {
        let mut rejected = Vec::new();
        let all: Vec<Message<'_>> = messages.iter().collect();
        let mut good = self.without_bad_text(&all, partition, &mut rejected);
        let values = match (self.format, self.json_values(&good)) {
            (Format::Raw, _) => None,
            (Format::Json, Ok(values)) => Some(values),
            (Format::Json, Err(_)) => {
                good = self.one_by_one(&good, partition, &mut rejected)?;
                // Each of them was decoded alone.
                let values = self
                    .json_values(&good)
                    .map_err(|reason| EngineError::internal("kafka's JSON", reason))?;
                Some(values)
            }
        };
        let columns = self.origins.iter().zip(self.schema.fields()).map(|(origin, field)| match origin {
            Origin::Field(index) => match &values {
                Some(values) => Ok(Arc::clone(values.column(*index))),
                None => Err(EngineError::internal("kafka", "a field of a value that is not JSON")),
            },
            Origin::Raw => bytes_column(&good, Message::payload, field.data_type()),
            Origin::Extra(extra) => extra.column(&good, partition, field.data_type()),
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(good.len()));
        let records = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        Ok(Decoded { records, positions: positions(messages, &good), rejected })
    }

    /// The messages whose key and value are text where a column wants text.
    fn without_bad_text<'a>(
        &self,
        messages: &[Message<'a>],
        partition: &Partition,
        rejected: &mut Vec<Rejected>,
    ) -> Vec<Message<'a>> {
        let wants_text = |wanted: fn(&Origin) -> bool| {
            let mut columns = self.origins.iter().zip(self.schema.fields());
            columns.any(|(origin, field)| wanted(origin) && field.data_type() == &Arrow::Utf8View)
        };
        let key = wants_text(|origin| matches!(origin, Origin::Extra(Extra::Key)));
        let value = wants_text(|origin| matches!(origin, Origin::Raw));
        if !key && !value {
            return messages.to_vec();
        }
        let is_text = |bytes: Option<&[u8]>| bytes.is_none_or(|bytes| std::str::from_utf8(bytes).is_ok());
        let mut good = Vec::with_capacity(messages.len());
        for message in messages {
            let bad = if key && !is_text(message.key()) {
                Some("key")
            } else if value && !is_text(message.payload()) {
                Some("value")
            } else {
                None
            };
            match bad {
                None => good.push(*message),
                Some(part) => rejected.push(reject(
                    partition,
                    *message,
                    "utf8",
                    &format!("its {part} is not UTF-8 text"),
                )),
            }
        }
        good
    }

    /// All values at once; an error if one of them is bad.
    fn json_values(&self, messages: &[Message<'_>]) -> Result<RecordBatch, String> {
        let mut decoder = json::decoder(&self.json, messages.len()).map_err(|error| error.to_string())?;
        for (index, message) in messages.iter().enumerate() {
            let payload = message.payload().ok_or("no value: it is a tombstone")?;
            let read = decoder.decode(payload).map_err(|error| error.to_string())?;
            if read != payload.len() || decoder.has_partial_record() || decoder.len() != index + 1 {
                return Err("its value is not one JSON object".to_string());
            }
        }
        let batch = decoder.flush().map_err(|error| error.to_string())?;
        Ok(batch.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&self.json))))
    }

    /// Tries each message alone; returns the good ones.
    fn one_by_one<'a>(
        &self,
        messages: &[Message<'a>],
        partition: &Partition,
        rejected: &mut Vec<Rejected>,
    ) -> Result<Vec<Message<'a>>> {
        let mut good = Vec::with_capacity(messages.len());
        for message in messages {
            match self.json_values(std::slice::from_ref(message)) {
                Ok(_) => good.push(*message),
                Err(_) if message.payload().is_none() => {
                    let reason = "expected a JSON object, got no value (a tombstone)";
                    rejected.push(reject(partition, *message, "tombstone", reason));
                }
                Err(reason) => rejected.push(reject(partition, *message, "json", &reason)),
            }
        }
        Ok(good)
    }
}

impl Extra {
    fn check(self, field: &Field) -> Result<()> {
        let (fits, expected) = match (self, &field.dtype) {
            (Self::Key, dtype) => (matches!(dtype, DataType::Binary | DataType::String), "Binary or String"),
            (Self::Topic, dtype) => (matches!(dtype, DataType::String), "String"),
            (Self::Partition | Self::Offset, dtype) => (dtype.is_integer(), "an integer type"),
            (Self::Timestamp, dtype) => (matches!(dtype, DataType::Datetime { .. }), "a Datetime"),
            (Self::Headers, DataType::List(inner)) => {
                let pair = matches!(&**inner, DataType::Struct(parts)
                    if matches!(parts.as_slice(), [name, value]
                        if name.dtype == DataType::String && value.dtype == DataType::Binary));
                (pair, HEADERS)
            }
            (Self::Headers, _) => (false, HEADERS),
        };
        if fits { Ok(()) } else { Err(EngineError::call(place(field), expected, field.dtype.to_string())) }
    }

    fn column(self, messages: &[Message<'_>], partition: &Partition, dtype: &Arrow) -> Result<ArrayRef> {
        let column: ArrayRef = match self {
            Self::Key => return bytes_column(messages, Message::key, dtype),
            Self::Topic => {
                let mut topics = StringViewBuilder::with_capacity(messages.len());
                messages.iter().for_each(|_| topics.append_value(&partition.0));
                Arc::new(topics.finish())
            }
            Self::Partition => Arc::new(Int32Array::from_value(partition.1, messages.len())),
            Self::Offset => Arc::new(messages.iter().map(|message| message.offset()).collect::<Int64Array>()),
            Self::Timestamp => {
                let times = messages.iter().map(|message| message.timestamp_ms());
                Arc::new(times.collect::<TimestampMillisecondArray>().with_timezone("UTC"))
            }
            Self::Headers => return headers_column(messages, dtype),
        };
        if column.data_type() == dtype { Ok(column) } else { Ok(cast(&column, dtype)?) }
    }
}

const HEADERS: &str = "List(Struct(name: String, value: Binary))";

fn place(field: &Field) -> String {
    format!("kafka column {}", field.name)
}

fn reject(partition: &Partition, message: Message<'_>, code: &'static str, reason: &str) -> Rejected {
    let mut text: String = reason.chars().take(REASON_CHARS).collect();
    if text.len() < reason.len() {
        text.push('…');
    }
    Rejected {
        code,
        message: text,
        offset: format!("{}[{}] offset {}", partition.0, partition.1, message.offset()),
    }
}

/// Offsets of the rows, where they are not one after the other.
fn positions(messages: &Messages, good: &[Message<'_>]) -> Option<Vec<u64>> {
    let first = messages.first()?.offset();
    let dense = good.iter().zip(first..).all(|(message, expected)| message.offset() == expected);
    (!dense).then(|| good.iter().map(|message| u64::try_from(message.offset()).unwrap_or(0)).collect())
}

fn bytes_column<'a>(
    messages: &[Message<'a>],
    part: impl Fn(Message<'a>) -> Option<&'a [u8]>,
    dtype: &Arrow,
) -> Result<ArrayRef> {
    if dtype == &Arrow::Utf8View {
        let mut texts = StringViewBuilder::with_capacity(messages.len());
        for message in messages {
            // `without_bad_text` has rejected everything else.
            texts.append_option(part(*message).and_then(|bytes| std::str::from_utf8(bytes).ok()));
        }
        return Ok(Arc::new(texts.finish()));
    }
    let mut values = BinaryViewBuilder::with_capacity(messages.len());
    messages.iter().for_each(|message| values.append_option(part(*message)));
    Ok(Arc::new(values.finish()))
}

fn headers_column(messages: &[Message<'_>], dtype: &Arrow) -> Result<ArrayRef> {
    let broken = || EngineError::internal("kafka headers", format!("a column of type {dtype}"));
    let Arrow::LargeList(item) = dtype else { return Err(broken()) };
    let Arrow::Struct(parts) = item.data_type() else { return Err(broken()) };
    let (mut names, mut values, mut lengths) =
        (StringViewBuilder::new(), BinaryViewBuilder::new(), Vec::new());
    for message in messages {
        let headers = message.headers();
        lengths.push(headers.len());
        for (name, value) in headers {
            names.append_value(String::from_utf8_lossy(name));
            values.append_option(value);
        }
    }
    let pairs =
        StructArray::try_new(parts.clone(), vec![Arc::new(names.finish()), Arc::new(values.finish())], None)?;
    Ok(Arc::new(LargeListArray::try_new(
        Arc::clone(item),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(pairs),
        None,
    )?))
}
