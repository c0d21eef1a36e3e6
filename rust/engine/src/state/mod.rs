//! State as tables: what checkpoints hold and a restore gives back.
//!
//! A [`StateTable`] is Arrow, so anyone can read a checkpoint. Keyed tables belong to one of 1024 key groups by a hash of
//! the key columns that never changes between releases ([`key_group`]).

pub mod bit_table;
pub mod canonical;
pub mod cell_store;
pub mod direct;
pub mod groups;
pub mod key_group;
pub mod keys;
pub mod row_store;
pub mod table;

use crate::error::Result;
use arrow::record_batch::RecordBatch;

/// Who gets a table's rows at a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Each row goes to the worker that owns its key group.
    Keyed,
    /// Every worker gets all rows.
    Broadcast,
    /// Worker 0 gets all rows.
    Single,
}

/// Rows of state: the first `keys` columns are the key.
#[derive(Clone, Debug)]
pub struct StateTable {
    /// Unique within the operator, e.g. `groups`.
    pub name: String,
    pub scope: Scope,
    pub keys: usize,
    pub rows: RecordBatch,
}

/// The columns of some rows with the keys in front, as a state table has them.
pub fn keys_first(columns: usize, keys: &[usize]) -> Vec<usize> {
    let rest = (0..columns).filter(|index| !keys.contains(index));
    keys.iter().copied().chain(rest).collect()
}

/// Where each column of the rows stands in a table of [`keys_first`].
pub fn as_they_came(columns: usize, keys: &[usize]) -> Vec<usize> {
    let mut rest = keys.len()..columns;
    let place = |index: usize| keys.iter().position(|key| *key == index).or_else(|| rest.next());
    (0..columns).filter_map(place).collect()
}

type Encode = Box<dyn FnOnce() -> Result<Vec<StateTable>> + Send>;

/// State as it was at a barrier, not yet encoded.
#[derive(Default)]
pub struct Frozen(Option<Encode>);

impl Frozen {
    /// `encode` runs on an IO thread.
    pub fn new(encode: impl FnOnce() -> Result<Vec<StateTable>> + Send + 'static) -> Self {
        Self(Some(Box::new(encode)))
    }

    /// True for operators without state.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Encodes it.
    ///
    /// # Errors
    /// What the operator's encoder fails with.
    pub fn tables(self) -> Result<Vec<StateTable>> {
        self.0.map_or_else(|| Ok(Vec::new()), |encode| encode())
    }
}

impl std::fmt::Debug for Frozen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_empty() { "Frozen(empty)" } else { "Frozen" })
    }
}
