// SPDX-License-Identifier: Apache-2.0
// Norms.
//
//   norm             along one axis: Norm = sqrt(sum X^2 + epsilon), Out = X / Norm
//                    dX = (dOut - X sum(X dOut) / Norm^2) / Norm
//   l1_norm          Out [1] = sum |X|        dX = dOut sign(X)
//   squared_l2_norm  Out [1] = sum X^2        dX = 2 dOut X
//
// norm sees X as [outer, axis, inner].

#include <math.h>

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/shape_check.h"

extern const struct op_def op_norm, op_norm_grad;
extern const struct op_def op_norm_l1, op_norm_l1_grad;
extern const struct op_def op_norm_squared_l2, op_norm_squared_l2_grad;

enum { NORM_AXIS, NORM_EPSILON };
static const struct op_attr_def norm_attrs[] = {
    {.name = "axis", .type = ATTR_INT, .number = 1, .required = true},
    OP_ATTR_FLOAT("epsilon", 1e-10f),
    {.name = NULL},
};
static const struct op_attr_def no_attrs[] = {{.name = NULL}};

static const struct op_slot_def norm_inputs[] = {{"X", 0}, {NULL, 0}};
enum { NORM_NORM, NORM_OUT };
static const struct op_slot_def norm_outputs[] = {{"Norm", 0}, {"Out", 0}, {NULL, 0}};
enum { NORM_GRAD_X, NORM_GRAD_NORM, NORM_GRAD_DOUT };
static const struct op_slot_def norm_grad_inputs[] = {
    {"X", 0}, {"Norm", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def norm_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def number_outputs[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def number_grad_inputs[] = {{"X", 0}, {"Out@GRAD", 0}, {NULL, 0}};

struct norm_sizes {
    int64_t outer, axis, inner;
};

#define DEFINE_NORM(T, S, SQRT, FABS)                                                              \
    OP_CLONES static void norm_forward_##S(T *out, T *norm, const T *x, T epsilon,                 \
                                           struct norm_sizes s)                                    \
    {                                                                                              \
        for (int64_t o = 0; o < s.outer; o++, norm += s.inner) {                                   \
            for (int64_t i = 0; i < s.inner; i++) {                                                \
                T sum = 0;                                                                         \
                for (int64_t a = 0; a < s.axis; a++)                                               \
                    sum += x[a * s.inner + i] * x[a * s.inner + i];                                \
                norm[i] = SQRT(sum + epsilon);                                                     \
            }                                                                                      \
            for (int64_t a = 0; a < s.axis; a++, x += s.inner, out += s.inner)                     \
                for (int64_t i = 0; i < s.inner; i++)                                              \
                    out[i] = x[i] / norm[i];                                                       \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void norm_backward_##S(T *dx, const T *x, const T *norm, const T *dout,       \
                                            struct norm_sizes s)                                   \
    {                                                                                              \
        for (int64_t o = 0; o < s.outer; o++) {                                                    \
            int64_t base = o * s.axis * s.inner;                                                   \
            for (int64_t i = 0; i < s.inner; i++) {                                                \
                T dot = 0, length = norm[o * s.inner + i];                                         \
                for (int64_t e = base + i; e < base + s.axis * s.inner; e += s.inner)              \
                    dot += x[e] * dout[e];                                                         \
                for (int64_t e = base + i; e < base + s.axis * s.inner; e += s.inner)              \
                    dx[e] = (dout[e] - x[e] * dot / (length * length)) / length;                   \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static T l1_##S(const T *x, int64_t n)                                               \
    {                                                                                              \
        T lanes[OP_LANES] = {0}, sum = 0;                                                          \
        int64_t i = 0;                                                                             \
        for (; i + OP_LANES <= n; i += OP_LANES)                                                   \
            for (int l = 0; l < OP_LANES; l++)                                                     \
                lanes[l] += FABS(x[i + l]);                                                        \
        for (int l = 0; i + l < n; l++)                                                            \
            lanes[l] += FABS(x[i + l]);                                                            \
        for (int l = 0; l < OP_LANES; l++)                                                         \
            sum += lanes[l];                                                                       \
        return sum;                                                                                \
    }                                                                                              \
    OP_CLONES static T squares_##S(const T *x, int64_t n)                                          \
    {                                                                                              \
        T lanes[OP_LANES] = {0}, sum = 0;                                                          \
        int64_t i = 0;                                                                             \
        for (; i + OP_LANES <= n; i += OP_LANES)                                                   \
            for (int l = 0; l < OP_LANES; l++)                                                     \
                lanes[l] += x[i + l] * x[i + l];                                                   \
        for (int l = 0; i + l < n; l++)                                                            \
            lanes[l] += x[i + l] * x[i + l];                                                       \
        for (int l = 0; l < OP_LANES; l++)                                                         \
            sum += lanes[l];                                                                       \
        return sum;                                                                                \
    }                                                                                              \
    OP_CLONES static void l1_backward_##S(T *dx, const T *x, T dout, int64_t n)                    \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            dx[i] = dout * (T)((x[i] > 0) - (x[i] < 0));                                           \
    }                                                                                              \
    OP_CLONES static void squares_backward_##S(T *dx, const T *x, T dout, int64_t n)               \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            dx[i] = 2 * dout * x[i];                                                               \
    }

DEFINE_NORM(float, f32, sqrtf, fabsf)
DEFINE_NORM(double, f64, sqrt, fabs)

static int norm_axis(const struct op_shape *shape, struct dims *norm)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    int axis = op_axis(shape->attr[NORM_AXIS]->i, x->dims.rank);
    if (axis < 0)
        return err_set(shape->err, SL_EINVAL, "axis %lld is not within the rank %d of X",
                       (long long)shape->attr[NORM_AXIS]->i, x->dims.rank);
    *norm = x->dims;
    norm->d[axis] = 1;
    return 0;
}

static int norm_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    struct dims norm = {.rank = 0};
    int rc = norm_axis(shape, &norm);
    if (rc < 0)
        return rc;
    op_shape_set(shape, NORM_NORM, 0, &norm, x->dtype, NULL);
    op_shape_set(shape, NORM_OUT, 0, &x->dims, x->dtype, NULL);
    return 0;
}

static int norm_grad_infer(struct op_shape *shape)
{
    const struct dims *saved = &op_shape_in(shape, NORM_GRAD_NORM, 0)->dims;
    struct dims norm = {.rank = 0};
    int rc = norm_axis(shape, &norm);
    if (rc == 0)
        rc = shape_check_same(shape, NORM_GRAD_X, NORM_GRAD_DOUT);
    if (rc < 0)
        return rc;
    bool fits = saved->rank == norm.rank;
    for (int i = 0; fits && i < norm.rank; i++)
        fits = op_dims_fit(saved->d[i], norm.d[i]);
    if (!fits)
        return err_set(shape->err, SL_EMISMATCH, "Norm has not the shape that X and axis give");
    op_shape_copy(shape, 0, 0, op_shape_in(shape, NORM_GRAD_X, 0));
    return 0;
}

static struct norm_sizes norm_sizes(const struct op_ctx *ctx)
{
    const struct dims *x = &op_in(ctx, 0)->dims;
    int axis = op_axis(ctx->attr[NORM_AXIS]->i, x->rank);
    return (struct norm_sizes){.outer = dims_product(x, 0, axis),
                               .axis = x->d[axis],
                               .inner = dims_product(x, axis + 1, x->rank)};
}

static int norm_forward(struct op_ctx *ctx)
{
    static const int others[] = {-1};
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *norm = op_out(ctx, NORM_NORM), *out = op_out(ctx, NORM_OUT);
    float epsilon = ctx->attr[NORM_EPSILON]->f;
    int rc = shape_check_floats(ctx, others);
    if (rc < 0)
        return rc;
    if (x->dtype == DTYPE_FP32)
        norm_forward_f32(tensor_f32(out), tensor_f32(norm), tensor_f32(x), epsilon,
                         norm_sizes(ctx));
    else
        norm_forward_f64(tensor_f64(out), tensor_f64(norm), tensor_f64(x), (double)epsilon,
                         norm_sizes(ctx));
    return 0;
}

static int norm_backward(struct op_ctx *ctx)
{
    static const int others[] = {NORM_GRAD_NORM, NORM_GRAD_DOUT, -1};
    const struct tensor *x = op_in(ctx, NORM_GRAD_X), *norm = op_in(ctx, NORM_GRAD_NORM),
                        *dout = op_in(ctx, NORM_GRAD_DOUT);
    struct tensor *dx = op_out(ctx, 0);
    int rc = shape_check_floats(ctx, others);
    if (rc < 0 || dx == NULL)
        return rc;
    if (x->dtype == DTYPE_FP32)
        norm_backward_f32(tensor_f32(dx), tensor_f32(x), tensor_f32(norm), tensor_f32(dout),
                          norm_sizes(ctx));
    else
        norm_backward_f64(tensor_f64(dx), tensor_f64(x), tensor_f64(norm), tensor_f64(dout),
                          norm_sizes(ctx));
    return 0;
}

static int number_infer(struct op_shape *shape)
{
    const int64_t one[] = {1};
    struct dims dims = dims_make(1, one);
    op_shape_set(shape, 0, 0, &dims, op_shape_in(shape, 0, 0)->dtype, NULL);
    return 0;
}

static int number_grad_infer(struct op_shape *shape)
{
    const struct dims *dout = &op_shape_in(shape, 1, 0)->dims;
    if (dout->rank != 1 || !op_dims_fit(dout->d[0], 1))
        return err_set(shape->err, SL_EMISMATCH, "Out@GRAD must be one number");
    op_shape_copy(shape, 0, 0, op_shape_in(shape, 0, 0));
    return 0;
}

static int number_forward(struct op_ctx *ctx, float (*f32)(const float *, int64_t),
                          double (*f64)(const double *, int64_t))
{
    static const int others[] = {-1};
    const struct tensor *x = op_in(ctx, 0);
    int64_t n = (int64_t)tensor_count(x);
    int rc = shape_check_floats(ctx, others);
    if (rc < 0)
        return rc;
    if (x->dtype == DTYPE_FP32)
        tensor_f32(op_out(ctx, 0))[0] = f32(tensor_f32(x), n);
    else
        tensor_f64(op_out(ctx, 0))[0] = f64(tensor_f64(x), n);
    return 0;
}

static int number_backward(struct op_ctx *ctx, void (*f32)(float *, const float *, float, int64_t),
                           void (*f64)(double *, const double *, double, int64_t))
{
    static const int others[] = {1, -1};
    const struct tensor *x = op_in(ctx, 0), *dout = op_in(ctx, 1);
    struct tensor *dx = op_out(ctx, 0);
    int64_t n = (int64_t)tensor_count(x);
    int rc = shape_check_floats(ctx, others);
    if (rc < 0 || dx == NULL)
        return rc;
    if (x->dtype == DTYPE_FP32)
        f32(tensor_f32(dx), tensor_f32(x), tensor_f32(dout)[0], n);
    else
        f64(tensor_f64(dx), tensor_f64(x), tensor_f64(dout)[0], n);
    return 0;
}

static int l1_forward(struct op_ctx *ctx)
{
    return number_forward(ctx, l1_f32, l1_f64);
}

static int l1_backward(struct op_ctx *ctx)
{
    return number_backward(ctx, l1_backward_f32, l1_backward_f64);
}

static int squared_l2_forward(struct op_ctx *ctx)
{
    return number_forward(ctx, squares_f32, squares_f64);
}

static int squared_l2_backward(struct op_ctx *ctx)
{
    return number_backward(ctx, squares_backward_f32, squares_backward_f64);
}

const struct op_def op_norm = {
    .type = "norm",
    .inputs = norm_inputs,
    .outputs = norm_outputs,
    .attrs = norm_attrs,
    .grad = {.type = "norm_grad", .inputs = "X Norm Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = norm_infer,
    .kernel = norm_forward,
};

const struct op_def op_norm_grad = {
    .type = "norm_grad",
    .inputs = norm_grad_inputs,
    .outputs = norm_grad_outputs,
    .attrs = norm_attrs,
    .infer_shape = norm_grad_infer,
    .kernel = norm_backward,
    .no_lod = true,
};

#define NUMBER_OP(NAME, TYPE, FORWARD, BACKWARD)                                                   \
    const struct op_def NAME = {                                                                   \
        .type = TYPE,                                                                              \
        .inputs = norm_inputs,                                                                     \
        .outputs = number_outputs,                                                                 \
        .attrs = no_attrs,                                                                         \
        .grad = {.type = TYPE "_grad", .inputs = "X Out@GRAD", .outputs = "X@GRAD"},               \
        .infer_shape = number_infer,                                                               \
        .kernel = FORWARD,                                                                         \
    };                                                                                             \
    const struct op_def NAME##_grad = {                                                            \
        .type = TYPE "_grad",                                                                      \
        .inputs = number_grad_inputs,                                                              \
        .outputs = norm_grad_outputs,                                                              \
        .attrs = no_attrs,                                                                         \
        .infer_shape = number_grad_infer,                                                          \
        .kernel = BACKWARD,                                                                        \
        .no_lod = true,                                                                            \
    };

NUMBER_OP(op_norm_l1, "l1_norm", l1_forward, l1_backward)
NUMBER_OP(op_norm_squared_l2, "squared_l2_norm", squared_l2_forward, squared_l2_backward)
