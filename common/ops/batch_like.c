// SPDX-License-Identifier: Apache-2.0
// One rule for descriptions and runs.

#include "common/ops/batch_like.h"

#include "common/base/err.h"

static int solve(const struct dims *input, const struct attr *const *attr, struct dims *out,
                 struct err *err)
{
    const struct attr *sides = attr[BATCH_LIKE_SHAPE];
    int64_t from = attr[BATCH_LIKE_INPUT_DIM]->i, to = attr[BATCH_LIKE_OUTPUT_DIM]->i;
    if (sides->count > LIMIT_RANK)
        return err_set(err, SL_ELIMIT, "shape has more than %d sides", LIMIT_RANK);
    if (from < 0 || from >= input->rank || to < 0 || to >= (int64_t)sides->count)
        return err_set(err, SL_EINVAL,
                       "input_dim_idx %lld or output_dim_idx %lld is no side of Input or of shape",
                       (long long)from, (long long)to);
    *out = dims_make((int)sides->count, sides->ints);
    out->d[to] = input->d[from];
    return 0;
}

int batch_like_infer(struct op_shape *shape, int dtype)
{
    struct dims out;
    int rc = solve(&op_shape_in(shape, 0, 0)->dims, shape->attr, &out, shape->err);
    if (rc == 0)
        op_shape_set(shape, 0, 0, &out, dtype, NULL);
    return rc;
}

int batch_like_resize(struct op_ctx *ctx, enum dtype dtype, bool by_sequence)
{
    const struct tensor *input = op_in(ctx, 0);
    struct dims out;
    int rc = solve(&input->dims, ctx->attr, &out, ctx->err);
    if (rc < 0)
        return rc;
    if (by_sequence && input->lod_levels > 0 && ctx->attr[BATCH_LIKE_INPUT_DIM]->i == 0) {
        size_t starts = input->lod[input->lod_levels - 1].count;
        out.d[ctx->attr[BATCH_LIKE_OUTPUT_DIM]->i] = starts > 0 ? (int64_t)starts - 1 : 0;
    }
    return op_resize(op_out(ctx, 0), dtype, &out, ctx->err);
}
