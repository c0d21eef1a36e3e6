//! `str.*`: lengths, cases, searches, trimming, slices, replacements; `concat_str`.
//!
//! Patterns, positions and replacements are constants. Regular expressions are those of the crate `regex`, which Polars
//! uses too. Answers that are parts of the input share its buffers. Not here: patterns from a column, invalid patterns.
//! Called by the compiler.

use super::compile::Compile;
use super::numeric::one;
use super::text_builder::TextBuilder;
use super::value::{Call, Kernel, Value, primitive, strings};
use crate::error::{EngineError, Result};
use arrow::array::{Array, ArrayRef, BooleanArray, Datum, Scalar, StringViewArray, UInt32Array, make_view};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::kernels::comparison;
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type};
use arrow::error::ArrowError;
use dataflare_plan::DataType;
use regex::Regex;
use serde_json::Value as Json;
use std::sync::Arc;

/// Longest text that lies in the view itself.
const INLINE_BYTES: u32 = 12;

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

/// Bytes that do not continue a character, counted in the view where it holds the text.
fn len_chars(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    Ok(over_first(|texts| {
        let lengths: Vec<u32> = texts
            .views()
            .iter()
            .enumerate()
            .map(|(row, view)| {
                let length = *view as u32;
                if length <= INLINE_BYTES {
                    let bytes = *view >> 32;
                    let (high, second) = (bytes & (u128::MAX / 255 * 0x80), bytes & (u128::MAX / 255 * 0x40));
                    return length - (high & !(second << 1)).count_ones();
                }
                if texts.is_null(row) {
                    0
                } else {
                    u32::try_from(texts.value(row).chars().count()).unwrap_or(u32::MAX)
                }
            })
            .collect();
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
        let start = into.len();
        into.push_str(text);
        if let Some(added) = into.get_mut(start..) {
            added.make_ascii_lowercase();
        }
    } else {
        into.push_str(&text.to_lowercase());
    }
}

fn uppercase(text: &str, into: &mut String) {
    if text.is_ascii() {
        let start = into.len();
        into.push_str(text);
        if let Some(added) = into.get_mut(start..) {
            added.make_ascii_uppercase();
        }
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
        let ascii = text.is_ascii();
        let byte = |chars: usize| {
            if ascii { chars } else { text.char_indices().nth(chars).map_or(text.len(), |(byte, _)| byte) }
        };
        let count = if ascii { text.len() } else { text.chars().count() };
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let start = if offset < 0 { offset.saturating_add(count) } else { offset };
        let end = start.saturating_add(length).clamp(0, count);
        let start = start.clamp(0, end);
        // Both lie between 0 and the number of characters.
        text.get(byte(start as usize)..byte(end as usize)).unwrap_or("")
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

/// A function that appends the new text to a string.
fn rewritten(write: impl Fn(&str, &mut String) + Send + Sync + 'static) -> Kernel {
    over_first(move |texts| {
        let mut answers = TextBuilder::with_capacity(texts.len());
        for text in texts {
            answers.append(|into| {
                if let Some(text) = text {
                    write(text, into);
                }
            });
        }
        Ok(answers.finish(texts.nulls().cloned()))
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
        let row_of = |arg: &Value, row: usize| if matches!(arg, Value::Constant(_)) { 0 } else { row };
        let valid = |row: usize| texts.iter().all(|(arg, texts)| texts.is_valid(row_of(arg, row)));
        let valid = BooleanBuffer::collect_bool(rows.count, valid);
        let mut answers = TextBuilder::with_capacity(rows.count);
        for (row, valid) in valid.iter().enumerate() {
            answers.append(|into| {
                if !valid {
                    return;
                }
                for (index, (arg, texts)) in texts.iter().enumerate() {
                    if index > 0 {
                        into.push_str(&separator);
                    }
                    into.push_str(texts.value(row_of(arg, row)));
                }
            });
        }
        Ok(answers.finish(Some(NullBuffer::new(valid)).filter(|nulls| nulls.null_count() > 0)))
    }))
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{Frame, call, call_with, col, frame, lit};
    use arrow::array::StringViewArray;
    use dataflare_plan::DataType::{self, Boolean, Int32, String, UInt32};
    use dataflare_plan::Expr;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn words() -> Frame {
        let words = vec![Some("hello"), Some("héé"), None, Some("longer-than-twelve-bytes"), Some("ΑΣ")];
        frame([("s", String, Arc::new(StringViewArray::from(words)))])
    }

    fn text(text: &str) -> Expr {
        lit(text, String)
    }

    #[test]
    fn lengths_count_bytes_and_characters() {
        assert_eq!(words().answer(call("str.len_bytes", [col("s")], UInt32)), "5 5 - 24 4");
        assert_eq!(words().answer(call("str.len_chars", [col("s")], UInt32)), "5 3 - 24 2");
    }

    #[test]
    fn cases_follow_unicode_with_the_final_sigma() {
        assert_eq!(
            words().answer(call("str.to_lowercase", [col("s")], String)),
            "hello héé - longer-than-twelve-bytes ας"
        );
        assert_eq!(
            words().answer(call("str.to_uppercase", [col("s")], String)),
            "HELLO HÉÉ - LONGER-THAN-TWELVE-BYTES ΑΣ"
        );
    }

    #[test]
    fn negative_slice_counts_from_the_end_and_may_start_before_the_text() {
        let slice = |offset: i64, length: Expr| {
            words().answer(call("str.slice", [col("s"), lit(offset, Int32), length], String))
        };
        assert_eq!(slice(1, lit(2, Int32)), "el éé - on Σ");
        assert_eq!(slice(-3, lit(2, Int32)), "ll hé - te Α");
        assert_eq!(slice(-10, lit(9, Int32)), "hell hé - elve-byte Α");
        assert_eq!(slice(1, lit(Value::Null, DataType::Null)), "ello éé - onger-than-twelve-bytes Σ");
    }

    #[test]
    fn search_for_null_is_null_and_for_nothing_finds_all() {
        let contains = |pattern: Expr, literal: bool| {
            words().answer(call_with(
                "str.contains",
                [col("s"), pattern],
                json!({"literal": literal, "strict": true}),
                Boolean,
            ))
        };
        assert_eq!(contains(lit(Value::Null, String), true), "- - - - -");
        assert_eq!(contains(text(""), true), "true true - true true");
        assert_eq!(contains(text("^[hl].*s$"), false), "false false - true false");
        assert_eq!(contains(text("."), true), "false false - false false");
        assert_eq!(
            words().answer(call("str.starts_with", [col("s"), text("hé")], Boolean)),
            "false true - false false"
        );
    }

    #[test]
    fn replacement_expands_groups_of_a_pattern_only() {
        let replace = |pattern: &str, value: &str, n: i64, literal: bool| {
            let options = json!({"n": n, "literal": literal});
            words().answer(call_with("str.replace", [col("s"), text(pattern), text(value)], options, String))
        };
        assert_eq!(replace("l", "$0", -1, true), "he$0$0o héé - $0onger-than-twe$0ve-bytes ΑΣ");
        assert_eq!(replace("(l)(l)", "$2-$1", 1, false), "hel-lo héé - longer-than-twelve-bytes ΑΣ");
        assert_eq!(replace("", "_", 1, true), "_hello _héé - _longer-than-twelve-bytes _ΑΣ");
        assert_eq!(
            replace("", "_", -1, false),
            "_h_e_l_l_o_ _h_é_é_ - _l_o_n_g_e_r_-_t_h_a_n_-_t_w_e_l_v_e_-_b_y_t_e_s_ _Α_Σ_"
        );
    }

    #[test]
    fn stripping_takes_white_space_or_the_characters_of_a_set() {
        let padded = StringViewArray::from(vec!["\u{2003}x\u{3000}", " a \u{b}", "xyx"]);
        let frame = frame([("s", String, Arc::new(padded))]);
        let strip = |set: Expr| frame.answer(call("str.strip_chars", [col("s"), set], String));
        assert_eq!(strip(lit(Value::Null, DataType::Null)), "x a xyx");
        assert_eq!(strip(text("x\u{3000}\u{2003} \u{b}")), " a y");
    }

    #[test]
    fn pattern_from_a_column_or_not_valid_is_left_to_polars() {
        let contains = |pattern: Expr| {
            call_with("str.contains", [col("s"), pattern], json!({"literal": false, "strict": true}), Boolean)
        };
        assert!(!crate::expr::is_compiled(&contains(col("s")), &words().schema()));
        assert!(!crate::expr::is_compiled(&contains(text("(")), &words().schema()));
    }

    #[test]
    fn concatenation_with_a_null_is_null() {
        let both = call_with(
            "concat_str",
            [col("s"), text("!")],
            json!({"separator": "-", "ignore_nulls": false}),
            String,
        );
        assert_eq!(words().answer(both), "hello-! héé-! - longer-than-twelve-bytes-! ΑΣ-!");
    }
}
