//! Windows that end at each row: the last n rows of the key (`rolling_sum(3)`), or its rows of the last period
//! (`rolling("ts", period=)`, `rolling_sum_by`). A [`Fold`] says what a window gives.
//!
//! Rows of equal time see each other, so a batch holds all rows of a time or none. A row is added once and taken back once.
//! State: the rows of each key's window; keys that fell silent are forgotten when the watermark has passed their window.
//! Not here: `group_by_dynamic`, whose windows do not depend on rows (`window`).

use super::cells::{CellType, Integers};
use super::{Kept, Rows, Running, column, number};
use crate::error::Result;
use crate::window::span::Span;
use arrow::array::{ArrayRef, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;

/// What the values of a window give.
pub trait Fold: Clone + Debug + Send + Sync + 'static {
    type In: CellType;
    type Out: CellType;
    /// What is known of the values of a window, so that one more or less costs little.
    type State: Clone + Default + Debug + Send + Sync;

    fn input(&self) -> &Self::In;

    fn output(&self) -> &Self::Out;

    /// Takes the newest value in.
    fn add(&self, state: &mut Self::State, value: &<Self::In as CellType>::Cell);

    /// Takes the oldest value back.
    fn remove(&self, state: &mut Self::State, value: &<Self::In as CellType>::Cell);

    /// The answer of a window.
    fn answer(&self, window: &Window<Self>) -> Option<<Self::Out as CellType>::Cell>;

    /// True if equal values must be identical: one zero, one NaN.
    fn compares(&self) -> bool {
        false
    }

    /// Bytes of the values that a window holds twice.
    fn bytes(&self, _state: &Self::State) -> usize {
        0
    }
}

/// The rows of one key that a window holds, and what is known of them.
#[derive(Clone, Debug)]
pub struct Window<F: Fold> {
    pub rows: VecDeque<(i64, Option<<F::In as CellType>::Cell>)>,
    /// Rows with a value.
    pub values: usize,
    pub state: F::State,
}

/// Which rows a window holds.
#[derive(Clone, Debug)]
pub enum Frame {
    /// The last rows of the key.
    Rows(usize),
    /// Those of a span of time before the row's.
    Time(Span),
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Rolling<F: Fold> {
    fold: F,
    frame: Frame,
    /// With fewer values the answer is null.
    min_samples: usize,
    windows: Vec<Window<F>>,
}

impl<F: Fold> Default for Window<F> {
    fn default() -> Self {
        Self { rows: VecDeque::new(), values: 0, state: F::State::default() }
    }
}

impl<F: Fold> Window<F> {
    fn push(&mut self, fold: &F, time: i64, value: Option<<F::In as CellType>::Cell>) {
        if let Some(value) = &value {
            fold.add(&mut self.state, value);
            self.values += 1;
        }
        self.rows.push_back((time, value));
    }

    fn pop(&mut self, fold: &F) {
        if let Some((_, Some(value))) = self.rows.pop_front() {
            self.values -= 1;
            fold.remove(&mut self.state, &value);
            if self.values == 0 {
                self.state = F::State::default();
            }
        }
    }
}

impl<F: Fold> Rolling<F> {
    pub fn boxed(fold: F, frame: Frame, min_samples: usize) -> Box<dyn Running> {
        Box::new(Self { fold, frame, min_samples, windows: Vec::new() })
    }

    fn grow(&mut self, keys: usize) {
        self.windows.resize_with(self.windows.len().max(keys), Window::default);
    }

    /// Takes one row in.
    fn push(&mut self, slot: u32, time: i64, value: Option<<F::In as CellType>::Cell>) {
        if let Some(window) = self.windows.get_mut(slot as usize) {
            window.push(&self.fold, time, value);
            if let Frame::Rows(rows) = self.frame {
                while window.rows.len() > rows {
                    window.pop(&self.fold);
                }
            }
        }
    }

    /// The answer of a row, once its window is complete.
    fn answer(&mut self, slot: u32, from: i64) -> Option<<F::Out as CellType>::Cell> {
        let window = self.windows.get_mut(slot as usize)?;
        if matches!(self.frame, Frame::Time(_)) {
            while window.rows.front().is_some_and(|(time, _)| *time < from) {
                window.pop(&self.fold);
            }
        }
        if window.values < self.min_samples { None } else { self.fold.answer(window) }
    }
}

impl<F: Fold> Running for Rolling<F> {
    fn evaluate(&mut self, rows: &Rows<'_>) -> Result<ArrayRef> {
        self.grow(rows.keys);
        let input = self.fold.input();
        let mut cells = if self.fold.compares() { rows.canonical_cells(input)? } else { rows.cells(input)? };
        let counts = rows.counts();
        let is_counted = |row: usize| counts.as_ref().is_none_or(|counts| counts.value(row));
        let mut answers = Vec::with_capacity(rows.slots.len());
        let Frame::Time(span) = self.frame.clone() else {
            for (slot, cell) in rows.slots.iter().zip(cells) {
                self.push(*slot, 0, cell);
                answers.push(self.answer(*slot, 0));
            }
            return self.fold.output().column(answers);
        };
        let mut start = 0;
        while start < rows.slots.len() {
            let time = rows.time(start);
            let same = rows.times[start..].iter().take_while(|one| **one == time).count().max(1);
            let run = start..start + same;
            let from = span.first(time);
            let mut push_all = |all: &mut Self| {
                for row in run.clone().filter(|row| is_counted(*row)) {
                    all.push(rows.slots[row], time, cells[row].take());
                }
            };
            if span.holds_end() {
                push_all(self);
            }
            answers.extend(run.clone().map(|row| self.answer(rows.slots[row], from)));
            if !span.holds_end() {
                push_all(self);
            }
            start = run.end;
        }
        self.fold.output().column(answers)
    }

    fn kept(&self) -> Result<Kept> {
        let held = self.windows.iter().map(|window| window.rows.len()).sum();
        let (mut slots, mut times, mut values) =
            (Vec::with_capacity(held), Vec::with_capacity(held), Vec::with_capacity(held));
        for (slot, window) in (0u32..).zip(&self.windows) {
            for (time, value) in &window.rows {
                slots.push(slot);
                times.push(*time);
                values.push(value.clone());
            }
        }
        let has_value = BooleanArray::from_iter(values.iter().map(|value| Some(value.is_some())));
        let values = self.fold.input().column(values)?;
        let columns: Vec<(&'static str, ArrayRef)> = vec![
            ("time", Arc::new(Int64Array::from(times))),
            ("value", values),
            ("counts", Arc::new(has_value)),
        ];
        Ok(Kept { slots, columns })
    }

    fn restore(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        self.grow(slots.iter().max().map_or(0, |slot| *slot as usize + 1));
        let times = number::<Int64Type>(columns, 0)?;
        let values = self.fold.input().cells(column(columns, 1)?)?;
        for ((slot, time), value) in slots.iter().zip(times).zip(values) {
            self.push(*slot, time, value);
        }
        Ok(())
    }

    fn is_forgotten(&self, slot: u32, watermark: i64) -> bool {
        let Frame::Time(span) = &self.frame else { return false };
        let newest = self.windows.get(slot as usize).and_then(|window| window.rows.back());
        newest.is_none_or(|(time, _)| *time < span.first(watermark))
    }

    fn renumber(&mut self, kept: &[u32]) {
        let mut windows = std::mem::take(&mut self.windows);
        self.windows =
            kept.iter().filter_map(|slot| Some(std::mem::take(windows.get_mut(*slot as usize)?))).collect();
    }

    fn bytes(&self) -> usize {
        let cell = size_of::<(i64, Option<<F::In as CellType>::Cell>)>();
        let of = |window: &Window<F>| window.rows.capacity() * cell + self.fold.bytes(&window.state);
        self.windows.iter().map(of).sum::<usize>() + self.windows.capacity() * size_of::<Window<F>>()
    }

    fn boxed(&self) -> Box<dyn Running> {
        Box::new(self.clone())
    }
}

/// Counters as a column: `len`, `count`, `n_unique`.
pub fn counters(output: &DataType) -> Integers {
    Integers(output.clone())
}
