// SPDX-License-Identifier: Apache-2.0
// A tensor repeated whole along its dimensions.
//
//   expand     side i of Out = expand_times[i] times side i of X
//   expand_as  the times are such that Out has target_tensor's shape
//
// dX = the sum of dOut's repeats, added in row-major order of the repeats.

#include <string.h>

#include "common/base/err.h"
#include "common/ops/int_input.h"
#include "common/ops/op.h"
#include "common/ops/strided.h"

extern const struct op_def op_expand, op_expand_grad, op_expand_as, op_expand_as_grad;

static const struct op_attr_def expand_attrs[] = {
    OP_ATTR_LIST("expand_times", ATTR_INTS),
    {.name = NULL},
};
static const struct op_attr_def no_attrs[] = {{.name = NULL}};

enum { EXPAND_X, EXPAND_TIMES, EXPAND_TIMES_LIST, EXPAND_DOUT };
static const struct op_slot_def expand_inputs[] = {
    {"X", 0},
    {"ExpandTimes", OP_SLOT_OPTIONAL},
    {"expand_times_tensor", OP_SLOT_OPTIONAL | OP_SLOT_LIST},
    {NULL, 0}};
static const struct op_slot_def expand_grad_inputs[] = {
    {"X", 0},
    {"ExpandTimes", OP_SLOT_OPTIONAL},
    {"expand_times_tensor", OP_SLOT_OPTIONAL | OP_SLOT_LIST},
    {"Out@GRAD", 0},
    {NULL, 0}};
enum { AS_X, AS_TARGET, AS_DOUT };
static const struct op_slot_def as_inputs[] = {{"X", 0}, {"target_tensor", 0}, {NULL, 0}};
static const struct op_slot_def as_grad_inputs[] = {
    {"X", 0}, {"target_tensor", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def out_output[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def grad_output[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

static int expand_dims(const struct dims *x, const struct int_input *times, bool building,
                       struct dims *out, struct err *err)
{
    *out = *x;
    if (times->count != (size_t)x->rank)
        return err_set(err, SL_EINVAL, "%zu expand_times for X's rank %d", times->count, x->rank);
    for (int i = 0; i < x->rank; i++) {
        if (times->v[i] < (building ? -1 : 1) || times->v[i] == 0 || times->v[i] > INT32_MAX)
            return err_set(err, SL_EINVAL, "expand_times of side %d is %lld", i,
                           (long long)times->v[i]);
        if (x->d[i] < 0 || times->v[i] < 0)
            out->d[i] = -1;
        else if (__builtin_mul_overflow(x->d[i], times->v[i], &out->d[i]))
            return err_set(err, SL_ELIMIT, "side %d would be too large", i);
    }
    return 0;
}

static int as_dims(const struct dims *x, const struct dims *target, struct err *err)
{
    char text[DIMS_TEXT_MAX], target_text[DIMS_TEXT_MAX];
    bool fits = x->rank == target->rank;
    for (int i = 0; fits && i < x->rank; i++)
        fits = x->d[i] < 0 || target->d[i] < 0 ||
               (x->d[i] == 0 ? target->d[i] == 0 : target->d[i] % x->d[i] == 0);
    if (!fits)
        return err_set(err, SL_EMISMATCH, "X %s, repeated, cannot have target_tensor's shape %s",
                       dims_format(x, text), dims_format(target, target_text));
    return 0;
}

static const struct op_var_dims *lod_of(const struct op_var_dims *x, const struct dims *out)
{
    return x->dims.rank > 0 && x->dims.d[0] == out->d[0] ? x : NULL;
}

static int expand_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, EXPAND_X, 0);
    struct int_input times;
    struct dims out;
    bool fed = int_input_is_fed(shape, EXPAND_TIMES_LIST, EXPAND_TIMES);
    int rc = int_input_from_attr(shape->attr[0], &times, shape->err);
    for (; rc == 0 && fed && times.count < (size_t)x->dims.rank; times.count++)
        times.v[times.count] = -1;
    if (rc == 0)
        rc = expand_dims(&x->dims, &times, shape->building || fed, &out, shape->err);
    if (rc == 0)
        op_shape_set(shape, 0, 0, &out, x->dtype, lod_of(x, &out));
    return rc;
}

static int as_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, AS_X, 0);
    const struct op_var_dims *target = op_shape_in(shape, AS_TARGET, 0);
    int rc = as_dims(&x->dims, &target->dims, shape->err);
    if (rc == 0)
        op_shape_set(shape, 0, 0, &target->dims, x->dtype, NULL);
    return rc;
}

// x and its repeats in whole, the repeats outermost. Gradients add whole up in x.
static void plan_repeats(const struct dims *x, const struct dims *whole, bool to_x,
                         struct strided *out)
{
    int64_t in_x[LIMIT_RANK], in_whole[LIMIT_RANK];
    *out = (struct strided){.rank = 0};
    strided_of(x, in_x);
    strided_of(whole, in_whole);
    for (int i = 0; i < x->rank; i++) {
        int64_t times = x->d[i] > 0 ? whole->d[i] / x->d[i] : 0, stride = in_whole[i] * x->d[i];
        strided_add_dim(out, times, to_x ? 0 : stride, to_x ? stride : 0);
    }
    for (int i = 0; i < x->rank; i++)
        strided_add_dim(out, x->d[i], to_x ? in_x[i] : in_whole[i], to_x ? in_whole[i] : in_x[i]);
}

static int repeat(struct op_ctx *ctx, const struct dims *dims)
{
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *out = op_out(ctx, 0);
    struct strided s;
    int rc = op_resize(out, x->dtype, dims, ctx->err);
    if (rc < 0)
        return rc;
    plan_repeats(&x->dims, dims, false, &s);
    strided_copy(&s, x->dtype, out->data, x->data);
    return 0;
}

static int add_up(struct op_ctx *ctx, const struct dims *whole, const struct tensor *dout)
{
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *dx = op_out(ctx, 0);
    struct strided s;
    if (dx == NULL)
        return 0;
    if (!dims_equal(&dout->dims, whole) || dout->dtype != x->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "Out@GRAD has not the shape and type of Out");
    if (tensor_bytes(dx) > 0)
        memset(dx->data, 0, tensor_bytes(dx));
    plan_repeats(&x->dims, whole, true, &s);
    return strided_accumulate(&s, dout->dtype, dx->data, dout->data)
               ? 0
               : op_bad_dtype(ctx, (int)dout->dtype);
}

static int read_dims(struct op_ctx *ctx, struct dims *out)
{
    struct int_input times;
    int rc = int_input_read(ctx, -1, EXPAND_TIMES, ctx->attr[0], &times);
    if (rc == 0 && op_in(ctx, EXPAND_TIMES) == NULL)
        rc = int_input_read(ctx, EXPAND_TIMES_LIST, -1, ctx->attr[0], &times);
    return rc < 0 ? rc : expand_dims(&op_in(ctx, EXPAND_X)->dims, &times, false, out, ctx->err);
}

static int expand_forward(struct op_ctx *ctx)
{
    struct dims out;
    int rc = read_dims(ctx, &out);
    return rc < 0 ? rc : repeat(ctx, &out);
}

static int expand_backward(struct op_ctx *ctx)
{
    struct dims out;
    int rc = read_dims(ctx, &out);
    return rc < 0 ? rc : add_up(ctx, &out, op_in(ctx, EXPAND_DOUT));
}

static int as_forward(struct op_ctx *ctx)
{
    return repeat(ctx, &op_in(ctx, AS_TARGET)->dims);
}

static int as_backward(struct op_ctx *ctx)
{
    const struct dims *target = &op_in(ctx, AS_TARGET)->dims;
    int rc = as_dims(&op_in(ctx, AS_X)->dims, target, ctx->err);
    return rc < 0 ? rc : add_up(ctx, target, op_in(ctx, AS_DOUT));
}

// dX has X's shape and no LoD.
static int dx_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    op_shape_set(shape, 0, 0, &x->dims, x->dtype, NULL);
    return 0;
}

const struct op_def op_expand = {
    .type = "expand",
    .inputs = expand_inputs,
    .outputs = out_output,
    .attrs = expand_attrs,
    .grad = {.type = "expand_grad",
             .inputs = "X ExpandTimes expand_times_tensor Out@GRAD",
             .outputs = "X@GRAD"},
    .infer_shape = expand_infer,
    .kernel = expand_forward,
    .kernel_resizes = true,
};

const struct op_def op_expand_grad = {
    .type = "expand_grad",
    .inputs = expand_grad_inputs,
    .outputs = grad_output,
    .attrs = expand_attrs,
    .infer_shape = dx_infer,
    .kernel = expand_backward,
};

const struct op_def op_expand_as = {
    .type = "expand_as",
    .inputs = as_inputs,
    .outputs = out_output,
    .attrs = no_attrs,
    .grad = {.type = "expand_as_grad", .inputs = "X target_tensor Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = as_infer,
    .kernel = as_forward,
};

const struct op_def op_expand_as_grad = {
    .type = "expand_as_grad",
    .inputs = as_grad_inputs,
    .outputs = grad_output,
    .attrs = no_attrs,
    .infer_shape = dx_infer,
    .kernel = as_backward,
};
