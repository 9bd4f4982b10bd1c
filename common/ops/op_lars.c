// SPDX-License-Identifier: Apache-2.0
// lars_momentum, |.| the l2 norm:
//   rate        = LearningRate lars_coeff |Param| / (|Grad| + lars_weight_decay |Param|)
//                 where both norms are greater than 0, else LearningRate
//   VelocityOut = mu Velocity + rate (Grad + lars_weight_decay Param)
//   ParamOut    = Param - VelocityOut
// Each output is its input's memory or does not overlap it; both forms give the same bits. The
// norms are those of the tensors given (not to be run on pieces), unless whole_norms.h's slots
// bring others.

#include <math.h>

#include "common/ops/lanes.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/optimizer_shape.h"
#include "common/ops/whole_norms.h"

extern const struct op_def op_lars;

enum { LARS_MU, LARS_COEFF, LARS_WEIGHT_DECAY };
static const struct op_attr_def lars_attrs[] = {
    {.name = "mu", .type = ATTR_FLOAT, .required = true},
    OP_ATTR_FLOAT("lars_coeff", 0.001),
    OP_ATTR_FLOAT("lars_weight_decay", 0.0005),
    {.name = NULL},
};
enum { LARS_PARAM, LARS_GRAD, LARS_VELOCITY, LARS_LR, LARS_WHOLE };
enum { LARS_PARAM_OUT, LARS_VELOCITY_OUT, LARS_PART };
static const struct op_slot_def lars_inputs[] = {{"Param", 0},        {"Grad", 0},
                                                 {"Velocity", 0},     {"LearningRate", 0},
                                                 WHOLE_NORMS_IN_SLOT, {NULL, 0}};
static const struct op_slot_def lars_outputs[] = {
    {"ParamOut", 0}, {"VelocityOut", 0}, WHOLE_NORMS_OUT_SLOT, {NULL, 0}};

#define DEFINE_LARS(T, S)                                                                          \
    struct lars_##S {                                                                              \
        T *param_out, *velocity_out;                                                               \
        const T *param, *grad, *velocity;                                                          \
        T rate, mu, weight_decay;                                                                  \
    };                                                                                             \
    OP_CLONES static void lars_dense_##S(const struct lars_##S *args, uint64_t n)                  \
    {                                                                                              \
        struct lars_##S a = *args;                                                                 \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++)                                      \
        {                                                                                          \
            T old = a.param[i];                                                                    \
            T v = a.velocity[i] * a.mu + a.rate * (a.grad[i] + a.weight_decay * old);              \
            a.velocity_out[i] = v;                                                                 \
            a.param_out[i] = old - v;                                                              \
        }                                                                                          \
    }                                                                                              \
    static int lars_run_##S(struct op_ctx *ctx)                                                    \
    {                                                                                              \
        uint64_t n = tensor_count(op_in(ctx, LARS_PARAM));                                         \
        struct lars_##S a = {                                                                      \
            .param_out = op_out(ctx, LARS_PARAM_OUT)->data,                                        \
            .velocity_out = op_out(ctx, LARS_VELOCITY_OUT)->data,                                  \
            .param = op_in(ctx, LARS_PARAM)->data,                                                 \
            .grad = op_in(ctx, LARS_GRAD)->data,                                                   \
            .velocity = op_in(ctx, LARS_VELOCITY)->data,                                           \
            .rate = *(const T *)op_in(ctx, LARS_LR)->data,                                         \
            .mu = (T)ctx->attr[LARS_MU]->f,                                                        \
            .weight_decay = (T)ctx->attr[LARS_WEIGHT_DECAY]->f,                                    \
        };                                                                                         \
        double squares[2] = {lanes_squares_##S(a.param, n), lanes_squares_##S(a.grad, n)};         \
        int rc = whole_norms_settle(ctx, LARS_WHOLE, LARS_PART, squares);                          \
        if (rc < 0)                                                                                \
            return rc;                                                                             \
        T param_norm = (T)sqrt(squares[0]), grad_norm = (T)sqrt(squares[1]);                       \
        if (param_norm > 0 && grad_norm > 0)                                                       \
            a.rate = a.rate * (T)ctx->attr[LARS_COEFF]->f * param_norm /                           \
                     (grad_norm + a.weight_decay * param_norm);                                    \
        lars_dense_##S(&a, n);                                                                     \
        return 0;                                                                                  \
    }

DEFINE_LARS(float, f32)
DEFINE_LARS(double, f64)

static int lars_infer(struct op_shape *shape)
{
    int rc = whole_norms_infer(shape, LARS_WHOLE, LARS_PART);
    if (rc < 0)
        return rc;
    return optimizer_shape_infer(shape, (const int[]){LARS_GRAD, LARS_VELOCITY, -1},
                                 (const int[]){LARS_LR, -1});
}

static int lars_forward(struct op_ctx *ctx)
{
    int rc = optimizer_shape_check_dtype(ctx);
    if (rc < 0)
        return rc;
    return op_in(ctx, LARS_PARAM)->dtype == DTYPE_FP32 ? lars_run_f32(ctx) : lars_run_f64(ctx);
}

const struct op_def op_lars = {
    .type = "lars_momentum",
    .inputs = lars_inputs,
    .outputs = lars_outputs,
    .attrs = lars_attrs,
    .infer_shape = lars_infer,
    .kernel = lars_forward,
};
