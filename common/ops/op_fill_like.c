// SPDX-License-Identifier: Apache-2.0
// Constants whose shape another tensor gives, and numbers written in the program.
//
//   fill_any_like     Out[i] = value, X's shape, dtype (-1: X's)
//   fill_zeros_like   Out[i] = 0, X's shape and type (fill_zeros_like2: dtype)
//   fill_constant_batch_size_like
//                     `shape` with side output_dim_idx replaced by Input's side input_dim_idx; for
//                     side 0 of a tensor with LoD that is the number of its sequences
//   assign_value      the numbers of the attribute that goes with dtype
//   eye               1 on the diagonal of [num_rows, num_columns] (-1: as many as rows)
//   diag              Diagonal on the diagonal, 0 elsewhere

#include <string.h>

#include "common/base/err.h"
#include "common/ops/batch_like.h"
#include "common/ops/constant.h"
#include "common/ops/op.h"

extern const struct op_def op_fill_like_any, op_fill_like_zeros, op_fill_like_zeros2;
extern const struct op_def op_fill_like_batch_size, op_fill_like_assign_value;
extern const struct op_def op_fill_like_eye, op_fill_like_diag;

static const struct op_slot_def x_input[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def input_input[] = {{"Input", 0}, {NULL, 0}};
static const struct op_slot_def diagonal_input[] = {{"Diagonal", 0}, {NULL, 0}};
static const struct op_slot_def no_inputs[] = {{NULL, 0}};
static const struct op_slot_def out_output[] = {{"Out", 0}, {NULL, 0}};
static const struct op_attr_def no_attrs[] = {{.name = NULL}};

enum { ANY_VALUE, ANY_DTYPE };
static const struct op_attr_def any_attrs[] = {
    OP_ATTR_FLOAT("value", 0),
    OP_ATTR_INT("dtype", -1),
    {.name = NULL},
};
enum { ZEROS2_DTYPE };
static const struct op_attr_def zeros2_attrs[] = {
    {.name = "dtype", .type = ATTR_INT, .number = -1, .required = true},
    {.name = NULL},
};
enum { BATCH_DTYPE = BATCH_LIKE_ATTRS, BATCH_VALUE, BATCH_STR_VALUE };
static const struct op_attr_def batch_attrs[] = {
    BATCH_LIKE_ATTR_ROWS,         OP_ATTR_INT("dtype", DTYPE_FP32),
    OP_ATTR_FLOAT("value", 0),    OP_ATTR_STRING("str_value", ""),
    OP_ATTR_BOOL("force_cpu", 0), {.name = NULL},
};
enum { ASSIGN_SHAPE, ASSIGN_DTYPE, ASSIGN_BOOL, ASSIGN_FP32, ASSIGN_INT32, ASSIGN_INT64 };
static const struct op_attr_def assign_attrs[] = {
    {.name = "shape", .type = ATTR_INTS, .required = true},
    {.name = "dtype", .type = ATTR_INT, .number = DTYPE_FP32, .required = true},
    OP_ATTR_LIST("bool_values", ATTR_INTS),
    OP_ATTR_LIST("fp32_values", ATTR_FLOATS),
    OP_ATTR_LIST("int32_values", ATTR_INTS),
    OP_ATTR_LIST("int64_values", ATTR_LONGS),
    {.name = NULL},
};
enum { EYE_DTYPE, EYE_ROWS, EYE_COLUMNS };
static const struct op_attr_def eye_attrs[] = {
    OP_ATTR_INT("dtype", DTYPE_FP32),
    {.name = "num_rows", .type = ATTR_LONG, .required = true},
    OP_ATTR_LONG("num_columns", -1),
    {.name = NULL},
};

static int like_infer(struct op_shape *shape, int64_t dtype)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    if (dtype != -1 && !dtype_is_valid((int)dtype))
        return err_set(shape->err, SL_EUNSUPPORTED, "dtype %lld is not known", (long long)dtype);
    op_shape_set(shape, 0, 0, &x->dims, dtype == -1 ? x->dtype : (int)dtype, x);
    return 0;
}

static int any_infer(struct op_shape *shape)
{
    return like_infer(shape, shape->attr[ANY_DTYPE]->i);
}

static int any_forward(struct op_ctx *ctx)
{
    struct tensor *out = op_out(ctx, 0);
    struct constant value;
    int rc = constant_parse(ctx->attr[ANY_VALUE]->f, NULL, out->dtype, &value, ctx->err);
    return rc < 0 ? rc : constant_fill(out, value, ctx->err);
}

static int zeros2_infer(struct op_shape *shape)
{
    return like_infer(shape, shape->attr[ZEROS2_DTYPE]->i);
}

static int zeros_forward(struct op_ctx *ctx)
{
    struct tensor *out = op_out(ctx, 0);
    if (tensor_bytes(out) > 0)
        memset(out->data, 0, tensor_bytes(out));
    return 0;
}

static int batch_infer(struct op_shape *shape)
{
    return batch_like_infer(shape, (int)shape->attr[BATCH_DTYPE]->i);
}

static int batch_forward(struct op_ctx *ctx)
{
    int64_t dtype = ctx->attr[BATCH_DTYPE]->i;
    struct constant value;
    if (!dtype_is_valid((int)dtype))
        return op_bad_dtype(ctx, (int)dtype);
    int rc = batch_like_resize(ctx, (enum dtype)dtype, true);
    if (rc == 0)
        rc = constant_parse(ctx->attr[BATCH_VALUE]->f, ctx->attr[BATCH_STR_VALUE]->s,
                            (enum dtype)dtype, &value, ctx->err);
    return rc < 0 ? rc : constant_fill(op_out(ctx, 0), value, ctx->err);
}

static int assign_infer(struct op_shape *shape)
{
    const struct attr *sides = shape->attr[ASSIGN_SHAPE];
    if (sides->count > LIMIT_RANK)
        return err_set(shape->err, SL_ELIMIT, "shape has more than %d sides", LIMIT_RANK);
    struct dims dims = dims_make((int)sides->count, sides->ints);
    op_shape_set(shape, 0, 0, &dims, (int)shape->attr[ASSIGN_DTYPE]->i, NULL);
    return 0;
}

static int assign_forward(struct op_ctx *ctx)
{
    struct tensor *out = op_out(ctx, 0);
    const struct attr *values = out->dtype == DTYPE_BOOL    ? ctx->attr[ASSIGN_BOOL]
                                : out->dtype == DTYPE_FP32  ? ctx->attr[ASSIGN_FP32]
                                : out->dtype == DTYPE_INT32 ? ctx->attr[ASSIGN_INT32]
                                : out->dtype == DTYPE_INT64 ? ctx->attr[ASSIGN_INT64]
                                                            : NULL;
    if (values == NULL)
        return op_bad_dtype(ctx, (int)out->dtype);
    if (values->count != tensor_count(out))
        return err_set(ctx->err, SL_EMISMATCH, "%s has %zu numbers, shape asks for %llu",
                       values->name, values->count, (unsigned long long)tensor_count(out));
    for (size_t i = 0; i < values->count; i++) {
        if (out->dtype == DTYPE_FP32)
            tensor_f32(out)[i] = values->floats[i];
        else if (out->dtype == DTYPE_INT32)
            tensor_i32(out)[i] = (int32_t)values->ints[i];
        else if (out->dtype == DTYPE_INT64)
            tensor_i64(out)[i] = values->ints[i];
        else
            ((uint8_t *)out->data)[i] = values->ints[i] != 0;
    }
    return 0;
}

static int eye_infer(struct op_shape *shape)
{
    int64_t rows = shape->attr[EYE_ROWS]->i, columns = shape->attr[EYE_COLUMNS]->i;
    struct dims dims = {.rank = 2, .d = {rows, columns == -1 ? rows : columns}};
    if (rows < 0 || dims.d[1] < 0)
        return err_set(shape->err, SL_EINVAL, "num_rows %lld, num_columns %lld", (long long)rows,
                       (long long)columns);
    op_shape_set(shape, 0, 0, &dims, (int)shape->attr[EYE_DTYPE]->i, NULL);
    return 0;
}

// Element i of a one-element or longer `from` at (i, i) of a zeroed out; a step of 0 repeats it.
static void put_diagonal(struct tensor *out, const void *from, size_t step)
{
    size_t bytes = dtype_bytes(out->dtype);
    int64_t n = out->dims.d[0] < out->dims.d[1] ? out->dims.d[0] : out->dims.d[1];
    for (int64_t i = 0; i < n; i++)
        memcpy((char *)out->data + (size_t)(i * out->dims.d[1] + i) * bytes,
               (const char *)from + (size_t)i * step, bytes);
}

static int eye_forward(struct op_ctx *ctx)
{
    struct tensor *out = op_out(ctx, 0), one;
    uint64_t number = 0;
    const struct dims dims = {.rank = 1, .d = {1}};
    tensor_init(&one);
    tensor_borrow(&one, out->dtype, &dims, &number, sizeof number);
    int rc = constant_fill(&one, (struct constant){1, 1}, ctx->err);
    if (rc == 0 && (rc = zeros_forward(ctx)) == 0)
        put_diagonal(out, &number, 0);
    tensor_deinit(&one);
    return rc;
}

static int diag_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    if (x->dims.rank != 1)
        return err_set(shape->err, SL_EINVAL, "Diagonal must have one dimension, it has %d",
                       x->dims.rank);
    const struct dims dims = {.rank = 2, .d = {x->dims.d[0], x->dims.d[0]}};
    op_shape_set(shape, 0, 0, &dims, x->dtype, NULL);
    return 0;
}

static int diag_forward(struct op_ctx *ctx)
{
    int rc = zeros_forward(ctx);
    put_diagonal(op_out(ctx, 0), op_in(ctx, 0)->data, dtype_bytes(op_in(ctx, 0)->dtype));
    return rc;
}

const struct op_def op_fill_like_any = {
    .type = "fill_any_like",
    .inputs = x_input,
    .outputs = out_output,
    .attrs = any_attrs,
    .infer_shape = any_infer,
    .kernel = any_forward,
};

const struct op_def op_fill_like_zeros = {
    .type = "fill_zeros_like",
    .inputs = x_input,
    .outputs = out_output,
    .attrs = no_attrs,
    .kernel = zeros_forward,
};

const struct op_def op_fill_like_zeros2 = {
    .type = "fill_zeros_like2",
    .inputs = x_input,
    .outputs = out_output,
    .attrs = zeros2_attrs,
    .infer_shape = zeros2_infer,
    .kernel = zeros_forward,
};

const struct op_def op_fill_like_batch_size = {
    .type = "fill_constant_batch_size_like",
    .inputs = input_input,
    .outputs = out_output,
    .attrs = batch_attrs,
    .infer_shape = batch_infer,
    .kernel = batch_forward,
    .kernel_resizes = true,
};

const struct op_def op_fill_like_assign_value = {
    .type = "assign_value",
    .inputs = no_inputs,
    .outputs = out_output,
    .attrs = assign_attrs,
    .infer_shape = assign_infer,
    .kernel = assign_forward,
};

const struct op_def op_fill_like_eye = {
    .type = "eye",
    .inputs = no_inputs,
    .outputs = out_output,
    .attrs = eye_attrs,
    .infer_shape = eye_infer,
    .kernel = eye_forward,
};

const struct op_def op_fill_like_diag = {
    .type = "diag",
    .inputs = diagonal_input,
    .outputs = out_output,
    .attrs = no_attrs,
    .infer_shape = diag_infer,
    .kernel = diag_forward,
};
