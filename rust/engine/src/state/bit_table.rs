//! Sets of words, one a group: an entry holds up to 64 neighbouring words of one group as bits.
//!
//! Numbers of rows of a stream (ids, dictionary numbers, seconds) lie close together, so that a set is up to 64 times
//! smaller than one of words, and stays in the cache; words far apart cost an entry each. Open addressing with linear
//! probing, batched hashing, prefetch. Called by `n_unique`.

use super::table::{AHEAD, grown, hash_word, is_full, prefetch_ahead};

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// The words' upper 58 bits.
    high: i64,
    /// One bit for each word; 0: the entry is free.
    bits: u64,
    slot: u32,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct BitTable {
    entries: Vec<Entry>,
    taken: usize,
    hashes: Vec<u64>,
}

fn hash(slot: u32, high: i64) -> u64 {
    hash_word(high ^ i64::from(slot).rotate_left(40))
}

impl BitTable {
    /// Adds words to the sets of their groups; calls `added` with the group of each word that is new there.
    pub fn insert(&mut self, pairs: &[(u32, i64)], mut added: impl FnMut(u32)) {
        if self.entries.is_empty() {
            self.grow();
        }
        let mut hashes = std::mem::take(&mut self.hashes);
        for chunk in pairs.chunks(AHEAD * 64) {
            hashes.clear();
            hashes.extend(chunk.iter().map(|(slot, word)| hash(*slot, word >> 6)));
            for (row, ((slot, word), hash)) in chunk.iter().zip(&hashes).enumerate() {
                prefetch_ahead(&self.entries, &hashes, row);
                let (high, bit) = (word >> 6, 1 << (word & 63));
                let place = self.place(*slot, high, *hash);
                let entry = &mut self.entries[place];
                if entry.bits & bit != 0 {
                    continue;
                }
                let is_free = entry.bits == 0;
                entry.bits |= bit;
                added(*slot);
                if is_free {
                    (entry.high, entry.slot) = (high, *slot);
                    self.taken += 1;
                    if is_full(self.taken, self.entries.len()) {
                        self.grow();
                    }
                }
            }
        }
        self.hashes = hashes;
    }

    /// The entry of 64 words of a group, or a free one for them. There always is one.
    #[inline]
    fn place(&self, slot: u32, high: i64, hash: u64) -> usize {
        let mask = self.entries.len() - 1;
        let mut place = hash as usize & mask;
        loop {
            let entry = &self.entries[place];
            if entry.bits == 0 || (entry.high == high && entry.slot == slot) {
                return place;
            }
            place = (place + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.entries);
        self.entries = vec![Entry::default(); grown(old.len())];
        for entry in old.into_iter().filter(|entry| entry.bits != 0) {
            let place = self.place(entry.slot, entry.high, hash(entry.slot, entry.high));
            self.entries[place] = entry;
        }
    }

    /// All words with their groups, in no order.
    pub fn for_each(&self, mut each: impl FnMut(u32, i64)) {
        for entry in &self.entries {
            let mut bits = entry.bits;
            while bits != 0 {
                each(entry.slot, entry.high << 6 | i64::from(bits.trailing_zeros()));
                bits &= bits - 1;
            }
        }
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.hashes.capacity() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::BitTable;

    #[test]
    fn every_word_of_a_group_is_added_once() {
        let mut table = BitTable::default();
        let words = [0, 1, 63, 64, -1, -64, i64::MIN, i64::MAX, 1_000_003, 7 << 40];
        let pairs: Vec<(u32, i64)> = (0..300).flat_map(|slot| words.map(|word| (slot, word))).collect();
        let mut counts = vec![0; 300];
        for _ in 0..2 {
            table.insert(&pairs, |slot| counts[slot as usize] += 1);
        }
        assert!(counts.iter().all(|count| *count == words.len()));
        let mut found = Vec::new();
        table.for_each(|slot, word| found.push((slot, word)));
        found.sort_unstable();
        let mut expected = pairs;
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}
