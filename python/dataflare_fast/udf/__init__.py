"""Users' own compiled functions as steps of a query.

Not here: the words that use them (`frame.py`), Python functions (`.stream.apply`, `.stream.map_batches`).
"""

from dataflare_fast.udf.native import NativeFunction, column_function
from dataflare_fast.udf.pointers import pointer_function

__all__ = ["NativeFunction", "column_function", "pointer_function"]
