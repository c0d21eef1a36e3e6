//! Topics of Kafka as a source; a partition is a split, named `topic-partition`.
//!
//! Offsets in checkpoints are Kafka's own: the next one to read, and for a bounded source the one to stop at, so that a
//! restart ends where the first start would have. Where a split begins is settled by an empty batch before the first
//! message: a checkpoint before it knows as much as one after it. Only committed messages are read.

use super::client::{Reports, refused, settings};
use super::cluster::{Cluster, Partition};
use super::decode::{Decoding, Extra, Format};
use super::queue::{Client, PartitionQueue};
use crossbeam_channel::{Sender, bounded};
use dataflare_engine::source::{Offset, Poll, RawBatch, Source, Split, SplitReader, Waker};
use dataflare_engine::{EngineError, Result};
use dataflare_plan::Field;
use rdkafka::bindings::RD_KAFKA_OFFSET_BEGINNING;
use rdkafka::error::RDKafkaErrorCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// A queue of 2 MiB a partition, asked for more as soon as it has room: 16 MiB for eight partitions.
const OURS: &[(&str, &str)] = &[
    ("client.id", "dataflare_fast"),
    ("isolation.level", "read_committed"),
    ("auto.offset.reset", "error"),
    ("enable.auto.commit", "false"),
    ("queued.max.messages.kbytes", "2048"),
    ("fetch.queue.backoff.ms", "5"),
    ("reconnect.backoff.max.ms", "2000"),
    ("socket.keepalive.enable", "true"),
];

const NO_GROUP: &str = "no consumer group: offsets are kept in checkpoints";
const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "the option bootstrap_servers"),
    ("metadata.broker.list", "the option bootstrap_servers"),
    ("auto.offset.reset", "the option start"),
    ("enable.partition.eof", "the option end"),
    ("group.id", NO_GROUP),
    ("enable.auto.commit", NO_GROUP),
    ("enable.auto.offset.store", NO_GROUP),
];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Start {
    #[default]
    Earliest,
    Latest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum End {
    Latest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    topics: Vec<String>,
    bootstrap_servers: String,
    #[serde(default)]
    value: Format,
    #[serde(default)]
    start: Start,
    /// Up to the end that each partition has at the start; `null`: no end.
    #[serde(default)]
    end: Option<End>,
    /// What else becomes a column, and its name.
    #[serde(default)]
    columns: BTreeMap<Extra, String>,
    #[serde(default = "ten_minutes")]
    outage_limit_ms: u64,
    #[serde(default = "batch_rows")]
    batch_rows: usize,
    /// More settings of librdkafka. A [`Value`], so that no error text of serde quotes one.
    #[serde(default)]
    config: Value,
}

fn ten_minutes() -> u64 {
    600_000
}

fn batch_rows() -> usize {
    16_384
}

/// Where a reader is, in a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    next: i64,
    /// The offset to stop at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<i64>,
}

impl Place {
    fn offset(self) -> Offset {
        match self.end {
            None => serde_json::json!({"next": self.next}),
            Some(end) => serde_json::json!({"next": self.next, "end": end}),
        }
    }
}

/// Topics of a cluster.
pub struct Kafka {
    cluster: Arc<Cluster>,
    client: Client,
    decoding: Arc<Decoding>,
    start: Start,
    end: Option<End>,
    batch_rows: usize,
    /// Where the partitions began and ended at the start of the job, if that matters.
    ends: OnceLock<BTreeMap<Partition, (i64, i64)>>,
    /// Runs once there are partitions; closed with the source.
    watch: Mutex<Option<Sender<()>>>,
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kafka({:?}, start {:?}, end {:?})", self.decoding, self.start, self.end)
    }
}

impl Kafka {
    /// The source that `options` describe, in the columns of `fields`. Talks to no broker yet.
    ///
    /// # Errors
    /// Bad options, settings that librdkafka refuses, column types that a message cannot give.
    pub fn new(options: &Value, fields: &[Field]) -> Result<Self> {
        let options: Options = serde_json::from_value(options.clone()).map_err(|error| {
            let expected = "options topics, bootstrap_servers, value, start, end, columns, outage_limit_ms, batch_rows, config";
            EngineError::call("kafka", expected, error.to_string())
        })?;
        if options.topics.is_empty() {
            return Err(EngineError::call("kafka", "at least one topic", "none"));
        }
        let decoding = Arc::new(Decoding::new(fields, options.value, &options.columns)?);
        let client = client(&options)?;
        let outage_limit = Duration::from_millis(options.outage_limit_ms);
        let cluster = Cluster::new(
            Arc::clone(&client.0),
            client.1,
            &options.bootstrap_servers,
            &options.topics,
            outage_limit,
        );
        Ok(Self {
            cluster: Arc::new(cluster),
            client: client.0,
            decoding,
            start: options.start,
            end: options.end,
            batch_rows: options.batch_rows,
            ends: OnceLock::new(),
            watch: Mutex::default(),
        })
    }

    /// Asks where the partitions begin and end, once, if the source starts or stops at the end.
    fn settle(&self, partitions: &[Partition]) -> Result<()> {
        if self.ends.get().is_some() {
            return Ok(());
        }
        let mut ends = BTreeMap::new();
        if self.end.is_some() || self.start == Start::Latest {
            for (topic, partition) in partitions {
                ends.insert((topic.clone(), *partition), self.cluster.ends(topic, *partition)?);
            }
        }
        let _ = self.ends.set(ends);
        Ok(())
    }

    fn watch(&self) -> Result<()> {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if watch.is_none() {
            let (stop, stopped) = bounded(0);
            let cluster = Arc::clone(&self.cluster);
            std::thread::Builder::new()
                .name("kafka-watch".to_string())
                .spawn(move || cluster.watch(&stopped))
                .map_err(|error| EngineError::unavailable("a thread for kafka", error))?;
            *watch = Some(stop);
        }
        Ok(())
    }

    /// Where a split begins without a checkpoint; `None`: at the first message that there is.
    fn beginning(&self, partition: &Partition) -> Option<Place> {
        let (low, high) = *self.ends.get()?.get(partition)?;
        let next = if self.start == Start::Latest { high } else { low };
        Some(Place { next, end: self.end.map(|_| high) })
    }
}

fn client(options: &Options) -> Result<(Client, Reports)> {
    let config = match &options.config {
        Value::Null => serde_json::Map::new(),
        Value::Object(config) => config.clone(),
        _ => return Err(EngineError::call("kafka config", "names and values of settings", "something else")),
    };
    let mut config = settings(&options.bootstrap_servers, OURS, &config, OWNED)?;
    config.set("enable.partition.eof", if options.end.is_some() { "true" } else { "false" });
    let reports = Reports::default();
    let client = config.create_with_context(reports.clone()).map_err(|error| refused(&error))?;
    Ok((Arc::new(client), reports))
}

impl Source for Kafka {
    fn splits(&self) -> Result<Vec<Split>> {
        let partitions = self.cluster.partitions()?;
        self.settle(&partitions)?;
        self.watch()?;
        let name = |(topic, partition): &Partition| Split { name: format!("{topic}-{partition}") };
        // A bounded source ends with the partitions that it started with.
        let known = |partition: &&Partition| self.end.is_none() || self.beginning(partition).is_some();
        Ok(partitions.iter().filter(known).map(name).collect())
    }

    fn grows(&self) -> bool {
        self.end.is_none()
    }

    fn open(&self, split: &Split, offset: Option<&Offset>, waker: Waker) -> Result<Box<dyn SplitReader>> {
        let wrong = |expected: &str, found: &str| EngineError::call("kafka", expected, found);
        let partition =
            split.name.rsplit_once('-').and_then(|(topic, number)| Some((topic, number.parse().ok()?)));
        let Some((topic, number)) = partition else {
            return Err(wrong("a split named topic-partition", &split.name));
        };
        let partition = (topic.to_string(), number);
        let begin = match offset {
            None => self.beginning(&partition),
            Some(offset) => Some(
                serde_json::from_value::<Place>(offset.clone())
                    .map_err(|_| wrong("an offset {\"next\": …} of this connector", &offset.to_string()))?,
            ),
        };
        self.cluster.wake_on_failure(Arc::clone(&waker));
        let from = begin.map_or(i64::from(RD_KAFKA_OFFSET_BEGINNING), |place| place.next);
        let queue = PartitionQueue::start(Arc::clone(&self.client), topic, number, from, waker)?;
        let mut reader = Reader {
            cluster: Arc::clone(&self.cluster),
            decoding: Arc::clone(&self.decoding),
            partition: Arc::new(partition),
            queue,
            batch_rows: self.batch_rows,
            end: begin.and_then(|place| place.end),
            announce: begin.filter(|_| offset.is_none()),
            failure: None,
            done: false,
        };
        reader.done = begin.is_some_and(|place| place.end.is_some_and(|end| place.next >= end));
        Ok(Box::new(reader))
    }

    fn waits_for(&self) -> Option<String> {
        self.cluster.waits_for()
    }
}

struct Reader {
    cluster: Arc<Cluster>,
    decoding: Arc<Decoding>,
    partition: Arc<Partition>,
    queue: PartitionQueue,
    batch_rows: usize,
    end: Option<i64>,
    /// A beginning that the next checkpoint has to know.
    announce: Option<Place>,
    /// Found behind messages that go first.
    failure: Option<EngineError>,
    done: bool,
}

impl Reader {
    /// What an error of the partition means; `None`: it passes, or the cluster's watch judges it.
    fn failure_of(&self, code: RDKafkaErrorCode, text: &str) -> Option<EngineError> {
        let place = format!("kafka {}[{}]", self.partition.0, self.partition.1);
        match code {
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                Some(EngineError::call(
                    place,
                    "the messages behind the checkpoint, which retention has deleted; restore=\"ignore-state\" starts afresh",
                    text,
                ))
            }
            RDKafkaErrorCode::TopicAuthorizationFailed => {
                Some(EngineError::call(place, "the right to read it", "the broker's refusal"))
            }
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition => Some(EngineError::unavailable(place, "it was deleted")),
            RDKafkaErrorCode::BadMessage
            | RDKafkaErrorCode::InvalidMessage
            | RDKafkaErrorCode::BadCompression => {
                Some(EngineError::Data { place, row: 0, reason: format!("damaged messages: {text}") })
            }
            _ => None,
        }
    }
}

impl SplitReader for Reader {
    fn poll(&mut self) -> Result<Poll> {
        if let Some(place) = self.announce.take() {
            let decoding = Arc::clone(&self.decoding);
            return Ok(Poll::Ready(RawBatch {
                first: u64::try_from(place.next).unwrap_or(0),
                next: place.offset(),
                bytes: 0,
                decode: Box::new(move || Ok(decoding.nothing())),
            }));
        }
        if self.done {
            return Ok(Poll::End);
        }
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let mut taken = self.queue.take(self.batch_rows);
        if let Some(end) = self.end {
            self.done = taken.messages.truncate_at(end)
                || taken.end.is_some_and(|reached| reached >= end)
                || taken.messages.last().is_some_and(|message| message.offset() + 1 >= end);
        }
        if let Some((code, text)) = &taken.error {
            self.failure = self.failure_of(*code, text);
        }
        let (Some(first), Some(last)) = (taken.messages.first(), taken.messages.last()) else {
            return match (self.done, self.failure.clone().or_else(|| self.cluster.failure())) {
                (true, _) => Ok(Poll::End),
                (false, Some(failure)) => Err(failure),
                (false, None) => Ok(Poll::Pending),
            };
        };
        let (first, next) = (first.offset(), Place { next: last.offset() + 1, end: self.end });
        let (decoding, partition, messages) =
            (Arc::clone(&self.decoding), Arc::clone(&self.partition), taken.messages);
        Ok(Poll::Ready(RawBatch {
            first: u64::try_from(first).unwrap_or(0),
            next: next.offset(),
            bytes: messages.bytes(),
            decode: Box::new(move || decoding.decode(&partition, &messages)),
        }))
    }

    fn pending_rows(&self) -> Option<u64> {
        Some(self.queue.waiting() as u64)
    }
}
