// SPDX-License-Identifier: Apache-2.0
// The list wins over the tensor, which wins over the attribute, as in Fluid.

#include "common/ops/int_input.h"

#include "common/base/err.h"

static int from_list(const struct op_ctx *ctx, int slot, struct int_input *out);
static int from_tensor(const struct op_ctx *ctx, int slot, struct int_input *out);
static int element(const struct op_ctx *ctx, int slot, const struct tensor *t, uint64_t i,
                   int64_t *out);

int int_input_read(const struct op_ctx *ctx, int list, int tensor, const struct attr *attr,
                   struct int_input *out)
{
    if (list >= 0 && ctx->in[list].count > 0)
        return from_list(ctx, list, out);
    if (tensor >= 0 && op_in(ctx, tensor) != NULL)
        return from_tensor(ctx, tensor, out);
    return int_input_from_attr(attr, out, ctx->err);
}

int int_input_from_attr(const struct attr *attr, struct int_input *out, struct err *err)
{
    if (attr->count > INT_INPUT_MAX)
        return err_set(err, SL_ELIMIT, "%s has %zu numbers, at most %d are possible", attr->name,
                       attr->count, INT_INPUT_MAX);
    out->count = attr->count;
    for (size_t i = 0; i < attr->count; i++)
        out->v[i] = attr->ints[i];
    return 0;
}

bool int_input_is_fed(const struct op_shape *shape, int list, int tensor)
{
    return (list >= 0 && shape->in[list].count > 0) ||
           (tensor >= 0 && op_shape_in(shape, tensor, 0) != NULL);
}

static int from_list(const struct op_ctx *ctx, int slot, struct int_input *out)
{
    const char *name = ctx->def->inputs[slot].name;
    if (ctx->in[slot].count > INT_INPUT_MAX)
        return err_set(ctx->err, SL_ELIMIT, "%s has more than %d arguments", name, INT_INPUT_MAX);
    out->count = ctx->in[slot].count;
    for (size_t i = 0; i < out->count; i++) {
        const struct tensor *t = op_in_at(ctx, slot, i);
        if (t == NULL)
            return err_set(ctx->err, SL_EINVAL, "argument %zu of %s is missing", i, name);
        int rc = element(ctx, slot, t, 0, &out->v[i]);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int from_tensor(const struct op_ctx *ctx, int slot, struct int_input *out)
{
    const struct tensor *t = op_in(ctx, slot);
    if (tensor_count(t) > INT_INPUT_MAX)
        return err_set(ctx->err, SL_ELIMIT, "%s has more than %d numbers",
                       ctx->def->inputs[slot].name, INT_INPUT_MAX);
    out->count = (size_t)tensor_count(t);
    for (size_t i = 0; i < out->count; i++) {
        int rc = element(ctx, slot, t, i, &out->v[i]);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int element(const struct op_ctx *ctx, int slot, const struct tensor *t, uint64_t i,
                   int64_t *out)
{
    if (i >= tensor_count(t) || (t->dtype != DTYPE_INT32 && t->dtype != DTYPE_INT64))
        return err_set(ctx->err, SL_EINVAL, "%s must hold int32 or int64 numbers",
                       ctx->def->inputs[slot].name);
    *out = t->dtype == DTYPE_INT32 ? tensor_i32(t)[i] : tensor_i64(t)[i];
    return 0;
}
