//! Splits a batch by key group onto workers.
//!
//! Not here: the hash (`state::key_group`), the rings (`ring`). Called by the worker loop when a batch leaves on a hash
//! edge. Worker *w* of *n* owns the key groups *g* with `g * n / 1024 == w`.

use crate::error::Result;
use crate::event::Batch;
use crate::state::key_group::{key_groups, owner};
use arrow::array::{UInt8Array, UInt32Array};
use arrow::compute::{take, take_record_batch};

/// The parts of a batch, one for each worker that gets rows. `keys`: indices of the key columns.
///
/// # Errors
/// Key columns of a type that cannot be hashed: a bug of the planner.
pub fn partition(batch: Batch, keys: &[usize], workers: usize) -> Result<Vec<(usize, Batch)>> {
    if workers == 1 || batch.rows() == 0 {
        return Ok(if batch.rows() == 0 { Vec::new() } else { vec![(0, batch)] });
    }
    let columns: Vec<_> = keys.iter().map(|key| batch.records.column(*key).clone()).collect();
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); workers];
    for (row, group) in (0u32..).zip(key_groups(&columns, batch.rows())?) {
        rows[owner(group, workers)].push(row);
    }
    let mut parts = Vec::with_capacity(workers);
    for (worker, rows) in rows.into_iter().enumerate() {
        if rows.len() == batch.rows() {
            return Ok(vec![(worker, batch)]);
        }
        if rows.is_empty() {
            continue;
        }
        let rows = UInt32Array::from(rows);
        let changes = match &batch.changes {
            Some(changes) => Some(UInt8Array::from(take(changes, &rows, None)?.to_data())),
            None => None,
        };
        let records = take_record_batch(&batch.records, &rows)?;
        parts.push((worker, Batch { records, order: batch.order, changes }));
    }
    Ok(parts)
}
