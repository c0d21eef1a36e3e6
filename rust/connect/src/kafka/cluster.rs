//! The partitions that there are, asked for each second, and whether brokers answer at all.
//!
//! librdkafka reconnects by itself for ever. Here the outage gets a name, a duration and a limit. Called by `source.rs`.

use super::client::{Reports, text_of};
use super::queue::Client;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use dataflare_engine::source::Waker;
use dataflare_engine::time::{Clock, Instant, SystemClock};
use dataflare_engine::{EngineError, Result};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::{Offset, TopicPartitionList};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a broker has for an answer, and how often it is asked.
const ANSWER: Duration = Duration::from_secs(1);
/// A job that starts does not wait longer for the first answer: the address may be wrong.
const FIRST_CONTACT: Duration = Duration::from_secs(30);
/// So many topics are named where one is unknown.
const NAMED_TOPICS: usize = 20;

/// Topic and number of a partition.
pub(super) type Partition = (String, i32);

/// Which topics.
pub(super) enum Wanted {
    Names(BTreeSet<String>),
    /// Whole names match it; those of Kafka itself (`__consumer_offsets`) never do.
    Pattern(String, Regex),
}

impl Wanted {
    /// # Errors
    /// Both, neither, or a pattern that is no regular expression.
    pub(super) fn new(topics: &[String], pattern: Option<&str>) -> Result<Self> {
        match (topics, pattern) {
            ([], Some(pattern)) => {
                let whole = Regex::new(&format!("^(?:{pattern})$"));
                let whole = whole.map_err(|error| {
                    EngineError::call("kafka pattern", "a regular expression", error.to_string())
                })?;
                Ok(Self::Pattern(pattern.to_string(), whole))
            }
            ([], None) => Err(EngineError::call("kafka", "at least one topic, or a pattern", "neither")),
            (_, Some(_)) => Err(EngineError::call("kafka", "topics or a pattern", "both")),
            (names, None) => Ok(Self::Names(names.iter().cloned().collect())),
        }
    }
}

/// What is known of the cluster. Shared by the source, its readers and the thread of [`Cluster::watch`].
pub(super) struct Cluster {
    client: Client,
    reports: Reports,
    brokers: String,
    wanted: Wanted,
    outage_limit: Duration,
    clock: SystemClock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None` until the first answer.
    partitions: Option<Vec<Partition>>,
    /// Since when there is trouble, and which.
    outage: Option<(Instant, String)>,
    failed: Option<EngineError>,
    wakers: Vec<Waker>,
}

/// Why the partitions are not known.
enum Trouble {
    /// It may pass.
    Waits(String),
    /// It will not.
    Wrong(EngineError),
}

impl Cluster {
    pub(super) fn new(
        client: Client,
        reports: Reports,
        brokers: &str,
        wanted: Wanted,
        outage_limit: Duration,
    ) -> Self {
        Self {
            client,
            reports,
            brokers: brokers.to_string(),
            wanted,
            outage_limit,
            clock: SystemClock::default(),
            state: Mutex::default(),
        }
    }

    /// The partitions known now, by topic and number; new ones stand at the end. The first call waits for an answer.
    pub(super) fn partitions(&self) -> Result<Vec<Partition>> {
        if let Some(partitions) = &self.state().partitions {
            return Ok(partitions.clone());
        }
        let since = self.clock.now();
        let limit = self.outage_limit.min(FIRST_CONTACT);
        loop {
            match self.ask() {
                Ok(partitions) => {
                    self.answered(&partitions);
                    return Ok(partitions);
                }
                Err(Trouble::Wrong(error)) => return Err(error),
                Err(Trouble::Waits(reason)) => {
                    self.state().outage.get_or_insert((since, String::new())).1 = reason.clone();
                    if self.clock.now().since(since) >= limit {
                        let seconds = limit.as_secs();
                        return Err(EngineError::unavailable(
                            self.place(),
                            format!("no answer in {seconds} s: {reason}"),
                        ));
                    }
                    // Also the pause between two questions.
                    self.client.poll(Duration::from_millis(200));
                }
            }
        }
    }

    /// First offset of a partition, and the one that the next message will get.
    pub(super) fn ends(&self, topic: &str, partition: i32) -> Result<(i64, i64)> {
        self.insist(&format!("{topic}[{partition}]"), || {
            self.client.fetch_watermarks(topic, partition, ANSWER)
        })
    }

    /// The first offset of each partition whose message is not older than `milliseconds`; `None`: all are older.
    pub(super) fn at_time(
        &self,
        partitions: &[Partition],
        milliseconds: i64,
    ) -> Result<BTreeMap<Partition, Option<i64>>> {
        let mut times = TopicPartitionList::new();
        for (topic, partition) in partitions {
            times
                .add_partition_offset(topic, *partition, Offset::Offset(milliseconds))
                .map_err(|error| EngineError::call("kafka start", "a time since 1970", text_of(&error)))?;
        }
        let found =
            self.insist("offsets of a time", || self.client.offsets_for_times(times.clone(), ANSWER))?;
        let offset = |offset: Offset| match offset {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        Ok(found
            .elements()
            .iter()
            .map(|element| ((element.topic().to_string(), element.partition()), offset(element.offset())))
            .collect())
    }

    /// A partition without a leader for a moment (an election, a broker that just started) is asked again.
    fn insist<T>(&self, what: &str, ask: impl Fn() -> KafkaResult<T>) -> Result<T> {
        let mut answer = ask();
        let since = self.clock.now();
        while answer.is_err() && self.clock.now().since(since) < self.outage_limit.min(FIRST_CONTACT) {
            self.client.poll(Duration::from_millis(200));
            answer = ask();
        }
        answer.map_err(|error| EngineError::unavailable(format!("kafka {what}"), text_of(&error)))
    }

    /// Asks each second until `stop` is closed; calls `more` as often.
    pub(super) fn watch(self: Arc<Self>, stop: &Receiver<()>, more: impl Fn()) {
        while stop.recv_timeout(ANSWER) == Err(RecvTimeoutError::Timeout) {
            more();
            // Serves the client's reports.
            while self.client.poll(Duration::ZERO).is_some() {}
            match self.ask() {
                Ok(partitions) => self.answered(&partitions),
                Err(Trouble::Waits(reason)) => self.waits(reason),
                Err(Trouble::Wrong(error)) => self.waits(error.to_string()),
            }
        }
    }

    /// Why nothing will come any more.
    pub(super) fn failure(&self) -> Option<EngineError> {
        self.state().failed.clone()
    }

    /// What is waited for, since when.
    pub(super) fn waits_for(&self) -> Option<String> {
        let state = self.state();
        if let (None, Some([]), Wanted::Pattern(pattern, _)) =
            (&state.outage, state.partitions.as_deref(), &self.wanted)
        {
            return Some(format!("no topic of {} matches the pattern {pattern} yet", self.place()));
        }
        let (since, reason) = state.outage.clone()?;
        drop(state);
        let seconds = self.clock.now().since(since).as_secs();
        Some(format!("{} does not answer since {seconds} s: {reason}", self.place()))
    }

    /// A bounded read of a pattern that no topic matches.
    pub(super) fn no_topic(&self) -> EngineError {
        let known = self.known_topics().unwrap_or_else(|error| format!("(not known: {error})"));
        EngineError::call(
            "kafka pattern",
            format!("one that a topic of {} matches: {known}", self.brokers),
            "one that none matches",
        )
    }

    /// Has `waker` called when the cluster is given up.
    pub(super) fn wake_on_failure(&self, waker: Waker) {
        self.state().wakers.push(waker);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self) -> String {
        format!("kafka broker {}", self.brokers)
    }

    fn answered(&self, partitions: &[Partition]) {
        self.reports.clear();
        let mut state = self.state();
        state.outage = None;
        let known = state.partitions.get_or_insert_default();
        let new: Vec<Partition> =
            partitions.iter().filter(|partition| !known.contains(partition)).cloned().collect();
        known.extend(new);
    }

    fn waits(&self, reason: String) {
        let now = self.clock.now();
        let mut state = self.state();
        let (since, text) = state.outage.get_or_insert((now, String::new()));
        text.clone_from(&reason);
        if now.since(*since) >= self.outage_limit && state.failed.is_none() {
            let seconds = self.outage_limit.as_secs();
            let reason = format!("no answer in {seconds} s (outage_limit): {reason}");
            state.failed = Some(EngineError::unavailable(self.place(), reason));
            let wakers = std::mem::take(&mut state.wakers);
            drop(state);
            wakers.iter().for_each(|waker| waker());
        }
    }

    fn ask(&self) -> Result<Vec<Partition>, Trouble> {
        match &self.wanted {
            Wanted::Names(names) => self.ask_for(names),
            Wanted::Pattern(_, pattern) => self.ask_for_all(pattern),
        }
    }

    fn metadata(&self, topic: Option<&str>) -> Result<Metadata, Trouble> {
        self.client.fetch_metadata(topic, ANSWER).map_err(|error| {
            while self.client.poll(Duration::ZERO).is_some() {}
            self.trouble(text_of(&error))
        })
    }

    fn ask_for_all(&self, pattern: &Regex) -> Result<Vec<Partition>, Trouble> {
        let mut found = Vec::new();
        for answer in self.metadata(None)?.topics() {
            let name = answer.name();
            if name.starts_with("__") || !pattern.is_match(name) {
                continue;
            }
            if let Some(code) = answer.error() {
                return Err(self.topic_trouble(name, code.into()));
            }
            found.extend(answer.partitions().iter().map(|partition| (name.to_string(), partition.id())));
        }
        found.sort();
        Ok(found)
    }

    fn ask_for(&self, topics: &BTreeSet<String>) -> Result<Vec<Partition>, Trouble> {
        let mut found = Vec::new();
        for topic in topics {
            let metadata = self.metadata(Some(topic))?;
            for answer in metadata.topics().iter().filter(|answer| answer.name() == topic) {
                if let Some(code) = answer.error() {
                    return Err(self.topic_trouble(topic, code.into()));
                }
                found.extend(answer.partitions().iter().map(|partition| (topic.clone(), partition.id())));
            }
        }
        if found.is_empty() {
            return Err(Trouble::Waits("the topics have no partitions yet".to_string()));
        }
        found.sort();
        Ok(found)
    }

    /// Refused credentials are wrong at the first contact; later they may be about to change.
    fn trouble(&self, text: String) -> Trouble {
        let Some(report) = self.reports.last() else { return Trouble::Waits(text) };
        match report.code {
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                Trouble::Wrong(EngineError::call(
                    self.place(),
                    "credentials that the broker accepts",
                    report.text,
                ))
            }
            _ => Trouble::Waits(report.text),
        }
    }

    fn topic_trouble(&self, topic: &str, code: RDKafkaErrorCode) -> Trouble {
        let place = format!("kafka topic {topic}");
        match code {
            RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition => {
                let known = self.known_topics().unwrap_or_else(|error| format!("(not known: {error})"));
                Trouble::Wrong(EngineError::call(
                    place,
                    format!("a topic that {} has: {known}", self.brokers),
                    "no such topic",
                ))
            }
            RDKafkaErrorCode::InvalidTopic => Trouble::Wrong(EngineError::call(
                place,
                "the name of a topic",
                "a name that the broker refuses",
            )),
            RDKafkaErrorCode::TopicAuthorizationFailed => {
                Trouble::Wrong(EngineError::call(place, "the right to read it", "the broker's refusal"))
            }
            other => Trouble::Waits(format!("topic {topic}: {other}")),
        }
    }

    fn known_topics(&self) -> Result<String, String> {
        let metadata = self.client.fetch_metadata(None, ANSWER).map_err(|error| text_of(&error))?;
        let names: BTreeSet<&str> = metadata
            .topics()
            .iter()
            .map(|topic| topic.name())
            .filter(|name| !name.starts_with("__"))
            .collect();
        let more = if names.len() > NAMED_TOPICS { ", …" } else { "" };
        let named: Vec<&str> = names.into_iter().take(NAMED_TOPICS).collect();
        Ok(if named.is_empty() { "(none)".to_string() } else { named.join(", ") + more })
    }
}
