//! `mean`: null without values. The sum behind it is that of `float_sum.rs` for floats, of `exact_sum.rs` else.

use super::Accumulator;
use super::exact_sum::ExactSum;
use super::extreme::End;
use super::extreme_rows::ExtremeRows;
use super::float_sum::FloatSum;
use crate::error::Result;
use dataflare_plan::DataType;

/// The accumulator for a column type; `None`: it has no mean.
pub fn accumulator(input: &DataType, output: &DataType) -> Result<Option<Box<dyn Accumulator>>> {
    Ok(match input {
        DataType::Float32 | DataType::Float64 => Some(Box::new(FloatSum::mean(output))),
        DataType::Null => Some(Box::new(ExtremeRows::new(input, End::Max)?)),
        _ => ExactSum::mean(input, output).map(|sum| Box::new(sum) as Box<dyn Accumulator>),
    })
}
