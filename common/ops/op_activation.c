// SPDX-License-Identifier: Apache-2.0
// Activations, element by element; shapes and LoD are X's. Let g = dOut, y = Out, [c] be 1 or 0.
//
//   relu            max(X, 0)                                   g [y > 0]
//   relu6           min(max(X, 0), threshold)                   g [0 < y < threshold]
//   brelu           min(max(X, t_min), t_max)                   g [t_min < X < t_max]
//   leaky_relu      max(X, alpha X)                             g (y > 0 ? 1 : alpha)
//   thresholded_relu  X [X > threshold]                         g [X > threshold]
//   soft_relu       ln(1 + exp(min(max(X, -t), t)))             g (1 - exp(-y)) [-t < y < t]
//   elu             max(X, 0) + min(alpha (e^X - 1), 0)         g (X > 0 ? 1 : alpha e^X)
//   selu            scale (X > 0 ? X : alpha e^X - alpha)       g (y > 0 ? scale : y + alpha scale)
//   sigmoid         s(X) = 1 / (1 + e^-X)                       g y (1 - y)
//   logsigmoid      -max(-X, 0) - ln(1 + e^-|X|)                g s(-X)
//   hard_sigmoid    min(max(slope X + offset, 0), 1)            g slope [0 < y < 1]
//   swish           X s(beta X)                                 g (beta y + s(beta X) (1 - beta y))
//   hard_swish      X min(max(X + offset, 0), threshold) / scale
//                     g [X + offset > 0] (2 X + offset) / scale below the threshold, g above
//   gelu            X/2 (1 + erf(X / sqrt 2)), or with tanh(sqrt(2/pi) (X + 0.044715 X^3))
//   tanh            tanh(X)                                     g (1 - y y)
//   stanh           b tanh(a X)                                 g a b (1 - tanh(a X)^2)
//   tanh_shrink     X - tanh(X)                                 g tanh(X)^2
//   hard_shrink     X [|X| > threshold]                         g [|X| > threshold]
//   softshrink      X -/+ lambda beyond +/- lambda, else 0      g [|X| > lambda]
//   softplus        max(X, 0) + ln(1 + e^-|X|)                  g s(X)
//   softsign        X / (1 + |X|)                               g / (1 + |X|)^2
//
// In the order of operations that Fluid has, so that rounding is alike; but e^X that overflows
// spoils nothing here, and NaN stays NaN (except where a gradient is switched off by a comparison).

#include <stdint.h>
#include <tgmath.h>

#include "common/ops/unary.h"
#include "common/ops/vmath.h"

#define IS(condition) (num)((condition) ? 1 : 0)
#define AT_LEAST(x, low) ((x) < (low) ? (low) : (x))
#define AT_MOST(x, high) ((x) > (high) ? (high) : (x))

#define EXP(x) VMATH_EXP(x)
#define LOG(x) VMATH_LOG(x)
#define TANH(x) VMATH_TANH(x)
#define BY_TYPE(name, x) _Generic((x), float : name##_f32, double : name##_f64)

#define SQRT_2_OVER_PI 0.79788456080286535588
#define ONE_OVER_SQRT_2 0.70710678118654752440
#define ONE_OVER_SQRT_2PI 0.39894228040143267794

// What is too long for one line.
#define DEFINE_HELPERS(T, S)                                                                       \
    static inline T softplus_at_##S(T x)                                                           \
    {                                                                                              \
        return AT_LEAST(x, 0) + LOG(1 + EXP(-fabs(x)));                                            \
    }                                                                                              \
    static inline T sigmoid_at_##S(T x)                                                            \
    {                                                                                              \
        T e = EXP(-fabs(x));                                                                       \
        return (x < 0 ? e : 1) / (1 + e);                                                          \
    }                                                                                              \
    static inline T swish_slope_##S(T x, T beta)                                                   \
    {                                                                                              \
        T s = 1 / (1 + EXP(-beta * x)), y = x * s;                                                 \
        return beta * y + s * (1 - beta * y);                                                      \
    }                                                                                              \
    static inline T stanh_slope_##S(T x, T a, T b)                                                 \
    {                                                                                              \
        T t = TANH(a * x);                                                                         \
        return a * b * (1 - t * t);                                                                \
    }                                                                                              \
    static inline T tanh_squared_##S(T x)                                                          \
    {                                                                                              \
        T t = TANH(x);                                                                             \
        return t * t;                                                                              \
    }                                                                                              \
    static inline T softsign_slope_##S(T x)                                                        \
    {                                                                                              \
        T d = 1 + fabs(x);                                                                         \
        return 1 / (d * d);                                                                        \
    }                                                                                              \
    static inline T gelu_slope_##S(T x)                                                            \
    {                                                                                              \
        T density = (T)ONE_OVER_SQRT_2PI * EXP((T)-0.5 * x * x);                                   \
        return (T)0.5 * (1 + erf(x * (T)ONE_OVER_SQRT_2)) + x * density;                           \
    }                                                                                              \
    static inline T gelu_tanh_##S(T x)                                                             \
    {                                                                                              \
        T t = TANH((T)SQRT_2_OVER_PI * (x + (T)0.044715 * x * x * x));                             \
        return x * (T)0.5 * (1 + t);                                                               \
    }                                                                                              \
    static inline T gelu_tanh_slope_##S(T x)                                                       \
    {                                                                                              \
        T t = TANH((T)SQRT_2_OVER_PI * (x + (T)0.044715 * x * x * x));                             \
        T inner = (T)SQRT_2_OVER_PI * (1 + (T)0.134145 * x * x);                                   \
        return (T)0.5 * (1 + t + (x - x * t * t) * inner);                                         \
    }

DEFINE_HELPERS(float, f32)
DEFINE_HELPERS(double, f64)

#define PLAIN
#define FAST(NAME, KEPT, FORWARD, BACKWARD) UNARY_FLOATS(OP_CLONES, NAME, KEPT, FORWARD, BACKWARD)
#define SLOW(NAME, KEPT, FORWARD, BACKWARD) UNARY_FLOATS(PLAIN, NAME, KEPT, FORWARD, BACKWARD)

FAST(relu, y, x < 0 ? 0 : x, g *IS(y > 0))
FAST(relu6, y, AT_MOST(AT_LEAST(x, 0), p), g *IS((y > 0) & (y < p)))
FAST(brelu, x, AT_MOST(AT_LEAST(x, p), q), g *IS((x > p) & (x < q)))
FAST(leaky_relu, y, AT_LEAST(x, p *x), g *(p *IS(y <= 0) + IS(y > 0)))
FAST(thresholded_relu, x, IS(x > p) * x, g *IS(x > p))
FAST(soft_relu, y, LOG(1 + EXP(AT_MOST(AT_LEAST(x, -p), p))),
     g *(1 - EXP(-y)) * IS((y > -p) & (y < p)))
FAST(elu, x, AT_LEAST(x, 0) + AT_MOST(p * (EXP(x) - 1), 0), x > 0 ? g : g * p * EXP(x))
FAST(selu, y, x > 0 ? p * x : p * q * EXP(x) - p * q, y <= 0 ? g * (y + p * q) : g * p)
FAST(sigmoid, y, 1 / (1 + EXP(-x)), g *y *(1 - y))
FAST(logsigmoid, x, -BY_TYPE(softplus_at, x)(-x), g *BY_TYPE(sigmoid_at, x)(-x))
FAST(hard_sigmoid, y, AT_MOST(AT_LEAST(x *p + q, 0), 1), g *IS((y > 0) & (y < 1)) * p)
FAST(swish, x, x / (1 + EXP(-p * x)), g *BY_TYPE(swish_slope, x)(x, p))
FAST(hard_swish, x, x *AT_MOST(AT_LEAST(x + r, 0), p) / q,
     x + r >= p ? g : g * (IS(x + r > 0) * (2 * x + r) / q))
SLOW(gelu, x, x *(num)0.5 * (1 + erf(x * (num)ONE_OVER_SQRT_2)), g *BY_TYPE(gelu_slope, x)(x))
FAST(gelu_approximate, x, BY_TYPE(gelu_tanh, x)(x), g *BY_TYPE(gelu_tanh_slope, x)(x))
FAST(tanh, y, TANH(x), g *(1 - y * y))
FAST(stanh, x, q *TANH(p *x), g *BY_TYPE(stanh_slope, x)(x, p, q))
FAST(tanh_shrink, x, x - TANH(x), g *BY_TYPE(tanh_squared, x)(x))
FAST(hard_shrink, x, x *(IS(x < -p) + IS(x > p)), g *(IS(x < -p) + IS(x > p)))
FAST(softshrink, x, IS(x > p) * (x - p) + IS(x < -p) * (x + p), g *(IS(x > p) + IS(x < -p)))
FAST(softplus, x, BY_TYPE(softplus_at, x)(x), g *BY_TYPE(sigmoid_at, x)(x))
FAST(softsign, x, x / (1 + fabs(x)), g *BY_TYPE(softsign_slope, x)(x))

static const struct op_attr_def relu6_attrs[] = {OP_ATTR_FLOAT("threshold", 6), {.name = NULL}};
static const struct op_attr_def brelu_attrs[] = {
    OP_ATTR_FLOAT("t_min", 0), OP_ATTR_FLOAT("t_max", 24), {.name = NULL}};
static const struct op_attr_def leaky_relu_attrs[] = {
    OP_ATTR_FLOAT("alpha", 0.02f), OP_ATTR_BOOL("use_mkldnn", 0), {.name = NULL}};
static const struct op_attr_def thresholded_relu_attrs[] = {OP_ATTR_FLOAT("threshold", 1),
                                                            {.name = NULL}};
static const struct op_attr_def soft_relu_attrs[] = {OP_ATTR_FLOAT("threshold", 40),
                                                     {.name = NULL}};
static const struct op_attr_def elu_attrs[] = {OP_ATTR_FLOAT("alpha", 1), {.name = NULL}};
static const struct op_attr_def selu_attrs[] = {
    OP_ATTR_FLOAT("scale", 1.0507009873554804934193349852946f),
    OP_ATTR_FLOAT("alpha", 1.6732632423543772848170429916717f),
    {.name = NULL}};
static const struct op_attr_def hard_sigmoid_attrs[] = {
    OP_ATTR_FLOAT("slope", 0.2f), OP_ATTR_FLOAT("offset", 0.5), {.name = NULL}};
static const struct op_attr_def swish_attrs[] = {
    OP_ATTR_FLOAT("beta", 1), OP_ATTR_BOOL("use_mkldnn", 0), {.name = NULL}};
static const struct op_attr_def hard_swish_attrs[] = {OP_ATTR_FLOAT("threshold", 6),
                                                      OP_ATTR_FLOAT("scale", 6),
                                                      OP_ATTR_FLOAT("offset", 3),
                                                      {.name = NULL}};
static const struct op_attr_def stanh_attrs[] = {
    OP_ATTR_FLOAT("scale_a", 0.67f), OP_ATTR_FLOAT("scale_b", 1.7159f), {.name = NULL}};
static const struct op_attr_def hard_shrink_attrs[] = {OP_ATTR_FLOAT("threshold", 0.5),
                                                       {.name = NULL}};
static const struct op_attr_def softshrink_attrs[] = {OP_ATTR_FLOAT("lambda", 0.5), {.name = NULL}};
enum { GELU_APPROXIMATE };
static const struct op_attr_def gelu_attrs[] = {OP_ATTR_BOOL("approximate", 0),
                                                OP_ATTR_BOOL("use_mkldnn", 0),
                                                OP_ATTR_BOOL("use_cudnn", 0),
                                                {.name = NULL}};

UNARY_KERNELS(relu)
UNARY_KERNELS(relu6)
UNARY_KERNELS(brelu)
UNARY_KERNELS(leaky_relu)
UNARY_KERNELS(thresholded_relu)
UNARY_KERNELS(soft_relu)
UNARY_KERNELS(elu)
UNARY_KERNELS(selu)
UNARY_KERNELS(sigmoid)
UNARY_KERNELS(logsigmoid)
UNARY_KERNELS(hard_sigmoid)
UNARY_KERNELS(swish)
UNARY_KERNELS(hard_swish)
UNARY_KERNELS(tanh)
UNARY_KERNELS(stanh)
UNARY_KERNELS(tanh_shrink)
UNARY_KERNELS(hard_shrink)
UNARY_KERNELS(softshrink)
UNARY_KERNELS(softplus)
UNARY_KERNELS(softsign)

static int gelu_forward(struct op_ctx *ctx)
{
    static const struct unary_runs runs[] = {
        {{gelu_forward_f32, gelu_forward_f64}},
        {{gelu_approximate_forward_f32, gelu_approximate_forward_f64}}};
    return unary_forward(ctx, &runs[attr_bool(ctx->attr[GELU_APPROXIMATE])]);
}

static int gelu_backward(struct op_ctx *ctx)
{
    static const struct unary_grad_runs runs[] = {
        {{gelu_backward_f32, gelu_backward_f64}},
        {{gelu_approximate_backward_f32, gelu_approximate_backward_f64}}};
    return unary_backward(ctx, &runs[attr_bool(ctx->attr[GELU_APPROXIMATE])]);
}

#define OF_X(NAME, ATTRS) UNARY_OP(op_activation, NAME, ATTRS, x, "X Out@GRAD")
#define OF_OUT(NAME, ATTRS) UNARY_OP(op_activation, NAME, ATTRS, out, "Out Out@GRAD")

OF_OUT(relu, unary_common_attrs)
OF_OUT(relu6, relu6_attrs)
OF_X(brelu, brelu_attrs)
OF_OUT(leaky_relu, leaky_relu_attrs)
OF_X(thresholded_relu, thresholded_relu_attrs)
OF_OUT(soft_relu, soft_relu_attrs)
OF_X(elu, elu_attrs)
OF_OUT(selu, selu_attrs)
OF_OUT(sigmoid, unary_common_attrs)
OF_X(logsigmoid, unary_common_attrs)
OF_OUT(hard_sigmoid, hard_sigmoid_attrs)
OF_X(swish, swish_attrs)
OF_X(hard_swish, hard_swish_attrs)
OF_X(gelu, gelu_attrs)
OF_OUT(tanh, unary_common_attrs)
OF_X(stanh, stanh_attrs)
OF_X(tanh_shrink, unary_common_attrs)
OF_X(hard_shrink, hard_shrink_attrs)
OF_X(softshrink, softshrink_attrs)
OF_X(softplus, unary_common_attrs)
OF_X(softsign, unary_common_attrs)
