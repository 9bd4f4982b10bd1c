// SPDX-License-Identifier: Apache-2.0
// Losses that put one score before another.
//
//   rank_loss         scores Left, Right, Label: does Left come first; all [N,1]
//                     d = Left - Right:  Out = log(1 + exp(d)) - Label d
//                     dLeft = dOut (sigmoid(d) - Label) = -dRight
//   margin_rank_loss  scores X1, X2, Label 1 or -1; all [N,1]
//                     Out = max(-Label (X1 - X2) + margin, 0);  Activated = Out > 0
//                     dX1 = -dOut Activated Label = -dX2
//   bpr_loss          scores X [rows.., classes], Label [rows.., 1] the class that comes first
//                     Y = sum over the other classes c of log(1 + exp(X[c] - X[l])) / (classes - 1)
//                     dX[c] = dY / ((classes - 1) (1 + exp(X[l] - X[c]))),  dX[l] = -sum of those
//
// An infinite exponential counts as 1e20 in bpr_loss, as Fluid's TolerableValue does.

#include <tgmath.h>

#include "common/base/err.h"
#include "common/ops/labels.h"
#include "common/ops/op.h"
#include "common/ops/shape_check.h"

extern const struct op_def op_rank_loss, op_rank_loss_grad;
extern const struct op_def op_rank_loss_margin, op_rank_loss_margin_grad;
extern const struct op_def op_rank_loss_bpr, op_rank_loss_bpr_grad;

static const struct op_attr_def no_attrs[] = {{.name = NULL}};
enum { MARGIN_MARGIN };
static const struct op_attr_def margin_attrs[] = {
    OP_ATTR_FLOAT("margin", 0),
    {.name = NULL},
};

enum { RANK_LEFT, RANK_RIGHT, RANK_LABEL, RANK_DOUT };
enum { RANK_DLEFT, RANK_DRIGHT };
static const struct op_slot_def rank_inputs[] = {
    {"Left", 0}, {"Right", 0}, {"Label", 0}, {NULL, 0}};
static const struct op_slot_def rank_outputs[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def rank_grad_inputs[] = {
    {"Left", 0}, {"Right", 0}, {"Label", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def rank_grad_outputs[] = {
    {"Left@GRAD", OP_SLOT_OPTIONAL}, {"Right@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

enum { MARGIN_X1, MARGIN_X2, MARGIN_LABEL };
enum { MARGIN_ACTIVATED, MARGIN_OUT };
static const struct op_slot_def margin_inputs[] = {{"X1", 0}, {"X2", 0}, {"Label", 0}, {NULL, 0}};
static const struct op_slot_def margin_outputs[] = {{"Activated", 0}, {"Out", 0}, {NULL, 0}};
enum { MARGIN_GRAD_ACTIVATED, MARGIN_GRAD_LABEL, MARGIN_GRAD_DOUT };
static const struct op_slot_def margin_grad_inputs[] = {
    {"Activated", 0}, {"Label", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def margin_grad_outputs[] = {
    {"X1@GRAD", OP_SLOT_OPTIONAL}, {"X2@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

enum { BPR_X, BPR_LABEL, BPR_DY };
static const struct op_slot_def bpr_inputs[] = {{"X", 0}, {"Label", 0}, {NULL, 0}};
static const struct op_slot_def bpr_outputs[] = {{"Y", 0}, {NULL, 0}};
static const struct op_slot_def bpr_grad_inputs[] = {
    {"X", 0}, {"Label", 0}, {"Y@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def bpr_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

#define DEFINE_RANK(T, S)                                                                          \
    static void rank_forward_##S(T *out, const T *left, const T *right, const T *label, size_t n)  \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            out[i] = log(1 + exp(left[i] - right[i])) - label[i] * (left[i] - right[i]);           \
    }                                                                                              \
    static void rank_backward_##S(T *d, T sign, const T *left, const T *right, const T *label,     \
                                  const T *dout, size_t n)                                         \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            d[i] = sign * dout[i] * (1 / (1 + exp(right[i] - left[i])) - label[i]);                \
    }                                                                                              \
    static void margin_forward_##S(T *activated, T *out, const T *x1, const T *x2, const T *label, \
                                   T margin, size_t n)                                             \
    {                                                                                              \
        for (size_t i = 0; i < n; i++) {                                                           \
            T loss = -label[i] * (x1[i] - x2[i]) + margin;                                         \
            out[i] = loss < 0 ? 0 : loss;                                                          \
            activated[i] = out[i] > 0;                                                             \
        }                                                                                          \
    }                                                                                              \
    static void margin_backward_##S(T *d, T sign, const T *activated, const T *label,              \
                                    const T *dout, size_t n)                                       \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            d[i] = sign * dout[i] * activated[i] * label[i];                                       \
    }                                                                                              \
    static T tolerable_##S(T x)                                                                    \
    {                                                                                              \
        return isinf(x) ? (x > 0 ? (T)1e20 : (T)-1e20) : x;                                        \
    }                                                                                              \
    static void bpr_forward_##S(T *y, const T *x, const struct labels *labels, int64_t rows)       \
    {                                                                                              \
        int64_t classes = labels->classes;                                                         \
        for (int64_t row = 0; row < rows; row++, x += classes) {                                   \
            int64_t first = labels_at(labels, row);                                                \
            T sum = 0;                                                                             \
            for (int64_t c = 0; c < classes; c++)                                                  \
                if (c != first)                                                                    \
                    sum += log(tolerable_##S(1 + exp(x[c] - x[first])));                           \
            y[row] = sum / (T)(classes - 1);                                                       \
        }                                                                                          \
    }                                                                                              \
    static void bpr_backward_##S(T *dx, const T *x, const T *dy, const struct labels *labels,      \
                                 int64_t rows)                                                     \
    {                                                                                              \
        int64_t classes = labels->classes;                                                         \
        for (int64_t row = 0; row < rows; row++, x += classes, dx += classes) {                    \
            int64_t first = labels_at(labels, row);                                                \
            T sum = 0;                                                                             \
            for (int64_t c = 0; c < classes; c++) {                                                \
                if (c == first)                                                                    \
                    continue;                                                                      \
                T e = tolerable_##S(1 + exp(x[first] - x[c]));                                     \
                dx[c] = dy[row] / ((T)(classes - 1) * e);                                          \
                sum += dx[c];                                                                      \
            }                                                                                      \
            dx[first] = -sum;                                                                      \
        }                                                                                          \
    }

DEFINE_RANK(float, f32)
DEFINE_RANK(double, f64)

static int columns_infer(struct op_shape *shape)
{
    int rc = shape_check_column(shape, 0);
    for (int s = 1; rc == 0 && shape->def->inputs[s].name != NULL; s++)
        rc = shape_check_same(shape, 0, s);
    if (rc == 0)
        op_shape_bare(shape);
    return rc;
}

static int rank_forward(struct op_ctx *ctx)
{
    const struct tensor *left = op_in(ctx, RANK_LEFT), *right = op_in(ctx, RANK_RIGHT),
                        *label = op_in(ctx, RANK_LABEL);
    struct tensor *out = op_out(ctx, 0);
    int rc = shape_check_floats(ctx, (const int[]){RANK_RIGHT, RANK_LABEL, -1});
    if (rc < 0)
        return rc;
    if (left->dtype == DTYPE_FP32)
        rank_forward_f32(tensor_f32(out), tensor_f32(left), tensor_f32(right), tensor_f32(label),
                         tensor_count(left));
    else
        rank_forward_f64(tensor_f64(out), tensor_f64(left), tensor_f64(right), tensor_f64(label),
                         tensor_count(left));
    return 0;
}

static int rank_backward(struct op_ctx *ctx)
{
    const struct tensor *left = op_in(ctx, RANK_LEFT), *right = op_in(ctx, RANK_RIGHT),
                        *label = op_in(ctx, RANK_LABEL), *dout = op_in(ctx, RANK_DOUT);
    int rc = shape_check_floats(ctx, (const int[]){RANK_RIGHT, RANK_LABEL, RANK_DOUT, -1});
    for (int s = RANK_DLEFT; rc == 0 && s <= RANK_DRIGHT; s++) {
        struct tensor *d = op_out(ctx, s);
        if (d == NULL)
            continue;
        if (left->dtype == DTYPE_FP32)
            rank_backward_f32(tensor_f32(d), s == RANK_DLEFT ? 1 : -1, tensor_f32(left),
                              tensor_f32(right), tensor_f32(label), tensor_f32(dout),
                              tensor_count(left));
        else
            rank_backward_f64(tensor_f64(d), s == RANK_DLEFT ? 1 : -1, tensor_f64(left),
                              tensor_f64(right), tensor_f64(label), tensor_f64(dout),
                              tensor_count(left));
    }
    return rc;
}

static int margin_forward(struct op_ctx *ctx)
{
    const struct tensor *x1 = op_in(ctx, MARGIN_X1), *x2 = op_in(ctx, MARGIN_X2),
                        *label = op_in(ctx, MARGIN_LABEL);
    struct tensor *activated = op_out(ctx, MARGIN_ACTIVATED), *out = op_out(ctx, MARGIN_OUT);
    float margin = ctx->attr[MARGIN_MARGIN]->f;
    int rc = shape_check_floats(ctx, (const int[]){MARGIN_X2, MARGIN_LABEL, -1});
    if (rc < 0)
        return rc;
    if (x1->dtype == DTYPE_FP32)
        margin_forward_f32(tensor_f32(activated), tensor_f32(out), tensor_f32(x1), tensor_f32(x2),
                           tensor_f32(label), margin, tensor_count(x1));
    else
        margin_forward_f64(tensor_f64(activated), tensor_f64(out), tensor_f64(x1), tensor_f64(x2),
                           tensor_f64(label), (double)margin, tensor_count(x1));
    return 0;
}

static int margin_backward(struct op_ctx *ctx)
{
    const struct tensor *activated = op_in(ctx, MARGIN_GRAD_ACTIVATED),
                        *label = op_in(ctx, MARGIN_GRAD_LABEL),
                        *dout = op_in(ctx, MARGIN_GRAD_DOUT);
    int rc = shape_check_floats(ctx, (const int[]){MARGIN_GRAD_LABEL, MARGIN_GRAD_DOUT, -1});
    for (int s = 0; rc == 0 && s < 2; s++) {
        struct tensor *d = op_out(ctx, s);
        if (d == NULL)
            continue;
        if (activated->dtype == DTYPE_FP32)
            margin_backward_f32(tensor_f32(d), s == 0 ? -1 : 1, tensor_f32(activated),
                                tensor_f32(label), tensor_f32(dout), tensor_count(activated));
        else
            margin_backward_f64(tensor_f64(d), s == 0 ? -1 : 1, tensor_f64(activated),
                                tensor_f64(label), tensor_f64(dout), tensor_count(activated));
    }
    return rc;
}

// Y (and Y@GRAD) and Label are [rows.., 1] for X [rows.., classes].
static int bpr_check(const struct op_shape *shape, int s)
{
    const struct op_var_dims *x = op_shape_in(shape, BPR_X, 0), *y = op_shape_in(shape, s, 0);
    char x_text[DIMS_TEXT_MAX], y_text[DIMS_TEXT_MAX];
    int last = x->dims.rank - 1;
    bool fits = last >= 1 && y->dims.rank == x->dims.rank && op_dims_fit(y->dims.d[last], 1);
    for (int i = 0; fits && i < last; i++)
        fits = op_dims_fit(x->dims.d[i], y->dims.d[i]);
    if (!fits)
        return err_set(shape->err, SL_EMISMATCH, "%s %s does not go with X %s",
                       shape->def->inputs[s].name, dims_format(&y->dims, y_text),
                       dims_format(&x->dims, x_text));
    return 0;
}

static int bpr_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, BPR_X, 0);
    struct dims y = x->dims;
    int rc = bpr_check(shape, BPR_LABEL);
    if (rc < 0)
        return rc;
    y.d[y.rank - 1] = 1;
    op_shape_set(shape, 0, 0, &y, x->dtype, x);
    return 0;
}

static int bpr_grad_infer(struct op_shape *shape)
{
    int rc = bpr_check(shape, BPR_LABEL);
    if (rc == 0)
        rc = bpr_check(shape, BPR_DY);
    if (rc == 0)
        op_shape_default(shape);
    return rc;
}

static int bpr_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, BPR_X);
    struct tensor *y = op_out(ctx, 0);
    int64_t rows = dims_product(&x->dims, 0, x->dims.rank - 1);
    struct labels labels = {op_in(ctx, BPR_LABEL), x->dims.d[x->dims.rank - 1], LABELS_IGNORE_NONE};
    int rc = shape_check_floats(ctx, (const int[]){-1});
    if (rc == 0)
        rc = labels_check(ctx, &labels, rows);
    if (rc < 0)
        return rc;
    if (x->dtype == DTYPE_FP32)
        bpr_forward_f32(tensor_f32(y), tensor_f32(x), &labels, rows);
    else
        bpr_forward_f64(tensor_f64(y), tensor_f64(x), &labels, rows);
    return 0;
}

static int bpr_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, BPR_X), *dy = op_in(ctx, BPR_DY);
    struct tensor *dx = op_out(ctx, 0);
    int64_t rows = dims_product(&x->dims, 0, x->dims.rank - 1);
    struct labels labels = {op_in(ctx, BPR_LABEL), x->dims.d[x->dims.rank - 1], LABELS_IGNORE_NONE};
    int rc = shape_check_floats(ctx, (const int[]){BPR_DY, -1});
    if (rc == 0)
        rc = labels_check(ctx, &labels, rows);
    if (rc < 0 || dx == NULL)
        return rc;
    if (x->dtype == DTYPE_FP32)
        bpr_backward_f32(tensor_f32(dx), tensor_f32(x), tensor_f32(dy), &labels, rows);
    else
        bpr_backward_f64(tensor_f64(dx), tensor_f64(x), tensor_f64(dy), &labels, rows);
    return 0;
}

const struct op_def op_rank_loss = {
    .type = "rank_loss",
    .inputs = rank_inputs,
    .outputs = rank_outputs,
    .attrs = no_attrs,
    .grad = {.type = "rank_loss_grad",
             .inputs = "Label Left Right Out@GRAD",
             .outputs = "Left@GRAD Right@GRAD"},
    .infer_shape = columns_infer,
    .kernel = rank_forward,
};

const struct op_def op_rank_loss_grad = {
    .type = "rank_loss_grad",
    .inputs = rank_grad_inputs,
    .outputs = rank_grad_outputs,
    .attrs = no_attrs,
    .infer_shape = columns_infer,
    .kernel = rank_backward,
};

const struct op_def op_rank_loss_margin = {
    .type = "margin_rank_loss",
    .inputs = margin_inputs,
    .outputs = margin_outputs,
    .attrs = margin_attrs,
    .grad = {.type = "margin_rank_loss_grad",
             .inputs = "Activated Label Out@GRAD",
             .outputs = "X1@GRAD X2@GRAD"},
    .infer_shape = columns_infer,
    .kernel = margin_forward,
};

const struct op_def op_rank_loss_margin_grad = {
    .type = "margin_rank_loss_grad",
    .inputs = margin_grad_inputs,
    .outputs = margin_grad_outputs,
    .attrs = margin_attrs,
    .infer_shape = columns_infer,
    .kernel = margin_backward,
};

const struct op_def op_rank_loss_bpr = {
    .type = "bpr_loss",
    .inputs = bpr_inputs,
    .outputs = bpr_outputs,
    .attrs = no_attrs,
    .grad = {.type = "bpr_loss_grad", .inputs = "X Label Y@GRAD", .outputs = "X@GRAD"},
    .infer_shape = bpr_infer,
    .kernel = bpr_forward,
};

const struct op_def op_rank_loss_bpr_grad = {
    .type = "bpr_loss_grad",
    .inputs = bpr_grad_inputs,
    .outputs = bpr_grad_outputs,
    .attrs = no_attrs,
    .infer_shape = bpr_grad_infer,
    .kernel = bpr_backward,
};
