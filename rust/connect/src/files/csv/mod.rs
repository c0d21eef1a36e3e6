//! CSV: `source.rs` reads, `native.rs` and Polars parse, `sink.rs` writes.

mod native;
pub mod sink;
pub mod source;
