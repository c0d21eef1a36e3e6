"""The law under schedules: cuts, interleavings, deaths, abandoned epochs, failed writes, rescales.

Each query of `test_queries.py` runs in the simulated driver; a failure names its seed.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from tests.law.rows import source
from tests.law.test_queries import GROUPS, IN_ORDER, PIVOTS, RESHAPED, SESSIONS, WINDOWS

import dataflare_fast as dff
from dataflare_fast.errors import DataError

Query = Callable[[pl.LazyFrame], pl.LazyFrame]
QUERIES: dict[str, Query] = {**WINDOWS, **SESSIONS, **GROUPS, **PIVOTS, **RESHAPED, **IN_ORDER}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_query_keeps_the_law_under_any_schedule(query: Query) -> None:
    dff.testing.check(query(source(3)), seeds=14)


@pytest.mark.slow
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_query_keeps_the_law_under_many_schedules(query: Query) -> None:
    for rows in range(4, 9):
        dff.testing.check(query(source(rows)), seeds=range(1_000, 1_050))


def test_equal_seeds_give_equal_runs() -> None:
    query = WINDOWS["tumbling"](source(1))
    assert dff.testing.simulate(query, seed=5).equals(dff.testing.simulate(query, seed=5))


def test_error_of_a_row_is_not_taken_for_a_simulated_failure() -> None:
    query = dff.from_batches(pl.DataFrame({"a": ["1", "x"]})).select(pl.col("a").cast(pl.Int64))
    with pytest.raises(DataError, match="x"):
        dff.testing.simulate(query, seed=1)
