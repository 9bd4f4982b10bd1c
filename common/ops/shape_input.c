// SPDX-License-Identifier: Apache-2.0
// ShapeTensorList wins over ShapeTensor, which wins over the attribute, as in Fluid.

#include "common/ops/shape_input.h"

#include "common/base/err.h"

static int dims_from_attr(const struct attr *attr, struct dims *out, struct err *err)
{
    if (attr->count > LIMIT_RANK)
        return err_set(err, SL_ELIMIT, "shape has %zu dimensions, at most %d are possible",
                       attr->count, LIMIT_RANK);
    *out = dims_make((int)attr->count, attr->ints);
    return 0;
}

static int read_side(const struct tensor *t, uint64_t i, int64_t *out, struct err *err)
{
    if (i >= tensor_count(t) || (t->dtype != DTYPE_INT32 && t->dtype != DTYPE_INT64))
        return err_set(err, SL_EINVAL, "a shape tensor must hold int32 or int64 sides");
    *out = t->dtype == DTYPE_INT32 ? tensor_i32(t)[i] : tensor_i64(t)[i];
    return 0;
}

static int dims_from_list(const struct op_ctx *ctx, int slot, struct dims *out)
{
    *out = (struct dims){.rank = 0};
    if (ctx->in[slot].count > LIMIT_RANK)
        return err_set(ctx->err, SL_ELIMIT, "ShapeTensorList has more than %d sides", LIMIT_RANK);
    for (size_t i = 0; i < ctx->in[slot].count; i++) {
        const struct tensor *t = op_in_at(ctx, slot, i);
        if (t == NULL)
            return err_set(ctx->err, SL_EINVAL, "argument %zu of ShapeTensorList is missing", i);
        int rc = read_side(t, 0, &out->d[out->rank++], ctx->err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int dims_from_tensor(const struct op_ctx *ctx, int slot, struct dims *out)
{
    const struct tensor *t = op_in(ctx, slot);
    *out = (struct dims){.rank = 0};
    if (tensor_count(t) > LIMIT_RANK)
        return err_set(ctx->err, SL_ELIMIT, "ShapeTensor has more than %d sides", LIMIT_RANK);
    for (uint64_t i = 0; i < tensor_count(t); i++) {
        int rc = read_side(t, i, &out->d[out->rank++], ctx->err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int shape_input_infer(struct op_shape *shape, const struct shape_input *input, int dtype)
{
    struct dims dims;
    int rc = dims_from_attr(shape->attr[input->attr], &dims, shape->err);
    if (rc < 0)
        return rc;
    const struct op_var_dims *tensor =
        input->tensor >= 0 ? op_shape_in(shape, input->tensor, 0) : NULL;
    int64_t sides = input->list >= 0 ? (int64_t)shape->in[input->list].count : 0;
    if (sides == 0 && tensor != NULL && dims.rank == 0)
        sides = tensor->dims.rank == 1 && tensor->dims.d[0] > 0 ? tensor->dims.d[0] : 1;
    if (sides > LIMIT_RANK)
        return err_set(shape->err, SL_ELIMIT, "the shape has more than %d sides", LIMIT_RANK);
    for (; dims.rank < sides; dims.rank++)
        dims.d[dims.rank] = -1;
    op_shape_set(shape, 0, 0, &dims, dtype, NULL);
    return 0;
}

int shape_input_resize(struct op_ctx *ctx, const struct shape_input *input, enum dtype dtype)
{
    struct dims dims;
    int rc;
    if (input->list >= 0 && ctx->in[input->list].count > 0)
        rc = dims_from_list(ctx, input->list, &dims);
    else if (input->tensor >= 0 && op_in(ctx, input->tensor) != NULL)
        rc = dims_from_tensor(ctx, input->tensor, &dims);
    else
        rc = dims_from_attr(ctx->attr[input->attr], &dims, ctx->err);
    return rc < 0 ? rc : op_resize(op_out(ctx, 0), dtype, &dims, ctx->err);
}
