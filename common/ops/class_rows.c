// SPDX-License-Identifier: Apache-2.0
// The loops of class_rows.h for both types. A score adds up OP_LANES partial sums in one order.

#include "common/ops/class_rows.h"

#include <string.h>

#include "common/base/err.h"
#include "common/ops/op_clones.h"
#include "common/ops/rows_merge.h"

#define DEFINE_LOOPS(T, S)                                                                         \
    OP_CLONES static T dot_##S(int64_t n, const T *restrict a, const T *restrict b)                \
    {                                                                                              \
        T lanes[OP_LANES] = {0}, sum = 0;                                                          \
        int64_t i = 0;                                                                             \
        for (; i + OP_LANES <= n; i += OP_LANES)                                                   \
            for (int64_t l = 0; l < OP_LANES; l++)                                                 \
                lanes[l] += a[i + l] * b[i + l];                                                   \
        for (; i < n; i++)                                                                         \
            lanes[i % OP_LANES] += a[i] * b[i];                                                    \
        for (int64_t l = 0; l < OP_LANES; l++)                                                     \
            sum += lanes[l];                                                                       \
        return sum;                                                                                \
    }                                                                                              \
    OP_CLONES static void add_scaled_##S(int64_t n, T scale, const T *restrict from,               \
                                         T *restrict to)                                           \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            to[i] += scale * from[i];                                                              \
    }                                                                                              \
    static void scores_##S(const struct class_rows *c, T *score)                                   \
    {                                                                                              \
        const T *x = c->x, *weight = c->weight, *bias = c->bias;                                   \
        for (int64_t p = 0; p < c->samples * c->per; p++) {                                        \
            int64_t id = c->id[p];                                                                 \
            score[p] = 0;                                                                          \
            if (id < 0)                                                                            \
                continue;                                                                          \
            score[p] = dot_##S(c->width, weight + id * c->width, x + p / c->per * c->width);       \
            if (bias != NULL)                                                                      \
                score[p] += bias[id];                                                              \
        }                                                                                          \
    }                                                                                              \
    static void back_x_##S(const struct class_rows *c, const T *g, T *dx)                          \
    {                                                                                              \
        const T *weight = c->weight;                                                               \
        for (int64_t i = 0; i < c->samples * c->width; i++)                                        \
            dx[i] = 0;                                                                             \
        for (int64_t p = 0; p < c->samples * c->per; p++)                                          \
            if (c->id[p] >= 0)                                                                     \
                add_scaled_##S(c->width, g[p], weight + c->id[p] * c->width,                       \
                               dx + p / c->per * c->width);                                        \
    }                                                                                              \
    static void back_weight_##S(const struct class_rows *c, const T *g, T *dweight)                \
    {                                                                                              \
        const T *x = c->x;                                                                         \
        for (int64_t p = 0; p < c->samples * c->per; p++)                                          \
            if (c->id[p] >= 0)                                                                     \
                add_scaled_##S(c->width, g[p], x + p / c->per * c->width,                          \
                               dweight + c->id[p] * c->width);                                     \
    }                                                                                              \
    static void back_bias_##S(const struct class_rows *c, const T *g, T *dbias)                    \
    {                                                                                              \
        for (int64_t p = 0; p < c->samples * c->per; p++)                                          \
            if (c->id[p] >= 0)                                                                     \
                dbias[c->id[p]] += g[p];                                                           \
    }                                                                                              \
    /* at[k]: the entry of occurrence k of the rows that were merged. */                           \
    static void back_merged_##S(const struct class_rows *c, const T *g,                            \
                                const struct rows_merge *m, const int64_t *at, T *dweight)         \
    {                                                                                              \
        const T *x = c->x;                                                                         \
        for (size_t row = 0; row < m->count; row++, dweight += c->width)                           \
            for (uint32_t k = m->starts[row]; k < m->starts[row + 1]; k++) {                       \
                int64_t p = at[m->order[k]];                                                       \
                add_scaled_##S(c->width, g[p], x + p / c->per * c->width, dweight);                \
            }                                                                                      \
    }

DEFINE_LOOPS(float, f32)
DEFINE_LOOPS(double, f64)

void class_rows_scores(const struct class_rows *c, void *score)
{
    if (c->dtype == DTYPE_FP32)
        scores_f32(c, score);
    else
        scores_f64(c, score);
}

void class_rows_back_x(const struct class_rows *c, const void *g, void *dx)
{
    if (c->dtype == DTYPE_FP32)
        back_x_f32(c, g, dx);
    else
        back_x_f64(c, g, dx);
}

void class_rows_back_weight(const struct class_rows *c, const void *g, void *dweight)
{
    if (c->dtype == DTYPE_FP32)
        back_weight_f32(c, g, dweight);
    else
        back_weight_f64(c, g, dweight);
}

void class_rows_back_bias(const struct class_rows *c, const void *g, void *dbias)
{
    if (c->dtype == DTYPE_FP32)
        back_bias_f32(c, g, dbias);
    else
        back_bias_f64(c, g, dbias);
}

int class_rows_back_sparse(struct op_ctx *ctx, const struct class_rows *c, const void *g,
                           const struct dims *tall, struct tensor temps[2],
                           struct selected_rows *dweight)
{
    int64_t entries = c->samples * c->per, count = 0;
    struct rows_merge merge;
    // The rows that are there, and the entry of each.
    const struct dims dims = {.rank = 2, .d = {2, entries}};
    int rc = op_resize(&temps[0], DTYPE_INT64, &dims, ctx->err);
    if (rc < 0)
        return rc;
    int64_t *rows = tensor_i64(&temps[0]), *at = rows + entries;
    for (int64_t p = 0; p < entries; p++) {
        if (c->id[p] < 0)
            continue;
        rows[count] = c->id[p];
        at[count++] = p;
    }
    rc = rows_merge_find_order(&temps[1],
                               &(struct rows_merge_in){.rows = rows, .count = (size_t)count}, 1,
                               tall->d[0], &merge, ctx->err);
    if (rc < 0)
        return rc;
    rc = selected_rows_shape(dweight, tall->d[0], merge.count, c->dtype, tall);
    if (rc < 0)
        return err_set(ctx->err, rc, "selected rows of the weights: %s", err_name(rc));
    if (merge.count == 0)
        return 0;
    memcpy(dweight->rows, merge.rows, merge.count * sizeof *merge.rows);
    memset(dweight->value.data, 0, tensor_bytes(&dweight->value));
    if (c->dtype == DTYPE_FP32)
        back_merged_f32(c, g, &merge, at, tensor_f32(&dweight->value));
    else
        back_merged_f64(c, g, &merge, at, tensor_f64(&dweight->value));
    return 0;
}
