"""Adapters for users' compiled functions. Private: `dataflare_fast.udf` is the public door."""

from types import ModuleType
from typing import Final

SIGNATURES: Final[tuple[str, str, str, str]]
"""The C signatures that `column_function` knows, as Cython writes them into `__pyx_capi__`."""

def column_function(function: object, owner: ModuleType, label: str, reads: str, writes: str) -> object:
    """Wraps one function of a Cython module as a native function of the engine.

    Args:
        function: a value of the module's `__pyx_capi__`; its name is the C signature, one of `SIGNATURES`.
        owner: the module; kept alive as long as the result.
        label: names the function in messages.
        reads: the column that it reads, Float64 or Int64 as the signature says.
        writes: the column that it writes, of the same type; null where the input is null.

    Returns:
        A capsule named `dataflare_fast.udf.v1`.

    Raises:
        CallError: another signature, or a NUL character in a column name.
    """

def is_native_function(capsule: object) -> bool:
    """Whether `capsule` is one that `call` and the engine accept."""

def call(capsule: object, schema_capsule: object, array_capsule: object) -> tuple[object, object]:
    """Calls a native function for one batch, without the GIL.

    Args:
        capsule: the native function.
        schema_capsule: the batch's schema, as `__arrow_c_array__` gives it; used up.
        array_capsule: the batch, a struct array of offset 0; used up.

    Returns:
        Schema and array capsules of the resulting batch; columns that the function does not write are moved.

    Raises:
        CallError: the function cannot take this schema.
        DataError: the function refused the data.
        MemoryError: no memory for the result.
    """
