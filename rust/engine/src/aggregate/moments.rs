//! `var`, `std`, `skew`, `kurtosis`: the number of values and the sums of the powers of their distances from the group's
//! first value (its *shift*), in double-double arithmetic. Sums around another shift are moved to it when they are merged.
//!
//! A NaN or an infinity makes the answer NaN. Float32 is computed in Float64 and rounded once.

use super::double_double::DoubleDouble;
use super::{Accumulator, Cells, Input, Prepared, Slots, Values, View, for_each_counted};
use crate::error::Result;
use crate::types::arrow_type;
use arrow::array::{ArrayRef, AsArray, Float64Array, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, Float64Type, UInt64Type};
use dataflare_plan::{AggregateOptions, DataType};
use std::ops::Range;
use std::sync::Arc;

/// Which function of the moments.
#[derive(Clone, Copy, Debug)]
pub enum Of {
    Var { ddof: u8 },
    Std { ddof: u8 },
    Skew { bias: bool },
    Kurtosis { fisher: bool, bias: bool },
}

impl Of {
    pub fn var(options: &AggregateOptions) -> Self {
        Self::Var { ddof: options.ddof.unwrap_or(1) }
    }

    pub fn std(options: &AggregateOptions) -> Self {
        Self::Std { ddof: options.ddof.unwrap_or(1) }
    }

    pub fn skew(options: &AggregateOptions) -> Self {
        Self::Skew { bias: options.bias.unwrap_or(true) }
    }

    pub fn kurtosis(options: &AggregateOptions) -> Self {
        Self::Kurtosis { fisher: options.fisher.unwrap_or(true), bias: options.bias.unwrap_or(true) }
    }

    /// The highest power that is summed.
    fn powers(self) -> usize {
        match self {
            Self::Var { .. } | Self::Std { .. } => 2,
            Self::Skew { .. } => 3,
            Self::Kurtosis { .. } => 4,
        }
    }
}

/// The accumulator for a column type; `None`: it has no moments.
pub fn accumulator(input: &DataType, output: &DataType, of: Of) -> Option<Box<dyn Accumulator>> {
    let fits = match input {
        DataType::Boolean | DataType::Decimal { .. } => true,
        other => other.is_integer() || other.is_float(),
    };
    fits.then(|| Box::new(Moments { of, output: arrow_type(output) }) as Box<dyn Accumulator>)
}

#[derive(Clone, Debug)]
struct Moments {
    of: Of,
    output: Arrow,
}

/// Words: finite values, other values, shift, then two for each power sum.
const COUNTS: usize = 2;
const SHIFT: usize = 2;
const SUMS: usize = 3;
const MOST_POWERS: usize = 4;
/// Of each exponent, from its second.
const BINOMIALS: [[f64; 4]; MOST_POWERS] =
    [[1.0, 0.0, 0.0, 0.0], [2.0, 1.0, 0.0, 0.0], [3.0, 3.0, 1.0, 0.0], [4.0, 6.0, 4.0, 1.0]];
const NAMES: [[&str; 2]; MOST_POWERS] =
    [["sum", "sum low"], ["squares", "squares low"], ["cubes", "cubes low"], ["fourths", "fourths low"]];

impl Moments {
    fn result(&self, count: u64, others: u64, sums: &[DoubleDouble]) -> Option<f64> {
        if others > 0 {
            return (count + others > self.needed()).then_some(f64::NAN);
        }
        let n = count as f64;
        if count == 0 || count <= self.needed() {
            return None;
        }
        let [sum, squares, cubes, fourths] =
            [0, 1, 2, 3].map(|power| sums.get(power).copied().unwrap_or_default());
        let mean = sum.over(n);
        // n times the second central moment. Less than the sums can tell apart is nothing.
        let second = (squares - mean * sum).value();
        let second = if second <= squares.high * n * 2_f64.powi(-98) { 0.0 } else { second };
        match self.of {
            Of::Var { ddof } | Of::Std { ddof } => {
                let var = second / (n - f64::from(ddof));
                Some(if let Of::Std { .. } = self.of { var.sqrt() } else { var })
            }
            Of::Skew { bias } => {
                let three = DoubleDouble::new(3.0);
                let third =
                    (cubes - three * mean * squares + DoubleDouble::new(2.0) * mean * mean * sum).value() / n;
                let skew = third / (second / n).powf(1.5);
                Some(if bias { skew } else { (n * (n - 1.0)).sqrt() / (n - 2.0) * skew })
            }
            Of::Kurtosis { fisher, bias } => {
                let (three, four, six) =
                    (DoubleDouble::new(3.0), DoubleDouble::new(4.0), DoubleDouble::new(6.0));
                let square = mean * mean;
                let fourth =
                    fourths - four * mean * cubes + six * square * squares - three * square * mean * sum;
                let (fourth, second) = (fourth.value() / n, second / n);
                let ratio = fourth / (second * second);
                let ratio = if bias {
                    ratio
                } else {
                    (n - 1.0) / ((n - 2.0) * (n - 3.0)) * ((n + 1.0) * ratio - 3.0 * (n - 1.0)) + 3.0
                };
                Some(if fisher { ratio - 3.0 } else { ratio })
            }
        }
    }

    /// With no more values than this the answer is null.
    fn needed(&self) -> u64 {
        match self.of {
            Of::Var { ddof } | Of::Std { ddof } => u64::from(ddof),
            Of::Skew { bias: false } => 2,
            Of::Kurtosis { bias: false, .. } => 3,
            Of::Skew { .. } | Of::Kurtosis { .. } => 0,
        }
    }

    fn add(&self, cells: &mut Cells<'_>, slot: usize, value: f64) {
        if !value.is_finite() {
            *cells.word(slot, 1) += 1;
            return;
        }
        let shift = Self::shift(cells, slot, value);
        *cells.word(slot, 0) += 1;
        let distance = DoubleDouble::new(value) - shift;
        let mut power = distance;
        for index in 0..self.of.powers() {
            if index > 0 {
                power = power * distance;
            }
            self.add_sum(cells, slot, index, power);
        }
    }

    /// The shift of a group; `first` if it has none yet.
    fn shift(cells: &mut Cells<'_>, slot: usize, first: f64) -> DoubleDouble {
        if *cells.word(slot, 0) == 0 {
            *cells.word(slot, SHIFT) = first.to_bits();
        }
        DoubleDouble::new(f64::from_bits(*cells.word(slot, SHIFT)))
    }

    /// Adds the sums of `count` values around another shift.
    fn add_moved(&self, cells: &mut Cells<'_>, slot: usize, count: u64, shift: f64, sums: &[DoubleDouble]) {
        if count == 0 {
            return;
        }
        let distance = DoubleDouble::new(shift) - Self::shift(cells, slot, shift);
        *cells.word(slot, 0) += count;
        let below = |power: usize| if power == 0 { DoubleDouble::new(count as f64) } else { sums[power - 1] };
        for (index, binomials) in BINOMIALS.iter().enumerate().take(sums.len()) {
            // The binomial theorem: the sum of (x + distance)^n, from the sums of x^n, x^(n-1), …, 1.
            let exponent = index + 1;
            let (mut moved, mut factor) = (below(exponent), DoubleDouble::new(1.0));
            for (step, binomial) in (1..=exponent).zip(binomials) {
                factor = factor * distance;
                moved = moved + DoubleDouble::new(*binomial) * factor * below(exponent - step);
            }
            self.add_sum(cells, slot, index, moved);
        }
    }

    fn add_sum(&self, cells: &mut Cells<'_>, slot: usize, index: usize, addend: DoubleDouble) {
        let at = SUMS + 2 * index;
        let held = DoubleDouble::from_words([*cells.word(slot, at), *cells.word(slot, at + 1)]);
        let [high, low] = (held + addend).words();
        *cells.word(slot, at) = high;
        *cells.word(slot, at + 1) = low;
    }
}

impl Accumulator for Moments {
    fn width(&self) -> usize {
        SUMS + 2 * self.of.powers()
    }

    fn prepare(&self, input: &Input<'_>) -> Result<Prepared> {
        let values = cast(input.column()?, &Arrow::Float64)?.as_primitive::<Float64Type>().values().clone();
        Ok(Prepared { values: Values::Floats(values), counts: input.counted(), ..Prepared::default() })
    }

    fn update(
        &mut self,
        mut cells: Cells<'_>,
        slots: Slots<'_>,
        prepared: &Prepared,
        range: Range<usize>,
    ) -> Result<()> {
        let Values::Floats(values) = &prepared.values else { return Ok(()) };
        for_each_counted(prepared.counts.as_ref(), range, |row, chunk_row| {
            self.add(&mut cells, slots.slot(chunk_row), values[row]);
        });
        Ok(())
    }

    fn partial_types(&self) -> Vec<(&'static str, Arrow)> {
        let sums = NAMES[..self.of.powers()].iter().flatten().map(|name| (*name, Arrow::Float64));
        let head = [("finite", Arrow::UInt64), ("other", Arrow::UInt64), ("shift", Arrow::Float64)];
        head.into_iter().chain(sums).collect()
    }

    fn partial(&self, view: View<'_>) -> Result<Vec<ArrayRef>> {
        let counts = (0..COUNTS).map(|index| Arc::new(UInt64Array::from(view.column(index))) as ArrayRef);
        let sums = (COUNTS..self.width()).map(|index| {
            let floats = view.column(index).into_iter().map(f64::from_bits);
            Arc::new(Float64Array::from_iter_values(floats)) as ArrayRef
        });
        Ok(counts.chain(sums).collect())
    }

    fn prepare_partial(&self, columns: &[ArrayRef]) -> Result<Prepared> {
        Ok(Prepared { values: Values::Columns(columns.to_vec()), ..Prepared::default() })
    }

    fn merge(
        &mut self,
        mut cells: Cells<'_>,
        slots: Slots<'_>,
        prepared: &Prepared,
        range: Range<usize>,
    ) -> Result<()> {
        let Values::Columns(columns) = &prepared.values else { return Ok(()) };
        let float = |index: usize, row: usize| columns[index].as_primitive::<Float64Type>().value(row);
        let counter = |index: usize, row: usize| columns[index].as_primitive::<UInt64Type>().value(row);
        for (chunk_row, row) in range.enumerate() {
            let slot = slots.slot(chunk_row);
            *cells.word(slot, 1) += counter(1, row);
            let sum = |power: usize| {
                let at = SUMS + 2 * power;
                DoubleDouble { high: float(at, row), low: float(at + 1, row) }
            };
            let sums: [DoubleDouble; MOST_POWERS] = std::array::from_fn(|power| {
                if power < self.of.powers() { sum(power) } else { DoubleDouble::default() }
            });
            self.add_moved(&mut cells, slot, counter(0, row), float(SHIFT, row), &sums[..self.of.powers()]);
        }
        Ok(())
    }

    fn finish(&self, view: View<'_>) -> Result<ArrayRef> {
        let results = view.slots().map(|slot| {
            let words = &view.words[slot * view.stride + view.at..][..self.width()];
            let sums: Vec<DoubleDouble> =
                words[SUMS..].chunks_exact(2).map(|two| DoubleDouble::from_words([two[0], two[1]])).collect();
            self.result(words[0], words[1], &sums)
        });
        let results: ArrayRef = Arc::new(results.collect::<Float64Array>());
        Ok(if results.data_type() == &self.output { results } else { cast(&results, &self.output)? })
    }

    fn boxed(&self) -> Box<dyn Accumulator> {
        Box::new(self.clone())
    }
}
