// SPDX-License-Identifier: Apache-2.0
// ShapeTensorList wins over ShapeTensor, which wins over the attribute, as in Fluid.

#include "common/ops/shape_input.h"

#include "common/base/err.h"
#include "common/ops/int_input.h"

static int to_dims(const struct int_input *sides, struct dims *out, struct err *err)
{
    if (sides->count > LIMIT_RANK)
        return err_set(err, SL_ELIMIT, "the shape has %zu dimensions, at most %d are possible",
                       sides->count, LIMIT_RANK);
    *out = dims_make((int)sides->count, sides->v);
    return 0;
}

int shape_input_infer(struct op_shape *shape, const struct shape_input *input, int dtype)
{
    struct int_input given;
    struct dims dims;
    int rc = int_input_from_attr(shape->attr[input->attr], &given, shape->err);
    if (rc == 0)
        rc = to_dims(&given, &dims, shape->err);
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
    struct int_input sides;
    struct dims dims;
    int rc = int_input_read(ctx, input->list, input->tensor, ctx->attr[input->attr], &sides);
    if (rc == 0)
        rc = to_dims(&sides, &dims, ctx->err);
    return rc < 0 ? rc : op_resize(op_out(ctx, 0), dtype, &dims, ctx->err);
}
