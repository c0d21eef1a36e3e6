# cython: language_level=3
"""Two functions for `.stream.map_native`: copy this file, keep `noexcept nogil` and plain C types.

Build it with `cythonize -i prices.pyx`, then:

    import prices
    from dataflare_fast import udf

    to_euro = udf.column_function(prices, "to_euro", reads="price", writes="euro")
    bids.stream.map_native(to_euro, schema={**bids.collect_schema(), "euro": pl.Float64})
"""
from libc.stdint cimport int64_t


cdef api double to_euro(double dollars) noexcept nogil:
    """One value to one value; never called for a null."""
    return dollars * 0.908


cdef api int double_and_add_one(const int64_t *values, int64_t *results, int64_t rows, void *state) noexcept nogil:
    """A column to a column: the loop is yours, so a compiler can vectorise it. Any result but 0 refuses the batch."""
    cdef int64_t row
    for row in range(rows):
        results[row] = values[row] * 2 + 1
    return 0
