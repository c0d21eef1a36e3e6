"""The class table knows every name that Polars' expressions have."""

from __future__ import annotations

import polars as pl

from dataflare_fast import _core
from dataflare_fast.planner.classes import (
    AGGREGATES_OF_THE_ENGINE,
    CLASSES,
    COUNTED,
    HIDDEN,
    LISTS_OF_THE_ENGINE,
    ORDERED,
    ORDERED_OVER_A_GROUP,
    OVER_A_GROUP,
    FunctionClass,
)
from dataflare_fast.planner.visitor.spelling import AGGREGATES, FUNCTIONS

_NAMESPACES = ("arr", "bin", "cat", "dt", "ext", "list", "map", "name", "str", "struct")
# `meta` looks at an expression and makes none.
_NOT_EXPRESSIONS = {"meta", *_NAMESPACES}


def names_of_the_api() -> set[str]:
    names = {name for name in dir(pl.Expr) if not name.startswith("_")} - _NOT_EXPRESSIONS
    for space in _NAMESPACES:
        names |= {f"{space}.{name}" for name in dir(getattr(pl.col("a"), space)) if not name.startswith("_")}
    return names


def test_every_name_of_the_api_has_a_class() -> None:
    assert names_of_the_api() - set(CLASSES) == set()


def test_names_beyond_the_methods_are_functions_of_the_module_or_samplers() -> None:
    beyond = {name for name in CLASSES.keys() - names_of_the_api() if not hasattr(pl, name)}
    assert beyond == {"arr.sample"}


def test_no_name_has_two_classes() -> None:
    from dataflare_fast.planner.classes import _CLASS_MEMBERS

    assert sum(len(names) for names in _CLASS_MEMBERS.values()) == len(CLASSES)


def test_every_function_that_the_visitor_spells_has_a_class() -> None:
    spelled = {spelling.name for spelling in (*FUNCTIONS.values(), *AGGREGATES.values())}
    assert spelled - {"list.set_"} - set(CLASSES) == set()


def test_every_function_that_the_engine_compiles_is_row_wise() -> None:
    assert {CLASSES[name] for name in _core.compiled_functions()} == {FunctionClass.ROW_WISE}


def test_marks_stand_on_functions_of_the_table() -> None:
    assert set(CLASSES) >= HIDDEN | ORDERED | COUNTED | AGGREGATES_OF_THE_ENGINE | LISTS_OF_THE_ENGINE
    assert set(CLASSES) >= OVER_A_GROUP | ORDERED_OVER_A_GROUP
    assert {CLASSES[name] for name in ORDERED | COUNTED | AGGREGATES_OF_THE_ENGINE} == {
        FunctionClass.AGGREGATE
    }


def test_every_aggregate_is_computed_or_refused_on_purpose() -> None:
    aggregates = {name for name, its_class in CLASSES.items() if its_class is FunctionClass.AGGREGATE}
    # Polars' plan does not show the `null_on_oob` of `get`; `pl.corr` stands for both.
    assert aggregates - AGGREGATES_OF_THE_ENGINE - COUNTED - OVER_A_GROUP == {"get"}
