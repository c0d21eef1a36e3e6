"""The engine gives what Polars gives: with its own kernels where it has some, through Polars where not."""

from __future__ import annotations

import json
import warnings

import polars as pl
import pytest
from tests.planner.expressions.expression_data import (
    FRAME,
    answer,
    bits,
    read,
    residual_json,
    translated,
)

from dataflare_fast import _core
from dataflare_fast.planner.schema import schema_to_json
from dataflare_fast.planner.visitor.expressions import ColumnNode

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # `cut`, which is still in the table
    from tests.planner.expressions.row_wise_cases import CASES


@pytest.mark.parametrize("name", CASES)
def test_engine_evaluates_as_polars_does_at_any_cut(name: str) -> None:
    columns = {node.name: node.dtype for node in read(CASES[name]).walk() if isinstance(node, ColumnNode)}
    exprs, schema = residual_json(translated(CASES[name])), json.dumps(schema_to_json(columns))
    expected = answer(CASES[name])
    for rows in (FRAME.height, 1):
        starts = range(0, FRAME.height, rows)
        batches = [FRAME.select(list(columns) or ["i"]).slice(start, rows) for start in starts]
        parts = [pl.DataFrame(_core.evaluate(exprs, schema, batch)) for batch in batches]
        # Arrow has one dictionary type for Categorical and Enum.
        got = pl.concat(part.select(pl.col("out").cast(expected.dtype)) for part in parts).to_series()
        assert bits(got) == bits(expected), f"cut into {rows} rows"


def test_row_that_polars_refuses_is_named() -> None:
    tree = translated(pl.col("s").str.to_integer())
    schema = json.dumps(schema_to_json({"s": pl.String()}))
    frame = pl.DataFrame({"s": ["1", "2", None, "x", "y"]})
    with pytest.raises(ValueError, match=r"row 3.*strict integer parsing failed"):
        _core.evaluate(residual_json(tree), schema, frame)


def test_plan_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="expected an expression of the plan"):
        _core.is_compiled("{}", "[]")
