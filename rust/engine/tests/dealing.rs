//! Rules of dealing: skew between splits is bounded, silent splits are not waited for, new splits start at the promise.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use dataflare_engine::Result;
use dataflare_engine::runtime::dealer::{Deal, Dealer, Listener};
use dataflare_engine::runtime::sequencer::{Lateness, Sequencer};
use dataflare_engine::source::{Offset, Poll, RawBatch, Source, Split, SplitReader, Waker};
use dataflare_engine::time::{Instant, Timestamp};
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

const SECOND: i64 = 1_000_000_000;

/// Event times (one a batch) of each split, in nanoseconds; filled while it is read.
#[derive(Clone, Default)]
struct Times(Arc<Mutex<Vec<VecDeque<i64>>>>);

impl Times {
    fn new(splits: &[&[i64]]) -> Self {
        let seconds = |times: &&[i64]| times.iter().map(|second| second * SECOND).collect();
        Self(Arc::new(Mutex::new(splits.iter().map(seconds).collect())))
    }
}

impl Source for Times {
    fn splits(&self) -> Result<Vec<Split>> {
        let count = self.0.lock().unwrap().len();
        Ok((0..count).map(|index| Split { name: index.to_string() }).collect())
    }

    fn grows(&self) -> bool {
        true
    }

    fn open(&self, split: &Split, _: Option<&Offset>, _: Waker) -> Result<Box<dyn SplitReader>> {
        Ok(Box::new(Reader { times: self.clone(), split: split.name.parse().unwrap() }))
    }
}

struct Reader {
    times: Times,
    split: usize,
}

impl SplitReader for Reader {
    fn poll(&mut self) -> Result<Poll> {
        let Some(time) = self.times.0.lock().unwrap()[self.split].pop_front() else {
            return Ok(Poll::Pending);
        };
        // The time travels as the offset: nothing is decoded here.
        let decode = Box::new(|| unreachable!("this test decodes nothing"));
        Ok(Poll::Ready(RawBatch { first: 0, next: json!(time), bytes: 0, decode }))
    }
}

struct Dealing {
    dealer: Dealer,
    sequencer: Arc<Sequencer>,
}

impl Dealing {
    fn new(times: &Times) -> Self {
        let lateness = Lateness { delay: 0, ahead: None, idle_ns: None, tick_ns: Some(1) };
        let sequencer = Arc::new(Sequencer::new(lateness, None, Arc::new(|| ())));
        let listener = Listener { sequencer: Arc::clone(&sequencer), input: 0, restored: BTreeMap::new() };
        let source = Arc::new(times.clone());
        let dealer =
            Dealer::open(source, &BTreeMap::new(), vec![listener], 1, Arc::new(|| ()), Instant(0)).unwrap();
        Self { dealer, sequencer }
    }

    /// Deals, and publishes the batch as `with_watermark` does; gives split and second.
    fn deal(&self, now: Instant) -> Option<(u32, i64)> {
        match self.dealer.deal(0, now).unwrap() {
            Deal::Batch(order, raw) => {
                let time = raw.next.as_i64().unwrap();
                let key = (0, order.split);
                self.sequencer.publish(key, order.sequence, Some(Timestamp(time)), now);
                Some((order.split, time / SECOND))
            }
            _ => None,
        }
    }
}

#[test]
fn split_far_ahead_waits_while_another_has_data_ready() {
    let ahead: Vec<i64> = (0..20).map(|step| 10_000 + step).collect();
    let behind: Vec<i64> = (0..20).collect();
    let dealing = Dealing::new(&Times::new(&[&ahead, &behind]));
    let dealt: Vec<u32> = (0..21).map(|_| dealing.deal(Instant(0)).unwrap().0).collect();
    // One batch shows that the first split is far ahead; from then on the other one is read to its end.
    assert_eq!(dealt.iter().filter(|split| **split == 0).count(), 1);
    assert_eq!(dealing.deal(Instant(0)), Some((0, 10_001)));
}

#[test]
fn splits_within_a_minute_take_turns() {
    let dealing = Dealing::new(&Times::new(&[&[0, 1, 2, 3], &[30, 31, 32, 33]]));
    let dealt: Vec<u32> = (0..8).map(|_| dealing.deal(Instant(0)).unwrap().0).collect();
    assert_eq!(dealt, [0, 1, 0, 1, 0, 1, 0, 1]);
}

#[test]
fn silent_split_is_not_waited_for() {
    let dealing = Dealing::new(&Times::new(&[&[0], &[10, 5_000, 9_000]]));
    let dealt: Vec<u32> = (0..4).map(|_| dealing.deal(Instant(0)).unwrap().0).collect();
    assert_eq!(dealt, [0, 1, 1, 1]);
}

#[test]
fn new_split_starts_at_the_promise() {
    let times = Times::new(&[&[100]]);
    let dealing = Dealing::new(&times);
    dealing.deal(Instant(0)).unwrap();
    assert_eq!(dealing.sequencer.promise(), Timestamp(100 * SECOND));
    times.0.lock().unwrap().push(VecDeque::from([40 * SECOND]));
    let later = Instant(2_000_000_000);
    assert_eq!(dealing.deal(later), Some((1, 40)));
    // Its row of second 40 is late, and the promise did not fall.
    let before = dealing.sequencer.take_before((0, 1), 0).unwrap();
    assert_eq!(before.watermark(0), Timestamp(100 * SECOND));
    assert_eq!(dealing.sequencer.promise(), Timestamp(100 * SECOND));
}
