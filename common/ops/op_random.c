// SPDX-License-Identifier: Apache-2.0
// Random tensors with Fluid's own engines (base/rng.h has them in float; in double they are here).
//
//   uniform_random             min .. max; diag_num > 0 then puts diag_val on the diagonal
//                              positions i (diag_step + 1), i < diag_num
//   gaussian_random            mean, std
//   truncated_gaussian_random  mean, std, cut at two standard deviations
//   *_batch_size_like          the first two with a side taken from another tensor
//   randint                    whole numbers low .. high-1
//   seed                       one int32: the attribute seed, or a number of the system for 0
//
// A seed that is not 0 starts the engine afresh in every run; seed 0 draws one from the system. The
// attribute first_element (ours, of the first three) gives a later part of the same stream: a
// server's rows of what one machine would draw, without drawing room for the rest.

#include <math.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/ops/batch_like.h"
#include "common/ops/op.h"
#include "common/ops/shape_input.h"

extern const struct op_def op_random_uniform, op_random_gaussian, op_random_truncated_gaussian;
extern const struct op_def op_random_uniform_like, op_random_gaussian_like, op_random_randint;
extern const struct op_def op_random_seed;

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
    UNIFORM_DTYPE,
    UNIFORM_FIRST
};
// Ours: how many elements of the stream lie before Out's first one.
#define FIRST_ELEMENT                                                                              \
    {                                                                                              \
        .name = "first_element", .type = ATTR_LONG, .kernel_only = true                            \
    }
static const struct op_attr_def uniform_attrs[] = {
    OP_ATTR_LIST("shape", ATTR_LONGS),
    OP_ATTR_FLOAT("min", -1),
    OP_ATTR_FLOAT("max", 1),
    OP_ATTR_INT("seed", 0),
    OP_ATTR_INT("diag_num", 0),
    OP_ATTR_INT("diag_step", 0),
    OP_ATTR_FLOAT("diag_val", 1),
    OP_ATTR_INT("dtype", DTYPE_FP32),
    FIRST_ELEMENT,
    {.name = NULL},
};
enum { GAUSSIAN_SHAPE, GAUSSIAN_MEAN, GAUSSIAN_STD, GAUSSIAN_SEED, GAUSSIAN_DTYPE, GAUSSIAN_FIRST };
static const struct op_attr_def gaussian_attrs[] = {
    OP_ATTR_LIST("shape", ATTR_LONGS), OP_ATTR_FLOAT("mean", 0),
    OP_ATTR_FLOAT("std", 1),           OP_ATTR_INT("seed", 0),
    OP_ATTR_INT("dtype", DTYPE_FP32),  FIRST_ELEMENT,
    OP_ATTR_BOOL("use_mkldnn", 0),     {.name = NULL},
};
static const struct op_attr_def truncated_attrs[] = {
    {.name = "shape", .type = ATTR_INTS, .required = true},
    OP_ATTR_FLOAT("mean", 0),
    OP_ATTR_FLOAT("std", 1),
    OP_ATTR_INT("seed", 0),
    OP_ATTR_INT("dtype", DTYPE_FP32),
    FIRST_ELEMENT,
    {.name = NULL},
};
// The same attributes behind those of batch_like.h.
#define LIKE(attr) ((int)BATCH_LIKE_ATTRS + (int)(attr)-1)
static const struct op_slot_def like_inputs[] = {{"Input", 0}, {NULL, 0}};
static const struct op_attr_def uniform_like_attrs[] = {
    BATCH_LIKE_ATTR_ROWS,         OP_ATTR_FLOAT("min", -1),         OP_ATTR_FLOAT("max", 1),
    OP_ATTR_INT("seed", 0),       OP_ATTR_INT("diag_num", 0),       OP_ATTR_INT("diag_step", 0),
    OP_ATTR_FLOAT("diag_val", 1), OP_ATTR_INT("dtype", DTYPE_FP32), {.name = NULL},
};
static const struct op_attr_def gaussian_like_attrs[] = {
    BATCH_LIKE_ATTR_ROWS,   OP_ATTR_FLOAT("mean", 0),         OP_ATTR_FLOAT("std", 1),
    OP_ATTR_INT("seed", 0), OP_ATTR_INT("dtype", DTYPE_FP32), {.name = NULL},
};
enum { RANDINT_SHAPE, RANDINT_LOW, RANDINT_HIGH, RANDINT_DTYPE, RANDINT_SEED };
static const struct op_attr_def randint_attrs[] = {
    OP_ATTR_LIST("shape", ATTR_LONGS),
    {.name = "low", .type = ATTR_INT, .required = true},
    {.name = "high", .type = ATTR_INT, .required = true},
    OP_ATTR_INT("dtype", DTYPE_INT64),
    OP_ATTR_INT("seed", 0),
    {.name = NULL},
};
static const struct shape_input random_shape = {RANDOM_SHAPE_TENSOR, RANDOM_SHAPE_LIST,
                                                UNIFORM_SHAPE};
static const struct shape_input truncated_shape = {-1, -1, GAUSSIAN_SHAPE};

static uint32_t seed_of(const struct attr *attr)
{
    return attr->i != 0 ? (uint32_t)attr->i : (uint32_t)rng_entropy_u64() | 1;
}

static void fill_uniform_f64(double *out, uint64_t n, double min, double max, uint32_t seed,
                             uint64_t first)
{
    struct rng_minstd rng;
    rng_minstd_seed(&rng, seed);
    rng_minstd_skip(&rng, 2 * first);
    for (uint64_t i = 0; i < n; i++)
        out[i] = rng_minstd_canonical_f64(&rng) * (max - min) + min;
}

// The polar method gives two numbers at a time: the second one is kept for the next element. What
// comes before the first wanted one is drawn too.
static void fill_normal_f64(double *out, uint64_t n, double mean, double std, uint32_t seed,
                            uint64_t first)
{
    struct rng_minstd rng;
    double kept = 0;
    rng_minstd_seed(&rng, seed);
    for (uint64_t i = 0; i < first + n; i++) {
        double z = kept;
        if (i % 2 == 0) {
            double a, b, q;
            do {
                a = 2 * rng_minstd_canonical_f64(&rng) - 1;
                b = 2 * rng_minstd_canonical_f64(&rng) - 1;
                q = a * a + b * b;
            } while (q > 1 || q == 0);
            double m = sqrt(-2 * log(q) / q);
            kept = a * m;
            z = b * m;
        }
        if (i >= first)
            out[i - first] = z * std + mean;
    }
}

// libstdc++'s uniform whole number in [0, range]: the engine's numbers are cut into range + 1 equal
// parts and what is left over is drawn again; a range wider than the engine's takes two digits.
static uint64_t draw_up_to(struct rng_minstd *rng, uint64_t range)
{
    const uint64_t engine = 2147483645;   // its numbers, from 0
    uint64_t x;
    if (range < engine) {
        uint64_t scale = engine / (range + 1), past = scale * (range + 1);
        do {
            rng_minstd_canonical(rng);
            x = rng->x - 1;
        } while (x >= past);
        return x / scale;
    }
    if (range == engine) {
        rng_minstd_canonical(rng);
        return rng->x - 1;
    }
    do {
        x = (engine + 1) * draw_up_to(rng, range / (engine + 1));
        rng_minstd_canonical(rng);
        x += rng->x - 1;
    } while (x > range);
    return x;
}

// diag_num, diag_step and diag_val follow `num` in the attribute table.
static int put_diagonal(struct op_ctx *ctx, int at, struct tensor *out)
{
    int64_t num = ctx->attr[at]->i, step = ctx->attr[at + 1]->i;
    float value = ctx->attr[at + 2]->f;
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

// The sized Out from the attributes that begin with min.
static int fill_uniform(struct op_ctx *ctx, int at, uint64_t first)
{
    struct tensor *out = op_out(ctx, 0);
    float min = ctx->attr[at]->f, max = ctx->attr[at + 1]->f;
    uint32_t seed = seed_of(ctx->attr[at + UNIFORM_SEED - UNIFORM_MIN]);
    if (out->dtype == DTYPE_FP32)
        rng_fill_uniform(tensor_f32(out), tensor_count(out), min, max, seed, first);
    else
        fill_uniform_f64(tensor_f64(out), tensor_count(out), (double)min, (double)max, seed, first);
    return put_diagonal(ctx, at + UNIFORM_DIAG_NUM - UNIFORM_MIN, out);
}

// The sized Out from the attributes that begin with mean.
static void fill_gaussian(struct op_ctx *ctx, int at, uint64_t first)
{
    struct tensor *out = op_out(ctx, 0);
    float mean = ctx->attr[at]->f, std = ctx->attr[at + 1]->f;
    uint32_t seed = seed_of(ctx->attr[at + 2]);
    if (out->dtype == DTYPE_FP32)
        rng_fill_normal(tensor_f32(out), tensor_count(out), mean, std, seed, first);
    else
        fill_normal_f64(tensor_f64(out), tensor_count(out), (double)mean, (double)std, seed, first);
}

// first_element, checked.
static int first_of(const struct op_ctx *ctx, const struct attr *attr, uint64_t *out)
{
    if (attr->i < 0 || attr->i > INT64_MAX / 4)
        return err_set(ctx->err, SL_EINVAL, "first_element is %lld", (long long)attr->i);
    *out = (uint64_t)attr->i;
    return 0;
}

// Random numbers come in two types.
static int check_dtype(const struct op_ctx *ctx, int64_t dtype)
{
    return dtype == DTYPE_FP32 || dtype == DTYPE_FP64 ? 0 : op_bad_dtype(ctx, (int)dtype);
}

static int uniform_forward(struct op_ctx *ctx)
{
    int64_t dtype = ctx->attr[UNIFORM_DTYPE]->i;
    uint64_t first = 0;
    int rc = check_dtype(ctx, dtype);
    if (rc == 0)
        rc = first_of(ctx, ctx->attr[UNIFORM_FIRST], &first);
    if (rc == 0)
        rc = shape_input_resize(ctx, &random_shape, (enum dtype)dtype);
    return rc < 0 ? rc : fill_uniform(ctx, UNIFORM_MIN, first);
}

static int uniform_like_forward(struct op_ctx *ctx)
{
    int64_t dtype = ctx->attr[LIKE(UNIFORM_DTYPE)]->i;
    int rc = check_dtype(ctx, dtype);
    if (rc == 0)
        rc = batch_like_resize(ctx, (enum dtype)dtype, false);
    return rc < 0 ? rc : fill_uniform(ctx, LIKE(UNIFORM_MIN), 0);
}

static int gaussian_forward(struct op_ctx *ctx)
{
    int64_t dtype = ctx->attr[GAUSSIAN_DTYPE]->i;
    uint64_t first = 0;
    int rc = check_dtype(ctx, dtype);
    if (rc == 0)
        rc = first_of(ctx, ctx->attr[GAUSSIAN_FIRST], &first);
    if (rc == 0 && (rc = shape_input_resize(ctx, &random_shape, (enum dtype)dtype)) == 0)
        fill_gaussian(ctx, GAUSSIAN_MEAN, first);
    return rc;
}

static int gaussian_like_forward(struct op_ctx *ctx)
{
    int64_t dtype = ctx->attr[LIKE(GAUSSIAN_DTYPE)]->i;
    int rc = check_dtype(ctx, dtype);
    if (rc == 0 && (rc = batch_like_resize(ctx, (enum dtype)dtype, false)) == 0)
        fill_gaussian(ctx, LIKE(GAUSSIAN_MEAN), 0);
    return rc;
}

static int randint_forward(struct op_ctx *ctx)
{
    struct tensor *out = op_out(ctx, 0);
    int64_t low = ctx->attr[RANDINT_LOW]->i, high = ctx->attr[RANDINT_HIGH]->i;
    int64_t dtype = ctx->attr[RANDINT_DTYPE]->i;
    struct rng_minstd rng;
    if (dtype != DTYPE_INT32 && dtype != DTYPE_INT64)
        return op_bad_dtype(ctx, (int)dtype);
    if (low >= high)
        return err_set(ctx->err, SL_EINVAL, "low %lld is not less than high %lld", (long long)low,
                       (long long)high);
    int rc = shape_input_resize(ctx, &random_shape, (enum dtype)dtype);
    if (rc < 0)
        return rc;
    rng_minstd_seed(&rng, seed_of(ctx->attr[RANDINT_SEED]));
    for (uint64_t i = 0, n = tensor_count(out); i < n; i++) {
        int64_t x = low + (int64_t)draw_up_to(&rng, (uint64_t)(high - low - 1));
        if (dtype == DTYPE_INT32)
            tensor_i32(out)[i] = (int32_t)x;
        else
            tensor_i64(out)[i] = x;
    }
    return 0;
}

static int truncated_forward(struct op_ctx *ctx)
{
    struct tensor *out = op_out(ctx, 0);
    if (ctx->attr[GAUSSIAN_DTYPE]->i != DTYPE_FP32)
        return op_bad_dtype(ctx, (int)ctx->attr[GAUSSIAN_DTYPE]->i);
    uint64_t first = 0;
    int rc = first_of(ctx, ctx->attr[GAUSSIAN_FIRST], &first);
    if (rc == 0)
        rc = shape_input_resize(ctx, &truncated_shape, DTYPE_FP32);
    if (rc < 0)
        return rc;
    rng_fill_truncated_normal(tensor_f32(out), tensor_count(out), ctx->attr[GAUSSIAN_MEAN]->f,
                              ctx->attr[GAUSSIAN_STD]->f, seed_of(ctx->attr[GAUSSIAN_SEED]), first);
    return 0;
}

static int seed_forward(struct op_ctx *ctx)
{
    struct tensor *out = op_out(ctx, 0);
    const struct dims one = {.rank = 1, .d = {1}};
    int rc = op_resize(out, DTYPE_INT32, &one, ctx->err);
    if (rc < 0)
        return rc;
    uint32_t seed = seed_of(ctx->attr[0]);
    memcpy(tensor_i32(out), &seed, sizeof seed);
    return 0;
}

static int seed_infer(struct op_shape *shape)
{
    const struct dims one = {.rank = 1, .d = {1}};
    op_shape_set(shape, 0, 0, &one, DTYPE_INT32, NULL);
    return 0;
}

static int uniform_infer(struct op_shape *shape)
{
    return shape_input_infer(shape, &random_shape, (int)shape->attr[UNIFORM_DTYPE]->i);
}

static int uniform_like_infer(struct op_shape *shape)
{
    return batch_like_infer(shape, (int)shape->attr[LIKE(UNIFORM_DTYPE)]->i);
}

static int gaussian_like_infer(struct op_shape *shape)
{
    return batch_like_infer(shape, (int)shape->attr[LIKE(GAUSSIAN_DTYPE)]->i);
}

static int randint_infer(struct op_shape *shape)
{
    return shape_input_infer(shape, &random_shape, (int)shape->attr[RANDINT_DTYPE]->i);
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

const struct op_def op_random_uniform_like = {
    .type = "uniform_random_batch_size_like",
    .inputs = like_inputs,
    .outputs = random_outputs,
    .attrs = uniform_like_attrs,
    .infer_shape = uniform_like_infer,
    .kernel = uniform_like_forward,
    .kernel_resizes = true,
};

const struct op_def op_random_gaussian_like = {
    .type = "gaussian_random_batch_size_like",
    .inputs = like_inputs,
    .outputs = random_outputs,
    .attrs = gaussian_like_attrs,
    .infer_shape = gaussian_like_infer,
    .kernel = gaussian_like_forward,
    .kernel_resizes = true,
};

static const struct op_attr_def seed_attrs[] = {OP_ATTR_INT("seed", 0), {.name = NULL}};

const struct op_def op_random_seed = {
    .type = "seed",
    .inputs = no_inputs,
    .outputs = random_outputs,
    .attrs = seed_attrs,
    .infer_shape = seed_infer,
    .kernel = seed_forward,
    .kernel_resizes = true,
};

const struct op_def op_random_randint = {
    .type = "randint",
    .inputs = random_inputs,
    .outputs = random_outputs,
    .attrs = randint_attrs,
    .infer_shape = randint_infer,
    .kernel = randint_forward,
    .kernel_resizes = true,
};
