// SPDX-License-Identifier: Apache-2.0
// lrn: local response normalisation across channels. X [n, c, h, w], or channels last.
//
//   forward   MidOut = k + alpha sum of X^2 over the channels [c - (n-1)/2, + n) that exist
//             Out = X MidOut^-beta
//   backward  dX = MidOut^-beta dOut - 2 alpha beta X sum of dOut Out / MidOut over the same window
//             (Fluid takes the window as it is, also for an even n, for which its mirror image
//             would be right)

#include <math.h>

#include "common/base/err.h"
#include "common/ops/layout.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/window.h"

extern const struct op_def op_lrn, op_lrn_grad;

enum { LRN_N, LRN_K, LRN_ALPHA, LRN_BETA, LRN_FORMAT };
static const struct op_attr_def lrn_attrs[] = {
    OP_ATTR_INT("n", 5),
    OP_ATTR_FLOAT("k", 2),
    OP_ATTR_FLOAT("alpha", 1e-4f),
    OP_ATTR_FLOAT("beta", 0.75),
    OP_ATTR_STRING("data_format", "AnyLayout"),
    OP_ATTR_BOOL("use_mkldnn", 0),
    OP_ATTR_BOOL("is_test", 0),
    {.name = NULL},
};

static const struct op_slot_def lrn_inputs[] = {{"X", 0}, {NULL, 0}};
enum { LRN_OUT, LRN_MID };
static const struct op_slot_def lrn_outputs[] = {{"Out", 0}, {"MidOut", 0}, {NULL, 0}};
enum { LRN_GRAD_X, LRN_GRAD_OUT, LRN_GRAD_MID, LRN_GRAD_DOUT };
static const struct op_slot_def lrn_grad_inputs[] = {
    {"X", 0}, {"Out", 0}, {"MidOut", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def lrn_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};
enum { TEMP_X, TEMP_OUT, TEMP_MID, TEMP_DOUT, TEMP_DX, TEMPS };

struct lrn {
    int64_t n, c, plane, window;
    float k, alpha, beta;
    bool channels_last;
};

// The channels [first, last) of the window of channel c that exist.
static int64_t lrn_first(const struct lrn *s, int64_t c)
{
    int64_t first = c - (s->window - 1) / 2;
    return first > 0 ? first : 0;
}

static int64_t lrn_last(const struct lrn *s, int64_t c)
{
    int64_t last = c - (s->window - 1) / 2 + s->window;
    return last < s->c ? last : s->c;
}

#define DEFINE_LRN(T, S, POW)                                                                      \
    OP_CLONES static void add_squares_##S(T *mid, const T *x, T alpha, int64_t n)                  \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            mid[i] += alpha * (x[i] * x[i]);                                                       \
    }                                                                                              \
    OP_CLONES static void add_ratios_##S(T *dx, const T *dout, const T *out, const T *mid,         \
                                         const T *x, T factor, int64_t n)                          \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            dx[i] += factor * dout[i] * out[i] * x[i] / mid[i];                                    \
    }                                                                                              \
    static void lrn_forward_##S(const struct lrn *s, T *out, T *mid, const T *x)                   \
    {                                                                                              \
        for (int64_t at = 0; at < s->n * s->c; at++) {                                             \
            int64_t c = at % s->c, here = at * s->plane;                                           \
            int64_t first = lrn_first(s, c), last = lrn_last(s, c);                                \
            for (int64_t i = here; i < here + s->plane; i++)                                       \
                mid[i] = (T)s->k;                                                                  \
            for (int64_t other = first; other < last; other++)                                     \
                add_squares_##S(mid + here, x + (at - c + other) * s->plane, (T)s->alpha,          \
                                s->plane);                                                         \
            for (int64_t i = here; i < here + s->plane; i++)                                       \
                out[i] = x[i] * POW(mid[i], -(T)s->beta);                                          \
        }                                                                                          \
    }                                                                                              \
    static void lrn_backward_##S(const struct lrn *s, T *dx, const T *x, const T *out,             \
                                 const T *mid, const T *dout)                                      \
    {                                                                                              \
        T factor = -2 * (T)s->alpha * (T)s->beta;                                                  \
        for (int64_t at = 0; at < s->n * s->c; at++) {                                             \
            int64_t c = at % s->c, here = at * s->plane;                                           \
            int64_t first = lrn_first(s, c), last = lrn_last(s, c);                                \
            for (int64_t i = here; i < here + s->plane; i++)                                       \
                dx[i] = POW(mid[i], -(T)s->beta) * dout[i];                                        \
            for (int64_t other = first; other < last; other++) {                                   \
                int64_t there = (at - c + other) * s->plane;                                       \
                add_ratios_##S(dx + here, dout + there, out + there, mid + there, x + here,        \
                               factor, s->plane);                                                  \
            }                                                                                      \
        }                                                                                          \
    }

DEFINE_LRN(float, f32, powf)
DEFINE_LRN(double, f64, pow)

static int read_lrn(const struct attr *const *attr, const struct dims *x, struct lrn *out,
                    struct err *err)
{
    char text[DIMS_TEXT_MAX];
    int rc = window_layout(attr[LRN_FORMAT], &out->channels_last, err);
    if (rc < 0)
        return rc;
    if (x->rank != 4)
        return err_set(err, SL_EINVAL, "X %s must have 4 dimensions", dims_format(x, text));
    struct window_places place = window_places(out->channels_last);
    out->n = x->d[0];
    out->c = x->d[place.c];
    out->plane = x->d[place.h] * x->d[place.w];
    out->window = attr[LRN_N]->i;
    out->k = attr[LRN_K]->f;
    out->alpha = attr[LRN_ALPHA]->f;
    out->beta = attr[LRN_BETA]->f;
    if (out->window < 1 || out->window > INT32_MAX)
        return err_set(err, SL_EINVAL, "n %lld must be at least 1", (long long)out->window);
    return 0;
}

static int lrn_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    struct lrn lrn;
    int rc = read_lrn(shape->attr, &x->dims, &lrn, shape->err);
    for (int s = 1; rc == 0 && shape->def->inputs[s].name != NULL; s++) {
        const struct op_var_dims *in = op_shape_in(shape, s, 0);
        bool fits = in->dims.rank == 4;
        for (int i = 0; fits && i < 4; i++)
            fits = op_dims_fit(in->dims.d[i], x->dims.d[i]);
        if (!fits)
            rc = err_set(shape->err, SL_EMISMATCH, "%s has not the shape of X",
                         shape->def->inputs[s].name);
    }
    for (int s = 0; rc == 0 && shape->def->outputs[s].name != NULL; s++)
        op_shape_copy(shape, s, 0, x);
    return rc;
}

static int lrn_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *out, *mid;
    struct lrn s;
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    int rc = read_lrn(ctx->attr, &x->dims, &s, ctx->err);
    if (rc < 0 || (rc = layout_input(ctx, TEMP_X, x, s.channels_last, &x)) < 0 ||
        (rc = layout_output(ctx, TEMP_OUT, op_out(ctx, LRN_OUT), s.channels_last, &out)) < 0 ||
        (rc = layout_output(ctx, TEMP_MID, op_out(ctx, LRN_MID), s.channels_last, &mid)) < 0)
        return rc;
    if (x->dtype == DTYPE_FP32)
        lrn_forward_f32(&s, tensor_f32(out), tensor_f32(mid), tensor_f32(x));
    else
        lrn_forward_f64(&s, tensor_f64(out), tensor_f64(mid), tensor_f64(x));
    rc = layout_finish(ctx, op_out(ctx, LRN_OUT), out);
    return rc < 0 ? rc : layout_finish(ctx, op_out(ctx, LRN_MID), mid);
}

static int lrn_backward(struct op_ctx *ctx)
{
    const struct tensor *in[4];
    struct tensor *dx;
    struct lrn s;
    if (op_out(ctx, 0) == NULL)
        return 0;
    enum dtype dtype = op_in(ctx, 0)->dtype;
    if (dtype != DTYPE_FP32 && dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)dtype);
    int rc = read_lrn(ctx->attr, &op_in(ctx, 0)->dims, &s, ctx->err);
    for (int i = 0; rc == 0 && i < 4; i++) {
        if (op_in(ctx, i)->dtype != dtype)
            return err_set(ctx->err, SL_EMISMATCH, "inputs have different element types");
        rc = layout_input(ctx, TEMP_X + i, op_in(ctx, i), s.channels_last, &in[i]);
    }
    if (rc < 0 || (rc = layout_output(ctx, TEMP_DX, op_out(ctx, 0), s.channels_last, &dx)) < 0)
        return rc;
    if (dtype == DTYPE_FP32)
        lrn_backward_f32(&s, tensor_f32(dx), tensor_f32(in[LRN_GRAD_X]),
                         tensor_f32(in[LRN_GRAD_OUT]), tensor_f32(in[LRN_GRAD_MID]),
                         tensor_f32(in[LRN_GRAD_DOUT]));
    else
        lrn_backward_f64(&s, tensor_f64(dx), tensor_f64(in[LRN_GRAD_X]),
                         tensor_f64(in[LRN_GRAD_OUT]), tensor_f64(in[LRN_GRAD_MID]),
                         tensor_f64(in[LRN_GRAD_DOUT]));
    return layout_finish(ctx, op_out(ctx, 0), dx);
}

const struct op_def op_lrn = {
    .type = "lrn",
    .inputs = lrn_inputs,
    .outputs = lrn_outputs,
    .attrs = lrn_attrs,
    .grad = {.type = "lrn_grad", .inputs = "X Out MidOut Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = lrn_infer,
    .kernel = lrn_forward,
    .temps = TEMPS,
};

const struct op_def op_lrn_grad = {
    .type = "lrn_grad",
    .inputs = lrn_grad_inputs,
    .outputs = lrn_grad_outputs,
    .attrs = lrn_attrs,
    .infer_shape = lrn_infer,
    .kernel = lrn_backward,
    .temps = TEMPS,
    .no_lod = true,
};
