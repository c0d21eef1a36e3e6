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
//! | `decode.rs`, `payload.rs` | messages to columns; keys and values by the way they are written |
//! | `avro.rs`, `protobuf.rs`, `registry.rs` | two of these ways, and the schemas that messages name |
//! | `span.rs` | where partitions begin and end, if not at their own ends |
//! | `group.rs` | offsets shown to brokers under a consumer group |
//! | `source.rs`, `sink.rs` | the way in, the way out |
//! | `messages.rs`, `produce.rs` | rows to messages, messages to brokers |
//! | `transactions.rs`, `marker.rs` | exactly once on the way out; what a restart asks the brokers |

mod avro;
mod client;
mod cluster;
mod decode;
mod group;
mod marker;
mod messages;
mod payload;
mod produce;
mod protobuf;
mod queue;
mod registry;
pub mod sink;
pub mod source;
mod span;
mod transactions;
