//! `ewm_mean` by rows and `ewm_mean_by` by time.
//!
//! By rows: weights (1 - alpha)^i of the rows before (`adjust`), or y = alpha x + (1 - alpha) y. By time: the same with
//! alpha = 1 - 2^(-dt / half_life). As documented by pandas and Polars.

use super::cells::{Floats, Integers};
use super::stepwise::Step;
use super::{number, numbers};
use crate::error::Result;
use arrow::array::{ArrayRef, Float64Array, Int64Array};
use arrow::datatypes::{Float64Type, Int64Type};
use std::sync::Arc;

/// `ewm_mean(...)`.
#[derive(Clone, Debug)]
pub struct EwmMean {
    pub cells: Floats,
    pub alpha: f64,
    pub adjust: bool,
    pub ignore_nulls: bool,
    pub min_samples: i64,
}

/// Mean, weight of what is in it, and the number of values so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weighted {
    mean: f64,
    weight: f64,
    values: i64,
}

impl Step for EwmMean {
    type In = Floats;
    type Out = Floats;
    type State = Weighted;

    fn input(&self) -> &Floats {
        &self.cells
    }

    fn output(&self) -> &Floats {
        &self.cells
    }

    fn step(&self, state: &mut Weighted, value: Option<&f64>, _time: i64) -> Option<f64> {
        if state.values > 0 && (value.is_some() || !self.ignore_nulls) {
            state.weight *= 1.0 - self.alpha;
        }
        let value = *value?;
        if state.values == 0 {
            (state.mean, state.weight) = (value, 1.0);
        } else {
            let new = if self.adjust { 1.0 } else { self.alpha };
            let total = state.weight + new;
            if state.mean != value {
                state.mean += (value - state.mean) * (new / total);
            }
            state.weight = if self.adjust { total } else { 1.0 };
        }
        state.values += 1;
        (state.values >= self.min_samples).then_some(state.mean)
    }

    fn encode(&self, states: &[Weighted]) -> Result<Vec<(&'static str, ArrayRef)>> {
        let floats = |of: fn(&Weighted) -> f64| {
            Arc::new(states.iter().map(|one| Some(of(one))).collect::<Float64Array>())
        };
        let values = Int64Array::from_iter_values(states.iter().map(|one| one.values));
        Ok(vec![
            ("mean", floats(|one| one.mean)),
            ("weight", floats(|one| one.weight)),
            ("values", Arc::new(values)),
        ])
    }

    fn decode(&self, columns: &[ArrayRef]) -> Result<Vec<Weighted>> {
        let (means, weights) = (number::<Float64Type>(columns, 0)?, number::<Float64Type>(columns, 1)?);
        let values = number::<Int64Type>(columns, 2)?;
        let states = means.into_iter().zip(weights).zip(values);
        Ok(states.map(|((mean, weight), values)| Weighted { mean, weight, values }).collect())
    }
}

/// `ewm_mean_by(time, half_life=)`; the half life in ticks.
#[derive(Clone, Debug)]
pub struct EwmMeanBy {
    pub cells: Floats,
    pub half_life: i64,
}

impl Step for EwmMeanBy {
    type In = Floats;
    type Out = Floats;
    /// The mean and the time of the last value.
    type State = Option<(f64, i64)>;

    fn input(&self) -> &Floats {
        &self.cells
    }

    fn output(&self) -> &Floats {
        &self.cells
    }

    fn step(&self, state: &mut Self::State, value: Option<&f64>, time: i64) -> Option<f64> {
        let value = *value?;
        let mean = match *state {
            None => value,
            Some((mean, before)) => {
                let elapsed = time.saturating_sub(before) as f64 / self.half_life as f64;
                let alpha = 1.0 - (-elapsed * std::f64::consts::LN_2).exp();
                alpha * value + (1.0 - alpha) * mean
            }
        };
        *state = Some((mean, time));
        Some(mean)
    }

    fn encode(&self, states: &[Self::State]) -> Result<Vec<(&'static str, ArrayRef)>> {
        let means = states.iter().map(|state| state.map(|(mean, _)| mean)).collect::<Float64Array>();
        let times = states.iter().map(|state| state.map(|(_, time)| time)).collect();
        let times = super::cells::CellType::column(&Integers(arrow::datatypes::DataType::Int64), times)?;
        Ok(vec![("mean", Arc::new(means)), ("time", times)])
    }

    fn decode(&self, columns: &[ArrayRef]) -> Result<Vec<Self::State>> {
        let (means, times) = (numbers::<Float64Type>(columns, 0)?, numbers::<Int64Type>(columns, 1)?);
        Ok(means.into_iter().zip(times).map(|(mean, time)| Some((mean?, time?))).collect())
    }
}
