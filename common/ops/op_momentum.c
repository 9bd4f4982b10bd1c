// SPDX-License-Identifier: Apache-2.0
// momentum: VelocityOut = mu Velocity + Grad;
//   plain     ParamOut = Param - LearningRate VelocityOut
//   Nesterov  ParamOut = Param - (Grad + mu VelocityOut) LearningRate
// With a gradient of selected rows every row moves, as its velocity does; rows that the gradient
// does not name have a gradient of 0.
// Each output is its input's memory or does not overlap it; both forms give the same bits.

#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/optimizer_shape.h"
#include "common/ops/rows_update.h"

extern const struct op_def op_momentum;

enum { MOMENTUM_MU, MOMENTUM_NESTEROV };
static const struct op_attr_def momentum_attrs[] = {
    {.name = "mu", .type = ATTR_FLOAT, .required = true},
    OP_ATTR_BOOL("use_nesterov", 0),
    {.name = NULL},
};
enum { MOMENTUM_PARAM, MOMENTUM_GRAD, MOMENTUM_VELOCITY, MOMENTUM_LR };
enum { MOMENTUM_PARAM_OUT, MOMENTUM_VELOCITY_OUT };
static const struct op_slot_def momentum_inputs[] = {
    {"Param", 0}, {"Grad", OP_SLOT_ROWS}, {"Velocity", 0}, {"LearningRate", 0}, {NULL, 0}};
static const struct op_slot_def momentum_outputs[] = {
    {"ParamOut", 0}, {"VelocityOut", 0}, {NULL, 0}};

#define DEFINE_MOMENTUM(T, S)                                                                      \
    struct momentum_##S {                                                                          \
        T *param_out, *velocity_out;                                                               \
        const T *param, *velocity;                                                                 \
        T lr, mu;                                                                                  \
    };                                                                                             \
    OP_CLONES static void momentum_dense_##S(const void *args, const void *grad, uint64_t first,   \
                                             uint64_t n)                                           \
    {                                                                                              \
        struct momentum_##S a = *(const struct momentum_##S *)args;                                \
        const T *g = grad;                                                                         \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++)                                      \
        {                                                                                          \
            T v = a.velocity[first + i] * a.mu + g[i];                                             \
            T p = a.param[first + i] - a.lr * v;                                                   \
            a.velocity_out[first + i] = v;                                                         \
            a.param_out[first + i] = p;                                                            \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void momentum_nesterov_##S(const void *args, const void *grad,                \
                                                uint64_t first, uint64_t n)                        \
    {                                                                                              \
        struct momentum_##S a = *(const struct momentum_##S *)args;                                \
        const T *g = grad;                                                                         \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++)                                      \
        {                                                                                          \
            T v = a.velocity[first + i] * a.mu + g[i];                                             \
            T p = a.param[first + i] - (g[i] + v * a.mu) * a.lr;                                   \
            a.velocity_out[first + i] = v;                                                         \
            a.param_out[first + i] = p;                                                            \
        }                                                                                          \
    }                                                                                              \
    static int momentum_run_##S(struct op_ctx *ctx)                                                \
    {                                                                                              \
        struct momentum_##S a = {                                                                  \
            .param_out = op_out(ctx, MOMENTUM_PARAM_OUT)->data,                                    \
            .velocity_out = op_out(ctx, MOMENTUM_VELOCITY_OUT)->data,                              \
            .param = op_in(ctx, MOMENTUM_PARAM)->data,                                             \
            .velocity = op_in(ctx, MOMENTUM_VELOCITY)->data,                                       \
            .lr = *(const T *)op_in(ctx, MOMENTUM_LR)->data,                                       \
            .mu = (T)ctx->attr[MOMENTUM_MU]->f,                                                    \
        };                                                                                         \
        bool nesterov = attr_bool(ctx->attr[MOMENTUM_NESTEROV]);                                   \
        return rows_update_run(                                                                    \
            ctx, MOMENTUM_GRAD, ctx->temps,                                                        \
            &(struct rows_update){.dense = nesterov ? momentum_nesterov_##S : momentum_dense_##S,  \
                                  .args = &a});                                                    \
    }

DEFINE_MOMENTUM(float, f32)
DEFINE_MOMENTUM(double, f64)

static int momentum_infer(struct op_shape *shape)
{
    return optimizer_shape_infer(shape, (const int[]){MOMENTUM_GRAD, MOMENTUM_VELOCITY, -1},
                                 (const int[]){MOMENTUM_LR, -1});
}

static int momentum_forward(struct op_ctx *ctx)
{
    int rc = optimizer_shape_check_dtype(ctx);
    if (rc < 0)
        return rc;
    return op_in(ctx, MOMENTUM_PARAM)->dtype == DTYPE_FP32 ? momentum_run_f32(ctx)
                                                           : momentum_run_f64(ctx);
}

const struct op_def op_momentum = {
    .type = "momentum",
    .inputs = momentum_inputs,
    .outputs = momentum_outputs,
    .attrs = momentum_attrs,
    .infer_shape = momentum_infer,
    .kernel = momentum_forward,
    .temps = ROWS_UPDATE_TEMPS,
    .row_splittable = true,
};
