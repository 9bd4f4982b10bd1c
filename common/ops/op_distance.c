// SPDX-License-Identifier: Apache-2.0
// Distances between a prediction and its target.
//
//   huber_loss      r = Y - X, kept as Residual;  Out = r^2 / 2 where |r| <= delta,
//                   else delta (|r| - delta / 2);     dY = dOut r clipped to +-delta = -dX
//   smooth_l1_loss  X, Y [N, ..], s = sigma^2;  d = (X - Y) InsideWeight, kept as Diff
//                   Out[n] = sum over row n of OutsideWeight e(d),
//                   e(d) = s d^2 / 2 where |d| < 1 / s, else |d| - 1 / (2s)
//                   dX = dOut[n] InsideWeight OutsideWeight e'(d) = -dY;  both weights or none
//   squared_l2_distance   X [N, ..], Y [N, ..] or [1, ..]: sub_result [N, D] = X - Y,
//                   Out[n] = sum of the squares of row n;  dX = 2 dOut[n] sub_result = -dY, summed
//                   over the rows when Y has one

#include <tgmath.h>

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/ops/shape_check.h"

extern const struct op_def op_distance_huber, op_distance_huber_grad;
extern const struct op_def op_distance_smooth_l1, op_distance_smooth_l1_grad;
extern const struct op_def op_distance_squared_l2, op_distance_squared_l2_grad;

static const struct op_attr_def no_attrs[] = {{.name = NULL}};
enum { HUBER_DELTA };
static const struct op_attr_def huber_attrs[] = {
    {.name = "delta", .type = ATTR_FLOAT, .required = true},
    {.name = NULL},
};
enum { SMOOTH_SIGMA };
static const struct op_attr_def smooth_attrs[] = {
    OP_ATTR_FLOAT("sigma", 1),
    {.name = NULL},
};

enum { DISTANCE_X, DISTANCE_Y };
enum { DISTANCE_DX, DISTANCE_DY };
static const struct op_slot_def xy_inputs[] = {{"X", 0}, {"Y", 0}, {NULL, 0}};
static const struct op_slot_def xy_grad_outputs[] = {
    {"X@GRAD", OP_SLOT_OPTIONAL}, {"Y@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

enum { HUBER_RESIDUAL, HUBER_OUT };
static const struct op_slot_def huber_outputs[] = {{"Residual", 0}, {"Out", 0}, {NULL, 0}};
enum { HUBER_GRAD_RESIDUAL, HUBER_GRAD_DOUT };
static const struct op_slot_def huber_grad_inputs[] = {{"Residual", 0}, {"Out@GRAD", 0}, {NULL, 0}};

enum { SMOOTH_INSIDE = DISTANCE_Y + 1, SMOOTH_OUTSIDE };
enum { SMOOTH_DIFF, SMOOTH_OUT };
static const struct op_slot_def smooth_inputs[] = {{"X", 0},
                                                   {"Y", 0},
                                                   {"InsideWeight", OP_SLOT_OPTIONAL},
                                                   {"OutsideWeight", OP_SLOT_OPTIONAL},
                                                   {NULL, 0}};
static const struct op_slot_def smooth_outputs[] = {{"Diff", 0}, {"Out", 0}, {NULL, 0}};
enum { SMOOTH_GRAD_DIFF, SMOOTH_GRAD_DOUT, SMOOTH_GRAD_INSIDE, SMOOTH_GRAD_OUTSIDE };
static const struct op_slot_def smooth_grad_inputs[] = {{"Diff", 0},
                                                        {"Out@GRAD", 0},
                                                        {"InsideWeight", OP_SLOT_OPTIONAL},
                                                        {"OutsideWeight", OP_SLOT_OPTIONAL},
                                                        {NULL, 0}};

enum { SQUARED_SUB, SQUARED_OUT };
static const struct op_slot_def squared_outputs[] = {{"sub_result", 0}, {"Out", 0}, {NULL, 0}};
enum { SQUARED_GRAD_SUB = DISTANCE_Y + 1, SQUARED_GRAD_DOUT };
static const struct op_slot_def squared_grad_inputs[] = {
    {"X", 0}, {"Y", 0}, {"sub_result", 0}, {"Out@GRAD", 0}, {NULL, 0}};

// inside and outside are NULL when there are no weights.
#define DEFINE_DISTANCE(T, S)                                                                      \
    static void huber_forward_##S(T *residual, T *out, const T *x, const T *y, T delta, size_t n)  \
    {                                                                                              \
        for (size_t i = 0; i < n; i++) {                                                           \
            T r = y[i] - x[i], a = fabs(r);                                                        \
            residual[i] = r;                                                                       \
            out[i] = a <= delta ? (T)0.5 * r * r : delta * (a - (T)0.5 * delta);                   \
        }                                                                                          \
    }                                                                                              \
    static void huber_backward_##S(T *d, T sign, const T *residual, const T *dout, T delta,        \
                                   size_t n)                                                       \
    {                                                                                              \
        for (size_t i = 0; i < n; i++) {                                                           \
            T r = residual[i];                                                                     \
            d[i] = sign * (fabs(r) <= delta ? r : r > 0 ? delta : -delta) * dout[i];               \
        }                                                                                          \
    }                                                                                              \
    static void smooth_forward_##S(T *diff, T *out, const T *x, const T *y, const T *inside,       \
                                   const T *outside, T s, size_t rows, size_t cols)                \
    {                                                                                              \
        for (size_t row = 0, i = 0; row < rows; row++) {                                           \
            T sum = 0;                                                                             \
            for (size_t c = 0; c < cols; c++, i++) {                                               \
                T d = inside ? (x[i] - y[i]) * inside[i] : x[i] - y[i], a = fabs(d);               \
                T e = a < 1 / s ? (T)0.5 * d * d * s : a - (T)0.5 / s;                             \
                diff[i] = d;                                                                       \
                sum += outside ? e * outside[i] : e;                                               \
            }                                                                                      \
            out[row] = sum;                                                                        \
        }                                                                                          \
    }                                                                                              \
    static void smooth_backward_##S(T *g, T sign, const T *diff, const T *dout, const T *inside,   \
                                    const T *outside, T s, size_t rows, size_t cols)               \
    {                                                                                              \
        for (size_t row = 0, i = 0; row < rows; row++)                                             \
            for (size_t c = 0; c < cols; c++, i++) {                                               \
                T d = diff[i];                                                                     \
                T e = fabs(d) < 1 / s ? s * d : (T)((d > 0) - (d < 0));                            \
                T w = inside ? inside[i] * outside[i] : 1;                                         \
                g[i] = sign * (e * (w * dout[row]));                                               \
            }                                                                                      \
    }                                                                                              \
    static void squared_forward_##S(T *sub, T *out, const T *x, const T *y, bool one_row,          \
                                    size_t rows, size_t cols)                                      \
    {                                                                                              \
        for (size_t row = 0, i = 0; row < rows; row++) {                                           \
            T sum = 0;                                                                             \
            for (size_t c = 0; c < cols; c++, i++) {                                               \
                T d = x[i] - y[one_row ? c : i];                                                   \
                sub[i] = d;                                                                        \
                sum += d * d;                                                                      \
            }                                                                                      \
            out[row] = sum;                                                                        \
        }                                                                                          \
    }                                                                                              \
    /* into one row when fold */                                                                   \
    static void squared_backward_##S(T *g, T factor, const T *sub, const T *dout, bool fold,       \
                                     size_t rows, size_t cols)                                     \
    {                                                                                              \
        for (size_t c = 0; fold && c < cols; c++)                                                  \
            g[c] = 0;                                                                              \
        for (size_t row = 0, i = 0; row < rows; row++)                                             \
            for (size_t c = 0; c < cols; c++, i++) {                                               \
                T d = factor * dout[row] * sub[i];                                                 \
                if (fold)                                                                          \
                    g[c] += d;                                                                     \
                else                                                                               \
                    g[i] = d;                                                                      \
            }                                                                                      \
    }

DEFINE_DISTANCE(float, f32)
DEFINE_DISTANCE(double, f64)

static int huber_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, DISTANCE_X, 0);
    int rc = shape_check_same(shape, 0, 1);
    if (rc == 0 && shape->def == &op_distance_huber)
        op_shape_set(shape, HUBER_RESIDUAL, 0, &x->dims, x->dtype, NULL);
    if (rc == 0)
        op_shape_default(shape);
    return rc;
}

static int huber_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, DISTANCE_X), *y = op_in(ctx, DISTANCE_Y);
    struct tensor *residual = op_out(ctx, HUBER_RESIDUAL), *out = op_out(ctx, HUBER_OUT);
    float delta = ctx->attr[HUBER_DELTA]->f;
    int rc = shape_check_floats(ctx, (const int[]){DISTANCE_Y, -1});
    if (rc < 0)
        return rc;
    if (x->dtype == DTYPE_FP32)
        huber_forward_f32(tensor_f32(residual), tensor_f32(out), tensor_f32(x), tensor_f32(y),
                          delta, tensor_count(x));
    else
        huber_forward_f64(tensor_f64(residual), tensor_f64(out), tensor_f64(x), tensor_f64(y),
                          (double)delta, tensor_count(x));
    return 0;
}

static int huber_backward(struct op_ctx *ctx)
{
    const struct tensor *residual = op_in(ctx, HUBER_GRAD_RESIDUAL),
                        *dout = op_in(ctx, HUBER_GRAD_DOUT);
    float delta = ctx->attr[HUBER_DELTA]->f;
    int rc = shape_check_floats(ctx, (const int[]){HUBER_GRAD_DOUT, -1});
    for (int s = DISTANCE_DX; rc == 0 && s <= DISTANCE_DY; s++) {
        struct tensor *d = op_out(ctx, s);
        if (d == NULL)
            continue;
        if (residual->dtype == DTYPE_FP32)
            huber_backward_f32(tensor_f32(d), s == DISTANCE_DX ? -1 : 1, tensor_f32(residual),
                               tensor_f32(dout), delta, tensor_count(residual));
        else
            huber_backward_f64(tensor_f64(d), s == DISTANCE_DX ? -1 : 1, tensor_f64(residual),
                               tensor_f64(dout), (double)delta, tensor_count(residual));
    }
    return rc;
}

static size_t rows_of(const struct tensor *t)
{
    return (size_t)t->dims.d[0];
}

static size_t cols_of(const struct tensor *t)
{
    return (size_t)dims_product(&t->dims, 1, t->dims.rank);
}

// [N,1] for an output that has one number a row of input 0.
static void set_row_sums(struct op_shape *shape, int s)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    struct dims out = {.rank = 2, .d = {x->dims.d[0], 1}};
    op_shape_set(shape, s, 0, &out, x->dtype, NULL);
}

static int check_rank(const struct op_shape *shape, int s, int rank)
{
    const struct op_var_dims *x = op_shape_in(shape, s, 0);
    char text[DIMS_TEXT_MAX];
    if (x->dims.rank < rank)
        return err_set(shape->err, SL_EMISMATCH, "%s must have at least %d dimensions, it has %s",
                       shape->def->inputs[s].name, rank, dims_format(&x->dims, text));
    return 0;
}

static int check_row_gradient(const struct op_shape *shape, int s, int64_t rows)
{
    const struct op_var_dims *dout = op_shape_in(shape, s, 0);
    char text[DIMS_TEXT_MAX];
    if (dout->dims.rank != 2 || !op_dims_fit(dout->dims.d[0], rows) ||
        !op_dims_fit(dout->dims.d[1], 1))
        return err_set(shape->err, SL_EMISMATCH, "Out@GRAD must be [%lld,1], it is %s",
                       (long long)rows, dims_format(&dout->dims, text));
    return 0;
}

static int check_weights(const struct op_shape *shape, int inside, int outside)
{
    if ((op_shape_in(shape, inside, 0) == NULL) != (op_shape_in(shape, outside, 0) == NULL))
        return err_set(shape->err, SL_EINVAL,
                       "InsideWeight and OutsideWeight must be given both or not at all");
    int rc = shape_check_same(shape, 0, inside);
    return rc < 0 ? rc : shape_check_same(shape, 0, outside);
}

static int smooth_infer(struct op_shape *shape)
{
    int rc = check_rank(shape, DISTANCE_X, 2);
    if (rc == 0)
        rc = shape_check_same(shape, DISTANCE_X, DISTANCE_Y);
    if (rc == 0)
        rc = check_weights(shape, SMOOTH_INSIDE, SMOOTH_OUTSIDE);
    if (rc < 0)
        return rc;
    const struct op_var_dims *x = op_shape_in(shape, DISTANCE_X, 0);
    op_shape_set(shape, SMOOTH_DIFF, 0, &x->dims, x->dtype, NULL);
    set_row_sums(shape, SMOOTH_OUT);
    return 0;
}

static int smooth_grad_infer(struct op_shape *shape)
{
    int rc = check_rank(shape, SMOOTH_GRAD_DIFF, 2);
    if (rc == 0)
        rc = check_row_gradient(shape, SMOOTH_GRAD_DOUT, op_shape_in(shape, 0, 0)->dims.d[0]);
    if (rc == 0)
        rc = check_weights(shape, SMOOTH_GRAD_INSIDE, SMOOTH_GRAD_OUTSIDE);
    if (rc == 0)
        op_shape_default(shape);
    return rc;
}

static int smooth_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, DISTANCE_X), *y = op_in(ctx, DISTANCE_Y),
                        *inside = op_in(ctx, SMOOTH_INSIDE), *outside = op_in(ctx, SMOOTH_OUTSIDE);
    struct tensor *diff = op_out(ctx, SMOOTH_DIFF), *out = op_out(ctx, SMOOTH_OUT);
    float sigma = ctx->attr[SMOOTH_SIGMA]->f;
    int rc = shape_check_floats(ctx, (const int[]){DISTANCE_Y, SMOOTH_INSIDE, SMOOTH_OUTSIDE, -1});
    if (rc < 0)
        return rc;
    if (x->dtype == DTYPE_FP32)
        smooth_forward_f32(tensor_f32(diff), tensor_f32(out), tensor_f32(x), tensor_f32(y),
                           inside ? tensor_f32(inside) : NULL, outside ? tensor_f32(outside) : NULL,
                           sigma * sigma, rows_of(x), cols_of(x));
    else
        smooth_forward_f64(tensor_f64(diff), tensor_f64(out), tensor_f64(x), tensor_f64(y),
                           inside ? tensor_f64(inside) : NULL, outside ? tensor_f64(outside) : NULL,
                           (double)sigma * (double)sigma, rows_of(x), cols_of(x));
    return 0;
}

static int smooth_backward(struct op_ctx *ctx)
{
    const struct tensor *diff = op_in(ctx, SMOOTH_GRAD_DIFF), *dout = op_in(ctx, SMOOTH_GRAD_DOUT),
                        *inside = op_in(ctx, SMOOTH_GRAD_INSIDE),
                        *outside = op_in(ctx, SMOOTH_GRAD_OUTSIDE);
    float sigma = ctx->attr[SMOOTH_SIGMA]->f;
    int rc = shape_check_floats(
        ctx, (const int[]){SMOOTH_GRAD_DOUT, SMOOTH_GRAD_INSIDE, SMOOTH_GRAD_OUTSIDE, -1});
    for (int s = DISTANCE_DX; rc == 0 && s <= DISTANCE_DY; s++) {
        struct tensor *d = op_out(ctx, s);
        if (d == NULL)
            continue;
        if (diff->dtype == DTYPE_FP32)
            smooth_backward_f32(tensor_f32(d), s == DISTANCE_DX ? 1 : -1, tensor_f32(diff),
                                tensor_f32(dout), inside ? tensor_f32(inside) : NULL,
                                outside ? tensor_f32(outside) : NULL, sigma * sigma, rows_of(diff),
                                cols_of(diff));
        else
            smooth_backward_f64(tensor_f64(d), s == DISTANCE_DX ? 1 : -1, tensor_f64(diff),
                                tensor_f64(dout), inside ? tensor_f64(inside) : NULL,
                                outside ? tensor_f64(outside) : NULL, (double)sigma * (double)sigma,
                                rows_of(diff), cols_of(diff));
    }
    return rc;
}

// Y has X's rank and as many elements a row, and X's rows or one.
static int squared_check(const struct op_shape *shape, struct dims *out_sub)
{
    const struct op_var_dims *x = op_shape_in(shape, DISTANCE_X, 0),
                             *y = op_shape_in(shape, DISTANCE_Y, 0);
    char x_text[DIMS_TEXT_MAX], y_text[DIMS_TEXT_MAX];
    int64_t x_cols = 1, y_cols = 1;
    for (int i = 1; i < x->dims.rank; i++)
        x_cols = x_cols < 0 || x->dims.d[i] < 0 ? -1 : x_cols * x->dims.d[i];
    for (int i = 1; i < y->dims.rank; i++)
        y_cols = y_cols < 0 || y->dims.d[i] < 0 ? -1 : y_cols * y->dims.d[i];
    if (x->dims.rank < 2 || y->dims.rank != x->dims.rank || !op_dims_fit(x_cols, y_cols) ||
        (y->dims.d[0] != 1 && !op_dims_fit(x->dims.d[0], y->dims.d[0])))
        return err_set(shape->err, SL_EMISMATCH, "X has shape %s, Y %s",
                       dims_format(&x->dims, x_text), dims_format(&y->dims, y_text));
    *out_sub = (struct dims){.rank = 2, .d = {x->dims.d[0], x_cols}};
    return 0;
}

static int squared_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, DISTANCE_X, 0);
    struct dims sub;
    int rc = squared_check(shape, &sub);
    if (rc < 0)
        return rc;
    op_shape_set(shape, SQUARED_SUB, 0, &sub, x->dtype, NULL);
    struct dims out = {.rank = 2, .d = {sub.d[0], 1}};
    op_shape_set(shape, SQUARED_OUT, 0, &out, x->dtype, x);
    return 0;
}

static int squared_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *kept = op_shape_in(shape, SQUARED_GRAD_SUB, 0);
    struct dims sub;
    int rc = squared_check(shape, &sub);
    if (rc == 0)
        rc = check_row_gradient(shape, SQUARED_GRAD_DOUT, sub.d[0]);
    if (rc == 0 && (kept->dims.rank != 2 || !op_dims_fit(kept->dims.d[0], sub.d[0]) ||
                    !op_dims_fit(kept->dims.d[1], sub.d[1])))
        rc = err_set(shape->err, SL_EMISMATCH, "sub_result has not the shape of X");
    if (rc == 0)
        op_shape_default(shape);
    return rc;
}

static int squared_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, DISTANCE_X), *y = op_in(ctx, DISTANCE_Y);
    struct tensor *sub = op_out(ctx, SQUARED_SUB), *out = op_out(ctx, SQUARED_OUT);
    bool one_row = y->dims.d[0] == 1;
    int rc = shape_check_floats(ctx, (const int[]){DISTANCE_Y, -1});
    if (rc < 0)
        return rc;
    if (x->dtype == DTYPE_FP32)
        squared_forward_f32(tensor_f32(sub), tensor_f32(out), tensor_f32(x), tensor_f32(y), one_row,
                            rows_of(x), cols_of(x));
    else
        squared_forward_f64(tensor_f64(sub), tensor_f64(out), tensor_f64(x), tensor_f64(y), one_row,
                            rows_of(x), cols_of(x));
    return 0;
}

static int squared_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, DISTANCE_X), *y = op_in(ctx, DISTANCE_Y),
                        *sub = op_in(ctx, SQUARED_GRAD_SUB), *dout = op_in(ctx, SQUARED_GRAD_DOUT);
    int rc =
        shape_check_floats(ctx, (const int[]){DISTANCE_Y, SQUARED_GRAD_SUB, SQUARED_GRAD_DOUT, -1});
    for (int s = DISTANCE_DX; rc == 0 && s <= DISTANCE_DY; s++) {
        struct tensor *d = op_out(ctx, s);
        bool fold = s == DISTANCE_DY && y->dims.d[0] == 1;
        if (d == NULL)
            continue;
        if (x->dtype == DTYPE_FP32)
            squared_backward_f32(tensor_f32(d), s == DISTANCE_DX ? 2 : -2, tensor_f32(sub),
                                 tensor_f32(dout), fold, rows_of(x), cols_of(x));
        else
            squared_backward_f64(tensor_f64(d), s == DISTANCE_DX ? 2 : -2, tensor_f64(sub),
                                 tensor_f64(dout), fold, rows_of(x), cols_of(x));
    }
    return rc;
}

const struct op_def op_distance_huber = {
    .type = "huber_loss",
    .inputs = xy_inputs,
    .outputs = huber_outputs,
    .attrs = huber_attrs,
    .grad = {.type = "huber_loss_grad", .inputs = "Residual Out@GRAD", .outputs = "X@GRAD Y@GRAD"},
    .infer_shape = huber_infer,
    .kernel = huber_forward,
};

const struct op_def op_distance_huber_grad = {
    .type = "huber_loss_grad",
    .inputs = huber_grad_inputs,
    .outputs = xy_grad_outputs,
    .attrs = huber_attrs,
    .infer_shape = huber_infer,
    .kernel = huber_backward,
};

const struct op_def op_distance_smooth_l1 = {
    .type = "smooth_l1_loss",
    .inputs = smooth_inputs,
    .outputs = smooth_outputs,
    .attrs = smooth_attrs,
    .grad = {.type = "smooth_l1_loss_grad",
             .inputs = "InsideWeight OutsideWeight Diff Out@GRAD",
             .outputs = "X@GRAD Y@GRAD"},
    .infer_shape = smooth_infer,
    .kernel = smooth_forward,
};

const struct op_def op_distance_smooth_l1_grad = {
    .type = "smooth_l1_loss_grad",
    .inputs = smooth_grad_inputs,
    .outputs = xy_grad_outputs,
    .attrs = smooth_attrs,
    .infer_shape = smooth_grad_infer,
    .kernel = smooth_backward,
};

const struct op_def op_distance_squared_l2 = {
    .type = "squared_l2_distance",
    .inputs = xy_inputs,
    .outputs = squared_outputs,
    .attrs = no_attrs,
    .grad = {.type = "squared_l2_distance_grad",
             .inputs = "X Y sub_result Out@GRAD",
             .outputs = "X@GRAD Y@GRAD"},
    .infer_shape = squared_infer,
    .kernel = squared_forward,
};

const struct op_def op_distance_squared_l2_grad = {
    .type = "squared_l2_distance_grad",
    .inputs = squared_grad_inputs,
    .outputs = xy_grad_outputs,
    .attrs = no_attrs,
    .infer_shape = squared_grad_infer,
    .kernel = squared_backward,
    .no_lod = true,
};
