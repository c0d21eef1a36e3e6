"""Native functions: compiled code that the engine calls once per Arrow batch, without the GIL.

Not here: the ABI (`cython_ext/dataflare_udf.h`) and its adapters (`_native`). Called by users, who hand the
result to `.stream.map_native(function, schema)`, and by the reader of that word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

import polars as pl

from dataflare_fast import _native
from dataflare_fast.errors import CallError

__all__ = ["NativeFunction", "column_function"]


@dataclass(frozen=True, slots=True)
class NativeFunction:
    """A compiled function from one batch to one batch with as many rows.

    Args:
        capsule: a PyCapsule named `dataflare_fast.udf.v1`, from `column_function` or from any code that
            includes `dataflare_udf.h`.
        text: names it in `explain`, in messages and in checkpoints.

    Raises:
        CallError: `capsule` is something else.
    """

    capsule: object
    text: str

    def __post_init__(self) -> None:
        if not _native.is_native_function(self.capsule):
            raise CallError(
                f"{self.text}: expected a capsule named 'dataflare_fast.udf.v1', got {self.capsule!r}; "
                "dataflare_fast.udf.column_function makes one from a Cython module"
            )

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Runs it on a whole frame, as the engine does on each batch; other columns are not copied.

        Raises:
            CallError: it cannot take the frame's columns.
            DataError: it refused the data.
        """
        batch = frame.to_struct("batch").rechunk().to_arrow()
        return pl.DataFrame(_Batch(*_native.call(self.capsule, *batch.__arrow_c_array__())))


@dataclass(frozen=True, slots=True)
class _Batch:
    """A batch that Polars can take over by the Arrow PyCapsule interface."""

    schema: object
    array: object

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        return self.schema, self.array


def column_function(
    module: ModuleType, name: str, *, reads: str, writes: str | None = None
) -> NativeFunction:
    """Takes a function of a compiled Cython module that turns one column into another.

    The function has one of the C signatures `double (double)`, `int64_t (int64_t)`,
    `int (const double *, double *, int64_t, void *)` or `int (const int64_t *, int64_t *, int64_t, void *)`;
    the last two get a column, room for the result, the number of rows and NULL, and return 0, or any other
    number to refuse the batch. Nulls stay null; a function of a column finds arbitrary values in their
    places. It must be declared `noexcept nogil` and be safe to call from several threads: no check can find a
    function that needs the GIL.

    Args:
        module: the Cython module, with a `.pxd` or `cdef api` declaration for the function.
        name: the function's name.
        reads: the column that it reads: Float64 or Int64, as the signature says.
        writes: the column that it writes, of the same type; a new one stands last. Default: `reads`.

    Returns:
        A function for `.stream.map_native`.

    Raises:
        CallError: no such function, or another signature.
    """
    label = f"{module.__name__}.{name}"
    functions = getattr(module, "__pyx_capi__", None)
    if not isinstance(functions, Mapping):
        raise CallError(
            f"{label}: expected a compiled Cython module that exports C functions, got {module!r}"
        )
    if name not in functions:
        raise CallError(
            f"{label}: expected one of {sorted(functions)}, which the module exports, got {name!r}"
        )
    writes = reads if writes is None else writes
    capsule = _native.column_function(functions[name], module, label, reads, writes)
    return NativeFunction(capsule, f"{label}({reads}) -> {writes}")
