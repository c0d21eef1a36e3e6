//! What a window gives: sums and means, counts, the smallest and largest value, the first and last one.
//! Not here: variance and quantiles (`moments.rs`, `quantile.rs`).

use super::cells::{CellType, Floats, Integers};
use super::double::Double;
use super::rolling::{Fold, Window};
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// `sum` of integers: exact, wrapping; of nothing it is 0.
#[derive(Clone, Debug)]
pub struct IntegerSum {
    pub output: Integers,
}

impl Fold for IntegerSum {
    type In = Integers;
    type Out = Integers;
    type State = i64;

    fn input(&self) -> &Integers {
        &self.output
    }

    fn output(&self) -> &Integers {
        &self.output
    }

    fn add(&self, sum: &mut i64, value: &i64) {
        *sum = sum.wrapping_add(*value);
    }

    fn remove(&self, sum: &mut i64, value: &i64) {
        *sum = sum.wrapping_sub(*value);
    }

    fn answer(&self, window: &Window<Self>) -> Option<i64> {
        Some(window.state)
    }
}

/// `sum` and `mean` of floats; the mean of nothing is null.
#[derive(Clone, Debug)]
pub struct FloatSum {
    pub output: Floats,
    pub is_mean: bool,
}

impl Fold for FloatSum {
    type In = Floats;
    type Out = Floats;
    type State = Double;

    fn input(&self) -> &Floats {
        &self.output
    }

    fn output(&self) -> &Floats {
        &self.output
    }

    fn add(&self, sum: &mut Double, value: &f64) {
        sum.add(*value);
    }

    fn remove(&self, sum: &mut Double, value: &f64) {
        sum.remove(*value);
    }

    fn answer(&self, window: &Window<Self>) -> Option<f64> {
        match (self.is_mean, window.values) {
            (false, _) => Some(window.state.value()),
            (true, 0) => None,
            (true, values) => Some(window.state.value() / values as f64),
        }
    }
}

/// `len` (`of_values` false) and `count`.
#[derive(Clone, Debug)]
pub struct Count<C: CellType> {
    pub input: C,
    pub output: Integers,
    pub of_values: bool,
}

impl<C: CellType> Fold for Count<C> {
    type In = C;
    type Out = Integers;
    type State = ();

    fn input(&self) -> &C {
        &self.input
    }

    fn output(&self) -> &Integers {
        &self.output
    }

    fn add(&self, (): &mut (), _value: &C::Cell) {}

    fn remove(&self, (): &mut (), _value: &C::Cell) {}

    fn answer(&self, window: &Window<Self>) -> Option<i64> {
        Some(if self.of_values { window.values } else { window.rows.len() } as i64)
    }
}

/// `n_unique`: null is a value.
#[derive(Clone, Debug)]
pub struct Distinct<C: CellType> {
    pub input: C,
    pub output: Integers,
}

impl<C: CellType> Fold for Distinct<C>
where
    C::Cell: Eq + Hash,
{
    type In = C;
    type Out = Integers;
    type State = HashMap<C::Cell, u32>;

    fn input(&self) -> &C {
        &self.input
    }

    fn output(&self) -> &Integers {
        &self.output
    }

    fn add(&self, seen: &mut Self::State, value: &C::Cell) {
        *seen.entry(value.clone()).or_insert(0) += 1;
    }

    fn remove(&self, seen: &mut Self::State, value: &C::Cell) {
        if let Some(count) = seen.get_mut(value) {
            *count -= 1;
            if *count == 0 {
                seen.remove(value);
            }
        }
    }

    fn answer(&self, window: &Window<Self>) -> Option<i64> {
        let null = i64::from(window.rows.len() > window.values);
        Some(window.state.len() as i64 + null)
    }

    fn compares(&self) -> bool {
        true
    }

    fn bytes(&self, state: &Self::State) -> usize {
        state.capacity() * size_of::<(C::Cell, u32)>()
    }
}

/// What NaN does to the smallest or largest value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nan {
    /// It gives way to any number, as in `max()`.
    GivesWay,
    /// It is the answer, as in `rolling_max()`.
    Wins,
}

/// `min` and `max`. The state holds what can still be the answer: each value better than all that came after it.
#[derive(Clone, Debug)]
pub struct Extreme<C: CellType> {
    pub cells: C,
    pub is_max: bool,
    pub nan: Option<(C::Cell, Nan)>,
}

impl<C: CellType> Extreme<C>
where
    C::Cell: Ord,
{
    /// True if the answer of both is the second.
    fn gives_way(&self, one: &C::Cell, other: &C::Cell) -> bool {
        if let Some((nan, rule)) = &self.nan
            && (one == nan) != (other == nan)
        {
            return (one == nan) == (*rule == Nan::GivesWay);
        }
        if self.is_max { one < other } else { one > other }
    }
}

impl<C: CellType> Fold for Extreme<C>
where
    C::Cell: Ord,
{
    type In = C;
    type Out = C;
    type State = VecDeque<C::Cell>;

    fn input(&self) -> &C {
        &self.cells
    }

    fn output(&self) -> &C {
        &self.cells
    }

    fn add(&self, best: &mut VecDeque<C::Cell>, value: &C::Cell) {
        while best.back().is_some_and(|last| self.gives_way(last, value)) {
            best.pop_back();
        }
        best.push_back(value.clone());
    }

    fn remove(&self, best: &mut VecDeque<C::Cell>, value: &C::Cell) {
        if best.front() == Some(value) {
            best.pop_front();
        }
    }

    fn answer(&self, window: &Window<Self>) -> Option<C::Cell> {
        window.state.front().cloned()
    }

    fn bytes(&self, state: &VecDeque<C::Cell>) -> usize {
        state.capacity() * size_of::<C::Cell>()
    }
}

/// `first` and `last`: of the rows in logical order, null or not.
#[derive(Clone, Debug)]
pub struct End<C: CellType> {
    pub cells: C,
    pub is_last: bool,
}

impl<C: CellType> Fold for End<C> {
    type In = C;
    type Out = C;
    type State = ();

    fn input(&self) -> &C {
        &self.cells
    }

    fn output(&self) -> &C {
        &self.cells
    }

    fn add(&self, (): &mut (), _value: &C::Cell) {}

    fn remove(&self, (): &mut (), _value: &C::Cell) {}

    fn answer(&self, window: &Window<Self>) -> Option<C::Cell> {
        let row = if self.is_last { window.rows.back() } else { window.rows.front() };
        row.and_then(|(_, value)| value.clone())
    }
}
