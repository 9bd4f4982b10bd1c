// SPDX-License-Identifier: Apache-2.0
// sgd: ParamOut = Param - LearningRate Grad.
// With a gradient of selected rows: for each row, in their order, its part of ParamOut goes down by
// LearningRate times the value; a row that repeats goes down each time (as in Fluid 1.8, where
// nothing is merged first).
// ParamOut is Param's memory or does not overlap it; both forms give the same bits.

#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/optimizer_shape.h"
#include "common/ops/rows_merge.h"
#include "common/ops/rows_update.h"

extern const struct op_def op_sgd;

static const struct op_attr_def no_attrs[] = {{.name = NULL}};
enum { SGD_PARAM, SGD_LR, SGD_GRAD };
static const struct op_slot_def sgd_inputs[] = {
    {"Param", 0}, {"LearningRate", 0}, {"Grad", OP_SLOT_ROWS}, {NULL, 0}};
static const struct op_slot_def sgd_outputs[] = {{"ParamOut", 0}, {NULL, 0}};

#define AHEAD 8   // rows of Param are prefetched so many rows ahead

#define DEFINE_SGD(T, S)                                                                           \
    OP_CLONES static void sgd_dense_##S(T *param_out, const T *param, const T *grad, T lr,         \
                                        uint64_t n)                                                \
    {                                                                                              \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++) param_out[i] =                       \
            param[i] - lr * grad[i];                                                               \
    }                                                                                              \
    OP_CLONES static void sgd_rows_##S(T *param_out, const T *param, const T *grad, T lr,          \
                                       const struct rows_merge *m, uint64_t width)                 \
    {                                                                                              \
        for (size_t k = 0; k < m->count; k++) {                                                    \
            uint64_t at = (uint64_t)m->rows[k] * width;                                            \
            uint32_t first = m->sorted ? (uint32_t)k : m->starts[k];                               \
            uint32_t end = m->sorted ? first + 1 : m->starts[k + 1];                               \
            const T *from = param + at;                                                            \
            if (k + AHEAD < m->count)                                                              \
                __builtin_prefetch(param + (uint64_t)m->rows[k + AHEAD] * width, 1);               \
            for (uint32_t i = first; i < end; i++, from = param_out + at) {                        \
                const T *g = grad + (m->sorted ? i : m->order[i]) * width;                         \
                _Pragma("GCC ivdep") for (uint64_t e = 0; e < width; e++) param_out[at + e] =      \
                    from[e] - lr * g[e];                                                           \
            }                                                                                      \
        }                                                                                          \
    }

DEFINE_SGD(float, f32)
DEFINE_SGD(double, f64)

static int sgd_infer(struct op_shape *shape)
{
    return optimizer_shape_infer(shape, (const int[]){SGD_GRAD, -1}, (const int[]){SGD_LR, -1});
}

static int sgd_rows(struct op_ctx *ctx, const struct selected_rows *grad)
{
    const struct tensor *param = op_in(ctx, SGD_PARAM), *lr = op_in(ctx, SGD_LR);
    struct tensor *param_out = op_out(ctx, 0);
    const struct rows_merge_in in = {grad->rows, grad->rows_count, grad->value.data};
    struct rows_merge m;
    int rc = rows_merge_check(grad, param, ctx->err);
    if (rc == 0)
        rc = rows_merge_find(&ctx->temps[0], &in, 1, grad->height, &m, ctx->err);
    if (rc < 0)
        return rc;
    uint64_t width = (uint64_t)dims_product(&param->dims, 1, param->dims.rank);
    if (param->dtype == DTYPE_FP32)
        sgd_rows_f32(tensor_f32(param_out), tensor_f32(param), in.values, *tensor_f32(lr), &m,
                     width);
    else
        sgd_rows_f64(tensor_f64(param_out), tensor_f64(param), in.values, *tensor_f64(lr), &m,
                     width);
    return 0;
}

static int sgd_forward(struct op_ctx *ctx)
{
    const struct tensor *param = op_in(ctx, SGD_PARAM), *lr = op_in(ctx, SGD_LR),
                        *grad = op_in(ctx, SGD_GRAD);
    struct tensor *param_out = op_out(ctx, 0);
    int rc = optimizer_shape_check_dtype(ctx);
    if (rc < 0)
        return rc;
    if (grad == NULL)
        return sgd_rows(ctx, rows_update_in(ctx, SGD_GRAD));
    uint64_t n = tensor_count(param);
    if (param->dtype == DTYPE_FP32)
        sgd_dense_f32(tensor_f32(param_out), tensor_f32(param), tensor_f32(grad), *tensor_f32(lr),
                      n);
    else
        sgd_dense_f64(tensor_f64(param_out), tensor_f64(param), tensor_f64(grad), *tensor_f64(lr),
                      n);
    return 0;
}

const struct op_def op_sgd = {
    .type = "sgd",
    .inputs = sgd_inputs,
    .outputs = sgd_outputs,
    .attrs = no_attrs,
    .infer_shape = sgd_infer,
    .kernel = sgd_forward,
    .temps = 1,
    .rows_only = rows_update_always,
    .row_splittable = true,
};
