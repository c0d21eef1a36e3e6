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


def test_row_number_with_several_columns_is_top_rows() -> None:
    query = (
        "select auction, price, bidder from bid "
        "qualify row_number() over (partition by auction order by price desc, ts, bidder desc) <= 2"
    )
    best = (
        bids()
        .sort("price", "ts", "bidder", descending=[True, False, True])
        .group_by("auction")
        .head(2)
        .select("auction", "price", "bidder")
    )
    hold(dff.sql(query, bid=bids()), best)


@pytest.mark.filterwarnings("ignore:Sortedness of columns:UserWarning")
def test_asof_join_is_that_of_polars() -> None:
    auctions = dff.nexmark(events=20_000).auction.stream.with_watermark("ts", delay="4s")
    found = dff.sql(
        "select b.auction, b.price, a.seller, a.ts as opened from bid b "
        "asof left join auction a on b.auction = a.id and b.ts >= a.ts where b.price > 1000",
        bid=bids(),
        auction=auctions,
    )
    joined = bids().join_asof(
        auctions.rename({"ts": "opened"}),
        left_on="ts",
        right_on="opened",
        by_left="auction",
        by_right="id",
        coalesce=False,
    )
    hold(found, joined.filter(pl.col("price") > 1000).select("auction", "price", "seller", "opened"))


def test_sum_of_no_values_is_null() -> None:
    query = "select auction, sum(price) filter (where price < 0) as total from bid group by auction"
    found = dff.sql(query, bid=bids(2_000)).collect(engine=dff.Engine())
    assert found["total"].null_count() == found.height > 0


def test_order_of_nulls_is_kept_above_a_window() -> None:
    frame = pl.LazyFrame({"k": [None, 2, 1]})
    query = "select k, row_number() over (partition by k order by k, k desc) as n from t order by k desc"
    assert dff.sql(query, t=frame).collect()["k"].to_list() == [None, 2, 1]


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
        ("select price,\n  nope from bid", "at line 2, column 3"),
        ("select price from bid where nope > 3", "at line 1, column 29"),
        ("select price from bid join offer on bid.price = offer.price", "'offer'"),
        ("select b.price from bid b asof join bid c on b.ts > c.ts and b.ts < c.ts", "got 2 comparisons"),
        (
            "select b.price from bid b asof join bid c on b.ts > c.ts or b.price > 1",
            "one comparison of times",
        ),
        ("select x.price from bid b asof join bid c on b.ts > c.ts", "a column of 'b' or 'c', got x.price"),
        ("select price from bid b asof join bid c on b.ts > c.ts", "write which"),
        (
            "select rank() over (partition by auction order by price, ts) as n from bid",
            "row_number\\(\\) above ORDER BY with several columns, got RANK",
        ),
        (
            "select row_number() over (order by price, ts) as n, row_number() over (order by ts) as m "
            "from bid",
            "one ORDER BY in all windows",
        ),
        (
            "select row_number() over (order by b.price, b.ts) as n from bid b join bid c on b.ts = c.ts",
            "a SELECT with join; put that into a subquery",
        ),
    ],
)
def test_errors_say_what_was_expected_and_where(query: str, message: str) -> None:
    with pytest.raises(CallError, match=message):
        dff.sql(query, bid=bids(100))
