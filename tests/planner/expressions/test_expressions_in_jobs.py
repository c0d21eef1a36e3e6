"""Expressions in whole queries: the simulated engine cuts, kills and rescales, and answers as Polars does."""

from __future__ import annotations

import json
import warnings
from typing import Any, cast

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.planner.expressions.expression_data import FRAME, bits
from tests.planner.expressions.test_aggregates import SPLITS
from tests.planner.planning import planned

from dataflare_fast import _core
from dataflare_fast.errors import CallError, DataError

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # `cut`, which is still in the table
    from tests.planner.expressions.row_wise_cases import CASES

_TOGETHER = 50


def run(query: pl.LazyFrame, seed: int, on_error: str = "raise") -> pl.DataFrame:
    job = planned(query)
    settings = {"name": "expressions", "parallelism": 3, "batch_rows": 4, "on_error": on_error}
    (batches,) = cast("Any", _core).simulate(job.json, json.dumps(settings), job.objects, seed)
    return pl.concat([pl.DataFrame(batch) for batch in batches])


@pytest.mark.parametrize("first", range(0, len(CASES), _TOGETHER))
def test_row_wise_functions_in_a_select(first: int) -> None:
    columns = dict(list(CASES.items())[first : first + _TOGETHER])
    query = FRAME.with_row_index("row").lazy().select("row", **columns)
    got, expected = run(query, seed=first).sort("row"), query.collect()
    for name in columns:
        # Arrow has one dictionary type for Categorical and Enum.
        assert bits(got[name].cast(expected[name].dtype)) == bits(expected[name]), name


@pytest.mark.parametrize("name", SPLITS)
def test_aggregation_expressions_in_a_group_by(name: str) -> None:
    query = FRAME.lazy().group_by("b").agg(SPLITS[name])
    for seed in range(3):
        got, expected = run(query, seed), query.collect()
        assert_frame_equal(got.select(expected.columns), expected, check_row_order=False)


def test_rows_that_polars_refuses_are_skipped() -> None:
    rows = pl.LazyFrame({"s": ["1", "x", None, "3", "y"], "l": [[1], [2], [], [4], [5]]})
    query = rows.select(pl.col("s").str.to_integer(), first=pl.col("l").list.get(0))
    got = run(query, seed=1, on_error="skip")
    assert sorted(got.rows()) == [(1, 1), (3, 4)]


def test_row_that_polars_refuses_ends_the_job_with_its_reason() -> None:
    query = pl.LazyFrame({"l": [[1], []]}).select(pl.col("l").list.get(0))
    with pytest.raises(DataError, match="get index is out of bounds"):
        run(query, seed=1)


def test_constant_that_polars_refuses_ends_the_job_before_the_first_row() -> None:
    query = pl.LazyFrame({"s": ["x"]}).select(pl.col("s").str.extract("(", 1))
    with pytest.raises(CallError, match="unclosed group"):
        run(query, seed=1)


def test_column_of_nulls_without_a_type_comes_through() -> None:
    rows = pl.LazyFrame({"n": [None, None], "a": [1, 2]})
    for query in (rows, rows.select("n"), rows.select("a", "n", is_null=pl.col("n").is_null())):
        got = run(query, seed=1)
        assert got.schema == query.collect_schema()
        assert sorted(got.rows(), key=str) == sorted(query.collect().rows(), key=str)
