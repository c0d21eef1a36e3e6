"""Windows on each kind of time column: the engine against Polars in memory, on real frames.

The grid itself is compared case by case in `rust/engine/tests/window_grid.rs`.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff

GRIDS: list[dict[str, Any]] = [
    {"every": "10m"},
    {"every": "1h", "period": "3h", "offset": "-2h", "label": "right"},
    {"every": "1h", "period": "20m", "offset": "5m", "closed": "none"},
    {"every": "1d", "closed": "right"},
    {"every": "1d", "offset": "-1d", "closed": "both"},
    {"every": "1w"},
    {"every": "1mo", "label": "right"},
    {"every": "1mo", "period": "10d"},
    {"every": "1mo", "period": "45d", "offset": "-1mo"},
    {"every": "1w", "period": "1mo", "offset": "-4w"},
    {"every": "1q", "period": "2q", "offset": "-1q", "closed": "left"},
    {"every": "1h", "closed": "both", "offset": "-1h"},
]

# On a zone whose clocks change these depend on the first row.
GRIDS_WITHOUT_CLOCK_CHANGES: list[dict[str, Any]] = [
    {"every": "1w", "start_by": "sunday"},
    {"every": "1d", "period": "2d", "start_by": "friday", "offset": "-1d"},
    {"every": "2h", "period": "3h", "offset": "-1h"},
    {"every": "90m", "closed": "both", "offset": "-90m"},
]


def rows(count: int = 300) -> pl.DataFrame:
    """Times over the change to summer time of 2024 in Berlin, in no order."""
    chosen = random.Random(3)
    start = datetime(2024, 3, 29)
    times = [start + timedelta(seconds=chosen.randrange(4 * 86_400)) for _ in range(count)]
    return pl.DataFrame(
        {
            "t": pl.Series(times, dtype=pl.Datetime("us")),
            "k": [chosen.choice("ab") for _ in range(count)],
            "v": [chosen.randrange(100) for _ in range(count)],
        }
    )


def stream(frame: pl.DataFrame, delay: str) -> pl.LazyFrame:
    half = frame.height // 2
    splits = [[part[i : i + 37] for i in range(0, part.height, 37)] for part in (frame[:half], frame[half:])]
    return dff.from_batches(*splits).stream.with_watermark("t", delay=delay)


def assert_law(query: pl.LazyFrame) -> None:
    expected, found = query.collect(engine="in-memory"), query.collect(engine=dff.Engine(parallelism=2))
    assert expected.height > 0
    assert_frame_equal(found.sort(found.columns), expected.sort(expected.columns))


def counts(frame: pl.LazyFrame, **grid: Any) -> pl.LazyFrame:
    windows = frame.group_by_dynamic("t", group_by="k", include_boundaries=True, **grid)
    return windows.agg(pl.len().alias("rows"), pl.col("v").sum())


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_windows_of_date_times_are_those_of_polars(grid: dict[str, Any], zone: str | None) -> None:
    frame = stream(rows(), "5d")
    if zone is not None:
        frame = frame.with_columns(pl.col("t").dt.replace_time_zone("UTC").dt.convert_time_zone(zone))
    assert_law(counts(frame, **grid))


@pytest.mark.parametrize("grid", GRIDS_WITHOUT_CLOCK_CHANGES, ids=str)
def test_windows_without_clock_changes_are_those_of_polars(grid: dict[str, Any]) -> None:
    assert_law(counts(stream(rows(), "5d"), **grid))


@pytest.mark.parametrize(
    "convert",
    [
        pl.col("t").dt.cast_time_unit("ns"),
        pl.col("t").dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo"),
        pl.col("t").dt.truncate("1m"),
        pl.col("t") - timedelta(hours=5),
        pl.col("t").dt.date().cast(pl.Datetime("us")),
    ],
    ids=str,
)
def test_windows_of_a_converted_and_renamed_time_close_with_its_watermark(convert: pl.Expr) -> None:
    frame = stream(rows(), "5d").with_columns(convert.alias("moment")).drop("t").rename({"moment": "t"})
    query = counts(frame, every="1d")
    assert "event time ends" not in dff.explain(query)
    assert_law(query)


@pytest.mark.parametrize(
    "grid", [{"every": "1d"}, {"every": "12h", "closed": "right"}, {"every": "1mo"}], ids=str
)
def test_windows_of_dates_end_at_instants(grid: dict[str, Any]) -> None:
    assert_law(counts(stream(rows().with_columns(pl.col("t").dt.date()), "5d"), **grid))


def test_windows_of_integers_count_units() -> None:
    frame = rows().with_columns(t=pl.int_range(pl.len(), dtype=pl.Int64) * 3 - 100)
    assert_law(counts(stream(frame, "10i"), every="10i", period="30i", offset="-20i"))


def test_windows_of_windows_need_no_new_watermark() -> None:
    hours = stream(rows(), "5d").group_by_dynamic("t", every="1h").agg(pl.col("v").sum())
    assert_law(hours.group_by_dynamic("t", every="1d").agg(pl.col("v").max()))


def test_one_far_earlier_row_changes_no_other_window() -> None:
    early = pl.DataFrame({"t": [datetime(1970, 1, 1)], "k": ["a"], "v": [1]})
    frame = pl.concat([early.with_columns(pl.col("t").cast(pl.Datetime("us"))), rows()])
    for every, offset in (("1h", "-2h"), ("1d", "-2d")):
        query = counts(stream(frame, "30000d"), every=every, period=f"3{every[-1]}", offset=offset)
        without = counts(stream(rows(), "30000d"), every=every, period=f"3{every[-1]}", offset=offset)
        late = pl.col("_upper_boundary").dt.year() > 1970
        found = query.collect(engine=dff.Engine()).filter(late)
        expected = without.collect(engine="in-memory")
        assert_frame_equal(found.sort(found.columns), expected.sort(expected.columns))
