"""SQL: window functions and EMIT give what the same query gives in Polars' own words; errors say where."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.errors import CallError

TS = pl.col("ts")


def bids(events: int = 20_000) -> pl.LazyFrame:
    return dff.nexmark(events=events).bid.stream.with_watermark("ts", delay="4s")


def hold(found: pl.LazyFrame, expected: pl.LazyFrame) -> None:
    wanted = expected.collect(engine="in-memory")
    assert wanted.height > 0
    assert_frame_equal(found.collect(engine="in-memory"), wanted, check_row_order=False, check_dtypes=False)
    answer = found.collect(engine=dff.Engine(parallelism=2))
    assert_frame_equal(answer, wanted, check_row_order=False, check_dtypes=False)


@pytest.mark.parametrize(
    "source",
    [
        "tumble(bid, ts, interval '500 milliseconds')",
        "TUMBLE(bid, ts, '500ms') w",
        "TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '500' MILLISECOND))",
    ],
)
def test_tumble_in_every_spelling(source: str) -> None:
    found = dff.sql(
        f"select auction, window_start, window_end, count(*) as n, sum(price) as total from {source} "
        "where price > 1000 group by auction, window_start, window_end having count(*) > 1",
        bid=bids(),
    )
    windows = (
        bids()
        .filter(pl.col("price") > 1000)
        .group_by_dynamic("ts", every="500ms", group_by="auction")
        .agg(n=pl.len(), total=pl.col("price").sum())
        .filter(pl.col("n") > 1)
        .select("auction", "n", "total", window_start="ts", window_end=TS.dt.offset_by("500ms"))
    )
    hold(found, windows.select("auction", "window_start", "window_end", "n", "total"))
    assert "over windows every 500ms of ts" in dff.explain(found)


def test_hop_is_overlapping_windows() -> None:
    found = dff.sql(
        "select b.channel, window_end as until, max(b.price) as best "
        "from hop(bid, ts, interval '100 milliseconds', interval '300 milliseconds') b "
        "group by b.channel, window_start, window_end",
        bid=bids(5_000),
    )
    windows = (
        bids(5_000)
        .stream.group_by_hopping("ts", every="100ms", period="300ms", group_by="channel")
        .agg(best=pl.col("price").max())
        .select("channel", "best", until=TS.dt.offset_by("300ms"))
    )
    hold(found, windows.select("channel", "until", "best"))


def test_session_is_rows_of_a_key_within_the_gap() -> None:
    found = dff.sql(
        "select bidder, window_start, window_end, count(*) as n "
        "from session(bid, ts, interval '100 milliseconds') group by bidder, window_start, window_end",
        bid=bids(),
    )
    sessions = bids().stream.group_by_session("ts", "100ms", group_by="bidder").agg(n=pl.len())
    hold(found, sessions)
    assert "over sessions of ts, gap 100ms" in dff.explain(found)


def test_cumulate_grows_window_by_step() -> None:
    found = dff.sql(
        "select window_start, window_end, count(*) as n "
        "from cumulate(bid, ts, '200ms', '600ms') group by window_start, window_end",
        bid=bids(),
    )
    rows = bids().select("ts", window_start=TS.dt.truncate("600ms"))
    parts = [
        rows.filter(pl.col("window_start").dt.offset_by(end) > TS)
        .group_by("window_start")
        .agg(n=pl.len())
        .select("window_start", "n", window_end=pl.col("window_start").dt.offset_by(end))
        for end in ("200ms", "400ms", "600ms")
    ]
    hold(found, pl.concat(parts).select("window_start", "window_end", "n"))


def test_windows_inside_a_larger_query() -> None:
    found = dff.sql(
        "with perhaps as (select * from bid where price > 100), "
        "windows as (select auction, window_start, count(*) as n from tumble(perhaps, ts, '1s') "
        "group by auction, window_start) "
        "select w.auction, w.n, a.seller from windows w join auction a on w.auction = a.id where w.n > 3",
        bid=bids(),
        auction=dff.nexmark(events=20_000).auction,
    )
    windows = (
        bids()
        .filter(pl.col("price") > 100)
        .group_by_dynamic("ts", every="1s", group_by="auction")
        .agg(n=pl.len())
        .filter(pl.col("n") > 3)
        .join(dff.nexmark(events=20_000).auction, left_on="auction", right_on="id")
    )
    hold(found, windows.select("auction", "n", "seller"))


def test_plain_queries_are_those_of_polars() -> None:
    query = "select channel, sum(price) as total from bid where price > 10 group by channel"
    hold(dff.sql(query, bid=bids()), pl.SQLContext(bid=bids()).execute(query))


def test_emit_sets_when_results_leave() -> None:
    query = "select auction, count(*) as n from bid group by auction"
    endless = dff.nexmark().bid
    assert "the new row of each changed key, at most every 1000 ms" in dff.explain(
        dff.sql(f"{query} emit changes every '1s'", bid=endless)
    )
    windowed = "select window_start, count(*) as n from tumble(bid, ts, '10s') group by window_start"
    timed = endless.stream.with_watermark("ts", delay="4s")
    assert "append: each result once" in dff.explain(dff.sql(f"{windowed} emit final;", bid=timed))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select n from tumble(bid, ts, '1s') group by (", r"line 1, column \d+"),
        ("select a from tumble(bid, ts) group by window_start", r"expected TUMBLE\(table, time, size\)"),
        ("select a from tumble(nope, ts, '1s') group by window_start", r"a table of \['bid'\], got 'nope'"),
        ("select a from tumble(bid, nope, '1s') group by window_start", "a time column of .* got 'nope'"),
        ("select price from tumble(bid, ts, '1s')", "expected GROUP BY window_start"),
        ("select a from tumble(bid, ts, 10) group by window_start", "a length such as INTERVAL"),
        ("select sum(x from bid", "Polars' SQL reads"),
    ],
)
def test_errors_say_what_was_expected_and_where(query: str, message: str) -> None:
    with pytest.raises(CallError, match=message):
        dff.sql(query, bid=bids(100))
