// SPDX-License-Identifier: Apache-2.0
// lamb: Adam's direction d with weight decay, scaled to the size of the parameter.
//   Moment1Out = beta1 Moment1 + (1 - beta1) Grad
//   Moment2Out = beta2 Moment2 + (1 - beta2) Grad Grad
//   d          = Moment1Out / (sqrt(Moment2Out) + epsilon) + weight_decay Param
//   ParamOut   = Param - LearningRate |Param| / |d| d      (|.| the l2 norm; 1 where one is 0)
// As in Fluid 1.8 the powers of the betas have no part in it.
// With a gradient of selected rows every row moves; rows that it does not name have a gradient of
// 0. Each output is its input's memory or does not overlap it; both forms give the same bits. The
// norms are those of the tensors given (not to be run on pieces), unless whole_norms.h's slots
// bring others.

#include <tgmath.h>

#include "common/ops/lanes.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/optimizer_shape.h"
#include "common/ops/rows_update.h"
#include "common/ops/whole_norms.h"

extern const struct op_def op_lamb;

enum { LAMB_WEIGHT_DECAY, LAMB_BETA1, LAMB_BETA2, LAMB_EPSILON };
static const struct op_attr_def lamb_attrs[] = {
    {.name = "weight_decay", .type = ATTR_FLOAT, .required = true},
    OP_ATTR_FLOAT("beta1", 0.9),
    OP_ATTR_FLOAT("beta2", 0.999),
    OP_ATTR_FLOAT("epsilon", 1e-6),
    {.name = NULL},
};
enum {
    LAMB_PARAM,
    LAMB_GRAD,
    LAMB_LR,
    LAMB_MOMENT1,
    LAMB_MOMENT2,
    LAMB_BETA1_POW,
    LAMB_BETA2_POW,
    LAMB_WHOLE
};
enum { LAMB_PARAM_OUT, LAMB_MOMENT1_OUT, LAMB_MOMENT2_OUT, LAMB_PART };
static const struct op_slot_def lamb_inputs[] = {
    {"Param", 0},    {"Grad", OP_SLOT_ROWS}, {"LearningRate", 0}, {"Moment1", 0}, {"Moment2", 0},
    {"Beta1Pow", 0}, {"Beta2Pow", 0},        WHOLE_NORMS_IN_SLOT, {NULL, 0}};
static const struct op_slot_def lamb_outputs[] = {
    {"ParamOut", 0}, {"Moment1Out", 0}, {"Moment2Out", 0}, WHOLE_NORMS_OUT_SLOT, {NULL, 0}};

#define DEFINE_LAMB(T, S)                                                                          \
    struct lamb_##S {                                                                              \
        T *param_out, *m1_out, *m2_out, *d;                                                        \
        const T *param, *m1, *m2;                                                                  \
        T beta1, beta2, epsilon, weight_decay;                                                     \
    };                                                                                             \
    OP_CLONES static void lamb_direction_##S(const void *args, const void *grad, uint64_t first,   \
                                             uint64_t n)                                           \
    {                                                                                              \
        struct lamb_##S a = *(const struct lamb_##S *)args;                                        \
        const T *grads = grad;                                                                     \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++)                                      \
        {                                                                                          \
            T g = grads[i];                                                                        \
            T m1 = a.beta1 * a.m1[first + i] + (1 - a.beta1) * g;                                  \
            T m2 = a.beta2 * a.m2[first + i] + (1 - a.beta2) * g * g;                              \
            a.m1_out[first + i] = m1;                                                              \
            a.m2_out[first + i] = m2;                                                              \
            a.d[first + i] = m1 / (sqrt(m2) + a.epsilon) + a.weight_decay * a.param[first + i];    \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void lamb_step_##S(T *param_out, const T *param, const T *d, T rate,          \
                                        uint64_t n)                                                \
    {                                                                                              \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++) param_out[i] =                       \
            param[i] - rate * d[i];                                                                \
    }                                                                                              \
    static int lamb_run_##S(struct op_ctx *ctx)                                                    \
    {                                                                                              \
        uint64_t n = tensor_count(op_in(ctx, LAMB_PARAM));                                         \
        T rate = *(const T *)op_in(ctx, LAMB_LR)->data;                                            \
        struct lamb_##S a = {                                                                      \
            .param_out = op_out(ctx, LAMB_PARAM_OUT)->data,                                        \
            .m1_out = op_out(ctx, LAMB_MOMENT1_OUT)->data,                                         \
            .m2_out = op_out(ctx, LAMB_MOMENT2_OUT)->data,                                         \
            .d = ctx->temps[0].data,                                                               \
            .param = op_in(ctx, LAMB_PARAM)->data,                                                 \
            .m1 = op_in(ctx, LAMB_MOMENT1)->data,                                                  \
            .m2 = op_in(ctx, LAMB_MOMENT2)->data,                                                  \
            .beta1 = (T)ctx->attr[LAMB_BETA1]->f,                                                  \
            .beta2 = (T)ctx->attr[LAMB_BETA2]->f,                                                  \
            .epsilon = (T)ctx->attr[LAMB_EPSILON]->f,                                              \
            .weight_decay = (T)ctx->attr[LAMB_WEIGHT_DECAY]->f,                                    \
        };                                                                                         \
        int rc = rows_update_run(ctx, LAMB_GRAD, ctx->temps + 1,                                   \
                                 &(struct rows_update){.dense = lamb_direction_##S, .args = &a});  \
        if (rc < 0)                                                                                \
            return rc;                                                                             \
        double squares[2] = {lanes_squares_##S(a.param, n), lanes_squares_##S(a.d, n)};            \
        rc = whole_norms_settle(ctx, LAMB_WHOLE, LAMB_PART, squares);                              \
        if (rc < 0)                                                                                \
            return rc;                                                                             \
        if (squares[0] > 0 && squares[1] > 0)                                                      \
            rate *= (T)sqrt(squares[0]) / (T)sqrt(squares[1]);                                     \
        lamb_step_##S(a.param_out, a.param, a.d, rate, n);                                         \
        return 0;                                                                                  \
    }

DEFINE_LAMB(float, f32)
DEFINE_LAMB(double, f64)

static int lamb_infer(struct op_shape *shape)
{
    int rc = whole_norms_infer(shape, LAMB_WHOLE, LAMB_PART);
    if (rc < 0)
        return rc;
    return optimizer_shape_infer(shape, (const int[]){LAMB_GRAD, LAMB_MOMENT1, LAMB_MOMENT2, -1},
                                 (const int[]){LAMB_LR, LAMB_BETA1_POW, LAMB_BETA2_POW, -1});
}

static int lamb_forward(struct op_ctx *ctx)
{
    const struct tensor *param = op_in(ctx, LAMB_PARAM);
    int rc = optimizer_shape_check_dtype(ctx);
    if (rc == 0)
        rc = op_resize(&ctx->temps[0], param->dtype, &param->dims, ctx->err);
    if (rc < 0)
        return rc;
    return param->dtype == DTYPE_FP32 ? lamb_run_f32(ctx) : lamb_run_f64(ctx);
}

const struct op_def op_lamb = {
    .type = "lamb",
    .inputs = lamb_inputs,
    .outputs = lamb_outputs,
    .attrs = lamb_attrs,
    .infer_shape = lamb_infer,
    .kernel = lamb_forward,
    .temps = 1 + ROWS_UPDATE_TEMPS,
};
