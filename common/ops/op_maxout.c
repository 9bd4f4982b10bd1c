// SPDX-License-Identifier: Apache-2.0
// maxout: the largest of `groups` neighbouring channels. X [N, C, H, W] (axis 1) or [N, H, W, C]
// (axis 3 or -1); Out has C / groups channels.
//
//   Out[c] = max over g of X[c groups + g]      dX = dOut at the first that equals Out, else 0

#include <stdint.h>
#include <string.h>

#include "common/base/err.h"
#include "common/ops/op.h"

extern const struct op_def op_maxout, op_maxout_grad;

enum { MAXOUT_X, MAXOUT_OUT, MAXOUT_DOUT };
enum { MAXOUT_GROUPS, MAXOUT_AXIS };
static const struct op_attr_def maxout_attrs[] = {
    {.name = "groups", .type = ATTR_INT, .number = 1, .required = true},
    OP_ATTR_INT("axis", 1),
    {.name = NULL},
};
static const struct op_slot_def maxout_inputs[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def maxout_outputs[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def maxout_grad_inputs[] = {
    {"X", 0}, {"Out", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def maxout_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

// X as outer x (groups) x inner: element (o, g, i) competes for (o, i) of Out.
struct layout {
    int64_t outer, groups, inner;
};

#define DEFINE_MAXOUT(T, S)                                                                        \
    static void forward_##S(T *out, const T *x, struct layout l)                                   \
    {                                                                                              \
        for (int64_t o = 0; o < l.outer; o++, out += l.inner) {                                    \
            memcpy(out, x, (size_t)l.inner * sizeof *out);                                         \
            x += l.inner;                                                                          \
            for (int64_t g = 1; g < l.groups; g++, x += l.inner)                                   \
                for (int64_t i = 0; i < l.inner; i++)                                              \
                    out[i] = x[i] > out[i] ? x[i] : out[i];                                        \
        }                                                                                          \
    }                                                                                              \
    static void backward_##S(T *dx, const T *x, const T *out, const T *dout, struct layout l)      \
    {                                                                                              \
        memset(dx, 0, (size_t)(l.outer * l.groups * l.inner) * sizeof *dx);                        \
        for (int64_t o = 0; o < l.outer; o++)                                                      \
            for (int64_t i = 0; i < l.inner; i++) {                                                \
                const int64_t to = o * l.inner + i;                                                \
                int64_t from = o * l.groups * l.inner + i, g = 0;                                  \
                while (g < l.groups && x[from] != out[to])                                         \
                    g++, from += l.inner;                                                          \
                if (g < l.groups)                                                                  \
                    dx[from] = dout[to];                                                           \
            }                                                                                      \
    }

DEFINE_MAXOUT(float, f32)
DEFINE_MAXOUT(double, f64)

static int maxout_axis(const struct attr *const *attr)
{
    int64_t axis = attr[MAXOUT_AXIS]->i;
    return axis == 1 ? 1 : axis == 3 || axis == -1 ? 3 : -1;
}

static struct layout layout_of(const struct op_ctx *ctx, const struct dims *x)
{
    int axis = maxout_axis(ctx->attr);
    int64_t groups = ctx->attr[MAXOUT_GROUPS]->i;
    return (struct layout){.outer = dims_product(x, 0, axis) * (x->d[axis] / groups),
                           .groups = groups,
                           .inner = dims_product(x, axis + 1, x->rank)};
}

static int maxout_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, MAXOUT_X, 0);
    int64_t groups = shape->attr[MAXOUT_GROUPS]->i;
    int axis = maxout_axis(shape->attr);
    char text[DIMS_TEXT_MAX];
    if (x->dims.rank != 4 || axis < 0)
        return err_set(shape->err, SL_EINVAL,
                       "X is %s, axis %lld: rank 4 and axis 1, 3 or -1 are possible",
                       dims_format(&x->dims, text), (long long)shape->attr[MAXOUT_AXIS]->i);
    if (groups < 1 || (x->dims.d[axis] >= 0 && x->dims.d[axis] % groups != 0))
        return err_set(shape->err, SL_EINVAL,
                       "X %s cannot be cut into groups of %lld along axis %d",
                       dims_format(&x->dims, text), (long long)groups, axis);
    struct dims out = x->dims;
    if (out.d[axis] > 0)
        out.d[axis] /= groups;
    op_shape_set(shape, 0, 0, &out, x->dtype, NULL);
    return 0;
}

static int maxout_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, MAXOUT_X);
    struct tensor *out = op_out(ctx, 0);
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    if (tensor_count(x) == 0)
        return 0;
    if (x->dtype == DTYPE_FP32)
        forward_f32(tensor_f32(out), tensor_f32(x), layout_of(ctx, &x->dims));
    else
        forward_f64(tensor_f64(out), tensor_f64(x), layout_of(ctx, &x->dims));
    return 0;
}

static int maxout_grad_infer(struct op_shape *shape)
{
    struct op_var_dims kept = {.dtype = -1};
    struct op_args_dims one = {.vars = &kept, .count = 1};
    struct op_shape forward = *shape;
    forward.out = &one;
    int rc = maxout_infer(&forward);
    if (rc < 0)
        return rc;
    for (int s = MAXOUT_OUT; s <= MAXOUT_DOUT; s++) {
        const struct dims *dims = &op_shape_in(shape, s, 0)->dims;
        bool fits = dims->rank == 4;
        for (int i = 0; fits && i < 4; i++)
            fits = op_dims_fit(dims->d[i], kept.dims.d[i]);
        if (!fits)
            return err_set(shape->err, SL_EMISMATCH, "%s has not the shape of Out",
                           shape->def->inputs[s].name);
    }
    op_shape_default(shape);
    return 0;
}

static int maxout_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, MAXOUT_X), *out = op_in(ctx, MAXOUT_OUT);
    const struct tensor *dout = op_in(ctx, MAXOUT_DOUT);
    struct tensor *dx = op_out(ctx, 0);
    if (dx == NULL || tensor_count(x) == 0)
        return 0;
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    if (out->dtype != x->dtype || dout->dtype != x->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "X, Out and Out@GRAD have different element types");
    if (x->dtype == DTYPE_FP32)
        backward_f32(tensor_f32(dx), tensor_f32(x), tensor_f32(out), tensor_f32(dout),
                     layout_of(ctx, &x->dims));
    else
        backward_f64(tensor_f64(dx), tensor_f64(x), tensor_f64(out), tensor_f64(dout),
                     layout_of(ctx, &x->dims));
    return 0;
}

const struct op_def op_maxout = {
    .type = "maxout",
    .inputs = maxout_inputs,
    .outputs = maxout_outputs,
    .attrs = maxout_attrs,
    .grad = {.type = "maxout_grad", .inputs = "X Out Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = maxout_infer,
    .kernel = maxout_forward,
};

const struct op_def op_maxout_grad = {
    .type = "maxout_grad",
    .inputs = maxout_grad_inputs,
    .outputs = maxout_grad_outputs,
    .attrs = maxout_attrs,
    .infer_shape = maxout_grad_infer,
    .kernel = maxout_backward,
    .no_lod = true,
};
