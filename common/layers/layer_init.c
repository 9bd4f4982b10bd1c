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
    case SL_INIT_CONSTANT:
        op = make_op(startup, var, "fill_constant", NULL);
        op_desc_set_float(op, "value", (float)init->a);
        op_desc_set_bool(op, "force_cpu", false);
        break;
    }
    if (op == NULL)
        return err_set(err, SL_EINVAL, "initializer kind %d of `%s` is not known", (int)init->kind,
                       name);
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
