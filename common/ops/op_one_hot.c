// SPDX-License-Identifier: Apache-2.0
// Out[.., c] = 1 where c is X's number, else 0; depth numbers are possible.
//
//   one_hot     X [n.., 1]   Out [n.., depth]
//   one_hot_v2  X [n..]      Out [n.., depth]
//
// depth_tensor, when given, wins over depth. A number outside of [0, depth) is an error, or a row
// of zeros with allow_out_of_range. No gradient.

#include <string.h>

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/ops/row_index.h"

extern const struct op_def op_one_hot, op_one_hot_v2;

enum { ONE_HOT_DEPTH, ONE_HOT_DTYPE, ONE_HOT_ALLOW };
static const struct op_attr_def one_hot_attrs[] = {
    OP_ATTR_INT("depth", -1),
    OP_ATTR_INT("dtype", DTYPE_FP32),
    OP_ATTR_BOOL("allow_out_of_range", 0),
    {.name = NULL},
};
enum { ONE_HOT_X, ONE_HOT_TENSOR };
static const struct op_slot_def one_hot_inputs[] = {
    {"X", 0}, {"depth_tensor", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def one_hot_outputs[] = {{"Out", 0}, {NULL, 0}};

static int one_hot_dims(const struct op_def *def, const struct dims *x, int64_t depth,
                        struct dims *out, struct err *err)
{
    char text[DIMS_TEXT_MAX];
    *out = *x;
    if (def == &op_one_hot) {
        if (x->rank < 2 || !op_dims_fit(x->d[x->rank - 1], 1))
            return err_set(err, SL_EINVAL, "X %s must be [n.., 1]", dims_format(x, text));
        out->rank--;
    }
    if (out->rank >= LIMIT_RANK)
        return err_set(err, SL_ELIMIT, "X has more than %d dimensions", LIMIT_RANK - 1);
    out->d[out->rank++] = depth;
    return 0;
}

static int one_hot_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, ONE_HOT_X, 0);
    bool fed = op_shape_in(shape, ONE_HOT_TENSOR, 0) != NULL;
    int64_t depth = fed ? -1 : shape->attr[ONE_HOT_DEPTH]->i;
    struct dims out;
    if (!fed && depth < 1)
        return err_set(shape->err, SL_EINVAL, "depth is %lld", (long long)depth);
    int rc = one_hot_dims(shape->def, &x->dims, depth, &out, shape->err);
    if (rc == 0)
        op_shape_set(shape, 0, 0, &out, (int)shape->attr[ONE_HOT_DTYPE]->i, x);
    return rc;
}

static int put_one(const struct op_ctx *ctx, struct tensor *out, uint64_t at)
{
    switch (out->dtype) {
    case DTYPE_FP32:
        tensor_f32(out)[at] = 1;
        return 0;
    case DTYPE_FP64:
        tensor_f64(out)[at] = 1;
        return 0;
    case DTYPE_INT32:
        tensor_i32(out)[at] = 1;
        return 0;
    case DTYPE_INT64:
        tensor_i64(out)[at] = 1;
        return 0;
    case DTYPE_BOOL:
    case DTYPE_UINT8:
    case DTYPE_INT8:
        ((uint8_t *)out->data)[at] = 1;
        return 0;
    default:
        return op_bad_dtype(ctx, (int)out->dtype);
    }
}

static int one_hot_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, ONE_HOT_X), *by = op_in(ctx, ONE_HOT_TENSOR);
    struct tensor *out = op_out(ctx, 0);
    int64_t depth = ctx->attr[ONE_HOT_DEPTH]->i, dtype = ctx->attr[ONE_HOT_DTYPE]->i;
    bool lenient = attr_bool(ctx->attr[ONE_HOT_ALLOW]);
    struct dims dims;
    if (by != NULL && (by->dtype != DTYPE_INT32 || tensor_count(by) != 1))
        return err_set(ctx->err, SL_EMISMATCH, "depth_tensor must be one int32");
    if (by != NULL)
        depth = *tensor_i32(by);
    if (depth < 1)
        return err_set(ctx->err, SL_EINVAL, "depth is %lld", (long long)depth);
    if (!dtype_is_valid((int)dtype))
        return op_bad_dtype(ctx, (int)dtype);
    int rc = lenient ? 0 : row_index_check(ctx, "X", x, depth);
    if (rc == 0 && x->dtype != DTYPE_INT64 && x->dtype != DTYPE_INT32)
        rc = op_bad_dtype(ctx, (int)x->dtype);
    if (rc == 0)
        rc = one_hot_dims(ctx->def, &x->dims, depth, &dims, ctx->err);
    if (rc == 0)
        rc = op_resize(out, (enum dtype)dtype, &dims, ctx->err);
    if (rc < 0)
        return rc;
    if (tensor_bytes(out) > 0)
        memset(out->data, 0, tensor_bytes(out));
    for (uint64_t i = 0, n = tensor_count(x); rc == 0 && i < n; i++) {
        int64_t at = row_index_at(x, i);
        if (at >= 0 && at < depth)
            rc = put_one(ctx, out, i * (uint64_t)depth + (uint64_t)at);
    }
    return rc;
}

const struct op_def op_one_hot = {
    .type = "one_hot",
    .inputs = one_hot_inputs,
    .outputs = one_hot_outputs,
    .attrs = one_hot_attrs,
    .infer_shape = one_hot_infer,
    .kernel = one_hot_forward,
    .kernel_resizes = true,
};

const struct op_def op_one_hot_v2 = {
    .type = "one_hot_v2",
    .inputs = one_hot_inputs,
    .outputs = one_hot_outputs,
    .attrs = one_hot_attrs,
    .infer_shape = one_hot_infer,
    .kernel = one_hot_forward,
    .kernel_resizes = true,
};
