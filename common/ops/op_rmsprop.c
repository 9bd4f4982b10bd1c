// SPDX-License-Identifier: Apache-2.0
// rmsprop:
//   MeanSquareOut = decay MeanSquare + (1 - decay) Grad Grad
//   MeanGradOut   = decay MeanGrad + (1 - decay) Grad           centered; else MeanGrad as it is
//   MomentOut     = momentum Moment + LearningRate Grad / sqrt(d + epsilon)
//                   d = MeanSquareOut, centered: MeanSquareOut - MeanGradOut^2
//   ParamOut      = Param - MomentOut
// With a gradient of selected rows every row moves, as its states do; rows that the gradient does
// not name have a gradient of 0.
// Each output is its input's memory or does not overlap it; both forms give the same bits. A
// MeanGrad that is not used may have any shape (a slice's op in Fluid's text keeps the whole one).

#include <string.h>
#include <tgmath.h>

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/optimizer_shape.h"
#include "common/ops/rows_update.h"

extern const struct op_def op_rmsprop;

enum { RMSPROP_EPSILON, RMSPROP_DECAY, RMSPROP_MOMENTUM, RMSPROP_CENTERED };
static const struct op_attr_def rmsprop_attrs[] = {
    OP_ATTR_FLOAT("epsilon", 1e-10),
    OP_ATTR_FLOAT("decay", 0.9),
    OP_ATTR_FLOAT("momentum", 0),
    OP_ATTR_BOOL("centered", 0),
    {.name = NULL},
};
enum {
    RMSPROP_PARAM,
    RMSPROP_MEAN_SQUARE,
    RMSPROP_MEAN_GRAD,
    RMSPROP_LR,
    RMSPROP_GRAD,
    RMSPROP_MOMENT
};
enum { RMSPROP_PARAM_OUT, RMSPROP_MOMENT_OUT, RMSPROP_MEAN_SQUARE_OUT, RMSPROP_MEAN_GRAD_OUT };
static const struct op_slot_def rmsprop_inputs[] = {{"Param", 0},
                                                    {"MeanSquare", 0},
                                                    {"MeanGrad", OP_SLOT_OPTIONAL},
                                                    {"LearningRate", 0},
                                                    {"Grad", OP_SLOT_ROWS},
                                                    {"Moment", 0},
                                                    {NULL, 0}};
static const struct op_slot_def rmsprop_outputs[] = {{"ParamOut", 0},
                                                     {"MomentOut", 0},
                                                     {"MeanSquareOut", 0},
                                                     {"MeanGradOut", OP_SLOT_OPTIONAL},
                                                     {NULL, 0}};

#define DEFINE_RMSPROP(T, S)                                                                       \
    struct rmsprop_##S {                                                                           \
        T *param_out, *moment_out, *square_out, *mean_out;                                         \
        const T *param, *moment, *square, *mean;                                                   \
        T lr, epsilon, decay, momentum;                                                            \
    };                                                                                             \
    OP_CLONES static void rmsprop_plain_##S(const void *args, const void *grad, uint64_t first,    \
                                            uint64_t n)                                            \
    {                                                                                              \
        struct rmsprop_##S a = *(const struct rmsprop_##S *)args;                                  \
        const T *grads = grad;                                                                     \
        T rest = 1 - a.decay;                                                                      \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++)                                      \
        {                                                                                          \
            T g = grads[i], s = a.decay * a.square[first + i] + rest * g * g;                      \
            T m = a.momentum * a.moment[first + i] + a.lr * g / sqrt(s + a.epsilon);               \
            T p = a.param[first + i] - m;                                                          \
            a.square_out[first + i] = s;                                                           \
            a.moment_out[first + i] = m;                                                           \
            a.param_out[first + i] = p;                                                            \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void rmsprop_centered_##S(const void *args, const void *grad, uint64_t first, \
                                               uint64_t n)                                         \
    {                                                                                              \
        struct rmsprop_##S a = *(const struct rmsprop_##S *)args;                                  \
        const T *grads = grad;                                                                     \
        T rest = 1 - a.decay;                                                                      \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++)                                      \
        {                                                                                          \
            T g = grads[i], s = a.decay * a.square[first + i] + rest * g * g;                      \
            T c = a.decay * a.mean[first + i] + rest * g;                                          \
            T m = a.momentum * a.moment[first + i] + a.lr * g / sqrt(s - c * c + a.epsilon);       \
            T p = a.param[first + i] - m;                                                          \
            a.square_out[first + i] = s;                                                           \
            a.mean_out[first + i] = c;                                                             \
            a.moment_out[first + i] = m;                                                           \
            a.param_out[first + i] = p;                                                            \
        }                                                                                          \
    }                                                                                              \
    static int rmsprop_run_##S(struct op_ctx *ctx, bool centered)                                  \
    {                                                                                              \
        struct rmsprop_##S a = {                                                                   \
            .param_out = op_out(ctx, RMSPROP_PARAM_OUT)->data,                                     \
            .moment_out = op_out(ctx, RMSPROP_MOMENT_OUT)->data,                                   \
            .square_out = op_out(ctx, RMSPROP_MEAN_SQUARE_OUT)->data,                              \
            .mean_out = centered ? op_out(ctx, RMSPROP_MEAN_GRAD_OUT)->data : NULL,                \
            .param = op_in(ctx, RMSPROP_PARAM)->data,                                              \
            .moment = op_in(ctx, RMSPROP_MOMENT)->data,                                            \
            .square = op_in(ctx, RMSPROP_MEAN_SQUARE)->data,                                       \
            .mean = centered ? op_in(ctx, RMSPROP_MEAN_GRAD)->data : NULL,                         \
            .lr = *(const T *)op_in(ctx, RMSPROP_LR)->data,                                        \
            .epsilon = (T)ctx->attr[RMSPROP_EPSILON]->f,                                           \
            .decay = (T)ctx->attr[RMSPROP_DECAY]->f,                                               \
            .momentum = (T)ctx->attr[RMSPROP_MOMENTUM]->f,                                         \
        };                                                                                         \
        return rows_update_run(                                                                    \
            ctx, RMSPROP_GRAD, ctx->temps,                                                         \
            &(struct rows_update){.dense = centered ? rmsprop_centered_##S : rmsprop_plain_##S,    \
                                  .args = &a});                                                    \
    }

DEFINE_RMSPROP(float, f32)
DEFINE_RMSPROP(double, f64)

static int rmsprop_infer(struct op_shape *shape)
{
    bool centered = attr_bool(shape->attr[RMSPROP_CENTERED]);
    if (centered && (op_shape_in(shape, RMSPROP_MEAN_GRAD, 0) == NULL ||
                     op_shape_out(shape, RMSPROP_MEAN_GRAD_OUT, 0) == NULL))
        return err_set(shape->err, SL_EINVAL,
                       "centered needs input MeanGrad and output MeanGradOut");
    return optimizer_shape_infer(shape,
                                 (const int[]){RMSPROP_GRAD, RMSPROP_MOMENT, RMSPROP_MEAN_SQUARE,
                                               centered ? RMSPROP_MEAN_GRAD : -1, -1},
                                 (const int[]){RMSPROP_LR, -1});
}

static int rmsprop_forward(struct op_ctx *ctx)
{
    const struct tensor *mean = op_in(ctx, RMSPROP_MEAN_GRAD);
    struct tensor *mean_out = op_out(ctx, RMSPROP_MEAN_GRAD_OUT);
    bool centered = attr_bool(ctx->attr[RMSPROP_CENTERED]);
    int rc = optimizer_shape_check_dtype(ctx);
    if (rc < 0)
        return rc;
    rc = op_in(ctx, RMSPROP_PARAM)->dtype == DTYPE_FP32 ? rmsprop_run_f32(ctx, centered)
                                                        : rmsprop_run_f64(ctx, centered);
    if (rc < 0)
        return rc;
    if (!centered && mean != NULL && mean_out != NULL && mean_out->data != mean->data)
        memcpy(mean_out->data, mean->data, tensor_bytes(mean));
    return 0;
}

const struct op_def op_rmsprop = {
    .type = "rmsprop",
    .inputs = rmsprop_inputs,
    .outputs = rmsprop_outputs,
    .attrs = rmsprop_attrs,
    .infer_shape = rmsprop_infer,
    .kernel = rmsprop_forward,
    .temps = ROWS_UPDATE_TEMPS,
    .row_splittable = true,
};
