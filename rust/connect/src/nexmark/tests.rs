use super::*;
use arrow::array::{AsArray, Int64Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use dataflare_engine::source::Poll;
use dataflare_engine::time::ManualClock;
use serde_json::json;

fn table(options: &Value, table: Table, split: Option<u64>) -> RecordBatch {
    let batches: Vec<_> = generate(options, &schema(table), split).unwrap().map(Result::unwrap).collect();
    concat_batches(&arrow_schema(&schema(table)), &batches).unwrap()
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a Int64Array {
    batch.column_by_name(name).unwrap().as_primitive::<Int64Type>()
}

/// Reads a split to its end (or until it has nothing), in batches, from an offset.
fn read(source: &Nexmark, split: &str, offset: Option<&Value>) -> (RecordBatch, Vec<(u64, Value)>, bool) {
    let mut reader = source.open(&Split { name: split.to_string() }, offset, Arc::new(|| ())).unwrap();
    let (mut batches, mut places) = (vec![], vec![]);
    let ended = loop {
        match reader.poll().unwrap() {
            Poll::Ready(batch) => {
                places.push((batch.first, batch.next.clone()));
                batches.push((batch.decode)().unwrap().records);
            }
            Poll::Pending => break false,
            Poll::End => break true,
        }
    };
    (concat_batches(&source.generator.schema, &batches).unwrap(), places, ended)
}

#[test]
fn every_fifty_events_are_one_person_three_auctions_and_the_rest_bids() {
    for (name, rows) in [("person", 20), ("auction", 60), ("bid", 920)] {
        let options = json!({"kind": name, "events": 1000});
        let kind = Options::read(&options).unwrap().table;
        assert_eq!(table(&options, kind, None).num_rows(), rows);
    }
}

#[test]
fn first_bids_never_change_over_releases() {
    let bids = table(&json!({"kind": "bid", "events": 8, "splits": 1}), Table::Bid, None);
    assert_eq!(column(&bids, "auction").values(), FIRST_AUCTIONS);
    assert_eq!(column(&bids, "bidder").values(), FIRST_BIDDERS);
    assert_eq!(column(&bids, "price").values(), FIRST_PRICES);
    let times = bids.column_by_name("ts").unwrap().as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.value(0), 1_436_918_400_000_400);
    assert_eq!(times.value(3), 1_436_918_400_000_700);
    let url = bids.column_by_name("url").unwrap().as_string_view().value(0);
    assert_eq!(url, FIRST_URL);
}

const FIRST_AUCTIONS: &[i64] = &[1006, 1001, 1009, 1000];
const FIRST_BIDDERS: &[i64] = &[1001, 1001, 1001, 1003];
const FIRST_PRICES: &[i64] = &[28078, 388, 661, 23379876];
const FIRST_URL: &str = "https://www.nexmark.com/byvgq/yrazz/vdqlc/item.htm?query=1";

#[test]
fn splits_hold_the_same_rows_as_the_whole_table() {
    for kind in [Table::Person, Table::Auction, Table::Bid] {
        let name = format!("{kind:?}").to_lowercase();
        let whole = table(&json!({"kind": name, "events": 1234, "splits": 1}), kind, None);
        let dealt = table(&json!({"kind": name, "events": 1234, "splits": 3}), kind, None);
        let by_time =
            arrow::compute::sort_to_indices(dealt.column_by_name("ts").unwrap(), None, None).unwrap();
        assert_eq!(arrow::compute::take_record_batch(&dealt, &by_time).unwrap(), whole);
    }
}

#[test]
fn any_cut_and_any_restart_gives_the_same_rows() {
    for batch_rows in [1, 7, 46, 100] {
        let options = json!({"kind": "bid", "events": 777, "seed": 9, "batch_rows": batch_rows});
        let source = Nexmark::new(&options, &schema(Table::Bid)).unwrap();
        let (rows, places, ended) = read(&source, "1", None);
        assert!(ended);
        assert_eq!(rows, table(&json!({"kind": "bid", "events": 777, "seed": 9}), Table::Bid, Some(1)));
        for (place, next) in &places {
            let (rest, rest_places, _) = read(&source, "1", Some(next));
            let from = usize::try_from(*place).unwrap()
                + rows.num_rows().min(batch_rows).min(rows.num_rows() - *place as usize);
            assert_eq!(rest, rows.slice(from, rows.num_rows() - from));
            assert!(rest_places.first().is_none_or(|(first, _)| *first == from as u64));
        }
    }
}

#[test]
fn a_projection_has_the_same_values() {
    let options = json!({"kind": "auction", "events": 500});
    let whole = table(&options, Table::Auction, None);
    let fields: Vec<Field> = schema(Table::Auction)
        .into_iter()
        .filter(|field| ["seller", "reserve"].contains(&field.name.as_str()))
        .collect();
    let part = generate(&options, &fields, None).unwrap().next().unwrap().unwrap();
    assert_eq!(part.column(0), &whole.column_by_name("reserve").unwrap().slice(0, part.num_rows()));
    assert_eq!(part.num_columns(), 2);
}

#[test]
fn no_columns_still_have_rows() {
    let batch = generate(&json!({"kind": "bid", "events": 50}), &[], None).unwrap().next().unwrap().unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (46, 0));
}

#[test]
fn bids_name_auctions_and_persons_that_exist_or_come_soon() {
    let options = json!({"kind": "bid", "events": 100_000, "splits": 1});
    let bids = table(&options, Table::Bid, None);
    for (row, (auction, bidder)) in
        column(&bids, "auction").values().iter().zip(column(&bids, "bidder").values()).enumerate()
    {
        let group = row as i64 / 46;
        assert!((1_000..=1_000 + group * 3 + 2 + 10).contains(auction), "{auction} in group {group}");
        assert!((1_000..=1_000 + group + 10).contains(bidder), "{bidder} in group {group}");
    }
    let hot = |name: &str, rest: i64| {
        let values = column(&bids, name).values();
        values.iter().filter(|id| **id % 100 == rest).count() as f64 / values.len() as f64
    };
    assert!((0.49..0.53).contains(&hot("auction", 0)), "{}", hot("auction", 0));
    assert!((0.74..0.78).contains(&hot("bidder", 1)), "{}", hot("bidder", 1));
}

#[test]
fn prices_are_spread_over_their_magnitudes() {
    let bids = table(&json!({"kind": "bid", "events": 100_000}), Table::Bid, None);
    for magnitude in 2..8_u32 {
        let range = 10_i64.pow(magnitude)..10_i64.pow(magnitude + 1);
        let share = column(&bids, "price").values().iter().filter(|price| range.contains(price)).count()
            as f64
            / 92_000.0;
        assert!((0.15..0.185).contains(&share), "{magnitude}: {share}");
    }
}

#[test]
fn paced_events_come_when_they_are_due_and_a_restart_makes_no_burst() {
    let clock = Arc::new(ManualClock::default());
    let options = json!({"kind": "bid", "rate": 100_000, "splits": 1});
    let source = Nexmark::with_clock(&options, &schema(Table::Bid), Arc::clone(&clock) as _).unwrap();
    let split = Split { name: "0".to_string() };
    let mut reader = source.open(&split, None, Arc::new(|| ())).unwrap();
    assert!(matches!(reader.poll().unwrap(), Poll::Pending));
    clock.advance(10_000_000);
    let Poll::Ready(batch) = reader.poll().unwrap() else { panic!("1 000 events are due") };
    assert_eq!((batch.decode)().unwrap().records.num_rows(), 920);
    assert!(matches!(reader.poll().unwrap(), Poll::Pending));
    clock.advance(1_000_000_000);
    let mut restarted = source.open(&split, Some(&batch.next), Arc::new(|| ())).unwrap();
    assert!(matches!(restarted.poll().unwrap(), Poll::Pending));
    clock.advance(1_000_000);
    let Poll::Ready(batch) = restarted.poll().unwrap() else { panic!("100 events are due") };
    assert_eq!(batch.first, 920);
    assert_eq!((batch.decode)().unwrap().records.num_rows(), 92);
}

#[test]
fn a_pending_reader_wakes_the_workers() {
    let (woken, wakes) = crossbeam_channel::bounded(1);
    let source = Nexmark::new(&json!({"kind": "bid", "rate": 5_000}), &schema(Table::Bid)).unwrap();
    let waker: Waker = Arc::new(move || {
        let _ = woken.try_send(());
    });
    let mut reader = source.open(&Split { name: "0".to_string() }, None, waker).unwrap();
    while let Poll::Pending = reader.poll().unwrap() {
        wakes.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
    }
}

#[test]
fn wrong_columns_and_options_are_named() {
    let typo = [Field { name: "prize".to_string(), dtype: DataType::Int64 }];
    let error = Nexmark::new(&json!({"kind": "bid"}), &typo).unwrap_err().to_string();
    assert!(error.contains("price Int64") && error.contains("got prize Int64"), "{error}");
    for (options, part) in [
        (json!({"kind": "bids"}), "bids"),
        (json!({"kind": "bid", "splits": 0}), "splits of at least 1"),
        (json!({"kind": "bid", "rate": 0}), "a rate above 0"),
        (json!({"kind": "bid", "speed": 1}), "speed"),
    ] {
        let error = Nexmark::new(&options, &schema(Table::Bid)).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let error = generate(&json!({"kind": "bid"}), &schema(Table::Bid), None).err().unwrap().to_string();
    assert!(error.contains("a number of events"), "{error}");
}
