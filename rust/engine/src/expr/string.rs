//! `str.*`: lengths, cases, searches, trimming, slices, replacements; `concat_str`.
//!
//! Patterns, positions and replacements are constants. Regular expressions are those of the crate `regex`, which Polars
//! uses too. Answers that are parts of the input share its buffers. Not here: patterns from a column, invalid patterns.
//! Called by the compiler.

use super::compile::Compile;
use super::numeric::one;
use super::value::{Call, Kernel, Value, primitive, strings};
use crate::error::{EngineError, Result};
use arrow::array::{
    Array, ArrayRef, BooleanArray, Datum, Scalar, StringViewArray, StringViewBuilder, UInt32Array, make_view,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::comparison;
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type};
use arrow::error::ArrowError;
use dataflare_plan::DataType;
use regex::Regex;
use serde_json::Value as Json;
use std::sync::Arc;

pub(super) const FUNCTIONS: &[(&str, Compile)] = &[
    ("str.len_bytes", len_bytes),
    ("str.len_chars", len_chars),
    ("str.to_lowercase", |call| rewrite(call, lowercase)),
    ("str.to_uppercase", |call| rewrite(call, uppercase)),
    ("str.starts_with", |call| search(call, comparison::starts_with)),
    ("str.ends_with", |call| search(call, comparison::ends_with)),
    ("str.contains", contains),
    ("str.strip_chars", |call| strip(call, |text| text.trim(), |text, set| text.trim_matches(set))),
    ("str.strip_chars_start", |call| {
        strip(call, |text| text.trim_start(), |text, set| text.trim_start_matches(set))
    }),
    ("str.strip_chars_end", |call| {
        strip(call, |text| text.trim_end(), |text, set| text.trim_end_matches(set))
    }),
    ("str.strip_prefix", |call| affix(call, |text, affix| text.strip_prefix(affix))),
    ("str.strip_suffix", |call| affix(call, |text, affix| text.strip_suffix(affix))),
    ("str.slice", slice),
    ("str.replace", replace),
    ("concat_str", concat_str),
];

/// The constant text of an argument; `None` if it is null.
fn text(call: &Call<'_>, index: usize) -> Result<Option<String>> {
    let constant =
        call.args.get(index).and_then(|arg| arg.constant.as_ref()).ok_or_else(|| call.no_kernel())?;
    if *constant.data_type() == arrow::datatypes::DataType::Null {
        return Ok(None);
    }
    Ok(strings(constant)?.iter().next().flatten().map(str::to_owned))
}

/// Checks the type of the first argument.
fn of_strings(call: &Call<'_>) -> Result<()> {
    match call.args.first() {
        Some(input) if input.dtype == DataType::String => Ok(()),
        _ => Err(call.no_kernel()),
    }
}

/// A kernel over the first argument; the others are constants known already.
fn over_first(apply: impl Fn(&StringViewArray) -> Result<ArrayRef> + Send + Sync + 'static) -> Kernel {
    Box::new(move |args, _| match args.first() {
        Some(input) => apply(strings(input.array())?),
        None => Err(EngineError::internal("a string function", "expected an argument")),
    })
}

/// A view holds its length in the low 32 bits.
fn len_bytes(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    Ok(over_first(|texts| {
        let lengths: Vec<u32> = texts.views().iter().map(|view| *view as u32).collect();
        Ok(Arc::new(UInt32Array::new(lengths.into(), texts.nulls().cloned())))
    }))
}

fn len_chars(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    Ok(over_first(|texts| {
        let count = |text: &str| u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        let lengths: Vec<u32> = texts.iter().map(|text| text.map_or(0, count)).collect();
        Ok(Arc::new(UInt32Array::new(lengths.into(), texts.nulls().cloned())))
    }))
}

/// A change of case.
fn rewrite(call: &Call<'_>, write: fn(&str, &mut String)) -> Result<Kernel> {
    of_strings(call)?;
    Ok(rewritten(write))
}

fn lowercase(text: &str, into: &mut String) {
    if text.is_ascii() {
        into.extend(text.bytes().map(|byte| char::from(byte.to_ascii_lowercase())));
    } else {
        into.push_str(&text.to_lowercase());
    }
}

fn uppercase(text: &str, into: &mut String) {
    if text.is_ascii() {
        into.extend(text.bytes().map(|byte| char::from(byte.to_ascii_uppercase())));
    } else {
        into.push_str(&text.to_uppercase());
    }
}

/// One of Arrow's searches for a constant text; null for a null one.
fn search(
    call: &Call<'_>,
    kernel: fn(&dyn Datum, &dyn Datum) -> Result<BooleanArray, ArrowError>,
) -> Result<Kernel> {
    of_strings(call)?;
    let Some(wanted) = text(call, 1)? else { return Ok(all_null()) };
    let wanted = Scalar::new(StringViewArray::from(vec![wanted]));
    Ok(over_first(move |texts| Ok(Arc::new(kernel(texts, &wanted)?))))
}

fn all_null() -> Kernel {
    one_of_many(|array| Ok(Arc::new(BooleanArray::new_null(array.len()))))
}

fn one_of_many(apply: impl Fn(&ArrayRef) -> Result<ArrayRef> + Send + Sync + 'static) -> Kernel {
    let apply = one(apply);
    Box::new(move |args, rows| apply(args.get(..1).unwrap_or(&[]), rows))
}

fn contains(call: &Call<'_>) -> Result<Kernel> {
    if call.flag("literal") {
        return search(call, comparison::contains);
    }
    of_strings(call)?;
    let Some(pattern) = text(call, 1)? else { return Ok(all_null()) };
    if regex_syntax_free(&pattern) {
        return search(call, comparison::contains);
    }
    let pattern = Regex::new(&pattern).map_err(|_| call.no_kernel())?;
    Ok(over_first(move |texts| {
        let found = BooleanBuffer::collect_bool(texts.len(), |row| {
            texts.is_valid(row) && pattern.is_match(texts.value(row))
        });
        Ok(Arc::new(BooleanArray::new(found, texts.nulls().cloned())))
    }))
}

/// True if a pattern means only itself.
fn regex_syntax_free(pattern: &str) -> bool {
    regex::escape(pattern) == pattern
}

/// `strip_chars*`: white space for null, else the characters of a set.
fn strip(
    call: &Call<'_>,
    white_space: fn(&str) -> &str,
    of_set: for<'a> fn(&'a str, &[char]) -> &'a str,
) -> Result<Kernel> {
    of_strings(call)?;
    let set: Option<Vec<char>> = text(call, 1)?.map(|set| set.chars().collect());
    Ok(parts(move |text| match &set {
        None => white_space(text),
        Some(set) => of_set(text, set),
    }))
}

/// `strip_prefix`, `strip_suffix`.
fn affix(call: &Call<'_>, cut: for<'a> fn(&'a str, &str) -> Option<&'a str>) -> Result<Kernel> {
    of_strings(call)?;
    let affix = text(call, 1)?.ok_or_else(|| call.no_kernel())?;
    Ok(parts(move |text| cut(text, &affix).unwrap_or(text)))
}

/// `slice(offset, length)` in characters; a negative offset counts from the end.
fn slice(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    let offset = integer(call, 1)?.ok_or_else(|| call.no_kernel())?;
    let length = integer(call, 2)?;
    if length.is_some_and(|length| length < 0) {
        return Err(call.no_kernel());
    }
    let length = length.unwrap_or(i64::MAX);
    Ok(parts(move |text| {
        let count = if text.is_ascii() { text.len() } else { text.chars().count() };
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let start = if offset < 0 { offset.saturating_add(count) } else { offset };
        let end = start.saturating_add(length).clamp(0, count);
        let start = start.clamp(0, end);
        let byte = |chars: i64| {
            let chars = usize::try_from(chars).unwrap_or(0);
            if text.is_ascii() {
                chars
            } else {
                text.char_indices().nth(chars).map_or(text.len(), |(byte, _)| byte)
            }
        };
        text.get(byte(start)..byte(end)).unwrap_or("")
    }))
}

/// A constant integer; `None` if it is null.
fn integer(call: &Call<'_>, index: usize) -> Result<Option<i64>> {
    fn value<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<Option<i64>>
    where
        T::Native: Into<i64>,
    {
        Ok(primitive::<T>(array)?.iter().next().flatten().map(Into::into))
    }
    let arg = call.args.get(index).ok_or_else(|| call.no_kernel())?;
    let constant = arg.constant.as_ref().ok_or_else(|| call.no_kernel())?;
    match arg.dtype {
        DataType::Null => Ok(None),
        DataType::Int32 => value::<Int32Type>(constant),
        DataType::Int64 => value::<Int64Type>(constant),
        _ => Err(call.no_kernel()),
    }
}

/// A function that answers a part of each text. No bytes are copied but those of short answers.
fn parts(part: impl Fn(&str) -> &str + Send + Sync + 'static) -> Kernel {
    over_first(move |texts| {
        let views: Vec<u128> = texts
            .iter()
            .zip(texts.views().iter())
            .map(|(text, view)| {
                let Some(text) = text else { return 0 };
                let found = part(text);
                if found.len() == text.len() {
                    return *view;
                }
                // In a long view: bits 64 to 95 are the buffer, 96 to 127 the offset in it. A short view has neither, and
                // a part of it is short again.
                let start = found.as_ptr().addr().wrapping_sub(text.as_ptr().addr()) as u32;
                make_view(found.as_bytes(), (*view >> 64) as u32, ((*view >> 96) as u32).wrapping_add(start))
            })
            .collect();
        // SAFETY: each view is empty, the old one, inline, or a part of an old one at character boundaries (`part` gives a
        // `&str` of its argument), so it lies in the same buffer and is UTF-8.
        let answers = unsafe {
            StringViewArray::new_unchecked(views.into(), texts.data_buffers().clone(), texts.nulls().cloned())
        };
        Ok(Arc::new(answers))
    })
}

/// `replace` with n = 1, `replace_all` with n = -1.
fn replace(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    let (Some(pattern), Some(value)) = (text(call, 1)?, text(call, 2)?) else { return Err(call.no_kernel()) };
    let all = match call.options.get("n").and_then(Json::as_i64) {
        Some(1) => false,
        Some(-1) => true,
        _ => return Err(call.no_kernel()),
    };
    let plain = call.flag("literal") || (regex_syntax_free(&pattern) && !value.contains('$'));
    if plain {
        return Ok(rewritten(move |text, into| {
            let limit = if all { usize::MAX } else { 1 };
            let mut end = 0;
            for (start, found) in text.match_indices(pattern.as_str()).take(limit) {
                into.push_str(text.get(end..start).unwrap_or(""));
                into.push_str(&value);
                end = start + found.len();
            }
            into.push_str(text.get(end..).unwrap_or(""));
        }));
    }
    let pattern = Regex::new(&pattern).map_err(|_| call.no_kernel())?;
    Ok(rewritten(move |text, into| {
        let answer = if all { pattern.replace_all(text, &value) } else { pattern.replace(text, &value) };
        into.push_str(&answer);
    }))
}

/// A function that writes the new text into an empty scratch string.
fn rewritten(write: impl Fn(&str, &mut String) + Send + Sync + 'static) -> Kernel {
    over_first(move |texts| {
        let mut scratch = String::new();
        let mut answers = StringViewBuilder::with_capacity(texts.len());
        for text in texts {
            answers.append_option(text.map(|text| {
                scratch.clear();
                write(text, &mut scratch);
                scratch.as_str()
            }));
        }
        Ok(Arc::new(answers.finish()))
    })
}

/// Texts with a separator between them; null if one is null. `a + b` of strings is this too.
fn concat_str(call: &Call<'_>) -> Result<Kernel> {
    if call.flag("ignore_nulls")
        || call.args.iter().any(|arg| arg.dtype != DataType::String)
        || call.args.is_empty()
    {
        return Err(call.no_kernel());
    }
    let separator = call.text("separator").ok_or_else(|| call.no_kernel())?.to_owned();
    Ok(Box::new(move |args, rows| {
        let texts = args.iter().map(|arg| Ok((arg, strings(arg.array())?))).collect::<Result<Vec<_>>>()?;
        let mut scratch = String::new();
        let mut answers = StringViewBuilder::with_capacity(rows.count);
        for row in 0..rows.count {
            scratch.clear();
            let mut valid = true;
            for (index, (arg, texts)) in texts.iter().enumerate() {
                let row = if matches!(arg, Value::Constant(_)) { 0 } else { row };
                if texts.is_null(row) {
                    valid = false;
                    break;
                }
                if index > 0 {
                    scratch.push_str(&separator);
                }
                scratch.push_str(texts.value(row));
            }
            answers.append_option(valid.then_some(scratch.as_str()));
        }
        Ok(Arc::new(answers.finish()))
    }))
}
