"""Every function of the class table that the engine runs stands in a query that is held against Polars.

Random queries draw the lines of `query_tables.py`; the tests beside this one and `row_wise_cases.py` hold the
rest. Not here: what is refused, and how (`test_class_entries.py`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator

import polars as pl

from dataflare_fast.planner.classes import (
    AGGREGATES_OF_THE_ENGINE,
    CLASSES,
    COUNTED,
    HIDDEN,
    LISTS_OF_THE_ENGINE,
    OVER_A_GROUP,
    RUNNING_OF_THE_ENGINE,
    FunctionClass,
)
from dataflare_fast.planner.visitor.expressions import ExprNode, FunctionNode
from dataflare_fast.planner.visitor.plan import FilterIR, GroupByIR, HStackIR, PlanIR, SelectIR, read_plan
from dataflare_fast.testing.query_tables import (
    AGGREGATES,
    BY_TIME,
    EXPRESSIONS,
    KEYS,
    PREDICATES,
    ROLLED,
    RUNNING,
    TIME_KEYS,
    Rule,
    kind_of,
)
from dataflare_fast.testing.random_rows import COLUMNS

from . import test_aggregates, test_running

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # `cut`, which is still in the table
    from tests.planner.expressions.row_wise_cases import CASES, MANY_COLUMNS

_ROWS = pl.LazyFrame(
    schema={
        **{name: dtype for name, (dtype, _) in COLUMNS.items()},
        "items": pl.List(pl.Int64),
        "pair": pl.Struct({"x": pl.Int64, "y": pl.Int64}),
    }
)
_WRITTEN_AS = {
    "bottom_k": "top_k",
    "bottom_k_by": "top_k_by",
    "cov": "corr",
    "dot": "sum",
    "forward_fill": "fill_null",
    "head": "slice",
    "limit": "slice",
    "rolling_median": "rolling_quantile",
    "rolling_median_by": "rolling_quantile_by",
    "tail": "slice",
}
"""Functions that Polars' plan shows as another one."""

_ELSEWHERE = {
    "approx_n_unique": "test_aggregates.py: random queries are too small for Polars' estimates",
    "explode": "a step of random queries",
    "list.explode": "the same node as explode",
    "arr.explode": "the same node as explode",
    "name.map_fields": "runs Python code: refused",
    "filter": "a step of random queries",
    "over": "the form of `running` in random queries",
    "rolling": "the frame's own, a step of random queries",
}


def _names(frame: pl.LazyFrame) -> Iterator[str]:
    for node in read_plan(frame).walk():
        for expr in _exprs(node):
            yield from (part.name for part in expr.walk() if isinstance(part, FunctionNode))


def _exprs(node: PlanIR) -> Iterator[ExprNode]:
    match node:
        case FilterIR():
            yield node.predicate.expr
        case SelectIR() | HStackIR():
            yield from (one.expr for one in node.exprs)
        case GroupByIR():
            yield from (one.expr for one in (*node.keys, *node.aggregates))
        case _:
            pass


def _made(rules: Iterable[Rule]) -> Iterator[pl.Expr]:
    for rule in rules:
        fitting = [name for name, dtype in _ROWS.collect_schema().items() if rule.takes(kind_of(dtype))]
        assert fitting, "a line of no kind of column"
        yield rule.make(pl.col(fitting[0]), pl.col(fitting[0]))


def _drawn() -> set[str]:
    """What random queries are made of."""
    names: set[str] = set()
    for expr in _made((*PREDICATES, *EXPRESSIONS, *RUNNING, *TIME_KEYS, *KEYS)):
        names.update(_names(_ROWS.select(expr.alias("out"))))
    for expr in _made((*AGGREGATES, *ROLLED)):
        names.update(_names(_ROWS.group_by("k").agg(expr.alias("out"))))
    for rule in BY_TIME:
        names.update(_names(_ROWS.select(rule.make(pl.col("v"), "ts", "1h").alias("out"))))
    return names


def _held() -> set[str]:
    """What the law tests beside this one hold."""
    frame = pl.LazyFrame(
        schema={"ts": pl.Datetime("us"), "k": pl.String, "v": pl.Int64, "f": pl.Float64, "n": pl.Int64}
    )
    running = {**test_running.FUNCTIONS, **test_running.KEYED, **test_running.BY_TIME}
    names = {name for expr in running.values() for name in _names(frame.select(out=expr))}
    aggregates = {**test_aggregates.AGGREGATES, **test_aggregates.OPEN}
    rows = pl.LazyFrame(
        schema={"k": pl.String, "y": pl.Int64, "p": pl.Boolean, "x": pl.Int64, "s": pl.String}
    )
    for expr in aggregates.values():
        for column in ("x", "s"):
            typed = rows.drop("x").with_columns(x=pl.col("s")) if column == "s" else rows
            try:
                names.update(_names(typed.group_by("k").agg(out=expr)))
            except pl.exceptions.PolarsError:
                continue
    return names


def _run_by_the_engine() -> set[str]:
    row_wise = {name for name, its_class in CLASSES.items() if its_class is FunctionClass.ROW_WISE}
    groups = AGGREGATES_OF_THE_ENGINE | LISTS_OF_THE_ENGINE | COUNTED | OVER_A_GROUP
    return (row_wise | groups | RUNNING_OF_THE_ENGINE) - HIDDEN


def test_every_function_that_the_engine_runs_is_held_against_polars() -> None:
    cases = {name.split("#")[0] for name in (*CASES, *MANY_COLUMNS)}
    run = {_WRITTEN_AS.get(name, name) for name in _run_by_the_engine()}
    assert run - _drawn() - _held() - cases - _ELSEWHERE.keys() == set()


def test_random_queries_draw_most_of_what_the_engine_computes_itself() -> None:
    computed = AGGREGATES_OF_THE_ENGINE | LISTS_OF_THE_ENGINE | COUNTED | RUNNING_OF_THE_ENGINE
    run = {_WRITTEN_AS.get(name, name) for name in computed}
    assert run - _drawn() - _ELSEWHERE.keys() == {"ewm_mean_by"}
