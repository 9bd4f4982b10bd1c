// SPDX-License-Identifier: Apache-2.0
// dpsgd, differentially private SGD:
//   ParamOut = Param - LearningRate (Grad / s + noise sigma / batch_size)
//   s        = |Grad| / clip where the l2 norm |Grad| is greater than clip, else 1
// noise is one standard normal number for all elements, in float by the polar method from uniform
// numbers that Fluid's engine draws in the element type; a seed that is not 0 starts the engine
// afresh in every run (so all runs have the same noise), seed 0 draws one from the system. ParamOut
// is Param's memory or does not overlap it. The norm is that of the tensor given: not to be run on
// pieces.

#include <math.h>

#include "common/base/rng.h"
#include "common/ops/lanes.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/optimizer_shape.h"

extern const struct op_def op_dpsgd;

enum { DPSGD_CLIP, DPSGD_BATCH_SIZE, DPSGD_SIGMA, DPSGD_SEED };
static const struct op_attr_def dpsgd_attrs[] = {
    OP_ATTR_FLOAT("clip", 10),
    OP_ATTR_FLOAT("batch_size", 16),
    OP_ATTR_FLOAT("sigma", 1),
    OP_ATTR_INT("seed", 0),
    {.name = NULL},
};
enum { DPSGD_PARAM, DPSGD_GRAD, DPSGD_LR };
static const struct op_slot_def dpsgd_inputs[] = {
    {"Param", 0}, {"Grad", 0}, {"LearningRate", 0}, {NULL, 0}};
static const struct op_slot_def dpsgd_outputs[] = {{"ParamOut", 0}, {NULL, 0}};

#define DEFINE_DPSGD(T, S)                                                                         \
    OP_CLONES static void dpsgd_dense_##S(T *param_out, const T *param, const T *grad, T lr,       \
                                          T divisor, T noise, uint64_t n)                          \
    {                                                                                              \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++) param_out[i] =                       \
            param[i] - lr * (grad[i] / divisor + noise);                                           \
    }                                                                                              \
    static void dpsgd_run_##S(struct op_ctx *ctx, T noise)                                         \
    {                                                                                              \
        uint64_t n = tensor_count(op_in(ctx, DPSGD_PARAM));                                        \
        const T *grad = op_in(ctx, DPSGD_GRAD)->data;                                              \
        T norm = (T)sqrt(lanes_squares_##S(grad, n)), clip = (T)ctx->attr[DPSGD_CLIP]->f;          \
        dpsgd_dense_##S(op_out(ctx, 0)->data, op_in(ctx, DPSGD_PARAM)->data, grad,                 \
                        *(const T *)op_in(ctx, DPSGD_LR)->data, norm > clip ? norm / clip : 1,     \
                        noise / (T)ctx->attr[DPSGD_BATCH_SIZE]->f, n);                             \
    }

DEFINE_DPSGD(float, f32)
DEFINE_DPSGD(double, f64)

static float draw(struct rng_minstd *rng, bool f32)
{
    return f32 ? rng_minstd_canonical(rng) : (float)rng_minstd_canonical_f64(rng);
}

static float draw_noise(int64_t seed, bool f32)
{
    struct rng_minstd rng;
    float a, b, q;
    rng_minstd_seed(&rng, seed != 0 ? (uint32_t)seed : (uint32_t)rng_entropy_u64() | 1);
    do {
        a = 2 * draw(&rng, f32) - 1;
        b = 2 * draw(&rng, f32) - 1;
        q = a * a + b * b;
    } while (q >= 1 || q == 0);
    return a * sqrtf(-2 * logf(q) / q);
}

static int dpsgd_infer(struct op_shape *shape)
{
    return optimizer_shape_infer(shape, (const int[]){DPSGD_GRAD, -1}, (const int[]){DPSGD_LR, -1});
}

static int dpsgd_forward(struct op_ctx *ctx)
{
    int rc = optimizer_shape_check_dtype(ctx);
    if (rc < 0)
        return rc;
    bool f32 = op_in(ctx, DPSGD_PARAM)->dtype == DTYPE_FP32;
    float noise = draw_noise(ctx->attr[DPSGD_SEED]->i, f32) * ctx->attr[DPSGD_SIGMA]->f;
    if (f32)
        dpsgd_run_f32(ctx, noise);
    else
        dpsgd_run_f64(ctx, (double)noise);
    return 0;
}

const struct op_def op_dpsgd = {
    .type = "dpsgd",
    .inputs = dpsgd_inputs,
    .outputs = dpsgd_outputs,
    .attrs = dpsgd_attrs,
    .infer_shape = dpsgd_infer,
    .kernel = dpsgd_forward,
};
