// SPDX-License-Identifier: Apache-2.0
// softmax_with_cross_entropy: softmax of Logits along one axis, kept as Softmax (s), and its cross
// entropy against Label. Tensors are seen as [outer, classes, inner] around the axis; Label is
// [outer, 1, inner] of class numbers, or of Logits' type and shape when soft.
//
//   hard   Loss = -log(s[l]), 0 where l is ignore_index
//          dLogits = dLoss (s - [class is l])
//   soft   Loss = -sum(Label log(s));  dLogits = dLoss (s - Label)
//
// As in Fluid on the CPU the gradient does not look at ignore_index: an ignored row has the
// gradient of its label. When an ignored label is no class there is no such gradient, and it is 0
// (Fluid changes an element of another row then).

#include <tgmath.h>

#include "common/base/err.h"
#include "common/ops/labels.h"
#include "common/ops/op.h"
#include "common/ops/op_softmax.h"
#include "common/ops/shape_check.h"

extern const struct op_def op_softmax_loss, op_softmax_loss_grad;

// softmax is always computed in the numerically stable way.
enum { SOFTMAX_LOSS_SOFT, SOFTMAX_LOSS_STABLE, SOFTMAX_LOSS_IGNORE_INDEX, SOFTMAX_LOSS_AXIS };
static const struct op_attr_def softmax_loss_attrs[] = {
    OP_ATTR_BOOL("soft_label", 0),
    OP_ATTR_BOOL("numeric_stable_mode", 1),
    OP_ATTR_INT("ignore_index", -100),
    OP_ATTR_INT("axis", -1),
    {.name = NULL},
};

enum { SOFTMAX_LOSS_LOGITS, SOFTMAX_LOSS_LABEL, SOFTMAX_LOSS_DLOSS };
enum { SOFTMAX_LOSS_SOFTMAX, SOFTMAX_LOSS_LOSS };
static const struct op_slot_def softmax_loss_inputs[] = {{"Logits", 0}, {"Label", 0}, {NULL, 0}};
static const struct op_slot_def softmax_loss_outputs[] = {{"Softmax", 0}, {"Loss", 0}, {NULL, 0}};
// Softmax stands where Logits does in the forward op.
static const struct op_slot_def softmax_loss_grad_inputs[] = {
    {"Softmax", 0}, {"Label", 0}, {"Loss@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def softmax_loss_grad_outputs[] = {{"Logits@GRAD", OP_SLOT_OPTIONAL},
                                                               {NULL, 0}};

struct softmax_loss_sizes {
    int64_t outer, classes, inner;
};

#define DEFINE_SOFTMAX_LOSS(T, S)                                                                  \
    static void hard_forward_##S(T *loss, const T *softmax, const struct labels *labels,           \
                                 struct softmax_loss_sizes s)                                      \
    {                                                                                              \
        for (int64_t at = 0; at < s.outer * s.inner; at++) {                                       \
            int64_t base = at / s.inner * s.classes * s.inner + at % s.inner;                      \
            int64_t label = labels_at(labels, at);                                                 \
            loss[at] = label == labels->ignore_index ? 0 : -log(softmax[base + label * s.inner]);  \
        }                                                                                          \
    }                                                                                              \
    static void soft_forward_##S(T *loss, const T *softmax, const T *label,                        \
                                 struct softmax_loss_sizes s)                                      \
    {                                                                                              \
        for (int64_t at = 0; at < s.outer * s.inner; at++) {                                       \
            int64_t base = at / s.inner * s.classes * s.inner + at % s.inner;                      \
            T sum = 0;                                                                             \
            for (int64_t i = base; i < base + s.classes * s.inner; i += s.inner)                   \
                sum += label[i] * log(softmax[i]);                                                 \
            loss[at] = -sum;                                                                       \
        }                                                                                          \
    }                                                                                              \
    static void hard_backward_##S(T *dlogits, const T *softmax, const T *dloss,                    \
                                  const struct labels *labels, struct softmax_loss_sizes s)        \
    {                                                                                              \
        for (int64_t at = 0; at < s.outer * s.inner; at++) {                                       \
            int64_t base = at / s.inner * s.classes * s.inner + at % s.inner;                      \
            int64_t label = labels_at(labels, at);                                                 \
            bool is_class = label >= 0 && label < s.classes;                                       \
            for (int64_t i = base; i < base + s.classes * s.inner; i += s.inner)                   \
                dlogits[i] = is_class ? softmax[i] * dloss[at] : 0;                                \
            if (is_class)                                                                          \
                dlogits[base + label * s.inner] -= dloss[at];                                      \
        }                                                                                          \
    }                                                                                              \
    static void soft_backward_##S(T *dlogits, const T *softmax, const T *label, const T *dloss,    \
                                  struct softmax_loss_sizes s)                                     \
    {                                                                                              \
        for (int64_t at = 0; at < s.outer * s.inner; at++) {                                       \
            int64_t base = at / s.inner * s.classes * s.inner + at % s.inner;                      \
            for (int64_t i = base; i < base + s.classes * s.inner; i += s.inner)                   \
                dlogits[i] = dloss[at] * (softmax[i] - label[i]);                                  \
        }                                                                                          \
    }

DEFINE_SOFTMAX_LOSS(float, f32)
DEFINE_SOFTMAX_LOSS(double, f64)

// Input s has Logits' (or Softmax') shape, with 1 along the axis unless whole.
static int check_shape(const struct op_shape *shape, int s, bool whole)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0), *y = op_shape_in(shape, s, 0);
    int axis = op_axis(shape->attr[SOFTMAX_LOSS_AXIS]->i, x->dims.rank);
    char x_text[DIMS_TEXT_MAX], y_text[DIMS_TEXT_MAX];
    if (axis < 0)
        return err_set(shape->err, SL_EINVAL, "axis %lld is not within the rank %d",
                       (long long)shape->attr[SOFTMAX_LOSS_AXIS]->i, x->dims.rank);
    bool fits = x->dims.rank == y->dims.rank;
    for (int i = 0; fits && i < x->dims.rank; i++)
        fits = op_dims_fit(y->dims.d[i], i == axis && !whole ? 1 : x->dims.d[i]);
    if (!fits)
        return err_set(shape->err, SL_EMISMATCH,
                       "%s %s does not go with %s %s: along axis %d it must have %s",
                       shape->def->inputs[s].name, dims_format(&y->dims, y_text),
                       shape->def->inputs[0].name, dims_format(&x->dims, x_text), axis,
                       whole ? "all classes (soft_label)" : "one element");
    return 0;
}

static int softmax_loss_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, SOFTMAX_LOSS_LOGITS, 0);
    int rc = check_shape(shape, SOFTMAX_LOSS_LABEL, attr_bool(shape->attr[SOFTMAX_LOSS_SOFT]));
    if (rc < 0)
        return rc;
    struct dims loss = x->dims;
    loss.d[op_axis(shape->attr[SOFTMAX_LOSS_AXIS]->i, loss.rank)] = 1;
    op_shape_copy(shape, SOFTMAX_LOSS_SOFTMAX, 0, x);
    op_shape_set(shape, SOFTMAX_LOSS_LOSS, 0, &loss, x->dtype, x);
    return 0;
}

static int softmax_loss_grad_infer(struct op_shape *shape)
{
    int rc = check_shape(shape, SOFTMAX_LOSS_LABEL, attr_bool(shape->attr[SOFTMAX_LOSS_SOFT]));
    if (rc == 0)
        rc = check_shape(shape, SOFTMAX_LOSS_DLOSS, false);
    if (rc == 0)
        op_shape_default(shape);
    return rc;
}

static struct softmax_loss_sizes sizes_of(const struct op_ctx *ctx)
{
    const struct dims *dims = &op_in(ctx, 0)->dims;
    int axis = op_axis(ctx->attr[SOFTMAX_LOSS_AXIS]->i, dims->rank);
    return (struct softmax_loss_sizes){
        .outer = dims_product(dims, 0, axis),
        .classes = dims->d[axis],
        .inner = dims_product(dims, axis + 1, dims->rank),
    };
}

static int softmax_loss_forward(struct op_ctx *ctx)
{
    const struct tensor *logits = op_in(ctx, SOFTMAX_LOSS_LOGITS),
                        *label = op_in(ctx, SOFTMAX_LOSS_LABEL);
    struct tensor *softmax = op_out(ctx, SOFTMAX_LOSS_SOFTMAX),
                  *loss = op_out(ctx, SOFTMAX_LOSS_LOSS);
    struct softmax_loss_sizes s = sizes_of(ctx);
    struct labels labels = {label, s.classes, ctx->attr[SOFTMAX_LOSS_IGNORE_INDEX]->i};
    bool soft = attr_bool(ctx->attr[SOFTMAX_LOSS_SOFT]), f32 = logits->dtype == DTYPE_FP32;
    int rc = soft ? shape_check_floats(ctx, (const int[]){SOFTMAX_LOSS_LABEL, -1})
                  : labels_check(ctx, &labels, s.outer * s.inner);
    if (rc == 0)
        rc = op_softmax_run(ctx, softmax, logits, ctx->attr[SOFTMAX_LOSS_AXIS]->i);
    if (rc < 0)
        return rc;
    if (soft && f32)
        soft_forward_f32(tensor_f32(loss), tensor_f32(softmax), tensor_f32(label), s);
    else if (soft)
        soft_forward_f64(tensor_f64(loss), tensor_f64(softmax), tensor_f64(label), s);
    else if (f32)
        hard_forward_f32(tensor_f32(loss), tensor_f32(softmax), &labels, s);
    else
        hard_forward_f64(tensor_f64(loss), tensor_f64(softmax), &labels, s);
    return 0;
}

static int softmax_loss_backward(struct op_ctx *ctx)
{
    const struct tensor *softmax = op_in(ctx, 0), *label = op_in(ctx, SOFTMAX_LOSS_LABEL),
                        *dloss = op_in(ctx, SOFTMAX_LOSS_DLOSS);
    struct tensor *dlogits = op_out(ctx, 0);
    struct softmax_loss_sizes s = sizes_of(ctx);
    struct labels labels = {label, s.classes, ctx->attr[SOFTMAX_LOSS_IGNORE_INDEX]->i};
    bool soft = attr_bool(ctx->attr[SOFTMAX_LOSS_SOFT]), f32 = softmax->dtype == DTYPE_FP32;
    int rc =
        shape_check_floats(ctx, soft ? (const int[]){SOFTMAX_LOSS_LABEL, SOFTMAX_LOSS_DLOSS, -1}
                                     : (const int[]){SOFTMAX_LOSS_DLOSS, -1, -1});
    if (rc == 0 && !soft)
        rc = labels_check(ctx, &labels, s.outer * s.inner);
    if (rc < 0 || dlogits == NULL)
        return rc;
    if (soft && f32)
        soft_backward_f32(tensor_f32(dlogits), tensor_f32(softmax), tensor_f32(label),
                          tensor_f32(dloss), s);
    else if (soft)
        soft_backward_f64(tensor_f64(dlogits), tensor_f64(softmax), tensor_f64(label),
                          tensor_f64(dloss), s);
    else if (f32)
        hard_backward_f32(tensor_f32(dlogits), tensor_f32(softmax), tensor_f32(dloss), &labels, s);
    else
        hard_backward_f64(tensor_f64(dlogits), tensor_f64(softmax), tensor_f64(dloss), &labels, s);
    return 0;
}

const struct op_def op_softmax_loss = {
    .type = "softmax_with_cross_entropy",
    .inputs = softmax_loss_inputs,
    .outputs = softmax_loss_outputs,
    .attrs = softmax_loss_attrs,
    .grad = {.type = "softmax_with_cross_entropy_grad",
             .inputs = "Label Softmax Loss@GRAD",
             .outputs = "Logits@GRAD"},
    .infer_shape = softmax_loss_infer,
    .kernel = softmax_loss_forward,
};

const struct op_def op_softmax_loss_grad = {
    .type = "softmax_with_cross_entropy_grad",
    .inputs = softmax_loss_grad_inputs,
    .outputs = softmax_loss_grad_outputs,
    .attrs = softmax_loss_attrs,
    .infer_shape = softmax_loss_grad_infer,
    .kernel = softmax_loss_backward,
    .no_lod = true,
};
