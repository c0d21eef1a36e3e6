//! Records of the log, as they lie in `manifest/<sequence>.json`.

use crate::event::Epoch;
use crate::runtime::sequencer::SplitTime;
use crate::sink::Prepared;
use crate::source::Offset;
use crate::state::Scope;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// A process has taken the job over: all earlier ones are fenced off.
    Attempt { attempt: u64 },
    /// A commit.
    Checkpoint(Box<Checkpoint>),
}

/// Everything needed to go on from an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub attempt: u64,
    pub epoch: Epoch,
    /// Hash of the plan; the plan itself is `plan/<fingerprint>.json`.
    pub plan: String,
    pub parallelism: usize,
    /// The input has ended and everything is published: there is nothing to go on with.
    pub finished: bool,
    /// By source identity, then split: where the next batch begins (`null`: at the start).
    pub sources: BTreeMap<String, BTreeMap<String, Option<Offset>>>,
    /// By watermark node (its identity).
    pub watermarks: BTreeMap<String, WatermarkRecord>,
    /// By operator identity.
    pub operators: BTreeMap<String, Vec<Object>>,
    /// By sink identity, then worker.
    pub sinks: BTreeMap<String, Vec<Prepared>>,
    /// By sink identity: epochs of earlier records that the sink has not confirmed, oldest first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unconfirmed: BTreeMap<String, Vec<Unconfirmed>>,
}

/// What a sink prepared for an epoch that is committed and not yet published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unconfirmed {
    pub epoch: Epoch,
    pub prepared: Vec<Prepared>,
}

/// The watermark of one node at the cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatermarkRecord {
    pub promise: Timestamp,
    /// By source identity and split name, `<source>/<split>`.
    pub splits: BTreeMap<String, SplitTime>,
}

/// One state table in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Its name in the store.
    pub name: String,
    pub table: String,
    pub scope: Scope,
    /// How many of its first columns are the key.
    pub keys: usize,
    pub rows: usize,
    pub size: usize,
    pub crc32c: u32,
}
