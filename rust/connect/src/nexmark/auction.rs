//! The table `auction`.

use super::Column;
use super::random::{Draws, Prices};
use super::rows::below;
use super::text::{integers, texts, times};

/// Its columns, in order.
pub(super) const COLUMNS: &[&str] = &[
    "id",
    "item_name",
    "description",
    "initial_bid",
    "reserve",
    "ts",
    "expires",
    "seller",
    "category",
    "extra",
];

/// Categories are 10 to 14.
const FIRST_CATEGORY: u64 = 10;
const CATEGORIES: u64 = 5;

/// The maker of one of [`COLUMNS`].
pub(super) fn column(name: &str, seed: u64) -> Column {
    let draws = Draws::new(seed, &format!("auction {name}"));
    let (initial, prices) = (Draws::new(seed, "auction initial_bid"), Prices::new());
    match name {
        "id" => integers(|group, event| group.auction_id(event)),
        "item_name" => texts(seed, "auction item_name", 3, 20),
        "description" => texts(seed, "auction description", 30, 100),
        "initial_bid" => integers(move |_, event| prices.at(draws.at(event))),
        "reserve" => integers(move |_, event| prices.at(initial.at(event)) + prices.at(draws.at(event))),
        "ts" => times(super::rows::Group::time_us),
        "expires" => times(move |group, event| group.expires_us(event, draws.at(event))),
        "seller" => integers(move |group, event| group.seller(draws.at(event))),
        "category" => integers(move |_, event| (FIRST_CATEGORY + below(draws.at(event), CATEGORIES)) as i64),
        _ => texts(seed, "auction extra", 240, 360),
    }
}
