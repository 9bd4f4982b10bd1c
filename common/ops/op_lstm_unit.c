// SPDX-License-Identifier: Apache-2.0
// One time step of LSTM without a matrix product: B rows, width D.
//
//   lstm_unit   X [B, 4D]: input i, forget f, output o, candidate g; C_prev [B, D]; C, H [B, D]
//
//   i = s(i)  f = s(f + forget_bias)  o = s(o)  g = tanh(g)      s(x) = 1 / (1 + e^-x)
//   C = f C_prev + i g, H = o tanh(C)
//
//   t = tanh(C), dc = dC + dH o (1 - t t); dC_prev = dc f
//   dX = dc g i (1 - i), dc C_prev f (1 - f), dH t o (1 - o), dc i (1 - g g)

#include <string.h>

#include "common/base/err.h"
#include "common/ops/gate_act.h"
#include "common/ops/op_clones.h"
#include "common/ops/rnn.h"
#include "common/ops/shape_check.h"

extern const struct op_def op_lstm_unit, op_lstm_unit_grad;

enum { UNIT_FORGET_BIAS };
static const struct op_attr_def unit_attrs[] = {OP_ATTR_FLOAT("forget_bias", 0), {.name = NULL}};

enum { UNIT_X, UNIT_C_PREV, UNIT_IN_C, UNIT_IN_DC, UNIT_IN_DH };
static const struct op_slot_def unit_inputs[] = {{"X", 0}, {"C_prev", 0}, {NULL, 0}};
static const struct op_slot_def unit_grad_inputs[] = {{"X", 0},      {"C_prev", 0}, {"C", 0},
                                                      {"C@GRAD", 0}, {"H@GRAD", 0}, {NULL, 0}};
enum { UNIT_C, UNIT_H };
static const struct op_slot_def unit_outputs[] = {{"C", 0}, {"H", 0}, {NULL, 0}};
static const struct op_slot_def unit_grad_outputs[] = {
    {"X@GRAD", OP_SLOT_OPTIONAL}, {"C_prev@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

enum { TEMP_GATES, TEMP_TANH, TEMP_DGATES, UNIT_TEMPS };

static int check_shapes(const struct op_shape *shape)
{
    const struct op_var_dims *c_prev = op_shape_in(shape, UNIT_C_PREV, 0);
    char text[DIMS_TEXT_MAX];
    if (c_prev->dims.rank != 2 || c_prev->dims.d[1] < 1)
        return err_set(shape->err, SL_EMISMATCH, "C_prev %s must be [rows, width]",
                       dims_format(&c_prev->dims, text));
    return shape_check_matrix(shape, UNIT_X, c_prev->dims.d[0], 4 * c_prev->dims.d[1]);
}

static int unit_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, UNIT_X, 0);
    int rc = check_shapes(shape);
    if (rc < 0)
        return rc;
    const struct dims dims = {.rank = 2, .d = {x->dims.d[0], x->dims.d[1] / 4}};
    op_shape_set(shape, UNIT_C, 0, &dims, x->dtype, NULL);
    op_shape_set(shape, UNIT_H, 0, &dims, x->dtype, NULL);
    return 0;
}

static int unit_grad_infer(struct op_shape *shape)
{
    int rc = check_shapes(shape);
    const struct op_var_dims *x = op_shape_in(shape, UNIT_X, 0);
    const struct op_var_dims *c_prev = op_shape_in(shape, UNIT_C_PREV, 0);
    for (int s = UNIT_IN_C; rc == 0 && s <= UNIT_IN_DH; s++)
        rc = shape_check_matrix(shape, s, x->dims.d[0], c_prev->dims.d[1]);
    if (rc < 0)
        return rc;
    op_shape_set(shape, UNIT_X, 0, &x->dims, x->dtype, NULL);
    op_shape_set(shape, UNIT_C_PREV, 0, &c_prev->dims, c_prev->dtype, NULL);
    return 0;
}

#define DEFINE_LOOPS(T, S)                                                                         \
    static void activate_##S(int64_t rows, int64_t d, T forget_bias, const T *x, T *gates)         \
    {                                                                                              \
        for (int64_t r = 0; r < rows; r++, x += 4 * d, gates += 4 * d) {                           \
            memcpy(gates, x, (size_t)(4 * d) * sizeof *x);                                         \
            for (int64_t i = d; i < 2 * d; i++)                                                    \
                gates[i] += forget_bias;                                                           \
            gate_act_apply_##S(GATE_ACT_SIGMOID_FULL, 3 * d, gates);                               \
            gate_act_apply_##S(GATE_ACT_TANH, d, gates + 3 * d);                                   \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void state_row_##S(int64_t d, const T *restrict gates,                        \
                                        const T *restrict before, T *restrict c, T *restrict h)    \
    {                                                                                              \
        for (int64_t i = 0; i < d; i++)                                                            \
            h[i] = c[i] = gates[d + i] * before[i] + gates[i] * gates[3 * d + i];                  \
    }                                                                                              \
    static void forward_##S(int64_t rows, int64_t d, const T *gates, const T *before, T *c, T *h)  \
    {                                                                                              \
        for (int64_t r = 0; r < rows; r++) {                                                       \
            const T *g = gates + 4 * d * r;                                                        \
            state_row_##S(d, g, before + d * r, c + d * r, h + d * r);                             \
            gate_act_apply_##S(GATE_ACT_TANH, d, h + d * r);                                       \
            for (int64_t i = 0; i < d; i++)                                                        \
                h[d * r + i] *= g[2 * d + i];                                                      \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void backward_row_##S(                                                        \
        int64_t n, const T *restrict g, const T *restrict before, const T *restrict t,             \
        const T *restrict dc, const T *restrict dh, T *restrict dx, T *restrict dbefore)           \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                          \
            T in = g[i], f = g[n + i], o = g[2 * n + i], m = g[3 * n + i];                         \
            T d = dc[i] + dh[i] * o * (1 - t[i] * t[i]);                                           \
            dx[i] = d * m * in * (1 - in);                                                         \
            dx[n + i] = d * before[i] * f * (1 - f);                                               \
            dx[2 * n + i] = dh[i] * t[i] * o * (1 - o);                                            \
            dx[3 * n + i] = d * in * (1 - m * m);                                                  \
            dbefore[i] = d * f;                                                                    \
        }                                                                                          \
    }                                                                                              \
    static void backward_##S(const struct op_ctx *ctx, int64_t rows, int64_t d, const T *gates,    \
                             const T *t, T *dx, T *dbefore)                                        \
    {                                                                                              \
        const T *before = op_in(ctx, UNIT_C_PREV)->data, *dc = op_in(ctx, UNIT_IN_DC)->data;       \
        const T *dh = op_in(ctx, UNIT_IN_DH)->data;                                                \
        for (int64_t r = 0; r < rows; r++)                                                         \
            backward_row_##S(d, gates + 4 * d * r, before + d * r, t + d * r, dc + d * r,          \
                             dh + d * r, dx + 4 * d * r, dbefore + d * r);                         \
    }

DEFINE_LOOPS(float, f32)
DEFINE_LOOPS(double, f64)

// The activated gates of all rows, in a temporary.
static int activate(struct op_ctx *ctx, void **out_gates)
{
    static const int others[] = {UNIT_C_PREV, -1};
    const struct tensor *x = op_in(ctx, UNIT_X);
    int64_t rows = x->dims.d[0], d = x->dims.d[1] / 4;
    float forget_bias = ctx->attr[UNIT_FORGET_BIAS]->f;
    int rc = shape_check_floats(ctx, others);
    if (rc == 0)
        rc = rnn_temp(ctx, TEMP_GATES, x->dtype, rows, 4 * d, out_gates);
    if (rc < 0)
        return rc;
    if (x->dtype == DTYPE_FP32)
        activate_f32(rows, d, forget_bias, tensor_f32(x), *out_gates);
    else
        activate_f64(rows, d, (double)forget_bias, tensor_f64(x), *out_gates);
    return 0;
}

static int unit_forward(struct op_ctx *ctx)
{
    void *gates = NULL;
    int rc = activate(ctx, &gates);
    if (rc < 0)
        return rc;
    const struct tensor *c_prev = op_in(ctx, UNIT_C_PREV);
    struct tensor *c = op_out(ctx, UNIT_C), *h = op_out(ctx, UNIT_H);
    int64_t rows = c_prev->dims.d[0], d = c_prev->dims.d[1];
    if (c->dtype == DTYPE_FP32)
        forward_f32(rows, d, gates, tensor_f32(c_prev), tensor_f32(c), tensor_f32(h));
    else
        forward_f64(rows, d, gates, tensor_f64(c_prev), tensor_f64(c), tensor_f64(h));
    return 0;
}

static int unit_backward(struct op_ctx *ctx)
{
    static const int others[] = {UNIT_IN_C, UNIT_IN_DC, UNIT_IN_DH, -1};
    const struct tensor *c = op_in(ctx, UNIT_IN_C);
    struct tensor *dx = op_out(ctx, UNIT_X), *dc_prev = op_out(ctx, UNIT_C_PREV);
    int64_t rows = c->dims.d[0], d = c->dims.d[1];
    void *gates = NULL, *t = NULL, *dgates = NULL, *dbefore = NULL;
    int rc = shape_check_floats(ctx, others);
    if (rc == 0)
        rc = activate(ctx, &gates);
    // tanh(C) and, if it was not asked for, dC_prev.
    if (rc == 0)
        rc = rnn_temp(ctx, TEMP_TANH, c->dtype, 2 * rows, d, &t);
    if (rc == 0 && dx == NULL)
        rc = rnn_temp(ctx, TEMP_DGATES, c->dtype, rows, 4 * d, &dgates);
    if (rc < 0 || rows == 0)
        return rc;
    dgates = dx ? dx->data : dgates;
    dbefore = dc_prev ? dc_prev->data : rnn_at(t, rows * d, c->dtype);
    memcpy(t, c->data, tensor_bytes(c));
    if (c->dtype == DTYPE_FP32) {
        gate_act_apply_f32(GATE_ACT_TANH, rows * d, t);
        backward_f32(ctx, rows, d, gates, t, dgates, dbefore);
    } else {
        gate_act_apply_f64(GATE_ACT_TANH, rows * d, t);
        backward_f64(ctx, rows, d, gates, t, dgates, dbefore);
    }
    return 0;
}

const struct op_def op_lstm_unit = {
    .type = "lstm_unit",
    .inputs = unit_inputs,
    .outputs = unit_outputs,
    .attrs = unit_attrs,
    .grad = {.type = "lstm_unit_grad",
             .inputs = "X C_prev C C@GRAD H@GRAD",
             .outputs = "X@GRAD C_prev@GRAD"},
    .infer_shape = unit_infer,
    .kernel = unit_forward,
    .temps = UNIT_TEMPS,
};

const struct op_def op_lstm_unit_grad = {
    .type = "lstm_unit_grad",
    .inputs = unit_grad_inputs,
    .outputs = unit_grad_outputs,
    .attrs = unit_attrs,
    .infer_shape = unit_grad_infer,
    .kernel = unit_backward,
    .temps = UNIT_TEMPS,
};
