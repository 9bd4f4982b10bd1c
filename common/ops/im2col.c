// SPDX-License-Identifier: Apache-2.0
// A row of the matrix is one place (c, i, j) of the kernel; along it lie the output pixels, so it
// is made of short runs along image rows. Runs are copied in blocks of constant size; what is left
// over is a block that overlaps the one before.

#include "common/ops/im2col.h"

#include <string.h>

#include "common/ops/op_clones.h"

int64_t im2col_side(const struct window_axis *axis)
{
    return (axis->out - 1) * axis->stride + axis->dilation * (axis->kernel - 1) + 1;
}

// The part [first, last) of the padded side that lies inside of the image; place p of the side is
// place p - before of the image.
struct inside {
    int64_t side, first, last;
};

static struct inside inside_of(const struct window_axis *axis)
{
    struct inside s = {.side = im2col_side(axis), .first = axis->before};
    s.last = axis->before + axis->in;
    s.first = s.first < 0 ? 0 : s.first > s.side ? s.side : s.first;
    s.last = s.last > s.side ? s.side : s.last < s.first ? s.first : s.last;
    return s;
}

#define BLOCK 8
#define HALF 4

#define DEFINE_RUNS(T, S)                                                                          \
    static inline                                                                                  \
        __attribute__((always_inline)) void copy_run_##S(T *to, const T *from, int64_t n)          \
    {                                                                                              \
        int64_t i = 0;                                                                             \
        for (; i + BLOCK <= n; i += BLOCK)                                                         \
            memcpy(to + i, from + i, BLOCK * sizeof *to);                                          \
        if (i == n)                                                                                \
            return;                                                                                \
        if (n > BLOCK) {                                                                           \
            memcpy(to + n - BLOCK, from + n - BLOCK, BLOCK * sizeof *to);                          \
        } else if (n >= HALF) {                                                                    \
            memcpy(to, from, HALF * sizeof *to);                                                   \
            memcpy(to + n - HALF, from + n - HALF, HALF * sizeof *to);                             \
        } else {                                                                                   \
            to[0] = from[0];                                                                       \
            to[n / 2] = from[n / 2];                                                               \
            to[n - 1] = from[n - 1];                                                               \
        }                                                                                          \
    }                                                                                              \
    static inline __attribute__((always_inline)) void add_run_##S(T *to, const T *from, int64_t n) \
    {                                                                                              \
        int64_t i = 0;                                                                             \
        for (; i + BLOCK <= n; i += BLOCK)                                                         \
            for (int64_t k = 0; k < BLOCK; k++)                                                    \
                to[i + k] += from[i + k];                                                          \
        for (; i < n; i++)                                                                         \
            to[i] += from[i];                                                                      \
    }                                                                                              \
    static inline void clear_##S(T *to, int64_t n)                                                 \
    {                                                                                              \
        if (n > 0)                                                                                 \
            memset(to, 0, (size_t)n * sizeof *to);                                                 \
    }

#define DEFINE_PAD(T, S)                                                                           \
    OP_CLONES static void pad_plane_##S(T *to, const T *from, const struct window_axis axis[2],    \
                                        struct inside h, struct inside w)                          \
    {                                                                                              \
        int64_t in_w = axis[WINDOW_W].in, n = w.last - w.first;                                    \
        from += (h.first - axis[WINDOW_H].before) * in_w + w.first - axis[WINDOW_W].before;        \
        clear_##S(to, h.first *w.side);                                                            \
        for (int64_t y = h.first; y < h.last; y++, from += in_w) {                                 \
            T *row = to + y * w.side;                                                              \
            for (int64_t x = 0; x < w.first; x++)                                                  \
                row[x] = 0;                                                                        \
            if (n > 0)                                                                             \
                copy_run_##S(row + w.first, from, n);                                              \
            for (int64_t x = w.last; x < w.side; x++)                                              \
                row[x] = 0;                                                                        \
        }                                                                                          \
        clear_##S(to + h.last * w.side, (h.side - h.last) * w.side);                               \
    }                                                                                              \
    void im2col_pad_##S(T *to, const T *from, int64_t images, int64_t channels,                    \
                        int64_t image_stride, const struct window_axis axis[2])                    \
    {                                                                                              \
        struct inside h = inside_of(&axis[WINDOW_H]), w = inside_of(&axis[WINDOW_W]);              \
        int64_t in_plane = axis[WINDOW_H].in * axis[WINDOW_W].in;                                  \
        for (int64_t i = 0; i < images * channels; i++)                                            \
            pad_plane_##S(to + i * h.side * w.side,                                                \
                          from + i / channels * image_stride + i % channels * in_plane, axis, h,   \
                          w);                                                                      \
    }                                                                                              \
    OP_CLONES static void crop_plane_##S(T *to, const T *from, const struct window_axis axis[2],   \
                                         struct inside h, struct inside w)                         \
    {                                                                                              \
        int64_t in_w = axis[WINDOW_W].in, n = w.last - w.first;                                    \
        int64_t x0 = w.first - axis[WINDOW_W].before;                                              \
        for (int64_t y = 0; y < axis[WINDOW_H].in; y++, to += in_w) {                              \
            int64_t at = y + axis[WINDOW_H].before;                                                \
            if (at < h.first || at >= h.last || n == 0) {                                          \
                clear_##S(to, in_w);                                                               \
                continue;                                                                          \
            }                                                                                      \
            clear_##S(to, x0);                                                                     \
            copy_run_##S(to + x0, from + at * w.side + w.first, n);                                \
            clear_##S(to + x0 + n, in_w - x0 - n);                                                 \
        }                                                                                          \
    }                                                                                              \
    void im2col_crop_##S(T *to, const T *from, int64_t images, int64_t channels,                   \
                         int64_t image_stride, const struct window_axis axis[2])                   \
    {                                                                                              \
        struct inside h = inside_of(&axis[WINDOW_H]), w = inside_of(&axis[WINDOW_W]);              \
        int64_t in_plane = axis[WINDOW_H].in * axis[WINDOW_W].in;                                  \
        for (int64_t i = 0; i < images * channels; i++)                                            \
            crop_plane_##S(to + i / channels * image_stride + i % channels * in_plane,             \
                           from + i * h.side * w.side, axis, h, w);                                \
    }

// row is the image row of the first pixel; rows of output are step_y apart.
#define DEFINE_IM2COL(T, S)                                                                        \
    OP_CLONES static void place_##S(T *to, const T *row, int64_t rows, int64_t step_y,             \
                                    int64_t width, int64_t step)                                   \
    {                                                                                              \
        if (step == 1) {                                                                           \
            for (int64_t y = 0; y < rows; y++, to += width, row += step_y)                         \
                copy_run_##S(to, row, width);                                                      \
            return;                                                                                \
        }                                                                                          \
        for (int64_t y = 0; y < rows; y++, to += width, row += step_y)                             \
            for (int64_t x = 0; x < width; x++)                                                    \
                to[x] = row[x * step];                                                             \
    }                                                                                              \
    OP_CLONES static void add_place_##S(T *row, const T *from, int64_t rows, int64_t step_y,       \
                                        int64_t width, int64_t step)                               \
    {                                                                                              \
        if (step == 1) {                                                                           \
            for (int64_t y = 0; y < rows; y++, from += width, row += step_y)                       \
                add_run_##S(row, from, width);                                                     \
            return;                                                                                \
        }                                                                                          \
        for (int64_t y = 0; y < rows; y++, from += width, row += step_y)                           \
            for (int64_t x = 0; x < width; x++)                                                    \
                row[x * step] += from[x];                                                          \
    }                                                                                              \
    /* Elements from the start of an image to the first one that place r sees. */                  \
    static int64_t place_at_##S(int64_t r, const struct im2col_chunk *chunk,                       \
                                const struct window_axis axis[2])                                  \
    {                                                                                              \
        const struct window_axis *h = &axis[WINDOW_H], *w = &axis[WINDOW_W];                       \
        int64_t j = r % w->kernel, i = r / w->kernel % h->kernel;                                  \
        int64_t y = chunk->first_row * h->stride + i * h->dilation;                                \
        return r / (h->kernel * w->kernel) * chunk->plane + y * chunk->width + j * w->dilation;    \
    }                                                                                              \
    void im2col_##S(T *col, const T *in, const struct im2col_chunk *chunk,                         \
                    const struct window_axis axis[2])                                              \
    {                                                                                              \
        const struct window_axis *h = &axis[WINDOW_H], *w = &axis[WINDOW_W];                       \
        for (int64_t r = 0; r < chunk->channels * h->kernel * w->kernel; r++) {                    \
            const T *from = in + place_at_##S(r, chunk, axis);                                     \
            for (int64_t i = 0; i < chunk->images; i++, col += chunk->rows * w->out)               \
                place_##S(col, from + i * chunk->image, chunk->rows, h->stride * chunk->width,     \
                          w->out, w->stride);                                                      \
        }                                                                                          \
    }                                                                                              \
    void im2col_add_##S(T *in, const T *col, const struct im2col_chunk *chunk,                     \
                        const struct window_axis axis[2])                                          \
    {                                                                                              \
        const struct window_axis *h = &axis[WINDOW_H], *w = &axis[WINDOW_W];                       \
        for (int64_t r = 0; r < chunk->channels * h->kernel * w->kernel; r++) {                    \
            T *to = in + place_at_##S(r, chunk, axis);                                             \
            for (int64_t i = 0; i < chunk->images; i++, col += chunk->rows * w->out)               \
                add_place_##S(to + i * chunk->image, col, chunk->rows, h->stride * chunk->width,   \
                              w->out, w->stride);                                                  \
        }                                                                                          \
    }

DEFINE_RUNS(float, f32)
DEFINE_RUNS(double, f64)
DEFINE_PAD(float, f32)
DEFINE_PAD(double, f64)
DEFINE_IM2COL(float, f32)
DEFINE_IM2COL(double, f64)
