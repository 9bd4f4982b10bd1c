// SPDX-License-Identifier: Apache-2.0
// Elementwise functions of one tensor; all shapes equal.
//
//   relu    Out = max(X, 0)        dX = dOut (Out > 0)     (reads Out, so X may be reused)
//   square  Out = X X              dX = dOut 2 X
//
// relu keeps NaN, and its gradient makes NaN of an infinite dOut, as Fluid's do.

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"

extern const struct op_def op_activation_relu, op_activation_relu_grad;
extern const struct op_def op_activation_square, op_activation_square_grad;

static const struct op_attr_def activation_attrs[] = {
    OP_ATTR_BOOL("use_mkldnn", 0),
    OP_ATTR_BOOL("use_cudnn", 0),
    {.name = NULL},
};

static const struct op_slot_def unary_inputs[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def unary_outputs[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def grad_from_out_inputs[] = {{"Out", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def grad_from_x_inputs[] = {{"X", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def unary_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

// Out may be X's own memory (and dX dOut's), hence no restrict.
#define DEFINE_ACTIVATIONS(T, S)                                                                   \
    OP_CLONES static void relu_forward_##S(T *out, const T *x, size_t n)                           \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            out[i] = x[i] < 0 ? 0 : x[i];                                                          \
    }                                                                                              \
    OP_CLONES static void relu_backward_##S(T *dx, const T *out, const T *dout, size_t n)          \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            dx[i] = dout[i] * (T)(out[i] > 0);                                                     \
    }                                                                                              \
    OP_CLONES static void square_forward_##S(T *out, const T *x, size_t n)                         \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            out[i] = x[i] * x[i];                                                                  \
    }                                                                                              \
    OP_CLONES static void square_backward_##S(T *dx, const T *x, const T *dout, size_t n)          \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            dx[i] = dout[i] * 2 * x[i];                                                            \
    }

DEFINE_ACTIVATIONS(float, f32)
DEFINE_ACTIVATIONS(double, f64)

static int run_unary(struct op_ctx *ctx, void (*f32)(float *, const float *, size_t),
                     void (*f64)(double *, const double *, size_t))
{
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *out = op_out(ctx, 0);
    if (x->dtype == DTYPE_FP32)
        f32(tensor_f32(out), tensor_f32(x), tensor_count(x));
    else if (x->dtype == DTYPE_FP64)
        f64(tensor_f64(out), tensor_f64(x), tensor_count(x));
    else
        return op_bad_dtype(ctx, (int)x->dtype);
    return 0;
}

// kept is what the forward pass left for the gradient: X or Out.
static int run_unary_grad(struct op_ctx *ctx,
                          void (*f32)(float *, const float *, const float *, size_t),
                          void (*f64)(double *, const double *, const double *, size_t))
{
    const struct tensor *kept = op_in(ctx, 0), *dout = op_in(ctx, 1);
    struct tensor *dx = op_out(ctx, 0);
    if (dx == NULL)
        return 0;
    if (kept->dtype != dout->dtype || tensor_count(kept) != tensor_count(dout))
        return err_set(ctx->err, SL_EMISMATCH, "Out@GRAD has not the type and size of Out");
    if (kept->dtype == DTYPE_FP32)
        f32(tensor_f32(dx), tensor_f32(kept), tensor_f32(dout), tensor_count(kept));
    else if (kept->dtype == DTYPE_FP64)
        f64(tensor_f64(dx), tensor_f64(kept), tensor_f64(dout), tensor_count(kept));
    else
        return op_bad_dtype(ctx, (int)kept->dtype);
    return 0;
}

static int relu_forward(struct op_ctx *ctx)
{
    return run_unary(ctx, relu_forward_f32, relu_forward_f64);
}

static int relu_backward(struct op_ctx *ctx)
{
    return run_unary_grad(ctx, relu_backward_f32, relu_backward_f64);
}

static int square_forward(struct op_ctx *ctx)
{
    return run_unary(ctx, square_forward_f32, square_forward_f64);
}

static int square_backward(struct op_ctx *ctx)
{
    return run_unary_grad(ctx, square_backward_f32, square_backward_f64);
}

const struct op_def op_activation_relu = {
    .type = "relu",
    .inputs = unary_inputs,
    .outputs = unary_outputs,
    .attrs = activation_attrs,
    .grad = {.type = "relu_grad", .inputs = "Out Out@GRAD", .outputs = "X@GRAD"},
    .kernel = relu_forward,
};

const struct op_def op_activation_relu_grad = {
    .type = "relu_grad",
    .inputs = grad_from_out_inputs,
    .outputs = unary_grad_outputs,
    .attrs = activation_attrs,
    .kernel = relu_backward,
};

const struct op_def op_activation_square = {
    .type = "square",
    .inputs = unary_inputs,
    .outputs = unary_outputs,
    .attrs = activation_attrs,
    .grad = {.type = "square_grad", .inputs = "X Out@GRAD", .outputs = "X@GRAD"},
    .kernel = square_forward,
};

const struct op_def op_activation_square_grad = {
    .type = "square_grad",
    .inputs = grad_from_x_inputs,
    .outputs = unary_grad_outputs,
    .attrs = activation_attrs,
    .kernel = square_backward,
};
