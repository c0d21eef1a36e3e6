"""Functions with kernels give what Polars gives, over awkward and over random rows, however they are cut."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from tests.planner.expressions.expression_data import FRAME, bits, read
from tests.planner.expressions.kernel_cases import FRAME_KERNELS, KERNELS
from tests.planner.expressions.test_random_expressions import SCHEMA, frames

from dataflare_fast import _core
from dataflare_fast.planner.expressions import ExpressionContext, translate
from dataflare_fast.planner.refusals import Refusals
from dataflare_fast.planner.schema import schema_to_json

_OPERATORS = {"not_"}
"""Compiled functions that the random expressions try."""


def tree_of(expr: pl.Expr, frame: pl.DataFrame) -> Any:
    refusals = Refusals()
    tree = translate(read(expr, frame), ExpressionContext(frame.schema, refusals))
    refusals.raise_if_any()
    return tree


def functions_in(tree: Any) -> set[str]:
    """Names of the functions of a tree of the plan."""
    if isinstance(tree, list):
        return set().union(*map(functions_in, tree))
    if not isinstance(tree, dict):
        return set()
    name = {tree["name"]} if tree.get("kind") == "function" else set()
    return name.union(*(functions_in(part) for key, part in tree.items() if key not in ("options", "dtype")))


def evaluated(exprs: str, frame: pl.DataFrame) -> pl.DataFrame:
    return pl.DataFrame(_core.evaluate(exprs, json.dumps(schema_to_json(frame.schema)), frame))


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(frame=frames())
def test_kernels_give_what_polars_gives_over_random_rows_at_any_cut(frame: pl.DataFrame) -> None:
    assert_answers_of_polars(KERNELS, frame)


def test_kernels_give_what_polars_gives_over_awkward_rows_at_any_cut() -> None:
    assert_answers_of_polars(FRAME_KERNELS, FRAME)


def assert_answers_of_polars(kernels: dict[str, pl.Expr], frame: pl.DataFrame) -> None:
    exprs = json.dumps([{"name": name, "expr": tree_of(expr, frame)} for name, expr in kernels.items()])
    expected = frame.select_seq(**kernels)
    for rows in (frame.height, 2, 1):
        parts = [evaluated(exprs, frame.slice(start, rows)) for start in range(0, frame.height, rows)]
        got = pl.concat(parts)
        assert got.schema == expected.schema
        wrong = {
            name: (got[name], expected[name]) for name in kernels if bits(got[name]) != bits(expected[name])
        }
        assert wrong == {}, f"cut into {rows} rows"


_RANDOM = pl.DataFrame(schema=SCHEMA)


@pytest.mark.parametrize(
    ("expr", "frame"),
    [pytest.param(expr, _RANDOM, id=name) for name, expr in KERNELS.items()]
    + [pytest.param(expr, FRAME, id=f"frame.{name}") for name, expr in FRAME_KERNELS.items()],
)
def test_use_of_a_function_needs_no_polars(expr: pl.Expr, frame: pl.DataFrame) -> None:
    assert '"residual"' not in json.dumps(tree_of(expr, frame))


def test_every_function_with_a_kernel_has_a_case() -> None:
    tried = set().union(*(functions_in(tree_of(expr, _RANDOM)) for expr in KERNELS.values()))
    tried |= set().union(*(functions_in(tree_of(expr, FRAME)) for expr in FRAME_KERNELS.values()))
    assert set(_core.compiled_functions()) - tried - _OPERATORS == set()
