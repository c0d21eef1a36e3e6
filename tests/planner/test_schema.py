"""The JSON form of data types goes there and back."""

from __future__ import annotations

import polars as pl
import pytest

from dataflare_fast.errors import CallError
from dataflare_fast.planner.schema import dtype_from_json, dtype_to_json, schema_to_json

TYPES = [
    pl.Null(),
    pl.Boolean(),
    pl.UInt8(),
    pl.Int64(),
    pl.Float32(),
    pl.Decimal(12, 3),
    pl.String(),
    pl.Binary(),
    pl.Date(),
    pl.Time(),
    pl.Datetime("us"),
    pl.Datetime("ns", "Europe/Berlin"),
    pl.Duration("ms"),
    pl.Categorical(),
    pl.Enum(["a", "b"]),
    pl.List(pl.List(pl.Int8)),
    pl.Array(pl.Int8, 3),
    pl.Array(pl.Int8, (2, 3)),
    pl.Struct({"x": pl.Int64, "y": pl.List(pl.String)}),
]


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_type_comes_back_as_it_went(dtype: pl.DataType) -> None:
    assert dtype_from_json(dtype_to_json(dtype)) == dtype


def test_json_is_the_form_of_the_rust_plan() -> None:
    schema = {"ts": pl.Datetime("us"), "n": pl.UInt32(), "tags": pl.List(pl.String)}
    assert schema_to_json(schema) == [
        {"name": "ts", "dtype": {"datetime": {"unit": "us", "zone": None}}},
        {"name": "n", "dtype": "uint32"},
        {"name": "tags", "dtype": {"list": "string"}},
    ]


@pytest.mark.parametrize(
    "dtype", [pl.Int128(), pl.Object(), pl.List(pl.Int128), pl.Struct({"x": pl.Int128})], ids=str
)
def test_type_that_the_engine_lacks_is_refused_by_column(dtype: pl.DataType) -> None:
    with pytest.raises(CallError, match="column 'wide'"):
        schema_to_json({"wide": dtype})
