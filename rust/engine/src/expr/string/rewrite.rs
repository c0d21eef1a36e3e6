//! Functions that write new texts: cases, `replace`, `replace_all`, `concat_str`.
//!
//! Called by the table in `string/mod.rs`.

use super::{of_strings, over_first, regex_syntax_free, text};
use crate::error::Result;
use crate::expr::text_builder::TextBuilder;
use crate::expr::value::{Call, Kernel, Value, strings};
use arrow::array::Array;
use arrow::buffer::{BooleanBuffer, NullBuffer};
use dataflare_plan::DataType;
use regex::Regex;
use serde_json::Value as Json;

pub(super) fn to_lowercase(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    Ok(rewritten(lowercase))
}

pub(super) fn to_uppercase(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    Ok(rewritten(uppercase))
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

/// `replace` with n = 1, `replace_all` with n = -1.
pub(super) fn replace(call: &Call<'_>) -> Result<Kernel> {
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
        answers.finish(texts.nulls().cloned())
    })
}

/// Texts with a separator between them; null if one is null. `a + b` of strings is this too.
pub(super) fn concat_str(call: &Call<'_>) -> Result<Kernel> {
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
