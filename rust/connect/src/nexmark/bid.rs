//! The table `bid`.

use super::Column;
use super::random::{Draws, Prices};
use super::rows::below;
use super::text::{integers, push_digits, push_letters, texts, times, words};
use arrow::array::StringViewArray;

/// Its columns, in order.
pub(super) const COLUMNS: &[&str] = &["auction", "bidder", "price", "channel", "url", "ts", "extra"];

/// Half of all bids come through these; the others are numbered.
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
const CHANNELS: u64 = 10_000;

/// The maker of one of [`COLUMNS`].
pub(super) fn column(name: &str, seed: u64) -> Column {
    let draws = Draws::new(seed, &format!("bid {name}"));
    match name {
        "auction" => integers(move |group, event| group.bid_auction(draws.at(event))),
        "bidder" => integers(move |group, event| group.bidder(draws.at(event))),
        "price" => {
            let prices = Prices::new();
            integers(move |_, event| prices.at(draws.at(event)))
        }
        "channel" => words(channels(), channel(seed)),
        "url" => words(urls(seed), channel(seed)),
        "ts" => times(super::rows::Group::time_us),
        _ => texts(seed, "bid extra", 54, 82),
    }
}

/// The number of an event's channel, hot ones last. Both `channel` and `url` hang on it.
fn channel(seed: u64) -> impl Fn(u64) -> u64 {
    let draws = Draws::new(seed, "bid channel");
    move |event| {
        let draw = draws.at(event);
        if draw & 1 == 0 { CHANNELS + ((draw >> 1) & 3) } else { below(draw, CHANNELS) }
    }
}

fn channels() -> StringViewArray {
    let numbered = (0..CHANNELS).map(|number| format!("channel-{number}"));
    StringViewArray::from_iter_values(numbered.chain(HOT_CHANNELS.map(str::to_string)))
}

/// One address a channel; nine of ten numbered channels have an id in it.
fn urls(seed: u64) -> StringViewArray {
    let draws = Draws::new(seed, "bid url");
    let url = |number: u64| {
        let mut url = String::from("https://www.nexmark.com/");
        for part in 0..3 {
            push_letters(&mut url, draws, number * 4 + part, 5, false);
            url.push('/');
        }
        url.push_str("item.htm?query=1");
        let draw = draws.at(number.wrapping_add(1 << 40));
        if number < CHANNELS && !draw.is_multiple_of(10) {
            url.push_str("&channel_id=");
            push_digits(&mut url, draw >> 33, 1);
        }
        url
    };
    StringViewArray::from_iter_values((0..CHANNELS + HOT_CHANNELS.len() as u64).map(url))
}
