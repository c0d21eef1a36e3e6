//! Messages of a partition to columns. Runs on the workers.
//!
//! A message is decoded once: what does not fit is taken back and becomes a rejected row with its topic, partition,
//! offset and field. Not here: how bytes are written (`payload.rs`).

use super::cluster::Partition;
use super::payload::{Bad, Newest, Payload};
use super::queue::{Message, Messages};
use super::registry::Registry;
use crate::columns::Column;
use arrow::array::{
    ArrayRef, BinaryViewBuilder, Int32Array, Int64Array, LargeListArray, RecordBatch, RecordBatchOptions,
    StringViewBuilder, StructArray, TimestampMicrosecondArray, TimestampMillisecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, SchemaRef};
use dataflare_engine::source::{Decoded, Rejected, Waker};
use dataflare_engine::types::arrow_schema;
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{DataType, Field};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longer reasons are cut: they may quote the whole message.
const REASON_CHARS: usize = 300;

/// How the key or the value of a message is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// One JSON object, whose fields are the columns.
    #[default]
    Json,
    /// Bytes or text: the one column that is not added by `columns`.
    Raw,
    /// Avro behind the id of its schema.
    Avro,
    /// Protobuf behind the id of its schema.
    Protobuf,
}

/// What a message without a value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tombstones {
    /// A bad message.
    #[default]
    Error,
    /// A row of nulls.
    Null,
    /// No row.
    Drop,
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
    /// When the engine took the message: another value each time it is read.
    Arrival,
}

/// Where a column comes from.
#[derive(Clone, Copy, Debug)]
enum Origin {
    /// The field of the value with this place.
    Field(usize),
    Extra(Extra),
}

/// How messages are read, as options say it.
#[derive(Clone, Debug)]
pub(super) struct Reading<'a> {
    pub(super) value: Format,
    pub(super) key: Format,
    pub(super) tombstones: Tombstones,
    pub(super) columns: &'a BTreeMap<Extra, String>,
    pub(super) registry: Option<Arc<Registry>>,
}

/// The columns of a source.
#[derive(Debug)]
pub(super) struct Decoding {
    schema: SchemaRef,
    origins: Vec<Origin>,
    fields: Vec<Field>,
    value: Payload,
    key: Option<(DataType, Payload)>,
    tombstones: Tombstones,
    registry: Option<Arc<Registry>>,
}

impl Decoding {
    pub(super) fn new(fields: &[Field], reading: &Reading<'_>) -> Result<Self> {
        let schema = arrow_schema(fields);
        let (mut origins, mut value_fields, mut key) = (Vec::new(), Vec::new(), None);
        for field in fields {
            let extra =
                reading.columns.iter().find(|(_, name)| **name == field.name).map(|(extra, _)| *extra);
            origins.push(match extra {
                Some(Extra::Key) => {
                    let payload = Payload::new(
                        "key",
                        reading.key,
                        reading.registry.as_ref(),
                        &key_fields(field, reading.key)?,
                    )?;
                    Column::new(&field.dtype).map_err(|found| unreadable(&field.name, found))?;
                    key = Some((field.dtype.clone(), payload));
                    Origin::Extra(Extra::Key)
                }
                Some(extra) => {
                    extra.check(field)?;
                    Origin::Extra(extra)
                }
                None => {
                    value_fields.push(field.clone());
                    Origin::Field(value_fields.len() - 1)
                }
            });
        }
        let value = Payload::new("value", reading.value, reading.registry.as_ref(), &value_fields)?;
        Column::of_message(&value_fields).map_err(|found| unreadable("value", found))?;
        let registry = reading.registry.clone().filter(|_| {
            value.is_registered() || key.as_ref().is_some_and(|(_, payload)| payload.is_registered())
        });
        Ok(Self {
            schema,
            origins,
            fields: value_fields,
            value,
            key,
            tombstones: reading.tombstones,
            registry,
        })
    }

    /// No rows.
    pub(super) fn nothing(&self) -> Decoded {
        Decoded::whole(RecordBatch::new_empty(Arc::clone(&self.schema)))
    }

    /// True once every schema that the messages name is known; else `waker` is called when one has come.
    ///
    /// # Errors
    /// The registry was given up, or refuses us.
    pub(super) fn is_ready(&self, messages: &Messages, waker: &Waker) -> Result<bool> {
        let Some(registry) = &self.registry else { return Ok(true) };
        let (mut ready, mut newest) = (true, None);
        for message in messages.iter() {
            let value = message.payload().filter(|_| self.value.is_registered());
            let key = message.key().filter(|_| self.key.as_ref().is_some_and(|(_, key)| key.is_registered()));
            for id in [value, key].into_iter().flatten().filter_map(Payload::schema_id) {
                // Neighbours mostly have the same schema.
                if newest != Some(id) {
                    ready &= registry.is_known(id, waker)?;
                    newest = Some(id);
                }
            }
        }
        Ok(ready)
    }

    /// `arrived`: microseconds since 1970.
    pub(super) fn decode(&self, partition: &Partition, messages: &Messages, arrived: i64) -> Result<Decoded> {
        let columns_of = |found| EngineError::internal("kafka columns", found);
        let mut values = Column::of_message(&self.fields).map_err(columns_of)?;
        let mut keys = match &self.key {
            Some((dtype, _)) => Some(Column::new(dtype).map_err(columns_of)?),
            None => None,
        };
        let (mut good, mut rejected) = (Vec::new(), Vec::new());
        let mut newest = Newest::default();
        for message in messages.iter() {
            match self.row(message, &mut values, keys.as_mut(), &mut newest) {
                Ok(true) => good.push(message),
                Ok(false) => {}
                Err(bad) => {
                    values.truncate(good.len());
                    if let Some(keys) = &mut keys {
                        keys.truncate(good.len());
                    }
                    rejected.push(reject(partition, message, &bad));
                }
            }
        }
        let values = values.take_fields()?;
        let keys = keys.map(|mut keys| keys.take()).transpose()?;
        let missing = || EngineError::internal("kafka", "a column that no message has");
        let columns = self.origins.iter().zip(self.schema.fields()).map(|(origin, field)| match origin {
            Origin::Field(place) => values.get(*place).cloned().ok_or_else(missing),
            Origin::Extra(Extra::Key) => keys.clone().ok_or_else(missing),
            Origin::Extra(extra) => extra.column(&good, partition, arrived, field.data_type()),
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(good.len()));
        let records = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        Ok(Decoded { records, positions: positions(messages, &good), rejected })
    }

    /// Adds the message as a row; false: it is none.
    fn row(
        &self,
        message: Message<'_>,
        values: &mut Column,
        keys: Option<&mut Column>,
        newest: &mut Newest,
    ) -> std::result::Result<bool, Bad> {
        match (message.payload(), self.tombstones) {
            (Some(payload), _) => self.value.read(payload, values, newest)?,
            (None, Tombstones::Null) => values.push_null(),
            (None, Tombstones::Drop) => return Ok(false),
            (None, Tombstones::Error) => return Err(Bad::tombstone()),
        }
        if let (Some(keys), Some((_, payload))) = (keys, &self.key) {
            match message.key() {
                Some(key) => payload.read(key, keys, newest)?,
                None => keys.push_null(),
            }
        }
        Ok(true)
    }
}

/// The fields of a key: those of its struct, or the column itself.
fn key_fields(field: &Field, format: Format) -> Result<Vec<Field>> {
    match (&field.dtype, format) {
        (_, Format::Raw) => Ok(vec![field.clone()]),
        (DataType::Struct(fields), _) => Ok(fields.clone()),
        (other, _) => Err(EngineError::call(place(field), "a Struct of the key's fields", other.to_string())),
    }
}

fn unreadable(place: &str, found: String) -> EngineError {
    EngineError::call(format!("kafka {place}"), "column types that a message holds", found)
}

impl Extra {
    fn check(self, field: &Field) -> Result<()> {
        let (fits, expected) = match (self, &field.dtype) {
            (Self::Key, _) => (true, "the type of the key"),
            (Self::Topic, dtype) => (matches!(dtype, DataType::String), "String"),
            (Self::Partition | Self::Offset, dtype) => (dtype.is_integer(), "an integer type"),
            (Self::Timestamp | Self::Arrival, dtype) => {
                (matches!(dtype, DataType::Datetime { .. }), "a Datetime")
            }
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

    fn column(
        self,
        messages: &[Message<'_>],
        partition: &Partition,
        arrived: i64,
        dtype: &Arrow,
    ) -> Result<ArrayRef> {
        let column: ArrayRef = match self {
            Self::Key => return Err(EngineError::internal("kafka", "the key is decoded with the value")),
            Self::Arrival => {
                Arc::new(TimestampMicrosecondArray::from_value(arrived, messages.len()).with_timezone("UTC"))
            }
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

fn reject(partition: &Partition, message: Message<'_>, bad: &Bad) -> Rejected {
    let mut text: String = bad.reason.chars().take(REASON_CHARS).collect();
    if text.len() < bad.reason.len() {
        text.push('…');
    }
    Rejected {
        code: bad.code,
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
