//! The open panes of an aggregate with their groups: what both halves keep, freeze and restore.

use super::aggregate_plan::Shape;
use super::panes::{Panes, Run};
use crate::aggregate::words::widened;
use crate::aggregate::{Input, OrderColumns, valid};
use crate::error::{EngineError, Result};
use crate::event::Batch;
use crate::state::groups::Groups;
use crate::state::{Frozen, Scope, StateTable};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::Int64Type;
use std::collections::BTreeMap;
use std::sync::Arc;

/// With shorter runs than this on average, rows are sorted by pane first.
const SHORT_RUN_ROWS: usize = 256;

/// See the module.
#[derive(Debug)]
pub struct PaneState {
    pub shape: Arc<Shape>,
    pub panes: BTreeMap<i64, Arc<Groups>>,
}

impl PaneState {
    pub fn new(shape: Arc<Shape>) -> Self {
        Self { shape, panes: BTreeMap::new() }
    }

    /// The groups of a pane, to change. Copies them if a checkpoint still reads them.
    pub fn pane(&mut self, pane: i64) -> &mut Groups {
        let shape = &self.shape;
        Arc::make_mut(self.panes.entry(pane).or_insert_with(|| Arc::new(Groups::new(&shape.groups))))
    }

    /// Adds raw rows.
    pub fn update(&mut self, batch: &Batch) -> Result<()> {
        if batch.rows() == 0 {
            return Ok(());
        }
        let shape = self.shape.clone();
        let runs = match &shape.time {
            None => vec![Run { panes: 0..1, rows: 0..batch.rows() }],
            Some(name) => shape.panes.runs(&times(&batch.records, name, &shape.place)?),
        };
        let sorted;
        let (batch, runs) = if runs.len() > batch.rows() / SHORT_RUN_ROWS + 8 {
            let (order, runs) = sort_runs(runs);
            sorted = batch.clone().with_records(take_record_batch(&batch.records, &order)?);
            (&sorted, runs)
        } else {
            (batch, runs)
        };
        let order = if shape.needs_order { Some(OrderColumns::of(batch)?) } else { None };
        let column = |name: &String| column(&batch.records, name);
        let keys = shape.keys.iter().map(column).collect::<Result<Vec<_>>>()?;
        let keys = shape.groups.keys.prepare(&keys)?;
        let mut inputs = Vec::with_capacity(shape.inputs.len());
        for (names, accumulator) in shape.inputs.iter().zip(&shape.groups.accumulators) {
            let values = names.column.as_ref().map(column).transpose()?;
            let other = names.other.as_ref().map(column).transpose()?;
            let filter = names.filter.as_ref().map(column).transpose()?;
            inputs.push(accumulator.prepare(&Input {
                column: values.as_ref(),
                other: other.as_ref(),
                filter: filter.as_ref(),
                order: order.as_ref(),
            })?);
        }
        for Run { panes, rows } in runs {
            for pane in panes {
                self.pane(pane).update(&keys, &inputs, rows.clone())?;
            }
        }
        Ok(())
    }

    /// Adds partial rows, those of a state table or of the other half.
    pub fn merge(&mut self, records: &RecordBatch) -> Result<()> {
        let shape = self.shape.clone();
        let partials = Partials::prepare(&shape, records)?;
        for (pane, rows) in partials.runs {
            self.pane(pane).merge(&partials.keys, &partials.inputs, rows)?;
        }
        Ok(())
    }

    /// The state as one table of partial rows; the copy is made later, and only of panes that change.
    pub fn freeze(&self, name: &'static str) -> Frozen {
        let (shape, panes) = (self.shape.clone(), self.panes.clone());
        Frozen::new(move || Ok(vec![table(&shape, name, &panes)?]))
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.panes.values().map(|groups| groups.memory()).sum()
    }
}

/// Panes as a state table.
pub fn table(shape: &Shape, name: &str, panes: &BTreeMap<i64, Arc<Groups>>) -> Result<StateTable> {
    let rows =
        panes.iter().map(|(pane, groups)| shape.partials(*pane, groups)).collect::<Result<Vec<_>>>()?;
    let scope = scope(shape);
    Ok(StateTable {
        name: name.to_owned(),
        scope,
        keys: shape.keys.len(),
        rows: concat_batches(&shape.partial_schema, &rows)?,
    })
}

/// Who gets the state at a restore: the worker that gets the rows.
pub fn scope(shape: &Shape) -> Scope {
    if shape.keys.is_empty() || shape.ordered { Scope::Single } else { Scope::Keyed }
}

/// Partial rows, ready to be merged.
pub struct Partials {
    pub keys: crate::state::keys::PreparedKeys,
    pub inputs: Vec<crate::aggregate::Prepared>,
    /// Rows of one pane.
    pub runs: Vec<(i64, std::ops::Range<usize>)>,
}

impl Partials {
    /// # Errors
    /// Rows that lack a column: a checkpoint of other aggregates.
    pub fn prepare(shape: &Shape, records: &RecordBatch) -> Result<Self> {
        let columns = shape.partial_schema.fields().iter().map(|field| {
            let column = records.column_by_name(field.name()).cloned();
            let column = column.filter(|column| column.data_type() == field.data_type());
            column.ok_or_else(|| {
                let expected = format!("rows with column '{}' of type {}", field.name(), field.data_type());
                let names: Vec<&str> =
                    records.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
                EngineError::call(&shape.place, expected, format!("columns {}", names.join(", ")))
            })
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let (keys, rest) = columns.split_at(shape.keys.len());
        let keys = shape.groups.keys.prepare(keys)?;
        let (panes, mut rest) = match (rest, shape.panes.is_timed()) {
            ([pane, rest @ ..], true) => (Some(pane.as_primitive::<Int64Type>().values().clone()), rest),
            _ => (None, rest),
        };
        let mut inputs = Vec::with_capacity(shape.inputs.len());
        for accumulator in &shape.groups.accumulators {
            let (own, others) = rest.split_at(accumulator.partial_types().len());
            inputs.push(accumulator.prepare_partial(own)?);
            rest = others;
        }
        let runs = match panes {
            None => vec![(0, 0..records.num_rows())],
            Some(panes) => {
                let mut start = 0;
                let runs = panes.chunk_by(|a, b| a == b).map(|run| {
                    start += run.len();
                    (run[0], start - run.len()..start)
                });
                runs.collect()
            }
        };
        Ok(Self { keys, inputs, runs })
    }
}

impl std::fmt::Debug for Partials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Partials({} runs)", self.runs.len())
    }
}

pub(super) fn column(records: &RecordBatch, name: &String) -> Result<ArrayRef> {
    let column = records.column_by_name(name).cloned();
    column.ok_or_else(|| EngineError::internal("the plan", format!("no column '{name}' below an aggregate")))
}

/// The times of the rows in ticks of their column.
pub(super) fn times(records: &RecordBatch, name: &String, place: &str) -> Result<ScalarBuffer<i64>> {
    let column = column(records, name)?;
    if let Some(row) = valid(&column).and_then(|valid| (0..valid.len()).find(|row| !valid.value(*row))) {
        let reason = format!(
            "'{name}' is null; drop such rows or give them a time (`.stream.with_watermark` drops them)"
        );
        return Err(EngineError::Data { place: place.to_owned(), row: row as u64, reason });
    }
    Ok(widened(&column)?.as_primitive::<Int64Type>().values().clone())
}

/// Rows in order of their panes, and the runs that they make then. Rows of one pane keep their order.
fn sort_runs(runs: Vec<Run>) -> (UInt32Array, Vec<Run>) {
    let mut by_pane: BTreeMap<(i64, i64), Vec<std::ops::Range<usize>>> = BTreeMap::new();
    for run in runs {
        by_pane.entry((run.panes.start, run.panes.end)).or_default().push(run.rows);
    }
    let mut order: Vec<u32> = Vec::new();
    let mut sorted = Vec::with_capacity(by_pane.len());
    for ((start, end), parts) in by_pane {
        let first = order.len();
        parts.into_iter().for_each(|rows| order.extend(rows.start as u32..rows.end as u32));
        sorted.push(Run { panes: start..end, rows: first..order.len() });
    }
    (UInt32Array::from(order), sorted)
}

/// True if all panes of an operator are final at a watermark that is the event time of its pane column.
pub fn finals(
    shape: &Shape,
    panes: &Panes,
    held: &BTreeMap<i64, Arc<Groups>>,
    watermark: crate::time::Timestamp,
) -> Vec<i64> {
    if !shape.ends {
        return Vec::new();
    }
    held.keys().copied().take_while(|pane| panes.is_final(*pane, watermark)).collect()
}
