// SPDX-License-Identifier: Apache-2.0
// ftrl (follow the regularized leader), r = -lr_power:
//   SquaredAccumOut = SquaredAccumulator + Grad Grad
//   LinearAccumOut  = LinearAccumulator + Grad
//                     - (SquaredAccumOut^r - SquaredAccumulator^r) / LearningRate Param
//   ParamOut        = (l1 sign(LinearAccumOut) - LinearAccumOut) /
//                     (SquaredAccumOut^r / LearningRate + 2 l2)    where |LinearAccumOut| > l1
//                     0                                            elsewhere
// With a gradient of selected rows (which Fluid refuses) the rows that it names are updated, others
// stay as they are.
// Each output is its input's memory or does not overlap it; both forms give the same bits.
//
// The difference of two roots makes the last bits of a root count. Fluid 1.8's float roots are not
// exact: they are x rsqrt(x), with the processor's estimate of rsqrt (12 bits) and one step of
// Newton's. The same is done here, where the processor has that estimate. (Fluid takes exact roots
// of the up to seven numbers at a tensor's end; here every number is treated alike, so that pieces
// give the bits of the whole.)

#include <float.h>
#include <tgmath.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/optimizer_shape.h"
#include "common/ops/rows_update.h"

extern const struct op_def op_ftrl;

enum { FTRL_L1, FTRL_L2, FTRL_LR_POWER };
static const struct op_attr_def ftrl_attrs[] = {
    OP_ATTR_FLOAT("l1", 0),
    OP_ATTR_FLOAT("l2", 0),
    OP_ATTR_FLOAT("lr_power", -0.5),
    {.name = NULL},
};
enum { FTRL_PARAM, FTRL_SQUARED, FTRL_LINEAR, FTRL_GRAD, FTRL_LR };
enum { FTRL_PARAM_OUT, FTRL_SQUARED_OUT, FTRL_LINEAR_OUT };
static const struct op_slot_def ftrl_inputs[] = {
    {"Param", 0},           {"SquaredAccumulator", 0}, {"LinearAccumulator", 0},
    {"Grad", OP_SLOT_ROWS}, {"LearningRate", 0},       {NULL, 0}};
static const struct op_slot_def ftrl_outputs[] = {
    {"ParamOut", 0}, {"SquaredAccumOut", 0}, {"LinearAccumOut", 0}, {NULL, 0}};

// Fluid's root.
static inline float ftrl_root_of(float x)
{
#ifdef __SSE__
    float estimate = _mm_cvtss_f32(_mm_rsqrt_ss(_mm_set_ss(x)));
    return x < FLT_MIN ? 0 : x * (estimate * (1.5f - x * 0.5f * (estimate * estimate)));
#else
    return sqrtf(x);
#endif
}

// POWER is the r-th power of a number.
#define DEFINE_FTRL_LOOP(NAME, T, S, POWER)                                                        \
    OP_CLONES static void ftrl_##NAME##_##S(const void *args, const void *grad, uint64_t first,    \
                                            uint64_t n)                                            \
    {                                                                                              \
        struct ftrl_##S a = *(const struct ftrl_##S *)args;                                        \
        const T *grads = grad;                                                                     \
        _Pragma("GCC ivdep") for (uint64_t i = 0; i < n; i++)                                      \
        {                                                                                          \
            T g = grads[i], old = a.squared[first + i], sum = old + g * g;                         \
            T power = POWER(sum);                                                                  \
            T linear = a.linear[first + i] + g - (power - POWER(old)) / a.lr * a.param[first + i]; \
            T l1 = linear > 0 ? a.l1 : linear < 0 ? -a.l1 : 0;                                     \
            T p = (l1 - linear) / (power / a.lr + 2 * a.l2);                                       \
            a.squared_out[first + i] = sum;                                                        \
            a.linear_out[first + i] = linear;                                                      \
            a.param_out[first + i] = fabs(linear) > a.l1 ? p : 0;                                  \
        }                                                                                          \
    }
#define ROOT_f32(X) ftrl_root_of(X)
#define ROOT_f64(X) sqrt(X)
#define ANY_POWER(X) pow(X, a.power)
#define DEFINE_FTRL(T, S)                                                                          \
    struct ftrl_##S {                                                                              \
        T *param_out, *squared_out, *linear_out;                                                   \
        const T *param, *squared, *linear;                                                         \
        T lr, l1, l2, power;                                                                       \
    };                                                                                             \
    DEFINE_FTRL_LOOP(root, T, S, ROOT_##S)                                                         \
    DEFINE_FTRL_LOOP(power, T, S, ANY_POWER)                                                       \
    static int ftrl_run_##S(struct op_ctx *ctx)                                                    \
    {                                                                                              \
        float lr_power = ctx->attr[FTRL_LR_POWER]->f;                                              \
        struct ftrl_##S a = {                                                                      \
            .param_out = op_out(ctx, FTRL_PARAM_OUT)->data,                                        \
            .squared_out = op_out(ctx, FTRL_SQUARED_OUT)->data,                                    \
            .linear_out = op_out(ctx, FTRL_LINEAR_OUT)->data,                                      \
            .param = op_in(ctx, FTRL_PARAM)->data,                                                 \
            .squared = op_in(ctx, FTRL_SQUARED)->data,                                             \
            .linear = op_in(ctx, FTRL_LINEAR)->data,                                               \
            .lr = *(const T *)op_in(ctx, FTRL_LR)->data,                                           \
            .l1 = (T)ctx->attr[FTRL_L1]->f,                                                        \
            .l2 = (T)ctx->attr[FTRL_L2]->f,                                                        \
            .power = (T)-lr_power,                                                                 \
        };                                                                                         \
        return rows_update_run(                                                                    \
            ctx, FTRL_GRAD, ctx->temps,                                                            \
            &(struct rows_update){.dense = lr_power == -0.5f ? ftrl_root_##S : ftrl_power_##S,     \
                                  .args = &a,                                                      \
                                  .rows_only = true});                                             \
    }

DEFINE_FTRL(float, f32)
DEFINE_FTRL(double, f64)

static int ftrl_infer(struct op_shape *shape)
{
    return optimizer_shape_infer(shape, (const int[]){FTRL_GRAD, FTRL_SQUARED, FTRL_LINEAR, -1},
                                 (const int[]){FTRL_LR, -1});
}

static int ftrl_forward(struct op_ctx *ctx)
{
    int rc = optimizer_shape_check_dtype(ctx);
    if (rc < 0)
        return rc;
    return op_in(ctx, FTRL_PARAM)->dtype == DTYPE_FP32 ? ftrl_run_f32(ctx) : ftrl_run_f64(ctx);
}

const struct op_def op_ftrl = {
    .type = "ftrl",
    .inputs = ftrl_inputs,
    .outputs = ftrl_outputs,
    .attrs = ftrl_attrs,
    .infer_shape = ftrl_infer,
    .kernel = ftrl_forward,
    .temps = ROWS_UPDATE_TEMPS,
    .rows_only = rows_update_always,
    .row_splittable = true,
};
