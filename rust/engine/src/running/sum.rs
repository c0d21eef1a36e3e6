//! `cum_sum` and `cum_prod`: nulls are passed over and stay null. Integers wrap at the width of the result, floats are
//! summed in double-double numbers, so that the sum of many rows is exact but for its last bit.

use super::cells::{CellType, Floats, Integers};
use super::double::Double;
use super::number;
use super::stepwise::Step;
use crate::error::Result;
use arrow::array::{ArrayRef, Float64Array, Int64Array};
use std::sync::Arc;

/// A running sum of integers, booleans or durations.
#[derive(Clone, Debug)]
pub struct IntegerSum {
    pub output: Integers,
}

impl Step for IntegerSum {
    type In = Integers;
    type Out = Integers;
    type State = i64;

    fn input(&self) -> &Integers {
        &self.output
    }

    fn output(&self) -> &Integers {
        &self.output
    }

    fn step(&self, sum: &mut i64, value: Option<&i64>, _time: i64) -> Option<i64> {
        *sum = sum.wrapping_add(*value?);
        Some(*sum)
    }

    fn encode(&self, states: &[i64]) -> Result<Vec<(&'static str, ArrayRef)>> {
        Ok(vec![("sum", Arc::new(Int64Array::from(states.to_vec())))])
    }

    fn decode(&self, columns: &[ArrayRef]) -> Result<Vec<i64>> {
        number::<arrow::datatypes::Int64Type>(columns, 0)
    }
}

/// A running sum of floats.
#[derive(Clone, Debug)]
pub struct FloatSum {
    pub output: Floats,
}

impl Step for FloatSum {
    type In = Floats;
    type Out = Floats;
    type State = Double;

    fn input(&self) -> &Floats {
        &self.output
    }

    fn output(&self) -> &Floats {
        &self.output
    }

    fn step(&self, sum: &mut Double, value: Option<&f64>, _time: i64) -> Option<f64> {
        sum.add(*value?);
        Some(sum.value())
    }

    fn encode(&self, states: &[Double]) -> Result<Vec<(&'static str, ArrayRef)>> {
        Ok(Double::columns(states))
    }

    fn decode(&self, columns: &[ArrayRef]) -> Result<Vec<Double>> {
        Double::of_columns(columns)
    }
}

/// A running product. `None`: no value yet.
#[derive(Clone, Debug)]
pub struct IntegerProduct {
    pub output: Integers,
}

impl Step for IntegerProduct {
    type In = Integers;
    type Out = Integers;
    type State = Option<i64>;

    fn input(&self) -> &Integers {
        &self.output
    }

    fn output(&self) -> &Integers {
        &self.output
    }

    fn step(&self, product: &mut Option<i64>, value: Option<&i64>, _time: i64) -> Option<i64> {
        *product = Some(product.unwrap_or(1).wrapping_mul(*value?));
        *product
    }

    fn encode(&self, states: &[Option<i64>]) -> Result<Vec<(&'static str, ArrayRef)>> {
        Ok(vec![("product", Arc::new(Int64Array::from(states.to_vec())))])
    }

    fn decode(&self, columns: &[ArrayRef]) -> Result<Vec<Option<i64>>> {
        super::numbers::<arrow::datatypes::Int64Type>(columns, 0)
    }
}

/// As above, of floats.
#[derive(Clone, Debug)]
pub struct FloatProduct {
    pub output: Floats,
}

impl Step for FloatProduct {
    type In = Floats;
    type Out = Floats;
    type State = Option<f64>;

    fn input(&self) -> &Floats {
        &self.output
    }

    fn output(&self) -> &Floats {
        &self.output
    }

    fn step(&self, product: &mut Option<f64>, value: Option<&f64>, _time: i64) -> Option<f64> {
        *product = Some(product.unwrap_or(1.0) * value?);
        *product
    }

    fn encode(&self, states: &[Option<f64>]) -> Result<Vec<(&'static str, ArrayRef)>> {
        Ok(vec![("product", Arc::new(Float64Array::from(states.to_vec())))])
    }

    fn decode(&self, columns: &[ArrayRef]) -> Result<Vec<Option<f64>>> {
        Floats(arrow::datatypes::DataType::Float64).cells(super::column(columns, 0)?)
    }
}
