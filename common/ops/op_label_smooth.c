// SPDX-License-Identifier: Apache-2.0
// label_smooth: mixes one-hot labels X [..., C] with a distribution over the classes.
//
//   Out = (1 - epsilon) X + epsilon P     dX = (1 - epsilon) dOut
//
// P is PriorDist (C elements), else 1 / C each. 1 - epsilon and epsilon / C are rounded to float,
// as in Fluid. Out may be X's memory.

#include <stdint.h>

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"

extern const struct op_def op_label_smooth, op_label_smooth_grad;

enum { SMOOTH_EPSILON };
static const struct op_attr_def smooth_attrs[] = {OP_ATTR_FLOAT("epsilon", 0), {.name = NULL}};
enum { SMOOTH_X, SMOOTH_PRIOR };
static const struct op_slot_def smooth_inputs[] = {
    {"X", 0}, {"PriorDist", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def smooth_outputs[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def smooth_grad_inputs[] = {{"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def smooth_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

#define DEFINE_SMOOTH(T, S)                                                                        \
    OP_CLONES static void forward_##S(T *out, const T *x, const T *prior, int64_t rows,            \
                                      int64_t classes, float epsilon)                              \
    {                                                                                              \
        const T keep = (T)(1 - epsilon), each = (T)(epsilon / (float)classes);                     \
        for (int64_t row = 0; row < rows; row++, x += classes, out += classes)                     \
            for (int64_t c = 0; c < classes; c++)                                                  \
                out[c] = keep * x[c] + (prior != NULL ? (T)epsilon * prior[c] : each);             \
    }                                                                                              \
    OP_CLONES static void backward_##S(T *dx, const T *dout, int64_t n, float epsilon)             \
    {                                                                                              \
        const T keep = (T)(1 - epsilon);                                                           \
        for (int64_t i = 0; i < n; i++)                                                            \
            dx[i] = keep * dout[i];                                                                \
    }

DEFINE_SMOOTH(float, f32)
DEFINE_SMOOTH(double, f64)

static int smooth_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, SMOOTH_X, 0);
    const struct op_var_dims *prior = op_shape_in(shape, SMOOTH_PRIOR, 0);
    char x_text[DIMS_TEXT_MAX], prior_text[DIMS_TEXT_MAX];
    if (x->dims.rank < 1)
        return err_set(shape->err, SL_EINVAL, "X has no sides");
    if (prior != NULL) {
        int64_t classes = 1;
        bool known = true;
        for (int i = 0; i < prior->dims.rank; i++) {
            known = known && prior->dims.d[i] >= 0;
            classes *= prior->dims.d[i];
        }
        if (known && !op_dims_fit(classes, x->dims.d[x->dims.rank - 1]))
            return err_set(shape->err, SL_EMISMATCH,
                           "PriorDist %s has not an element for each class of X %s",
                           dims_format(&prior->dims, prior_text), dims_format(&x->dims, x_text));
    }
    op_shape_copy(shape, 0, 0, x);
    return 0;
}

static int smooth_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, SMOOTH_X), *prior = op_in(ctx, SMOOTH_PRIOR);
    struct tensor *out = op_out(ctx, 0);
    int64_t classes = x->dims.d[x->dims.rank - 1];
    float epsilon = ctx->attr[SMOOTH_EPSILON]->f;
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    if (prior != NULL && prior->dtype != x->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "PriorDist has not X's element type");
    if (tensor_count(x) == 0)
        return 0;
    int64_t rows = (int64_t)tensor_count(x) / classes;
    if (x->dtype == DTYPE_FP32)
        forward_f32(tensor_f32(out), tensor_f32(x), prior ? tensor_f32(prior) : NULL, rows, classes,
                    epsilon);
    else
        forward_f64(tensor_f64(out), tensor_f64(x), prior ? tensor_f64(prior) : NULL, rows, classes,
                    epsilon);
    return 0;
}

static int smooth_backward(struct op_ctx *ctx)
{
    const struct tensor *dout = op_in(ctx, 0);
    struct tensor *dx = op_out(ctx, 0);
    float epsilon = ctx->attr[SMOOTH_EPSILON]->f;
    int64_t n = (int64_t)tensor_count(dout);
    if (dx == NULL)
        return 0;
    if (dout->dtype == DTYPE_FP32)
        backward_f32(tensor_f32(dx), tensor_f32(dout), n, epsilon);
    else if (dout->dtype == DTYPE_FP64)
        backward_f64(tensor_f64(dx), tensor_f64(dout), n, epsilon);
    else
        return op_bad_dtype(ctx, (int)dout->dtype);
    return 0;
}

const struct op_def op_label_smooth = {
    .type = "label_smooth",
    .inputs = smooth_inputs,
    .outputs = smooth_outputs,
    .attrs = smooth_attrs,
    .grad = {.type = "label_smooth_grad", .inputs = "Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = smooth_infer,
    .kernel = smooth_forward,
};

const struct op_def op_label_smooth_grad = {
    .type = "label_smooth_grad",
    .inputs = smooth_grad_inputs,
    .outputs = smooth_grad_outputs,
    .attrs = smooth_attrs,
    .kernel = smooth_backward,
    .no_lod = true,
};
