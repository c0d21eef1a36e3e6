"""Random expressions over random rows: the engine's kernels give what Polars gives, bit for bit."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.planner.expressions.expression_data import bits, read, residual_json

from dataflare_fast import _core
from dataflare_fast.planner.expressions import ExpressionContext, translate
from dataflare_fast.planner.refusals import Refusals
from dataflare_fast.planner.schema import schema_to_json

Strategy = st.SearchStrategy[pl.Expr]

SCHEMA = pl.Schema(
    {
        "i": pl.Int64(),
        "j": pl.Int64(),
        "k": pl.Int32(),
        "u": pl.UInt8(),
        "f": pl.Float64(),
        "g": pl.Float32(),
        "b": pl.Boolean(),
        "c": pl.Boolean(),
        "s": pl.String(),
        "p": pl.String(),
        "t": pl.Datetime("us"),
        "d": pl.Date(),
        "z": pl.Datetime("ms", "Europe/Oslo"),
        "v": pl.Duration("us"),
        "w": pl.Time(),
        "m": pl.Decimal(12, 2),
        "n": pl.Decimal(12, 4),
    }
)


def _values(*special: object, other: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.one_of(st.none(), st.sampled_from(special), other)


_INT = _values(0, 1, -1, 2**63 - 1, -(2**63), other=st.integers(-20, 20))
_FLOAT = _values(0.0, -0.0, float("nan"), float("inf"), -float("inf"), 5e-324, 1.5, other=st.floats(-9, 9))
_TEXT = _values("", " a ", "Straße", "İi", "👍🏽", "aaa", other=st.text("aAß.日 x", max_size=6))
_CELLS: dict[str, st.SearchStrategy[object]] = {
    "i": _INT,
    "j": _INT,
    "k": _values(0, -1, 2**31 - 1, -(2**31), other=st.integers(-9, 9)),
    "u": _values(0, 255, other=st.integers(0, 255)),
    "f": _FLOAT,
    "g": _values(0.0, -0.0, float("nan"), float("inf"), 1e-45, other=st.floats(-9, 9, width=32)),
    "b": st.one_of(st.none(), st.booleans()),
    "c": st.one_of(st.none(), st.booleans()),
    "s": _TEXT,
    "p": _TEXT,
    "t": st.one_of(st.none(), st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31))),
    "d": st.one_of(st.none(), st.dates()),
    "z": st.one_of(st.none(), st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 12, 31))),
    "v": st.one_of(st.none(), st.timedeltas(dt.timedelta(days=-9), dt.timedelta(days=9))),
    "w": st.one_of(st.none(), st.times()),
    "m": st.one_of(st.none(), st.decimals(-9, 9, places=2)),
    "n": st.one_of(st.none(), st.decimals(-9, 9, places=4)),
}


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    rows = draw(st.integers(1, 9))
    columns = {name: draw(st.lists(cells, min_size=rows, max_size=rows)) for name, cells in _CELLS.items()}
    naive = pl.Schema({**SCHEMA, "z": pl.Datetime("ms")})
    # A local time in the gap of spring has no instant.
    return pl.DataFrame(columns, schema=naive).with_columns(
        pl.col("z").dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Oslo")
    )


def _columns(*names: str) -> Strategy:
    return st.sampled_from(names).map(pl.col)


def _either(first: Strategy, second: Strategy, *makers: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Strategy:
    return st.builds(lambda make, left, right: make(left, right), st.sampled_from(makers), first, second)


def _one(of: Strategy, *makers: Callable[[pl.Expr], pl.Expr]) -> Strategy:
    return st.builds(lambda make, input_: make(input_), st.sampled_from(makers), of)


def _when(of: Strategy) -> Strategy:
    return st.builds(lambda p, x, y: pl.when(p).then(x).otherwise(y), st.deferred(lambda: conditions), of, of)


_ARITHMETIC = (pl.Expr.add, pl.Expr.sub, pl.Expr.mul, pl.Expr.floordiv, pl.Expr.mod, pl.Expr.fill_null)
_COMPARISONS = (pl.Expr.eq, pl.Expr.ne, pl.Expr.lt, pl.Expr.le, pl.Expr.gt, pl.Expr.ge, pl.Expr.eq_missing)

integers: Strategy = st.deferred(
    lambda: st.one_of(
        _columns("i", "j", "k", "u"),
        st.integers(-3, 3).map(lambda value: pl.lit(value, dtype=pl.Int64)),
        _either(integers, integers, *_ARITHMETIC, lambda x, y: pl.coalesce(x, y)),
        _one(
            integers,
            pl.Expr.abs,
            lambda x: x.cast(pl.Int64, strict=False),
            lambda x: x.cast(pl.Int8, wrap_numerical=True),
            lambda x: x.cast(pl.Int16, strict=False),
        ),
        _one(floats, lambda x: x.cast(pl.Int64, strict=False)),
        _one(
            texts,
            lambda x: x.str.len_chars(),
            lambda x: x.str.len_bytes(),
            lambda x: x.cast(pl.Int64, strict=False),
        ),
        _one(
            times,
            lambda x: x.dt.year(),
            lambda x: x.dt.month(),
            lambda x: x.dt.day(),
            lambda x: x.dt.weekday(),
            lambda x: x.dt.timestamp("ms"),
        ),
        _one(_columns("t", "z"), lambda x: x.dt.hour(), lambda x: x.dt.minute(), lambda x: x.dt.second()),
        _when(integers),
    )
)
floats: Strategy = st.deferred(
    lambda: st.one_of(
        _columns("f", "g"),
        st.sampled_from([0.5, -2.0, 0.0]).map(pl.lit),
        _either(floats, floats, *_ARITHMETIC, pl.Expr.truediv),
        _either(integers, integers, pl.Expr.truediv),
        _one(floats, pl.Expr.abs, pl.Expr.neg, lambda x: x.fill_nan(0.25), lambda x: x.cast(pl.Float32)),
        _one(integers, lambda x: x.cast(pl.Float64)),
        _when(floats),
    )
)
texts: Strategy = st.deferred(
    lambda: st.one_of(
        _columns("s", "p"),
        st.sampled_from(["", "a", "ß"]).map(pl.lit),
        _one(
            texts,
            lambda x: x.str.to_lowercase(),
            lambda x: x.str.to_uppercase(),
            lambda x: x.str.strip_chars(),
            lambda x: x.str.strip_chars("a "),
            lambda x: x.str.slice(1, 2),
            lambda x: x.str.slice(-2),
            lambda x: x.str.replace("a", "<$0>"),
            lambda x: x.str.replace_all("a", "ß", literal=True),
            lambda x: x.fill_null("none"),
        ),
        _one(integers, lambda x: x.cast(pl.String)),
        _when(texts),
    )
)
times: Strategy = st.deferred(
    lambda: st.one_of(
        _columns("t", "d", "z"),
        _one(
            _columns("z"),
            lambda x: x.dt.truncate("1d"),
            lambda x: x.dt.truncate("1h"),
            lambda x: x.dt.date(),
            lambda x: x.dt.convert_time_zone("America/St_Johns"),
        ),
        _either(_columns("t", "z"), spans, pl.Expr.add, pl.Expr.sub),
        _one(
            _columns("t"),
            lambda x: x.dt.truncate("10s"),
            lambda x: x.dt.truncate("1d"),
            lambda x: x.dt.date(),
        ),
        _one(_columns("d"), lambda x: x.cast(pl.Datetime("ms")), lambda x: x.dt.truncate("1w")),
    )
)
spans: Strategy = st.deferred(
    lambda: st.one_of(
        _columns("v"),
        st.sampled_from([dt.timedelta(hours=1), dt.timedelta(days=-1, microseconds=1)]).map(pl.lit),
        _either(_columns("t"), _columns("t"), pl.Expr.sub),
        _either(_columns("d"), _columns("d"), pl.Expr.sub),
        _either(spans, spans, pl.Expr.add, pl.Expr.sub),
        _one(spans, lambda x: x * 3, lambda x: x // 2, pl.Expr.neg, pl.Expr.abs),
        _when(spans),
    )
)
decimals: Strategy = st.deferred(
    lambda: st.one_of(
        _columns("m", "n"),
        _either(_columns("m", "n"), _columns("m", "n"), pl.Expr.add, pl.Expr.sub, pl.Expr.mul),
        _when(_columns("m")),
    )
)
conditions: Strategy = st.deferred(
    lambda: st.one_of(
        _columns("b", "c"),
        _either(integers, integers, *_COMPARISONS),
        _either(floats, floats, *_COMPARISONS),
        _either(texts, texts, *_COMPARISONS),
        _either(times, times, *_COMPARISONS),
        _either(spans, spans, *_COMPARISONS),
        _either(_columns("w"), _columns("w"), *_COMPARISONS),
        _either(decimals, decimals, *_COMPARISONS),
        _one(_columns("z"), lambda x: x.dt.hour() > 3, lambda x: x.dt.weekday() == 1),
        _either(conditions, conditions, pl.Expr.and_, pl.Expr.or_, pl.Expr.xor),
        _one(conditions, pl.Expr.not_, lambda x: x.fill_null(False)),
        _one(integers, pl.Expr.is_null, lambda x: x.is_in([0, 1, None]), lambda x: x.is_between(-1, 5)),
        _one(
            floats,
            pl.Expr.is_nan,
            pl.Expr.is_finite,
            lambda x: x.is_in([0.0, float("nan")]),
            lambda x: x.is_between(0.0, float("inf"), closed="left"),
        ),
        _one(
            texts,
            pl.Expr.is_not_null,
            lambda x: x.is_in(["", "a"]),
            lambda x: x.str.starts_with("a"),
            lambda x: x.str.ends_with("ß"),
            lambda x: x.str.contains("a+"),
            lambda x: x.str.contains(".", literal=True),
        ),
    )
)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(frame=frames(), expr=st.one_of(integers, floats, texts, times, spans, decimals, conditions))
def test_random_expression_gives_what_polars_gives(frame: pl.DataFrame, expr: pl.Expr) -> None:
    try:
        expected = frame.with_columns(expr.alias("out"))["out"]
    except (pl.exceptions.InvalidOperationError, pl.exceptions.SchemaError):
        return  # types that Polars does not bring together
    refusals = Refusals()
    tree = translate(read(expr, frame), ExpressionContext(frame.schema, refusals))
    if len(refusals):
        return  # Int128, of Int64 with UInt64
    schema = json.dumps(schema_to_json(frame.schema))
    got = pl.DataFrame(_core.evaluate(residual_json(tree), schema, frame)).to_series()
    assert got.dtype == expected.dtype
    assert bits(got) == bits(expected), json.dumps(tree)
