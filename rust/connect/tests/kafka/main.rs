//! The Kafka connector against a real broker (`KAFKA_BOOTSTRAP_SERVERS`), and outages against librdkafka's mock broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod broker;
mod service;
mod sink;
mod source;
mod transactions;
