//! Columns as NDJSON in the words of Polars' `write_ndjson`: floats, times, durations and decimals differ from
//! arrow-json's. Not here: Kafka's and the console's JSON (`json.rs`). Called by `sink.rs`.

use arrow::array::timezone::Tz;
use arrow::array::types::{Decimal128Type, DecimalType};
use arrow::array::{Array, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch, new_null_array};
use arrow::datatypes::{
    DataType, Date32Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, FieldRef,
    Float32Type, Float64Type, SchemaRef, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use arrow::error::ArrowError;
use arrow_json::writer::{LineDelimited, NullableEncoder, Writer};
use arrow_json::{Encoder, EncoderFactory, EncoderOptions, WriterBuilder};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Writes batches as lines.
pub struct Lines<W: Write> {
    writer: Writer<W, LineDelimited>,
    beyond: Arc<AtomicBool>,
}

impl<W: Write> Lines<W> {
    pub fn new(out: W) -> Self {
        let beyond = Arc::new(AtomicBool::new(false));
        let words = PolarsWords { beyond: Arc::clone(&beyond) };
        let writer =
            WriterBuilder::new().with_explicit_nulls(true).with_encoder_factory(Arc::new(words)).build(out);
        Self { writer, beyond }
    }

    /// # Errors
    /// The place is full; a time is beyond the calendar.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), String> {
        self.writer.write(batch).map_err(|error| error.to_string())?;
        if self.beyond.load(Ordering::Relaxed) {
            return Err("expected times within 262 000 years of 0, got one beyond".to_owned());
        }
        Ok(())
    }

    /// # Errors
    /// The place is full.
    pub fn finish(mut self) -> Result<W, String> {
        self.writer.finish().map_err(|error| error.to_string())?;
        Ok(self.writer.into_inner())
    }
}

/// Whether a column of this type can be written.
///
/// # Errors
/// A type that JSON cannot hold.
pub fn check(schema: &SchemaRef) -> Result<(), String> {
    for field in schema.fields() {
        let column = new_null_array(field.data_type(), 1);
        let one = RecordBatch::try_from_iter_with_nullable([(field.name(), column, true)]);
        let written =
            one.map_err(|error| error.to_string()).and_then(|one| Lines::new(Vec::new()).write(&one));
        written.map_err(|_| field.name().clone())?;
    }
    Ok(())
}

#[derive(Debug)]
struct PolarsWords {
    /// Set when a value has no text; an encoder cannot fail.
    beyond: Arc<AtomicBool>,
}

/// Appends a value; false: it has no text.
type Say<'a, N> = Box<dyn Fn(N, &mut Vec<u8>) -> bool + 'a>;

struct Words<'a, T: ArrowPrimitiveType> {
    values: &'a PrimitiveArray<T>,
    say: Say<'a, T::Native>,
    beyond: Arc<AtomicBool>,
}

impl<T: ArrowPrimitiveType> Encoder for Words<'_, T> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        if !(self.say)(self.values.value(row), out) {
            out.extend_from_slice(b"null");
            self.beyond.store(true, Ordering::Relaxed);
        }
    }
}

impl EncoderFactory for PolarsWords {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let _ = (field, options);
        Ok(Some(match array.data_type() {
            DataType::Float32 => self.words::<Float32Type>(array, Box::new(float)),
            DataType::Float64 => self.words::<Float64Type>(array, Box::new(float)),
            DataType::Date32 => self.words::<Date32Type>(
                array,
                Box::new(|days, out| {
                    let date = NaiveDate::default().checked_add_signed(TimeDelta::days(i64::from(days)));
                    quoted(date, out)
                }),
            ),
            DataType::Time64(TimeUnit::Nanosecond) => self.words::<Time64NanosecondType>(
                array,
                Box::new(|ns, out| {
                    let (seconds, ns) =
                        (u32::try_from(ns / 1_000_000_000), u32::try_from(ns % 1_000_000_000));
                    let time = seconds.ok().zip(ns.ok());
                    quoted(
                        time.and_then(|(seconds, ns)| {
                            NaiveTime::from_num_seconds_from_midnight_opt(seconds, ns)
                        }),
                        out,
                    )
                }),
            ),
            DataType::Timestamp(unit, zone) => {
                let zone: Option<Tz> = zone.as_deref().map(str::parse).transpose()?;
                match unit {
                    TimeUnit::Second => return Ok(None),
                    TimeUnit::Millisecond => self.words::<TimestampMillisecondType>(
                        array,
                        Box::new(move |ticks, out| time(DateTime::from_timestamp_millis(ticks), zone, out)),
                    ),
                    TimeUnit::Microsecond => self.words::<TimestampMicrosecondType>(
                        array,
                        Box::new(move |ticks, out| time(DateTime::from_timestamp_micros(ticks), zone, out)),
                    ),
                    TimeUnit::Nanosecond => self.words::<TimestampNanosecondType>(
                        array,
                        Box::new(move |ticks, out| {
                            time(Some(DateTime::from_timestamp_nanos(ticks)), zone, out)
                        }),
                    ),
                }
            }
            DataType::Duration(TimeUnit::Millisecond) => self.words::<DurationMillisecondType>(
                array,
                Box::new(|ticks, out| quoted(TimeDelta::try_milliseconds(ticks), out)),
            ),
            DataType::Duration(TimeUnit::Microsecond) => self.words::<DurationMicrosecondType>(
                array,
                Box::new(|ticks, out| quoted(Some(TimeDelta::microseconds(ticks)), out)),
            ),
            DataType::Duration(TimeUnit::Nanosecond) => self.words::<DurationNanosecondType>(
                array,
                Box::new(|ticks, out| quoted(Some(TimeDelta::nanoseconds(ticks)), out)),
            ),
            DataType::Decimal128(precision, scale) => {
                let (precision, scale) = (*precision, *scale);
                self.words::<Decimal128Type>(
                    array,
                    Box::new(move |value, out| {
                        quoted(Some(Decimal128Type::format_decimal(value, precision, scale)), out)
                    }),
                )
            }
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => {
                return Err(ArrowError::NotYetImplemented("Binary as JSON".to_owned()));
            }
            _ => return Ok(None),
        }))
    }
}

impl PolarsWords {
    fn words<'a, T: ArrowPrimitiveType>(
        &self,
        array: &'a dyn Array,
        say: Say<'a, T::Native>,
    ) -> NullableEncoder<'a> {
        let values = array.as_primitive::<T>();
        let encoder = Words { values, say, beyond: Arc::clone(&self.beyond) };
        NullableEncoder::new(Box::new(encoder), values.nulls().cloned())
    }
}

/// NaN and infinities become null, as in Polars.
fn float(value: impl serde::Serialize, out: &mut Vec<u8>) -> bool {
    serde_json::to_writer(out, &value).is_ok()
}

fn quoted(value: Option<impl std::fmt::Display>, out: &mut Vec<u8>) -> bool {
    value.is_some_and(|value| write!(out, "\"{value}\"").is_ok())
}

/// A blank between date and time without a zone; RFC 3339 with one.
fn time(time: Option<DateTime<chrono::Utc>>, zone: Option<Tz>, out: &mut Vec<u8>) -> bool {
    match zone {
        None => quoted(time.map(|time| time.naive_utc()), out),
        Some(zone) => quoted(time.map(|time| time.with_timezone(&zone).to_rfc3339()), out),
    }
}
