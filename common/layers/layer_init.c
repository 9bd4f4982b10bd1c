// SPDX-License-Identifier: Apache-2.0
// fluid.initializer. Limits and deviations come from the fans of the shape: a matrix [in, out], a
// filter [out, in, ...] with a receptive field, a vector [n] with n for both.

#include "common/layers/layer_init.h"

#include <math.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/passes/op_build.h"
#include "common/program/program.h"

static struct op_desc *make_op(const struct program *startup, const struct var_desc *var,
                               const char *type, const struct sl_initializer *init);
static struct op_desc *make_uniform(const struct program *startup, const struct var_desc *var,
                                    double low, double high, const struct sl_initializer *init);
static struct op_desc *make_normal(const struct program *startup, const struct var_desc *var,
                                   const char *type, double mean, double deviation,
                                   const struct sl_initializer *init);
static struct op_desc *make_array(const struct var_desc *var, const struct sl_tensor *value);
static int append_bilinear(struct block *block, const struct var_desc *var, struct err *err);
static void fans(const struct var_desc *var, double *in, double *out);

struct sl_initializer sl_constant(double value)
{
    return (struct sl_initializer){.kind = SL_INIT_CONSTANT, .a = value};
}

struct sl_initializer sl_uniform(double low, double high, uint32_t seed)
{
    return (struct sl_initializer){.kind = SL_INIT_UNIFORM, .a = low, .b = high, .seed = seed};
}

struct sl_initializer sl_normal(double mean, double deviation, uint32_t seed)
{
    return (struct sl_initializer){.kind = SL_INIT_NORMAL, .a = mean, .b = deviation, .seed = seed};
}

struct sl_initializer sl_truncated_normal(double mean, double deviation, uint32_t seed)
{
    return (struct sl_initializer){
        .kind = SL_INIT_TRUNCATED_NORMAL, .a = mean, .b = deviation, .seed = seed};
}

struct sl_initializer sl_xavier(bool uniform, double fan_in, double fan_out, uint32_t seed)
{
    return (struct sl_initializer){
        .kind = SL_INIT_XAVIER, .uniform = uniform, .a = fan_in, .b = fan_out, .seed = seed};
}

struct sl_initializer sl_msra(bool uniform, double fan_in, uint32_t seed)
{
    return (struct sl_initializer){
        .kind = SL_INIT_MSRA, .uniform = uniform, .a = fan_in, .seed = seed};
}

struct sl_initializer sl_bilinear(void)
{
    return (struct sl_initializer){.kind = SL_INIT_BILINEAR};
}

struct sl_initializer sl_array(const struct sl_tensor *value)
{
    return (struct sl_initializer){.kind = SL_INIT_ARRAY, .array = value};
}

int layer_init_prepend(struct program *startup, const char *name, const struct sl_initializer *init,
                       struct err *err)
{
    struct block *block = program_block(startup, 0);
    const struct var_desc *var = block_var(block, name);
    struct op_desc *op = NULL;
    double in, out;
    fans(var, &in, &out);
    in = init->a > 0 ? init->a : in;
    switch (init->kind) {
    case SL_INIT_DEFAULT:
    case SL_INIT_XAVIER:
        out = init->b > 0 ? init->b : out;
        if (init->uniform || init->kind == SL_INIT_DEFAULT)
            op = make_uniform(startup, var, -sqrt(6.0 / (in + out)), sqrt(6.0 / (in + out)), init);
        else
            op = make_normal(startup, var, "gaussian_random", 0.0, sqrt(2.0 / (in + out)), init);
        break;
    case SL_INIT_MSRA:
        op = init->uniform
                 ? make_uniform(startup, var, -sqrt(6.0 / in), sqrt(6.0 / in), init)
                 : make_normal(startup, var, "gaussian_random", 0.0, sqrt(2.0 / in), init);
        break;
    case SL_INIT_UNIFORM:
        op = make_uniform(startup, var, init->a, init->b, init);
        break;
    case SL_INIT_NORMAL:
        op = make_normal(startup, var, "gaussian_random", init->a, init->b, init);
        break;
    case SL_INIT_TRUNCATED_NORMAL:
        op = make_normal(startup, var, "truncated_gaussian_random", init->a, init->b, init);
        break;
    case SL_INIT_BILINEAR:   // behind the others, as Fluid does it
        return append_bilinear(block, var, err);
    case SL_INIT_ARRAY:
        op = make_array(var, init->array);
        break;
    case SL_INIT_CONSTANT:
        op = make_op(startup, var, "fill_constant", NULL);
        op_desc_set_float(op, "value", (float)init->a);
        op_desc_set_bool(op, "force_cpu", false);
        break;
    }
    if (op == NULL)
        return err_set(err, SL_EINVAL, "initializer kind %d of `%s` is not known or does not fit",
                       (int)init->kind, name);
    return op_build_insert(block, 0, op, OP_ROLE_FORWARD, err);
}

// init NULL: an operator without a seed.
static struct op_desc *make_op(const struct program *startup, const struct var_desc *var,
                               const char *type, const struct sl_initializer *init)
{
    struct op_desc *op = op_desc_new(type);
    op_desc_add_output(op, "Out", var->name);
    if (str_eq(type, "truncated_gaussian_random"))   // the one whose op maker has 32-bit dimensions
        op_desc_set_ints(op, "shape", var->dims.d, (size_t)var->dims.rank);
    else
        op_desc_set_longs(op, "shape", var->dims.d, (size_t)var->dims.rank);
    op_desc_set_int(op, "dtype", var->dtype);
    if (init != NULL)
        op_desc_set_int(op, "seed", init->seed ? init->seed : startup->random_seed);
    return op;
}

static struct op_desc *make_uniform(const struct program *startup, const struct var_desc *var,
                                    double low, double high, const struct sl_initializer *init)
{
    struct op_desc *op = make_op(startup, var, "uniform_random", init);
    op_desc_set_float(op, "min", (float)low);
    op_desc_set_float(op, "max", (float)high);
    return op;
}

static struct op_desc *make_normal(const struct program *startup, const struct var_desc *var,
                                   const char *type, double mean, double deviation,
                                   const struct sl_initializer *init)
{
    struct op_desc *op = make_op(startup, var, type, init);
    op_desc_set_float(op, "mean", (float)mean);
    op_desc_set_float(op, "std", (float)deviation);
    return op;
}

static struct op_desc *make_values(const struct var_desc *var)
{
    struct op_desc *op = op_desc_new("assign_value");
    op_desc_add_output(op, "Out", var->name);
    op_desc_set_ints(op, "shape", var->dims.d, (size_t)var->dims.rank);
    op_desc_set_int(op, "dtype", var->dtype);
    return op;
}

// NULL when value is not of var's shape and type, or of a type that assign_value does not have.
static struct op_desc *make_array(const struct var_desc *var, const struct sl_tensor *value)
{
    bool fits = value != NULL && (int)value->dtype == var->dtype &&
                value->shape.rank == var->dims.rank && value->data != NULL &&
                (var->dtype == (int)DTYPE_FP32 || var->dtype == (int)DTYPE_INT32);
    for (int i = 0; fits && i < var->dims.rank; i++)
        fits = value->shape.d[i] == var->dims.d[i];
    if (!fits)
        return NULL;
    size_t count = (size_t)dims_product(&var->dims, 0, var->dims.rank);
    struct op_desc *op = make_values(var);
    if (var->dtype == (int)DTYPE_FP32) {
        op_desc_set_floats(op, "fp32_values", value->data, count);
        return op;
    }
    int64_t *numbers = mem_must_calloc(count + 1, sizeof *numbers);
    for (size_t i = 0; i < count; i++)
        numbers[i] = ((const int32_t *)value->data)[i];
    op_desc_set_ints(op, "int32_values", numbers, count);
    mem_free(numbers);
    return op;
}

// Fluid divides the index by the width without rounding, so its filters lean along a row; the
// numbers here are its own.
static int append_bilinear(struct block *block, const struct var_desc *var, struct err *err)
{
    const struct dims *dims = &var->dims;
    if (dims->rank != 4 || dims->d[2] != dims->d[3] || dims->d[3] < 1 ||
        var->dtype != (int)DTYPE_FP32)
        return err_set(err, SL_EINVAL,
                       "`%s`: bilinear values need four dimensions of float32, the last two equal",
                       var->name);
    size_t count = (size_t)dims_product(dims, 0, 4);
    float *values = mem_must_calloc(count + 1, sizeof *values);
    double size = (double)dims->d[3];
    double f = ceil(size / 2.0);
    double c = (2 * f - 1 - fmod(f, 2)) / (2.0 * f);
    for (size_t i = 0; i < count; i++) {
        double x = fmod((double)i, size), y = fmod((double)i / size, size);
        values[i] = (float)((1 - fabs(x / f - c)) * (1 - fabs(y / f - c)));
    }
    struct op_desc *op = make_values(var);
    op_desc_set_floats(op, "fp32_values", values, count);
    mem_free(values);
    return op_build_append(block, op, OP_ROLE_FORWARD, err);
}

static void fans(const struct var_desc *var, double *in, double *out)
{
    const struct dims *dims = &var->dims;
    if (dims->rank == 2) {
        *in = (double)dims->d[0];
        *out = (double)dims->d[1];
        return;
    }
    double field = dims->rank > 2 ? (double)dims_product(dims, 2, dims->rank) : 1.0;
    *in = dims->rank > 2 ? (double)dims->d[1] * field : (double)dims->d[0];
    *out = (double)dims->d[0] * field;
}
