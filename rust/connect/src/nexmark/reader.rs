//! One split of Nexmark: hands out row ranges, decoded by whoever takes them; with a `rate` not before their time.
//!
//! The pace restarts with the reader: after a restore events go on at `rate` from where they were, without a burst.

use super::rows::Layout;
use super::{Generator, Options};
use crossbeam_channel::{Sender, bounded};
use dataflare_engine::source::{Decoded, Offset, Poll, RawBatch, SplitReader, Waker};
use dataflare_engine::time::{Clock, Instant};
use dataflare_engine::{EngineError, Result};
use std::sync::Arc;
use std::time::Duration;

/// Paced rows leave in ticks of this length: a thousand small batches a second, not a million.
const TICK_NS: u64 = 1_000_000;

/// About what a decoded row holds, for queues counted in bytes.
const ROW_BYTES: u64 = 64;

pub(super) struct Reader {
    layout: Layout,
    generator: Arc<Generator>,
    next_row: u64,
    /// Rows that the split ever has.
    end_row: Option<u64>,
    batch_rows: u64,
    pace: Option<Pace>,
}

impl Reader {
    pub(super) fn open(
        options: &Options,
        layout: Layout,
        event: u64,
        generator: Arc<Generator>,
        clock: Arc<dyn Clock>,
        waker: Waker,
    ) -> Result<Box<dyn SplitReader>> {
        let pace = options.rate.map(|rate| Pace::start(rate, event, clock, waker)).transpose()?;
        Ok(Box::new(Self {
            layout,
            generator,
            next_row: layout.rows_before(event),
            end_row: options.events.map(|events| layout.rows_before(events)),
            batch_rows: options.batch_rows,
            pace,
        }))
    }

    /// Rows that may leave now.
    fn ready(&self) -> u64 {
        let by_end = self.end_row.unwrap_or(u64::MAX);
        let by_pace = self.pace.as_ref().map_or(u64::MAX, |pace| self.layout.rows_before(pace.events()));
        by_end.min(by_pace).saturating_sub(self.next_row)
    }
}

impl SplitReader for Reader {
    fn poll(&mut self) -> Result<Poll> {
        if self.end_row.is_some_and(|end| self.next_row >= end) {
            return Ok(Poll::End);
        }
        let count = self.ready().min(self.batch_rows);
        if count == 0 {
            if let Some(pace) = &self.pace {
                pace.wake_at_event(self.layout.event(self.next_row));
            }
            return Ok(Poll::Pending);
        }
        let (generator, layout, first) = (Arc::clone(&self.generator), self.layout, self.next_row);
        self.next_row += count;
        let rows = usize::try_from(count).unwrap_or(usize::MAX);
        Ok(Poll::Ready(RawBatch {
            first,
            next: Offset::from(self.layout.event(self.next_row)),
            bytes: usize::try_from(count * ROW_BYTES).unwrap_or(usize::MAX),
            decode: Box::new(move || Ok(Decoded::whole(generator.rows(layout, first, rows)?))),
        }))
    }

    fn pending_rows(&self) -> Option<u64> {
        (self.end_row.is_some() || self.pace.is_some()).then(|| self.ready())
    }
}

/// Says how many events are due, and wakes the workers when more are.
struct Pace {
    events_per_second: f64,
    first_event: u64,
    started: Instant,
    clock: Arc<dyn Clock>,
    timer: Sender<Duration>,
}

impl Pace {
    fn start(events_per_second: f64, first_event: u64, clock: Arc<dyn Clock>, waker: Waker) -> Result<Self> {
        // The thread ends with the reader, whose half of the channel is the last.
        let (timer, requests) = bounded::<Duration>(1);
        std::thread::Builder::new()
            .name("nexmark-pace".to_string())
            .spawn(move || {
                for wait in requests {
                    std::thread::sleep(wait);
                    waker();
                }
            })
            .map_err(|error| EngineError::unavailable("a thread for nexmark", error))?;
        Ok(Self { events_per_second, first_event, started: clock.now(), clock, timer })
    }

    /// Events numbered below this are due. It moves in ticks.
    fn events(&self) -> u64 {
        let elapsed = self.clock.now().since(self.started).as_nanos() as u64 / TICK_NS * TICK_NS;
        self.first_event.saturating_add((elapsed as f64 * self.events_per_second / 1e9) as u64)
    }

    /// Wakes the workers in the tick in which `event` is due.
    fn wake_at_event(&self, event: u64) {
        let events = event.saturating_add(1).saturating_sub(self.first_event);
        let due = (events as f64 * 1e9 / self.events_per_second) as u64;
        let due = self.started.plus(due.div_ceil(TICK_NS).saturating_mul(TICK_NS));
        // A full channel: the thread already has a request, and whoever it wakes asks again.
        let _ = self.timer.try_send(due.since(self.clock.now()).max(Duration::from_nanos(TICK_NS / 4)));
    }
}
