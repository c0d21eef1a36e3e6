"""Supported grids, and the offset that works for the others (semantics, section 4)."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from dataflare_fast.sources.batches import from_batches

from .planning import into_folder, only, refusals

SCHEMA = {"ts": pl.Datetime("us"), "berlin": pl.Datetime("us", "Europe/Berlin"), "n": pl.Int64}
ROWS = from_batches(schema=SCHEMA)


def windows(column: str = "ts", **settings: Any) -> pl.LazyFrame:
    return ROWS.group_by_dynamic(column, **settings).agg(pl.len())


RUN: list[dict[str, Any]] = [
    {"every": "10s"},
    {"every": "10s", "period": "3s"},
    {"every": "10s", "offset": "2s"},
    {"every": "2s", "period": "10s", "offset": "-8s"},
    {"every": "2s", "period": "10s", "offset": "-10s"},
    {"every": "10s", "closed": "none"},
    {"every": "10s", "closed": "right"},
    {"every": "2s", "period": "4s", "closed": "right", "offset": "-4s"},
    {"every": "10s", "period": "9s", "closed": "both"},
    {"every": "10s", "closed": "both", "offset": "-10s"},
    {"every": "1mo"},
    {"every": "1mo", "period": "3mo", "offset": "-2mo"},
    {"every": "1w", "start_by": "monday"},
    {"every": "10s", "label": "right", "include_boundaries": True},
    {"column": "n", "every": "10i"},
    {"column": "n", "every": "2i", "period": "10i", "offset": "-8i"},
    {"column": "berlin", "every": "1d"},
    {"column": "berlin", "every": "1h"},
]
OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"every": "2s", "period": "10s"}, "offset='-8s'"),
    ({"every": "2s", "period": "5s"}, "offset='-4s'"),
    ({"every": "2s", "period": "10s", "offset": "1s"}, "offset='-9s'"),
    ({"every": "2s", "period": "4s", "closed": "right"}, "offset='-4s'"),
    ({"every": "10s", "closed": "both"}, "offset='-10s'"),
    ({"every": "1mo", "period": "3mo"}, "offset='-2mo'"),
    ({"column": "n", "every": "2i", "period": "10i"}, "offset='-8i'"),
    ({"every": "1w", "period": "1mo"}, "both in months"),
    ({"every": "10s", "start_by": "datapoint"}, "start_by='window'"),
    ({"every": "10s", "label": "datapoint"}, "label='left'"),
    ({"column": "berlin", "every": "2h"}, "every='1d'"),
    ({"column": "berlin", "every": "1d", "offset": "2h"}, "convert_time_zone('UTC')"),
]


@pytest.mark.parametrize("settings", RUN, ids=str)
def test_grid_runs(settings: dict[str, Any]) -> None:
    assert only("aggregate", into_folder(windows(**settings)))["window"]


@pytest.mark.parametrize(("settings", "rewrite"), OTHERS, ids=str)
def test_grid_is_refused_with_what_works(settings: dict[str, Any], rewrite: str) -> None:
    (refusal,) = refusals(into_folder(windows(**settings)))
    assert rewrite in refusal.rewrite


@pytest.mark.parametrize(
    "settings", [one for one, rewrite in OTHERS if rewrite.startswith("offset")], ids=str
)
def test_offset_of_a_refusal_runs(settings: dict[str, Any]) -> None:
    (refusal,) = refusals(into_folder(windows(**settings)))
    offset = refusal.rewrite.split("'")[1]
    assert not refusals(into_folder(windows(**{**settings, "offset": offset})))


@pytest.mark.parametrize(("every", "period"), [("2s", "10s"), ("2s", "5s"), ("1mo", "1q"), ("3s", "3s")])
def test_hopping_runs(every: str, period: str) -> None:
    lf = ROWS.stream.group_by_hopping("ts", every=every, period=period).agg(pl.len())
    assert only("aggregate", into_folder(lf))["window"]


def test_window_is_written_as_polars_parsed_it() -> None:
    lf = windows(
        every="1mo", period="1w2d3s", closed="left", label="right", start_by="window", offset="-1mo5s"
    )
    assert len(refusals(into_folder(lf))) == 1
    group = only("aggregate", into_folder(windows(every="1w", period="3d2s", offset="-2s", label="right")))
    none = {"months": 0, "weeks": 0, "days": 0, "nanoseconds": 0, "negative": False, "index": False}
    assert group["window"] == {
        "column": "ts",
        "every": {**none, "weeks": 1},
        "period": {**none, "days": 3, "nanoseconds": 2_000_000_000},
        "offset": {**none, "nanoseconds": 2_000_000_000, "negative": True},
        "closed": "left",
        "label": "right",
        "include_boundaries": False,
        "start_by": "window",
    }


def test_columns_of_a_window_stand_as_in_polars() -> None:
    lf = ROWS.group_by_dynamic("ts", every="10s", group_by="n", include_boundaries=True).agg(pl.len())
    names = [field["name"] for field in only("aggregate", into_folder(lf))["schema"]]
    assert names == lf.collect_schema().names()


def test_weekday_on_a_zone_with_daylight_saving_is_refused_with_the_offset() -> None:
    (refusal,) = refusals(into_folder(windows("berlin", every="1w", start_by="sunday")))
    assert "offset='-1d'" in refusal.rewrite
    assert not refusals(into_folder(windows("berlin", every="1w", offset="-1d")))
