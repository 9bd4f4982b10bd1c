// SPDX-License-Identifier: Apache-2.0
// A run over all rows alternates: rows without a gradient up to the next one that has one, that
// one, and so on; each element is read and written once. Rows without a gradient get it from a
// small block of zeros that stays in the cache, so the update is the same code, and the same bits
// as of a dense gradient with zeros.

#include "common/ops/rows_update.h"

#include "common/base/err.h"
#include "common/ops/rows_merge.h"

#define ZEROS 2048   // elements
#define AHEAD 8      // rows of Param and the states are prefetched so many rows ahead

static double zeros[ZEROS];   // never written

static int merge(struct op_ctx *ctx, const struct selected_rows *grad, struct tensor *temps,
                 struct rows_merge *out, const void **out_values);
static void run_rows(const struct op_ctx *ctx, const struct rows_update *update,
                     const struct rows_merge *m, const char *values);
static void run_zeros(const struct rows_update *update, uint64_t first, uint64_t end);

int rows_update_run(struct op_ctx *ctx, int grad, struct tensor *temps,
                    const struct rows_update *update)
{
    const struct tensor *param = op_in(ctx, 0), *dense = op_in(ctx, grad);
    const struct selected_rows *rows = rows_update_in(ctx, grad);
    struct rows_merge m = {0};
    const void *values = NULL;
    if (dense != NULL) {
        update->dense(update->args, dense->data, 0, tensor_count(param));
        return 0;
    }
    int rc = merge(ctx, rows, temps, &m, &values);
    if (rc == 0)
        run_rows(ctx, update, &m, values);
    return rc;
}

const struct selected_rows *rows_update_in(const struct op_ctx *ctx, int s)
{
    const struct op_args *args = &ctx->in[s];
    if (args->count == 0 || args->vars[0] == NULL || args->vars[0]->kind != VARIABLE_SELECTED_ROWS)
        return NULL;
    return &args->vars[0]->rows;
}

bool rows_update_always(const struct op_desc *op)
{
    (void)op;
    return true;
}

static int merge(struct op_ctx *ctx, const struct selected_rows *grad, struct tensor *temps,
                 struct rows_merge *out, const void **out_values)
{
    const struct tensor *param = op_in(ctx, 0);
    const struct rows_merge_in in = {grad->rows, grad->rows_count, grad->value.data};
    int64_t width = dims_product(&param->dims, 1, param->dims.rank);
    int rc = rows_merge_check(grad, param, ctx->err);
    if (rc == 0)
        rc = rows_merge_find(&temps[0], &in, 1, grad->height, out, ctx->err);
    if (rc < 0)
        return rc;
    *out_values = grad->value.data;
    if (out->sorted)
        return 0;
    struct dims dims = {.rank = 2, .d = {(int64_t)out->count, width}};
    uint64_t bytes = out->count * (uint64_t)width * dtype_bytes(param->dtype);
    if (bytes > temps[1].capacity_bytes) {   // with room to spare, if there is
        struct dims room = {.rank = 2, .d = {(int64_t)(out->count + out->count / 2), width}};
        (void)tensor_resize(&temps[1], param->dtype, &room);
    }
    if ((rc = op_resize(&temps[1], param->dtype, &dims, ctx->err)) < 0)
        return rc;
    if (param->dtype == DTYPE_FP32)
        rows_merge_sum_f32(out, &in, 1, width, tensor_f32(&temps[1]));
    else
        rows_merge_sum_f64(out, &in, 1, width, tensor_f64(&temps[1]));
    *out_values = temps[1].data;
    return 0;
}

// The dense tensors as large as Param that the op reads or writes.
static int list_tables(const struct op_ctx *ctx, const char *tables[ROWS_UPDATE_TABLES_MAX])
{
    uint64_t bytes = tensor_bytes(op_in(ctx, 0));
    int count = 0;
    for (int s = 0; ctx->def->inputs[s].name != NULL && count < ROWS_UPDATE_TABLES_MAX; s++) {
        const struct tensor *t = op_in(ctx, s);
        if (t != NULL && t->data != NULL && tensor_bytes(t) == bytes)
            tables[count++] = t->data;
    }
    return count;
}

static void run_rows(const struct op_ctx *ctx, const struct rows_update *update,
                     const struct rows_merge *m, const char *values)
{
    const struct tensor *param = op_in(ctx, 0);
    const char *tables[ROWS_UPDATE_TABLES_MAX];
    uint64_t width = (uint64_t)dims_product(&param->dims, 1, param->dims.rank), at = 0;
    size_t bytes = width * dtype_bytes(param->dtype);
    int count = update->rows_only ? list_tables(ctx, tables) : 0;
    for (size_t k = 0; k < m->count; k++) {
        uint64_t first = (uint64_t)m->rows[k] * width;
        for (int t = 0; t < count && k + AHEAD < m->count; t++) {
            const char *row = tables[t] + (uint64_t)m->rows[k + AHEAD] * bytes;
            __builtin_prefetch(row, 1);
            __builtin_prefetch(row + bytes - 1, 1);
        }
        if (!update->rows_only)
            run_zeros(update, at, first);
        update->dense(update->args, values + k * bytes, first, width);
        at = first + width;
    }
    if (!update->rows_only)
        run_zeros(update, at, tensor_count(param));
}

static void run_zeros(const struct rows_update *update, uint64_t first, uint64_t end)
{
    for (; first < end; first += ZEROS)
        update->dense(update->args, zeros, first, end - first < ZEROS ? end - first : ZEROS);
}
