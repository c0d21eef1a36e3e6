//! Exactly once into a topic: transactions, and a write-ahead object for each, because a transaction dies with its
//! process: the next one's first call aborts it.
//!
//! ```text
//!  rows ──> open transaction of one of two ids          Barrier(e): flush, object durable, other id takes the rows of e+1
//!     └──> rows of the epoch ──> write-ahead object     record ──> confirm(e): marker, commit, `.done`
//! ```
//! A worker has two transactional ids, `<job>.<sink>.<worker>.0|1`, in turns, so at most two open transactions, committed
//! in order; if both wait for their record, the worker takes no rows. One whose epoch was abandoned goes on with the rows
//! of the next. The marker (`marker.rs`) of an epoch is part of its transaction. A restart asks it, for each worker of the
//! record, and sends what is missing again. Checkpoint protocol, section 6. Called by `sink.rs`.

use super::client::text_of;
use super::marker::{Found, Marker};
use super::messages::{Encoded, Layout};
use super::produce::{Outstanding, Producer};
use dataflare_engine::checkpoint::record::Unconfirmed;
use dataflare_engine::checkpoint::write_ahead::{Ahead, WriteAhead};
use dataflare_engine::sink::{Place, Preparation, Prepared, SinkWriter};
use dataflare_engine::source::Waker;
use dataflare_engine::{Batch, EngineError, Epoch, Result};
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long a broker has for an answer before it is asked again.
const ANSWER: Duration = Duration::from_secs(5);
/// Between two looks at a full queue, where nobody else has work for this thread.
const PAUSE: Duration = Duration::from_millis(1);

/// What a worker's part of the record says.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    attempt: u64,
    worker: usize,
    /// Not committed before this record; oldest first.
    transactions: Vec<Sealed>,
}

/// A transaction that takes no more rows.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    /// Its newest epoch: what the marker says once it is committed.
    through: Epoch,
    ahead: Vec<Ahead>,
}

/// See the module.
pub(super) struct Transactions {
    place: Place,
    ahead: WriteAhead,
    topic: Arc<str>,
    layout: Arc<Layout>,
    /// Of producers, but for the transactional id.
    config: ClientConfig,
    asking: ClientConfig,
    limit: Duration,
    lanes: Mutex<BTreeMap<usize, Arc<Lane>>>,
}

impl Transactions {
    pub(super) fn new(
        place: Place,
        topic: Arc<str>,
        layout: Arc<Layout>,
        config: ClientConfig,
        asking: ClientConfig,
        limit: Duration,
    ) -> Self {
        let ahead = WriteAhead::new(&place);
        Self { place, ahead, topic, layout, config, asking, limit, lanes: Mutex::default() }
    }

    fn lanes(&self) -> MutexGuard<'_, BTreeMap<usize, Arc<Lane>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What one worker writes with. The first call takes its transactional ids over: whoever had them is cut off, and
    /// what was open is aborted.
    fn lane(&self, worker: usize) -> Result<Arc<Lane>> {
        if let Some(lane) = self.lanes().get(&worker) {
            return Ok(Arc::clone(lane));
        }
        let names = format!("{}.{}.{worker}", self.place.job, self.place.identity);
        let producer = |turn: usize| -> Result<Producer> {
            let mut config = self.config.clone();
            config.set("transactional.id", format!("{names}.{turn}"));
            let producer = Producer::new(&config, &self.topic, &self.layout, self.place.attempt)?;
            insist(&producer, self.limit, || producer.client.init_transactions(ANSWER))?;
            Ok(producer)
        };
        let producers = [producer(0)?, producer(1)?];
        let (asking, folder) = (&self.asking, &self.place.folder);
        let (marker, found) = Marker::read(asking, names, &self.topic, folder, self.limit)?;
        let lane = Lane {
            worker,
            producers,
            marker,
            found,
            ahead: self.ahead.clone(),
            limit: self.limit,
            state: Mutex::default(),
            waker: OnceLock::new(),
        };
        let lane = Arc::new(lane);
        self.lanes().insert(worker, Arc::clone(&lane));
        Ok(lane)
    }

    /// Lanes of several workers at once: each waits for several answers.
    fn open_lanes(&self, workers: &BTreeSet<usize>) -> Result<()> {
        std::thread::scope(|scope| {
            let opening: Vec<_> =
                workers.iter().map(|worker| scope.spawn(|| self.lane(*worker).map(drop))).collect();
            opening.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|_| {
                    Err(EngineError::internal("the kafka sink", "a thread that opens a producer panicked"))
                })
            })
        })
    }

    /// The writer of one worker.
    ///
    /// # Errors
    /// Brokers that do not answer.
    pub(super) fn writer(&self, worker: usize) -> Result<TransactionWriter> {
        if self.lanes().is_empty() {
            self.open_lanes(&(0..self.place.workers).collect())?;
        }
        let lane = self.lane(worker)?;
        if !matches!(lane.found, Found::Epoch(_)) {
            // From now on a marker that is missing has expired, or was deleted.
            lane.resend(self.place.epoch, &[])?;
        }
        Ok(TransactionWriter { lane, attempt: self.place.attempt, rows: Vec::new(), bytes: 0, encoded: None })
    }

    /// Commits the transactions up to `epoch` of all workers.
    ///
    /// # Errors
    /// Brokers that do not answer; a later attempt has taken over.
    pub(super) fn confirm(&self, epoch: Epoch, prepared: &[Prepared]) -> Result<()> {
        let parts = parts(prepared)?;
        let busy: Vec<&Part> = parts.iter().filter(|part| !part.transactions.is_empty()).collect();
        let Some(attempt) = busy.first().map(|part| part.attempt) else { return Ok(()) };
        let lanes = busy.iter().map(|part| self.lane(part.worker)).collect::<Result<Vec<_>>>()?;
        std::thread::scope(|scope| {
            let committing: Vec<_> = lanes.iter().map(|lane| scope.spawn(|| lane.commit(epoch))).collect();
            committing.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|_| {
                    Err(EngineError::internal("the kafka sink", "a thread that commits panicked"))
                })
            })
        })?;
        self.published(attempt, epoch, &busy)
    }

    fn published(&self, attempt: u64, epoch: Epoch, parts: &[&Part]) -> Result<()> {
        self.ahead.set_done(attempt, epoch)?;
        let transactions = parts.iter().flat_map(|part| &part.transactions);
        self.ahead.remove(transactions.flat_map(|one| &one.ahead));
        Ok(())
    }

    /// Takes over from the attempt that wrote `records`: cuts it off, and publishes what it had no time for.
    ///
    /// # Errors
    /// Brokers that do not answer; rows that are gone; a marker that is gone, because then nobody knows.
    pub(super) fn recover(&self, records: &[Unconfirmed]) -> Result<()> {
        let mut all = Vec::new();
        for record in records {
            all.push((record.epoch, parts(&record.prepared)?));
        }
        // Workers that are no more as well: what they left open would hold readers back.
        let of_record = all.iter().flat_map(|(_, parts)| parts).map(|part| part.worker);
        self.open_lanes(&of_record.chain(0..self.place.workers).collect())?;
        for (epoch, parts) in &all {
            let busy: Vec<&Part> = parts.iter().filter(|part| !part.transactions.is_empty()).collect();
            let Some(attempt) = busy.first().map(|part| part.attempt) else { continue };
            if self.ahead.is_done(attempt, *epoch)? {
                continue;
            }
            for part in &busy {
                self.recover_worker(part, *epoch)?;
            }
            self.published(attempt, *epoch, &busy)?;
        }
        Ok(())
    }

    fn recover_worker(&self, part: &Part, epoch: Epoch) -> Result<()> {
        let lane = self.lane(part.worker)?;
        let newest = match lane.found {
            Found::Epoch(newest) => newest,
            Found::Nothing | Found::Foreign => {
                let found = if lane.found == Found::Foreign {
                    "one of another checkpoint folder: two jobs of this name write to the topic"
                } else {
                    "none: it has expired (offsets.retention.minutes) or was deleted"
                };
                return Err(EngineError::call(
                    format!("kafka sink {}, worker {}, epoch {epoch}", self.topic, part.worker),
                    format!(
                        "its marker, the offset of partition 0 in consumer group {}, which says whether the topic holds the rows of that epoch",
                        lane.marker.group()
                    ),
                    format!(
                        "{found}. Look into the topic; if the rows are there, create the empty object {} in the job's checkpoint folder; \
                         else set that group's offset to {} with the metadata {}",
                        self.ahead.done(part.attempt, epoch),
                        epoch.saturating_sub(1),
                        self.place.folder
                    ),
                ));
            }
        };
        // Those of an earlier record are older than these, and the marker was read before they were sent again.
        let missing = part.transactions.iter().filter(|one| one.through > newest);
        missing.into_iter().try_for_each(|one| lane.resend(one.through, &one.ahead))
    }

    /// The epoch's transactions take the rows of the next one.
    pub(super) fn abandoned(&self, epoch: Epoch) {
        for lane in self.lanes().values() {
            lane.state().abandoned = epoch;
            lane.wake();
        }
    }

    pub(super) fn waits_for(&self) -> Option<String> {
        let lanes = self.lanes();
        let mut full = lanes.values().filter_map(|lane| lane.state().full_since);
        let since = full.next()?.elapsed();
        let reason = lanes.values().find_map(|lane| lane.producers[0].complaint());
        let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        (since > Duration::from_secs(1)).then(|| {
            format!(
                "no rows are taken for {} s: two epochs wait for their checkpoint or its commit{reason}",
                since.as_secs()
            )
        })
    }
}

fn parts(prepared: &[Prepared]) -> Result<Vec<Part>> {
    // At least once the record says only how many rows there were.
    let ours = prepared.iter().filter(|one| one.get("transactions").is_some());
    ours.map(|one| serde_json::from_value(one.clone()))
        .collect::<Result<_, _>>()
        .map_err(|error| EngineError::internal("the record of a kafka sink", error))
}

/// One worker's two transactional ids.
struct Lane {
    worker: usize,
    producers: [Producer; 2],
    marker: Marker,
    /// What the marker said when the ids were taken over.
    found: Found,
    ahead: WriteAhead,
    limit: Duration,
    state: Mutex<State>,
    waker: OnceLock<Waker>,
}

#[derive(Default)]
struct State {
    /// At most two, oldest first.
    open: VecDeque<Transaction>,
    /// The newest epoch that was.
    abandoned: Epoch,
    full_since: Option<Instant>,
}

struct Transaction {
    turn: usize,
    /// `None`: it takes rows.
    through: Option<Epoch>,
    ahead: Vec<Ahead>,
    sent: Arc<Outstanding>,
    /// The marker is in it, and its commit was asked for.
    committing: bool,
}

impl Lane {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker();
        }
    }

    /// The producer that takes rows now; `None`: both wait.
    fn current(&self) -> Result<Option<(usize, Arc<Outstanding>)>> {
        let mut state = self.state();
        let abandoned = state.abandoned;
        if let Some(last) = state.open.back_mut()
            && last.through.is_none_or(|through| through <= abandoned)
        {
            last.through = None;
            let found = (last.turn, Arc::clone(&last.sent));
            state.full_since = None;
            return Ok(Some(found));
        }
        if state.open.len() >= 2 {
            state.full_since.get_or_insert_with(Instant::now);
            return Ok(None);
        }
        let turn = state.open.back().map_or(0, |last| 1 - last.turn);
        let producer = &self.producers[turn];
        producer.client.begin_transaction().map_err(|error| failed(producer, &error))?;
        let sent = Arc::default();
        let one = Transaction {
            turn,
            through: None,
            ahead: Vec::new(),
            sent: Arc::clone(&sent),
            committing: false,
        };
        state.open.push_back(one);
        state.full_since = None;
        Ok(Some((turn, sent)))
    }

    /// Commits what is sealed up to `epoch`. Asked again after a failure, it goes on where it was.
    fn commit(&self, epoch: Epoch) -> Result<()> {
        loop {
            let (turn, through, committing, ahead) = {
                let state = self.state();
                let Some(first) = state.open.front() else { return Ok(()) };
                let Some(through) = first.through.filter(|through| *through <= epoch) else { return Ok(()) };
                (first.turn, through, first.committing, first.ahead.clone())
            };
            let producer = &self.producers[turn];
            match self.finish(producer, through, committing) {
                Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
                    // Too long open for the brokers: its rows are in the store.
                    let aborted = producer.client.abort_transaction(ANSWER);
                    aborted.map_err(|error| failed(producer, &error))?;
                    if let Some(first) = self.state().open.front_mut() {
                        first.committing = false;
                    }
                    self.resend_with(producer, through, &ahead)?;
                }
                answer => answer.map_err(|error| failed(producer, &error))?,
            }
            self.state().open.pop_front();
            self.wake();
        }
    }

    /// Adds the marker and commits.
    fn finish(&self, producer: &Producer, through: Epoch, committing: bool) -> Result<(), KafkaError> {
        if !committing {
            let offsets = self.marker.offsets(through).map_err(|_| KafkaError::Canceled)?;
            producer.client.send_offsets_to_transaction(&offsets, &self.marker.metadata, ANSWER)?;
            if let Some(first) = self.state().open.front_mut() {
                first.committing = true;
            }
        }
        producer.client.commit_transaction(ANSWER)
    }

    /// Sends rows of the store in one transaction.
    fn resend(&self, through: Epoch, ahead: &[Ahead]) -> Result<()> {
        self.resend_with(&self.producers[0], through, ahead)
    }

    fn resend_with(&self, producer: &Producer, through: Epoch, ahead: &[Ahead]) -> Result<()> {
        producer.client.begin_transaction().map_err(|error| failed(producer, &error))?;
        let sent = Arc::default();
        for object in ahead {
            for batch in self.ahead.read(object)? {
                let (mut rest, mut encoded) = (Some(batch), None::<Encoded>);
                while let Some(batch) = rest.take() {
                    rest = producer.send(batch, &mut encoded, &sent)?;
                    if rest.is_some() {
                        std::thread::sleep(PAUSE);
                    }
                }
            }
        }
        sent.wait();
        producer.check()?;
        let offsets = self.marker.offsets(through)?;
        let client = &producer.client;
        insist(producer, self.limit, || {
            client.send_offsets_to_transaction(&offsets, &self.marker.metadata, ANSWER)
        })?;
        insist(producer, self.limit, || client.commit_transaction(ANSWER))
    }
}

/// Asks again while the answer is one that may pass.
fn insist(producer: &Producer, limit: Duration, ask: impl Fn() -> Result<(), KafkaError>) -> Result<()> {
    let since = Instant::now();
    loop {
        match ask() {
            Ok(()) => return Ok(()),
            Err(KafkaError::Transaction(error)) if error.is_retriable() && since.elapsed() < limit => {
                std::thread::sleep(PAUSE);
            }
            Err(error) => return Err(failed(producer, &error)),
        }
    }
}

fn failed(producer: &Producer, error: &KafkaError) -> EngineError {
    producer.fenced().unwrap_or_else(|| {
        let complaint = producer.complaint().map(|text| format!(": {text}")).unwrap_or_default();
        let text = match error {
            KafkaError::Transaction(error) => error.to_string(),
            other => text_of(other),
        };
        EngineError::unavailable("a kafka transaction", format!("{text}{complaint}"))
    })
}

/// A worker's end.
pub(super) struct TransactionWriter {
    lane: Arc<Lane>,
    attempt: u64,
    /// Of the epoch that is being written.
    rows: Vec<Batch>,
    bytes: usize,
    /// The messages of the batch that was given back.
    encoded: Option<Encoded>,
}

impl SinkWriter for TransactionWriter {
    fn set_waker(&mut self, waker: Waker) {
        // Called once.
        let _ = self.lane.waker.set(waker);
    }

    fn write(&mut self, batch: Batch) -> Result<Option<Batch>> {
        let Some((turn, sent)) = self.lane.current()? else { return Ok(Some(batch)) };
        let rows = batch.rows();
        let whole = batch.clone();
        let rest = self.lane.producers[turn].send(batch, &mut self.encoded, &sent)?;
        let taken = rows - rest.as_ref().map_or(0, Batch::rows);
        if taken > 0 {
            let kept = Batch {
                records: whole.records.slice(0, taken),
                changes: whole.changes.map(|changes| changes.slice(0, taken)),
                order: None,
            };
            self.bytes += kept.bytes();
            self.rows.push(kept);
        }
        Ok(rest)
    }

    fn prepare(&mut self, epoch: Epoch, committed: Epoch, _last: bool) -> Result<Preparation> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        if let Some(last) = self.lane.state().open.back_mut() {
            last.through.get_or_insert(epoch);
        }
        let (lane, attempt) = (Arc::clone(&self.lane), self.attempt);
        Ok(Box::new(move || lane.prepare(attempt, epoch, committed, &rows)))
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Lane {
    /// On an IO thread: rows in the store, all messages with the brokers.
    fn prepare(&self, attempt: u64, epoch: Epoch, committed: Epoch, rows: &[Batch]) -> Result<Prepared> {
        if !rows.is_empty() {
            let object = self.ahead.write(epoch, self.worker, rows)?;
            let mut state = self.state();
            // By its epoch: the next one may have begun.
            let holder = state.open.iter_mut().find(|one| one.through.is_none_or(|through| through >= epoch));
            holder
                .ok_or_else(|| EngineError::internal("the kafka sink", "rows outside of a transaction"))?
                .ahead
                .push(object);
        }
        let (waited, transactions): (Vec<_>, Vec<_>) = {
            let state = self.state();
            let ours = state
                .open
                .iter()
                .filter(|one| one.through.is_some_and(|through| through > committed && through <= epoch));
            ours.map(|one| {
                let through = one.through.unwrap_or(epoch);
                (Arc::clone(&one.sent), Sealed { through, ahead: one.ahead.clone() })
            })
            .unzip()
        };
        waited.iter().for_each(|sent| sent.wait());
        self.producers.iter().try_for_each(Producer::check)?;
        let part = Part { attempt, worker: self.worker, transactions };
        serde_json::to_value(part).map_err(|error| EngineError::internal("the kafka sink", error))
    }
}
