//! Functions that answer a part of a text by characters: `strip_*`, `slice`, `head`, `tail`. Answers share the buffers of the input.
//!
//! Called by the table in `string/mod.rs`.

use super::{of_strings, over_first, text, views};
use crate::error::Result;
use crate::expr::value::{Call, Kernel};

/// `strip_chars*`: white space for null, else the characters of a set.
pub(super) fn strip(
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
pub(super) fn affix(call: &Call<'_>, cut: for<'a> fn(&'a str, &str) -> Option<&'a str>) -> Result<Kernel> {
    of_strings(call)?;
    let affix = text(call, 1)?.ok_or_else(|| call.no_kernel())?;
    Ok(parts(move |text| cut(text, &affix).unwrap_or(text)))
}

/// `slice(offset, length)` in characters; a negative offset counts from the end.
pub(super) fn slice(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    let offset = call.integer(1)?.ok_or_else(|| call.no_kernel())?;
    let length = call.integer(2)?;
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

/// The first `n` characters; all but the last `-n` for a negative one.
pub(super) fn head(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    let count = call.integer(1)?.ok_or_else(|| call.no_kernel())?;
    let wanted = usize::try_from(count.unsigned_abs()).map_err(|_| call.no_kernel())?;
    Ok(parts(move |text| {
        let end = if count >= 0 { from_start(text, wanted) } else { from_end(text, wanted) };
        text.get(..end).unwrap_or(text)
    }))
}

/// The last `n` characters; all but the first `-n` for a negative one.
pub(super) fn tail(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    let count = call.integer(1)?.ok_or_else(|| call.no_kernel())?;
    let wanted = usize::try_from(count.unsigned_abs()).map_err(|_| call.no_kernel())?;
    Ok(parts(move |text| {
        let start = if count >= 0 { from_end(text, wanted) } else { from_start(text, wanted) };
        text.get(start..).unwrap_or(text)
    }))
}

/// The byte behind the first `count` characters.
fn from_start(text: &str, count: usize) -> usize {
    text.char_indices().nth(count).map_or(text.len(), |(byte, _)| byte)
}

/// The byte before the last `count` characters.
fn from_end(text: &str, count: usize) -> usize {
    match count.checked_sub(1) {
        None => text.len(),
        Some(before) => text.char_indices().nth_back(before).map_or(0, |(byte, _)| byte),
    }
}

/// A function that answers a part of each text.
fn parts(part: impl Fn(&str) -> &str + Send + Sync + 'static) -> Kernel {
    over_first(move |texts| Ok(views::parts(texts, &part)))
}

#[cfg(test)]
mod tests {
    use super::super::texts;
    use crate::expr::testing::{call, col, frame, lit};
    use arrow::array::StringViewArray;
    use dataflare_plan::DataType::{self, Int32, String};
    use dataflare_plan::Expr;
    use serde_json::Value;
    use std::sync::Arc;

    fn text(text: &str) -> Expr {
        lit(text, String)
    }

    #[test]
    fn negative_slice_counts_from_the_end_and_may_start_before_the_text() {
        let slice = |offset: i64, length: Expr| {
            texts().answer(call("str.slice", [col("s"), lit(offset, Int32), length], String))
        };
        assert_eq!(slice(1, lit(2, Int32)), "el éé - on Σ");
        assert_eq!(slice(-3, lit(2, Int32)), "ll hé - te Α");
        assert_eq!(slice(-10, lit(9, Int32)), "hell hé - elve-byte Α");
        assert_eq!(slice(1, lit(Value::Null, DataType::Null)), "ello éé - onger-than-twelve-bytes Σ");
    }

    #[test]
    fn stripping_takes_white_space_or_the_characters_of_a_set() {
        let padded = StringViewArray::from(vec!["\u{2003}x\u{3000}", " a \u{b}", "xyx"]);
        let frame = frame([("s", String, Arc::new(padded))]);
        let strip = |set: Expr| frame.answer(call("str.strip_chars", [col("s"), set], String));
        assert_eq!(strip(lit(Value::Null, DataType::Null)), "x a xyx");
        assert_eq!(strip(text("x\u{3000}\u{2003} \u{b}")), " a y");
    }
}
