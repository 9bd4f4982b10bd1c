// SPDX-License-Identifier: Apache-2.0
// For one output plane, one input plane and one place (i, j) of the kernel:
//
//   forward          out[y, x] += f[i, j] in[y(i), x(j)]
//   backward_in      din[y(i), x(j)] += f[i, j] dout[y, x]
//   backward_filter  df[i, j] += sum over y, x of dout[y, x] in[y(i), x(j)]   (in OP_LANES sums)
//
// over the y and x that see the image.

#include "common/ops/conv_depthwise.h"

#include <string.h>

#include "common/ops/op_clones.h"

// The pixels that one place of the kernel joins; strides are of the image.
struct join {
    int64_t first_y, last_y, first_x, last_x;
    int64_t at, row_step, step, in_w,
        out_w;   // image element of output (y, x): at + y row_step + ..
};

static struct join join_of(const struct window_axis axis[2], int64_t i, int64_t j)
{
    const struct window_axis *h = &axis[WINDOW_H], *w = &axis[WINDOW_W];
    struct join p = {.in_w = w->in, .out_w = w->out, .step = w->stride};
    window_inside(h, i, &p.first_y, &p.last_y);
    window_inside(w, j, &p.first_x, &p.last_x);
    p.row_step = h->stride * w->in;
    p.at = (i * h->dilation - h->before) * w->in + j * w->dilation - w->before;
    return p;
}

#define DEFINE_DEPTHWISE(T, S)                                                                     \
    OP_CLONES static void forward_place_##S(T *out, const T *in, T f, const struct join *p)        \
    {                                                                                              \
        for (int64_t y = p->first_y; y < p->last_y; y++) {                                         \
            T *o = out + y * p->out_w;                                                             \
            const T *from = in + p->at + y * p->row_step;                                          \
            if (p->step == 1)                                                                      \
                for (int64_t x = p->first_x; x < p->last_x; x++)                                   \
                    o[x] += f * from[x];                                                           \
            else                                                                                   \
                for (int64_t x = p->first_x; x < p->last_x; x++)                                   \
                    o[x] += f * from[x * p->step];                                                 \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void backward_place_##S(T *din, const T *dout, T f, const struct join *p)     \
    {                                                                                              \
        for (int64_t y = p->first_y; y < p->last_y; y++) {                                         \
            T *to = din + p->at + y * p->row_step;                                                 \
            const T *d = dout + y * p->out_w;                                                      \
            if (p->step == 1)                                                                      \
                for (int64_t x = p->first_x; x < p->last_x; x++)                                   \
                    to[x] += f * d[x];                                                             \
            else                                                                                   \
                for (int64_t x = p->first_x; x < p->last_x; x++)                                   \
                    to[x * p->step] += f * d[x];                                                   \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static T filter_place_##S(const T *dout, const T *in, const struct join *p)          \
    {                                                                                              \
        T lanes[OP_LANES] = {0}, total = 0;                                                        \
        for (int64_t y = p->first_y; y < p->last_y; y++) {                                         \
            const T *d = dout + y * p->out_w;                                                      \
            const T *from = in + p->at + y * p->row_step;                                          \
            int64_t x = p->first_x;                                                                \
            for (; x + OP_LANES <= p->last_x; x += OP_LANES)                                       \
                for (int64_t l = 0; l < OP_LANES; l++)                                             \
                    lanes[l] += d[x + l] * from[(x + l) * p->step];                                \
            for (int64_t l = 0; x + l < p->last_x; l++)                                            \
                lanes[l] += d[x + l] * from[(x + l) * p->step];                                    \
        }                                                                                          \
        for (int64_t l = 0; l < OP_LANES; l++)                                                     \
            total += lanes[l];                                                                     \
        return total;                                                                              \
    }                                                                                              \
    /* Walks over planes and places; what is the result tells the mode. */                         \
    static void walk_##S(const struct conv_gemm *conv, T *out, T *in, T *filter, int mode)         \
    {                                                                                              \
        const struct window_axis *h = &conv->axis[WINDOW_H], *w = &conv->axis[WINDOW_W];           \
        int64_t each = conv->out_c / conv->groups;                                                 \
        for (int64_t n = 0; n < conv->n; n++) {                                                    \
            for (int64_t o = 0; o < conv->out_c; o++) {                                            \
                T *out_plane = out + (n * conv->out_c + o) * h->out * w->out;                      \
                T *in_plane = in + (n * conv->in_c + o / each) * h->in * w->in;                    \
                T *f = filter + o * h->kernel * w->kernel;                                         \
                for (int64_t i = 0; i < h->kernel; i++) {                                          \
                    for (int64_t j = 0; j < w->kernel; j++, f++) {                                 \
                        struct join p = join_of(conv->axis, i, j);                                 \
                        if (mode == DEPTHWISE_FORWARD)                                             \
                            forward_place_##S(out_plane, in_plane, *f, &p);                        \
                        else if (mode == DEPTHWISE_IN)                                             \
                            backward_place_##S(in_plane, out_plane, *f, &p);                       \
                        else                                                                       \
                            *f += filter_place_##S(out_plane, in_plane, &p);                       \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }

enum { DEPTHWISE_FORWARD, DEPTHWISE_IN, DEPTHWISE_FILTER };

DEFINE_DEPTHWISE(float, f32)
DEFINE_DEPTHWISE(double, f64)

// result is the one of the three that is overwritten.
static void walk(const struct conv_gemm *conv, const void *out, const void *in, const void *filter,
                 int mode, void *result, int64_t count)
{
    void *o = (void *)(uintptr_t)out, *i = (void *)(uintptr_t)in, *f = (void *)(uintptr_t)filter;
    memset(result, 0, (size_t)count * (conv->f32 ? sizeof(float) : sizeof(double)));
    if (conv->f32)
        walk_f32(conv, o, i, f, mode);
    else
        walk_f64(conv, o, i, f, mode);
}

void conv_depthwise_forward(const struct conv_gemm *conv, void *out, const void *in,
                            const void *filter)
{
    int64_t plane = conv->axis[WINDOW_H].out * conv->axis[WINDOW_W].out;
    walk(conv, out, in, filter, DEPTHWISE_FORWARD, out, conv->n * conv->out_c * plane);
}

void conv_depthwise_backward_in(const struct conv_gemm *conv, void *din, const void *dout,
                                const void *filter)
{
    int64_t plane = conv->axis[WINDOW_H].in * conv->axis[WINDOW_W].in;
    walk(conv, dout, din, filter, DEPTHWISE_IN, din, conv->n * conv->in_c * plane);
}

void conv_depthwise_backward_filter(const struct conv_gemm *conv, void *dfilter, const void *dout,
                                    const void *in)
{
    int64_t places = conv->axis[WINDOW_H].kernel * conv->axis[WINDOW_W].kernel;
    walk(conv, dout, in, dfilter, DEPTHWISE_FILTER, dfilter, conv->out_c * places);
}
