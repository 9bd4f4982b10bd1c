// SPDX-License-Identifier: Apache-2.0
// adam, with the powers of the betas as state that the op itself moves on:
//   Moment1Out = beta1 Moment1 + (1 - beta1) Grad
//   Moment2Out = beta2 Moment2 + (1 - beta2) Grad Grad
//   lr         = LearningRate sqrt(1 - Beta2Pow) / (1 - Beta1Pow)
//   ParamOut   = Param - lr (Moment1Out / (sqrt(Moment2Out) + epsilon))
//   Beta1PowOut = beta1 Beta1Pow,  Beta2PowOut = beta2 Beta2Pow
// Each output is its input's memory or does not overlap it; both forms give the same bits. When the
// op runs on pieces of rows, the powers must not be in place (each piece moves them on from the
// same start). Programs from before Fluid 1.6 move the powers on with `scale` ops and lack the two
// outputs. lazy_mode and min_row_size_to_use_multithread only matter to sparse gradients.

#include <math.h>

#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/optimizer_shape.h"

extern const struct op_def op_adam;

enum { ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON };
static const struct op_attr_def adam_attrs[] = {
    OP_ATTR_FLOAT("beta1", 0.9),
    OP_ATTR_FLOAT("beta2", 0.999),
    OP_ATTR_FLOAT("epsilon", 1e-8),
    OP_ATTR_BOOL("lazy_mode", 0),
    OP_ATTR_LONG("min_row_size_to_use_multithread", 1000),
    {.name = NULL},
};
enum {
    ADAM_PARAM,
    ADAM_GRAD,
    ADAM_LR,
    ADAM_MOMENT1,
    ADAM_MOMENT2,
    ADAM_BETA1_POW,
    ADAM_BETA2_POW,
    ADAM_BETA1_TENSOR,
    ADAM_BETA2_TENSOR
};
enum { ADAM_PARAM_OUT, ADAM_MOMENT1_OUT, ADAM_MOMENT2_OUT, ADAM_BETA1_POW_OUT, ADAM_BETA2_POW_OUT };
static const struct op_slot_def adam_inputs[] = {
    {"Param", 0},
    {"Grad", 0},
    {"LearningRate", 0},
    {"Moment1", 0},
    {"Moment2", 0},
    {"Beta1Pow", 0},
    {"Beta2Pow", 0},
    {"Beta1Tensor", OP_SLOT_OPTIONAL},
    {"Beta2Tensor", OP_SLOT_OPTIONAL},
    {NULL, 0},
};
static const struct op_slot_def adam_outputs[] = {
    {"ParamOut", 0},
    {"Moment1Out", 0},
    {"Moment2Out", 0},
    {"Beta1PowOut", OP_SLOT_OPTIONAL},
    {"Beta2PowOut", OP_SLOT_OPTIONAL},
    {NULL, 0},
};

#define DEFINE_ADAM(T, S, SQRT)                                                                    \
    struct adam_##S {                                                                              \
        T *param_out, *m1_out, *m2_out;                                                            \
        const T *param, *grad, *m1, *m2;                                                           \
        T lr, beta1, beta2, epsilon;                                                               \
    };                                                                                             \
    OP_CLONES static void adam_dense_##S(const struct adam_##S *args, uint64_t n)                  \
    {                                                                                              \
        struct adam_##S a = *args;                                                                 \
        T rest1 = 1 - a.beta1, rest2 = 1 - a.beta2;                                                \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++)                                      \
        {                                                                                          \
            T g = a.grad[i];                                                                       \
            T m1 = a.beta1 * a.m1[i] + rest1 * g;                                                  \
            T m2 = a.beta2 * a.m2[i] + rest2 * g * g;                                              \
            T p = a.param[i] - a.lr * (m1 / (SQRT(m2) + a.epsilon));                               \
            a.m1_out[i] = m1;                                                                      \
            a.m2_out[i] = m2;                                                                      \
            a.param_out[i] = p;                                                                    \
        }                                                                                          \
    }                                                                                              \
    static void adam_run_##S(struct op_ctx *ctx)                                                   \
    {                                                                                              \
        const struct tensor *beta1 = op_in(ctx, ADAM_BETA1_TENSOR),                                \
                            *beta2 = op_in(ctx, ADAM_BETA2_TENSOR);                                \
        T beta1_pow = *(const T *)op_in(ctx, ADAM_BETA1_POW)->data;                                \
        T beta2_pow = *(const T *)op_in(ctx, ADAM_BETA2_POW)->data;                                \
        struct adam_##S a = {                                                                      \
            .param_out = op_out(ctx, ADAM_PARAM_OUT)->data,                                        \
            .m1_out = op_out(ctx, ADAM_MOMENT1_OUT)->data,                                         \
            .m2_out = op_out(ctx, ADAM_MOMENT2_OUT)->data,                                         \
            .param = op_in(ctx, ADAM_PARAM)->data,                                                 \
            .grad = op_in(ctx, ADAM_GRAD)->data,                                                   \
            .m1 = op_in(ctx, ADAM_MOMENT1)->data,                                                  \
            .m2 = op_in(ctx, ADAM_MOMENT2)->data,                                                  \
            .lr = *(const T *)op_in(ctx, ADAM_LR)->data,                                           \
            .epsilon = (T)ctx->attr[ADAM_EPSILON]->f,                                              \
            .beta1 = beta1 ? *(const T *)beta1->data : (T)ctx->attr[ADAM_BETA1]->f,                \
            .beta2 = beta2 ? *(const T *)beta2->data : (T)ctx->attr[ADAM_BETA2]->f,                \
        };                                                                                         \
        a.lr *= SQRT(1 - beta2_pow) / (1 - beta1_pow);                                             \
        adam_dense_##S(&a, tensor_count(op_in(ctx, ADAM_PARAM)));                                  \
        struct tensor *pow1_out = op_out(ctx, ADAM_BETA1_POW_OUT),                                 \
                      *pow2_out = op_out(ctx, ADAM_BETA2_POW_OUT);                                 \
        if (pow1_out != NULL)                                                                      \
            *(T *)pow1_out->data = a.beta1 * beta1_pow;                                            \
        if (pow2_out != NULL)                                                                      \
            *(T *)pow2_out->data = a.beta2 * beta2_pow;                                            \
    }

DEFINE_ADAM(float, f32, sqrtf)
DEFINE_ADAM(double, f64, sqrt)

static int adam_infer(struct op_shape *shape)
{
    return optimizer_shape_infer(shape, (const int[]){ADAM_GRAD, ADAM_MOMENT1, ADAM_MOMENT2, -1},
                                 (const int[]){ADAM_LR, ADAM_BETA1_POW, ADAM_BETA2_POW,
                                               ADAM_BETA1_TENSOR, ADAM_BETA2_TENSOR, -1});
}

static int adam_forward(struct op_ctx *ctx)
{
    int rc = optimizer_shape_check_dtype(ctx);
    if (rc < 0)
        return rc;
    if (op_in(ctx, ADAM_PARAM)->dtype == DTYPE_FP32)
        adam_run_f32(ctx);
    else
        adam_run_f64(ctx);
    return 0;
}

const struct op_def op_adam = {
    .type = "adam",
    .inputs = adam_inputs,
    .outputs = adam_outputs,
    .attrs = adam_attrs,
    .infer_shape = adam_infer,
    .kernel = adam_forward,
    .row_splittable = true,
};
