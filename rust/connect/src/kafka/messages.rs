//! A batch as messages of a topic: key, value, headers and time of each row. Called by `sink.rs`, which sends them.

use crate::json;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, LargeListArray, RecordBatch, StringViewArray, StructArray,
    TimestampMillisecondArray, UInt8Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, TimeUnit, TimestampMillisecondType};
use dataflare_engine::event::{Batch, Change};
use dataflare_engine::types::arrow_schema;
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{DataType, Field};
use rdkafka::message::{Header, OwnedHeaders};

/// The columns that the user names.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) key: Vec<String>,
    pub(super) headers: Option<String>,
    pub(super) timestamp: Option<String>,
    pub(super) raw: bool,
}

/// Which columns become what.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) key: Vec<usize>,
    headers: Option<usize>,
    timestamp: Option<usize>,
    /// The columns of the value: all but the headers; or the one that is the value.
    value: Vec<usize>,
    raw: bool,
}

impl Layout {
    /// # Errors
    /// A name that is no column, a type that cannot be sent.
    pub(super) fn new(wanted: &Wanted, fields: &[Field]) -> Result<Self> {
        let place = |option: &str, name: &str| {
            fields.iter().position(|field| field.name == name).ok_or_else(|| {
                let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
                let expected = format!("a column among {}", names.join(", "));
                EngineError::call(format!("kafka sink {option}"), expected, name)
            })
        };
        let typed = |option: &str, name: &Option<String>, fits: fn(&DataType) -> bool, expected: &str| {
            let Some(name) = name else { return Ok(None) };
            let found = place(option, name)?;
            match fields.get(found).map(|field| &field.dtype) {
                Some(dtype) if !fits(dtype) => {
                    Err(EngineError::call(format!("kafka sink {option} {name}"), expected, dtype.to_string()))
                }
                _ => Ok(Some(found)),
            }
        };
        let key = wanted.key.iter().map(|name| place("key", name)).collect::<Result<Vec<_>>>()?;
        let headers = typed(
            "headers",
            &wanted.headers,
            are_headers,
            "List(Struct(key: String, value: Binary or String))",
        )?;
        let is_time = |dtype: &DataType| matches!(dtype, DataType::Datetime { .. });
        let timestamp = typed("timestamp", &wanted.timestamp, is_time, "a Datetime")?;
        let is_value = |column: &usize| {
            let apart = wanted.raw && (key.contains(column) || timestamp == Some(*column));
            headers != Some(*column) && !apart
        };
        let value: Vec<usize> = (0..fields.len()).filter(is_value).collect();
        let of_value: Vec<Field> = value.iter().filter_map(|column| fields.get(*column)).cloned().collect();
        if wanted.raw {
            let is_raw = |field: &Field| matches!(field.dtype, DataType::String | DataType::Binary);
            if of_value.len() != 1 || !of_value.iter().all(is_raw) {
                let found: Vec<String> =
                    of_value.iter().map(|field| format!("{}: {}", field.name, field.dtype)).collect();
                let expected = "one column of type String or Binary beside key, headers and timestamp";
                return Err(EngineError::call(
                    "kafka sink value",
                    expected,
                    format!("({})", found.join(", ")),
                ));
            }
        } else {
            json::check(&arrow_schema(&of_value)).map_err(|error| {
                EngineError::call("kafka sink", "column types that JSON holds", error.to_string())
            })?;
        }
        Ok(Self { key, headers, timestamp, value, raw: wanted.raw })
    }
}

fn are_headers(dtype: &DataType) -> bool {
    let DataType::List(inner) = dtype else { return false };
    let DataType::Struct(parts) = &**inner else { return false };
    matches!(parts.as_slice(), [name, value] if name.dtype == DataType::String
        && matches!(value.dtype, DataType::Binary | DataType::String))
}

/// A batch as messages.
pub(super) struct Encoded {
    values: Texts,
    keys: Texts,
    headers: Option<Pairs>,
    times: Option<TimestampMillisecondArray>,
    changes: Option<UInt8Array>,
    rows: usize,
    pub(super) next: usize,
}

/// One message. No value: a tombstone.
pub(super) struct Encodable<'a> {
    pub(super) row: usize,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: Option<OwnedHeaders>,
    pub(super) time_ms: Option<i64>,
}

impl Encoded {
    pub(super) fn new(batch: &Batch, layout: &Layout) -> Result<Self> {
        let records = &batch.records;
        let value = records.project(&layout.value)?;
        let values = match value.columns() {
            [only] if layout.raw => Texts::raw(only)?,
            _ => Texts::Objects(Lines::new(&value)?),
        };
        let key = records.project(&layout.key)?;
        let keys = match key.columns() {
            [] => Texts::None,
            [only] if matches!(only.data_type(), Arrow::Utf8View | Arrow::BinaryView) => Texts::raw(only)?,
            _ => Texts::Objects(Lines::new(&key)?),
        };
        let times = match layout.timestamp {
            None => None,
            Some(column) => {
                let times = cast(records.column(column), &Arrow::Timestamp(TimeUnit::Millisecond, None))?;
                Some(times.as_primitive::<TimestampMillisecondType>().clone())
            }
        };
        let headers = layout.headers.map(|column| Pairs::new(records.column(column))).transpose()?;
        Ok(Self { values, keys, headers, times, changes: batch.changes.clone(), rows: batch.rows(), next: 0 })
    }

    pub(super) fn left(&self) -> usize {
        self.rows - self.next
    }

    /// The message of the next row: `None` behind the last, `Some(None)` for a row that is none.
    pub(super) fn message(&self) -> Option<Option<Encodable<'_>>> {
        if self.next >= self.rows {
            return None;
        }
        let row = self.next;
        let change = self.changes.as_ref().map_or(Change::Insert as u8, |changes| changes.value(row));
        if change == Change::UpdateBefore as u8 {
            return Some(None);
        }
        let value = if change == Change::Delete as u8 { None } else { self.values.text(row) };
        let time_ms = self.times.as_ref().filter(|times| times.is_valid(row)).map(|times| times.value(row));
        let headers = self.headers.as_ref().and_then(|headers| headers.of(row));
        Some(Some(Encodable { row, key: self.keys.text(row), value, headers, time_ms }))
    }
}

/// JSON texts, one a row.
struct Lines {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Lines {
    fn new(records: &RecordBatch) -> Result<Self> {
        let text = json::lines(records)?;
        // Line breaks inside of texts are escaped.
        let ends =
            text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(place, _)| place).collect();
        Ok(Self { text, ends })
    }

    fn line(&self, row: usize) -> &[u8] {
        let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| end + 1);
        let end = self.ends.get(row).copied().unwrap_or(self.text.len());
        self.text.get(start..end).unwrap_or_default()
    }
}

/// Keys or values: a text or binary column as it is, anything else as JSON objects.
enum Texts {
    None,
    Strings(StringViewArray),
    Bytes(BinaryViewArray),
    Objects(Lines),
}

impl Texts {
    fn raw(column: &ArrayRef) -> Result<Self> {
        match column.data_type() {
            Arrow::Utf8View => Ok(Self::Strings(column.as_string_view().clone())),
            Arrow::BinaryView => Ok(Self::Bytes(column.as_binary_view().clone())),
            other => Err(EngineError::internal("kafka sink", format!("a raw column of type {other}"))),
        }
    }

    fn text(&self, row: usize) -> Option<&[u8]> {
        match self {
            Self::None => None,
            Self::Strings(texts) => texts.is_valid(row).then(|| texts.value(row).as_bytes()),
            Self::Bytes(bytes) => bytes.is_valid(row).then(|| bytes.value(row)),
            Self::Objects(objects) => Some(objects.line(row)),
        }
    }
}

/// Headers: lists of pairs.
struct Pairs {
    lists: LargeListArray,
    names: StringViewArray,
    values: Texts,
}

impl Pairs {
    fn new(column: &ArrayRef) -> Result<Self> {
        let broken = || {
            EngineError::internal("kafka sink headers", format!("a column of type {}", column.data_type()))
        };
        let lists: LargeListArray = column.as_list_opt::<i64>().ok_or_else(broken)?.clone();
        let pairs: &StructArray = lists.values().as_struct_opt().ok_or_else(broken)?;
        let [names, values] = pairs.columns() else { return Err(broken()) };
        Ok(Self {
            names: names.as_string_view_opt().ok_or_else(broken)?.clone(),
            values: Texts::raw(values)?,
            lists,
        })
    }

    fn of(&self, row: usize) -> Option<OwnedHeaders> {
        if self.lists.is_null(row) {
            return None;
        }
        let ends = self.lists.value_offsets();
        let (start, end) =
            (usize::try_from(*ends.get(row)?).ok()?, usize::try_from(*ends.get(row + 1)?).ok()?);
        let mut headers = OwnedHeaders::new_with_capacity(end - start);
        for place in (start..end).filter(|place| self.names.is_valid(*place)) {
            headers = headers.insert(Header { key: self.names.value(place), value: self.values.text(place) });
        }
        Some(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::{Layout, Wanted};
    use dataflare_plan::{DataType, Field};

    fn field(name: &str, dtype: DataType) -> Field {
        Field { name: name.to_string(), dtype }
    }

    #[test]
    fn a_raw_value_is_the_one_column_that_is_nothing_else() {
        let fields = [field("k", DataType::String), field("v", DataType::Binary)];
        let wanted = Wanted { key: vec!["k".to_string()], raw: true, ..Wanted::default() };
        assert_eq!(Layout::new(&wanted, &fields).unwrap().value, [1]);
        let error = Layout::new(&Wanted { raw: true, ..Wanted::default() }, &fields).unwrap_err().to_string();
        assert!(error.contains("k: String, v: Binary"), "{error}");
    }

    #[test]
    fn columns_that_cannot_be_headers_or_times_are_refused() {
        let fields = [field("h", DataType::String)];
        for wanted in [
            Wanted { headers: Some("h".to_string()), ..Wanted::default() },
            Wanted { timestamp: Some("h".to_string()), ..Wanted::default() },
            Wanted { key: vec!["x".to_string()], ..Wanted::default() },
        ] {
            assert!(Layout::new(&wanted, &fields).is_err(), "{wanted:?}");
        }
    }
}
