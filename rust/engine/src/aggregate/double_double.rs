//! Sums of floats in two words, high and low, that together hold about 106 bits (Dekker 1971, Knuth's two-sum).
//!
//! With so many bits power sums (of x, x², x³, …) neither depend on the order of rows nor lose a variance to
//! cancellation. Not here: NaN and infinities, which callers count apart.

use std::ops::{Add, Mul, Neg, Sub};

/// A number as the unevaluated sum of two floats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DoubleDouble {
    pub high: f64,
    pub low: f64,
}

/// The sum of two floats and its rounding error.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let rounded = sum - a;
    (sum, (a - (sum - rounded)) + (b - rounded))
}

impl DoubleDouble {
    pub fn new(value: f64) -> Self {
        Self { high: value, low: 0.0 }
    }

    /// The exact product of two floats.
    pub fn product(a: f64, b: f64) -> Self {
        let high = a * b;
        Self { high, low: a.mul_add(b, -high) }
    }

    pub fn value(self) -> f64 {
        if self.high.is_finite() { self.high + self.low } else { self.high }
    }

    fn normal(high: f64, low: f64) -> Self {
        let sum = high + low;
        Self { high: sum, low: low - (sum - high) }
    }

    /// The quotient by a number of rows.
    pub fn over(self, count: f64) -> Self {
        let high = self.high / count;
        let rest = self - Self::product(high, count);
        Self::normal(high, rest.value() / count)
    }

    /// From the bits of two words.
    pub fn from_words(words: [u64; 2]) -> Self {
        Self { high: f64::from_bits(words[0]), low: f64::from_bits(words[1]) }
    }

    pub fn words(self) -> [u64; 2] {
        [self.high.to_bits(), self.low.to_bits()]
    }
}

impl Add for DoubleDouble {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let (sum, error) = two_sum(self.high, other.high);
        let (low, low_error) = two_sum(self.low, other.low);
        let first = Self::normal(sum, error + low);
        Self::normal(first.high, first.low + low_error)
    }
}

impl Neg for DoubleDouble {
    type Output = Self;
    fn neg(self) -> Self {
        Self { high: -self.high, low: -self.low }
    }
}

impl Sub for DoubleDouble {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for DoubleDouble {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let product = Self::product(self.high, other.high);
        Self::normal(product.high, product.low + (self.high * other.low + self.low * other.high))
    }
}

#[cfg(test)]
mod tests {
    use super::DoubleDouble;

    #[test]
    fn what_a_float_loses_is_kept() {
        let sum = [1e16, 1.0, -1e16]
            .into_iter()
            .fold(DoubleDouble::default(), |sum, value| sum + DoubleDouble::new(value));
        assert_eq!(sum.value(), 1.0);
        let (a, b) = (134_217_729.0, 134_217_727.0);
        assert_eq!((DoubleDouble::product(a, b) - DoubleDouble::new(a * b)).value(), a.mul_add(b, -(a * b)));
    }

    #[test]
    fn thirds_add_up() {
        let third = DoubleDouble::new(1.0).over(3.0);
        assert_eq!((third + third + third).value(), 1.0);
    }
}
