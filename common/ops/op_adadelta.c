// SPDX-License-Identifier: Apache-2.0
// adadelta (it has no learning rate):
//   AvgSquaredGradOut   = rho AvgSquaredGrad + (1 - rho) Grad^2
//   u(v)                = -sqrt((v + epsilon) / (AvgSquaredGradOut + epsilon)) Grad
//   AvgSquaredUpdateOut = rho AvgSquaredUpdate + (1 - rho) u(AvgSquaredUpdate)^2
//   ParamOut            = Param + u(AvgSquaredUpdateOut)
// The last line is what Fluid computes when the op updates its variables in place, as optimizers
// let it: there AvgSquaredUpdate is new already when Param's turn comes. An op that names another
// variable for AvgSquaredUpdateOut takes u(AvgSquaredUpdate). The names decide, not the memory:
// each output is its input's memory or does not overlap it, and both forms give the same bits.

#include <tgmath.h>

#include "common/base/str.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/optimizer_shape.h"
#include "common/program/op_desc.h"

extern const struct op_def op_adadelta;

enum { ADADELTA_RHO, ADADELTA_EPSILON };
static const struct op_attr_def adadelta_attrs[] = {
    OP_ATTR_FLOAT("rho", 0.95),
    OP_ATTR_FLOAT("epsilon", 1e-6),
    {.name = NULL},
};
enum { ADADELTA_PARAM, ADADELTA_GRAD, ADADELTA_SQUARED_GRAD, ADADELTA_SQUARED_UPDATE };
enum { ADADELTA_PARAM_OUT, ADADELTA_SQUARED_GRAD_OUT, ADADELTA_SQUARED_UPDATE_OUT };
static const struct op_slot_def adadelta_inputs[] = {
    {"Param", 0}, {"Grad", 0}, {"AvgSquaredGrad", 0}, {"AvgSquaredUpdate", 0}, {NULL, 0}};
static const struct op_slot_def adadelta_outputs[] = {
    {"ParamOut", 0}, {"AvgSquaredGradOut", 0}, {"AvgSquaredUpdateOut", 0}, {NULL, 0}};

// Without a description (an op that stands alone): yes.
static bool in_place(const struct op_desc *desc)
{
    const char *in = desc ? op_desc_input1(desc, "AvgSquaredUpdate") : NULL;
    const char *out = desc ? op_desc_output1(desc, "AvgSquaredUpdateOut") : NULL;
    return in == NULL || out == NULL || str_eq(in, out);
}

#define DEFINE_ADADELTA(T, S)                                                                      \
    struct adadelta_##S {                                                                          \
        T *param_out, *grad2_out, *update2_out;                                                    \
        const T *param, *grad, *grad2, *update2;                                                   \
        T rho, epsilon;                                                                            \
        bool in_place;                                                                             \
    };                                                                                             \
    OP_CLONES static void adadelta_dense_##S(const struct adadelta_##S *args, uint64_t n)          \
    {                                                                                              \
        struct adadelta_##S a = *args;                                                             \
        T rest = 1 - a.rho;                                                                        \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++)                                      \
        {                                                                                          \
            T g = a.grad[i], old = a.update2[i];                                                   \
            T g2 = a.rho * a.grad2[i] + rest * (g * g);                                            \
            T u = -sqrt((old + a.epsilon) / (g2 + a.epsilon)) * g;                                 \
            T u2 = a.rho * old + rest * (u * u);                                                   \
            T v = a.in_place ? u2 : old;                                                           \
            T p = a.param[i] + -sqrt((v + a.epsilon) / (g2 + a.epsilon)) * g;                      \
            a.grad2_out[i] = g2;                                                                   \
            a.update2_out[i] = u2;                                                                 \
            a.param_out[i] = p;                                                                    \
        }                                                                                          \
    }                                                                                              \
    static void adadelta_run_##S(struct op_ctx *ctx)                                               \
    {                                                                                              \
        struct adadelta_##S a = {                                                                  \
            .param_out = op_out(ctx, ADADELTA_PARAM_OUT)->data,                                    \
            .grad2_out = op_out(ctx, ADADELTA_SQUARED_GRAD_OUT)->data,                             \
            .update2_out = op_out(ctx, ADADELTA_SQUARED_UPDATE_OUT)->data,                         \
            .param = op_in(ctx, ADADELTA_PARAM)->data,                                             \
            .grad = op_in(ctx, ADADELTA_GRAD)->data,                                               \
            .grad2 = op_in(ctx, ADADELTA_SQUARED_GRAD)->data,                                      \
            .update2 = op_in(ctx, ADADELTA_SQUARED_UPDATE)->data,                                  \
            .rho = (T)ctx->attr[ADADELTA_RHO]->f,                                                  \
            .epsilon = (T)ctx->attr[ADADELTA_EPSILON]->f,                                          \
            .in_place = in_place(ctx->desc),                                                       \
        };                                                                                         \
        adadelta_dense_##S(&a, tensor_count(op_in(ctx, ADADELTA_PARAM)));                          \
    }

DEFINE_ADADELTA(float, f32)
DEFINE_ADADELTA(double, f64)

static int adadelta_infer(struct op_shape *shape)
{
    return optimizer_shape_infer(
        shape, (const int[]){ADADELTA_GRAD, ADADELTA_SQUARED_GRAD, ADADELTA_SQUARED_UPDATE, -1},
        (const int[]){-1});
}

static int adadelta_forward(struct op_ctx *ctx)
{
    int rc = optimizer_shape_check_dtype(ctx);
    if (rc < 0)
        return rc;
    if (op_in(ctx, ADADELTA_PARAM)->dtype == DTYPE_FP32)
        adadelta_run_f32(ctx);
    else
        adadelta_run_f64(ctx);
    return 0;
}

const struct op_def op_adadelta = {
    .type = "adadelta",
    .inputs = adadelta_inputs,
    .outputs = adadelta_outputs,
    .attrs = adadelta_attrs,
    .infer_shape = adadelta_infer,
    .kernel = adadelta_forward,
    .row_splittable = true,
};
