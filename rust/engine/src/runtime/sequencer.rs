//! The watermark of a `with_watermark` node, shared by its instances on all workers.
//!
//! Batches of a split are dealt to any worker, yet which rows are late must only depend on the rows before them. So each
//! instance publishes the largest event time of a batch as soon as it has it, and gets the state *before* that batch once
//! all earlier ones are published. The promise P is the minimum of W over the published prefixes of the splits that are
//! neither idle nor ended (semantics, section 3).
//! Called by `operators::watermark`, the dealer (new, ended and cut splits) and the coordinator (values at a cut).

use crate::event::Epoch;
use crate::source::Waker;
use crate::time::{Instant, Timestamp};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Input and split as the node sees them (`Order::input`, `Order::split`).
pub type SplitKey = (u32, u32);

/// What a split knew at some row: which rows after it are late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SplitTime {
    /// Largest event time so far.
    pub maximum: Timestamp,
    /// A split that was idle, or is new, takes the promise of that moment as its least watermark.
    pub floor: Timestamp,
}

impl SplitTime {
    const START: Self = Self { maximum: Timestamp::MIN, floor: Timestamp::MIN };

    /// W: a row below it is late.
    pub fn watermark(self, delay: i64) -> Timestamp {
        self.maximum.minus(delay).max(self.floor)
    }
}

/// The lasting part of a node's watermark: what a checkpoint holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequencerState {
    pub promise: Timestamp,
    pub splits: Vec<(SplitKey, SplitTime)>,
}

/// Settings of the node, in ticks of its column.
#[derive(Clone, Copy, Debug)]
pub struct Lateness {
    pub delay: i64,
    pub ahead: Option<i64>,
    pub idle_ns: Option<u64>,
    /// Nanoseconds in a tick; `None` for integer time, which no clock moves.
    pub tick_ns: Option<i64>,
}

#[derive(Debug)]
struct Split {
    /// Over the contiguous published prefix.
    time: SplitTime,
    /// Batches `0..next` are published.
    next: u64,
    /// Published out of order.
    published: BTreeMap<u64, Timestamp>,
    /// State before a batch, until its instance takes it.
    before: BTreeMap<u64, SplitTime>,
    /// Its number of batches, once the reader has ended.
    end: Option<u64>,
    idle: bool,
    last_row: Instant,
    cut: Option<Cut>,
}

/// The newest epoch's cut of a split.
#[derive(Debug)]
struct Cut {
    epoch: Epoch,
    /// Before this batch.
    sequence: u64,
    /// The state there, once all batches before it are published.
    value: Option<SplitTime>,
    /// As of the cut: it held the promise back. What ends or falls silent later did so in a later epoch.
    holds: bool,
}

#[derive(Debug, Default)]
struct Shared {
    splits: BTreeMap<SplitKey, Split>,
    now: Instant,
}

/// See the module.
pub struct Sequencer {
    lateness: Lateness,
    shared: Mutex<Shared>,
    promise: AtomicI64,
    /// Wakes the workers: a promise rose, or a batch that another one waited for is published.
    waker: Waker,
}

impl std::fmt::Debug for Sequencer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sequencer({:?})", self.promise())
    }
}

impl Sequencer {
    /// A node without splits yet, or as a checkpoint left it.
    pub fn new(lateness: Lateness, restored: Option<Timestamp>, waker: Waker) -> Self {
        let promise = restored.unwrap_or(Timestamp::MIN);
        Self { lateness, shared: Mutex::default(), promise: AtomicI64::new(promise.0), waker }
    }

    /// The node's settings.
    pub fn lateness(&self) -> Lateness {
        self.lateness
    }

    /// P: no instance emits a smaller event time any more.
    pub fn promise(&self) -> Timestamp {
        Timestamp(self.promise.load(Ordering::Acquire))
    }

    /// A split exists: at the start (`restored`), or appears while running, and then starts at P.
    pub fn add_split(&self, key: SplitKey, restored: Option<SplitTime>, now: Instant) {
        let time = restored.unwrap_or(SplitTime { floor: self.promise(), ..SplitTime::START });
        let split = Split {
            time,
            next: 0,
            published: BTreeMap::new(),
            before: BTreeMap::new(),
            end: None,
            idle: false,
            last_row: now,
            cut: None,
        };
        self.lock().splits.insert(key, split);
    }

    /// A batch's largest event time (`None`: no row with a time). Returns true if P rose.
    pub fn publish(&self, key: SplitKey, sequence: u64, maximum: Option<Timestamp>, now: Instant) -> bool {
        let mut shared = self.lock();
        shared.now = shared.now.max(now);
        let promise = self.promise();
        let Some(split) = shared.splits.get_mut(&key) else { return false };
        if maximum.is_some() {
            if split.idle {
                split.idle = false;
                split.time.floor = split.time.floor.max(promise);
            }
            split.last_row = now;
        }
        split.published.insert(sequence, maximum.unwrap_or(Timestamp::MIN));
        let unblocks = split.advance() > 1;
        let rose = self.raise(&shared);
        drop(shared);
        if unblocks || rose {
            (self.waker)();
        }
        rose
    }

    /// The state before a batch, once all earlier batches of the split are published; given once.
    pub fn take_before(&self, key: SplitKey, sequence: u64) -> Option<SplitTime> {
        let mut shared = self.lock();
        let split = shared.splits.get_mut(&key)?;
        if let Some(time) = split.before.remove(&sequence) {
            return Some(time);
        }
        // Not published by itself yet (sequential mode): the prefix must end right here.
        (split.next == sequence).then_some(split.time)
    }

    /// True if `take_before` would give something.
    pub fn is_known_before(&self, key: SplitKey, sequence: u64) -> bool {
        let shared = self.lock();
        shared
            .splits
            .get(&key)
            .is_some_and(|split| split.next == sequence || split.before.contains_key(&sequence))
    }

    /// How many of a split's first `dealt` batches are not in its published prefix.
    pub fn unpublished(&self, key: SplitKey, dealt: u64) -> u64 {
        self.lock().splits.get(&key).map_or(0, |split| dealt.saturating_sub(split.next))
    }

    /// The reader has ended after `batches` batches. Returns true if P rose.
    pub fn end_split(&self, key: SplitKey, batches: u64) -> bool {
        let mut shared = self.lock();
        if let Some(split) = shared.splits.get_mut(&key) {
            split.end = Some(batches);
        }
        self.raise(&shared)
    }

    /// Lets time pass: silent splits become idle, and if all are, P follows the clock. Returns true if P rose.
    pub fn on_clock(&self, now: Instant) -> bool {
        let Some(idle_ns) = self.lateness.idle_ns else { return false };
        let mut shared = self.lock();
        shared.now = shared.now.max(now);
        for split in shared.splits.values_mut().filter(|split| split.end.is_none()) {
            let silent = now.since(split.last_row).as_nanos() >= u128::from(idle_ns);
            split.idle = split.idle || (silent && split.published.is_empty());
        }
        self.raise(&shared)
    }

    /// The watermark of a split, for skew control and status.
    pub fn split_watermark(&self, key: SplitKey) -> Timestamp {
        self.lock().splits.get(&key).map_or(Timestamp::MIN, |split| split.time.watermark(self.lateness.delay))
    }

    /// The epoch's cut lies before batch `sequence` of the split.
    pub fn cut(&self, key: SplitKey, epoch: Epoch, sequence: u64) {
        let mut shared = self.lock();
        if let Some(split) = shared.splits.get_mut(&key) {
            let value = (split.next == sequence).then_some(split.time);
            let holds = !split.idle && split.end.is_none();
            split.cut = Some(Cut { epoch, sequence, value, holds });
        }
    }

    /// The state at the epoch's cut; `None` while a batch before it is not published.
    pub fn state_at(&self, epoch: Epoch) -> Option<SequencerState> {
        let shared = self.lock();
        let mut splits = Vec::with_capacity(shared.splits.len());
        let mut promise = Timestamp::MAX;
        for (key, split) in &shared.splits {
            // A split without the cut was added after it: nothing of it belongs to the epoch.
            let Some(cut) = split.cut.as_ref().filter(|cut| cut.epoch == epoch) else { continue };
            let time = cut.value?;
            if cut.holds {
                promise = promise.min(time.watermark(self.lateness.delay));
            }
            splits.push((*key, time));
        }
        Some(SequencerState { promise: promise.min(self.promise()), splits })
    }

    /// Recomputes P. It never falls.
    fn raise(&self, shared: &Shared) -> bool {
        let delay = self.lateness.delay;
        let open = |split: &&Split| split.end.is_none_or(|end| split.next < end);
        let active = shared
            .splits
            .values()
            .filter(open)
            .filter(|split| !split.idle)
            .map(|split| split.time.watermark(delay))
            .min();
        let candidate = match active {
            Some(promise) => promise,
            None if shared.splits.values().any(|split| open(&split)) => self.by_clock(shared),
            // No split at all yet, or all have ended: End itself says the rest.
            None => return false,
        };
        self.promise.fetch_max(candidate.0, Ordering::AcqRel) < candidate.0
    }

    /// All open splits are idle: (largest event time - delay) + wall time since the last row.
    fn by_clock(&self, shared: &Shared) -> Timestamp {
        let largest = shared.splits.values().map(|split| split.time.maximum).max().unwrap_or(Timestamp::MIN);
        let last_row = shared.splits.values().map(|split| split.last_row).max().unwrap_or_default();
        let (Some(tick_ns), true) = (self.lateness.tick_ns, largest != Timestamp::MIN) else {
            return Timestamp::MIN;
        };
        let silent_ns = i64::try_from(shared.now.since(last_row).as_nanos()).unwrap_or(i64::MAX);
        let base = largest.minus(self.lateness.delay);
        Timestamp(base.0.saturating_add(silent_ns / tick_ns).min(i64::MAX - 1))
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A panic while holding it cannot leave a half-made change: every method writes plain values last.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Split {
    /// Takes in what continues the prefix; gives the number of batches.
    fn advance(&mut self) -> usize {
        let mut count = 0;
        while let Some(maximum) = self.published.remove(&self.next) {
            self.before.insert(self.next, self.time);
            self.time.maximum = self.time.maximum.max(maximum);
            self.next += 1;
            count += 1;
            if let Some(cut) = &mut self.cut
                && cut.sequence == self.next
            {
                cut.value = Some(self.time);
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::{Lateness, Sequencer};
    use crate::time::{Instant, Timestamp};
    use std::sync::Arc;

    fn node(idle_ns: Option<u64>) -> Sequencer {
        let lateness = Lateness { delay: 4, ahead: None, idle_ns, tick_ns: Some(1) };
        let node = Sequencer::new(lateness, None, Arc::new(|| ()));
        node.add_split((0, 0), None, Instant(0));
        node.add_split((0, 1), None, Instant(0));
        node
    }

    #[test]
    fn state_before_a_batch_waits_for_all_earlier_ones() {
        let node = node(None);
        node.publish((0, 0), 1, Some(Timestamp(50)), Instant(0));
        assert_eq!(node.take_before((0, 0), 1), None);
        node.publish((0, 0), 0, Some(Timestamp(90)), Instant(0));
        assert_eq!(node.take_before((0, 0), 1).unwrap().maximum, Timestamp(90));
    }

    #[test]
    fn promise_is_the_least_watermark_of_all_splits() {
        let node = node(None);
        node.publish((0, 0), 0, Some(Timestamp(90)), Instant(0));
        assert_eq!(node.promise(), Timestamp::MIN);
        assert!(node.publish((0, 1), 0, Some(Timestamp(20)), Instant(0)));
        assert_eq!(node.promise(), Timestamp(16));
    }

    #[test]
    fn idle_split_leaves_the_minimum_and_wakes_at_the_promise() {
        let node = node(Some(10));
        node.publish((0, 0), 0, Some(Timestamp(90)), Instant(8));
        assert!(node.on_clock(Instant(12)));
        assert_eq!(node.promise(), Timestamp(86));
        node.publish((0, 1), 0, Some(Timestamp(20)), Instant(13));
        node.publish((0, 1), 1, Some(Timestamp(21)), Instant(13));
        assert_eq!(node.take_before((0, 1), 1).unwrap().floor, Timestamp(86));
    }

    #[test]
    fn when_all_are_idle_the_clock_moves_the_promise() {
        let node = node(Some(10));
        node.publish((0, 0), 0, Some(Timestamp(90)), Instant(0));
        assert!(node.on_clock(Instant(30)));
        assert_eq!(node.promise(), Timestamp(86 + 30));
    }

    #[test]
    fn split_that_ends_after_the_cut_still_holds_the_promise_there() {
        let node = node(None);
        node.publish((0, 0), 0, Some(Timestamp(10)), Instant(0));
        node.publish((0, 1), 0, Some(Timestamp(90)), Instant(0));
        node.cut((0, 0), 7, 1);
        node.cut((0, 1), 7, 1);
        node.publish((0, 0), 1, Some(Timestamp(20)), Instant(0));
        node.end_split((0, 0), 2);
        assert_eq!(node.promise(), Timestamp(86));
        assert_eq!(node.state_at(7).unwrap().promise, Timestamp(6));
    }

    #[test]
    fn state_at_a_cut_leaves_later_batches_out() {
        let node = node(None);
        node.cut((0, 1), 7, 0);
        node.cut((0, 0), 7, 1);
        node.publish((0, 0), 1, Some(Timestamp(99)), Instant(0));
        assert!(node.state_at(7).is_none());
        node.publish((0, 0), 0, Some(Timestamp(30)), Instant(0));
        assert_eq!(node.state_at(7).unwrap().splits[0].1.maximum, Timestamp(30));
    }
}
