//! Searches for several constant texts at once: `contains_any`, `replace_many`.
//!
//! One pass over each text by the automaton of Aho and Corasick, from the crate that Polars uses too. Not here:
//! `extract_many` and `find_many`, whose order of overlapping matches is Polars' own. Called by the table in
//! `string/mod.rs`.

use super::rewrite::rewritten;
use super::{of_strings, over_first};
use crate::error::Result;
use crate::expr::value::{Call, Kernel};
use aho_corasick::{AhoCorasick, MatchKind};
use arrow::array::{Array, AsArray, BooleanArray};
use arrow::buffer::BooleanBuffer;
use std::sync::Arc;

pub(super) fn contains_any(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    let automaton = automaton(call)?;
    Ok(over_first(move |texts| {
        let found = BooleanBuffer::collect_bool(texts.len(), |row| {
            texts.is_valid(row) && automaton.is_match(texts.value(row))
        });
        Ok(Arc::new(BooleanArray::new(found, texts.nulls().cloned())))
    }))
}

/// Each pattern by its own text, or all by one.
pub(super) fn replace_many(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    let (automaton, mut values) = (automaton(call)?, texts(call, 2)?);
    match (values.as_slice(), automaton.patterns_len()) {
        ([one], count) => values = vec![one.clone(); count],
        (values, count) if values.len() == count => {}
        _ => return Err(call.no_kernel()),
    }
    Ok(rewritten(move |text, into| {
        let mut end = 0;
        for found in automaton.find_iter(text) {
            into.push_str(text.get(end..found.start()).unwrap_or(""));
            into.push_str(values.get(found.pattern().as_usize()).map_or("", String::as_str));
            end = found.end();
        }
        into.push_str(text.get(end..).unwrap_or(""));
    }))
}

fn automaton(call: &Call<'_>) -> Result<AhoCorasick> {
    let patterns = texts(call, 1)?;
    // Nothing is found between bytes, also within a character.
    if patterns.is_empty() || patterns.iter().any(String::is_empty) {
        return Err(call.no_kernel());
    }
    let kind = if call.flag("leftmost") { MatchKind::LeftmostFirst } else { MatchKind::Standard };
    let mut builder = AhoCorasick::builder();
    builder.match_kind(kind).ascii_case_insensitive(call.flag("ascii_case_insensitive"));
    builder.build(patterns).map_err(|_| call.no_kernel())
}

/// The constant list of texts at an argument, without nulls.
fn texts(call: &Call<'_>, index: usize) -> Result<Vec<String>> {
    let constant = call.args.get(index).and_then(|arg| arg.constant.as_ref());
    let list = constant.and_then(|list| list.as_list_opt::<i64>()).filter(|list| list.is_valid(0));
    let items = list.map(|list| list.value(0)).ok_or_else(|| call.no_kernel())?;
    let items = items.as_string_view_opt().ok_or_else(|| call.no_kernel())?;
    items.iter().map(|text| text.map(str::to_owned)).collect::<Option<_>>().ok_or_else(|| call.no_kernel())
}
