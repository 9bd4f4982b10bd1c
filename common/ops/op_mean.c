// SPDX-License-Identifier: Apache-2.0
// mean over all elements; Out is [1].
//
//   forward   Out = sum(X) / n
//   backward  dX[i] = dOut / n
//
// The sum runs in OP_LANES interleaved partial sums that are folded in order: one fixed order on
// every machine, and more exact than one long chain.

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"

extern const struct op_def op_mean, op_mean_grad;

static const struct op_attr_def no_attrs[] = {{.name = NULL}};
static const struct op_slot_def mean_inputs[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def mean_outputs[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def mean_grad_inputs[] = {{"X", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def mean_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

#define DEFINE_MEAN(T, S)                                                                          \
    OP_CLONES static T mean_forward_##S(const T *x, size_t n)                                      \
    {                                                                                              \
        T lanes[OP_LANES] = {0}, sum = 0;                                                          \
        size_t i = 0;                                                                              \
        for (; i + OP_LANES <= n; i += OP_LANES)                                                   \
            for (size_t l = 0; l < OP_LANES; l++)                                                  \
                lanes[l] += x[i + l];                                                              \
        for (; i < n; i++)                                                                         \
            lanes[i % OP_LANES] += x[i];                                                           \
        for (size_t l = 0; l < OP_LANES; l++)                                                      \
            sum += lanes[l];                                                                       \
        return sum / (T)n;                                                                         \
    }                                                                                              \
    static void mean_backward_##S(T *dx, T dout, size_t n)                                         \
    {                                                                                              \
        T each = dout / (T)n;                                                                      \
        for (size_t i = 0; i < n; i++)                                                             \
            dx[i] = each;                                                                          \
    }

DEFINE_MEAN(float, f32)
DEFINE_MEAN(double, f64)

static int mean_infer(struct op_shape *shape)
{
    const struct dims out = {.rank = 1, .d = {1}};
    op_shape_set(shape, 0, 0, &out, op_shape_in(shape, 0, 0)->dtype, NULL);
    return 0;
}

static int mean_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *out = op_out(ctx, 0);
    if (x->dtype == DTYPE_FP32)
        *tensor_f32(out) = mean_forward_f32(tensor_f32(x), tensor_count(x));
    else if (x->dtype == DTYPE_FP64)
        *tensor_f64(out) = mean_forward_f64(tensor_f64(x), tensor_count(x));
    else
        return op_bad_dtype(ctx, (int)x->dtype);
    return 0;
}

static int mean_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, 0), *dout = op_in(ctx, 1);
    struct tensor *dx = op_out(ctx, 0);
    if (dx == NULL)
        return 0;
    if (tensor_count(dout) != 1 || dout->dtype != x->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "Out@GRAD must be one element of X's type");
    if (x->dtype == DTYPE_FP32)
        mean_backward_f32(tensor_f32(dx), *tensor_f32(dout), tensor_count(x));
    else if (x->dtype == DTYPE_FP64)
        mean_backward_f64(tensor_f64(dx), *tensor_f64(dout), tensor_count(x));
    else
        return op_bad_dtype(ctx, (int)x->dtype);
    return 0;
}

const struct op_def op_mean = {
    .type = "mean",
    .inputs = mean_inputs,
    .outputs = mean_outputs,
    .attrs = no_attrs,
    .grad = {.type = "mean_grad", .inputs = "X Out@GRAD", .outputs = "X@GRAD", .drop_attrs = true},
    .infer_shape = mean_infer,
    .kernel = mean_forward,
};

const struct op_def op_mean_grad = {
    .type = "mean_grad",
    .inputs = mean_grad_inputs,
    .outputs = mean_grad_outputs,
    .attrs = no_attrs,
    .kernel = mean_backward,
};
