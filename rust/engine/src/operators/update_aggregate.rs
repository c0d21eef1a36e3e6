//! The second half of an aggregate that emits the new row of each changed key, on the worker that owns the key.
//!
//! In: partial rows. Out: upserts, at most one a (key, window) and batch; with `every`, at most that often. The first row of
//! a key is an insert, later ones are updates. A window leaves the state when the watermark has made it final.
//! Forwards: the label of the earliest window that is not final; nothing if event time ends here.
//! State: the groups of open windows, with a flag for keys that wait to be emitted.
//! Cost: one table look-up a partial row and window; O(changed keys) an emission.

use super::aggregate_plan::{Shape, slices};
use super::pane_state::{Partials, scope};
use super::{Flow, Input, Operator, Output};
use crate::aggregate::CHUNK_ROWS;
use crate::error::Result;
use crate::event::{Batch, Change, Epoch};
use crate::state::groups::Groups;
use crate::state::{Frozen, StateTable};
use crate::time::{Instant, Timestamp};
use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt8Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, UInt8Type};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The state column of [`Window::flags`].
const FLAGS: &str = "\u{0}flags";
/// The key has been emitted before.
const SHOWN: u8 = 1;
/// It has changed since.
const CHANGED: u8 = 2;

/// See the module.
#[derive(Debug)]
pub struct UpdateAggregate {
    shape: Arc<Shape>,
    forwards: bool,
    worker: usize,
    every_ns: Option<u64>,
    windows: BTreeMap<i64, Window>,
    /// Windows below are final.
    open: i64,
    last_emission: Instant,
    /// The only row of a query without keys has left.
    shown: bool,
}

#[derive(Clone, Debug)]
struct Window {
    groups: Arc<Groups>,
    flags: Vec<u8>,
    changed: Vec<u32>,
}

impl Window {
    fn new(shape: &Shape) -> Self {
        Self { groups: Arc::new(Groups::new(&shape.groups)), flags: Vec::new(), changed: Vec::new() }
    }

    fn merge(
        &mut self,
        partials: &Partials,
        rows: std::ops::Range<usize>,
        flags: Option<&UInt8Array>,
    ) -> Result<()> {
        let groups = Arc::make_mut(&mut self.groups);
        for start in rows.clone().step_by(CHUNK_ROWS) {
            let chunk = start..rows.end.min(start + CHUNK_ROWS);
            groups.merge(&partials.keys, &partials.inputs, chunk.clone())?;
            self.flags.resize(groups.len(), 0);
            for (row, chunk_row) in chunk.zip(0..) {
                let slot = groups.last_slots().get(chunk_row).copied().unwrap_or(0);
                let flag = &mut self.flags[slot as usize];
                // Restored rows say themselves what they are.
                let added = flags.map_or(CHANGED, |flags| flags.value(row));
                if added & CHANGED != 0 && *flag & CHANGED == 0 {
                    self.changed.push(slot);
                }
                *flag |= added;
            }
        }
        Ok(())
    }

    /// The changed rows with their kinds.
    fn take_changes(&mut self, shape: &Shape, window: i64, out: &mut Output) -> Result<()> {
        if self.changed.is_empty() {
            return Ok(());
        }
        let changed = std::mem::take(&mut self.changed);
        let rows = shape.results(window, &self.groups, Some(&changed))?;
        let kinds = changed.iter().map(|slot| {
            let flag = &mut self.flags[*slot as usize];
            let kind = if *flag & SHOWN == 0 { Change::Insert } else { Change::UpdateAfter };
            *flag = SHOWN;
            kind as u8
        });
        let kinds = UInt8Array::from_iter_values(kinds);
        let mut start = 0;
        for records in slices(&rows) {
            let changes = Some(kinds.slice(start, records.num_rows()));
            start += records.num_rows();
            out.push(Batch { changes, ..Batch::new(records) });
        }
        Ok(())
    }
}

impl UpdateAggregate {
    pub fn new(shape: Arc<Shape>, forwards: bool, worker: usize, every_ns: Option<u64>) -> Self {
        let (last_emission, open) = (Instant::default(), i64::MIN);
        Self {
            shape,
            forwards,
            worker,
            every_ns,
            windows: BTreeMap::new(),
            open,
            last_emission,
            shown: false,
        }
    }

    fn emit(&mut self, out: &mut Output) -> Result<()> {
        for (index, window) in &mut self.windows {
            self.shown |= !window.changed.is_empty();
            window.take_changes(&self.shape, *index, out)?;
        }
        Ok(())
    }

    fn merge(&mut self, records: &RecordBatch, restored: bool) -> Result<()> {
        let shape = self.shape.clone();
        let partials = Partials::prepare(&shape, records)?;
        let flags = if restored {
            records.column_by_name(FLAGS).and_then(|flags| flags.as_primitive_opt::<UInt8Type>())
        } else {
            None
        };
        for (pane, rows) in &partials.runs {
            // The state has one row a window, the other half sends one a pane.
            let windows = if restored { *pane..pane.saturating_add(1) } else { shape.panes.windows(*pane) };
            for window in windows.start.max(self.open)..windows.end {
                let held = self.windows.entry(window).or_insert_with(|| Window::new(&shape));
                held.merge(&partials, rows.clone(), flags)?;
            }
        }
        Ok(())
    }
}

impl Operator for UpdateAggregate {
    fn on_batch(&mut self, _input: Input, batch: Batch, out: &mut Output) -> Result<Flow> {
        self.merge(&batch.records, false)?;
        if self.every_ns.is_none() {
            self.emit(out)?;
        }
        Ok(Flow::Ready)
    }

    fn on_watermark(
        &mut self,
        _input: Input,
        combined: Timestamp,
        _own: Timestamp,
        out: &mut Output,
    ) -> Result<Flow> {
        if !self.shape.ends || combined == Timestamp::MIN {
            return Ok(Flow::Ready);
        }
        let open = self.shape.panes.earliest_open(combined);
        if open == i64::MAX {
            self.emit(out)?;
        }
        while let Some(mut first) = self.windows.first_entry().filter(|first| *first.key() < open) {
            let index = *first.key();
            first.get_mut().take_changes(&self.shape, index, out)?;
            first.remove();
        }
        self.open = self.open.max(open);
        if self.forwards {
            out.watermark(if open == i64::MAX {
                Timestamp::MAX
            } else {
                Timestamp(self.shape.panes.label(open))
            });
        }
        Ok(Flow::Ready)
    }

    fn on_end(&mut self, _input: Input, out: &mut Output) -> Result<Flow> {
        self.emit(out)?;
        let one_row = self.shape.keys.is_empty() && !self.shape.panes.is_timed();
        if one_row && self.worker == 0 && !self.shown {
            let rows = self.shape.results(0, &Groups::new(&self.shape.groups), None)?;
            let changes = Some(UInt8Array::from_iter_values([Change::Insert as u8]));
            out.push(Batch { changes, ..Batch::new(rows) });
            self.shown = true;
        }
        Ok(Flow::Ready)
    }

    fn deadline(&self) -> Option<Instant> {
        let every_ns = self.every_ns?;
        let waits = self.windows.values().any(|window| !window.changed.is_empty());
        waits.then(|| self.last_emission.plus(every_ns))
    }

    fn on_clock(&mut self, now: Instant, out: &mut Output) -> Result<Flow> {
        self.last_emission = now;
        self.emit(out)?;
        Ok(Flow::Ready)
    }

    fn freeze(&mut self, _epoch: Epoch) -> Result<Frozen> {
        let (shape, windows) = (self.shape.clone(), self.windows.clone());
        Ok(Frozen::new(move || {
            let fields = shape.partial_schema.fields().iter().cloned();
            let flags = Arc::new(Field::new(FLAGS, DataType::UInt8, false));
            let schema = Arc::new(Schema::new(fields.chain([flags]).collect::<Vec<_>>()));
            let mut tables = Vec::with_capacity(windows.len());
            for (index, window) in &windows {
                let mut columns = shape.partials(*index, &window.groups)?.columns().to_vec();
                let mut flags = window.flags.clone();
                flags.resize(window.groups.len(), 0);
                columns.push(Arc::new(UInt8Array::from(flags)) as ArrayRef);
                tables.push(RecordBatch::try_new(schema.clone(), columns)?);
            }
            let rows = concat_batches(&schema, &tables)?;
            Ok(vec![StateTable {
                name: "final".to_owned(),
                scope: scope(&shape),
                keys: shape.keys.len(),
                rows,
            }])
        }))
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        tables.iter().try_for_each(|table| self.merge(&table.rows, true))?;
        self.shown = self.windows.values().any(|window| window.flags.iter().any(|flag| flag & SHOWN != 0));
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.windows
            .values()
            .map(|window| window.groups.memory() + window.flags.capacity() + window.changed.capacity() * 4)
            .sum()
    }
}
