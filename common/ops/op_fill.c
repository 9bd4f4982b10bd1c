// SPDX-License-Identifier: Apache-2.0
// Tensors made of constants or of others as they are.
//
//   fill_constant  Out[i] = value; `str_value`, when not empty, has more digits and wins;
//                  ValueTensor wins over both
//   assign         Out = X (selected rows too)   dX = dOut (assign)
//   shape          Out = the sides of Input, int32

#include <string.h>

#include "common/base/err.h"
#include "common/ops/constant.h"
#include "common/ops/op.h"
#include "common/ops/rows_update.h"
#include "common/ops/rows_value.h"
#include "common/ops/shape_input.h"
#include "common/program/op_desc.h"

extern const struct op_def op_fill_constant, op_fill_assign, op_fill_shape;

enum { FILL_DTYPE, FILL_SHAPE, FILL_VALUE, FILL_STR_VALUE };
static const struct op_attr_def fill_attrs[] = {
    OP_ATTR_INT("dtype", DTYPE_FP32), OP_ATTR_LIST("shape", ATTR_LONGS), OP_ATTR_FLOAT("value", 0),
    OP_ATTR_STRING("str_value", ""),  OP_ATTR_BOOL("force_cpu", 0),      {.name = NULL},
};
enum { FILL_VALUE_TENSOR, FILL_SHAPE_TENSOR, FILL_SHAPE_LIST };
static const struct op_slot_def fill_inputs[] = {
    {"ValueTensor", OP_SLOT_OPTIONAL},
    {"ShapeTensor", OP_SLOT_OPTIONAL},
    {"ShapeTensorList", OP_SLOT_OPTIONAL | OP_SLOT_LIST},
    {NULL, 0}};
static const struct shape_input fill_shape = {FILL_SHAPE_TENSOR, FILL_SHAPE_LIST, FILL_SHAPE};

static const struct op_attr_def no_attrs[] = {{.name = NULL}};
static const struct op_slot_def out_slot[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def x_slot[] = {{"X", OP_SLOT_OPTIONAL | OP_SLOT_ROWS}, {NULL, 0}};
static const struct op_slot_def input_slot[] = {{"Input", 0}, {NULL, 0}};

static int fill_value(struct op_ctx *ctx, enum dtype dtype, struct constant *out)
{
    const struct tensor *by = op_in(ctx, FILL_VALUE_TENSOR);
    if (by == NULL)
        return constant_parse(ctx->attr[FILL_VALUE]->f, ctx->attr[FILL_STR_VALUE]->s, dtype, out,
                              ctx->err);
    if (tensor_count(by) != 1 || by->dtype != dtype)
        return err_set(ctx->err, SL_EMISMATCH, "ValueTensor must be one element of type %s",
                       dtype_name((int)dtype));
    if (dtype == DTYPE_FP32 || dtype == DTYPE_FP64)
        *out =
            (struct constant){.f = dtype == DTYPE_FP32 ? (double)*tensor_f32(by) : *tensor_f64(by)};
    else if (dtype == DTYPE_INT32 || dtype == DTYPE_INT64)
        *out = (struct constant){.i = dtype == DTYPE_INT32 ? *tensor_i32(by) : *tensor_i64(by)};
    else if (dtype == DTYPE_BOOL)
        *out = (struct constant){.f = *(const uint8_t *)by->data};
    else
        return op_bad_dtype(ctx, (int)dtype);
    return 0;
}

static int fill_forward(struct op_ctx *ctx)
{
    int64_t dtype = ctx->attr[FILL_DTYPE]->i;
    struct constant value = {0, 0};
    if (!dtype_is_valid((int)dtype))
        return op_bad_dtype(ctx, (int)dtype);
    int rc = shape_input_resize(ctx, &fill_shape, (enum dtype)dtype);
    if (rc == 0)
        rc = fill_value(ctx, (enum dtype)dtype, &value);
    return rc < 0 ? rc : constant_fill(op_out(ctx, 0), value, ctx->err);
}

static int fill_infer(struct op_shape *shape)
{
    return shape_input_infer(shape, &fill_shape, (int)shape->attr[FILL_DTYPE]->i);
}

static int assign_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *out;
    if (x == NULL && rows_update_in(ctx, 0) == NULL)
        return err_set(ctx->err, SL_EINVAL, "input X is missing");
    int rc = rows_value_open(ctx, &x, &out);
    if (rc < 0)
        return rc;
    if (out->data != x->data && tensor_bytes(x) > 0)
        memcpy(out->data, x->data, tensor_bytes(x));
    return 0;
}

static int assign_make_grad(const struct op_desc *forward, struct op_desc **out, int out_max)
{
    if (out_max < 1 || (out[0] = op_grad_unary(forward, "assign", 0)) == NULL)
        return 0;
    return 1;
}

static int shape_infer(struct op_shape *shape)
{
    const struct dims out = {.rank = 1, .d = {op_shape_in(shape, 0, 0)->dims.rank}};
    op_shape_set(shape, 0, 0, &out, DTYPE_INT32, NULL);
    return 0;
}

static int shape_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *out = op_out(ctx, 0);
    for (int i = 0; i < x->dims.rank; i++) {
        if (x->dims.d[i] > INT32_MAX)
            return err_set(ctx->err, SL_ELIMIT, "side %d of Input does not fit int32", i);
        tensor_i32(out)[i] = (int32_t)x->dims.d[i];
    }
    return 0;
}

const struct op_def op_fill_constant = {
    .type = "fill_constant",
    .inputs = fill_inputs,
    .outputs = out_slot,
    .attrs = fill_attrs,
    .infer_shape = fill_infer,
    .kernel = fill_forward,
    .kernel_resizes = true,
};

const struct op_def op_fill_assign = {
    .type = "assign",
    .inputs = x_slot,
    .outputs = out_slot,
    .attrs = no_attrs,
    .grad = {.make = assign_make_grad},
    .kernel = assign_forward,
};

const struct op_def op_fill_shape = {
    .type = "shape",
    .inputs = input_slot,
    .outputs = out_slot,
    .attrs = no_attrs,
    .infer_shape = shape_infer,
    .kernel = shape_forward,
};
