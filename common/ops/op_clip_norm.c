// SPDX-License-Identifier: Apache-2.0
// clip_by_norm: Out = X where |X| <= max_norm, else X (max_norm / |X|), |.| the l2 norm. It has no
// gradient. Out may be X's memory. (Of an X that is all 0 Fluid 1.8 makes NaN; here it stays 0.)
// Selected rows are merged first (each row once, sorted); the norm is that of their values.

#include <math.h>

#include "common/base/err.h"
#include "common/ops/lanes.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/rows_value.h"

extern const struct op_def op_clip_norm;

enum { CLIP_NORM_MAX };
static const struct op_attr_def clip_norm_attrs[] = {
    {.name = "max_norm", .type = ATTR_FLOAT, .required = true},
    {.name = NULL},
};
static const struct op_slot_def clip_norm_inputs[] = {{"X", OP_SLOT_ROWS}, {NULL, 0}};
static const struct op_slot_def clip_norm_outputs[] = {{"Out", 0}, {NULL, 0}};

#define DEFINE_CLIP_NORM(T, S)                                                                     \
    OP_CLONES static void clip_norm_forward_##S(T *out, const T *x, T factor, uint64_t n)          \
    {                                                                                              \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++) out[i] = x[i] * factor;              \
    }

DEFINE_CLIP_NORM(float, f32)
DEFINE_CLIP_NORM(double, f64)

static int clip_norm_infer(struct op_shape *shape)
{
    float most = shape->attr[CLIP_NORM_MAX]->f;
    if (!(most > 0))
        return err_set(shape->err, SL_EINVAL, "max_norm %g is not greater than 0", (double)most);
    op_shape_default(shape);
    return 0;
}

static int clip_norm_forward(struct op_ctx *ctx)
{
    const struct tensor *x;
    struct tensor *out;
    float most = ctx->attr[CLIP_NORM_MAX]->f;
    int rc = rows_value_open_merged(ctx, &ctx->temps[0], &x, &out);
    if (rc < 0)
        return rc;
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    uint64_t n = tensor_count(x);
    if (x->dtype == DTYPE_FP32) {
        float norm = (float)sqrt(lanes_squares_f32(tensor_f32(x), n));
        clip_norm_forward_f32(tensor_f32(out), tensor_f32(x), norm <= most ? 1 : most / norm, n);
    } else {
        double norm = sqrt(lanes_squares_f64(tensor_f64(x), n));
        clip_norm_forward_f64(tensor_f64(out), tensor_f64(x),
                              norm <= (double)most ? 1 : (double)most / norm, n);
    }
    return 0;
}

const struct op_def op_clip_norm = {
    .type = "clip_by_norm",
    .inputs = clip_norm_inputs,
    .outputs = clip_norm_outputs,
    .attrs = clip_norm_attrs,
    .infer_shape = clip_norm_infer,
    .kernel = clip_norm_forward,
    .temps = 1,
};
