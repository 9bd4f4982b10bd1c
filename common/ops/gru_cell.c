// SPDX-License-Identifier: Apache-2.0
// Backward, with g = dh:
//
//   du = g (m - h'), dm = g u, dh' += g (1 - u)     in origin_mode du = g (h' - m),
//                                                   dm = g (1 - u), dh' += g u
//   dq = dm Weight[:, 2D:3D]^T, dr = dq h', dh' += dq r
//   dh' += [du dr] Weight[:, 0:2D]^T
//   dWeight = h'^T [du dr] and q^T dm
//
// where du, dr and dm go through the derivatives of their activations before they are used on.

#include "common/ops/gru_cell.h"

#include "common/ops/blas.h"
#include "common/ops/op_clones.h"
#include "common/ops/rnn.h"

#define DEFINE_LOOPS(T, S)                                                                         \
    OP_CLONES static void reset_##S(int64_t n, const T *restrict r, const T *restrict before,      \
                                    T *restrict q)                                                 \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            q[i] = before != NULL ? r[i] * before[i] : 0;                                          \
    }                                                                                              \
    OP_CLONES static void output_##S(int64_t n, const T *restrict gates, const T *restrict before, \
                                     bool origin_mode, T *restrict h)                              \
    {                                                                                              \
        const T *u = gates, *m = gates + 2 * n;                                                    \
        for (int64_t i = 0; before == NULL && i < n; i++)                                          \
            h[i] = origin_mode ? m[i] - u[i] * m[i] : u[i] * m[i];                                 \
        for (int64_t i = 0; before != NULL && origin_mode && i < n; i++)                           \
            h[i] = u[i] * before[i] + m[i] - u[i] * m[i];                                          \
        for (int64_t i = 0; before != NULL && !origin_mode && i < n; i++)                          \
            h[i] = before[i] - u[i] * before[i] + u[i] * m[i];                                     \
    }                                                                                              \
    /* d: du and dm; the share of dh' is added. */                                                 \
    OP_CLONES static void output_back_##S(                                                         \
        int64_t n, const T *restrict gates, const T *restrict before, bool origin_mode,            \
        const T *restrict dout, T *restrict d, T *restrict dbefore)                                \
    {                                                                                              \
        const T *u = gates, *m = gates + 2 * n, sign = origin_mode ? -1 : 1;                       \
        for (int64_t i = 0; i < n; i++) {                                                          \
            d[i] = sign * dout[i] * (m[i] - (before != NULL ? before[i] : 0));                     \
            d[2 * n + i] = dout[i] * (origin_mode ? 1 - u[i] : u[i]);                              \
        }                                                                                          \
        for (int64_t i = 0; dbefore != NULL && i < n; i++)                                         \
            dbefore[i] += dout[i] * (origin_mode ? u[i] : 1 - u[i]);                               \
    }                                                                                              \
    OP_CLONES static void reset_back_##S(int64_t n, const T *restrict r, const T *restrict before, \
                                         const T *restrict dq, T *restrict dr,                     \
                                         T *restrict dbefore)                                      \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            dr[i] = before != NULL ? dq[i] * before[i] : 0;                                        \
        for (int64_t i = 0; dbefore != NULL && i < n; i++)                                         \
            dbefore[i] += dq[i] * r[i];                                                            \
    }                                                                                              \
    static void reset_rows_##S(const struct gru_cell *cell, const struct gru_cell_step *step)      \
    {                                                                                              \
        const int64_t n = cell->width;                                                             \
        const T *before = step->before;                                                            \
        T *gates = step->gates, *q = step->reset;                                                  \
        for (int64_t r = 0; r < step->rows; r++) {                                                 \
            gate_act_apply_##S(cell->gate, 2 * n, gates + 3 * n * r);                              \
            reset_##S(n, gates + 3 * n * r + n, before ? before + n * r : NULL, q + n * r);        \
        }                                                                                          \
    }                                                                                              \
    static void output_rows_##S(const struct gru_cell *cell, const struct gru_cell_step *step)     \
    {                                                                                              \
        const int64_t n = cell->width;                                                             \
        const T *before = step->before;                                                            \
        T *gates = step->gates, *h = step->out;                                                    \
        for (int64_t r = 0; r < step->rows; r++) {                                                 \
            gate_act_apply_##S(cell->candidate, n, gates + 3 * n * r + 2 * n);                     \
            output_##S(n, gates + 3 * n * r, before ? before + n * r : NULL, cell->origin_mode,    \
                       h + n * r);                                                                 \
        }                                                                                          \
    }                                                                                              \
    static void output_rows_back_##S(const struct gru_cell *cell,                                  \
                                     const struct gru_cell_step *step,                             \
                                     const struct gru_cell_back *back)                             \
    {                                                                                              \
        const int64_t n = cell->width;                                                             \
        const T *gates = step->gates, *before = step->before, *dout = back->dout;                  \
        T *d = back->dgates, *dbefore = back->dbefore;                                             \
        for (int64_t r = 0; r < step->rows; r++) {                                                 \
            output_back_##S(n, gates + 3 * n * r, before ? before + n * r : NULL,                  \
                            cell->origin_mode, dout + n * r, d + 3 * n * r,                        \
                            dbefore ? dbefore + n * r : NULL);                                     \
            gate_act_back_##S(cell->candidate, n, d + 3 * n * r + 2 * n,                           \
                              gates + 3 * n * r + 2 * n);                                          \
        }                                                                                          \
    }                                                                                              \
    static void reset_rows_back_##S(const struct gru_cell *cell, const struct gru_cell_step *step, \
                                    const struct gru_cell_back *back)                              \
    {                                                                                              \
        const int64_t n = cell->width;                                                             \
        const T *gates = step->gates, *before = step->before, *dq = back->dreset;                  \
        T *d = back->dgates, *dbefore = back->dbefore;                                             \
        for (int64_t r = 0; r < step->rows; r++) {                                                 \
            reset_back_##S(n, gates + 3 * n * r + n, before ? before + n * r : NULL, dq + n * r,   \
                           d + 3 * n * r + n, dbefore ? dbefore + n * r : NULL);                   \
            gate_act_back_##S(cell->gate, 2 * n, d + 3 * n * r, gates + 3 * n * r);                \
        }                                                                                          \
    }

DEFINE_LOOPS(float, f32)
DEFINE_LOOPS(double, f64)

#define BY_TYPE(step, name, ...)                                                                   \
    ((step)->dtype == DTYPE_FP32 ? name##_f32(__VA_ARGS__) : name##_f64(__VA_ARGS__))

struct gru_cell_weights gru_cell_weights(const struct gru_cell *cell, const struct tensor *weight,
                                         bool backward)
{
    const int64_t d = cell->width;
    return (struct gru_cell_weights){
        .gates = {.dtype = weight->dtype,
                  .transposed = backward,
                  .k = backward ? 2 * d : d,
                  .n = backward ? d : 2 * d,
                  .row = 2 * d,
                  .b = weight->data},
        .candidate = {.dtype = weight->dtype,
                      .transposed = backward,
                      .k = d,
                      .n = d,
                      .row = d,
                      .b = rnn_at(weight->data, 2 * d * d, weight->dtype)},
    };
}

void gru_cell_forward(const struct gru_cell *cell, const struct gru_cell_step *step)
{
    const int64_t d = cell->width;
    if (step->before != NULL)
        rnn_multiply(&step->weights->gates, step->rows, step->before, d, true, step->gates, 3 * d);
    BY_TYPE(step, reset_rows, cell, step);
    if (step->before != NULL)
        rnn_multiply(&step->weights->candidate, step->rows, step->reset, d, true,
                     rnn_at(step->gates, 2 * d, step->dtype), 3 * d);
    BY_TYPE(step, output_rows, cell, step);
}

void gru_cell_backward(const struct gru_cell *cell, const struct gru_cell_step *step,
                       const struct gru_cell_back *back)
{
    const int64_t d = cell->width;
    BY_TYPE(step, output_rows_back, cell, step, back);
    if (step->before != NULL)
        rnn_multiply(&step->weights->candidate, step->rows,
                     rnn_at(back->dgates, 2 * d, step->dtype), 3 * d, false, back->dreset, d);
    BY_TYPE(step, reset_rows_back, cell, step, back);
    if (back->dbefore != NULL)
        rnn_multiply(&step->weights->gates, step->rows, back->dgates, 3 * d, true, back->dbefore,
                     d);
}

void gru_cell_weight(const struct gru_cell *cell, const struct gru_cell_step *step,
                     const void *dgates, bool add, void *dweight)
{
    const int64_t d = cell->width;
    bool f32 = step->dtype == DTYPE_FP32;
    struct blas_product product = {.ta = true,
                                   .m = d,
                                   .n = 2 * d,
                                   .lda = d,
                                   .ldb = 3 * d,
                                   .ldc = 2 * d,
                                   .alpha = 1,
                                   .beta = add ? 1 : 0,
                                   .k = step->before != NULL ? step->rows : 0};
    blas_multiply(&product, f32, step->before, dgates, dweight);
    product.n = product.ldc = d;
    blas_multiply(&product, f32, step->reset, rnn_at(dgates, 2 * d, step->dtype),
                  rnn_at(dweight, 2 * d * d, step->dtype));
}
