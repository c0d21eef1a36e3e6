"""Row-wise functions: rebuilt from our plan they give what Polars gives, however the rows are cut."""

from __future__ import annotations

import json
import warnings

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.planner.expressions.expression_data import (
    FRAME,
    answer,
    bits,
    read_columns,
    residual_json,
    translated,
)

from dataflare_fast.planner.classes import CLASSES, HIDDEN, FunctionClass
from dataflare_fast.planner.expressions import ExpressionContext, translate
from dataflare_fast.planner.refusals import Refusals
from dataflare_fast.planner.residual import ResidualEvaluator

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # `cut`, which is still in the table
    from tests.planner.expressions.row_wise_cases import CASES, MANY_COLUMNS

_WITHOUT_A_CASE = {
    "struct.unnest": "stands for several columns: see MANY_COLUMNS",
    "name.map_fields": "runs Python code: refused",
}


@pytest.mark.parametrize("name", CASES)
def test_rebuilt_function_gives_what_polars_gives_at_any_cut(name: str) -> None:
    expected = answer(CASES[name])
    evaluate = ResidualEvaluator(residual_json(translated(CASES[name])))

    for rows in (FRAME.height, 2, 1):
        parts = [
            FRAME.slice(start, rows).select(evaluate(FRAME.slice(start, rows)).to_series())
            for start in range(0, FRAME.height, rows)
        ]
        got = pl.concat(parts).to_series()
        assert got.dtype == expected.dtype
        assert bits(got) == bits(expected), f"cut into {rows} rows"


@pytest.mark.parametrize("name", CASES)
def test_rebuilt_function_takes_an_empty_batch(name: str) -> None:
    tree = translated(CASES[name])
    if tree["kind"] == "literal":
        return
    empty = ResidualEvaluator(residual_json(tree))(FRAME.clear())
    assert empty.height == 0
    assert empty.schema["out"] == FRAME.clear().select(CASES[name].alias("out")).schema["out"]


@pytest.mark.parametrize("name", MANY_COLUMNS)
def test_expression_that_stands_for_many_columns_gives_each(name: str) -> None:
    columns = read_columns(FRAME.lazy().select(MANY_COLUMNS[name]))
    refusals = Refusals()
    context = ExpressionContext(FRAME.schema, refusals)
    exprs = [{"name": column, "expr": translate(node, context)} for column, node in columns]
    refusals.raise_if_any()
    got = FRAME.select(ResidualEvaluator(json.dumps(exprs))(FRAME))
    assert_frame_equal(got, FRAME.select(MANY_COLUMNS[name]), check_exact=True)


def test_every_row_wise_function_that_the_visitor_shows_has_a_case() -> None:
    tried = {name.split("#")[0] for name in CASES}
    row_wise = {name for name, its_class in CLASSES.items() if its_class is FunctionClass.ROW_WISE}
    assert row_wise - HIDDEN - tried == set(_WITHOUT_A_CASE)
