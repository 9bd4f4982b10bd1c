// SPDX-License-Identifier: Apache-2.0
// Random tensors with Fluid's own engines (base/rng.h has them in float; in double they are here).
//
//   uniform_random             min .. max; diag_num > 0 then puts diag_val on the diagonal
//                              positions i (diag_step + 1), i < diag_num
//   gaussian_random            mean, std
//   truncated_gaussian_random  mean, std, cut at two standard deviations
//
// A seed that is not 0 starts the engine afresh in every run; seed 0 draws one from the system.

#include <math.h>

#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/ops/op.h"
#include "common/ops/shape_input.h"

extern const struct op_def op_random_uniform, op_random_gaussian, op_random_truncated_gaussian;

enum { RANDOM_SHAPE_TENSOR, RANDOM_SHAPE_LIST };
static const struct op_slot_def random_inputs[] = {
    {"ShapeTensor", OP_SLOT_OPTIONAL},
    {"ShapeTensorList", OP_SLOT_OPTIONAL | OP_SLOT_LIST},
    {NULL, 0}};
static const struct op_slot_def no_inputs[] = {{NULL, 0}};
static const struct op_slot_def random_outputs[] = {{"Out", 0}, {NULL, 0}};

enum {
    UNIFORM_SHAPE,
    UNIFORM_MIN,
    UNIFORM_MAX,
    UNIFORM_SEED,
    UNIFORM_DIAG_NUM,
    UNIFORM_DIAG_STEP,
    UNIFORM_DIAG_VAL,
    UNIFORM_DTYPE
};
static const struct op_attr_def uniform_attrs[] = {
    OP_ATTR_LIST("shape", ATTR_LONGS),
    OP_ATTR_FLOAT("min", -1),
    OP_ATTR_FLOAT("max", 1),
    OP_ATTR_INT("seed", 0),
    OP_ATTR_INT("diag_num", 0),
    OP_ATTR_INT("diag_step", 0),
    OP_ATTR_FLOAT("diag_val", 1),
    OP_ATTR_INT("dtype", DTYPE_FP32),
    {.name = NULL},
};
enum { GAUSSIAN_SHAPE, GAUSSIAN_MEAN, GAUSSIAN_STD, GAUSSIAN_SEED, GAUSSIAN_DTYPE };
static const struct op_attr_def gaussian_attrs[] = {
    OP_ATTR_LIST("shape", ATTR_LONGS),
    OP_ATTR_FLOAT("mean", 0),
    OP_ATTR_FLOAT("std", 1),
    OP_ATTR_INT("seed", 0),
    OP_ATTR_INT("dtype", DTYPE_FP32),
    OP_ATTR_BOOL("use_mkldnn", 0),
    {.name = NULL},
};
static const struct op_attr_def truncated_attrs[] = {
    {.name = "shape", .type = ATTR_INTS, .required = true},
    OP_ATTR_FLOAT("mean", 0),
    OP_ATTR_FLOAT("std", 1),
    OP_ATTR_INT("seed", 0),
    OP_ATTR_INT("dtype", DTYPE_FP32),
    {.name = NULL},
};
static const struct shape_input random_shape = {RANDOM_SHAPE_TENSOR, RANDOM_SHAPE_LIST,
                                                UNIFORM_SHAPE};
static const struct shape_input truncated_shape = {-1, -1, GAUSSIAN_SHAPE};

static uint32_t seed_of(const struct attr *attr)
{
    return attr->i != 0 ? (uint32_t)attr->i : (uint32_t)rng_entropy_u64() | 1;
}

// libstdc++'s double in [0, 1): two numbers of the engine, the second one is the high part.
static double canonical_f64(struct rng_minstd *rng)
{
    const double range = 2147483646.0;
    rng_minstd_canonical(rng);
    double sum = (double)(rng->x - 1);
    rng_minstd_canonical(rng);
    sum += (double)(rng->x - 1) * range;
    sum /= range * range;
    return sum < 1 ? sum : nextafter(1, 0);
}

static void fill_uniform_f64(double *out, uint64_t n, double min, double max, uint32_t seed)
{
    struct rng_minstd rng;
    rng_minstd_seed(&rng, seed);
    for (uint64_t i = 0; i < n; i++)
        out[i] = canonical_f64(&rng) * (max - min) + min;
}

// The polar method gives two numbers at a time: the second one is kept for the next element.
static void fill_normal_f64(double *out, uint64_t n, double mean, double std, uint32_t seed)
{
    struct rng_minstd rng;
    double kept = 0;
    rng_minstd_seed(&rng, seed);
    for (uint64_t i = 0; i < n; i++) {
        double z = kept;
        if (i % 2 == 0) {
            double a, b, q;
            do {
                a = 2 * canonical_f64(&rng) - 1;
                b = 2 * canonical_f64(&rng) - 1;
                q = a * a + b * b;
            } while (q > 1 || q == 0);
            double m = sqrt(-2 * log(q) / q);
            kept = a * m;
            z = b * m;
        }
        out[i] = z * std + mean;
    }
}

// Sizes Out for one of the two types that random numbers come in.
static int resize_out(struct op_ctx *ctx, const struct shape_input *input, int64_t dtype)
{
    if (dtype != DTYPE_FP32 && dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)dtype);
    return shape_input_resize(ctx, input, (enum dtype)dtype);
}

static int put_diagonal(struct op_ctx *ctx, struct tensor *out)
{
    int64_t num = ctx->attr[UNIFORM_DIAG_NUM]->i, step = ctx->attr[UNIFORM_DIAG_STEP]->i;
    float value = ctx->attr[UNIFORM_DIAG_VAL]->f;
    if (num <= 0)
        return 0;
    if (step < 0 || (uint64_t)(num - 1) * (uint64_t)(step + 1) >= tensor_count(out))
        return err_set(ctx->err, SL_EINVAL, "diag_num %lld and diag_step %lld lead outside of Out",
                       (long long)num, (long long)step);
    for (int64_t i = 0; i < num; i++) {
        if (out->dtype == DTYPE_FP32)
            tensor_f32(out)[i * (step + 1)] = value;
        else
            tensor_f64(out)[i * (step + 1)] = (double)value;
    }
    return 0;
}

static int uniform_forward(struct op_ctx *ctx)
{
    struct tensor *out = op_out(ctx, 0);
    float min = ctx->attr[UNIFORM_MIN]->f, max = ctx->attr[UNIFORM_MAX]->f;
    uint32_t seed = seed_of(ctx->attr[UNIFORM_SEED]);
    int rc = resize_out(ctx, &random_shape, ctx->attr[UNIFORM_DTYPE]->i);
    if (rc < 0)
        return rc;
    if (out->dtype == DTYPE_FP32)
        rng_fill_uniform(tensor_f32(out), tensor_count(out), min, max, seed);
    else
        fill_uniform_f64(tensor_f64(out), tensor_count(out), (double)min, (double)max, seed);
    return put_diagonal(ctx, out);
}

static int gaussian_forward(struct op_ctx *ctx)
{
    struct tensor *out = op_out(ctx, 0);
    float mean = ctx->attr[GAUSSIAN_MEAN]->f, std = ctx->attr[GAUSSIAN_STD]->f;
    uint32_t seed = seed_of(ctx->attr[GAUSSIAN_SEED]);
    int rc = resize_out(ctx, &random_shape, ctx->attr[GAUSSIAN_DTYPE]->i);
    if (rc < 0)
        return rc;
    if (out->dtype == DTYPE_FP32)
        rng_fill_normal(tensor_f32(out), tensor_count(out), mean, std, seed);
    else
        fill_normal_f64(tensor_f64(out), tensor_count(out), (double)mean, (double)std, seed);
    return 0;
}

static int truncated_forward(struct op_ctx *ctx)
{
    struct tensor *out = op_out(ctx, 0);
    if (ctx->attr[GAUSSIAN_DTYPE]->i != DTYPE_FP32)
        return op_bad_dtype(ctx, (int)ctx->attr[GAUSSIAN_DTYPE]->i);
    int rc = resize_out(ctx, &truncated_shape, DTYPE_FP32);
    if (rc < 0)
        return rc;
    rng_fill_truncated_normal(tensor_f32(out), tensor_count(out), ctx->attr[GAUSSIAN_MEAN]->f,
                              ctx->attr[GAUSSIAN_STD]->f, seed_of(ctx->attr[GAUSSIAN_SEED]));
    return 0;
}

static int uniform_infer(struct op_shape *shape)
{
    return shape_input_infer(shape, &random_shape, (int)shape->attr[UNIFORM_DTYPE]->i);
}

static int gaussian_infer(struct op_shape *shape)
{
    return shape_input_infer(shape, &random_shape, (int)shape->attr[GAUSSIAN_DTYPE]->i);
}

static int truncated_infer(struct op_shape *shape)
{
    return shape_input_infer(shape, &truncated_shape, (int)shape->attr[GAUSSIAN_DTYPE]->i);
}

const struct op_def op_random_uniform = {
    .type = "uniform_random",
    .inputs = random_inputs,
    .outputs = random_outputs,
    .attrs = uniform_attrs,
    .infer_shape = uniform_infer,
    .kernel = uniform_forward,
    .kernel_resizes = true,
};

const struct op_def op_random_gaussian = {
    .type = "gaussian_random",
    .inputs = random_inputs,
    .outputs = random_outputs,
    .attrs = gaussian_attrs,
    .infer_shape = gaussian_infer,
    .kernel = gaussian_forward,
    .kernel_resizes = true,
};

const struct op_def op_random_truncated_gaussian = {
    .type = "truncated_gaussian_random",
    .inputs = no_inputs,
    .outputs = random_outputs,
    .attrs = truncated_attrs,
    .infer_shape = truncated_infer,
    .kernel = truncated_forward,
    .kernel_resizes = true,
};
