"""Nexmark: the engine, Polars and DuckDB give the same rows; the engine under any schedule."""

from __future__ import annotations

import duckdb
import polars as pl
import pytest
from benchmarks.nexmark.queries import QUERIES, SIDE_INPUT, NexmarkQuery, Tables
from polars.testing import assert_frame_equal

import dataflare_fast as dff


def tables(events: int, seed: int = 7) -> Tables:
    streams = dff.nexmark(events=events, seed=seed)
    return Tables(streams.person, streams.auction, streams.bid)


def of_duckdb(query: NexmarkQuery, events: int) -> pl.DataFrame:
    streams = tables(events)
    with duckdb.connect() as connection:
        for name in ("person", "auction", "bid"):
            connection.register(name, getattr(streams, name).collect(engine="in-memory").to_arrow())
        connection.register("side_input", SIDE_INPUT.to_arrow())
        answer = pl.from_arrow(connection.sql(query.duckdb).to_arrow_table())
    assert isinstance(answer, pl.DataFrame)
    return answer


@pytest.mark.parametrize("name", QUERIES)
def test_engine_polars_and_duckdb_give_the_same_rows(name: str) -> None:
    hold(QUERIES[name], 20_000)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUERIES)
def test_engine_polars_and_duckdb_give_the_same_rows_of_a_million_events(name: str) -> None:
    hold(QUERIES[name], 1_000_000)


def hold(query: NexmarkQuery, events: int) -> None:
    lf = query.ours(tables(events))
    expected = lf.collect(engine="in-memory")
    assert expected.height > 0
    found = lf.collect(engine=dff.Engine(parallelism=2))
    assert_frame_equal(found, expected, check_row_order=False)
    answer = of_duckdb(query, events).select(expected.columns)
    assert_frame_equal(answer, expected, check_row_order=False, check_dtypes=False)


@pytest.mark.parametrize("name", QUERIES)
def test_query_keeps_the_law_under_any_schedule(name: str) -> None:
    dff.testing.check(QUERIES[name].ours(tables(1_500)), seeds=5)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUERIES)
def test_query_keeps_the_law_under_many_schedules(name: str) -> None:
    dff.testing.check(QUERIES[name].ours(tables(1_500)), seeds=200)
