//! Word to dense slot for words that lie close together (ids that count up, days, enums): an array over their range.
//!
//! No hash, no probe, no key to compare. Takes at most [`SPAN_PER_KEY`] places a key; words further apart are refused, and
//! `table.rs` hashes them.

/// No slot.
pub const EMPTY: u32 = u32::MAX;
/// Places of the range for each key: with four bytes a place, less than a hash table takes.
const SPAN_PER_KEY: u128 = 4;
/// A range that is always taken.
const SMALLEST: u128 = 256;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct DirectIndex {
    /// The word of the first place.
    base: i64,
    slots: Vec<u32>,
}

impl DirectIndex {
    /// Makes room for all words from `low` to `high`. False: that is too much for `keys` keys, and nothing has changed.
    pub fn cover(&mut self, low: i64, high: i64, keys: usize) -> bool {
        if self.place(low) < self.slots.len() && self.place(high) < self.slots.len() {
            return true;
        }
        let held = self.slots.len() as i128;
        let (low, high) = (i128::from(low), i128::from(high));
        let (first, last) = match held {
            0 => (low, high),
            _ => (low.min(i128::from(self.base)), high.max(i128::from(self.base) + held - 1)),
        };
        let span = (last - first + 1) as u128;
        if span > SMALLEST.max(SPAN_PER_KEY * keys as u128) {
            return false;
        }
        // Half as much again on the side where it grows, so that growing costs O(1) a place.
        let room = (span / 2) as i128;
        let base = if held > 0 && first < i128::from(self.base) { first - room } else { first };
        let base = base.max(i128::from(i64::MIN));
        let mut slots = vec![EMPTY; (last + 1 - base).max(held + room) as usize];
        let start = if held > 0 { (i128::from(self.base) - base) as usize } else { 0 };
        let end = start + self.slots.len();
        if slots.len() < end {
            slots.resize(end, EMPTY);
        }
        slots[start..end].copy_from_slice(&self.slots);
        *self = Self { base: base as i64, slots };
        true
    }

    /// Where the slot of a covered word stands.
    pub fn place(&self, word: i64) -> usize {
        word.wrapping_sub(self.base) as usize
    }

    /// The word of the first place.
    pub fn base(&self) -> i64 {
        self.base
    }

    /// The slot of a word that occurred.
    pub fn slot(&self, word: i64) -> Option<u32> {
        self.slots.get(self.place(word)).copied().filter(|slot| *slot != EMPTY)
    }

    /// By place; [`EMPTY`] for words that did not occur.
    pub fn slots_mut(&mut self) -> &mut [u32] {
        &mut self.slots
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::{DirectIndex, EMPTY};

    fn set(index: &mut DirectIndex, word: i64, slot: u32) {
        let place = index.place(word);
        index.slots_mut()[place] = slot;
    }

    fn get(index: &mut DirectIndex, word: i64) -> u32 {
        let place = index.place(word);
        index.slots_mut()[place]
    }

    #[test]
    fn slots_stay_while_the_range_grows_on_both_sides() {
        let mut index = DirectIndex::default();
        let mut known: Vec<i64> = Vec::new();
        for (low, high) in
            [(100, 140), (90, 100), (139, 500), (-300, 0), (-301, 501), (i64::from(0_i32), 900)]
        {
            assert!(index.cover(low, high, 1_000));
            for word in [low, high] {
                if !known.contains(&word) {
                    assert_eq!(get(&mut index, word), EMPTY);
                    set(&mut index, word, known.len() as u32);
                    known.push(word);
                }
            }
            for (slot, word) in known.iter().enumerate() {
                assert_eq!(get(&mut index, *word), slot as u32);
            }
        }
    }

    #[test]
    fn words_far_apart_are_refused() {
        let mut index = DirectIndex::default();
        assert!(!index.cover(i64::MIN, i64::MAX, 1_000_000));
        assert!(!index.cover(0, 1_000_000, 1_000));
        assert!(index.cover(i64::MAX - 9, i64::MAX, 1));
        assert!(index.cover(i64::MAX - 99, i64::MAX, 1));
        assert!(!index.cover(i64::MIN, i64::MIN, 1));
    }

    #[test]
    fn ends_of_the_words_are_covered() {
        let mut index = DirectIndex::default();
        assert!(index.cover(i64::MIN + 7, i64::MIN + 9, 1));
        assert!(index.cover(i64::MIN, i64::MIN + 3, 1));
        set(&mut index, i64::MIN, 5);
        assert_eq!(get(&mut index, i64::MIN), 5);
    }
}
