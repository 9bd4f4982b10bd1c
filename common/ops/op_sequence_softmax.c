// SPDX-License-Identifier: Apache-2.0
// sequence_softmax: X [rows, 1] (or [rows]) with LoD; softmax over the rows of each sequence of the
// last level.
//
//   Out = e^x / sum(e^x)
//   dX  = Out (dOut - sum(Out dOut))
//
// Bit by bit what Fluid gives: exponentials in double, each sum rounded to X's type on the way, the
// division in double again. Where that sum overflows (or is 0), which gives NaN in Fluid, the
// largest x is subtracted first.

#include <math.h>

#include "common/base/err.h"
#include "common/ops/op_clones.h"
#include "common/ops/sequence.h"

extern const struct op_def op_sequence_softmax, op_sequence_softmax_grad;

static const struct op_attr_def softmax_attrs[] = {
    OP_ATTR_BOOL("use_cudnn", 0),
    OP_ATTR_STRING("data_format", "AnyLayout"),
    {.name = NULL},
};
static const struct op_slot_def softmax_inputs[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def softmax_outputs[] = {{"Out", 0}, {NULL, 0}};
enum { GRAD_OUT, GRAD_DOUT, GRAD_X };
static const struct op_slot_def softmax_grad_inputs[] = {
    {"Out", 0}, {"Out@GRAD", 0}, {"X", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def softmax_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

#define DEFINE_SOFTMAX(T, S)                                                                       \
    /* e = e^(x - minus) of one sequence of n elements; returns the sum */                         \
    static T exp_sum_##S(double *e, const T *x, size_t n, double minus)                            \
    {                                                                                              \
        T sum = 0;                                                                                 \
        for (size_t i = 0; i < n; i++) {                                                           \
            e[i] = exp((double)x[i] - minus);                                                      \
            sum = (T)((double)sum + e[i]);                                                         \
        }                                                                                          \
        return sum;                                                                                \
    }                                                                                              \
    static void softmax_##S(T *out, double *e, const T *x, size_t n)                               \
    {                                                                                              \
        T sum = exp_sum_##S(e, x, n, 0);                                                           \
        if (!(sum > 0 && sum < (T)INFINITY)) {                                                     \
            T largest = x[0];                                                                      \
            for (size_t i = 1; i < n; i++)                                                         \
                largest = x[i] > largest ? x[i] : largest;                                         \
            sum = exp_sum_##S(e, x, n, (double)largest);                                           \
        }                                                                                          \
        for (size_t i = 0; i < n; i++)                                                             \
            out[i] = (T)(e[i] / (double)sum);                                                      \
    }                                                                                              \
    OP_CLONES static void softmax_back_##S(T *dx, const T *out, const T *dout, size_t n)           \
    {                                                                                              \
        T sum = 0;                                                                                 \
        for (size_t i = 0; i < n; i++)                                                             \
            sum += out[i] * dout[i];                                                               \
        for (size_t i = 0; i < n; i++)                                                             \
            dx[i] = out[i] * (dout[i] - sum);                                                      \
    }

DEFINE_SOFTMAX(float, f32)
DEFINE_SOFTMAX(double, f64)

static int softmax_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    bool column = x->dims.rank >= 1;
    for (int i = 1; i < x->dims.rank; i++)
        column = column && op_dims_fit(x->dims.d[i], 1);
    if (!column)
        return err_set(shape->err, SL_EMISMATCH, "X must be [rows, 1]");
    op_shape_copy(shape, 0, 0, x);
    return 0;
}

static int softmax_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *out = op_shape_in(shape, GRAD_OUT, 0);
    op_shape_set(shape, 0, 0, &out->dims, out->dtype, shape->building ? NULL : out);
    return 0;
}

static int softmax_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *out = op_out(ctx, 0);
    struct sequences s;
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    int rc = sequence_read(ctx, "X", x, &s);
    size_t longest = 0;
    for (size_t k = 0; rc == 0 && k < s.count; k++)
        longest =
            (size_t)sequence_length(&s, k) > longest ? (size_t)sequence_length(&s, k) : longest;
    const struct dims dims = {.rank = 1, .d = {(int64_t)longest}};
    if (rc == 0)
        rc = op_resize(&ctx->temps[0], DTYPE_FP64, &dims, ctx->err);
    double *e = rc == 0 ? tensor_f64(&ctx->temps[0]) : NULL;
    for (size_t k = 0; rc == 0 && k < s.count; k++) {
        size_t n = (size_t)sequence_length(&s, k), at = s.offsets[k];
        if (n > 0 && x->dtype == DTYPE_FP32)
            softmax_f32(tensor_f32(out) + at, e, tensor_f32(x) + at, n);
        else if (n > 0)
            softmax_f64(tensor_f64(out) + at, e, tensor_f64(x) + at, n);
    }
    return rc;
}

static int softmax_backward(struct op_ctx *ctx)
{
    const struct tensor *out = op_in(ctx, GRAD_OUT), *dout = op_in(ctx, GRAD_DOUT);
    struct tensor *dx = op_out(ctx, 0);
    struct sequences s;
    if (dx == NULL)
        return 0;
    if (out->dtype != DTYPE_FP32 && out->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)out->dtype);
    int rc = sequence_read(ctx, "Out", out, &s);
    if (rc == 0 && (tensor_count(out) != (uint64_t)out->dims.d[0] || dout->dtype != out->dtype ||
                    tensor_count(dout) != tensor_count(out)))
        rc =
            err_set(ctx->err, SL_EMISMATCH, "Out must be [rows, 1], Out@GRAD of its size and type");
    for (size_t k = 0; rc == 0 && k < s.count; k++) {
        size_t n = (size_t)sequence_length(&s, k), at = s.offsets[k];
        if (n > 0 && out->dtype == DTYPE_FP32)
            softmax_back_f32(tensor_f32(dx) + at, tensor_f32(out) + at, tensor_f32(dout) + at, n);
        else if (n > 0)
            softmax_back_f64(tensor_f64(dx) + at, tensor_f64(out) + at, tensor_f64(dout) + at, n);
    }
    return rc;
}

const struct op_def op_sequence_softmax = {
    .type = "sequence_softmax",
    .inputs = softmax_inputs,
    .outputs = softmax_outputs,
    .attrs = softmax_attrs,
    .grad = {.type = "sequence_softmax_grad", .inputs = "Out Out@GRAD X", .outputs = "X@GRAD"},
    .infer_shape = softmax_infer,
    .kernel = softmax_forward,
    .temps = 1,
};

const struct op_def op_sequence_softmax_grad = {
    .type = "sequence_softmax_grad",
    .inputs = softmax_grad_inputs,
    .outputs = softmax_grad_outputs,
    .attrs = softmax_attrs,
    .infer_shape = softmax_grad_infer,
    .kernel = softmax_backward,
};
