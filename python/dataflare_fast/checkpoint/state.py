"""The state of a job's operators as frames: how much each holds, and the rows of one with their bytes.

Read from a checkpoint, so that the answer is one moment of all operators and the job is not disturbed. Not
here: reading the files (`contents.py`). Called by `Job.state`.
"""

from __future__ import annotations

import polars as pl

from dataflare_fast.checkpoint.contents import CheckpointContents
from dataflare_fast.errors import CallError

__all__ = ["state_of_operator", "state_of_operators"]

_SCHEMA = {"operator": pl.String, "table": pl.String, "rows": pl.UInt64, "bytes": pl.UInt64}
_TEXT_HEAD = 16
"""Bytes that a text or list takes beside its own: where it lies."""


def state_of_operators(contents: CheckpointContents) -> pl.DataFrame:
    """One row for each state table, the largest first."""
    rows = [
        (*name.rsplit("/", 1), frame.height, frame.select(_row_bytes(frame)).to_series().sum())
        for name, frame in contents.state.items()
    ]
    made = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    return made.with_columns(epoch=pl.lit(contents.epoch, pl.UInt64)).sort("bytes", descending=True)


def state_of_operator(contents: CheckpointContents, operator: str) -> pl.DataFrame:
    """The rows of one operator's tables: keys, values, `table` and `bytes`.

    Raises:
        CallError: no operator of this name keeps state.
    """
    # An aggregate is two operators, of which `<name>.partial` holds what has not crossed to its worker yet.
    own = {
        name: frame
        for name, frame in contents.state.items()
        if name.rsplit("/", 1)[0] in (operator, f"{operator}.partial", f"{operator}.order")
    }
    frames = {name.rsplit("/", 1)[1]: frame for name, frame in own.items()}
    if not frames:
        known = sorted({name.rsplit("/", 1)[0] for name in contents.state})
        raise CallError(f"state: expected one of {known}, got '{operator}'")
    tables = [
        frame.with_columns(table=pl.lit(name), bytes=_row_bytes(frame)) for name, frame in frames.items()
    ]
    return pl.concat(tables, how="diagonal_relaxed")


def _row_bytes(frame: pl.DataFrame) -> pl.Expr:
    """What each row takes in memory, without what is shared by all rows."""
    parts = [_value_bytes(pl.col(name), dtype) for name, dtype in frame.schema.items()]
    return pl.sum_horizontal(parts).cast(pl.UInt64) if parts else pl.repeat(0, pl.len(), dtype=pl.UInt64)


def _value_bytes(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    match dtype:
        case pl.String() | pl.Categorical() | pl.Enum():
            return value.cast(pl.String).str.len_bytes().fill_null(0) + _TEXT_HEAD
        case pl.Binary():
            return value.bin.size().fill_null(0) + _TEXT_HEAD
        case pl.List():
            items = value.list.eval(_value_bytes(pl.element(), _inner(dtype)).cast(pl.UInt64))
            return items.list.sum().fill_null(0) + _TEXT_HEAD
        case pl.Array():
            return _value_bytes(value.arr.to_list(), pl.List(_inner(dtype)))
        case pl.Struct():
            fields = pl.Schema(dtype.to_schema()).items()
            return pl.sum_horizontal(_value_bytes(value.struct.field(name), inner) for name, inner in fields)
        case pl.Boolean() | pl.Int8() | pl.UInt8():
            return _constant(value, 1)
        case pl.Int16() | pl.UInt16():
            return _constant(value, 2)
        case pl.Int32() | pl.UInt32() | pl.Float32() | pl.Date():
            return _constant(value, 4)
        case pl.Decimal():
            return _constant(value, 16)
        case pl.Null():
            return _constant(value, 0)
        case _:
            return _constant(value, 8)


def _inner(dtype: pl.List | pl.Array) -> pl.DataType:
    return dtype.inner if isinstance(dtype.inner, pl.DataType) else dtype.inner()


def _constant(value: pl.Expr, size: int) -> pl.Expr:
    """The same for each row, also of nulls."""
    return value.is_null().cast(pl.UInt64) * 0 + size
