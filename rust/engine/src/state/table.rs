//! Key to dense slot: open addressing with linear probing, batched hashing, prefetch.
//!
//! Slots are 0, 1, 2, … in order of first appearance, so accumulators are plain columns. Two tables: words (one integer or
//! time column) and bytes (one string column, rows of any other key). Not here: what a key column looks like (`keys.rs`),
//! and which worker owns a key (`key_group.rs`, another hash: this one may change between releases).

/// How many keys ahead the entry of a key is fetched into the cache.
const AHEAD: usize = 16;
/// No slot.
pub const EMPTY: u32 = u32::MAX;
const SMALLEST: usize = 16;

/// The hash of a word: the two halves of a 128-bit product, folded.
pub fn hash_word(word: i64) -> u64 {
    let product = u128::from(word as u64 ^ 0x2545_f491_4f6c_dd1d) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
    (product >> 64) as u64 ^ product as u64
}

/// The hash of bytes.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = foldhash::fast::FixedState::with_seed(0x51ed_270b).build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// Asks for the cache line of an entry; an index out of range asks for nothing.
fn prefetch<T>(entries: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(entry) = entries.get(index) {
        // SAFETY: a prefetch reads nothing and cannot fault; the pointer comes from a live reference. SSE is part of
        // every x86-64.
        unsafe {
            core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(
                std::ptr::from_ref(entry).cast(),
            )
        };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (entries, index);
}

/// Entries for `len` keys more than fit now: at most 5/8 are taken.
fn grown(entries: usize) -> usize {
    if entries == 0 {
        SMALLEST
    } else if entries < 65_536 {
        entries * 4
    } else {
        entries * 2
    }
}

fn is_full(len: usize, entries: usize) -> bool {
    len * 8 >= entries * 5
}

#[derive(Clone, Copy, Debug)]
struct WordEntry {
    word: i64,
    slot: u32,
}

/// Slots of words.
#[derive(Clone, Debug, Default)]
pub struct WordTable {
    entries: Vec<WordEntry>,
    words: Vec<i64>,
    hashes: Vec<u64>,
}

impl WordTable {
    /// Writes the slot of each word; new words get the next slots.
    pub fn slots(&mut self, words: &[i64], slots: &mut Vec<u32>) {
        let mut hashes = std::mem::take(&mut self.hashes);
        hashes.clear();
        hashes.extend(words.iter().map(|word| hash_word(*word)));
        slots.clear();
        for (row, (word, hash)) in words.iter().zip(&hashes).enumerate() {
            if let Some(ahead) = hashes.get(row + AHEAD) {
                prefetch(&self.entries, *ahead as usize & self.entries.len().wrapping_sub(1));
            }
            slots.push(self.slot(*word, *hash));
        }
        self.hashes = hashes;
    }

    /// Writes the slot of each word, or [`EMPTY`]; adds none.
    pub fn find(&self, words: &[i64], slots: &mut Vec<u32>) {
        let mask = self.entries.len().wrapping_sub(1);
        let hashes: Vec<u64> = words.iter().map(|word| hash_word(*word)).collect();
        slots.clear();
        for (row, (word, hash)) in words.iter().zip(&hashes).enumerate() {
            if let Some(ahead) = hashes.get(row + AHEAD) {
                prefetch(&self.entries, *ahead as usize & mask);
            }
            let mut place = *hash as usize & mask;
            let mut found = EMPTY;
            while let Some(entry) = self.entries.get(place).filter(|entry| entry.slot != EMPTY) {
                if entry.word == *word {
                    found = entry.slot;
                    break;
                }
                place = (place + 1) & mask;
            }
            slots.push(found);
        }
    }

    #[inline]
    fn slot(&mut self, word: i64, hash: u64) -> u32 {
        let mask = self.entries.len().wrapping_sub(1);
        let mut place = hash as usize & mask;
        while let Some(entry) = self.entries.get(place) {
            if entry.slot == EMPTY {
                break;
            }
            if entry.word == word {
                return entry.slot;
            }
            place = (place + 1) & mask;
        }
        self.insert(word, hash, place)
    }

    #[cold]
    fn insert(&mut self, word: i64, hash: u64, mut place: usize) -> u32 {
        if is_full(self.words.len(), self.entries.len()) {
            self.grow();
            let mask = self.entries.len() - 1;
            place = hash as usize & mask;
            while self.entries[place].slot != EMPTY {
                place = (place + 1) & mask;
            }
        }
        let slot = self.words.len() as u32;
        self.entries[place] = WordEntry { word, slot };
        self.words.push(word);
        slot
    }

    /// A slot for no word (a null key).
    pub fn reserve_slot(&mut self) -> u32 {
        self.words.push(0);
        self.words.len() as u32 - 1
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.entries);
        let len = grown(old.len());
        let mask = len - 1;
        self.entries = vec![WordEntry { word: 0, slot: EMPTY }; len];
        for entry in old.into_iter().filter(|entry| entry.slot != EMPTY) {
            let mut place = hash_word(entry.word) as usize & mask;
            while self.entries[place].slot != EMPTY {
                place = (place + 1) & mask;
            }
            self.entries[place] = entry;
        }
    }

    /// The words by slot.
    pub fn words(&self) -> &[i64] {
        &self.words
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<WordEntry>()
            + self.words.capacity() * 8
            + self.hashes.capacity() * 8
    }
}

#[derive(Clone, Copy, Debug)]
struct BytesEntry {
    /// Upper half of the hash: most other keys differ in it.
    tag: u32,
    slot: u32,
}

/// Slots of byte strings.
#[derive(Clone, Debug, Default)]
pub struct BytesTable {
    entries: Vec<BytesEntry>,
    /// End of each key in `data`.
    ends: Vec<usize>,
    data: Vec<u8>,
    hashes: Vec<u64>,
}

impl BytesTable {
    /// Writes the slot of each of `rows` keys; new ones get the next slots.
    pub fn slots<'a>(&mut self, rows: usize, key: impl Fn(usize) -> &'a [u8], slots: &mut Vec<u32>) {
        let mut hashes = std::mem::take(&mut self.hashes);
        hashes.clear();
        hashes.extend((0..rows).map(|row| hash_bytes(key(row))));
        slots.clear();
        for (row, hash) in hashes.iter().enumerate() {
            if let Some(ahead) = hashes.get(row + AHEAD) {
                prefetch(&self.entries, *ahead as usize & self.entries.len().wrapping_sub(1));
            }
            slots.push(self.slot_of(key(row), *hash));
        }
        self.hashes = hashes;
    }

    /// The slot of one key.
    pub fn slot(&mut self, key: &[u8]) -> u32 {
        self.slot_of(key, hash_bytes(key))
    }

    /// The slot of one key, or [`EMPTY`]; adds none.
    pub fn find(&self, key: &[u8]) -> u32 {
        let hash = hash_bytes(key);
        let mask = self.entries.len().wrapping_sub(1);
        let tag = (hash >> 32) as u32;
        let mut place = hash as usize & mask;
        while let Some(entry) = self.entries.get(place).filter(|entry| entry.slot != EMPTY) {
            if entry.tag == tag && self.bytes(entry.slot) == key {
                return entry.slot;
            }
            place = (place + 1) & mask;
        }
        EMPTY
    }

    fn slot_of(&mut self, key: &[u8], hash: u64) -> u32 {
        let mask = self.entries.len().wrapping_sub(1);
        let tag = (hash >> 32) as u32;
        let mut place = hash as usize & mask;
        while let Some(entry) = self.entries.get(place) {
            if entry.slot == EMPTY {
                break;
            }
            if entry.tag == tag && self.bytes(entry.slot) == key {
                return entry.slot;
            }
            place = (place + 1) & mask;
        }
        if is_full(self.ends.len(), self.entries.len()) {
            self.grow();
            place = self.free_place(hash);
        }
        let slot = self.ends.len() as u32;
        self.entries[place] = BytesEntry { tag, slot };
        self.data.extend_from_slice(key);
        self.ends.push(self.data.len());
        slot
    }

    fn free_place(&self, hash: u64) -> usize {
        let mask = self.entries.len() - 1;
        let mut place = hash as usize & mask;
        while self.entries[place].slot != EMPTY {
            place = (place + 1) & mask;
        }
        place
    }

    /// A slot for no key (a null).
    pub fn reserve_slot(&mut self) -> u32 {
        self.ends.push(self.data.len());
        self.ends.len() as u32 - 1
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.entries);
        self.entries = vec![BytesEntry { tag: 0, slot: EMPTY }; grown(old.len())];
        for entry in old.into_iter().filter(|entry| entry.slot != EMPTY) {
            let place = self.free_place(hash_bytes(self.bytes(entry.slot)));
            self.entries[place] = entry;
        }
    }

    /// The key of a slot.
    pub fn bytes(&self, slot: u32) -> &[u8] {
        let slot = slot as usize;
        let start = slot.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.data[start..self.ends[slot]]
    }

    /// Number of slots.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True without a slot.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let entries = self.entries.capacity() * size_of::<BytesEntry>();
        entries + self.ends.capacity() * 8 + self.data.capacity() + self.hashes.capacity() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_numbered_by_first_appearance() {
        let mut table = WordTable::default();
        let mut slots = Vec::new();
        table.slots(&[7, -1, 7, i64::MIN, -1], &mut slots);
        assert_eq!(slots, [0, 1, 0, 2, 1]);
        assert_eq!(table.words(), [7, -1, i64::MIN]);
    }

    #[test]
    fn slots_stay_the_same_while_the_table_grows() {
        let mut table = WordTable::default();
        let mut slots = Vec::new();
        let words: Vec<i64> = (0..100_000).map(|word| word * 1_024).collect();
        for chunk in words.chunks(4_096) {
            table.slots(chunk, &mut slots);
        }
        table.slots(&words, &mut slots);
        assert!(slots.iter().enumerate().all(|(row, slot)| row == *slot as usize));
    }

    #[test]
    fn byte_keys_of_any_length_are_told_apart() {
        let mut table = BytesTable::default();
        let keys: Vec<Vec<u8>> = (0..5_000_u32)
            .map(|key| {
                vec![b'x'; (key % 40) as usize].into_iter().chain(key.to_string().into_bytes()).collect()
            })
            .collect();
        let mut slots = Vec::new();
        table.slots(keys.len(), |row| &keys[row], &mut slots);
        assert!(slots.iter().enumerate().all(|(row, slot)| row == *slot as usize));
        assert_eq!(table.bytes(4_321), keys[4_321]);
        let empty = table.slot(b"");
        assert_eq!(table.bytes(empty), b"");
    }
}
