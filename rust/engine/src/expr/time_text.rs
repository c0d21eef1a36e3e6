//! Times as text and text as times: `dt.to_string` and `str.strptime` with a constant format.
//!
//! Formats of plain parts (`%Y-%m-%d %H:%M:%S%.f`) are read and written here; a text of another shape, such as one digit
//! for a month, goes the way of `chrono`, which Polars uses too. Not here: names of zones, texts without a format: Polars
//! does those. Called by the compiler.

use super::compile::Compile;
use super::temporal::{chrono_date, local_unit};
use super::text_builder::TextBuilder;
use super::value::{Call, Kernel, Rows, Value, primitive, strings, to_logical, to_physical};
use super::zone::of_local_time;
use crate::error::{EngineError, Result};
use arrow::array::{Array, ArrayRef, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Int32Type, Int64Type};
use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use dataflare_plan::{DataType, TimeUnit};
use std::fmt::Write;
use std::sync::Arc;

pub(super) const FUNCTIONS: &[(&str, Compile)] =
    &[("dt.to_string", |call| of_local_time(call, to_string)), ("str.strptime", strptime)];

const DATE_PARTS: &str = "YmdyjeBbaAuwUWGV";
const TIME_PARTS: &str = "HMSIpPlk";

/// True if a format has parts of the given letters, `%%`, and (for times) `%.f` and `%3f` and their like only.
fn has_only(format: &str, letters: &[&str], fractions: bool) -> bool {
    let mut rest = format.chars();
    while let Some(next) = rest.next() {
        if next != '%' {
            continue;
        }
        match rest.next() {
            Some('%') => {}
            Some(letter) if letters.iter().any(|letters| letters.contains(letter)) => {}
            Some('.') if fractions => match (rest.next(), rest.clone().next()) {
                (Some('f'), _) => {}
                (Some('3' | '6' | '9'), Some('f')) => {
                    rest.next();
                }
                _ => return false,
            },
            Some('3' | '6' | '9') if fractions && rest.next() == Some('f') => {}
            Some('f') if fractions => {}
            _ => return false,
        }
    }
    true
}

/// `%F`, `%T`, `%R` and `%D` written out.
fn spelled_out(format: &str) -> String {
    let mut text = String::with_capacity(format.len());
    let mut rest = format.chars();
    while let Some(next) = rest.next() {
        text.push(next);
        if next == '%' {
            let Some(letter) = rest.next() else { break };
            let long = match letter {
                'F' => "Y-%m-%d",
                'T' => "H:%M:%S",
                'R' => "H:%M",
                'D' => "m/%d/%y",
                letter => {
                    text.push(letter);
                    continue;
                }
            };
            text.push_str(long);
        }
    }
    text
}

fn to_string(call: &Call<'_>) -> Result<Kernel> {
    let [input] = call.args()?;
    let format = spelled_out(match (call.text("format").ok_or_else(|| call.no_kernel())?, &input.dtype) {
        ("iso", DataType::Date) => "%F",
        ("iso", DataType::Datetime { unit: TimeUnit::Milliseconds, .. }) => "%F %T%.3f",
        ("iso", DataType::Datetime { unit: TimeUnit::Microseconds, .. }) => "%F %T%.6f",
        ("iso", DataType::Datetime { unit: TimeUnit::Nanoseconds, .. }) => "%F %T%.9f",
        (format, _) => format,
    });
    let (letters, fractions): (&[&str], bool) = match input.dtype {
        DataType::Date => (&[DATE_PARTS], false),
        DataType::Time => (&[TIME_PARTS], true),
        _ => (&[DATE_PARTS, TIME_PARTS], true),
    };
    if !format.contains('%') || !has_only(&format, letters, fractions) {
        return Err(call.no_kernel());
    }
    let items = StrftimeItems::new(&format).parse_to_owned().map_err(|_| call.no_kernel())?;
    let pieces = Piece::read(&format);
    let per_second = match &input.dtype {
        DataType::Date | DataType::Time => 1,
        other => 1_000_000_000 / local_unit(other).ok_or_else(|| call.no_kernel())?.nanoseconds(),
    };
    let dtype = input.dtype.clone();
    Ok(Box::new(move |args, rows| {
        let input = first(args)?;
        let mut texts = TextBuilder::with_capacity(input.len());
        let mut outside = Vec::new();
        let mut append = |row: usize, time: Option<NaiveDateTime>| {
            let valid = input.is_valid(row);
            if valid && time.is_none() {
                outside.push(row);
            }
            texts.append(|into| {
                if let (true, Some(time)) = (valid, time) {
                    write_time(into, time, pieces.as_deref(), &items);
                }
            });
        };
        match &dtype {
            DataType::Date => {
                for (row, day) in primitive::<Int32Type>(&input)?.values().iter().enumerate() {
                    let date = chrono_date(i64::from(*day));
                    append(row, date.map(|date| date.and_time(NaiveTime::MIN)));
                }
            }
            DataType::Time => {
                for (row, ns) in primitive::<Int64Type>(&input)?.values().iter().enumerate() {
                    append(
                        row,
                        DateTime::from_timestamp(
                            ns.div_euclid(1_000_000_000),
                            ns.rem_euclid(1_000_000_000) as u32,
                        )
                        .map(|time| time.naive_utc()),
                    );
                }
            }
            _ => {
                for (row, tick) in primitive::<Int64Type>(&input)?.values().iter().enumerate() {
                    let nanoseconds = tick.rem_euclid(per_second) * (1_000_000_000 / per_second);
                    let time = DateTime::from_timestamp(tick.div_euclid(per_second), nanoseconds as u32);
                    append(row, time.map(|time| time.naive_utc()));
                }
            }
        }
        let nulls = failed(&input, &outside, rows, "dt.to_string", |_| {
            "the time is outside the years -262143 to 262142".to_owned()
        });
        texts.finish(nulls)
    }))
}

/// Writes one time: by plain pieces where they hold it, else as `chrono` does. Writing into a string cannot fail.
fn write_time(into: &mut String, time: NaiveDateTime, pieces: Option<&[Piece]>, items: &[Item<'_>]) {
    let Some(pieces) = pieces.filter(|_| (0..=9999).contains(&time.year())) else {
        let _ = write!(into, "{}", time.format_with_items(items.iter()));
        return;
    };
    for piece in pieces {
        let (value, width) = match piece {
            Piece::Literal(text) => {
                into.push_str(text);
                continue;
            }
            Piece::Fraction => {
                let _ = write!(into, "{}", time.format("%.f"));
                continue;
            }
            Piece::Year => (time.year().unsigned_abs(), 4),
            Piece::Month => (time.month(), 2),
            Piece::Day => (time.day(), 2),
            Piece::Hour => (time.hour(), 2),
            Piece::Minute => (time.minute(), 2),
            Piece::Second => (time.second() + time.nanosecond() / 1_000_000_000, 2),
        };
        let mut scale = 10_u32.pow(width - 1);
        while scale > 0 {
            // A digit.
            into.push(char::from(b'0' + (value / scale % 10) as u8));
            scale /= 10;
        }
    }
}

fn first(args: &[Value]) -> Result<ArrayRef> {
    match args.first() {
        Some(value) => to_physical(value.array()),
        None => Err(EngineError::internal("a function of times", "expected an argument")),
    }
}

/// Validity without the rows that failed, each noted.
fn failed(
    input: &ArrayRef,
    failed: &[usize],
    rows: &mut Rows<'_, '_>,
    code: &'static str,
    message: impl Fn(usize) -> String,
) -> Option<NullBuffer> {
    if failed.is_empty() {
        return input.nulls().cloned();
    }
    let mut valid: Vec<bool> = (0..input.len()).map(|row| input.is_valid(row)).collect();
    for row in failed {
        rows.fail(*row, code, message(*row));
        if let Some(valid) = valid.get_mut(*row) {
            *valid = false;
        }
    }
    Some(NullBuffer::from(valid))
}

/// A part of a format that has a fixed number of digits, or a text.
enum Piece {
    Literal(String),
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    /// `%.f`: nothing, or a point and up to nine digits.
    Fraction,
}

impl Piece {
    /// The pieces of a format; `None` if it has other ones.
    fn read(format: &str) -> Option<Vec<Self>> {
        let mut pieces = Vec::new();
        let mut rest = format;
        while !rest.is_empty() {
            if let Some(tail) = rest.strip_prefix('%') {
                let (piece, length) = match tail.as_bytes() {
                    [b'Y', ..] => (Self::Year, 1),
                    [b'm', ..] => (Self::Month, 1),
                    [b'd', ..] => (Self::Day, 1),
                    [b'H', ..] => (Self::Hour, 1),
                    [b'M', ..] => (Self::Minute, 1),
                    [b'S', ..] => (Self::Second, 1),
                    [b'.', b'f', ..] => (Self::Fraction, 2),
                    _ => return None,
                };
                pieces.push(piece);
                rest = tail.get(length..)?;
            } else {
                let end = rest.find('%').unwrap_or(rest.len());
                pieces.push(Self::Literal(rest.get(..end)?.to_owned()));
                rest = rest.get(end..)?;
            }
        }
        Some(pieces)
    }
}

/// Reads texts of one format as dates, datetimes without a zone, or times.
fn strptime(call: &Call<'_>) -> Result<Kernel> {
    let input = call.args.first().ok_or_else(|| call.no_kernel())?;
    let format = call.text("format").ok_or_else(|| call.no_kernel())?;
    if input.dtype != DataType::String || !call.flag("exact") {
        return Err(call.no_kernel());
    }
    let format = spelled_out(format);
    let parser = Parser { pieces: Piece::read(&format).ok_or_else(|| call.no_kernel())?, format };
    let has = |wanted: fn(&Piece) -> bool| parser.pieces.iter().filter(|piece| wanted(piece)).count();
    let of_date = [
        has(|piece| matches!(piece, Piece::Year)),
        has(|piece| matches!(piece, Piece::Month)),
        has(|piece| matches!(piece, Piece::Day)),
    ];
    let of_time = [
        has(|piece| matches!(piece, Piece::Hour)),
        has(|piece| matches!(piece, Piece::Minute)),
        has(|piece| matches!(piece, Piece::Second)),
        has(|piece| matches!(piece, Piece::Fraction)),
    ];
    // Anything said twice, or a fraction without its second, is left to Polars; so is white space, which may be any.
    let white = parser
        .pieces
        .iter()
        .any(|piece| matches!(piece, Piece::Literal(text) if text.trim().len() < text.len() && text != " "));
    let times = matches!(of_time, [0, 0, 0, 0] | [1, 1, 0, 0] | [1, 1, 1, 0 | 1]);
    if !times || white {
        return Err(call.no_kernel());
    }
    let strict = call.flag("strict");
    match call.dtype {
        DataType::Date if of_date == [1, 1, 1] && of_time == [0; 4] => {
            Ok(parsed::<Int32Type>(parser, strict, call.dtype, |parser, text| {
                let date = parser.date_and_time(text).map(|time| time.date());
                let date = date.or_else(|| NaiveDate::parse_from_str(text, &parser.format).ok())?;
                Some(date.num_days_from_ce() - 719_163)
            }))
        }
        DataType::Datetime { unit, zone: None } if of_date == [1, 1, 1] => {
            let unit = *unit;
            Ok(parsed::<Int64Type>(parser, strict, call.dtype, move |parser, text| {
                let time = parser.date_and_time(text).or_else(|| parser.as_chrono_does(text))?;
                ticks(time, unit)
            }))
        }
        _ => Err(call.no_kernel()),
    }
}

fn ticks(time: NaiveDateTime, unit: TimeUnit) -> Option<i64> {
    let instant = time.and_utc();
    match unit {
        TimeUnit::Milliseconds => Some(instant.timestamp_millis()),
        TimeUnit::Microseconds => Some(instant.timestamp_micros()),
        TimeUnit::Nanoseconds => instant.timestamp_nanos_opt(),
    }
}

fn parsed<T: arrow::array::ArrowPrimitiveType>(
    parser: Parser,
    strict: bool,
    dtype: &DataType,
    parse: impl Fn(&Parser, &str) -> Option<T::Native> + Send + Sync + 'static,
) -> Kernel {
    let dtype = dtype.clone();
    Box::new(move |args, rows| {
        let Some(input) = args.first() else {
            return Err(EngineError::internal("str.strptime", "expected an argument"));
        };
        let texts = strings(input.array())?;
        let times: PrimitiveArray<T> = texts.iter().map(|text| parse(&parser, text?)).collect();
        if strict && times.null_count() > texts.null_count() {
            for (row, text) in texts.iter().enumerate() {
                if let (Some(text), true) = (text, times.is_null(row)) {
                    rows.fail(
                        row,
                        "str.strptime",
                        format!("{text:?} has not the format {:?}", parser.format),
                    );
                }
            }
        }
        to_logical(&(Arc::new(times) as ArrayRef), &dtype)
    })
}

/// A format of plain pieces.
struct Parser {
    pieces: Vec<Piece>,
    format: String,
}

impl Parser {
    /// Reads a text whose parts have all their digits; missing times are midnight.
    fn date_and_time(&self, text: &str) -> Option<NaiveDateTime> {
        let (mut rest, mut date, mut time, mut nanosecond) = (text.as_bytes(), [0; 3], [0; 3], 0);
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => rest = rest.strip_prefix(literal.as_bytes())?,
                Piece::Year => (date[0], rest) = digits(rest, 4)?,
                Piece::Month => (date[1], rest) = digits(rest, 2)?,
                Piece::Day => (date[2], rest) = digits(rest, 2)?,
                Piece::Hour => (time[0], rest) = digits(rest, 2)?,
                Piece::Minute => (time[1], rest) = digits(rest, 2)?,
                Piece::Second => (time[2], rest) = digits(rest, 2)?,
                Piece::Fraction => {
                    let Some(tail) = rest.strip_prefix(b".") else { continue };
                    let count = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
                    let (value, tail) = digits(tail, Some(count).filter(|count| (1..=9).contains(count))?)?;
                    nanosecond = value * 10_u32.pow(9 - count as u32);
                    rest = tail;
                }
            }
        }
        let date = NaiveDate::from_ymd_opt(i32::try_from(date[0]).ok()?, date[1], date[2])?;
        date.and_hms_nano_opt(time[0], time[1], time[2], nanosecond).filter(|_| rest.is_empty())
    }

    /// Any other text that `chrono` takes; a format without a time means midnight.
    fn as_chrono_does(&self, text: &str) -> Option<NaiveDateTime> {
        NaiveDateTime::parse_from_str(text, &self.format)
            .ok()
            .or_else(|| Some(NaiveDate::parse_from_str(text, &self.format).ok()?.and_time(NaiveTime::MIN)))
    }
}

/// A number of exactly `count` digits, and what is behind it.
fn digits(text: &[u8], count: usize) -> Option<(u32, &[u8])> {
    let (number, rest) = text.split_at_checked(count)?;
    let number = number
        .iter()
        .try_fold(0_u32, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')));
    Some((number?, rest))
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{call_with, col, frame, lit, show};
    use arrow::array::{StringViewArray, TimestampMicrosecondArray};
    use dataflare_plan::DataType::{Date, Datetime, String};
    use dataflare_plan::TimeUnit::Microseconds;
    use dataflare_plan::{DataType, Expr};
    use serde_json::json;
    use std::sync::Arc;

    const TIME: DataType = Datetime { unit: Microseconds, zone: None };

    fn strptime(format: &str, strict: bool, dtype: DataType) -> Expr {
        let options = json!({"format": format, "strict": strict, "exact": true, "cache": true});
        call_with("str.strptime", [col("s"), lit("raise", String)], options, dtype)
    }

    #[test]
    fn text_of_another_shape_is_read_as_chrono_does() {
        let texts = vec!["2024-01-05", "2024-1-5", "2024-02-30", " 2024-01-05", "2024-01-05 ", "12024-01-05"];
        let frame = frame([("s", String, Arc::new(StringViewArray::from(texts)))]);
        assert_eq!(frame.answer(strptime("%Y-%m-%d", false, Date)), "2024-01-05 2024-01-05 - 2024-01-05 - -");
        let (array, errors) = frame.run(strptime("%F", true, Date)).unwrap();
        assert_eq!(show(&array), "2024-01-05 2024-01-05 - 2024-01-05 - -");
        assert_eq!(errors.iter().map(|error| error.row).collect::<Vec<_>>(), [2, 4, 5]);
    }

    #[test]
    fn fraction_may_be_missing() {
        let texts = vec![
            "2024-01-05T10:11:12.5",
            "2024-01-05T10:11:12",
            "2024-01-05T10:11:12.",
            "2024-01-05T10:11:60",
        ];
        let frame = frame([("s", String, Arc::new(StringViewArray::from(texts)))]);
        assert_eq!(
            frame.answer(strptime("%Y-%m-%dT%H:%M:%S%.f", false, TIME)),
            "2024-01-05T10:11:12.500 2024-01-05T10:11:12 - 2024-01-05T10:12:00"
        );
    }

    #[test]
    fn time_is_written_with_all_digits() {
        let ticks = vec![Some(-1), None, Some(1_577_840_523_000_000)];
        let frame = frame([("t", TIME, Arc::new(TimestampMicrosecondArray::from(ticks)))]);
        let text = |format: &str| {
            frame.answer(call_with("dt.to_string", [col("t")], json!({"format": format}), String))
        };
        assert_eq!(text("%d.%m.%Y/%T"), "31.12.1969/23:59:59 - 01.01.2020/01:02:03");
        assert_eq!(text("%H%.6f|%a|%j"), "23.999999|Wed|365 - 01.000000|Wed|001");
    }
}
