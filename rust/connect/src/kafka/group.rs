//! Offsets of committed checkpoints, shown to the brokers under a consumer group, for the tools that watch lag there.
//!
//! Information only: nothing is read back, and a commit that fails fails no job; status says so. Called by `source.rs`.

use super::client::{refused, settings, text_of};
use super::cluster::Partition;
use dataflare_engine::Result;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A group without members.
pub(super) struct Group {
    name: String,
    client: BaseConsumer<Answers>,
    answers: Answers,
}

/// What became of the newest commit.
#[derive(Clone, Default)]
struct Answers {
    failure: Arc<Mutex<Option<String>>>,
}

impl Answers {
    fn note(&self, failure: Option<String>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

impl ClientContext for Answers {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}

    fn error(&self, _error: KafkaError, reason: &str) {
        self.note(Some(reason.to_string()));
    }
}

impl ConsumerContext for Answers {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        self.note(result.err().map(|error| text_of(&error)));
    }
}

impl Group {
    /// # Errors
    /// Settings that librdkafka refuses.
    pub(super) fn new(name: &str, brokers: &str, config: &Map<String, Value>) -> Result<Self> {
        let ours = [("client.id", "dataflare_fast"), ("group.id", name), ("enable.auto.commit", "false")];
        let answers = Answers::default();
        let client = settings(brokers, &ours, config, &[])?;
        let client = client.create_with_context(answers.clone()).map_err(|error| refused(&error))?;
        Ok(Self { name: name.to_string(), client, answers })
    }

    /// Sends the next offset of each partition. Does not wait.
    pub(super) fn commit(&self, next: impl Iterator<Item = (Partition, i64)>) {
        let mut offsets = TopicPartitionList::new();
        for ((topic, partition), next) in next {
            if let Err(error) = offsets.add_partition_offset(&topic, partition, Offset::Offset(next)) {
                return self.answers.note(Some(text_of(&error)));
            }
        }
        if offsets.count() == 0 {
            return;
        }
        match self.client.commit(&offsets, CommitMode::Async) {
            Ok(()) => {}
            // One that is still on its way.
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::InProgress) => {}
            Err(error) => self.answers.note(Some(text_of(&error))),
        }
    }

    /// Serves what came back.
    pub(super) fn poll(&self) {
        while self.client.poll(Duration::ZERO).is_some() {}
    }

    /// Why brokers do not show the newest offsets.
    pub(super) fn complaint(&self) -> Option<String> {
        let failure = self.answers.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(format!("the consumer group {} was not told the newest offsets: {failure}", self.name))
    }
}
