// SPDX-License-Identifier: Apache-2.0
// momentum: VelocityOut = mu Velocity + Grad;
//   plain     ParamOut = Param - LearningRate VelocityOut
//   Nesterov  ParamOut = Param - (Grad + mu VelocityOut) LearningRate
// Each output is its input's memory or does not overlap it; both forms give the same bits.

#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/optimizer_shape.h"

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
    {"Param", 0}, {"Grad", 0}, {"Velocity", 0}, {"LearningRate", 0}, {NULL, 0}};
static const struct op_slot_def momentum_outputs[] = {
    {"ParamOut", 0}, {"VelocityOut", 0}, {NULL, 0}};

#define DEFINE_MOMENTUM(T, S)                                                                      \
    OP_CLONES static void momentum_dense_##S(T *param_out, T *velocity_out, const T *param,        \
                                             const T *grad, const T *velocity, T lr, T mu,         \
                                             uint64_t n)                                           \
    {                                                                                              \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++)                                      \
        {                                                                                          \
            T v = velocity[i] * mu + grad[i];                                                      \
            T p = param[i] - lr * v;                                                               \
            velocity_out[i] = v;                                                                   \
            param_out[i] = p;                                                                      \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void momentum_nesterov_##S(T *param_out, T *velocity_out, const T *param,     \
                                                const T *grad, const T *velocity, T lr, T mu,      \
                                                uint64_t n)                                        \
    {                                                                                              \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++)                                      \
        {                                                                                          \
            T v = velocity[i] * mu + grad[i];                                                      \
            T p = param[i] - (grad[i] + v * mu) * lr;                                              \
            velocity_out[i] = v;                                                                   \
            param_out[i] = p;                                                                      \
        }                                                                                          \
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
    const struct tensor *param = op_in(ctx, MOMENTUM_PARAM), *grad = op_in(ctx, MOMENTUM_GRAD);
    const struct tensor *velocity = op_in(ctx, MOMENTUM_VELOCITY), *lr = op_in(ctx, MOMENTUM_LR);
    struct tensor *param_out = op_out(ctx, MOMENTUM_PARAM_OUT),
                  *velocity_out = op_out(ctx, MOMENTUM_VELOCITY_OUT);
    float mu = ctx->attr[MOMENTUM_MU]->f;
    bool nesterov = attr_bool(ctx->attr[MOMENTUM_NESTEROV]);
    int rc = optimizer_shape_check_dtype(ctx);
    if (rc < 0)
        return rc;
    if (param->dtype == DTYPE_FP32)
        (nesterov ? momentum_nesterov_f32 : momentum_dense_f32)(
            tensor_f32(param_out), tensor_f32(velocity_out), tensor_f32(param), tensor_f32(grad),
            tensor_f32(velocity), *tensor_f32(lr), mu, tensor_count(param));
    else
        (nesterov ? momentum_nesterov_f64 : momentum_dense_f64)(
            tensor_f64(param_out), tensor_f64(velocity_out), tensor_f64(param), tensor_f64(grad),
            tensor_f64(velocity), *tensor_f64(lr), (double)mu, tensor_count(param));
    return 0;
}

const struct op_def op_momentum = {
    .type = "momentum",
    .inputs = momentum_inputs,
    .outputs = momentum_outputs,
    .attrs = momentum_attrs,
    .infer_shape = momentum_infer,
    .kernel = momentum_forward,
    .row_splittable = true,
};
