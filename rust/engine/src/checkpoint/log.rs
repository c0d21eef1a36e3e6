//! The log of a job: `manifest/<sequence>.json`, one record after the other, each created once.
//!
//! A writer only ever creates the next number. Whoever starts first creates an attempt record; a process of an older
//! attempt that wakes up later meets a conflict at its next record and can publish nothing (fencing).

use super::record::{Checkpoint, Object, Record};
use super::store::Store;
use super::table_file;
use crate::error::{EngineError, Result};
use crate::event::Epoch;
use crate::sink::Place;
use crate::state::StateTable;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// Version of the layout in `format`.
pub const FORMAT_VERSION: u32 = 1;

/// Which checkpoint to go on from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restore {
    #[default]
    Latest,
    Epoch(Epoch),
    /// Start from the beginning; numbers go on.
    IgnoreState,
}

#[derive(Debug, Serialize, Deserialize)]
struct Format {
    version: u32,
    job: String,
    uuid: String,
}

/// See the module.
pub struct Log {
    store: Arc<dyn Store>,
    format: Format,
    attempt: u64,
    sequence: u64,
    last_epoch: Epoch,
    keep: usize,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Log(attempt {}, sequence {}, epoch {})", self.attempt, self.sequence, self.last_epoch)
    }
}

/// What a start finds.
#[derive(Debug)]
pub struct Opened {
    pub log: Log,
    /// The checkpoint to go on from.
    pub checkpoint: Option<Checkpoint>,
}

impl Log {
    /// Takes the job over: creates the attempt record, then reads what to go on from.
    ///
    /// # Errors
    /// [`EngineError::Call`] for a folder of another layout or a missing epoch; unavailable stores; damaged records.
    pub fn open(
        store: Arc<dyn Store>,
        job: &str,
        uuid: &str,
        keep: usize,
        restore: Restore,
    ) -> Result<Opened> {
        let mut format = Format { version: FORMAT_VERSION, job: job.to_owned(), uuid: uuid.to_owned() };
        if !store.create("format", to_json(&format)?)? {
            let found: Format = from_json("format", &store.read("format")?)?;
            if found.version != FORMAT_VERSION {
                return Err(EngineError::call(
                    "checkpoint layout",
                    format!("version {FORMAT_VERSION}"),
                    found.version.to_string(),
                ));
            }
            format.uuid = found.uuid;
        }
        let mut records = read_all(&*store)?;
        let attempt = records.iter().map(|(_, record)| attempt_of(record)).max().unwrap_or(0) + 1;
        let mut sequence = records.last().map_or(0, |(sequence, _)| *sequence) + 1;
        let mut attempt = attempt;
        while !store.create(&name_of(sequence), to_json(&Record::Attempt { attempt })?)? {
            // Somebody else was faster: go behind it.
            records = read_all(&*store)?;
            attempt = records.iter().map(|(_, record)| attempt_of(record)).max().unwrap_or(0) + 1;
            sequence = records.last().map_or(0, |(sequence, _)| *sequence) + 1;
        }
        // Read again: a record may have come between the listing and ours.
        records = read_all(&*store)?;
        records.retain(|(number, _)| *number < sequence);
        let last_epoch = records.iter().filter_map(|(_, record)| epoch_of(record)).max().unwrap_or(0);
        let mut checkpoints = records.into_iter().rev().filter_map(|(_, record)| match record {
            Record::Checkpoint(checkpoint) => Some(*checkpoint),
            Record::Attempt { .. } => None,
        });
        let checkpoint = match restore {
            Restore::Latest => checkpoints.next(),
            Restore::IgnoreState => None,
            Restore::Epoch(epoch) => Some(checkpoints.find(|one| one.epoch == epoch).ok_or_else(|| {
                EngineError::call(
                    "restore",
                    "the epoch of a kept checkpoint",
                    format!("{epoch}, which the log does not hold"),
                )
            })?),
        };
        // An abandoned epoch has no record; leave room so that its number is not used again.
        let log = Self { store, format, attempt, sequence, last_epoch, keep };
        Ok(Opened { log, checkpoint })
    }

    /// The number of this attempt.
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// The newest committed epoch, of any attempt.
    pub fn last_epoch(&self) -> Epoch {
        self.last_epoch
    }

    /// What a sink of this attempt may use.
    pub fn place(&self, identity: &str, workers: usize) -> Place {
        Place {
            store: Arc::clone(&self.store),
            job: self.format.job.clone(),
            folder: self.format.uuid.clone(),
            identity: identity.to_owned(),
            attempt: self.attempt,
            workers,
            epoch: self.last_epoch,
        }
    }

    /// Writes one state table of this attempt.
    ///
    /// # Errors
    /// The store fails; the name exists (a bug, or a zombie with the same attempt: impossible).
    pub fn write_table(
        &self,
        operator: &str,
        epoch: Epoch,
        worker: usize,
        table: &StateTable,
    ) -> Result<Object> {
        let name = format!("state/{operator}/{}-{epoch}-{worker}-{}.arrow", self.attempt, table.name);
        let (object, bytes) = table_file::encode(name, table)?;
        if self.store.create(&object.name, bytes)? {
            return Ok(object);
        }
        Err(EngineError::internal(&object.name, "the object exists already"))
    }

    /// Reads a state table back.
    ///
    /// # Errors
    /// The object is missing or damaged; it is named.
    pub fn read_table(&self, object: &Object) -> Result<StateTable> {
        table_file::decode(object, &self.store.read(&object.name)?)
    }

    /// Keeps the plan beside the records.
    ///
    /// # Errors
    /// The store fails.
    pub fn write_plan(&self, fingerprint: &str, json: &str) -> Result<()> {
        self.store.create(&format!("plan/{fingerprint}.json"), json.as_bytes().to_vec()).map(drop)
    }

    /// The commit point.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] when a newer attempt owns the job.
    pub fn commit(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let epoch = checkpoint.epoch;
        let record = Record::Checkpoint(Box::new(checkpoint));
        let name = name_of(self.sequence + 1);
        if !self.store.create(&name, to_json(&record)?)? {
            let found: Record = from_json(&name, &self.store.read(&name)?)?;
            if found != record {
                return Err(EngineError::Conflict { resource: "the job".into(), owner: attempt_of(&found) });
            }
            // Our own earlier put had succeeded; only its answer was lost.
        }
        self.sequence += 1;
        self.last_epoch = epoch;
        Ok(())
    }

    /// Deletes what no kept record names and no open epoch can need. Failures are not fatal: the next call tries again.
    ///
    /// # Errors
    /// The store fails.
    pub fn collect_garbage(&self) -> Result<()> {
        let records = read_all(&*self.store)?;
        let checkpoints: Vec<(u64, &Checkpoint)> = records
            .iter()
            .filter_map(|(sequence, record)| match record {
                Record::Checkpoint(checkpoint) => Some((*sequence, &**checkpoint)),
                Record::Attempt { .. } => None,
            })
            .collect();
        let first_kept = checkpoints.len().saturating_sub(self.keep.max(1));
        let Some((oldest_sequence, oldest)) = checkpoints.get(first_kept).copied() else { return Ok(()) };
        let mut kept = std::collections::HashSet::new();
        for (_, checkpoint) in checkpoints.iter().filter(|(sequence, _)| *sequence >= oldest_sequence) {
            kept.extend(checkpoint.operators.values().flatten().map(|object| object.name.as_str()));
            // Sinks write their part of the record as they like: any text in it may name an object of theirs.
            let earlier = checkpoint.unconfirmed.values().flatten().flat_map(|one| &one.prepared);
            checkpoint.sinks.values().flatten().chain(earlier).for_each(|value| texts(value, &mut kept));
        }
        let mut objects = self.store.list("state")?;
        objects.extend(self.store.list("sink")?);
        for name in objects {
            let age = name.rsplit('/').next().and_then(attempt_and_epoch);
            let is_older = age.is_some_and(|age| age < (oldest.attempt, oldest.epoch));
            if is_older && !kept.contains(name.as_str()) {
                self.store.delete(&name)?;
            }
        }
        // Attempts stay: one that was frozen all the while must not find the number behind its last record free again.
        for (sequence, _) in checkpoints.iter().filter(|(sequence, _)| *sequence < oldest_sequence) {
            self.store.delete(&name_of(*sequence))?;
        }
        Ok(())
    }
}

/// All records in order.
///
/// # Errors
/// The store fails, or a record is damaged: it is named.
pub fn read_all(store: &dyn Store) -> Result<Vec<(u64, Record)>> {
    let mut records = Vec::new();
    for name in store.list("manifest")? {
        let number = name.trim_start_matches("manifest/").trim_end_matches(".json").parse();
        if let Ok(sequence) = number {
            records.push((sequence, from_json(&name, &store.read(&name)?)?));
        }
    }
    Ok(records)
}

fn texts<'a>(value: &'a Value, found: &mut std::collections::HashSet<&'a str>) {
    match value {
        Value::String(text) => drop(found.insert(text)),
        Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        Value::Object(values) => values.values().for_each(|value| texts(value, found)),
        _ => {}
    }
}

fn attempt_and_epoch(file: &str) -> Option<(u64, Epoch)> {
    let mut parts = file.split(['-', '.']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn attempt_of(record: &Record) -> u64 {
    match record {
        Record::Attempt { attempt } => *attempt,
        Record::Checkpoint(checkpoint) => checkpoint.attempt,
    }
}

fn epoch_of(record: &Record) -> Option<Epoch> {
    match record {
        Record::Attempt { .. } => None,
        Record::Checkpoint(checkpoint) => Some(checkpoint.epoch),
    }
}

fn name_of(sequence: u64) -> String {
    format!("manifest/{sequence:08}.json")
}

fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map_err(|error| EngineError::internal("a checkpoint record", error))
}

fn from_json<T: for<'a> Deserialize<'a>>(name: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| EngineError::Data {
        place: format!("checkpoint object {name}"),
        row: 0,
        reason: format!("expected a record of layout version {FORMAT_VERSION}, got damaged JSON ({error}); restore an earlier checkpoint"),
    })
}

#[cfg(test)]
mod tests {
    use super::{Log, Restore};
    use crate::checkpoint::record::Checkpoint;
    use crate::checkpoint::store::{ObjectStorePlace, Store};
    use crate::error::EngineError;
    use std::sync::Arc;

    fn memory() -> Arc<dyn Store> {
        Arc::new(ObjectStorePlace::new(Arc::new(object_store::memory::InMemory::new()), "memory"))
    }

    fn open(store: &Arc<dyn Store>, restore: Restore) -> super::Opened {
        Log::open(Arc::clone(store), "job", "uuid", 2, restore).unwrap()
    }

    fn checkpoint(log: &Log, epoch: u64) -> Checkpoint {
        Checkpoint { attempt: log.attempt(), epoch, ..Checkpoint::default() }
    }

    #[test]
    fn zombie_meets_a_conflict_at_its_next_record() {
        let store = memory();
        let mut zombie = open(&store, Restore::Latest).log;
        zombie.commit(checkpoint(&zombie, 1)).unwrap();
        let successor = open(&store, Restore::Latest);
        assert_eq!(successor.checkpoint.unwrap().epoch, 1);
        let error = zombie.commit(checkpoint(&zombie, 2)).unwrap_err();
        assert!(matches!(error, EngineError::Conflict { owner: 2, .. }), "{error}");
    }

    #[test]
    fn zombie_meets_a_conflict_after_its_successor_has_removed_old_records() {
        let store = memory();
        let mut zombie = open(&store, Restore::Latest).log;
        zombie.commit(checkpoint(&zombie, 1)).unwrap();
        let mut successor = open(&store, Restore::Latest).log;
        for epoch in 2..=6 {
            successor.commit(checkpoint(&successor, epoch)).unwrap();
            successor.collect_garbage().unwrap();
        }
        let error = zombie.commit(checkpoint(&zombie, 2)).unwrap_err();
        assert!(matches!(error, EngineError::Conflict { owner: 2, .. }), "{error}");
    }

    #[test]
    fn lost_answer_of_the_own_put_is_a_success() {
        let store = memory();
        let mut log = open(&store, Restore::Latest).log;
        let record = super::Record::Checkpoint(Box::new(checkpoint(&log, 1)));
        store.create(&super::name_of(2), super::to_json(&record).unwrap()).unwrap();
        log.commit(checkpoint(&log, 1)).unwrap();
        assert_eq!(log.last_epoch(), 1);
    }

    #[test]
    fn epoch_numbers_are_not_used_again_after_an_older_restore() {
        let store = memory();
        let mut log = open(&store, Restore::Latest).log;
        for epoch in 1..=3 {
            log.commit(checkpoint(&log, epoch)).unwrap();
        }
        let opened = open(&store, Restore::Epoch(2));
        assert_eq!((opened.checkpoint.unwrap().epoch, opened.log.last_epoch()), (2, 3));
        assert_eq!(open(&store, Restore::IgnoreState).log.last_epoch(), 3);
    }

    #[test]
    fn missing_epoch_is_named() {
        let store = memory();
        let error = Log::open(store, "job", "uuid", 2, Restore::Epoch(9)).unwrap_err().to_string();
        assert!(error.contains('9'), "{error}");
    }
}
