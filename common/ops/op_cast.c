// SPDX-License-Identifier: Apache-2.0
// cast: Out[i] = (out_dtype)X[i]; numbers become true when they are not 0.   dX = cast of dOut
// back. C's conversion truncates towards 0; numbers that do not fit an integer give its smallest
// value, as x86's conversion instruction does, rather than undefined behaviour.

#include "common/ops/op_cast.h"

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/program/op_desc.h"

extern const struct op_def op_cast;

enum { CAST_OUT_DTYPE, CAST_IN_DTYPE };
static const struct op_attr_def cast_attrs[] = {
    {.name = "out_dtype", .type = ATTR_INT, .required = true},
    {.name = "in_dtype", .type = ATTR_INT, .required = true},
    {.name = NULL},
};
static const struct op_slot_def cast_inputs[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def cast_outputs[] = {{"Out", 0}, {NULL, 0}};

// Element i as the wider of the two kinds of numbers.
struct number {
    double f;
    int64_t i;
    bool whole;   // i is the value
};

static struct number number_at(const struct tensor *t, uint64_t i)
{
    switch (t->dtype) {
    case DTYPE_FP32:
        return (struct number){.f = (double)tensor_f32(t)[i]};
    case DTYPE_FP64:
        return (struct number){.f = tensor_f64(t)[i]};
    case DTYPE_INT32:
        return (struct number){.i = tensor_i32(t)[i], .whole = true};
    case DTYPE_INT64:
        return (struct number){.i = tensor_i64(t)[i], .whole = true};
    case DTYPE_INT16:
        return (struct number){.i = ((const int16_t *)t->data)[i], .whole = true};
    case DTYPE_INT8:
        return (struct number){.i = ((const int8_t *)t->data)[i], .whole = true};
    case DTYPE_BOOL:
    case DTYPE_UINT8:
        return (struct number){.i = ((const uint8_t *)t->data)[i], .whole = true};
    default:
        return (struct number){0};
    }
}

static int64_t to_int(struct number x, double limit, int64_t smallest)
{
    if (x.whole)
        return x.i;
    return x.f >= -limit && x.f < limit ? (int64_t)x.f : smallest;
}

static void put_number(struct tensor *t, uint64_t i, struct number x)
{
    switch (t->dtype) {
    case DTYPE_FP32:
        tensor_f32(t)[i] = x.whole ? (float)x.i : (float)x.f;
        break;
    case DTYPE_FP64:
        tensor_f64(t)[i] = x.whole ? (double)x.i : x.f;
        break;
    case DTYPE_INT32:
        tensor_i32(t)[i] = (int32_t)to_int(x, 2147483648.0, INT32_MIN);
        break;
    case DTYPE_INT64:
        tensor_i64(t)[i] = to_int(x, 9223372036854775808.0, INT64_MIN);
        break;
    case DTYPE_INT16:
        ((int16_t *)t->data)[i] = (int16_t)to_int(x, 2147483648.0, INT32_MIN);
        break;
    case DTYPE_INT8:
        ((int8_t *)t->data)[i] = (int8_t)to_int(x, 2147483648.0, INT32_MIN);
        break;
    case DTYPE_UINT8:
        ((uint8_t *)t->data)[i] = (uint8_t)to_int(x, 2147483648.0, INT32_MIN);
        break;
    case DTYPE_BOOL:
        ((uint8_t *)t->data)[i] = x.whole ? x.i != 0 : x.f != 0;
        break;
    default:
        break;
    }
}

static int cast_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    int64_t dtype = shape->attr[CAST_OUT_DTYPE]->i;
    if (!dtype_is_valid((int)dtype) || dtype == DTYPE_FP16)
        return err_set(shape->err, SL_EUNSUPPORTED, "out_dtype %s is not supported",
                       dtype_name((int)dtype));
    op_shape_set(shape, 0, 0, &x->dims, (int)dtype, x);
    return 0;
}

void op_cast_run(struct tensor *out, const struct tensor *x)
{
    uint64_t n = tensor_count(x);
    for (uint64_t i = 0; i < n; i++)
        put_number(out, i, number_at(x, i));
}

static int cast_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, 0);
    if (x->dtype == DTYPE_FP16)
        return op_bad_dtype(ctx, (int)x->dtype);
    op_cast_run(op_out(ctx, 0), x);
    return 0;
}

static int cast_make_grad(const struct op_desc *forward, struct op_desc **out, int out_max)
{
    if (out_max < 1 || (out[0] = op_grad_unary(forward, "cast", 0)) == NULL)
        return 0;
    op_desc_set_int(out[0], "out_dtype", op_desc_get_int(forward, "in_dtype", DTYPE_FP32));
    op_desc_set_int(out[0], "in_dtype", op_desc_get_int(forward, "out_dtype", DTYPE_FP32));
    return 1;
}

const struct op_def op_cast = {
    .type = "cast",
    .inputs = cast_inputs,
    .outputs = cast_outputs,
    .attrs = cast_attrs,
    .grad = {.make = cast_make_grad},
    .infer_shape = cast_infer,
    .kernel = cast_forward,
};
