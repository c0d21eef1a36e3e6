//! The table `person`.

use super::Column;
use super::random::Draws;
use super::rows::below;
use super::text::{integers, listed, push_digits, push_letters, texts, times, written};

/// Its columns, in order.
pub(super) const COLUMNS: &[&str] =
    &["id", "name", "email_address", "credit_card", "city", "state", "ts", "extra"];

const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: [&str; 9] =
    ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const CITIES: [&str; 10] = [
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
];
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];

/// The maker of one of [`COLUMNS`].
pub(super) fn column(name: &str, seed: u64) -> Column {
    let salt = format!("person {name}");
    let draws = Draws::new(seed, &salt);
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_string()).collect();
    match name {
        "id" => integers(|group, _| group.person_id()),
        "name" => {
            let names = FIRST_NAMES.iter().flat_map(|first| LAST_NAMES.map(|last| format!("{first} {last}")));
            listed(seed, &salt, names.collect())
        }
        "email_address" => written(move |text, event| {
            push_letters(text, draws, event * 2, 3 + below(draws.at(event), 5), false);
            text.push('@');
            push_letters(text, draws, event * 2 + 1, 5, false);
            text.push_str(".com");
        }),
        "credit_card" => written(move |text, event| {
            let draw = draws.at(event);
            for part in 0..4 {
                if part > 0 {
                    text.push(' ');
                }
                push_digits(text, (draw >> (part * 16) & 0xffff) % 10_000, 4);
            }
        }),
        "city" => listed(seed, &salt, list(&CITIES)),
        "state" => listed(seed, &salt, list(&STATES)),
        "ts" => times(super::rows::Group::time_us),
        _ => texts(seed, &salt, 60, 100),
    }
}
