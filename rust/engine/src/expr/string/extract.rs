//! What a regular expression matched: `extract`, `extract_all`. Answers share the buffers of the input.
//!
//! The places of groups are written over for each row. Called by the table in `string/mod.rs`.

use super::views::{Parts, optional_parts};
use super::{of_strings, over_first, text};
use crate::error::Result;
use crate::expr::value::{Call, Kernel};
use crate::types::arrow_type;
use arrow::array::{Array, LargeListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType as Arrow;
use regex::Regex;
use serde_json::Value as Json;
use std::sync::Arc;

/// One group of the first match, null if the group took no part in it.
pub(super) fn extract(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    let pattern = pattern(call)?;
    let group = call.options.get("group_index").and_then(Json::as_u64);
    let group = group.and_then(|group| usize::try_from(group).ok()).ok_or_else(|| call.no_kernel())?;
    if group == 0 {
        return Ok(over_first(move |texts| {
            Ok(optional_parts(texts, |text| pattern.find(text).map(|found| found.as_str())))
        }));
    }
    Ok(over_first(move |texts| {
        let mut places = pattern.capture_locations();
        Ok(optional_parts(texts, |text| {
            pattern.captures_read(&mut places, text)?;
            let (start, end) = places.get(group)?;
            text.get(start..end)
        }))
    }))
}

/// All matches, as a list.
pub(super) fn extract_all(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    let pattern = pattern(call)?;
    let Arrow::LargeList(field) = arrow_type(call.dtype) else { return Err(call.no_kernel()) };
    Ok(over_first(move |texts| {
        let mut found = Parts::of(texts);
        let mut lengths = Vec::with_capacity(texts.len());
        for (row, text) in texts.iter().enumerate() {
            let before = found.len();
            for one in text.into_iter().flat_map(|text| pattern.find_iter(text)) {
                found.push(row, text.unwrap_or(""), Some(one.as_str()));
            }
            lengths.push(found.len() - before);
        }
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(LargeListArray::try_new(field.clone(), offsets, found.finish(), texts.nulls().cloned())?))
    }))
}

fn pattern(call: &Call<'_>) -> Result<Regex> {
    let pattern = text(call, 1)?.ok_or_else(|| call.no_kernel())?;
    Regex::new(&pattern).map_err(|_| call.no_kernel())
}

#[cfg(test)]
mod tests {
    use super::super::texts;
    use crate::expr::testing::{call_with, col, lit};
    use dataflare_plan::DataType::{List, String};
    use serde_json::json;

    #[test]
    fn group_that_took_no_part_is_null_and_an_empty_one_is_not() {
        let extract = |pattern: &str, group: u64| {
            let options = json!({"group_index": group});
            texts().answer(call_with("str.extract", [col("s"), lit(pattern, String)], options, String))
        };
        assert_eq!(extract("(x)|(l+)", 2), "ll - - l -");
        assert_eq!(extract("(x)|(l+)", 1), "- - - - -");
        assert_eq!(extract("h(é*)", 1), " éé -  -");
        assert_eq!(extract("[^o]+", 0), "hell héé - l ΑΣ");
    }

    #[test]
    fn all_matches_are_a_list() {
        let call = call_with(
            "str.extract_all",
            [col("s"), lit("[a-z]{3,}", String)],
            json!({}),
            List(Box::new(String)),
        );
        assert_eq!(texts().answer(call), "[hello] [] - [longer, than, twelve, bytes] []");
    }
}
