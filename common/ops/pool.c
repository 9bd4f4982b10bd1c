// SPDX-License-Identifier: Apache-2.0
// Three ways through a plane. 2x2 windows side by side are done in one go. Rows of many outputs go
// place by place of the kernel, all outputs of the row at once; the largest element is found by
// giving dOut to the first place that equals it. Short rows and adaptive windows go window by
// window.

#include "common/ops/pool.h"

#include <float.h>
#include <string.h>

#include "common/ops/op_clones.h"

#define RUN 64   // outputs at once

static struct pool_range range_of(const struct pool *pool, int axis, int64_t o)
{
    const struct window_axis *a = &pool->axis[axis];
    if (pool->adaptive)
        return (struct pool_range){o * a->in / a->out, ((o + 1) * a->in + a->out - 1) / a->out};
    int64_t first = o * a->stride - a->before, last = first + a->kernel;
    return (struct pool_range){first < 0 ? 0 : first, last > a->in ? a->in : last};
}

static struct pool_range column_of(const struct pool *pool, int64_t o)
{
    return o < POOL_PLACES_MAX ? pool->columns[o] : range_of(pool, WINDOW_W, o);
}

static int64_t size_of(const struct pool *pool, struct pool_range h, struct pool_range w)
{
    if (pool->exclusive || pool->adaptive)
        return (h.last - h.first) * (w.last - w.first);
    return pool->axis[WINDOW_H].kernel * pool->axis[WINDOW_W].kernel;
}

// 2x2 windows side by side, the usual case: no padding, nothing left over at the left and top.
static bool is_halving(const struct pool *pool)
{
    bool halving = !pool->adaptive;
    for (int i = 0; i < 2; i++) {
        const struct window_axis *a = &pool->axis[i];
        halving &= a->kernel == 2 && a->stride == 2 && a->before == 0 && a->out * 2 <= a->in;
    }
    return halving;
}

void pool_plan(struct pool *pool)
{
    const struct window_axis *w = &pool->axis[WINDOW_W];
    pool->by_places = !pool->adaptive && w->kernel <= POOL_PLACES_MAX &&
                      w->out >= POOL_PLACES_MAX && pool->axis[WINDOW_H].kernel > 0;
    for (int64_t j = 0; j < w->kernel && pool->by_places; j++)
        window_inside(w, j, &pool->columns[j].first, &pool->columns[j].last);
    for (int64_t i = 0; i < w->out && i < POOL_PLACES_MAX && !pool->by_places; i++)
        pool->columns[i] = range_of(pool, WINDOW_W, i);
}

#define DEFINE_POOL(T, S, LOWEST)                                                                  \
    OP_CLONES static void halve_max_##S(T *out, const T *x, int64_t n, int64_t w)                  \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                          \
            T a = x[2 * i], b = x[2 * i + 1], c = x[w + 2 * i], d = x[w + 2 * i + 1];              \
            T m = LOWEST;                                                                          \
            m = m > a ? m : a;                                                                     \
            m = m > b ? m : b;                                                                     \
            m = m > c ? m : c;                                                                     \
            out[i] = m > d ? m : d;                                                                \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void halve_avg_##S(T *out, const T *x, int64_t n, int64_t w)                  \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            out[i] = (x[2 * i] + x[2 * i + 1] + x[w + 2 * i] + x[w + 2 * i + 1]) / 4;              \
    }                                                                                              \
    OP_CLONES static void unhalve_max_##S(T *dx, const T *x, const T *out, const T *dout,          \
                                          int64_t n, int64_t w)                                    \
    {                                                                                              \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++)                                       \
        {                                                                                          \
            T m = out[i], g = dout[i], left;                                                       \
            T a = x[2 * i], b = x[2 * i + 1], c = x[w + 2 * i], d = x[w + 2 * i + 1];              \
            dx[2 * i] = a == m ? g : 0;                                                            \
            left = a == m ? 0 : g;                                                                 \
            dx[2 * i + 1] = b == m ? left : 0;                                                     \
            left = b == m ? 0 : left;                                                              \
            dx[w + 2 * i] = c == m ? left : 0;                                                     \
            left = c == m ? 0 : left;                                                              \
            dx[w + 2 * i + 1] = d == m ? left : 0;                                                 \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void unhalve_avg_##S(T *dx, const T *dout, int64_t n, int64_t w)              \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                          \
            T g = dout[i] * (T)0.25;                                                               \
            dx[2 * i] = g;                                                                         \
            dx[2 * i + 1] = g;                                                                     \
            dx[w + 2 * i] = g;                                                                     \
            dx[w + 2 * i + 1] = g;                                                                 \
        }                                                                                          \
    }                                                                                              \
    static T max_of_##S(const T *x, int64_t w, struct pool_range rows, struct pool_range cols)     \
    {                                                                                              \
        T m = LOWEST;                                                                              \
        for (int64_t y = rows.first; y < rows.last; y++)                                           \
            for (int64_t i = cols.first; i < cols.last; i++)                                       \
                m = m > x[y * w + i] ? m : x[y * w + i];                                           \
        return m;                                                                                  \
    }                                                                                              \
    static T sum_of_##S(const T *x, int64_t w, struct pool_range rows, struct pool_range cols)     \
    {                                                                                              \
        T sum = 0;                                                                                 \
        for (int64_t y = rows.first; y < rows.last; y++)                                           \
            for (int64_t i = cols.first; i < cols.last; i++)                                       \
                sum += x[y * w + i];                                                               \
        return sum;                                                                                \
    }                                                                                              \
    /* One column of the kernel over n outputs, whose inputs are step apart. */                    \
    OP_CLONES static void max_place_##S(T *out, const T *x, int64_t n, int64_t step)               \
    {                                                                                              \
        for (int64_t i = 0; i < n && step == 1; i++)                                               \
            out[i] = out[i] > x[i] ? out[i] : x[i];                                                \
        for (int64_t i = 0; i < n && step == 2; i++)                                               \
            out[i] = out[i] > x[2 * i] ? out[i] : x[2 * i];                                        \
        for (int64_t i = 0; i < n && step > 2; i++)                                                \
            out[i] = out[i] > x[i * step] ? out[i] : x[i * step];                                  \
    }                                                                                              \
    OP_CLONES static void sum_place_##S(T *out, const T *x, int64_t n, int64_t step)               \
    {                                                                                              \
        for (int64_t i = 0; i < n && step == 1; i++)                                               \
            out[i] += x[i];                                                                        \
        for (int64_t i = 0; i < n && step == 2; i++)                                               \
            out[i] += x[2 * i];                                                                    \
        for (int64_t i = 0; i < n && step > 2; i++)                                                \
            out[i] += x[i * step];                                                                 \
    }                                                                                              \
    /* left[i]: dOut of window i, 0 after a place took it. */                                      \
    OP_CLONES static void mark_place_##S(T *dx, const T *x, const T *m, T *left, int64_t n,        \
                                         int64_t step)                                             \
    {                                                                                              \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n && step == 1; i++)                          \
        {                                                                                          \
            dx[i] += x[i] == m[i] ? left[i] : 0;                                                   \
            left[i] = x[i] == m[i] ? 0 : left[i];                                                  \
        }                                                                                          \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n && step == 2; i++)                          \
        {                                                                                          \
            dx[2 * i] += x[2 * i] == m[i] ? left[i] : 0;                                           \
            left[i] = x[2 * i] == m[i] ? 0 : left[i];                                              \
        }                                                                                          \
        for (int64_t i = 0; i < n && step > 2; i++) {                                              \
            dx[i * step] += x[i * step] == m[i] ? left[i] : 0;                                     \
            left[i] = x[i * step] == m[i] ? 0 : left[i];                                           \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void spread_place_##S(T *dx, const T *g, int64_t n, int64_t step)             \
    {                                                                                              \
        for (int64_t i = 0; i < n && step == 1; i++)                                               \
            dx[i] += g[i];                                                                         \
        for (int64_t i = 0; i < n && step > 1; i++)                                                \
            dx[i * step] += g[i];                                                                  \
    }                                                                                              \
    static void forward_row_##S(const struct pool *pool, T *out, const T *x,                       \
                                struct pool_range rows)                                            \
    {                                                                                              \
        const struct window_axis *w = &pool->axis[WINDOW_W];                                       \
        for (int64_t i = 0; i < w->out; i++)                                                       \
            out[i] = pool->max ? LOWEST : 0;                                                       \
        for (int64_t y = rows.first; y < rows.last; y++) {                                         \
            for (int64_t j = 0; j < w->kernel; j++) {                                              \
                struct pool_range o = pool->columns[j];                                            \
                (pool->max ? max_place_##S : sum_place_##S)(                                       \
                    out + o.first, x + y * w->in + o.first * w->stride + j - w->before,            \
                    o.last - o.first, w->stride);                                                  \
            }                                                                                      \
        }                                                                                          \
        for (int64_t i = 0; i < w->out && !pool->max; i++)                                         \
            out[i] /= (T)size_of(pool, rows, range_of(pool, WINDOW_W, i));                         \
    }                                                                                              \
    static void backward_row_##S(const struct pool *pool, T *dx, const T *x, const T *out,         \
                                 const T *dout, struct pool_range rows)                            \
    {                                                                                              \
        const struct window_axis *w = &pool->axis[WINDOW_W];                                       \
        for (int64_t at = 0; at < w->out; at += RUN) {                                             \
            T g[RUN];                                                                              \
            int64_t end = at + RUN < w->out ? at + RUN : w->out;                                   \
            for (int64_t i = at; i < end; i++) {                                                   \
                g[i - at] = dout[i];                                                               \
                if (!pool->max)                                                                    \
                    g[i - at] *= (T)1 / (T)size_of(pool, rows, range_of(pool, WINDOW_W, i));       \
            }                                                                                      \
            for (int64_t p = 0; p < (rows.last - rows.first) * w->kernel; p++) {                   \
                int64_t j = p % w->kernel, y = rows.first + p / w->kernel;                         \
                struct pool_range o = pool->columns[j];                                            \
                o.first = o.first < at ? at : o.first;                                             \
                o.last = o.last > end ? end : o.last;                                              \
                int64_t from = y * w->in + o.first * w->stride + j - w->before;                    \
                if (pool->max)                                                                     \
                    mark_place_##S(dx + from, x + from, out + o.first, g + (o.first - at),         \
                                   o.last - o.first, w->stride);                                   \
                else                                                                               \
                    spread_place_##S(dx + from, g + (o.first - at), o.last - o.first, w->stride);  \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    static void forward_plane_##S(const struct pool *pool, T *out, const T *x)                     \
    {                                                                                              \
        int64_t w = pool->axis[WINDOW_W].in, out_w = pool->axis[WINDOW_W].out;                     \
        bool halving = is_halving(pool);                                                           \
        for (int64_t y = 0; y < pool->axis[WINDOW_H].out; y++, out += out_w) {                     \
            struct pool_range rows = range_of(pool, WINDOW_H, y);                                  \
            if (halving && pool->max)                                                              \
                halve_max_##S(out, x + rows.first * w, out_w, w);                                  \
            else if (halving)                                                                      \
                halve_avg_##S(out, x + rows.first * w, out_w, w);                                  \
            else if (pool->by_places)                                                              \
                forward_row_##S(pool, out, x, rows);                                               \
            for (int64_t i = 0; i < out_w && !halving && !pool->by_places; i++) {                  \
                struct pool_range cols = column_of(pool, i);                                       \
                out[i] = pool->max ? max_of_##S(x, w, rows, cols)                                  \
                                   : sum_of_##S(x, w, rows, cols) / (T)size_of(pool, rows, cols);  \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    /* Gives g to the first element equal to m. */                                                 \
    static void mark_##S(T *dx, const T *x, int64_t w, struct pool_range rows,                     \
                         struct pool_range cols, T m, T g)                                         \
    {                                                                                              \
        for (int64_t y = rows.first; y < rows.last; y++) {                                         \
            for (int64_t i = cols.first; i < cols.last; i++) {                                     \
                if (x[y * w + i] == m) {                                                           \
                    dx[y * w + i] += g;                                                            \
                    return;                                                                        \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    static void spread_##S(T *dx, int64_t w, struct pool_range rows, struct pool_range cols, T g)  \
    {                                                                                              \
        for (int64_t y = rows.first; y < rows.last; y++)                                           \
            for (int64_t i = cols.first; i < cols.last; i++)                                       \
                dx[y * w + i] += g;                                                                \
    }                                                                                              \
    /* dx begins as zeros, unless halving fills all of it. */                                      \
    static void backward_plane_##S(const struct pool *pool, T *dx, const T *x, const T *out,       \
                                   const T *dout)                                                  \
    {                                                                                              \
        int64_t w = pool->axis[WINDOW_W].in, out_w = pool->axis[WINDOW_W].out;                     \
        bool halving = is_halving(pool);                                                           \
        for (int64_t y = 0; y < pool->axis[WINDOW_H].out; y++, out += out_w, dout += out_w) {      \
            struct pool_range rows = range_of(pool, WINDOW_H, y);                                  \
            if (halving && pool->max)                                                              \
                unhalve_max_##S(dx + rows.first * w, x + rows.first * w, out, dout, out_w, w);     \
            else if (halving)                                                                      \
                unhalve_avg_##S(dx + rows.first * w, dout, out_w, w);                              \
            else if (pool->by_places)                                                              \
                backward_row_##S(pool, dx, x, out, dout, rows);                                    \
            for (int64_t i = 0; i < out_w && !halving && !pool->by_places; i++) {                  \
                struct pool_range cols = column_of(pool, i);                                       \
                if (pool->max)                                                                     \
                    mark_##S(dx, x, w, rows, cols, out[i], dout[i]);                               \
                else                                                                               \
                    spread_##S(dx, w, rows, cols,                                                  \
                               dout[i] * ((T)1 / (T)size_of(pool, rows, cols)));                   \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    void pool_index_forward_##S(const struct pool *pool, T *out, int32_t *mask, const T *x)        \
    {                                                                                              \
        int64_t w = pool->axis[WINDOW_W].in, in = pool->axis[WINDOW_H].in * w;                     \
        for (int64_t p = 0; p < pool->n * pool->c; p++, x += in) {                                 \
            for (int64_t o = 0; o < pool->axis[WINDOW_H].out * pool->axis[WINDOW_W].out; o++) {    \
                struct pool_range rows = range_of(pool, WINDOW_H, o / pool->axis[WINDOW_W].out);   \
                struct pool_range cols = range_of(pool, WINDOW_W, o % pool->axis[WINDOW_W].out);   \
                T m = LOWEST;                                                                      \
                int64_t at = -1;                                                                   \
                for (int64_t y = rows.first; y < rows.last; y++) {                                 \
                    for (int64_t i = cols.first; i < cols.last; i++) {                             \
                        bool larger = m < x[y * w + i];                                            \
                        m = larger ? x[y * w + i] : m;                                             \
                        at = larger ? y * w + i : at;                                              \
                    }                                                                              \
                }                                                                                  \
                *out++ = m;                                                                        \
                *mask++ = (int32_t)at;                                                             \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    /* False when a place is outside of its plane. */                                              \
    bool pool_index_backward_##S(const struct pool *pool, T *dx, const int32_t *mask,              \
                                 const T *dout)                                                    \
    {                                                                                              \
        int64_t in = pool->axis[WINDOW_H].in * pool->axis[WINDOW_W].in;                            \
        int64_t count = pool->axis[WINDOW_H].out * pool->axis[WINDOW_W].out;                       \
        memset(dx, 0, (size_t)(pool->n * pool->c * in) * sizeof *dx);                              \
        for (int64_t i = 0; i < pool->n * pool->c * count; i++) {                                  \
            if (mask[i] < -1 || mask[i] >= in)                                                     \
                return false;                                                                      \
            if (mask[i] >= 0)                                                                      \
                dx[i / count * in + mask[i]] += dout[i];                                           \
        }                                                                                          \
        return true;                                                                               \
    }                                                                                              \
    void pool_forward_##S(const struct pool *pool, T *out, const T *x)                             \
    {                                                                                              \
        int64_t in = pool->axis[WINDOW_H].in * pool->axis[WINDOW_W].in;                            \
        int64_t count = pool->axis[WINDOW_H].out * pool->axis[WINDOW_W].out;                       \
        for (int64_t i = 0; i < pool->n * pool->c; i++)                                            \
            forward_plane_##S(pool, out + i * count, x + i * in);                                  \
    }                                                                                              \
    void pool_backward_##S(const struct pool *pool, T *dx, const T *x, const T *out,               \
                           const T *dout)                                                          \
    {                                                                                              \
        int64_t in = pool->axis[WINDOW_H].in * pool->axis[WINDOW_W].in;                            \
        int64_t count = pool->axis[WINDOW_H].out * pool->axis[WINDOW_W].out;                       \
        bool filled = is_halving(pool) && in == 4 * count;                                         \
        if (!filled)                                                                               \
            memset(dx, 0, (size_t)(pool->n * pool->c * in) * sizeof *dx);                          \
        for (int64_t i = 0; i < pool->n * pool->c; i++)                                            \
            backward_plane_##S(pool, dx + i * in, x + i * in, out + i * count, dout + i * count);  \
    }

DEFINE_POOL(float, f32, -FLT_MAX)
DEFINE_POOL(double, f64, (double)-FLT_MAX)
