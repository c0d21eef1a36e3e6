//! A reader thread behind a bounded ring: blocking input as a [`SplitReader`].
//!
//! The thread runs a closure that pushes batches through an [`Outlet`] and waits there while the ring is full; the
//! worker's side never blocks. Dropping the reader closes the outlet: the thread sees it at its next `send` or `wait`
//! and ends. Not here: what is read (`files/scan.rs`, `kafka/source.rs`).

use dataflare_engine::source::{Poll, RawBatch, SplitReader, Waker};
use dataflare_engine::{EngineError, Result};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much may wait in the ring. One batch passes always, however large.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub batches: usize,
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { batches: 8, bytes: 8 << 20 }
    }
}

/// The worker's end.
pub struct BlockingReader {
    ring: Arc<Ring>,
}

/// The thread's end.
pub struct Outlet {
    ring: Arc<Ring>,
    waker: Waker,
}

struct Ring {
    bounds: Bounds,
    state: Mutex<State>,
    /// Signals the thread: there is room, or nobody reads any more.
    room: Condvar,
}

#[derive(Default)]
struct State {
    batches: VecDeque<RawBatch>,
    bytes: usize,
    /// The reader was dropped.
    closed: bool,
    /// What the thread came to.
    finished: Option<Result<()>>,
}

impl Ring {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlockingReader {
    /// Starts a thread that runs `read`. Its end is the end of the split; its error is what `poll` answers then.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] if the system gives no thread.
    pub fn start(
        name: &str,
        bounds: Bounds,
        waker: Waker,
        read: impl FnOnce(&Outlet) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let ring = Arc::new(Ring { bounds, state: Mutex::default(), room: Condvar::new() });
        let outlet = Outlet { ring: Arc::clone(&ring), waker };
        let place = format!("the reader of {name}");
        std::thread::Builder::new()
            .name(thread_name(name))
            .spawn(move || {
                let outcome = catch_unwind(AssertUnwindSafe(|| read(&outlet)))
                    .unwrap_or_else(|_| Err(EngineError::internal(place, "its thread panicked")));
                outlet.ring.state().finished = Some(outcome);
                (outlet.waker)();
            })
            .map_err(|error| EngineError::unavailable(format!("a thread for {name}"), error))?;
        Ok(Self { ring })
    }
}

/// Linux shows 15 bytes of it: the end of a path says more than its beginning.
fn thread_name(name: &str) -> String {
    let tail: Vec<char> = name.chars().filter(|c| *c != '\0').rev().take(12).collect();
    format!("io-{}", tail.into_iter().rev().collect::<String>())
}

impl SplitReader for BlockingReader {
    fn poll(&mut self) -> Result<Poll> {
        let mut state = self.ring.state();
        if let Some(batch) = state.batches.pop_front() {
            state.bytes = state.bytes.saturating_sub(batch.bytes);
            drop(state);
            self.ring.room.notify_one();
            return Ok(Poll::Ready(batch));
        }
        match &state.finished {
            None => Ok(Poll::Pending),
            Some(Ok(())) => Ok(Poll::End),
            Some(Err(error)) => Err(error.clone()),
        }
    }
}

impl Drop for BlockingReader {
    fn drop(&mut self) {
        let mut state = self.ring.state();
        state.closed = true;
        let batches = std::mem::take(&mut state.batches);
        drop(state);
        drop(batches);
        self.ring.room.notify_one();
    }
}

impl Outlet {
    /// Hands a batch on, waiting for room. False: nobody reads any more, the thread should end.
    #[must_use]
    pub fn send(&self, batch: RawBatch) -> bool {
        let bounds = self.ring.bounds;
        let mut state = self.ring.state();
        loop {
            if state.closed {
                return false;
            }
            let fits = state.batches.len() < bounds.batches
                && state.bytes.saturating_add(batch.bytes) <= bounds.bytes;
            if fits || state.batches.is_empty() {
                break;
            }
            state = self.ring.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.bytes = state.bytes.saturating_add(batch.bytes);
        state.batches.push_back(batch);
        drop(state);
        (self.waker)();
        true
    }

    /// Sleeps, but no longer than the reader lives. False: nobody reads any more.
    #[must_use]
    pub fn wait(&self, duration: Duration) -> bool {
        let until = Instant::now() + duration;
        let mut state = self.ring.state();
        loop {
            if state.closed {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            state = self.ring.room.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// True once the reader was dropped.
    pub fn is_closed(&self) -> bool {
        self.ring.state().closed
    }
}

impl std::fmt::Debug for BlockingReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.ring.state();
        write!(f, "BlockingReader({} batches, {} bytes)", state.batches.len(), state.bytes)
    }
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outlet(closed {})", self.is_closed())
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockingReader, Bounds};
    use dataflare_engine::source::{Decoded, Poll, RawBatch, SplitReader, Waker};
    use dataflare_engine::{EngineError, Result};
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    fn batch(first: u64, bytes: usize) -> RawBatch {
        let records =
            arrow::record_batch::RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty()));
        RawBatch {
            first,
            next: serde_json::json!(first + 1),
            bytes,
            decode: Box::new(move || Ok(Decoded::whole(records))),
        }
    }

    fn waker() -> (Waker, Receiver<()>) {
        let (sender, woken) = channel();
        (
            Arc::new(move || {
                let _ = sender.send(());
            }),
            woken,
        )
    }

    /// Polls until something comes, woken by the reader.
    fn next(reader: &mut BlockingReader, woken: &Receiver<()>) -> Result<Poll> {
        loop {
            match reader.poll()? {
                Poll::Pending => woken.recv_timeout(Duration::from_secs(10)).unwrap(),
                other => return Ok(other),
            }
        }
    }

    #[test]
    fn batches_come_in_order_and_then_the_end() {
        let (waker, woken) = waker();
        let mut reader = BlockingReader::start("a", Bounds { batches: 2, bytes: 100 }, waker, |outlet| {
            (0..50).all(|first| outlet.send(batch(first, 40))).then_some(()).ok_or_else(|| unreachable!())
        })
        .unwrap();
        for expected in 0..50 {
            let Poll::Ready(found) = next(&mut reader, &woken).unwrap() else {
                panic!("no batch {expected}")
            };
            assert_eq!(found.first, expected);
        }
        assert!(matches!(next(&mut reader, &woken).unwrap(), Poll::End));
    }

    #[test]
    fn a_batch_larger_than_the_ring_passes_alone() {
        let (waker, woken) = waker();
        let mut reader = BlockingReader::start("a", Bounds { batches: 8, bytes: 10 }, waker, |outlet| {
            let _ = outlet.send(batch(0, 1000)) && outlet.send(batch(1, 1000));
            Ok(())
        })
        .unwrap();
        assert!(matches!(next(&mut reader, &woken).unwrap(), Poll::Ready(b) if b.first == 0));
        assert!(matches!(next(&mut reader, &woken).unwrap(), Poll::Ready(b) if b.first == 1));
    }

    #[test]
    fn dropping_the_reader_ends_a_thread_that_waits_for_room() {
        let (waker, _woken) = waker();
        let (sender, ended) = channel();
        let reader = BlockingReader::start("a", Bounds { batches: 1, bytes: 100 }, waker, move |outlet| {
            while outlet.send(batch(0, 1)) {}
            sender.send(outlet.wait(Duration::from_secs(60))).unwrap();
            Ok(())
        })
        .unwrap();
        drop(reader);
        assert!(!ended.recv_timeout(Duration::from_secs(10)).unwrap());
    }

    #[test]
    fn an_error_comes_after_the_batches_before_it() {
        let (waker, woken) = waker();
        let mut reader = BlockingReader::start("a", Bounds::default(), waker, |outlet| {
            assert!(outlet.send(batch(0, 1)));
            Err(EngineError::unavailable("a", "gone"))
        })
        .unwrap();
        assert!(matches!(next(&mut reader, &woken).unwrap(), Poll::Ready(_)));
        assert_eq!(next(&mut reader, &woken).unwrap_err(), EngineError::unavailable("a", "gone"));
    }

    #[test]
    fn a_panic_of_the_thread_is_an_internal_error() {
        let (waker, woken) = waker();
        let mut reader =
            BlockingReader::start("a", Bounds::default(), waker, |_| panic!("on purpose")).unwrap();
        assert!(matches!(next(&mut reader, &woken), Err(EngineError::Internal { .. })));
    }
}
