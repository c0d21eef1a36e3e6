//! Which epoch of a worker stands in the topic: an offset of the worker's own group, committed in the same transaction.
//!
//! Partition 0 of the sink's topic, offset = epoch, metadata = the checkpoint folder's own id. Read with
//! `read_committed`, so that an open transaction of a dead process is waited for. Called by `transactions.rs`.

use super::client::{Reports, refused, text_of};
use dataflare_engine::{EngineError, Epoch, Result};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a broker has for an answer before it is asked again.
const ANSWER: Duration = Duration::from_secs(5);

/// One worker's marker.
pub(super) struct Marker {
    group: String,
    topic: Arc<str>,
    folder: String,
    pub(super) metadata: ConsumerGroupMetadata,
}

/// What stands in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// Of another checkpoint folder.
    Foreign,
    Epoch(Epoch),
}

impl Marker {
    /// The marker of a group, and what it says now.
    ///
    /// # Errors
    /// Brokers that do not answer within `limit`.
    pub(super) fn read(
        asking: &ClientConfig,
        group: String,
        topic: &Arc<str>,
        folder: &str,
        limit: Duration,
    ) -> Result<(Self, Found)> {
        let mut config = asking.clone();
        config.set("group.id", &group).set("isolation.level", "read_committed");
        config.set("enable.auto.commit", "false");
        let client: BaseConsumer<Reports> =
            config.create_with_context(Reports::default()).map_err(|error| refused(&error))?;
        let metadata = client.group_metadata().ok_or_else(|| {
            EngineError::internal(format!("kafka group {group}"), "a consumer without a group")
        })?;
        let marker = Self { group, topic: Arc::clone(topic), folder: folder.to_owned(), metadata };
        let found = marker.ask(&client, limit)?;
        Ok((marker, found))
    }

    fn ask(&self, client: &BaseConsumer<Reports>, limit: Duration) -> Result<Found> {
        let since = Instant::now();
        loop {
            let mut wanted = TopicPartitionList::new();
            wanted.add_partition(&self.topic, 0);
            let error = match client.committed_offsets(wanted, ANSWER) {
                Ok(offsets) => return self.found(&offsets),
                Err(error) => error,
            };
            if !may_pass(&error) || since.elapsed() >= limit {
                return Err(EngineError::unavailable(format!("kafka group {}", self.group), text_of(&error)));
            }
            client.poll(Duration::from_millis(100));
        }
    }

    fn found(&self, offsets: &TopicPartitionList) -> Result<Found> {
        let element = offsets.find_partition(&self.topic, 0);
        let element = element.ok_or_else(|| {
            EngineError::internal(format!("kafka group {}", self.group), "an answer for another partition")
        })?;
        if let Err(error) = element.error() {
            let place = format!("kafka group {}", self.group);
            return Err(EngineError::unavailable(place, text_of(&error)));
        }
        Ok(match element.offset() {
            Offset::Offset(epoch) if element.metadata() == self.folder => {
                Found::Epoch(u64::try_from(epoch).unwrap_or(0))
            }
            Offset::Offset(_) => Found::Foreign,
            _ => Found::Nothing,
        })
    }

    /// What a transaction sends so that the marker says `epoch`.
    ///
    /// # Errors
    /// None but bugs.
    pub(super) fn offsets(&self, epoch: Epoch) -> Result<TopicPartitionList> {
        let broken =
            |error: &KafkaError| EngineError::internal(format!("kafka group {}", self.group), text_of(error));
        let mut offsets = TopicPartitionList::new();
        offsets
            .add_partition_offset(&self.topic, 0, Offset::Offset(i64::try_from(epoch).unwrap_or(i64::MAX)))
            .map_err(|error| broken(&error))?;
        if let Some(mut element) = offsets.find_partition(&self.topic, 0) {
            element.set_metadata(&self.folder);
        }
        Ok(offsets)
    }

    pub(super) fn group(&self) -> &str {
        &self.group
    }
}

/// True for what a broker says while it starts, moves things, or is away.
fn may_pass(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::WaitingForCoordinator
                | Code::UnstableOffsetCommit
        )
    )
}
