//! Functions that write new texts: cases, `replace`, `replace_all`, `concat_str`, `format`.
//!
//! Called by the table in `string/mod.rs`.

use super::{of_strings, over_first, regex_syntax_free, text};
use crate::error::Result;
use crate::expr::text_builder::{ShortView, TextBuilder};
use crate::expr::value::{Call, Kernel, Value, strings};
use arrow::array::Array;
use arrow::buffer::{BooleanBuffer, NullBuffer};
use dataflare_plan::DataType;
use memchr::memmem::Finder;
use regex::Regex;
use serde_json::Value as Json;

pub(super) fn to_lowercase(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    Ok(in_case(ShortView::lowercase, lowercase))
}

pub(super) fn to_uppercase(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    Ok(in_case(ShortView::uppercase, uppercase))
}

/// Short ASCII texts change within their views.
fn in_case(short: fn(ShortView) -> ShortView, write: fn(&str, &mut String)) -> Kernel {
    over_first(move |texts| {
        let mut answers = TextBuilder::with_capacity(texts.len());
        for (text, view) in texts.iter().zip(texts.views().iter()) {
            match (ShortView::of_ascii(*view), text) {
                (Some(view), Some(_)) => answers.append_short(short(view)),
                (_, Some(text)) => answers.append(|into| write(text, into)),
                (_, None) => answers.append(|_| {}),
            }
        }
        answers.finish(texts.nulls().cloned())
    })
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

/// `replace` of the first n, `replace_all` with n = -1; a pattern that is no plain text takes n = 1 or -1.
pub(super) fn replace(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    let (Some(pattern), Some(value)) = (text(call, 1)?, text(call, 2)?) else { return Err(call.no_kernel()) };
    let limit = call.options.get("n").and_then(Json::as_i64).ok_or_else(|| call.no_kernel())?;
    let limit =
        if limit == -1 { usize::MAX } else { usize::try_from(limit).map_err(|_| call.no_kernel())? };
    let plain = call.flag("literal") || (regex_syntax_free(&pattern) && !value.contains('$'));
    if plain && !pattern.is_empty() {
        let (finder, width) = (Finder::new(pattern.as_bytes()).into_owned(), pattern.len());
        return Ok(rewritten(move |text, into| {
            let mut end = 0;
            for start in finder.find_iter(text.as_bytes()).take(limit) {
                into.push_str(text.get(end..start).unwrap_or(""));
                into.push_str(&value);
                end = start + width;
            }
            into.push_str(text.get(end..).unwrap_or(""));
        }));
    }
    if plain {
        return Ok(rewritten(move |text, into| {
            let mut end = 0;
            for (start, found) in text.match_indices(pattern.as_str()).take(limit) {
                into.push_str(text.get(end..start).unwrap_or(""));
                into.push_str(&value);
                end = start + found.len();
            }
            into.push_str(text.get(end..).unwrap_or(""));
        }));
    }
    if limit != 1 && limit != usize::MAX {
        return Err(call.no_kernel());
    }
    let pattern = Regex::new(&pattern).map_err(|_| call.no_kernel())?;
    if !value.contains('$') {
        // Without groups in the replacement nothing needs their places.
        return Ok(rewritten(move |text, into| {
            let mut end = 0;
            for found in pattern.find_iter(text).take(limit) {
                into.push_str(text.get(end..found.start()).unwrap_or(""));
                into.push_str(&value);
                end = found.end();
            }
            into.push_str(text.get(end..).unwrap_or(""));
        }));
    }
    Ok(rewritten(move |text, into| {
        let answer = if limit == usize::MAX {
            pattern.replace_all(text, &value)
        } else {
            pattern.replace(text, &value)
        };
        into.push_str(&answer);
    }))
}

/// A function that appends the new text to a string.
pub(super) fn rewritten(write: impl Fn(&str, &mut String) + Send + Sync + 'static) -> Kernel {
    over_first(move |texts| {
        let mut answers = TextBuilder::with_capacity(texts.len());
        for text in texts {
            answers.append(|into| {
                if let Some(text) = text {
                    write(text, into);
                }
            });
        }
        answers.finish(texts.nulls().cloned())
    })
}

/// Texts with a separator between them; null if one is null, or without those that are. `a + b` of strings is this too.
pub(super) fn concat_str(call: &Call<'_>) -> Result<Kernel> {
    let separator = call.text("separator").ok_or_else(|| call.no_kernel())?.to_owned();
    let between = vec![separator; call.args.len().saturating_sub(1)];
    joined(call, String::new(), between, String::new(), call.flag("ignore_nulls"))
}

/// The text of the option `text`, with the arguments at the bytes of the option `insertions`.
pub(super) fn format(call: &Call<'_>) -> Result<Kernel> {
    let text = call.text("text").ok_or_else(|| call.no_kernel())?;
    let insertions =
        call.options.get("insertions").and_then(Json::as_array).ok_or_else(|| call.no_kernel())?;
    let mut pieces = Vec::with_capacity(insertions.len() + 1);
    let mut from = 0;
    for end in insertions {
        let end = end.as_u64().and_then(|end| usize::try_from(end).ok()).ok_or_else(|| call.no_kernel())?;
        pieces.push(text.get(from..end).ok_or_else(|| call.no_kernel())?.to_owned());
        from = end;
    }
    let behind = text.get(from..).ok_or_else(|| call.no_kernel())?.to_owned();
    if pieces.is_empty() || pieces.len() != call.args.len() {
        return Err(call.no_kernel());
    }
    let before = pieces.remove(0);
    joined(call, before, pieces, behind, false)
}

/// The arguments with texts before, between and behind them.
fn joined(
    call: &Call<'_>,
    before: String,
    between: Vec<String>,
    behind: String,
    ignore_nulls: bool,
) -> Result<Kernel> {
    if call.args.iter().any(|arg| arg.dtype != DataType::String) || call.args.is_empty() {
        return Err(call.no_kernel());
    }
    Ok(Box::new(move |args, rows| {
        let texts = args.iter().map(|arg| Ok((arg, strings(arg.array())?))).collect::<Result<Vec<_>>>()?;
        let row_of = |arg: &Value, row: usize| if matches!(arg, Value::Constant(_)) { 0 } else { row };
        let valid =
            |row: usize| ignore_nulls || texts.iter().all(|(arg, texts)| texts.is_valid(row_of(arg, row)));
        let valid = BooleanBuffer::collect_bool(rows.count, valid);
        let mut answers = TextBuilder::with_capacity(rows.count);
        for (row, valid) in valid.iter().enumerate() {
            answers.append(|into| {
                if !valid {
                    return;
                }
                into.push_str(&before);
                let mut first = true;
                let pieces = std::iter::once("").chain(between.iter().map(String::as_str));
                for ((arg, texts), piece) in texts.iter().zip(pieces) {
                    let row = row_of(arg, row);
                    if texts.is_valid(row) {
                        if !first {
                            into.push_str(piece);
                        }
                        first = false;
                        into.push_str(texts.value(row));
                    }
                }
                into.push_str(&behind);
            });
        }
        answers.finish(Some(NullBuffer::new(valid)).filter(|nulls| nulls.null_count() > 0))
    }))
}

#[cfg(test)]
mod tests {
    use super::super::texts;
    use crate::expr::testing::{call, call_with, col, lit};
    use dataflare_plan::DataType::String;
    use dataflare_plan::Expr;
    use serde_json::json;

    fn text(text: &str) -> Expr {
        lit(text, String)
    }

    #[test]
    fn cases_follow_unicode_with_the_final_sigma() {
        assert_eq!(
            texts().answer(call("str.to_lowercase", [col("s")], String)),
            "hello héé - longer-than-twelve-bytes ας"
        );
        assert_eq!(
            texts().answer(call("str.to_uppercase", [col("s")], String)),
            "HELLO HÉÉ - LONGER-THAN-TWELVE-BYTES ΑΣ"
        );
    }

    #[test]
    fn replacement_expands_groups_of_a_pattern_only() {
        let replace = |pattern: &str, value: &str, n: i64, literal: bool| {
            let options = json!({"n": n, "literal": literal});
            texts().answer(call_with("str.replace", [col("s"), text(pattern), text(value)], options, String))
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
    fn concatenation_with_a_null_is_null() {
        let both = call_with(
            "concat_str",
            [col("s"), text("!")],
            json!({"separator": "-", "ignore_nulls": false}),
            String,
        );
        assert_eq!(texts().answer(both), "hello-! héé-! - longer-than-twelve-bytes-! ΑΣ-!");
    }
}
