// SPDX-License-Identifier: Apache-2.0
// Cross entropy of probabilities X [rows.., classes] (not logits).
//
// cross_entropy2 (hard labels), per row with label l:
//   forward   MatchX = X[l];  Y = -log(MatchX);     ignore_index: both 0
//   backward  dX[l] = -dY / MatchX, others 0;       ignore_index: all 0
//   XShape carries X's shape with a 0 behind and no data: the gradient needs no X.
// cross_entropy:
//   hard      Y = -log(X[l])                        dX[l] = -dY / X[l], others 0
//   soft      Y = -sum(Label log(X))                dX = -dY Label / X
//
// An infinite log counts as 1e20 with its sign, as Fluid's TolerableValue does. Label is int64 (or
// int32) [rows.., 1], or X's type and shape when soft. A label outside [0, classes) is an error.

#include <math.h>
#include <string.h>

#include "common/base/err.h"
#include "common/ops/labels.h"
#include "common/ops/op.h"

extern const struct op_def op_cross_entropy, op_cross_entropy_grad;
extern const struct op_def op_cross_entropy_v2, op_cross_entropy_v2_grad;

enum { CE_SOFT_LABEL, CE_IGNORE_INDEX };
static const struct op_attr_def cross_entropy_attrs[] = {
    OP_ATTR_BOOL("soft_label", 0),
    OP_ATTR_INT("ignore_index", -100),
    {.name = NULL},
};
enum { CE2_IGNORE_INDEX };
static const struct op_attr_def cross_entropy2_attrs[] = {
    OP_ATTR_INT("ignore_index", -100),
    {.name = NULL},
};

enum { CE_X, CE_LABEL, CE_DY };
enum { CE_Y };
static const struct op_slot_def cross_entropy_inputs[] = {{"X", 0}, {"Label", 0}, {NULL, 0}};
static const struct op_slot_def cross_entropy_outputs[] = {{"Y", 0}, {NULL, 0}};
static const struct op_slot_def cross_entropy_grad_inputs[] = {
    {"X", 0}, {"Label", 0}, {"Y@GRAD", 0}, {NULL, 0}};

enum { CE2_Y, CE2_XSHAPE, CE2_MATCH };
static const struct op_slot_def cross_entropy2_outputs[] = {
    {"Y", 0}, {"XShape", OP_SLOT_EXTRA}, {"MatchX", 0}, {NULL, 0}};
enum { CE2_GRAD_XSHAPE, CE2_GRAD_LABEL, CE2_GRAD_MATCH, CE2_GRAD_DY };
static const struct op_slot_def cross_entropy2_grad_inputs[] = {
    {"XShape", 0}, {"Label", 0}, {"MatchX", 0}, {"Y@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

#define DEFINE_CROSS_ENTROPY(T, S, LOG)                                                            \
    static T tolerable_log_##S(T x)                                                                \
    {                                                                                              \
        T y = LOG(x);                                                                              \
        return isinf(y) ? (T)(y > 0 ? 1e20 : -1e20) : y;                                           \
    }                                                                                              \
    static void hard_forward_##S(T *y, T *match, const T *x, const struct labels *labels,          \
                                 int64_t rows)                                                     \
    {                                                                                              \
        for (int64_t row = 0; row < rows; row++) {                                                 \
            int64_t label = labels_at(labels, row);                                                \
            bool ignored = label == labels->ignore_index;                                          \
            T p = ignored ? 0 : x[row * labels->classes + label];                                  \
            y[row] = ignored ? 0 : -tolerable_log_##S(p);                                          \
            if (match != NULL)                                                                     \
                match[row] = p;                                                                    \
        }                                                                                          \
    }                                                                                              \
    /* p is X [rows,classes], or MatchX [rows] when matched */                                     \
    static void hard_backward_##S(T *dx, const T *p, bool matched, const T *dy,                    \
                                  const struct labels *labels, int64_t rows)                       \
    {                                                                                              \
        memset(dx, 0, (size_t)(rows * labels->classes) * sizeof *dx);                              \
        for (int64_t row = 0; row < rows; row++) {                                                 \
            int64_t label = labels_at(labels, row);                                                \
            int64_t at = row * labels->classes + label;                                            \
            if (label != labels->ignore_index)                                                     \
                dx[at] = -dy[row] / p[matched ? row : at];                                         \
        }                                                                                          \
    }                                                                                              \
    static void soft_forward_##S(T *y, const T *x, const T *label, int64_t rows, int64_t classes)  \
    {                                                                                              \
        for (int64_t row = 0; row < rows; row++) {                                                 \
            T sum = 0;                                                                             \
            for (int64_t c = 0; c < classes; c++)                                                  \
                sum += label[row * classes + c] * tolerable_log_##S(x[row * classes + c]);         \
            y[row] = -sum;                                                                         \
        }                                                                                          \
    }                                                                                              \
    static void soft_backward_##S(T *dx, const T *x, const T *label, const T *dy, int64_t rows,    \
                                  int64_t classes)                                                 \
    {                                                                                              \
        for (int64_t row = 0; row < rows; row++)                                                   \
            for (int64_t i = row * classes; i < (row + 1) * classes; i++)                          \
                dx[i] = -label[i] * dy[row] / x[i];                                                \
    }

DEFINE_CROSS_ENTROPY(float, f32, logf)
DEFINE_CROSS_ENTROPY(double, f64, log)

// X [rows.., classes] and Label [rows.., 1] or [rows.., classes] must have the same rows.
static int check_shapes(const struct op_shape *shape, bool soft)
{
    const struct op_var_dims *x = op_shape_in(shape, CE_X, 0),
                             *label = op_shape_in(shape, CE_LABEL, 0);
    char x_text[DIMS_TEXT_MAX], label_text[DIMS_TEXT_MAX];
    int last = x->dims.rank - 1;
    bool fits =
        last >= 0 && (label->dims.rank == x->dims.rank || (!soft && label->dims.rank == last));
    for (int i = 0; fits && i < last; i++)
        fits = op_dims_fit(x->dims.d[i], label->dims.d[i]);
    if (fits && label->dims.rank == x->dims.rank)
        fits = op_dims_fit(label->dims.d[last], soft ? x->dims.d[last] : 1);
    if (!fits)
        return err_set(shape->err, SL_EMISMATCH, "Label %s does not go with X %s (%s label)",
                       dims_format(&label->dims, label_text), dims_format(&x->dims, x_text),
                       soft ? "soft" : "hard");
    return 0;
}

static int cross_entropy_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, CE_X, 0);
    int rc = check_shapes(shape, attr_bool(shape->attr[CE_SOFT_LABEL]));
    if (rc < 0)
        return rc;
    struct dims y = x->dims;
    y.d[y.rank - 1] = 1;
    op_shape_set(shape, CE_Y, 0, &y, x->dtype, x);
    return 0;
}

static int cross_entropy2_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, CE_X, 0);
    int rc = check_shapes(shape, false);
    if (rc < 0)
        return rc;
    struct dims y = x->dims, x_shape = x->dims;
    if (x->dims.rank >= LIMIT_RANK)
        return err_set(shape->err, SL_ELIMIT, "X may have at most %d dimensions", LIMIT_RANK - 1);
    y.d[y.rank - 1] = 1;
    x_shape.d[x_shape.rank++] = 0;
    op_shape_set(shape, CE2_Y, 0, &y, x->dtype, x);
    op_shape_set(shape, CE2_XSHAPE, 0, &x_shape, x->dtype, x);
    op_shape_set(shape, CE2_MATCH, 0, &y, x->dtype, NULL);
    return 0;
}

static int cross_entropy2_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *x_shape = op_shape_in(shape, CE2_GRAD_XSHAPE, 0);
    const struct op_var_dims *dy = op_shape_in(shape, CE2_GRAD_DY, 0);
    if (x_shape->dims.rank < 2)
        return err_set(shape->err, SL_EMISMATCH, "XShape has no shape of X in it");
    struct dims x = x_shape->dims;
    x.rank--;
    op_shape_set(shape, 0, 0, &x, dy->dtype, x_shape);
    return 0;
}

static int64_t rows_of(const struct dims *x)
{
    return dims_product(x, 0, x->rank - 1);
}

static int cross_entropy_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, CE_X), *label = op_in(ctx, CE_LABEL);
    struct tensor *y = op_out(ctx, CE_Y);
    int64_t rows = rows_of(&x->dims), classes = x->dims.d[x->dims.rank - 1];
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    if (attr_bool(ctx->attr[CE_SOFT_LABEL])) {
        if (label->dtype != x->dtype)
            return err_set(ctx->err, SL_EMISMATCH, "a soft Label must have X's element type");
        if (x->dtype == DTYPE_FP32)
            soft_forward_f32(tensor_f32(y), tensor_f32(x), tensor_f32(label), rows, classes);
        else
            soft_forward_f64(tensor_f64(y), tensor_f64(x), tensor_f64(label), rows, classes);
        return 0;
    }
    struct labels labels = {label, classes, ctx->attr[CE_IGNORE_INDEX]->i};
    int rc = labels_check(ctx, &labels, rows);
    if (rc < 0)
        return rc;
    if (x->dtype == DTYPE_FP32)
        hard_forward_f32(tensor_f32(y), NULL, tensor_f32(x), &labels, rows);
    else
        hard_forward_f64(tensor_f64(y), NULL, tensor_f64(x), &labels, rows);
    return 0;
}

static int cross_entropy_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, CE_X), *label = op_in(ctx, CE_LABEL),
                        *dy = op_in(ctx, CE_DY);
    struct tensor *dx = op_out(ctx, 0);
    int64_t rows = rows_of(&x->dims), classes = x->dims.d[x->dims.rank - 1];
    bool f32 = x->dtype == DTYPE_FP32;
    if (dx == NULL)
        return 0;
    if (!f32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    if (dy->dtype != x->dtype || tensor_count(dy) != (uint64_t)rows)
        return err_set(ctx->err, SL_EMISMATCH, "Y@GRAD has not the type and rows of X");
    if (attr_bool(ctx->attr[CE_SOFT_LABEL])) {
        if (label->dtype != x->dtype)
            return err_set(ctx->err, SL_EMISMATCH, "a soft Label must have X's element type");
        if (f32)
            soft_backward_f32(tensor_f32(dx), tensor_f32(x), tensor_f32(label), tensor_f32(dy),
                              rows, classes);
        else
            soft_backward_f64(tensor_f64(dx), tensor_f64(x), tensor_f64(label), tensor_f64(dy),
                              rows, classes);
        return 0;
    }
    struct labels labels = {label, classes, ctx->attr[CE_IGNORE_INDEX]->i};
    int rc = labels_check(ctx, &labels, rows);
    if (rc < 0)
        return rc;
    if (f32)
        hard_backward_f32(tensor_f32(dx), tensor_f32(x), false, tensor_f32(dy), &labels, rows);
    else
        hard_backward_f64(tensor_f64(dx), tensor_f64(x), false, tensor_f64(dy), &labels, rows);
    return 0;
}

static int cross_entropy2_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, CE_X);
    struct tensor *y = op_out(ctx, CE2_Y), *match = op_out(ctx, CE2_MATCH);
    int64_t rows = rows_of(&x->dims);
    struct labels labels = {op_in(ctx, CE_LABEL), x->dims.d[x->dims.rank - 1],
                               ctx->attr[CE2_IGNORE_INDEX]->i};
    int rc = labels_check(ctx, &labels, rows);
    if (rc < 0)
        return rc;
    if (x->dtype == DTYPE_FP32)
        hard_forward_f32(tensor_f32(y), match ? tensor_f32(match) : NULL, tensor_f32(x), &labels,
                         rows);
    else if (x->dtype == DTYPE_FP64)
        hard_forward_f64(tensor_f64(y), match ? tensor_f64(match) : NULL, tensor_f64(x), &labels,
                         rows);
    else
        return op_bad_dtype(ctx, (int)x->dtype);
    return 0;
}

static int cross_entropy2_backward(struct op_ctx *ctx)
{
    const struct tensor *match = op_in(ctx, CE2_GRAD_MATCH), *dy = op_in(ctx, CE2_GRAD_DY);
    struct tensor *dx = op_out(ctx, 0);
    if (dx == NULL)
        return 0;
    int64_t rows = rows_of(&dx->dims);
    struct labels labels = {op_in(ctx, CE2_GRAD_LABEL), dx->dims.d[dx->dims.rank - 1],
                               ctx->attr[CE2_IGNORE_INDEX]->i};
    if (tensor_count(match) != (uint64_t)rows || tensor_count(dy) != (uint64_t)rows ||
        match->dtype != dy->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "MatchX and Y@GRAD have not the rows of XShape");
    int rc = labels_check(ctx, &labels, rows);
    if (rc < 0)
        return rc;
    if (dy->dtype == DTYPE_FP32)
        hard_backward_f32(tensor_f32(dx), tensor_f32(match), true, tensor_f32(dy), &labels, rows);
    else if (dy->dtype == DTYPE_FP64)
        hard_backward_f64(tensor_f64(dx), tensor_f64(match), true, tensor_f64(dy), &labels, rows);
    else
        return op_bad_dtype(ctx, (int)dy->dtype);
    return 0;
}

const struct op_def op_cross_entropy = {
    .type = "cross_entropy",
    .inputs = cross_entropy_inputs,
    .outputs = cross_entropy_outputs,
    .attrs = cross_entropy_attrs,
    .grad = {.type = "cross_entropy_grad", .inputs = "X Label Y@GRAD", .outputs = "X@GRAD"},
    .infer_shape = cross_entropy_infer,
    .kernel = cross_entropy_forward,
};

const struct op_def op_cross_entropy_grad = {
    .type = "cross_entropy_grad",
    .inputs = cross_entropy_grad_inputs,
    .outputs = grad_outputs,
    .attrs = cross_entropy_attrs,
    .kernel = cross_entropy_backward,
};

const struct op_def op_cross_entropy_v2 = {
    .type = "cross_entropy2",
    .inputs = cross_entropy_inputs,
    .outputs = cross_entropy2_outputs,
    .attrs = cross_entropy2_attrs,
    .grad = {.type = "cross_entropy_grad2",
             .inputs = "XShape Label MatchX Y@GRAD",
             .outputs = "X@GRAD"},
    .infer_shape = cross_entropy2_infer,
    .kernel = cross_entropy2_forward,
};

const struct op_def op_cross_entropy_v2_grad = {
    .type = "cross_entropy_grad2",
    .inputs = cross_entropy2_grad_inputs,
    .outputs = grad_outputs,
    .attrs = cross_entropy2_attrs,
    .infer_shape = cross_entropy2_grad_infer,
    .kernel = cross_entropy2_backward,
};
