"""`udf.pointer_function`: numba, ctypes and cffi beside Cython in `.stream.map_native`."""

from __future__ import annotations

import ctypes
import ctypes.util
from typing import Any

import polars as pl
import pytest

import dataflare_fast as dff
from dataflare_fast import udf
from dataflare_fast.errors import CallError, DataflareError

ROWS = pl.DataFrame({"a": [4.0, None, 9.0] * 20, "n": range(60)})
DOUBLES = ctypes.POINTER(ctypes.c_double)


def through_engine(function: udf.NativeFunction, schema: dict[str, Any]) -> pl.DataFrame:
    query = dff.from_batches([ROWS[:20], ROWS[20:]]).stream.map_native(function, schema)
    dff.testing.check(query, seeds=10)
    return query.collect(engine=dff.Engine(parallelism=2))


def of_math_library(name: str, arguments: list[Any], result: Any) -> Any:
    function = ctypes.CDLL(ctypes.util.find_library("m"))[name]
    function.argtypes, function.restype = arguments, result
    return function


def test_ctypes_function_of_a_value() -> None:
    root = udf.pointer_function(
        of_math_library("sqrt", [ctypes.c_double], ctypes.c_double), reads="a", writes="root"
    )
    found = through_engine(root, {"a": pl.Float64, "n": pl.Int64, "root": pl.Float64})
    assert found["root"].to_list() == [2.0, None, 3.0] * 20


def test_ctypes_function_of_a_column_may_refuse_it() -> None:
    @ctypes.CFUNCTYPE(ctypes.c_int, DOUBLES, DOUBLES, ctypes.c_int64, ctypes.c_void_p)  # type: ignore[untyped-decorator]
    def halves(values: Any, out: Any, count: int, _options: Any) -> int:
        for row in range(count):
            out[row] = values[row] / 2
        return 1 if count and values[0] == 9.0 else 0

    schema = {"a": pl.Float64, "n": pl.Int64}
    half = udf.pointer_function(halves, reads="a")
    fine = dff.from_batches(ROWS[:2]).stream.map_native(half, schema)
    assert fine.collect(engine=dff.Engine())["a"].to_list() == [2.0, None]
    with pytest.raises(DataflareError, match="map_native"):
        dff.from_batches(ROWS[2:3]).stream.map_native(half, schema).collect(engine=dff.Engine())


def test_cffi_function_of_a_value() -> None:
    cffi = pytest.importorskip("cffi")
    ffi = cffi.FFI()
    ffi.cdef("double sqrt(double);")
    root = udf.pointer_function(ffi.dlopen(ctypes.util.find_library("m")).sqrt, reads="a")
    found = through_engine(root, {"a": pl.Float64, "n": pl.Int64})
    assert found["a"].to_list() == [2.0, None, 3.0] * 20


def test_cffi_function_of_a_column_has_a_signature_of_the_contract() -> None:
    cffi = pytest.importorskip("cffi")
    ffi = cffi.FFI()

    @ffi.callback("int(const int64_t *, int64_t *, int64_t, void *)")  # type: ignore[untyped-decorator]
    def next_one(values: Any, out: Any, count: int, _options: Any) -> int:
        for row in range(count):
            out[row] = values[row] + 1
        return 0

    following = udf.pointer_function(next_one, reads="n")
    assert following(ROWS)["n"].to_list() == list(range(1, 61))


def test_numba_cfunc() -> None:
    numba = pytest.importorskip("numba")
    twice = numba.cfunc("float64(float64)")(lambda value: value * 2)
    found = through_engine(udf.pointer_function(twice, reads="a"), {"a": pl.Float64, "n": pl.Int64})
    assert found["a"].to_list() == [8.0, None, 18.0] * 20


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (of_math_library("sqrt", [ctypes.c_float], ctypes.c_float), "'c_float"),
        (of_math_library("sqrt", [], ctypes.c_double), "needs argtypes and restype"),
        (abs, "expected a numba cfunc, a ctypes function or a cffi function pointer"),
    ],
)
def test_other_functions_are_refused(function: Any, message: str) -> None:
    with pytest.raises(CallError, match=message):
        udf.pointer_function(function, reads="a")
