//! Windows of the engine against those of Polars (`tests/fixtures/make_grid.py` writes the expectations).

#![expect(clippy::unwrap_used, reason = "a missing or broken fixture fails the test")]

use dataflare_engine::Timestamp;
use dataflare_engine::window::Grid;
use dataflare_plan::{Closed, DataType, Window};
use serde::Deserialize;

/// Lower and upper boundary, label, numbers of the rows.
type Expected = (i64, i64, i64, Vec<usize>);

#[derive(Deserialize)]
struct Case {
    text: String,
    dtype: DataType,
    window: Window,
    times: Vec<i64>,
    /// `None`: the windows depend on the first row.
    grid: Option<Vec<Expected>>,
}

fn cases() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/grid.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn windows(grid: &Grid, times: &[i64]) -> Vec<Expected> {
    let mut found: std::collections::BTreeMap<i64, Vec<usize>> = std::collections::BTreeMap::new();
    for (row, time) in times.iter().enumerate() {
        for index in grid.windows_of(*time) {
            found.entry(index).or_default().push(row);
        }
    }
    let expected = |(index, rows): (i64, Vec<usize>)| {
        let (lower, upper) = grid.boundaries(index);
        (lower, upper, grid.label(index), rows)
    };
    found.into_iter().map(expected).collect()
}

#[test]
fn windows_are_those_of_polars() {
    let (mut compared, mut refused) = (0, 0);
    let mut unequal = Vec::new();
    for case in cases() {
        match (Grid::new(&case.window, &case.dtype), &case.grid) {
            (Ok(grid), Some(expected)) if windows(&grid, &case.times) == *expected => compared += 1,
            (Ok(grid), Some(expected)) => {
                unequal.push(format!(
                    "{}: {:?} instead of {expected:?}",
                    case.text,
                    windows(&grid, &case.times)
                ));
            }
            (Ok(_), None) => unequal.push(format!("{}: depends on the first row but is taken", case.text)),
            (Err(_), Some(_)) => refused += 1,
            (Err(_), None) => {}
        }
    }
    assert!(unequal.is_empty(), "{} of them\n{}", unequal.len(), unequal.join("\n"));
    assert!(compared > 350 && refused < compared / 4, "{compared} compared, {refused} refused without need");
}

#[test]
fn window_is_final_when_no_row_from_the_watermark_on_lies_in_it() {
    for case in cases() {
        let Ok(grid) = Grid::new(&case.window, &case.dtype) else { continue };
        for watermark in &case.times {
            let open = grid.earliest_open(Timestamp(*watermark));
            let end_is_in = matches!(case.window.closed, Closed::Right | Closed::Both);
            for index in open - 2..open + 3 {
                let ticks = if case.dtype == DataType::Date { 86_400_000_000 } else { 1 };
                let (end, watermark) = (grid.boundaries(index).1, watermark * ticks);
                let expected = if end_is_in { watermark > end } else { watermark >= end };
                assert_eq!(
                    grid.is_final(index, Timestamp(watermark / ticks)),
                    expected,
                    "{} {index}",
                    case.text
                );
            }
            assert!(grid.windows_of(*watermark).start >= open, "{}", case.text);
        }
    }
}

#[test]
fn fixed_grid_gives_the_same_windows() {
    let mut compared = 0;
    for case in cases() {
        let Ok(grid) = Grid::new(&case.window, &case.dtype) else { continue };
        let Some(fixed) = grid.fixed() else { continue };
        for index in -3..4 {
            assert_eq!(grid.start(index), fixed.offset + index * fixed.every, "{}", case.text);
            assert_eq!(grid.end(index), grid.start(index) + fixed.period, "{}", case.text);
        }
        assert!((0..fixed.every).contains(&fixed.offset), "{}", case.text);
        compared += 1;
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn extreme_times_saturate() {
    for case in cases() {
        let Ok(grid) = Grid::new(&case.window, &case.dtype) else { continue };
        for time in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
            let windows = grid.windows_of(time);
            assert!(windows.end - windows.start < 2_000, "{}", case.text);
            grid.boundaries(windows.start);
            grid.earliest_open(Timestamp(time));
            grid.boundaries(time);
        }
        assert_eq!(grid.earliest_open(Timestamp::MIN), i64::MIN);
        assert!(grid.is_final(i64::MAX - 1, Timestamp::MAX));
    }
}
