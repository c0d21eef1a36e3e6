//! Deals the batches of one source to all workers: numbered per split, undecoded.
//!
//! An epoch's cut is taken under the same lock as a deal: every batch dealt before it belongs to the epoch, and each worker
//! gets the barrier before its next batch. Batches still in a reader's own ring belong to the next epoch.
//! Called by the source instances of the workers, and by the coordinator for cuts and the end.

use super::sequencer::{Sequencer, SplitKey, SplitTime};
use crate::error::Result;
use crate::event::{Epoch, Order};
use crate::source::{Offset, Poll, RawBatch, Source, Split, SplitReader, Waker};
use crate::time::{Instant, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A split is left alone while it is this far (in event time) ahead of another one with data ready.
const MAX_SKEW_NS: i64 = 60_000_000_000;
/// Batches of a split that are on their way to a watermark node, for each worker: what waits there for an earlier batch
/// is bounded by it.
const ON_THEIR_WAY: u64 = 16;
/// When to ask again for a split that had too many.
const RETRY_NS: u64 = 500_000;
/// How often a growing source is asked for new splits.
const DISCOVERY_NS: u64 = 1_000_000_000;

/// What a worker gets when it asks.
#[derive(Debug)]
pub enum Deal {
    Batch(Order, RawBatch),
    Barrier(Epoch),
    /// Nothing now.
    Pending,
    /// All splits have ended. Barriers may still come.
    End,
}

/// A watermark node above the source, and how it numbers this source.
#[derive(Clone, Debug)]
pub struct Listener {
    pub sequencer: Arc<Sequencer>,
    pub input: u32,
    /// State of the node's splits in the restored record, by split name.
    pub restored: BTreeMap<String, SplitTime>,
}

/// How far a split is.
#[derive(Clone, Debug)]
pub struct SplitStatus {
    pub split: String,
    /// Where the next batch begins, as checkpoints hold it.
    pub offset: Option<Offset>,
    pub pending_rows: Option<u64>,
    pub lag: Option<u64>,
    pub ended: bool,
}

struct Reading {
    split: Split,
    reader: Box<dyn SplitReader>,
    /// Where the next batch begins; `None` while nothing was read and nothing restored.
    offset: Option<Offset>,
    sequence: u64,
    peeked: Option<RawBatch>,
    ended: bool,
}

#[derive(Default)]
struct Shared {
    splits: Vec<Reading>,
    epoch: Epoch,
    /// The newest barrier that each worker has got.
    told: Vec<Epoch>,
    /// Workers that were told of the end: barriers that they get from now on stand behind it.
    told_end: Vec<bool>,
    next_discovery: Instant,
    /// Splits tried in turn when no watermark tells them apart.
    turn: usize,
    /// A split with data was left alone because too many of its batches are on their way.
    held_back: bool,
    closed: bool,
}

/// See the module.
pub struct Dealer {
    source: Arc<dyn Source>,
    listeners: Vec<Listener>,
    waker: Waker,
    shared: Mutex<Shared>,
}

impl std::fmt::Debug for Dealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dealer")
    }
}

impl Dealer {
    /// Opens all splits, those in `offsets` where the restored record left them.
    ///
    /// # Errors
    /// What the source says of its place.
    pub fn open(
        source: Arc<dyn Source>,
        offsets: &BTreeMap<String, Option<Offset>>,
        listeners: Vec<Listener>,
        workers: usize,
        waker: Waker,
        now: Instant,
    ) -> Result<Self> {
        let dealer = Self { source, listeners, waker, shared: Mutex::default() };
        {
            let mut shared = dealer.lock();
            shared.told = vec![0; workers];
            shared.told_end = vec![false; workers];
            if !offsets.is_empty() {
                let known: Vec<&str> = offsets.keys().map(String::as_str).collect();
                dealer.source.resumes(&known);
            }
            dealer.discover(&mut shared, offsets, now)?;
        }
        Ok(dealer)
    }

    /// The next thing for a worker.
    ///
    /// # Errors
    /// What a reader fails with.
    pub fn deal(&self, worker: usize, now: Instant) -> Result<Deal> {
        let mut shared = self.lock();
        if let Some(told) = shared.told.get(worker).copied()
            && told < shared.epoch
        {
            // Also those of epochs that were abandoned meanwhile: barriers are aligned by their number on a channel.
            shared.told[worker] = told + 1;
            return Ok(Deal::Barrier(told + 1));
        }
        if self.source.grows() && !shared.closed && now >= shared.next_discovery {
            self.discover(&mut shared, &BTreeMap::new(), now)?;
        }
        self.fill(&mut shared)?;
        if let Some(index) = self.choose(&mut shared) {
            let reading = &mut shared.splits[index];
            if let Some(raw) = reading.peeked.take() {
                let split = u32::try_from(index).unwrap_or(u32::MAX);
                let order = Order { input: 0, split, sequence: reading.sequence };
                reading.sequence += 1;
                reading.offset = Some(raw.next.clone());
                return Ok(Deal::Batch(order, raw));
            }
        }
        let ended = shared.splits.iter().all(|reading| reading.ended);
        let forever = self.source.grows() && !shared.closed;
        if !ended || forever {
            return Ok(Deal::Pending);
        }
        if let Some(told) = shared.told_end.get_mut(worker)
            && !*told
        {
            *told = true;
            (self.waker)();
        }
        Ok(Deal::End)
    }

    /// When to ask again although nothing woke the worker: a growing source is looked at now and then.
    pub fn next_look(&self, now: Instant) -> Option<Instant> {
        let shared = self.lock();
        if shared.held_back {
            return Some(now.plus(RETRY_NS));
        }
        self.source.grows().then(|| shared.next_discovery.max(now.plus(1_000_000)))
    }

    /// Starts an epoch: notes the next offset of each split, and has each worker told.
    pub fn cut(&self, epoch: Epoch) -> BTreeMap<String, Option<Offset>> {
        let mut shared = self.lock();
        if shared.epoch == 0 {
            // Numbers go on from earlier attempts: the first epoch of this one has no predecessor here.
            shared.told.fill(epoch.saturating_sub(1));
        }
        shared.epoch = epoch;
        for (index, reading) in shared.splits.iter().enumerate() {
            for listener in &self.listeners {
                listener.sequencer.cut(split_key(listener.input, index), epoch, reading.sequence);
            }
        }
        shared.splits.iter().map(|reading| (reading.split.name.clone(), reading.offset.clone())).collect()
    }

    /// Reads nothing more: what was dealt is all there is.
    pub fn close(&self) {
        let mut shared = self.lock();
        shared.closed = true;
        for (index, reading) in shared.splits.iter_mut().enumerate() {
            if !reading.ended {
                reading.ended = true;
                reading.peeked = None;
                self.tell_end(index, reading.sequence);
            }
        }
        drop(shared);
        (self.waker)();
    }

    /// Split names in the order of their numbers.
    pub fn split_names(&self) -> Vec<String> {
        self.lock().splits.iter().map(|reading| reading.split.name.clone()).collect()
    }

    /// True once every split has ended (a growing source never does by itself) and every worker knows: the last epoch's
    /// barriers must stand behind the end, or what the end releases would belong to no epoch.
    pub fn has_ended(&self) -> bool {
        self.lock().told_end.iter().all(|told| *told)
    }

    /// Tells the source what is durable.
    pub fn committed(&self, offsets: &BTreeMap<String, Option<Offset>>) {
        let known: Vec<_> = offsets
            .iter()
            .filter_map(|(name, offset)| Some((Split { name: name.clone() }, offset.clone()?)))
            .collect();
        self.source.committed(&known);
    }

    /// Rows known to wait behind the readers, and what the source itself waits for.
    pub fn status(&self) -> (Option<u64>, Option<String>) {
        let shared = self.lock();
        let pending =
            shared.splits.iter().filter_map(|reading| reading.reader.pending_rows()).reduce(|a, b| a + b);
        (pending, self.source.waits_for())
    }

    /// How far each split is, in the order of their numbers.
    pub fn split_status(&self) -> Vec<SplitStatus> {
        let shared = self.lock();
        let status = |reading: &Reading| SplitStatus {
            split: reading.split.name.clone(),
            offset: reading.offset.clone(),
            pending_rows: reading.reader.pending_rows(),
            lag: reading.reader.lag(),
            ended: reading.ended,
        };
        shared.splits.iter().map(status).collect()
    }

    fn discover(
        &self,
        shared: &mut Shared,
        offsets: &BTreeMap<String, Option<Offset>>,
        now: Instant,
    ) -> Result<()> {
        shared.next_discovery = now.plus(DISCOVERY_NS);
        for split in self.source.splits()? {
            if shared.splits.iter().any(|reading| reading.split == split) {
                continue;
            }
            let offset = offsets.get(&split.name).cloned().flatten();
            let reader = self.source.open(&split, offset.as_ref(), Arc::clone(&self.waker))?;
            let index = shared.splits.len();
            for listener in &self.listeners {
                let restored = listener.restored.get(&split.name).copied();
                listener.sequencer.add_split(split_key(listener.input, index), restored, now);
            }
            shared.splits.push(Reading { split, reader, offset, sequence: 0, peeked: None, ended: false });
        }
        Ok(())
    }

    /// Looks what each reader has.
    fn fill(&self, shared: &mut Shared) -> Result<()> {
        for (index, reading) in shared.splits.iter_mut().enumerate() {
            if reading.ended || reading.peeked.is_some() {
                continue;
            }
            match reading.reader.poll()? {
                Poll::Ready(raw) => reading.peeked = Some(raw),
                Poll::Pending => {}
                Poll::End => {
                    reading.ended = true;
                    self.tell_end(index, reading.sequence);
                }
            }
        }
        Ok(())
    }

    /// The split to deal from: the one whose watermark is lowest, in turn where none is lower. A split far ahead of
    /// another with data ready never is the lowest, so the skew of what is read stays below [`MAX_SKEW_NS`] and a batch.
    fn choose(&self, shared: &mut Shared) -> Option<usize> {
        let count = shared.splits.len();
        let turn = shared.turn;
        let skew = self
            .listeners
            .first()
            .and_then(|listener| listener.sequencer.lateness().tick_ns)
            .map(|ns| MAX_SKEW_NS / ns);
        let most = ON_THEIR_WAY * shared.told.len() as u64;
        let mut held_back = false;
        let mut ready: Vec<usize> = (0..count).map(|step| (turn + step) % count).collect();
        ready.retain(|index| {
            let reading = &shared.splits[*index];
            let is_full = reading.peeked.is_some()
                && self.listeners.iter().any(|listener| {
                    let key = split_key(listener.input, *index);
                    listener.sequencer.unpublished(key, reading.sequence) >= most
                });
            held_back |= is_full;
            reading.peeked.is_some() && !is_full
        });
        shared.held_back = held_back;
        let mut in_turn = ready.into_iter();
        let chosen = match (self.listeners.first(), skew) {
            (Some(listener), Some(skew)) => {
                let watermark =
                    |index: usize| listener.sequencer.split_watermark(split_key(listener.input, index));
                let candidates: Vec<(usize, Timestamp)> =
                    in_turn.map(|index| (index, watermark(index))).collect();
                let lowest = candidates.iter().map(|(_, watermark)| *watermark).min()?;
                let limit =
                    if lowest == Timestamp::MIN { lowest } else { Timestamp(lowest.0.saturating_add(skew)) };
                candidates.into_iter().find(|(_, watermark)| *watermark <= limit)?.0
            }
            _ => in_turn.next()?,
        };
        shared.turn = chosen + 1;
        Some(chosen)
    }

    fn tell_end(&self, index: usize, batches: u64) {
        for listener in &self.listeners {
            listener.sequencer.end_split(split_key(listener.input, index), batches);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A reader that panicked fails its worker and so the job; the rest is plain values.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn split_key(input: u32, index: usize) -> SplitKey {
    (input, u32::try_from(index).unwrap_or(u32::MAX))
}
