// SPDX-License-Identifier: Apache-2.0
// proximal_gd and proximal_adagrad: a step, then the proximal operator of l1 and l2 penalties.
//   proximal_gd        q = Param - LearningRate Grad
//   proximal_adagrad   MomentOut = Moment + Grad Grad;  q = Param - LearningRate Grad /
//                      sqrt(MomentOut)
//   both               ParamOut = sign(q) max(|q| - LearningRate l1, 0) / (1 + LearningRate l2)
// Each output is its input's memory or does not overlap it; both forms give the same bits.

#include <tgmath.h>

#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/optimizer_shape.h"

extern const struct op_def op_proximal_gd, op_proximal_adagrad;

enum { PROXIMAL_L1, PROXIMAL_L2 };
static const struct op_attr_def proximal_attrs[] = {
    OP_ATTR_FLOAT("l1", 0),
    OP_ATTR_FLOAT("l2", 0),
    {.name = NULL},
};
enum { PROXIMAL_PARAM, PROXIMAL_GRAD, PROXIMAL_LR, PROXIMAL_MOMENT };
enum { PROXIMAL_PARAM_OUT, PROXIMAL_MOMENT_OUT };
static const struct op_slot_def gd_inputs[] = {
    {"Param", 0}, {"Grad", 0}, {"LearningRate", 0}, {NULL, 0}};
static const struct op_slot_def gd_outputs[] = {{"ParamOut", 0}, {NULL, 0}};
static const struct op_slot_def adagrad_inputs[] = {
    {"Param", 0}, {"Grad", 0}, {"LearningRate", 0}, {"Moment", 0}, {NULL, 0}};
static const struct op_slot_def adagrad_outputs[] = {{"ParamOut", 0}, {"MomentOut", 0}, {NULL, 0}};

// shrink = LearningRate l1; divisor = 1 + LearningRate l2. moment is NULL for proximal_gd.
#define DEFINE_PROXIMAL(T, S)                                                                      \
    static inline T proximal_##S(T q, T shrink, T divisor)                                         \
    {                                                                                              \
        T rest = fabs(q) - shrink;                                                                 \
        T p = copysign(rest > 0 ? rest : 0, q) / divisor;                                          \
        return shrink > 0 ? p : q / divisor;                                                       \
    }                                                                                              \
    OP_CLONES static void gd_dense_##S(T *param_out, const T *param, const T *grad, T lr,          \
                                       T shrink, T divisor, uint64_t n)                            \
    {                                                                                              \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++) param_out[i] =                       \
            proximal_##S(param[i] - lr * grad[i], shrink, divisor);                                \
    }                                                                                              \
    OP_CLONES static void adagrad_dense_##S(T *param_out, T *moment_out, const T *param,           \
                                            const T *grad, const T *moment, T lr, T shrink,        \
                                            T divisor, uint64_t n)                                 \
    {                                                                                              \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++)                                      \
        {                                                                                          \
            T m = moment[i] + grad[i] * grad[i];                                                   \
            T p = proximal_##S(param[i] - lr * grad[i] / sqrt(m), shrink, divisor);                \
            moment_out[i] = m;                                                                     \
            param_out[i] = p;                                                                      \
        }                                                                                          \
    }                                                                                              \
    static void proximal_run_##S(struct op_ctx *ctx, const T *moment, T *moment_out)               \
    {                                                                                              \
        const struct tensor *param = op_in(ctx, PROXIMAL_PARAM);                                   \
        const T *grad = op_in(ctx, PROXIMAL_GRAD)->data;                                           \
        T *param_out = op_out(ctx, PROXIMAL_PARAM_OUT)->data;                                      \
        T lr = *(const T *)op_in(ctx, PROXIMAL_LR)->data;                                          \
        T shrink = lr * (T)ctx->attr[PROXIMAL_L1]->f;                                              \
        T divisor = 1 + lr * (T)ctx->attr[PROXIMAL_L2]->f;                                         \
        if (moment_out == NULL)                                                                    \
            gd_dense_##S(param_out, param->data, grad, lr, shrink, divisor, tensor_count(param));  \
        else                                                                                       \
            adagrad_dense_##S(param_out, moment_out, param->data, grad, moment, lr, shrink,        \
                              divisor, tensor_count(param));                                       \
    }

DEFINE_PROXIMAL(float, f32)
DEFINE_PROXIMAL(double, f64)

static int gd_infer(struct op_shape *shape)
{
    return optimizer_shape_infer(shape, (const int[]){PROXIMAL_GRAD, -1},
                                 (const int[]){PROXIMAL_LR, -1});
}

static int adagrad_infer(struct op_shape *shape)
{
    return optimizer_shape_infer(shape, (const int[]){PROXIMAL_GRAD, PROXIMAL_MOMENT, -1},
                                 (const int[]){PROXIMAL_LR, -1});
}

static int gd_forward(struct op_ctx *ctx)
{
    int rc = optimizer_shape_check_dtype(ctx);
    if (rc < 0)
        return rc;
    if (op_in(ctx, PROXIMAL_PARAM)->dtype == DTYPE_FP32)
        proximal_run_f32(ctx, NULL, NULL);
    else
        proximal_run_f64(ctx, NULL, NULL);
    return 0;
}

static int adagrad_forward(struct op_ctx *ctx)
{
    const struct tensor *moment = op_in(ctx, PROXIMAL_MOMENT);
    struct tensor *moment_out = op_out(ctx, PROXIMAL_MOMENT_OUT);
    int rc = optimizer_shape_check_dtype(ctx);
    if (rc < 0)
        return rc;
    if (moment->dtype == DTYPE_FP32)
        proximal_run_f32(ctx, tensor_f32(moment), tensor_f32(moment_out));
    else
        proximal_run_f64(ctx, tensor_f64(moment), tensor_f64(moment_out));
    return 0;
}

const struct op_def op_proximal_gd = {
    .type = "proximal_gd",
    .inputs = gd_inputs,
    .outputs = gd_outputs,
    .attrs = proximal_attrs,
    .infer_shape = gd_infer,
    .kernel = gd_forward,
    .row_splittable = true,
};

const struct op_def op_proximal_adagrad = {
    .type = "proximal_adagrad",
    .inputs = adagrad_inputs,
    .outputs = adagrad_outputs,
    .attrs = proximal_attrs,
    .infer_shape = adagrad_infer,
    .kernel = adagrad_forward,
    .row_splittable = true,
};
