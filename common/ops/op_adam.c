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
// outputs. With a gradient of selected rows lazy_mode
// updates the rows that it names; without it every row moves, as its moments do (a gradient of 0
// where none is given). As in Fluid 1.8, lr is then made of Beta1PowOut and Beta2PowOut, a step
// ahead. min_row_size_to_use_multithread has no meaning here.

#include <math.h>

#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/optimizer_shape.h"
#include "common/ops/rows_update.h"
#include "common/program/op_desc.h"

extern const struct op_def op_adam;

enum { ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON, ADAM_LAZY };
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
    {"Grad", OP_SLOT_ROWS},
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
        const T *param, *m1, *m2;                                                                  \
        T lr, beta1, beta2, epsilon;                                                               \
    };                                                                                             \
    OP_CLONES static void adam_dense_##S(const void *args, const void *grad, uint64_t first,       \
                                         uint64_t n)                                               \
    {                                                                                              \
        struct adam_##S a = *(const struct adam_##S *)args;                                        \
        const T *grads = grad;                                                                     \
        T rest1 = 1 - a.beta1, rest2 = 1 - a.beta2;                                                \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++)                                      \
        {                                                                                          \
            T g = grads[i];                                                                        \
            T m1 = a.beta1 * a.m1[first + i] + rest1 * g;                                          \
            T m2 = a.beta2 * a.m2[first + i] + rest2 * g * g;                                      \
            T p = a.param[first + i] - a.lr * (m1 / (SQRT(m2) + a.epsilon));                       \
            a.m1_out[first + i] = m1;                                                              \
            a.m2_out[first + i] = m2;                                                              \
            a.param_out[first + i] = p;                                                            \
        }                                                                                          \
    }                                                                                              \
    static int adam_run_##S(struct op_ctx *ctx)                                                    \
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
            .m1 = op_in(ctx, ADAM_MOMENT1)->data,                                                  \
            .m2 = op_in(ctx, ADAM_MOMENT2)->data,                                                  \
            .lr = *(const T *)op_in(ctx, ADAM_LR)->data,                                           \
            .epsilon = (T)ctx->attr[ADAM_EPSILON]->f,                                              \
            .beta1 = beta1 ? *(const T *)beta1->data : (T)ctx->attr[ADAM_BETA1]->f,                \
            .beta2 = beta2 ? *(const T *)beta2->data : (T)ctx->attr[ADAM_BETA2]->f,                \
        };                                                                                         \
        T next1 = a.beta1 * beta1_pow, next2 = a.beta2 * beta2_pow;                                \
        bool ahead =                                                                               \
            rows_update_in(ctx, ADAM_GRAD) != NULL && op_out(ctx, ADAM_BETA1_POW_OUT) != NULL;     \
        a.lr *= ahead ? SQRT(1 - next2) / (1 - next1) : SQRT(1 - beta2_pow) / (1 - beta1_pow);     \
        int rc =                                                                                   \
            rows_update_run(ctx, ADAM_GRAD, ctx->temps,                                            \
                            &(struct rows_update){.dense = adam_dense_##S,                         \
                                                  .args = &a,                                      \
                                                  .rows_only = attr_bool(ctx->attr[ADAM_LAZY])});  \
        if (rc < 0)                                                                                \
            return rc;                                                                             \
        struct tensor *pow1_out = op_out(ctx, ADAM_BETA1_POW_OUT),                                 \
                      *pow2_out = op_out(ctx, ADAM_BETA2_POW_OUT);                                 \
        if (pow1_out != NULL)                                                                      \
            *(T *)pow1_out->data = next1;                                                          \
        if (pow2_out != NULL)                                                                      \
            *(T *)pow2_out->data = next2;                                                          \
        return 0;                                                                                  \
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
    return op_in(ctx, ADAM_PARAM)->dtype == DTYPE_FP32 ? adam_run_f32(ctx) : adam_run_f64(ctx);
}

static bool adam_rows_only(const struct op_desc *op)
{
    return op_desc_get_int(op, "lazy_mode", 0) != 0;
}

const struct op_def op_adam = {
    .type = "adam",
    .inputs = adam_inputs,
    .outputs = adam_outputs,
    .attrs = adam_attrs,
    .infer_shape = adam_infer,
    .kernel = adam_forward,
    .temps = ROWS_UPDATE_TEMPS,
    .rows_only = adam_rows_only,
    .row_splittable = true,
};
