// SPDX-License-Identifier: Apache-2.0
// Products of rows.
//
//   dot      X, Y [N, D] -> Out [N, 1], or [D] -> [1]     Out = sum of X Y along D
//            dX = dOut Y     dY = dOut X
//   cos_sim  X [N, ...], Y [N, ...] or [1, ...] -> Out, XNorm [N, 1], YNorm [N or 1, 1]
//            |X| = sqrt(max(sum of X X, 1e-8))     Out = sum of X Y / (|X| |Y|)
//            dX = dOut (Y / (|X| |Y|) - Out X / |X|^2); dY alike, the sum of all rows when
//            Y is one row
//
// Sums over D run in OP_LANES partial sums.

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "common/base/err.h"
#include "common/ops/number.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"

extern const struct op_def op_dot, op_dot_grad, op_dot_cos_sim, op_dot_cos_sim_grad;

#define DEFINE_PRODUCT(CLONES, T, S)                                                               \
    CLONES static T product_##S(const T *x, const T *y, int64_t n)                                 \
    {                                                                                              \
        T lanes[OP_LANES] = {0}, sum = 0;                                                          \
        int64_t i = 0;                                                                             \
        for (; i + OP_LANES <= n; i += OP_LANES)                                                   \
            for (int64_t l = 0; l < OP_LANES; l++)                                                 \
                lanes[l] += x[i + l] * y[i + l];                                                   \
        for (; i < n; i++)                                                                         \
            lanes[i % OP_LANES] += x[i] * y[i];                                                    \
        for (int64_t l = 0; l < OP_LANES; l++)                                                     \
            sum += lanes[l];                                                                       \
        return sum;                                                                                \
    }
#define PLAIN

DEFINE_PRODUCT(OP_CLONES, float, f32)
DEFINE_PRODUCT(OP_CLONES, double, f64)
DEFINE_PRODUCT(PLAIN, int32_t, i32)
DEFINE_PRODUCT(PLAIN, int64_t, i64)

// ---- dot

enum { DOT_X, DOT_Y, DOT_DOUT };
static const struct op_attr_def dot_attrs[] = {{.name = NULL}};
static const struct op_slot_def dot_inputs[] = {{"X", 0}, {"Y", 0}, {NULL, 0}};
static const struct op_slot_def dot_outputs[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def dot_grad_inputs[] = {
    {"X", 0}, {"Y", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def dot_grad_outputs[] = {
    {"X@GRAD", OP_SLOT_OPTIONAL}, {"Y@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

#define DEFINE_DOT(T, S)                                                                           \
    static void dot_forward_##S(void *out, const void *x, const void *y, int64_t rows, int64_t n)  \
    {                                                                                              \
        for (int64_t r = 0; r < rows; r++)                                                         \
            ((T *)out)[r] = product_##S((const T *)x + r * n, (const T *)y + r * n, n);            \
    }                                                                                              \
    static void dot_backward_##S(void *dx_, const void *y_, const void *dout, int64_t rows,        \
                                 int64_t n)                                                        \
    {                                                                                              \
        for (int64_t r = 0; r < rows; r++) {                                                       \
            const T *y = (const T *)y_ + r * n, g = ((const T *)dout)[r];                          \
            T *dx = (T *)dx_ + r * n;                                                              \
            for (int64_t i = 0; i < n; i++)                                                        \
                dx[i] = g * y[i];                                                                  \
        }                                                                                          \
    }

DEFINE_DOT(float, f32)
DEFINE_DOT(double, f64)
DEFINE_DOT(int32_t, i32)
DEFINE_DOT(int64_t, i64)

static int same_shapes(const struct op_shape *shape, const struct dims *x, const struct dims *y)
{
    char x_text[DIMS_TEXT_MAX], y_text[DIMS_TEXT_MAX];
    bool fits = x->rank == y->rank;
    for (int i = 0; fits && i < x->rank; i++)
        fits = op_dims_fit(x->d[i], y->d[i]);
    if (!fits)
        return err_set(shape->err, SL_EMISMATCH, "X is %s but Y %s", dims_format(x, x_text),
                       dims_format(y, y_text));
    return 0;
}

// Out's shape; X's sides are put together with Y's.
static int dot_out(const struct op_shape *shape, struct dims *out)
{
    const struct dims *x = &op_shape_in(shape, DOT_X, 0)->dims;
    char text[DIMS_TEXT_MAX];
    int rc = same_shapes(shape, x, &op_shape_in(shape, DOT_Y, 0)->dims);
    if (rc < 0)
        return rc;
    if (x->rank != 1 && x->rank != 2)
        return err_set(shape->err, SL_EINVAL, "X is %s: rank 1 and 2 are possible",
                       dims_format(x, text));
    *out = *x;
    out->d[out->rank - 1] = 1;
    return 0;
}

static int dot_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, DOT_X, 0);
    struct dims out;
    int rc = dot_out(shape, &out);
    if (rc == 0)
        op_shape_set(shape, 0, 0, &out, x->dtype, NULL);
    return rc;
}

static int dot_grad_infer(struct op_shape *shape)
{
    const struct dims *dout = &op_shape_in(shape, DOT_DOUT, 0)->dims;
    struct dims out;
    int rc = dot_out(shape, &out);
    if (rc < 0)
        return rc;
    if (dout->rank != out.rank || !op_dims_fit(dout->d[0], out.d[0]) ||
        !op_dims_fit(dout->d[dout->rank - 1], 1))
        return err_set(shape->err, SL_EMISMATCH, "Out@GRAD has not the shape of Out");
    op_shape_default(shape);
    return 0;
}

static int dot_forward(struct op_ctx *ctx)
{
    static void (*const runs[])(void *, const void *, const void *, int64_t, int64_t) = {
        dot_forward_f32, dot_forward_f64, dot_forward_i32, dot_forward_i64};
    const struct tensor *x = op_in(ctx, DOT_X), *y = op_in(ctx, DOT_Y);
    struct tensor *out = op_out(ctx, 0);
    int number = number_of(x->dtype);
    if (number < 0)
        return op_bad_dtype(ctx, (int)x->dtype);
    if (y->dtype != x->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "X and Y have different element types");
    runs[number](out->data, x->data, y->data, (int64_t)tensor_count(out),
                 x->dims.d[x->dims.rank - 1]);
    return 0;
}

static int dot_backward(struct op_ctx *ctx)
{
    static void (*const runs[])(void *, const void *, const void *, int64_t, int64_t) = {
        dot_backward_f32, dot_backward_f64, dot_backward_i32, dot_backward_i64};
    const struct tensor *x = op_in(ctx, DOT_X), *y = op_in(ctx, DOT_Y),
                        *dout = op_in(ctx, DOT_DOUT);
    int number = number_of(x->dtype);
    if (number < 0)
        return op_bad_dtype(ctx, (int)x->dtype);
    if (y->dtype != x->dtype || dout->dtype != x->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "X, Y and Out@GRAD have different element types");
    for (int k = 0; k < 2; k++) {
        struct tensor *d = op_out(ctx, k);
        if (d != NULL)
            runs[number](d->data, k == 0 ? y->data : x->data, dout->data,
                         (int64_t)tensor_count(dout), x->dims.d[x->dims.rank - 1]);
    }
    return 0;
}

const struct op_def op_dot = {
    .type = "dot",
    .inputs = dot_inputs,
    .outputs = dot_outputs,
    .attrs = dot_attrs,
    .grad = {.type = "dot_grad", .inputs = "X Y Out@GRAD", .outputs = "X@GRAD Y@GRAD"},
    .infer_shape = dot_infer,
    .kernel = dot_forward,
};

const struct op_def op_dot_grad = {
    .type = "dot_grad",
    .inputs = dot_grad_inputs,
    .outputs = dot_grad_outputs,
    .attrs = dot_attrs,
    .infer_shape = dot_grad_infer,
    .kernel = dot_backward,
};

// ---- cos_sim

enum { COS_X, COS_Y, COS_GRAD_OUT, COS_GRAD_X_NORM, COS_GRAD_Y_NORM, COS_GRAD_DOUT };
enum { COS_OUT, COS_X_NORM, COS_Y_NORM };
static const struct op_attr_def cos_attrs[] = {
    OP_ATTR_BOOL("@ALL_KERNELS_MUST_COMPUTE_RUNTIME_SHAPE@", 1), {.name = NULL}};
static const struct op_slot_def cos_outputs[] = {{"Out", 0}, {"XNorm", 0}, {"YNorm", 0}, {NULL, 0}};
static const struct op_slot_def cos_grad_inputs[] = {
    {"X", 0}, {"Y", 0}, {"Out", 0}, {"XNorm", 0}, {"YNorm", 0}, {"Out@GRAD", 0}, {NULL, 0}};

#define COS_SMALLEST_SQUARE 1e-8

#define DEFINE_COS_SIM(T, S, SQRT)                                                                 \
    static void norms_##S(T *norm, const T *x, int64_t rows, int64_t n)                            \
    {                                                                                              \
        for (int64_t r = 0; r < rows; r++) {                                                       \
            T square = product_##S(x + r * n, x + r * n, n);                                       \
            norm[r] = SQRT(square < (T)COS_SMALLEST_SQUARE ? (T)COS_SMALLEST_SQUARE : square);     \
        }                                                                                          \
    }                                                                                              \
    static void cos_forward_##S(T *out, const T *x, const T *y, const T *x_norm, const T *y_norm,  \
                                int64_t rows, int64_t n, bool y_repeats)                           \
    {                                                                                              \
        for (int64_t r = 0; r < rows; r++) {                                                       \
            int64_t s = y_repeats ? 0 : r;                                                         \
            out[r] = product_##S(x + r * n, y + s * n, n) / (x_norm[r] * y_norm[s]);               \
        }                                                                                          \
    }                                                                                              \
    /* The gradient of operand a, row ra; b is the other one. */                                   \
    OP_CLONES static void cos_backward_##S(T *da, const T *a, const T *b, T out, T a_norm,         \
                                           T b_norm, T dout, int64_t n)                            \
    {                                                                                              \
        T of_b = 1 / (a_norm * b_norm), of_a = 1 / (a_norm * a_norm);                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            da[i] += dout * (b[i] * of_b - out * a[i] * of_a);                                     \
    }                                                                                              \
    static void cos_backward_all_##S(T *d, const struct tensor *const *in, int64_t rows,           \
                                     int64_t n, bool of_x, bool y_repeats)                         \
    {                                                                                              \
        const T *x = in[COS_X]->data, *y = in[COS_Y]->data, *out = in[COS_GRAD_OUT]->data;         \
        const T *x_norm = in[COS_GRAD_X_NORM]->data, *y_norm = in[COS_GRAD_Y_NORM]->data;          \
        const T *dout = in[COS_GRAD_DOUT]->data;                                                   \
        for (int64_t r = 0; r < rows; r++) {                                                       \
            int64_t s = y_repeats ? 0 : r;                                                         \
            if (of_x)                                                                              \
                cos_backward_##S(d + r * n, x + r * n, y + s * n, out[r], x_norm[r], y_norm[s],    \
                                 dout[r], n);                                                      \
            else                                                                                   \
                cos_backward_##S(d + s * n, y + s * n, x + r * n, out[r], y_norm[s], x_norm[r],    \
                                 dout[r], n);                                                      \
        }                                                                                          \
    }

DEFINE_COS_SIM(float, f32, sqrtf)
DEFINE_COS_SIM(double, f64, sqrt)

static int cos_check(const struct op_shape *shape)
{
    const struct dims *x = &op_shape_in(shape, COS_X, 0)->dims;
    const struct dims *y = &op_shape_in(shape, COS_Y, 0)->dims;
    struct dims rows_alike = *y;
    char text[DIMS_TEXT_MAX];
    if (x->rank < 2)
        return err_set(shape->err, SL_EINVAL, "X is %s: rank 2 or more is needed",
                       dims_format(x, text));
    if (y->rank > 0 && y->d[0] == 1)
        rows_alike.d[0] = x->d[0];
    return same_shapes(shape, x, &rows_alike);
}

static int cos_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, COS_X, 0), *y = op_shape_in(shape, COS_Y, 0);
    int rc = cos_check(shape);
    if (rc < 0)
        return rc;
    const struct dims x_rows = {.rank = 2, .d = {x->dims.d[0], 1}};
    const struct dims y_rows = {.rank = 2, .d = {y->dims.d[0], 1}};
    op_shape_set(shape, COS_OUT, 0, &x_rows, x->dtype, x);
    op_shape_set(shape, COS_X_NORM, 0, &x_rows, x->dtype, NULL);
    op_shape_set(shape, COS_Y_NORM, 0, &y_rows, x->dtype, NULL);
    return 0;
}

static int cos_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, COS_X, 0), *y = op_shape_in(shape, COS_Y, 0);
    int rc = cos_check(shape);
    if (rc < 0)
        return rc;
    for (int s = COS_GRAD_OUT; s <= COS_GRAD_DOUT; s++) {
        const struct dims *dims = &op_shape_in(shape, s, 0)->dims;
        const struct op_var_dims *of = s == COS_GRAD_Y_NORM ? y : x;
        if (dims->rank != 2 || !op_dims_fit(dims->d[0], of->dims.d[0]) ||
            !op_dims_fit(dims->d[1], 1))
            return err_set(shape->err, SL_EMISMATCH, "%s is not one number for each row",
                           shape->def->inputs[s].name);
    }
    op_shape_default(shape);
    return 0;
}

static int cos_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, COS_X), *y = op_in(ctx, COS_Y);
    struct tensor *out = op_out(ctx, COS_OUT), *x_norm = op_out(ctx, COS_X_NORM);
    struct tensor *y_norm = op_out(ctx, COS_Y_NORM);
    int64_t rows = x->dims.d[0], y_rows = y->dims.d[0], n = dims_product(&x->dims, 1, x->dims.rank);
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    if (y->dtype != x->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "X and Y have different element types");
    if (x->dtype == DTYPE_FP32) {
        norms_f32(tensor_f32(x_norm), tensor_f32(x), rows, n);
        norms_f32(tensor_f32(y_norm), tensor_f32(y), y_rows, n);
        cos_forward_f32(tensor_f32(out), tensor_f32(x), tensor_f32(y), tensor_f32(x_norm),
                        tensor_f32(y_norm), rows, n, y_rows == 1);
    } else {
        norms_f64(tensor_f64(x_norm), tensor_f64(x), rows, n);
        norms_f64(tensor_f64(y_norm), tensor_f64(y), y_rows, n);
        cos_forward_f64(tensor_f64(out), tensor_f64(x), tensor_f64(y), tensor_f64(x_norm),
                        tensor_f64(y_norm), rows, n, y_rows == 1);
    }
    return 0;
}

static int cos_backward(struct op_ctx *ctx)
{
    const struct tensor *in[COS_GRAD_DOUT + 1];
    for (int s = 0; s <= COS_GRAD_DOUT; s++)
        in[s] = op_in(ctx, s);
    enum dtype dtype = in[COS_X]->dtype;
    const struct dims *x = &in[COS_X]->dims;
    int64_t rows = x->d[0], n = dims_product(x, 1, x->rank);
    if (dtype != DTYPE_FP32 && dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)dtype);
    for (int s = 0; s <= COS_GRAD_DOUT; s++)
        if (in[s]->dtype != dtype)
            return err_set(ctx->err, SL_EMISMATCH, "%s has not X's element type",
                           ctx->def->inputs[s].name);
    for (int k = 0; k < 2; k++) {
        struct tensor *d = op_out(ctx, k);
        bool y_repeats = in[COS_Y]->dims.d[0] == 1;
        if (d == NULL || tensor_count(d) == 0)
            continue;
        memset(d->data, 0, tensor_bytes(d));
        if (dtype == DTYPE_FP32)
            cos_backward_all_f32(d->data, in, rows, n, k == 0, y_repeats);
        else
            cos_backward_all_f64(d->data, in, rows, n, k == 0, y_repeats);
    }
    return 0;
}

const struct op_def op_dot_cos_sim = {
    .type = "cos_sim",
    .inputs = dot_inputs,
    .outputs = cos_outputs,
    .attrs = cos_attrs,
    .grad = {.type = "cos_sim_grad",
             .inputs = "X Y Out XNorm YNorm Out@GRAD",
             .outputs = "X@GRAD Y@GRAD"},
    .infer_shape = cos_infer,
    .kernel = cos_forward,
};

const struct op_def op_dot_cos_sim_grad = {
    .type = "cos_sim_grad",
    .inputs = cos_grad_inputs,
    .outputs = dot_grad_outputs,
    .attrs = cos_attrs,
    .infer_shape = cos_grad_infer,
    .kernel = cos_backward,
    .no_lod = true,
};
