//! Columns of a schema that is known at run time, growing row by row; a row that turns out bad is taken back.
//!
//! Decoders of messages write into them: `json_rows.rs`, `kafka/avro.rs`, `kafka/protobuf.rs`. What fits into a column
//! is decided here, once for all of them. Not here: files, whose readers give whole batches.

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, BooleanBufferBuilder, FixedSizeListArray, LargeListArray,
    NullArray, NullBufferBuilder, PrimitiveArray, StringViewArray, StructArray, make_view,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowNativeType, ArrowPrimitiveType, DataType as Arrow, Date32Type, Decimal128Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, Time64NanosecondType, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use dataflare_engine::types::arrow_type;
use dataflare_plan::{DataType, Field, TimeUnit};
use std::collections::HashMap;
use std::sync::Arc;

/// A new block of texts begins behind so many bytes: places in a block have 32 bits.
const BLOCK: usize = 1 << 30;
/// Decimal digits that a Float64 always keeps.
const EXACT_DIGITS: usize = 15;
/// Values are shown up to so many characters.
const SHOWN: usize = 60;
/// Structs with more fields are searched by a table.
const SEARCHED: usize = 8;

/// Why a value is not taken, and in which field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// `buyer.price`, outermost first; empty: the message itself.
    pub path: String,
    pub reason: String,
}

impl Misfit {
    pub fn new(reason: impl Into<String>) -> Self {
        Self { path: String::new(), reason: reason.into() }
    }

    /// Found inside of `field`.
    #[must_use]
    pub fn inside(mut self, field: &str) -> Self {
        self.path = if self.path.is_empty() { field.to_owned() } else { format!("{field}.{}", self.path) };
        self
    }
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.reason)
        } else {
            write!(f, "field {}: {}", self.path, self.reason)
        }
    }
}

/// A column and its type.
#[derive(Debug)]
pub struct Column {
    dtype: DataType,
    cells: Cells,
}

#[derive(Debug)]
enum Cells {
    Null(usize),
    Boolean(BooleanBufferBuilder, NullBufferBuilder),
    Int8(Values<i8>),
    Int16(Values<i16>),
    Int32(Values<i32>),
    Int64(Values<i64>),
    UInt8(Values<u8>),
    UInt16(Values<u16>),
    UInt32(Values<u32>),
    UInt64(Values<u64>),
    Float32(Values<f32>),
    Float64(Values<f64>),
    Decimal(Values<i128>),
    Date(Values<i32>),
    /// Times of a day, moments and durations, in ticks of the type's unit.
    Ticks(Values<i64>),
    Text(Bytes),
    Binary(Bytes),
    List(Box<Items>),
    Struct(Box<Fields>),
}

#[derive(Debug)]
struct Values<N> {
    values: Vec<N>,
    nulls: NullBufferBuilder,
}

impl<N: ArrowNativeType> Values<N> {
    fn new() -> Self {
        Self { values: Vec::new(), nulls: NullBufferBuilder::new(0) }
    }

    fn push(&mut self, value: N) {
        self.values.push(value);
        self.nulls.append_non_null();
    }

    fn push_null(&mut self) {
        self.values.push(N::default());
        self.nulls.append_null();
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.nulls.truncate(rows);
    }

    fn take<T: ArrowPrimitiveType<Native = N>>(&mut self, dtype: Arrow) -> ArrayRef {
        let values = ScalarBuffer::from(std::mem::take(&mut self.values));
        Arc::new(PrimitiveArray::<T>::new(values, self.nulls.finish()).with_data_type(dtype))
    }
}

/// Texts or binaries, as Arrow's views. Bytes of rows that were taken back stay in their block.
#[derive(Debug, Default)]
struct Bytes {
    views: Vec<u128>,
    full: Vec<Buffer>,
    block: Vec<u8>,
    nulls: Option<NullBufferBuilder>,
}

impl Bytes {
    fn nulls(&mut self) -> &mut NullBufferBuilder {
        let length = self.views.len();
        self.nulls.get_or_insert_with(|| NullBufferBuilder::new_with_len(length))
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Misfit> {
        if bytes.len() >= BLOCK {
            return Err(Misfit::new(format!("expected fewer than {BLOCK} bytes, got {}", bytes.len())));
        }
        let mut start = 0;
        if bytes.len() > 12 {
            if self.block.len() + bytes.len() > BLOCK {
                self.full.push(Buffer::from_vec(std::mem::take(&mut self.block)));
            }
            start = self.block.len();
            self.block.extend_from_slice(bytes);
        }
        // Both are below BLOCK.
        let (block, start) = (u32::try_from(self.full.len()), u32::try_from(start));
        self.nulls().append_non_null();
        self.views.push(make_view(bytes, block.unwrap_or(u32::MAX), start.unwrap_or(u32::MAX)));
        Ok(())
    }

    fn push_null(&mut self) {
        self.nulls().append_null();
        self.views.push(0);
    }

    fn truncate(&mut self, rows: usize) {
        self.views.truncate(rows);
        self.nulls().truncate(rows);
    }

    fn take(&mut self) -> (ScalarBuffer<u128>, Arc<[Buffer]>, Option<NullBuffer>) {
        let mut blocks = std::mem::take(&mut self.full);
        blocks.push(Buffer::from_vec(std::mem::take(&mut self.block)));
        let nulls = self.nulls.take().and_then(|mut nulls| nulls.finish());
        (std::mem::take(&mut self.views).into(), blocks.into(), nulls)
    }
}

/// Lists, of any length or of one.
#[derive(Debug)]
pub struct Items {
    item: Column,
    /// Ends of the lists, behind a 0.
    ends: Vec<i64>,
    nulls: NullBufferBuilder,
    width: Option<usize>,
}

impl Items {
    /// Where the values of the list that is being written go.
    pub fn item(&mut self) -> &mut Column {
        &mut self.item
    }

    /// The list ends here.
    ///
    /// # Errors
    /// A length that the type does not have.
    pub fn end(&mut self) -> Result<(), Misfit> {
        let length = self.open_len();
        if let Some(width) = self.width.filter(|width| *width != length) {
            return Err(Misfit::new(format!("expected {width} values, got {length}")));
        }
        self.ends.push(self.item.len() as i64);
        self.nulls.append_non_null();
        Ok(())
    }

    fn open_len(&self) -> usize {
        self.item.len() - self.end_of(self.ends.len() - 1)
    }

    fn end_of(&self, row: usize) -> usize {
        self.ends.get(row).and_then(|end| usize::try_from(*end).ok()).unwrap_or(0)
    }

    fn push_null(&mut self) {
        for _ in 0..self.width.unwrap_or(0) {
            self.item.push_null();
        }
        self.ends.push(self.item.len() as i64);
        self.nulls.append_null();
    }

    fn truncate(&mut self, rows: usize) {
        let items = self.end_of(rows);
        self.item.truncate(items);
        self.ends.truncate(rows + 1);
        self.nulls.truncate(rows);
    }

    fn take(&mut self, dtype: &Arrow) -> Result<ArrayRef, ArrowError> {
        let rows = self.ends.len() - 1;
        let values = self.item.take()?;
        let ends = std::mem::replace(&mut self.ends, vec![0]);
        let nulls = self.nulls.finish();
        Ok(match dtype {
            Arrow::FixedSizeList(item, width) => Arc::new(FixedSizeListArray::try_new_with_length(
                Arc::clone(item),
                *width,
                values,
                nulls,
                rows,
            )?),
            Arrow::LargeList(item) => Arc::new(LargeListArray::try_new(
                Arc::clone(item),
                OffsetBuffer::new(ends.into()),
                values,
                nulls,
            )?),
            other => return Err(ArrowError::InvalidArgumentError(format!("a list of type {other}"))),
        })
    }
}

/// The fields of a struct, or of a whole message.
#[derive(Debug)]
pub struct Fields {
    names: Vec<String>,
    columns: Vec<Column>,
    places: Option<HashMap<String, usize>>,
    nulls: NullBufferBuilder,
    rows: usize,
}

impl Fields {
    /// Whole rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The column of a name; `hint` is looked at first.
    pub fn find(&self, name: &str, hint: usize) -> Option<usize> {
        if self.names.get(hint).is_some_and(|expected| expected == name) {
            return Some(hint);
        }
        match &self.places {
            Some(places) => places.get(name).copied(),
            None => self.names.iter().position(|known| known == name),
        }
    }

    /// Name and column at a place that [`Fields::find`] gave.
    pub fn at(&mut self, place: usize) -> Option<(&str, &mut Column)> {
        Some((self.names.get(place)?, self.columns.get_mut(place)?))
    }

    /// True if the row that is being written has a value in this column.
    pub fn is_filled(&self, place: usize) -> bool {
        self.columns.get(place).is_some_and(|column| column.len() > self.rows)
    }

    /// The row ends here: what it has no value for is null.
    pub fn end(&mut self) {
        for column in &mut self.columns {
            if column.len() == self.rows {
                column.push_null();
            }
        }
        self.rows += 1;
        self.nulls.append_non_null();
    }

    fn push_null(&mut self) {
        self.columns.iter_mut().for_each(Column::push_null);
        self.rows += 1;
        self.nulls.append_null();
    }

    fn truncate(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
        self.nulls.truncate(rows);
        self.rows = rows;
    }

    /// The columns, without the nulls of the struct itself.
    fn take_columns(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.rows = 0;
        self.columns.iter_mut().map(Column::take).collect()
    }
}

impl Column {
    /// An empty column.
    ///
    /// # Errors
    /// The type that no message can give.
    pub fn new(dtype: &DataType) -> Result<Self, String> {
        let cells = match dtype {
            DataType::Null => Cells::Null(0),
            DataType::Boolean => Cells::Boolean(BooleanBufferBuilder::new(0), NullBufferBuilder::new(0)),
            DataType::Int8 => Cells::Int8(Values::new()),
            DataType::Int16 => Cells::Int16(Values::new()),
            DataType::Int32 => Cells::Int32(Values::new()),
            DataType::Int64 => Cells::Int64(Values::new()),
            DataType::UInt8 => Cells::UInt8(Values::new()),
            DataType::UInt16 => Cells::UInt16(Values::new()),
            DataType::UInt32 => Cells::UInt32(Values::new()),
            DataType::UInt64 => Cells::UInt64(Values::new()),
            DataType::Float32 => Cells::Float32(Values::new()),
            DataType::Float64 => Cells::Float64(Values::new()),
            DataType::Decimal { .. } => Cells::Decimal(Values::new()),
            DataType::Date => Cells::Date(Values::new()),
            DataType::Time | DataType::Datetime { .. } | DataType::Duration { .. } => {
                Cells::Ticks(Values::new())
            }
            DataType::String => Cells::Text(Bytes::default()),
            DataType::Binary => Cells::Binary(Bytes::default()),
            DataType::List(inner) => Cells::List(Box::new(items(inner, None)?)),
            DataType::Array { inner, width } => Cells::List(Box::new(items(inner, Some(*width))?)),
            DataType::Struct(fields) => Cells::Struct(Box::new(struct_of(fields)?)),
            DataType::Categorical | DataType::Enum { .. } => {
                return Err(format!("{dtype}: read it as String and cast it"));
            }
        };
        Ok(Self { dtype: dtype.clone(), cells })
    }

    /// The columns of a message.
    ///
    /// # Errors
    /// The first field of a type that no message can give.
    pub fn of_message(fields: &[Field]) -> Result<Self, String> {
        Self::new(&DataType::Struct(fields.to_vec()))
    }

    pub fn dtype(&self) -> &DataType {
        &self.dtype
    }

    pub fn len(&self) -> usize {
        match &self.cells {
            Cells::Null(rows) => *rows,
            Cells::Boolean(values, _) => values.len(),
            Cells::Int8(column) => column.values.len(),
            Cells::Int16(column) => column.values.len(),
            Cells::Int32(column) | Cells::Date(column) => column.values.len(),
            Cells::Int64(column) | Cells::Ticks(column) => column.values.len(),
            Cells::UInt8(column) => column.values.len(),
            Cells::UInt16(column) => column.values.len(),
            Cells::UInt32(column) => column.values.len(),
            Cells::UInt64(column) => column.values.len(),
            Cells::Float32(column) => column.values.len(),
            Cells::Float64(column) => column.values.len(),
            Cells::Decimal(column) => column.values.len(),
            Cells::Text(column) | Cells::Binary(column) => column.views.len(),
            Cells::List(items) => items.ends.len() - 1,
            Cells::Struct(fields) => fields.rows,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn push_null(&mut self) {
        match &mut self.cells {
            Cells::Null(rows) => *rows += 1,
            Cells::Boolean(values, nulls) => {
                values.append(false);
                nulls.append_null();
            }
            Cells::Int8(column) => column.push_null(),
            Cells::Int16(column) => column.push_null(),
            Cells::Int32(column) | Cells::Date(column) => column.push_null(),
            Cells::Int64(column) | Cells::Ticks(column) => column.push_null(),
            Cells::UInt8(column) => column.push_null(),
            Cells::UInt16(column) => column.push_null(),
            Cells::UInt32(column) => column.push_null(),
            Cells::UInt64(column) => column.push_null(),
            Cells::Float32(column) => column.push_null(),
            Cells::Float64(column) => column.push_null(),
            Cells::Decimal(column) => column.push_null(),
            Cells::Text(column) | Cells::Binary(column) => column.push_null(),
            Cells::List(items) => items.push_null(),
            Cells::Struct(fields) => fields.push_null(),
        }
    }

    /// Takes back all rows from `rows` on, also a part of one.
    pub fn truncate(&mut self, rows: usize) {
        match &mut self.cells {
            Cells::Null(count) => *count = rows.min(*count),
            Cells::Boolean(values, nulls) => {
                values.truncate(rows);
                nulls.truncate(rows);
            }
            Cells::Int8(column) => column.truncate(rows),
            Cells::Int16(column) => column.truncate(rows),
            Cells::Int32(column) | Cells::Date(column) => column.truncate(rows),
            Cells::Int64(column) | Cells::Ticks(column) => column.truncate(rows),
            Cells::UInt8(column) => column.truncate(rows),
            Cells::UInt16(column) => column.truncate(rows),
            Cells::UInt32(column) => column.truncate(rows),
            Cells::UInt64(column) => column.truncate(rows),
            Cells::Float32(column) => column.truncate(rows),
            Cells::Float64(column) => column.truncate(rows),
            Cells::Decimal(column) => column.truncate(rows),
            Cells::Text(column) | Cells::Binary(column) => column.truncate(rows),
            Cells::List(items) => items.truncate(rows),
            Cells::Struct(fields) => fields.truncate(rows),
        }
    }

    /// # Errors
    /// It is no column of booleans.
    pub fn push_bool(&mut self, value: bool) -> Result<(), Misfit> {
        let Cells::Boolean(values, nulls) = &mut self.cells else { return Err(self.misfit(value)) };
        values.append(value);
        nulls.append_non_null();
        Ok(())
    }

    /// An integer, also as a float and as ticks of a time.
    ///
    /// # Errors
    /// It does not fit.
    pub fn push_integer(&mut self, value: i128) -> Result<(), Misfit> {
        let fits = match &mut self.cells {
            Cells::Int64(column) | Cells::Ticks(column) => push_checked(column, value),
            Cells::Int32(column) | Cells::Date(column) => push_checked(column, value),
            Cells::Int16(column) => push_checked(column, value),
            Cells::Int8(column) => push_checked(column, value),
            Cells::UInt64(column) => push_checked(column, value),
            Cells::UInt32(column) => push_checked(column, value),
            Cells::UInt16(column) => push_checked(column, value),
            Cells::UInt8(column) => push_checked(column, value),
            Cells::Float64(column) => {
                column.push(value as f64);
                true
            }
            Cells::Float32(column) => {
                // By way of Float64, as Polars does.
                column.push(value as f64 as f32);
                true
            }
            Cells::Decimal(_) => return self.push_decimal(value, 0),
            _ => false,
        };
        if fits { Ok(()) } else { Err(self.misfit(value)) }
    }

    /// # Errors
    /// It is no column of floats.
    pub fn push_float(&mut self, value: f64) -> Result<(), Misfit> {
        match &mut self.cells {
            Cells::Float64(column) => column.push(value),
            Cells::Float32(column) => column.push(value as f32),
            // So many digits every float keeps.
            Cells::Decimal(_) if value.abs() < 1e15 => {
                let text = value.to_string();
                return match decimal_of(&text).filter(|_| text.len() <= EXACT_DIGITS + 2) {
                    Some((unscaled, scale)) => self.push_decimal(unscaled, scale),
                    None => Err(self.misfit(format!("{value} (more digits can be had as a text)"))),
                };
            }
            _ => return Err(self.misfit(value)),
        }
        Ok(())
    }

    /// `unscaled` times ten to the power of `-scale`.
    ///
    /// # Errors
    /// It does not fit: digits would be lost.
    pub fn push_decimal(&mut self, unscaled: i128, scale: u32) -> Result<(), Misfit> {
        let DataType::Decimal { precision, scale: wanted } = self.dtype else {
            return Err(self.misfit(format!("{unscaled}e-{scale}")));
        };
        let wanted = u32::try_from(wanted).unwrap_or(0);
        let rescaled = if scale <= wanted {
            10_i128.checked_pow(wanted - scale).and_then(|power| unscaled.checked_mul(power))
        } else {
            let power = 10_i128.checked_pow(scale - wanted);
            power.filter(|power| unscaled % power == 0).map(|power| unscaled / power)
        };
        let bound = 10_u128.checked_pow(u32::from(precision)).unwrap_or(u128::MAX);
        match (rescaled.filter(|value| value.unsigned_abs() < bound), &mut self.cells) {
            (Some(value), Cells::Decimal(column)) => {
                column.push(value);
                Ok(())
            }
            _ => Err(self.misfit(format!("{unscaled}e-{scale}"))),
        }
    }

    /// A moment or a duration of `ticks` units of `per_second`, or days for a Date column. Finer digits are cut off.
    ///
    /// # Errors
    /// It does not fit.
    pub fn push_ticks(&mut self, ticks: i64, per_second: i64) -> Result<(), Misfit> {
        let unit = match &self.dtype {
            DataType::Datetime { unit, .. } | DataType::Duration { unit } => per_second_of(*unit),
            DataType::Time => 1_000_000_000,
            DataType::Date => return Err(self.misfit("a time")),
            _ => return self.push_integer(i128::from(ticks)),
        };
        let scaled = (i128::from(ticks) * i128::from(unit)).div_euclid(i128::from(per_second));
        match (&mut self.cells, i64::try_from(scaled)) {
            (Cells::Ticks(column), Ok(value)) => {
                column.push(value);
                Ok(())
            }
            _ => Err(self.misfit(ticks)),
        }
    }

    /// A moment, or a duration, of seconds and nanoseconds.
    ///
    /// # Errors
    /// It does not fit.
    pub fn push_moment(&mut self, seconds: i64, nanoseconds: i64) -> Result<(), Misfit> {
        let (DataType::Datetime { unit, .. } | DataType::Duration { unit }) = &self.dtype else {
            return Err(self.misfit("a moment"));
        };
        let unit = i128::from(per_second_of(*unit));
        let ticks = i128::from(seconds) * unit + (i128::from(nanoseconds) * unit).div_euclid(1_000_000_000);
        match (&mut self.cells, i64::try_from(ticks)) {
            (Cells::Ticks(column), Ok(value)) => {
                column.push(value);
                Ok(())
            }
            _ => Err(self.misfit(format!("{seconds} s"))),
        }
    }

    /// A text; in a column of dates or times it has to be ISO 8601.
    ///
    /// # Errors
    /// It does not fit.
    pub fn push_text(&mut self, text: &str) -> Result<(), Misfit> {
        match (&mut self.cells, &self.dtype) {
            (Cells::Text(column), _) => return column.push(text.as_bytes()),
            (Cells::Ticks(column), DataType::Datetime { unit, .. }) => {
                if let Some(ticks) = crate::json::ticks_of(text, per_second_of(*unit)) {
                    column.push(ticks);
                    return Ok(());
                }
            }
            (Cells::Date(column), _) => {
                if let Some(days) = crate::json::days_of(text) {
                    column.push(days);
                    return Ok(());
                }
            }
            (Cells::Ticks(column), DataType::Time) => {
                if let Some(ticks) = crate::json::time_of_day(text) {
                    column.push(ticks);
                    return Ok(());
                }
            }
            (Cells::Decimal(_), _) => {
                if let Some((unscaled, scale)) = decimal_of(text) {
                    return self.push_decimal(unscaled, scale);
                }
            }
            _ => {}
        }
        Err(self.misfit_text(text))
    }

    /// Bytes; in a column of texts they have to be UTF-8.
    ///
    /// # Errors
    /// They do not fit.
    pub fn push_bytes(&mut self, bytes: &[u8]) -> Result<(), Misfit> {
        match &mut self.cells {
            Cells::Binary(column) => column.push(bytes),
            Cells::Text(column) => match std::str::from_utf8(bytes) {
                Ok(text) => column.push(text.as_bytes()),
                Err(_) => Err(Misfit::new("expected UTF-8 text, got other bytes")),
            },
            _ => Err(self.misfit("bytes")),
        }
    }

    /// The lists, if this is a column of lists.
    ///
    /// # Errors
    /// It is not.
    pub fn list(&mut self) -> Result<&mut Items, Misfit> {
        match &mut self.cells {
            Cells::List(items) => Ok(items),
            _ => Err(misfit(&self.dtype, "a list")),
        }
    }

    /// The fields, if this is a column of structs.
    ///
    /// # Errors
    /// It is not.
    pub fn fields(&mut self) -> Result<&mut Fields, Misfit> {
        match &mut self.cells {
            Cells::Struct(fields) => Ok(fields),
            _ => Err(misfit(&self.dtype, "an object")),
        }
    }

    /// What a value that does not fit is told.
    pub fn misfit(&self, found: impl std::fmt::Display) -> Misfit {
        misfit(&self.dtype, &found.to_string())
    }

    fn misfit_text(&self, text: &str) -> Misfit {
        let shown: String = text.chars().take(SHOWN).collect();
        let more = if shown.len() < text.len() { "…" } else { "" };
        self.misfit(format!("\"{shown}{more}\""))
    }

    /// The rows so far, as an array; the column is empty then.
    ///
    /// # Errors
    /// A bug: arrays that Arrow refuses.
    pub fn take(&mut self) -> Result<ArrayRef, ArrowError> {
        let dtype = arrow_type(&self.dtype);
        Ok(match &mut self.cells {
            Cells::Null(rows) => Arc::new(NullArray::new(std::mem::take(rows))),
            Cells::Boolean(values, nulls) => Arc::new(BooleanArray::new(values.finish(), nulls.finish())),
            Cells::Int8(column) => column.take::<Int8Type>(dtype),
            Cells::Int16(column) => column.take::<Int16Type>(dtype),
            Cells::Int32(column) => column.take::<Int32Type>(dtype),
            Cells::Int64(column) => column.take::<Int64Type>(dtype),
            Cells::UInt8(column) => column.take::<UInt8Type>(dtype),
            Cells::UInt16(column) => column.take::<UInt16Type>(dtype),
            Cells::UInt32(column) => column.take::<UInt32Type>(dtype),
            Cells::UInt64(column) => column.take::<UInt64Type>(dtype),
            Cells::Float32(column) => column.take::<Float32Type>(dtype),
            Cells::Float64(column) => column.take::<Float64Type>(dtype),
            Cells::Decimal(column) => column.take::<Decimal128Type>(dtype),
            Cells::Date(column) => column.take::<Date32Type>(dtype),
            Cells::Ticks(column) => take_ticks(column, &self.dtype, dtype),
            Cells::Text(column) => {
                let (views, blocks, nulls) = column.take();
                // SAFETY: each view was made of bytes that its block holds at that place, and these are UTF-8: they were
                // a `str`, or checked in `push_bytes`. Blocks only grow, so taking rows back leaves other views whole.
                Arc::new(unsafe { StringViewArray::new_unchecked(views, blocks, nulls) })
            }
            Cells::Binary(column) => {
                let (views, blocks, nulls) = column.take();
                // SAFETY: as for texts, without UTF-8.
                Arc::new(unsafe { BinaryViewArray::new_unchecked(views, blocks, nulls) })
            }
            Cells::List(items) => items.take(&dtype)?,
            Cells::Struct(fields) => {
                let (rows, nulls) = (fields.rows, fields.nulls.finish());
                let Arrow::Struct(inner) = dtype else { return Ok(Arc::new(NullArray::new(rows))) };
                let columns = fields.take_columns()?;
                Arc::new(StructArray::try_new_with_length(inner, columns, nulls, rows)?)
            }
        })
    }

    /// The columns of a message; a tombstone is null in all of them.
    ///
    /// # Errors
    /// As for [`Column::take`].
    pub fn take_fields(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        match &mut self.cells {
            Cells::Struct(fields) => {
                fields.nulls.finish();
                fields.take_columns()
            }
            _ => Ok(vec![self.take()?]),
        }
    }
}

fn misfit(dtype: &DataType, found: &str) -> Misfit {
    Misfit::new(format!("expected {dtype}, got {found}"))
}

fn push_checked<N: TryFrom<i128> + ArrowNativeType>(column: &mut Values<N>, value: i128) -> bool {
    match N::try_from(value) {
        Ok(value) => {
            column.push(value);
            true
        }
        Err(_) => false,
    }
}

fn items(inner: &DataType, width: Option<usize>) -> Result<Items, String> {
    Ok(Items { item: Column::new(inner)?, ends: vec![0], nulls: NullBufferBuilder::new(0), width })
}

fn struct_of(fields: &[Field]) -> Result<Fields, String> {
    let column =
        |field: &Field| Column::new(&field.dtype).map_err(|found| format!("{}: {found}", field.name));
    let names: Vec<String> = fields.iter().map(|field| field.name.clone()).collect();
    let places = (names.len() > SEARCHED)
        .then(|| names.iter().enumerate().map(|(place, name)| (name.clone(), place)).collect());
    Ok(Fields {
        names,
        columns: fields.iter().map(column).collect::<Result<_, _>>()?,
        places,
        nulls: NullBufferBuilder::new(0),
        rows: 0,
    })
}

fn per_second_of(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Milliseconds => 1_000,
        TimeUnit::Microseconds => 1_000_000,
        TimeUnit::Nanoseconds => 1_000_000_000,
    }
}

fn take_ticks(column: &mut Values<i64>, dtype: &DataType, arrow: Arrow) -> ArrayRef {
    use TimeUnit::{Microseconds, Milliseconds, Nanoseconds};
    match dtype {
        DataType::Datetime { unit: Milliseconds, .. } => column.take::<TimestampMillisecondType>(arrow),
        DataType::Datetime { unit: Microseconds, .. } => column.take::<TimestampMicrosecondType>(arrow),
        DataType::Datetime { unit: Nanoseconds, .. } => column.take::<TimestampNanosecondType>(arrow),
        DataType::Duration { unit: Milliseconds } => column.take::<DurationMillisecondType>(arrow),
        DataType::Duration { unit: Microseconds } => column.take::<DurationMicrosecondType>(arrow),
        DataType::Duration { unit: Nanoseconds } => column.take::<DurationNanosecondType>(arrow),
        _ => column.take::<Time64NanosecondType>(arrow),
    }
}

/// Digits and scale of `-12.340`.
fn decimal_of(text: &str) -> Option<(i128, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if digits.is_empty() || !plain(digits) || !plain(fraction) || text.ends_with('.') {
        return None;
    }
    Some((format!("{whole}{fraction}").parse().ok()?, u32::try_from(fraction.len()).ok()?))
}
