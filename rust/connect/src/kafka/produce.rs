//! Messages on their way to the brokers: a producer, what becomes of each message, rows in and out of its queue.
//!
//! Called by both ways of the sink (`sink.rs`, `transactions.rs`). Not here: when messages count.

use super::client::{Reports, refused, text_of};
use super::messages::{Encodable, Encoded, Layout};
use dataflare_engine::event::Batch;
use dataflare_engine::{EngineError, Result};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

/// A producer of one topic. Shared by threads.
pub(super) struct Producer {
    pub(super) client: ThreadedProducer<Deliveries>,
    deliveries: Deliveries,
    topic: Arc<str>,
    layout: Arc<Layout>,
    attempt: u64,
}

impl Producer {
    /// # Errors
    /// Settings that librdkafka refuses.
    pub(super) fn new(
        config: &ClientConfig,
        topic: &Arc<str>,
        layout: &Arc<Layout>,
        attempt: u64,
    ) -> Result<Self> {
        let deliveries = Deliveries::default();
        let client = config.create_with_context(deliveries.clone()).map_err(|error| refused(&error))?;
        Ok(Self { client, deliveries, topic: Arc::clone(topic), layout: Arc::clone(layout), attempt })
    }

    /// # Errors
    /// A message that no broker took, or a producer that another one has replaced.
    pub(super) fn check(&self) -> Result<()> {
        let Some(failure) = self.deliveries.failure.get() else { return Ok(()) };
        self.fenced().map_or_else(|| Err(failure.clone()), Err)
    }

    /// The error of a producer whose transactional id another process has taken.
    pub(super) fn fenced(&self) -> Option<EngineError> {
        use RDKafkaErrorCode::{Fenced, InvalidProducerEpoch, ProducerFenced};
        let (code, _) = self.client.client().fatal_error()?;
        let resource = format!("kafka topic {}: its transactional id", self.topic);
        matches!(code, Fenced | InvalidProducerEpoch | ProducerFenced)
            .then_some(EngineError::Conflict { resource, owner: self.attempt + 1 })
    }

    /// What librdkafka complained of last.
    pub(super) fn complaint(&self) -> Option<String> {
        self.deliveries.reports.last().map(|report| report.text)
    }

    /// Hands the rows of a batch to the queue; what finds no room comes back. `encoded`: the messages of a batch that
    /// came back before, kept by the caller.
    ///
    /// # Errors
    /// A message that cannot be sent; an earlier one that was not taken.
    pub(super) fn send(
        &self,
        batch: Batch,
        encoded: &mut Option<Encoded>,
        sent: &Arc<Outstanding>,
    ) -> Result<Option<Batch>> {
        self.check()?;
        let mut messages = match encoded.take() {
            Some(rest) if rest.left() == batch.rows() => rest,
            _ => Encoded::new(&batch, &self.layout)?,
        };
        while let Some(message) = messages.message() {
            if let Some(message) = message
                && !self.send_one(message, sent)?
            {
                let rest = slice(&batch, batch.rows() - messages.left());
                *encoded = Some(messages);
                return Ok(Some(rest));
            }
            messages.next += 1;
        }
        Ok(None)
    }

    /// False: librdkafka's queue is full.
    fn send_one(&self, message: Encodable<'_>, sent: &Arc<Outstanding>) -> Result<bool> {
        let mut record = BaseRecord::<[u8], [u8], _>::with_opaque_to(&self.topic, Arc::clone(sent));
        record.key = message.key;
        record.payload = message.value;
        record.timestamp = message.time_ms;
        record.headers = message.headers;
        sent.more();
        let Err((error, _)) = self.client.send(record) else { return Ok(true) };
        sent.less();
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => Ok(false),
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => Err(EngineError::Data {
                place: format!("kafka topic {}", self.topic),
                row: message.row as u64,
                reason: format!(
                    "a message of {} bytes is larger than the setting message.max.bytes allows",
                    message.value.map_or(0, <[u8]>::len)
                ),
            }),
            _ => Err(self.fenced().unwrap_or_else(|| {
                EngineError::unavailable(format!("kafka topic {}", self.topic), text_of(&error))
            })),
        }
    }
}

/// The rows of a batch from `start` on.
fn slice(batch: &Batch, start: usize) -> Batch {
    let rows = batch.rows() - start;
    Batch {
        records: batch.records.slice(start, rows),
        changes: batch.changes.as_ref().map(|changes| changes.slice(start, rows)),
        order: batch.order,
    }
}

/// What became of the messages. Shared by the writers and the producer's own thread.
#[derive(Clone, Default)]
pub(super) struct Deliveries {
    reports: Reports,
    failure: Arc<OnceLock<EngineError>>,
}

impl ClientContext for Deliveries {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            let _ = self.failure.set(EngineError::unavailable("the kafka producer", reason));
        }
        self.reports.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Arc<Outstanding>;

    fn delivery(&self, result: &DeliveryResult<'_>, outstanding: Arc<Outstanding>) {
        if let Err((error, message)) = result {
            // Without any answer from a broker no partition was chosen.
            let place = match message.partition() {
                ..0 => format!("kafka {}", message.topic()),
                partition => format!("kafka {}[{partition}]", message.topic()),
            };
            let mut reason = format!("a message was not taken: {}", text_of(error));
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageTimedOut)
                && let Some(report) = self.reports.last()
            {
                reason = format!("{reason}: {}", report.text);
            }
            // Of several failures the first is the cause.
            let _ = self.failure.set(EngineError::unavailable(place, reason));
        }
        outstanding.less();
    }
}

/// Messages of one epoch and worker that are not answered yet.
#[derive(Default)]
pub(super) struct Outstanding {
    messages: Mutex<u64>,
    none: Condvar,
}

impl Outstanding {
    fn more(&self) {
        *self.messages.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }

    fn less(&self) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        *messages = messages.saturating_sub(1);
        if *messages == 0 {
            self.none.notify_all();
        }
    }

    pub(super) fn is_none(&self) -> bool {
        *self.messages.lock().unwrap_or_else(PoisonError::into_inner) == 0
    }

    /// Each message gets an answer, if only that its time is over.
    pub(super) fn wait(&self) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        while *messages > 0 {
            messages = self.none.wait(messages).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
