"""Nexmark q0 to q22, once as a Polars query that runs for ever and once as SQL for a batch engine.

The Polars query, collected by Polars itself, and DuckDB on the SQL are the oracles. The SQL is the
reference's in meaning: where the reference text is known to be wrong, `trap` says what was done. Time windows
are half open, [s, e). Not here: input, clock, other contenders. Used by `python -m benchmarks.nexmark` and by
`tests/test_nexmark.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

import dataflare_fast  # noqa: F401 - registers `.stream`

__all__ = ["QUERIES", "SIDE_INPUT", "Bounded", "NexmarkQuery", "Tables"]

DELAY = "4s"
TEN_SECONDS = timedelta(seconds=10)
AUCTION_LENGTH = timedelta(seconds=1)
"""No auction of the generator is open for longer (333 ms with its defaults)."""
PRICE, TS = pl.col("price"), pl.col("ts")
SIDE_INPUT = pl.DataFrame({"key": range(10_000), "value": [f"value-{key}" for key in range(10_000)]})
"""The bounded side of q13."""


@dataclass(frozen=True, slots=True)
class Tables:
    """The three streams, each with its event time `ts`.

    Args:
        person: id, name, email_address, credit_card, city, state, ts, extra.
        auction: id, item_name, description, initial_bid, reserve, ts, expires, seller, category, extra.
        bid: auction, bidder, price, channel, url, ts, extra.
    """

    person: pl.LazyFrame
    auction: pl.LazyFrame
    bid: pl.LazyFrame

    def timed(self) -> Tables:
        """With watermarks. A batch engine that has all rows needs none: see `Bounded`."""
        frames = (self.person, self.auction, self.bid)
        return Tables(*(frame.stream.with_watermark("ts", delay=DELAY) for frame in frames))

    def closing_auctions(self) -> pl.LazyFrame:
        """Auctions with the moment at which they close as event time: it is at most their length late."""
        return self.auction.stream.with_watermark("expires", delay="5s")

    def arriving_bids(self) -> pl.LazyFrame:
        """Bids with the time at which they came, `arrival`, as event time.

        A source stamps it (`scan_kafka(arrival=)`). Here a clock does that runs three times as fast as the
        event times and starts eleven years later, so that the answer is one.
        """
        return _with_arrival(self.bid).stream.with_watermark("arrival", delay="0s")


@dataclass(frozen=True, slots=True)
class Bounded(Tables):
    """The streams as whole tables in event-time order."""

    def timed(self) -> Tables:
        """As they are: nothing is late."""
        return self

    def closing_auctions(self) -> pl.LazyFrame:
        """As they are."""
        return self.auction

    def arriving_bids(self) -> pl.LazyFrame:
        """With the time at which they came, in that order."""
        return _with_arrival(self.bid).sort("arrival")


@dataclass(frozen=True, slots=True, kw_only=True)
class NexmarkQuery:
    """One query.

    Args:
        title: what it computes.
        ours: the Polars query.
        duckdb: the same over tables `person`, `auction`, `bid`, `side_input`.
        trap: where the reference text misleads, and what was done.
        bar: the least ratio to the best batch engine, where one is set.
    """

    title: str
    ours: Callable[[Tables], pl.LazyFrame]
    duckdb: str
    trap: str = ""
    bar: float | None = None


def _bids_of_auctions(tables: Tables) -> pl.LazyFrame:
    """Each auction with the bids that came while it was open."""
    is_open = pl.col("ts_right").is_between(TS, pl.col("expires"))
    return tables.auction.join(tables.bid, left_on="id", right_on="auction").filter(is_open)


def _with_arrival(bid: pl.LazyFrame) -> pl.LazyFrame:
    start, clock = datetime(2015, 7, 15), datetime(2026, 7, 15)
    return bid.with_columns(arrival=pl.lit(clock) + (TS - pl.lit(start)) * 3)


def _mean_of_last_winning_bids(tables: Tables) -> pl.LazyFrame:
    closes, came = pl.col("expires"), pl.col("ts_right")
    # The last condition follows from the first two, and says how long a bid is kept.
    is_open = (came >= TS) & (came <= closes) & (came >= closes - AUCTION_LENGTH)
    winning = (
        tables.closing_auctions()
        .join(tables.timed().bid, left_on="id", right_on="auction")
        .filter(is_open)
        .group_by("id", "seller", "expires")
        .agg(final=PRICE.max())
    )
    last_ten = pl.col("final").rolling_mean(10, min_samples=1)
    return winning.select(
        "seller", "id", "expires", mean=last_ten.over("seller", order_by=pl.struct("expires", "id"))
    )


def _hot_items(tables: Tables) -> pl.LazyFrame:
    counts = (
        tables.timed()
        .bid.stream.group_by_hopping("ts", every="2s", period="10s", group_by="auction")
        .agg(num=pl.len())
    )
    most = counts.group_by("ts").agg(most=pl.col("num").max())
    return counts.join(most, on="ts").filter(pl.col("num") >= pl.col("most")).select("auction", "num", "ts")


def _highest_bids(tables: Tables) -> pl.LazyFrame:
    bid = tables.timed().bid
    highest = bid.group_by_dynamic("ts", every="10s").agg(highest=PRICE.max())
    is_of_window = TS.is_between(pl.col("ts_right"), pl.col("ts_right") + TEN_SECONDS, closed="left")
    return (
        bid.join(highest, left_on="price", right_on="highest")
        .filter(is_of_window)
        .select("auction", "price", "bidder", "ts", "extra")
    )


def _new_sellers(tables: Tables) -> pl.LazyFrame:
    timed = tables.timed()
    people = timed.person.group_by_dynamic("ts", every="10s", group_by=["id", "name"]).agg()
    sellers = timed.auction.group_by_dynamic("ts", every="10s", group_by="seller").agg()
    return people.join(sellers, left_on=["id", "ts"], right_on=["seller", "ts"]).select("id", "name", "ts")


def _winning_bids(tables: Tables) -> pl.LazyFrame:
    return (
        _bids_of_auctions(tables)
        .select("id", "item_name", "seller", "ts", "expires", "bidder", "price", bid_ts="ts_right")
        .sort("price", "bid_ts", "bidder", descending=[True, False, False])
        .unique("id", keep="first")
    )


def _bids_per_day(*keys: str) -> Callable[[Tables], pl.LazyFrame]:
    low, high = PRICE < 10_000, PRICE >= 1_000_000
    middle = ~low & ~high
    counts = [pl.len().alias("total_bids")]
    counts += [
        PRICE.filter(part).len().alias(f"rank{number}_bids") for number, part in _ranks(low, middle, high)
    ]
    for name in ("bidder", "auction"):
        counts.append(pl.col(name).n_unique().alias(f"total_{name}s"))
        counts += [
            pl.col(name).filter(part).n_unique().alias(f"rank{number}_{name}s")
            for number, part in _ranks(low, middle, high)
        ]
    return lambda tables: (
        tables.timed().bid.with_columns(day=TS.dt.date()).group_by("day", *keys).agg(*counts)
    )


def _ranks(*parts: pl.Expr) -> list[tuple[int, pl.Expr]]:
    return list(enumerate(parts, start=1))


def _counts_sql(*keys: str) -> str:
    low, high = "price < 10000", "price >= 1000000"
    ranks = (low, "price >= 10000 and price < 1000000", high)
    columns = ["count(*)::uinteger as total_bids"]
    columns += [
        f"count(*) filter ({part})::uinteger as rank{n}_bids" for n, part in enumerate(ranks, start=1)
    ]
    for name in ("bidder", "auction"):
        columns.append(f"count(distinct {name})::uinteger as total_{name}s")
        columns += [
            f"count(distinct {name}) filter ({part})::uinteger as rank{n}_{name}s"
            for n, part in enumerate(ranks, start=1)
        ]
    group = ", ".join(("ts::date as day", *keys))
    return f"select {group}, {', '.join(columns)} from bid group by all"


def _per_auction_and_day(tables: Tables) -> pl.LazyFrame:
    return (
        tables.timed()
        .bid.with_columns(day=TS.dt.date())
        .group_by("auction", "day")
        .agg(
            pl.len().alias("total_bids"),
            PRICE.filter(PRICE < 10_000).len().alias("rank1_bids"),
            PRICE.filter((PRICE >= 10_000) & (PRICE < 1_000_000)).len().alias("rank2_bids"),
            PRICE.filter(PRICE >= 1_000_000).len().alias("rank3_bids"),
            PRICE.min().alias("min_price"),
            PRICE.max().alias("max_price"),
            PRICE.mean().alias("avg_price"),
            PRICE.sum().alias("sum_price"),
        )
    )


def _converted(tables: Tables) -> pl.LazyFrame:
    hour = TS.dt.hour()
    kind = (
        pl.when((hour >= 8) & (hour <= 18))
        .then(pl.lit("dayTime"))
        .when((hour <= 6) | (hour >= 20))
        .then(pl.lit("nightTime"))
        .otherwise(pl.lit("otherTime"))
    )
    return tables.bid.select(
        "auction",
        "bidder",
        (PRICE * 0.908).alias("price"),
        kind.alias("bid_time_type"),
        "ts",
        "extra",
        pl.col("extra").str.count_matches("c", literal=True).alias("c_counts"),
    ).filter((PRICE > 1_000_000) & (PRICE < 50_000_000))


def _channel_ids(tables: Tables) -> pl.LazyFrame:
    channel = pl.col("channel").str.to_lowercase()
    number = (
        pl.when(channel == "apple")
        .then(pl.lit("0"))
        .when(channel == "google")
        .then(pl.lit("1"))
        .when(channel == "facebook")
        .then(pl.lit("2"))
        .when(channel == "baidu")
        .then(pl.lit("3"))
        .otherwise(pl.col("url").str.extract(r"(&|^)channel_id=([^&]*)", 2))
    )
    return tables.bid.select("auction", "bidder", "price", "channel", channel_id=number).filter(
        pl.col("channel_id").is_not_null()
    )


def _directories(tables: Tables) -> pl.LazyFrame:
    parts = pl.col("url").str.split("/")
    return tables.bid.select(
        "auction",
        "bidder",
        "price",
        "channel",
        *(parts.list.get(number, null_on_oob=True).alias(f"dir{number - 2}") for number in (3, 4, 5)),
    )


QUERIES = {
    "q0": NexmarkQuery(
        title="pass through",
        ours=lambda tables: tables.bid.select("auction", "bidder", "price", "ts", "extra"),
        duckdb="select auction, bidder, price, ts, extra from bid",
    ),
    "q1": NexmarkQuery(
        title="currency conversion",
        ours=lambda tables: tables.bid.select(
            "auction", "bidder", (PRICE * 0.908).alias("price"), "ts", "extra"
        ),
        duckdb="select auction, bidder, price * 0.908::double as price, ts, extra from bid",
    ),
    "q2": NexmarkQuery(
        title="selection",
        ours=lambda tables: tables.bid.filter(pl.col("auction") % 123 == 0).select("auction", "price"),
        duckdb="select auction, price from bid where auction % 123 = 0",
    ),
    "q3": NexmarkQuery(
        title="local item suggestion: join of persons and auctions",
        bar=0.7,
        ours=lambda tables: (
            tables.auction.filter(pl.col("category") == 10)
            .join(
                tables.person.filter(pl.col("state").is_in(["OR", "ID", "CA"])),
                left_on="seller",
                right_on="id",
            )
            .select("name", "city", "state", "id")
        ),
        duckdb="""
            select p.name, p.city, p.state, a.id from auction a join person p on a.seller = p.id
            where a.category = 10 and p.state in ('OR', 'ID', 'CA')""",
    ),
    "q4": NexmarkQuery(
        title="mean of the highest bids per category",
        bar=0.7,
        ours=lambda tables: (
            _bids_of_auctions(tables)
            .group_by("id", "category")
            .agg(final=PRICE.max())
            .group_by("category")
            .agg(pl.col("final").mean())
        ),
        duckdb="""
            select category, avg(final) as final from (
                select a.id, a.category, max(b.price) as final from auction a join bid b on a.id = b.auction
                where b.ts between a.ts and a.expires group by 1, 2) group by 1""",
    ),
    "q5": NexmarkQuery(
        title="hot items: the auctions with the most bids of each hopping window",
        bar=0.8,
        ours=_hot_items,
        duckdb="""
            with counts as (
                select auction, make_timestamp((epoch_us(ts) // 2000000 - back) * 2000000) as ts,
                       count(*)::uinteger as num
                from bid, range(5) as hop(back) group by 1, 2)
            select auction, num, ts from counts
            join (select ts, max(num) as most from counts group by 1) using (ts) where num >= most""",
    ),
    "q6": NexmarkQuery(
        title="mean of the last ten winning bids of each seller",
        bar=0.7,
        trap="the reference says `10 PRECEDING`, which is a frame of eleven rows, and orders by the time of "
        "the winning bid, which is known only when the auction closes; here ten rows in the order of closing",
        ours=_mean_of_last_winning_bids,
        duckdb="""
            select seller, id, expires, avg(final) over (
                partition by seller order by expires, id rows between 9 preceding and current row) as mean
            from (
                select a.id, a.seller, a.expires, max(b.price) as final
                from auction a join bid b on a.id = b.auction
                where b.ts between a.ts and a.expires group by all)""",
    ),
    "q7": NexmarkQuery(
        title="highest bid of each window, joined back to the bids",
        bar=0.7,
        trap="the reference swaps columns and closes BETWEEN on both ends; here windows are [s, e)",
        ours=_highest_bids,
        duckdb="""
            select b.auction, b.price, b.bidder, b.ts, b.extra from bid b join (
                select epoch_us(ts) // 10000000 as w, max(price) as highest from bid group by 1) m
            on b.price = m.highest and epoch_us(b.ts) // 10000000 = m.w""",
    ),
    "q8": NexmarkQuery(
        title="persons who opened an auction in the window in which they came",
        bar=0.7,
        ours=_new_sellers,
        duckdb="""
            select p.id, p.name, make_timestamp(p.w * 10000000) as ts from
                (select distinct id, name, epoch_us(ts) // 10000000 as w from person) p join
                (select distinct seller, epoch_us(ts) // 10000000 as w from auction) a
            on p.id = a.seller and p.w = a.w""",
    ),
    "q9": NexmarkQuery(
        title="winning bid of each auction",
        bar=1.0,
        trap="ties of price and time are broken by bidder, so that the answer is one",
        ours=_winning_bids,
        duckdb="""
            select id, item_name, seller, ts, expires, bidder, price, bid_ts from (
                select a.id, a.item_name, a.seller, a.ts, a.expires, b.bidder, b.price, b.ts as bid_ts,
                       row_number() over (partition by a.id order by b.price desc, b.ts, b.bidder) as place
                from auction a join bid b on a.id = b.auction where b.ts between a.ts and a.expires)
            where place = 1""",
    ),
    "q10": NexmarkQuery(
        title="log to a folder by day and minute (the rows; the sink is `pl.PartitionBy`)",
        ours=lambda tables: tables.bid.select(
            "auction",
            "bidder",
            "price",
            "ts",
            "extra",
            TS.dt.strftime("%Y-%m-%d").alias("dt"),
            TS.dt.strftime("%H:%M").alias("hm"),
        ),
        duckdb="""
            select auction, bidder, price, ts, extra,
                   strftime(ts, '%Y-%m-%d') as dt, strftime(ts, '%H:%M') as hm from bid""",
    ),
    "q11": NexmarkQuery(
        title="sessions: bids of each bidder with gaps of at most 10 s",
        bar=1.5,
        ours=lambda tables: (
            tables.timed()
            .bid.stream.group_by_session("ts", TEN_SECONDS, group_by="bidder")
            .agg(pl.len().alias("bids"))
        ),
        duckdb="""
            with openings as (
                select bidder, ts, case when ts - lag(ts) over (partition by bidder order by ts)
                    <= interval 10 seconds then 0 else 1 end as opens from bid),
            sessions as (
                select bidder, ts, sum(opens) over (
                    partition by bidder order by ts rows unbounded preceding) as session from openings)
            select bidder, min(ts) as window_start, max(ts) + interval 10 seconds as window_end,
                   count(*) as bids
            from sessions group by bidder, session""",
    ),
    "q12": NexmarkQuery(
        title="bids of each bidder in windows of 10 s of the time at which they came",
        trap="the reference reads the clock of the machine, so each run has another answer; here the time of "
        "arrival is a column that the source writes",
        ours=lambda tables: (
            tables.arriving_bids()
            .group_by_dynamic("arrival", every="10s", group_by="bidder")
            .agg(bids=pl.len())
        ),
        duckdb="""
            select bidder, count(*)::uinteger as bids,
                   make_timestamp(epoch_us(came) // 10000000 * 10000000) as arrival
            from (select bidder, timestamp '2026-07-15' + (ts - timestamp '2015-07-15') * 3 as came from bid)
            group by all""",
    ),
    "q13": NexmarkQuery(
        title="join with a bounded side input",
        bar=1.0,
        ours=lambda tables: (
            tables.bid.with_columns(key=pl.col("auction") % 10_000)
            .join(SIDE_INPUT.lazy(), on="key")
            .select("auction", "bidder", "price", "ts", "value")
        ),
        duckdb="""
            select auction, bidder, price, ts, value
            from bid join side_input on auction % 10000 = side_input.key""",
    ),
    "q14": NexmarkQuery(
        title="calculation: case on the hour, filter, count of a character",
        bar=0.8,
        trap="the reference leaves hours 7 and 19 to 'otherTime', and so does this",
        ours=_converted,
        duckdb="""
            select auction, bidder, price * 0.908::double as price,
                   case when hour(ts) between 8 and 18 then 'dayTime'
                        when hour(ts) <= 6 or hour(ts) >= 20 then 'nightTime'
                        else 'otherTime' end as bid_time_type,
                   ts, extra, (length(extra) - length(replace(extra, 'c', '')))::uinteger as c_counts
            from bid where price * 0.908::double > 1000000 and price * 0.908::double < 50000000""",
    ),
    "q15": NexmarkQuery(
        title="bids of each day: 4 counts, 8 distinct counts",
        bar=1.5,
        ours=_bids_per_day(),
        duckdb=_counts_sql(),
    ),
    "q16": NexmarkQuery(
        title="bids of each channel and day: 4 counts, 8 distinct counts",
        bar=1.5,
        ours=_bids_per_day("channel"),
        duckdb=_counts_sql("channel"),
    ),
    "q17": NexmarkQuery(
        title="bids of each auction and day: 4 counts, min, max, mean, sum",
        bar=1.3,
        ours=_per_auction_and_day,
        duckdb="""
            select auction, ts::date as day, count(*)::uinteger as total_bids,
                   count(*) filter (price < 10000)::uinteger as rank1_bids,
                   count(*) filter (price >= 10000 and price < 1000000)::uinteger as rank2_bids,
                   count(*) filter (price >= 1000000)::uinteger as rank3_bids,
                   min(price) as min_price, max(price) as max_price, avg(price) as avg_price,
                   sum(price)::bigint as sum_price
            from bid group by 1, 2""",
    ),
    "q18": NexmarkQuery(
        title="last bid of each bidder on each auction",
        bar=1.0,
        ours=lambda tables: tables.bid.sort("ts", "price", "url").unique(["bidder", "auction"], keep="last"),
        trap="ties of time are broken by price and URL, so that the answer is one",
        duckdb="""
            select auction, bidder, price, channel, url, ts, extra from (
                select *, row_number() over (
                    partition by bidder, auction order by ts desc, price desc, url desc) as n
                from bid) where n = 1""",
    ),
    "q19": NexmarkQuery(
        title="ten highest bids of each auction",
        bar=1.0,
        trap="ties of price are broken by time and URL, so that the answer is one",
        ours=lambda tables: (
            tables.bid.sort("price", "ts", "url", descending=[True, False, False])
            .group_by("auction")
            .head(10)
        ),
        duckdb="""
            select auction, bidder, price, channel, url, ts, extra from (
                select *, row_number() over (partition by auction order by price desc, ts, url) as n from bid)
            where n <= 10""",
    ),
    "q20": NexmarkQuery(
        title="bids with their auctions of one category",
        bar=0.7,
        ours=lambda tables: tables.bid.join(
            tables.auction.filter(pl.col("category") == 10), left_on="auction", right_on="id"
        ).select(
            "auction", "bidder", "price", "ts", "item_name", "initial_bid", "reserve", "seller", "category"
        ),
        duckdb="""
            select b.auction, b.bidder, b.price, b.ts,
                   a.item_name, a.initial_bid, a.reserve, a.seller, a.category
            from bid b join auction a on b.auction = a.id where a.category = 10""",
    ),
    "q21": NexmarkQuery(
        title="channel id from the channel's name or from the URL",
        bar=0.8,
        ours=_channel_ids,
        duckdb="""
            select * from (
                select auction, bidder, price, channel,
                       case lower(channel)
                            when 'apple' then '0' when 'google' then '1'
                            when 'facebook' then '2' when 'baidu' then '3'
                            else case when regexp_matches(url, '(&|^)channel_id=([^&]*)')
                                 then regexp_extract(url, '(&|^)channel_id=([^&]*)', 2) end
                            end as channel_id
                from bid) where channel_id is not null""",
    ),
    "q22": NexmarkQuery(
        title="directories of a URL",
        bar=0.8,
        ours=_directories,
        duckdb="""
            select auction, bidder, price, channel, split_part(url, '/', 4) as dir1,
                   split_part(url, '/', 5) as dir2, split_part(url, '/', 6) as dir3 from bid""",
    ),
}
