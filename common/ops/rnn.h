// SPDX-License-Identifier: Apache-2.0
// What the recurrent ops share around their cells. Element types are float32 and float64; pointers
// are void and offsets count elements.
#pragma once

#include "common/ops/seq_batch.h"

// Element `at` behind base.
static inline void *rnn_at(const void *base, int64_t at, enum dtype dtype)
{
    return base == NULL ? NULL : (char *)(uintptr_t)base + (size_t)at * dtype_bytes(dtype);
}

// ctx->temps[temp] becomes [rows, width]; *out points at its elements.
int rnn_temp(struct op_ctx *ctx, int temp, enum dtype dtype, int64_t rows, int64_t width,
             void **out);
void rnn_zero(const struct tensor *t);   // all elements become 0
// A state [sequences, width] in the order of the batch, in ctx->temps[temp]. *out is NULL when
// state is. SL_EMISMATCH for another number of rows; name is the slot.
int rnn_order(struct op_ctx *ctx, const struct seq_batch *batch, const char *name,
              const struct tensor *state, int temp, void **out);
// to[i] = from[row[i]] + bias; rows of `width` elements, bias (its first `width`) may be NULL.
void rnn_gather(const struct seq_batch *batch, const struct tensor *to, const struct tensor *from,
                const struct tensor *bias, int64_t width);
// to = from + bias (or from alone): [rows, width] each, bias [width].
void rnn_add_bias(int64_t rows, int64_t width, const struct tensor *to, const struct tensor *from,
                  const struct tensor *bias);
// out = the sums of the columns of x [rows, width], in the order of the rows.
void rnn_sum_rows(enum dtype dtype, int64_t rows, int64_t width, const void *x, void *out);
// The gradient of a state: from's rows (the batch's order) into grad.
void rnn_put_state(const struct seq_batch *batch, const struct tensor *grad, const void *from);

// The same matrix [k, n] (stored [n, k] when transposed) under the product of every step.
struct rnn_factor {
    enum dtype dtype;
    bool transposed;
    int64_t k, n, row;   // row: elements from one stored row to the next
    const void *b;
    const float *panels;   // of gemm_small.h; NULL: BLAS takes b
};
// Packs the matrix into ctx->temps[temp] when it is for `products` products and that pays.
int rnn_pack(struct op_ctx *ctx, int temp, int64_t products, struct rnn_factor *factor);
// c = a b, or c += a b: a [rows, k] and c [rows, n] with so many elements a row.
void rnn_multiply(const struct rnn_factor *factor, int64_t rows, const void *a, int64_t a_row,
                  bool add, void *c, int64_t c_row);
