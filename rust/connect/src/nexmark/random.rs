//! Random numbers without state: 64 bits for (seed, column, event), and prices made of them.
//!
//! The functions are frozen: a checkpoint of one release goes on in the next with the same rows.

/// One stream of random numbers, one for each column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draws {
    key: u64,
}

impl Draws {
    /// The stream of `column` under `seed`.
    pub(super) fn new(seed: u64, column: &str) -> Self {
        // FNV-1a: names become far apart keys.
        let name = column.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self { key: mix(mix(seed) ^ name) }
    }

    /// 64 random bits of an event.
    pub(super) fn at(self, event: u64) -> u64 {
        mix(self.key.wrapping_add(event.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Prices from 100 to 100 000 000 whose logarithm is uniform: 1 024 knots, straight lines between them.
#[derive(Clone, Debug)]
pub(super) struct Prices {
    knots: Box<[u64; 1_025]>,
}

impl Prices {
    pub(super) fn new() -> Self {
        let knots =
            std::array::from_fn(|index| (100.0 * 10_f64.powf(index as f64 * 6.0 / 1_024.0)).round() as u64);
        Self { knots: Box::new(knots) }
    }

    /// The price for 64 random bits.
    pub(super) fn at(&self, draw: u64) -> i64 {
        let knot = (draw >> 54) as usize;
        let (low, high) = (self.knots[knot], self.knots[knot + 1]);
        let fraction = (draw >> 22) & 0xffff_ffff;
        (low + (((high - low) * fraction) >> 32)) as i64
    }
}
