// SPDX-License-Identifier: Apache-2.0
// Moves of rows between the order of the sequences and that of the time steps, for both types.

#include "common/ops/rnn.h"

#include <string.h>

#include "common/base/err.h"
#include "common/ops/blas.h"
#include "common/ops/gemm_small.h"
#include "common/ops/op_clones.h"

int rnn_temp(struct op_ctx *ctx, int temp, enum dtype dtype, int64_t rows, int64_t width,
             void **out)
{
    const struct dims dims = {.rank = 2, .d = {rows, width}};
    int rc = op_resize(&ctx->temps[temp], dtype, &dims, ctx->err);
    if (rc == 0)
        *out = ctx->temps[temp].data;
    return rc;
}

void rnn_zero(const struct tensor *t)
{
    if (tensor_bytes(t) > 0)
        memset(t->data, 0, tensor_bytes(t));
}

int rnn_order(struct op_ctx *ctx, const struct seq_batch *batch, const char *name,
              const struct tensor *state, int temp, void **out)
{
    *out = NULL;
    if (state == NULL)
        return 0;
    if (state->dims.d[0] != batch->sequences)
        return err_set(ctx->err, SL_EMISMATCH, "%s has %lld rows for %lld sequences", name,
                       (long long)state->dims.d[0], (long long)batch->sequences);
    int64_t width = state->dims.d[1];
    int rc = rnn_temp(ctx, temp, state->dtype, batch->sequences, width, out);
    if (rc == 0)
        seq_batch_take(batch, *out, state->data, (size_t)width * dtype_bytes(state->dtype));
    return rc;
}

#define DEFINE_LOOPS(T, S)                                                                         \
    OP_CLONES static void gather_biased_##S(const struct seq_batch *batch, int64_t width, T *to,   \
                                            const T *from, const T *bias)                          \
    {                                                                                              \
        for (int64_t r = 0; r < batch->rows; r++) {                                                \
            T *restrict y = to + r * width;                                                        \
            const T *restrict x = from + batch->row[r] * width;                                    \
            for (int64_t i = 0; i < width; i++)                                                    \
                y[i] = x[i] + bias[i];                                                             \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void add_bias_##S(int64_t rows, int64_t width, T *to, const T *from,          \
                                       const T *bias)                                              \
    {                                                                                              \
        for (int64_t r = 0; r < rows; r++) {                                                       \
            T *restrict y = to + r * width;                                                        \
            const T *restrict x = from + r * width;                                                \
            for (int64_t i = 0; i < width; i++)                                                    \
                y[i] = x[i] + bias[i];                                                             \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void sum_rows_##S(int64_t rows, int64_t width, const T *x, T *restrict out)   \
    {                                                                                              \
        for (int64_t i = 0; i < width; i++)                                                        \
            out[i] = 0;                                                                            \
        for (int64_t r = 0; r < rows; r++) {                                                       \
            const T *restrict row = x + r * width;                                                 \
            for (int64_t i = 0; i < width; i++)                                                    \
                out[i] += row[i];                                                                  \
        }                                                                                          \
    }

DEFINE_LOOPS(float, f32)
DEFINE_LOOPS(double, f64)

void rnn_gather(const struct seq_batch *batch, const struct tensor *to, const struct tensor *from,
                const struct tensor *bias, int64_t width)
{
    if (bias == NULL)
        seq_batch_gather(batch, to->data, from->data, (size_t)width * dtype_bytes(from->dtype));
    else if (from->dtype == DTYPE_FP32)
        gather_biased_f32(batch, width, tensor_f32(to), tensor_f32(from), tensor_f32(bias));
    else
        gather_biased_f64(batch, width, tensor_f64(to), tensor_f64(from), tensor_f64(bias));
}

void rnn_add_bias(int64_t rows, int64_t width, const struct tensor *to, const struct tensor *from,
                  const struct tensor *bias)
{
    if (bias == NULL && tensor_bytes(from) > 0)
        memcpy(to->data, from->data, tensor_bytes(from));
    else if (bias != NULL && from->dtype == DTYPE_FP32)
        add_bias_f32(rows, width, tensor_f32(to), tensor_f32(from), tensor_f32(bias));
    else if (bias != NULL)
        add_bias_f64(rows, width, tensor_f64(to), tensor_f64(from), tensor_f64(bias));
}

void rnn_sum_rows(enum dtype dtype, int64_t rows, int64_t width, const void *x, void *out)
{
    if (dtype == DTYPE_FP32)
        sum_rows_f32(rows, width, x, out);
    else
        sum_rows_f64(rows, width, x, out);
}

void rnn_put_state(const struct seq_batch *batch, const struct tensor *grad, const void *from)
{
    seq_batch_put(batch, grad->data, from, (size_t)grad->dims.d[1] * dtype_bytes(grad->dtype));
}

int rnn_pack(struct op_ctx *ctx, int temp, int64_t products, struct rnn_factor *factor)
{
    void *panels = NULL;
    int64_t floats =
        products > 1 && factor->dtype == DTYPE_FP32 ? gemm_small_panels(factor->k, factor->n) : 0;
    factor->panels = NULL;
    if (floats == 0)
        return 0;
    int rc = rnn_temp(ctx, temp, DTYPE_FP32, 1, floats, &panels);
    if (rc < 0)
        return rc;
    const struct blas_product product = {
        .tb = factor->transposed, .n = factor->n, .k = factor->k, .ldb = factor->row};
    gemm_small_pack(&product, factor->b, panels);
    factor->panels = panels;
    return 0;
}

void rnn_multiply(const struct rnn_factor *factor, int64_t rows, const void *a, int64_t a_row,
                  bool add, void *c, int64_t c_row)
{
    const struct blas_product product = {.tb = factor->transposed,
                                         .m = rows,
                                         .n = factor->n,
                                         .k = factor->k,
                                         .lda = a_row,
                                         .ldb = factor->row,
                                         .ldc = c_row,
                                         .alpha = 1,
                                         .beta = add ? 1 : 0};
    if (factor->panels != NULL)
        gemm_small_packed(&product, a, factor->panels, c);
    else
        blas_multiply(&product, factor->dtype == DTYPE_FP32, a, factor->b, c);
}
