// SPDX-License-Identifier: Apache-2.0
// clip and pow: functions of one tensor whose parameters may come as one-element tensors.
//
//   clip  Out = X < min ? min : X > max ? max : X      dX = dOut [min < X < max]
//   pow   Out = X^factor                               dX = dOut factor X^(factor - 1)
//
// Min, Max (of X's type; Min is rounded to float) and FactorTensor (float32) replace the
// attributes. Out may be X's memory.
// clip of selected rows: X is merged first (each row once, sorted), then its values are clipped.
// Integers have whole powers: the factor is cut to an integer, negative ones are refused; products
// wrap.

#include <stdint.h>
#include <tgmath.h>

#include "common/base/err.h"
#include "common/ops/rows_value.h"
#include "common/ops/unary.h"

extern const struct op_def op_clip, op_clip_grad, op_clip_pow, op_clip_pow_grad;

enum { CLIP_ATTR_MIN, CLIP_ATTR_MAX };
static const struct op_attr_def clip_attrs[] = {
    {.name = "min", .type = ATTR_FLOAT, .required = true},
    {.name = "max", .type = ATTR_FLOAT, .required = true},
    {.name = NULL},
};
enum { CLIP_X, CLIP_MIN, CLIP_MAX, CLIP_DOUT };
static const struct op_slot_def clip_inputs[] = {
    {"X", OP_SLOT_ROWS}, {"Min", OP_SLOT_OPTIONAL}, {"Max", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def clip_grad_inputs[] = {
    {"X", 0}, {"Min", OP_SLOT_OPTIONAL}, {"Max", OP_SLOT_OPTIONAL}, {"Out@GRAD", 0}, {NULL, 0}};

enum { POW_ATTR_FACTOR };
static const struct op_attr_def pow_attrs[] = {OP_ATTR_FLOAT("factor", 1), {.name = NULL}};
enum { POW_X, POW_FACTOR, POW_DOUT };
static const struct op_slot_def pow_inputs[] = {
    {"X", 0}, {"FactorTensor", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def pow_grad_inputs[] = {
    {"X", 0}, {"FactorTensor", OP_SLOT_OPTIONAL}, {"Out@GRAD", 0}, {NULL, 0}};

#define PLAIN

#define DEFINE_CLIP(T, S)                                                                          \
    OP_CLONES static void clip_forward_##S(T *out, const T *x, size_t n, T min, T max)             \
    {                                                                                              \
        _Pragma("GCC ivdep") for (size_t i = 0; i < n; i++)                                        \
        {                                                                                          \
            T at_least = x[i] < min ? min : x[i];                                                  \
            out[i] = at_least > max ? max : at_least;                                              \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void clip_backward_##S(T *dx, const T *x, const T *dout, size_t n, T min,     \
                                            T max)                                                 \
    {                                                                                              \
        _Pragma("GCC ivdep") for (size_t i = 0; i < n; i++) dx[i] =                                \
            (x[i] > min) & (x[i] < max) ? dout[i] : 0;                                             \
    }

DEFINE_CLIP(float, f32)
DEFINE_CLIP(double, f64)

// A factor of 2 is what networks use: no call of pow then (and the same result).
#define FLOAT_POWER(x, factor) ((factor) == 2 ? (x) * (x) : (factor) == 1 ? (x) : pow(x, factor))

UNARY_FLOATS(PLAIN, pow, x, FLOAT_POWER(x, p), g *p *FLOAT_POWER(x, p - 1))

static int32_t power_i32(int32_t x, int32_t factor)
{
    int32_t result = 1;
    for (; factor > 0; factor >>= 1, x *= x)
        if (factor & 1)
            result *= x;
    return result;
}

static int64_t power_i64(int64_t x, int64_t factor)
{
    int64_t result = 1;
    for (; factor > 0; factor >>= 1, x *= x)
        if (factor & 1)
            result *= x;
    return result;
}

UNARY_FORWARD(PLAIN, pow, int32_t, i32, power_i32(x, p))
UNARY_FORWARD(PLAIN, pow, int64_t, i64, power_i64(x, p))
UNARY_BACKWARD(PLAIN, pow, int32_t, i32, x, g *p *power_i32(x, p - 1))
UNARY_BACKWARD(PLAIN, pow, int64_t, i64, x, g *p *power_i64(x, p - 1))

// The first element of an optional input, else the attribute.
static int scalar_of(const struct op_ctx *ctx, int slot, int attr, enum dtype dtype, double *out)
{
    const struct tensor *t = op_in(ctx, slot);
    const char *name = ctx->def->inputs[slot].name;
    *out = (double)ctx->attr[attr]->f;
    if (t == NULL)
        return 0;
    if (tensor_count(t) != 1 || t->dtype != dtype)
        return err_set(ctx->err, SL_EMISMATCH, "%s must be one element of type %s", name,
                       dtype_name((int)dtype));
    *out = dtype == DTYPE_FP32 ? (double)*tensor_f32(t) : *tensor_f64(t);
    return 0;
}

static int clip_run(struct op_ctx *ctx, const struct tensor *x, struct tensor *out, bool backward)
{
    const struct tensor *dout = backward ? op_in(ctx, CLIP_DOUT) : NULL;
    size_t n = tensor_count(x);
    double min, max;
    int rc = 0;
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    if (backward && (dout->dtype != x->dtype || tensor_count(dout) != n))
        return err_set(ctx->err, SL_EMISMATCH, "Out@GRAD has not the type and size of X");
    if ((rc = scalar_of(ctx, CLIP_MIN, CLIP_ATTR_MIN, x->dtype, &min)) < 0 ||
        (rc = scalar_of(ctx, CLIP_MAX, CLIP_ATTR_MAX, x->dtype, &max)) < 0)
        return rc;
    min = (double)(float)min;
    if (!(min < max))
        return err_set(ctx->err, SL_EINVAL, "min %g is not less than max %g", min, max);
    if (x->dtype == DTYPE_FP32 && backward)
        clip_backward_f32(out->data, x->data, dout->data, n, (float)min, (float)max);
    else if (x->dtype == DTYPE_FP32)
        clip_forward_f32(out->data, x->data, n, (float)min, (float)max);
    else if (backward)
        clip_backward_f64(out->data, x->data, dout->data, n, min, max);
    else
        clip_forward_f64(out->data, x->data, n, min, max);
    return 0;
}

static int clip_forward(struct op_ctx *ctx)
{
    const struct tensor *x;
    struct tensor *out;
    int rc = rows_value_open_merged(ctx, &ctx->temps[0], &x, &out);
    return rc < 0 ? rc : clip_run(ctx, x, out, false);
}

static int clip_backward(struct op_ctx *ctx)
{
    struct tensor *out = op_out(ctx, 0);
    return out != NULL ? clip_run(ctx, op_in(ctx, CLIP_X), out, true) : 0;
}

// The factor as the kernels take it.
static int factor_of(const struct op_ctx *ctx, bool integers, float *param)
{
    double factor;
    int rc = scalar_of(ctx, POW_FACTOR, POW_ATTR_FACTOR, DTYPE_FP32, &factor);
    if (rc < 0)
        return rc;
    if (integers && !(factor > -1 && factor < 1e9))
        return err_set(ctx->err, SL_EINVAL, "integers have no power of factor %g", factor);
    for (int i = 0; i < UNARY_PARAMS_MAX; i++)
        param[i] = (float)factor;
    return 0;
}

static int pow_forward(struct op_ctx *ctx)
{
    static unary_run *const runs[] = {pow_forward_f32, pow_forward_f64, pow_forward_i32,
                                      pow_forward_i64};
    const struct tensor *x = op_in(ctx, POW_X);
    float param[UNARY_PARAMS_MAX];
    int number = number_of(x->dtype);
    if (number < 0)
        return op_bad_dtype(ctx, (int)x->dtype);
    int rc = factor_of(ctx, number >= NUMBER_I32, param);
    if (rc == 0)
        runs[number](op_out(ctx, 0)->data, x->data, tensor_count(x), param);
    return rc;
}

static int pow_backward(struct op_ctx *ctx)
{
    static unary_grad_run *const runs[] = {pow_backward_f32, pow_backward_f64, pow_backward_i32,
                                           pow_backward_i64};
    const struct tensor *x = op_in(ctx, POW_X), *dout = op_in(ctx, POW_DOUT);
    struct tensor *dx = op_out(ctx, 0);
    float param[UNARY_PARAMS_MAX];
    int number = number_of(x->dtype);
    if (dx == NULL)
        return 0;
    if (number < 0)
        return op_bad_dtype(ctx, (int)x->dtype);
    if (dout->dtype != x->dtype || tensor_count(dout) != tensor_count(x))
        return err_set(ctx->err, SL_EMISMATCH, "Out@GRAD has not the type and size of X");
    int rc = factor_of(ctx, number >= NUMBER_I32, param);
    if (rc == 0)
        runs[number](dx->data, x->data, dout->data, tensor_count(x), param);
    return rc;
}

const struct op_def op_clip = {
    .type = "clip",
    .inputs = clip_inputs,
    .outputs = unary_outputs,
    .attrs = clip_attrs,
    .grad = {.type = "clip_grad", .inputs = "X Min Max Out@GRAD", .outputs = "X@GRAD"},
    .kernel = clip_forward,
    .temps = 1,
};

const struct op_def op_clip_grad = {
    .type = "clip_grad",
    .inputs = clip_grad_inputs,
    .outputs = unary_grad_outputs,
    .attrs = clip_attrs,
    .kernel = clip_backward,
    .no_lod = true,
};

const struct op_def op_clip_pow = {
    .type = "pow",
    .inputs = pow_inputs,
    .outputs = unary_outputs,
    .attrs = pow_attrs,
    .grad = {.type = "pow_grad", .inputs = "X FactorTensor Out@GRAD", .outputs = "X@GRAD"},
    .kernel = pow_forward,
};

const struct op_def op_clip_pow_grad = {
    .type = "pow_grad",
    .inputs = pow_grad_inputs,
    .outputs = unary_grad_outputs,
    .attrs = pow_attrs,
    .kernel = pow_backward,
};
