"""The law on random queries: each seed is another query over other rows, under other schedules.

A failure names its seed and shows the query; `dff.testing.check_random_query(seed)` repeats it.
"""

from __future__ import annotations

import pytest
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from dataflare_fast.testing.query_tables import AGGREGATES, INTEGER_WINDOWS, TIME_KEYS, WINDOWS

BLOCK = 100


@pytest.mark.parametrize("block", range(20))
def test_random_queries_keep_the_law_under_any_schedule(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        dff.testing.check_random_query(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(100, 600))
def test_many_random_queries_keep_the_law(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        dff.testing.check_random_query(seed, schedules=4)


def test_equal_seeds_give_equal_queries() -> None:
    first, second = dff.testing.random_query(17), dff.testing.random_query(17)
    assert first.steps == second.steps
    assert_frame_equal(first.frame.collect(), second.frame.collect(), check_row_order=False)


def test_every_step_of_the_vocabulary_is_drawn() -> None:
    steps = "\n".join(str(dff.testing.random_query(seed)) for seed in range(2_000))
    words = [
        *("concat of", "filter ", "with_columns ", "drop ", "rename ", "head ", "slice ", "concat with "),
        *("shift by", "convert to", "with_watermark ", "late of", "group_by ", "select ", "sort "),
        *("group_by_session ", "rolling ", "by time ", "explode ", "unpivot ", "apply ", "map_batches "),
        *("head 2 of", "tail 2 of", "rank of", "metric", "name", "equal inner", "interval "),
        *("backward ", "forward ", "nearest "),
        *(str(window) for window in (*WINDOWS, *INTEGER_WINDOWS)),
    ]
    assert [word for word in words if word not in steps] == []
    assert len(AGGREGATES) > 10
    assert len(TIME_KEYS) > 5
