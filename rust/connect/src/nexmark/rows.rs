//! Which events are the rows of a split, and what the rows of one group of 50 events share.

use super::Table;

/// Events of a group: 1 person, 3 auctions, 46 bids.
const GROUP: u64 = 50;
/// Ids of auctions and persons start here.
const FIRST_ID: u64 = 1_000;
/// Auctions that get bids at a time, persons that act at a time.
const OPEN_AUCTIONS: u64 = 100;
const ACTIVE_PERSONS: u64 = 1_000;
/// Bids and auctions also name ids that come a little later.
const LEAD: u64 = 10;
/// One id in so many is hot.
const HOT_STRIDE: u64 = 100;
/// Event time of event 0: 2015-07-15T00:00:00, in microseconds.
const BASE_TIME_US: i64 = 1_436_918_400_000_000;

/// The rows of one table in one split. Row numbers count from 0 without gaps; event numbers are those of all tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    split: u64,
    splits: u64,
    first_slot: u64,
    per_group: u64,
}

impl Layout {
    pub(super) fn new(table: Table, split: u64, splits: u64) -> Self {
        let (first_slot, per_group) = match table {
            Table::Person => (0, 1),
            Table::Auction => (1, 3),
            Table::Bid => (4, 46),
        };
        Self { split, splits, first_slot, per_group }
    }

    /// The event that row `row` is.
    pub(super) fn event(&self, row: u64) -> u64 {
        self.group(row) * GROUP + self.first_slot + row % self.per_group
    }

    /// How many rows have an event number below `event`.
    pub(super) fn rows_before(&self, event: u64) -> u64 {
        let (group, slot) = (event / GROUP, event % GROUP);
        let whole = (group + self.splits - 1 - self.split) / self.splits;
        let begun = if group % self.splits == self.split {
            slot.saturating_sub(self.first_slot).min(self.per_group)
        } else {
            0
        };
        whole * self.per_group + begun
    }

    fn group(&self, row: u64) -> u64 {
        row / self.per_group * self.splits + self.split
    }
}

/// What the events of one group share: ids that exist by then, and the time of its first event.
#[derive(Debug)]
pub(super) struct Group {
    first_event: u64,
    last_person: u64,
    last_auction: u64,
    time_us: i64,
    rest_ns: u64,
    step_ns: u64,
}

impl Group {
    fn new(group: u64, step_ns: u64) -> Self {
        let first_event = group * GROUP;
        let time_ns = u128::from(first_event) * u128::from(step_ns);
        Self {
            first_event,
            last_person: group,
            last_auction: group * 3 + 2,
            time_us: BASE_TIME_US.saturating_add(i64::try_from(time_ns / 1_000).unwrap_or(i64::MAX)),
            rest_ns: (time_ns % 1_000) as u64,
            step_ns,
        }
    }

    /// Event time in microseconds.
    pub(super) fn time_us(&self, event: u64) -> i64 {
        self.time_us
            .saturating_add(((self.rest_ns + (event - self.first_event) * self.step_ns) / 1_000) as i64)
    }

    /// The id of a person or auction that is born as `event`.
    pub(super) fn person_id(&self) -> i64 {
        (self.last_person + FIRST_ID) as i64
    }

    /// See [`Group::person_id`].
    pub(super) fn auction_id(&self, event: u64) -> i64 {
        (self.last_auction - 2 + (event - self.first_event - 1) + FIRST_ID) as i64
    }

    /// The auction of a bid: every second time the hot one, else one of those open. `draw`: 64 random bits.
    pub(super) fn bid_auction(&self, draw: u64) -> i64 {
        let oldest = self.last_auction.saturating_sub(OPEN_AUCTIONS);
        let chosen = if draw & 1 == 0 {
            self.last_auction / HOT_STRIDE * HOT_STRIDE
        } else {
            oldest + below(draw, self.last_auction - oldest + 1 + LEAD)
        };
        (chosen + FIRST_ID) as i64
    }

    /// The bidder: three times of four the hot one.
    pub(super) fn bidder(&self, draw: u64) -> i64 {
        if draw & 3 == 0 { self.any_person(draw) } else { self.hot_person() + 1 }
    }

    /// The seller of an auction: three times of four the hot one.
    pub(super) fn seller(&self, draw: u64) -> i64 {
        if draw & 3 == 0 { self.any_person(draw) } else { self.hot_person() }
    }

    fn hot_person(&self) -> i64 {
        (self.last_person / HOT_STRIDE * HOT_STRIDE + FIRST_ID) as i64
    }

    fn any_person(&self, draw: u64) -> i64 {
        let active = (self.last_person + 1).min(ACTIVE_PERSONS);
        (self.last_person + 1 - active + below(draw, active + LEAD) + FIRST_ID) as i64
    }

    /// When an auction that opens with `event` closes: on average as long as [`OPEN_AUCTIONS`] auctions take.
    pub(super) fn expires_us(&self, event: u64, draw: u64) -> i64 {
        let span_us = (OPEN_AUCTIONS * GROUP / 3 * self.step_ns / 1_000 * 2).max(1);
        self.time_us(event).saturating_add(1 + ((u128::from(draw) * u128::from(span_us)) >> 64) as i64)
    }
}

/// A number below `bound` (at most 32 bits) from the high half of `draw`, so that the low bits are free for choices.
pub(super) fn below(draw: u64, bound: u64) -> u64 {
    ((draw >> 32) * bound) >> 32
}

/// Some rows of a split that are made together.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) layout: Layout,
    pub(super) first: u64,
    pub(super) count: usize,
    pub(super) step_ns: u64,
}

impl Rows {
    /// One value a row, from its group and event number.
    pub(super) fn map<T>(&self, value: impl Fn(&Group, u64) -> T) -> Vec<T> {
        let mut values = Vec::with_capacity(self.count);
        let mut row = self.first;
        let end = self.first + self.count as u64;
        while row < end {
            let group = Group::new(self.layout.group(row), self.step_ns);
            let rows = (self.layout.per_group - row % self.layout.per_group).min(end - row);
            let event = self.layout.event(row);
            values.extend((event..event + rows).map(|event| value(&group, event)));
            row += rows;
        }
        values
    }
}
