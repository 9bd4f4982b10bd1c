// SPDX-License-Identifier: Apache-2.0
// add, sub, mul of two tensors under Fluid's broadcast rule (broadcast.h).
//
//   add   Out = X + Y     dX = dOut           dY = dOut
//   sub   Out = X - Y     dX = dOut           dY = -dOut
//   mul   Out = X Y       dX = dOut Y         dY = dOut X
//
// A gradient of an operand that was repeated is the sum over its repetitions, added in memory order
// of dOut (a run along the last dimension that folds into one number: in OP_LANES partial sums). A
// gradient nobody asks for is not computed. Out may be X's own memory.

#include <string.h>

#include "common/base/assert.h"
#include "common/base/err.h"
#include "common/ops/broadcast.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"

extern const struct op_def op_elementwise_add, op_elementwise_add_grad;
extern const struct op_def op_elementwise_sub, op_elementwise_sub_grad;
extern const struct op_def op_elementwise_mul, op_elementwise_mul_grad;

enum { ELEMENTWISE_AXIS };
static const struct op_attr_def elementwise_attrs[] = {
    OP_ATTR_INT("axis", -1),
    OP_ATTR_BOOL("use_mkldnn", 0),
    OP_ATTR_STRING("x_data_format", ""),
    OP_ATTR_STRING("y_data_format", ""),
    {.name = NULL},
};

enum { ELEMENTWISE_X, ELEMENTWISE_Y, ELEMENTWISE_DOUT };
enum { ELEMENTWISE_DX, ELEMENTWISE_DY };
static const struct op_slot_def elementwise_inputs[] = {{"X", 0}, {"Y", 0}, {NULL, 0}};
static const struct op_slot_def elementwise_outputs[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def elementwise_grad_inputs[] = {
    {"X", 0}, {"Y", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def elementwise_grad_outputs[] = {
    {"X@GRAD", OP_SLOT_OPTIONAL}, {"Y@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

// Runs of the forward pass; strides are 0 or 1.
#define DEFINE_ROW(NAME, T, S, EXPR)                                                               \
    OP_CLONES static void NAME##_row_##S(void *out_, const void *x_, const void *y_, int64_t n,    \
                                         int64_t x_stride, int64_t y_stride)                       \
    {                                                                                              \
        T *out = out_;                                                                             \
        const T *x = x_, *y = y_;                                                                  \
        if (x_stride && y_stride) {                                                                \
            for (int64_t i = 0; i < n; i++) {                                                      \
                T a = x[i], b = y[i];                                                              \
                out[i] = EXPR;                                                                     \
            }                                                                                      \
        } else if (x_stride) {                                                                     \
            T b = y[0];                                                                            \
            for (int64_t i = 0; i < n; i++) {                                                      \
                T a = x[i];                                                                        \
                out[i] = EXPR;                                                                     \
            }                                                                                      \
        } else {                                                                                   \
            T a = x[0];                                                                            \
            for (int64_t i = 0; i < n; i++) {                                                      \
                T b = y[i * y_stride];                                                             \
                out[i] = EXPR;                                                                     \
            }                                                                                      \
        }                                                                                          \
    }

// Runs of a folded gradient: "x" is the sum (read and written through x_, so out_ is dOut, only
// read). EXPR is made of g = dOut and b = the other operand.
#define DEFINE_FOLD(NAME, T, S, EXPR)                                                              \
    OP_CLONES static void NAME##_fold_##S(void *dout_, const void *sum_, const void *y_,           \
                                          int64_t n, int64_t sum_stride, int64_t y_stride)         \
    {                                                                                              \
        const T *dout = dout_, *y = y_;                                                            \
        T *sum = (T *)(uintptr_t)sum_;                                                             \
        if (sum_stride) {                                                                          \
            for (int64_t i = 0; i < n; i++) {                                                      \
                T g = dout[i], b = y[i * y_stride];                                                \
                sum[i] += EXPR;                                                                    \
                (void)b;                                                                           \
            }                                                                                      \
            return;                                                                                \
        }                                                                                          \
        T lanes[OP_LANES] = {0}, total = 0;                                                        \
        int64_t i = 0;                                                                             \
        for (; i + OP_LANES <= n; i += OP_LANES)                                                   \
            for (int64_t l = 0; l < OP_LANES; l++) {                                               \
                T g = dout[i + l], b = y[(i + l) * y_stride];                                      \
                lanes[l] += EXPR;                                                                  \
                (void)b;                                                                           \
            }                                                                                      \
        for (; i < n; i++) {                                                                       \
            T g = dout[i], b = y[i * y_stride];                                                    \
            lanes[i % OP_LANES] += EXPR;                                                           \
            (void)b;                                                                               \
        }                                                                                          \
        for (int64_t l = 0; l < OP_LANES; l++)                                                     \
            total += lanes[l];                                                                     \
        sum[0] += total;                                                                           \
    }

#define DEFINE_ELEMENTWISE(T, S)                                                                   \
    DEFINE_ROW(add, T, S, a + b)                                                                   \
    DEFINE_ROW(sub, T, S, a - b)                                                                   \
    DEFINE_ROW(mul, T, S, a *b)                                                                    \
    DEFINE_ROW(first, T, S, ((void)b, a))                                                          \
    DEFINE_ROW(negated, T, S, ((void)b, -a))                                                       \
    DEFINE_FOLD(first, T, S, g)                                                                    \
    DEFINE_FOLD(negated, T, S, -g)                                                                 \
    DEFINE_FOLD(mul, T, S, g *b)

DEFINE_ELEMENTWISE(float, f32)
DEFINE_ELEMENTWISE(double, f64)
DEFINE_ELEMENTWISE(int32_t, i32)
DEFINE_ELEMENTWISE(int64_t, i64)

// One row function for each element type.
struct by_dtype {
    broadcast_row *f32, *f64, *i32, *i64;
};
#define BY_DTYPE(NAME) {NAME##_f32, NAME##_f64, NAME##_i32, NAME##_i64}
static const struct by_dtype add_row = BY_DTYPE(add_row), sub_row = BY_DTYPE(sub_row),
                             mul_row = BY_DTYPE(mul_row);
static const struct by_dtype first_row = BY_DTYPE(first_row), negated_row = BY_DTYPE(negated_row);
static const struct by_dtype first_fold = BY_DTYPE(first_fold),
                             negated_fold = BY_DTYPE(negated_fold), mul_fold = BY_DTYPE(mul_fold);

static broadcast_row *pick(const struct by_dtype *rows, enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_FP32:
        return rows->f32;
    case DTYPE_FP64:
        return rows->f64;
    case DTYPE_INT32:
        return rows->i32;
    case DTYPE_INT64:
        return rows->i64;
    default:
        return NULL;
    }
}

static int elementwise_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, ELEMENTWISE_X, 0),
                             *y = op_shape_in(shape, ELEMENTWISE_Y, 0);
    char x_text[DIMS_TEXT_MAX], y_text[DIMS_TEXT_MAX];
    struct dims out;
    if (!broadcast_dims(&x->dims, &y->dims, shape->attr[ELEMENTWISE_AXIS]->i, &out))
        return err_set(shape->err, SL_EMISMATCH, "Y %s does not go along X %s from axis %lld",
                       dims_format(&y->dims, y_text), dims_format(&x->dims, x_text),
                       (long long)shape->attr[ELEMENTWISE_AXIS]->i);
    op_shape_set(shape, 0, 0, &out, x->dtype, x->dims.rank >= y->dims.rank ? x : y);
    return 0;
}

static int elementwise_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, ELEMENTWISE_X, 0),
                             *y = op_shape_in(shape, ELEMENTWISE_Y, 0);
    const struct op_var_dims *dout = op_shape_in(shape, ELEMENTWISE_DOUT, 0);
    struct dims out;
    bool fits = broadcast_dims(&x->dims, &y->dims, shape->attr[ELEMENTWISE_AXIS]->i, &out) &&
                out.rank == dout->dims.rank;
    for (int i = 0; fits && i < out.rank; i++)
        fits = op_dims_fit(out.d[i], dout->dims.d[i]);
    if (!fits)
        return err_set(shape->err, SL_EMISMATCH, "Out@GRAD has not the shape of X and Y together");
    op_shape_default(shape);
    return 0;
}

static int elementwise_forward(struct op_ctx *ctx, const struct by_dtype *rows)
{
    const struct tensor *x = op_in(ctx, ELEMENTWISE_X), *y = op_in(ctx, ELEMENTWISE_Y);
    struct tensor *out = op_out(ctx, 0);
    broadcast_row *row = pick(rows, x->dtype);
    struct broadcast b;
    if (row == NULL)
        return op_bad_dtype(ctx, (int)x->dtype);
    if (x->dtype != y->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "X is %s but Y is %s", dtype_name((int)x->dtype),
                       dtype_name((int)y->dtype));
    broadcast_plan(&x->dims, &y->dims, ctx->attr[ELEMENTWISE_AXIS]->i, &b);
    broadcast_walk(&b, (int)dtype_bytes(x->dtype), out->data, x->data, y->data, row);
    return 0;
}

static int add_forward(struct op_ctx *ctx)
{
    return elementwise_forward(ctx, &add_row);
}

static int sub_forward(struct op_ctx *ctx)
{
    return elementwise_forward(ctx, &sub_row);
}

static int mul_forward(struct op_ctx *ctx)
{
    return elementwise_forward(ctx, &mul_row);
}

// The gradient of the operand that b calls x; other is the operand it calls y. Without repetition
// it is the forward-like run over (dOut, other); else a fold over dOut.
static void operand_grad(const struct broadcast *b, struct tensor *grad, const struct tensor *dout,
                         const struct tensor *other, const struct by_dtype *rows,
                         const struct by_dtype *folds)
{
    int bytes = (int)dtype_bytes(dout->dtype);
    if (!b->x_repeats) {
        broadcast_walk(b, bytes, grad->data, dout->data, other->data, pick(rows, dout->dtype));
        return;
    }
    memset(grad->data, 0, tensor_bytes(grad));
    broadcast_walk(b, bytes, dout->data, grad->data, other->data, pick(folds, dout->dtype));
}

static int elementwise_backward(struct op_ctx *ctx, const struct by_dtype *dx_rows,
                                const struct by_dtype *dx_folds, const struct by_dtype *dy_rows,
                                const struct by_dtype *dy_folds)
{
    const struct tensor *x = op_in(ctx, ELEMENTWISE_X), *y = op_in(ctx, ELEMENTWISE_Y);
    const struct tensor *dout = op_in(ctx, ELEMENTWISE_DOUT);
    struct tensor *dx = op_out(ctx, ELEMENTWISE_DX), *dy = op_out(ctx, ELEMENTWISE_DY);
    struct broadcast b;
    if (pick(dx_rows, dout->dtype) == NULL)
        return op_bad_dtype(ctx, (int)dout->dtype);
    if (x->dtype != dout->dtype || y->dtype != dout->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "X, Y and Out@GRAD have different element types");
    if (dx != NULL) {
        broadcast_plan(&x->dims, &y->dims, ctx->attr[ELEMENTWISE_AXIS]->i, &b);
        operand_grad(&b, dx, dout, y, dx_rows, dx_folds);
    }
    if (dy != NULL) {
        broadcast_plan(&y->dims, &x->dims, ctx->attr[ELEMENTWISE_AXIS]->i, &b);
        operand_grad(&b, dy, dout, x, dy_rows, dy_folds);
    }
    return 0;
}

static int add_backward(struct op_ctx *ctx)
{
    return elementwise_backward(ctx, &first_row, &first_fold, &first_row, &first_fold);
}

static int sub_backward(struct op_ctx *ctx)
{
    return elementwise_backward(ctx, &first_row, &first_fold, &negated_row, &negated_fold);
}

static int mul_backward(struct op_ctx *ctx)
{
    return elementwise_backward(ctx, &mul_row, &mul_fold, &mul_row, &mul_fold);
}

#define ELEMENTWISE_OP(NAME)                                                                       \
    const struct op_def op_elementwise_##NAME = {                                                  \
        .type = "elementwise_" #NAME,                                                              \
        .inputs = elementwise_inputs,                                                              \
        .outputs = elementwise_outputs,                                                            \
        .attrs = elementwise_attrs,                                                                \
        .grad = {.type = "elementwise_" #NAME "_grad",                                             \
                 .inputs = "X Y Out@GRAD",                                                         \
                 .outputs = "X@GRAD Y@GRAD"},                                                      \
        .infer_shape = elementwise_infer,                                                          \
        .kernel = NAME##_forward,                                                                  \
    };                                                                                             \
    const struct op_def op_elementwise_##NAME##_grad = {                                           \
        .type = "elementwise_" #NAME "_grad",                                                      \
        .inputs = elementwise_grad_inputs,                                                         \
        .outputs = elementwise_grad_outputs,                                                       \
        .attrs = elementwise_attrs,                                                                \
        .infer_shape = elementwise_grad_infer,                                                     \
        .kernel = NAME##_backward,                                                                 \
    };

ELEMENTWISE_OP(add)
ELEMENTWISE_OP(sub)
ELEMENTWISE_OP(mul)
