//! Key to dense slot: open addressing with linear probing, batched hashing, prefetch; for words that lie close together
//! an array (`direct.rs`).
//!
//! Slots are 0, 1, 2, … in order of first appearance, so accumulators are plain columns. Two tables: words (one integer or
//! time column) and bytes (one string column, rows of any other key). Not here: what a key column looks like (`keys.rs`),
//! and which worker owns a key (`key_group.rs`, another hash: this one may change between releases).

use super::direct::DirectIndex;
use crate::bounds::bounds;

pub use super::direct::EMPTY;

/// How many keys ahead the entry of a key is fetched into the cache.
pub(super) const AHEAD: usize = 16;
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

/// Fetches the entry of a key that comes soon after row `row`.
pub(super) fn prefetch_ahead<T>(entries: &[T], hashes: &[u64], row: usize) {
    if let Some(ahead) = hashes.get(row + AHEAD) {
        prefetch(entries, *ahead as usize & entries.len().wrapping_sub(1));
    }
}

/// Entries for `len` keys more than fit now: at most 5/8 are taken.
pub(super) fn grown(entries: usize) -> usize {
    if entries == 0 {
        SMALLEST
    } else if entries < 65_536 {
        entries * 4
    } else {
        entries * 2
    }
}

pub(super) fn is_full(len: usize, entries: usize) -> bool {
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
    index: Index,
    words: Vec<i64>,
    hashes: Vec<u64>,
}

#[derive(Clone, Debug)]
enum Index {
    Direct(DirectIndex),
    Hashed(Vec<WordEntry>),
}

impl Default for Index {
    fn default() -> Self {
        Self::Direct(DirectIndex::default())
    }
}

impl WordTable {
    /// Writes the slot of each word; new words get the next slots.
    pub fn slots(&mut self, words: &[i64], slots: &mut Vec<u32>) {
        slots.clear();
        let Some((low, high)) = bounds(words) else { return };
        if let Index::Direct(index) = &mut self.index {
            if index.cover(low, high, self.words.len() + words.len()) {
                return slots_direct(index, &mut self.words, words, slots);
            }
            self.index = Index::Hashed(hashed(index, &self.words));
        }
        if let Index::Hashed(entries) = &mut self.index {
            self.hashes.clear();
            self.hashes.extend(words.iter().map(|word| hash_word(*word)));
            slots_hashed(entries, &mut self.words, &self.hashes, words, slots);
        }
    }

    /// Writes the slot of each word, or [`EMPTY`]; adds none.
    pub fn find(&self, words: &[i64], slots: &mut Vec<u32>) {
        slots.clear();
        match &self.index {
            Index::Direct(index) => slots.extend(words.iter().map(|word| index.slot(*word).unwrap_or(EMPTY))),
            Index::Hashed(entries) => {
                let hashes: Vec<u64> = words.iter().map(|word| hash_word(*word)).collect();
                slots.extend(words.iter().zip(&hashes).enumerate().map(|(row, (word, hash))| {
                    prefetch_ahead(entries, &hashes, row);
                    entries.get(find(entries, *word, *hash)).map_or(EMPTY, |entry| entry.slot)
                }));
            }
        }
    }

    /// A slot for no word (a null key).
    pub fn reserve_slot(&mut self) -> u32 {
        self.words.push(0);
        self.words.len() as u32 - 1
    }

    /// The words by slot.
    pub fn words(&self) -> &[i64] {
        &self.words
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let index = match &self.index {
            Index::Direct(index) => index.memory(),
            Index::Hashed(entries) => entries.capacity() * size_of::<WordEntry>(),
        };
        index + self.words.capacity() * 8 + self.hashes.capacity() * 8
    }
}

fn slots_direct(index: &mut DirectIndex, known: &mut Vec<i64>, words: &[i64], slots: &mut Vec<u32>) {
    let base = index.base();
    let places = index.slots_mut();
    slots.extend(words.iter().map(|word| {
        let slot = &mut places[word.wrapping_sub(base) as usize];
        if *slot == EMPTY {
            *slot = known.len() as u32;
            known.push(*word);
        }
        *slot
    }));
}

fn slots_hashed(
    entries: &mut Vec<WordEntry>,
    known: &mut Vec<i64>,
    hashes: &[u64],
    words: &[i64],
    slots: &mut Vec<u32>,
) {
    slots.extend(words.iter().zip(hashes).enumerate().map(|(row, (word, hash))| {
        prefetch_ahead(entries, hashes, row);
        let place = find(entries, *word, *hash);
        match entries.get(place) {
            Some(entry) if entry.slot != EMPTY => entry.slot,
            _ => insert(entries, known, *word, *hash),
        }
    }));
}

/// The place of a word, or the empty one where it belongs.
#[inline]
fn find(entries: &[WordEntry], word: i64, hash: u64) -> usize {
    let mask = entries.len().wrapping_sub(1);
    let mut place = hash as usize & mask;
    while let Some(entry) = entries.get(place) {
        if entry.slot == EMPTY || entry.word == word {
            break;
        }
        place = (place + 1) & mask;
    }
    place
}

#[cold]
fn insert(entries: &mut Vec<WordEntry>, known: &mut Vec<i64>, word: i64, hash: u64) -> u32 {
    if is_full(known.len(), entries.len()) {
        let old = std::mem::take(entries);
        *entries = vec![WordEntry { word: 0, slot: EMPTY }; grown(old.len())];
        for entry in old.into_iter().filter(|entry| entry.slot != EMPTY) {
            let place = find(entries, entry.word, hash_word(entry.word));
            entries[place] = entry;
        }
    }
    let slot = known.len() as u32;
    let place = find(entries, word, hash);
    entries[place] = WordEntry { word, slot };
    known.push(word);
    slot
}

/// The same slots in a hash table.
fn hashed(index: &DirectIndex, words: &[i64]) -> Vec<WordEntry> {
    let mut len = SMALLEST;
    while is_full(words.len(), len) {
        len = grown(len);
    }
    let mut entries = vec![WordEntry { word: 0, slot: EMPTY }; len];
    for word in words {
        // A slot that was reserved for no word has none here.
        if let Some(slot) = index.slot(*word) {
            let place = find(&entries, *word, hash_word(*word));
            entries[place] = WordEntry { word: *word, slot };
        }
    }
    entries
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
            prefetch_ahead(&self.entries, &hashes, row);
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
    fn slots_stay_the_same_when_words_turn_out_to_lie_far_apart() {
        let mut table = WordTable::default();
        let mut slots = Vec::new();
        table.slots(&[10, 11, 12], &mut slots);
        assert_eq!(table.reserve_slot(), 3);
        table.slots(&[i64::MAX, 12, 0, 10], &mut slots);
        assert_eq!(slots, [4, 2, 5, 0]);
        table.find(&[11, 0, 7, i64::MAX], &mut slots);
        assert_eq!(slots, [1, 5, EMPTY, 4]);
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
