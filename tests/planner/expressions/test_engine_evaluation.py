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
from dataflare_fast.planner.residual import ResidualEvaluator
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
    tree = translated(pl.col("s").str.reverse().str.to_integer())
    schema = json.dumps(schema_to_json({"s": pl.String()}))
    frame = pl.DataFrame({"s": ["1", "2", None, "x", "y"]})
    with pytest.raises(ValueError, match=r"row 3.*strict integer parsing failed"):
        _core.evaluate(residual_json(tree), schema, frame)


def test_constant_that_polars_refuses_is_found_without_a_row() -> None:
    tree = translated(pl.col("s").str.extract("(", 1))
    schema = json.dumps(schema_to_json({"s": pl.String()}))
    with pytest.raises(ValueError, match="expected constants that Polars takes"):
        _core.evaluate(residual_json(tree), schema, pl.DataFrame({"s": ["x"]}))


def test_rows_that_polars_refuses_are_null_and_the_others_stand() -> None:
    exprs = [
        {"name": "number", "expr": translated(pl.col("s").str.to_integer())},
        {"name": "first", "expr": translated(pl.col("l").list.get(0))},
    ]
    texts = [None if row % 7 == 0 else str(row) for row in range(50)]
    texts[20] = texts[49] = "x"
    lists = [[row] for row in range(50)]
    lists[3] = []
    made, failures = ResidualEvaluator(json.dumps(exprs)).evaluate(pl.DataFrame({"s": texts, "l": lists}))
    assert [(row, expr) for row, expr, _ in failures] == [(3, 1), (20, 0), (49, 0)]
    assert all("This error occurred" not in reason for _, _, reason in failures)
    kept = [row not in (3, 20, 49) for row in range(50)]
    assert made["first"].to_list() == [row if kept[row] else None for row in range(50)]
    assert made["number"].to_list() == [
        int(text) if text and keep else None for text, keep in zip(texts, kept, strict=True)
    ]


def test_plan_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="expected an expression of the plan"):
        _core.is_compiled("{}", "[]")
