//! Texts filled up to a number of characters: `pad_start`, `pad_end`, `zfill`.
//!
//! Called by the table in `string/mod.rs`.

use super::of_strings;
use super::rewrite::rewritten;
use crate::error::Result;
use crate::expr::value::{Call, Kernel};

pub(super) fn start(call: &Call<'_>) -> Result<Kernel> {
    let (width, fill) = (width(call)?, fill(call)?);
    Ok(rewritten(move |text, into| {
        into.extend(std::iter::repeat_n(fill, missing(text, width)));
        into.push_str(text);
    }))
}

pub(super) fn end(call: &Call<'_>) -> Result<Kernel> {
    let (width, fill) = (width(call)?, fill(call)?);
    Ok(rewritten(move |text, into| {
        into.push_str(text);
        into.extend(std::iter::repeat_n(fill, missing(text, width)));
    }))
}

/// Zeros, behind a sign.
pub(super) fn zeros(call: &Call<'_>) -> Result<Kernel> {
    let width = width(call)?;
    Ok(rewritten(move |text, into| {
        let zeros = missing(text, width);
        let digits = text.trim_start_matches(['+', '-']);
        let sign = usize::from(digits.len() < text.len());
        into.push_str(text.get(..sign).unwrap_or(""));
        into.extend(std::iter::repeat_n('0', zeros));
        into.push_str(text.get(sign..).unwrap_or(""));
    }))
}

fn width(call: &Call<'_>) -> Result<usize> {
    of_strings(call)?;
    let width = call.integer(1)?.ok_or_else(|| call.no_kernel())?;
    // Texts end below 2 GiB: beyond that is no width that somebody means.
    usize::try_from(width).ok().filter(|width| *width < 1 << 31).ok_or_else(|| call.no_kernel())
}

fn fill(call: &Call<'_>) -> Result<char> {
    let mut chars = call.text("fill_char").unwrap_or("").chars();
    match (chars.next(), chars.next()) {
        (Some(fill), None) => Ok(fill),
        _ => Err(call.no_kernel()),
    }
}

fn missing(text: &str, width: usize) -> usize {
    width.saturating_sub(if text.is_ascii() { text.len() } else { text.chars().count() })
}
