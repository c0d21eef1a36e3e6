"""The golden triple of each benchmark query: run whole; killed at two workers; restored at three, then one.

At two workers it commits three checkpoints and abandons one before it dies; at three it commits one more. All
answers are Polars'. Not here: random schedules (`test_schedules.py`).
"""

from __future__ import annotations

from functools import lru_cache

import polars as pl
import pytest
from benchmarks.queries import QUERIES
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.testing import Attempt

TRIPLE = (Attempt(workers=2, commits=3, abandoned=1), Attempt(workers=3, commits=1), Attempt(workers=1))


@lru_cache(maxsize=1)
def bids() -> pl.LazyFrame:
    """In many batches, the i-th in split i mod 2; prices are multiples of 2^-10, so that sums are exact."""
    rows = dff.nexmark(events=8_000, seed=7).bid.collect(engine="in-memory")
    batches = [rows.slice(start, 100) for start in range(0, rows.height, 100)]
    return dff.from_batches(batches[::2], batches[1::2])


@pytest.mark.parametrize("name", QUERIES)
def test_query_gives_the_same_rows_whole_killed_and_rescaled(name: str) -> None:
    query = QUERIES[name].ours(bids())
    expected = query.collect(engine="in-memory")
    whole = query.collect(engine=dff.Engine(parallelism=2))
    assert_frame_equal(whole, expected, check_row_order=False, check_exact=True)
    for seed in range(3):
        found = dff.testing.simulate(query, seed=seed, attempts=TRIPLE)
        assert_frame_equal(found, expected, check_row_order=False, check_exact=True)


def test_script_that_the_rows_do_not_suffice_for_is_an_error() -> None:
    few = dff.from_batches(pl.DataFrame({"a": [1, 2]}))
    with pytest.raises(dff.errors.InternalError, match="give more rows"):
        dff.testing.simulate(few, seed=0, attempts=[Attempt(workers=1, commits=100), Attempt(workers=1)])
