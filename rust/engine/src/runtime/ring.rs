//! The bounded ring between two workers: one sender, one receiver, one edge.
//!
//! Full means back-pressure, nothing is dropped. Capacity is 8 batches and 8 MiB, whichever comes first; a batch bigger
//! than that passes alone. Control events count as batches without bytes.

use crate::event::Event;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that may wait in one ring.
const CAPACITY_BYTES: usize = 8 << 20;

/// The sending end.
#[derive(Clone, Debug)]
pub struct RingSender {
    channel: Sender<Event>,
    bytes: Arc<AtomicUsize>,
}

/// The receiving end.
#[derive(Clone, Debug)]
pub struct RingReceiver {
    channel: Receiver<Event>,
    bytes: Arc<AtomicUsize>,
}

/// A ring for `capacity` events.
pub fn ring(capacity: usize) -> (RingSender, RingReceiver) {
    let (sender, receiver) = crossbeam_channel::bounded(capacity);
    let bytes = Arc::new(AtomicUsize::new(0));
    (RingSender { channel: sender, bytes: Arc::clone(&bytes) }, RingReceiver { channel: receiver, bytes })
}

impl RingSender {
    /// Puts an event in, or gives it back when there is no room. A vanished receiver (its worker failed) takes all.
    pub fn send(&self, event: Event) -> Option<Event> {
        let size = event_bytes(&event);
        let held = self.bytes.load(Ordering::Acquire);
        if size > 0 && held > 0 && held.saturating_add(size) > CAPACITY_BYTES {
            return Some(event);
        }
        self.bytes.fetch_add(size, Ordering::AcqRel);
        match self.channel.try_send(event) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => None,
            Err(TrySendError::Full(event)) => {
                self.bytes.fetch_sub(size, Ordering::AcqRel);
                Some(event)
            }
        }
    }
}

impl RingReceiver {
    /// Takes the oldest event.
    pub fn receive(&self) -> Option<Event> {
        let event = self.channel.try_recv().ok()?;
        self.bytes.fetch_sub(event_bytes(&event), Ordering::AcqRel);
        Some(event)
    }
}

fn event_bytes(event: &Event) -> usize {
    match event {
        Event::Batch(batch) => batch.bytes(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::ring;
    use crate::event::Event;
    use crate::time::Timestamp;

    #[test]
    fn full_ring_gives_the_event_back_and_keeps_order() {
        let (sender, receiver) = ring(2);
        for tick in 0..2 {
            assert!(sender.send(Event::Watermark(Timestamp(tick))).is_none());
        }
        assert!(matches!(sender.send(Event::End), Some(Event::End)));
        assert!(matches!(receiver.receive(), Some(Event::Watermark(Timestamp(0)))));
        assert!(sender.send(Event::End).is_none());
    }
}
