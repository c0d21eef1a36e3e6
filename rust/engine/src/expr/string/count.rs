//! Where a pattern stands in a text, and how often: `count_matches`, `find`.
//!
//! Literal patterns are searched as bytes, many at a time. Called by the table in `string/mod.rs`.

use super::{of_strings, over_first, regex_syntax_free, text};
use crate::error::Result;
use crate::expr::value::{Call, Kernel};
use arrow::array::{Array, StringViewArray, UInt32Array};
use memchr::memmem::Finder;
use regex::Regex;
use std::sync::Arc;

/// How a pattern is searched.
pub(super) enum Pattern {
    Byte(u8),
    Text(Box<Finder<'static>>),
    Regex(Regex),
}

impl Pattern {
    /// A constant second argument; `literal`: it means only itself.
    pub(super) fn of(call: &Call<'_>, literal: bool) -> Result<Self> {
        let pattern = text(call, 1)?.ok_or_else(|| call.no_kernel())?;
        // Nothing is found between characters, not between bytes.
        let plain = (literal || regex_syntax_free(&pattern)) && !pattern.is_empty();
        match pattern.as_bytes() {
            [byte] if plain => Ok(Self::Byte(*byte)),
            bytes if plain => Ok(Self::Text(Box::new(Finder::new(bytes).into_owned()))),
            _ => Ok(Self::Regex(Regex::new(&pattern).map_err(|_| call.no_kernel())?)),
        }
    }

    fn count(&self, text: &str) -> usize {
        match self {
            Self::Byte(byte) => memchr::memchr_iter(*byte, text.as_bytes()).count(),
            Self::Text(finder) => finder.find_iter(text.as_bytes()).count(),
            Self::Regex(regex) => regex.find_iter(text).count(),
        }
    }

    fn find(&self, text: &str) -> Option<usize> {
        match self {
            Self::Byte(byte) => memchr::memchr(*byte, text.as_bytes()),
            Self::Text(finder) => finder.find(text.as_bytes()),
            Self::Regex(regex) => regex.find(text).map(|found| found.start()),
        }
    }
}

pub(super) fn count_matches(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    let pattern = Pattern::of(call, call.flag("literal"))?;
    Ok(over_first(move |texts| {
        let count = |text: Option<&str>| text.map_or(0, |text| pattern.count(text) as u32);
        let counts: Vec<u32> = texts.iter().map(count).collect();
        Ok(Arc::new(UInt32Array::new(counts.into(), texts.nulls().cloned())))
    }))
}

/// The byte at which the first match starts.
pub(super) fn find(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    let pattern = Pattern::of(call, call.flag("literal"))?;
    Ok(over_first(move |texts: &StringViewArray| {
        let find = |text: Option<&str>| pattern.find(text?).map(|start| start as u32);
        Ok(Arc::new(texts.iter().map(find).collect::<UInt32Array>()))
    }))
}
