//! Topics of Kafka as a source; a partition is a split, named `topic-partition`.
//!
//! Offsets in checkpoints are Kafka's own: the next one to read, and for a bounded source the one to stop at, so that a
//! restart ends where the first start would have. Where a split begins is settled by an empty batch before the first
//! message: a checkpoint before it knows as much as one after it.

use super::client::{Reports, refused, settings};
use super::cluster::{Cluster, Partition, Wanted};
use super::decode::{Decoding, Extra, Format, Reading, Tombstones};
use super::group::Group;
use super::queue::{Client, Messages, PartitionQueue};
use super::registry::{self, Registry};
use super::span::{End, Span, Start};
use crossbeam_channel::{Sender, bounded};
use dataflare_engine::source::{Offset, Poll, RawBatch, Source, Split, SplitReader, Waker};
use dataflare_engine::{EngineError, Result};
use dataflare_plan::Field;
use rdkafka::bindings::RD_KAFKA_OFFSET_BEGINNING;
use rdkafka::error::RDKafkaErrorCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A queue of 2 MiB a partition, asked for more as soon as it has room: 16 MiB for eight partitions.
const OURS: &[(&str, &str)] = &[
    ("client.id", "dataflare_fast"),
    ("auto.offset.reset", "error"),
    ("enable.auto.commit", "false"),
    ("queued.max.messages.kbytes", "2048"),
    ("fetch.queue.backoff.ms", "5"),
    ("reconnect.backoff.max.ms", "2000"),
    ("socket.keepalive.enable", "true"),
];

const NO_GROUP: &str =
    "no consumer group: offsets are kept in checkpoints; the option group has them shown to brokers";
const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "the option bootstrap_servers"),
    ("metadata.broker.list", "the option bootstrap_servers"),
    ("auto.offset.reset", "the option start"),
    ("enable.partition.eof", "the option end"),
    ("isolation.level", "the option isolation"),
    ("group.id", NO_GROUP),
    ("enable.auto.commit", NO_GROUP),
    ("enable.auto.offset.store", NO_GROUP),
];

/// Which messages of transactions are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Isolation {
    #[default]
    ReadCommitted,
    ReadUncommitted,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default)]
    topics: Vec<String>,
    /// A regular expression that whole names match, instead of `topics`.
    #[serde(default)]
    pattern: Option<String>,
    bootstrap_servers: String,
    #[serde(default)]
    value: Format,
    #[serde(default = "raw")]
    key: Format,
    #[serde(default)]
    tombstones: Tombstones,
    /// Where the schemas of Avro and Protobuf are. A [`Value`], so that no error text of serde quotes a password.
    #[serde(default)]
    registry: Value,
    #[serde(default)]
    isolation: Isolation,
    /// The consumer group that brokers are shown our offsets under.
    #[serde(default)]
    group: Option<String>,
    #[serde(default)]
    start: Start,
    /// `null`: no end. Else fixed for each partition at the start.
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

fn raw() -> Format {
    Format::Raw
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
    registry: Option<Arc<Registry>>,
    group: Option<Arc<Group>>,
    start: Start,
    end: Option<End>,
    batch_rows: usize,
    /// The splits of the checkpoint that the job goes on from.
    resumed: OnceLock<BTreeSet<String>>,
    /// Where the partitions begin and end, if that was settled at the start of the job.
    spans: OnceLock<BTreeMap<Partition, Span>>,
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
            let expected = "options topics or pattern, bootstrap_servers, value, key, tombstones, registry, start, end, \
                            columns, isolation, group, outage_limit_ms, batch_rows, config";
            EngineError::call("kafka", expected, error.to_string())
        })?;
        let outage_limit = Duration::from_millis(options.outage_limit_ms);
        let wanted = Wanted::new(&options.topics, options.pattern.as_deref())?;
        let registry = registry_of(&options, outage_limit)?;
        let reading = Reading {
            value: options.value,
            key: options.key,
            tombstones: options.tombstones,
            columns: &options.columns,
            registry: registry.clone(),
        };
        let decoding = Arc::new(Decoding::new(fields, &reading)?);
        let (client, reports) = client(&options)?;
        let group = options
            .group
            .as_deref()
            .map(|name| Group::new(name, &options.bootstrap_servers, &config_of(&options)?));
        let cluster =
            Cluster::new(Arc::clone(&client), reports, &options.bootstrap_servers, wanted, outage_limit);
        Ok(Self {
            cluster: Arc::new(cluster),
            client,
            decoding,
            registry,
            group: group.transpose()?.map(Arc::new),
            start: options.start,
            end: options.end,
            batch_rows: options.batch_rows,
            resumed: OnceLock::new(),
            spans: OnceLock::new(),
            watch: Mutex::default(),
        })
    }

    /// Settles where the partitions begin and end, once. One that is new since the checkpoint begins at its beginning.
    fn settle(&self, partitions: &[Partition]) -> Result<()> {
        if self.spans.get().is_some() {
            return Ok(());
        }
        let is_old = |partition: &&Partition| {
            self.resumed.get().is_none_or(|resumed| resumed.contains(&split_name(partition)))
        };
        let partitions: Vec<Partition> = partitions.iter().filter(is_old).cloned().collect();
        let spans = match (&self.start, &self.end) {
            (Start::Earliest, None) => BTreeMap::new(),
            (start, end) => Span::of(&self.cluster, &partitions, start, end.as_ref())?,
        };
        let _ = self.spans.set(spans);
        Ok(())
    }

    fn watch(&self) -> Result<()> {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if watch.is_none() {
            let (stop, stopped) = bounded(0);
            let (cluster, group) = (Arc::clone(&self.cluster), self.group.clone());
            std::thread::Builder::new()
                .name("kafka-watch".to_string())
                .spawn(move || cluster.watch(&stopped, || group.iter().for_each(|group| group.poll())))
                .map_err(|error| EngineError::unavailable("a thread for kafka", error))?;
            *watch = Some(stop);
        }
        Ok(())
    }

    /// Where a split begins without an offset; `None`: at the first message that there is.
    fn beginning(&self, partition: &Partition) -> Option<Place> {
        let span = self.spans.get()?.get(partition)?;
        Some(Place { next: span.start, end: self.end.as_ref().map(|_| span.end) })
    }
}

fn split_name((topic, partition): &Partition) -> String {
    format!("{topic}-{partition}")
}

fn config_of(options: &Options) -> Result<serde_json::Map<String, Value>> {
    match &options.config {
        Value::Null => Ok(serde_json::Map::new()),
        Value::Object(config) => Ok(config.clone()),
        _ => Err(EngineError::call("kafka config", "names and values of settings", "something else")),
    }
}

fn registry_of(options: &Options, outage_limit: Duration) -> Result<Option<Arc<Registry>>> {
    if options.registry.is_null() {
        return Ok(None);
    }
    let registry: registry::Options = serde_json::from_value(options.registry.clone()).map_err(|_| {
        let expected = "texts under url, user, password, token, ca_file";
        EngineError::call("kafka registry", expected, "other names or values")
    })?;
    Ok(Some(Arc::new(Registry::new(&registry, outage_limit)?)))
}

fn client(options: &Options) -> Result<(Client, Reports)> {
    let mut config = settings(&options.bootstrap_servers, OURS, &config_of(options)?, OWNED)?;
    config.set("enable.partition.eof", if options.end.is_some() { "true" } else { "false" });
    config.set(
        "isolation.level",
        match options.isolation {
            Isolation::ReadCommitted => "read_committed",
            Isolation::ReadUncommitted => "read_uncommitted",
        },
    );
    let reports = Reports::default();
    let client = config.create_with_context(reports.clone()).map_err(|error| refused(&error))?;
    Ok((Arc::new(client), reports))
}

impl Source for Kafka {
    fn splits(&self) -> Result<Vec<Split>> {
        let partitions = self.cluster.partitions()?;
        self.settle(&partitions)?;
        self.watch()?;
        if partitions.is_empty() && self.end.is_some() {
            return Err(self.cluster.no_topic());
        }
        let name = |partition: &Partition| Split { name: split_name(partition) };
        // A bounded source ends with the partitions that it started with.
        let known = |partition: &&Partition| self.end.is_none() || self.beginning(partition).is_some();
        Ok(partitions.iter().filter(known).map(name).collect())
    }

    fn resumes(&self, splits: &[&str]) {
        let _ = self.resumed.set(splits.iter().map(|split| (*split).to_string()).collect());
    }

    fn committed(&self, offsets: &[(Split, Offset)]) {
        let Some(group) = &self.group else { return };
        let next = offsets.iter().filter_map(|(split, offset)| {
            let (topic, partition) = split.name.rsplit_once('-')?;
            let place: Place = serde_json::from_value(offset.clone()).ok()?;
            Some(((topic.to_string(), partition.parse().ok()?), place.next))
        });
        group.commit(next);
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
        let queue = PartitionQueue::start(Arc::clone(&self.client), topic, number, from, Arc::clone(&waker))?;
        let mut reader = Reader {
            cluster: Arc::clone(&self.cluster),
            decoding: Arc::clone(&self.decoding),
            partition: Arc::new(partition),
            queue,
            batch_rows: self.batch_rows,
            end: begin.and_then(|place| place.end),
            announce: begin.filter(|_| offset.is_none()),
            waker,
            next: begin.map(|place| place.next),
            held: None,
            failure: None,
            done: false,
        };
        reader.done = begin.is_some_and(|place| place.end.is_some_and(|end| place.next >= end));
        Ok(Box::new(reader))
    }

    fn waits_for(&self) -> Option<String> {
        let registry = self.registry.as_ref().and_then(|registry| registry.waits_for());
        let group = self.group.as_ref().and_then(|group| group.complaint());
        let waits: Vec<String> = [self.cluster.waits_for(), registry, group].into_iter().flatten().collect();
        (!waits.is_empty()).then(|| waits.join("; "))
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
    waker: Waker,
    /// The offset behind everything that was handed out; `None`: the beginning, wherever that is.
    next: Option<i64>,
    /// Messages whose schemas are not known yet.
    held: Option<Messages>,
    /// Found behind messages that go first.
    failure: Option<EngineError>,
    done: bool,
}

impl Reader {
    /// What has arrived; notes the end and what is wrong behind it.
    fn take(&mut self) -> Messages {
        let mut taken = self.queue.take(self.batch_rows);
        if let Some(end) = self.end {
            self.done = taken.messages.truncate_at(end)
                || taken.end.is_some_and(|reached| reached >= end)
                || taken.messages.last().is_some_and(|message| message.offset() + 1 >= end);
        }
        if let Some((code, text)) = &taken.error {
            self.failure = self.failure_of(*code, text);
        }
        taken.messages
    }

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
        let messages = match self.held.take() {
            Some(held) => held,
            None if self.done => return Ok(Poll::End),
            None => match &self.failure {
                Some(failure) => return Err(failure.clone()),
                None => self.take(),
            },
        };
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else {
            return match (self.done, self.failure.clone().or_else(|| self.cluster.failure())) {
                (true, _) => Ok(Poll::End),
                (false, Some(failure)) => Err(failure),
                (false, None) => Ok(Poll::Pending),
            };
        };
        let (first, next) = (first.offset(), Place { next: last.offset() + 1, end: self.end });
        if !self.decoding.is_ready(&messages, &self.waker)? {
            self.held = Some(messages);
            return Ok(Poll::Pending);
        }
        self.next = Some(next.next);
        let (decoding, partition) = (Arc::clone(&self.decoding), Arc::clone(&self.partition));
        let arrived = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        let arrived = i64::try_from(arrived).unwrap_or(i64::MAX);
        Ok(Poll::Ready(RawBatch {
            first: u64::try_from(first).unwrap_or(0),
            next: next.offset(),
            bytes: messages.bytes(),
            decode: Box::new(move || decoding.decode(&partition, &messages, arrived)),
        }))
    }

    fn lag(&self) -> Option<u64> {
        let (end, next) = (self.queue.end_known()?, self.next?);
        u64::try_from(end.saturating_sub(next).max(0)).ok()
    }

    fn pending_rows(&self) -> Option<u64> {
        Some(self.queue.waiting() as u64)
    }
}
