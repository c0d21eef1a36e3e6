//! `var` and `std` of a window, from the sums of x - s and (x - s)^2 in double-double, where s is the window's first value:
//! taking a value back leaves no error behind.

use super::cells::Floats;
use super::double::Double;
use super::rolling::{Fold, Window};

/// See the module.
#[derive(Clone, Debug)]
pub struct Moments {
    pub cells: Floats,
    pub ddof: usize,
    pub is_std: bool,
}

/// The shift s, and both sums.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    shift: Option<f64>,
    sum: Double,
    squares: Double,
}

impl Fold for Moments {
    type In = Floats;
    type Out = Floats;
    type State = Sums;

    fn input(&self) -> &Floats {
        &self.cells
    }

    fn output(&self) -> &Floats {
        &self.cells
    }

    fn add(&self, sums: &mut Sums, value: &f64) {
        let shift = *sums.shift.get_or_insert(if value.is_finite() { *value } else { 0.0 });
        let distance = value - shift;
        sums.sum.add(distance);
        sums.squares.add(distance * distance);
    }

    fn remove(&self, sums: &mut Sums, value: &f64) {
        let distance = value - sums.shift.unwrap_or(0.0);
        sums.sum.remove(distance);
        sums.squares.remove(distance * distance);
    }

    fn answer(&self, window: &Window<Self>) -> Option<f64> {
        let (values, sums) = (window.values, &window.state);
        if values <= self.ddof {
            return None;
        }
        if !sums.sum.is_finite() {
            return Some(f64::NAN);
        }
        let count = values as f64;
        let sum = sums.sum.value();
        let variance = ((sums.squares.value() - sum * sum / count) / (count - self.ddof as f64)).max(0.0);
        Some(if self.is_std { variance.sqrt() } else { variance })
    }
}
