"""Native functions from C function pointers: numba's `cfunc`, ctypes and cffi.

They speak the same four C signatures as functions of Cython modules (`native.py`), and go through the same
adapters. Not here: those adapters (`_native`). Called by users.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any, Final, cast

from dataflare_fast import _native
from dataflare_fast.errors import CallError
from dataflare_fast.udf.native import NativeFunction

__all__ = ["pointer_function"]

# The base of all ctypes functions; ctypes has no public name for it.
_CFunction: Final[type] = cast("Any", ctypes)._CFuncPtr
_VALUES: Final = ("double", "int64_t")
# The names of the capsules, which must live as long as these: for ever.
_NAMES: Final = {
    signature: signature.encode()
    for value in _VALUES
    for signature in (f"{value} ({value})", f"int ({value} const *, {value} *, int64_t, void *)")
}


def pointer_function(function: Any, *, reads: str, writes: str | None = None) -> NativeFunction:
    """Takes a compiled function by its pointer: a numba `cfunc`, a ctypes function or a cffi one.

    It has one of the C signatures `double (double)`, `int64_t (int64_t)`,
    `int (const double *, double *, int64_t, void *)` or `int (const int64_t *, int64_t *, int64_t, void *)`,
    as in `column_function`, and is called without the GIL, from several threads.

    Args:
        function: a numba `cfunc`; a ctypes function whose `argtypes` and `restype` are set; a cffi function
            pointer (`ffi.addressof(lib, "name")`, or `lib.name` of an ABI-mode library).
        reads: the column that it reads: Float64 or Int64, as the signature says.
        writes: the column that it writes, of the same type; a new one stands last. Default: `reads`.

    Returns:
        A function for `.stream.map_native`.

    Raises:
        CallError: no function pointer, or another signature.

    Example:
        >>> import ctypes, ctypes.util
        >>> import polars as pl
        >>> import dataflare_fast as dff
        >>> sqrt = ctypes.CDLL(ctypes.util.find_library("m")).sqrt
        >>> sqrt.argtypes, sqrt.restype = [ctypes.c_double], ctypes.c_double
        >>> root = dff.udf.pointer_function(sqrt, reads="a", writes="root")
        >>> schema = {"a": pl.Float64, "root": pl.Float64}
        >>> frame = pl.LazyFrame({"a": [4.0, 9.0]}).stream.map_native(root, schema)
        >>> frame.collect(engine=dff.Engine())["root"].to_list()
        [2.0, 3.0]
    """
    label, signature, address = _described(function)
    if signature not in _NAMES:
        raise CallError(
            f"{label}: expected one of the C signatures {sorted(_NAMES)}, got '{signature}'; "
            "a ctypes function needs argtypes and restype"
        )
    new_capsule = ctypes.pythonapi.PyCapsule_New
    new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    new_capsule.restype = ctypes.py_object
    pointer = new_capsule(address, _NAMES[signature], None)
    writes = reads if writes is None else writes
    # The adapter keeps `function` alive, and with it the code behind the pointer.
    capsule = _native.column_function(pointer, function, label, reads, writes)
    return NativeFunction(capsule, f"{label}({reads}) -> {writes}")


def _described(function: Any) -> tuple[str, str, int]:
    """Name, C signature and address."""
    if isinstance(function, _CFunction):
        return _of_ctypes(function, str(getattr(function, "__name__", "a ctypes function")))
    typed = getattr(function, "ctypes", None)
    if isinstance(typed, _CFunction) and isinstance(getattr(function, "address", None), int):
        name = getattr(function, "native_name", None) or "a numba cfunc"
        return _of_ctypes(typed, str(getattr(getattr(function, "_pyfunc", None), "__qualname__", name)))
    backend = sys.modules.get("_cffi_backend")
    if backend is not None and isinstance(function, backend.FFI.CData):
        return _of_cffi(function)
    raise CallError(
        "pointer_function: expected a numba cfunc, a ctypes function or a cffi function pointer, "
        f"got {function!r}"
    )


def _of_ctypes(function: Any, name: str) -> tuple[str, str, int]:
    arguments = ", ".join(_c_type(one, index) for index, one in enumerate(function.argtypes or ()))
    address = ctypes.cast(function, ctypes.c_void_p).value
    if address is None:
        raise CallError(f"{name}: expected a function, got a null pointer")
    return name, f"{_c_type(function.restype, None)} ({arguments})", address


def _c_type(dtype: Any, index: int | None) -> str:
    """As the signatures spell it; a pointer that is the first argument is to constants."""
    names = {
        ctypes.c_double: "double",
        ctypes.c_int64: "int64_t",
        ctypes.c_int32: "int",
        ctypes.c_void_p: "void *",
    }
    if dtype in names:
        return names[dtype]
    pointed = getattr(dtype, "_type_", None)
    if isinstance(dtype, type) and issubclass(dtype, ctypes._Pointer) and pointed in names:
        return f"{names[pointed]} const *" if index == 0 else f"{names[pointed]} *"
    return getattr(dtype, "__name__", str(dtype))


def _of_cffi(function: Any) -> tuple[str, str, int]:
    from cffi import FFI  # type: ignore[import-untyped]

    ffi = FFI()
    dtype = ffi.typeof(function)
    if dtype.kind != "function":
        raise CallError(f"pointer_function: expected a cffi function pointer, got {function!r}")
    arguments = [one.cname for one in dtype.args]
    if len(arguments) == 4:
        arguments[0] = arguments[0].replace(" *", " const *")
    signature = f"{dtype.result.cname} ({', '.join(arguments)})"
    return "a cffi function", signature, int(ffi.cast("intptr_t", function))
