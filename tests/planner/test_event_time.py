"""Event time follows the column (semantics, section 3) and closes groups (section 4)."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from dataflare_fast.sources.batches import from_batches
from dataflare_fast.sources.nexmark import nexmark

from .planning import Node, column, into_folder, nodes, only

WATERMARKED = nexmark().bid.select("ts", "auction", "price").stream.with_watermark("ts", delay="4s")
TS = pl.col("ts")


def top(frame: pl.LazyFrame) -> Node:
    """The node right below the sink."""
    return nodes(into_folder(frame))[-2]


@pytest.mark.parametrize(
    "time",
    [
        TS,
        TS.cast(pl.Datetime("ns")),
        TS.dt.cast_time_unit("ns"),
        TS.dt.replace_time_zone("UTC"),
        TS.dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin"),
        TS + timedelta(hours=1),
        TS - pl.duration(seconds=5),
        TS.dt.offset_by("3d"),
        TS.dt.truncate("10s"),
        TS.dt.date(),
        TS.dt.year(),
        TS.dt.date().dt.month_start(),
        TS.dt.truncate("1h").dt.date(),
    ],
    ids=str,
)
def test_event_time_follows_a_monotone_function(time: pl.Expr) -> None:
    assert top(WATERMARKED.select("price", t=time))["event_time"] == "t"


@pytest.mark.parametrize(
    "time",
    [
        TS.cast(pl.Datetime("ms")),
        TS.dt.replace_time_zone("Europe/Berlin", ambiguous="earliest"),
        TS.dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin").dt.offset_by("1d"),
        TS.dt.offset_by("1mo"),
        TS.dt.month_start(),
        TS.dt.hour(),
        TS.dt.round("10s"),
        pl.col("price"),
        pl.when(pl.col("price") > 3).then(TS).otherwise(None),
    ],
    ids=str,
)
def test_event_time_ends_at_everything_else(time: pl.Expr) -> None:
    found = nodes(into_folder(WATERMARKED.select("price", t=time)))
    assert "event_time" not in found[-2]
    assert any("'ts'" in node.get("event_time_ends", "") for node in found)


def test_column_itself_wins_over_functions_of_it() -> None:
    assert top(WATERMARKED.with_columns(day=TS.dt.date()))["event_time"] == "ts"
    assert top(WATERMARKED.select("price", "ts", day=TS.dt.date()).rename({"ts": "at"}))["event_time"] == "at"


def test_group_by_a_monotone_key_closes_with_it() -> None:
    lf = WATERMARKED.group_by(TS.dt.truncate("10s"), "auction").agg(pl.len())
    found = nodes(into_folder(lf))
    group = next(node for node in found if node["operator"] == "aggregate")
    below = found[group["inputs"][0]]
    assert (group["time_key"], group["event_time"], group["keys"]) == ("ts", "ts", ["ts", "auction"])
    assert below["operator"] == "project"
    assert below["event_time"] == "ts"
    key = below["exprs"][0]["expr"]
    assert key.get("expr", key)["name"] == "dt.truncate"  # inside a residual one while it has no kernel


def test_key_computed_earlier_closes_too() -> None:
    lf = WATERMARKED.with_columns(day=TS.dt.date()).group_by("day").agg(pl.len())
    found = nodes(into_folder(lf))
    group = next(node for node in found if node["operator"] == "aggregate")
    below = found[group["inputs"][0]]
    assert group["time_key"] == "day"
    assert below["event_time"] == "day"
    (day,) = (named["expr"] for named in below["exprs"] if named["name"] == "day")
    day = day.get("expr", day)  # inside a residual one while it has no kernel
    assert (day["name"], day["args"]) == ("dt.date", [column("ts")])


def test_finest_time_key_closes_groups() -> None:
    lf = WATERMARKED.group_by(year=TS.dt.year(), day=TS.dt.date()).agg(pl.len())
    assert only("aggregate", into_folder(lf))["time_key"] == "day"


def test_window_column_computed_from_event_time_is_event_time() -> None:
    lf = WATERMARKED.with_columns(day=TS.dt.date()).group_by_dynamic("day", every="1w").agg(pl.len())
    group = only("aggregate", into_folder(lf))
    assert (group["window"]["column"], group["event_time"]) == ("day", "day")


def test_label_of_a_window_is_the_event_time_above() -> None:
    small = WATERMARKED.group_by_dynamic("ts", every="10s", group_by="auction").agg(n=pl.len())
    large = small.group_by_dynamic("ts", every="1m").agg(pl.col("n").max())
    groups = [node for node in nodes(into_folder(large)) if node["operator"] == "aggregate"]
    assert [node["event_time"] for node in groups] == ["ts", "ts"]
    assert [node["emit"]["mode"] for node in groups] == ["close", "close"]


def test_group_without_a_time_key_ends_event_time() -> None:
    bounded = from_batches(pl.DataFrame({"ts": [1], "k": [2]})).stream.with_watermark("ts", delay="1i")
    found = nodes(into_folder(bounded.group_by("k").agg(pl.len())))
    assert "event_time" not in found[-2]
    assert any("event_time_ends" in node for node in found)


def test_concat_keeps_a_common_event_time() -> None:
    both = pl.concat([WATERMARKED, WATERMARKED.filter(pl.col("price") > 3)])
    assert top(both)["event_time"] == "ts"
    mixed = pl.concat([WATERMARKED, nexmark().bid.select("ts", "auction", "price")])
    assert "same event time" in top(mixed)["event_time_ends"]


def test_watermark_of_integers_counts_units() -> None:
    lf = from_batches(pl.DataFrame({"n": [1]})).stream.with_watermark(
        "n", delay="10i", idle="30s", ahead="5i"
    )
    node = only("watermark", into_folder(lf))
    assert (node["delay"], node["idle_ns"], node["ahead"]) == (10, 30_000_000_000, 5)
