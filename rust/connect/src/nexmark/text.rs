//! Strings of events. Most are drawn from a dictionary that is made once and whose bytes all batches share.

use super::Column;
use super::random::Draws;
use super::rows::{Group, Rows, below};
use arrow::array::{
    Array, ArrayRef, Int64Array, StringViewArray, StringViewBuilder, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::take;
use std::fmt::Write;
use std::sync::Arc;

/// Texts in a dictionary of [`texts`].
const TEXTS: u64 = 4_096;

/// A column of integers.
pub(super) fn integers(value: impl Fn(&Group, u64) -> i64 + Send + Sync + 'static) -> Column {
    Box::new(move |rows: &Rows| Ok(Arc::new(Int64Array::from(rows.map(&value))) as ArrayRef))
}

/// A column of event times.
pub(super) fn times(value: impl Fn(&Group, u64) -> i64 + Send + Sync + 'static) -> Column {
    Box::new(move |rows: &Rows| Ok(Arc::new(TimestampMicrosecondArray::from(rows.map(&value))) as ArrayRef))
}

/// A column of words of a dictionary; `index` chooses for an event. Copies 16 bytes a row.
pub(super) fn words(
    dictionary: StringViewArray,
    index: impl Fn(u64) -> u64 + Send + Sync + 'static,
) -> Column {
    Box::new(move |rows: &Rows| {
        let indices = UInt32Array::from(rows.map(|_, event| index(event) as u32));
        Ok(take(&dictionary, &indices, None)?)
    })
}

/// A column of strings that are written one by one: for the rare tables.
pub(super) fn written(write: impl Fn(&mut String, u64) + Send + Sync + 'static) -> Column {
    Box::new(move |rows: &Rows| {
        let mut text = String::new();
        let mut builder = StringViewBuilder::with_capacity(rows.count);
        for event in rows.map(|_, event| event) {
            text.clear();
            write(&mut text, event);
            builder.append_value(&text);
        }
        Ok(Arc::new(builder.finish()) as ArrayRef)
    })
}

/// A column of texts with `shortest` to `longest` letters and blanks, from a dictionary.
pub(super) fn texts(seed: u64, column: &str, shortest: u64, longest: u64) -> Column {
    let draws = Draws::new(seed, column);
    let letters = Draws::new(seed, &format!("{column} letters"));
    let mut dictionary = StringViewBuilder::with_capacity(TEXTS as usize);
    let mut text = String::new();
    for number in 0..TEXTS {
        text.clear();
        let draw = letters.at(number);
        push_letters(&mut text, letters, number, shortest + below(draw, longest - shortest + 1), true);
        dictionary.append_value(&text);
    }
    let dictionary = dictionary.finish();
    words(dictionary, move |event| below(draws.at(event), TEXTS))
}

/// A column of words of a list.
pub(super) fn listed(seed: u64, column: &str, list: Vec<String>) -> Column {
    let draws = Draws::new(seed, column);
    let dictionary = StringViewArray::from_iter_values(list);
    let words_of_list = dictionary.len() as u64;
    words(dictionary, move |event| below(draws.at(event), words_of_list))
}

/// Appends `length` letters of text `number`, every sixth a blank if `blanks`.
pub(super) fn push_letters(text: &mut String, draws: Draws, number: u64, length: u64, blanks: bool) {
    for place in 0..length {
        let draw = draws.at(number.wrapping_mul(1_024).wrapping_add(place + 1));
        text.push(if blanks && place % 6 == 5 { ' ' } else { char::from(b'a' + below(draw, 26) as u8) });
    }
}

/// Appends the decimal digits of `value`, at least `width`.
pub(super) fn push_digits(text: &mut String, value: u64, width: usize) {
    // Writing to a String cannot fail.
    let _ = write!(text, "{value:0width$}");
}
