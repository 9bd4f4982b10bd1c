// SPDX-License-Identifier: Apache-2.0
// adagrad and decayed_adagrad:
//   adagrad           MomentOut = Moment + Grad Grad
//   decayed_adagrad   MomentOut = decay Moment + (1 - decay) Grad Grad
//   both              ParamOut = Param - LearningRate Grad / (sqrt(MomentOut) + epsilon)
// adagrad with a gradient of selected rows updates only the rows that it names (those it does not
// would stay as they are anyway). Fluid has no decayed_adagrad of selected rows.
// Each output is its input's memory or does not overlap it; both forms give the same bits.

#include <tgmath.h>

#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/optimizer_shape.h"
#include "common/ops/rows_update.h"

extern const struct op_def op_adagrad, op_adagrad_decayed;

enum { ADAGRAD_EPSILON, ADAGRAD_DECAY };
static const struct op_attr_def adagrad_attrs[] = {
    OP_ATTR_FLOAT("epsilon", 1e-6),
    {.name = NULL},
};
static const struct op_attr_def decayed_attrs[] = {
    OP_ATTR_FLOAT("epsilon", 1e-6),
    OP_ATTR_FLOAT("decay", 0.95),
    {.name = NULL},
};
enum { ADAGRAD_PARAM, ADAGRAD_GRAD, ADAGRAD_MOMENT, ADAGRAD_LR };
enum { ADAGRAD_PARAM_OUT, ADAGRAD_MOMENT_OUT };
static const struct op_slot_def adagrad_inputs[] = {
    {"Param", 0}, {"Grad", OP_SLOT_ROWS}, {"Moment", 0}, {"LearningRate", 0}, {NULL, 0}};
static const struct op_slot_def decayed_inputs[] = {
    {"Param", 0}, {"Grad", 0}, {"Moment", 0}, {"LearningRate", 0}, {NULL, 0}};
static const struct op_slot_def adagrad_outputs[] = {{"ParamOut", 0}, {"MomentOut", 0}, {NULL, 0}};

// keep and take are the weights of the old moment and of the new square.
#define DEFINE_ADAGRAD(T, S)                                                                       \
    struct adagrad_##S {                                                                           \
        T *param_out, *moment_out;                                                                 \
        const T *param, *moment;                                                                   \
        T lr, epsilon, keep, take;                                                                 \
    };                                                                                             \
    OP_CLONES static void adagrad_dense_##S(const void *args, const void *grad, uint64_t first,    \
                                            uint64_t n)                                            \
    {                                                                                              \
        struct adagrad_##S a = *(const struct adagrad_##S *)args;                                  \
        const T *grads = grad;                                                                     \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++)                                      \
        {                                                                                          \
            T g = grads[i], m = a.keep * a.moment[first + i] + a.take * g * g;                     \
            T p = a.param[first + i] - a.lr * g / (sqrt(m) + a.epsilon);                           \
            a.moment_out[first + i] = m;                                                           \
            a.param_out[first + i] = p;                                                            \
        }                                                                                          \
    }                                                                                              \
    static int adagrad_run_##S(struct op_ctx *ctx, T keep, T take)                                 \
    {                                                                                              \
        struct adagrad_##S a = {                                                                   \
            .param_out = op_out(ctx, ADAGRAD_PARAM_OUT)->data,                                     \
            .moment_out = op_out(ctx, ADAGRAD_MOMENT_OUT)->data,                                   \
            .param = op_in(ctx, ADAGRAD_PARAM)->data,                                              \
            .moment = op_in(ctx, ADAGRAD_MOMENT)->data,                                            \
            .lr = *(const T *)op_in(ctx, ADAGRAD_LR)->data,                                        \
            .epsilon = (T)ctx->attr[ADAGRAD_EPSILON]->f,                                           \
            .keep = keep,                                                                          \
            .take = take,                                                                          \
        };                                                                                         \
        return rows_update_run(                                                                    \
            ctx, ADAGRAD_GRAD, ctx->temps,                                                         \
            &(struct rows_update){.dense = adagrad_dense_##S, .args = &a, .rows_only = true});     \
    }

DEFINE_ADAGRAD(float, f32)
DEFINE_ADAGRAD(double, f64)

static int adagrad_infer(struct op_shape *shape)
{
    return optimizer_shape_infer(shape, (const int[]){ADAGRAD_GRAD, ADAGRAD_MOMENT, -1},
                                 (const int[]){ADAGRAD_LR, -1});
}

static int adagrad_forward(struct op_ctx *ctx)
{
    int rc = optimizer_shape_check_dtype(ctx);
    if (rc < 0)
        return rc;
    return op_in(ctx, ADAGRAD_PARAM)->dtype == DTYPE_FP32 ? adagrad_run_f32(ctx, 1, 1)
                                                          : adagrad_run_f64(ctx, 1, 1);
}

static int decayed_forward(struct op_ctx *ctx)
{
    float decay = ctx->attr[ADAGRAD_DECAY]->f;
    int rc = optimizer_shape_check_dtype(ctx);
    if (rc < 0)
        return rc;
    return op_in(ctx, ADAGRAD_PARAM)->dtype == DTYPE_FP32
               ? adagrad_run_f32(ctx, decay, 1 - decay)
               : adagrad_run_f64(ctx, (double)decay, 1 - (double)decay);
}

const struct op_def op_adagrad = {
    .type = "adagrad",
    .inputs = adagrad_inputs,
    .outputs = adagrad_outputs,
    .attrs = adagrad_attrs,
    .infer_shape = adagrad_infer,
    .kernel = adagrad_forward,
    .temps = ROWS_UPDATE_TEMPS,
    .rows_only = rows_update_always,
    .row_splittable = true,
};

const struct op_def op_adagrad_decayed = {
    .type = "decayed_adagrad",
    .inputs = decayed_inputs,
    .outputs = adagrad_outputs,
    .attrs = decayed_attrs,
    .infer_shape = adagrad_infer,
    .kernel = decayed_forward,
    .row_splittable = true,
};
