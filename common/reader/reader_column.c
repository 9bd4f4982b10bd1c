// SPDX-License-Identifier: Apache-2.0
// Columns. Invariant: starts[samples] is where the current sample begins; data is never NULL after
// reader_column_init, so that a batch of empty sequences has an address. One thread at a time.
#include "common/reader/reader_column.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"

#define FIRST_BYTES 256u
#define FIRST_SAMPLES 64u

static void *grow(void *data, size_t *cap, size_t unit, size_t needed);

void reader_column_init(struct reader_column *column, size_t unit)
{
    memset(column, 0, sizeof *column);
    column->unit = unit;
    column->cap = FIRST_BYTES / unit;
    column->data = mem_must_calloc(column->cap + 1, unit);
    column->samples_cap = FIRST_SAMPLES;
    column->starts = mem_must_calloc(FIRST_SAMPLES + 1, sizeof *column->starts);
    column->rows = mem_must_calloc(FIRST_SAMPLES + 1, sizeof *column->rows);
}

void reader_column_deinit(struct reader_column *column)
{
    mem_free(column->data);
    mem_free(column->starts);
    mem_free(column->rows);
    memset(column, 0, sizeof *column);
}

void reader_column_clear(struct reader_column *column)
{
    column->count = 0;
    column->samples = 0;
}

void *reader_column_add(struct reader_column *column, size_t count)
{
    size_t needed;
    if (__builtin_add_overflow(column->count, count, &needed))
        return NULL;
    if (needed > column->cap) {
        char *data = grow(column->data, &column->cap, column->unit, needed);
        if (!data)
            return NULL;
        column->data = data;
    }
    char *out = column->data + column->count * column->unit;
    column->count = needed;
    return out;
}

size_t reader_column_pending(const struct reader_column *column)
{
    return column->count - (size_t)column->starts[column->samples];
}

int reader_column_end(struct reader_column *column)
{
    if (column->samples == column->samples_cap) {
        size_t cap = column->samples_cap;
        uint64_t *rows = grow(column->rows, &cap, sizeof *rows, column->samples + 1);
        if (!rows)
            return SL_ENOMEM;
        column->rows = rows;
        cap = column->samples_cap;
        uint64_t *starts = grow(column->starts, &cap, sizeof *starts, column->samples + 1);
        if (!starts)
            return SL_ENOMEM;
        column->starts = starts;
        column->samples_cap = cap;
    }
    column->starts[++column->samples] = column->count;
    return 0;
}

int reader_column_show(struct reader_column *column, enum dtype dtype, const struct dims *dims,
                       bool sequence, struct variable *value)
{
    struct dims shape = {.rank = dims->rank + 1};
    uint64_t row = (uint64_t)dims_product(dims, 0, dims->rank);
    if (shape.rank > LIMIT_RANK)
        return SL_ELIMIT;
    for (size_t i = 0; i <= column->samples; i++) {
        uint64_t rows = row ? column->starts[i] / row : 0;
        if (rows * row != column->starts[i] || (!sequence && rows != i))
            return SL_EFORMAT;
        column->rows[i] = rows;
    }
    shape.d[0] = (int64_t)column->rows[column->samples];
    for (int d = 0; d < dims->rank; d++)
        shape.d[d + 1] = dims->d[d];
    struct tensor *t = variable_tensor(value);
    tensor_borrow(t, dtype, &shape, column->data, column->count * column->unit);
    tensor_clear_lod(t);
    if (!sequence)
        return 0;
    const struct lod_level level = {.offsets = column->rows, .count = column->samples + 1};
    return tensor_set_lod(t, 1, &level);
}

// Doubling, so that a batch that grows by one long sample does not copy itself each time. One
// element more than asked for is there. The new memory, or NULL (the old stays valid).
static void *grow(void *data, size_t *cap, size_t unit, size_t needed)
{
    size_t more = *cap < SIZE_MAX / 2 && *cap * 2 > needed ? *cap * 2 : needed;
    uint64_t bytes;
    if (more == SIZE_MAX || !limit_mul_u64(more + 1, unit, &bytes) || bytes > LIMIT_TENSOR_BYTES)
        return NULL;
    void *grown = mem_realloc(data, (size_t)bytes);
    if (grown)
        *cap = more;
    return grown;
}
