"""Compares two frames as multisets of rows, as the law does.

Columns that are equal bit for bit decide which rows are compared with each other; floats agree within a
tolerance. Not here: running a query (`check.py`).
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

import polars as pl
from polars.testing import assert_frame_equal

__all__ = ["assert_same_rows", "has_open_lists"]

_OPEN_LISTS: Final = frozenset(("unique", "value_counts", "mode"))


def has_open_lists(plan_json: str) -> bool:
    """True if a plan makes lists whose order is open in Polars: distinct values, modes."""

    def open_inside(tree: Any) -> bool:
        if isinstance(tree, dict):
            name = tree.get("function", tree.get("name"))
            return (isinstance(name, str) and name in _OPEN_LISTS) or any(map(open_inside, tree.values()))
        return isinstance(tree, list) and any(map(open_inside, tree))

    return open_inside(json.loads(plan_json))


def assert_same_rows(
    found: pl.DataFrame, expected: pl.DataFrame, relative_tolerance: float, *, open_lists: bool = False
) -> None:
    """Asserts that two frames hold the same rows, in any order.

    Args:
        found: the engine's answer.
        expected: Polars' answer.
        relative_tolerance: for floats.
        open_lists: lists are compared as multisets too.
    """
    assert found.schema == expected.schema, f"expected the columns {expected.schema}, got {found.schema}"
    assert found.height == expected.height, f"expected {expected.height} rows, got {found.height}"
    # Columns that are equal bit for bit decide the order first; the others only among equals.
    keys = sorted(expected.columns, key=lambda name: _is_inexact(expected.schema[name]))
    if any(expected.schema[name].is_nested() for name in keys):
        _assert_same_nested_rows(found, expected, keys, relative_tolerance, open_lists)
    elif keys:
        assert_frame_equal(
            found.sort(keys, nulls_last=True),
            expected.sort(keys, nulls_last=True),
            rel_tol=relative_tolerance,
            abs_tol=1e-12,
        )


def _is_inexact(dtype: pl.DataType) -> bool:
    return dtype.is_float() or dtype.is_nested()


def _assert_same_nested_rows(
    found: pl.DataFrame, expected: pl.DataFrame, keys: list[str], tolerance: float, open_lists: bool
) -> None:
    def rows(frame: pl.DataFrame) -> list[list[Any]]:
        plain = [[_plain(value, open_lists) for value in row] for row in frame.select(keys).iter_rows()]
        return sorted(plain, key=_place)

    for one, other in zip(rows(found), rows(expected), strict=True):
        columns = zip(keys, one, other, strict=True)
        differing = [name for name, got, wanted in columns if not _is_same(got, wanted, tolerance)]
        assert not differing, (
            f"{', '.join(differing)}: expected the row {dict(zip(keys, other, strict=True))}, "
            f"got {dict(zip(keys, one, strict=True))}"
        )


def _plain(value: Any, open_lists: bool) -> Any:
    if isinstance(value, pl.Series):
        value = value.to_list()
    if isinstance(value, dict):
        return [_plain(item, open_lists) for item in value.values()]
    if isinstance(value, list):
        items = [_plain(item, open_lists) for item in value]
        return sorted(items, key=_place) if open_lists else items
    return value


def _place(value: Any) -> str:
    """A text that sorts equal values side by side, also if they differ in their last bits."""
    if isinstance(value, list):
        return "[" + ",".join(map(_place, value)) + "]"
    if isinstance(value, float):
        return f"{value + 0.0:+.6e}"
    return repr(value)


def _is_same(found: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(
            _is_same(one, other, tolerance) for one, other in zip(found, expected, strict=True)
        )
    if isinstance(found, float) and isinstance(expected, float):
        if math.isnan(expected):
            return math.isnan(found)
        return math.isclose(found, expected, rel_tol=tolerance, abs_tol=1e-12)
    return bool(found == expected)
