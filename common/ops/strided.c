// SPDX-License-Identifier: Apache-2.0
// Outer dimensions are counted by an odometer, the innermost one is a run. When the innermost
// dimension is not contiguous in the source but another one is (a transpose), the two are walked in
// tiles, so that both sides stay in cache.

#include "common/ops/strided.h"

#include <stddef.h>
#include <string.h>

#include "common/ops/op_clones.h"

#define TILE 16

// The dimensions that the odometer counts, and where the current run begins.
struct odometer {
    int rank;
    int dim[STRIDED_RANK_MAX];
    int64_t at[STRIDED_RANK_MAX];
    int64_t to, from;
};

typedef void run_fn(void *to, const void *from, int64_t n, int64_t to_step, int64_t from_step);

static void odometer_start(struct odometer *o, const struct strided *s, int skip, int skip_too);
static bool odometer_next(struct odometer *o, const struct strided *s);
static void walk(const struct strided *s, size_t bytes, char *to, const char *from, run_fn *run);
static int tile_partner(const struct strided *s);
static void walk_tiles(const struct strided *s, int partner, size_t bytes, char *to,
                       const char *from, run_fn *run);

void strided_of(const struct dims *dims, int64_t *out)
{
    int64_t stride = 1;
    for (int i = dims->rank - 1; i >= 0; i--) {
        out[i] = stride;
        stride *= dims->d[i];
    }
}

void strided_add_dim(struct strided *s, int64_t d, int64_t to, int64_t from)
{
    int last = s->rank - 1;
    s->empty |= d == 0;
    if (d == 1)
        return;
    if (last >= 0 && s->to[last] == to * d && s->from[last] == from * d) {
        s->d[last] *= d;
        s->to[last] = to;
        s->from[last] = from;
        return;
    }
    s->d[s->rank] = d;
    s->to[s->rank] = to;
    s->from[s->rank++] = from;
}

#define DEFINE_COPY(T)                                                                             \
    static void copy_##T(void *to, const void *from, int64_t n, int64_t to_step,                   \
                         int64_t from_step)                                                        \
    {                                                                                              \
        T *out = to;                                                                               \
        const T *in = from;                                                                        \
        if (to_step == 1 && from_step == 1) {                                                      \
            memcpy(out, in, (size_t)n * sizeof *out);                                              \
            return;                                                                                \
        }                                                                                          \
        for (int64_t i = 0; i < n; i++)                                                            \
            out[i * to_step] = in[i * from_step];                                                  \
    }

DEFINE_COPY(uint8_t)
DEFINE_COPY(uint16_t)
DEFINE_COPY(uint32_t)
DEFINE_COPY(uint64_t)

#define DEFINE_ADD(T, S)                                                                           \
    OP_CLONES static void add_run_##S(T *to, const T *from, int64_t n)                             \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            to[i] += from[i];                                                                      \
    }                                                                                              \
    static void add_##S(void *to, const void *from, int64_t n, int64_t to_step, int64_t from_step) \
    {                                                                                              \
        T *out = to;                                                                               \
        const T *in = from;                                                                        \
        if (to_step == 1 && from_step == 1) {                                                      \
            add_run_##S(out, in, n);                                                               \
            return;                                                                                \
        }                                                                                          \
        for (int64_t i = 0; i < n; i++)                                                            \
            out[i * to_step] += in[i * from_step];                                                 \
    }

DEFINE_ADD(float, f32)
DEFINE_ADD(double, f64)
DEFINE_ADD(uint32_t, u32)
DEFINE_ADD(uint64_t, u64)

void strided_copy(const struct strided *s, enum dtype dtype, void *to, const void *from)
{
    size_t bytes = dtype_bytes(dtype);
    run_fn *run = bytes == 1   ? copy_uint8_t
                  : bytes == 2 ? copy_uint16_t
                  : bytes == 4 ? copy_uint32_t
                               : copy_uint64_t;
    int partner = tile_partner(s);
    if (partner >= 0)
        walk_tiles(s, partner, bytes, to, from, run);
    else
        walk(s, bytes, to, from, run);
}

bool strided_accumulate(const struct strided *s, enum dtype dtype, void *to, const void *from)
{
    // Unsigned sums of the same bits wrap where signed ones would be undefined.
    run_fn *run = dtype == DTYPE_FP32    ? add_f32
                  : dtype == DTYPE_FP64  ? add_f64
                  : dtype == DTYPE_INT32 ? add_u32
                  : dtype == DTYPE_INT64 ? add_u64
                                         : NULL;
    if (run != NULL)
        walk(s, dtype_bytes(dtype), to, from, run);
    return run != NULL;
}

static void walk(const struct strided *s, size_t bytes, char *to, const char *from, run_fn *run)
{
    struct odometer o;
    int last = s->rank - 1;
    if (s->empty)
        return;
    odometer_start(&o, s, last, -1);
    do {
        run(to + o.to * (int64_t)bytes, from + o.from * (int64_t)bytes, last >= 0 ? s->d[last] : 1,
            last >= 0 ? s->to[last] : 1, last >= 0 ? s->from[last] : 1);
    } while (odometer_next(&o, s));
}

static void odometer_start(struct odometer *o, const struct strided *s, int skip, int skip_too)
{
    o->rank = 0;
    o->to = o->from = 0;
    for (int i = 0; i < s->rank; i++) {
        if (i == skip || i == skip_too)
            continue;
        o->at[o->rank] = 0;
        o->dim[o->rank++] = i;
    }
}

static bool odometer_next(struct odometer *o, const struct strided *s)
{
    for (int k = o->rank - 1; k >= 0; k--) {
        int i = o->dim[k];
        o->to += s->to[i];
        o->from += s->from[i];
        if (++o->at[k] < s->d[i])
            return true;
        o->to -= s->to[i] * s->d[i];
        o->from -= s->from[i] * s->d[i];
        o->at[k] = 0;
    }
    return false;
}

// The dimension that is contiguous in the source, when the innermost one is not; -1: no tiles.
static int tile_partner(const struct strided *s)
{
    int last = s->rank - 1;
    if (last < 1 || s->empty || s->from[last] == 1 || s->from[last] == 0 || s->d[last] < 4)
        return -1;
    for (int i = 0; i < last; i++)
        if (s->from[i] == 1 && s->d[i] >= 4)
            return i;
    return -1;
}

static void walk_tiles(const struct strided *s, int partner, size_t bytes, char *to,
                       const char *from, run_fn *run)
{
    struct odometer o;
    int last = s->rank - 1;
    int64_t rows = s->d[partner], columns = s->d[last], size = (int64_t)bytes;
    odometer_start(&o, s, last, partner);
    do {
        for (int64_t row = 0; row < rows; row += TILE) {
            int64_t rows_end = row + TILE < rows ? row + TILE : rows;
            for (int64_t column = 0; column < columns; column += TILE) {
                int64_t n = column + TILE < columns ? TILE : columns - column;
                for (int64_t r = row; r < rows_end; r++)
                    run(to + (o.to + r * s->to[partner] + column * s->to[last]) * size,
                        from + (o.from + r * s->from[partner] + column * s->from[last]) * size, n,
                        s->to[last], s->from[last]);
            }
        }
    } while (odometer_next(&o, s));
}
