# cython: language_level=3, binding=False, autotestdict=False
"""Adapters: turn users' own compiled functions into native functions of the engine (`dataflare_udf.h`).

Not here: Arrow memory (the header), names and checks for users (`dataflare_fast/udf`), the loop over batches (Rust).
Called by `dataflare_fast.udf` only. The users' text is in `_native.pyi`.
"""

from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer, PyCapsule_IsValid, PyCapsule_New
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EDOM, EINVAL, ENOMEM
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, strcmp, strlen

from dataflare_fast.errors import CallError, DataError

cdef extern from "dataflare_udf.h":
    const char *DFF_UDF_CAPSULE
    uint32_t DFF_UDF_ABI_VERSION

    struct ArrowSchema:
        const char *format
        ArrowSchema **children
        void (*release)(ArrowSchema *) noexcept nogil

    struct ArrowArray:
        int64_t length
        int64_t offset
        ArrowArray **children
        void (*release)(ArrowArray *) noexcept nogil

    struct dff_udf:
        uint32_t abi_version
        uint32_t flags
        int (*call)(dff_udf *, ArrowSchema *, ArrowArray *, ArrowArray *, char *, size_t) noexcept nogil
        void (*release)(dff_udf *) noexcept
        void *private_data

    int dff_fail(char *, size_t, int, const char *, ...) noexcept nogil
    int64_t dff_find_column(const ArrowSchema *, const char *) noexcept nogil
    bint dff_is_valid(const ArrowArray *, int64_t) noexcept nogil
    int dff_new_column(ArrowArray *, const ArrowArray *, int64_t, size_t) noexcept nogil
    void *dff_values(const ArrowArray *, size_t) noexcept nogil
    int dff_with_column(
        ArrowSchema *, ArrowArray *, ArrowArray *, const char *, const char *, ArrowArray *
    ) noexcept nogil

ctypedef double (*float64_value)(double) noexcept nogil
ctypedef int64_t (*int64_value)(int64_t) noexcept nogil
ctypedef int (*float64_column)(const double *, double *, int64_t, void *) noexcept nogil
ctypedef int (*int64_column)(const int64_t *, int64_t *, int64_t, void *) noexcept nogil

cdef enum Form:
    FLOAT64_VALUE
    INT64_VALUE
    FLOAT64_COLUMN
    INT64_COLUMN

# What Cython writes into `__pyx_capi__`, in the order of Form. Frozen by tests/test_udf_abi.py.
SIGNATURES = (
    "double (double)",
    "int64_t (int64_t)",
    "int (double const *, double *, int64_t, void *)",
    "int (int64_t const *, int64_t *, int64_t, void *)",
)

cdef struct Adapter:
    void *function
    Form form
    char *label   # these three are copies of the adapter's own
    char *reads
    char *writes
    PyObject *owner  # the module whose code `function` is


cdef int call_column(
    dff_udf *udf, ArrowSchema *schema, ArrowArray *batch, ArrowArray *out, char *err, size_t err_len
) noexcept nogil:
    cdef Adapter *adapter = <Adapter *> udf.private_data
    cdef bint is_float = adapter.form == FLOAT64_VALUE or adapter.form == FLOAT64_COLUMN
    cdef const char *arrow_format = b"g" if is_float else b"l"
    cdef const char *type_name = b"Float64" if is_float else b"Int64"
    cdef ArrowArray column
    cdef const ArrowArray *taken
    cdef int64_t rows = batch.length, place = dff_find_column(schema, adapter.reads)
    cdef int answer
    if place < 0:
        return dff_fail(err, err_len, EINVAL, b"%s: expected a column '%s', got a batch without it", adapter.label, adapter.reads)
    if strcmp(schema.children[place].format, arrow_format) != 0:
        return dff_fail(
            err, err_len, EINVAL, b"%s: expected %s in column '%s', got Arrow format '%s'; cast the column first",
            adapter.label, type_name, adapter.reads, schema.children[place].format,
        )
    taken = batch.children[place]
    if batch.offset != 0 or taken.length < rows:
        return dff_fail(
            err, err_len, EINVAL, b"%s: expected a batch of %lld rows from offset 0, got offset %lld and a column of %lld rows",
            adapter.label, <long long> rows, <long long> batch.offset, <long long> taken.length,
        )
    if dff_new_column(&column, taken, rows, 8) != 0:
        return dff_fail(err, err_len, ENOMEM, b"%s: no memory for %lld rows", adapter.label, <long long> rows)
    answer = run(adapter, taken, &column, rows)
    if answer != 0:
        column.release(&column)
        return dff_fail(
            err, err_len, EDOM, b"%s: returned %d for column '%s' in a batch of %lld rows",
            adapter.label, answer, adapter.reads, <long long> rows,
        )
    if dff_with_column(schema, batch, &column, adapter.writes, arrow_format, out) != 0:
        return dff_fail(err, err_len, ENOMEM, b"%s: no memory for the batch's columns", adapter.label)
    return 0


cdef int run(Adapter *adapter, const ArrowArray *taken, ArrowArray *column, int64_t rows) noexcept nogil:
    """Fills the new column; a function of one value is not called for nulls, which may hold anything."""
    cdef const void *values = dff_values(taken, 8)
    cdef void *results = dff_values(column, 8)
    cdef int64_t row
    if adapter.form == FLOAT64_COLUMN:
        return (<float64_column> adapter.function)(<const double *> values, <double *> results, rows, NULL)
    if adapter.form == INT64_COLUMN:
        return (<int64_column> adapter.function)(<const int64_t *> values, <int64_t *> results, rows, NULL)
    if adapter.form == FLOAT64_VALUE:
        for row in range(rows):
            (<double *> results)[row] = (
                (<float64_value> adapter.function)((<const double *> values)[row]) if dff_is_valid(taken, row) else 0
            )
    else:
        for row in range(rows):
            (<int64_t *> results)[row] = (
                (<int64_value> adapter.function)((<const int64_t *> values)[row]) if dff_is_valid(taken, row) else 0
            )
    return 0


cdef void release_adapter(dff_udf *udf) noexcept:
    cdef Adapter *adapter = <Adapter *> udf.private_data
    if adapter != NULL:
        if adapter.owner != NULL:
            Py_DECREF(<object> adapter.owner)
        free(adapter.label)
        free(adapter.reads)
        free(adapter.writes)
        free(adapter)
    free(udf)


cdef void release_capsule(object capsule) noexcept:
    cdef dff_udf *udf = <dff_udf *> PyCapsule_GetPointer(capsule, DFF_UDF_CAPSULE)
    udf.release(udf)


cdef char *copied(bytes text) except NULL:
    cdef char *copy = <char *> calloc(len(text) + 1, 1)
    if copy == NULL:
        raise MemoryError
    memcpy(copy, <const char *> text, len(text))
    return copy


def column_function(function, owner, label, reads, writes):
    cdef const char *signature = PyCapsule_GetName(function)
    cdef dff_udf *udf
    cdef Adapter *adapter
    found = signature.decode() if signature != NULL else ""
    if found not in SIGNATURES:
        raise CallError(
            f"{label}: expected a C function with one of the signatures {', '.join(map(repr, SIGNATURES))}, "
            f"got {found!r}; plain C types only (a typedef has another name here)"
        )
    for text in (reads, writes):
        if "\0" in text:
            raise CallError(f"{label}: expected a column name without a NUL character, got {text!r}")
    udf = <dff_udf *> calloc(1, sizeof(dff_udf))
    adapter = <Adapter *> calloc(1, sizeof(Adapter))
    if udf == NULL or adapter == NULL:
        free(udf)
        free(adapter)
        raise MemoryError
    udf.abi_version = DFF_UDF_ABI_VERSION
    udf.call = call_column
    udf.release = release_adapter
    udf.private_data = adapter
    try:
        adapter.function = PyCapsule_GetPointer(function, signature)
        adapter.form = <Form> <int> SIGNATURES.index(found)
        adapter.label = copied(label.encode())
        adapter.reads = copied(reads.encode())
        adapter.writes = copied(writes.encode())
        Py_INCREF(owner)
        adapter.owner = <PyObject *> owner
        return PyCapsule_New(udf, DFF_UDF_CAPSULE, release_capsule)
    except BaseException:
        release_adapter(udf)
        raise


def is_native_function(capsule):
    return PyCapsule_IsValid(capsule, DFF_UDF_CAPSULE) != 0


cdef void release_schema_capsule(object capsule) noexcept:
    cdef ArrowSchema *schema = <ArrowSchema *> PyCapsule_GetPointer(capsule, b"arrow_schema")
    if schema.release != NULL:
        schema.release(schema)
    free(schema)


cdef void release_array_capsule(object capsule) noexcept:
    cdef ArrowArray *array = <ArrowArray *> PyCapsule_GetPointer(capsule, b"arrow_array")
    if array.release != NULL:
        array.release(array)
    free(array)


cdef object new_schema_capsule():
    cdef ArrowSchema *schema = <ArrowSchema *> calloc(1, sizeof(ArrowSchema))
    if schema == NULL:
        raise MemoryError
    return PyCapsule_New(schema, b"arrow_schema", release_schema_capsule)


cdef object new_array_capsule():
    cdef ArrowArray *array = <ArrowArray *> calloc(1, sizeof(ArrowArray))
    if array == NULL:
        raise MemoryError
    return PyCapsule_New(array, b"arrow_array", release_array_capsule)


def call(capsule, schema_capsule, array_capsule):
    cdef dff_udf *udf = <dff_udf *> PyCapsule_GetPointer(capsule, DFF_UDF_CAPSULE)
    cdef ArrowSchema *given_schema = <ArrowSchema *> PyCapsule_GetPointer(schema_capsule, b"arrow_schema")
    cdef ArrowArray *given = <ArrowArray *> PyCapsule_GetPointer(array_capsule, b"arrow_array")
    new_schema, new_array = new_schema_capsule(), new_array_capsule()
    cdef ArrowSchema *schema = <ArrowSchema *> PyCapsule_GetPointer(new_schema, b"arrow_schema")
    cdef ArrowArray *out = <ArrowArray *> PyCapsule_GetPointer(new_array, b"arrow_array")
    cdef ArrowArray result
    cdef char[512] text
    cdef int code
    if udf.abi_version != DFF_UDF_ABI_VERSION or udf.flags != 0:
        raise CallError(
            f"native function: expected ABI version {DFF_UDF_ABI_VERSION} without flags, "
            f"got version {udf.abi_version}, flags {udf.flags:#x}; build it against this release's dataflare_udf.h"
        )
    if given_schema.release == NULL or given.release == NULL:
        raise CallError("native function: expected an Arrow batch, got capsules that were used before")
    schema[0] = given_schema[0]
    given_schema.release = NULL
    text[0] = 0
    with nogil:
        code = udf.call(udf, schema, given, &result, text, sizeof(text))
        if given.release != NULL:
            given.release(given)
    if code == 0:
        out[0] = result
        return new_schema, new_array
    if code == ENOMEM:
        raise MemoryError(text.decode("utf-8", "replace"))
    raise (CallError if code == EINVAL else DataError)(text.decode("utf-8", "replace"))
