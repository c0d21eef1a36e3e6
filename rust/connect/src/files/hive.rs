//! Hive layouts: columns whose values are names of folders, as in `year=2024/country=de/`.
//!
//! Names are percent-encoded, null is `__HIVE_DEFAULT_PARTITION__`: Polars' words. Not here: which folders are read, and
//! when a file appears in one. Called by `scan.rs` and `segments.rs`.

use arrow::array::{
    Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, StringViewArray, UInt32Array, new_null_array,
};
use arrow::compute::kernels::cast::{CastOptions, cast_with_options};
use arrow::compute::{cast, take, take_record_batch};
use arrow::datatypes::{DataType as Arrow, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use chrono::DateTime;
use dataflare_engine::types::{arrow_schema, arrow_type};
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{DataType, Field, Schema};
use std::collections::HashMap;
use std::sync::Arc;

/// The folder name of null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The value that the path of a file holds for a column, `rows` times.
///
/// # Errors
/// [`EngineError::Call`]: the path has no such folder, or its name is no value of that type.
pub fn hive_column(path: &str, field: &Field, rows: usize) -> Result<ArrayRef> {
    let place = || format!("{path}, column '{}'", field.name);
    let value = path.split('/').rev().skip(1).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        (decoded(name) == field.name).then_some(value)
    });
    let value = value.ok_or_else(|| {
        EngineError::call(place(), format!("a folder '{}=…' on the way to the file", field.name), "none")
    })?;
    let target = arrow_type(&field.dtype);
    if value == NULL {
        return Ok(new_null_array(&target, rows));
    }
    let text = StringViewArray::from_iter_values([decoded(value)]);
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let one = cast_with_options(&text, &target, &options);
    let one = one
        .map_err(|_| EngineError::call(place(), field.dtype.to_string(), format!("'{}'", decoded(value))))?;
    Ok(take(&one, &UInt32Array::from(vec![0; rows]), None)?)
}

/// The keys of a sink: which folder a row goes to, and which columns its file has.
#[derive(Debug)]
pub struct Keys {
    /// Places of the keys among the columns, and their names.
    keys: Vec<(usize, String)>,
    /// Places of the columns that files hold.
    columns: Vec<usize>,
    /// Those columns.
    pub written: Schema,
    pub arrow: SchemaRef,
}

impl Keys {
    /// # Errors
    /// [`EngineError::Call`]: a key that is no column, or of a type that has no name; no column is left for the files.
    pub fn new(place: &str, names: &[String], include: bool, schema: &Schema) -> Result<Self> {
        let key = |name: &String| {
            let found = schema.iter().position(|field| &field.name == name);
            let index = found.ok_or_else(|| {
                EngineError::call(place, "keys that are columns of the frame", format!("'{name}'"))
            })?;
            match schema.get(index).map(|field| &field.dtype) {
                Some(dtype) if has_name(dtype) => Ok((index, encoded(name))),
                dtype => Err(EngineError::call(
                    format!("{place}, key '{name}'"),
                    "an integer, Boolean, String, Categorical, Enum, Date or Datetime without zone",
                    dtype.map(ToString::to_string).unwrap_or_default(),
                )),
            }
        };
        let keys = names.iter().map(key).collect::<Result<Vec<_>>>()?;
        let is_written = |index: &usize| include || keys.iter().all(|(key, _)| key != index);
        let columns: Vec<usize> = (0..schema.len()).filter(is_written).collect();
        if columns.is_empty() && !keys.is_empty() {
            return Err(EngineError::call(place, "a column beside the keys", "none"));
        }
        let written: Schema = columns.iter().filter_map(|index| schema.get(*index)).cloned().collect();
        Ok(Self { keys, columns, arrow: arrow_schema(&written), written })
    }

    /// How many folders stand above a file.
    pub fn depth(&self) -> usize {
        self.keys.len()
    }

    /// The rows of each folder, in their order; without keys all rows stay together.
    ///
    /// # Errors
    /// A broken rule.
    pub fn split(&self, batch: &RecordBatch) -> Result<Vec<(String, RecordBatch)>> {
        if self.keys.is_empty() {
            return Ok(vec![(String::new(), batch.clone())]);
        }
        let keys: Vec<ArrayRef> =
            self.keys.iter().map(|(index, _)| ArrayRef::clone(batch.column(*index))).collect();
        let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
        let rows = RowConverter::new(fields)?.convert_columns(&keys)?;
        let mut places: HashMap<_, usize> = HashMap::new();
        let mut groups: Vec<Vec<u32>> = Vec::new();
        for (row, number) in (0..batch.num_rows()).zip(0_u32..) {
            let place = *places.entry(rows.row(row)).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            if let Some(group) = groups.get_mut(place) {
                group.push(number);
            }
        }
        let texts = keys.iter().map(texts).collect::<Result<Vec<_>>>()?;
        let written = batch.project(&self.columns)?;
        let group = |numbers: Vec<u32>| {
            let first = numbers.first().map_or(0, |number| *number as usize);
            let folder = self.keys.iter().zip(&texts).map(|((_, name), text)| {
                let text = text.as_string::<i32>();
                let value = if text.is_null(first) { NULL.to_owned() } else { encoded(text.value(first)) };
                format!("{name}={value}")
            });
            let folder = folder.collect::<Vec<_>>().join("/");
            Ok((folder, take_record_batch(&written, &UInt32Array::from(numbers))?))
        };
        groups.into_iter().map(group).collect()
    }
}

fn has_name(dtype: &DataType) -> bool {
    matches!(
        dtype,
        DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32
            | DataType::UInt64
            | DataType::Boolean
            | DataType::String
            | DataType::Categorical
            | DataType::Enum { .. }
            | DataType::Date
            | DataType::Datetime { zone: None, .. }
    )
}

/// Values as texts.
fn texts(key: &ArrayRef) -> Result<ArrayRef> {
    if !matches!(key.data_type(), Arrow::Timestamp(..)) {
        return Ok(cast(key, &Arrow::Utf8)?);
    }
    let micros = cast(key, &Arrow::Timestamp(TimeUnit::Microsecond, None))?;
    let micros: &PrimitiveArray<TimestampMicrosecondType> = micros.as_primitive();
    let show = |ticks: i64| {
        DateTime::from_timestamp_micros(ticks).map(|time| time.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
    };
    let shown: arrow::array::StringArray = micros.iter().map(|ticks| ticks.and_then(show)).collect();
    Ok(Arc::new(shown))
}

fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.filter(|_| *byte == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(escaped.unwrap_or(*byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{decoded, encoded, hive_column};
    use arrow::util::display::array_value_to_string;
    use dataflare_plan::{DataType, Field, TimeUnit};

    #[test]
    fn names_of_folders_are_values() {
        let value = |path: &str, dtype: DataType| {
            let column = hive_column(path, &Field { name: "k".to_owned(), dtype }, 2).unwrap();
            array_value_to_string(&column, 1).unwrap()
        };
        assert_eq!(value("out/k=b%2Fc/x=1/a.parquet", DataType::String), "b/c");
        assert_eq!(value("out/k=-7/a.parquet", DataType::Int32), "-7");
        assert_eq!(value("out/k=__HIVE_DEFAULT_PARTITION__/a.parquet", DataType::Int32), "");
        let micros = DataType::Datetime { unit: TimeUnit::Microseconds, zone: None };
        assert_eq!(value("out/k=2024-01-01%2001%3A02%3A03.000000/a", micros), "2024-01-01T01:02:03");
        let field = Field { name: "k".to_owned(), dtype: DataType::Int64 };
        let wrong = hive_column("out/k=x/a.parquet", &field, 1).unwrap_err();
        assert_eq!(wrong.to_string(), "out/k=x/a.parquet, column 'k': expected Int64, got 'x'");
        assert!(hive_column("k=1", &field, 1).is_err());
        assert_eq!(decoded(&encoded("a b/ü=%")), "a b/ü=%");
    }
}
