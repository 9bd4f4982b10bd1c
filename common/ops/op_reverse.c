// SPDX-License-Identifier: Apache-2.0
// Elements in the opposite order along each of the named axes (`axis` of reverse, `dims` of flip);
// naming an axis twice is naming it once. The gradient is the same op on dOut.

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/ops/strided.h"
#include "common/program/op_desc.h"

extern const struct op_def op_reverse, op_reverse_flip;

static const struct op_attr_def reverse_attrs[] = {
    {.name = "axis", .type = ATTR_INTS, .required = true},
    {.name = NULL},
};
static const struct op_attr_def flip_attrs[] = {
    {.name = "dims", .type = ATTR_INTS, .required = true},
    {.name = NULL},
};
static const struct op_slot_def x_input[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def out_output[] = {{"Out", 0}, {NULL, 0}};

static int which_axes(const struct attr *axes, int rank, bool *turned, struct err *err)
{
    for (int i = 0; i < rank; i++)
        turned[i] = false;
    for (size_t k = 0; k < axes->count; k++) {
        int axis = op_axis(axes->ints[k], rank);
        if (axis < 0)
            return err_set(err, SL_EINVAL, "axis %lld is not within X's rank %d",
                           (long long)axes->ints[k], rank);
        turned[axis] = true;
    }
    return axes->count > 0 ? 0 : err_set(err, SL_EINVAL, "no axis is named");
}

static int reverse_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    bool turned[LIMIT_RANK];
    int rc = which_axes(shape->attr[0], x->dims.rank, turned, shape->err);
    if (rc == 0)
        op_shape_set(shape, 0, 0, &x->dims, x->dtype, NULL);
    return rc;
}

static int flip_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    bool turned[LIMIT_RANK];
    int rc = which_axes(shape->attr[0], x->dims.rank, turned, shape->err);
    if (rc == 0)
        op_shape_copy(shape, 0, 0, x);
    return rc;
}

static int reverse_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *out = op_out(ctx, 0);
    bool turned[LIMIT_RANK];
    int64_t stride[LIMIT_RANK], first = 0;
    struct strided s = {.rank = 0};
    int rc = which_axes(ctx->attr[0], x->dims.rank, turned, ctx->err);
    if (rc < 0 || tensor_count(x) == 0)
        return rc;
    strided_of(&x->dims, stride);
    for (int i = 0; i < x->dims.rank; i++) {
        first += turned[i] ? (x->dims.d[i] - 1) * stride[i] : 0;
        strided_add_dim(&s, x->dims.d[i], stride[i], turned[i] ? -stride[i] : stride[i]);
    }
    strided_copy(&s, x->dtype, out->data,
                 (const char *)x->data + first * (int64_t)dtype_bytes(x->dtype));
    return 0;
}

// reverse copies `axis` alone, flip all attributes.
static int reverse_make_grad(const struct op_desc *forward, struct op_desc **out, int out_max)
{
    const struct attr *axis = op_desc_attr(forward, "axis");
    if (out_max < 1 || (out[0] = op_grad_unary(forward, forward->type, 0)) == NULL)
        return 0;
    if (axis != NULL)
        op_desc_set_attr(out[0], axis);
    return 1;
}

static int flip_make_grad(const struct op_desc *forward, struct op_desc **out, int out_max)
{
    if (out_max < 1 || (out[0] = op_grad_unary(forward, forward->type, 0)) == NULL)
        return 0;
    for (size_t i = 0; i < forward->attrs_count; i++)
        op_desc_set_attr(out[0], &forward->attrs[i]);
    return 1;
}

const struct op_def op_reverse = {
    .type = "reverse",
    .inputs = x_input,
    .outputs = out_output,
    .attrs = reverse_attrs,
    .grad = {.make = reverse_make_grad},
    .infer_shape = reverse_infer,
    .kernel = reverse_forward,
};

const struct op_def op_reverse_flip = {
    .type = "flip",
    .inputs = x_input,
    .outputs = out_output,
    .attrs = flip_attrs,
    .grad = {.make = flip_make_grad},
    .infer_shape = flip_infer,
    .kernel = reverse_forward,
};
