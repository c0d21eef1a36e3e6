"""Constants of an expression <-> the JSON values of `Expr::Literal` in `rust/plan/src/expression.rs`.

Physical values: days of a Date, ticks of a Datetime or Duration, nanoseconds of a Time, decimal text, base64.
Used by `row_wise.py` (to JSON) and `rebuilding.py` (back into a `pl.Expr`).
"""

from __future__ import annotations

import base64
import datetime as dt
import math
from decimal import Decimal
from typing import Any, Final

import polars as pl

from dataflare_fast.planner.schema import Json, dtype_from_json, dtype_to_json

__all__ = ["first_of_series", "literal_expression", "literal_to_json", "literal_values", "series_to_json"]

_MICROSECOND: Final = dt.timedelta(microseconds=1)
_EPOCH: Final = dt.datetime(1970, 1, 1)
_EPOCH_UTC: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def literal_to_json(value: Any, dtype: pl.DataType) -> Json:
    """Writes one constant, with its type."""
    return {"kind": "literal", "value": _value_to_json(value, dtype), "dtype": dtype_to_json(dtype)}


def series_to_json(values: pl.Series) -> Json:
    """Writes a series, such as the break points of `bin_intervals`, as a literal list."""
    physical = [_value_to_json(value, values.dtype) for value in _exact_values(values)]
    return {"kind": "literal", "value": physical, "dtype": {"list": dtype_to_json(values.dtype)}}


def first_of_series(values: pl.Series) -> Any:
    """The only value of a series, as `literal_to_json` takes it."""
    return _exact_values(values)[0]


def literal_expression(literal: Json) -> pl.Expr:
    """Rebuilds a constant as a scalar expression of exactly its type."""
    dtype = dtype_from_json(literal["dtype"])
    value = literal["value"]
    if value is None:
        # A typed null; of the Null type there is nothing to say.
        return pl.lit(None) if isinstance(dtype, pl.Null) else pl.lit(None, dtype=dtype)
    match dtype:
        case pl.Boolean() | pl.String():
            return pl.lit(value)
        case pl.Date():
            return pl.lit(value, dtype=pl.Int32).cast(dtype)
        case pl.Time() | pl.Datetime() | pl.Duration():
            return pl.lit(value, dtype=pl.Int64).cast(dtype)
        case pl.List() | pl.Array() | pl.Struct():
            # `first` makes it a scalar that broadcasts, like the constant it was.
            return pl.lit(literal_values([value], dtype)).first()
        case _:
            return pl.lit(_value_from_json(value, dtype), dtype=dtype)


def literal_values(values: list[Json], dtype: pl.DataType) -> pl.Series:
    """Reads many values of one type."""
    return pl.Series([_value_from_json(value, dtype) for value in values], dtype=_physical(dtype)).cast(dtype)


def _exact_values(values: pl.Series) -> list[Any]:
    # A Python datetime or time ends at microseconds; the physical number does not.
    exact = isinstance(values.dtype, pl.Date | pl.Time | pl.Datetime | pl.Duration)
    return (values.to_physical() if exact else values).to_list()


def _value_to_json(value: Any, dtype: pl.DataType) -> Json:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, pl.Series):
        value = _exact_values(value)
    match dtype:
        case pl.Float32() | pl.Float64():
            return _float_to_json(float(value))
        case pl.Decimal():
            return str(value)
        case pl.Binary():
            return base64.b64encode(value).decode("ascii")
        case pl.List() | pl.Array():
            inner = _instance(dtype.inner)
            return [_value_to_json(item, inner) for item in value]
        case pl.Struct():
            return {
                field.name: _value_to_json(value[field.name], _instance(field.dtype))
                for field in dtype.fields
            }
        case pl.Date() if isinstance(value, dt.date):
            return (value - _EPOCH.date()).days
        case pl.Time() if isinstance(value, dt.time):
            since = dt.timedelta(
                hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond
            )
            return since // _MICROSECOND * 1_000
        case pl.Datetime() if isinstance(value, dt.datetime):
            epoch = _EPOCH if value.tzinfo is None else _EPOCH_UTC
            return _ticks((value - epoch) // _MICROSECOND, dtype.time_unit)
        case pl.Duration() if isinstance(value, dt.timedelta):
            return _ticks(value // _MICROSECOND, dtype.time_unit)
        case _:
            return int(value)


def _ticks(microseconds: int, unit: str) -> int:
    match unit:
        case "ns":
            return microseconds * 1_000
        case "ms":
            return microseconds // 1_000
        case _:
            return microseconds


def _float_to_json(value: float) -> Json:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def _value_from_json(value: Json, dtype: pl.DataType) -> Any:
    """A value that a series of type `_physical(dtype)` takes."""
    if value is None:
        return None
    match dtype:
        case pl.Float32() | pl.Float64():
            return float(value)
        case pl.Decimal():
            return Decimal(value)
        case pl.Binary():
            return base64.b64decode(value)
        case pl.List() | pl.Array():
            inner = _instance(dtype.inner)
            return [_value_from_json(item, inner) for item in value]
        case pl.Struct():
            return {
                field.name: _value_from_json(value[field.name], _instance(field.dtype))
                for field in dtype.fields
            }
        case _:
            return value


def _physical(dtype: pl.DataType) -> pl.DataType:
    match dtype:
        case pl.Date():
            return pl.Int32()
        case pl.Time() | pl.Datetime() | pl.Duration():
            return pl.Int64()
        case pl.List():
            return pl.List(_physical(_instance(dtype.inner)))
        case pl.Array():
            return pl.Array(_physical(_instance(dtype.inner)), dtype.size)
        case pl.Struct():
            return pl.Struct({field.name: _physical(_instance(field.dtype)) for field in dtype.fields})
        case _:
            return dtype


def _instance(dtype: Any) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()
