// SPDX-License-Identifier: Apache-2.0
// Elementary functions, element by element; shapes and LoD are X's. Let g = dOut, y = Out.
//
//   abs    |X|               g sign(X)           acos        arccos(X)     -g / sqrt(1 - X X)
//   ceil   ceil(X)           0                   asin        arcsin(X)      g / sqrt(1 - X X)
//   floor  floor(X)          0                   atan        arctan(X)      g / (1 + X X)
//   round  half away from 0  0                   cos         cos(X)        -g sin(X)
//   sign   -1, 0 or 1        0 (a scale op)      sin         sin(X)         g cos(X)
//   exp    e^X               g y                 erf         erf(X)         g 2/sqrt(pi) exp(-X X)
//   log    ln(X)             g / X               reciprocal  1 / X         -g y y
//   log1p  ln(1 + X)         g / (1 + X)         rsqrt       1 / sqrt(X)   -g/2 y y y
//   sqrt   sqrt(X)           g / (2 y)           square      X X            g 2 X
//
// In the order of operations that Fluid has, so that rounding is alike. abs, exp and square take
// integers too; they wrap, and what does not fit (exp) is the smallest integer.

#include <stdint.h>
#include <string.h>
#include <tgmath.h>

#include "common/base/err.h"
#include "common/ops/unary.h"
#include "common/ops/vmath.h"
#include "common/program/op_desc.h"

#define PLAIN
#define IS(condition) ((condition) ? 1 : 0)
#define EXP(x) VMATH_EXP(x)
#define LOG(x) VMATH_LOG(x)
#define TWO_OVER_SQRT_PI 1.12837916709551257390

UNARY_FLOATS(OP_CLONES, abs, x, fabs(x), g *(num)(IS(x > 0) - IS(x < 0)))
UNARY_FLOATS(PLAIN, acos, x, acos(x), -g / sqrt(1 - x * x))
UNARY_FLOATS(PLAIN, asin, x, asin(x), g / sqrt(1 - x * x))
UNARY_FLOATS(PLAIN, atan, x, atan(x), g / (1 + x * x))
UNARY_FLOATS(PLAIN, cos, x, cos(x), -g *sin(x))
UNARY_FLOATS(PLAIN, erf, x, erf(x), g *(num)TWO_OVER_SQRT_PI *EXP(-x *x))
UNARY_FLOATS(OP_CLONES, exp, y, EXP(x), g *y)
UNARY_FLOATS(OP_CLONES, log, x, LOG(x), g *(1 / x))
UNARY_FLOATS(PLAIN, log1p, x, log1p(x), g *(1 / (x + 1)))
UNARY_FLOATS(OP_CLONES, reciprocal, y, 1 / x, -g *y *y)
UNARY_FLOATS(OP_CLONES, rsqrt, y, 1 / sqrt(x), g *(num)-0.5 * y * y * y)
UNARY_FLOATS(PLAIN, sin, x, sin(x), g *cos(x))
UNARY_FLOATS(OP_CLONES, sqrt, y, sqrt(x), g *(num)0.5 / y)
UNARY_FLOATS(OP_CLONES, square, x, x *x, g * 2 * x)

UNARY_FORWARD(OP_CLONES, ceil, float, f32, ceil(x))
UNARY_FORWARD(OP_CLONES, ceil, double, f64, ceil(x))
UNARY_FORWARD(OP_CLONES, floor, float, f32, floor(x))
UNARY_FORWARD(OP_CLONES, floor, double, f64, floor(x))
UNARY_FORWARD(OP_CLONES, round, float, f32, round(x))
UNARY_FORWARD(OP_CLONES, round, double, f64, round(x))
UNARY_FORWARD(OP_CLONES, sign, float, f32, (num)(IS(x > 0) - IS(x < 0)))
UNARY_FORWARD(OP_CLONES, sign, double, f64, (num)(IS(x > 0) - IS(x < 0)))

#define INTEGERS(NAME, KEPT, FORWARD, BACKWARD)                                                    \
    UNARY_FORWARD(PLAIN, NAME, int32_t, i32, FORWARD)                                              \
    UNARY_FORWARD(PLAIN, NAME, int64_t, i64, FORWARD)                                              \
    UNARY_BACKWARD(PLAIN, NAME, int32_t, i32, KEPT, BACKWARD)                                      \
    UNARY_BACKWARD(PLAIN, NAME, int64_t, i64, KEPT, BACKWARD)
INTEGERS(abs, x, x < 0 ? -x : x, g *(IS(x > 0) - IS(x < 0)))
INTEGERS(exp, y, NUMBER_TO_INTEGER(x, exp((double)x)), g *y)
INTEGERS(square, x, x *x, g * 2 * x)

// The gradient of the step functions.
static int zero_backward(struct op_ctx *ctx)
{
    const struct tensor *dout = op_in(ctx, 0);
    struct tensor *dx = op_out(ctx, 0);
    if (number_of(dout->dtype) != NUMBER_F32 && number_of(dout->dtype) != NUMBER_F64)
        return op_bad_dtype(ctx, (int)dout->dtype);
    if (dx != NULL && tensor_count(dx) > 0)
        memset(dx->data, 0, tensor_bytes(dx));
    return 0;
}

#define STEP_KERNELS(NAME)                                                                         \
    static int NAME##_forward(struct op_ctx *ctx)                                                  \
    {                                                                                              \
        static const struct unary_runs runs = {{NAME##_forward_f32, NAME##_forward_f64}};          \
        return unary_forward(ctx, &runs);                                                          \
    }                                                                                              \
    static int NAME##_backward(struct op_ctx *ctx)                                                 \
    {                                                                                              \
        return zero_backward(ctx);                                                                 \
    }

UNARY_KERNELS_WITH_INTEGERS(abs)
UNARY_KERNELS(acos)
UNARY_KERNELS(asin)
UNARY_KERNELS(atan)
STEP_KERNELS(ceil)
UNARY_KERNELS(cos)
UNARY_KERNELS(erf)
UNARY_KERNELS_WITH_INTEGERS(exp)
STEP_KERNELS(floor)
UNARY_KERNELS(log)
UNARY_KERNELS(log1p)
UNARY_KERNELS(reciprocal)
STEP_KERNELS(round)
UNARY_KERNELS(rsqrt)
UNARY_KERNELS(sin)
UNARY_KERNELS(sqrt)
UNARY_KERNELS_WITH_INTEGERS(square)

#define OF_X(NAME, ATTRS) UNARY_OP(op_math, NAME, ATTRS, x, "X Out@GRAD")
#define OF_OUT(NAME, ATTRS) UNARY_OP(op_math, NAME, ATTRS, out, "Out Out@GRAD")
#define OF_NONE(NAME, ATTRS) UNARY_OP(op_math, NAME, ATTRS, none, "Out@GRAD")

OF_X(abs, unary_common_attrs)
OF_X(acos, unary_no_attrs)
OF_X(asin, unary_no_attrs)
OF_X(atan, unary_no_attrs)
OF_NONE(ceil, unary_common_attrs)
OF_X(cos, unary_common_attrs)
OF_X(erf, unary_no_attrs)
OF_OUT(exp, unary_common_attrs)
OF_NONE(floor, unary_common_attrs)
OF_X(log, unary_common_attrs)
OF_X(log1p, unary_common_attrs)
OF_OUT(reciprocal, unary_common_attrs)
OF_NONE(round, unary_common_attrs)
OF_OUT(rsqrt, unary_common_attrs)
OF_X(sin, unary_common_attrs)
OF_OUT(sqrt, unary_common_attrs)
OF_X(square, unary_common_attrs)

static int sign_forward(struct op_ctx *ctx)
{
    static const struct unary_runs runs = {{sign_forward_f32, sign_forward_f64}};
    return unary_forward(ctx, &runs);
}

static int sign_grad(const struct op_desc *forward, struct op_desc **out, int out_max)
{
    struct op_desc *scale = out_max > 0 ? op_grad_unary(forward, "scale", 0) : NULL;
    if (scale == NULL)
        return SL_EINVAL;
    op_desc_set_float(scale, "scale", 0);
    out[0] = scale;
    return 1;
}

extern const struct op_def op_math_sign;
const struct op_def op_math_sign = {
    .type = "sign",
    .inputs = unary_inputs,
    .outputs = unary_outputs,
    .attrs = unary_no_attrs,
    .grad = {.make = sign_grad},
    .kernel = sign_forward,
};
