// SPDX-License-Identifier: Apache-2.0
// adamax; the power of beta1 is moved on by a `scale` op behind it:
//   MomentOut  = beta1 Moment + (1 - beta1) Grad
//   InfNormOut = max(|Grad|, beta2 InfNorm + epsilon)
//   ParamOut   = Param - LearningRate / (1 - Beta1Pow) (MomentOut / InfNormOut)
// Each output is its input's memory or does not overlap it; both forms give the same bits.

#include <tgmath.h>

#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/optimizer_shape.h"

extern const struct op_def op_adamax;

enum { ADAMAX_BETA1, ADAMAX_BETA2, ADAMAX_EPSILON };
static const struct op_attr_def adamax_attrs[] = {
    OP_ATTR_FLOAT("beta1", 0.9),
    OP_ATTR_FLOAT("beta2", 0.999),
    OP_ATTR_FLOAT("epsilon", 1e-8),
    {.name = NULL},
};
enum { ADAMAX_PARAM, ADAMAX_GRAD, ADAMAX_LR, ADAMAX_MOMENT, ADAMAX_INF_NORM, ADAMAX_BETA1_POW };
enum { ADAMAX_PARAM_OUT, ADAMAX_MOMENT_OUT, ADAMAX_INF_NORM_OUT };
static const struct op_slot_def adamax_inputs[] = {
    {"Param", 0},    {"Grad", 0}, {"LearningRate", 0}, {"Moment", 0}, {"InfNorm", 0},
    {"Beta1Pow", 0}, {NULL, 0}};
static const struct op_slot_def adamax_outputs[] = {
    {"ParamOut", 0}, {"MomentOut", 0}, {"InfNormOut", 0}, {NULL, 0}};

#define DEFINE_ADAMAX(T, S)                                                                        \
    struct adamax_##S {                                                                            \
        T *param_out, *moment_out, *norm_out;                                                      \
        const T *param, *grad, *moment, *norm;                                                     \
        T lr, beta1, beta2, epsilon;                                                               \
    };                                                                                             \
    OP_CLONES static void adamax_dense_##S(const struct adamax_##S *args, uint64_t n)              \
    {                                                                                              \
        struct adamax_##S a = *args;                                                               \
        T rest = 1 - a.beta1;                                                                      \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++)                                      \
        {                                                                                          \
            T g = a.grad[i], m = a.beta1 * a.moment[i] + rest * g;                                 \
            T size = fabs(g), norm = a.beta2 * a.norm[i] + a.epsilon;                              \
            norm = size < norm ? norm : size;                                                      \
            T p = a.param[i] - a.lr * (m / norm);                                                  \
            a.moment_out[i] = m;                                                                   \
            a.norm_out[i] = norm;                                                                  \
            a.param_out[i] = p;                                                                    \
        }                                                                                          \
    }                                                                                              \
    static void adamax_run_##S(struct op_ctx *ctx)                                                 \
    {                                                                                              \
        T beta1_pow = *(const T *)op_in(ctx, ADAMAX_BETA1_POW)->data;                              \
        struct adamax_##S a = {                                                                    \
            .param_out = op_out(ctx, ADAMAX_PARAM_OUT)->data,                                      \
            .moment_out = op_out(ctx, ADAMAX_MOMENT_OUT)->data,                                    \
            .norm_out = op_out(ctx, ADAMAX_INF_NORM_OUT)->data,                                    \
            .param = op_in(ctx, ADAMAX_PARAM)->data,                                               \
            .grad = op_in(ctx, ADAMAX_GRAD)->data,                                                 \
            .moment = op_in(ctx, ADAMAX_MOMENT)->data,                                             \
            .norm = op_in(ctx, ADAMAX_INF_NORM)->data,                                             \
            .lr = *(const T *)op_in(ctx, ADAMAX_LR)->data / (1 - beta1_pow),                       \
            .beta1 = (T)ctx->attr[ADAMAX_BETA1]->f,                                                \
            .beta2 = (T)ctx->attr[ADAMAX_BETA2]->f,                                                \
            .epsilon = (T)ctx->attr[ADAMAX_EPSILON]->f,                                            \
        };                                                                                         \
        adamax_dense_##S(&a, tensor_count(op_in(ctx, ADAMAX_PARAM)));                              \
    }

DEFINE_ADAMAX(float, f32)
DEFINE_ADAMAX(double, f64)

static int adamax_infer(struct op_shape *shape)
{
    return optimizer_shape_infer(shape,
                                 (const int[]){ADAMAX_GRAD, ADAMAX_MOMENT, ADAMAX_INF_NORM, -1},
                                 (const int[]){ADAMAX_LR, ADAMAX_BETA1_POW, -1});
}

static int adamax_forward(struct op_ctx *ctx)
{
    int rc = optimizer_shape_check_dtype(ctx);
    if (rc < 0)
        return rc;
    if (op_in(ctx, ADAMAX_PARAM)->dtype == DTYPE_FP32)
        adamax_run_f32(ctx);
    else
        adamax_run_f64(ctx);
    return 0;
}

const struct op_def op_adamax = {
    .type = "adamax",
    .inputs = adamax_inputs,
    .outputs = adamax_outputs,
    .attrs = adamax_attrs,
    .infer_shape = adamax_infer,
    .kernel = adamax_forward,
    .row_splittable = true,
};
