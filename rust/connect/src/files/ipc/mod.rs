//! Arrow IPC files (Feather V2): `source.rs` reads, `sink.rs` writes.

pub mod sink;
pub mod source;
