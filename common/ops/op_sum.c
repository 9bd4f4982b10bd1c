// SPDX-License-Identifier: Apache-2.0
// sum of many tensors, and scale. They stand together because a server runs them one after the
// other on every gradient (fold.h does both in one pass).
//
//   sum    Out = ((X0 + X1) + X2) + ...     dXi = dOut (a scale op by 1 each)
//   scale  Out = scale X + bias, or scale (X + bias) when not bias_after_scale     dX = scale dOut
//
// All X have one shape; X without elements is left out. Out may be one of the X.
//
// When all X are selected rows, so is their sum: each row once, sorted, values added in order of
// occurrence. Of tensors and selected rows the sum is a tensor; rows are added to its rows (in the
// order of X, to 0 or to the X that is Out). scale of selected rows scales their values.

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/ops/fold.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"
#include "common/ops/row_index.h"
#include "common/ops/rows_merge.h"
#include "common/ops/rows_value.h"
#include "common/program/op_desc.h"

extern const struct op_def op_sum, op_sum_scale;

#define SUM_STACK 64

static const struct op_attr_def sum_attrs[] = {
    OP_ATTR_BOOL("use_mkldnn", 0),
    {.name = NULL},
};
static const struct op_slot_def sum_inputs[] = {{"X", OP_SLOT_LIST | OP_SLOT_ROWS}, {NULL, 0}};
static const struct op_slot_def sum_outputs[] = {{"Out", 0}, {NULL, 0}};

enum { SCALE_SCALE, SCALE_BIAS, SCALE_BIAS_AFTER };
static const struct op_attr_def scale_attrs[] = {
    OP_ATTR_FLOAT("scale", 1),
    OP_ATTR_FLOAT("bias", 0),
    OP_ATTR_BOOL("bias_after_scale", 1),
    {.name = NULL},
};
enum { SCALE_X, SCALE_TENSOR };
static const struct op_slot_def scale_inputs[] = {
    {"X", OP_SLOT_ROWS}, {"ScaleTensor", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def scale_outputs[] = {{"Out", 0}, {NULL, 0}};

#define DEFINE_SCALE(T, S)                                                                         \
    OP_CLONES static void scale_after_##S(T *out, const T *x, int64_t n, T scale, T bias)          \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            out[i] = scale * x[i] + bias;                                                          \
    }                                                                                              \
    OP_CLONES static void scale_before_##S(T *out, const T *x, int64_t n, T scale, T bias)         \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            out[i] = scale * (x[i] + bias);                                                        \
    }                                                                                              \
    static void scale_##S(struct tensor *out, const struct tensor *x, float scale, float bias,     \
                          bool after)                                                              \
    {                                                                                              \
        int64_t n = (int64_t)tensor_count(x);                                                      \
        (after ? scale_after_##S : scale_before_##S)((T *)out->data, (const T *)x->data, n,        \
                                                     (T)scale, (T)bias);                           \
    }

DEFINE_SCALE(float, f32)
DEFINE_SCALE(double, f64)
DEFINE_SCALE(int32_t, i32)
DEFINE_SCALE(int64_t, i64)

static int sum_infer(struct op_shape *shape)
{
    const struct op_var_dims *first = NULL;
    for (size_t i = 0; i < shape->in[0].count; i++) {
        const struct op_var_dims *x = op_shape_in(shape, 0, i);
        if (x == NULL)
            return err_set(shape->err, SL_EINVAL, "argument %zu of X is missing", i);
        bool has_elements = true;
        for (int d = 0; d < x->dims.rank; d++)
            has_elements = has_elements && x->dims.d[d] != 0;
        if (!has_elements)
            continue;
        if (first == NULL)
            first = x;
        bool fits = x->dims.rank == first->dims.rank;
        for (int d = 0; fits && d < x->dims.rank; d++)
            fits = op_dims_fit(x->dims.d[d], first->dims.d[d]);
        char text[DIMS_TEXT_MAX], first_text[DIMS_TEXT_MAX];
        if (!fits)
            return err_set(shape->err, SL_EMISMATCH, "argument %zu of X has shape %s, another %s",
                           i, dims_format(&x->dims, text), dims_format(&first->dims, first_text));
    }
    if (first == NULL)
        first = op_shape_in(shape, 0, 0);
    // A tensor among them makes the sum one, and gives it its LoD.
    for (size_t i = 0; i < shape->in[0].count && first->kind == VARIABLE_SELECTED_ROWS; i++)
        if (op_shape_in(shape, 0, i)->kind == VARIABLE_TENSOR)
            first = op_shape_in(shape, 0, i);
    op_shape_copy(shape, 0, 0, first);
    return 0;
}

static int sum_inputs_of(struct op_ctx *ctx, struct tensor *out, const void **inputs)
{
    int count = 0;
    for (size_t i = 0; i < ctx->in[0].count; i++) {
        const struct tensor *x = op_in_at(ctx, 0, i);
        if (tensor_count(x) == 0)
            continue;
        if (x->dtype != out->dtype)
            return err_set(ctx->err, SL_EMISMATCH, "argument %zu of X is %s, Out %s", i,
                           dtype_name((int)x->dtype), dtype_name((int)out->dtype));
        inputs[count++] = x->data;
    }
    return count;
}

static int sum_tensors(struct op_ctx *ctx)
{
    struct tensor *out = op_out(ctx, 0);
    const void *few[SUM_STACK], **inputs = few;
    int64_t n = (int64_t)tensor_count(out);
    if (ctx->in[0].count > SUM_STACK &&
        (inputs = mem_alloc(ctx->in[0].count * sizeof *inputs)) == NULL)
        return err_set(ctx->err, SL_ENOMEM, "out of memory for %zu arguments", ctx->in[0].count);
    int rc = 0, count = sum_inputs_of(ctx, out, inputs);
    if (count < 0)
        rc = count;
    else if (count == 0)
        rc = 0;
    else if (out->dtype == DTYPE_FP32)
        fold_f32(tensor_f32(out), (const float *const *)inputs, count, n, 1);
    else if (out->dtype == DTYPE_FP64)
        fold_f64(tensor_f64(out), (const double *const *)inputs, count, n, 1);
    else if (out->dtype == DTYPE_INT32)
        fold_i32(tensor_i32(out), (const int32_t *const *)inputs, count, n, 1);
    else if (out->dtype == DTYPE_INT64)
        fold_i64(tensor_i64(out), (const int64_t *const *)inputs, count, n, 1);
    else
        rc = op_bad_dtype(ctx, (int)out->dtype);
    if (inputs != few)
        mem_free(inputs);
    return rc;
}

static const struct selected_rows *rows_at(const struct op_ctx *ctx, size_t i)
{
    const struct variable *var = ctx->in[0].vars[i];
    return var->kind == VARIABLE_SELECTED_ROWS ? &var->rows : NULL;
}

static int sum_rows(struct op_ctx *ctx)
{
    const struct selected_rows *few[SUM_STACK], **inputs = few;
    size_t count = ctx->in[0].count;
    bool in_place = false;
    if (count > SUM_STACK && (inputs = mem_alloc(count * sizeof *inputs)) == NULL)
        return err_set(ctx->err, SL_ENOMEM, "out of memory for %zu arguments", count);
    for (size_t i = 0; i < count; i++) {
        inputs[i] = rows_at(ctx, i);
        in_place |= ctx->in[0].vars[i] == ctx->out[0].vars[0];
    }
    struct selected_rows *out = variable_rows(ctx->out[0].vars[0]);
    int rc = in_place ? rows_merge_in_place(out, ctx->temps, inputs, count, ctx->err)
                      : rows_merge_into(out, &ctx->temps[0], inputs, count, ctx->err);
    if (inputs != few)
        mem_free(inputs);
    return rc;
}

// to[row] += values of a row, in their order.
static int add_rows(struct op_ctx *ctx, struct tensor *to, const struct selected_rows *from)
{
    const struct dims dims = {.rank = 1, .d = {(int64_t)from->rows_count}};
    int64_t width = dims_product(&to->dims, 1, to->dims.rank);
    struct tensor index;
    int rc = rows_merge_check(from, to, ctx->err);
    tensor_init(&index);
    if (rc < 0 || from->rows_count == 0)
        return rc;
    tensor_borrow(&index, DTYPE_INT64, &dims, from->rows, from->rows_count * sizeof *from->rows);
    rc = row_index_check(ctx, "selected rows", &index, to->dims.d[0]);
    if (rc == 0 && !row_index_add(to, &from->value, &index, width, -1))
        rc = op_bad_dtype(ctx, (int)to->dtype);
    return rc;
}

static void add_tensor(struct tensor *to, const struct tensor *x)
{
    int64_t n = (int64_t)tensor_count(to);
    if (to->dtype == DTYPE_FP32)
        fold_f32(tensor_f32(to), (const float *const[]){tensor_f32(to), tensor_f32(x)}, 2, n, 1);
    else
        fold_f64(tensor_f64(to), (const double *const[]){tensor_f64(to), tensor_f64(x)}, 2, n, 1);
}

static int check_mixed(const struct op_ctx *ctx, const struct tensor *out)
{
    if (out->dtype != DTYPE_FP32 && out->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)out->dtype);
    for (size_t i = 0; i < ctx->in[0].count; i++) {
        const struct tensor *x = op_in_at(ctx, 0, i);
        if (x != NULL && x->dtype != out->dtype)
            return err_set(ctx->err, SL_EMISMATCH, "argument %zu of X is %s, Out %s", i,
                           dtype_name((int)x->dtype), dtype_name((int)out->dtype));
    }
    return 0;
}

static int sum_mixed(struct op_ctx *ctx)
{
    struct tensor *out = op_out(ctx, 0);
    const struct tensor *begin = NULL;
    size_t count = ctx->in[0].count;
    int rc = check_mixed(ctx, out);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++)
        if (op_in_at(ctx, 0, i) == out)
            begin = out;
    if (begin == NULL && (begin = op_in_at(ctx, 0, 0)) != NULL && tensor_count(begin) > 0)
        memcpy(out->data, begin->data, tensor_bytes(out));
    else if (begin == NULL && tensor_bytes(out) > 0)
        memset(out->data, 0, tensor_bytes(out));
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const struct tensor *x = op_in_at(ctx, 0, i);
        if (x == NULL)
            rc = add_rows(ctx, out, rows_at(ctx, i));
        else if (x == begin)
            begin = NULL;   // it is in already; once more is once more
        else if (tensor_count(x) > 0)
            add_tensor(out, x);
    }
    return rc;
}

static int sum_forward(struct op_ctx *ctx)
{
    size_t rows = 0;
    for (size_t i = 0; i < ctx->in[0].count; i++)
        rows += rows_at(ctx, i) != NULL;
    if (rows == 0)
        return sum_tensors(ctx);
    return rows == ctx->in[0].count ? sum_rows(ctx) : sum_mixed(ctx);
}

// One `scale` by 1 for each argument of X.
static int sum_make_grad(const struct op_desc *forward, struct op_desc **out, int out_max)
{
    int count = 0;
    while (count < out_max &&
           (out[count] = op_grad_unary(forward, "scale", (size_t)count)) != NULL) {
        op_desc_set_float(out[count], "scale", 1);
        count++;
    }
    return count;
}

static int scale_forward(struct op_ctx *ctx)
{
    const struct tensor *x, *by = op_in(ctx, SCALE_TENSOR);
    struct tensor *out;
    float scale = ctx->attr[SCALE_SCALE]->f, bias = ctx->attr[SCALE_BIAS]->f;
    bool after = attr_bool(ctx->attr[SCALE_BIAS_AFTER]);
    if (by != NULL && (tensor_count(by) != 1 || by->dtype != DTYPE_FP32))
        return err_set(ctx->err, SL_EMISMATCH, "ScaleTensor must be one float32");
    if (by != NULL)
        scale = *tensor_f32(by);
    int rc = rows_value_open(ctx, &x, &out);
    if (rc < 0)
        return rc;
    switch (x->dtype) {
    case DTYPE_FP32:
        scale_f32(out, x, scale, bias, after);
        return 0;
    case DTYPE_FP64:
        scale_f64(out, x, scale, bias, after);
        return 0;
    case DTYPE_INT32:
        scale_i32(out, x, scale, bias, after);
        return 0;
    case DTYPE_INT64:
        scale_i64(out, x, scale, bias, after);
        return 0;
    default:
        return op_bad_dtype(ctx, (int)x->dtype);
    }
}

static int scale_make_grad(const struct op_desc *forward, struct op_desc **out, int out_max)
{
    struct op_desc *op = out_max > 0 ? op_grad_unary(forward, "scale", 0) : NULL;
    if (op == NULL)
        return 0;
    if (op_desc_input1(forward, "ScaleTensor") != NULL)
        op_desc_add_input(op, "ScaleTensor", op_desc_input1(forward, "ScaleTensor"));
    op_desc_set_float(op, "scale", op_desc_get_float(forward, "scale", 1));
    op_desc_set_float(op, "bias", 0);
    op_desc_set_bool(op, "bias_after_scale", true);
    out[0] = op;
    return 1;
}

const struct op_def op_sum = {
    .type = "sum",
    .inputs = sum_inputs,
    .outputs = sum_outputs,
    .attrs = sum_attrs,
    .grad = {.make = sum_make_grad},
    .infer_shape = sum_infer,
    .kernel = sum_forward,
    .temps = 2,
    .row_splittable = true,
};

const struct op_def op_sum_scale = {
    .type = "scale",
    .inputs = scale_inputs,
    .outputs = scale_outputs,
    .attrs = scale_attrs,
    .grad = {.make = scale_make_grad},
    .kernel = scale_forward,
    .row_splittable = true,
};
