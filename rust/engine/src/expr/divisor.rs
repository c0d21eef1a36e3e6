//! Division by a constant that is known when an expression is compiled: a multiplication and a shift.
//!
//! A 64-bit division costs 3 to 10 times as much and does not overlap with its neighbours.
//! Not here: divisors below 1. Used by arithmetic, casts between units and `dt` functions.

/// A positive divisor. Quotients round down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Divisor {
    divisor: i64,
    multiplier: u64,
    shift: u32,
}

impl Divisor {
    /// `None` for divisors below 1.
    pub(super) fn new(divisor: i64) -> Option<Self> {
        let unsigned = u64::try_from(divisor).ok().filter(|divisor| *divisor >= 1)?;
        if divisor == 1 {
            return Some(Self { divisor, multiplier: 0, shift: 0 });
        }
        // 2^(bits - 1) < divisor <= 2^bits. The multiplier 2^(63 + bits) / divisor, rounded up, has 64 bits, and is too
        // large by less than divisor / divisor; times a dividend below 2^63 that stays below one unit of the quotient.
        let bits = 64 - (unsigned - 1).leading_zeros();
        let multiplier = (1_u128 << (63 + bits)).div_ceil(u128::from(unsigned));
        Some(Self { divisor, multiplier: u64::try_from(multiplier).ok()?, shift: bits - 1 })
    }

    /// The quotient, rounded down.
    #[inline]
    pub(super) fn floor_div(self, dividend: i64) -> i64 {
        if self.divisor == 1 {
            return dividend;
        }
        // Of a negative dividend x: floor(x / d) = !(!x / d), and !x is not negative.
        let sign = dividend >> 63;
        let high = (u128::from((dividend ^ sign) as u64) * u128::from(self.multiplier)) >> 64;
        ((high as u64 >> self.shift) as i64) ^ sign
    }

    /// The rest of [`Self::floor_div`]: from 0 to the divisor.
    #[inline]
    pub(super) fn floor_mod(self, dividend: i64) -> i64 {
        dividend.wrapping_sub(self.floor_div(dividend).wrapping_mul(self.divisor))
    }
}

#[cfg(test)]
mod tests {
    use super::Divisor;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn division_is_that_of_the_processor(dividend: i64, divisor in 2_i64..=i64::MAX, shift in 0_u32..62) {
            for divisor in [divisor, (divisor >> shift).max(2), 1 << (shift + 1), (1 << (shift + 1)) + 1] {
                let fast = Divisor::new(divisor).unwrap();
                for dividend in [dividend, dividend >> shift, i64::MIN, i64::MAX, -1, 0, divisor, -divisor, divisor - 1] {
                    prop_assert_eq!(fast.floor_div(dividend), dividend.div_euclid(divisor));
                    prop_assert_eq!(fast.floor_mod(dividend), dividend.rem_euclid(divisor));
                }
            }
        }
    }

    #[test]
    fn one_divides_everything_and_less_nothing() {
        let one = Divisor::new(1).unwrap();
        assert_eq!((one.floor_div(-7), one.floor_mod(-7)), (-7, 0));
        for divisor in [i64::MIN, -3, -1, 0] {
            assert!(Divisor::new(divisor).is_none());
        }
    }
}
