// SPDX-License-Identifier: Apache-2.0
// increment: Out = X + step for a counter of one element; the step is cut to X's type. Out may be
// X.
//
// The gradient op that Fluid makes counts back, X = Out - step, for loops whose backward pass needs
// the old counter. It makes no X@GRAD.

#include <stdint.h>

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/program/op_desc.h"

extern const struct op_def op_increment;

enum { INCREMENT_STEP };
static const struct op_attr_def increment_attrs[] = {OP_ATTR_FLOAT("step", 1), {.name = NULL}};
static const struct op_slot_def increment_inputs[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def increment_outputs[] = {{"Out", 0}, {NULL, 0}};

static int increment_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    char text[DIMS_TEXT_MAX];
    for (int i = 0; i < x->dims.rank; i++)
        if (!op_dims_fit(x->dims.d[i], 1))
            return err_set(shape->err, SL_EMISMATCH, "X %s has not one element",
                           dims_format(&x->dims, text));
    op_shape_copy(shape, 0, 0, x);
    return 0;
}

static int increment_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *out = op_out(ctx, 0);
    float step = ctx->attr[INCREMENT_STEP]->f;
    bool integers = x->dtype == DTYPE_INT32 || x->dtype == DTYPE_INT64;
    if (integers && !(step > -2e9F && step < 2e9F))
        return err_set(ctx->err, SL_EINVAL, "step %g is no integer step", (double)step);
    switch (x->dtype) {
    case DTYPE_FP32:
        *tensor_f32(out) = *tensor_f32(x) + step;
        return 0;
    case DTYPE_FP64:
        *tensor_f64(out) = *tensor_f64(x) + (double)step;
        return 0;
    case DTYPE_INT32:
        *tensor_i32(out) = *tensor_i32(x) + (int32_t)step;
        return 0;
    case DTYPE_INT64:
        *tensor_i64(out) = *tensor_i64(x) + (int64_t)step;
        return 0;
    default:
        return op_bad_dtype(ctx, (int)x->dtype);
    }
}

static int increment_grad(const struct op_desc *forward, struct op_desc **out, int out_max)
{
    const char *x = op_desc_input1(forward, "X"), *counted = op_desc_output1(forward, "Out");
    if (x == NULL || counted == NULL || out_max < 1)
        return SL_EINVAL;
    out[0] = op_desc_new("increment");
    op_desc_add_input(out[0], "X", counted);
    op_desc_add_output(out[0], "Out", x);
    op_desc_set_float(out[0], "step", -op_desc_get_float(forward, "step", 1));
    return 1;
}

const struct op_def op_increment = {
    .type = "increment",
    .inputs = increment_inputs,
    .outputs = increment_outputs,
    .attrs = increment_attrs,
    .grad = {.make = increment_grad},
    .infer_shape = increment_infer,
    .kernel = increment_forward,
};
