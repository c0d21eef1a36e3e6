"""The ABI of native functions: frozen signature strings, and batches through compiled functions."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest
from Cython.Build import cythonize
from polars.testing import assert_frame_equal
from setuptools import Distribution, Extension

from dataflare_fast import _native, udf
from dataflare_fast.errors import CallError, DataError

EXAMPLE = Path(__file__).parent.parent / "examples" / "native_function" / "prices.pyx"
MORE = """# cython: cdivision=True
from libc.stdint cimport int64_t
ctypedef api double money

cdef api int64_t hundred_by(int64_t value) noexcept nogil:
    return 100 // value  # 0, which a null slot holds, would end the process

cdef api int refuse_negative(const double *values, double *results, int64_t rows, void *state) noexcept nogil:
    cdef int64_t row
    for row in range(rows):
        if values[row] < 0:
            return 7
        results[row] = values[row]
    return 0

cdef api money typedef_of_mine(money value) noexcept nogil:
    return value
"""


def compiled(name: str, source: str, folder: Path) -> ModuleType:
    (folder / f"{name}.pyx").write_text(source)
    modules = cythonize(
        [Extension(name, [str(folder / f"{name}.pyx")], extra_compile_args=["-O0", "-w"])],
        build_dir=str(folder),
        language_level=3,
        quiet=True,
    )
    command = Distribution({"name": name, "ext_modules": modules}).get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(folder), str(folder)
    command.ensure_finalized()
    command.run()
    path = next(file for file in folder.glob(f"{name}*") if file.suffix in {".so", ".pyd"})
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return compiled("prices", EXAMPLE.read_text(), tmp_path_factory.mktemp("prices"))


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return compiled("more", MORE, tmp_path_factory.mktemp("more"))


def test_signature_strings_are_frozen() -> None:
    assert _native.SIGNATURES == (
        "double (double)",
        "int64_t (int64_t)",
        "int (double const *, double *, int64_t, void *)",
        "int (int64_t const *, int64_t *, int64_t, void *)",
    )


def test_cython_writes_the_frozen_strings(prices: ModuleType, more: ModuleType) -> None:
    exported = {**prices.__pyx_capi__, **more.__pyx_capi__}
    found = {name: repr(capsule).split('"')[1] for name, capsule in exported.items()}
    assert found["to_euro"] == "double (double)"
    assert found["hundred_by"] == "int64_t (int64_t)"
    assert found["refuse_negative"] == "int (double const *, double *, int64_t, void *)"
    assert found["double_and_add_one"] == "int (int64_t const *, int64_t *, int64_t, void *)"


def test_capsule_has_the_frozen_name(prices: ModuleType) -> None:
    function = udf.column_function(prices, "to_euro", reads="price")
    assert '"dataflare_fast.udf.v1"' in repr(function.capsule)
    assert function.text == "prices.to_euro(price) -> price"


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 1000])
@pytest.mark.parametrize("skip", [0, 3, 8])
def test_column_is_added_and_nulls_stay_null(prices: ModuleType, rows: int, skip: int) -> None:
    values = [None if row % 3 == 1 else row / 4 for row in range(rows + skip)]
    frame = pl.DataFrame({"price": pl.Series(values, dtype=pl.Float64)}).slice(skip)
    frame = frame.with_columns(name=pl.lit("a name longer than twelve bytes"), at=pl.lit([1, 2]))
    function = udf.column_function(prices, "to_euro", reads="price", writes="euro")
    assert_frame_equal(function(frame), frame.with_columns(euro=pl.col("price") * 0.908))


def test_column_is_replaced_in_place(prices: ModuleType) -> None:
    frame = pl.DataFrame({"a": [1, None, 3], "b": ["x", "y", None]})
    function = udf.column_function(prices, "double_and_add_one", reads="a")
    assert_frame_equal(function(frame), frame.with_columns(pl.col("a") * 2 + 1))
    assert_frame_equal(frame, pl.DataFrame({"a": [1, None, 3], "b": ["x", "y", None]}))


def test_function_of_one_value_is_not_called_for_nulls(more: ModuleType) -> None:
    frame = pl.DataFrame({"a": [4, None, 50]})
    assert udf.column_function(more, "hundred_by", reads="a")(frame)["a"].to_list() == [25, None, 2]


def test_nan_and_infinity_pass(prices: ModuleType) -> None:
    frame = pl.DataFrame({"price": [math.nan, math.inf, -0.0]})
    function = udf.column_function(prices, "to_euro", reads="price")
    assert str(function(frame)["price"].to_list()) == "[nan, inf, -0.0]"


def test_function_outlives_its_module_and_results_outlive_the_function(more: ModuleType) -> None:
    references = sys.getrefcount(more)
    function = udf.column_function(more, "refuse_negative", reads="a", writes="b")
    assert sys.getrefcount(more) == references + 1
    result = function(pl.DataFrame({"a": [1.5, 2.5]}))
    del function
    assert sys.getrefcount(more) == references
    assert result["b"].to_list() == [1.5, 2.5]


def test_refused_batch_is_an_error_of_the_data(more: ModuleType) -> None:
    function = udf.column_function(more, "refuse_negative", reads="a")
    with pytest.raises(
        DataError, match=r"more\.refuse_negative: returned 7 for column 'a' in a batch of 2 rows"
    ):
        function(pl.DataFrame({"a": [1.0, -1.0]}))


def test_missing_column_is_named(prices: ModuleType) -> None:
    function = udf.column_function(prices, "to_euro", reads="prise")
    with pytest.raises(CallError, match=r"prices\.to_euro: expected a column 'prise'"):
        function(pl.DataFrame({"price": [1.0]}))


def test_column_of_another_type_is_named(prices: ModuleType) -> None:
    function = udf.column_function(prices, "to_euro", reads="price")
    with pytest.raises(CallError, match=r"expected Float64 in column 'price', got Arrow format 'l'; cast"):
        function(pl.DataFrame({"price": [1]}))


def test_typedef_is_refused_with_the_signatures_that_work(more: ModuleType) -> None:
    with pytest.raises(
        CallError, match=r"more\.typedef_of_mine: expected .*'double \(double\)'.* got 'money \(money\)'"
    ):
        udf.column_function(more, "typedef_of_mine", reads="a")


def test_unknown_function_lists_what_the_module_exports(prices: ModuleType) -> None:
    with pytest.raises(
        CallError, match=r"expected one of \['double_and_add_one', 'to_euro'\].* got 'to_eur'"
    ):
        udf.column_function(prices, "to_eur", reads="a")


def test_python_module_is_refused() -> None:
    with pytest.raises(CallError, match=r"math\.sqrt: expected a compiled Cython module"):
        udf.column_function(math, "sqrt", reads="a")


def test_foreign_capsule_is_refused(prices: ModuleType) -> None:
    with pytest.raises(CallError, match=r"expected a capsule named 'dataflare_fast\.udf\.v1'"):
        udf.NativeFunction(prices.__pyx_capi__["to_euro"], "mine")


def test_header_and_modules_agree_on_the_version() -> None:
    header = (Path(__file__).parent.parent / "cython_ext" / "dataflare_udf.h").read_text()
    assert '#define DFF_UDF_CAPSULE "dataflare_fast.udf.v1"' in header
    assert "#define DFF_UDF_ABI_VERSION 1\n" in header
