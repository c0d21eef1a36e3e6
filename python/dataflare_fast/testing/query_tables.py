"""What random queries are made of: one line for each expression, aggregate, window and time key.

A line that is added here is tested against Polars in thousands of queries, under random schedules. Not here:
how they are put together (`random_queries.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import polars as pl

__all__ = [
    "AGGREGATES",
    "EXPRESSIONS",
    "INTEGER_WINDOWS",
    "KEYS",
    "PREDICATES",
    "RUNNING",
    "TIME_KEYS",
    "WINDOWS",
    "Aggregate",
    "Rule",
    "kind_of",
]

Make = Callable[[pl.Expr, pl.Expr], pl.Expr]


@dataclass(frozen=True, slots=True)
class Rule:
    """An expression over a column `a`, and another column `b` of the same type (or `a` again).

    Args:
        kinds: types of columns, as `kind_of` names them, with spaces between.
        make: the expression.
        rounded: its last bits may depend on the order of additions, so nothing is added up above it.
    """

    kinds: str
    make: Make
    rounded: bool = False

    def takes(self, kind: str) -> bool:
        """True for a column of this kind."""
        return self.kinds == "any" or kind in self.kinds.split()


@dataclass(frozen=True, slots=True)
class Aggregate(Rule):
    """As `Rule`, for one value of a group.

    Args:
        ordered: needs rows in logical order.
        filtered: it also runs over `a.filter(...)`.
    """

    ordered: bool = False
    filtered: bool = True


_NUMBERS = "integer float"
_ORDERED = "integer float string boolean datetime date time duration decimal binary"

PREDICATES: Final[tuple[Rule, ...]] = (
    Rule("any", lambda a, b: a.is_not_null()),
    Rule("any", lambda a, b: a.is_null()),
    Rule("integer", lambda a, b: a > 0),
    Rule("integer", lambda a, b: a % 3 != 1),
    Rule("integer", lambda a, b: a.is_between(-2, 60)),
    Rule("integer", lambda a, b: a.is_in([-1, 0, 1, 5])),
    Rule("integer", lambda a, b: (a > 1) & (b < 4) | a.is_null()),
    Rule("float", lambda a, b: a > 0.5),
    Rule("float", lambda a, b: a.is_nan()),
    Rule("float", lambda a, b: a == 0.0),
    Rule("string", lambda a, b: a.str.starts_with("a")),
    Rule("string", lambda a, b: a.str.contains("a", literal=True)),
    Rule("string", lambda a, b: a.is_in(["a", "b"])),
    Rule("string", lambda a, b: a > "a"),
    Rule("boolean", lambda a, b: a),
    Rule("boolean", lambda a, b: ~a | b.is_null()),
    Rule("datetime", lambda a, b: a.dt.hour() < 23),
    Rule("date", lambda a, b: a.dt.day() != 30),
    Rule(_ORDERED, lambda a, b: a <= b),
    Rule(_ORDERED, lambda a, b: a.eq_missing(b)),
)

EXPRESSIONS: Final[tuple[Rule, ...]] = (
    *PREDICATES,
    Rule(_NUMBERS, lambda a, b: a + b),
    Rule(_NUMBERS, lambda a, b: a - 1),
    Rule(_NUMBERS, lambda a, b: a * 2),
    Rule(_NUMBERS, lambda a, b: a.fill_null(7)),
    Rule(_NUMBERS, lambda a, b: pl.when(a > b).then(a).otherwise(b)),
    Rule(_NUMBERS, lambda a, b: pl.when(a > 0).then(1).when(a < 0).then(-1).otherwise(0)),
    Rule(_NUMBERS, lambda a, b: pl.max_horizontal(a, b)),
    Rule("integer", lambda a, b: a // 3),
    Rule("integer", lambda a, b: a // b),
    Rule("integer", lambda a, b: a % 5),
    Rule("integer", lambda a, b: a.cast(pl.Float64)),
    Rule("integer", lambda a, b: a.cast(pl.String)),
    Rule("integer", lambda a, b: a / 4),
    Rule("float", lambda a, b: a.floor()),
    Rule("float", lambda a, b: a.fill_nan(None)),
    Rule("float", lambda a, b: a.fill_nan(0.5)),
    Rule("string", lambda a, b: a.str.to_uppercase()),
    Rule("string", lambda a, b: a.str.len_chars()),
    Rule("string", lambda a, b: a.str.slice(0, 1)),
    Rule("string", lambda a, b: a + "-" + b),
    Rule("string", lambda a, b: a.str.reverse()),
    Rule("datetime", lambda a, b: a.dt.weekday()),
    Rule("datetime", lambda a, b: a.dt.date()),
    Rule("datetime", lambda a, b: a.dt.strftime("%H:%M")),
    Rule("datetime", lambda a, b: a + timedelta(minutes=5)),
    Rule("datetime", lambda a, b: a - b),
    Rule("date", lambda a, b: a.dt.year()),
    Rule("duration", lambda a, b: a + b),
    Rule("duration", lambda a, b: a.dt.total_minutes()),
    Rule("any", lambda a, b: pl.coalesce(a, b)),
)

AGGREGATES: Final[tuple[Aggregate, ...]] = (
    Aggregate("any", lambda a, b: pl.len()),
    Aggregate("any", lambda a, b: a.len()),
    Aggregate("any", lambda a, b: a.count()),
    Aggregate("any", lambda a, b: a.null_count()),
    Aggregate("integer float duration decimal boolean", lambda a, b: a.sum()),
    Aggregate("integer float", lambda a, b: a.mean(), rounded=True),
    Aggregate(_ORDERED, lambda a, b: a.min()),
    Aggregate(_ORDERED, lambda a, b: a.max()),
    Aggregate("any", lambda a, b: a.first(), ordered=True),
    Aggregate("any", lambda a, b: a.last(), ordered=True),
    Aggregate("any", lambda a, b: a.n_unique()),
    Aggregate("boolean", lambda a, b: a.any()),
    Aggregate("boolean", lambda a, b: a.all()),
    Aggregate("integer float", lambda a, b: a.max() - a.min()),
    Aggregate("integer", lambda a, b: (a + b).sum(), filtered=False),
    Aggregate("integer", lambda a, b: a.sum() * 2 + pl.len().cast(pl.Int64)),
    Aggregate("integer float", lambda a, b: a.drop_nulls().min(), filtered=False),
    Aggregate("integer", lambda a, b: pl.when(a.sum() > 0).then(pl.len()).otherwise(a.count())),
)
"""The harness adds `.filter(...)` below an aggregate by itself, and `.cast(pl.Int64)` above a count."""

WINDOWS: Final[tuple[dict[str, Any], ...]] = (
    {"every": "10m"},
    {"every": "10m", "closed": "none"},
    {"every": "10m", "closed": "right"},
    {"every": "10m", "closed": "both", "offset": "-10m"},
    {"every": "10m", "period": "30m", "offset": "-20m"},
    {"every": "10m", "period": "25m", "offset": "-20m", "label": "right"},
    {"every": "10m", "period": "20m", "closed": "right", "offset": "-20m"},
    {"every": "10m", "period": "20m", "closed": "none", "offset": "-10m"},
    {"every": "1h", "period": "7m"},
    {"every": "1h", "offset": "7m"},
    {"every": "1h", "offset": "-90s", "include_boundaries": True},
    {"every": "1d"},
    {"every": "1d", "period": "2d", "offset": "-1d"},
    {"every": "1d", "closed": "right", "label": "right"},
    {"every": "1w", "start_by": "tuesday"},
    {"every": "1mo", "include_boundaries": True},
    {"every": "1q", "label": "right"},
)
"""Windows over a Datetime; those in days and more also over a Date and on a zone with daylight saving."""

INTEGER_WINDOWS: Final[tuple[dict[str, Any], ...]] = (
    {"every": "500i"},
    {"every": "500i", "closed": "right", "label": "right"},
    {"every": "500i", "period": "1500i", "offset": "-1000i"},
    {"every": "500i", "period": "100i", "closed": "none"},
    {"every": "700i", "offset": "13i", "include_boundaries": True},
)

RUNNING: Final[tuple[Rule, ...]] = (
    Rule("integer float", lambda a, b: a.cum_sum()),
    Rule("integer float", lambda a, b: a.cum_max()),
    Rule("any", lambda a, b: a.cum_count()),
    Rule("any", lambda a, b: a.shift(1)),
    Rule("any", lambda a, b: a.shift(2)),
    Rule("integer", lambda a, b: a.diff()),
    Rule("any", lambda a, b: a.forward_fill()),
    Rule("integer string boolean", lambda a, b: a.is_first_distinct()),
    Rule("integer", lambda a, b: a.rolling_sum(3, min_samples=1)),
    Rule("integer float", lambda a, b: a.rolling_max(4, min_samples=1)),
    Rule("any", lambda a, b: pl.int_range(pl.len())),
)
"""Functions of earlier rows; the harness adds `.over(key, order_by=time)`."""

TIME_KEYS: Final[tuple[Rule, ...]] = (
    Rule("datetime", lambda a, b: a.dt.truncate("10m")),
    Rule("datetime", lambda a, b: a.dt.truncate("1d")),
    Rule("datetime date", lambda a, b: a.dt.year()),
    Rule("date", lambda a, b: a.dt.month_start()),
    Rule("datetime", lambda a, b: a.dt.date()),
    Rule("datetime", lambda a, b: (a + timedelta(hours=1)).dt.truncate("1h")),
    Rule("integer", lambda a, b: a),
)
"""Keys that are monotone functions of the event time."""

KEYS: Final[tuple[Rule, ...]] = (
    Rule("any", lambda a, b: a),
    Rule("integer", lambda a, b: a % 3),
    Rule("string", lambda a, b: a.str.slice(0, 1)),
    Rule("float", lambda a, b: a * 2),
)
"""Keys that say nothing about time."""


def kind_of(dtype: pl.DataType) -> str:
    """The word that the tables use for a type."""
    if dtype.is_integer():
        return "integer"
    if dtype.is_float():
        return "float"
    return {pl.Enum: "enum", pl.Binary: "binary"}.get(type(dtype), type(dtype).__name__.lower())
