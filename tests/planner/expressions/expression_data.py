"""The frame that expression tests run on, and the way from a `pl.Expr` to our nodes.

Every column holds nulls beside the awkward values of its type: NaN, both zeros, infinities, both ends, empty
and non-ASCII text. Imported by the tests of this folder.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal
from functools import cache
from typing import Any

import polars as pl

from dataflare_fast.planner.expressions import ExpressionContext, SplitAggregate, split_aggregate, translate
from dataflare_fast.planner.refusals import Refusals
from dataflare_fast.planner.visitor.expressions import ExprNode, read_expression

_NAN, _INF = float("nan"), float("inf")
_SHORT = [[0.1], [1.0], [2.0], [1.0, 2.0]]
_T, _D = dt.datetime, dt.date
_DAYS = [
    _D(2024, 3, 31),
    _D(2024, 1, 31),
    _D(1900, 2, 28),
    _D(2023, 12, 31),
    _D(2024, 12, 30),
    _D(2021, 1, 3),
]

FRAME = pl.DataFrame(
    {
        "i": [0, 1, -1, None, 7, -8, 2**63 - 1, -(2**63), 3, 100, -7, 2],
        "j": [1, 0, None, 3, -2, 3, 1, -1, 7, -3, 3, 2],
        "n": [0, 1, 2, 3, None, 1, 0, 2, 3, 1, 2, 0],
        "i8": [0, 1, -1, None, 127, -128, 5, -5, 64, 2, 3, 100],
        "u8": [0, 1, 255, None, 127, 128, 5, 7, 64, 2, 3, 100],
        "u64": [0, 1, 2**64 - 1, None, 7, 8, 2**63, 3, 64, 2, 3, 100],
        "f": [0.0, -0.0, 1.5, None, _NAN, _INF, -_INF, 2.5, -2.5, 1e300, 5e-324, 0.3],
        "g": [1.0, 0.0, -0.5, 3.0, None, _NAN, 2.0, -_INF, 0.5, 1e-300, -0.0, 0.25],
        "f32": [0.0, -0.0, 1.1, None, _NAN, _INF, -_INF, 2.5, -2.5, 3e38, 1e-45, 0.3],
        "b": [True, False, None, True, True, False, None, False, True, True, False, None],
        "c": [True, True, True, None, False, False, None, True, False, None, True, False],
        "s": ["", "a", "Straße", None, "x,y,z", "ÀÉ ñ", "日本語", " pad ", "aXbXc", "👍🏽a", "İi", "a.b"],
        "p": ["a", "a", "ß", "x", "", None, "本", " ", "X", "a", "i", "."],
        "digits": ["0", "12", "-7", None, "+3", "0", "99", "100", "5", "-1", "42", "7"],
        "hex": ["00", "ff", "", None, "7F", "1a2b", "AB", "0a", "10", "20", "30", "40"],
        "b64": ["YQ==", "", "w58=", None, "YWI=", "YWJj", *["YQ=="] * 6],
        "json": ['{"a":1,"b":"x"}', '{"a":null}', "{}", None, '{"a":-3,"b":"ß"}'] + ['{"a":2}'] * 7,
        "day_text": ["2024-01-31", "1969-12-31", "2024-02-29", None, *["2001-09-09"] * 8],
        "time_text": [
            "2024-01-31 23:59:59",
            "1969-12-31 00:00:01",
            "2024-02-29 12:00:00",
            None,
            *["2001-09-09 01:46:40"] * 8,
        ],
        "clock_text": ["00:00:00", "23:59:59", "12:30:15", None, *["01:46:40"] * 8],
        "every": ["1h", "1d", "1mo", None, "1w", "15m", "2h", "1d", "1h", "1q", "1y", "3d"],
        "t": [
            _T(1970, 1, 1),
            _T(1969, 12, 31, 23, 59, 59, 999_999),
            _T(2024, 2, 29, 12, 30, 15, 123_456),
            None,
            _T(2023, 12, 31, 23, 59, 59),
            _T(1, 1, 1),
            _T(9999, 12, 31, 23, 59, 59, 999_999),
            _T(2024, 3, 31, 1, 30),
            _T(2024, 10, 27, 1, 30),
            _T(2000, 1, 1, 0, 0, 0, 1),
            _T(1900, 2, 28),
            _T(2024, 1, 31, 6),
        ],
        "t2": [_T(2024, 1, day, day) if day % 5 else None for day in range(1, 13)],
        "d": [_D(1970, 1, 1), _D(1969, 12, 31), None, _D(1, 1, 1), _D(9999, 12, 31), _D(2021, 1, 3), *_DAYS],
        "d2": [dt.date(2024, 1, day) if day % 5 else None for day in range(1, 13)],
        "u": [
            dt.timedelta(hours=hour * 37, microseconds=hour) if hour % 4 else None for hour in range(-6, 6)
        ],
        "w": [dt.time(hour * 2, hour, hour, hour) if hour % 5 else None for hour in range(12)],
        "l": [[1, 2], [], None, [None], [3, None, 1], [1, 1], [-5], [2**62], [7, 8, 9, 10], [0], [1], [2, 3]],
        "l2": [[2], [1], [3], None, [1, 3], [], [None], [-5, 5], [9, 10, 11], [1], [1], [3, 2]],
        "lf": [[0.5, _NAN], [], None, [None], [-0.0, 0.0], [1.5], [_INF], [3.5, 1.5, 2.5], *_SHORT],
        "ls": [
            ["a", "b"],
            [],
            None,
            [None],
            ["ß", None],
            [""],
            ["x"],
            ["y", "z"],
            ["日"],
            ["a"],
            ["b"],
            ["c"],
        ],
        "st": [{"x": index, "y": "ß" * (index % 3)} if index % 5 else None for index in range(12)],
        "sn": [{"x": None, "y": "a"} if index % 2 else {"x": index, "y": None} for index in range(12)],
        "dec": [Decimal("1.50"), Decimal("-0.01"), None, Decimal("99999.99")] + [Decimal("2.25")] * 8,
        "cat": ["a", "b", None, "ß", "a", "c", "", "b", "a", "x", "y", "z"],
        "bin": [b"", b"a", None, b"\xff\x00", b"ab", b"abc", b"\x00", b"z", b"q", b"r", b"s", b"t"],
    },
    schema_overrides={
        "i8": pl.Int8,
        "u8": pl.UInt8,
        "u64": pl.UInt64,
        "f32": pl.Float32,
        "l": pl.List(pl.Int64),
        "l2": pl.List(pl.Int64),
        "dec": pl.Decimal(12, 2),
        "cat": pl.Categorical,
    },
    strict=False,
).with_columns(
    z=pl.col("t").dt.replace_time_zone("UTC"),
    tn=pl.when(pl.col("t").dt.year().is_between(1700, 2200)).then(pl.col("t")).cast(pl.Datetime("ns")),
    e=pl.col("cat").cast(pl.Enum(["", "a", "b", "c", "x", "y", "z", "ß"])),
    a=pl.concat_list("j", "n").list.to_array(2),
    af=pl.concat_list("f", "g").list.to_array(2),
    as_=pl.concat_list("s", "p").list.to_array(2),
)

_FLAGS = pl.QueryOptFlags(comm_subexpr_elim=False)


@cache
def _flags() -> Any:
    return _FLAGS._pyoptflags


def read_columns(query: pl.LazyFrame) -> list[tuple[str, ExprNode]]:
    """The columns that the last node of a query computes, as Polars' optimiser leaves them."""
    visitor: Any = query._ldf.with_optimizations(_flags()).visit()
    visitor.get_schema()
    node = visitor.view_current_node()
    visitor.set_node(node.input)
    found = next(getattr(node, name) for name in ("exprs", "expr", "aggs") if hasattr(node, name))
    return [(one.output_name, read_expression(visitor, one.node)) for one in found]


def read(expr: pl.Expr, frame: pl.DataFrame = FRAME) -> ExprNode:
    """The expression as Polars' optimiser leaves it in `with_columns`."""
    return dict(read_columns(frame.lazy().with_columns(expr.alias("out"))))["out"]


def bits(column: pl.Series) -> list[object]:
    """Values that tell 0.0 from -0.0 and take NaN for equal to itself."""

    def exact(value: object) -> object:
        if isinstance(value, float):
            return "NaN" if math.isnan(value) else (value, math.copysign(1.0, value))
        if isinstance(value, list | pl.Series):
            return [exact(item) for item in value]
        if isinstance(value, dict):
            return {name: exact(item) for name, item in value.items()}
        return value

    # Python's datetimes end at the year 9999 and at microseconds.
    physical = column.to_physical() if column.dtype.is_temporal() else column
    return [exact(value) for value in physical.to_list()]


def answer(expr: pl.Expr) -> pl.Series:
    """What Polars gives for an expression over `FRAME`, a constant once for each row."""
    found = FRAME.lazy().select(expr.alias("out")).collect().to_series()
    if len(found) == 1:
        found = pl.repeat(found[0], FRAME.height, dtype=found.dtype, eager=True).alias("out")
    return found


def translated(expr: pl.Expr, frame: pl.DataFrame = FRAME) -> Any:
    """Our tree for a row-wise expression; raises if it is refused."""
    refusals = Refusals()
    tree = translate(read(expr, frame), ExpressionContext(frame.schema, refusals))
    refusals.raise_if_any()
    return tree


def split(*exprs: pl.Expr, frame: pl.DataFrame = FRAME, by: str = "b") -> list[SplitAggregate]:
    """The three layers of each expression of one `group_by`; raises if one is refused."""
    refusals = Refusals()
    context = ExpressionContext(frame.schema, refusals)
    columns = read_columns(frame.lazy().group_by(by).agg(*exprs))
    layers = [split_aggregate(node, context) for _, node in columns]
    refusals.raise_if_any()
    return layers


def residual_json(tree: Any) -> str:
    """The text that `ResidualEvaluator` takes, for one column `out`."""
    return json.dumps([{"name": "out", "expr": tree}])
