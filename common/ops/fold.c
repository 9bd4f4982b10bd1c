// SPDX-License-Identifier: Apache-2.0
// Two and three inputs have their own loops (two trainers are the usual case); more go through a
// buffer of FOLD_BLOCK elements that stays in the first-level cache, so memory is read and written
// once.

#include "common/ops/fold.h"

#include "common/ops/op_clones.h"

#define FOLD_BLOCK 1024

#define DEFINE_FOLD(T, S)                                                                          \
    OP_CLONES static void fold_1_##S(T *out, const T *a, int64_t n, T scale)                       \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            out[i] = a[i] * scale;                                                                 \
    }                                                                                              \
    OP_CLONES static void fold_2_##S(T *out, const T *a, const T *b, int64_t n, T scale)           \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            out[i] = (a[i] + b[i]) * scale;                                                        \
    }                                                                                              \
    OP_CLONES static void fold_3_##S(T *out, const T *a, const T *b, const T *c, int64_t n,        \
                                     T scale)                                                      \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            out[i] = ((a[i] + b[i]) + c[i]) * scale;                                               \
    }                                                                                              \
    void fold_##S(T *out, const T *const *inputs, int inputs_count, int64_t n, T scale)            \
    {                                                                                              \
        if (inputs_count == 1) {                                                                   \
            fold_1_##S(out, inputs[0], n, scale);                                                  \
            return;                                                                                \
        }                                                                                          \
        if (inputs_count == 2) {                                                                   \
            fold_2_##S(out, inputs[0], inputs[1], n, scale);                                       \
            return;                                                                                \
        }                                                                                          \
        T block[FOLD_BLOCK];                                                                       \
        for (int64_t at = 0; at < n; at += FOLD_BLOCK) {                                           \
            int64_t count = n - at < FOLD_BLOCK ? n - at : FOLD_BLOCK;                             \
            const T *sum = inputs[0] + at;                                                         \
            int k = 1;                                                                             \
            for (; k + 2 < inputs_count; k += 2, sum = block)                                      \
                fold_3_##S(block, sum, inputs[k] + at, inputs[k + 1] + at, count, 1);              \
            if (k + 2 == inputs_count)                                                             \
                fold_3_##S(out + at, sum, inputs[k] + at, inputs[k + 1] + at, count, scale);       \
            else                                                                                   \
                fold_2_##S(out + at, sum, inputs[k] + at, count, scale);                           \
        }                                                                                          \
    }

DEFINE_FOLD(float, f32)
DEFINE_FOLD(double, f64)
DEFINE_FOLD(int32_t, i32)
DEFINE_FOLD(int64_t, i64)
