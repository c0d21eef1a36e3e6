//! Parquet: `source.rs` reads, `sink.rs` writes.

pub mod sink;
pub mod source;
