//! JSON objects to columns and back: arrow-json with a faster reading of times, a third of its time otherwise.
//!
//! Called by the Kafka connector and the console. Not here: where objects begin and end, what happens to bad ones.

use arrow::array::types::{
    ArrowTimestampType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use arrow::array::{ArrayRef, PrimitiveBuilder, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::{DataType, FieldRef, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow_json::reader::{ArrayDecoder, Decoder, DecoderContext, DecoderFactory, Tape, TapeElement};
use arrow_json::writer::LineDelimited;
use arrow_json::{ReaderBuilder, WriterBuilder};
use std::marker::PhantomData;
use std::sync::Arc;

/// A decoder of at most `rows` objects into the columns of `schema`: a missing field is null, others are passed over.
///
/// # Errors
/// A type that JSON cannot hold.
pub fn decoder(schema: &SchemaRef, rows: usize) -> Result<Decoder, ArrowError> {
    // One more, so that the decoder never stops in the middle of what it is given.
    let rows = rows.saturating_add(1);
    ReaderBuilder::new(Arc::clone(schema))
        .with_batch_size(rows)
        .with_decoder_factory(Arc::new(Times))
        .build_decoder()
}

/// One object a row, each with a line break behind it; nulls are written.
///
/// # Errors
/// A type that JSON cannot hold.
pub fn lines(records: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(records)?;
    writer.finish()?;
    Ok(writer.into_inner())
}

/// Whether [`lines`] can write the columns of `schema`.
///
/// # Errors
/// A type that JSON cannot hold.
pub fn check(schema: &SchemaRef) -> Result<(), ArrowError> {
    let columns = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    lines(&RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?).map(|_| ())
}

#[derive(Debug)]
struct Times;

impl DecoderFactory for Times {
    fn make_default_decoder(
        &self,
        _ctx: &DecoderContext,
        field: &FieldRef,
        _is_nullable: bool,
    ) -> Result<Option<Box<dyn ArrayDecoder>>, ArrowError> {
        // Local times of other zones need their rules: arrow-json's own decoder has them.
        let DataType::Timestamp(unit, zone) = field.data_type() else { return Ok(None) };
        if zone.as_deref().is_some_and(|zone| zone != "UTC") {
            return Ok(None);
        }
        let dtype = field.data_type().clone();
        Ok(match unit {
            TimeUnit::Second => None,
            TimeUnit::Millisecond => Some(TimeDecoder::<TimestampMillisecondType>::boxed(dtype)),
            TimeUnit::Microsecond => Some(TimeDecoder::<TimestampMicrosecondType>::boxed(dtype)),
            TimeUnit::Nanosecond => Some(TimeDecoder::<TimestampNanosecondType>::boxed(dtype)),
        })
    }
}

struct TimeDecoder<T> {
    dtype: DataType,
    unit: PhantomData<fn(T)>,
}

impl<T: ArrowTimestampType> TimeDecoder<T> {
    fn boxed(dtype: DataType) -> Box<dyn ArrayDecoder> {
        Box::new(Self { dtype, unit: PhantomData })
    }

    /// Ticks of a text; `None`: it is no time, or outside of the unit's range.
    fn ticks(text: &str) -> Option<i64> {
        if let Some((seconds, nanoseconds)) = iso_time(text.as_bytes()) {
            let (per_second, ns_per_tick) = match T::UNIT {
                TimeUnit::Second => (1, 1_000_000_000),
                TimeUnit::Millisecond => (1_000, 1_000_000),
                TimeUnit::Microsecond => (1_000_000, 1_000),
                TimeUnit::Nanosecond => (1_000_000_000, 1),
            };
            return seconds.checked_mul(per_second)?.checked_add(nanoseconds / ns_per_tick);
        }
        let time = string_to_datetime(&chrono::Utc, text).ok()?;
        match T::UNIT {
            TimeUnit::Second => Some(time.timestamp()),
            TimeUnit::Millisecond => Some(time.timestamp_millis()),
            TimeUnit::Microsecond => Some(time.timestamp_micros()),
            TimeUnit::Nanosecond => time.timestamp_nanos_opt(),
        }
    }
}

impl<T: ArrowTimestampType> ArrayDecoder for TimeDecoder<T> {
    fn decode(&mut self, tape: &Tape<'_>, places: &[u32]) -> Result<ArrayRef, ArrowError> {
        let mut ticks = PrimitiveBuilder::<T>::with_capacity(places.len()).with_data_type(self.dtype.clone());
        for place in places {
            let (text, value) = match tape.get(*place) {
                TapeElement::Null => {
                    ticks.append_null();
                    continue;
                }
                TapeElement::String(text) => (tape.get_string(text), Self::ticks(tape.get_string(text))),
                // A number counts ticks.
                TapeElement::Number(text) => (tape.get_string(text), tape.get_string(text).parse().ok()),
                _ => return Err(tape.error(*place, "a time")),
            };
            ticks.append_value(value.ok_or_else(|| {
                ArrowError::JsonError(format!("expected a time of type {}, got '{text}'", self.dtype))
            })?);
        }
        Ok(Arc::new(ticks.finish()))
    }
}

/// Seconds since 1970 and nanoseconds of `YYYY-MM-DDTHH:MM:SS[.f][Z]` (a blank for the T too). Anything else: `None`.
pub(crate) fn iso_time(text: &[u8]) -> Option<(i64, i64)> {
    let (head, tail) = text.split_at_checked(19)?;
    let number = |from: usize, length: usize| {
        let mut value = 0_i64;
        for digit in head.get(from..from + length)? {
            value = value * 10 + digit_value(*digit)?;
        }
        Some(value)
    };
    let at = |place: usize| head.get(place).copied();
    let separated = at(4)? == b'-'
        && at(7)? == b'-'
        && matches!(at(10)?, b'T' | b' ')
        && at(13)? == b':'
        && at(16)? == b':';
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    if !separated || day == 0 || day > days_of_month(year, month)? || hour > 23 || minute > 59 || second > 59
    {
        return None;
    }
    let seconds = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some((seconds, fraction_ns(tail)?))
}

fn digit_value(byte: u8) -> Option<i64> {
    let value = byte.wrapping_sub(b'0');
    (value < 10).then_some(i64::from(value))
}

/// Nanoseconds of `[.f][Z]`, f of at most nine digits.
fn fraction_ns(text: &[u8]) -> Option<i64> {
    let text = text.strip_suffix(b"Z").unwrap_or(text);
    let Some(digits) = text.strip_prefix(b".") else { return text.is_empty().then_some(0) };
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    let mut value = 0_i64;
    for digit in digits {
        value = value * 10 + digit_value(*digit)?;
    }
    Some((digits.len()..9).fold(value, |value, _| value * 10))
}

fn days_of_month(year: i64, month: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => Some(if leap { 29 } else { 28 }),
        4 | 6 | 9 | 11 => Some(30),
        1..=12 => Some(31),
        _ => None,
    }
}

/// Days of a Gregorian date (Hinnant, chrono-compatible low-level date algorithms: days_from_civil), years 0 to 9999.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::{decoder, iso_time};
    use arrow::array::{Array, AsArray};
    use arrow::compute::kernels::cast_utils::string_to_datetime;
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit, TimestampMicrosecondType};
    use std::sync::Arc;

    fn times(json: &str) -> Result<Vec<Option<i64>>, String> {
        let dtype = DataType::Timestamp(TimeUnit::Microsecond, None);
        let schema = Arc::new(Schema::new(vec![Field::new("ts", dtype, true)]));
        let mut decoder = decoder(&schema, 100).unwrap();
        decoder.decode(json.as_bytes()).map_err(|error| error.to_string())?;
        let batch = decoder.flush().map_err(|error| error.to_string())?.unwrap();
        let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        Ok((0..times.len()).map(|row| times.is_valid(row).then(|| times.value(row))).collect())
    }

    #[test]
    fn times_are_texts_or_ticks() {
        let json = r#"{"ts": "2015-07-15T00:00:00.0004"} {"ts": 1436918400000400} {"ts": null} {}
            {"ts": "2015-07-15 02:00:00.000400999+02:00"} {"ts": "1969-12-31T23:59:59.9999999Z"} {"ts": "2015-07-15"}"#;
        let expected = [Some(1_436_918_400_000_400), Some(1_436_918_400_000_400), None, None];
        let found = times(json).unwrap();
        assert_eq!(found[..4], expected);
        assert_eq!(found[4..], [Some(1_436_918_400_000_400), Some(-1), Some(1_436_918_400_000_000)]);
    }

    #[test]
    fn a_time_that_does_not_exist_is_refused_with_its_text() {
        for bad in ["2015-02-29T00:00:00", "2015-13-01T00:00:00", "soon", "2015-07-15T25:00:00"] {
            let error = times(&format!(r#"{{"ts": "{bad}"}}"#)).unwrap_err();
            assert!(error.contains(bad), "{error}");
        }
    }

    #[test]
    fn fast_reading_agrees_with_arrow_on_every_day() {
        for days in -719_000_i64..2_900_000 {
            if days % 37 != 0 {
                continue;
            }
            let text = chrono::DateTime::from_timestamp(days * 86_400 + days.rem_euclid(86_400), 0)
                .unwrap()
                .format("%Y-%m-%dT%H:%M:%S")
                .to_string();
            if text.len() != 19 {
                continue;
            }
            let expected = string_to_datetime(&chrono::Utc, &text).unwrap().timestamp();
            assert_eq!(iso_time(text.as_bytes()), Some((expected, 0)), "{text}");
        }
    }
}
