// SPDX-License-Identifier: Apache-2.0
// softmax along one axis. The tensor is seen as [outer, classes, inner] around the axis.
//
//   forward   z = X - max(X), not below -64;  Out = exp(z) (1 / sum(exp(z)))
//   backward  dX = (dOut - sum(dOut Out)) Out            sums along the axis
//
// The floor of -64 is Fluid's: it keeps every probability a normal number. So is the order of the
// forward sum of floats along the last axis: eight lanes, folded by neighbours, then the rest.

#include "common/ops/op_softmax.h"

#include <math.h>

#include "common/base/err.h"
#include "common/ops/op.h"

extern const struct op_def op_softmax, op_softmax_grad;

enum { SOFTMAX_AXIS };
static const struct op_attr_def softmax_attrs[] = {
    OP_ATTR_INT("axis", -1),
    OP_ATTR_BOOL("use_cudnn", 0),
    OP_ATTR_STRING("data_format", "AnyLayout"),
    OP_ATTR_BOOL("use_mkldnn", 0),
    OP_ATTR_BOOL("is_test", 0),
    {.name = NULL},
};

static const struct op_slot_def softmax_inputs[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def softmax_outputs[] = {{"Out", 0}, {NULL, 0}};
enum { SOFTMAX_GRAD_OUT, SOFTMAX_GRAD_DOUT };
static const struct op_slot_def softmax_grad_inputs[] = {{"Out", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def softmax_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

struct softmax_sizes {
    int64_t outer, classes, inner;
};

static float softmax_sum_f32(const float *x, int64_t n)
{
    float sum = 0;
    int64_t i = 0;
    if (n >= 8) {
        float s[8] = {0};
        for (; i + 8 <= n; i += 8)
            for (int l = 0; l < 8; l++)
                s[l] += x[i + l];
        sum = ((s[0] + s[1]) + (s[4] + s[5])) + ((s[2] + s[3]) + (s[6] + s[7]));
    }
    for (; i < n; i++)
        sum += x[i];
    return sum;
}

static double softmax_sum_f64(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

#define DEFINE_SOFTMAX(T, S, EXP)                                                                  \
    static void softmax_forward_##S(T *out, const T *x, struct softmax_sizes s)                    \
    {                                                                                              \
        for (int64_t at = 0; at < s.outer * s.inner; at++) {                                       \
            int64_t base = at / s.inner * s.classes * s.inner + at % s.inner;                      \
            T max = x[base], sum = 0;                                                              \
            for (int64_t c = 1; c < s.classes; c++)                                                \
                if (x[base + c * s.inner] > max)                                                   \
                    max = x[base + c * s.inner];                                                   \
            for (int64_t c = 0; c < s.classes; c++) {                                              \
                T z = x[base + c * s.inner] - max;                                                 \
                T e = EXP(z < -64 ? -64 : z);                                                      \
                out[base + c * s.inner] = e;                                                       \
                sum += e;                                                                          \
            }                                                                                      \
            if (s.inner == 1)                                                                      \
                sum = softmax_sum_##S(out + base, s.classes);                                      \
            T factor = 1 / sum;                                                                    \
            for (int64_t c = 0; c < s.classes; c++)                                                \
                out[base + c * s.inner] *= factor;                                                 \
        }                                                                                          \
    }                                                                                              \
    static void softmax_backward_##S(T *dx, const T *out, const T *dout, struct softmax_sizes s)   \
    {                                                                                              \
        for (int64_t at = 0; at < s.outer * s.inner; at++) {                                       \
            int64_t base = at / s.inner * s.classes * s.inner + at % s.inner;                      \
            T dot = 0;                                                                             \
            for (int64_t c = 0; c < s.classes; c++)                                                \
                dot += out[base + c * s.inner] * dout[base + c * s.inner];                         \
            for (int64_t c = 0; c < s.classes; c++)                                                \
                dx[base + c * s.inner] =                                                           \
                    (dout[base + c * s.inner] - dot) * out[base + c * s.inner];                    \
        }                                                                                          \
    }

DEFINE_SOFTMAX(float, f32, expf)
DEFINE_SOFTMAX(double, f64, exp)

static int softmax_infer(struct op_shape *shape)
{
    const struct op_var_dims *in = op_shape_in(shape, 0, 0);
    if (op_axis(shape->attr[SOFTMAX_AXIS]->i, in->dims.rank) < 0)
        return err_set(shape->err, SL_EINVAL, "axis %lld is not within the rank %d",
                       (long long)shape->attr[SOFTMAX_AXIS]->i, in->dims.rank);
    op_shape_copy(shape, 0, 0, in);
    return 0;
}

static struct softmax_sizes softmax_sizes(const struct dims *dims, int axis)
{
    return (struct softmax_sizes){
        .outer = dims_product(dims, 0, axis),
        .classes = dims->d[axis],
        .inner = dims_product(dims, axis + 1, dims->rank),
    };
}

int op_softmax_run(struct op_ctx *ctx, struct tensor *out, const struct tensor *x, int64_t axis)
{
    if (tensor_count(x) == 0)
        return 0;
    struct softmax_sizes sizes = softmax_sizes(&x->dims, op_axis(axis, x->dims.rank));
    if (x->dtype == DTYPE_FP32)
        softmax_forward_f32(tensor_f32(out), tensor_f32(x), sizes);
    else if (x->dtype == DTYPE_FP64)
        softmax_forward_f64(tensor_f64(out), tensor_f64(x), sizes);
    else
        return op_bad_dtype(ctx, (int)x->dtype);
    return 0;
}

static int softmax_forward(struct op_ctx *ctx)
{
    return op_softmax_run(ctx, op_out(ctx, 0), op_in(ctx, 0), ctx->attr[SOFTMAX_AXIS]->i);
}

static int softmax_backward(struct op_ctx *ctx)
{
    const struct tensor *out = op_in(ctx, SOFTMAX_GRAD_OUT), *dout = op_in(ctx, SOFTMAX_GRAD_DOUT);
    struct tensor *dx = op_out(ctx, 0);
    if (dx == NULL || tensor_count(out) == 0)
        return 0;
    if (out->dtype != dout->dtype || !dims_equal(&out->dims, &dout->dims))
        return err_set(ctx->err, SL_EMISMATCH, "Out@GRAD has not the type and shape of Out");
    struct softmax_sizes sizes =
        softmax_sizes(&out->dims, op_axis(ctx->attr[SOFTMAX_AXIS]->i, out->dims.rank));
    if (out->dtype == DTYPE_FP32)
        softmax_backward_f32(tensor_f32(dx), tensor_f32(out), tensor_f32(dout), sizes);
    else if (out->dtype == DTYPE_FP64)
        softmax_backward_f64(tensor_f64(dx), tensor_f64(out), tensor_f64(dout), sizes);
    else
        return op_bad_dtype(ctx, (int)out->dtype);
    return 0;
}

const struct op_def op_softmax = {
    .type = "softmax",
    .inputs = softmax_inputs,
    .outputs = softmax_outputs,
    .attrs = softmax_attrs,
    .grad = {.type = "softmax_grad", .inputs = "Out Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = softmax_infer,
    .kernel = softmax_forward,
};

const struct op_def op_softmax_grad = {
    .type = "softmax_grad",
    .inputs = softmax_grad_inputs,
    .outputs = softmax_grad_outputs,
    .attrs = softmax_attrs,
    .infer_shape = softmax_infer,
    .kernel = softmax_backward,
    .no_lod = true,
};
