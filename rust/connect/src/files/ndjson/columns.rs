//! JSON objects into columns by the rules of Polars' `scan_ndjson`: stricter than arrow-json, except for strings.
//!
//! Numbers stay what they are (`1.0` is no Int64, `"1"` is no number), times are texts, a missing field is null, the
//! first of two equal names counts, a String column takes any value as text. Narrower than Polars in one point: dates
//! and times are ISO 8601. Not here: lines, and what happens to bad ones (`source.rs`); Kafka's rules (`json.rs`).

use crate::files::types::plan_type;
use crate::json::iso_time;
use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BooleanBuilder, NullBufferBuilder, PrimitiveBuilder, StringViewBuilder,
    StructArray,
};
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::{
    DataType, Date32Type, FieldRef, Fields, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow_json::reader::{ArrayDecoder, DecoderContext, DecoderFactory, Tape, TapeElement};
use std::collections::HashSet;
use std::sync::Arc;

/// The decoders of all types; a type without one is refused when the decoder is built.
#[derive(Debug)]
pub struct PolarsRules;

impl DecoderFactory for PolarsRules {
    fn make_default_decoder(
        &self,
        context: &DecoderContext,
        field: &FieldRef,
        is_nullable: bool,
    ) -> Result<Option<Box<dyn ArrayDecoder>>, ArrowError> {
        let dtype = field.data_type();
        Ok(Some(match dtype {
            DataType::Int8 => Scalars::<Int8Type>::boxed(dtype, integer),
            DataType::Int16 => Scalars::<Int16Type>::boxed(dtype, integer),
            DataType::Int32 => Scalars::<Int32Type>::boxed(dtype, integer),
            DataType::Int64 => Scalars::<Int64Type>::boxed(dtype, integer),
            DataType::UInt8 => Scalars::<UInt8Type>::boxed(dtype, integer),
            DataType::UInt16 => Scalars::<UInt16Type>::boxed(dtype, integer),
            DataType::UInt32 => Scalars::<UInt32Type>::boxed(dtype, integer),
            DataType::UInt64 => Scalars::<UInt64Type>::boxed(dtype, integer),
            // By way of Float64, as Polars does: too large becomes infinite.
            DataType::Float32 => {
                Scalars::<Float32Type>::boxed(dtype, |token| float(token).map(|value| value as f32))
            }
            DataType::Float64 => Scalars::<Float64Type>::boxed(dtype, float),
            DataType::Date32 => Scalars::<Date32Type>::boxed(dtype, date),
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                Scalars::<TimestampMillisecondType>::boxed(dtype, |token| time(token, 1_000))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Scalars::<TimestampMicrosecondType>::boxed(dtype, |token| time(token, 1_000_000))
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                Scalars::<TimestampNanosecondType>::boxed(dtype, |token| time(token, 1_000_000_000))
            }
            DataType::Boolean => Box::new(Booleans),
            DataType::Utf8View => Box::new(Texts::of(field)),
            DataType::Struct(fields) => Box::new(Objects::new(context, fields, is_nullable)?),
            DataType::Null | DataType::LargeList(_) | DataType::FixedSizeList(..) => return Ok(None),
            other => return Err(ArrowError::NotYetImplemented(format!("no JSON for {}", name_of(other)))),
        }))
    }
}

/// The type as the user wrote it.
fn name_of(dtype: &DataType) -> String {
    plan_type(dtype).map_or_else(|| dtype.to_string(), |dtype| dtype.to_string())
}

fn unexpected(dtype: &DataType, found: &str) -> ArrowError {
    let mut shown: String = found.chars().take(60).collect();
    if shown.len() < found.len() {
        shown.push('…');
    }
    ArrowError::JsonError(format!("expected {}, got {shown}", name_of(dtype)))
}

/// A value that is neither null, true, false, object nor list.
#[derive(Clone, Copy)]
enum Token<'a> {
    Text(&'a str),
    Number(&'a str),
}

/// Numbers and times: one function reads a token.
struct Scalars<T: ArrowPrimitiveType> {
    dtype: DataType,
    read: fn(Token<'_>) -> Option<T::Native>,
}

impl<T: ArrowPrimitiveType> Scalars<T> {
    fn boxed(dtype: &DataType, read: fn(Token<'_>) -> Option<T::Native>) -> Box<dyn ArrayDecoder> {
        Box::new(Self { dtype: dtype.clone(), read })
    }
}

impl<T: ArrowPrimitiveType> ArrayDecoder for Scalars<T> {
    fn decode(&mut self, tape: &Tape<'_>, places: &[u32]) -> Result<ArrayRef, ArrowError> {
        let mut values =
            PrimitiveBuilder::<T>::with_capacity(places.len()).with_data_type(self.dtype.clone());
        for place in places {
            let token = match tape.get(*place) {
                TapeElement::Null => {
                    values.append_null();
                    continue;
                }
                TapeElement::String(text) => Token::Text(tape.get_string(text)),
                TapeElement::Number(text) => Token::Number(tape.get_string(text)),
                _ => return Err(unexpected(&self.dtype, &text_of(tape, *place))),
            };
            match (self.read)(token) {
                Some(value) => values.append_value(value),
                None => return Err(unexpected(&self.dtype, &text_of(tape, *place))),
            }
        }
        Ok(Arc::new(values.finish()))
    }
}

/// RFC 8259, section 6; arrow-json takes any run of digits, signs, points and exponents.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    digits(whole)
        && (whole.len() == 1 || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

fn integer<N: std::str::FromStr>(token: Token<'_>) -> Option<N> {
    match token {
        Token::Number("-0") => "0".parse().ok(),
        Token::Number(text) if is_number(text) => text.parse().ok(),
        _ => None,
    }
}

fn float(token: Token<'_>) -> Option<f64> {
    match token {
        Token::Number(text) if is_number(text) => text.parse().ok().filter(|value: &f64| value.is_finite()),
        _ => None,
    }
}

/// Days of `YYYY-MM-DD`.
fn date(token: Token<'_>) -> Option<i32> {
    let Token::Text(text) = token else { return None };
    let (year, rest) = text.split_at_checked(4).filter(|_| text.len() == 10 && text.is_ascii())?;
    let (month, day) = rest.strip_prefix('-')?.split_once('-')?;
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u32>().ok())?;
    let date =
        chrono::NaiveDate::from_ymd_opt(i32::try_from(number(year)?).ok()?, number(month)?, number(day)?)?;
    i32::try_from(date.signed_duration_since(chrono::NaiveDate::default()).num_days()).ok()
}

/// Ticks of an ISO 8601 time; one without an offset is UTC, also in a column with a zone.
fn time(token: Token<'_>, per_second: i64) -> Option<i64> {
    let Token::Text(text) = token else { return None };
    let (seconds, nanoseconds) = match iso_time(text.as_bytes()) {
        Some(parts) => parts,
        None if text.len() == 16 => iso_time(format!("{text}:00").as_bytes())?,
        None => {
            let time = string_to_datetime(&chrono::Utc, text).ok()?;
            (time.timestamp(), i64::from(time.timestamp_subsec_nanos()))
        }
    };
    // A leap second has more than a second of nanoseconds.
    let within = nanoseconds < 1_000_000_000;
    within
        .then(|| seconds.checked_mul(per_second)?.checked_add(nanoseconds / (1_000_000_000 / per_second)))?
}

struct Booleans;

impl ArrayDecoder for Booleans {
    fn decode(&mut self, tape: &Tape<'_>, places: &[u32]) -> Result<ArrayRef, ArrowError> {
        let mut values = BooleanBuilder::with_capacity(places.len());
        for place in places {
            values.append_option(match tape.get(*place) {
                TapeElement::Null => None,
                TapeElement::True => Some(true),
                TapeElement::False => Some(false),
                _ => return Err(unexpected(&DataType::Boolean, &text_of(tape, *place))),
            });
        }
        Ok(Arc::new(values.finish()))
    }
}

/// Field metadata of a dictionary column: its values as a JSON array, or `null` for any text.
pub const CATEGORIES: &str = "categories";

/// What a column of texts takes.
enum Texts {
    /// Any value, as text.
    Any,
    /// Texts.
    Strict,
    /// These texts.
    Among(HashSet<String>),
}

impl Texts {
    fn of(field: &FieldRef) -> Self {
        match field.metadata().get(CATEGORIES).map(|text| serde_json::from_str(text)) {
            None => Self::Any,
            Some(Ok(values)) => Self::Among(values),
            Some(Err(_)) => Self::Strict,
        }
    }
}

impl ArrayDecoder for Texts {
    fn decode(&mut self, tape: &Tape<'_>, places: &[u32]) -> Result<ArrayRef, ArrowError> {
        let mut values = StringViewBuilder::with_capacity(places.len());
        for place in places {
            match tape.get(*place) {
                TapeElement::Null => values.append_null(),
                TapeElement::String(text) => match (&*self, tape.get_string(text)) {
                    (Self::Among(values), text) if !values.contains(text) => {
                        return Err(ArrowError::JsonError(format!("'{text}' is not among the categories")));
                    }
                    (_, text) => values.try_append_value(text)?,
                },
                _ if !matches!(self, Self::Any) => {
                    return Err(unexpected(&DataType::Utf8View, &text_of(tape, *place)));
                }
                TapeElement::Number(text) if !is_number(tape.get_string(text)) => {
                    return Err(unexpected(&DataType::Utf8View, tape.get_string(text)));
                }
                _ => {
                    let mut text = String::new();
                    if !show(tape, *place, 0, &mut text) {
                        return Err(ArrowError::JsonError(format!("more than {DEPTH} nested values")));
                    }
                    values.try_append_value(text)?;
                }
            }
        }
        Ok(Arc::new(values.finish()))
    }
}

/// Nested values that are shown: `show` recurses, and a line may open a million lists.
const DEPTH: usize = 256;

/// A value for a message.
fn text_of(tape: &Tape<'_>, place: u32) -> String {
    let mut text = String::new();
    if !show(tape, place, 0, &mut text) {
        text.push('…');
    }
    text
}

/// Any value as Polars shows it in a String column. False: too deep, `out` holds the beginning.
fn show(tape: &Tape<'_>, place: u32, depth: usize, out: &mut String) -> bool {
    let (end, close, is_object) = match tape.get(place) {
        TapeElement::StartList(end) => (end, ']', false),
        TapeElement::StartObject(end) => (end, '}', true),
        scalar => {
            match scalar {
                TapeElement::String(text) => show_text(tape.get_string(text), out),
                TapeElement::Number(text) => show_number(tape.get_string(text), out),
                TapeElement::True => out.push_str("true"),
                TapeElement::False => out.push_str("false"),
                _ => out.push_str("null"),
            }
            return true;
        }
    };
    if depth == DEPTH {
        return false;
    }
    out.push(if is_object { '{' } else { '[' });
    let mut place = place + 1;
    while place < end {
        if let (true, TapeElement::String(key)) = (is_object, tape.get(place)) {
            out.push_str(&format!("\"{}\": ", tape.get_string(key)));
            place += 1;
        }
        if !show(tape, place, depth + 1, out) {
            return false;
        }
        let Ok(next) = tape.next(place, "a value") else { return false };
        place = next;
        if place < end {
            out.push_str(", ");
        }
    }
    out.push(close);
    true
}

/// Polars escapes these three only.
fn show_text(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            other => out.push(other),
        }
    }
    out.push('"');
}

fn show_number(text: &str, out: &mut String) {
    if text == "-0" {
        out.push('0');
    } else if !text.contains(['.', 'e', 'E']) {
        out.push_str(text);
    } else if let Ok(value) = text.parse::<f64>() {
        out.push_str(&value.to_string());
    }
}

/// Objects, also the root: like arrow-json's, but the first of two equal names counts.
struct Objects {
    fields: Fields,
    children: Vec<Box<dyn ArrayDecoder>>,
    is_nullable: bool,
}

impl Objects {
    fn new(context: &DecoderContext, fields: &Fields, is_nullable: bool) -> Result<Self, ArrowError> {
        let child = |field: &FieldRef| context.make_decoder(field, true);
        let children = fields.iter().map(child).collect::<Result<_, _>>()?;
        Ok(Self { fields: fields.clone(), children, is_nullable })
    }
}

impl ArrayDecoder for Objects {
    fn decode(&mut self, tape: &Tape<'_>, places: &[u32]) -> Result<ArrayRef, ArrowError> {
        // Place 0 of a tape is null: what is not found stays there.
        let mut found = vec![vec![0_u32; places.len()]; self.fields.len()];
        let mut nulls = NullBufferBuilder::new(places.len());
        for (row, place) in places.iter().enumerate() {
            let end = match tape.get(*place) {
                TapeElement::StartObject(end) => end,
                TapeElement::Null if self.is_nullable => {
                    nulls.append_null();
                    continue;
                }
                _ => return Err(unexpected(&DataType::Struct(self.fields.clone()), &text_of(tape, *place))),
            };
            nulls.append_non_null();
            let mut place = *place + 1;
            while place < end {
                let TapeElement::String(key) = tape.get(place) else {
                    return Err(tape.error(place, "a field name"));
                };
                let key = tape.get_string(key);
                let column = self.fields.iter().position(|field| field.name() == key);
                if let Some(slot) = column.and_then(|column| found.get_mut(column)?.get_mut(row)) {
                    *slot = if *slot == 0 { place + 1 } else { *slot };
                }
                place = tape.next(place + 1, "a value")?;
            }
        }
        let columns =
            self.children.iter_mut().zip(&found).zip(&self.fields).map(|((child, places), field)| {
                child.decode(tape, places).map_err(|error| match error {
                    ArrowError::JsonError(reason) => {
                        ArrowError::JsonError(format!("column '{}': {reason}", field.name()))
                    }
                    other => other,
                })
            });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let nulls = nulls.finish().filter(|_| self.is_nullable);
        Ok(Arc::new(StructArray::try_new_with_length(self.fields.clone(), columns, nulls, places.len())?))
    }
}
