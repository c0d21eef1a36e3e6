//! A sum of floats from which values can be taken back: double-double (Knuth's two-sum), what is not finite counted apart.

use super::number;
use crate::error::Result;
use arrow::array::{ArrayRef, Float64Array, UInt64Array};
use arrow::datatypes::{Float64Type, UInt64Type};
use std::sync::Arc;

/// See the module. The default is the sum of nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Double {
    high: f64,
    low: f64,
    nan: u64,
    plus: u64,
    minus: u64,
}

impl Double {
    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        self.change(value, 1);
    }

    /// Takes a value back that was added.
    pub fn remove(&mut self, value: f64) {
        self.change(-value, u64::MAX);
    }

    fn change(&mut self, value: f64, by: u64) {
        if value.is_finite() {
            let sum = self.high + value;
            let rounded = sum - self.high;
            self.low += (self.high - (sum - rounded)) + (value - rounded);
            self.high = sum;
            return;
        }
        // A value that is taken back comes with the other sign.
        let is_plus = (value > 0.0) == (by == 1);
        let count = match value.is_nan() {
            true => &mut self.nan,
            false if is_plus => &mut self.plus,
            false => &mut self.minus,
        };
        *count = count.wrapping_add(by);
    }

    /// The sum.
    pub fn value(&self) -> f64 {
        match (self.nan, self.plus, self.minus) {
            (0, 0, 0) if self.high.is_finite() => self.high + self.low,
            (0, 0, 0) => self.high,
            (0, _, 0) => f64::INFINITY,
            (0, 0, _) => f64::NEG_INFINITY,
            _ => f64::NAN,
        }
    }

    /// True if every value is finite.
    pub fn is_finite(&self) -> bool {
        self.nan + self.plus + self.minus == 0
    }

    /// Several sums as columns of a state table.
    pub fn columns(sums: &[Self]) -> Vec<(&'static str, ArrayRef)> {
        let floats =
            |of: fn(&Self) -> f64| Arc::new(sums.iter().map(|sum| Some(of(sum))).collect::<Float64Array>());
        let counts =
            |of: fn(&Self) -> u64| Arc::new(sums.iter().map(|sum| Some(of(sum))).collect::<UInt64Array>());
        vec![
            ("high", floats(|sum| sum.high)),
            ("low", floats(|sum| sum.low)),
            ("nan", counts(|sum| sum.nan)),
            ("inf", counts(|sum| sum.plus)),
            ("minus_inf", counts(|sum| sum.minus)),
        ]
    }

    /// The sums in such columns.
    ///
    /// # Errors
    /// Columns of another form.
    pub fn of_columns(columns: &[ArrayRef]) -> Result<Vec<Self>> {
        let float = |index| number::<Float64Type>(columns, index);
        let count = |index| number::<UInt64Type>(columns, index);
        let (high, low, nan, plus, minus) = (float(0)?, float(1)?, count(2)?, count(3)?, count(4)?);
        let counts = nan.into_iter().zip(plus).zip(minus);
        let sums = high.into_iter().zip(low).zip(counts);
        Ok(sums.map(|((high, low), ((nan, plus), minus))| Self { high, low, nan, plus, minus }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::Double;

    #[test]
    fn what_is_taken_back_leaves_no_trace() {
        let mut sum = Double::default();
        for value in [1e16, 0.1, f64::INFINITY, f64::NAN, f64::NEG_INFINITY] {
            sum.add(value);
        }
        assert!(sum.value().is_nan());
        for value in [f64::NAN, f64::NEG_INFINITY] {
            sum.remove(value);
        }
        assert_eq!(sum.value(), f64::INFINITY);
        sum.remove(f64::INFINITY);
        sum.remove(1e16);
        assert_eq!(sum.value(), 0.1);
    }
}
