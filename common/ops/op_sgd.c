// SPDX-License-Identifier: Apache-2.0
// sgd: ParamOut = Param - LearningRate Grad.
// ParamOut is Param's memory or does not overlap it; both forms give the same bits.

#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/optimizer_shape.h"

extern const struct op_def op_sgd;

static const struct op_attr_def no_attrs[] = {{.name = NULL}};
enum { SGD_PARAM, SGD_LR, SGD_GRAD };
static const struct op_slot_def sgd_inputs[] = {
    {"Param", 0}, {"LearningRate", 0}, {"Grad", 0}, {NULL, 0}};
static const struct op_slot_def sgd_outputs[] = {{"ParamOut", 0}, {NULL, 0}};

#define DEFINE_SGD(T, S)                                                                           \
    OP_CLONES static void sgd_dense_##S(T *param_out, const T *param, const T *grad, T lr,         \
                                        uint64_t n)                                                \
    {                                                                                              \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++) param_out[i] =                       \
            param[i] - lr * grad[i];                                                               \
    }

DEFINE_SGD(float, f32)
DEFINE_SGD(double, f64)

static int sgd_infer(struct op_shape *shape)
{
    return optimizer_shape_infer(shape, (const int[]){SGD_GRAD, -1}, (const int[]){SGD_LR, -1});
}

static int sgd_forward(struct op_ctx *ctx)
{
    const struct tensor *param = op_in(ctx, SGD_PARAM), *lr = op_in(ctx, SGD_LR),
                        *grad = op_in(ctx, SGD_GRAD);
    struct tensor *param_out = op_out(ctx, 0);
    int rc = optimizer_shape_check_dtype(ctx);
    if (rc < 0)
        return rc;
    uint64_t n = tensor_count(param);
    if (param->dtype == DTYPE_FP32)
        sgd_dense_f32(tensor_f32(param_out), tensor_f32(param), tensor_f32(grad), *tensor_f32(lr),
                      n);
    else
        sgd_dense_f64(tensor_f64(param_out), tensor_f64(param), tensor_f64(grad), *tensor_f64(lr),
                      n);
    return 0;
}

const struct op_def op_sgd = {
    .type = "sgd",
    .inputs = sgd_inputs,
    .outputs = sgd_outputs,
    .attrs = no_attrs,
    .infer_shape = sgd_infer,
    .kernel = sgd_forward,
    .row_splittable = true,
};
