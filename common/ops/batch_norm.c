// SPDX-License-Identifier: Apache-2.0
// A channel (its n runs of inner elements, c inner apart) is done as a whole, so that the second
// and third time it is read it comes from the cache. Channels last goes row by row instead, every
// channel with its own numbers. Sums are made in BN_LANES partial sums, or row after row.

#include "common/ops/batch_norm.h"

#include <math.h>
#include <string.h>

#include "common/ops/op_clones.h"

#define BN_LANES 32

// Adds EXPR of x[i] (and dy[i]) to lanes.
#define ADD_RUN(EXPR)                                                                              \
    do {                                                                                           \
        int64_t i = 0;                                                                             \
        for (; i + BN_LANES <= s.inner; i += BN_LANES)                                             \
            for (int64_t l = 0; l < BN_LANES; l++)                                                 \
                lanes[l] += EXPR(i + l);                                                           \
        for (int64_t l = 0; i + l < s.inner; l++)                                                  \
            lanes[l] += EXPR(i + l);                                                               \
    } while (0)
#define PLAIN(i) x[i]
#define SQUARE(i) ((x[i] - mean) * (x[i] - mean))
#define PRODUCT(i) ((x[i] - mean) * inv * dy[i])

// Runs of a channel begin at x and lie step apart.
#define DEFINE_CHANNEL(T, S)                                                                       \
    static inline T fold_##S(const T *lanes)                                                       \
    {                                                                                              \
        T total = 0;                                                                               \
        for (int64_t l = 0; l < BN_LANES; l++)                                                     \
            total += lanes[l];                                                                     \
        return total;                                                                              \
    }                                                                                              \
    OP_CLONES static T channel_sum_##S(const T *x, struct batch_norm_sizes s)                      \
    {                                                                                              \
        T lanes[BN_LANES] = {0};                                                                   \
        for (int64_t n = 0; n < s.n; n++, x += s.c * s.inner)                                      \
            ADD_RUN(PLAIN);                                                                        \
        return fold_##S(lanes);                                                                    \
    }                                                                                              \
    OP_CLONES static T channel_squares_##S(const T *x, T mean, struct batch_norm_sizes s)          \
    {                                                                                              \
        T lanes[BN_LANES] = {0};                                                                   \
        for (int64_t n = 0; n < s.n; n++, x += s.c * s.inner)                                      \
            ADD_RUN(SQUARE);                                                                       \
        return fold_##S(lanes);                                                                    \
    }                                                                                              \
    OP_CLONES static T channel_dot_##S(const T *x, const T *dy, T mean, T inv,                     \
                                       struct batch_norm_sizes s)                                  \
    {                                                                                              \
        T lanes[BN_LANES] = {0};                                                                   \
        for (int64_t n = 0; n < s.n; n++, x += s.c * s.inner, dy += s.c * s.inner)                 \
            ADD_RUN(PRODUCT);                                                                      \
        return fold_##S(lanes);                                                                    \
    }                                                                                              \
    OP_CLONES static void channel_scale_##S(T *y, const T *x, T scale, T shift,                    \
                                            struct batch_norm_sizes s)                             \
    {                                                                                              \
        for (int64_t n = 0; n < s.n; n++, x += s.c * s.inner, y += s.c * s.inner)                  \
            for (int64_t i = 0; i < s.inner; i++)                                                  \
                y[i] = x[i] * scale + shift;                                                       \
    }                                                                                              \
    /* dx = a (count dy - k - (x - mean) b inv) */                                                 \
    OP_CLONES static void channel_mix_##S(T *dx, const T *dy, const T *x, T mean, const T *abki,   \
                                          struct batch_norm_sizes s)                               \
    {                                                                                              \
        T a = abki[0], b = abki[1], k = abki[2], inv = abki[3], count = (T)(s.n * s.inner);        \
        int64_t step = s.c * s.inner;                                                              \
        for (int64_t n = 0; n < s.n; n++, x += step, dx += step, dy += step)                       \
            for (int64_t i = 0; i < s.inner; i++)                                                  \
                dx[i] = a * (dy[i] * count - k - (x[i] - mean) * b * inv);                         \
    }

// The same over rows of channels.
#define DEFINE_ROWS(T, S)                                                                          \
    OP_CLONES static void rows_sum_##S(T *sum, const T *x, struct batch_norm_sizes s)              \
    {                                                                                              \
        memset(sum, 0, (size_t)s.c * sizeof *sum);                                                 \
        for (int64_t n = 0; n < s.n; n++, x += s.c)                                                \
            for (int64_t i = 0; i < s.c; i++)                                                      \
                sum[i] += x[i];                                                                    \
    }                                                                                              \
    OP_CLONES static void rows_squares_##S(T *sum, const T *x, const T *mean,                      \
                                           struct batch_norm_sizes s)                              \
    {                                                                                              \
        memset(sum, 0, (size_t)s.c * sizeof *sum);                                                 \
        for (int64_t n = 0; n < s.n; n++, x += s.c)                                                \
            for (int64_t i = 0; i < s.c; i++)                                                      \
                sum[i] += (x[i] - mean[i]) * (x[i] - mean[i]);                                     \
    }                                                                                              \
    OP_CLONES static void rows_dot_##S(T *sum, const T *x, const T *mean, const T *inv,            \
                                       const T *dy, struct batch_norm_sizes s)                     \
    {                                                                                              \
        memset(sum, 0, (size_t)s.c * sizeof *sum);                                                 \
        for (int64_t n = 0; n < s.n; n++, x += s.c, dy += s.c)                                     \
            for (int64_t i = 0; i < s.c; i++)                                                      \
                sum[i] += (x[i] - mean[i]) * inv[i] * dy[i];                                       \
    }                                                                                              \
    OP_CLONES static void rows_scale_##S(T *y, const T *x, const T *scale, const T *shift,         \
                                         struct batch_norm_sizes s)                                \
    {                                                                                              \
        for (int64_t n = 0; n < s.n; n++, x += s.c, y += s.c)                                      \
            for (int64_t i = 0; i < s.c; i++)                                                      \
                y[i] = x[i] * scale[i] + shift[i];                                                 \
    }                                                                                              \
    OP_CLONES static void rows_mix_##S(T *dx, const T *dy, const T *x, const T *mean,              \
                                       const T *abki, struct batch_norm_sizes s)                   \
    {                                                                                              \
        T count = (T)(s.n * s.inner);                                                              \
        for (int64_t n = 0; n < s.n; n++, x += s.c, dx += s.c, dy += s.c)                          \
            for (int64_t i = 0; i < s.c; i++)                                                      \
                dx[i] = abki[4 * i] * (dy[i] * count - abki[4 * i + 2] -                           \
                                       (x[i] - mean[i]) * abki[4 * i + 1] * abki[4 * i + 3]);      \
    }

#define DEFINE_BATCH_NORM(T, S, SQRT)                                                              \
    void batch_norm_train_##S(T *y, T *mean, T *variance, T *inv, const T *x, const T *scale,      \
                              const T *bias, T epsilon, T *work, struct batch_norm_sizes s)        \
    {                                                                                              \
        T count = (T)(s.n * s.inner), *factor = work, *shift = work + s.c;                         \
        bool rows = s.inner == 1;                                                                  \
        if (rows) {                                                                                \
            rows_sum_##S(mean, x, s);                                                              \
            for (int64_t c = 0; c < s.c; c++)                                                      \
                mean[c] /= count;                                                                  \
            rows_squares_##S(variance, x, mean, s);                                                \
        }                                                                                          \
        for (int64_t c = 0; c < s.c; c++) {                                                        \
            if (!rows) {                                                                           \
                mean[c] = channel_sum_##S(x + c * s.inner, s) / count;                             \
                variance[c] = channel_squares_##S(x + c * s.inner, mean[c], s);                    \
            }                                                                                      \
            variance[c] /= count;                                                                  \
            inv[c] = 1 / SQRT(variance[c] + epsilon);                                              \
            factor[c] = inv[c] * scale[c];                                                         \
            shift[c] = bias[c] - mean[c] * factor[c];                                              \
            if (!rows)                                                                             \
                channel_scale_##S(y + c * s.inner, x + c * s.inner, factor[c], shift[c], s);       \
        }                                                                                          \
        if (rows)                                                                                  \
            rows_scale_##S(y, x, factor, shift, s);                                                \
    }                                                                                              \
    void batch_norm_apply_##S(T *y, const T *x, const T *scale, const T *bias, const T *mean,      \
                              const T *variance, T epsilon, T *work, struct batch_norm_sizes s)    \
    {                                                                                              \
        T *factor = work, *shift = work + s.c;                                                     \
        for (int64_t c = 0; c < s.c; c++) {                                                        \
            factor[c] = 1 / SQRT(variance[c] + epsilon) * scale[c];                                \
            shift[c] = bias[c] - mean[c] * factor[c];                                              \
            if (s.inner > 1)                                                                       \
                channel_scale_##S(y + c * s.inner, x + c * s.inner, factor[c], shift[c], s);       \
        }                                                                                          \
        if (s.inner == 1)                                                                          \
            rows_scale_##S(y, x, factor, shift, s);                                                \
    }                                                                                              \
    void batch_norm_backward_##S(T *dx, T *dscale, T *dbias, const T *x, const T *dy,              \
                                 const T *scale, const T *mean, const T *inv, bool global,         \
                                 T *work, struct batch_norm_sizes s)                               \
    {                                                                                              \
        T count = (T)(s.n * s.inner);                                                              \
        bool rows = s.inner == 1;                                                                  \
        if (rows) {                                                                                \
            rows_sum_##S(dbias, dy, s);                                                            \
            rows_dot_##S(dscale, x, mean, inv, dy, s);                                             \
        }                                                                                          \
        for (int64_t c = 0; c < s.c; c++) {                                                        \
            int64_t at = c * s.inner;                                                              \
            if (!rows) {                                                                           \
                dbias[c] = channel_sum_##S(dy + at, s);                                            \
                dscale[c] = channel_dot_##S(x + at, dy + at, mean[c], inv[c], s);                  \
            }                                                                                      \
            work[4 * c] = scale[c] * inv[c] / count;                                               \
            work[4 * c + 1] = global ? 0 : dscale[c];                                              \
            work[4 * c + 2] = global ? 0 : dbias[c];                                               \
            work[4 * c + 3] = inv[c];                                                              \
            if (!rows && dx != NULL)                                                               \
                channel_mix_##S(dx + at, dy + at, x + at, mean[c], &work[4 * c], s);               \
        }                                                                                          \
        if (rows && dx != NULL)                                                                    \
            rows_mix_##S(dx, dy, x, mean, work, s);                                                \
    }

DEFINE_CHANNEL(float, f32)
DEFINE_CHANNEL(double, f64)
DEFINE_ROWS(float, f32)
DEFINE_ROWS(double, f64)
DEFINE_BATCH_NORM(float, f32, sqrtf)
DEFINE_BATCH_NORM(double, f64, sqrt)
