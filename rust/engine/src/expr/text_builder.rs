//! Builds a column of strings from bytes written one row after the other, without a copy in between.
//!
//! Not here: parts of existing strings, which share their buffers (`string.rs`). Used by `string.rs` and `cast.rs`.

use crate::error::{EngineError, Result};
use arrow::array::{ArrayRef, StringViewArray, make_view};
use arrow::buffer::{Buffer, NullBuffer};
use std::sync::Arc;

/// A buffer is closed when it holds this much: offsets of views have 32 bits, and one more text may be long.
const BUFFER_BYTES: usize = 1 << 30;

/// Longest text that lies in the view itself.
const INLINE_BYTES: usize = 12;

/// The view of a text of at most twelve ASCII bytes, which lies in the view itself.
#[derive(Clone, Copy)]
pub(super) struct ShortView(u128);

/// The same bit of each byte of a text in a view.
const ONES: u128 = (u128::MAX / 255) >> 32;

impl ShortView {
    /// `None` if the text is longer, or not ASCII.
    pub(super) fn of_ascii(view: u128) -> Option<Self> {
        let length = view as u32;
        (length as usize <= INLINE_BYTES && (view >> 32) & (ONES << 7) == 0).then_some(Self(view))
    }

    pub(super) fn lowercase(self) -> Self {
        Self(self.0 ^ (self.flip(b'A', b'Z') << 32))
    }

    pub(super) fn uppercase(self) -> Self {
        Self(self.0 ^ (self.flip(b'a', b'z') << 32))
    }

    /// The bit 0x20 of each byte between two others. All bytes are below 0x80: no sum carries into the next.
    fn flip(self, first: u8, last: u8) -> u128 {
        let bytes = self.0 >> 32;
        let from_first = bytes + ONES * u128::from(0x80 - first);
        let behind_last = bytes + ONES * u128::from(0x7f - last);
        ((from_first ^ behind_last) & (ONES << 7)) >> 2
    }
}

/// Views written so far, and the bytes of the long ones.
pub(super) struct TextBuilder {
    views: Vec<u128>,
    closed: Vec<Buffer>,
    open: String,
    /// The first row whose text is too long: lengths of views are signed for other readers of Arrow.
    too_long: Option<usize>,
}

impl TextBuilder {
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self { views: Vec::with_capacity(rows), closed: Vec::new(), open: String::new(), too_long: None }
    }

    /// Appends what `write` adds to the end of the string; it leaves alone what is there.
    pub(super) fn append(&mut self, write: impl FnOnce(&mut String)) {
        let start = self.open.len();
        write(&mut self.open);
        let text = self.open.as_bytes().get(start..).unwrap_or(&[]);
        if i32::try_from(text.len()).is_err() {
            self.too_long.get_or_insert(self.views.len());
            self.views.push(0);
            self.open.truncate(start);
            return;
        }
        // Both numbers fit: `open` is closed at 2^30, buffers are fewer than rows.
        self.views.push(make_view(text, self.closed.len() as u32, start as u32));
        if text.len() <= INLINE_BYTES {
            self.open.truncate(start);
        } else if self.open.len() >= BUFFER_BYTES {
            self.closed.push(Buffer::from_vec(std::mem::take(&mut self.open).into_bytes()));
        }
    }

    /// Appends a text of at most twelve bytes by its view.
    pub(super) fn append_short(&mut self, view: ShortView) {
        self.views.push(view.0);
    }

    /// The column; its rows are null where `nulls` says so.
    ///
    /// # Errors
    /// [`EngineError::Data`]: a text has 2 GiB or more.
    pub(super) fn finish(mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        if let Some(row) = self.too_long {
            let reason = "expected a text below 2 GiB, got a longer one".to_owned();
            return Err(EngineError::Data { place: "a new string".to_owned(), row: row as u64, reason });
        }
        if !self.open.is_empty() {
            self.closed.push(Buffer::from_vec(self.open.into_bytes()));
        }
        // SAFETY: each view was made of the bytes that lie at its offset of its buffer, or holds its text; both came from
        // a `String` at its ends, so they are UTF-8.
        Ok(Arc::new(unsafe { StringViewArray::new_unchecked(self.views.into(), self.closed.into(), nulls) }))
    }
}
