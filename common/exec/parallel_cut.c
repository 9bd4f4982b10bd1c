// SPDX-License-Identifier: Apache-2.0
// A batch is cut without copying: a worker's tensor borrows a run of rows. With LoD the run is one
// of sequences, and each level's offsets begin with 0 again. Joining copies, and moves offsets
// back. Fed LoD was found valid before it comes here; what workers made is only joined, never used
// as an index.

#include "common/exec/parallel_cut.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/exec/plan_op.h"

static int join_rows(const struct variable *const *parts, int count, struct selected_rows *out,
                     struct err *err);
static int join_lod(const struct variable *const *parts, int count, struct tensor *out);

int64_t parallel_cut_samples(const struct tensor *t)
{
    if (t->lod_levels > 0)
        return (int64_t)t->lod[0].count - 1;
    return t->dims.rank > 0 ? t->dims.d[0] : 0;
}

void parallel_cut_range(int64_t n, int workers, int worker, int64_t *out_first, int64_t *out_count)
{
    int64_t share = (n + workers - 1) / workers;
    if (share * (workers - 1) < n) {
        *out_first = share * worker;
        *out_count = worker == workers - 1 ? n - *out_first : share;
        return;
    }
    int64_t each = n / workers, more = n % workers;
    *out_first = each * worker + (worker < more ? worker : more);
    *out_count = each + (worker < more);
}

int parallel_cut_view(const struct tensor *from, int64_t first, int64_t count, struct tensor *to)
{
    struct lod_level levels[LIMIT_LOD_LEVELS];
    uint64_t begin = (uint64_t)first, end = (uint64_t)(first + count);
    for (int l = 0; l < from->lod_levels; l++) {
        uint64_t *offsets = from->lod[l].offsets;
        levels[l] = (struct lod_level){.offsets = offsets + begin, .count = end - begin + 1};
        begin = offsets[begin];
        end = offsets[end];
    }
    struct dims dims = from->dims;
    uint64_t row_bytes = (uint64_t)dims_product(&dims, 1, dims.rank) * dtype_bytes(from->dtype);
    dims.d[0] = (int64_t)(end - begin);
    tensor_borrow(to, from->dtype, &dims, (char *)from->data + begin * row_bytes,
                  (end - begin) * row_bytes);
    int rc = tensor_set_lod(to, from->lod_levels, levels);
    for (int l = 0; rc == 0 && l < to->lod_levels; l++) {
        uint64_t shift = to->lod[l].offsets[0];
        for (size_t i = 0; i < to->lod[l].count; i++)
            to->lod[l].offsets[i] -= shift;
    }
    return rc;
}

static int differ(const struct variable *a, const struct variable *b, int worker, struct err *err)
{
    char x[DIMS_TEXT_MAX], y[DIMS_TEXT_MAX];
    if (a->kind != b->kind || a->kind != VARIABLE_TENSOR)
        return err_set(err, SL_EMISMATCH, "workers 0 and %d have different kinds of variables",
                       worker);
    return err_set(err, SL_EMISMATCH,
                   "worker 0 has %s %s, worker %d has %s %s: they cannot be joined along rows",
                   dtype_name((int)a->tensor.dtype), dims_format(&a->tensor.dims, x), worker,
                   dtype_name((int)b->tensor.dtype), dims_format(&b->tensor.dims, y));
}

int parallel_cut_join(const struct variable *const *parts, int count, struct variable *out,
                      struct err *err)
{
    if (parts[0]->kind == VARIABLE_SELECTED_ROWS)
        return join_rows(parts, count, variable_rows(out), err);
    struct dims whole = parts[0]->tensor.dims;
    if (whole.rank < 1)
        return err_set(err, SL_EMISMATCH, "it has no dimension to join along");
    for (int w = 1; w < count; w++) {
        if (parts[w]->kind != VARIABLE_TENSOR)
            return differ(parts[0], parts[w], w, err);
        struct dims same = parts[w]->tensor.dims;
        if (same.rank > 0)
            same.d[0] = whole.d[0];
        if (!dims_equal(&same, &whole) || parts[w]->tensor.dtype != parts[0]->tensor.dtype)
            return differ(parts[0], parts[w], w, err);
    }
    for (int w = 1; w < count; w++)
        whole.d[0] += parts[w]->tensor.dims.d[0];
    struct tensor *t = variable_tensor(out);
    int rc = op_resize(t, parts[0]->tensor.dtype, &whole, err);
    char *at = t->data;
    for (int w = 0; rc == 0 && w < count; w++) {
        uint64_t bytes = tensor_bytes(&parts[w]->tensor);
        if (bytes > 0)
            memcpy(at, parts[w]->tensor.data, bytes);
        at += bytes;
    }
    if (rc == 0 && (rc = join_lod(parts, count, t)) < 0)
        err_set(err, rc, "LoD: %s", err_name(rc));
    return rc;
}

static int join_rows(const struct variable *const *parts, int count, struct selected_rows *out,
                     struct err *err)
{
    const struct selected_rows *first = &parts[0]->rows;
    struct dims dims = first->value.dims;
    size_t rows = 0;
    for (int w = 0; w < count; w++) {
        if (parts[w]->kind != VARIABLE_SELECTED_ROWS)
            return differ(parts[0], parts[w], w, err);
        const struct selected_rows *part = &parts[w]->rows;
        struct dims same = part->value.dims;
        if (same.rank > 0 && dims.rank > 0)
            same.d[0] = dims.d[0];
        if (part->height != first->height || part->value.dtype != first->value.dtype ||
            !dims_equal(&same, &dims))
            return err_set(err, SL_EMISMATCH,
                           "workers 0 and %d have rows of different tables (heights %lld, %lld)", w,
                           (long long)first->height, (long long)part->height);
        rows += part->rows_count;
    }
    if (dims.rank > 0)
        dims.d[0] = (int64_t)rows;
    int rc = selected_rows_resize(out, rows);
    if (rc == 0)
        rc = tensor_resize(&out->value, first->value.dtype, &dims);
    if (rc < 0)
        return err_set(err, rc, "%zu rows: %s", rows, err_name(rc));
    out->height = first->height;
    char *at = out->value.data;
    size_t row = 0;
    for (int w = 0; w < count; w++) {
        const struct selected_rows *part = &parts[w]->rows;
        uint64_t bytes = part->rows_count > 0 ? tensor_bytes(&part->value) : 0;
        if (bytes == 0)
            continue;
        memcpy(out->rows + row, part->rows, part->rows_count * sizeof *part->rows);
        memcpy(at, part->value.data, bytes);
        row += part->rows_count;
        at += bytes;
    }
    return 0;
}

// Offsets of each part behind those of the parts before it.
static int join_level(const struct variable *const *parts, int count, int level,
                      struct lod_level *out)
{
    size_t at = 1, need = 1;
    for (int w = 0; w < count; w++)
        need += parts[w]->tensor.lod[level].count;
    if (need > out->cap) {
        uint64_t *grown = mem_realloc(out->offsets, need * sizeof *grown);
        if (grown == NULL)
            return SL_ENOMEM;
        out->offsets = grown;
        out->cap = need;
    }
    out->offsets[0] = 0;
    for (int w = 0; w < count; w++) {
        const struct lod_level *part = &parts[w]->tensor.lod[level];
        uint64_t shift = out->offsets[at - 1];
        for (size_t i = 1; i < part->count; i++)
            out->offsets[at++] = shift + part->offsets[i];
    }
    out->count = at;
    return 0;
}

static int join_lod(const struct variable *const *parts, int count, struct tensor *out)
{
    const struct tensor *first = &parts[0]->tensor;
    tensor_clear_lod(out);
    for (int w = 1; w < count; w++)
        if (parts[w]->tensor.lod_levels != first->lod_levels)
            return 0;
    int rc = tensor_set_lod(out, first->lod_levels, first->lod);
    for (int l = 0; rc == 0 && l < first->lod_levels; l++)
        rc = join_level(parts, count, l, &out->lod[l]);
    if (rc < 0)
        tensor_clear_lod(out);
    return rc;
}
