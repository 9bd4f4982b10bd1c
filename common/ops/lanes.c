// SPDX-License-Identifier: Apache-2.0
// The loops behind lanes.h.

#include "common/ops/lanes.h"

#include "common/ops/op_clones.h"

// SUM is the type of the sums, EXPR what is added for an element x.
#define DEFINE_LANES(NAME, T, SUM, S, EXPR)                                                        \
    OP_CLONES static SUM NAME##_##S(const T *in, size_t n)                                         \
    {                                                                                              \
        SUM lanes[OP_LANES] = {0}, sum = 0;                                                        \
        size_t i = 0;                                                                              \
        for (; i + OP_LANES <= n; i += OP_LANES)                                                   \
            for (size_t l = 0; l < OP_LANES; l++) {                                                \
                SUM x = in[i + l];                                                                 \
                lanes[l] += (EXPR);                                                                \
            }                                                                                      \
        for (; i < n; i++) {                                                                       \
            SUM x = in[i];                                                                         \
            lanes[i % OP_LANES] += (EXPR);                                                         \
        }                                                                                          \
        for (size_t l = 0; l < OP_LANES; l++)                                                      \
            sum += lanes[l];                                                                       \
        return sum;                                                                                \
    }                                                                                              \
    SUM lanes_##NAME##_##S(const T *x, size_t n)                                                   \
    {                                                                                              \
        return NAME##_##S(x, n);                                                                   \
    }

DEFINE_LANES(sum, float, float, f32, x)
DEFINE_LANES(sum, double, double, f64, x)
DEFINE_LANES(squares, float, double, f32, x *x)
DEFINE_LANES(squares, double, double, f64, x *x)
