//! `str.*`, `concat_str` and `format`: lengths and tests (here), counts (`count.rs`), parts (`parts.rs`, `extract.rs`,
//! `split.rs`), new texts (`rewrite.rs`, `pad.rs`), numbers (`number.rs`),
//! JSON (`json.rs`), many patterns at once (`many.rs`).
//!
//! Patterns, positions and replacements are constants. Regular expressions are those of the crate `regex`, which Polars
//! uses too. Not here: patterns from a column, invalid patterns: Polars does those. Called by the compiler.

mod count;
mod extract;
mod json;
mod many;
mod number;
mod pad;
mod parts;
mod rewrite;
pub(super) mod split;
mod views;

use super::compile::Compile;
use super::value::{Call, Kernel, strings};
use crate::error::{EngineError, Result};
use arrow::array::{Array, ArrayRef, BooleanArray, Datum, Scalar, StringViewArray, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::comparison;
use arrow::error::ArrowError;
use dataflare_plan::DataType;
use regex::Regex;
use std::sync::Arc;

/// Longest text that lies in the view itself.
const INLINE_BYTES: u32 = 12;

pub(super) const FUNCTIONS: &[(&str, Compile)] = &[
    ("str.len_bytes", len_bytes),
    ("str.len_chars", len_chars),
    ("str.starts_with", |call| search(call, comparison::starts_with)),
    ("str.ends_with", |call| search(call, comparison::ends_with)),
    ("str.contains", contains),
    ("str.strip_chars", |call| parts::strip(call, |text| text.trim(), |text, set| text.trim_matches(set))),
    ("str.strip_chars_start", |call| {
        parts::strip(call, |text| text.trim_start(), |text, set| text.trim_start_matches(set))
    }),
    ("str.strip_chars_end", |call| {
        parts::strip(call, |text| text.trim_end(), |text, set| text.trim_end_matches(set))
    }),
    ("str.strip_prefix", |call| parts::affix(call, |text, affix| text.strip_prefix(affix))),
    ("str.strip_suffix", |call| parts::affix(call, |text, affix| text.strip_suffix(affix))),
    ("str.slice", parts::slice),
    ("str.head", parts::head),
    ("str.tail", parts::tail),
    ("str.count_matches", count::count_matches),
    ("str.find", count::find),
    ("str.extract", extract::extract),
    ("str.extract_all", extract::extract_all),
    ("str.split", split::split),
    ("str.split_exact", |call| split::fields(call, false)),
    ("str.splitn", |call| split::fields(call, true)),
    ("str.pad_start", pad::start),
    ("str.pad_end", pad::end),
    ("str.zfill", pad::zeros),
    ("str.to_integer", number::to_integer),
    ("str.contains_any", many::contains_any),
    ("str.replace_many", many::replace_many),
    ("str.json_path_match", json::json_path_match),
    ("format", rewrite::format),
    ("str.to_lowercase", rewrite::to_lowercase),
    ("str.to_uppercase", rewrite::to_uppercase),
    ("str.replace", rewrite::replace),
    ("concat_str", rewrite::concat_str),
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
    over_first(|texts| Ok(Arc::new(BooleanArray::new_null(texts.len()))))
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

/// Texts for the tests of this folder: short, long, beyond ASCII, null.
#[cfg(test)]
pub(super) fn texts() -> super::testing::Frame {
    let words = vec![Some("hello"), Some("héé"), None, Some("longer-than-twelve-bytes"), Some("ΑΣ")];
    super::testing::frame([("s", DataType::String, Arc::new(StringViewArray::from(words)))])
}

#[cfg(test)]
mod tests {
    use super::texts;
    use crate::expr::testing::{call, call_with, col, lit};
    use dataflare_plan::DataType::{Boolean, String, UInt32};
    use dataflare_plan::Expr;
    use serde_json::{Value, json};

    fn text(text: &str) -> Expr {
        lit(text, String)
    }

    #[test]
    fn lengths_count_bytes_and_characters() {
        assert_eq!(texts().answer(call("str.len_bytes", [col("s")], UInt32)), "5 5 - 24 4");
        assert_eq!(texts().answer(call("str.len_chars", [col("s")], UInt32)), "5 3 - 24 2");
    }

    #[test]
    fn search_for_null_is_null_and_for_nothing_finds_all() {
        let contains = |pattern: Expr, literal: bool| {
            texts().answer(call_with(
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
            texts().answer(call("str.starts_with", [col("s"), text("hé")], Boolean)),
            "false true - false false"
        );
    }

    #[test]
    fn pattern_from_a_column_or_not_valid_is_left_to_polars() {
        let contains = |pattern: Expr| {
            call_with("str.contains", [col("s"), pattern], json!({"literal": false, "strict": true}), Boolean)
        };
        assert!(!crate::expr::is_compiled(&contains(col("s")), &texts().schema()));
        assert!(!crate::expr::is_compiled(&contains(text("(")), &texts().schema()));
    }
}
