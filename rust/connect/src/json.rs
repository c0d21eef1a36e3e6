//! Columns as JSON objects, and times in JSON texts. Called by the Kafka connector, the console and files of lines.
//!
//! Not here: objects to columns (`json_rows.rs`), what Polars writes into files of lines (`files/ndjson/text.rs`).

use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow_json::WriterBuilder;
use arrow_json::writer::LineDelimited;
use std::sync::Arc;

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

/// Ticks of an ISO 8601 time; one without an offset is UTC. `None`: it is no time, or outside of the unit's range.
pub(crate) fn ticks_of(text: &str, per_second: i64) -> Option<i64> {
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

/// Days since 1970 of `YYYY-MM-DD`.
pub(crate) fn days_of(text: &str) -> Option<i32> {
    let (seconds, _) = iso_time(format!("{text}T00:00:00").as_bytes()).filter(|_| text.len() == 10)?;
    i32::try_from(seconds / 86_400).ok()
}

/// Nanoseconds since midnight of `HH:MM:SS[.f]`.
pub(crate) fn time_of_day(text: &str) -> Option<i64> {
    let (seconds, nanoseconds) = iso_time(format!("1970-01-01T{text}").as_bytes())?;
    (!text.ends_with('Z')).then_some(seconds * 1_000_000_000 + nanoseconds)
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
    use super::{days_of, iso_time, ticks_of, time_of_day};
    use arrow::compute::kernels::cast_utils::string_to_datetime;

    #[test]
    fn times_are_read_in_all_their_forms() {
        for (text, expected) in [
            ("2015-07-15T00:00:00.0004", Some(1_436_918_400_000_400)),
            ("2015-07-15 02:00:00.000400999+02:00", Some(1_436_918_400_000_400)),
            ("1969-12-31T23:59:59.9999999Z", Some(-1)),
            ("2015-07-15", Some(1_436_918_400_000_000)),
            ("2015-07-15T00:00", Some(1_436_918_400_000_000)),
            ("2015-02-29T00:00:00", None),
            ("2015-13-01T00:00:00", None),
            ("2015-07-15T25:00:00", None),
            ("soon", None),
        ] {
            assert_eq!(ticks_of(text, 1_000_000), expected, "{text}");
        }
        assert_eq!(
            (days_of("1970-01-02"), days_of("1969-12-31"), days_of("1970-1-2")),
            (Some(1), Some(-1), None)
        );
        assert_eq!((time_of_day("00:00:01.5"), time_of_day("24:00:00")), (Some(1_500_000_000), None));
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
