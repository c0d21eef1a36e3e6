//! Confirms what sinks prepared, once the record is written; what cannot be confirmed now is tried again.
//!
//! The epoch counts as committed either way: its rows are in the record, and a later record lists what is still
//! unconfirmed, so that a restart confirms it first. While a sink has more than one such epoch, no further record may be
//! created (checkpoint protocol, 1.6). Only a place that is away is waited for; any other error ends the job.
//! Called by the coordinator, on its thread.

use super::record::Unconfirmed;
use crate::error::{EngineError, Result};
use crate::event::Epoch;
use crate::sink::{Prepared, Sink};
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const FIRST_PAUSE_NS: u64 = 100_000_000;
const LONGEST_PAUSE_NS: u64 = 5_000_000_000;

/// See the module.
pub struct Confirming {
    /// Oldest epoch first.
    pending: Vec<Pending>,
    /// False: the first failure is an error, because nothing would remember it.
    patient: bool,
    retry_at: Instant,
    pause_ns: u64,
}

impl std::fmt::Debug for Confirming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Confirming({:?})", self.waits())
    }
}

struct Pending {
    identity: String,
    sink: Arc<dyn Sink>,
    part: Unconfirmed,
    reason: String,
}

impl Confirming {
    /// `patient`: there is a log that remembers what is unconfirmed.
    pub fn new(patient: bool) -> Self {
        Self { pending: Vec::new(), patient, retry_at: Instant(0), pause_ns: FIRST_PAUSE_NS }
    }

    /// Takes what a sink has prepared for an epoch whose record is written.
    pub fn add(&mut self, identity: &str, sink: &Arc<dyn Sink>, epoch: Epoch, prepared: Vec<Prepared>) {
        let part = Unconfirmed { epoch, prepared };
        let (identity, sink) = (identity.to_owned(), Arc::clone(sink));
        self.pending.push(Pending { identity, sink, part, reason: String::new() });
    }

    /// Confirms all that can be confirmed, each sink's epochs in their order.
    ///
    /// # Errors
    /// What a sink says, but for a place that is away; that too unless it may be tried again.
    pub fn run(&mut self, now: Instant) -> Result<()> {
        let mut away = BTreeSet::new();
        let mut left = Vec::new();
        for mut one in std::mem::take(&mut self.pending) {
            if away.contains(&one.identity) {
                left.push(one);
                continue;
            }
            match one.sink.confirm(one.part.epoch, &one.part.prepared) {
                Ok(()) => {}
                Err(error @ EngineError::Unavailable { .. }) if self.patient => {
                    one.reason = error.to_string();
                    away.insert(one.identity.clone());
                    left.push(one);
                }
                Err(error) => return Err(error),
            }
        }
        self.pause_ns =
            if left.is_empty() { FIRST_PAUSE_NS } else { (self.pause_ns * 2).min(LONGEST_PAUSE_NS) };
        self.retry_at = now.plus(self.pause_ns);
        self.pending = left;
        Ok(())
    }

    /// When to try again; `None`: everything is confirmed.
    pub fn retry_at(&self) -> Option<Instant> {
        (!self.pending.is_empty()).then_some(self.retry_at)
    }

    /// True while a sink has more than one unconfirmed epoch.
    pub fn blocks(&self) -> bool {
        let mut seen = BTreeSet::new();
        self.pending.iter().any(|one| !seen.insert(&one.identity))
    }

    /// For the next record.
    pub fn unconfirmed(&self) -> BTreeMap<String, Vec<Unconfirmed>> {
        let mut sinks: BTreeMap<String, Vec<Unconfirmed>> = BTreeMap::new();
        for one in &self.pending {
            sinks.entry(one.identity.clone()).or_default().push(one.part.clone());
        }
        sinks
    }

    /// What is waited for, in words.
    pub fn waits(&self) -> Vec<String> {
        self.pending
            .iter()
            .filter(|one| !one.reason.is_empty())
            .map(|one| {
                format!(
                    "{}: epoch {} is committed, not published yet: {}",
                    one.identity, one.part.epoch, one.reason
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Confirming;
    use crate::error::{EngineError, Result};
    use crate::event::Epoch;
    use crate::sink::{Prepared, Sink, SinkWriter};
    use crate::time::Instant;
    use dataflare_plan::FrameKind;
    use std::sync::{Arc, Mutex};

    /// Fails so often, then notes what it confirms.
    #[derive(Debug, Default)]
    struct Away {
        failures: Mutex<u32>,
        confirmed: Mutex<Vec<Epoch>>,
    }

    impl Sink for Away {
        fn takes(&self, _kind: FrameKind) -> bool {
            true
        }

        fn writer(&self, _: usize, _: u64, _: Vec<Prepared>) -> Result<Box<dyn SinkWriter>> {
            Err(EngineError::internal("a sink of this test", "it has no writers"))
        }

        fn confirm(&self, epoch: Epoch, _prepared: &[Prepared]) -> Result<()> {
            let mut failures = self.failures.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                return Err(EngineError::unavailable("the place", "it is away"));
            }
            self.confirmed.lock().unwrap().push(epoch);
            Ok(())
        }
    }

    fn away(failures: u32) -> (Arc<Away>, Arc<dyn Sink>) {
        let sink = Arc::new(Away { failures: Mutex::new(failures), ..Away::default() });
        (Arc::clone(&sink), sink)
    }

    #[test]
    fn epoch_that_cannot_be_confirmed_is_kept_for_the_next_record_and_tried_again() {
        let (place, sink) = away(1);
        let mut confirming = Confirming::new(true);
        confirming.add("out", &sink, 7, vec![]);
        confirming.run(Instant(0)).unwrap();
        assert_eq!(confirming.unconfirmed()["out"][0].epoch, 7);
        assert!(confirming.waits()[0].contains("epoch 7"));
        assert!(!confirming.blocks());
        confirming.run(confirming.retry_at().unwrap()).unwrap();
        assert_eq!(confirming.retry_at(), None);
        assert_eq!(*place.confirmed.lock().unwrap(), [7]);
    }

    #[test]
    fn second_unconfirmed_epoch_of_a_sink_blocks_the_next_record_and_order_is_kept() {
        let (place, sink) = away(2);
        let mut confirming = Confirming::new(true);
        for epoch in [7, 8] {
            confirming.add("out", &sink, epoch, vec![]);
            confirming.run(Instant(0)).unwrap();
        }
        assert!(confirming.blocks());
        assert!(place.confirmed.lock().unwrap().is_empty());
        confirming.run(Instant(1)).unwrap();
        assert_eq!(*place.confirmed.lock().unwrap(), [7, 8]);
    }

    #[test]
    fn without_a_log_the_first_failure_is_an_error() {
        let (_, sink) = away(1);
        let mut confirming = Confirming::new(false);
        confirming.add("out", &sink, 1, vec![]);
        assert!(matches!(confirming.run(Instant(0)), Err(EngineError::Unavailable { .. })));
    }
}
