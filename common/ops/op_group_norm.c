// SPDX-License-Identifier: Apache-2.0
// group_norm and instance_norm: every image of X [n, c, ..] on its own, in groups of channels.
// instance_norm is a group a channel.
//
//   forward   mean, var over a group (var by its M elements), inv = 1 / sqrt(var + epsilon)
//             h = (X - mean) inv,  Y = h Scale + Bias
//   backward  g = dY Scale, dBias = sum dY, dScale = sum dY h
//             dX = inv (g - mean(g) - h mean(g h))            means over the group
//
// group_norm: Mean, Variance [n, groups]; a group has ceil(c / groups) channels, the last ones what
// is left (a group without channels gets NaN); data_layout may be NHWC. Its gradient reads Y
// instead of X: h = (Y - Bias) / Scale (Y - Bias where Scale is 0). Fluid leaves the term mean(g)
// out of dX when there is no Scale; so does this one. instance_norm: SavedMean, SavedVariance = inv
// [n c].

#include <math.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/ops/op.h"

extern const struct op_def op_group_norm, op_group_norm_grad;
extern const struct op_def op_group_norm_instance, op_group_norm_instance_grad;

enum { GN_EPSILON, GN_GROUPS, GN_LAYOUT };
static const struct op_attr_def gn_attrs[] = {
    OP_ATTR_FLOAT("epsilon", 1e-5f),
    {.name = "groups", .type = ATTR_INT, .number = 1, .required = true},
    OP_ATTR_STRING("data_layout", "NCHW"),
    {.name = NULL},
};
static const struct op_attr_def in_attrs[] = {
    OP_ATTR_FLOAT("epsilon", 1e-5f),
    {.name = NULL},
};

enum { GN_X, GN_SCALE, GN_BIAS };
static const struct op_slot_def gn_inputs[] = {
    {"X", 0}, {"Scale", OP_SLOT_OPTIONAL}, {"Bias", OP_SLOT_OPTIONAL}, {NULL, 0}};
enum { GN_Y, GN_MEAN, GN_VARIANCE };
static const struct op_slot_def gn_outputs[] = {{"Y", 0}, {"Mean", 0}, {"Variance", 0}, {NULL, 0}};
static const struct op_slot_def in_outputs[] = {
    {"Y", 0}, {"SavedMean", 0}, {"SavedVariance", 0}, {NULL, 0}};
// The first input is Y for group_norm_grad and X for instance_norm_grad.
enum { GN_GRAD_DY = 3, GN_GRAD_VARIANCE, GN_GRAD_MEAN };
static const struct op_slot_def gn_grad_inputs[] = {{"Y", 0},
                                                    {"Scale", OP_SLOT_OPTIONAL},
                                                    {"Bias", OP_SLOT_OPTIONAL},
                                                    {"Y@GRAD", 0},
                                                    {"Variance", 0},
                                                    {NULL, 0}};
static const struct op_slot_def in_grad_inputs[] = {
    {"X", 0},      {"Scale", OP_SLOT_OPTIONAL}, {"Bias", OP_SLOT_OPTIONAL},
    {"Y@GRAD", 0}, {"SavedVariance", 0},        {"SavedMean", 0},
    {NULL, 0}};
enum { GN_GRAD_DX, GN_GRAD_DSCALE, GN_GRAD_DBIAS };
static const struct op_slot_def gn_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL},
                                                     {"Scale@GRAD", OP_SLOT_OPTIONAL},
                                                     {"Bias@GRAD", OP_SLOT_OPTIONAL},
                                                     {NULL, 0}};

// Element (n, c, i) is at n c_count inner + c c_step + i i_step.
struct gn_sizes {
    int64_t n, c, inner, groups, group, c_step, i_step;
    bool instance;
};

// The channels [first, last) of group g.
static int64_t last_channel(const struct gn_sizes *s, int64_t g)
{
    int64_t last = (g + 1) * s->group;
    return last < s->c ? last : s->c;
}

#define DEFINE_GROUP_NORM(T, S, SQRT)                                                              \
    /* Sum of (x - shift)^power of the group whose channels begin at first. */                     \
    static T gn_sum_##S(const T *x, const struct gn_sizes *s, int64_t first, int64_t last,         \
                        T shift, bool square)                                                      \
    {                                                                                              \
        T sum = 0;                                                                                 \
        for (int64_t c = first; c < last; c++) {                                                   \
            T part = 0;                                                                            \
            for (int64_t i = 0; i < s->inner; i++) {                                               \
                T d = x[c * s->c_step + i * s->i_step] - shift;                                    \
                part += square ? d * d : d;                                                        \
            }                                                                                      \
            sum += part;                                                                           \
        }                                                                                          \
        return sum;                                                                                \
    }                                                                                              \
    static void gn_forward_##S(const struct op_ctx *ctx, const struct gn_sizes *s)                 \
    {                                                                                              \
        const struct tensor *scale = op_in(ctx, GN_SCALE), *bias = op_in(ctx, GN_BIAS);            \
        T *means = op_out(ctx, GN_MEAN)->data, *vars = op_out(ctx, GN_VARIANCE)->data;             \
        for (int64_t at = 0; at < s->n * s->groups; at++) {                                        \
            int64_t first = at % s->groups * s->group, last = last_channel(s, at % s->groups);     \
            int64_t image = at / s->groups * s->c * s->inner;                                      \
            const T *x = (const T *)op_in(ctx, GN_X)->data + image;                                \
            T *y = (T *)op_out(ctx, GN_Y)->data + image;                                           \
            T count = (T)((last - first) * s->inner);                                              \
            T mean = gn_sum_##S(x, s, first, last, 0, false) / count;                              \
            T var = gn_sum_##S(x, s, first, last, mean, true) / count;                             \
            T inv = 1 / SQRT(var + (T)ctx->attr[GN_EPSILON]->f);                                   \
            means[at] = mean;                                                                      \
            vars[at] = s->instance ? inv : var;                                                    \
            for (int64_t c = first; c < last; c++) {                                               \
                T a = scale != NULL ? ((const T *)scale->data)[c] : 1;                             \
                T b = bias != NULL ? ((const T *)bias->data)[c] : 0;                               \
                for (int64_t i = 0; i < s->inner; i++) {                                           \
                    int64_t e = c * s->c_step + i * s->i_step;                                     \
                    y[e] = (x[e] - mean) * inv * a + b;                                            \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    /* h of channel c is (x - shift) factor. */                                                    \
    static void gn_backward_##S(const struct op_ctx *ctx, const struct gn_sizes *s)                \
    {                                                                                              \
        const struct tensor *scale = op_in(ctx, GN_SCALE), *bias = op_in(ctx, GN_BIAS);            \
        const struct tensor *dx = op_out(ctx, GN_GRAD_DX);                                         \
        const struct tensor *dscale = op_out(ctx, GN_GRAD_DSCALE);                                 \
        const struct tensor *dbias = op_out(ctx, GN_GRAD_DBIAS);                                   \
        const T *vars = op_in(ctx, GN_GRAD_VARIANCE)->data;                                        \
        const T *means = s->instance ? op_in(ctx, GN_GRAD_MEAN)->data : NULL;                      \
        if (dscale != NULL)                                                                        \
            memset(dscale->data, 0, tensor_bytes(dscale));                                         \
        if (dbias != NULL)                                                                         \
            memset(dbias->data, 0, tensor_bytes(dbias));                                           \
        for (int64_t at = 0; at < s->n * s->groups; at++) {                                        \
            int64_t first = at % s->groups * s->group, last = last_channel(s, at % s->groups);     \
            int64_t image = at / s->groups * s->c * s->inner;                                      \
            const T *x = (const T *)op_in(ctx, GN_X)->data + image;                                \
            const T *dy = (const T *)op_in(ctx, GN_GRAD_DY)->data + image;                         \
            T inv = s->instance ? vars[at] : 1 / SQRT(vars[at] + (T)ctx->attr[GN_EPSILON]->f);     \
            T sum = 0, dot = 0, count = (T)((last - first) * s->inner);                            \
            for (int pass = 0; pass < 2; pass++) {                                                 \
                for (int64_t c = first; c < last; c++) {                                           \
                    T a = scale != NULL ? ((const T *)scale->data)[c] : 1;                         \
                    T shift = bias != NULL ? ((const T *)bias->data)[c] : 0;                       \
                    T factor = a != 0 ? 1 / a : 1, channel = 0, product = 0;                       \
                    if (s->instance) {                                                             \
                        shift = means[at];                                                         \
                        factor = inv;                                                              \
                    }                                                                              \
                    for (int64_t i = 0; i < s->inner; i++) {                                       \
                        int64_t e = c * s->c_step + i * s->i_step;                                 \
                        T h = (x[e] - shift) * factor;                                             \
                        channel += dy[e];                                                          \
                        product += dy[e] * h;                                                      \
                        if (pass == 1 && dx != NULL)                                               \
                            ((T *)dx->data)[image + e] =                                           \
                                inv * (dy[e] * a - sum / count - h * (dot / count));               \
                    }                                                                              \
                    if (pass == 1)                                                                 \
                        continue;                                                                  \
                    sum += scale != NULL || s->instance ? channel * a : 0;                         \
                    dot += product * a;                                                            \
                    if (dbias != NULL)                                                             \
                        ((T *)dbias->data)[c] += channel;                                          \
                    if (dscale != NULL)                                                            \
                        ((T *)dscale->data)[c] += product;                                         \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }

DEFINE_GROUP_NORM(float, f32, sqrtf)
DEFINE_GROUP_NORM(double, f64, sqrt)

static int gn_sizes(const struct op_def *def, const struct attr *const *attr, const struct dims *x,
                    struct gn_sizes *out, struct err *err)
{
    char text[DIMS_TEXT_MAX];
    bool instance = def->attrs == in_attrs, last = false;
    if (x->rank < 2 || (instance && x->rank > 5))
        return err_set(err, SL_EINVAL, "X %s must have %s dimensions", dims_format(x, text),
                       instance ? "2 to 5" : "at least 2");
    if (!instance) {
        const char *layout = attr[GN_LAYOUT]->s;
        last = str_eq(layout, "NHWC");
        if (!last && !str_eq(layout, "NCHW"))
            return err_set(err, SL_EINVAL, "data_layout `%s` is not NCHW or NHWC", layout);
    }
    int channel = last ? x->rank - 1 : 1;
    *out = (struct gn_sizes){.n = x->d[0], .c = x->d[channel], .inner = 1, .instance = instance};
    for (int i = 1; i < x->rank; i++)
        if (i != channel)
            out->inner = out->inner < 0 || x->d[i] < 0 ? -1 : out->inner * x->d[i];
    out->groups = instance ? out->c : attr[GN_GROUPS]->i;
    if (!instance && (out->groups < 1 || (out->c >= 0 && out->groups > out->c)))
        return err_set(err, SL_EINVAL, "groups %lld must be from 1 to the %lld channels of X",
                       (long long)out->groups, (long long)out->c);
    if (out->c == 0 || out->inner == 0)
        return err_set(err, SL_EINVAL, "X %s has images without elements", dims_format(x, text));
    out->group = instance ? 1 : (out->c + out->groups - 1) / out->groups;
    out->c_step = last ? 1 : out->inner;
    out->i_step = last ? out->c : 1;
    return 0;
}

static int gn_check(const struct op_shape *shape, struct gn_sizes *out)
{
    char text[DIMS_TEXT_MAX];
    int rc = gn_sizes(shape->def, shape->attr, &op_shape_in(shape, GN_X, 0)->dims, out, shape->err);
    for (int s = GN_SCALE; rc == 0 && s <= GN_BIAS; s++) {
        const struct op_var_dims *v = op_shape_in(shape, s, 0);
        if (v != NULL && (v->dims.rank != 1 || !op_dims_fit(v->dims.d[0], out->c)))
            rc =
                err_set(shape->err, SL_EMISMATCH, "%s is %s, but X has %lld channels",
                        shape->def->inputs[s].name, dims_format(&v->dims, text), (long long)out->c);
    }
    return rc;
}

static struct dims gn_statistics(const struct gn_sizes *s)
{
    const int64_t both[] = {s->n, s->groups};
    int64_t flat = s->n < 0 || s->groups < 0 ? -1 : s->n * s->groups;
    return s->instance ? dims_make(1, &flat) : dims_make(2, both);
}

static int gn_infer(struct op_shape *shape)
{
    struct gn_sizes s;
    int rc = gn_check(shape, &s);
    if (rc < 0)
        return rc;
    const struct op_var_dims *x = op_shape_in(shape, GN_X, 0);
    struct dims statistics = gn_statistics(&s);
    op_shape_copy(shape, GN_Y, 0, x);
    op_shape_set(shape, GN_MEAN, 0, &statistics, x->dtype, NULL);
    op_shape_set(shape, GN_VARIANCE, 0, &statistics, x->dtype, NULL);
    return 0;
}

static bool dims_all_fit(const struct dims *a, const struct dims *b)
{
    bool fits = a->rank == b->rank;
    for (int i = 0; fits && i < a->rank; i++)
        fits = op_dims_fit(a->d[i], b->d[i]);
    return fits;
}

static int gn_grad_infer(struct op_shape *shape)
{
    struct gn_sizes s;
    int rc = gn_check(shape, &s);
    if (rc < 0)
        return rc;
    const struct op_var_dims *x = op_shape_in(shape, GN_X, 0);
    struct dims statistics = gn_statistics(&s), row = dims_make(1, &s.c);
    int last = s.instance ? GN_GRAD_MEAN : GN_GRAD_VARIANCE;
    bool fits = dims_all_fit(&x->dims, &op_shape_in(shape, GN_GRAD_DY, 0)->dims);
    for (int i = GN_GRAD_VARIANCE; fits && i <= last; i++)
        fits = dims_all_fit(&statistics, &op_shape_in(shape, i, 0)->dims);
    if (!fits)
        return err_set(shape->err, SL_EMISMATCH,
                       "Y@GRAD and the saved statistics do not have the shapes that X gives");
    op_shape_copy(shape, GN_GRAD_DX, 0, x);
    op_shape_set(shape, GN_GRAD_DSCALE, 0, &row, x->dtype, NULL);
    op_shape_set(shape, GN_GRAD_DBIAS, 0, &row, x->dtype, NULL);
    return 0;
}

static int gn_begin(const struct op_ctx *ctx, struct gn_sizes *out)
{
    const struct tensor *x = op_in(ctx, GN_X);
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    for (int s = 1; ctx->def->inputs[s].name != NULL; s++)
        if (op_in(ctx, s) != NULL && op_in(ctx, s)->dtype != x->dtype)
            return err_set(ctx->err, SL_EMISMATCH, "%s has not the element type of X",
                           ctx->def->inputs[s].name);
    return gn_sizes(ctx->def, ctx->attr, &x->dims, out, ctx->err);
}

static int gn_forward(struct op_ctx *ctx)
{
    struct gn_sizes s;
    int rc = gn_begin(ctx, &s);
    if (rc == 0)
        (op_in(ctx, GN_X)->dtype == DTYPE_FP32 ? gn_forward_f32 : gn_forward_f64)(ctx, &s);
    return rc;
}

static int gn_backward(struct op_ctx *ctx)
{
    struct gn_sizes s;
    int rc = gn_begin(ctx, &s);
    if (rc == 0)
        (op_in(ctx, GN_X)->dtype == DTYPE_FP32 ? gn_backward_f32 : gn_backward_f64)(ctx, &s);
    return rc;
}

const struct op_def op_group_norm = {
    .type = "group_norm",
    .inputs = gn_inputs,
    .outputs = gn_outputs,
    .attrs = gn_attrs,
    .grad = {.type = "group_norm_grad",
             .inputs = "Y Scale Bias Y@GRAD Variance",
             .outputs = "X@GRAD Scale@GRAD Bias@GRAD"},
    .infer_shape = gn_infer,
    .kernel = gn_forward,
};

const struct op_def op_group_norm_grad = {
    .type = "group_norm_grad",
    .inputs = gn_grad_inputs,
    .outputs = gn_grad_outputs,
    .attrs = gn_attrs,
    .infer_shape = gn_grad_infer,
    .kernel = gn_backward,
    .no_lod = true,
};

const struct op_def op_group_norm_instance = {
    .type = "instance_norm",
    .inputs = gn_inputs,
    .outputs = in_outputs,
    .attrs = in_attrs,
    .grad = {.type = "instance_norm_grad",
             .inputs = "X Scale Y@GRAD SavedMean SavedVariance",
             .outputs = "X@GRAD Scale@GRAD Bias@GRAD"},
    .infer_shape = gn_infer,
    .kernel = gn_forward,
};

const struct op_def op_group_norm_instance_grad = {
    .type = "instance_norm_grad",
    .inputs = in_grad_inputs,
    .outputs = gn_grad_outputs,
    .attrs = in_attrs,
    .infer_shape = gn_grad_infer,
    .kernel = gn_backward,
    .no_lod = true,
};
