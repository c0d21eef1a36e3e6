/* Native functions of dataflare_fast, ABI version 1: what the engine calls for each batch of `.stream.map_native`.
 *
 * A function is a `struct dff_udf` inside a PyCapsule named DFF_UDF_CAPSULE. The capsule owns the struct: its destructor,
 * which runs with the GIL, calls `release`. Whoever calls the function holds a reference to the capsule meanwhile.
 * Callers: `operators/native.rs` of the engine, `_native.call`. Makers: `_native.column_function`, or anything that
 * includes this header; the functions below the ABI build results with the right release callbacks.
 *
 * Rules of `call`:
 *  - It runs without the GIL, on any thread, several calls at once: the function shares nothing it may change.
 *  - On entry `*in` is one batch: a struct array ("+s") with a child for each column, offset 0, no null of its own.
 *    `*schema` describes it. `*out` is uninitialised memory.
 *  - The caller owns `schema` and `in`, before and after. The function may move children out of either (Arrow C data
 *    interface, "Moving an array"); that is how columns pass through without a copy.
 *  - Success is 0: `*out` is a struct array with as many rows as `*in`, row for row, and `*schema` has been replaced
 *    by its description. The caller owns both, checks them against the schema that the query declared, releases them.
 *  - Failure leaves `*out` as it was and puts a text, cut to `err_len` bytes with its NUL, into `err`. The code says
 *    whose move it is: EINVAL, the query (no such column, wrong type); ENOMEM, memory; any other, the data.
 */
#ifndef DATAFLARE_UDF_H
#define DATAFLARE_UDF_H

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The two structs of https://arrow.apache.org/docs/format/CDataInterface.html, under the guard that page prescribes. */
#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE
#define ARROW_FLAG_DICTIONARY_ORDERED 1
#define ARROW_FLAG_NULLABLE 2
#define ARROW_FLAG_MAP_KEYS_SORTED 4

struct ArrowSchema {
  const char* format;
  const char* name;
  const char* metadata;
  int64_t flags;
  int64_t n_children;
  struct ArrowSchema** children;
  struct ArrowSchema* dictionary;
  void (*release)(struct ArrowSchema*);
  void* private_data;
};

struct ArrowArray {
  int64_t length;
  int64_t null_count;
  int64_t offset;
  int64_t n_buffers;
  int64_t n_children;
  const void** buffers;
  struct ArrowArray** children;
  struct ArrowArray* dictionary;
  void (*release)(struct ArrowArray*);
  void* private_data;
};
#endif

/* ---- The ABI: a change of anything up to the next line of this kind is a new version and a new capsule name. ---- */

#define DFF_UDF_CAPSULE "dataflare_fast.udf.v1"
#define DFF_UDF_ABI_VERSION 1

struct dff_udf {
  uint32_t abi_version; /* DFF_UDF_ABI_VERSION; a caller refuses any other */
  uint32_t flags;       /* 0; a caller refuses a bit that it does not know */
  int (*call)(struct dff_udf* self, struct ArrowSchema* schema, struct ArrowArray* in, struct ArrowArray* out, char* err,
              size_t err_len);
  void (*release)(struct dff_udf* self); /* frees self; never while a call runs */
  void* private_data;
};

/* ---- For makers: static functions, no library to link. ---- */

/* Writes the text of a failure and returns its code: `return dff_fail(err, err_len, EINVAL, "...", ...)`. */
static inline int dff_fail(char* err, size_t err_len, int code, const char* text, ...) {
  va_list arguments;
  if (err != NULL && err_len > 0) {
    va_start(arguments, text);
    vsnprintf(err, err_len, text, arguments);
    va_end(arguments);
  }
  return code;
}

/* The index of the column called `name`, or -1. */
static inline int64_t dff_find_column(const struct ArrowSchema* schema, const char* name) {
  for (int64_t i = 0; i < schema->n_children; i++) {
    const char* found = schema->children[i]->name;
    if (found != NULL && strcmp(found, name) == 0) return i;
  }
  return -1;
}

/* Whether row `row` of a primitive column is not null. */
static inline int dff_is_valid(const struct ArrowArray* column, int64_t row) {
  const uint8_t* validity = (const uint8_t*)column->buffers[0];
  int64_t bit = column->offset + row;
  return validity == NULL || (validity[bit / 8] >> (bit % 8) & 1);
}

static inline void dff_release_column(struct ArrowArray* column) {
  free((void*)column->buffers[0]);
  free((void*)column->buffers[1]);
  free((void*)column->buffers);
  column->release = NULL;
}

/* Makes a primitive column of `length` items, null where `like` is null; the values are for the caller to fill.
 * The validity bits keep their place within a byte, so the column has an offset below 8. Returns 0 or ENOMEM. */
static inline int dff_new_column(struct ArrowArray* column, const struct ArrowArray* like, int64_t length, size_t item_bytes) {
  int64_t offset = like->offset % 8;
  size_t validity_bytes = (size_t)(offset + length + 7) / 8, value_bytes = (size_t)(offset + length) * item_bytes;
  const uint8_t* validity = like->null_count == 0 ? NULL : (const uint8_t*)like->buffers[0];
  uint8_t* validity_copy = NULL;
  const void** buffers = (const void**)calloc(2, sizeof(void*));
  char* values = (char*)malloc(value_bytes + 1); /* + 1: a column without rows has a buffer too */
  if (validity != NULL) validity_copy = (uint8_t*)malloc(validity_bytes + 1);
  if (buffers == NULL || values == NULL || (validity != NULL && validity_copy == NULL)) {
    free((void*)buffers);
    free(values);
    free(validity_copy);
    return ENOMEM;
  }
  if (validity != NULL) memcpy(validity_copy, validity + like->offset / 8, validity_bytes);
  memset(values, 0, (size_t)offset * item_bytes);
  buffers[0] = validity_copy;
  buffers[1] = values;
  memset(column, 0, sizeof *column);
  column->length = length;
  column->null_count = validity == NULL ? 0 : -1;
  column->offset = offset;
  column->n_buffers = 2;
  column->buffers = buffers;
  column->release = dff_release_column;
  return 0;
}

/* The first value of a primitive column, its offset included. */
static inline void* dff_values(const struct ArrowArray* column, size_t item_bytes) {
  return (char*)column->buffers[1] + (size_t)column->offset * item_bytes;
}

static inline void dff_release_field(struct ArrowSchema* field) {
  free(field->private_data); /* its name */
  field->release = NULL;
}

static inline void dff_release_frame_schema(struct ArrowSchema* schema) {
  for (int64_t i = 0; i < schema->n_children; i++)
    if (schema->children[i]->release != NULL) schema->children[i]->release(schema->children[i]);
  free(schema->private_data); /* children and the pointers to them */
  schema->release = NULL;
}

static inline void dff_release_frame(struct ArrowArray* frame) {
  for (int64_t i = 0; i < frame->n_children; i++)
    if (frame->children[i]->release != NULL) frame->children[i]->release(frame->children[i]);
  free(frame->private_data); /* children, the pointers to them, buffers */
  frame->release = NULL;
}

/* Completes a call: `*out` and `*schema` become the columns of `*in` and `column` under `name`, in place of the column
 * of that name or behind the last. The other columns are moved, not copied. `format` must outlive the process's use of it:
 * a literal. Takes `column` over. Returns 0 or ENOMEM (`column` is released then too). */
static inline int dff_with_column(struct ArrowSchema* schema, struct ArrowArray* in, struct ArrowArray* column,
                                  const char* name, const char* format, struct ArrowArray* out) {
  int64_t place = dff_find_column(schema, name), count = schema->n_children;
  size_t name_bytes = strlen(name) + 1;
  struct ArrowSchema new_schema, **fields;
  struct ArrowArray** columns;
  char *field_block, *column_block, *name_copy;
  if (place < 0) place = count++;
  field_block = (char*)malloc((size_t)count * (sizeof(struct ArrowSchema) + sizeof(struct ArrowSchema*)));
  column_block = (char*)malloc((size_t)count * (sizeof(struct ArrowArray) + sizeof(struct ArrowArray*)) + sizeof(void*));
  name_copy = (char*)malloc(name_bytes);
  if (field_block == NULL || column_block == NULL || name_copy == NULL) {
    free(field_block);
    free(column_block);
    free(name_copy);
    column->release(column);
    return ENOMEM;
  }
  memcpy(name_copy, name, name_bytes);

  fields = (struct ArrowSchema**)(field_block + (size_t)count * sizeof(struct ArrowSchema));
  columns = (struct ArrowArray**)(column_block + (size_t)count * sizeof(struct ArrowArray));
  for (int64_t i = 0; i < count; i++) {
    fields[i] = (struct ArrowSchema*)field_block + i;
    columns[i] = (struct ArrowArray*)column_block + i;
    if (i == place) continue;
    *fields[i] = *schema->children[i];
    schema->children[i]->release = NULL;
    *columns[i] = *in->children[i];
    in->children[i]->release = NULL;
  }
  memset(fields[place], 0, sizeof *fields[place]);
  fields[place]->format = format;
  fields[place]->name = name_copy;
  fields[place]->flags = ARROW_FLAG_NULLABLE;
  fields[place]->release = dff_release_field;
  fields[place]->private_data = name_copy;
  *columns[place] = *column;
  column->release = NULL;

  memset(&new_schema, 0, sizeof new_schema);
  new_schema.format = "+s";
  new_schema.name = "";
  new_schema.n_children = count;
  new_schema.children = fields;
  new_schema.release = dff_release_frame_schema;
  new_schema.private_data = field_block;
  schema->release(schema);
  *schema = new_schema;

  memset(out, 0, sizeof *out);
  out->length = in->length;
  out->n_buffers = 1; /* validity: none */
  out->n_children = count;
  out->buffers = (const void**)(columns + count);
  out->buffers[0] = NULL;
  out->children = columns;
  out->release = dff_release_frame;
  out->private_data = column_block;
  return 0;
}

#ifdef __cplusplus
}
#endif
#endif /* DATAFLARE_UDF_H */
