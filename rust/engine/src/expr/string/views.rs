//! Columns of parts of texts: views into the buffers of the input, so that no byte of a long text is copied.
//!
//! Not here: which part (`parts.rs`, `extract.rs`, `split.rs`), and new texts (`text_builder.rs`). Used by those.

use arrow::array::{Array, ArrayRef, StringViewArray, make_view};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use std::sync::Arc;

/// Views of parts of the texts of one column.
pub(super) struct Parts<'a> {
    texts: &'a StringViewArray,
    views: Vec<u128>,
    valid: Vec<bool>,
    nulls: usize,
}

impl<'a> Parts<'a> {
    pub(super) fn of(texts: &'a StringViewArray) -> Self {
        Self {
            texts,
            views: Vec::with_capacity(texts.len()),
            valid: Vec::with_capacity(texts.len()),
            nulls: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.views.len()
    }

    /// Appends a part of the text in `row`; `None` is null. A `part` of another text is null too.
    #[inline]
    pub(super) fn push(&mut self, row: usize, text: &str, part: Option<&str>) {
        let view = match (self.texts.views().get(row), part) {
            (Some(view), Some(part)) => part_view(*view, text, part),
            _ => None,
        };
        self.views.push(view.unwrap_or(0));
        self.valid.push(view.is_some());
        self.nulls += usize::from(view.is_none());
    }

    pub(super) fn push_null(&mut self) {
        self.views.push(0);
        self.valid.push(false);
        self.nulls += 1;
    }

    pub(super) fn finish(self) -> ArrayRef {
        let nulls = (self.nulls > 0).then(|| NullBuffer::from(self.valid));
        column(self.texts, self.views, nulls)
    }
}

/// One part, or null, of each text.
pub(super) fn optional_parts<'a>(
    texts: &'a StringViewArray,
    mut part: impl FnMut(&'a str) -> Option<&'a str>,
) -> ArrayRef {
    let mut parts = Parts::of(texts);
    for (row, text) in texts.iter().enumerate() {
        match text {
            Some(text) => parts.push(row, text, part(text)),
            None => parts.push_null(),
        }
    }
    parts.finish()
}

/// One part of each text that is not null.
pub(super) fn parts(texts: &StringViewArray, part: impl Fn(&str) -> &str) -> ArrayRef {
    let views = texts.iter().zip(texts.views().iter()).map(|(text, view)| match text {
        Some(text) => part_view(*view, text, part(text)).unwrap_or(0),
        None => 0,
    });
    column(texts, views.collect(), texts.nulls().cloned())
}

/// The view of a part of the text that `view` shows; `None` if it is no part of it.
#[inline]
fn part_view(view: u128, text: &str, part: &str) -> Option<u128> {
    if part.len() == text.len() {
        return (part.as_ptr() == text.as_ptr()).then_some(view);
    }
    // An empty part may be a constant.
    if part.is_empty() {
        return Some(0);
    }
    let start = part.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    if start + part.len() > text.len() {
        return None;
    }
    // In a long view: bits 64 to 95 are the buffer, 96 to 127 the offset in it. A short view has neither, and a part of
    // it is short again.
    let (buffer, offset) = ((view >> 64) as u32, (view >> 96) as u32);
    Some(make_view(part.as_bytes(), buffer, offset.wrapping_add(start as u32)))
}

fn column(texts: &StringViewArray, views: Vec<u128>, nulls: Option<NullBuffer>) -> ArrayRef {
    let views = ScalarBuffer::from(views);
    // SAFETY: each view comes from `part_view`: it is empty, an old one, inline, or shows bytes inside the text of an old
    // one that are a `&str`, so it lies in the same buffer and is UTF-8.
    Arc::new(unsafe { StringViewArray::new_unchecked(views, texts.data_buffers().to_vec().into(), nulls) })
}
