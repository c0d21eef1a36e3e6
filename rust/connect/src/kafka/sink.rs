//! A topic of Kafka as a sink: one message a row, in the partition of its key.
//!
//! Exactly once with a checkpoint, in transactions (`transactions.rs`). Else, or if the user wants low latency, at least
//! once: one idempotent producer, shared by the workers, keeps the order of each partition and writes nothing twice by
//! itself; rows since the last committed epoch are written again after a crash. A barrier waits (on an IO thread) until
//! the brokers have every message of its epoch. Keyed, it takes upserts: a deleted row becomes a tombstone.

use super::client::{Reports, refused, settings};
use super::cluster::{Cluster, Wanted};
use super::messages::{Encoded, Layout, Wanted as Columns};
use super::produce::{Outstanding, Producer};
use super::queue::Client;
use super::transactions::Transactions;
use dataflare_engine::checkpoint::record::Unconfirmed;
use dataflare_engine::event::{Batch, Epoch};
use dataflare_engine::sink::{Place, Preparation, Prepared, Sink, SinkWriter};
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{Field, FrameKind};
use rdkafka::config::ClientConfig;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
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
    ("transactional.id", "names that follow from those of job and sink"),
    ("transaction.timeout.ms", "the option transaction_timeout"),
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
    /// `None`: exactly once if the job has a checkpoint.
    #[serde(default)]
    delivery: Option<Delivery>,
    /// A message that no broker takes for so long fails the job.
    #[serde(default = "ten_minutes")]
    outage_limit_ms: u64,
    /// Brokers abort a transaction that is open for so long.
    #[serde(default = "fifteen_minutes")]
    transaction_timeout_ms: u64,
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

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Delivery {
    ExactlyOnce,
    AtLeastOnce,
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

/// The most that brokers allow unless told otherwise.
fn fifteen_minutes() -> u64 {
    900_000
}

/// A topic to write to.
pub struct KafkaSink {
    topic: Arc<str>,
    layout: Arc<Layout>,
    delivery: Option<Delivery>,
    /// Of the idempotent producer.
    config: ClientConfig,
    /// Of clients that only ask.
    asking: ClientConfig,
    outage_limit: Duration,
    transaction_timeout: Duration,
    producer: OnceLock<Arc<Producer>>,
    /// `None`: no checkpoint.
    transactions: OnceLock<Transactions>,
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
            let expected = "options topic, bootstrap_servers, key, value, headers, timestamp, compression, delivery, outage_limit_ms, transaction_timeout_ms, config";
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
        producer.create_native_config().map_err(|error| refused(&error))?;
        let asking = asking(&options.bootstrap_servers, &config)?;
        let outage_limit = Duration::from_millis(options.outage_limit_ms);
        let cluster = cluster(&asking, &options.bootstrap_servers, &options.topic, outage_limit)?;
        Ok(Self {
            layout: Arc::new(layout),
            delivery: options.delivery,
            config: producer,
            asking,
            outage_limit,
            transaction_timeout: Duration::from_millis(options.transaction_timeout_ms),
            producer: OnceLock::new(),
            transactions: OnceLock::new(),
            cluster: Mutex::new(Some(cluster)),
            topic: options.topic.into(),
        })
    }

    /// Transactions, if rows are to go in some.
    fn transactions(&self) -> Option<&Transactions> {
        self.transactions.get().filter(|_| self.delivery != Some(Delivery::AtLeastOnce))
    }

    fn producer(&self) -> Result<Arc<Producer>> {
        if let Some(producer) = self.producer.get() {
            return Ok(Arc::clone(producer));
        }
        let producer = Arc::new(Producer::new(&self.config, &self.topic, &self.layout, 0)?);
        Ok(Arc::clone(self.producer.get_or_init(|| producer)))
    }
}

/// A client that only asks. Settings for producers do not concern it.
fn asking(brokers: &str, config: &Map<String, Value>) -> Result<ClientConfig> {
    let concerns_connection = |name: &str| {
        ["sasl.", "ssl.", "security.", "socket.", "broker."].iter().any(|part| name.starts_with(part))
    };
    let config = config.iter().filter(|(name, _)| concerns_connection(name));
    let config = config.map(|(name, value)| (name.clone(), value.clone())).collect();
    settings(brokers, &[("client.id", "dataflare_fast")], &config, &[])
}

/// Asks whether the topic exists.
fn cluster(asking: &ClientConfig, brokers: &str, topic: &str, outage_limit: Duration) -> Result<Cluster> {
    let reports = Reports::default();
    let client: Client =
        Arc::new(asking.create_with_context(reports.clone()).map_err(|error| refused(&error))?);
    let wanted = Wanted::new(&[topic.to_string()], None)?;
    Ok(Cluster::new(client, reports, brokers, wanted, outage_limit))
}

impl Sink for KafkaSink {
    fn takes(&self, kind: FrameKind) -> bool {
        match kind {
            FrameKind::Append => true,
            FrameKind::Upsert => !self.layout.key.is_empty(),
            FrameKind::Retract => false,
        }
    }

    fn open(&self, place: Option<&Place>) -> Result<()> {
        let exactly_once = self.delivery == Some(Delivery::ExactlyOnce);
        let Some(place) = place else {
            if exactly_once {
                return Err(EngineError::call(
                    format!("kafka sink {}", self.topic),
                    "an engine with a checkpoint, which delivery=\"exactly_once\" needs",
                    "one without",
                ));
            }
            return Ok(());
        };
        if self.delivery != Some(Delivery::AtLeastOnce) && self.outage_limit > self.transaction_timeout {
            return Err(EngineError::call(
                format!("kafka sink {}", self.topic),
                "an outage_limit up to transaction_timeout: brokers abort what is open longer",
                format!(
                    "outage_limit {} ms, transaction_timeout {} ms",
                    self.outage_limit.as_millis(),
                    self.transaction_timeout.as_millis()
                ),
            ));
        }
        let mut config = self.config.clone();
        config.set("transaction.timeout.ms", self.transaction_timeout.as_millis().to_string());
        config.set(
            "message.timeout.ms",
            self.outage_limit.min(self.transaction_timeout).as_millis().to_string(),
        );
        let _ = self.transactions.set(Transactions::new(
            place.clone(),
            Arc::clone(&self.topic),
            Arc::clone(&self.layout),
            config,
            self.asking.clone(),
            self.outage_limit,
        ));
        Ok(())
    }

    /// Also at least once: the job may have been exactly once before.
    fn recover(&self, records: &[Unconfirmed]) -> Result<()> {
        self.transactions.get().map_or(Ok(()), |transactions| transactions.recover(records))
    }

    fn writer(&self, worker: usize, _attempt: u64, _pending: Vec<Prepared>) -> Result<Box<dyn SinkWriter>> {
        if let Some(cluster) = self.cluster.lock().unwrap_or_else(PoisonError::into_inner).take() {
            cluster.partitions()?;
        }
        if let Some(transactions) = self.transactions() {
            return Ok(Box::new(transactions.writer(worker)?));
        }
        Ok(Box::new(Writer {
            producer: self.producer()?,
            encoded: None,
            sent: Arc::default(),
            earlier: Vec::new(),
            rows: 0,
        }))
    }

    fn confirm(&self, epoch: Epoch, prepared: &[Prepared]) -> Result<()> {
        // At least once nothing is hidden: messages are visible when the brokers have them.
        self.transactions().map_or(Ok(()), |transactions| transactions.confirm(epoch, prepared))
    }

    fn abandoned(&self, epoch: Epoch) {
        if let Some(transactions) = self.transactions() {
            transactions.abandoned(epoch);
        }
    }

    fn waits_for(&self) -> Option<String> {
        self.transactions()?.waits_for()
    }
}

/// At least once.
struct Writer {
    producer: Arc<Producer>,
    /// The messages of the batch that was given back.
    encoded: Option<Encoded>,
    /// Messages of the epoch that is being written, and of earlier ones that were not delivered at their barrier.
    sent: Arc<Outstanding>,
    earlier: Vec<Arc<Outstanding>>,
    rows: usize,
}

impl SinkWriter for Writer {
    fn write(&mut self, batch: Batch) -> Result<Option<Batch>> {
        let rows = batch.rows();
        let rest = self.producer.send(batch, &mut self.encoded, &self.sent)?;
        self.rows += rows - rest.as_ref().map_or(0, Batch::rows);
        Ok(rest)
    }

    fn prepare(&mut self, _epoch: Epoch, _committed: Epoch, _last: bool) -> Result<Preparation> {
        self.producer.check()?;
        self.earlier.retain(|outstanding| !outstanding.is_none());
        self.earlier.push(std::mem::take(&mut self.sent));
        let (waited, producer, rows) =
            (self.earlier.clone(), Arc::clone(&self.producer), std::mem::take(&mut self.rows));
        Ok(Box::new(move || {
            waited.iter().for_each(|outstanding| outstanding.wait());
            producer.check()?;
            Ok(json!({"rows": rows}))
        }))
    }
}
