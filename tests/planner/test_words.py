"""The words mean in plain Polars what the semantics say."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest

import dataflare_fast.frame  # noqa: F401
from dataflare_fast.errors import CallError
from dataflare_fast.sources.batches import from_batches


def rows(*pairs: tuple[int | None, int]) -> pl.DataFrame:
    return pl.DataFrame(pairs, schema={"ts": pl.Int64, "price": pl.Int64}, orient="row")


def test_row_behind_the_watermark_is_late() -> None:
    bids = rows((1, 5), (30, 7), (2, 9)).lazy().stream.with_watermark("ts", delay="1i")
    assert bids.collect()["price"].to_list() == [5, 7]
    assert bids.stream.late().collect()["price"].to_list() == [9]


def test_row_at_the_watermark_is_on_time() -> None:
    bids = rows((10, 1), (6, 2), (5, 3)).lazy().stream.with_watermark("ts", delay="4i")
    assert bids.collect()["price"].to_list() == [2, 1]


def test_null_time_is_late_and_does_not_move_the_watermark() -> None:
    bids = rows((10, 1), (None, 2), (5, 3), (7, 4)).lazy().stream.with_watermark("ts", delay="4i")
    assert bids.collect()["price"].to_list() == [4, 1]
    assert bids.stream.late().collect()["price"].to_list() == [2, 3]


def test_splits_are_judged_alone() -> None:
    bids = from_batches(rows((100, 1)), [rows((1, 2)), rows((9, 3), (4, 4))])
    on_time = bids.stream.with_watermark("ts", delay="4i").collect()
    assert on_time["price"].to_list() == [2, 3, 1]


def test_splits_of_a_concat_with_a_polars_frame_are_judged_alone() -> None:
    both = pl.concat([rows((100, 1)).lazy(), from_batches(rows((1, 2)), rows((9, 3), (4, 4)))])
    assert both.stream.with_watermark("ts", delay="4i").collect()["price"].to_list() == [2, 3, 1]


def test_filter_above_changes_no_lateness() -> None:
    bids = rows((1, 9), (100, 0), (5, 9)).lazy().stream.with_watermark("ts", delay="4i")
    assert bids.filter(pl.col("price") > 0).collect().rows() == [(1, 9)]


def test_head_above_takes_the_earliest() -> None:
    bids = from_batches(rows((5, 1), (9, 2)), rows((4, 3))).stream.with_watermark("ts", delay="9i")
    assert bids.head(2).collect().rows() == [(4, 3), (5, 1)]


def test_rows_of_equal_time_stand_in_split_order() -> None:
    bids = from_batches(rows((5, 1), (5, 2)), rows((5, 3))).stream.with_watermark("ts", delay="0i")
    assert bids.collect()["price"].to_list() == [1, 2, 3]


def test_row_far_ahead_makes_no_other_row_late() -> None:
    bids = rows((1, 1), (9_999, 2), (3, 3), (13, 4), (23, 5)).lazy()
    watermarked = bids.stream.with_watermark("ts", delay="2i", ahead="10i")
    assert watermarked.collect()["price"].to_list() == [1, 3, 4, 5]
    assert watermarked.stream.late().collect().height == 0


def test_watermark_saturates_at_the_minimum_of_the_type() -> None:
    lowest = -(2**63)
    bids = rows((lowest + 1, 1), (lowest, 2)).lazy().stream.with_watermark("ts", delay="10i")
    assert bids.collect()["price"].to_list() == [2, 1]


def test_delay_of_a_date_column_counts_whole_days() -> None:
    days = pl.LazyFrame({"day": [10, 9, 8]}).cast(pl.Date)
    assert days.stream.with_watermark("day", delay="36h").collect().height == 2


def test_watermark_of_a_watermark_keeps_splits() -> None:
    inner = from_batches(rows((100, 1)), rows((9, 3), (1, 4))).stream.with_watermark("ts", delay="20i")
    outer = inner.filter(pl.col("price") > 0).stream.with_watermark("ts", delay="5i")
    assert outer.collect()["price"].to_list() == [3, 1]


def test_late_wants_the_watermark_itself() -> None:
    bids = rows((1, 1)).lazy().stream.with_watermark("ts", delay="1i")
    with pytest.raises(CallError, match="keep that frame in a variable"):
        bids.filter(pl.col("price") > 1).stream.late()


@pytest.mark.parametrize(
    ("column", "delay", "text"),
    [
        ("tz", "1i", "got 'tz'"),
        ("ts", "4s", "expected a count"),
        ("ts", "1mo", "no fixed length"),
        ("ts", "x", "'4s'"),
    ],
)
def test_bad_argument_says_what_was_expected(column: str, delay: str, text: str) -> None:
    with pytest.raises(CallError, match=text):
        rows().lazy().stream.with_watermark(column, delay=delay)


def test_emit_and_name_change_no_row() -> None:
    counts = rows((1, 5), (2, 5)).lazy().group_by("price").len()
    assert counts.stream.emit("update", every="1s").stream.name("counts").collect().rows() == [(5, 2)]


def test_errors_have_no_rows_in_plain_polars() -> None:
    parsed = pl.LazyFrame({"text": ["1", "2"]}).with_columns(n=pl.col("text").cast(pl.Int64))
    errors = parsed.stream.errors().collect()
    assert errors.height == 0
    assert errors.columns[0] == "text"
    assert errors.columns[1] == "_error_operator"


@pytest.mark.parametrize(
    ("every", "period", "offset"), [("2s", "10s", -8), ("2s", "5s", -4), ("10s", "10s", 0)]
)
def test_hopping_has_every_window_that_holds_a_row(every: str, period: str, offset: int) -> None:
    lf = pl.LazyFrame({"ts": [datetime(2024, 1, 1, 0, 0, 20)]})
    windows = lf.stream.group_by_hopping("ts", every=every, period=period).agg(pl.len()).collect()
    starts = [moment.second for moment in windows["ts"].to_list()]
    step = int(every[:-1])
    assert starts == list(range(20 + offset, 21, step))
