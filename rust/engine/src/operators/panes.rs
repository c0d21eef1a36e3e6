//! Panes: the pieces of event time that an aggregate keeps apart, and the windows that they make.
//!
//! Fixed windows are made of panes of gcd(every, period), so that a row is counted once however many windows hold it.
//! Calendar windows, and aggregates whose merge costs their size (`n_unique`), have one pane a window. Without a window
//! there is one pane; a time key has one a value. Called by the aggregate operators.

use crate::bounds::{bounds, prefix_within};
use crate::error::Result;
use crate::time::Timestamp;
use crate::window::Grid;
use dataflare_plan::{Closed, DataType, Window};
use std::ops::Range;

/// More panes a window than this cost more than they save.
const MOST_PANES: i64 = 64;

/// See the module.
#[derive(Clone, Debug)]
pub enum Panes {
    /// One for all rows.
    Whole,
    /// The value of the time key.
    Values,
    /// Equal pieces. Window *i* consists of the `per_window` panes from `i * per_step`.
    Pieces { grid: Grid, size: i64, offset: i64, per_step: i64, per_window: i64 },
    /// Windows.
    Windows(Grid),
}

impl Panes {
    /// Those of a window over a column of type `dtype`; `merge_cheaply`: all aggregates merge in O(1).
    ///
    /// # Errors
    /// A grid that is not supported.
    pub fn of_window(window: &Window, dtype: &DataType, merge_cheaply: bool) -> Result<Self> {
        let grid = Grid::new(window, dtype)?;
        let Some(fixed) = grid.fixed().filter(|_| merge_cheaply) else { return Ok(Self::Windows(grid)) };
        let size = gcd(fixed.every, fixed.period);
        // A time at the end of a window that is closed on the right belongs to the pane before it.
        let offset = match fixed.closed {
            Closed::Left => fixed.offset,
            Closed::Right => fixed.offset + 1,
            Closed::Both | Closed::None => return Ok(Self::Windows(grid)),
        };
        if size <= 0 || fixed.period / size > MOST_PANES {
            return Ok(Self::Windows(grid));
        }
        Ok(Self::Pieces { size, offset, per_step: fixed.every / size, per_window: fixed.period / size, grid })
    }

    /// True if rows need a time to find their pane.
    pub fn is_timed(&self) -> bool {
        !matches!(self, Self::Whole)
    }

    /// The panes that a row of time `t` is added to; grows with `t`.
    pub fn of_time(&self, t: i64) -> Range<i64> {
        match self {
            Self::Whole => 0..1,
            Self::Values => t..t.saturating_add(1),
            Self::Pieces { size, offset, .. } => {
                let pane = piece(t, *size, *offset);
                if self.windows(pane).is_empty() { pane..pane } else { pane..pane + 1 }
            }
            Self::Windows(grid) => grid.windows_of(t),
        }
    }

    /// True if no row at or above the watermark is added to the pane.
    pub fn is_final(&self, pane: i64, watermark: Timestamp) -> bool {
        match (self, watermark) {
            (_, Timestamp::MAX) => true,
            (_, Timestamp::MIN) | (Self::Whole, _) => false,
            (Self::Values, Timestamp(t)) => t > pane,
            (Self::Pieces { size, offset, .. }, Timestamp(t)) => piece(t, *size, *offset) > pane,
            (Self::Windows(grid), _) => grid.is_final(pane, watermark),
        }
    }

    /// The windows that a pane is part of.
    pub fn windows(&self, pane: i64) -> Range<i64> {
        match self {
            Self::Pieces { per_step, per_window, .. } => {
                let first = (pane - per_window).div_euclid(*per_step) + 1;
                first..pane.div_euclid(*per_step) + 1
            }
            _ => pane..pane.saturating_add(1),
        }
    }

    /// The panes of a window.
    pub fn of_window_index(&self, window: i64) -> Range<i64> {
        match self {
            Self::Pieces { per_step, per_window, .. } => window * per_step..window * per_step + per_window,
            _ => window..window.saturating_add(1),
        }
    }

    /// True if a pane can be part of several windows.
    pub fn overlap(&self) -> bool {
        matches!(self, Self::Pieces { per_step, per_window, .. } if per_window > per_step)
    }

    /// The first window that is not final.
    pub fn earliest_open(&self, watermark: Timestamp) -> i64 {
        match (self, watermark) {
            (_, Timestamp::MAX) => i64::MAX,
            (_, Timestamp::MIN) | (Self::Whole, _) => i64::MIN,
            (Self::Values, Timestamp(t)) => t,
            (Self::Pieces { grid, .. } | Self::Windows(grid), _) => grid.earliest_open(watermark),
        }
    }

    /// The event time of a window's result rows: its label.
    pub fn label(&self, window: i64) -> i64 {
        self.grid().map_or(window, |grid| grid.label(window))
    }

    /// Boundaries and label are asked of it.
    pub fn grid(&self) -> Option<&Grid> {
        match self {
            Self::Pieces { grid, .. } | Self::Windows(grid) => Some(grid),
            _ => None,
        }
    }

    /// Cuts a batch into runs of rows that belong to the same panes.
    pub fn runs(&self, times: &[i64]) -> Vec<Run> {
        // Only a search for where panes change needs an end.
        let ends = if let Self::Windows(_) = self { bounds(times) } else { Some((i64::MIN, i64::MAX)) };
        let Some((min, max)) = ends else { return Vec::new() };
        let mut runs: Vec<Run> = Vec::new();
        let mut row = 0;
        while row < times.len() {
            let panes = self.of_time(times[row]);
            let (low, high) = self.interval(times[row], &panes, min, max);
            let end = row + prefix_within(&times[row..], low, high);
            runs.push(Run { panes, rows: row..end });
            row = end;
        }
        runs
    }

    /// The times from `min` to `max` around `t` that belong to the same panes.
    fn interval(&self, t: i64, panes: &Range<i64>, min: i64, max: i64) -> (i64, i64) {
        match self {
            Self::Whole => (min, max),
            Self::Values => (t, t),
            Self::Pieces { size, offset, .. } => {
                let start = i128::from(piece(t, *size, *offset)) * i128::from(*size) + i128::from(*offset);
                let end = start + i128::from(*size) - 1;
                (start.max(i128::from(i64::MIN)) as i64, end.min(i128::from(i64::MAX)) as i64)
            }
            // Panes grow with time, so a bisection finds where they change.
            Self::Windows(_) => {
                let same = |time: i64| self.of_time(time) == *panes;
                (bisect(t, min, &same), bisect(t, max, &same))
            }
        }
    }
}

/// Consecutive rows of a batch, or chosen ones, with the panes that they are added to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub panes: Range<i64>,
    pub rows: Range<usize>,
}

/// The time nearest to `end` for which `same` holds, going from `t`, for which it does.
fn bisect(t: i64, end: i64, same: &dyn Fn(i64) -> bool) -> i64 {
    if same(end) {
        return end;
    }
    let (mut inside, mut outside) = (i128::from(t), i128::from(end));
    while (outside - inside).abs() > 1 {
        let middle = (inside + outside) / 2;
        if same(middle as i64) {
            inside = middle;
        } else {
            outside = middle;
        }
    }
    inside as i64
}

fn piece(t: i64, size: i64, offset: i64) -> i64 {
    (i128::from(t) - i128::from(offset)).div_euclid(i128::from(size)) as i64
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
