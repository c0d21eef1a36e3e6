//! A topic of Kafka as a sink: one message a row, in the partition of its key. At least once.
//!
//! An idempotent producer, shared by the workers, keeps the order of each partition and writes nothing twice by itself;
//! rows since the last committed epoch are written again after a crash. A barrier waits (on an IO thread) until the
//! brokers have every message of its epoch. Keyed, it takes upserts: a deleted row becomes a tombstone.

use super::client::{Reports, refused, settings, text_of};
use super::cluster::{Cluster, Wanted};
use super::messages::{Encodable, Encoded, Layout, Wanted as Columns};
use super::queue::Client;
use dataflare_engine::event::{Batch, Epoch};
use dataflare_engine::sink::{Preparation, Prepared, Sink, SinkWriter};
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{Field, FrameKind};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Java's partitioner, so that other writers of the topic put a key into the same partition.
const OURS: &[(&str, &str)] = &[
    ("client.id", "dataflare_fast"),
    ("enable.idempotence", "true"),
    ("partitioner", "murmur2_random"),
    ("queue.buffering.max.kbytes", "16384"),
    ("linger.ms", "5"),
    ("reconnect.backoff.max.ms", "2000"),
    ("socket.keepalive.enable", "true"),
];

const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "the option bootstrap_servers"),
    ("metadata.broker.list", "the option bootstrap_servers"),
    ("compression.type", "the option compression"),
    ("compression.codec", "the option compression"),
    ("enable.idempotence", "the idempotent producer that this sink is"),
    ("message.timeout.ms", "the option outage_limit"),
    ("delivery.timeout.ms", "the option outage_limit"),
    ("transactional.id", "no transactions: this sink is at least once"),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    topic: String,
    bootstrap_servers: String,
    /// Columns that choose the partition; `null`: none.
    #[serde(default)]
    key: Option<Vec<String>>,
    #[serde(default)]
    value: Format,
    /// The column whose pairs of text and binary become headers. No part of the value.
    #[serde(default)]
    headers: Option<String>,
    /// The column that becomes the time of the message.
    #[serde(default)]
    timestamp: Option<String>,
    #[serde(default)]
    compression: Compression,
    /// A message that no broker takes for so long fails the job.
    #[serde(default = "ten_minutes")]
    outage_limit_ms: u64,
    /// More settings of librdkafka. A [`Value`], so that no error text of serde quotes one.
    #[serde(default)]
    config: Value,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// One object a row.
    #[default]
    Json,
    /// The one column of texts or bytes that is neither key, headers nor time.
    Raw,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

fn ten_minutes() -> u64 {
    600_000
}

/// A topic to write to.
pub struct KafkaSink {
    topic: Arc<str>,
    layout: Arc<Layout>,
    producer: Arc<ThreadedProducer<Deliveries>>,
    deliveries: Deliveries,
    /// Looks at the topic before the first row, then goes away.
    cluster: Mutex<Option<Cluster>>,
}

impl std::fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KafkaSink({}, {:?})", self.topic, self.layout)
    }
}

impl KafkaSink {
    /// The sink that `options` describe, for rows of `fields`. Talks to no broker yet.
    ///
    /// # Errors
    /// Bad options, settings that librdkafka refuses, a key that is no column, types that JSON cannot hold.
    pub fn new(options: &Value, fields: &[Field]) -> Result<Self> {
        let options: Options = serde_json::from_value(options.clone()).map_err(|error| {
            let expected = "options topic, bootstrap_servers, key, value, headers, timestamp, compression, outage_limit_ms, config";
            EngineError::call("kafka sink", expected, error.to_string())
        })?;
        let columns = Columns {
            key: options.key.clone().unwrap_or_default(),
            headers: options.headers.clone(),
            timestamp: options.timestamp.clone(),
            raw: matches!(options.value, Format::Raw),
        };
        let layout = Layout::new(&columns, fields)?;
        let config = match options.config {
            Value::Null => Map::new(),
            Value::Object(config) => config,
            _ => {
                return Err(EngineError::call(
                    "kafka config",
                    "names and values of settings",
                    "something else",
                ));
            }
        };
        let mut producer = settings(&options.bootstrap_servers, OURS, &config, OWNED)?;
        producer.set("message.timeout.ms", options.outage_limit_ms.to_string());
        producer.set("compression.type", options.compression.name());
        let deliveries = Deliveries::default();
        let producer = producer.create_with_context(deliveries.clone()).map_err(|error| refused(&error))?;
        let cluster = cluster(&options.bootstrap_servers, &options.topic, &config, options.outage_limit_ms)?;
        Ok(Self {
            layout: Arc::new(layout),
            producer: Arc::new(producer),
            deliveries,
            cluster: Mutex::new(Some(cluster)),
            topic: options.topic.into(),
        })
    }
}

/// A client that only asks whether the topic exists. Settings for producers do not concern it.
fn cluster(brokers: &str, topic: &str, config: &Map<String, Value>, outage_limit_ms: u64) -> Result<Cluster> {
    let concerns_connection = |name: &str| {
        ["sasl.", "ssl.", "security.", "socket.", "broker."].iter().any(|part| name.starts_with(part))
    };
    let config = config.iter().filter(|(name, _)| concerns_connection(name));
    let config = config.map(|(name, value)| (name.clone(), value.clone())).collect();
    let reports = Reports::default();
    let client = settings(brokers, &[("client.id", "dataflare_fast")], &config, &[])?;
    let client: Client =
        Arc::new(client.create_with_context(reports.clone()).map_err(|error| refused(&error))?);
    let wanted = Wanted::new(&[topic.to_string()], None)?;
    Ok(Cluster::new(client, reports, brokers, wanted, Duration::from_millis(outage_limit_ms)))
}

impl Sink for KafkaSink {
    fn takes(&self, kind: FrameKind) -> bool {
        match kind {
            FrameKind::Append => true,
            FrameKind::Upsert => !self.layout.key.is_empty(),
            FrameKind::Retract => false,
        }
    }

    fn writer(&self, _worker: usize, _attempt: u64, _pending: Vec<Prepared>) -> Result<Box<dyn SinkWriter>> {
        if let Some(cluster) = self.cluster.lock().unwrap_or_else(PoisonError::into_inner).take() {
            cluster.partitions()?;
        }
        Ok(Box::new(Writer {
            topic: Arc::clone(&self.topic),
            layout: Arc::clone(&self.layout),
            producer: Arc::clone(&self.producer),
            deliveries: self.deliveries.clone(),
            encoded: None,
            sent: Arc::default(),
            earlier: Vec::new(),
            rows: 0,
        }))
    }

    /// Nothing is hidden: messages are visible when the brokers have them.
    fn confirm(&self, _epoch: Epoch, _prepared: &[Prepared]) -> Result<()> {
        Ok(())
    }
}

/// What became of the messages. Shared by the writers and the producer's own thread.
#[derive(Clone, Default)]
struct Deliveries {
    reports: Reports,
    failure: Arc<OnceLock<EngineError>>,
}

impl Deliveries {
    fn check(&self) -> Result<()> {
        self.failure.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }
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
struct Outstanding {
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

    fn is_none(&self) -> bool {
        *self.messages.lock().unwrap_or_else(PoisonError::into_inner) == 0
    }

    /// Each message gets an answer, if only that its time is over.
    fn wait(&self) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        while *messages > 0 {
            messages = self.none.wait(messages).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct Writer {
    topic: Arc<str>,
    layout: Arc<Layout>,
    producer: Arc<ThreadedProducer<Deliveries>>,
    deliveries: Deliveries,
    /// The messages of the batch that was given back.
    encoded: Option<Encoded>,
    /// Messages of the epoch that is being written, and of earlier ones that were not delivered at their barrier.
    sent: Arc<Outstanding>,
    earlier: Vec<Arc<Outstanding>>,
    rows: u64,
}

impl SinkWriter for Writer {
    fn write(&mut self, batch: Batch) -> Result<Option<Batch>> {
        self.deliveries.check()?;
        let mut encoded = match self.encoded.take() {
            // The rest of a batch that was given back.
            Some(encoded) if encoded.left() == batch.rows() => encoded,
            _ => Encoded::new(&batch, &self.layout)?,
        };
        let before = encoded.left();
        while let Some(message) = encoded.message() {
            if let Some(message) = message
                && !self.send(message)?
            {
                let sent = before - encoded.left();
                let rest = batch.records.slice(batch.rows() - encoded.left(), encoded.left());
                let changes = batch
                    .changes
                    .as_ref()
                    .map(|changes| changes.slice(changes.len() - rest.num_rows(), rest.num_rows()));
                self.rows += sent as u64;
                self.encoded = Some(encoded);
                return Ok(Some(Batch { records: rest, changes, order: batch.order }));
            }
            encoded.next += 1;
        }
        self.rows += before as u64;
        Ok(None)
    }

    fn prepare(&mut self, _epoch: Epoch, _committed: Epoch, _last: bool) -> Result<Preparation> {
        self.deliveries.check()?;
        self.earlier.retain(|outstanding| !outstanding.is_none());
        self.earlier.push(std::mem::take(&mut self.sent));
        let (waited, deliveries, rows) =
            (self.earlier.clone(), self.deliveries.clone(), std::mem::take(&mut self.rows));
        Ok(Box::new(move || {
            waited.iter().for_each(|outstanding| outstanding.wait());
            deliveries.check()?;
            Ok(json!({"rows": rows}))
        }))
    }
}

impl Writer {
    /// False: librdkafka's queue is full.
    fn send(&self, message: Encodable<'_>) -> Result<bool> {
        let mut record = BaseRecord::<[u8], [u8], _>::with_opaque_to(&self.topic, Arc::clone(&self.sent));
        record.key = message.key;
        record.payload = message.value;
        record.timestamp = message.time_ms;
        record.headers = message.headers;
        self.sent.more();
        let Err((error, _)) = self.producer.send(record) else { return Ok(true) };
        self.sent.less();
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
            _ => Err(EngineError::unavailable(format!("kafka topic {}", self.topic), text_of(&error))),
        }
    }
}
