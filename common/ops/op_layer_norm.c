// SPDX-License-Identifier: Apache-2.0
// layer_norm. X is seen as [left, right], cut before begin_norm_axis; Scale and Bias [right].
//
//   forward   Mean, Variance [left] of each row (variance by right);
//             Y = (X - Mean) / sqrt(Variance + epsilon) Scale + Bias
//   backward  h = (X - Mean) inv, g = dY Scale
//             dBias = sum of dY over rows, dScale = sum of dY h over rows
//             dX = inv (g - mean(g) - h mean(g h))        means along the row

#include <math.h>
#include <string.h>

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"

extern const struct op_def op_layer_norm, op_layer_norm_grad;

enum { LN_EPSILON, LN_AXIS };
static const struct op_attr_def ln_attrs[] = {
    OP_ATTR_FLOAT("epsilon", 1e-5f),
    OP_ATTR_INT("begin_norm_axis", 1),
    {.name = NULL},
};

enum { LN_X, LN_SCALE, LN_BIAS };
static const struct op_slot_def ln_inputs[] = {
    {"X", 0}, {"Scale", OP_SLOT_OPTIONAL}, {"Bias", OP_SLOT_OPTIONAL}, {NULL, 0}};
enum { LN_Y, LN_MEAN, LN_VARIANCE };
static const struct op_slot_def ln_outputs[] = {{"Y", 0}, {"Mean", 0}, {"Variance", 0}, {NULL, 0}};
enum { LN_GRAD_MEAN = 3, LN_GRAD_VARIANCE, LN_GRAD_DY };
static const struct op_slot_def ln_grad_inputs[] = {{"X", 0},
                                                    {"Scale", OP_SLOT_OPTIONAL},
                                                    {"Bias", OP_SLOT_OPTIONAL},
                                                    {"Mean", 0},
                                                    {"Variance", 0},
                                                    {"Y@GRAD", 0},
                                                    {NULL, 0}};
enum { LN_GRAD_DX, LN_GRAD_DSCALE, LN_GRAD_DBIAS };
static const struct op_slot_def ln_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL},
                                                     {"Scale@GRAD", OP_SLOT_OPTIONAL},
                                                     {"Bias@GRAD", OP_SLOT_OPTIONAL},
                                                     {NULL, 0}};

// Sums go over OP_LANES partial sums.
#define DEFINE_LAYER_NORM(T, S, SQRT)                                                              \
    static inline T total_##S(const T *lanes)                                                      \
    {                                                                                              \
        T total = 0;                                                                               \
        for (int l = 0; l < OP_LANES; l++)                                                         \
            total += lanes[l];                                                                     \
        return total;                                                                              \
    }                                                                                              \
    OP_CLONES static void ln_row_##S(T *y, T *mean, T *var, const T *x, const T *scale,            \
                                     const T *bias, T epsilon, int64_t n)                          \
    {                                                                                              \
        T sums[OP_LANES] = {0}, squares[OP_LANES] = {0};                                           \
        int64_t i = 0;                                                                             \
        for (; i + OP_LANES <= n; i += OP_LANES)                                                   \
            for (int l = 0; l < OP_LANES; l++)                                                     \
                sums[l] += x[i + l];                                                               \
        for (int l = 0; i + l < n; l++)                                                            \
            sums[l] += x[i + l];                                                                   \
        T m = total_##S(sums) / (T)n;                                                              \
        for (i = 0; i + OP_LANES <= n; i += OP_LANES)                                              \
            for (int l = 0; l < OP_LANES; l++)                                                     \
                squares[l] += (x[i + l] - m) * (x[i + l] - m);                                     \
        for (int l = 0; i + l < n; l++)                                                            \
            squares[l] += (x[i + l] - m) * (x[i + l] - m);                                         \
        T v = total_##S(squares) / (T)n, inv = 1 / SQRT(v + epsilon);                              \
        *mean = m;                                                                                 \
        *var = v;                                                                                  \
        for (i = 0; i < n; i++)                                                                    \
            y[i] = (x[i] - m) * inv;                                                               \
        for (i = 0; i < n && scale != NULL; i++)                                                   \
            y[i] *= scale[i];                                                                      \
        for (i = 0; i < n && bias != NULL; i++)                                                    \
            y[i] += bias[i];                                                                       \
    }                                                                                              \
    OP_CLONES static void ln_add_##S(T *dscale, T *dbias, const T *x, const T *dy, T mean, T inv,  \
                                     int64_t n)                                                    \
    {                                                                                              \
        for (int64_t i = 0; i < n && dscale != NULL; i++)                                          \
            dscale[i] += dy[i] * ((x[i] - mean) * inv);                                            \
        for (int64_t i = 0; i < n && dbias != NULL; i++)                                           \
            dbias[i] += dy[i];                                                                     \
    }                                                                                              \
    OP_CLONES static void ln_back_##S(T *dx, const T *x, const T *dy, const T *scale, T mean,      \
                                      T inv, int64_t n)                                            \
    {                                                                                              \
        T sums[OP_LANES] = {0}, dots[OP_LANES] = {0};                                              \
        int64_t i = 0;                                                                             \
        for (; i < n; i += OP_LANES) {                                                             \
            int64_t lanes = n - i < OP_LANES ? n - i : OP_LANES;                                   \
            for (int64_t l = 0; l < lanes; l++) {                                                  \
                T g = scale != NULL ? dy[i + l] * scale[i + l] : dy[i + l];                        \
                sums[l] += g;                                                                      \
                dots[l] += g * ((x[i + l] - mean) * inv);                                          \
            }                                                                                      \
        }                                                                                          \
        T sum = total_##S(sums) / (T)n, dot = total_##S(dots) / (T)n;                              \
        for (i = 0; i < n; i++) {                                                                  \
            T g = scale != NULL ? dy[i] * scale[i] : dy[i];                                        \
            dx[i] = g * inv - sum * inv - (x[i] - mean) * inv * dot * inv;                         \
        }                                                                                          \
    }                                                                                              \
    static void ln_forward_##S(const struct op_ctx *ctx, int64_t left, int64_t right)              \
    {                                                                                              \
        const T *x = op_in(ctx, LN_X)->data;                                                       \
        const struct tensor *scale = op_in(ctx, LN_SCALE), *bias = op_in(ctx, LN_BIAS);            \
        T *y = op_out(ctx, LN_Y)->data, *mean = op_out(ctx, LN_MEAN)->data;                        \
        T *var = op_out(ctx, LN_VARIANCE)->data;                                                   \
        for (int64_t r = 0; r < left; r++)                                                         \
            ln_row_##S(y + r * right, mean + r, var + r, x + r * right,                            \
                       scale ? scale->data : NULL, bias ? bias->data : NULL,                       \
                       (T)ctx->attr[LN_EPSILON]->f, right);                                        \
    }                                                                                              \
    static void ln_backward_##S(const struct op_ctx *ctx, int64_t left, int64_t right)             \
    {                                                                                              \
        const T *x = op_in(ctx, LN_X)->data, *dy = op_in(ctx, LN_GRAD_DY)->data;                   \
        const T *mean = op_in(ctx, LN_GRAD_MEAN)->data;                                            \
        const T *var = op_in(ctx, LN_GRAD_VARIANCE)->data;                                         \
        const struct tensor *scale = op_in(ctx, LN_SCALE), *dx = op_out(ctx, LN_GRAD_DX);          \
        struct tensor *dscale = op_out(ctx, LN_GRAD_DSCALE), *dbias = op_out(ctx, LN_GRAD_DBIAS);  \
        if (dscale != NULL)                                                                        \
            memset(dscale->data, 0, tensor_bytes(dscale));                                         \
        if (dbias != NULL)                                                                         \
            memset(dbias->data, 0, tensor_bytes(dbias));                                           \
        for (int64_t r = 0; r < left; r++) {                                                       \
            T inv = 1 / SQRT(var[r] + (T)ctx->attr[LN_EPSILON]->f);                                \
            ln_add_##S(dscale ? dscale->data : NULL, dbias ? dbias->data : NULL, x + r * right,    \
                       dy + r * right, mean[r], inv, right);                                       \
            if (dx != NULL)                                                                        \
                ln_back_##S((T *)dx->data + r * right, x + r * right, dy + r * right,              \
                            scale ? scale->data : NULL, mean[r], inv, right);                      \
        }                                                                                          \
    }

DEFINE_LAYER_NORM(float, f32, sqrtf)
DEFINE_LAYER_NORM(double, f64, sqrt)

// left and right; -1 while unknown.
static int ln_sizes(const struct op_shape *shape, int64_t *left, int64_t *right)
{
    const struct op_var_dims *x = op_shape_in(shape, LN_X, 0);
    int64_t axis = shape->attr[LN_AXIS]->i;
    char text[DIMS_TEXT_MAX];
    if (axis < 1 || axis >= x->dims.rank)
        return err_set(shape->err, SL_EINVAL,
                       "begin_norm_axis %lld must be from 1 to below X's rank %d", (long long)axis,
                       x->dims.rank);
    *left = *right = 1;
    for (int i = 0; i < x->dims.rank; i++) {
        int64_t *side = i < axis ? left : right;
        *side = *side < 0 || x->dims.d[i] < 0 ? -1 : *side * x->dims.d[i];
    }
    if (*right == 0)
        return err_set(shape->err, SL_EINVAL, "X %s has rows without elements",
                       dims_format(&x->dims, text));
    for (int s = LN_SCALE; s <= LN_BIAS; s++) {
        const struct op_var_dims *v = op_shape_in(shape, s, 0);
        if (v != NULL && (v->dims.rank != 1 || !op_dims_fit(v->dims.d[0], *right)))
            return err_set(shape->err, SL_EMISMATCH, "%s is %s, but a row of X has %lld elements",
                           shape->def->inputs[s].name, dims_format(&v->dims, text),
                           (long long)*right);
    }
    return 0;
}

static int ln_infer(struct op_shape *shape)
{
    int64_t left, right;
    int rc = ln_sizes(shape, &left, &right);
    if (rc < 0)
        return rc;
    const struct op_var_dims *x = op_shape_in(shape, LN_X, 0);
    struct dims rows = dims_make(1, &left);
    op_shape_copy(shape, LN_Y, 0, x);
    op_shape_set(shape, LN_MEAN, 0, &rows, x->dtype, NULL);
    op_shape_set(shape, LN_VARIANCE, 0, &rows, x->dtype, NULL);
    return 0;
}

static int ln_grad_infer(struct op_shape *shape)
{
    int64_t left, right;
    int rc = ln_sizes(shape, &left, &right);
    if (rc < 0)
        return rc;
    const struct op_var_dims *x = op_shape_in(shape, LN_X, 0),
                             *dy = op_shape_in(shape, LN_GRAD_DY, 0);
    bool fits = x->dims.rank == dy->dims.rank;
    for (int i = 0; fits && i < x->dims.rank; i++)
        fits = op_dims_fit(x->dims.d[i], dy->dims.d[i]);
    for (int s = LN_GRAD_MEAN; fits && s <= LN_GRAD_VARIANCE; s++) {
        const struct dims *rows = &op_shape_in(shape, s, 0)->dims;
        fits = rows->rank == 1 && op_dims_fit(rows->d[0], left);
    }
    if (!fits)
        return err_set(shape->err, SL_EMISMATCH,
                       "Y@GRAD, Mean and Variance do not have the shapes that X gives");
    struct dims row = dims_make(1, &right);
    op_shape_copy(shape, LN_GRAD_DX, 0, x);
    op_shape_set(shape, LN_GRAD_DSCALE, 0, &row, x->dtype, NULL);
    op_shape_set(shape, LN_GRAD_DBIAS, 0, &row, x->dtype, NULL);
    return 0;
}

// All inputs up to slot last have X's type, which is a floating one.
static int ln_check(const struct op_ctx *ctx, int last)
{
    const struct tensor *x = op_in(ctx, LN_X);
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    for (int s = 1; s <= last; s++)
        if (op_in(ctx, s) != NULL && op_in(ctx, s)->dtype != x->dtype)
            return err_set(ctx->err, SL_EMISMATCH, "%s has not the element type of X",
                           ctx->def->inputs[s].name);
    return 0;
}

static int ln_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, LN_X);
    int axis = (int)ctx->attr[LN_AXIS]->i, rc = ln_check(ctx, LN_BIAS);
    if (rc < 0)
        return rc;
    int64_t left = dims_product(&x->dims, 0, axis),
            right = dims_product(&x->dims, axis, x->dims.rank);
    (x->dtype == DTYPE_FP32 ? ln_forward_f32 : ln_forward_f64)(ctx, left, right);
    return 0;
}

static int ln_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, LN_X);
    int axis = (int)ctx->attr[LN_AXIS]->i, rc = ln_check(ctx, LN_GRAD_DY);
    if (rc < 0)
        return rc;
    int64_t left = dims_product(&x->dims, 0, axis),
            right = dims_product(&x->dims, axis, x->dims.rank);
    (x->dtype == DTYPE_FP32 ? ln_backward_f32 : ln_backward_f64)(ctx, left, right);
    return 0;
}

const struct op_def op_layer_norm = {
    .type = "layer_norm",
    .inputs = ln_inputs,
    .outputs = ln_outputs,
    .attrs = ln_attrs,
    .grad = {.type = "layer_norm_grad",
             .inputs = "X Scale Bias Mean Variance Y@GRAD",
             .outputs = "X@GRAD Scale@GRAD Bias@GRAD"},
    .infer_shape = ln_infer,
    .kernel = ln_forward,
};

const struct op_def op_layer_norm_grad = {
    .type = "layer_norm_grad",
    .inputs = ln_grad_inputs,
    .outputs = ln_grad_outputs,
    .attrs = ln_attrs,
    .infer_shape = ln_grad_infer,
    .kernel = ln_backward,
    .no_lod = true,
};
