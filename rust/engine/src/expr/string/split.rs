//! Texts cut at a separator: `split`, `split(..).list.get(n)`, `split_exact`, `splitn`. Parts share the buffers of the input.
//!
//! `split(..).list.get(n)` makes no list: it stops at the part that is asked for. Not here: an empty separator (Polars cuts
//! into characters), one from a column. Called by the table in `string/mod.rs` and by the compiler.

use super::views::Parts;
use super::{of_strings, text};
use crate::error::{EngineError, Result};
use crate::expr::value::{Call, Kernel, Rows, Value, strings};
use crate::types::arrow_type;
use arrow::array::{Array, ArrayRef, LargeListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType as Arrow;
use memchr::memmem::Finder;
use regex::Regex;
use serde_json::Value as Json;
use std::sync::Arc;

/// A constant separator.
enum Separator {
    Byte(u8),
    Text(Box<Finder<'static>>),
    Regex(Regex),
}

impl Separator {
    fn of(call: &Call<'_>) -> Result<Self> {
        of_strings(call)?;
        let separator = text(call, 1)?.filter(|text| !text.is_empty()).ok_or_else(|| call.no_kernel())?;
        if call.options.get("literal").and_then(Json::as_bool) == Some(false) {
            return Ok(Self::Regex(Regex::new(&separator).map_err(|_| call.no_kernel())?));
        }
        Ok(match separator.as_bytes() {
            [byte] => Self::Byte(*byte),
            bytes => Self::Text(Box::new(Finder::new(bytes).into_owned())),
        })
    }

    /// The parts of a text; with `inclusive` each ends with its separator, and there is none behind the last one.
    #[inline]
    fn each<'a>(&self, text: &'a str, inclusive: bool, part: impl FnMut(&'a str) -> bool) {
        match self {
            Self::Byte(byte) => {
                let ends = memchr::memchr_iter(*byte, text.as_bytes()).map(|start| (start, start + 1));
                cut(text, ends, inclusive, part);
            }
            Self::Text(finder) => {
                let length = finder.needle().len();
                let ends = finder.find_iter(text.as_bytes()).map(|start| (start, start + length));
                cut(text, ends, inclusive, part);
            }
            Self::Regex(regex) => {
                cut(text, regex.find_iter(text).map(|found| (found.start(), found.end())), inclusive, part);
            }
        }
    }
}

/// Gives the parts between `separators` to `part`, until it answers false.
#[inline]
fn cut<'a>(
    text: &'a str,
    separators: impl Iterator<Item = (usize, usize)>,
    inclusive: bool,
    mut part: impl FnMut(&'a str) -> bool,
) {
    let mut from = 0;
    for (start, end) in separators {
        if !part(text.get(from..if inclusive { end } else { start }).unwrap_or("")) {
            return;
        }
        from = end;
    }
    if !inclusive || from < text.len() {
        part(text.get(from..).unwrap_or(""));
    }
}

pub(super) fn split(call: &Call<'_>) -> Result<Kernel> {
    let separator = Separator::of(call)?;
    let inclusive = call.flag("inclusive");
    let Arrow::LargeList(field) = arrow_type(call.dtype) else { return Err(call.no_kernel()) };
    Ok(super::over_first(move |texts| {
        let mut parts = Parts::of(texts);
        let mut lengths = Vec::with_capacity(texts.len());
        for (row, text) in texts.iter().enumerate() {
            let before = parts.len();
            if let Some(text) = text {
                separator.each(text, inclusive, |part| {
                    parts.push(row, text, Some(part));
                    true
                });
            }
            lengths.push(parts.len() - before);
        }
        let (offsets, nulls) = (OffsetBuffer::from_lengths(lengths), texts.nulls().cloned());
        Ok(Arc::new(LargeListArray::try_new(field.clone(), offsets, parts.finish(), nulls)?))
    }))
}

/// `split(separator).list.get(n)` of a constant n. The call has the arguments of both, and the options of both.
pub(in crate::expr) fn part(call: &Call<'_>) -> Result<Kernel> {
    let separator = Separator::of(call)?;
    let (inclusive, null_on_oob) = (call.flag("inclusive"), call.flag("null_on_oob"));
    let index = call.integer(2)?.ok_or_else(|| call.no_kernel())?;
    let from_end = usize::try_from(index.unsigned_abs()).map_err(|_| call.no_kernel())?;
    Ok(Box::new(move |args: &[Value], rows: &mut Rows<'_, '_>| {
        let Some(texts) = args.first() else {
            return Err(EngineError::internal("split", "expected an argument"));
        };
        let texts = strings(texts.array())?;
        let mut parts = Parts::of(texts);
        // Ends of the last parts of a text, for a negative index.
        let mut last: Vec<&str> = Vec::new();
        for (row, text) in texts.iter().enumerate() {
            let Some(text) = text else {
                parts.push_null();
                continue;
            };
            let mut found = None;
            if index >= 0 {
                let mut left = index;
                separator.each(text, inclusive, |part| {
                    left -= 1;
                    found = (left < 0).then_some(part);
                    left >= 0
                });
            } else {
                last.clear();
                separator.each(text, inclusive, |part| {
                    last.push(part);
                    true
                });
                found = last.len().checked_sub(from_end).and_then(|at| last.get(at)).copied();
            }
            if found.is_none() && !null_on_oob {
                rows.fail(row, "list.get", format!("get index is out of bounds: {index} of {text:?}"));
            }
            parts.push(row, text, found);
        }
        Ok(parts.finish())
    }))
}

/// `split_exact(n)`: n + 1 fields, what is behind them is dropped; `splitn(n)`: n fields, the last one has the rest.
pub(super) fn fields(call: &Call<'_>, rest: bool) -> Result<Kernel> {
    let separator = Separator::of(call)?;
    let inclusive = call.flag("inclusive");
    let Arrow::Struct(fields) = arrow_type(call.dtype) else { return Err(call.no_kernel()) };
    if fields.is_empty() {
        return Err(call.no_kernel());
    }
    Ok(super::over_first(move |texts| {
        let mut columns: Vec<Parts<'_>> = fields.iter().map(|_| Parts::of(texts)).collect();
        for (row, text) in texts.iter().enumerate() {
            let mut at = 0;
            if let Some(text) = text {
                let last = columns.len() - 1;
                separator.each(text, inclusive, |part| {
                    let to_end = rest && at == last;
                    let part = if to_end { behind(text, part) } else { part };
                    if let Some(column) = columns.get_mut(at) {
                        column.push(row, text, Some(part));
                    }
                    at += 1;
                    at <= last
                });
            }
            for column in columns.iter_mut().skip(at) {
                column.push_null();
            }
        }
        let columns = columns.into_iter().map(Parts::finish).collect();
        Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, None, texts.len())?)
            as ArrayRef)
    }))
}

/// The text from the start of `part` on.
fn behind<'a>(text: &'a str, part: &'a str) -> &'a str {
    let start = part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
    text.get(start..).unwrap_or(part)
}

#[cfg(test)]
mod tests {
    use crate::error::Result;
    use crate::expr::testing::{Frame, call_with, col, frame, lit};
    use arrow::array::StringViewArray;
    use dataflare_plan::DataType::{Int32, List, String};
    use dataflare_plan::Expr;
    use serde_json::json;
    use std::sync::Arc;

    fn urls() -> Frame {
        let urls = vec![Some("https://host/a/b/item.htm?query=1"), Some("//x"), None, Some(""), Some("no")];
        frame([("s", String, Arc::new(StringViewArray::from(urls)))])
    }

    fn part(separator: &str, index: i64, null_on_oob: bool) -> Expr {
        let options = json!({"inclusive": false, "literal": true});
        let split =
            call_with("str.split", [col("s"), lit(separator, String)], options, List(Box::new(String)));
        call_with("list.get", [split, lit(index, Int32)], json!({"null_on_oob": null_on_oob}), String)
    }

    #[test]
    fn part_of_a_split_is_found_from_either_end() {
        assert_eq!(urls().answer(part("/", 2, true)), "host x - - -");
        assert_eq!(urls().answer(part("/", -1, true)), "item.htm?query=1 x -  no");
        assert_eq!(urls().answer(part("/a/", 1, true)), "b/item.htm?query=1 - - - -");
        assert_eq!(urls().answer(part("/", -100, true)), "- - - - -");
    }

    #[test]
    fn part_beyond_the_last_fails_its_row_if_asked_to() -> Result<()> {
        let (_, errors) = urls().run(part("/", 1, false))?;
        assert_eq!(errors.iter().map(|error| error.row).collect::<Vec<_>>(), [3, 4]);
        Ok(())
    }
}
