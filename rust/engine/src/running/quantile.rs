//! `quantile` and `median` of a window: its values stay sorted (NaN last), so a row costs a binary search and one move.

use super::cells::{Floats, Words};
use super::rolling::{Fold, Window};
use crate::aggregate::words::word_float;
use dataflare_plan::Interpolation;

/// See the module. The input is Float64.
#[derive(Clone, Debug)]
pub struct Quantile {
    pub input: Words,
    pub output: Floats,
    pub quantile: f64,
    pub interpolation: Interpolation,
}

impl Fold for Quantile {
    type In = Words;
    type Out = Floats;
    type State = Vec<i64>;

    fn input(&self) -> &Words {
        &self.input
    }

    fn output(&self) -> &Floats {
        &self.output
    }

    fn add(&self, sorted: &mut Vec<i64>, value: &i64) {
        let at = sorted.partition_point(|one| one <= value);
        sorted.insert(at, *value);
    }

    fn remove(&self, sorted: &mut Vec<i64>, value: &i64) {
        if let Ok(at) = sorted.binary_search(value) {
            sorted.remove(at);
        }
    }

    fn answer(&self, window: &Window<Self>) -> Option<f64> {
        let sorted = &window.state;
        let last = sorted.len().checked_sub(1)?;
        let place = last as f64 * self.quantile;
        let value = |at: f64| sorted.get((at.max(0.0) as usize).min(last)).map(|word| word_float(*word));
        let (low, high) = (value(place.floor())?, value(place.ceil())?);
        match self.interpolation {
            Interpolation::Nearest => value(place.round()),
            Interpolation::Lower => Some(low),
            Interpolation::Higher => Some(high),
            Interpolation::Midpoint if low == high => Some(low),
            Interpolation::Midpoint => Some((low + high) / 2.0),
            Interpolation::Linear if low == high => Some(low),
            Interpolation::Linear => Some(low + (high - low) * (place - place.floor())),
            Interpolation::Equiprobable => value((sorted.len() as f64 * self.quantile).ceil() - 1.0),
        }
    }

    fn bytes(&self, sorted: &Vec<i64>) -> usize {
        sorted.capacity() * 8
    }
}
