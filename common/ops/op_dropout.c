// SPDX-License-Identifier: Apache-2.0
// dropout. u is drawn for every element in order, Mask (uint8) = u >= dropout_prob.
//
//   downgrade_in_infer  train Out = X Mask           test Out = X (1 - dropout_prob)
//                       dX = dOut Mask
//   upscale_in_train    train Out = X / (1 - dropout_prob) where Mask, else 0     test Out = X
//                       dX = dOut Mask / (1 - dropout_prob)
//
// The engine starts afresh in every run, from the tensor Seed, else from the attribute seed when
// fix_seed is set, else from a number of the system. With dropout_prob 1 everything is 0. In a test
// run Fluid gives Mask no value; here it is all 1.

#include <string.h>

#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/base/str.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/shape_check.h"

extern const struct op_def op_dropout, op_dropout_grad;

enum { DROPOUT_PROB, DROPOUT_IS_TEST, DROPOUT_FIX_SEED, DROPOUT_SEED, DROPOUT_IMPLEMENTATION };
static const struct op_attr_def dropout_attrs[] = {
    OP_ATTR_FLOAT("dropout_prob", 0.5),
    OP_ATTR_BOOL("is_test", 0),
    OP_ATTR_BOOL("fix_seed", 0),
    OP_ATTR_INT("seed", 0),
    OP_ATTR_STRING("dropout_implementation", "downgrade_in_infer"),
    {.name = NULL},
};

enum { DROPOUT_X, DROPOUT_SEED_TENSOR };
static const struct op_slot_def dropout_inputs[] = {
    {"X", 0}, {"Seed", OP_SLOT_OPTIONAL}, {NULL, 0}};
enum { DROPOUT_OUT, DROPOUT_MASK };
static const struct op_slot_def dropout_outputs[] = {
    {"Out", 0}, {"Mask", OP_SLOT_OPTIONAL}, {NULL, 0}};
enum { DROPOUT_GRAD_DOUT, DROPOUT_GRAD_MASK };
static const struct op_slot_def dropout_grad_inputs[] = {{"Out@GRAD", 0}, {"Mask", 0}, {NULL, 0}};
static const struct op_slot_def dropout_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

// Zeros are written as such: an infinite X that is dropped must not become NaN.
#define DEFINE_DROPOUT(T, S)                                                                       \
    OP_CLONES static void apply_##S(T *out, const T *x, const uint8_t *mask, T divisor, size_t n)  \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            out[i] = mask[i] ? x[i] / divisor : 0;                                                 \
    }                                                                                              \
    OP_CLONES static void scale_##S(T *out, const T *x, T factor, size_t n)                        \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            out[i] = x[i] * factor;                                                                \
    }                                                                                              \
    OP_CLONES static void backward_##S(T *dx, const T *dout, const uint8_t *mask, T divisor,       \
                                       size_t n)                                                   \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            dx[i] = dout[i] * (T)mask[i] / divisor;                                                \
    }

DEFINE_DROPOUT(float, f32)
DEFINE_DROPOUT(double, f64)

static int check_attrs(const struct attr *const *attr, struct err *err)
{
    float prob = attr[DROPOUT_PROB]->f;
    const char *implementation = attr[DROPOUT_IMPLEMENTATION]->s;
    if (!(prob >= 0 && prob <= 1))
        return err_set(err, SL_EINVAL, "dropout_prob %g is not from 0 to 1", (double)prob);
    if (!str_eq(implementation, "downgrade_in_infer") &&
        !str_eq(implementation, "upscale_in_train"))
        return err_set(err, SL_EINVAL,
                       "dropout_implementation `%s` is not downgrade_in_infer or upscale_in_train",
                       implementation);
    return 0;
}

static bool is_upscale(const struct op_ctx *ctx)
{
    return str_eq(ctx->attr[DROPOUT_IMPLEMENTATION]->s, "upscale_in_train");
}

static int dropout_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, DROPOUT_X, 0);
    int rc = check_attrs(shape->attr, shape->err);
    if (rc < 0)
        return rc;
    op_shape_copy(shape, DROPOUT_OUT, 0, x);
    op_shape_set(shape, DROPOUT_MASK, 0, &x->dims, DTYPE_UINT8, NULL);
    return 0;
}

static int dropout_grad_infer(struct op_shape *shape)
{
    int rc = check_attrs(shape->attr, shape->err);
    if (rc == 0)
        rc = shape_check_same(shape, DROPOUT_GRAD_DOUT, DROPOUT_GRAD_MASK);
    if (rc == 0)
        op_shape_copy(shape, 0, 0, op_shape_in(shape, DROPOUT_GRAD_DOUT, 0));
    return rc;
}

// The engine takes a seed modulo 2^31-1; a negative one counts from 2^64.
static uint32_t reduced(int64_t seed)
{
    return (uint32_t)((uint64_t)seed % 2147483647u);
}

static int seed_of(const struct op_ctx *ctx, uint32_t *out)
{
    const struct tensor *seed = op_in(ctx, DROPOUT_SEED_TENSOR);
    if (seed != NULL) {
        if (seed->dtype != DTYPE_INT32 || tensor_count(seed) < 1)
            return err_set(ctx->err, SL_EINVAL, "Seed must be one int32 number");
        *out = reduced(tensor_i32(seed)[0]);
    } else if (attr_bool(ctx->attr[DROPOUT_FIX_SEED])) {
        *out = reduced(ctx->attr[DROPOUT_SEED]->i);
    } else {
        *out = (uint32_t)rng_entropy_u64();
    }
    return 0;
}

static void draw_mask(uint8_t *mask, uint64_t n, float prob, uint32_t seed)
{
    struct rng_minstd rng;
    rng_minstd_seed(&rng, seed);
    for (uint64_t i = 0; i < n; i++)
        mask[i] = rng_minstd_canonical(&rng) >= prob;
}

// The mask lies in the output, or in a temporary when the program has none.
static int mask_of(struct op_ctx *ctx, struct tensor **out)
{
    *out = op_out(ctx, DROPOUT_MASK);
    if (*out != NULL)
        return 0;
    *out = &ctx->temps[0];
    return op_resize(*out, DTYPE_UINT8, &op_in(ctx, DROPOUT_X)->dims, ctx->err);
}

static int train(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, DROPOUT_X);
    struct tensor *out = op_out(ctx, DROPOUT_OUT), *mask;
    uint64_t n = tensor_count(x);
    float prob = ctx->attr[DROPOUT_PROB]->f, divisor = is_upscale(ctx) ? 1 - prob : 1;
    uint32_t seed = 0;
    int rc = seed_of(ctx, &seed);
    if (rc < 0 || (rc = mask_of(ctx, &mask)) < 0)
        return rc;
    if (prob == 1)
        memset(mask->data, 0, n);
    else
        draw_mask(mask->data, n, prob, seed);
    if (x->dtype == DTYPE_FP32)
        apply_f32(tensor_f32(out), tensor_f32(x), mask->data, divisor, n);
    else
        apply_f64(tensor_f64(out), tensor_f64(x), mask->data, (double)divisor, n);
    return 0;
}

static int dropout_forward(struct op_ctx *ctx)
{
    static const int others[] = {-1};
    const struct tensor *x = op_in(ctx, DROPOUT_X);
    struct tensor *out = op_out(ctx, DROPOUT_OUT), *mask = op_out(ctx, DROPOUT_MASK);
    uint64_t n = tensor_count(x);
    int rc = shape_check_floats(ctx, others);
    if (rc < 0 || n == 0)
        return rc;
    if (!attr_bool(ctx->attr[DROPOUT_IS_TEST]))
        return train(ctx);
    float factor = is_upscale(ctx) ? 1 : 1 - ctx->attr[DROPOUT_PROB]->f;
    if (x->dtype == DTYPE_FP32)
        scale_f32(tensor_f32(out), tensor_f32(x), factor, n);
    else
        scale_f64(tensor_f64(out), tensor_f64(x), (double)factor, n);
    if (mask != NULL)
        memset(mask->data, 1, n);
    return 0;
}

static int dropout_backward(struct op_ctx *ctx)
{
    static const int others[] = {-1};
    const struct tensor *dout = op_in(ctx, DROPOUT_GRAD_DOUT),
                        *mask = op_in(ctx, DROPOUT_GRAD_MASK);
    struct tensor *dx = op_out(ctx, 0);
    float prob = ctx->attr[DROPOUT_PROB]->f;
    float divisor = is_upscale(ctx) && prob < 1 ? 1 - prob : 1;
    int rc = shape_check_floats(ctx, others);
    if (rc < 0 || dx == NULL || tensor_count(dout) == 0)
        return rc;
    if (attr_bool(ctx->attr[DROPOUT_IS_TEST]))
        return err_set(ctx->err, SL_EUSAGE, "a test run (is_test) has no gradient");
    if (mask->dtype != DTYPE_UINT8)
        return err_set(ctx->err, SL_EMISMATCH, "Mask must be uint8");
    if (dout->dtype == DTYPE_FP32)
        backward_f32(tensor_f32(dx), tensor_f32(dout), mask->data, divisor, tensor_count(dout));
    else
        backward_f64(tensor_f64(dx), tensor_f64(dout), mask->data, (double)divisor,
                     tensor_count(dout));
    return 0;
}

const struct op_def op_dropout = {
    .type = "dropout",
    .inputs = dropout_inputs,
    .outputs = dropout_outputs,
    .attrs = dropout_attrs,
    .grad = {.type = "dropout_grad", .inputs = "Out@GRAD Mask", .outputs = "X@GRAD"},
    .infer_shape = dropout_infer,
    .kernel = dropout_forward,
    .temps = 1,
};

const struct op_def op_dropout_grad = {
    .type = "dropout_grad",
    .inputs = dropout_grad_inputs,
    .outputs = dropout_grad_outputs,
    .attrs = dropout_attrs,
    .infer_shape = dropout_grad_infer,
    .kernel = dropout_backward,
};
