//! NDJSON: `source.rs` reads lines by the rules of `columns.rs`, `sink.rs` writes them in the words of `text.rs`.

pub mod columns;
pub mod sink;
pub mod source;
mod text;
