// SPDX-License-Identifier: Apache-2.0
// affine_channel: a scale and a bias for each channel. The channel is X's second side (data_layout
// NCHW) or its last one (any other layout), for any rank from 2.
//
//   Out = X Scale[c] + Bias[c]
//   dX = dOut Scale[c]     dScale[c] = sum of dOut X     dBias[c] = sum of dOut
//
// The sums add one partial sum for each run of a channel (OP_LANES lanes) or each row, in memory
// order.

#include <stdint.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"

extern const struct op_def op_affine_channel, op_affine_channel_grad;

enum { AFFINE_LAYOUT };
static const struct op_attr_def affine_attrs[] = {OP_ATTR_STRING("data_layout", "AnyLayout"),
                                                  {.name = NULL}};
enum { AFFINE_X, AFFINE_SCALE, AFFINE_BIAS };
enum { AFFINE_DOUT = 2 };
enum { AFFINE_DX, AFFINE_DSCALE, AFFINE_DBIAS };
static const struct op_slot_def affine_inputs[] = {{"X", 0}, {"Scale", 0}, {"Bias", 0}, {NULL, 0}};
static const struct op_slot_def affine_outputs[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def affine_grad_inputs[] = {
    {"X", 0}, {"Scale", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def affine_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL},
                                                         {"Scale@GRAD", OP_SLOT_OPTIONAL},
                                                         {"Bias@GRAD", OP_SLOT_OPTIONAL},
                                                         {NULL, 0}};

// X as outer x channels x inner; channels last: inner is 1.
struct layout {
    int64_t outer, channels, inner;
};

// Out may be X's memory, dX dOut's. bias NULL: none.
#define DEFINE_AFFINE(T, S)                                                                        \
    OP_CLONES static void affine_##S(T *out, const T *x, const T *scale, const T *bias,            \
                                     struct layout l)                                              \
    {                                                                                              \
        for (int64_t o = 0; o < l.outer && l.inner == 1; o++)                                      \
            for (int64_t c = 0; c < l.channels; c++) {                                             \
                int64_t at = o * l.channels + c;                                                   \
                out[at] = x[at] * scale[c] + (bias != NULL ? bias[c] : 0);                         \
            }                                                                                      \
        for (int64_t r = 0; r < l.outer * l.channels && l.inner != 1; r++) {                       \
            T a = scale[r % l.channels], b = bias != NULL ? bias[r % l.channels] : 0;              \
            int64_t end = (r + 1) * l.inner;                                                       \
            for (int64_t i = r * l.inner; i < end; i++)                                            \
                out[i] = x[i] * a + b;                                                             \
        }                                                                                          \
    }                                                                                              \
    /* x NULL: the sums of dout alone. */                                                          \
    OP_CLONES static void sums_##S(T *sums, const T *dout, const T *x, struct layout l)            \
    {                                                                                              \
        memset(sums, 0, (size_t)l.channels * sizeof *sums);                                        \
        for (int64_t o = 0; o < l.outer && l.inner == 1; o++)                                      \
            for (int64_t c = 0; c < l.channels; c++) {                                             \
                int64_t at = o * l.channels + c;                                                   \
                sums[c] += x != NULL ? dout[at] * x[at] : dout[at];                                \
            }                                                                                      \
        for (int64_t r = 0; r < l.outer * l.channels && l.inner != 1; r++) {                       \
            T lanes[OP_LANES] = {0}, sum = 0;                                                      \
            for (int64_t i = 0; i < l.inner; i++) {                                                \
                int64_t at = r * l.inner + i;                                                      \
                lanes[i % OP_LANES] += x != NULL ? dout[at] * x[at] : dout[at];                    \
            }                                                                                      \
            for (int64_t k = 0; k < OP_LANES; k++)                                                 \
                sum += lanes[k];                                                                   \
            sums[r % l.channels] += sum;                                                           \
        }                                                                                          \
    }

DEFINE_AFFINE(float, f32)
DEFINE_AFFINE(double, f64)

static int channel_side(const struct attr *layout, int rank)
{
    return str_eq(layout->s, "NCHW") ? 1 : rank - 1;
}

static struct layout layout_of(const struct op_ctx *ctx, const struct dims *x)
{
    int side = channel_side(ctx->attr[AFFINE_LAYOUT], x->rank);
    return (struct layout){dims_product(x, 0, side), x->d[side],
                           dims_product(x, side + 1, x->rank)};
}

static int affine_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, AFFINE_X, 0);
    bool backward = shape->def == &op_affine_channel_grad;
    char x_text[DIMS_TEXT_MAX], text[DIMS_TEXT_MAX];
    if (x->dims.rank < 2)
        return err_set(shape->err, SL_EINVAL, "X %s has no channels",
                       dims_format(&x->dims, x_text));
    int64_t channels = x->dims.d[channel_side(shape->attr[AFFINE_LAYOUT], x->dims.rank)];
    for (int s = AFFINE_SCALE; s <= (backward ? AFFINE_SCALE : AFFINE_BIAS); s++) {
        const struct dims *dims = &op_shape_in(shape, s, 0)->dims;
        if (dims->rank != 1 || !op_dims_fit(dims->d[0], channels))
            return err_set(
                shape->err, SL_EMISMATCH, "%s %s has not one element for each channel of X %s",
                shape->def->inputs[s].name, dims_format(dims, text), dims_format(&x->dims, x_text));
    }
    if (!backward) {
        op_shape_copy(shape, 0, 0, x);
        return 0;
    }
    op_shape_copy(shape, AFFINE_DX, 0, x);
    op_shape_copy(shape, AFFINE_DSCALE, 0, op_shape_in(shape, AFFINE_SCALE, 0));
    op_shape_copy(shape, AFFINE_DBIAS, 0, op_shape_in(shape, AFFINE_SCALE, 0));
    return 0;
}

static int affine_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, AFFINE_X), *scale = op_in(ctx, AFFINE_SCALE);
    const struct tensor *bias = op_in(ctx, AFFINE_BIAS);
    struct tensor *out = op_out(ctx, 0);
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    if (scale->dtype != x->dtype || bias->dtype != x->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "Scale and Bias have not X's element type");
    if (tensor_count(x) == 0)
        return 0;
    if (x->dtype == DTYPE_FP32)
        affine_f32(tensor_f32(out), tensor_f32(x), tensor_f32(scale), tensor_f32(bias),
                   layout_of(ctx, &x->dims));
    else
        affine_f64(tensor_f64(out), tensor_f64(x), tensor_f64(scale), tensor_f64(bias),
                   layout_of(ctx, &x->dims));
    return 0;
}

static int affine_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, AFFINE_X), *scale = op_in(ctx, AFFINE_SCALE);
    const struct tensor *dout = op_in(ctx, AFFINE_DOUT);
    struct tensor *dx = op_out(ctx, AFFINE_DX), *dscale = op_out(ctx, AFFINE_DSCALE);
    struct tensor *dbias = op_out(ctx, AFFINE_DBIAS);
    struct layout l = layout_of(ctx, &x->dims);
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    if (scale->dtype != x->dtype || dout->dtype != x->dtype || !dims_equal(&dout->dims, &x->dims))
        return err_set(ctx->err, SL_EMISMATCH, "Scale or Out@GRAD does not fit X");
    // dX last: it may be dOut's own memory.
    if (x->dtype == DTYPE_FP32) {
        if (dscale != NULL)
            sums_f32(tensor_f32(dscale), tensor_f32(dout), tensor_f32(x), l);
        if (dbias != NULL)
            sums_f32(tensor_f32(dbias), tensor_f32(dout), NULL, l);
        if (dx != NULL)
            affine_f32(tensor_f32(dx), tensor_f32(dout), tensor_f32(scale), NULL, l);
    } else {
        if (dscale != NULL)
            sums_f64(tensor_f64(dscale), tensor_f64(dout), tensor_f64(x), l);
        if (dbias != NULL)
            sums_f64(tensor_f64(dbias), tensor_f64(dout), NULL, l);
        if (dx != NULL)
            affine_f64(tensor_f64(dx), tensor_f64(dout), tensor_f64(scale), NULL, l);
    }
    return 0;
}

const struct op_def op_affine_channel = {
    .type = "affine_channel",
    .inputs = affine_inputs,
    .outputs = affine_outputs,
    .attrs = affine_attrs,
    .grad = {.type = "affine_channel_grad",
             .inputs = "X Scale Out@GRAD",
             .outputs = "X@GRAD Scale@GRAD Bias@GRAD"},
    .infer_shape = affine_infer,
    .kernel = affine_forward,
};

const struct op_def op_affine_channel_grad = {
    .type = "affine_channel_grad",
    .inputs = affine_grad_inputs,
    .outputs = affine_grad_outputs,
    .attrs = affine_attrs,
    .infer_shape = affine_infer,
    .kernel = affine_backward,
    .no_lod = true,
};
