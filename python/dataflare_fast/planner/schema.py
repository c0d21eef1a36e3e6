"""Polars data types <-> the JSON form of `rust/plan/src/schema.rs`.

Not here: how a type lies in memory. Used by the planner for every node, and by `residual.py`
to rebuild expressions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

import polars as pl
from polars.datatypes import DataTypeClass

from dataflare_fast.errors import CallError, InternalError

__all__ = [
    "Json",
    "dtype_from_json",
    "dtype_to_json",
    "schema_from_json",
    "schema_to_json",
    "why_unsupported",
]

Json: TypeAlias = Any
"""A value that `json.dumps` takes."""

_PLAIN: dict[DataTypeClass, str] = {
    pl.Null: "null",
    pl.Boolean: "boolean",
    pl.Int8: "int8",
    pl.Int16: "int16",
    pl.Int32: "int32",
    pl.Int64: "int64",
    pl.UInt8: "uint8",
    pl.UInt16: "uint16",
    pl.UInt32: "uint32",
    pl.UInt64: "uint64",
    pl.Float32: "float32",
    pl.Float64: "float64",
    pl.String: "string",
    pl.Binary: "binary",
    pl.Date: "date",
    pl.Time: "time",
    pl.Categorical: "categorical",
}
_PLAIN_BACK: dict[str, DataTypeClass] = {name: dtype for dtype, name in _PLAIN.items()}


def why_unsupported(dtype: pl.DataType) -> str | None:
    """Says which type inside `dtype` the engine does not have, or None if it has all of them."""
    if isinstance(dtype, pl.Int128 | pl.UInt128):
        return f"{dtype} is wider than 64 bits (Polars makes it of Int64 and UInt64: cast one of them)"
    if isinstance(dtype, pl.List | pl.Array):
        return why_unsupported(_inner(dtype))
    if isinstance(dtype, pl.Struct):
        reasons = (why_unsupported(_instance(field.dtype)) for field in dtype.fields)
        return next((reason for reason in reasons if reason), None)
    if isinstance(dtype, pl.Decimal | pl.Datetime | pl.Duration | pl.Enum) or type(dtype) in _PLAIN:
        return None
    return f"{dtype} is not a type of the engine"


def dtype_to_json(dtype: pl.DataType) -> Json:
    """Writes a data type.

    Raises:
        CallError: a type that the engine does not have; ask `why_unsupported` first to name the column.
    """
    if (plain := _PLAIN.get(type(dtype))) is not None:
        return plain
    match dtype:
        case pl.Decimal():
            return {"decimal": {"precision": dtype.precision or 38, "scale": dtype.scale}}
        case pl.Datetime():
            return {"datetime": {"unit": dtype.time_unit, "zone": dtype.time_zone}}
        case pl.Duration():
            return {"duration": {"unit": dtype.time_unit}}
        case pl.Enum():
            return {"enum": {"categories": dtype.categories.to_list()}}
        case pl.List():
            return {"list": dtype_to_json(_inner(dtype))}
        case pl.Array():
            return {"array": {"inner": dtype_to_json(_inner(dtype)), "width": dtype.size}}
        case pl.Struct():
            return {"struct": [_field_to_json(field.name, _instance(field.dtype)) for field in dtype.fields]}
        case _:
            raise CallError(why_unsupported(dtype) or f"{dtype} is not a type of the engine")


def dtype_from_json(value: Json) -> pl.DataType:
    """Reads a data type.

    Raises:
        InternalError: not a data type of the plan.
    """
    if isinstance(value, str) and value in _PLAIN_BACK:
        return _instance(_PLAIN_BACK[value])
    if isinstance(value, dict) and len(value) == 1:
        (kind, parts), *_ = value.items()
        match kind:
            case "decimal":
                return pl.Decimal(parts["precision"], parts["scale"])
            case "datetime":
                return pl.Datetime(parts["unit"], parts["zone"])
            case "duration":
                return pl.Duration(parts["unit"])
            case "enum":
                return pl.Enum(parts["categories"])
            case "list":
                return pl.List(dtype_from_json(parts))
            case "array":
                return pl.Array(dtype_from_json(parts["inner"]), parts["width"])
            case "struct":
                return pl.Struct({field["name"]: dtype_from_json(field["dtype"]) for field in parts})
    raise InternalError(f"expected a data type of the plan, got {value!r}")


def schema_to_json(schema: Mapping[str, pl.DataType]) -> list[Json]:
    """Writes the columns of a frame, in order.

    Raises:
        CallError: a column whose type the engine does not have, by name.
    """
    for name, dtype in schema.items():
        if (reason := why_unsupported(dtype)) is not None:
            raise CallError(f"column '{name}': {reason}")
    return [_field_to_json(name, dtype) for name, dtype in schema.items()]


def schema_from_json(fields: list[Json]) -> pl.Schema:
    """Reads the columns of a frame.

    Raises:
        InternalError: not a schema of the plan.
    """
    return pl.Schema({field["name"]: dtype_from_json(field["dtype"]) for field in fields})


def _field_to_json(name: str, dtype: pl.DataType) -> Json:
    return {"name": name, "dtype": dtype_to_json(dtype)}


def _inner(dtype: pl.List | pl.Array) -> pl.DataType:
    # Array(Int8, (2, 3)) is an array of arrays; its `inner` is already the outer element.
    return _instance(dtype.inner)


def _instance(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else cast("pl.DataType", dtype())
