"""`group_by_session`: its meaning in plain Polars, its node, and what is refused."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

import dataflare_fast as dff
from dataflare_fast.errors import CallError, DataError

from .planning import nodes, only, refusals


def clicks(*rows: tuple[int | None, str]) -> pl.LazyFrame:
    return pl.DataFrame(rows, schema={"ts": pl.Int64, "user": pl.String}, orient="row").lazy()


def endless() -> pl.LazyFrame:
    return dff.nexmark().bid.stream.with_watermark("ts", delay="4s")


def test_row_opens_a_session_only_beyond_the_gap() -> None:
    sessions = clicks((21, "a"), (0, "a"), (10, "a"), (5, "b")).stream.group_by_session(
        "ts", "10i", group_by="user"
    )
    found = sessions.agg(pl.len()).collect().sort("user", "window_start")
    assert found.rows() == [("a", 0, 20, 2), ("a", 21, 31, 1), ("b", 5, 15, 1)]


def test_sessions_without_keys_are_one_chain() -> None:
    sessions = clicks((0, "a"), (8, "b"), (30, "a")).stream.group_by_session("ts", "10i")
    found = sessions.agg(users=pl.col("user").n_unique()).collect().sort("window_start")
    assert found.rows() == [(0, 18, 2), (30, 40, 1)]


def test_dates_have_gaps_of_days() -> None:
    days = pl.LazyFrame({"day": [date(2024, 1, 1), date(2024, 1, 3), date(2024, 1, 6)]})
    found = days.stream.group_by_session("day", timedelta(days=2)).agg(pl.len()).collect()
    assert found.sort("window_start")["window_end"].to_list() == [date(2024, 1, 5), date(2024, 1, 8)]


def test_null_time_is_an_error_in_plain_polars_too() -> None:
    with pytest.raises(DataError, match="'ts' is null"):
        clicks((0, "a"), (None, "a")).stream.group_by_session("ts", "1i").agg(pl.len()).collect()


@pytest.mark.parametrize(
    ("column", "gap", "keys", "message"),
    [
        ("when", "1i", None, "expected a column"),
        ("user", "1i", None, "expected a column of Datetime, Date or integers"),
        ("ts", "10s", None, "expected a count such as '10i'"),
        ("ts", "1i", "ts", "are taken"),
        ("ts", "1i", pl.col("user").alias("window_start"), "'window_start'"),
    ],
)
def test_bad_argument_is_named(column: str, gap: str, keys: str | pl.Expr | None, message: str) -> None:
    with pytest.raises(CallError, match=message):
        clicks((0, "a")).stream.group_by_session(column, gap, group_by=keys).agg(pl.len())


def test_start_of_a_session_is_the_event_time_above() -> None:
    sessions = endless().stream.group_by_session("ts", "10s", group_by="bidder").agg(pl.len())
    node = only("session", sessions.head(1))
    assert (node["keys"], node["gap"], node["event_time"]) == (["bidder"], 10_000_000, "window_start")


def test_only_columns_that_sessions_read_are_read() -> None:
    sessions = endless().stream.group_by_session("ts", "10s", group_by="bidder").agg(pl.len())
    source = nodes(sessions.head(1))[0]
    assert sorted(field["name"] for field in source["schema"]) == ["bidder", "ts"]


def test_sessions_of_another_column_of_an_endless_frame_are_refused() -> None:
    sessions = endless().stream.group_by_session("price", "1i").agg(pl.len())
    assert "no session of an endless input is ever final" in refusals(sessions.head(1))[0].reason


def test_updates_of_sessions_are_refused() -> None:
    sessions = endless().stream.group_by_session("ts", "10s").agg(pl.len())
    assert 'emit("update")' in refusals(sessions.stream.emit("update").head(1))[0].part
