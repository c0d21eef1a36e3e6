//! Which session a row belongs to: for each key disjoint intervals of time that lie more than the gap apart.
//!
//! A row, or an interval of rows of another worker, joins all sessions of its key that it lies within the gap of; when
//! these are several they become one, and the slots of the others are *children* of the one that is kept until somebody
//! merges what they hold. Plain numbers; not here: keys, aggregates, emission (`session_state.rs`).
//! Cost: O(1) for a row behind the start of the newest session of its key; else O(log sessions).

use crate::time::Timestamp;
use std::collections::BTreeMap;

const NONE: u32 = u32::MAX;

/// See the module.
#[derive(Clone, Debug)]
pub struct Intervals {
    gap: i64,
    /// Sessions that end within one such step wait together.
    step: i64,
    /// By key: its session with the largest start.
    newest: Vec<Newest>,
    /// All other sessions, by key and start.
    older: BTreeMap<(u32, i64), u32>,
    sessions: Vec<Session>,
    children: Vec<u32>,
    /// Slots by the step in which they end, or ended before they grew.
    ends: BTreeMap<i64, Vec<u32>>,
    /// How many sessions start in each step.
    starts: BTreeMap<i64, u32>,
    open: usize,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    start: i64,
    last: i64,
    slot: u32,
    /// How many older sessions the key has.
    older: u32,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    key: u32,
    /// The session that it became part of, itself, or [`NONE`] when it is closed.
    parent: u32,
    /// Of sessions that are not the newest of their key.
    start: i64,
    last: i64,
}

/// A session that no row can join any more, or that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    pub slot: u32,
    pub key: u32,
    pub start: i64,
    pub last: i64,
}

impl Intervals {
    /// `gap`: in ticks, not negative.
    pub fn new(gap: i64) -> Self {
        Self {
            gap,
            step: (gap / 8).max(1),
            newest: Vec::new(),
            older: BTreeMap::new(),
            sessions: Vec::new(),
            children: Vec::new(),
            ends: BTreeMap::new(),
            starts: BTreeMap::new(),
            open: 0,
        }
    }

    /// Slots given out so far.
    pub fn slots(&self) -> usize {
        self.sessions.len()
    }

    /// Slots whose session is closed or part of another.
    pub fn unused(&self) -> usize {
        self.sessions.len() - self.open
    }

    /// Sessions that are not closed.
    pub fn open(&self) -> usize {
        self.open
    }

    /// The slot of rows of `key` from `start` to `last` that lie no further apart than the gap.
    #[inline]
    pub fn take(&mut self, key: u32, start: i64, last: i64) -> u32 {
        if let Some(newest) = self.newest.get_mut(key as usize)
            && newest.slot != NONE
            && start >= newest.start
            && start <= newest.last.saturating_add(self.gap)
        {
            newest.last = newest.last.max(last);
            return newest.slot;
        }
        self.take_anywhere(key, start, last)
    }

    fn take_anywhere(&mut self, key: u32, start: i64, last: i64) -> u32 {
        const ABSENT: Newest = Newest { start: 0, last: 0, slot: NONE, older: 0 };
        if self.newest.len() <= key as usize {
            self.newest.resize(key as usize + 1, ABSENT);
        }
        let mut newest = self.newest[key as usize];
        let mut joined = Interval { slot: NONE, key, start, last };
        let touches_newest = newest.slot != NONE
            && start <= newest.last.saturating_add(self.gap)
            && last.saturating_add(self.gap) >= newest.start;
        if touches_newest {
            self.join(&mut joined, newest.slot, newest.start, newest.last);
        }
        while newest.older > 0 {
            let reach = (key, i64::MIN)..=(key, last.saturating_add(self.gap));
            let Some((place, slot)) =
                self.older.range(reach).next_back().map(|(place, slot)| (*place, *slot))
            else {
                break;
            };
            let end = self.sessions[slot as usize].last;
            if end.saturating_add(self.gap) < start {
                break;
            }
            self.older.remove(&place);
            newest.older -= 1;
            self.join(&mut joined, slot, place.1, end);
        }
        if joined.slot == NONE {
            joined.slot = self.sessions.len() as u32;
            self.sessions.push(Session { key, parent: joined.slot, start, last });
            self.ends.entry(last.div_euclid(self.step)).or_default().push(joined.slot);
            self.open += 1;
        }
        *self.starts.entry(joined.start.div_euclid(self.step)).or_insert(0) += 1;
        if newest.slot == NONE || touches_newest || joined.start > newest.start {
            if newest.slot != NONE && !touches_newest {
                self.set_older(key, newest.slot, newest.start, newest.last);
                newest.older += 1;
            }
            newest = Newest { start: joined.start, last: joined.last, slot: joined.slot, ..newest };
        } else {
            self.set_older(key, joined.slot, joined.start, joined.last);
            newest.older += 1;
        }
        self.newest[key as usize] = newest;
        joined.slot
    }

    fn join(&mut self, joined: &mut Interval, slot: u32, start: i64, last: i64) {
        self.forget_start(start);
        joined.start = joined.start.min(start);
        joined.last = joined.last.max(last);
        if joined.slot == NONE {
            joined.slot = slot;
        } else {
            self.sessions[slot as usize].parent = joined.slot;
            self.children.push(slot);
            self.open -= 1;
        }
    }

    fn set_older(&mut self, key: u32, slot: u32, start: i64, last: i64) {
        self.older.insert((key, start), slot);
        let session = &mut self.sessions[slot as usize];
        (session.start, session.last) = (start, last);
    }

    fn forget_start(&mut self, start: i64) {
        let step = start.div_euclid(self.step);
        if let Some(count) = self.starts.get_mut(&step) {
            *count -= 1;
            if *count == 0 {
                self.starts.remove(&step);
            }
        }
    }

    /// Closes the sessions that no row at or above the watermark joins: those whose last row is more than the gap below.
    pub fn close(&mut self, watermark: Timestamp) -> Vec<Interval> {
        let is_final =
            |last: i64| watermark == Timestamp::MAX || Timestamp(last.saturating_add(self.gap)) < watermark;
        let (mut closed, mut later) = (Vec::new(), Vec::new());
        while let Some(first) = self.ends.first_entry() {
            if !is_final(first.key().saturating_mul(self.step)) {
                break;
            }
            for slot in first.remove() {
                let Some(one) = self.interval(slot).filter(|one| one.slot == slot) else { continue };
                if is_final(one.last) { closed.push(one) } else { later.push(one) }
            }
        }
        for one in later {
            self.ends.entry(one.last.div_euclid(self.step)).or_default().push(one.slot);
        }
        for one in &closed {
            self.sessions[one.slot as usize].parent = NONE;
            self.forget_start(one.start);
            let newest = &mut self.newest[one.key as usize];
            if newest.slot == one.slot {
                newest.slot = NONE;
            } else {
                newest.older -= 1;
                self.older.remove(&(one.key, one.start));
            }
        }
        self.open -= closed.len();
        closed
    }

    /// The session that a slot is part of, with the slot that is kept of it; `None`: it is closed.
    pub fn interval(&self, slot: u32) -> Option<Interval> {
        let kept = self.kept(slot)?;
        let session = self.sessions[kept as usize];
        let newest = self.newest[session.key as usize];
        let (start, last) =
            if newest.slot == kept { (newest.start, newest.last) } else { (session.start, session.last) };
        Some(Interval { slot: kept, key: session.key, start, last })
    }

    fn kept(&self, mut slot: u32) -> Option<u32> {
        loop {
            match self.sessions[slot as usize].parent {
                NONE => return None,
                parent if parent == slot => return Some(slot),
                parent => slot = parent,
            }
        }
    }

    /// Children of closed sessions, each with the slot that was kept; they are not asked for again.
    pub fn take_children_of_closed(&mut self) -> Vec<(u32, u32)> {
        let mut found = Vec::new();
        let sessions = &self.sessions;
        self.children.retain(|child| {
            let mut slot = *child;
            loop {
                match sessions[slot as usize].parent {
                    NONE => {
                        found.push((*child, slot));
                        return false;
                    }
                    parent if parent == slot => return true,
                    parent => slot = parent,
                }
            }
        });
        found
    }

    /// No open session starts before this; `None`: there is none. At most a step below the true start.
    pub fn earliest_start(&self) -> Option<i64> {
        self.starts.keys().next().map(|step| step.saturating_mul(self.step))
    }

    /// Bytes held, without what the trees' nodes leave free.
    pub fn memory(&self) -> usize {
        self.newest.capacity() * size_of::<Newest>()
            + self.sessions.capacity() * size_of::<Session>()
            + self.older.len() * size_of::<(u32, i64, u32)>()
            + self.sessions.len() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::{Interval, Intervals};
    use crate::time::Timestamp;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};
    use std::collections::BTreeMap;

    fn ranges(closed: &[Interval]) -> Vec<(u32, i64, i64)> {
        let mut ranges: Vec<_> = closed.iter().map(|one| (one.key, one.start, one.last)).collect();
        ranges.sort_unstable();
        ranges
    }

    #[test]
    fn row_at_the_gap_joins_and_one_beyond_it_opens_a_session() {
        let mut sessions = Intervals::new(10);
        let first = sessions.take(0, 0, 0);
        assert_eq!(sessions.take(0, 10, 10), first);
        assert_ne!(sessions.take(0, 21, 21), first);
        assert_eq!(ranges(&sessions.close(Timestamp(20))), []);
        assert_eq!(ranges(&sessions.close(Timestamp(21))), [(0, 0, 10)]);
        assert_eq!(sessions.earliest_start(), Some(21));
    }

    #[test]
    fn row_between_two_sessions_makes_them_one() {
        let mut sessions = Intervals::new(10);
        let later = sessions.take(0, 20, 20);
        let earlier = sessions.take(0, 0, 0);
        assert_ne!(later, earlier);
        let kept = sessions.take(0, 10, 10);
        let closed = sessions.close(Timestamp::MAX);
        assert_eq!(ranges(&closed), [(0, 0, 20)]);
        assert_eq!(closed[0].slot, kept);
        let children: Vec<u32> =
            sessions.take_children_of_closed().into_iter().map(|(child, of)| child ^ of).collect();
        assert_eq!(children, [later ^ earlier]);
    }

    #[test]
    fn any_order_gives_the_sessions_of_sorted_rows() {
        for seed in 0..300 {
            let mut random = SmallRng::seed_from_u64(seed);
            let gap = random.random_range(0..20);
            let mut sessions = Intervals::new(gap);
            let mut rows: BTreeMap<u32, Vec<(i64, i64)>> = BTreeMap::new();
            let mut slots = Vec::new();
            for _ in 0..200 {
                let (key, start) = (random.random_range(0..3), random.random_range(-300..300));
                let last = start + random.random_range(0..=gap);
                slots.push(((key, start, last), sessions.take(key, start, last)));
                rows.entry(key).or_default().push((start, last));
            }
            let mut expected = Vec::new();
            for (key, mut rows) in rows {
                rows.sort_unstable();
                let mut open = rows[0];
                for (start, last) in rows {
                    if start > open.1 + gap {
                        expected.push((key, open.0, open.1));
                        open = (start, last);
                    }
                    open.1 = open.1.max(last);
                }
                expected.push((key, open.0, open.1));
            }
            for ((key, start, last), slot) in slots {
                let session = sessions.interval(slot).unwrap();
                assert!(session.key == key && session.start <= start && last <= session.last);
            }
            let middle = random.random_range(-300..300);
            let early = ranges(&sessions.close(Timestamp(middle)));
            assert!(early.iter().all(|(_, _, last)| last + gap < middle), "seed {seed}");
            let mut found = ranges(&sessions.close(Timestamp::MAX));
            assert!(found.iter().all(|(_, _, last)| last + gap >= middle), "seed {seed}");
            found.extend(early);
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "seed {seed}");
            assert_eq!((sessions.open(), sessions.earliest_start()), (0, None));
        }
    }
}
