// SPDX-License-Identifier: Apache-2.0
// One loop an activation, each vectorised by itself: rows are short enough to stay in the cache
// between them.

#include "common/ops/gate_act.h"

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/ops/op_clones.h"
#include "common/ops/vmath.h"

#define EXP(x) _Generic((x), float : vmath_exp_inner, double : vmath_exp_f64)(x)

int gate_act_parse(const struct op_ctx *ctx, const struct attr *attr, enum gate_act *out)
{
    static const char *const names[] = {"identity", "sigmoid", "tanh", "relu"};
    for (int i = 0; i < 4; i++) {
        if (attr->s != NULL && str_eq(attr->s, names[i])) {
            *out = (enum gate_act)i;
            return 0;
        }
    }
    return err_set(ctx->err, SL_EINVAL, "%s \"%s\" is not sigmoid, tanh, relu or identity",
                   attr->name, attr->s ? attr->s : "");
}

#define DEFINE_LOOPS(T, S)                                                                         \
    OP_CLONES static void sigmoid_##S(int64_t n, T *x, T high)                                     \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                          \
            T z = x[i] < -40 ? -40 : x[i];                                                         \
            z = z > high ? high : z;                                                               \
            x[i] = 1 / (1 + EXP(-z));                                                              \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void tanh_##S(int64_t n, T *x)                                                \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                          \
            T z = -2 * x[i];                                                                       \
            z = z > 40 ? 40 : z;                                                                   \
            z = z < -79 ? -79 : z;                                                                 \
            x[i] = 2 / (1 + EXP(z)) - 1;                                                           \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void relu_##S(int64_t n, T *x)                                                \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            x[i] = x[i] < 0 ? 0 : x[i];                                                            \
    }                                                                                              \
    OP_CLONES static void sigmoid_back_##S(int64_t n, T *restrict dy, const T *restrict y)         \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            dy[i] = dy[i] * y[i] * (1 - y[i]);                                                     \
    }                                                                                              \
    OP_CLONES static void tanh_back_##S(int64_t n, T *restrict dy, const T *restrict y)            \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            dy[i] = dy[i] * (1 - y[i] * y[i]);                                                     \
    }                                                                                              \
    OP_CLONES static void relu_back_##S(int64_t n, T *restrict dy, const T *restrict y)            \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            dy[i] = y[i] > 0 ? dy[i] : 0;                                                          \
    }                                                                                              \
    void gate_act_apply_##S(enum gate_act act, int64_t n, T *x)                                    \
    {                                                                                              \
        if (act == GATE_ACT_SIGMOID || act == GATE_ACT_SIGMOID_FULL)                               \
            sigmoid_##S(n, x, act == GATE_ACT_SIGMOID ? 13 : 79);                                  \
        else if (act == GATE_ACT_TANH)                                                             \
            tanh_##S(n, x);                                                                        \
        else if (act == GATE_ACT_RELU)                                                             \
            relu_##S(n, x);                                                                        \
    }                                                                                              \
    void gate_act_back_##S(enum gate_act act, int64_t n, T *dy, const T *y)                        \
    {                                                                                              \
        if (act == GATE_ACT_SIGMOID || act == GATE_ACT_SIGMOID_FULL)                               \
            sigmoid_back_##S(n, dy, y);                                                            \
        else if (act == GATE_ACT_TANH)                                                             \
            tanh_back_##S(n, dy, y);                                                               \
        else if (act == GATE_ACT_RELU)                                                             \
            relu_back_##S(n, dy, y);                                                               \
    }

DEFINE_LOOPS(float, f32)
DEFINE_LOOPS(double, f64)
