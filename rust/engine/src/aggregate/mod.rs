//! One aggregate, one file: how the rows of a group become a value, in two phases.
//!
//! An [`Accumulator`] holds one aggregate of *all* groups of a [`crate::state::groups::Groups`]. On the worker that read
//! the rows it takes raw columns (`update`) and hands out partial columns; on the worker that owns the key it takes those
//! (`merge`) and hands out the result (`finish`). Checkpoints hold partial columns, so a restore is a merge.
//!
//! Fixed-width state lies in *cells*: one run of words a group, all aggregates of a group side by side, so that a group
//! costs one cache miss however many aggregates it has. Not here: which rows make a group (`state`), windows, emission
//! (`operators`). A group is a *slot*, a dense `u32`.

pub mod bitwise;
pub mod count;
pub mod covariance;
pub mod distinct;
pub mod double_double;
pub mod exact_sum;
pub mod extreme;
pub mod extreme_by;
pub mod extreme_rows;
pub mod first_last;
pub mod float_sum;
pub mod fused;
pub mod implode;
pub mod mean;
pub mod moments;
pub mod n_unique;
pub mod product;
pub mod quantile;
pub mod rows;
pub mod sum;
pub mod value_words;
pub mod words;

use crate::error::{EngineError, Result};
use crate::event::{self, Batch};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use arrow::datatypes::{DataType as Arrow, Int64Type, UInt32Type, UInt64Type};
use dataflare_plan::{Aggregate, AggregateFunction, DataType};
use fused::Fold;
use std::fmt::Debug;
use std::ops::Range;

/// Rows that a kernel takes at once: their slots and cells stay in the cache between two aggregates.
pub const CHUNK_ROWS: usize = 4096;

/// The group of each row of a chunk.
#[derive(Clone, Copy, Debug)]
pub enum Slots<'a> {
    /// All rows are of group 0.
    One,
    Each(&'a [u32]),
}

impl Slots<'_> {
    /// The slot of the chunk's n-th row.
    pub fn slot(self, row: usize) -> usize {
        match self {
            Self::One => 0,
            Self::Each(slots) => slots[row] as usize,
        }
    }
}

/// The words of one aggregate in the cells of all groups.
#[derive(Debug)]
pub struct Cells<'a> {
    words: &'a mut [u64],
    stride: usize,
    at: usize,
}

impl<'a> Cells<'a> {
    /// `at`: where this aggregate's words start in each group's run of `stride` words.
    pub fn new(words: &'a mut [u64], stride: usize, at: usize) -> Self {
        Self { words, stride, at }
    }

    /// One word of one group.
    pub fn word(&mut self, slot: usize, index: usize) -> &mut u64 {
        &mut self.words[slot * self.stride + self.at + index]
    }

    /// The first `N` words of one group.
    pub fn group<const N: usize>(&mut self, slot: usize) -> &mut [u64; N] {
        let start = slot * self.stride + self.at;
        let (words, _) = self.words[start..].split_first_chunk_mut().unwrap_or_else(unreachable_cells);
        words
    }
}

#[cold]
#[expect(
    clippy::panic,
    reason = "cells are sized from the accumulators' own widths; a hole here is a bug, never data"
)]
fn unreachable_cells<T>() -> T {
    panic!("an aggregate's words lie outside its cells")
}

/// Read-only [`Cells`] of all groups, or of those in `chosen`.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub words: &'a [u64],
    pub stride: usize,
    pub at: usize,
    pub groups: usize,
    pub chosen: Option<&'a [u32]>,
}

impl View<'_> {
    /// One word of each group.
    pub fn column(self, index: usize) -> Vec<u64> {
        let word = |slot: usize| self.words[slot * self.stride + self.at + index];
        match self.chosen {
            None => (0..self.groups).map(word).collect(),
            Some(chosen) => chosen.iter().map(|slot| word(*slot as usize)).collect(),
        }
    }

    /// [`View::column`] as signed words.
    pub fn signed(self, index: usize) -> Vec<i64> {
        self.column(index).into_iter().map(|word| word as i64).collect()
    }

    /// The slots, in order.
    pub fn slots(self) -> impl Iterator<Item = usize> {
        let count = self.chosen.map_or(self.groups, <[u32]>::len);
        (0..count).map(move |row| self.chosen.map_or(row, |chosen| chosen[row] as usize))
    }
}

/// What an aggregate reads of a batch, in the form that its kernel wants.
#[derive(Debug, Default)]
pub struct Prepared {
    pub values: Values,
    /// The rows that count; `None`: all.
    pub counts: Option<BooleanBuffer>,
    /// The rows that are not null, where nulls count; `None`: all.
    pub valid: Option<BooleanBuffer>,
    pub order: Option<OrderColumns>,
}

impl Prepared {
    /// The words of the rows `range` if all rows count.
    pub fn all_words(&self, range: Range<usize>) -> Option<&[i64]> {
        match (&self.values, &self.counts) {
            (Values::Words(words), None) => words.get(range),
            _ => None,
        }
    }
}

/// See [`Prepared`].
#[derive(Debug, Default)]
pub enum Values {
    #[default]
    None,
    Words(ScalarBuffer<i64>),
    Floats(ScalarBuffer<f64>),
    Wide(ScalarBuffer<i128>),
    Rows(arrow::row::Rows),
    /// Two float columns.
    FloatPairs(ScalarBuffer<f64>, ScalarBuffer<f64>),
    /// Values, and what they are compared by.
    RowPairs(arrow::row::Rows, arrow::row::Rows),
    Columns(Vec<ArrayRef>),
}

/// One aggregate of all groups. See the module.
pub trait Accumulator: Send + Sync + Debug {
    /// Words of a group's cells.
    fn width(&self) -> usize {
        0
    }

    /// Fills the words of a group without rows.
    fn start(&self, _words: &mut [u64]) {}

    /// Makes room outside the cells.
    fn grow(&mut self, _groups: usize) {}

    /// Raw columns of a batch, before its chunks.
    fn prepare(&self, input: &Input<'_>) -> Result<Prepared>;

    /// Takes the rows `range` of a prepared batch; `slots` are theirs.
    fn update(
        &mut self,
        cells: Cells<'_>,
        slots: Slots<'_>,
        prepared: &Prepared,
        range: Range<usize>,
    ) -> Result<()>;

    /// What the rows `range` do if they change nothing but cells, by one simple operation each; see [`fused`].
    fn fold<'a>(&self, _prepared: &'a Prepared, _range: Range<usize>) -> Option<Fold<'a>> {
        None
    }

    /// Partial columns as [`Accumulator::partial`] makes them: name suffix and type.
    fn partial_types(&self) -> Vec<(&'static str, Arrow)>;

    /// The partial columns, one row a group.
    fn partial(&self, view: View<'_>) -> Result<Vec<ArrayRef>>;

    /// Partial columns, before their chunks.
    fn prepare_partial(&self, columns: &[ArrayRef]) -> Result<Prepared>;

    /// Takes the partial rows `range`; the rows of a group may come several times.
    fn merge(
        &mut self,
        cells: Cells<'_>,
        slots: Slots<'_>,
        prepared: &Prepared,
        range: Range<usize>,
    ) -> Result<()>;

    /// The result, one row a group, in the output column's Arrow type.
    fn finish(&self, view: View<'_>) -> Result<ArrayRef>;

    /// Bytes held outside the cells.
    fn bytes(&self) -> usize {
        0
    }

    /// A copy, for state that a checkpoint still reads.
    fn boxed(&self) -> Box<dyn Accumulator>;
}

/// The input of one aggregate in one batch.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub column: Option<&'a ArrayRef>,
    /// The second column of an aggregate of two.
    pub other: Option<&'a ArrayRef>,
    pub filter: Option<&'a ArrayRef>,
    pub order: Option<&'a OrderColumns>,
}

impl Input<'_> {
    /// The column of an aggregate that has one.
    pub fn column(&self) -> Result<&ArrayRef> {
        self.column.ok_or_else(|| EngineError::internal("an aggregate", "it has no column"))
    }

    /// The second column of an aggregate of two.
    pub fn other(&self) -> Result<&ArrayRef> {
        self.other.ok_or_else(|| EngineError::internal("an aggregate", "it has no second column"))
    }

    /// The order of an aggregate that needs it.
    pub fn order(&self) -> Result<&OrderColumns> {
        self.order.ok_or_else(|| EngineError::internal("an ordered aggregate", "its input has no order"))
    }

    /// Rows where the filter is true; `None`: all.
    pub fn filtered(&self) -> Option<BooleanBuffer> {
        let filter = self.filter?.as_boolean();
        Some(match filter.nulls() {
            Some(nulls) if nulls.null_count() > 0 => filter.values() & nulls.inner(),
            _ => filter.values().clone(),
        })
    }

    /// Rows where the filter is true and the column is not null; `None`: all.
    pub fn counted(&self) -> Option<BooleanBuffer> {
        let valid = self.column.and_then(valid);
        both(self.filtered(), valid)
    }
}

/// The rows that are in both; `None`: all.
pub fn both(one: Option<BooleanBuffer>, other: Option<BooleanBuffer>) -> Option<BooleanBuffer> {
    match (one, other) {
        (Some(one), Some(other)) => Some(&one & &other),
        (one, other) => one.or(other),
    }
}

/// The rows that are not null; `None`: all.
pub fn valid(column: &ArrayRef) -> Option<BooleanBuffer> {
    column.logical_nulls().filter(|nulls| nulls.null_count() > 0).map(|nulls| nulls.inner().clone())
}

/// Calls `each` with the rows of `range` that count: row in the batch, row in the chunk.
pub fn for_each_counted(
    counts: Option<&BooleanBuffer>,
    range: Range<usize>,
    mut each: impl FnMut(usize, usize),
) {
    match counts {
        None => range.clone().enumerate().for_each(|(chunk_row, row)| each(row, chunk_row)),
        Some(counts) => {
            let start = range.start;
            counts
                .slice(start, range.len())
                .set_indices()
                .for_each(|chunk_row| each(start + chunk_row, chunk_row));
        }
    }
}

/// The logical order of the rows of a batch: (time, input, split, position).
#[derive(Clone, Debug)]
pub struct OrderColumns {
    /// `None` below any watermark: all equal.
    pub time: Option<ScalarBuffer<i64>>,
    /// Input in the upper half, split in the lower.
    pub source: Source,
    pub position: ScalarBuffer<u64>,
}

/// See [`OrderColumns`].
#[derive(Clone, Debug)]
pub enum Source {
    Whole(u64),
    Each(ScalarBuffer<u64>),
}

impl OrderColumns {
    /// Of the hidden columns and the place of a batch.
    pub fn of(batch: &Batch) -> Result<Self> {
        let records = &batch.records;
        let position = records
            .column_by_name(event::POSITION)
            .and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let position = position.ok_or_else(|| missing("position"))?.values().clone();
        let time =
            records.column_by_name(event::TIME).and_then(|column| column.as_primitive_opt::<Int64Type>());
        let time = time.map(|column| column.values().clone());
        let source = match (hidden_u32(records, event::INPUT), hidden_u32(records, event::SPLIT), batch.order)
        {
            (Some(input), Some(split), _) => Source::Each(
                input.iter().zip(split.iter()).map(|(input, split)| source_word(*input, *split)).collect(),
            ),
            (_, _, Some(order)) => Source::Whole(source_word(order.input, order.split)),
            _ => return Err(missing("input and split")),
        };
        Ok(Self { time, source, position })
    }

    /// The order of one row: time, source, position, each comparable as a number.
    pub fn row(&self, row: usize) -> [i64; 3] {
        let source = match &self.source {
            Source::Whole(source) => *source,
            Source::Each(sources) => sources[row],
        };
        [self.time.as_ref().map_or(0, |time| time[row]), source as i64, self.position[row] as i64]
    }
}

fn source_word(input: u32, split: u32) -> u64 {
    u64::from(input) << 32 | u64::from(split)
}

fn hidden_u32(records: &RecordBatch, name: &str) -> Option<ScalarBuffer<u32>> {
    Some(records.column_by_name(name)?.as_primitive_opt::<UInt32Type>()?.values().clone())
}

fn missing(what: &str) -> EngineError {
    EngineError::internal("an ordered aggregate", format!("its input has no {what}"))
}

/// The accumulator of one aggregate; `input` and `other` are the types of its columns.
///
/// # Errors
/// [`EngineError::Call`]: a function that its column's type does not have.
pub fn accumulator(
    aggregate: &Aggregate,
    input: Option<&DataType>,
    other: Option<&DataType>,
) -> Result<Box<dyn Accumulator>> {
    let (output, options) = (&aggregate.dtype, &aggregate.options);
    let second = || other.ok_or_else(|| EngineError::internal(&aggregate.text, "it has no second column"));
    let column = || input.ok_or_else(|| EngineError::internal(&aggregate.text, "it has no column"));
    let accumulator: Option<Box<dyn Accumulator>> = match aggregate.function {
        AggregateFunction::Len => Some(Box::new(count::Count::rows(output, &aggregate.text))),
        AggregateFunction::Count => Some(Box::new(count::Count::values(output, &aggregate.text))),
        AggregateFunction::Sum => sum::accumulator(column()?, output, &aggregate.text)?,
        AggregateFunction::Mean => mean::accumulator(column()?, output)?,
        AggregateFunction::Min => extreme::accumulator(column()?, extreme::End::Min)?,
        AggregateFunction::Max => extreme::accumulator(column()?, extreme::End::Max)?,
        AggregateFunction::First => Some(first_last::accumulator(column()?, first_last::End::First)?),
        AggregateFunction::Last => Some(first_last::accumulator(column()?, first_last::End::Last)?),
        AggregateFunction::NUnique => Some(n_unique::accumulator(column()?, output, &aggregate.text)?),
        AggregateFunction::Var => moments::accumulator(column()?, output, moments::Of::var(options)),
        AggregateFunction::Std => moments::accumulator(column()?, output, moments::Of::std(options)),
        AggregateFunction::Skew => moments::accumulator(column()?, output, moments::Of::skew(options)),
        AggregateFunction::Kurtosis => {
            moments::accumulator(column()?, output, moments::Of::kurtosis(options))
        }
        AggregateFunction::Cov => {
            covariance::accumulator(column()?, second()?, output, covariance::Of::cov(options))
        }
        AggregateFunction::Corr => {
            covariance::accumulator(column()?, second()?, output, covariance::Of::Corr)
        }
        AggregateFunction::Median => quantile::median(column()?, output),
        AggregateFunction::Quantile => quantile::accumulator(column()?, output, options),
        AggregateFunction::Product => product::accumulator(column()?, output),
        AggregateFunction::BitwiseAnd => bitwise::accumulator(column()?, bitwise::Bits::And),
        AggregateFunction::BitwiseOr => bitwise::accumulator(column()?, bitwise::Bits::Or),
        AggregateFunction::BitwiseXor => bitwise::accumulator(column()?, bitwise::Bits::Xor),
        AggregateFunction::MinBy => Some(extreme_by::accumulator(column()?, second()?, extreme::End::Min)?),
        AggregateFunction::MaxBy => Some(extreme_by::accumulator(column()?, second()?, extreme::End::Max)?),
        AggregateFunction::Implode => Some(implode::accumulator(output, aggregate.needs_order())),
        AggregateFunction::Unique => Some(distinct::accumulator(column()?, output, distinct::Of::Values)?),
        AggregateFunction::ValueCounts => {
            Some(distinct::accumulator(column()?, output, distinct::Of::Counts)?)
        }
        AggregateFunction::Mode => {
            Some(distinct::accumulator(column()?, output, distinct::Of::MostFrequent)?)
        }
    };
    accumulator.ok_or_else(|| {
        let dtypes = input.into_iter().chain(other).map(ToString::to_string).collect::<Vec<_>>();
        let (function, dtype) = (aggregate.function.name(), dtypes.join(" and "));
        EngineError::call(&aggregate.text, format!("a column of a type that has {function}"), dtype)
    })
}
