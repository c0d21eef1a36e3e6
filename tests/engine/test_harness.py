"""`dff.testing.harness`: what leaves a query, and when, by a clock that the test moves."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.errors import CallError
from dataflare_fast.testing import harness, pushed

START = datetime(2024, 1, 1)
SCHEMA = pl.Schema({"ts": pl.Datetime("us"), "v": pl.Int64()})


def rows(*seconds: float) -> pl.DataFrame:
    times = [START + timedelta(seconds=second) for second in seconds]
    return pl.DataFrame({"ts": times, "v": range(len(times))}, schema=SCHEMA)


def tens(lf: pl.LazyFrame) -> pl.LazyFrame:
    return lf.group_by_dynamic("ts", every="10s").agg(pl.len())


def starts(frame: pl.DataFrame) -> list[float]:
    return [(start - START).total_seconds() for start in frame["ts"].sort()]


def test_window_leaves_when_the_watermark_reaches_its_end_and_not_before() -> None:
    source = pushed(SCHEMA)
    test = harness(tens(source.stream.with_watermark("ts", delay="4s")))
    test.push(source, rows(1, 13.9))
    assert test.take().height == 0
    test.push(source, rows(14))
    assert starts(test.take()) == [0]
    test.end()
    assert starts(test.take()) == [10]
    assert test.has_ended


def test_window_closed_right_waits_for_rows_at_its_end() -> None:
    source = pushed(SCHEMA)
    windows = source.stream.with_watermark("ts", delay="0s").group_by_dynamic(
        "ts", every="10s", closed="right"
    )
    test = harness(windows.agg(pl.len()))
    test.push(source, rows(1, 10))
    assert test.take().height == 0
    test.push(source, rows(10.1))
    assert test.take()["len"].to_list() == [2]


def test_slowest_split_holds_windows_open_and_none_that_has_ended() -> None:
    source = pushed(SCHEMA, splits=2)
    test = harness(tens(source.stream.with_watermark("ts", delay="0s")))
    test.push(source, rows(5, 35), split=0)
    assert test.take().height == 0
    test.push(source, rows(6, 22), split=1)
    assert starts(test.take()) == [0]


def test_silent_split_holds_windows_only_until_it_is_idle() -> None:
    source = pushed(SCHEMA, splits=2, bounded=False)
    test = harness(tens(source.stream.with_watermark("ts", delay="0s", idle="30s")))
    test.push(source, rows(1), split=1)
    test.push(source, rows(2, 30), split=0)
    test.advance("20s")
    assert test.take().height == 0
    test.push(source, rows(31), split=0)
    test.advance("20s")
    assert starts(test.take()) == [0]


def test_split_that_wakes_up_finds_its_old_rows_late_there() -> None:
    source = pushed(SCHEMA, splits=2, bounded=False)
    marked = source.stream.with_watermark("ts", delay="0s", idle="30s")
    test = harness(marked.stream.late())
    test.push(source, rows(1), split=1)
    test.push(source, rows(2, 30), split=0)
    test.advance("20s")
    test.push(source, rows(31), split=0)
    test.advance("20s")
    test.push(source, rows(25, 31), split=1)
    assert starts(test.take()) == [25]


def test_when_all_splits_are_idle_the_clock_closes_the_last_window() -> None:
    source = pushed(SCHEMA, bounded=False)
    test = harness(tens(source.stream.with_watermark("ts", delay="4s", idle="5s")))
    test.push(source, rows(1))
    test.advance("12s")
    assert test.take().height == 0
    test.advance("3s")
    assert starts(test.take()) == [0]


def test_time_key_leaves_when_the_next_one_begins() -> None:
    source = pushed(SCHEMA)
    marked = source.stream.with_watermark("ts", delay="0s")
    test = harness(marked.group_by(pl.col("ts").dt.truncate("10s")).agg(pl.len()))
    test.push(source, rows(1, 9.9))
    assert test.take().height == 0
    test.push(source, rows(10))
    assert starts(test.take()) == [0]


def test_update_gives_the_new_row_of_each_changed_key() -> None:
    source = pushed({"k": pl.String, "v": pl.Int64}, bounded=False)
    test = harness(source.group_by("k").agg(pl.col("v").sum()).stream.emit("update"), parallelism=1)
    test.push(source, {"k": ["a", "a", "b"], "v": [1, 2, 3]})
    assert sorted(test.take().select("k", "v").rows()) == [("a", 3), ("b", 3)]
    test.push(source, {"k": ["a"], "v": [4]})
    assert test.take().select("k", "v").rows() == [("a", 7)]


def test_what_was_taken_is_the_answer_of_polars() -> None:
    source = pushed(SCHEMA, splits=2)
    query = tens(source.stream.with_watermark("ts", delay="4s"))
    test = harness(query, parallelism=3)
    taken = []
    for step in range(12):
        test.push(source, rows(*(7 * step + second for second in (3, 0, 9, -8))), split=step % 2)
        taken.append(test.take())
    test.end()
    taken.append(test.take())
    assert_frame_equal(pl.concat(taken), query.collect(engine="in-memory"), check_row_order=False)


def test_only_pushed_sources_take_rows() -> None:
    other = dff.from_batches(rows(1))
    test = harness(other)
    with pytest.raises(CallError, match="pushed"):
        test.push(other, rows(2))
    source = pushed(SCHEMA)
    with pytest.raises(CallError, match="split"):
        harness(source).push(source, rows(1), split=3)
