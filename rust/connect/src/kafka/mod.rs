//! `kafka`: topics of Apache Kafka as a source and as a sink, through librdkafka.
//!
//! The source assigns partitions by itself: offsets live in the engine's checkpoints, no consumer group is needed.
//! Brokers are talked to by librdkafka's threads; workers only take what has arrived.
//!
//! | file | holds |
//! |---|---|
//! | `client.rs` | settings, and what librdkafka reports |
//! | `cluster.rs` | partitions that there are, brokers that do not answer |
//! | `queue.rs` | messages of one partition, read in place: the only `unsafe` |
//! | `decode.rs` | messages to columns |
//! | `source.rs`, `sink.rs` | the way in, the way out |

mod client;
mod cluster;
mod decode;
mod queue;
pub mod sink;
pub mod source;
